"""Which items meet a condition: tables worked out by hand, and a brute-force filter in Python."""

import datetime
import math
import operator
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import DataError, InputError
from genrec.data import Catalog, CatalogColumns, Condition

COLUMNS = {
    "title": ["[New] Tent", "12", None, "Rope"],
    "price": [1.5, 20.0, None, math.nan],
    "price_text": ["1.50", " 20 ", "", "N/A"],
    "usd": ["$1.50", "20", "3", None],
    "code": ["0012", "12", "7", ""],
    "brand": [" Acme", "acme", "Juniper & Moss", None],
    "paths": [[["A", "B"], ["C"]], [["A"]], [[], None], None],
    "categories": ["A|B", "B | C", '["C", ["D", null]]', ""],
    "sizes": ["[40, 41.5]", "[42]", "[]", None],
    "ratings": [[1, 5], [3], [], None],
    "stock": ["True", "false", "TRUE", " "],
    "fresh": [True, False, None, True],
    "count": pa.array([1, 2**63 - 1, None, -5], pa.int64()),
    "digits": ["1", "123456789012345678", "123456789012345677", None],
    "serial": pa.array([1, 2**64 - 1, None, 0], pa.uint64()),
    "cents": [Decimal("1.10"), Decimal("2.00"), None, Decimal("3.00")],
    "narrow": pa.array([19.99, 0.1, None, 3], pa.float32()),
    "half": pa.array(np.array([1.5, 2, np.nan, 3], np.float16)),
    "day": [datetime.date(2024, 5, 1), datetime.date(2024, 6, 1), None, None],
    "time": pa.array([0, 86_400_000_000_000, None, 5], pa.timestamp("ns", "UTC")),
    "kind": pa.array(["x", "y", None, "x"]).dictionary_encode(),
    "nothing": pa.nulls(4),
    "facts": [{"colour": "red"}] * 4,
    "photo": [b"\x00"] * 4,
}


@pytest.fixture(scope="module")
def catalog():
    return Catalog.from_table(pa.table({"item_id": ["a", "b", "nan", "d"], **COLUMNS}))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        # numbers, and text that spells them
        ("price<20", "a"), ("price<=20", "ab"), ("price>1.5", "b"), ("price>=1.5", "ab"),
        ("price=20", "b"), ("price!=20", "a"), ("price=20|1.5e0", "ab"), ("price!=20|1.5", ""),
        ("price_text<20", "a"), ("price_text=20.00", "b"), ("price_text!=1.5", "b"),
        ("sizes>=41.5", "ab"), ("sizes<41", "a"), ("ratings>4", "a"), ("ratings=3|1", "ab"),
        ("ratings!=3", "a"),
        # no digit is lost, and bounds may lie outside a column's range
        ("count=9223372036854775807", "b"), ("count<9223372036854775807", "ad"),
        ("count<1.5", "ad"), ("count>1.5", "b"), ("count=1.5", ""), ("count!=1.5", "abd"),
        ("count<1e40", "abd"), ("count>1e-30", "ab"), ("count>-1e29", "abd"),
        ("digits=123456789012345678", "b"), ("digits<123456789012345678", "an"),
        ("serial=18446744073709551615", "b"), ("serial>18446744073709551614", "b"),
        ("cents<=2", "ab"), ("cents=1.1", "a"), ("cents>1.0999999999999999999", "abd"),
        ("narrow=19.99", "a"), ("narrow<=0.1", "b"), ("half>=2", "bd"),
        # text
        ("brand=Acme", "a"), ("brand=acme|Juniper & Moss", "bn"), ("brand!=Acme", "bn"),
        ("code=12", "b"), ("code=0012", "a"), ("code!=0012", "bn"), ("usd=20", "b"),
        ("kind=x", "ad"), ("kind!=x", "b"), ("nothing=x", ""), ("nothing!=x", ""), ("nothing<3", ""),
        ("title=12", "b"), ("title=12.0", ""), ("title=[New] Tent", "a"), ("title!=12", "ad"),
        ("item_id=a|nan", "an"), ("item_id!=a", "bnd"),
        # lists
        ("paths=A", "ab"), ("paths=C", "a"), ("paths!=C", "b"), ("paths=B|C", "a"),
        ("categories=B", "ab"), ("categories=C", "bn"), ("categories=D|A", "an"),
        ("categories!=B", "n"), ("categories=None", ""),
        # truth values and dates
        ("stock=true", "an"), ("stock=FALSE", "b"), ("stock!=true", "b"), ("stock=true|false", "abn"),
        ("fresh=True", "ad"), ("fresh!=true", "b"),
        ("day>=2024-06-01", "b"), ("day<2024-05-01T12:00", "a"), ("day=2024-05-01|2024-06-01", "ab"),
        ("time>=1970-01-02", "b"), ("time=1970-01-02T02:00:00+02:00", "b"), ("time<1970-01-02", "ad"),
    ],
)  # fmt: skip
def test_items_that_meet_a_condition(catalog, words, found):
    indices = catalog.where([words])
    assert indices.dtype == np.int32
    assert "".join(catalog.item_ids[i][0] for i in indices) == found


