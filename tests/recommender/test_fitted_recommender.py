"""The core under the class that people hold: what a change keeps and drops, and which class comes back."""

import numpy as np
import pytest

from genrec import Catalog, GenerativeRecommender, Histories
from genrec.recommender.fitted_recommender import FittedRecommender
from genrec.recommender.folder.whole import open_folder
from genrec.recommender.transfer import transfer

PARTS = ("split", "renderer", "nearest_items", "components", "query_words")


@pytest.fixture
def warm(recommender):
    """A recommender of its own whose parts are all computed."""
    copy = recommender.changed()
    for part in PARTS:
        assert getattr(copy, part) is not None
    return copy


def kept(before, after):
    """The parts of `before` that `after` has without computing them again."""
    there = {part for part in PARTS if vars(after).get(part) is vars(before)[part]}
    same_tree = after.trie.leaf_item.data_ptr() == before.trie.leaf_item.data_ptr()
    return there | ({"trie"} if same_tree else set())


def test_a_change_of_nothing_keeps_all(warm):
    assert kept(warm, warm.changed()) == {*PARTS, "trie"}
    assert kept(warm, warm.changed(metrics={"x": 1}, name="other")) == {*PARTS, "trie"}


def test_equal_settings_are_no_change(warm):
    assert kept(warm, warm.changed(settings=warm.settings.replace())) == {*PARTS, "trie"}


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        ({"memory": {"power": 2.0}}, {"components"}),
        ({"text_model": {"weight": 0.1}}, {"components"}),
        ({"query": {"power": 2.0}}, {"query_words"}),
        ({"search": {"beams": 3}}, set()),
        ({"seed": 9}, {"split", "components", "query_words"}),
        ({"prompts": {"titles": 2}}, {"renderer"}),
        ({"template": {"max_chars": 50}}, {"renderer", "components", "query_words"}),
    ],
    ids=lambda value: ", ".join(sorted(value)),
)
def test_a_setting_drops_what_is_made_of_it(warm, change, dropped):
    settings = type(warm.settings).model_validate(_merged(warm.settings.model_dump(), change))
    assert kept(warm, warm.changed(settings=settings)) == {*PARTS, "trie"} - dropped


def _merged(values, change):
    return values | {
        name: {**values[name], **own} if isinstance(own, dict) else own
        for name, own in change.items()
    }


def test_another_log_drops_what_counts_it(warm, shop):
    half = shop.log.of_histories(shop.catalog, Histories.of(list(shop.log.histories)[::2]))
    other = warm.changed(log=half)
    assert kept(warm, other) == {"renderer", "nearest_items", "trie"}
    assert len(other.split.train) == len(half.histories)


def test_what_is_assigned_drops_what_was_made_of_the_old(warm, shop):
    half = shop.log.of_histories(shop.catalog, Histories.of(list(shop.log.histories)[::2]))
    before = warm.split
    warm.log = half
    assert warm.split is not before
    assert len(warm.split.train) == len(half.histories)


def test_other_codes_build_another_tree(warm):
    ids = warm.semantic_ids
    swapped = type(ids)(
        ids.item_ids, ids.codes[::-1].copy(), ids.codebook_sizes, ids.policy, ids.moved
    )
    other = warm.changed(semantic_ids=swapped)
    assert kept(warm, other).isdisjoint({"trie", "renderer"})
    item = np.array([0])
    assert warm.trie.item_leaf[item] != other.trie.item_leaf[item]


def test_what_is_kept_ranks_as_what_is_made_anew(warm, recommender_folder):
    histories = Histories.of([[3, 5], [], [7]])
    fresh = GenerativeRecommender.from_pretrained(recommender_folder, device="cpu")
    for changed in (warm.alone(), warm.codes_alone(), warm.with_beams(7), warm.changed()):
        anew = fresh.changed(settings=changed.settings)
        one, other = (each.rank(histories, 5, exclude_seen=True) for each in (changed, anew))
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("kind", [FittedRecommender, GenerativeRecommender])
def test_a_function_gives_back_the_class_that_it_was_given(kind, recommender_folder):
    import pyarrow as pa

    opened = open_folder(kind, recommender_folder, "cpu")
    new = Catalog.from_table(pa.table({"item_id": ["N1"], "title": ["Ironbark Tent"]}))
    made = (opened.alone(), opened.add_items(new), transfer(opened, new))
    assert {type(each) for each in (opened, *made)} == {kind}
    assert {type(opened.remove_items(["P0001"]))} == {kind}
