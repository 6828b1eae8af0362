"""The vLLM plug-ins: with vLLM's own classes where it is installed, else with its interface restated."""

import importlib
import importlib.util
import json
import shutil
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from genrec.common.errors import InputError, RecommenderError
from genrec.decoding.vllm_requests import check_request, open_catalog, wants_item
from genrec.language_model.vocabulary import CodeVocabulary
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained

CATALOG = TinyCatalog.random(20, (4, 3, 3), seed=1)
L = 3


def stand_in_for_vllm(put):
    """Modules with what the plug-ins take from vLLM 0.33: the base classes and the batch's vocabulary."""

    class V1Processor(ABC):
        @classmethod
        def validate_params(cls, sampling_params):
            return None

        @abstractmethod
        def __init__(self, vllm_config, device, is_pin_memory): ...

        @abstractmethod
        def apply(self, logits): ...

        @abstractmethod
        def is_argmax_invariant(self): ...

        @abstractmethod
        def update_state(self, batch_update): ...

    class V2Processor(ABC):
        def __init__(self, vllm_config, req_states):
            return None

        @classmethod
        def validate_params(cls, sampling_params):
            return None

        def add_request(self, req_idx, sampling_params):
            return True

        def apply_staged_writes(self):
            return None

        @abstractmethod
        def apply(self, logits, ctx): ...

    @dataclass(frozen=True)
    class BatchUpdate:
        batch_size: int
        removed: list
        added: list
        moved: list

    direction = Enum("MoveDirectionality", ["UNIDIRECTIONAL", "SWAP"])
    contents = {
        "vllm.v1.sample.logits_processor": {
            "LogitsProcessor": V1Processor,
            "BatchUpdate": BatchUpdate,
            "MoveDirectionality": direction,
        },
        "vllm.v1.worker.gpu.sample.logits_processor": {"LogitsProcessor": V2Processor},
    }
    for name, members in contents.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            if path not in sys.modules:
                put(path, ModuleType(path))
        vars(sys.modules[name]).update(members)


@pytest.fixture(scope="module")
def plugins():
    """The two plug-in modules, and the module that has the first interface's classes."""
    patch = pytest.MonkeyPatch()
    if importlib.util.find_spec("vllm") is None:
        stand_in_for_vllm(lambda name, module: patch.setitem(sys.modules, name, module))
    names = ["genrec.decoding.vllm_processor", "genrec.decoding.vllm_v2_processor"]
    loaded = {name.split(".")[-1]: importlib.import_module(name) for name in names}
    interface = importlib.import_module("vllm.v1.sample.logits_processor")
    yield SimpleNamespace(interface=interface, **loaded)
    for name in names:  # they were made of classes that go now
        del sys.modules[name]
    patch.undo()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the plug-ins read of a recommender: trie, tokenizer."""
    folder = tmp_path_factory.mktemp("recommender")
    save_tiny_pretrained(folder / "language_model", "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder / "language_model")
    CodeVocabulary.extend(tokenizer, CATALOG.codebook_sizes)
    tokenizer.save_pretrained(folder / "language_model")
    CATALOG.trie.save(folder / "trie.safetensors")
    return folder


@pytest.fixture(scope="module")
def tokens(folder):
    """LM tokens of the catalog's items."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "language_model")
    return CodeVocabulary.of(tokenizer, CATALOG.codebook_sizes).encode(CATALOG.codes).tolist()


def vllm_config(folder, width=32, **options):
    config = {
        "additional_config": {"genrec_recommender": str(folder)},
        "model_config": SimpleNamespace(get_vocab_size=lambda: width),
        "speculative_config": None,
    }
    return SimpleNamespace(**(config | options))


def params(wanted=True, stops=(), **options):
    extra = {"genrec": wanted} if wanted is not None else None
    return SimpleNamespace(extra_args=extra, all_stop_token_ids=set(stops), **options)


@dataclass
class Request:
    """A running request as the test sees it."""

    params: SimpleNamespace
    prompt: list[int]
    generated: list[int] = field(default_factory=list)

    def legal(self, tokens):
        """Tokens that may come; None where all may."""
        level = len(self.generated)
        if not wants_item(self.params):
            return None
        if level >= L:
            return self.params.all_stop_token_ids or None
        return {row[level] for row in tokens if row[:level] == self.generated}


def draw_request(data, tokens):
    wanted = data.draw(st.sampled_from([True, True, 1, False, None]))
    stops = data.draw(st.sets(st.integers(0, 3), max_size=2))
    prompt = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=4))
    resumed = data.draw(st.sampled_from(tokens))[: data.draw(st.integers(0, L))]
    return Request(params(wanted, stops), prompt, list(resumed))


def check(logits, out, requests, tokens):
    """Each row is what its request gets by itself."""
    width = logits.shape[1]
    for row, request in enumerate(requests):
        legal = request.legal(tokens)
        expected = logits[row].clone()
        if legal is not None:
            expected[sorted(set(range(width)) - legal)] = -torch.inf
        assert torch.equal(out[row], expected)


