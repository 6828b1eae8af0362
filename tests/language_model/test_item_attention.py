"""Attention that is bidirectional inside an item: one pass and one search against one naive loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec import FitSettings
from genrec.common.config import validate
from genrec.common.errors import ConfigError
from genrec.data.histories import Histories
from genrec.decoding import BeamSearch, BeamSettings
from genrec.decoding.readers import Replay, SharedCache
from genrec.fitting.objectives.batches import pad_items
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings, item_attention
from genrec.language_model.item_attention import BidirectionalInputs, require_masks
from genrec.testing.fakes import CACHELESS, TinyCatalog, save_tiny_pretrained, tiny_causal_lm

CATALOG = TinyCatalog.random(20, (5, 4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
NORMALIZATIONS = ["vocabulary", "level", "catalog"]
HISTORIES = [[4, 9, 2, 4], [7], [3, 11]]


def sharpen(model):
    """Weights so large that predictions are far from uniform and what a token sees matters."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def model(folder=None, kind="compact", catalog=CATALOG, **more):
    shape = {"width": 16, "layers": 2, "heads": 2, "dropout": 0.0}
    values = {"compact": shape, "item_attention": "bidirectional", "instruction": "A shopper"}
    if kind != "compact":
        values["backbone"] = str(save_tiny_pretrained(folder / kind, kind))
    chosen = LanguageModelSettings.model_validate(values | more)
    vectors = VECTORS[: len(catalog.codes)]
    lm = LanguageModel.create(
        chosen, catalog.codes, vectors, catalog.codebook_sizes, max_items=8, seed=0
    )
    if kind == "compact" or chosen.tuning == "full":
        sharpen(lm.model)
    lm.model.eval()
    return lm


def inputs_of(lm, catalog=CATALOG):
    return lm.inputs(catalog.codes, VECTORS)


def prompt(lm, history, catalog=CATALOG):
    return [*lm.prefix, *lm.vocabulary.encode(catalog.codes[history]).ravel().tolist()]


def naive(lm, history, target, normalization, catalog=CATALOG):
    """Log-probability of one item after one history: one row, its mask and its softmax spelled out."""
    tokens = lm.vocabulary.encode(catalog.codes)
    levels = tokens.shape[1]
    row = [*prompt(lm, history, catalog), *tokens[target, :-1].tolist()]
    item_of = [-1 - i for i in range(len(lm.prefix))]  # words: each for itself
    item_of += [n for n in range(len(history)) for _ in range(levels)]
    item_of += [1000 + i for i in range(levels - 1)]  # codes being written: each for itself
    mask = torch.full((len(row), len(row)), torch.finfo(torch.float32).min)
    for query in range(len(row)):
        for key in range(len(row)):
            inside = lm.item_attention == "bidirectional" and item_of[query] == item_of[key]
            if key <= query or inside:
                mask[query, key] = 0.0
    ids = torch.tensor([row])
    given = {"input_ids": ids}
    if lm.item_projection is not None:
        embedded = lm.core.get_input_embeddings()(ids).clone()
        for n, item in enumerate(history):
            end = len(lm.prefix) + (n + 1) * levels - 1
            vector = torch.from_numpy(VECTORS[item].astype(np.float32))
            embedded[0, end] += lm.item_projection(vector)
        given = {"inputs_embeds": embedded}
    with torch.no_grad():
        logits = lm.core(**given, attention_mask=mask[None, None], use_cache=False).logits[0]
    total = 0.0
    for level in range(levels):
        scores = logits[len(row) - levels + level].double()
        same = (catalog.codes[:, :level] == catalog.codes[target, :level]).all(1)
        allowed = {
            "vocabulary": np.arange(len(scores)),
            "level": lm.vocabulary.tokens[level],
            "catalog": np.unique(tokens[same, level]),
        }[normalization]
        total += float(scores[tokens[target, level]] - scores[allowed].logsumexp(0))
    return total


def assert_pass_is_the_oracle(lm, normalization, histories=HISTORIES, catalog=CATALOG):
    loss = NextItemLoss(lm, catalog.codes, catalog.trie, normalization, inputs_of(lm, catalog))
    batch = torch.from_numpy(pad_items(Histories.of(histories), np.arange(len(histories))))
    with torch.no_grad():
        found = float(loss.eval()(batch))
    expected = [
        naive(lm, h[:t], h[t], normalization, catalog) for h in histories for t in range(len(h))
    ]
    assert found / len(expected) == pytest.approx(-np.mean(expected), abs=1e-5)


