"""The processor inside `generate`, against `prefix_allowed_tokens_fn` and against a dictionary of sets."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from transformers import LogitsProcessorList

from genrec.common.errors import InputError
from genrec.decoding.logits_processor import CatalogLogitsProcessor
from genrec.decoding.trie import Trie
from genrec.language_model.vocabulary import CodeVocabulary
from genrec.testing.fakes import ARCHITECTURES, TinyCatalog, tiny_causal_lm

EOS = 1


def left_padded(prompts):
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


def ragged(catalog, rows=4, seed=2):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 8, rows)
    return [catalog.prompt(list(rng.integers(0, len(catalog.codes), n))) for n in lengths]


def generate(model, prompts, *, constraint, **options):
    ids, mask = left_padded(prompts)
    defaults = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return model.generate(ids, attention_mask=mask, **constraint, **(defaults | options))


def by_processor(catalog, prompts, **options):
    width = max(map(len, prompts))
    processor = CatalogLogitsProcessor(catalog.trie, catalog.vocabulary, width, **options)
    return processor, {"logits_processor": LogitsProcessorList([processor])}


def successors(tokens):
    """Each prefix of the catalog's token rows with the tokens that continue it."""
    found = {}
    for row in tokens:
        for level in range(len(row)):
            prefix = tuple(map(int, row[:level]))
            found.setdefault(prefix, set()).add(int(row[level]))
    return found


def by_function(catalog, prompts):
    width = max(map(len, prompts))
    after = successors(catalog.vocabulary.encode(catalog.codes))
    return {"prefix_allowed_tokens_fn": lambda _, sent: sorted(after[tuple(sent[width:].tolist())])}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_beam_search_equals_prefix_allowed_tokens_fn(architecture):
    catalog = TinyCatalog.random(60, (7, 6, 5), seed=1)
    model, prompts = tiny_causal_lm(architecture, catalog.vocab_size), ragged(catalog)
    options = {
        "num_beams": 6,
        "num_return_sequences": 6,
        "max_new_tokens": 3,
        "output_scores": True,
        "return_dict_in_generate": True,
    }
    expected = generate(model, prompts, constraint=by_function(catalog, prompts), **options)
    processor, constraint = by_processor(catalog, prompts)
    out = generate(model, prompts, constraint=constraint, **options)
    assert torch.equal(out.sequences, expected.sequences)
    assert torch.equal(out.sequences_scores, expected.sequences_scores)
    codes = catalog.vocabulary.decode(out.sequences[:, -3:].numpy())
    assert np.array_equal(catalog.codes[processor.items(out.sequences)], codes)


@pytest.mark.parametrize("beams", [1, 5])
def test_an_item_is_followed_by_the_end_of_the_sequence_only(beams):
    catalog = TinyCatalog.random(40, (5, 5, 4), seed=3)
    model, prompts = tiny_causal_lm("llama", catalog.vocab_size), ragged(catalog, seed=4)
    processor, constraint = by_processor(catalog, prompts, eos_token_id=EOS)
    options = {"num_beams": beams, "num_return_sequences": beams, "length_penalty": 0.0}
    longer = {"eos_token_id": EOS, "max_new_tokens": 9}
    out = generate(model, prompts, constraint=constraint, **options, **longer)
    width = processor.prompt_length
    assert out.shape[1] == width + 4
    assert (out[:, width + 3] == EOS).all()
    short = generate(
        model, prompts, constraint=by_processor(catalog, prompts)[1], max_new_tokens=3, **options
    )
    found, expected = (processor.items(s).view(-1, beams).sort(1).values for s in (out, short))
    assert torch.equal(found, expected)


def test_greedy_equals_prefix_allowed_tokens_fn():
    catalog = TinyCatalog.random(200, (9, 8, 7, 3), seed=5)
    model, prompts = tiny_causal_lm("qwen3", catalog.vocab_size), ragged(catalog, rows=9)
    expected = generate(model, prompts, constraint=by_function(catalog, prompts), max_new_tokens=4)
    out = generate(model, prompts, constraint=by_processor(catalog, prompts)[1], max_new_tokens=4)
    assert torch.equal(out, expected)


def test_sampling_yields_catalog_items_only():
    catalog = TinyCatalog.random(30, (9, 9, 9), seed=6)
    model, prompts = tiny_causal_lm("gpt2", catalog.vocab_size), ragged(catalog)
    processor, constraint = by_processor(catalog, prompts)
    torch.manual_seed(0)
    out = generate(
        model,
        prompts,
        constraint=constraint,
        do_sample=True,
        temperature=3.0,
        num_return_sequences=50,
        max_new_tokens=3,
    )
    items = processor.items(out)
    codes = catalog.vocabulary.decode(out[:, -3:].numpy())
    assert np.array_equal(catalog.codes[items], codes)
    assert len(items.unique()) > 5


