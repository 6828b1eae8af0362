"""The text model as a component: its distribution against a plain softmax, its catalog, and its files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from genrec.common.errors import RecommenderError
from genrec.data.histories import Histories
from genrec.recommender.text_model import model as module
from genrec.recommender.text_model.model import TextModel, TextShape
from genrec.recommender.text_model.network import TextNetwork
from genrec.recommender.text_model.words import KnownWords

SHAPE = TextShape(width=8, layers=2, heads=2)
COLOURS, KINDS = ("red", "blue", "green"), ("hat", "scarf", "coat", "sock")
TEXTS = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
N, NAMED = len(TEXTS), 5
HISTORIES = [[3, 0, 7], [], [11], [1, 2, 3, 4, 5, 6, 7, 8], [5, 5], []]
STEP = 2.0**-10
"""Of float16 between 1 and 2; all values here are smaller."""


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(texts, own=0.3, max_items=6):
    """An untrained text model whose items have vectors of their own, too."""
    known = KnownWords.fit(texts)
    network = TextNetwork(drawn(len(known), SHAPE.width), max_items, SHAPE, seed=3).eval()
    network.log_scale.data.fill_(1.0)  # far from one-hot
    model = TextModel(known, network, np.empty((0, SHAPE.width), np.float16))
    of_own = own * drawn(len(texts), SHAPE.width, seed=1).numpy()
    return replace(model, vectors=(model.of_texts(texts) + of_own).astype(np.float16))


@pytest.fixture
def model(monkeypatch):
    """Of twelve items, of which a row names five."""
    monkeypatch.setattr(module, "NAMED", NAMED)
    return built(TEXTS)


@torch.no_grad()
def softmax(model, history):
    """Of cosines, one history alone, over all items, `(N,)`."""
    vectors = torch.from_numpy(model.vectors.astype(np.float32))
    newest = torch.tensor([history[-model.network.max_items :]])
    query = model.network(vectors, newest)[0, -1]
    logits = [float(query @ vector / vector.norm()) for vector in vectors]
    likely = np.exp(np.array(logits) - max(logits))
    return likely / likely.sum()


def plain(model, history):
    """What the likeliest `NAMED` items share, and everything by the same measure, `(N,)` each."""
    if not history:
        return np.zeros(len(model.vectors)), np.zeros(len(model.vectors))
    likely = softmax(model, history)
    best = np.argsort(-likely)[:NAMED]
    everything = likely / likely[best].sum()
    named = np.zeros_like(everything)
    named[best] = everything[best]
    return named, everything


def test_scores_are_the_softmax_that_the_likeliest_share(model):
    found = model.scores(Histories.of(HISTORIES))
    assert found.shape == (len(HISTORIES), N)
    assert np.diff(found.indptr).tolist() == [NAMED if history else 0 for history in HISTORIES]
    expected = [plain(model, history)[0] for history in HISTORIES]
    # float32, summed in another order
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-7)
    sums = found.toarray().sum(axis=1)
    np.testing.assert_allclose(sums, [bool(history) for history in HISTORIES], rtol=1e-6)


def test_fewer_items_than_a_row_may_name(model):
    few = model.reduced(np.arange(3))
    found = few.scores(Histories.of([[0, 2], []])).toarray()
    np.testing.assert_allclose(found, [softmax(few, [0, 2]), [0, 0, 0]], rtol=1e-4)


def test_filters_change_no_probability(model):
    histories = Histories.of(HISTORIES)
    allow = np.array([9, 0, 4, 5, 11, 2, 7], np.int32)
    found = model.scores(histories, allow)
    assert not np.setdiff1d(found.indices, allow).size
    for row, history in enumerate(HISTORIES):
        everything = plain(model, history)[1]
        best = allow[np.argsort(-everything[allow])][:NAMED] if history else []
        assert sorted(found[[row]].indices) == sorted(best)
        np.testing.assert_allclose(found[[row]].toarray()[0, best], everything[best], rtol=1e-4)
    assert model.scores(histories, np.empty(0, np.int32)).nnz == 0


def test_scores_of_given_items_are_those_of_the_whole_softmax(model):
    histories = Histories.of(HISTORIES)
    items = np.stack([np.roll(np.arange(N), row)[:7] for row in range(len(HISTORIES))])
    items[0] = [2, 2, 9, 9, 9, 0, 1]  # the same item twice is no more likely
    found, named = model.scores_of(histories, items), model.scores(histories).toarray()
    for row, history in enumerate(HISTORIES):
        asked = np.unique(items[row])
        everything = plain(model, history)[1]
        dense = found[[row]].toarray()[0]
        np.testing.assert_allclose(dense[asked], everything[asked], rtol=1e-4)
        both = asked[named[row, asked] > 0]
        np.testing.assert_allclose(dense[both], named[row, both], rtol=1e-6)


def test_batches_change_nothing(model, monkeypatch):
    histories, allow = Histories.of(HISTORIES), np.array([9, 0, 4, 5, 11, 2, 7])
    items = np.tile(np.array([0, 3, 11]), (len(HISTORIES), 1))

    def found():
        parts = model.scores(histories), model.scores(histories, allow)
        return [part.toarray() for part in (*parts, model.scores_of(histories, items))]

    whole = found()
    for rows in (1, 3):
        monkeypatch.setattr(module, "_CELLS", rows * N)
        for part, expected in zip(found(), whole, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-5)


def test_no_histories(model):
    nobody = Histories.of([])
    assert model.scores(nobody).shape == (0, N)
    assert model.scores_of(nobody, np.empty((0, 3), np.int32)).shape == (0, N)


def test_only_the_newest_items_are_read(model):
    assert model.reads == 6
    long = list(range(12))
    one, newest = model.scores(Histories.of([long, long[-6:]])).toarray()
    np.testing.assert_allclose(one, newest, rtol=1e-5)
    # One more is not read: the positions would not reach so far.
    assert not np.allclose(one, model.scores(Histories.of([long[-5:]])).toarray(), rtol=1e-3)


def test_new_items_have_the_vectors_of_their_words(model):
    new = ["green hat", "Blue SOCK, red", "nothing known", ""]
    grown = model.grown(new)
    assert grown.vectors.dtype == np.float16
    assert grown.vectors[:N].tobytes() == model.vectors.tobytes()
    np.testing.assert_allclose(grown.vectors[N], built(TEXTS, own=0).vectors[8], atol=STEP)
    words = dict(zip(model.known.words, model.network.words, strict=True))
    idf = dict(zip(model.known.words, model.known.idf, strict=True))
    summed = sum(idf[word] * words[word] for word in ("blue", "sock", "red")).detach()
    np.testing.assert_allclose(grown.vectors[N + 1], summed / summed.norm(), atol=STEP)
    assert not grown.vectors[N + 2 :].any()
    assert len(model.vectors) == N, "the model that grew stays as it was"
    assert grown.scores(Histories.of([[N, 0]])).shape == (1, N + 4)


def test_no_new_items(model):
    assert model.grown([]).vectors.tobytes() == model.vectors.tobytes()


def test_removed_items_leave_the_rest_alone(model):
    kept = np.array([0, 3, 4, 5, 7, 11])
    reduced = model.reduced(kept)
    assert reduced.vectors.tobytes() == model.vectors[kept].tobytes()
    one, other = softmax(model, [3, 0, 7]), softmax(reduced, [1, 0, 4])
    np.testing.assert_allclose(other, one[kept] / one[kept].sum(), rtol=1e-4)


def test_other_words_move_an_item_and_leave_what_is_its_own():
    model = built(TEXTS)
    items, after = np.array([7, 2]), ["green scarf", "unheard of"]
    reworded = model.reworded(items, [TEXTS[7], TEXTS[2]], after)
    texts = list(TEXTS)
    texts[7], texts[2] = after
    own = 0.3 * drawn(N, SHAPE.width, seed=1).numpy()
    expected = model.of_texts(texts) + own
    np.testing.assert_allclose(reworded.vectors, expected, atol=STEP)
    rest = np.setdiff1d(np.arange(N), items)
    assert reworded.vectors[rest].tobytes() == model.vectors[rest].tobytes()
    assert reworded.vectors.dtype == np.float16
    back = reworded.reworded(items, after, [TEXTS[7], TEXTS[2]])
    np.testing.assert_allclose(back.vectors, model.vectors, atol=2 * STEP)
    assert model.vectors.tobytes() == built(TEXTS).vectors.tobytes(), "this one stays"


@pytest.mark.parametrize("texts", [TEXTS, ["", "once", "…"]], ids=["words", "no words"])
def test_a_saved_model_says_the_same(texts, tmp_path):
    model = built(texts)
    model.save(tmp_path)
    model.save_items(tmp_path)
    loaded = TextModel.load(tmp_path, SHAPE)
    assert loaded.vectors.dtype == np.float16
    assert loaded.vectors.tobytes() == model.vectors.tobytes()
    assert loaded.reads == model.reads
    assert not loaded.network.training
    histories = Histories.of([[0, 1], [2], []])
    assert (loaded.scores(histories) != model.scores(histories)).nnz == 0
    new = ["blue hat", ""]
    assert loaded.grown(new).vectors.tobytes() == model.grown(new).vectors.tobytes()


def test_a_folder_without_a_text_model_has_none(tmp_path):
    assert TextModel.load(tmp_path, SHAPE) is None


NETWORK, WORDS, ITEMS = (
    "text_model/network.safetensors",
    "text_model/words.json",
    "text_vectors.safetensors",
)


def with_array(path, name, change):
    """Change one array of a file; None leaves it out."""
    arrays = load_file(path)
    changed = change(arrays.pop(name))
    if changed is not None:
        arrays[name] = np.ascontiguousarray(changed)
    save_file(arrays, path)


DAMAGED = {
    "no network": (NETWORK, lambda path: path.unlink()),
    "half a network": (NETWORK, lambda path: path.write_bytes(path.read_bytes()[:-40])),
    "no network but noise": (NETWORK, lambda path: path.write_bytes(b"noise")),
    "no frequencies": (NETWORK, lambda path: with_array(path, "idf", lambda x: None)),
    "no word vectors": (NETWORK, lambda path: with_array(path, "words", lambda x: None)),
    "fewer word vectors": (NETWORK, lambda path: with_array(path, "words", lambda x: x[1:])),
    "narrow word vectors": (NETWORK, lambda path: with_array(path, "words", lambda x: x[:, 1:])),
    "narrow positions": (NETWORK, lambda path: with_array(path, "positions", lambda x: x[:, 1:])),
    "no scale": (NETWORK, lambda path: with_array(path, "log_scale", lambda x: None)),
    "no words": (WORDS, lambda path: path.unlink()),
    "fewer words": (WORDS, lambda path: path.write_text(json.dumps(["red"]))),
    "no items": (ITEMS, lambda path: path.unlink()),
    "no items but noise": (ITEMS, lambda path: path.write_bytes(b"noise")),
    "no vectors": (ITEMS, lambda path: with_array(path, "vectors", lambda x: None)),
    "narrow vectors": (ITEMS, lambda path: with_array(path, "vectors", lambda x: x[:, 1:])),
    "flat vectors": (ITEMS, lambda path: with_array(path, "vectors", lambda x: x[:, 0])),
    "wide floats": (ITEMS, lambda path: with_array(path, "vectors", lambda x: x.astype("f4"))),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_folder_is_refused(name, damage, tmp_path):
    model = built(TEXTS)
    model.save(tmp_path)
    model.save_items(tmp_path)
    assert TextModel.load(tmp_path, SHAPE) is not None
    damage(tmp_path / name)
    with pytest.raises(RecommenderError, match=f"{name} cannot be read"):
        TextModel.load(tmp_path, SHAPE)


@pytest.mark.parametrize("other", [{"width": 16}, {"layers": 1}, {"layers": 3}], ids=str)
def test_a_network_of_another_shape_is_refused(other, tmp_path):
    model = built(TEXTS)
    model.save(tmp_path)
    model.save_items(tmp_path)
    with pytest.raises(RecommenderError, match=NETWORK):
        TextModel.load(tmp_path, SHAPE.replace(**other))