def sample(data, request, tokens):
    """A token that the mask would let through."""
    legal = request.legal(tokens)
    return data.draw(st.sampled_from(sorted(legal))) if legal else data.draw(st.integers(0, 30))


class Engine:
    """Keeps a dense batch the way vLLM's first model runner does, and says what it did."""

    def __init__(self, interface):
        self.interface, self.rows = interface, []

    def step(self, leaving, coming, swaps):
        removed, added, moved = sorted(leaving), [], []
        for row in removed:
            self.rows[row] = None
        for request in coming:  # into the lowest hole, else behind the last row
            row = removed.pop(0) if removed else len(self.rows)
            self.rows[row : row + 1] = [request]
            added.append((row, request.params, request.prompt, request.generated))
        directions = self.interface.MoveDirectionality
        while None in self.rows:  # the last row slides into the lowest hole
            last = self.rows.pop()
            if last is not None:
                hole = removed.pop(0)
                self.rows[hole] = last
                moved.append((len(self.rows), hole, directions.UNIDIRECTIONAL))
        for one, other in swaps(len(self.rows)):
            self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
            moved.append((one, other, directions.SWAP))
        if not (removed or added or moved):
            return None
        return self.interface.BatchUpdate(
            batch_size=len(self.rows), removed=removed[::-1], added=added, moved=moved
        )


@given(data=st.data())
@settings(max_examples=80)
def test_the_first_runners_batch_is_followed_through_any_changes(data, plugins, folder, tokens):
    processor = plugins.vllm_processor.CatalogProcessor(
        vllm_config(folder), torch.device("cpu"), False
    )
    engine = Engine(plugins.interface)

    def swaps(rows):
        if rows < 2:
            return []
        pair = st.tuples(*[st.integers(0, rows - 1)] * 2).filter(lambda p: p[0] != p[1])
        return data.draw(st.lists(pair, max_size=2))

    for _ in range(data.draw(st.integers(1, 8))):
        rows = len(engine.rows)
        leaving = data.draw(st.sets(st.integers(0, rows - 1))) if rows else set()
        coming = [draw_request(data, tokens) for _ in range(data.draw(st.integers(0, 3)))]
        processor.update_state(engine.step(leaving, coming, swaps))
        logits = torch.randn(len(engine.rows), 32, generator=torch.Generator().manual_seed(0))
        check(logits, processor.apply(logits.clone()), engine.rows, tokens)
        for request in engine.rows:
            request.generated.append(sample(data, request, tokens))


@given(data=st.data())
@settings(max_examples=80)
def test_the_second_runners_slots_are_followed_through_any_changes(data, plugins, folder, tokens):
    slots, longest = 5, 12
    states = SimpleNamespace(
        device=torch.device("cpu"),
        vocab_size=32,
        all_token_ids=SimpleNamespace(gpu=torch.zeros(slots, longest, dtype=torch.int32)),
        prompt_len=SimpleNamespace(np=np.zeros(slots, np.int32)),
    )
    processor = plugins.vllm_v2_processor.CatalogProcessor(vllm_config(folder), states)
    held = {}
    for _ in range(data.draw(st.integers(1, 10))):
        for slot in data.draw(st.sets(st.sampled_from(sorted(held)))) if held else ():
            del held[slot]
        for slot in data.draw(st.sets(st.integers(0, slots - 1))) - set(held):
            held[slot] = draw_request(data, tokens)
            states.prompt_len.np[slot] = len(held[slot].prompt)
            states.all_token_ids.gpu[slot] = 31  # what an earlier request left there
            answer = processor.add_request(slot, held[slot].params)
            assert answer == wants_item(held[slot].params)
        order = data.draw(st.permutations(sorted(held)))
        order = order[: data.draw(st.integers(0, len(order)))]  # not all are scheduled each step
        for slot in order:
            line = [*held[slot].prompt, *held[slot].generated][:longest]
            states.all_token_ids.gpu[slot, : len(line)] = torch.tensor(line, dtype=torch.int32)
        lengths = [len(held[slot].prompt) + len(held[slot].generated) for slot in order]
        context = SimpleNamespace(
            idx_mapping_np=np.array(order, np.intp),
            seq_lens_upper_bound_np=np.array(
                lengths + [0] * data.draw(st.integers(0, 2)), np.int32
            ),
        )
        logits = torch.randn(len(order), 32, generator=torch.Generator().manual_seed(0))
        out = processor.apply(logits.clone(), context)
        check(logits, out, [held[slot] for slot in order], tokens)
        for slot in order:
            held[slot].generated.append(sample(data, held[slot], tokens))


def test_a_prompt_that_is_still_being_read_is_left_alone(plugins, folder):
    states = SimpleNamespace(
        device=torch.device("cpu"),
        vocab_size=32,
        all_token_ids=SimpleNamespace(gpu=torch.zeros(1, 8, dtype=torch.int32)),
        prompt_len=SimpleNamespace(np=np.array([6], np.int32)),
    )
    processor = plugins.vllm_v2_processor.CatalogProcessor(vllm_config(folder), states)
    processor.add_request(0, params())
    context = SimpleNamespace(
        idx_mapping_np=np.array([0]), seq_lens_upper_bound_np=np.array([4], np.int32)
    )
    assert torch.equal(processor.apply(torch.zeros(1, 32), context), torch.zeros(1, 32))


