"""Columns without words stay out of items' texts, and what the texts hold is shown."""

import json
import random

import pyarrow as pa
import pytest

from genrec.common.errors import DataError
from genrec.data import Catalog, CatalogColumns, ItemTemplate
from genrec.data.item_text import describe_texts
from genrec.data.joining import join_items
from genrec.recommender.tables import read_items, write_catalog
from genrec.semantic_ids.semantic_ids import SemanticIds

N = 30
RANDOM = random.Random(0)
NUMBERS = [[round(RANDOM.random(), 3) for _ in range(32)] for _ in range(N)]
HOST = "https://m.media-amazon.com/images/I"
WORDLESS = {
    "a link": ("links", [f"{HOST}/{i}.jpg" for i in range(N)]),
    "links in lists": ("links", [[f"{HOST}/{i}.jpg", f"{HOST}/b{i}.png"] for i in range(N)]),
    "links in objects": (
        "links",
        [
            [{"thumb": f"{HOST}/{i}.jpg", "large": f"{HOST}/l{i}.jpg", "variant": "MAIN"}]
            for i in range(N)
        ],
    ),
    "links in text": (
        "links",
        [str([f"{HOST}/{i}.jpg", f"//cdn.shop.de/{i}.webp"]) for i in range(N)],
    ),
    "paths": ("links", [f"images/small/{i}.png" for i in range(N)]),
    "data": ("links", ["data:image/png;base64," + "iVBORw0KGgo" * 9 for _ in range(N)]),
    "embeddings": ("embeddings", NUMBERS),
    "embeddings in text": ("embeddings", [json.dumps(row) for row in NUMBERS]),
    "embeddings by NumPy": ("embeddings", [f"[{' '.join(map(str, row))}]" for row in NUMBERS]),
    "uuids": ("ids", [f"550e8400-e29b-41d4-a716-{i:012d}" for i in range(N)]),
    "lists of ids": ("ids", [[f"B00{i}{j}48KZ" for j in range(4)] for i in range(10, N)]),
}
WORDS = {
    "prose": [
        f"a bag, see https://shop.example/{i}, of very good and thick canvas from Bern"
        for i in range(N)
    ],
    "model": [f"WH-{1000 + i}XM4" for i in range(N)],
    "sizes": [[36, 37, 38, 39] for _ in range(N)],
    "rating": [i / 10 for i in range(N)],
    "sold": list(range(N)),
    "brand_id": [f"brand{i % 3}" for i in range(N)],
    "colours": ["red|blue" for _ in range(N)],
    "empty": [None] * N,
}


def catalog_of(values, name="extra", **columns):
    n = len(values)
    ids = [f"i{i}" for i in range(n)]
    rows = {"item_id": ids, "title": [f"Tent {i}" for i in range(n)], name: values}
    return Catalog.from_table(pa.table(rows | columns), source="items.csv")


@pytest.mark.parametrize(("kind", "values"), WORDLESS.values(), ids=WORDLESS)
def test_what_is_no_words_is_not_in_the_texts(kind, values):
    catalog = catalog_of(values)
    assert catalog.texts()[:2] == ["Tent 0", "Tent 1"]
    assert (
        f"not in the items' texts: extra ({kind}); template.fields takes"
        in catalog.report.lines()[1]
    )
    named = catalog.texts(ItemTemplate(fields=("title", "extra")))
    assert named[0].startswith("Tent 0. extra: "), "whoever names a field gets it"


@pytest.mark.parametrize("name", WORDS)
def test_what_is_words_or_facts_stays(name):
    catalog = catalog_of(WORDS[name], name)
    assert not any("not in the items' texts" in line for line in catalog.report.lines())
    assert catalog.texts()[1] == catalog.texts(ItemTemplate(fields=("title", name)))[1]


@pytest.mark.parametrize(
    "name", ["parent_asin", "sku", "productId", "EAN", "article-id", "uuid", "itemid"]
)
def test_columns_of_ids_are_told_by_name_and_values(name):
    assert catalog_of([f"B0{i}X" for i in range(N)], name).texts()[0] == "Tent 0"
    shared = catalog_of([f"B0{i % 5}X" for i in range(N)], name)
    assert shared.texts()[0] == f"Tent 0. {name}: B00X", "what items share tells which are alike"
    words = catalog_of([f"canvas bag {i}" for i in range(N)], name)
    assert words.texts()[0] == f"Tent 0. {name}: canvas bag 0"


def test_usual_fields_are_never_left_out():
    links = [f"{HOST}/{i}.jpg" for i in range(N)]
    assert catalog_of(links, "description").texts()[0] == f"Tent 0. description: {HOST}/0.jpg"


def test_new_items_are_written_like_those_there(tmp_path):
    catalog = catalog_of([f"{HOST}/{i}.jpg" for i in range(N)])
    new = pa.table({"item_id": ["new"], "title": ["Rope"], "extra": ["in words"]})
    joined = join_items(catalog, Catalog.from_table(new))
    assert joined.new.texts() == ["Rope"]
    assert joined.whole.texts() == [*catalog.texts(), "Rope"]
    codes = pa.array(range(N)).to_numpy().reshape(N, 1).astype("int32")
    ids = SemanticIds(catalog.item_ids, codes, (N,), "extra_level")
    path = tmp_path / "catalog.parquet"
    write_catalog(catalog, ids, path)
    assert read_items(path, ids.describe())[0].texts() == catalog.texts()
    # A folder of an earlier version was fitted with all of its columns.
    bare = Catalog(catalog.table.replace_schema_metadata(None), catalog.report)
    write_catalog(bare, ids, path)
    assert read_items(path, ids.describe())[0].texts()[0] == f"Tent 0. extra: {HOST}/0.jpg"


def test_texts_are_described_in_a_few_lines():
    columns = {f"fact{i}": ["x" * 10] * N for i in range(8)}
    catalog = catalog_of(["y" * 400] * N, "description", **columns)
    lines = describe_texts(catalog.table, ItemTemplate())
    # 300 characters of the description are kept, 80 stand in the facts, 6 or 7 in a title: 300 / 386.7.
    assert lines[0].startswith("item texts: description 78%, fact0 3%, ")
    assert lines[0].endswith(", 4 more columns")
    assert [line.split(".")[0] for line in lines[1:]] == ["  Tent 0", "  Tent 15", "  Tent 29"]
    assert max(map(len, lines)) <= 170
    one = Catalog.from_table(pa.table({"item_id": ["a"]}))
    assert describe_texts(one.table, ItemTemplate()) == [
        "item texts: none, their ids stand for them",
        "  ",
    ]


@pytest.mark.parametrize(
    "name", ["name", "product_name", "title_en", "Titel", "itemName", "Product Title"]
)
def test_a_table_that_calls_its_titles_otherwise_is_asked(name, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(f"item_id,{name},colour\na,Tent,red\nb,Rope,blue\n")
    with pytest.raises(DataError, match="no such column; did you mean --title") as error:
        Catalog.read(path)
    assert f"--title {name}?" in str(error.value)
    assert Catalog.read(path, CatalogColumns(title=name)).titles == ["Tent", "Rope"]
    untitled = Catalog.read(path, CatalogColumns(title=""))
    assert untitled.table["title"].null_count == 2
    assert untitled.titles[0].startswith(f"{name}: Tent")


@pytest.mark.parametrize(
    "name", ["brand_name", "category_name", "username", "description", "surname"]
)
def test_other_names_are_no_titles(name, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(f"item_id,{name}\na,Tent\nb,Rope\n")
    assert Catalog.read(path).titles == [f"{name}: Tent", f"{name}: Rope"]
