"""What a user says of a text file: separator, encoding, names of columns, dates; and where to say it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.common.config import validate
from genrec.common.errors import ConfigError, DataError, InputError
from genrec.data import Catalog, Interactions, TextFormat
from genrec.data.interactions import InteractionColumns
from genrec.data.reading.readers import open_rows, read_table
from genrec.data.reading.text_format import looks_like_rows
from genrec.data.settings import DataSettings

CATALOG = Catalog.from_table(pa.table({"item_id": ["1", "7", "N9"]}))


def log_of(path, content, encoding="utf-8", **format):
    path.write_bytes(content.encode(encoding))
    log = Interactions.read(path, catalog=CATALOG, format=TextFormat(**format))
    items = [CATALOG.item_ids[item] for item in log.histories.items]
    times = None if log.timestamps is None else log.timestamps.tolist()
    return log.user_ids, items, times


@pytest.mark.parametrize("ending", ["csv", "tsv", "dat", "txt", "data", "inter.gz"[:5]])
@pytest.mark.parametrize("separator", [";", "|", "::", "tab", "\\t", "comma", "\x01", "§", " "])
def test_any_separator(tmp_path, separator, ending):
    mark = {"tab": "\t", "\\t": "\t", "comma": ","}.get(separator, separator)
    content = "user_id,item_id,timestamp\nu,7,1\nv,N9,2\n".replace(",", mark)
    found = log_of(tmp_path / f"log.{ending}", content, separator=separator)
    assert found == (["u", "v"], ["7", "N9"], [1, 2])


def test_a_separator_of_several_characters_stands_in_quoted_fields_and_names(tmp_path):
    (tmp_path / "m.dat").write_text('item_id::title\n1::"a::b"\n2::c:d\n3::"x\n::y"\n')
    table, _ = read_table(tmp_path / "m.dat", format=TextFormat(separator="::", quoting="rfc4180"))
    assert table["title"].to_pylist() == ["a::b", "c:d", "x\n::y"]
    (tmp_path / "m.dat").write_text("item_id::title\n1::a\x1fb\n")
    with pytest.raises(DataError, match=r"U\+001F"):
        read_table(tmp_path / "m.dat", format=TextFormat(separator="::"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"])
def test_any_encoding(tmp_path, encoding):
    (tmp_path / "items.csv").write_bytes('item_id,title\n1,"Café, ""gran"""\n'.encode(encoding))
    table, _ = read_table(tmp_path / "items.csv", format=TextFormat(encoding=encoding))
    assert table["title"].to_pylist() == ['Café, "gran"']


def test_another_encoding_is_named_in_the_refusal_and_reads_the_file(tmp_path):
    path = tmp_path / "items.csv"
    path.write_bytes("item_id,title\n1,Café\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"row 1, column 'title'.*name its encoding with --encoding"
    ):
        read_table(path)
    assert read_table(path, format=TextFormat(encoding="latin-1"))[0]["title"][0].as_py() == "Café"
    with pytest.raises(DataError, match=r"not ascii text.*--encoding"):
        read_table(path, format=TextFormat(encoding="ascii"))
    path.write_bytes("item_id,title\n1,Café\n".encode("utf-16")[:-1])
    with pytest.raises(DataError, match=r"not utf-16 text"):
        read_table(path, format=TextFormat(encoding="utf-16"))


# The first rows of files that are published without a header.
HEADLESS = {
    "a log of numbers": (
        "1,7,5,978300760\n2,N9,3,978302109\n",
        "csv",
        "user_id,item_id,_,timestamp",
    ),
    "ml-100k": (
        "196\t7\t3\t881250949\n186\tN9\t3\t891717742\n",
        "tsv",
        "user_id,item_id,_,timestamp",
    ),
    "yoochoose": (
        "1,2014-04-07T10:51:09.277Z,7,0\n2,2014-04-07T10:54:09.868Z,N9,0\n",
        "csv",
        "user_id,timestamp,item_id,",
    ),
    "MIND": (
        "N9\tsport\tgolf\thttps://assets.msn.com/a.html\n1\tnews\tus\thttps://assets.msn.com/b.html\n",
        "tsv",
        "item_id,user_id,_,_",
    ),
    "lists, one row": ("x\t['N9']\t7\n", "tsv", "user_id,_,item_id"),
    "the same twice": ("7,7\n1,N9\n", "csv", "user_id,item_id"),
    "one column is enough": ("7\n1\n", "csv", "item_id"),
}


