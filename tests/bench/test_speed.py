"""The speed benchmark: its formula by hand, its catalogs and constraint step by brute force, its resuming."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from yaml import safe_load as load_yaml

from bench.speed import machine, plan, results
from bench.speed.contenders import (
    CACHED,
    CALLBACK,
    CATALOG,
    PREFILL,
    PROCESSOR,
    VOCABULARY,
    Contender,
    contenders,
)
from bench.speed.filtering import Filters
from bench.speed.indexing import ConstraintStep, walk
from bench.speed.machine import measure_rates
from bench.speed.plan import SpeedPlan
from bench.speed.plots import growth, plot_growth, require_matplotlib
from bench.speed.race import Outcome, Timing, interleaved, race
from bench.speed.results import Results
from bench.speed.roofline import ModelCost, Rates, repeated_cost, roofline, rows_share
from bench.speed.searching import invalid_rate, measure_search, overlap, same_lists
from bench.speed.tables import markdown
from bench.speed.workload import ModelShape, Stage, Workload, random_codes, random_model
from genrec.common.errors import ConfigError, InputError, MissingExtraError
from genrec.decoding import Trie

EVAL = Path(__file__).resolve().parents[2] / "eval"
TINY = ModelShape(width=16, layers=2, heads=2, key_value_heads=1, head_dim=8, inner=24)
SMALL = Workload(users=2, prompt=7, beams=3, levels=3, codes=8, items=60)
HASTY = Timing(calls=2, seconds=0.01, fewest=1, budget=60)


def benchmark(name):
    """A YAML file's plan, without the settings that only the recipe has."""
    values = load_yaml((EVAL / name).read_text())
    return SpeedPlan.model_validate(
        {key: values[key] for key in values if key in SpeedPlan.model_fields}
    )


def test_the_roofline_by_hand():
    cost = ModelCost(parameters=1000, attention=10, cache_bytes=4, value_bytes=2)
    steps = roofline(cost, Rates(1000, 100), Workload(users=2, prompt=3, beams=5, levels=3))
    assert [step.name for step in steps] == ["prefill", "level 1", "level 2"]
    # 2 (2·1000·3 + 2·10·9) / 1000; 2·5 (2·1000 + 4·10·(3 + l)) / 1000
    assert [step.compute for step in steps] == pytest.approx([12.36, 21.6, 22.0])
    # 1000·2 / 100; (1000·2 + 2 (3 + 5 l) 4) / 100
    assert [step.memory for step in steps] == pytest.approx([20.0, 20.64, 21.04])
    assert sum(step.seconds for step in steps) == pytest.approx(20 + 21.6 + 22)


def test_rows_and_repeated_cost_by_hand():
    workload = Workload(users=2, prompt=80, beams=20, levels=4)
    assert rows_share(workload) == (80 + 60) / 80
    cost = ModelCost(parameters=1000, attention=10, cache_bytes=4, value_bytes=2)
    assert repeated_cost(cost, workload) == 40 * (2000 * 83 + 20 * 6400)


@pytest.mark.parametrize("architecture", ["Qwen3", "Llama"])
def test_the_cost_of_a_model_by_hand(architecture):
    model = random_model(TINY.replace(architecture=architecture), 50, "cpu", 0)
    attention = 16 * 16 + 2 * 16 * 8 + 16 * 16
    norms = 2 * 16 + (2 * 8 if architecture == "Qwen3" else 0)
    layers = 2 * (attention + 3 * 16 * 24 + norms) + 16
    assert ModelCost.of(model) == ModelCost(layers, 2 * 2 * 8, 2 * 2 * 1 * 8 * 4, 4)


