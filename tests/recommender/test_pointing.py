"""A recommender whose language model points: what it expects, how that is mixed, kept, grown and moved."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from genrec import Catalog, FitSettings, GenerativeRecommender, SyntheticShop
from genrec.common.errors import ConfigError, InputError
from genrec.data import generate
from genrec.data.histories import Histories
from genrec.fitting import retraining
from genrec.fitting.adapters.fit import plain_base
from genrec.fitting.few_shot import FUSED, without_training
from genrec.fitting.further import fit_further, further_settings
from genrec.language_model.item_attention import states_in_front
from genrec.language_model.weights import hash_weights
from genrec.recommender.components import joined
from genrec.recommender.folder.export import export_model
from genrec.recommender.mixture import mix
from genrec.recommender.transfer import TransferSettings, alike, transfer
from genrec.testing.fakes import save_tiny_pretrained


@pytest.fixture(scope="module")
def pointer_settings(quick_settings):
    return quick_settings | {
        "language_model": quick_settings["language_model"] | {"pointer": True},
        "memory": {"weight": 0.0, "text_weight": 0.0},
        "text_model": {"weight": 0.0},
    }


@pytest.fixture(scope="module")
def pointing(shop, pointer_settings):
    settings = FitSettings.model_validate(pointer_settings)
    return GenerativeRecommender.fit(shop.catalog, shop.log, settings)


@pytest.fixture(scope="module")
def folder(pointing, tmp_path_factory):
    path = tmp_path_factory.mktemp("pointing") / "it"
    pointing.save_pretrained(path)
    return path


def weighing(recommender, weight):
    chosen = recommender.settings.language_model.replace(pointer_weight=weight)
    settings = recommender.settings.replace(language_model=chosen)
    return recommender.changed(
        settings=settings,
    )


def test_the_weight_is_the_best_on_validation(pointing):
    found = {float(weight): ndcg for weight, ndcg in pointing.metrics["pointer"].items()}
    assert pointing.settings.language_model.pointer_weight == max(found, key=found.get)
    assert len(found) > 5
    assert found[0.0] < max(found.values()), "this catalog's texts tell what is bought next"


def test_training_moved_it(pointing):
    pointer = pointing.language_model.pointer
    assert pointer.query.abs().sum() > 0
    assert pointer.mixture_weights[0] < 0.095, "nobody buys the same again here"


@torch.no_grad()
def by_hand(recommender, history):
    """What the pointer expects after one history of catalog indices, over the whole catalog."""
    model, codes = recommender.language_model, recommender.semantic_ids.codes
    tokens = torch.from_numpy(model.vocabulary.encode(codes[[*history, 0]]))[None]
    states = states_in_front(model.core, recommender.inputs, torch.tensor(model.prefix), tokens)
    weights = model.pointer(states[-1][0, 1:, 0][None])[0, -1].exp()
    likeness, likely = recommender.item_likeness, 0
    for weight, item in zip(weights, history, strict=True):
        ((_, alike, rest),) = likeness.rows(torch.tensor([item]))
        same = (torch.arange(len(codes)) == item)[None]
        likely += weight * model.pointer.after(same, alike, rest, len(codes))[0]
    return (likely / likely.sum()).numpy()


def test_it_expects_what_the_formula_says_whatever_the_batch(pointing):
    rows = [[4, 9, 4], [], [7], [1, 2, 3], list(range(40))]
    found = pointing.pointing.probabilities(Histories.of(rows)).toarray()
    for row in (0, 2, 3):
        np.testing.assert_allclose(found[row], by_hand(pointing, rows[row]), rtol=1e-3, atol=1e-7)
    assert found[1].sum() == 0, "no items, nothing to point at"
    np.testing.assert_allclose(found[[0, 2, 3, 4]].sum(1), 1.0, rtol=1e-6)
    alone = pointing.pointing.probabilities(Histories.of(rows[3:4])).toarray()
    np.testing.assert_allclose(alone[0], found[3], rtol=1e-5)
    newest = rows[4][-pointing.settings.training.max_items :]
    np.testing.assert_allclose(found[4], by_hand(pointing, newest), rtol=1e-3, atol=1e-7)


def test_lists_are_the_mixture_of_codes_and_pointer(pointing):
    """Over the whole catalog, where a search finds every item."""
    n = len(pointing.catalog)
    half = weighing(pointing, 0.5)
    histories = Histories.of([[4, 9, 4], [7]])
    everything = np.tile(np.arange(n, dtype=np.int32), (2, 1))
    codes = np.exp(half.codes_alone().score(histories, everything))
    expected = 0.5 * codes + 0.5 * half.pointing.probabilities(histories).toarray()
    np.testing.assert_allclose(np.exp(half.score(histories, everything)), expected, rtol=1e-4)
    found = half.rank(histories, n, exclude_seen=False)
    for row in range(2):
        scores = expected[row, found.items[row]]
        np.testing.assert_allclose(np.exp(found.scores[row]), scores, rtol=1e-3)
        assert (np.diff(found.scores[row]) <= 0).all()
    assert len(set(found.items[0].tolist())) == n


def test_filters_hold_for_what_is_pointed_at(pointing):
    nearly = weighing(pointing, 0.9)
    ids = pointing.catalog.item_ids
    found = nearly.recommend([ids[:3]], k=10, allow=ids[2:6], deny=ids[4:5])[0]
    assert {item.item_id for item in found} == {ids[3], ids[5]}


def test_under_a_filter_it_points_at_what_passes_however_unlikely(pointing, monkeypatch):
    """A row names few items; under a filter these are the likeliest that pass, at unchanged likelihoods."""
    from genrec.language_model import pointing as module

    monkeypatch.setattr(module, "NAMED", 7)
    histories = Histories.of([[4, 9, 4], [7], []])
    whole = pointing.pointing.probabilities(histories)
    assert np.diff(whole.indptr).tolist() == [7, 7, 0]
    np.testing.assert_allclose(whole.sum(1).ravel(), [[1, 1, 0]], rtol=1e-6)
    everything = np.tile(np.arange(len(pointing.catalog), dtype=np.int32), (3, 1))
    exact = pointing.pointing.of_items(histories, everything).toarray()
    unlikely = np.setdiff1d(everything[0], whole[0].indices)[::5]
    filtered = pointing.pointing.probabilities(histories, unlikely)
    assert set(filtered[0].indices) == set(unlikely[exact[0, unlikely].argsort()[-7:]])
    for found in (whole, filtered):
        rows, columns = found.nonzero()
        np.testing.assert_allclose(np.asarray(found[rows, columns]).ravel(), exact[rows, columns])


def test_the_same_item_twice_is_scored_once(pointing):
    histories = Histories.of([[4, 9]])
    twice = weighing(pointing, 0.5).score(histories, np.array([[3, 3, 8]], np.int32))
    once = weighing(pointing, 0.5).score(histories, np.array([[3, 8]], np.int32))
    np.testing.assert_allclose(twice, once[:, [0, 0, 1]])


def test_weights_are_chosen_beside_what_they_are_served_beside(pointing):
    half = weighing(pointing, 0.5)
    histories = Histories.of([[4, 9], [7]])
    memory = half.settings.memory.replace(weight=0.3)
    whole = half.changed(settings=half.settings.replace(memory=memory))
    parts = {part.name: part.scores(histories) for part in whole.components}
    [share] = joined(parts, whole.settings)
    mixed = mix(half.expected(histories), share, 10, deny=list(histories))
    served = whole.rank(histories, 10, exclude_seen=True)
    assert mixed.items.tolist() == served.items.tolist()
    np.testing.assert_allclose(mixed.scores, served.scores)


def test_an_empty_history_gets_what_the_codes_say(pointing):
    heavy, codes = weighing(pointing, 0.9), pointing.codes_alone()
    found, wanted = heavy.recommend([[]])[0], codes.recommend([[]])[0]
    assert [item.item_id for item in found] == [item.item_id for item in wanted]


def test_it_mixes_with_counts_too(pointing):
    half = weighing(pointing, 0.5)
    changed = half.settings.replace(
        memory=half.settings.memory.replace(weight=0.3),
        search=half.settings.search.replace(beams=len(half.catalog)),
    )
    whole = half.changed(settings=changed)
    histories = Histories.of([[4, 9], [7]])
    found = whole.rank(histories, 5, exclude_seen=True)
    np.testing.assert_allclose(found.scores, whole.score(histories, found.items), rtol=1e-4)


def test_opened_it_recommends_the_same_and_its_weights_are_known(pointing, folder):
    opened = GenerativeRecommender.from_pretrained(folder)
    ids = pointing.catalog.item_ids
    assert opened.recommend([ids[:3], []]) == pointing.recommend([ids[:3], []])
    assert opened.language_model.parameters() == pointing.language_model.parameters()
    before = hash_weights(opened.language_model)
    with torch.no_grad():
        opened.language_model.pointer.recency[0] += 1
    assert hash_weights(opened.language_model) != before


def test_it_points_from_a_pretrained_model_with_an_adapter_too(shop, quick_settings, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    chosen = {"backbone": str(base), "pointer": True, "pointer_weight": 0.5}
    training = quick_settings["training"] | {"max_steps": 3, "validations": 1, "precision": "bf16"}
    settings = FitSettings.model_validate(
        quick_settings | {"language_model": chosen, "training": training}
    )
    fitted = GenerativeRecommender.fit(shop.catalog, shop.log, settings)
    assert fitted.language_model.pointer.query.abs().sum() > 0, "it trains beside the adapter"
    fitted.save_pretrained(tmp_path / "adapter")
    histories = Histories.of([[4, 9, 4], [7]])
    wanted = fitted.pointing.probabilities(histories).toarray()
    for how in ({}, {"merged": True}, {"dtype": "bfloat16"}):
        opened = GenerativeRecommender.from_pretrained(tmp_path / "adapter", device="cpu", **how)
        found = opened.pointing.probabilities(histories).toarray()
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_its_card_says_what_it_weighs(pointing, folder):
    weight = pointing.settings.language_model.pointer_weight
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"its pointer weighs {weight:.2f}" in card


def test_new_items_are_pointed_at(pointing):
    table = pointing.catalog.table.slice(0, 1)
    twin = table.set_column(0, "item_id", [["twin"]])
    grown = weighing(pointing.add_items(Catalog.from_table(twin)), 0.9)
    found = grown.recommend([pointing.catalog.item_ids[:1]], k=5)[0]
    assert "twin" in {item.item_id for item in found}


def test_elsewhere_it_has_the_weight_of_the_transfer(pointing, recommender, shop):
    other = generate(SyntheticShop(items=70, users=60, seed=4))
    moved = transfer(pointing, other.catalog, other.log, TransferSettings(pointer_weight=0.7))
    assert moved.settings.language_model.pointer_weight == 0.7
    assert moved.pointing.probabilities(Histories.of([[3]])).shape == (1, 70)
    without = transfer(recommender, other.catalog, other.log)
    assert without.settings.language_model.pointer_weight is None
    for weight in ("pointer_weight", "repeat_weight"):
        with pytest.raises(InputError, match=f"no pointer to weigh: leave {weight} out"):
            transfer(recommender, other.catalog, None, TransferSettings(**{weight: 0.5}))


def test_what_likeness_of_texts_would_add_is_a_row_of_its_own(pointing):
    other = generate(SyntheticShop(items=70, users=60, seed=4))
    moved = transfer(pointing, other.catalog, other.log, TransferSettings(text_weight=0))
    rankers = without_training(moved, moved.split)
    histories = Histories.of([[4, 9], [7]])
    fused = rankers["with likeness of texts, zero-shot"].rank(histories, 5, exclude_seen=True)
    stated = transfer(pointing, other.catalog, other.log, TransferSettings(text_weight=FUSED))
    assert fused.items.tolist() == stated.rank(histories, 5, exclude_seen=True).items.tolist()
    alone = rankers["language model alone, zero-shot"].rank(histories, 5, exclude_seen=True)
    assert alone.items.tolist() == moved.rank(histories, 5, exclude_seen=True).items.tolist()
    memory = moved.settings.memory.replace(text_items=69)
    large = moved.changed(
        settings=moved.settings.replace(memory=memory),
    )
    rows = without_training(large, moved.split)
    assert "with likeness of texts, zero-shot" not in rows, "hours for a row"


def test_a_catalog_without_a_word_is_pointed_at_by_vectors_alone(pointing):
    table = pa.table({"item_id": ["a", "b", "c"], "title": ["!", "?", "-"]})
    moved = transfer(pointing, Catalog.from_table(table))
    assert moved.pointing.likeness.words.shape == (3, 0)
    found = moved.pointing.probabilities(Histories.of([[0]])).toarray()
    assert found.sum() == pytest.approx(1)


def test_elsewhere_it_may_expect_that_shoppers_buy_again(pointing, tmp_path, caplog):
    caplog.set_level("INFO", "genrec")
    learned = pointing.language_model.pointer.mixture_weights.tolist()
    settings = TransferSettings(pointer_weight=0.99, repeat_weight=0.9, text_weight=0.0)
    again = transfer(pointing, pointing.catalog, None, settings)
    assert "items of the history themselves have 0.89 of the whole" in caplog.text
    ids = pointing.catalog.item_ids
    again.save_pretrained(tmp_path / "again")
    opened = GenerativeRecommender.from_pretrained(tmp_path / "again")
    first = opened.recommend([[ids[4], ids[9]]], k=2, exclude_seen=False)[0]
    assert {item.item_id for item in first} == {ids[4], ids[9]}
    assert pointing.language_model.pointer.mixture_weights.tolist() == learned


def test_alike_catalogs_keep_what_the_fit_chose_and_others_are_pointed_at(pointing):
    same = pointing.transfer(pointing.catalog)
    assert same.settings.language_model == pointing.settings.language_model
    rows = np.random.default_rng(0).permuted(pointing.catalog.titles).tolist()
    words = [" ".join(sorted(set(title), reverse=True)) for title in rows]
    table = {"item_id": [f"X{i}" for i in range(len(words))], "title": words}
    other = pointing.transfer(Catalog.from_table(pa.table(table)))
    assert other.settings.language_model.pointer_weight == 0.95
    assert other.settings.memory.text_weight == 0.95, "TF-IDF of the first shop knows no new words"
    assert (other.language_model.pointer.query == 0).all(), "states of unknown codes say little"
    assert torch.equal(same.language_model.pointer.query, pointing.language_model.pointer.query)
    assert pointing.language_model.pointer.query.any()
    assert not alike(other, other.vectorizer.vectors(other.catalog, other.settings))
    one = pointing.transfer(pointing.catalog.take(np.array([3])))
    assert one.settings.language_model.pointer_weight == 0.95
    assert one.recommend([[]], k=3)[0][0].item_id == pointing.catalog.item_ids[3]


def test_fitted_on_its_weight_is_chosen_again(pointing, tmp_path):
    other = generate(SyntheticShop(items=70, users=120, seed=4))
    moved = pointing.transfer(other.catalog, other.log)
    before = hash_weights(moved.language_model)
    words = ["training.max_steps=5", "memory.weight=0", "memory.text_weight=0"]
    copy = replace(moved, language_model=moved.language_model.merged())
    further = fit_further(copy, further_settings(copy, words=words), tmp_path / "further")
    assert hash_weights(moved.language_model) == before
    assert further.metrics["pointer"]


@pytest.mark.parametrize("better", [True, False])
def test_what_is_learned_is_kept_where_it_is_clearly_better(
    pointing, tmp_path, monkeypatch, better
):
    asked = []

    def judge(learned, start):
        asked.append((learned.mean(), start.mean()))
        return better

    monkeypatch.setattr(retraining, "clearly_better", judge)
    other = generate(SyntheticShop(items=70, users=120, seed=4))
    moved = pointing.transfer(other.catalog, other.log)
    words = ["training.max_steps=80", "training.batch_items=64", "memory.weight=0"]
    copy = replace(moved, language_model=moved.language_model.merged())
    further = fit_further(copy, further_settings(copy, words=words), tmp_path / "further")
    ((learned, start),) = asked
    assert learned != start
    again, events = moved.split.train.repeats
    share = (again + moved.language_model.pointer.mixture_weights[0].item()) / (events + 1)
    stayed = further.language_model.pointer.mixture_weights[0].item() == pytest.approx(share)
    assert stayed != better
    plain = [replace(r.language_model, pointer=None) for r in (moved, further)]
    hashes = [hash_weights(model) for model in plain]
    assert (hashes[0] != hashes[1]) == better
    assert (further.metrics["training"]["best_step"] > 0) == better


def test_an_adapter_knows_its_base_whatever_a_transfer_made_of_the_pointer(pointing):
    settings = TransferSettings(repeat_weight=0.4)
    moved = transfer(pointing, pointing.catalog, None, settings)
    assert hash_weights(moved.language_model) != hash_weights(pointing.language_model)
    base, _ = plain_base(pointing, "get an adapter")
    assert plain_base(moved, "get an adapter")[0] == base


def test_it_is_no_plain_model_to_export(folder, tmp_path):
    with pytest.raises(InputError, match=r"language_model\.pointer=false"):
        export_model(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tasks_in_words_know_no_pointer():
    chosen = {"backbone": "some/model", "pointer": True}
    with pytest.raises(ValueError, match="learns from histories alone"):
        FitSettings.model_validate({"language_model": chosen, "tasks": {"next-title": 0.3}})


def test_a_stated_weight_is_kept(shop, pointer_settings):
    chosen = pointer_settings["language_model"] | {"pointer_weight": 0.25}
    training = pointer_settings["training"] | {"max_steps": 2}
    settings = pointer_settings | {"language_model": chosen, "training": training}
    fitted = GenerativeRecommender.fit(shop.catalog, shop.log, FitSettings.model_validate(settings))
    assert fitted.settings.language_model.pointer_weight == 0.25
    assert fitted.metrics["pointer"] == {}
    again = further_settings(fitted, words=["language_model.pointer_weight=0.5"])
    assert again.language_model.pointer_weight == 0.5
    with pytest.raises(ConfigError, match="language_model cannot change"):
        further_settings(fitted, words=["language_model.pointer=false"])