def test_the_second_runner_refuses_speculative_decoding(plugins, folder):
    config = vllm_config(folder, speculative_config=object())
    with pytest.raises(InputError, match="speculative decoding"):
        plugins.vllm_v2_processor.CatalogProcessor(config, SimpleNamespace())


def test_the_first_runners_interface_is_kept(plugins, folder):
    kind = plugins.vllm_processor.CatalogProcessor
    assert issubclass(kind, plugins.interface.LogitsProcessor)
    processor = kind(vllm_config(folder), torch.device("cpu"), False)
    assert processor.is_argmax_invariant() is False
    processor.update_state(None)
    logits = torch.zeros(2, 32)
    assert processor.apply(logits) is logits
    with pytest.raises(ValueError, match="'maybe'"):
        kind.validate_params(params("maybe"))


def test_a_model_without_the_codes_is_refused_when_the_engine_starts(plugins, folder):
    with pytest.raises(InputError, match="logits of 20 tokens"):
        plugins.vllm_processor.CatalogProcessor(
            vllm_config(folder, width=20), torch.device("cpu"), False
        )


@pytest.mark.parametrize("value", [True, False, None, 1, 0, 1.0])
def test_flags_that_may_be_given(value):
    """A JSON true arrives as 1: vLLM's HTTP server takes numbers and strings only."""
    check_request(params(value))
    assert wants_item(params(value)) == bool(value)


@pytest.mark.parametrize("value", ["true", "yes", 2, -1, 0.5, [], {}, [True]])
def test_flags_that_are_refused(value):
    with pytest.raises(InputError, match="True generates an item"):
        check_request(params(value))


@pytest.mark.parametrize(
    "other",
    [
        {"structured_outputs": object()},
        {"allowed_token_ids": [3]},
        {"bad_words": ["A"]},
        {"min_tokens": 2},
        {"thinking_token_budget": 10},
    ],
)
def test_parameters_that_also_rule_tokens_are_refused(other):
    with pytest.raises(InputError, match=next(iter(other))):
        check_request(params(**other))
    check_request(params(False, **other))
    check_request(params(None, **other))


class TestFolders:
    def test_without_a_stored_trie_it_is_built_from_the_catalog(self, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "old")
        (copy / "trie.safetensors").unlink()
        codes = pa.array(CATALOG.codes.tolist(), pa.list_(pa.int32()))
        pq.write_table(pa.table({"semantic_id": codes}), copy / "catalog.parquet")
        facts = {"semantic_ids": {"codebook_sizes": list(CATALOG.codebook_sizes)}}
        (copy / "recommender.json").write_text(json.dumps(facts))
        built = open_catalog({"genrec_recommender": copy}, "cpu").trie
        stored = open_catalog({"genrec_recommender": folder}, "cpu").trie
        assert torch.equal(built.leaf_item, stored.leaf_item)
        assert built.codebook_sizes == stored.codebook_sizes

    @pytest.mark.parametrize("config", [{}, {"genrec_recommender": 3}, None, "FOLDER"])
    def test_a_config_that_names_no_folder(self, config):
        with pytest.raises(InputError, match="genrec_recommender"):
            open_catalog(config, "cpu")

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(RecommenderError, match="nowhere is not a folder"):
            open_catalog({"genrec_recommender": str(tmp_path / "nowhere")}, "cpu")

    def test_a_folder_that_is_no_recommender(self, tmp_path):
        with pytest.raises(RecommenderError, match="does not hold a recommender's catalog"):
            open_catalog({"genrec_recommender": str(tmp_path)}, "cpu")

    def test_a_folder_without_a_tokenizer(self, folder, tmp_path):
        shutil.copy(folder / "trie.safetensors", tmp_path)
        with pytest.raises(RecommenderError, match="the tokenizer in"):
            open_catalog({"genrec_recommender": str(tmp_path)}, "cpu")

    def test_a_tokenizer_of_another_recommender(self, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "mixed")
        TinyCatalog.random(5, (4, 3, 9)).trie.save(copy / "trie.safetensors")
        with pytest.raises(RecommenderError, match="lacks 6 of the 9 tokens of level 2"):
            open_catalog({"genrec_recommender": str(copy)}, "cpu")


def test_a_saved_recommender_is_read(recommender, recommender_folder):
    mask = open_catalog({"genrec_recommender": str(recommender_folder)}, "cpu")
    tokens = recommender.language_model.vocabulary.encode(recommender.semantic_ids.codes)
    nodes, real = mask.walk(torch.from_numpy(tokens))
    assert real.all()
    first, _ = mask.trie.leaves(mask.levels, nodes)
    codes = recommender.semantic_ids.codes
    assert np.array_equal(codes[mask.trie.leaf_item[first]], codes)
