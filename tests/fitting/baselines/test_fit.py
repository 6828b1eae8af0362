"""Strong baselines: their losses against slow ones, planted rules learned, runs killed, saved and opened."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genrec.common.artifacts import hash_file
from genrec.common.config import load_settings
from genrec.common.errors import DataError, InputError, RecommenderError
from genrec.common.manifest import BASELINE, write_manifest
from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation import Protocol, evaluate
from genrec.evaluation.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from genrec.evaluation.baselines.hstu import HSTU, HSTUConfig
from genrec.evaluation.baselines.sasrec import SASRec, SASRecConfig
from genrec.fitting.baselines import losses as baseline_losses
from genrec.fitting.baselines.fit import BaselineSettings, fit_baseline, network
from genrec.fitting.baselines.folder import fit_baseline_folder, load_baseline, save_baseline
from genrec.fitting.baselines.losses import (
    ItemLossSettings,
    MaskedItems,
    NextItems,
    binary,
    draw_masks,
    sampled,
    whole,
)
from genrec.fitting.work_folder import WorkFolder
from genrec.training.sources import Part

ROOT = Path(__file__).resolve().parents[3]
N = 12
SHAPE = {"width": 16, "layers": 1, "heads": 2, "dropout": 0.1}
NETWORKS = ["sasrec", "hstu", "bert4rec"]
UNTRAINED_KINDS = ["ease", "item-knn", "pctm", "seqrules"]


def chain(users=80):
    """Every item is followed by the one 5 on, round and round."""
    rng = np.random.default_rng(0)
    return Histories.of(
        [(start + 5 * np.arange(rng.integers(2, 8))) % N for start in rng.integers(0, N, users)]
    )


TRAIN = chain()
STARTS = np.arange(N, dtype=np.int32)
VALID = Cases(
    np.arange(N),
    Histories.of([(start + 5 * np.arange(3)) % N for start in STARTS]),
    (STARTS + 15) % N,
)


def settings(kind, steps=160, **more):
    training = {"max_items": 8, "batch_items": 100, "learning_rate": 1e-2, "warmup_steps": 5}
    training |= {"epochs": 1, "min_steps": steps, "max_steps": steps, "validations": 4}
    shape = SHAPE if kind in NETWORKS else {}
    values = {"model": {"kind": kind} | shape, "training": training | more.pop("training", {})}
    return BaselineSettings.model_validate(values | {"device": "cpu"} | more)


def hits(ranker):
    return evaluate(ranker, VALID, Protocol(ks=(1,)), N).metrics["recall@1"]


@pytest.fixture
def products():
    torch.manual_seed(0)
    states = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    table = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    return states, table, torch.tensor([0, 8, 3, 3, 5, 1, 0])


def by_hand(states, table, targets):
    shares = torch.log_softmax(states @ table.T, dim=1)
    return -sum(shares[row, target] for row, target in enumerate(targets.tolist()))


@pytest.mark.parametrize("cells", [1, 20, 10_000], ids=["rows", "blocks", "one block"])
def test_the_whole_softmax_and_its_gradients(products, cells, monkeypatch):
    monkeypatch.setattr(baseline_losses, "_CELLS", cells)
    states, table, targets = products
    expected = torch.autograd.grad(by_hand(*products), (states, table))
    value = whole(states.float(), table.float(), targets)
    assert value.item() == pytest.approx(by_hand(*products).item(), rel=1e-5)
    for mine, theirs in zip(torch.autograd.grad(3 * value, (states, table)), expected, strict=True):
        torch.testing.assert_close(mine, 3 * theirs, atol=1e-5, rtol=1e-5)


def test_the_whole_softmax_of_nothing_and_of_huge_scores():
    table = torch.randn(5, 3, requires_grad=True)
    nothing = whole(torch.empty(0, 3, requires_grad=True), table, torch.empty(0, dtype=torch.long))
    nothing.backward()
    assert nothing.item() == 0
    assert (table.grad == 0).all()
    huge = whole(torch.full((1, 2), 1e3), torch.tensor([[1e3, 0.0], [0.0, 0.0]]), torch.tensor([1]))
    assert huge.item() == 1e6


def test_sampling_all_items_is_the_whole_softmax(products):
    everything = torch.randperm(9)
    torch.testing.assert_close(sampled(*products, everything), by_hand(*products))


def test_a_sample_stands_for_the_items_it_was_drawn_from(products):
    """Were all negatives alike, the correction would make any sample exact."""
    states, _, targets = products
    table = torch.ones(9, 4, dtype=torch.float64)
    few = torch.tensor([2, 3, 7])
    torch.testing.assert_close(
        sampled(states, table, targets, few), by_hand(states, table, targets)
    )


def test_uncorrected_a_target_is_held_against_the_drawn_ones_alone(products):
    states, table, targets = products
    few = torch.tensor([2, 3, 7])
    expected = 0.0
    for state, target in zip(states, targets.tolist(), strict=True):
        rows = [target, *(item for item in (2, 3, 7) if item != target)]
        expected -= (table[rows] @ state).log_softmax(0)[0]
    found = sampled(states, table, targets, few, corrected=False)
    torch.testing.assert_close(found, expected)
    chosen = ItemLossSettings(kind="sampled", negatives=4, corrected=False)
    torch.manual_seed(3)
    drawn = torch.randperm(9)[:4]
    torch.manual_seed(3)
    torch.testing.assert_close(
        baseline_losses.item_loss(states, table, targets, chosen),
        sampled(states, table, targets, drawn, corrected=False),
    )


def test_binary_by_hand(products):
    states, table, targets = products
    few = torch.tensor([2, 3])
    total = 0.0
    for state, target in zip(states, targets.tolist(), strict=True):
        wrong = [item for item in (2, 3) if item != target]
        total -= F.logsigmoid(state @ table[target])
        total -= sum(F.logsigmoid(-state @ table[item]) for item in wrong) / len(wrong)
    torch.testing.assert_close(binary(states, table, targets, few), total)


@pytest.mark.parametrize("kind", ["sasrec", "hstu"])
def test_next_items_are_predicted_from_what_came_before(kind):
    model = network(settings(kind), N).eval()
    loss = NextItems(model, ItemLossSettings()).eval()
    rows = [[3, 1, 4, 1], [5, 9], [2]]
    expected = 0.0
    with torch.no_grad():
        for row in rows:
            for n in range(1, len(row)):
                scores = model.query(torch.tensor([row[:n]])) @ model.table.T
                expected += F.cross_entropy(scores, torch.tensor(row[n : n + 1])).item()
        padded = torch.tensor([row + [-1] * (4 - len(row)) for row in rows])
        assert loss(padded).item() == pytest.approx(expected, rel=1e-5)
        assert loss(padded[2:, :1]).item() == 0, "a single item has nothing before it"


def test_with_positions_from_the_end_the_last_target_is_asked_as_in_a_ranking():
    config = {"kind": "sasrec", "positions": "end"} | SHAPE
    model = network(settings("sasrec").replace(model=config), N).eval()
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    NextItems(model, ItemLossSettings())(torch.tensor([[3, 1, 4, 1], [5, 9, -1, -1]]))
    assert seen[0].tolist() == [[3, 1, 4], [5, -1, -1]]


def test_masked_items_count_as_if_all_were_masked():
    """A network that always answers alike: the loss of an item is the same, masked or not."""

    class Constant(nn.Module):
        n_items = N
        table = torch.zeros(N, 2)

        def forward(self, items):
            return torch.ones(*items.shape, 2)

    items = torch.tensor([[3, 1, 4, 1], [5, 9, -1, -1]])
    loss = MaskedItems(Constant(), BERT4RecConfig(masked=0.5), ItemLossSettings())
    assert loss(items).item() == pytest.approx(6 * np.log(N), rel=1e-5)


def test_masks_cover_their_share_and_at_least_one_a_row():
    torch.manual_seed(0)
    items = torch.zeros(4000, 10, dtype=torch.long)
    items[::2, 5:] = -1
    masked = draw_masks(items, BERT4RecConfig(masked=0.4, last_only=0.0))
    assert not masked[items < 0].any()
    assert masked.any(1).all()
    assert masked[items >= 0].float().mean().item() == pytest.approx(0.41, abs=0.01)
    last = draw_masks(items, BERT4RecConfig(masked=0.4, last_only=1.0))
    assert (last.sum(1) == 1).all()
    assert last[::2, 4].all()
    assert last[1::2, 9].all()


def test_only_items_with_something_before_them_count():
    source = network_source()
    epoch = source.epoch(0)
    items, _ = epoch.part(0, Part(0, 1))
    assert epoch.units(0) == (items >= 0).sum().item() - len(items)
    assert epoch.tokens(0) == (items >= 0).sum().item()


def network_source():
    from genrec.fitting.objectives.histories import HistorySource, Successions

    histories = Histories.of([[1, 2, 3], [4], [5, 6]])
    return Successions(HistorySource(histories, settings("sasrec").training, 0))


@pytest.mark.parametrize("kind", [*UNTRAINED_KINDS, *NETWORKS])
def test_every_baseline_learns_a_planted_chain(kind):
    wanted = settings(kind)
    if kind == "bert4rec":  # the slowest learner
        config = BERT4RecConfig(**SHAPE | {"dropout": 0.0}, last_only=0.8)
        wanted = settings(kind, steps=300).replace(model=config.model_dump())
    baseline = fit_baseline(TRAIN, VALID, N, wanted)
    assert baseline.name == kind.replace("-", "_")
    if kind in NETWORKS:
        assert hits(baseline) == 1
        assert baseline.facts["curve"][-1]["loss"] < 1
    else:  # without order, an item's successor and its predecessor are alike; the latter was seen
        assert hits(baseline) > 0.9


@pytest.mark.parametrize("loss", ["sampled", "binary"])
def test_other_losses_learn_it_too(loss):
    baseline = fit_baseline(
        TRAIN, VALID, N, settings("sasrec", loss={"kind": loss, "negatives": 4})
    )
    assert hits(baseline) == 1


class Killed(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec"])
def test_a_killed_fit_ends_with_the_weights_of_an_undisturbed_one(kind, tmp_path, monkeypatch):
    """Masks and negatives are drawn from the random state that checkpoints keep."""
    wanted = settings(
        kind,
        steps=12,
        training={"checkpoint_seconds": 0},
        loss={"kind": "sampled", "negatives": 3},
    )
    expected = fit_baseline(TRAIN, VALID, N, wanted, WorkFolder(tmp_path / "whole"))
    calls = []

    def killed(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return evaluate(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr("genrec.fitting.baselines.fit.evaluate", killed)
        with pytest.raises(Killed):
            fit_baseline(TRAIN, VALID, N, wanted, WorkFolder(tmp_path / "cut"))
    resumed = fit_baseline(TRAIN, VALID, N, wanted, WorkFolder(tmp_path / "cut"))
    assert resumed.facts["curve"] == expected.facts["curve"]
    for name, value in expected.ranker.state().items():
        np.testing.assert_array_equal(resumed.ranker.state()[name], value, err_msg=name)


def test_a_work_folder_of_another_fit_is_refused(tmp_path):
    fit_baseline(TRAIN, VALID, N, settings("sasrec", steps=2), WorkFolder(tmp_path / "work"))
    with pytest.raises(InputError, match="unfinished fit with other data or settings"):
        fit_baseline(TRAIN, VALID, N, settings("sasrec", steps=3), WorkFolder(tmp_path / "work"))


def test_the_seed_decides():
    def table(seed):
        fitted = fit_baseline(TRAIN, VALID, N, settings("sasrec", steps=3, seed=seed))
        return fitted.ranker.state()["items.weight"]

    np.testing.assert_array_equal(table(1), table(1))
    assert (table(1) != table(2)).any()


def test_networks_have_their_kind_and_size():
    kinds = {"sasrec": SASRec, "hstu": HSTU, "bert4rec": BERT4Rec}
    for kind, expected in kinds.items():
        model = network(settings(kind), N)
        assert type(model) is expected
        assert (model.n_items, model.max_items) == (N, 8)


def test_without_validation_cases_the_last_weights_are_kept(caplog):
    nobody = Cases(np.empty(0, np.int64), Histories.of([]), np.empty(0, np.int32))
    baseline = fit_baseline(TRAIN, nobody, N, settings("sasrec", steps=3))
    assert baseline.facts["best_step"] == 3
    assert "no user has a validation case" in caplog.text


def test_nothing_to_train_on_is_refused():
    with pytest.raises(DataError, match="no training interaction"):
        fit_baseline(Histories.of([[], []]), VALID, N, settings("ease"))


@pytest.mark.parametrize("kind", [*UNTRAINED_KINDS, *NETWORKS])
def test_a_saved_baseline_ranks_as_before(kind, tmp_path):
    baseline = fit_baseline(TRAIN, VALID, N, settings(kind, steps=5))
    save_baseline(baseline, tmp_path)
    opened = load_baseline(tmp_path, device="cpu")
    assert (opened.settings, opened.data, opened.facts) == (
        baseline.settings,
        baseline.data,
        baseline.facts,
    )
    for exclude_seen in (True, False):
        mine = baseline.rank(VALID.histories, 5, exclude_seen=exclude_seen)
        theirs = opened.rank(VALID.histories, 5, exclude_seen=exclude_seen)
        np.testing.assert_array_equal(mine.items, theirs.items)
        np.testing.assert_array_equal(mine.scores, theirs.scores)


def test_an_altered_folder_is_refused(tmp_path):
    with pytest.raises(RecommenderError, match=r"is not a baseline: it has no baseline\.json"):
        load_baseline(tmp_path)
    save_baseline(fit_baseline(TRAIN, VALID, N, settings("item-knn")), tmp_path)
    manifest = tmp_path / BASELINE.manifest
    good = manifest.read_text()
    manifest.write_text(good.replace('"format_version": 2', '"format_version": 99'))
    with pytest.raises(
        RecommenderError, match=r"format version 99, this genrec .* reads version 2"
    ):
        load_baseline(tmp_path)
    manifest.write_text(good.replace('"n_items": 12', '"n_items": 13'))
    with pytest.raises(RecommenderError, match="is not the file that was saved"):
        load_baseline(tmp_path)
    manifest.write_text("{")
    with pytest.raises(RecommenderError, match="cannot be read"):
        load_baseline(tmp_path)
    manifest.write_text(good)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    with pytest.raises(RecommenderError, match="is not the file that was saved"):
        load_baseline(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("n_items"), "says nothing of n_items"),
        (lambda document: document["settings"].update(users=1), "users"),
    ],
)
def test_a_whole_folder_without_a_part_is_refused(tmp_path, change, message):
    save_baseline(fit_baseline(TRAIN, VALID, N, settings("item-knn")), tmp_path)
    document = json.loads((tmp_path / BASELINE.manifest).read_text())
    for own in ("files", "format_version"):
        del document[own]
    change(document)
    write_manifest(tmp_path, document, BASELINE)
    with pytest.raises(InputError, match=message):
        load_baseline(tmp_path)


def test_a_folder_of_the_first_format_opens_and_is_verified(tmp_path):
    """Its manifest had one hash, of the weights, and settings that are no more."""
    fitted = fit_baseline(TRAIN, VALID, N, settings("item-knn"))
    save_baseline(fitted, tmp_path)
    manifest, weights = tmp_path / BASELINE.manifest, tmp_path / "model.safetensors"
    document = json.loads(manifest.read_text())
    del document["files"]
    document["settings"]["training"]["code_noise"] = 0.0
    first = {"format_version": 1, "sha256": hash_file(weights)}
    manifest.write_text(json.dumps(document | first))
    assert load_baseline(tmp_path, fitted.settings.device).settings == fitted.settings
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RecommenderError, match="is not the file that was saved"):
        load_baseline(tmp_path)


def test_a_fitted_folder_is_opened_not_fitted_anew(tmp_path, monkeypatch):
    split, out = Split("chain", TRAIN, VALID, VALID), tmp_path / "knn"
    first = fit_baseline_folder(split, N, settings("item-knn"), out)
    with monkeypatch.context() as patch:
        patch.setattr(
            "genrec.fitting.baselines.folder.fit_baseline", lambda *words: pytest.fail("fitted")
        )
        again = fit_baseline_folder(split, N, settings("item-knn"), out)
    assert again.facts == first.facts
    assert [path.name for path in tmp_path.iterdir()] == ["knn"]
    with pytest.raises(InputError, match="other data or settings"):
        fit_baseline_folder(split, N, settings("ease"), out)
    others = tmp_path / "knn.partial"
    others.mkdir()
    (others / "somebody's").write_text("work")
    replaced = fit_baseline_folder(split, N, settings("ease"), out, overwrite=True)
    assert (others / "somebody's").exists()
    assert replaced.name == load_baseline(out).name == "ease"


def test_restart_discards_an_unfinished_fit(tmp_path):
    split, out = Split("chain", TRAIN, VALID, VALID), tmp_path / "sasrec"
    work = tmp_path / "sasrec.partial"
    work.mkdir()
    (work / "fit.json").write_text("{}")
    (work / "checkpoints").mkdir()
    with pytest.raises(InputError, match="--restart to discard it"):
        fit_baseline_folder(split, N, settings("sasrec", steps=3), out)
    fit_baseline_folder(split, N, settings("sasrec", steps=3), out, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sasrec"]


def test_settings_come_from_words():
    words = ["model.kind=hstu", "model.layers=3", "loss.kind=sampled", "training.epochs=2"]
    made = load_settings(BaselineSettings, None, words)
    assert made.model == HSTUConfig(layers=3)
    assert (made.training.epochs, made.training.max_items) == (2, 50), "other defaults stay"
    assert BaselineSettings().model == SASRecConfig()


def test_the_demo_recipe_fits_then_reports_test(tmp_path, monkeypatch, capsys, caplog):
    recipe = run_path(str(ROOT / "train" / "baseline.py"), run_name="recipe_under_test")
    values = str(ROOT / "train" / "baseline_demo.yaml")
    small = ["data.shop.items=60", "data.shop.users=100", "baseline.training.max_steps=5"]
    monkeypatch.chdir(tmp_path)

    def run(*words):
        recipe["main"](load_settings(recipe["Config"], values, [*small, *words]))
        return json.loads((tmp_path / "runs" / "baseline_demo" / "metrics.json").read_text())

    first = run()
    assert set(first) == {"training", "valid"}
    assert "leave-one-out, valid, seen items excluded" in capsys.readouterr().out
    with caplog.at_level("INFO"):
        second = run("test=true")
    assert "opening the baseline" in caplog.text
    assert second["valid"]["metrics"] == first["valid"]["metrics"]
    assert second["test"]["protocol"]["split"] == "test"