def assert_search_is_the_oracle(lm, normalization, *, flush=True, reader=SharedCache):
    every = len(CATALOG.codes)
    chosen = BeamSettings(beams=every, normalization=normalization, leaf_flush=flush)
    search = BeamSearch(lm.core, lm.vocabulary, CATALOG.trie, chosen, inputs_of(lm))
    assert search.reader is SharedCache, "a slow fallback would hide what this test looks for"
    search.reader = reader
    histories = [*HISTORIES, []]
    items, scores = search.search([prompt(lm, history) for history in histories], every)
    for history, row, got in zip(histories, items, scores, strict=True):
        expected = [naive(lm, history, item, normalization) for item in row]
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert sorted(row.tolist()) == list(range(every))


KINDS = [
    ("compact", {}),
    ("compact", {"item_vectors": True}),
    ("gpt2", {"tuning": "full"}),
    ("qwen3", {"tuning": "full"}),
    ("qwen3-untied", {"tuning": "lora"}),
    ("llama", {"tuning": "full"}),
]
IDS = [" ".join([kind, *map(str, more)]) for kind, more in KINDS]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("kind", "more"), KINDS, ids=IDS)
def test_one_pass_and_one_search_give_the_naive_probabilities(kind, more, normalization, tmp_path):
    lm = model(tmp_path, kind, **more)
    assert_pass_is_the_oracle(lm, normalization)
    assert_search_is_the_oracle(lm, normalization)


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("reader", [SharedCache, Replay])
def test_every_way_of_searching_gives_them(reader, flush):
    assert_search_is_the_oracle(model(), "catalog", flush=flush, reader=reader)


def test_the_oracle_itself_is_causal_where_items_are():
    """Bidirectional items change the probabilities, and causal ones pass the same oracle."""
    causal = model(item_attention="causal")
    assert_pass_is_the_oracle(causal, "catalog")
    assert_search_is_the_oracle(causal, "catalog")
    both = [naive(lm, [4, 9], 2, "catalog") for lm in (causal, model())]
    assert abs(both[0] - both[1]) > 1e-3


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_whatever_the_levels_and_lengths(data):
    sizes = tuple(data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=4)))
    catalog = TinyCatalog.random(data.draw(st.integers(2, 20)), sizes, seed=1)
    numbers = st.integers(0, len(catalog.codes) - 1)
    sequences = st.lists(st.lists(numbers, min_size=1, max_size=5), min_size=1, max_size=3)
    lm = model(catalog=catalog)
    assert_pass_is_the_oracle(lm, "catalog", data.draw(sequences), catalog)


def test_no_code_is_predicted_from_a_state_that_saw_it():
    """Change one code of one item: nothing moves but what comes behind it."""
    lm = model()
    tokens = torch.from_numpy(lm.vocabulary.encode(CATALOG.codes))[torch.tensor([[4, 9, 2]])]
    prefix = torch.tensor(lm.prefix)

    def states(codes):
        with torch.no_grad():
            return item_attention.states_in_front(lm.core, inputs_of(lm), prefix, codes)[-1][0]

    before = states(tokens)
    for item in range(3):
        for level in range(3):
            changed = tokens.clone()
            own = lm.vocabulary.tokens[level]
            changed[0, item, level] = int(own[own != int(tokens[0, item, level])][0])
            moved = (states(changed) - before).abs().amax(-1) > 1e-6
            expected = torch.zeros(3, 3, dtype=torch.bool)
            expected[item, level + 1 :] = True
            expected[item + 1 :] = True
            assert torch.equal(moved, expected), (item, level)


def history_sees_what_is_written(*arguments, **named):
    visible, positions = item_attention.sound_mask(*arguments, **named)
    return visible | (positions <= positions[:, None]), positions


def writing_sees_its_own_item(prefix, n, levels, *rest):
    visible, positions = item_attention.sound_mask(prefix, n, levels, *rest)
    behind = prefix + (n - 1) * levels
    for item in range(n - 1):
        rows = slice(behind + item * (levels - 1), behind + (item + 1) * (levels - 1))
        visible[rows, prefix + item * levels : prefix + (item + 1) * levels] = True
    return visible, positions


def streams_follow_each_other(*arguments, **named):
    visible, positions = item_attention.sound_mask(*arguments, **named)
    return visible, torch.arange(len(positions)).clamp(max=27)


@pytest.mark.parametrize(
    "bug", [history_sees_what_is_written, writing_sees_its_own_item, streams_follow_each_other]
)
def test_the_oracle_notices_a_planted_bug(bug, monkeypatch):
    lm = model()
    assert_pass_is_the_oracle(lm, "catalog")
    monkeypatch.setattr(item_attention, "sound_mask", item_attention._stream_mask, raising=False)
    monkeypatch.setattr(item_attention, "_stream_mask", bug)
    with pytest.raises(AssertionError):
        assert_pass_is_the_oracle(lm, "catalog")


