"""A folder that the version before this one wrote, committed as it was: it opens, ranks the same and lives.

It holds a pointer, counts, likeness of texts, and settings that are no more.
"""

import json
import shutil
from pathlib import Path

import pytest

from genrec import Catalog, GenerativeRecommender
from genrec.recommender.folder.restock import add_to_folder

EARLIER = Path(__file__).with_name("earlier")
ASKED = json.loads((EARLIER / "recommendations.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def opened():
    return GenerativeRecommender.from_pretrained(EARLIER / "recommender", device="cpu")


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: ", ".join(asked["options"]))
def test_it_ranks_the_same(opened, asked):
    [found] = opened.recommend([asked["history"]], **asked["options"])
    assert [item.item_id for item in found] == [item["item_id"] for item in asked["found"]]
    for item, expected in zip(found, asked["found"], strict=True):
        assert (item.title, item.basis) == (expected["title"], expected["basis"])
        assert item.score == pytest.approx(expected["score"], abs=1e-4)
        reasons = expected.get("reasons")
        given = item.reasons and [reason.item_id for reason in item.reasons]
        assert given == (reasons and [reason["item_id"] for reason in reasons])


def test_it_held_settings_that_are_no_more(opened):
    document = json.loads((EARLIER / "recommender" / "recommender.json").read_text())
    assert document["settings"]["training"]["code_noise"] == 0.0
    assert document["settings"]["collaborative"]["hops"] == 2
    assert "code_noise" not in opened.settings.training.model_dump()


def test_items_can_be_added_to_it_and_it_can_be_saved_again(opened, tmp_path):
    import pyarrow as pa

    folder = shutil.copytree(EARLIER / "recommender", tmp_path / "copy")
    new = {"item_id": ["N1"], "title": ["Alvreth Traverse Dome Tent, Professional, Red"]}
    change = add_to_folder(folder, Catalog.from_table(pa.table(new)))
    assert (change.added, change.items) == (1, len(opened.catalog) + 1)
    grown = GenerativeRecommender.from_pretrained(folder, device="cpu")
    history = opened.catalog.item_ids[:3]
    assert "N1" in {item.item_id for item in grown.recommend([history], k=61)[0]}
    opened.save_pretrained(tmp_path / "again")
    again = GenerativeRecommender.from_pretrained(tmp_path / "again", device="cpu")
    assert again.recommend([history]) == opened.recommend([history])