def test_every_condition_must_be_met(catalog):
    assert catalog.where(["price<=20", "brand=Acme"]).tolist() == [0]
    assert catalog.where(["price<=20", "brand!=Acme"]).tolist() == [1]
    assert catalog.where(["price<=20", "price>20"]).tolist() == []
    assert catalog.where([]).tolist() == [0, 1, 2, 3]
    assert catalog.where([Condition("brand", "=", ("Juniper & Moss",))]).tolist() == [2]


def test_signs_in_names_and_values_need_the_constructor():
    table = pa.table({"item_id": ["a", "b"], "a<b": ["x|y", "x"]})
    catalog = Catalog.from_table(table, CatalogColumns(lists={"a<b": "no"}))
    assert catalog.where([Condition("a<b", "=", ("x|y",))]).tolist() == [0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("prise<20", r"the catalog, column 'prise': condition 'prise<20' .*; did you mean 'price'\?"),
        ("x=1", "columns: item_id, title, price, "),
        ("price<cheap", r"'cheap' cannot be compared .* \(double\) holds, such as '1.5'"),
        ("price<1,5", "'1,5' cannot be compared"),
        ("price<$3", "'\\$3' cannot be compared"),
        ("price=nan", "'nan' cannot be compared"),
        ("price_text=inf", "'inf' cannot be compared"),
        ("count<1e-90", "'1e-90' cannot be compared"),
        ("sizes=L", r"'L' cannot be compared .* \(string\) holds, such as '40.0'"),
        ("fresh=yes", r"'yes' cannot be compared .* \(bool\) holds, such as 'True'"),
        ("day<soon", r"'soon' cannot be compared .* \(date32\[day\]\) holds, such as '2024-05-01 "),
        ("usd<20", r"column 'usd': .* of 4 rows of the column \(string\) 1 hold .* as '\$1.50'; comp"),
        ("code<13", "1 hold something else, such as '0012'"),
        ("brand>=A", "3 hold something else, such as 'Acme'"),
        ("categories<3", "3 hold something else, such as 'A'"),
        ("stock<true", "3 hold something else"),
        ("item_id<3", "4 hold something else, such as 'a'"),
        ("facts=red", "column 'facts': .* holds struct<colour: string>"),
        ("photo=x", "holds binary"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(catalog, words, says):
    with pytest.raises(DataError, match=says):
        catalog.where([words])


def test_ids_that_are_digits_are_not_ordered():
    catalog = Catalog.from_table(pa.table({"item_id": [1, 2]}))
    assert catalog.where(["item_id=2"]).tolist() == [1]
    with pytest.raises(DataError, match="2 hold something else, such as '1'"):
        catalog.where(["item_id<2"])


@pytest.mark.parametrize("conditions", ["price<20", Condition("price", "<", ("20",))])
def test_one_condition_is_not_a_list(catalog, conditions):
    with pytest.raises(InputError, match=r"put it in a list: \['price<20'\]"):
        catalog.where(conditions)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.int64()),
        pa.list_view(pa.int64()),
        pa.list_(pa.int64(), 2),
    ],
    ids=str,
)
def test_lists_of_every_layout(kind):
    lists = pa.array([[1, 2], None, [3, 1], [4, 5]], kind)
    table = pa.table({"item_id": ["a", "b", "c", "d"], "n": lists}).slice(1)
    catalog = Catalog.from_table(table)
    assert catalog.where(["n=1"]).tolist() == [1]
    assert catalog.where(["n!=1"]).tolist() == [2]