def test_only_whole_items_see_themselves():
    lm = model()
    inputs = inputs_of(lm)
    tokens = lm.vocabulary.encode(CATALOG.codes)
    # a word, an item, a code out of order, an item, two codes of one that is being written
    row = [0, *tokens[3], tokens[7][1], *tokens[7], *tokens[5][:2]]
    ahead = inputs.visible(torch.tensor([row]))[0].triu(1).nonzero().tolist()
    assert ahead == [[1, 2], [1, 3], [2, 3], [5, 6], [5, 7], [6, 7]]
    short = inputs.visible(torch.tensor([row[:2]]))[0]
    assert short.tolist() == [[True, False], [True, True]]


def test_gradients_reach_every_parameter_and_half_precision_is_close():
    lm = model(item_vectors=True)
    loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog", inputs_of(lm))
    items = torch.tensor([[4, 9, 2], [7, 3, -1]])
    whole = loss(items)
    whole.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = loss(items)
    assert float(half) == pytest.approx(whole.item(), rel=0.02)


@pytest.mark.parametrize("kind", ["mistral-window", "gemma2-window", "gemma3-window"])
def test_a_window_is_refused(kind, tmp_path):
    with pytest.raises(ConfigError, match=r"item_attention.*look back 12 tokens only"):
        model(tmp_path, kind)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("mamba", "running state"),
        ("lfm2", "has layers that do not read one cache"),
        ("gpt-neo", "has layers that do not read one cache"),
        ("bloom", "takes no position_ids"),
    ],
)
def test_a_model_without_masks_is_refused(kind, reason):
    assert kind in CACHELESS
    with pytest.raises(ConfigError, match=rf"as a mask says, and \w+ .*{reason}.*backbone"):
        require_masks(tiny_causal_lm(kind, CATALOG.vocab_size), CATALOG.vocabulary, "this")


def test_a_kernel_without_masks_is_refused():
    core = tiny_causal_lm("llama", CATALOG.vocab_size)
    core.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ConfigError, match="by 'flash_attention_2', which takes no such mask"):
        require_masks(core, CATALOG.vocabulary, "this")


def deaf(body, **given):
    return body.sound_forward(**{k: v for k, v in given.items() if k != "attention_mask"})


def causal_at_heart(body, attention_mask=None, **given):
    if attention_mask is not None:
        attention_mask = attention_mask + torch.full_like(attention_mask, -1e9).triu(1)
    return body.sound_forward(attention_mask=attention_mask, **given)


def lost_without_positions(body, position_ids=None, **given):
    return body.sound_forward(**given)


def unwilling(body, attention_mask=None, **given):
    raise NotImplementedError if attention_mask is not None else None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (deaf, "lets no token see one behind it"),
        (causal_at_heart, "lets no token see one behind it"),
        (lost_without_positions, "gives other results that way"),
        (unwilling, r"cannot be run that way \(NotImplementedError\)"),
    ],
)
def test_a_model_that_turns_out_not_to_heed_masks_is_refused(fault, reason, monkeypatch):
    core = tiny_causal_lm("llama", CATALOG.vocab_size)
    require_masks(core, CATALOG.vocabulary, "this")
    body = core.base_model
    kind = type(body)
    monkeypatch.setattr(kind, "sound_forward", kind.forward, raising=False)
    signature = kind.forward.__wrapped__ if hasattr(kind.forward, "__wrapped__") else kind.forward

    def forward(self, **given):
        return fault(self, **given)

    forward.__wrapped__ = signature  # `inspect.signature` still finds what it takes
    monkeypatch.setattr(kind, "forward", forward)
    core.train()
    with pytest.raises(ConfigError, match=reason):
        require_masks(core, CATALOG.vocabulary, "this")
    assert core.training


def test_it_is_kept_by_all_that_copies_a_model(tmp_path):
    lm = model(tmp_path, "qwen3")
    assert lm.merged().item_attention == "bidirectional"
    lm.save(tmp_path / "lm")
    given = LanguageModelSettings(
        backbone=str(tmp_path / "qwen3"), item_attention="bidirectional", instruction="A shopper"
    )
    back = LanguageModel.load(tmp_path / "lm", given, CATALOG.codebook_sizes, merged=True)
    assert isinstance(inputs_of(back), BidirectionalInputs)
    assert back.tokens_per_item == 5
    assert naive(back, [4], 9, "catalog") == pytest.approx(naive(lm, [4], 9, "catalog"), abs=1e-5)


def test_tasks_stay_causal():
    asked = {
        "tasks": {"next-title": 0.3},
        "language_model": {"backbone": "x", "item_attention": "bidirectional"},
    }
    with pytest.raises(ConfigError, match=r"leave out language_model\.item_attention, or tasks"):
        validate(FitSettings, asked, source="test")
