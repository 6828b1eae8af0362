"""What other programs write as text is read back equal or refused; damaged files never lose rows unsaid."""

from __future__ import annotations

import csv
import gzip
import io
import random

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import DataError, GenrecError
from genrec.data.catalog import Catalog, CatalogColumns
from genrec.data.interactions import InteractionColumns, Interactions, LogPolicy
from genrec.data.reading.readers import read_rows
from genrec.data.reading.text_format import TextFormat

PIECES = [
    "a",
    "b",
    "é",
    "0",
    "7",
    " ",
    '"',
    '""',
    ",",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\\",
    '\\"',
    "\\\\",
    ";",
    "::",
    "'",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@st.composite
def tables(draw):
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(TEXTS, min_size=width, max_size=width), min_size=1, max_size=6))
    return {f"c{i}": [row[i] for row in rows] for i in range(width)}


def rows_of(table):
    return list(zip(*table.values(), strict=True))


def by_python(table, mark, quoting):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=mark, quoting=quoting)
    writer.writerows([list(table), *rows_of(table)])
    return text.getvalue().encode()


def by_pandas(table, mark):
    return pd.DataFrame(table).to_csv(index=False, sep=mark, lineterminator="\n").encode()


def by_polars(table, mark):
    return pl.DataFrame(table).write_csv(separator=mark).encode()


def by_arrow(table, mark):
    file = io.BytesIO()
    arrow_csv.write_csv(pa.table(table), file, arrow_csv.WriteOptions(delimiter=mark))
    return file.getvalue()


def by_duckdb(table, mark, path):
    import duckdb

    with duckdb.connect() as connection:
        connection.register("rows", pa.table(table))
        connection.sql("SELECT * FROM rows").write_csv(str(path), sep=mark, header=True)
    return path.read_bytes()


def by_spark(table, mark):
    """As univocity-parsers write it with Spark's defaults, white space kept."""

    def written(value):
        if value and not set(value) & set(f'{mark}"\n\r'):
            return value
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = [list(table), *rows_of(table)]
    return "".join(mark.join(map(written, line)) + "\n" for line in lines).encode()


def by_mysql(table, mark):
    """SELECT … INTO OUTFILE … ENCLOSED BY '"', with a header."""

    def written(value):
        for letter in '\\"\n':
            value = value.replace(letter, "\\" + letter)
        return f'"{value}"'

    lines = [list(table), *rows_of(table)]
    return "".join(mark.join(map(written, line)) + "\n" for line in lines).encode()


WRITERS = {
    "python": lambda table, mark, _: by_python(table, mark, csv.QUOTE_MINIMAL),
    "python, all quoted": lambda table, mark, _: by_python(table, mark, csv.QUOTE_ALL),
    "pandas": lambda table, mark, _: by_pandas(table, mark),
    "polars": lambda table, mark, _: by_polars(table, mark),
    "pyarrow": lambda table, mark, _: by_arrow(table, mark),
    "duckdb": by_duckdb,
    "spark": lambda table, mark, _: by_spark(table, mark),
    "mysql": lambda table, mark, _: by_mysql(table, mark),
}


def read(path, content, **format):
    """The rows of a file, or None where it is refused."""
    path.write_bytes(content)
    try:
        table, rows = read_rows(path, format=TextFormat(**format) if format else None)
    except DataError:
        return None
    assert rows.in_file == table.num_rows
    return table


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=250)
@given(table=tables(), ending=st.sampled_from(["csv", "tsv"]))
def test_what_others_write_is_read_back_equal_or_refused(tmp_path_factory, writer, table, ending):
    folder = tmp_path_factory.getbasetemp()
    mark = "\t" if ending == "tsv" else ","
    if (
        writer == "pandas"
    ):  # it leaves a carriage return unquoted, and so loses it before a line's end
        table = {name: [value.replace("\r", "") for value in table[name]] for name in table}
    content = WRITERS[writer](table, mark, folder / "written")
    found = read(folder / f"table.{ending}", content)
    assert found is None or found.to_pydict() == table
    stated = "backslash" if writer in ("spark", "mysql") else "rfc4180"
    told = read(folder / f"table.{ending}", content, quoting=stated)
    assert told is not None, "told how it is written, it is always read"
    assert told.to_pydict() == table


WORDS = ["lamp", 'tent 24"', "rope, red", "two\nlines", "tab\tbed", "é", 'the "best"', '"', ""]


