"""Inputs of the commands: how columns of a product table are named and split."""

from dataclasses import replace

import pytest

from genrec.cli.inputs import Columns
from genrec.common.errors import DataError, InputError

COLUMNS = Columns("item_id", "title", "user_id", "item_id", "timestamp")


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text('item_id,title,tags\na,Tent,"red|blue"\nb,Rope,red\nc,Cup,"red, green"\n')
    return path


@pytest.mark.parametrize(
    ("words", "condition", "met"),
    [
        ((), "tags=blue", [0]),
        (("tags=no",), "tags=blue", []),
        (("tags=,",), "tags=green", [2]),
        (("tags=|",), "tags!=red", [2]),
        (("tags=[]",), "tags=red", [1]),
    ],
)
def test_list_columns_are_split_as_stated(items, words, condition, met):
    catalog = replace(COLUMNS, lists=words).read_catalog(items)
    assert catalog.where([condition]).tolist() == met


def test_a_list_column_without_a_separator_is_refused(items):
    with pytest.raises(
        InputError, match=r"--list-column 'tags' is not NAME=SEPARATOR, such as 'tags=\|'"
    ):
        replace(COLUMNS, lists=["tags"]).read_catalog(items)


def test_the_advice_on_titles_works(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,product_name\na,Tent\nb,Rope\n")
    with pytest.raises(DataError, match=r"did you mean --title product_name\? --title ''"):
        COLUMNS.read_catalog(path)
    assert replace(COLUMNS, title="product_name").read_catalog(path).titles == ["Tent", "Rope"]
    assert replace(COLUMNS, title="").read_catalog(path).titles[0] == "product_name: Tent"