@given(st.data())
@settings(max_examples=120)
def test_the_mask_equals_a_dictionary_of_sets(data):
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    codes = np.array(
        data.draw(
            st.lists(
                st.tuples(*(st.integers(0, size - 1) for size in sizes)), min_size=1, max_size=30
            )
        )
    )  # rows may repeat: items that share a semantic ID
    order = data.draw(st.permutations(range(2, 2 + sum(sizes))))  # tokens in any order
    splits = np.split(np.array(order, np.int64), np.cumsum(sizes)[:-1])
    vocabulary = CodeVocabulary(tuple(splits))
    tokens = vocabulary.encode(codes)
    width, prompt_length = 2 + sum(sizes) + 3, data.draw(st.integers(0, 3))
    endings = np.full((len(codes), 3), EOS)  # an item is followed by ends of sequence
    sequences = np.concatenate([tokens, endings], axis=1)
    after, step = successors(sequences), data.draw(st.integers(0, len(sizes) + 2))
    columns = [st.sampled_from([*level.tolist(), EOS]) for level in splits] + [
        st.sampled_from([EOS, EOS, 0])
    ] * 2
    row = st.one_of(
        st.sampled_from([r[:step] for r in sequences.tolist()]),
        st.tuples(*columns[:step]),  # each a code of its level: prefixes die and seem to revive
        st.lists(st.integers(0, width - 1), min_size=step, max_size=step),
    )
    generated = data.draw(st.lists(row, min_size=1, max_size=8))
    ids = torch.tensor([[7] * prompt_length + list(g) for g in generated], dtype=torch.int64)
    ids = ids.view(len(generated), -1)
    scores = torch.randn(len(generated), width, generator=torch.Generator().manual_seed(0))
    processor = CatalogLogitsProcessor(
        Trie.build(codes, tuple(sizes)), vocabulary, prompt_length, eos_token_id=EOS
    )
    before = scores.clone()
    out = processor(ids, scores)
    assert torch.equal(scores, before)
    for i, prefix in enumerate(map(tuple, generated)):
        legal = sorted(after.get(prefix, set()))
        expected = torch.full((width,), -torch.inf)
        expected[legal] = scores[i, legal]
        assert torch.equal(out[i], expected)


def test_levels_of_65536_codes():
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 65_536, (5_000, 2))
    codes[:4] = [[65_535, 65_535], [65_535, 0], [0, 65_535], [65_535, 32_768]]
    catalog = TinyCatalog(codes.astype(np.int32), (65_536, 65_536))
    processor = CatalogLogitsProcessor(catalog.trie, catalog.vocabulary, 0)
    tokens, width = catalog.vocabulary.encode(codes), catalog.vocab_size
    first = processor(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, width))
    assert set(torch.nonzero(first[1] == 0)[:, 0].tolist()) == set(tokens[:, 0].tolist())
    second = processor(torch.from_numpy(tokens[:3, :1]), torch.zeros(3, width))
    for row, prefix in zip(second, tokens[:3, 0], strict=True):
        expected = set(tokens[tokens[:, 0] == prefix, 1].tolist())
        assert set(torch.nonzero(row == 0)[:, 0].tolist()) == expected


def test_items_that_share_a_semantic_id_are_read_as_the_first():
    vocabulary = CodeVocabulary((np.array([2, 3]), np.array([4, 5])))
    trie = Trie.build(np.array([[1, 1], [0, 1], [0, 1], [1, 0]]), (2, 2))
    processor = CatalogLogitsProcessor(trie, vocabulary, 1)
    sequences = torch.tensor([[9, 2, 5], [9, 3, 4], [9, 2, 4], [9, 3, 3], [9, 3, 5]])
    assert processor.items(sequences).tolist() == [1, 3, -1, -1, 0]


@pytest.mark.parametrize("step", range(4))
def test_no_value_is_read_back_from_the_device(step):
    """A fake tensor has no values: whatever waits for one raises."""
    catalog = TinyCatalog.random(50, (6, 6, 6), seed=8)
    processor = CatalogLogitsProcessor(catalog.trie, catalog.vocabulary, 2, eos_token_id=EOS)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        ids = mode.from_tensor(torch.zeros(4, 2 + step, dtype=torch.int64))
        scores = mode.from_tensor(torch.zeros(4, catalog.vocab_size))
        with pytest.raises(DataDependentOutputException):
            scores.max().item()
        assert processor(ids, scores).shape == scores.shape


def test_one_code_in_all_and_one_level():
    trie = Trie.build(np.zeros((3, 1), int), (1,))
    processor = CatalogLogitsProcessor(trie, CodeVocabulary((np.array([4]),)), 2)
    out = processor(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 6))
    assert (out == 0).nonzero().tolist() == [[0, 4], [1, 4]]


class TestRefusals:
    catalog = TinyCatalog.random(10, (3, 3, 3))

    def processor(self, prompt_length=2, **options):
        return CatalogLogitsProcessor(
            self.catalog.trie, self.catalog.vocabulary, prompt_length, **options
        )

    def test_a_token_after_the_item_without_an_end_of_sequence(self):
        scores = torch.zeros(1, self.catalog.vocab_size)
        with pytest.raises(InputError, match="max_new_tokens = 3, or give eos_token_id"):
            self.processor()(torch.zeros(1, 5, dtype=torch.int64), scores)

    def test_sequences_narrower_than_the_prompts(self):
        scores = torch.zeros(1, self.catalog.vocab_size)
        with pytest.raises(InputError, match="narrower than prompt_length = 9"):
            self.processor(9)(torch.zeros(1, 5, dtype=torch.int64), scores)

    def test_too_few_logits(self):
        with pytest.raises(InputError, match="logits of 13 tokens lack some"):
            self.processor()(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 13))

    def test_too_few_tokens_to_read_an_item(self):
        with pytest.raises(InputError, match="2 tokens were generated, an item has 3"):
            self.processor().items(torch.zeros(1, 4, dtype=torch.int64))

    def test_a_vocabulary_of_other_codebooks(self):
        other = TinyCatalog.random(10, (3, 3, 4))
        with pytest.raises(InputError, match=r"\(3, 3, 4\).*\(3, 3, 3\)"):
            CatalogLogitsProcessor(self.catalog.trie, other.vocabulary, 0)

    def test_a_negative_prompt_length(self):
        with pytest.raises(InputError, match="prompt_length = -1"):
            self.processor(-1)


def test_importing_the_package_does_not_import_transformers():
    code = (
        "import sys, genrec.decoding as d; assert 'transformers' not in sys.modules;"
        "d.CatalogLogitsProcessor; assert 'transformers' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
