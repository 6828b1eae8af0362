"""Histories written as neighbours: who is one, how often, when, and never a target."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec import FitSettings
from genrec.common.config import validate
from genrec.common.errors import ConfigError, InputError
from genrec.data.histories import Histories
from genrec.decoding import Trie
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.prefer import PreferringSettings
from genrec.testing.fakes import TinyCatalog
from genrec.training import CodeNeighbors, TrainingSettings
from genrec.training.sources import Part

CATALOG = TinyCatalog.random(300, (40, 6, 4), seed=3)
NEIGHBORS = CodeNeighbors.of(CATALOG.trie)


def neighborhood(codes, item):
    """Items of other codes that share as many first codes as any does, and at least one."""
    shared = (codes == codes[item]).cumprod(1).sum(1)
    others = np.where(shared < codes.shape[1], shared, 0)
    return set(np.flatnonzero(others == others.max())) if others.max() else set()


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_neighbors_are_those_of_the_longest_shared_prefix(data):
    sizes = tuple(data.draw(st.lists(st.integers(2, 4), min_size=2, max_size=4)))
    count = data.draw(st.integers(1, 12))
    rows = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    codes = np.array(data.draw(st.lists(rows, min_size=count, max_size=count)))  # rows may repeat
    neighbors = CodeNeighbors.of(Trie.build(codes, sizes))
    generator = np.random.default_rng(0)
    for item in range(count):
        drawn = neighbors.draw(np.full(400, item), 1.0, generator)
        assert set(drawn.tolist()) == (neighborhood(codes, item) or {item})


def test_each_neighbor_is_as_likely_as_the_next():
    item = int(NEIGHBORS.count.argmax())
    drawn = NEIGHBORS.draw(np.full(20_000, item), 1.0, np.random.default_rng(1))
    _, counts = np.unique(drawn, return_counts=True)
    mean = 20_000 / NEIGHBORS.count[item]
    assert len(counts) == NEIGHBORS.count[item] > 3
    assert (abs(counts - mean) < 5 * mean**0.5).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_that_of_the_setting(share):
    items = np.tile(np.flatnonzero(NEIGHBORS.count), 100)
    changed = NEIGHBORS.draw(items, share, np.random.default_rng(2)) != items
    spread = (share * (1 - share) / len(items)) ** 0.5
    assert abs(changed.mean() - share) <= 5 * spread


def test_an_item_without_neighbors_stays_itself():
    codes = np.array([[0, 1], [1, 0], [1, 2]])
    neighbors = CodeNeighbors.of(Trie.build(codes, (2, 3)))
    drawn = neighbors.draw(np.array([0, 1, 2, 0]), 1.0, np.random.default_rng(0))
    assert drawn.tolist() == [0, 2, 1, 0]


def sources(share, seed=4):
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 30, 60)
    histories = Histories.of([generator.integers(0, 300, n) for n in lengths])
    chosen = TrainingSettings(batch_items=128, max_items=10, code_noise=share)
    return HistorySource(histories, chosen, seed, 3, NEIGHBORS)


def batches(source, number, of=1):
    epoch = source.epoch(number)
    return [epoch.part(batch, Part(0, of))[0] for batch in range(len(epoch))]


def test_targets_and_batches_are_those_of_a_run_without_noise():
    plain, noisy = batches(sources(0.0), 3), batches(sources(0.4), 3)
    changed = real = 0
    for items, batch in zip(plain, noisy, strict=True):
        assert items.tolist() == batch.items.tolist()
        assert ((batch.written < 0) == (items < 0)).all()
        own = items[items >= 0].numpy()
        written = batch.written[items >= 0].numpy()
        differs = own != written
        assert (CATALOG.codes[own[differs], 0] == CATALOG.codes[written[differs], 0]).all()
        changed, real = changed + differs.sum(), real + len(own)
    assert 0.3 < changed / real < 0.5


def test_it_is_a_function_of_seed_and_epoch():
    def written(seed, number):
        return [batch.written.tolist() for batch in batches(sources(0.4, seed), number)]

    assert written(4, 1) == written(4, 1)
    assert written(4, 1) != written(4, 2)
    assert written(4, 1) != written(5, 1)


def test_parts_of_a_batch_are_the_batch():
    source = sources(0.4)
    epoch = source.epoch(0)
    whole, _ = epoch.part(0, Part(0, 1))
    halves = [epoch.part(0, Part(number, 2))[0] for number in range(2)]
    for number, half in enumerate(halves):
        width = half.items.shape[1]
        assert half.items.tolist() == whole.items[number::2, :width].tolist()
        assert half.written.tolist() == whole.written[number::2, :width].tolist()


def test_what_has_no_codes_refuses():
    chosen = TrainingSettings(code_noise=0.2)
    with pytest.raises(InputError, match=r"training\.code_noise = 0\.2: there are no codes here"):
        HistorySource(Histories.of([[0, 1]]), chosen, 0)
    alone = Trie.build(np.arange(5)[:, None], (5,))
    with pytest.raises(ConfigError, match="semantic IDs of one level share none"):
        CodeNeighbors.of(alone)


@pytest.mark.parametrize(
    ("settings_class", "values", "message"),
    [
        (
            FitSettings,
            {
                "tasks": {"next-title": 0.3},
                "language_model": {"backbone": "x"},
                "training": {"code_noise": 0.1},
            },
            "leave it out, or tasks",
        ),
        (FitSettings, {"training": {"code_noise": 1.5}}, r"code_noise.*1\.5"),
        (PreferringSettings, {"training": {"code_noise": 0.1}}, "code_noise"),
    ],
)
def test_settings_that_cannot_hold(settings_class, values, message):
    with pytest.raises(ConfigError, match=message):
        validate(settings_class, values, source="test")