@pytest.mark.parametrize(
    ("name", "millions"), [("4m", 4.5), ("30m", 30), ("135m", 135), ("0.6b", 597)]
)
def test_the_models_are_as_large_as_their_names(name, millions):
    shape = benchmark("speed.yaml").models[name].replace(dtype="float32")
    with torch.device("meta"):
        model = random_model(shape, shape.ordinary_tokens + 1024, "meta", 0)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(
    ("items", "sizes"),
    [(500, (256, 256, 256, 256)), (500, (8192,) * 3), (900, (10, 10, 10)), (60, (3, 4, 5))],
)
def test_random_codes_are_distinct_and_in_range(items, sizes):
    codes = random_codes(items, sizes, seed=1)
    assert codes.shape == (items, len(sizes))
    assert codes.dtype == np.int32
    assert len(np.unique(codes, axis=0)) == items
    assert (codes >= 0).all()
    assert (codes < np.array(sizes)).all()
    np.testing.assert_array_equal(codes, random_codes(items, sizes, seed=1))
    assert not np.array_equal(codes, random_codes(items, sizes, seed=2))


def test_random_codes_use_the_whole_space_evenly_and_in_no_order():
    codes = random_codes(20_000, (64, 64, 64), seed=0)
    for level in range(3):
        counts = np.bincount(codes[:, level], minlength=64)
        assert abs(counts - 20_000 / 64).max() < 6 * math.sqrt(20_000 / 64)
    assert np.corrcoef(np.arange(20_000), codes[:, 0])[0, 1] == pytest.approx(0, abs=0.04)


def test_more_items_than_codes_are_refused():
    with pytest.raises(InputError, match="make only 8"):
        random_codes(9, (2, 2, 2), seed=0)


def brute_force(codes, prefixes, scores, logits, level, width):
    """Every extension of every prefix, one at a time, as (code tuple, score)."""
    found = []
    for prefix, score, row in zip(prefixes, scores, logits, strict=True):
        known = {tuple(c) for c in codes[:, : level + 1].tolist()}
        allowed = [c for c in range(len(row)) if (*prefix, c) in known]
        total = math.log(sum(math.exp(row[c]) for c in allowed))
        found += [((*prefix, c), score + row[c] - total) for c in allowed]
    return sorted(found, key=lambda pair: -pair[1])[:width]


def path_of(codes, trie, depth, node):
    """The codes above a node, read off any of its items."""
    first, _ = trie.leaves(depth, torch.tensor([node]))
    return tuple(codes[int(trie.leaf_item[first][0])][:depth].tolist())


def test_the_constraint_step_equals_brute_force():
    codes = random_codes(60, SMALL.codebook_sizes, seed=4)
    trie = Trie.build(codes, SMALL.codebook_sizes)
    for level, beams, logits, width in walk(trie, SMALL, "cpu"):
        best = ConstraintStep(trie)(level, beams, logits, width)
        for row in range(SMALL.users):
            prefixes = [path_of(codes, trie, level, int(node)) for node in beams.nodes[row]]
            arguments = (beams.scores[row].tolist(), logits[row].tolist(), level, width)
            expected = brute_force(codes, prefixes, *arguments)
            paths = [path_of(codes, trie, level + 1, int(node)) for node in best.nodes[row]]
            assert paths == [path for path, _ in expected]
            scores = [score for _, score in expected]
            assert best.scores[row].tolist() == pytest.approx(scores, abs=1e-5)


def test_invalid_entries_by_hand():
    items = np.array([[1, 2, 1, 1], [-1, 0, 9, 3]], np.int32)
    assert invalid_rate(items, catalog=5) == (2 + 2) / 8
    forbidden = Filters(allow=np.array([1, 2, 3]), deny=[[2], []]).forbidden(2, 5)
    assert forbidden.tolist() == [[True, False, True, False, True], [True, *[False] * 3, True]]
    assert invalid_rate(items, 5, forbidden) == (3 + 3) / 8


def test_overlap_and_same_lists_by_hand():
    first = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]], np.int32)
    second = np.array([[4, 3, 2, 1], [5, 0, 9, 8], [1, 2, 3, 4]], np.int32)
    assert overlap(first, second) == (1 + 0.5 + 1) / 3
    assert same_lists(first, second) == 1 / 3


