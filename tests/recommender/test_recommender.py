"""The fitted whole in Python: fit, recommend, save, open; and that the test cases stay unseen."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec import FitSettings, GenerativeRecommender, Histories, InputError, Interactions
from genrec.common.manifest import write_manifest
from genrec.data import leave_one_out
from genrec.evaluation.baselines import Popularity
from genrec.recommender.components import weights_of
from genrec.recommender.mixture import join, mix
from genrec.testing.fakes import save_tiny_pretrained


@pytest.fixture(scope="module")
def opened(recommender_folder):
    return GenerativeRecommender.from_pretrained(recommender_folder, device="cpu")


@pytest.fixture(scope="module")
def histories(shop):
    """What 40 customers bought, as item ids."""
    ids = shop.catalog.item_ids
    return [[ids[item] for item in shop.log.histories[user]] for user in range(40)]


def ids_of(found):
    return [item.item_id for item in found]


def test_an_opened_folder_recommends_the_same_bit_for_bit(recommender, opened, histories):
    assert opened.recommend(histories, k=7) == recommender.recommend(histories, k=7)
    assert opened.recommend([[]], k=120) == recommender.recommend([[]], k=120)


def test_a_folder_without_its_trie_builds_it(recommender, recommender_folder, tmp_path, histories):
    kept = shutil.copytree(recommender_folder, tmp_path / "older")
    (kept / "trie.safetensors").unlink()
    facts = json.loads((kept / "recommender.json").read_text())
    del facts["files"]["trie.safetensors"]
    write_manifest(kept, {k: v for k, v in facts.items() if k not in ("files", "format_version")})
    opened = GenerativeRecommender.from_pretrained(kept, device="cpu")
    assert opened.recommend(histories, k=7) == recommender.recommend(histories, k=7)


def test_bfloat16_ranks_nearly_the_same(recommender, recommender_folder, histories):
    quick = GenerativeRecommender.from_pretrained(
        recommender_folder, device="cpu", dtype="bfloat16"
    )
    assert quick.language_model.core.dtype == torch.bfloat16
    pairs = zip(quick.recommend(histories), recommender.recommend(histories), strict=True)
    shared = [len(set(ids_of(found)) & set(ids_of(exact))) / 10 for found, exact in pairs]
    assert np.mean(shared) > 0.8


def test_the_folder_keeps_log_split_and_everything_set(recommender, opened, shop):
    assert np.array_equal(opened.log.histories.items, shop.log.histories.items)
    assert np.array_equal(opened.log.histories.offsets, shop.log.histories.offsets)
    assert np.array_equal(opened.log.timestamps, shop.log.timestamps)
    assert opened.settings == recommender.settings
    assert opened.metrics == recommender.metrics
    assert opened.data == recommender.data
    assert opened.catalog.table.equals(recommender.catalog.table)
    before, after = (part.split for part in (recommender, opened))
    assert before.protocol == after.protocol == "leave-one-out"
    for cases, others in ((before.valid, after.valid), (before.test, after.test)):
        assert np.array_equal(cases.users, others.users)
        assert np.array_equal(cases.targets, others.targets)
        assert np.array_equal(cases.histories.items, others.histories.items)


def test_a_folder_may_move(recommender_folder, recommender, tmp_path, histories, monkeypatch):
    moved = tmp_path / "elsewhere" / "under another name"
    shutil.copytree(recommender_folder, moved)
    monkeypatch.chdir(tmp_path)
    again = GenerativeRecommender.from_pretrained("elsewhere/under another name")
    assert again.recommend(histories[:3]) == recommender.recommend(histories[:3])


def test_saving_what_was_opened_gives_equal_files(opened, recommender_folder, tmp_path):
    opened.save_pretrained(tmp_path / "again")
    for name in ("language_model/model.safetensors", "item_tokenizer/model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (recommender_folder / name).read_bytes()
    with pytest.raises(InputError, match="again exists already"):
        opened.save_pretrained(tmp_path / "again")
    opened.save_pretrained(tmp_path / "again", overwrite=True)


@pytest.mark.parametrize("k", [120, 121, 10**12])
def test_more_than_the_catalog_gives_every_unseen_item_once(recommender, histories, k):
    found = ids_of(recommender.recommend([histories[0]], k=k)[0])
    assert sorted(found) == sorted(set(recommender.catalog.item_ids) - set(histories[0]))


def test_an_empty_history_is_answered(recommender):
    found = recommender.recommend([[]], k=10)[0]
    assert len(set(ids_of(found))) == 10
    assert recommender.recommend([], k=10) == []


def test_a_batch_equals_one_by_one(recommender, histories, assert_alike):
    batch = recommender.recommend([*histories, []], k=10)
    for history, together in zip([*histories, []], batch, strict=True):
        alone = recommender.recommend([history], k=10)[0]
        assert_alike(*([(item.item_id, item.score) for item in row] for row in (alone, together)))


@settings(max_examples=30)
@given(st.data())
def test_whatever_is_asked_only_allowed_distinct_real_items_come(recommender, data):
    ids = recommender.catalog.item_ids
    some = st.lists(st.sampled_from(ids), max_size=25)
    history, deny = data.draw(some), data.draw(some)
    allow = data.draw(st.none() | some)
    k, seen = data.draw(st.integers(1, 130)), data.draw(st.booleans())
    found = recommender.recommend([history], k=k, exclude_seen=seen, allow=allow, deny=deny)[0]
    may = set(ids if allow is None else allow) - set(deny) - set(history if seen else ())
    assert set(ids_of(found)) <= may
    assert len(found) == len(set(ids_of(found))) == min(k, len(may))
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert all(score <= 0 for score in scores)
    titles = dict(zip(ids, recommender.catalog.titles, strict=True))
    assert all(item.title == titles[item.item_id] for item in found)


def test_the_scores_of_the_whole_catalog_are_a_distribution(recommender, histories):
    found = recommender.recommend([histories[0]], k=120, exclude_seen=False)[0]
    assert sum(np.exp(item.score) for item in found) == pytest.approx(1, abs=1e-4)


def test_allowed_items_need_not_be_near_the_top(recommender, histories):
    whole = ids_of(recommender.recommend([histories[0]], k=120)[0])
    last = whole[-3:]
    assert ids_of(recommender.recommend([histories[0]], k=3, allow=last[::-1])[0]) == last


def test_seen_items_come_back_only_when_asked_for(recommender, histories):
    long = max(histories, key=len)
    hidden = recommender.recommend([long], k=120)[0]
    shown = recommender.recommend([long], k=120, exclude_seen=False)[0]
    assert not set(long) & set(ids_of(hidden))
    assert set(long) <= set(ids_of(shown))
    assert [item for item in ids_of(shown) if item not in long] == ids_of(hidden)


def test_what_cannot_be_answered_is_said(recommender):
    known = recommender.catalog.item_ids[5]
    with pytest.raises(InputError, match=f"'{known}X'.*item id 2 of 2.*similar ids: '{known}'"):
        recommender.recommend([[known, f"{known}X"]])
    with pytest.raises(InputError, match="k = 0: ask for at least 1"):
        recommender.recommend([[known]], k=0)
    with pytest.raises(InputError, match=r"k = 2\.5: ask for at least 1"):
        recommender.recommend([[known]], k=2.5)
    for filters in ({"allow": known}, {"deny": known}):
        with pytest.raises(InputError, match="allow and deny must be lists"):
            recommender.recommend([[known]], **filters)
    for histories in (known, [known]):
        with pytest.raises(InputError, match="one list a user"):
            recommender.recommend(histories)
    for option in ("allow", "deny"):
        with pytest.raises(InputError, match="'nobody'"):
            recommender.recommend([[known]], **{option: ["nobody"]})


def test_it_learned_the_shop(recommender, shop):
    """A second of training is far from all that can be learned, but popularity is left behind."""
    split = leave_one_out(shop.log)
    rankers = (recommender, Popularity.fit(split.train, 120))
    found = [ranker.rank(split.test.histories, 10, exclude_seen=True) for ranker in rankers]
    mine, popular = ((row.items == split.test.targets[:, None]).any(1).mean() for row in found)
    assert 2 * popular < mine < shop.best_recall(split.test.histories, 10)


def with_items(log, changes):
    """The log with the item at some positions replaced."""
    items = log.histories.items.copy()
    for position, item in changes.items():
        items[position] = item
    histories = Histories(items, log.histories.offsets)
    return Interactions.of_histories(log.catalog, histories, log.timestamps)


def learned(recommender):
    """Everything that a fit decides, as arrays."""
    found = dict(recommender.language_model.model.state_dict())
    found["codes"] = recommender.semantic_ids.codes
    found["vectors"] = recommender.vectorizer.vectors(recommender.catalog, recommender.settings)
    found |= recommender.vectorizer.signal._state
    return {name: np.asarray(value) for name, value in found.items()}


def differing(one, other):
    one, other = learned(one), learned(other)
    assert one.keys() == other.keys()
    return {name for name in one if not np.array_equal(one[name], other[name])}


def test_likeness_of_texts_is_kept_in_the_folder_where_it_has_weight(recommender, tmp_path):
    memory = recommender.settings.memory.replace(text_weight=0.3, weight=0.1)
    settings = recommender.settings.replace(memory=memory)
    hearing = recommender.changed(
        settings=settings,
        likeness=None,
    )
    hearing.save_pretrained(tmp_path / "hearing")
    opened = GenerativeRecommender.from_pretrained(tmp_path / "hearing", device="cpu")
    assert (opened.likeness != hearing.likeness).nnz == 0
    history = [list(recommender.catalog.item_ids[:3])]
    assert opened.recommend(history, k=7) == hearing.recommend(history, k=7)
    silent = hearing.changed(settings=recommender.alone().settings, likeness=None)
    silent.save_pretrained(tmp_path / "silent")
    assert not (tmp_path / "silent" / "likeness.safetensors").exists()
    assert silent.recommend(history, k=7) == recommender.alone().recommend(history, k=7)


def test_the_mixture_is_what_validation_says(recommender, shop):
    tried = recommender.metrics["components"]
    assert tried["mixture"] > tried["language_model"], "counts help in a shop with habits"
    histories = leave_one_out(shop.log).valid.histories
    model = recommender.alone().rank(
        histories, recommender.settings.search.widest, exclude_seen=True
    )
    weights = weights_of(recommender.settings)
    parts = [part.scores(histories) for part in recommender.components]
    share = join(parts, [weights[part.name] for part in recommender.components])
    expected = mix(model, share, 10, deny=list(histories))
    found = recommender.rank(histories, 10, exclude_seen=True)
    assert np.array_equal(found.items, expected.items)
    assert not np.array_equal(found.items, model.items[:, :10])


def test_a_fit_never_looks_at_the_test_items(recommender, shop):
    """Every user's last item, the target of the test, is another one: the same model comes out."""
    last = shop.log.histories.offsets[1:] - 1
    other = np.roll(shop.log.histories.items[last], 1)
    changed = with_items(shop.log, dict(zip(last, other, strict=True)))
    assert (changed.histories.items != shop.log.histories.items).sum() > 250
    again = GenerativeRecommender.fit(shop.catalog, changed, recommender.settings)
    assert not differing(again, recommender)
    assert again.metrics["training"] == recommender.metrics["training"]
    for name in ("metrics", "confidence"):
        assert again.metrics["validation"][name] == recommender.metrics["validation"][name]