def test_a_catalog_of_every_format_filters_alike(tmp_path):
    rows = [("a", 9.5, ["X", "Y"]), ("b", 20, ["Y"]), ("c", None, None)]
    (tmp_path / "i.csv").write_text(
        'item_id,price,categories\na,9.50,X|Y\nb,20,"[""Y""]"\nc,,\n', encoding="utf-8"
    )
    (tmp_path / "i.jsonl").write_text(
        '{"item_id": "a", "price": 9.5, "categories": [["X", "Y"]]}\n'
        '{"item_id": "b", "price": 20, "categories": [["Y"]]}\n{"item_id": "c"}\n'
    )
    columns = dict(zip(("item_id", "price", "categories"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "i.parquet")
    for name in ("i.csv", "i.jsonl", "i.parquet"):
        catalog = Catalog.read(tmp_path / name)
        for words, found in (("price<20", [0]), ("price!=9.5", [1]), ("categories=Y", [0, 1])):
            assert catalog.where([words]).tolist() == found, name
        assert catalog.where(["categories!=X"]).tolist() == [1]


SIGNS = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
numbers = st.integers(-3, 3) | st.sampled_from([-1.5, 0.25, 2.75])
words = st.sampled_from(["Acme", "acme", "Été", "A B"])
rows = st.fixed_dictionaries(
    {
        "price": st.none() | st.just(math.nan) | numbers.map(float),
        "stock": st.none() | st.integers(-3, 3),
        "brand": st.none() | st.just("") | words,
        "tags": st.none() | st.lists(st.none() | words, max_size=3),
        "ratings": st.none() | st.lists(st.none() | st.integers(-3, 3), max_size=3),
    }
)
conditions = st.one_of(
    st.tuples(
        st.sampled_from(["price", "stock", "ratings"]),
        st.sampled_from(list(SIGNS)),
        st.lists(numbers, min_size=1, max_size=1),
    ),
    st.tuples(
        st.sampled_from(["price", "ratings"]),
        st.sampled_from(["=", "!="]),
        st.lists(numbers, min_size=1, max_size=3),
    ),
    st.tuples(
        st.sampled_from(["brand", "tags"]),
        st.sampled_from(["=", "!="]),
        st.lists(words, min_size=1, max_size=3),
    ),
)


def holds(row, condition):
    """One row and one condition, in plain Python."""
    column, sign, wanted = condition
    values = row[column] if isinstance(row[column], list) else [row[column]]
    present = [value for value in values if value not in (None, "") and value == value]
    if sign == "!=":
        return bool(present) and not any(value in wanted for value in present)
    return any(SIGNS[sign](value, w) for value in present for w in wanted)


TYPES = {
    "price": pa.float64(),
    "stock": pa.int64(),
    "brand": pa.string(),
    "tags": pa.list_(pa.string()),
    "ratings": pa.list_(pa.int64()),
}


@settings(max_examples=200)
@given(st.lists(rows, min_size=1, max_size=12), st.lists(conditions, max_size=3), st.booleans())
def test_it_is_the_filter_that_python_would_run(items, asked, chunked):
    columns = {name: pa.array([row[name] for row in items], kind) for name, kind in TYPES.items()}
    table = pa.table({"item_id": [str(i) for i in range(len(items))], **columns})
    if chunked:
        table = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    where = [f"{name}{sign}{'|'.join(map(str, wanted))}" for name, sign, wanted in asked]
    expected = [i for i, row in enumerate(items) if all(holds(row, c) for c in asked)]
    assert Catalog.from_table(table).where(where).tolist() == expected


def spelled(value):
    """A number as one of the ways that a CSV file may hold it."""
    if value is None or value != value:
        return ""
    return f" {value:.2f}" if value != int(value) else str(int(value))


@settings(max_examples=100)
@given(
    st.lists(st.none() | numbers.map(float), min_size=1, max_size=8),
    st.sampled_from(list(SIGNS)),
    numbers,
)
def test_text_that_spells_numbers_compares_like_numbers(prices, sign, bound):
    ids = [str(i) for i in range(len(prices))]
    typed = pa.table({"item_id": ids, "price": pa.array(prices, pa.float64())})
    text = pa.table({"item_id": ids, "price": [spelled(price) for price in prices]})
    where = [f"price{sign}{bound}"]
    if all(price is None for price in prices):
        assert Catalog.from_table(text).where(where).tolist() == []
    found = [Catalog.from_table(table).where(where).tolist() for table in (typed, text)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("values", "condition", "met"),
    [
        (["2024-01-01", "2023-01-01"], "released>2023-06-01", [0]),
        (["2024-01-01", "", "2023-01-01"], "released<=2023-01-01", [2]),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00+02:00"], "released<2024-01-01T09:00", [1]),
        (["2024-01-01 10:00", "2024-01-01 12:30:15.25"], "released>=2024-01-01 12:30", [1]),
        (["2023-06", "2023-07-02", "2024-01"], "released<2023-07", [0]),
        (["2023-06", "2023-07"], "released=2023-06-01", [0]),
        (["2024-01-01|2020-05-05", "2023-01-01"], "released<2021-01-01", [0]),
        (["2024-01-01T10:00:00.123456789", "2024-01-01"], "released>2024-01-01T10:00", [0]),
        (
            ["2024-01-01T10:00:00.1234567Z", "2024-01-01"],
            "released=2024-01-01T10:00:00.123456",
            [0],
        ),
        (["2024-01-01T10:00:00.123456", "2024"], "released=2024-01-01T10:00:00.123456789", [0]),
        (["2024-01-01T10:00:00.5", "2023"], "released<2024-01-01T10:00:00.500000001+00:00", [1]),
        (["2019", "2020-05", "2021-01-02"], "released<2020-05", [0]),
        (["2019", "2020-05", "2021-01-02"], "released>=2020", [1, 2]),
        (["2019", "2020-01-01", "2021"], "released=2020", [1]),
        (["2019", "2020", "2021"], "released>2019.5", [1, 2]),
        (["0012", "0013", "2024"], "released=0012", [0]),
    ],
)
def test_dates_written_as_text_compare(values, condition, met, tmp_path):
    rows = [f"i{i},T,{value}" for i, value in enumerate(values)]
    path = tmp_path / "items.csv"
    path.write_text("\n".join(["item_id,title,released", *rows]) + "\n")
    assert Catalog.read(path).where([condition]).tolist() == met


@pytest.mark.parametrize(("odd", "shown"), [("soon", "soon"), ("2023-02-30", "")])
def test_a_text_that_is_no_date_is_shown(odd, shown):
    table = pa.table({"item_id": list("abc"), "released": ["2024-01-01", odd, "2023-01-01"]})
    with pytest.raises(DataError, match=rf"hold something else, such as '.*{shown}.*ISO dates"):
        Catalog.from_table(table).where(["released>2023-06-01"])


BIG = 2**53
"""From there on floats skip whole numbers."""


@pytest.mark.parametrize(
    ("values", "condition", "met"),
    [
        (["1234567890123456789", "1234567890123456788"], "n=1234567890123456789", [0]),
        (["1234567890123456789", "1234567890123456788"], "n<1234567890123456789", [1]),
        ([f"{BIG + 1}", f"{BIG}", "1.5"], f"n={BIG + 1}", [0]),
        ([f"{BIG + 1}", f"{BIG}", "1.5", ".25", "3."], f"n<{BIG + 1}", [1, 2, 3, 4]),
        ([f"{BIG + 1}", f"{BIG}", "1.5e1"], f"n<={BIG}", [1, 2]),
        ([f"-{BIG + 1}|7", f"-{BIG}"], f"n!=-{BIG}", [0]),
        (["18446744073709551615", "18446744073709551614", "1"], "n>=18446744073709551615", [0]),
        (["1" * 30, "1" * 29 + "2"], f"n>{'1' * 30}", [1]),
        (["1" * 40, "1" * 39 + "2"], f"n={'1' * 40}", [0]),
        (["1" * 40, "1" * 39 + "2"], f"n!={'1' * 40}", [1]),
        (["1" * 30, "1" * 29 + "2", "1e90"], f"n={'1' * 30}", [0]),
        (["1" * 30, "1" * 29 + "2", "1e90"], f"n!={'1' * 30}", [1, 2]),
    ],
)
def test_no_digit_of_a_whole_number_in_text_is_lost(values, condition, met):
    table = pa.table({"item_id": list("abcde")[: len(values)], "n": values})
    assert Catalog.from_table(table).where([condition]).tolist() == met