def test_all_searches_find_the_same_items():
    stage = Stage.build(SMALL, TINY, "cpu")
    outcomes = race(contenders(stage, Rates(1e12, 1e12)), HASTY, "cpu")
    found = {name: outcome.items for name, outcome in outcomes.items()}
    assert found.pop(PREFILL) is None
    found.pop("genrec, catalog")
    for items in found.values():
        np.testing.assert_array_equal(items, found[VOCABULARY])
        assert invalid_rate(items, SMALL.items) == 0
    assert set(found) == {CALLBACK, PROCESSOR, CACHED, VOCABULARY}


def tokens_read(stage, name):
    """How many tokens go through the model's layers in one call of a contender."""
    [rival] = [rival for rival in contenders(stage, Rates(1e12, 1e12)) if rival.name == name]
    call, read = rival.prepare(), []
    hook = stage.model.base_model.layers[0].register_forward_hook(
        lambda layer, given, out: read.append(given[0].shape[0] * given[0].shape[1])
    )
    call()
    hook.remove()
    return sum(read)


@pytest.mark.parametrize("prompt", [7, 1])
def test_with_a_prompt_cache_generate_reads_each_prompt_once(prompt):
    stage = Stage.build(SMALL.replace(prompt=prompt), TINY, "cpu")
    # 2 users, 3 beams: the last prompt token and two more levels in each beam, the rest of the prompt
    # in each beam or in each user.
    assert tokens_read(stage, PROCESSOR) == 2 * 3 * (prompt + 2)
    assert tokens_read(stage, CACHED) == 2 * (prompt - 1) + 2 * 3 * (1 + 2)


def test_ratios_to_generate_and_to_its_prompt_cache_by_hand(monkeypatch):
    seconds = {
        CALLBACK: 8.0,
        PROCESSOR: 9.0,
        CACHED: 2.0,
        VOCABULARY: 1.0,
        CATALOG: 0.5,
        PREFILL: 0.2,
    }

    def raced(rivals, timing, device):
        items = np.zeros((2, 3), np.int32)
        return {
            r.name: Outcome(
                1.0, seconds=[seconds[r.name]], items=None if r.name == PREFILL else items
            )
            for r in rivals
        }

    monkeypatch.setattr("bench.speed.searching.race", raced)
    found = measure_search(SMALL, TINY, HASTY, "cpu")["contenders"]
    ratios = {
        n: (f.get("times_as_fast"), f.get("times_as_fast_as_cached")) for n, f in found.items()
    }
    assert ratios == {
        CALLBACK: (1, 0.25),
        PROCESSOR: (0.8889, 0.2222),
        CACHED: (4, 1),
        VOCABULARY: (8, 2),
        CATALOG: (16, 4),
        PREFILL: (None, None),
    }


def test_calls_are_spread_evenly():
    assert interleaved({"slow": 1, "fast": 3}) == ["fast", "fast", "slow", "fast"]
    assert interleaved({"a": 2, "b": 2, "c": 0}) == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("first", "calls"),
    [(0.001, 100), (1.0, 20), (15.0, 3), (40.0, 1), (70.0, 0), (200.0, 0)],
)
def test_calls_within_the_budget(first, calls):
    assert Timing(calls=100, seconds=20, fewest=3, budget=100).number(first) == calls


def test_what_would_take_too_long_is_skipped_and_says_so():
    def boom():
        pytest.fail("must not be prepared")

    rivals = [
        Contender("long", 61.4, boom),
        Contender("none", 0.0, boom, impossible="no such thing"),
        Contender("short", 1.0, lambda: lambda: np.zeros((1, 1), np.int32)),
    ]
    outcomes = race(rivals, HASTY, "cpu")
    assert outcomes["long"].skipped == "about 61 s"
    assert outcomes["none"].skipped == "no such thing"
    assert outcomes["short"].skipped is None
    assert len(outcomes["short"].seconds) == 2
    assert outcomes["short"].warm


def test_a_contender_that_runs_out_of_memory_is_skipped():
    def greedy():
        raise torch.OutOfMemoryError

    assert (
        race([Contender("big", 0.0, lambda: greedy)], HASTY, "cpu")["big"].skipped
        == "out of memory"
    )


