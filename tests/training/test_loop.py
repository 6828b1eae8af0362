"""The loss against an oracle, the batches against sets, and a killed run against an undisturbed one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import ConfigError, InputError
from genrec.data.histories import Histories
from genrec.decoding import BeamSearch, BeamSettings
from genrec.fitting.objectives.batches import epoch_batches, pad_items, windows
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import TinyCatalog
from genrec.training import TrainingSettings, train

SMALL = LanguageModelSettings.model_validate(
    {"compact": {"width": 16, "layers": 1, "heads": 2, "dropout": 0.1}}
)


def train_on(loss, histories, settings, validate, *, seed, **options):
    """Train on histories alone."""
    source = HistorySource(histories, settings, seed)
    return train(loss, source, settings, validate, seed=seed, **options)


def planted(users=40, items=12, length=6, seed=0):
    """Every item is followed by the next one, round and round."""
    starts = np.random.default_rng(seed).integers(0, items, users)
    return Histories.of([(start + np.arange(length)) % items for start in starts])


def make_loss(catalog, seed=0, normalization="catalog"):
    vectors = np.random.default_rng(1).normal(size=(len(catalog.codes), 6)).astype(np.float32)
    lm = LanguageModel.create(
        SMALL, catalog.codes, vectors, catalog.codebook_sizes, max_items=10, seed=seed
    )
    return lm, NextItemLoss(lm, catalog.codes, catalog.trie, normalization)


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=23), min_size=1, max_size=12),
    st.integers(1, 7),
    st.integers(0, 1000),
)
@settings(max_examples=100)
def test_windows_hold_every_item_once_in_order(sequences, max_items, seed):
    cut = windows(Histories.of(sequences), max_items, np.random.default_rng(seed))
    assert cut.items.tolist() == [item for sequence in sequences for item in sequence]
    assert ((cut.lengths > 0) & (cut.lengths <= max_items)).all()
    edges = set(cut.offsets.tolist())
    assert edges >= set(np.cumsum([0, *map(len, sequences)]).tolist())
    short = sum(0 < len(s) <= max_items for s in sequences)
    assert len(cut) >= short


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(1, 64), st.integers(0, 99)
)
@settings(max_examples=100)
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget, seed):
    lengths = np.array(lengths)
    batches = epoch_batches(lengths, budget, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * lengths[b].max() <= budget for b in batches)


def test_padding_is_on_the_right():
    histories = Histories.of([[1, 2, 3], [4]])
    assert pad_items(histories, np.array([1, 0])).tolist() == [[4, -1, -1], [1, 2, 3]]


@pytest.mark.parametrize("normalization", ["catalog", "level", "vocabulary"])
def test_loss_is_the_search_score_of_every_item(normalization):
    """Training and decoding must mean the same probability: sum the search's scores item by item."""
    catalog = TinyCatalog.random(12, (3, 3, 2), seed=2)
    lm, loss = make_loss(catalog, normalization=normalization)
    loss.eval()
    sequences = [[3, 1, 4], [5], [9, 2]]
    value = loss(torch.from_numpy(pad_items(Histories.of(sequences), np.arange(3)))).item() / 6
    search = BeamSearch(
        lm.core, lm.vocabulary, catalog.trie, BeamSettings(beams=12, normalization=normalization)
    )
    total, count = 0.0, 0
    for sequence in sequences:
        for n, item in enumerate(sequence):
            prompt = lm.prefix + lm.vocabulary.encode(catalog.codes[sequence[:n]]).ravel().tolist()
            items, scores = search.search([prompt], k=12)
            total -= float(scores[0][items[0].tolist().index(item)])
            count += 1
    assert value == pytest.approx(total / count, abs=1e-4)


def recall_of_planted(lm, catalog, data, k=1):
    search = BeamSearch(lm.core, lm.vocabulary, catalog.trie, BeamSettings(beams=4))
    prompts = [
        lm.prefix + lm.vocabulary.encode(catalog.codes[h[:3]]).ravel().tolist() for h in data
    ]
    items, _ = search.search(prompts, k=k)
    return float(np.mean(items[:, 0] == np.array([h[3] for h in data])))


def test_learns_a_planted_rule(tmp_path):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    lm, loss = make_loss(catalog)
    run = TrainingSettings(
        min_steps=150, epochs=1, learning_rate=1e-2, warmup_steps=5, validations=2
    )
    data = planted()
    result = train_on(
        loss,
        data,
        run,
        lambda: {"ndcg@10": recall_of_planted(lm, catalog, data)},
        folder=tmp_path,
        seed=0,
    )
    assert recall_of_planted(lm, catalog, data) > 0.95
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]