@pytest.mark.parametrize("kind", HEADLESS)
def test_a_file_without_header_is_recognised_and_its_columns_named(tmp_path, kind):
    content, ending, names = HEADLESS[kind]
    path = tmp_path / f"log.{ending}"
    path.write_text(content)
    with pytest.raises(
        DataError, match=r"no header row.*[Nn]ame its columns in order with --"
    ) as found:
        Interactions.read(path, catalog=CATALOG)
    assert "--user-id" not in str(found.value)
    with pytest.raises(DataError, match=r"no header row.*--item-columns"):
        Catalog.read(path)
    format = TextFormat(columns=tuple(names.split(",")))
    rows = list(open_rows(path, ["item_id"], format).batches)
    assert sum(map(len, rows)) == content.count("\n")
    if "user_id" in names:
        assert len(Interactions.read(path, catalog=CATALOG, format=format)) == content.count("\n")


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["user_id", "Product Title", "2nd_price"], False),
        (["a" * 65, "b"], True),
        (["user", "2014-04-07"], True),
        (["1.5e3"], False),
        (["-3"], True),
    ],
)
def test_names_do_not_look_like_rows(names, rows):
    assert looks_like_rows(names) is rows


def test_too_few_names_are_refused_with_the_row(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("u,7,1\nv,N9,2\n")
    with pytest.raises(
        DataError, match=r"row 1, value 'u,7,1': the row has 3 fields, but 2 columns"
    ):
        Interactions.read(path, catalog=CATALOG, format=TextFormat(columns=("user_id", "item_id")))


@pytest.mark.parametrize(
    ("format", "value", "microseconds"),
    [
        ("%d/%m/%Y %H:%M", "03/02/1970 00:01", 33 * 86_400_000_000 + 60_000_000),
        ("%m/%d/%Y %I:%M:%S %p", "01/01/1970 1:00:00 PM", 13 * 3_600_000_000),
        ("%Y%m%d", "19700102", 86_400_000_000),
        ("%d.%m.%Y %H:%M:%S %z", "01.01.1970 02:00:00 +0100", 3_600_000_000),
        ("it's %Y", "it's 1970", 0),
    ],
)
def test_dates_are_read_as_they_are_said_to_be_written(tmp_path, format, value, microseconds):
    content = f"user_id,item_id,timestamp\nu,7,{value}\n"
    found = log_of(tmp_path / "log.csv", content, date_format=format)
    assert found == (["u"], ["7"], [microseconds])
    with pytest.raises(
        DataError, match=r"row 1, column 'timestamp', value 'soon'.*must be written as"
    ):
        log_of(tmp_path / "log.csv", content.replace(value, "soon"), date_format=format)


def test_other_dates_name_the_option(tmp_path):
    content = "user_id,item_id,timestamp\nu,7,31/12/2024 10:00\n"
    with pytest.raises(DataError, match=r"--date-format, such as '%d/%m/%Y %H:%M'"):
        log_of(tmp_path / "log.csv", content)
    assert log_of(tmp_path / "log.csv", content, date_format="%d/%m/%Y %H:%M")[2] is not None
    with pytest.raises(InputError, match="no format of dates"):
        log_of(tmp_path / "log.csv", content, date_format="%Q")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"separator": '"'}, "no quote, backslash or line break"),
        ({"encoding": "klingon"}, "no such encoding"),
        ({"encoding": "base64"}, "no such encoding"),
        ({"quoting": "single"}, "rfc4180"),
        ({"columns": ["a", "a"]}, "'a' stands twice"),
        ({"columns": ["_", ""]}, "name at least one column"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        validate(TextFormat, values, source="options")


def test_settings_of_recipes_name_a_format_for_each_file(tmp_path):
    (tmp_path / "movies.dat").write_bytes("1::Café\n7::Heat\nN9::Up\n".encode("latin-1"))
    (tmp_path / "log.csv").write_text("user_id;item_id\nu;7\n")
    values = {
        "items": tmp_path / "movies.dat",
        "interactions": tmp_path / "log.csv",
        "item_format": {"separator": "::", "encoding": "latin-1", "columns": ["item_id", "title"]},
        "interaction_format": {"separator": ";"},
    }
    catalog, log = validate(DataSettings, values, source="test").read()
    assert (catalog.titles, log.histories.items.tolist()) == (["Café", "Heat", "Up"], [1])
    assert (catalog.report.in_file, log.report.in_file) == (3, 1)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_the_report_counts_rows_of_the_file_and_rows_read(tmp_path, ending):
    table = pa.table({"user_id": ["u", "v"], "item_id": ["7", "1"]})
    path = tmp_path / f"log.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        table.to_pandas().to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    log = Interactions.read(path, catalog=CATALOG, columns=InteractionColumns())
    assert log.report.lines()[0] == f"{path}: 2 of 2 rows read, 2 kept"
    assert Interactions.read(table, catalog=CATALOG).report.in_file == 2


def test_a_row_of_lists_is_many_interactions(tmp_path):
    path = tmp_path / "log.tsv"
    path.write_text('user_id\titem_id\nu\t["7", "1"]\n')
    report = Interactions.read(path, catalog=CATALOG).report
    assert report.lines()[0] == f"{path}: 1 rows in the file, 2 interactions read, 2 kept"