def test_where_only_one_call_fits_that_one_counts():
    hasty = Timing(calls=9, seconds=1, fewest=1, budget=1e-9)
    outcome = race([Contender("slow", 0.0, lambda: lambda: None)], hasty, "cpu")["slow"]
    assert len(outcome.seconds) == 1
    assert not outcome.warm


def test_no_dictionary_of_ten_million_items(monkeypatch):
    stage = Stage.build(SMALL, TINY, "cpu")
    monkeypatch.setattr("bench.speed.contenders.CALLBACK_ITEMS", 59)
    reasons = {rival.name: rival.impossible for rival in contenders(stage, Rates(1e12, 1e12))}
    assert reasons.pop(CALLBACK) == "the callback needs a Python dictionary of 60 items"
    assert set(reasons.values()) == {None}


HOLD_AND_LET_GO = """
import numpy as np
from bench.speed.machine import peak_memory
for size in (200 << 20, 1):
    with peak_memory("cpu") as peak:
        np.ones(size, np.uint8)
    print(peak.total, peak.added)
"""


def test_peak_memory_sees_what_was_held_and_let_go():
    # In a process of its own: what this one gave back before may be handed out again unnoticed.
    command = [sys.executable, "-c", HOLD_AND_LET_GO]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=EVAL)
    held, after = (line.split() for line in done.stdout.splitlines())
    if held == ["None", "None"]:
        pytest.skip("this system does not tell")
    assert 150 <= int(held[1]) <= 250
    assert int(held[0]) > int(held[1])
    assert int(after[1]) < 50


def test_rates_are_positive_and_the_best_of_their_shapes(monkeypatch):
    monkeypatch.setattr(machine, "SQUARES", ((64, 64, 64),))
    monkeypatch.setattr(machine, "COPY_BYTES", 1 << 20)
    monkeypatch.setattr(machine, "_best", lambda work, device, repetitions: work() is None or 0.5)
    rates = measure_rates("cpu", torch.float32, [(100, 10, 10)])
    assert rates == Rates(flops=2 * 64**3 / 0.5, bandwidth=2 * (1 << 20) / 0.5)


def small_plan(**changes):
    values = {
        "models": {"tiny": TINY, "gpu": TINY.replace(needs_cuda=True)},
        "reference": SMALL.replace(model="tiny"),
        "timing": HASTY,
        "device": "cpu",
    }
    return SpeedPlan.model_validate(values | changes)


def test_equal_workloads_are_one_cell():
    vary = {"users": (1, 2), "beams": (3,)}
    cells = small_plan(vary=vary, named={"start": {}}, index={"large": {"items": 90}}).planned()
    assert [cell.names for cell in cells] == [
        ("named/start", "users/2", "beams/3"),
        ("users/1",),
        ("index/large",),
    ]
    assert cells[1].workload == SMALL.replace(model="tiny", users=1)


@pytest.mark.parametrize(
    ("words", "count"),
    [("users", 2), ("users/1", 1), (["beams"], 1), (["users/1", "beams/3"], 2), ([], 2)],
)
def test_cells_are_chosen_by_group_and_by_name(words, count):
    assert len(small_plan(vary={"users": (1, 2), "beams": (3,)}, cells=words).planned()) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vary": {"users": (1,)}, "cells": "user"}, "did you mean 'users'"),
        ({"vary": {"model": ("tny",)}}, "no model is named 'tny'; known: tiny"),
        ({"named": {"x": {"beam": 3}}}, "named/x: unknown setting 'beam', did you mean 'beams'"),
        ({"vary": {"users": (0,)}}, "users/0: users = 0"),
    ],
)
def test_what_does_not_exist_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_plan(**changes).planned()


def test_every_cell_of_the_yaml_files_can_be_planned():
    cells = benchmark("speed.yaml").planned()
    names = {name for cell in cells for name in cell.names}
    assert {"users/1", "users/256", "beams/50", "levels/5", "items/10000000"} <= names
    assert {"model/135m", "named/135m", "index/10m-4x256", "index/10m-3x8192"} <= names
    assert benchmark("speed_smoke.yaml").planned()


