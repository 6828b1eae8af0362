"""The search against two oracles: Hugging Face `generate`, and scoring every item of the catalog."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.decoding import BeamSearch, BeamSettings
from genrec.testing.fakes import ARCHITECTURES, TinyCatalog, tiny_causal_lm


def ragged_prompts(catalog, rng, rows=5, longest=9):
    lengths = rng.integers(0, longest + 1, rows)
    return [catalog.prompt(list(rng.integers(0, len(catalog.codes), n))) for n in lengths]


def exhaustive(model, catalog, prompt, normalization):
    """Log-probability of every item, one teacher-forced sequence an item, masks spelled out with loops."""
    tokens = catalog.vocabulary.encode(catalog.codes)
    ids = torch.tensor([list(prompt) + list(row) for row in tokens])
    with torch.no_grad():
        logits = model(input_ids=ids).logits.float()
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
    return total


def generate(model, catalog, prompts, beams):
    """Hugging Face's own constrained beam search on the same left-padded prompts."""
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


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_hugging_face_generate_on_ragged_histories(architecture):
    catalog = TinyCatalog.random(60, (7, 6, 5), seed=1)
    model = tiny_causal_lm(architecture, catalog.vocab_size)
    prompts = ragged_prompts(catalog, np.random.default_rng(2), rows=6)
    expected, expected_scores = generate(model, catalog, prompts, beams=6)
    search = BeamSearch(
        model, catalog.vocabulary, catalog.trie, BeamSettings(beams=6, normalization="vocabulary")
    )
    items, scores = search.search(prompts, k=6)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("normalization", ["vocabulary", "level", "catalog"])
def test_with_all_beams_equals_exhaustive_scoring(architecture, normalization):
    catalog = TinyCatalog.random(25, (4, 5, 3), seed=3)
    model = tiny_causal_lm(architecture, catalog.vocab_size, seed=4)
    prompts = ragged_prompts(catalog, np.random.default_rng(5), rows=3)
    search = BeamSearch(
        model, catalog.vocabulary, catalog.trie, BeamSettings(beams=25, normalization=normalization)
    )
    items, scores = search.search(prompts, k=25)
    for row, prompt in enumerate(prompts):
        total = exhaustive(model, catalog, prompt, normalization)
        np.testing.assert_array_equal(items[row], np.argsort(-total))
        np.testing.assert_allclose(scores[row], np.sort(total)[::-1], atol=1e-4)


def test_catalog_normalization_is_a_distribution_over_the_catalog():
    catalog = TinyCatalog.random(40, (5, 4, 4), seed=6)
    model = tiny_causal_lm("qwen3", catalog.vocab_size)
    search = BeamSearch(model, catalog.vocabulary, catalog.trie, BeamSettings(beams=40))
    _, scores = search.search([catalog.prompt([1, 2]), catalog.prompt([])], k=40)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1.0, atol=1e-5)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_filters_equal_scoring_only_what_they_allow(data):
    sizes = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=4).map(tuple))
    catalog = TinyCatalog.random(
        data.draw(st.integers(1, 20)), sizes, seed=data.draw(st.integers(0, 99))
    )
    n = len(catalog.codes)
    model = tiny_causal_lm("llama", catalog.vocab_size)
    allow = data.draw(st.none() | st.lists(st.integers(0, n - 1), unique=True).map(np.array))
    allow = None if allow is None else allow.astype(int)
    deny = [np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=n)), int) for _ in range(2)]
    prompts = [catalog.prompt([0]), catalog.prompt([n - 1, 0])]
    k = data.draw(st.integers(1, n + 2))
    search = BeamSearch(model, catalog.vocabulary, catalog.trie, BeamSettings(beams=n))
    items, scores = search.search(prompts, k, allow=allow, deny=deny)
    for row, prompt in enumerate(prompts):
        total = exhaustive(model, catalog, prompt, "catalog")
        legal = set(range(n) if allow is None else allow.tolist()) - set(deny[row].tolist())
        best = sorted(legal, key=lambda item: -total[item])[:k]
        assert items[row].tolist() == best + [-1] * (k - len(best))
        assert np.isneginf(scores[row, len(best) :]).all()


def test_a_narrow_beam_still_finds_k_items_under_a_hard_filter():
    catalog = TinyCatalog.random(200, (8, 8, 8), seed=7)
    model = tiny_causal_lm("gpt2", catalog.vocab_size)
    search = BeamSearch(model, catalog.vocabulary, catalog.trie, BeamSettings(beams=1))
    allow = np.array([3, 77, 150])
    items, _ = search.search([catalog.prompt([5])], k=10, allow=allow)
    assert set(items[0][:3].tolist()) == {3, 77, 150}
    assert (items[0][3:] == -1).all()


def test_a_batch_gives_what_each_request_gives_alone():
    catalog = TinyCatalog.random(80, (6, 6, 6), seed=8)
    model = tiny_causal_lm("qwen3", catalog.vocab_size)
    prompts = ragged_prompts(catalog, np.random.default_rng(9), rows=12)
    search = BeamSearch(
        model, catalog.vocabulary, catalog.trie, BeamSettings(beams=8, batch_tokens=100)
    )
    items, scores = search.search(prompts, k=5)
    for row, prompt in enumerate(prompts):
        alone, alone_scores = search.search([prompt], k=5)
        np.testing.assert_array_equal(items[row], alone[0])
        np.testing.assert_allclose(scores[row], alone_scores[0], atol=1e-5)