class Killed(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize("kill_at", [1, 7, 13])
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, kill_at):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    run = TrainingSettings(
        min_steps=16, epochs=1, batch_items=30, validations=4, patience=9, checkpoint_seconds=0
    )

    def weights(folder, kill=None):
        lm, loss = make_loss(catalog)

        def report(step, total, value):
            if step == kill:
                raise Killed

        validate = lambda: {"ndcg@10": recall_of_planted(lm, catalog, planted())}  # noqa: E731
        result = train_on(loss, planted(), run, validate, folder=folder, seed=3, report=report)
        return [p.detach().clone() for p in lm.model.parameters()], result

    expected, whole = weights(tmp_path / "whole")
    with pytest.raises(Killed):
        weights(tmp_path / "cut", kill=kill_at)
    resumed, result = weights(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(expected, resumed, strict=True))
    assert result.curve == whole.curve


def test_a_checkpoint_that_cannot_be_read_gives_way_to_the_one_before(tmp_path, caplog):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    run = TrainingSettings(min_steps=6, max_steps=6, epochs=1, checkpoint_seconds=0, validations=1)
    make = lambda: {"ndcg@10": 0.0}  # noqa: E731
    train_on(make_loss(catalog)[1], planted(), run, make, folder=tmp_path, seed=0)
    newest = max(tmp_path.glob("step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    with caplog.at_level("WARNING"):
        result = train_on(make_loss(catalog)[1], planted(), run, make, folder=tmp_path, seed=0)
    assert result.steps == 6
    assert newest.name in caplog.text


def test_training_leaves_the_ambient_random_state_alone(tmp_path):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    _, loss = make_loss(catalog)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_on(
        loss,
        planted(),
        TrainingSettings(max_steps=2),
        lambda: {"ndcg@10": 0.0},
        folder=tmp_path,
        seed=0,
    )
    assert torch.equal(before, torch.get_rng_state())


def test_stops_early_and_keeps_the_best_weights(tmp_path):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    _, loss = make_loss(catalog)
    scores = iter([0.5, 0.9, 0.1, 0.2, 0.3, 0.4])
    run = TrainingSettings(min_steps=60, epochs=1, validations=6, patience=2, batch_items=50)
    result = train_on(
        loss, planted(), run, lambda: {"ndcg@10": next(scores)}, folder=tmp_path, seed=0
    )
    assert (result.best, result.best_step, result.steps) == (0.9, 20, 40)
    assert result.stopped_early


def test_of_equally_good_weights_the_latest_are_kept(tmp_path):
    _, loss = make_loss(TinyCatalog.random(12, (3, 4), seed=2))
    scores = iter([0.5, 0.5, 0.1, 0.5])
    run = TrainingSettings(min_steps=40, epochs=1, validations=4, patience=9, batch_items=50)
    result = train_on(
        loss, planted(), run, lambda: {"ndcg@10": next(scores)}, folder=tmp_path, seed=0
    )
    assert (result.best, result.best_step) == (0.5, 40)


def test_without_validation_the_run_goes_to_its_end_and_keeps_the_last_weights(tmp_path):
    _, loss = make_loss(TinyCatalog.random(12, (3, 4), seed=2))
    run = TrainingSettings(min_steps=40, epochs=1, validations=8, patience=1, batch_items=50)
    result = train_on(loss, planted(), run, None, folder=tmp_path, seed=0)
    assert (result.steps, result.best_step, result.stopped_early) == (40, 40, False)


def test_every_position_that_a_full_history_is_searched_from_trains(tmp_path):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    lm, loss = make_loss(catalog)  # positions for 10 items of history
    before = lm.core.transformer.wpe.weight.detach().clone()
    run = TrainingSettings(max_items=10, max_steps=3, learning_rate=0.1, validations=1)
    train_on(loss, planted(length=40), run, None, folder=tmp_path, seed=0)
    moved = (lm.core.transformer.wpe.weight.detach() - before).abs().amax(1)
    last = len(lm.prefix) + 10 * len(catalog.codebook_sizes) - 1 + len(catalog.codebook_sizes) - 1
    assert (moved[: last + 1] > 1e-3).all()


def test_nothing_to_train_on_is_refused(tmp_path):
    _, loss = make_loss(TinyCatalog.random(12, (3, 4), seed=2))
    with pytest.raises(InputError, match="no training interaction"):
        train_on(loss, Histories.of([[], []]), TrainingSettings(), dict, folder=tmp_path, seed=0)


@pytest.mark.parametrize("pieces", [2, 3, 50])
def test_a_batch_in_pieces_gives_the_same_weights(tmp_path, pieces):
    """Even where a piece is left without any sequence."""
    catalog = TinyCatalog.random(12, (3, 4), seed=2)

    def weights(accumulate):
        lm, loss = make_loss(catalog)
        for module in lm.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        run = TrainingSettings(max_steps=4, batch_items=60, validations=1, accumulate=accumulate)
        folder = tmp_path / str(accumulate)
        train_on(loss, planted(), run, lambda: {"ndcg@10": 1.0}, folder=folder, seed=0)
        return list(lm.model.parameters())

    for one, other in zip(weights(1), weights(pieces), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


class Crowded(torch.nn.Module):
    """A loss for which memory runs out above so many sequences at once."""

    def __init__(self, most):
        super().__init__()
        self.weight, self.most = torch.nn.Parameter(torch.ones(1)), most

    def forward(self, items):
        if len(items) > self.most:
            raise torch.OutOfMemoryError("out of memory: tried to allocate 2 GiB")
        return self.weight.sum() * len(items)


@pytest.mark.parametrize(
    ("most", "words"),
    [
        (3, "batch_items = 60 does not fit .* one of 15 does: set training.accumulate=4"),
        (0, "one 256th of a batch does not fit either"),
    ],
)
def test_out_of_memory_is_answered_with_what_fits(tmp_path, most, words):
    run = TrainingSettings(max_steps=1, batch_items=60)  # 10 sequences of 6
    with pytest.raises(InputError, match=words):
        train_on(Crowded(most), planted(), run, None, folder=tmp_path, seed=0)


def test_a_checkpoint_whose_content_changed_is_refused_by_name(tmp_path, caplog):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    run = TrainingSettings(min_steps=6, max_steps=6, epochs=1, checkpoint_seconds=0, validations=1)
    make = lambda: {"ndcg@10": 0.0}  # noqa: E731
    lm, loss = make_loss(catalog)
    train_on(loss, planted(), run, make, folder=tmp_path, seed=0)
    newest = max(tmp_path.glob("step-*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-9] ^= 1  # one bit of a tensor: the file still reads
    newest.write_bytes(content)
    again, loss = make_loss(catalog)
    with caplog.at_level("WARNING"):
        train_on(loss, planted(), run, make, folder=tmp_path, seed=0)
    assert f"checkpoint {newest.name} is refused" in caplog.text
    for one, other in zip(lm.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_throughput_counts_tokens_without_padding(tmp_path):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    data = Histories.of([[1, 2, 3], [4]])
    run = TrainingSettings(max_steps=3, validations=1)
    result = train_on(make_loss(catalog)[1], data, run, None, folder=tmp_path, seed=0)
    assert result.throughput["tokens"] == 3 * 4
    assert result.throughput["tokens_per_second"] > 0
    assert result.throughput["memory_mib"] > 100  # of the process: torch alone takes more


def test_a_tracker_that_is_not_installed_is_named(tmp_path):
    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    run = TrainingSettings(max_steps=2, validations=1, report_to=("mlflow",))
    with pytest.raises(ConfigError, match="pip install mlflow"):
        train_on(make_loss(catalog)[1], planted(), run, None, folder=tmp_path, seed=0)


def test_tensorboard_gets_every_loss_and_the_metrics(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    catalog = TinyCatalog.random(12, (3, 4), seed=2)
    run = TrainingSettings(max_steps=4, validations=2, warmup_steps=0, report_to=("tensorboard",))
    losses = []
    train_on(
        make_loss(catalog)[1],
        planted(),
        run,
        lambda: {"ndcg@10": 0.25},
        folder=tmp_path,
        seed=0,
        report=lambda step, total, value: losses.append(value),
    )
    [events] = tmp_path.glob("logs/**/events.*")
    written = EventAccumulator(str(events.parent))
    written.Reload()
    assert [event.step for event in written.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in written.Scalars("loss")] == pytest.approx(losses)
    assert [event.value for event in written.Scalars("ndcg@10")] == [0.25, 0.25]
    assert written.Scalars("tokens_per_second")[-1].value > 0