def measured(tmp_path, monkeypatch, config, log, overwrite=False):
    """Measure all cells with a clock that only notes them."""

    def note(self, cell):
        log.append(cell.names[0])
        if cell.names[0] == "users/7":
            raise KeyboardInterrupt
        return {"skipped": "noted"}

    monkeypatch.setattr(plan.SpeedPlan, "measure", note)
    kept = Results(tmp_path / "speed.json", config, overwrite=overwrite)
    for cell in config.planned():
        kept.measure(cell)
    return kept


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    log = []
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, monkeypatch, small_plan(vary={"users": (1, 3, 7)}), log)
    document = json.loads((tmp_path / "speed.json").read_text())
    assert [record["names"] for record in document["cells"]] == [["users/1"], ["users/3"]]
    log.clear()
    kept = measured(tmp_path, monkeypatch, small_plan(vary={"users": (1, 3, 4)}), log)
    assert log == ["users/4"]
    assert [record["names"] for record in kept.records] == [["users/1"], ["users/3"], ["users/4"]]


@pytest.mark.parametrize("reason", ["timing", "reference", "code", "overwrite", "threads"])
def test_what_was_measured_otherwise_is_measured_again(tmp_path, monkeypatch, reason):
    log, changes = [], {"vary": {"users": (1, 3)}}
    measured(tmp_path, monkeypatch, small_plan(**changes), log)
    if reason == "timing":
        changes |= {"timing": HASTY.replace(calls=3)}
    if reason == "reference":
        changes |= {"reference": SMALL.replace(model="tiny", beams=4)}
    if reason == "code":
        monkeypatch.setattr(results, "code_fingerprint", lambda: "other")
    if reason == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    config = small_plan(**changes, cells="users/1")
    kept = measured(tmp_path, monkeypatch, config, log, overwrite=reason == "overwrite")
    assert log == ["users/1", "users/3", "users/1"]
    assert [record["names"] for record in kept.records] == [["users/1"], ["users/3"]]
    assert kept.stale() == (["users/3"] if reason == "code" else [])


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": [{}]}'])
def test_a_foreign_file_is_not_touched(tmp_path, text):
    (tmp_path / "speed.json").write_text(text)
    with pytest.raises(InputError, match="holds no measured cells"):
        Results(tmp_path / "speed.json", small_plan())
    assert (tmp_path / "speed.json").read_text() == text


def test_a_model_that_needs_cuda_is_skipped_on_the_cpu():
    config = small_plan(vary={"model": ("gpu",)})
    [cell] = config.planned()
    assert config.measure(cell) == {"skipped": "needs a CUDA device"}


def record(name, kind="search", **result):
    settings = {"workload": SMALL.model_dump(mode="json")}
    return {"names": [name], "kind": kind, "settings": settings, "result": result}


def raced(**p50):
    found = {name: {"ms_p50": value} for name, value in p50.items()}
    found["slow"] = {"skipped": "about 9 s"}
    return {
        "contenders": found,
        "roofline": [{"seconds": 0.001}, {"seconds": 0.002}],
        "parameters": 5,
    }


def test_growth_along_a_factor(tmp_path):
    records = [record("users/2", **raced(a=7.0)), record("users/1", **raced(a=4.0, b=5.0))]
    records[0]["settings"]["workload"]["users"] = 8
    records += [record("beams/3", **raced(a=1.0)), record("users/9", skipped="needs a CUDA device")]
    expected = {"a": [(2, 4.0), (8, 7.0)], "b": [(2, 5.0)], "roofline": [(2, 3.0), (8, 3.0)]}
    assert growth(records, "users") == expected
    png, svg = plot_growth(records, tmp_path / "speed.json")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()
    assert plot_growth(records[:1], tmp_path / "none.json") == []


def test_no_matplotlib_is_said_at_the_start(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"genrec\[plots\]"):
        require_matplotlib()


def test_rows_of_the_tables_have_one_width():
    skipped = {"contenders": {"slow": {"skipped": "about 9 s"}}, "roofline": []}
    table = markdown(
        [record("users/1", skipped="needs a CUDA device"), record("users/2", **skipped)]
    )
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert len({row.count("|") for row in rows}) == 1
    assert "skipped: about 9 s" in table
