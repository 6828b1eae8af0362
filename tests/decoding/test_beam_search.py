"""The search against two oracles: Hugging Face `generate`, and scoring every item of the catalog."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import Gemma3Config

from genrec.common.errors import ConfigError, InputError
from genrec.decoding import BeamSearch, BeamSettings, Trie
from genrec.decoding.readers import Replay, SharedCache
from genrec.language_model.attention_masks import SlidingWindow
from genrec.language_model.vocabulary import CodeVocabulary
from genrec.testing.fakes import ARCHITECTURES, CACHELESS, TinyCatalog, tiny_causal_lm

NORMALIZATIONS = ["vocabulary", "level", "catalog"]


def ragged_prompts(catalog, rng, rows=5, longest=9):
    lengths = rng.integers(0, longest + 1, rows)
    return [catalog.prompt(list(rng.integers(0, len(catalog.codes), n))) for n in lengths]


def searching(model, catalog, **settings):
    trie = Trie.build(catalog.codes, catalog.codebook_sizes)
    search = BeamSearch(model, catalog.vocabulary, trie, BeamSettings(**settings))
    assert search.reader is SharedCache, "a slow fallback would hide what these tests look for"
    return search


@given(data=st.data())
@settings(max_examples=200)
def test_equals_hugging_face_generate(data, generate, assert_same_ranking):
    seed = data.draw(st.integers(0, 10_000))
    sizes = tuple(data.draw(st.lists(st.integers(3, 8), min_size=2, max_size=4)))
    catalog = TinyCatalog.random(data.draw(st.integers(8, 60)), sizes, seed)
    model = tiny_causal_lm(
        data.draw(st.sampled_from(sorted(ARCHITECTURES))), catalog.vocab_size, seed
    )
    prompts = ragged_prompts(catalog, np.random.default_rng(seed), data.draw(st.integers(1, 4)), 6)
    # `generate` cannot be asked for more beams than there are prefixes: some would be no item.
    beams = data.draw(st.integers(2, max(2, min(6, len(np.unique(catalog.codes[:, 0]))))))
    search = searching(model, catalog, beams=beams, normalization="vocabulary")
    expected = generate(model, catalog, prompts, beams)
    assume((np.diff(expected[1], axis=1) < -2e-4).all())  # near ties have no one order
    assert_same_ranking(search.search(prompts, k=beams), expected)


def assert_best_first(items, total):
    """All items in the oracle's order, but for two whose scores are nearer than float32 tells apart."""
    assert sorted(items.tolist()) == list(range(len(total)))
    np.testing.assert_allclose(total[items], np.sort(total)[::-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_with_all_beams_equals_exhaustive_scoring(architecture, normalization, exhaustive):
    catalog = TinyCatalog.random(25, (4, 5, 3), seed=3)
    model = tiny_causal_lm(architecture, catalog.vocab_size, seed=4)
    prompts = ragged_prompts(catalog, np.random.default_rng(5), rows=3)
    items, scores = searching(model, catalog, beams=25, normalization=normalization).search(
        prompts, 25
    )
    for row, prompt in enumerate(prompts):
        total = exhaustive(model, catalog, prompt, normalization)
        assert_best_first(items[row], total)
        np.testing.assert_allclose(scores[row], np.sort(total)[::-1], atol=1e-4)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *CACHELESS])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_given_items_are_scored_exactly(architecture, normalization, exhaustive):
    """Other items for each prompt, some of them twice, some with the codes of another."""
    codes = TinyCatalog.random(25, (4, 5, 3), seed=3).codes
    catalog = TinyCatalog(np.concatenate([codes, codes[4:6]]), (4, 5, 3))
    model = tiny_causal_lm(architecture, catalog.vocab_size, seed=4)
    prompts = ragged_prompts(catalog, np.random.default_rng(5), rows=3)
    prompts = [np.array(prompt) for prompt in [*prompts, prompts[0]]]
    items = np.random.default_rng(6).integers(0, 27, (4, 9))
    items[:, :3] = [4, 25, 4]
    items[3] = items[0]
    trie = Trie.build(catalog.codes, catalog.codebook_sizes)
    options = BeamSettings(beams=2, normalization=normalization, batch_tokens=50)
    scores = BeamSearch(model, catalog.vocabulary, trie, options).score(prompts, items)
    for row, prompt in enumerate(prompts):
        total = exhaustive(model, catalog, prompt, normalization)
        np.testing.assert_allclose(scores[row], total[items[row]], atol=1e-4)
    assert (scores[3] == scores[0]).all()


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_given_items_are_scored_for_any_number_of_levels(levels):
    catalog = TinyCatalog.random(12, (13, 4, 4, 4)[:levels], seed=1)
    search = searching(tiny_causal_lm("qwen3", catalog.vocab_size), catalog, beams=12)
    prompts = [np.array(catalog.prompt([3])), np.array(catalog.prompt([5, 6]))]
    items, scores = search.search(prompts, 12)
    np.testing.assert_allclose(search.score(prompts, items), scores, atol=1e-5)
    with pytest.raises(InputError, match="item 12 is outside"):
        search.score(prompts, np.array([[0], [12]]))


