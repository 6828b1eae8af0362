"""Inputs of the commands: how columns of a product table are named and split, and what stands for a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.cli.inputs import Columns, read_shop, shop_names
from genrec.common.errors import DataError, InputError
from genrec.data.settings import DataSettings

COLUMNS = Columns("item_id", "title", "user_id", "item_id", "timestamp")
ITEMS = pa.table({"item_id": ["a", "b"], "title": ["lamp", "rope"]})
LOG = pa.table({"user_id": ["u", "u"], "item_id": ["b", "a"]})


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


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, table in (("items", ITEMS), ("log", LOG)):
        (tmp_path / name).mkdir()
        pq.write_table(table[:1], tmp_path / name / "part-0.parquet")
        pq.write_table(table[1:], tmp_path / name / "part-1.parquet")
        (tmp_path / name / "_SUCCESS").touch()
    files = fsspec.filesystem("memory")
    files.store.clear()
    for path in tmp_path.rglob("*.parquet"):
        files.pipe(f"/shop/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("pattern", ["{}/items", "{}/items/*.parquet", "{}/items/part-?.parquet"])
@pytest.mark.parametrize("where", ["folder", "memory://shop"])
def test_options_take_folders_globs_and_urls(shop: Path, pattern: str, where: str) -> None:
    if where != "folder":
        pattern = pattern.replace("?", "*")  # where a URL has options
    items = Path(pattern.format(shop if where == "folder" else where))
    log = Path(str(items).replace("items", "log"))
    catalog, events = read_shop(items, log, COLUMNS)
    assert (catalog.item_ids, events.histories.items.tolist()) == (["a", "b"], [1, 0])
    again = DataSettings(items=items, interactions=log).read()
    assert again[1].histories.items.tolist() == [1, 0]


def test_items_of_a_glob_are_called_by_its_folder(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("books/*.parquet"), Path("games/day=*/*"), Path("films.csv"), Path("*.jsonl")]
    assert shop_names(paths, None) == ["books", "games", "films", tmp_path.name]
