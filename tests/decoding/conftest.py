"""The oracles that every search is compared with."""

import numpy as np
import pytest
import torch


def _exhaustive(model, catalog, prompt, normalization):
    """Log-probability of every item, one teacher-forced sequence an item, masks spelled out with loops."""
    tokens = catalog.vocabulary.encode(catalog.codes)
    ids = torch.tensor([list(prompt) + list(row) for row in tokens])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits.float()
    total = np.zeros(len(catalog.codes))
    for i, codes in enumerate(catalog.codes):
        for level in range(codes.size):
            row = logits[i, len(prompt) - 1 + level]
            allowed = {
                "vocabulary": range(len(row)),
                "level": catalog.vocabulary.tokens[level],
                "catalog": {
                    int(catalog.vocabulary.tokens[level][other[level]])
                    for other in catalog.codes
                    if tuple(other[:level]) == tuple(codes[:level])
                },
            }[normalization]
            log_probs = row[list(allowed)].logsumexp(0)
            total[i] += float(row[tokens[i, level]] - log_probs)
        if normalization == "catalog":  # items with the same codes share their probability
            total[i] -= np.log(sum(tuple(other) == tuple(codes) for other in catalog.codes))
    return total


def _generate(model, catalog, prompts, beams):
    """Hugging Face's own constrained beam search on the same prompts, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    tokens = catalog.vocabulary.encode(catalog.codes)
    children = {}
    for row in tokens:
        for level, token in enumerate(row):
            children.setdefault(tuple(map(int, row[:level])), set()).add(int(token))
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=tokens.shape[1],
        prefix_allowed_tokens_fn=lambda _, sent: sorted(children[tuple(sent[width:].tolist())]),
        do_sample=False,
        length_penalty=0.0,
        output_scores=True,
        return_dict_in_generate=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    item = {tuple(map(int, row)): i for i, row in enumerate(tokens)}
    found = [item[tuple(row[width:].tolist())] for row in out.sequences]
    return np.array(found).reshape(-1, beams), out.sequences_scores.view(-1, beams).numpy()


def _assert_same_ranking(found, expected, tolerance=1e-4):
    """Equal scores, and equal items wherever the scores leave no doubt about the order."""
    (items, scores), (expected_items, expected_scores) = found, expected
    np.testing.assert_allclose(scores, expected_scores, atol=tolerance)
    gaps = np.full((len(scores), scores.shape[1] + 1), np.inf)
    gaps[:, 1:-1] = -np.diff(expected_scores, axis=1)
    clear = np.minimum(gaps[:, 1:], gaps[:, :-1]) > 2 * tolerance
    np.testing.assert_array_equal(items[clear], expected_items[clear])
    assert clear.mean() > 0.5, "the oracle's scores are too close to compare an order"


@pytest.fixture(scope="session")
def exhaustive():
    return _exhaustive


@pytest.fixture(scope="session")
def generate():
    return _generate


@pytest.fixture(scope="session")
def assert_same_ranking():
    return _assert_same_ranking