@given(data=st.data())
@settings(max_examples=60)
def test_a_leaf_flush_changes_nothing(data, assert_same_ranking):
    seed = data.draw(st.integers(0, 10_000))
    sizes = tuple(data.draw(st.lists(st.integers(2, 6), min_size=1, max_size=4)))
    rows = np.random.default_rng(seed).integers(
        0, sizes, (data.draw(st.integers(1, 80)), len(sizes))
    )
    codes = rows if data.draw(st.booleans()) else np.unique(rows, axis=0)
    catalog = TinyCatalog(codes.astype(np.int32), sizes)
    architecture = data.draw(st.sampled_from(["qwen3", "mistral-window", "gemma3-window", "gpt2"]))
    model = tiny_causal_lm(architecture, catalog.vocab_size, seed)
    prompts = ragged_prompts(catalog, np.random.default_rng(seed), rows=3)
    options = {
        "beams": data.draw(st.integers(1, 12)),
        "normalization": data.draw(st.sampled_from(NORMALIZATIONS)),
    }
    deny = [np.arange(data.draw(st.integers(0, len(codes)))) for _ in prompts]
    deny = deny if data.draw(st.booleans()) else None
    k = data.draw(st.integers(1, 10))
    flushed = searching(model, catalog, **options).search(prompts, k, deny=deny)
    by_level = searching(model, catalog, leaf_flush=False, **options).search(prompts, k, deny=deny)
    np.testing.assert_allclose(flushed[1], by_level[1], atol=1e-4)
    np.testing.assert_array_equal(flushed[0] < 0, by_level[0] < 0)
    for found, expected, scores in zip(flushed[0], by_level[0], by_level[1], strict=True):
        real = np.isfinite(scores)
        found, expected, scores = found[real], expected[real], scores[real]
        alone = [np.sum(np.abs(scores - score) < 2e-4) == 1 for score in scores]
        np.testing.assert_array_equal(found[alone][:-1], expected[alone][:-1])


@pytest.mark.parametrize("beams", [4, 1])
def test_a_flush_happens_when_few_items_are_left(beams, monkeypatch):
    catalog = TinyCatalog.random(60, (30, 30, 30, 30), seed=1)
    search = searching(tiny_causal_lm("qwen3", catalog.vocab_size), catalog, beams=beams)
    reads = []
    extend = SharedCache.extend
    monkeypatch.setattr(
        SharedCache,
        "extend",
        lambda self, *given: reads.append(given[0].numel()) or extend(self, *given),
    )
    search.search([catalog.prompt([3])], k=1)
    assert len(reads) <= 1, "after the first code nearly every prefix has one item"


def test_catalog_normalization_is_a_distribution_over_the_catalog():
    for codes in (
        TinyCatalog.random(40, (5, 4, 4), seed=6).codes,
        np.random.default_rng(7).integers(0, 3, (40, 3)),  # several items share their codes
    ):
        catalog = TinyCatalog(codes, (5, 4, 4))
        search = searching(tiny_causal_lm("qwen3", catalog.vocab_size), catalog, beams=40)
        items, scores = search.search([catalog.prompt([1, 2]), catalog.prompt([])], k=40)
        assert [sorted(row) for row in items.tolist()] == [list(range(40))] * 2
        np.testing.assert_allclose(np.exp(scores).sum(1), 1.0, atol=1e-5)


@given(data=st.data())
@settings(max_examples=60)
def test_filters_equal_scoring_only_what_they_allow(data, exhaustive):
    sizes = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=4).map(tuple))
    n = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    catalog = TinyCatalog(rng.integers(0, sizes, (n, len(sizes))).astype(np.int32), sizes)
    model = tiny_causal_lm("llama", catalog.vocab_size)
    allow = data.draw(st.none() | st.lists(st.integers(0, n - 1), unique=True).map(np.array))
    allow = None if allow is None else allow.astype(int)
    deny = [np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=n)), int) for _ in range(2)]
    prompts = [catalog.prompt([0]), catalog.prompt([n - 1, 0])]
    k = data.draw(st.integers(1, n + 2))
    items, scores = searching(model, catalog, beams=n).search(prompts, k, allow=allow, deny=deny)
    for row, prompt in enumerate(prompts):
        total = exhaustive(model, catalog, prompt, "catalog")
        legal = set(range(n) if allow is None else allow.tolist()) - set(deny[row].tolist())
        found = [item for item in items[row].tolist() if item >= 0]
        assert len(set(found)) == len(found) == min(k, len(legal))
        assert set(found) <= legal
        best = np.sort([total[item] for item in legal])[::-1][: len(found)]
        np.testing.assert_allclose(scores[row, : len(found)], best, atol=1e-4)
        np.testing.assert_allclose([total[item] for item in found], best, atol=1e-4)
        assert np.isneginf(scores[row, len(found) :]).all()