def test_a_fit_does_look_at_the_training_items(recommender, shop):
    """The comparison above can fail: one changed item of one user's training part is enough."""
    first = shop.log.histories.items[0]
    changed = with_items(shop.log, {0: (first + 1) % 120})
    again = GenerativeRecommender.fit(shop.catalog, changed, recommender.settings)
    assert {"vectors", "transformer.wte.weight"} <= differing(again, recommender)


def test_the_same_fit_twice_is_the_same_model(recommender, shop):
    torch.manual_seed(99)  # ambient state does not matter
    again = GenerativeRecommender.fit(shop.catalog, shop.log, recommender.settings)
    assert not differing(again, recommender)


@pytest.mark.parametrize("architecture", ["qwen3", "qwen3-untied"])
def test_lora_on_a_pretrained_model_end_to_end(
    tmp_path, shop, quick_settings, histories, architecture
):
    base = save_tiny_pretrained(tmp_path / "base", architecture)
    chosen = quick_settings | {
        "language_model": {"backbone": str(base), "lora": {"rank": 2}},
        "training": {"max_steps": 8, "batch_items": 256, "validations": 1},
    }
    fitted = GenerativeRecommender.fit(
        shop.catalog, shop.log, FitSettings.model_validate(chosen), work=tmp_path / "work"
    )
    fitted.save_pretrained(tmp_path / "saved")
    opened = GenerativeRecommender.from_pretrained(tmp_path / "saved", device="cpu")
    assert opened.recommend(histories, k=5) == fitted.recommend(histories, k=5)
    trainable, total = fitted.language_model.parameters()
    assert 0 < trainable < total
    files = {path.name for path in (tmp_path / "saved" / "language_model").iterdir()}
    assert "adapter_model.safetensors" in files
    assert "model.safetensors" not in files


def test_the_base_of_a_lora_recommender_is_named_when_it_is_gone(tmp_path, shop, quick_settings):
    base = save_tiny_pretrained(tmp_path / "base", "gpt2")
    chosen = quick_settings | {
        "language_model": {"backbone": str(base), "lora": {"rank": 2}},
        "training": {"max_steps": 1, "batch_items": 256, "validations": 1},
    }
    settings = FitSettings.model_validate(chosen)
    GenerativeRecommender.fit(shop.catalog, shop.log, settings).save_pretrained(tmp_path / "saved")
    shutil.rmtree(base)
    with pytest.raises(InputError, match=str(base)):
        GenerativeRecommender.from_pretrained(tmp_path / "saved")


def test_a_fits_fingerprint_sees_times_and_every_column(shop):

    from genrec.data import Catalog
    from genrec.data.facts import data_facts

    facts = data_facts(shop.catalog, shop.log)
    later = replace(shop.log, timestamps=shop.log.timestamps + 1)
    assert data_facts(shop.catalog, later)["interactions"] != facts["interactions"]
    fewer = Catalog.from_table(shop.catalog.table.drop_columns(["price"]))
    assert data_facts(fewer, shop.log)["items"]["sha256"] != facts["items"]["sha256"]
