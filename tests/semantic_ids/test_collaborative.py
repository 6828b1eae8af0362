from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from genrec import FitSettings
from genrec.common.errors import InputError, RecommenderError
from genrec.data import SyntheticShop, generate, leave_one_out
from genrec.data.histories import Histories
from genrec.recommender.vectorizer import Vectorizer
from genrec.semantic_ids.building import fit_any
from genrec.semantic_ids.collaborative import (
    CollaborativeSettings,
    CollaborativeSignal,
    cooccurrence_vectors,
    cooccurrences,
    normalised,
)
from genrec.semantic_ids.graph import propagated

GROUPS = np.arange(40) % 4  # items of one group are bought together, whatever their texts say


@pytest.fixture(scope="module")
def histories():
    generator = np.random.default_rng(0)
    members = [np.flatnonzero(group == GROUPS) for group in range(4)]
    return Histories.of([generator.choice(members[u % 4], 6, replace=False) for u in range(400)])


@pytest.fixture(scope="module")
def text():
    vectors = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_cooccurrences_by_hand():
    histories = Histories.of([[0, 1, 2], [1, 0], [], [2, 2], [3]])
    counts = cooccurrences(histories, 4, window=2).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 2  # next to each other twice; never across users
    expected[1, 2] = expected[2, 1] = 1
    expected[0, 2] = expected[2, 0] = 0.5  # two steps apart
    np.testing.assert_allclose(counts, expected)
    assert cooccurrences(histories, 4, window=1).toarray()[0, 2] == 0


def test_edges_are_divided_by_the_geometric_mean_of_degrees():
    counts = cooccurrences(Histories.of([[0, 1, 2], [1, 0]]), 3, window=1)
    # degrees 2, 3, 1
    np.testing.assert_allclose(
        normalised(counts).toarray(),
        [[0, 2 / 6**0.5, 0], [2 / 6**0.5, 0, 1 / 3**0.5], [0, 1 / 3**0.5, 0]],
        rtol=1e-6,
    )


def test_items_bought_together_are_near_each_other(histories):
    vectors, seen = cooccurrence_vectors(histories, 40, CollaborativeSettings(dimension=4))
    assert seen.all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    nearest = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:10]
    assert (GROUPS[nearest] == GROUPS[:, None]).all()


def test_joined_vectors_know_the_groups_that_text_does_not(histories, text):
    def purity(vectors):
        distance = ((vectors[:, None] - vectors) ** 2).sum(axis=2)
        return (GROUPS[np.argsort(distance, axis=1)[:, 1:10]] == GROUPS[:, None]).mean()

    signal = CollaborativeSignal(CollaborativeSettings(dimension=8, weight=2)).fit(histories, text)
    assert purity(text) < 0.4
    assert purity(signal.transform(text, np.arange(40))) > 0.95


def test_parts_have_unit_mean_length_and_the_weight_scales_one(histories, text):
    signal = CollaborativeSignal(CollaborativeSettings(dimension=8, weight=3)).fit(histories, text)
    joined = signal.transform(text, np.arange(40))
    assert joined.shape == (40, signal.dimension) == (40, 24)
    np.testing.assert_allclose(joined.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(joined[:, :16], axis=1).mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(joined[:, 16:], axis=1).mean(), 3, rtol=1e-5)


def test_weight_zero_leaves_text_alone(histories, text):
    signal = CollaborativeSignal(CollaborativeSettings(weight=0)).fit(histories, text)
    np.testing.assert_array_equal(signal.transform(text, np.arange(40)), text)
    assert signal.dimension == 16


def test_new_item_gets_what_its_text_neighbours_have(histories, text):
    settings = CollaborativeSettings(dimension=8, neighbors=1)
    signal = CollaborativeSignal(settings).fit(histories, text)
    known = signal.transform(text, np.arange(40))
    twin = signal.transform(text[[7, 12]])
    np.testing.assert_allclose(twin, known[[7, 12]], atol=1e-4)
    mixed = signal.transform(text[[7, 12, 3]], np.array([-1, 12, -1]))
    np.testing.assert_allclose(mixed, known[[7, 12, 3]], atol=1e-4)


def test_item_without_interactions_is_predicted(histories, text):
    more_text = np.concatenate([text, text[:1]])
    settings = CollaborativeSettings(dimension=8, neighbors=1)
    signal = CollaborativeSignal(settings).fit(histories, more_text)
    joined = signal.transform(more_text, np.arange(41))
    np.testing.assert_allclose(joined[40], joined[0], atol=1e-5)


@pytest.mark.parametrize("sequences", [[], [[]], [[0], [1]], [[0, 0, 0]]])
def test_histories_that_say_nothing(sequences, text):
    signal = CollaborativeSignal().fit(Histories.of(sequences), text)
    joined = signal.transform(text, np.arange(40))
    assert np.isfinite(joined).all()
    assert (joined[:, 16:] == 0).all()


def test_one_item(text):
    signal = CollaborativeSignal().fit(Histories.of([[0]]), text[:1])
    assert np.isfinite(signal.transform(text[:1], np.array([0]))).all()