def test_a_narrow_beam_still_finds_k_items_under_a_hard_filter():
    catalog = TinyCatalog.random(200, (8, 8, 8), seed=7)
    search = searching(tiny_causal_lm("gpt2", catalog.vocab_size), catalog, beams=1)
    allow = np.array([3, 77, 150])
    items, _ = search.search([catalog.prompt([5])], k=10, allow=allow)
    assert set(items[0][:3].tolist()) == {3, 77, 150}
    assert (items[0][3:] == -1).all()


def test_a_batch_gives_what_each_request_gives_alone():
    catalog = TinyCatalog.random(80, (6, 6, 6), seed=8)
    model = tiny_causal_lm("qwen3", catalog.vocab_size)
    prompts = ragged_prompts(catalog, np.random.default_rng(9), rows=12)
    search = searching(model, catalog, beams=8, batch_tokens=100)
    deny = [np.arange(row) for row in range(12)]
    items, scores = search.search(prompts, k=5, deny=deny)
    for row, prompt in enumerate(prompts):
        alone, alone_scores = search.search([prompt], k=5, deny=deny[row : row + 1])
        np.testing.assert_array_equal(items[row], alone[0])
        np.testing.assert_allclose(scores[row], alone_scores[0], atol=1e-5)


def test_each_level_can_have_its_own_beams(exhaustive):
    catalog = TinyCatalog.random(60, (6, 6, 6), seed=8)
    model = tiny_causal_lm("qwen3", catalog.vocab_size)
    prompt = catalog.prompt([4, 9])
    total = exhaustive(model, catalog, prompt, "level")
    wide = searching(model, catalog, beams=(6, 36), normalization="level").search([prompt], 5)
    np.testing.assert_array_equal(wide[0][0], np.argsort(-total)[:5])
    narrow = searching(model, catalog, beams=(1, 36), normalization="level").search([prompt], 1)
    alike = searching(model, catalog, beams=1, normalization="level").search([prompt], 1)
    assert catalog.codes[narrow[0][0, 0], 0] == catalog.codes[alike[0][0, 0], 0]
    with pytest.raises(ConfigError, match="gives 1 widths for 3 levels"):
        searching(model, catalog, beams=(5,)).search([prompt], 1)


@pytest.mark.parametrize("sizes", [(300,), (2,) * 8, (30, 300)])
def test_one_level_eight_and_few_of_many_codes(sizes, exhaustive):
    catalog = TinyCatalog.random(120, sizes, seed=2)
    model = tiny_causal_lm("llama", catalog.vocab_size)
    prompts = [catalog.prompt([]), catalog.prompt([7])]
    items, _ = searching(model, catalog, beams=120).search(prompts, 120)
    for row, prompt in zip(items, prompts, strict=True):
        assert_best_first(row, exhaustive(model, catalog, prompt, "catalog"))


@pytest.mark.parametrize("architecture", CACHELESS)
def test_a_model_without_a_shareable_cache_is_searched_all_the_same(
    architecture, exhaustive, caplog
):
    catalog = TinyCatalog.random(25, (4, 5, 3), seed=3)
    model = tiny_causal_lm(architecture, catalog.vocab_size, seed=4)
    prompts = ragged_prompts(catalog, np.random.default_rng(5), rows=3, longest=4)
    search = BeamSearch(model, catalog.vocabulary, catalog.trie, BeamSettings(beams=25))
    with caplog.at_level(logging.WARNING):
        items, scores = search.search(prompts, k=25)
    assert search.reader is Replay
    assert "will not share a cache" in caplog.text
    for row, prompt in enumerate(prompts):
        total = exhaustive(model, catalog, prompt, "catalog")
        assert_best_first(items[row], total)
        np.testing.assert_allclose(scores[row], np.sort(total)[::-1], atol=1e-4)


def test_a_model_that_answers_otherwise_with_a_shared_cache_falls_back(monkeypatch, caplog):
    catalog = TinyCatalog.random(25, (4, 5, 3))
    model = tiny_causal_lm("llama", catalog.vocab_size)
    monkeypatch.setattr(SharedCache, "_visible", lambda *_: torch.ones(2, 2, 6, dtype=torch.bool))
    search = BeamSearch(model, catalog.vocabulary, catalog.trie)
    assert search.reader is Replay
    assert "gives other results" in caplog.text


def everyone_sees_everyone(self, lines):
    rows, new, _ = lines.shape
    seen = torch.ones(rows, new, self.slots, dtype=torch.bool)
    return torch.cat([self.real[:, None].expand(-1, new, -1), seen], dim=2)


