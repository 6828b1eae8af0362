"""Every format and compression gives the same rows; damaged files are refused with the place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.common.errors import DataError
from genrec.data.reading import delimited
from genrec.data.reading.readers import ReadReport, nearest, open_rows, read_table
from genrec.data.reading.text_format import TextFormat

ROWS = [
    {"item_id": "0012", "title": 'Tent, "large"', "brand": "Å & B"},
    {"item_id": "007", "title": "Two\nlines", "brand": ""},
    {"item_id": "2020-01-01", "title": "true", "brand": "1e5"},
]
TEXT_FORMATS = [".csv", ".tsv", ".jsonl", ".ndjson", ".json"]
ENDINGS = [f + c for f in TEXT_FORMATS for c in ("", ".gz", ".zst")] + [".parquet", ".CSV"]


def write_text(path: Path, text: str) -> Path:
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    if path.suffix == ".zst":
        content = pa.Codec("zstd").compress(content, asbytes=True)
    path.write_bytes(content)
    return path


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    kind = path.name.lower().split(".")[1]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind in ("jsonl", "ndjson", "json"):
        return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def stream(path: Path, columns: list[str]) -> list[dict[str, object]]:
    return [row for batch in open_rows(path, columns).batches for row in batch.to_pylist()]


@pytest.mark.parametrize("ending", ENDINGS)
def test_all_formats_read_alike(tmp_path: Path, ending: str) -> None:
    path = write_rows(tmp_path / f"items{ending}", ROWS)
    table, source = read_table(path)
    assert table.to_pylist() == ROWS
    assert source == str(path)
    assert stream(path, ["item_id", "brand", "absent"]) == [
        {"item_id": row["item_id"], "brand": row["brand"]} for row in ROWS
    ]
    assert open_rows(path, ["item_id"]).columns == ("item_id", "title", "brand")


@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "brotli", "none"])
def test_parquet_of_any_inner_compression(tmp_path: Path, codec: str) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet", compression=codec)
    assert read_table(tmp_path / "x.parquet")[0].to_pylist() == ROWS


def test_memory_sources_read_alike() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list(ROWS)
    assert read_table(dataset)[0].to_pylist() == ROWS
    assert read_table(dataset.select([2, 0]))[0].to_pylist() == [ROWS[2], ROWS[0]]
    assert read_table(pa.Table.from_pylist(ROWS))[0].to_pylist() == ROWS
    with pytest.raises(DataError, match="one of its splits: 'train'"):
        read_table(datasets.DatasetDict({"train": dataset}))
    with pytest.raises(DataError, match=r"cannot read a int; pass a path or URL, .*list of dicts"):
        read_table(3)


def test_dictionary_columns_become_plain() -> None:
    table = pa.table({"item_id": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert read_table(table)[0]["item_id"].type == pa.string()


def test_csv_line_ends_bom_and_blank_lines(tmp_path: Path) -> None:
    content = '\ufeffuser_id,item_id\r\n01,"a\r\nb"\r\n\r\n02,c'
    path = write_text(tmp_path / "x.csv", content)
    assert stream(path, ["user_id", "item_id"]) == [
        {"user_id": "01", "item_id": "a\r\nb"},
        {"user_id": "02", "item_id": "c"},
    ]


def test_quoted_line_breaks_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"item_id": str(n), "title": "a\nb\n" * 3, "brand": "x"} for n in range(200)]
    path = write_rows(tmp_path / "x.csv", rows)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 128)
    assert read_table(path)[0].to_pylist() == rows
    write_text(path, 'item_id,title\n1,"' + "x" * 1000 + '"\n')
    with pytest.raises(DataError, match="a row is longer than"):
        read_table(path)


def test_json_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.jsonl", '\ufeff{"a": "1"}\r\n\r\n{"a": "2"}\r\n')
    assert stream(path, ["a"]) == [{"a": "1"}, {"a": "2"}]


def test_pandas_index_column_is_left_out(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv", ",item_id\n0,a\n1,b\n")
    assert read_table(path)[0].to_pylist() == [{"item_id": "a"}, {"item_id": "b"}]


LEFT_OVER = [
    "__index_level_0__",
    "__index_level_12__",
    "Unnamed: 0",
    "Unnamed: 0.1",
    "Unnamed: 0.1.1",
]


@pytest.mark.parametrize("name", LEFT_OVER)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_row_numbers_that_pandas_left_over_are_left_out(
    tmp_path: Path, name: str, ending: str
) -> None:
    rows = [{name: str(n), "item_id": item} for n, item in enumerate("ab")]
    path = write_rows(tmp_path / f"x{ending}", rows)
    assert read_table(path)[0].to_pylist() == [{"item_id": "a"}, {"item_id": "b"}]
    assert open_rows(path, ["item_id"]).columns == ("item_id",)
    # What a caller names is no left-over.
    assert read_table(path, texts=[name])[0].to_pylist() == rows
    assert stream(path, [name]) == [{name: "0"}, {name: "1"}]
    assert open_rows(path, [name]).columns == (name, "item_id")


@pytest.mark.parametrize(
    "name", ["Unnamed: 3", "index", "__index__", "level_0", "my__index_level_0__"]
)
def test_other_names_stay(tmp_path: Path, name: str) -> None:
    rows = [{name: "0", "item_id": "a"}]
    assert read_table(write_rows(tmp_path / "x.csv", rows))[0].to_pylist() == rows


@pytest.mark.parametrize(
    "names", [("a", "a"), ("item_id", "b", "c", "b"), ("b", "item_id", "item_id")]
)
def test_two_parquet_columns_of_one_name_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * len(names), names=list(names)), path)
    for read in (lambda: read_table(path), lambda: open_rows(path, ["item_id"])):
        with pytest.raises(
            DataError, match=r"x\.parquet, column '.*': two columns have this name; rename"
        ):
            read()


def test_names_that_differ_in_case_are_two(tmp_path: Path) -> None:
    rows = [{"Brand": "x", "brand": "y"}]
    for ending in (".csv", ".jsonl", ".parquet"):
        assert read_table(write_rows(tmp_path / f"x{ending}", rows))[0].to_pylist() == rows


def test_json_types_and_odd_keys(tmp_path: Path) -> None:
    lines = [
        {"id": "0012", "n": 1, "cats": ["x", "y"], "when": "2020-01-01", "a/b'\"~": "odd", "m": 1},
        {"id": 12, "n": 2.5, "cats": None, "late": {"k": "v"}, "m": "one"},
        {"id": 12.0, "n": None, "cats": [], "m": [1]},
    ]
    path = write_text(tmp_path / "x.jsonl", "\n".join(map(json.dumps, lines)))
    rows = read_table(path, texts=["id"])[0].to_pylist()
    assert [row["id"] for row in rows] == ["0012", "12", "12"]
    assert [row["n"] for row in rows] == [1.0, 2.5, None]
    assert [row["cats"] for row in rows] == [["x", "y"], None, []]
    assert [row["m"] for row in rows] == ["1", "one", "[1]"]
    assert rows[0]["when"] == "2020-01-01"
    assert rows[0]["a/b'\"~"] == "odd"
    assert rows[1]["late"] == '{"k":"v"}'


def test_json_nan_is_missing(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.jsonl", '{"a": NaN, "b": 1}\n{"a": "NaN", "b": 2}\n')
    assert stream(path, ["a"]) == [{"a": None}, {"a": "NaN"}]
    assert read_table(path, texts=["a"])[0]["a"].to_pylist() == [None, "NaN"]


def test_json_column_that_appears_late_is_not_lost(tmp_path: Path) -> None:
    filler = "".join(json.dumps({"a": "x" * 1000}) + "\n" for _ in range(20_000))
    path = write_text(tmp_path / "x.jsonl", filler + '{"a": "y", "b": 1}\n')
    with pytest.raises(DataError, match="first appears after row"):
        stream(path, ["a", "b"])
    assert read_table(path)[0]["b"].to_pylist()[-1] == 1


BROKEN = {
    "empty.csv": (b"", "no rows"),
    "empty.jsonl": (b"\n\n", "no rows"),
    "header.csv": (b"a,b", "no rows"),
    "header_line.csv": (b"a,b\n", "only a header"),
    "short.csv": (b"a,b\n1,2\n\n3\n4,5\n", r"row 2, value '3': the row has 1 fields, the header 2"),
    "long.tsv": (b"a\tb\n1\t2\t3\n", r"row 1, .* has 3 fields, the header 2"),
    "open.csv": (b'a,b\n1,2\n3,"4\n5,6\n', r"column 'b'.*never closed"),
    "latin.csv": (b"a,b\n1,2\n3,\xe9t\xe9\n", r"row 2, column 'b', value b'\\xe9.*UTF-8"),
    "latin_header.csv": (b"a,\xe9\n1,2\n", "header is not UTF-8"),
    "utf16.csv": ("a,b\n1,2\n".encode("utf-16"), "UTF-8"),
    "latin.jsonl": (b'{"a": "1"}\n{"a": "\xe9"}\n', "row 2.*UTF-8"),
    "twice.csv": (b"a,a\n1,2\n", "column 'a': two columns"),
    "array.json": (b'[{"a": 1}]', "one JSON array"),
    "cut.jsonl": (
        b'{"a": 1}\n{"a": \n',
        r"row 2, value '\{\"a\": ': the line is not a JSON object",
    ),
    "scalar.jsonl": (b'{"a": 1}\n3\n', "row 2.*not a JSON object"),
    "fake.csv.gz": (None, "damaged"),
    "fake.jsonl.zst": (None, "damaged"),
    "fake.parquet": (b"PAR1 not really", "not a readable Parquet file"),
    "empty.parquet": (b"", "not a readable Parquet file"),
    "x.xlsx": (b"x", r"use .csv, .tsv, .jsonl"),
    "x": (b"x", r"use .csv"),
    "x.parquet.gz": (b"x", "does not name a format"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_broken_file_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(b"these bytes are not compressed" if content is None else content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert caught.value.source is not None


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".jsonl.gz", ".jsonl.zst"])
def test_truncated_compression_is_refused(tmp_path: Path, ending: str) -> None:
    many = [{"item_id": f"i{n * 7919 % 104729}", "title": "t", "brand": "b"} for n in range(5000)]
    path = write_rows(tmp_path / f"x{ending}", many)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"damaged|not a JSON object|fields"):
        read_table(path)


def test_damaged_parquet_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [str(n) for n in range(9999)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[100:3000] = bytes(2900)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_table(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    write_rows(tmp_path / "items.csv", ROWS)
    with pytest.raises(DataError, match=r"no such file; did you mean 'items.csv'\?"):
        read_table(tmp_path / "item.csv")
    with pytest.raises(DataError, match=r"no files there to read"):
        read_table(tmp_path / "*.parquet")


def test_missing_column_names_those_found(tmp_path: Path) -> None:
    rows = open_rows(write_rows(tmp_path / "x.csv", ROWS), ["user_id"])
    with pytest.raises(DataError, match=r"found 'item_id', 'title', 'brand'; did you mean 'title'"):
        rows.require("titel", "title")
    semicolons = open_rows(write_text(tmp_path / "y.csv", "a;b\n1;2\n"), ["a"])
    with pytest.raises(DataError, match=r"separated by ';'.*--separator ';'"):
        semicolons.require("a", "user_id")
    format = TextFormat(separator=";")
    assert read_table(tmp_path / "y.csv", format=format)[0].to_pylist() == [{"a": "1", "b": "2"}]


def test_nearest_ignores_case() -> None:
    assert nearest("item_id", ["ITEM_ID", "asin"]) == "; did you mean 'ITEM_ID'?"
    assert nearest("item_id", ["zzz"]) == ""


def test_report_lines() -> None:
    report = ReadReport("log.csv", 1200, 1000, {"unknown item": 200}, ("no timestamps",))
    assert report.lines() == [
        "log.csv: 1,200 rows read, 200 dropped (unknown item), 1,000 kept",
        "no timestamps",
    ]


def test_grouped_joins_batches_without_loss() -> None:
    rows = open_rows(pa.table({"a": [str(n) for n in range(10)]}), ["a"])
    parts = list(rows.grouped(4))
    assert pa.concat_tables(parts)["a"].to_pylist() == [str(n) for n in range(10)]


def test_bytes_that_are_no_text_are_called_damaged(tmp_path):
    path = tmp_path / "noise.csv"
    path.write_bytes(random.Random(0).randbytes(4000))
    with pytest.raises(DataError, match=r"noise\.csv"):
        read_table(path)