def test_saved_and_loaded_is_equal(histories, text, tmp_path):
    signal = CollaborativeSignal(CollaborativeSettings(dimension=8, seed=3)).fit(histories, text)
    signal.save(tmp_path)
    loaded = CollaborativeSignal.load(tmp_path)
    assert loaded.settings == signal.settings
    for indices in (np.arange(40), None):
        np.testing.assert_array_equal(
            loaded.transform(text, indices), signal.transform(text, indices)
        )


def test_same_seed_same_vectors(histories, text):
    first, second = (CollaborativeSignal().fit(histories, text).transform(text) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_errors(histories, text, tmp_path):
    with pytest.raises(InputError, match="fit first"):
        CollaborativeSignal().transform(text)
    with pytest.raises(InputError, match="only 10 text vectors"):
        CollaborativeSignal().fit(histories, text[:10])
    signal = CollaborativeSignal().fit(histories, text)
    with pytest.raises(InputError, match="15 dimensions"):
        signal.transform(text[:, :15])
    with pytest.raises(InputError, match="below 40"):
        signal.transform(text[:1], np.array([40]))
    with pytest.raises(RecommenderError):
        CollaborativeSignal.load(tmp_path)


def test_what_the_neighbours_say_by_hand():
    adjacency = csr_matrix(np.array([[0, 1, 0], [1, 0, 0.5], [0, 0.5, 0]], np.float32))
    vectors = np.array([[1, 0], [0, 1], [-1, -1]], np.float32)  # their mean is 0
    one_hop = np.array([[0, 1], [0.5, -0.5], [0, 0.5]])
    two_hops = one_hop + np.array([[0.5, -0.5], [0, 1.25], [0.25, -0.25]])

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    np.testing.assert_allclose(propagated(adjacency, vectors, 1), unit(one_hop), atol=1e-6)
    np.testing.assert_allclose(propagated(adjacency, vectors, 2), unit(two_hops), atol=1e-6)


@pytest.mark.parametrize("mode", ["join", "graph"])
def test_each_way_of_joining_knows_the_groups(histories, text, mode):
    settings = CollaborativeSettings(mode=mode, dimension=8, weight=2)
    signal = CollaborativeSignal(settings).fit(histories, text)
    vectors = signal.transform(text, np.arange(40))
    assert vectors.shape == (40, signal.dimension)
    distance = ((vectors[:, None] - vectors) ** 2).sum(axis=2)
    near = np.argsort(distance, axis=1)[:, 1:10]
    assert (GROUPS[near] == GROUPS[:, None]).mean() > 0.95
    assert signal.targets() is None


def test_graph_vectors_of_a_new_item_come_from_its_text_alone(histories, text):
    settings = CollaborativeSettings(mode="graph", neighbors=1)
    signal = CollaborativeSignal(settings).fit(histories, text)
    known = signal.transform(text, np.arange(40))
    np.testing.assert_allclose(signal.transform(text[[7]]), known[[7]], atol=1e-3)


def test_to_align_the_vectors_stay_those_of_text(histories, text, tmp_path):
    more = np.concatenate([text, text[:1]])  # the last item was never bought
    settings = CollaborativeSettings(mode="align", dimension=4)
    signal = CollaborativeSignal(settings).fit(histories, more)
    np.testing.assert_array_equal(signal.transform(more, np.arange(41)), more)
    assert signal.dimension == 16
    targets = signal.targets()
    expected, _ = cooccurrence_vectors(histories, 41, settings)
    np.testing.assert_array_equal(targets, expected)
    assert targets[:40].any(axis=1).all()
    assert not targets[40].any()
    signal.save(tmp_path)
    np.testing.assert_array_equal(CollaborativeSignal.load(tmp_path).targets(), targets)


@pytest.mark.parametrize("mode", ["join", "graph", "align"])
def test_no_held_out_interaction_reaches_the_codes(mode):
    """Two logs that differ only in validation and test give the same vectors and codes."""
    shop = generate(SyntheticShop(items=60, users=80, seed=3))
    settings = FitSettings.model_validate(
        {
            "collaborative": {"mode": mode, "dimension": 8},
            "encoder": {"dimension": 16},
            "item_tokenizer": {
                "kind": "rqvae",
                "levels": 2,
                "codes": 8,
                "latent": 8,
                "steps": 60,
                "hidden": [16],
            },
        }
    )

    def codes(seed, held_out):
        lengths = shop.log.histories.lengths
        items = shop.log.histories.items.copy()
        place = np.concatenate([np.arange(length) - length for length in lengths])
        changed = place >= -2 if held_out else place < -2
        changed &= np.repeat(lengths >= 3, lengths)
        items[changed] = np.random.default_rng(seed).integers(60, size=int(changed.sum()))
        log = replace(shop.log, histories=Histories(items, shop.log.histories.offsets))
        split = leave_one_out(log)
        vectorizer = Vectorizer.fit(shop.catalog, split.train, settings)
        vectors = vectorizer.vectors(shop.catalog, settings)
        tokenizer = fit_any(
            settings.item_tokenizer, vectors, shop.catalog, split, vectorizer.signal.targets()
        )
        return vectors, tokenizer.encode(vectors), tokenizer.decode(tokenizer.encode(vectors))

    first = codes(1, held_out=True)
    for expected, found in zip(first, codes(2, held_out=True), strict=True):
        np.testing.assert_array_equal(found, expected)
    # and the signal is not deaf: another training part does change the codes
    assert (codes(3, held_out=False)[2] != first[2]).any()