def padding_is_seen(self, lines):
    self.real = torch.ones_like(self.real)
    return SharedCache.sound_visible(self, lines)


def positions_stand_still(self, tokens, lines):
    self.lengths = self.lengths - (lines >= 0).sum(-1).amax(1)
    return SharedCache.sound_extend(self, tokens, lines)


def ancestors_are_shifted(self, tokens, lines):
    shifted = torch.where(lines > 0, lines - 1, lines)
    return SharedCache.sound_extend(self, tokens, shifted)


@pytest.mark.parametrize(
    ("method", "bug"),
    [
        ("_visible", everyone_sees_everyone),
        ("_visible", padding_is_seen),
        ("extend", positions_stand_still),
        ("extend", ancestors_are_shifted),
    ],
)
def test_the_oracle_notices_a_planted_bug(method, bug, generate, assert_same_ranking, monkeypatch):
    catalog = TinyCatalog.random(60, (7, 6, 5), seed=1)
    model = tiny_causal_lm("qwen3", catalog.vocab_size)
    prompts = ragged_prompts(catalog, np.random.default_rng(2), rows=6)
    expected = generate(model, catalog, prompts, beams=6)
    search = searching(model, catalog, beams=6, normalization="vocabulary")
    assert_same_ranking(search.search(prompts, k=6), expected)
    monkeypatch.setattr(SharedCache, "sound_visible", SharedCache._visible, raising=False)
    monkeypatch.setattr(SharedCache, "sound_extend", SharedCache.extend, raising=False)
    monkeypatch.setattr(SharedCache, method, bug)
    with pytest.raises(AssertionError):
        assert_same_ranking(search.search(prompts, k=6), expected)


def test_codes_may_lie_anywhere_in_the_vocabulary(exhaustive):
    catalog = TinyCatalog.random(20, (4, 5), seed=3)
    scattered = CodeVocabulary((np.array([30, 2, 19, 8]), np.array([1, 40, 6, 33, 21])))

    class Scattered(TinyCatalog):
        vocabulary = scattered

    moved = Scattered(catalog.codes, catalog.codebook_sizes)
    model = tiny_causal_lm("llama", 41)
    items, _ = searching(model, moved, beams=20).search([moved.prompt([3])], 20)
    total = exhaustive(model, moved, moved.prompt([3]), "catalog")
    assert_best_first(items[0], total)


def test_threads_may_share_a_search():
    catalog = TinyCatalog.random(80, (6, 6, 6), seed=8)
    search = searching(tiny_causal_lm("qwen3", catalog.vocab_size), catalog, beams=8)
    prompts = ragged_prompts(catalog, np.random.default_rng(9), rows=48)
    expected = [search.search([prompt], k=5) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompt: search.search([prompt], k=5), prompts))
    for (items, scores), (right_items, right_scores) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(items, right_items)
        np.testing.assert_allclose(scores, right_scores, atol=1e-6)


def test_a_failing_forward_leaves_no_hook_behind(monkeypatch):
    catalog = TinyCatalog.random(30, (4, 4, 4))
    model = tiny_causal_lm("llama", catalog.vocab_size)
    search = searching(model, catalog, beams=4)
    layer = model.base_model.layers[-1].mlp
    monkeypatch.setattr(layer.down_proj, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        search.search([catalog.prompt([1])], k=2)
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks


def test_an_error_without_words_is_no_reason_to_fail(monkeypatch, caplog):
    def unwilling(*_):
        raise NotImplementedError

    catalog = TinyCatalog.random(25, (4, 5, 3))
    monkeypatch.setattr(SharedCache, "extend", unwilling)
    search = BeamSearch(
        tiny_causal_lm("llama", catalog.vocab_size), catalog.vocabulary, catalog.trie
    )
    assert search.reader is Replay
    assert "NotImplementedError" in caplog.text


def test_the_window_of_a_nested_config_is_found():
    nested = Gemma3Config(text_config={"sliding_window": 77, "num_hidden_layers": 7})
    assert SlidingWindow.of(nested) == SlidingWindow(77, mask_per_kind=True)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([[0], []], {}, "prompt 1 is empty"),
        ([[0]], {"deny": []}, "1 prompts but 0 lists"),
        ([[0]], {"deny": [np.array([3, 25])]}, "item 25 is outside the catalog of 25 items"),
        ([[0]], {"allow": np.array([-1])}, "item -1 is outside"),
    ],
)
def test_what_cannot_be_searched_is_said(prompts, options, message):
    catalog = TinyCatalog.random(25, (4, 5, 3))
    search = searching(tiny_causal_lm("llama", catalog.vocab_size), catalog)
    with pytest.raises(InputError, match=message):
        search.search(prompts, 3, **options)