def shop(draw, name):
    """A product table and a log of it, written as the name says."""
    mark = "\t" if name.endswith("tsv") else ","

    def words(count):
        found = [draw.choice(WORDS) for _ in range(count)]
        return [" ".join(word.split()) for word in found] if name == "plain.tsv" else found

    items = {"item_id": [f"i{n}" for n in range(12)], "title": words(12), "brand": words(12)}
    log = {
        "user_id": [f"u{draw.randrange(4)}" for _ in range(30)],
        "item_id": [f"i{draw.randrange(12)}" for _ in range(30)],
        "query": words(30),
        "timestamp": [str(draw.randrange(100)) for _ in range(30)],
    }
    if name == "plain.tsv":
        lines = [[mark.join(row) for row in [list(t), *rows_of(t)]] for t in (items, log)]
        return items, ["\n".join(part).encode() for part in lines]
    write = by_spark if name == "spark.csv" else lambda t, m: by_python(t, m, csv.QUOTE_MINIMAL)
    return items, [write(table, mark) for table in (items, log)]


def damaged(draw, content):
    """The bytes after one to three accidents."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(data))
        end = min(len(data), start + draw.randint(1, 40))
        kind = draw.randrange(6)
        if kind == 0:
            del data[start : len(data) if draw.random() < 0.3 else end]
        elif kind == 1:
            data[end:end] = data[start:end]
        elif kind == 2:
            data[start] ^= 1 << draw.randrange(8)
        elif kind == 3:
            data[start:start] = draw.choice(
                [b'"', b"\\", b'\\"', b"\n", b"\r", b"\0", b"\xff", b"\t", b","]
            )
        elif kind == 4:
            swapped = draw.choice([b",\t", b"\t,", b",;", b"\n\r", b"\"'", b'\\"'])
            data[start:end] = data[start:end].replace(swapped[:1], swapped[1:])
        else:
            data[start:end] = bytes(draw.randrange(256) for _ in range(end - start))
        if not data:
            return b"\n"
    return bytes(data)


def lines_of(content):
    """Lines that are not empty, however they end."""
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return sum(map(bool, text.split(b"\n")))


def check(path, reader):
    """Read a file; what it lacks of the lines that it has must stand in the report."""
    try:
        report = reader(path).report
    except GenrecError as error:
        return str(error)
    breaks = [int(note.split()[0]) for note in report.notes if "line breaks stand" in note]
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    assert report.rows == report.in_file
    if not breaks:
        assert report.rows == lines_of(content) - 1
    else:
        assert lines_of(content) - 1 - breaks[0] <= report.rows < lines_of(content)
    return None


@pytest.mark.parametrize("name", ["python.csv", "python.tsv", "plain.tsv", "spark.csv"])
def test_of_2000_damaged_files_none_loses_rows_unsaid(tmp_path, name):
    columns = InteractionColumns(timestamp=None)
    outcomes = []
    for seed in range(250):
        draw = random.Random(seed)
        items, contents = shop(draw, name)
        catalog = Catalog.read(pa.table(items))
        for content, reader in (
            (contents[0], Catalog.read),
            (
                contents[1],
                lambda path, catalog=catalog: Interactions.read(
                    path, catalog=catalog, columns=columns, policy=LogPolicy(unknown_items="drop")
                ),
            ),
        ):
            path = tmp_path / f"damaged_{name}"
            path.write_bytes(damaged(draw, content))
            outcomes.append(check(path, reader))
    read = outcomes.count(None)
    assert len(outcomes) == 500
    assert 50 < read < 450, "some are read and some refused"


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (gzip.compress(b"item_id,title\n1,Cup\n"), "a gzip file; call it .csv.gz"),
        (b"\x28\xb5\x2f\xfd rest", "a Zstandard file"),
        (b"PAR1 rest", "a Parquet file; call it .parquet"),
        (b"PK\x03\x04 rest", "a workbook or a zip archive; save it as CSV"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, start, says):
    path = tmp_path / "items.csv"
    path.write_bytes(start)
    with pytest.raises(DataError, match=says):
        Catalog.read(path)


@pytest.mark.parametrize("columns", [("item_id", "title"), ("item_id", "_")])
def test_names_for_a_file_that_has_them_are_refused(tmp_path, columns):
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\n1,Cup\n")
    with pytest.raises(DataError, match="a header with these very names; leave out --item-columns"):
        Catalog.read(path, CatalogColumns(title=""), TextFormat(columns=columns))
    assert len(Catalog.read(path)) == 1


@pytest.mark.parametrize("options", [{}, {"separator": ";"}])
def test_the_note_that_excel_takes_is_no_header(tmp_path, options):
    path = tmp_path / "items.csv"
    path.write_text("sep=;\nitem_id;title\n1;Cup\n")
    with pytest.raises(DataError, match="a note for Excel; delete it"):
        Catalog.read(path, format=TextFormat(**options))
    path.write_text(path.read_text().removeprefix("sep=;\n"))
    assert Catalog.read(path, format=TextFormat(separator=";")).titles == ["Cup"]
