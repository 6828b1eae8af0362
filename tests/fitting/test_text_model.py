"""The fit of a text model: its loss by a plain loop, and what it learns of words on planted logs."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from genrec import Catalog, FitSettings, GenerativeRecommender, SyntheticShop
from genrec.common.errors import ConfigError, InputError
from genrec.data import generate
from genrec.data.histories import Cases, Histories, Split
from genrec.fitting import text_model as module
from genrec.fitting.text_model import TextModelLoss, fit_text_model
from genrec.fitting.work_folder import WorkFolder
from genrec.recommender.text_model.model import TextShape
from genrec.recommender.text_model.network import TextNetwork
from genrec.recommender.text_model.words import KnownWords, WordBags

SHAPE = TextShape(width=8, layers=1, heads=2, dropout=0.0)
TEXTS = ["red hat", "blue hat", "red coat", "blue coat", "red", "nothing known", "hat"]
UNSOLD = [1, 6]
ITEMS = torch.tensor([[0, 3, 2, 5], [4, 2, -1, -1], [5, -1, -1, -1], [3, 3, 0, -1]])
"""Sequences; six of their items have one before them."""
TARGETS = 6


def untrained(own=None, texts=TEXTS):
    known = KnownWords.fit(texts)
    generator = torch.Generator().manual_seed(0)
    network = TextNetwork(torch.randn(len(known), 8, generator=generator), 6, SHAPE, seed=3)
    network.log_scale.data.fill_(1.0)
    bags = WordBags.of(known.rows(texts), torch.device("cpu"))
    sold = ~torch.isin(torch.arange(len(texts)), torch.tensor(UNSOLD))
    loss = TextModelLoss(network, bags, sold, seed=1)
    drawn = torch.randn(len(texts), 8, generator=generator) * 0.3
    loss.own.data = drawn if own is None else own
    return known, loss


@torch.no_grad()
def plain_loss(loss):
    """Every target by itself, after the history in front of it alone, against all that were sold."""
    vectors = loss.network.texts(loss.bags) + loss.own
    table = [vector / vector.norm() for vector in vectors]
    total = 0.0
    for row in ITEMS.tolist():
        sequence = [item for item in row if item >= 0]
        for place in range(1, len(sequence)):
            query = loss.network(vectors, torch.tensor([sequence[:place]]))[0, -1]
            scores = {item: math.exp(float(query @ table[item])) for item in loss.sold.tolist()}
            total -= math.log(scores[sequence[place]] / sum(scores.values()))
    return total


def test_the_loss_is_that_of_a_plain_loop():
    _, loss = untrained()
    assert loss.sold.tolist() == [0, 2, 3, 4, 5]
    found = loss.eval()(ITEMS)
    assert found.item() == pytest.approx(plain_loss(loss), rel=1e-5)
    assert loss.train()(ITEMS).item() != pytest.approx(found.item(), rel=1e-3), (
        "some lack their own"
    )


def test_with_every_item_drawn_the_sampled_loss_is_the_whole_one(monkeypatch):
    _, loss = untrained()
    expected = plain_loss(loss)
    monkeypatch.setattr(module, "_WHOLE", 4)
    monkeypatch.setattr(module, "_NEGATIVES", 500)  # of five items
    assert loss.eval()(ITEMS).item() == pytest.approx(expected, rel=1e-5)


def test_the_drawn_items_stand_for_all_that_were_sold(monkeypatch):
    """Without words and vectors of their own, all items are equally likely, however few are drawn."""
    _, loss = untrained(torch.zeros(70, 8), TEXTS * 10)
    loss.network.words.data.zero_()
    sold = 70 - len(UNSOLD)
    assert loss.eval()(ITEMS).item() == pytest.approx(TARGETS * math.log(sold), rel=1e-5)
    monkeypatch.setattr(module, "_WHOLE", 4)
    for negatives in (10, 30, 70, 300):
        monkeypatch.setattr(module, "_NEGATIVES", negatives)
        found = loss.eval()(ITEMS).item()
        assert found == pytest.approx(TARGETS * math.log(sold), rel=1e-5)


def test_fewer_negatives_give_about_the_whole_loss(monkeypatch):
    _, loss = untrained()
    expected = plain_loss(loss)
    monkeypatch.setattr(module, "_WHOLE", 4)
    monkeypatch.setattr(module, "_NEGATIVES", 4)
    loss.eval()
    with torch.no_grad():
        found = np.array([loss(ITEMS).item() for _ in range(300)])
    error = found.std() / math.sqrt(len(found))
    # The logarithm of an estimate lies a little below: by half its variance, a few hundredths a target.
    assert found.mean() == pytest.approx(expected, abs=3 * error + 0.05 * TARGETS)


@pytest.mark.parametrize("whole", [20_000, 4])
def test_items_that_nobody_bought_are_no_alternatives(whole, monkeypatch):
    monkeypatch.setattr(module, "_WHOLE", whole)
    _, loss = untrained()
    loss(ITEMS).backward()
    assert loss.own.grad[UNSOLD].abs().sum() == 0
    assert (loss.own.grad[ITEMS[ITEMS >= 0]].abs().sum(1) > 0).any()


def test_an_item_without_its_own_vector_is_its_words(monkeypatch):
    monkeypatch.setattr(module, "_LEFT_OUT", 1.0)
    _, loss = untrained()
    _, words_alone = untrained(torch.zeros(len(TEXTS), 8))
    assert loss.train()(ITEMS).item() == pytest.approx(words_alone.eval()(ITEMS).item(), rel=1e-6)


def test_items_own_vectors_are_the_seeds():
    _, loss = untrained()
    network, bags, sold = loss.network, loss.bags, torch.ones(len(TEXTS), dtype=torch.bool)
    before = torch.random.get_rng_state()
    one, again, other = (TextModelLoss(network, bags, sold, seed).own for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sequences_of_one_item_cost_nothing():
    _, loss = untrained()
    found = loss(torch.tensor([[2], [3]]))
    assert found.item() == 0
    found.backward()


def test_a_trained_item_is_its_words_and_its_own_an_unsold_one_its_words():
    known, loss = untrained()
    model = loss.trained(known)
    words = model.of_texts(TEXTS)
    own = loss.own.detach().numpy()
    step = 2.0**-10  # of float16 between 1 and 2
    bought = [0, 2, 3, 4, 5]
    np.testing.assert_allclose(model.vectors[bought], (words + own)[bought], atol=step)
    np.testing.assert_allclose(model.vectors[UNSOLD], words[UNSOLD], atol=step)
    assert not model.network.training


# A shop in which the blue one of everything follows the red one, and then comes anything red.
BRANDS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel")
THINGS = ("hat", "coat", "sock", "glove", "belt", "scarf", "boot", "shirt")
PLANTED = [(*pair, colour) for colour in ("red", "blue") for pair in product(BRANDS, THINGS)]
PAIRS = len(PLANTED) // 2
"""Item `i` is red, and item `PAIRS + i` the same in blue."""
APART = [9 * place for place in range(8)]
"""Red and blue of these are sold, and never together."""
NEW = APART[:3]
"""The blue ones of these are not in the catalog."""


def title(item):
    return " ".join(PLANTED[item])


def planted_catalog(items=range(2 * PAIRS)):
    return Catalog.read([{"item_id": f"i{item}", "title": title(item)} for item in items])


def planted_histories(users=400):
    """Red and its blue, twice, and then one that is sold apart, in either colour."""
    generator = np.random.default_rng(0)
    together = [item for item in range(PAIRS) if item not in APART]
    histories = []
    for _ in range(users):
        one, other = generator.choice(together, 2, replace=False)
        apart = generator.choice(APART) + PAIRS * generator.integers(2)
        histories.append([one, PAIRS + one, other, PAIRS + other, apart])
    return histories


def planted_settings(**training):
    shape = {"width": 32, "layers": 2, "heads": 2, "dropout": 0.5}
    short = {"batch_items": 512, "warmup_steps": 5} | training
    return FitSettings(device="cpu", text_model={"shape": shape, "training": short})


def split_of(histories, valid=None):
    return Split("planted", Histories.of(histories), valid or Cases.none(), Cases.none())


@pytest.fixture(scope="module")
def kept():
    """The items of the planted catalog, by their numbers in the whole one."""
    return [item for item in range(2 * PAIRS) if item - PAIRS not in NEW]


@pytest.fixture(scope="module")
def planted(kept, tmp_path_factory):
    """A text model of the planted shop."""
    place = {item: index for index, item in enumerate(kept)}
    histories = [[place[i] for i in history if i in place] for history in planted_histories()]
    work = WorkFolder(tmp_path_factory.mktemp("planted"))
    settings = planted_settings(max_steps=200, learning_rate=5e-3)
    return fit_text_model(planted_catalog(kept), split_of(histories), settings, work)[0]


def ranks(model, histories, targets):
    """Of each target, from 0."""
    scores = model.scores(Histories.of(histories)).toarray()
    own = scores[np.arange(len(targets)), targets]
    return (scores > own[:, None]).sum(axis=1)


def test_words_say_what_follows_items_that_were_never_sold_together(planted, kept):
    apart = [item for item in APART if item not in NEW]
    found = ranks(planted, [[item] for item in apart], [kept.index(PAIRS + i) for i in apart])
    assert np.median(found) <= 1
    assert found.mean() < 6, "by chance, 62"


def test_new_items_are_ranked_first_where_their_words_fit(planted, kept):
    grown = planted.grown([title(PAIRS + item) for item in NEW])
    new = [len(kept) + place for place in range(len(NEW))]
    found = ranks(grown, [[item] for item in NEW], new)
    assert np.median(found) <= 1
    assert found.mean() < 6, "by chance, 64"
    others = [item for item in range(PAIRS) if item not in NEW]
    for item in new:
        behind = ranks(grown, [[other] for other in others], [item] * len(others))
        assert np.median(behind) > 20, "not wherever anything blue fits"


class Killed(Exception):
    pass


def test_a_fit_that_is_cut_goes_on_and_ends_with_the_same_weights(tmp_path, monkeypatch):
    catalog, histories = planted_catalog(), planted_histories(40)
    some = histories[:20]
    targets = np.array([history[-1] for history in some])
    valid = Cases(np.arange(20), Histories.of(history[:-1] for history in some), targets)
    split = split_of(histories, valid)
    settings = planted_settings(max_steps=12, validations=3, checkpoint_seconds=0, patience=9)
    steps = []
    forward = TextModelLoss.forward

    def counted(self, items):
        steps.append(len(items))
        if len(steps) == wanted:
            raise Killed
        return forward(self, items)

    monkeypatch.setattr(TextModelLoss, "forward", counted)
    wanted = 0
    whole, _ = fit_text_model(catalog, split, settings, WorkFolder(tmp_path / "whole"))
    assert len(steps) == 12
    steps.clear()
    wanted = 8
    with pytest.raises(Killed):
        fit_text_model(catalog, split, settings, WorkFolder(tmp_path / "cut"))
    steps.clear()
    wanted = 0
    resumed, _ = fit_text_model(catalog, split, settings, WorkFolder(tmp_path / "cut"))
    assert len(steps) == 5, "what was done is not done again"
    assert resumed.vectors.tobytes() == whole.vectors.tobytes()
    expected, found = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_same_seed_gives_the_same_model_and_leaves_the_random_state(tmp_path):
    catalog, split = planted_catalog(), split_of(planted_histories(40))
    settings = planted_settings(max_steps=5)
    found = []
    for place, seed in enumerate([0, 0, 1]):
        torch.manual_seed(place)
        before = torch.random.get_rng_state()
        work = WorkFolder(tmp_path / str(place))
        found.append(fit_text_model(catalog, split, settings.replace(seed=seed), work)[0].vectors)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert found[0].tobytes() == found[1].tobytes()
    assert found[0].tobytes() != found[2].tobytes()


def test_the_best_on_validation_is_kept(tmp_path, monkeypatch):
    """Of three validations, the second is the best: the weights are those of a run that ended there."""
    catalog, histories = planted_catalog(), planted_histories(40)
    split = split_of(histories, Cases(np.arange(1), Histories.of([[0]]), np.array([PAIRS])))
    settings = planted_settings(max_steps=6, validations=3, decay=0.0)
    kept = []

    def validation(known, loss, valid, settings):
        def validate():
            kept.append(loss.eval().trained(known).vectors)
            return {"ndcg@10": [0.1, 0.3, 0.2][len(kept) - 1]}

        return validate

    monkeypatch.setattr(module, "_validation", validation)
    found, _ = fit_text_model(catalog, split, settings, WorkFolder(tmp_path / "it"))
    assert len(kept) == 3
    assert found.vectors.tobytes() == kept[1].tobytes() != kept[2].tobytes()


def test_a_log_without_training_events_is_refused(tmp_path):
    catalog = planted_catalog()
    with pytest.raises(InputError, match="no training interaction"):
        fit_text_model(catalog, split_of([[], []]), planted_settings(), WorkFolder(tmp_path))


def test_a_catalog_without_words_learns_from_clicks_alone(tmp_path):
    table = [{"item_id": f"i{i}", "title": "…"} for i in range(2 * PAIRS)]
    split, settings = (
        split_of(planted_histories(100)),
        planted_settings(max_steps=60, learning_rate=1e-2),
    )
    model, _ = fit_text_model(Catalog.read(table), split, settings, WorkFolder(tmp_path))
    assert len(model.known) == 0
    sold = [item for item in range(PAIRS) if item not in APART]
    found = ranks(model, [[item] for item in sold], [PAIRS + item for item in sold])
    assert np.median(found) == 0


@pytest.fixture(scope="module")
def tiny():
    """A shop for a fit of a second."""
    return generate(SyntheticShop(items=60, users=60, seed=3))


@pytest.mark.parametrize(("weight", "trained"), [(0.0, False), (0.2, True)])
def test_no_weight_trains_none(tiny, quick_settings, weight, trained):
    short = {"max_steps": 2, "warmup_steps": 0}
    own = quick_settings["text_model"] | {"weight": weight, "training": short}
    settings = quick_settings | {"text_model": own, "training": short}
    fitted = GenerativeRecommender.fit(tiny.catalog, tiny.log, FitSettings.model_validate(settings))
    assert (fitted.text_model is not None) == trained
    assert ("text_model" in fitted.metrics["seconds"]) == trained
    assert fitted.settings.text_model.weight == weight


def test_in_pieces_it_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "wants_shards", lambda: True)
    with pytest.raises(ConfigError, match=r"set text_model\.weight=0, or launch"):
        fit_text_model(
            planted_catalog([0, 1]), split_of([[0, 1]]), planted_settings(), WorkFolder(tmp_path)
        )
