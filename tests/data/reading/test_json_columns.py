"""JSON of any keys: every object of every row is kept, and costs what it is long."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data import Catalog, CatalogColumns
from genrec.data.reading.readers import open_rows, read_table


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


NESTED = {
    "case differs across rows": [{"Item model number": "X1"}, {"Item Model Number": "X2"}],
    "case differs in one row": [{"Size": "S", "size": "M", "SIZE": "L"}, {"size": "K"}],
    "empty key": [{"": "nameless"}, {"": {"": [1, {"": None}]}}],
    "quotes and slashes": [{"a\"b'c": "1", "x/y~z": "2", "$.a": 3, "*": 4}, {}],
    "other scripts": [{"Größe": "ß", "尺寸": "大"}, {"GRÖSSE": "SS"}],
    "types differ": [{"k": 1}, {"k": "one"}],
    "list of objects": [[{"K": 1}, {"k": 2}], [{"z": 1}]],
    "object or text": [{"k": 1}, "plain"],
}


@pytest.mark.parametrize("kind", list(NESTED))
def test_objects_inside_rows_are_kept_as_their_json(tmp_path: Path, kind: str) -> None:
    values = NESTED[kind]
    path = write(tmp_path / "x.jsonl", [{"item_id": i, "d": v} for i, v in enumerate(values)])
    found = read_table(path)[0]["d"].to_pylist()
    parsed = [
        [json.loads(part) for part in cell] if isinstance(cell, list)
        else json.loads(cell) if cell.startswith("{") else cell
        for cell in found
    ]  # fmt: skip
    assert parsed == values
    assert Catalog.read(path).report.kept == len(values)


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(
            st.text("aAbB~/'\"", max_size=3),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(-(2**63), 2**64 - 1),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text("aA\u00df'", max_size=3),
                st.lists(st.integers(0, 5), max_size=3),
                st.dictionaries(st.text("aA", max_size=2), st.integers(0, 5), max_size=3),
            ),
            max_size=5,
        ),
        min_size=2,
        max_size=5,
    )
)
def test_no_value_of_any_key_is_lost(rows: list[dict[str, Any]]) -> None:
    if not any(rows):
        return
    table, _ = read_table([{"item_id": "0"}, *rows])
    assert set(table.column_names) == {"item_id"}.union(*rows)
    for row, found in zip(rows, table.to_pylist()[1:], strict=True):
        assert {name for name, value in found.items() if value is not None} == {
            name for name, value in row.items() if value is not None
        }
        for name, value in row.items():
            if isinstance(value, dict):
                assert json.loads(found[name]) == value
            elif isinstance(value, str):
                assert found[name] == value


@pytest.mark.parametrize(
    "names", [("Brand", "brand"), ("typed", "TYPED"), ("", "title2"), ("line", "LINE")]
)
def test_keys_of_rows_know_case(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write(tmp_path / "x.jsonl", [{"id": 1, names[0]: "x"}, {"id": 2, names[1]: "y"}])
    assert read_table(path)[0].to_pylist() == [
        {"id": 1, names[0]: "x", names[1]: None},
        {"id": 2, names[0]: None, names[1]: "y"},
    ]
    streamed = [
        row for part in open_rows(path, ["id", names[0]]).batches for row in part.to_pylist()
    ]
    assert streamed == [{"id": "1", names[0]: "x"}, {"id": "2", names[0]: None}]


@pytest.mark.parametrize("key", ["typed", "line", "v", "k", "lines"])
def test_an_id_may_be_called_anything(tmp_path: Path, key: str) -> None:
    path = write(
        tmp_path / "x.jsonl", [{key: 1, "title": "a", "n": 1}, {key: 2, "title": "b", "n": 2}]
    )
    catalog = Catalog.read(path, CatalogColumns(item_id=key))
    assert catalog.item_ids == ["1", "2"]
    assert catalog.table["n"].to_pylist() == [1, 2]


def test_types_are_those_of_all_values(tmp_path: Path) -> None:
    rows = [
        {
            "u": 1,
            "s": -1,
            "f": 1,
            "b": True,
            "l": ["a"],
            "ll": [[1], []],
            "e": [],
            "n": None,
            "m": [1, "a"],
        },
        {
            "u": 2**64 - 1,
            "s": 2,
            "f": 0.5,
            "b": False,
            "l": None,
            "ll": [[2]],
            "e": [],
            "n": None,
            "m": [],
        },
    ]
    table = read_table(write(tmp_path / "x.jsonl", rows))[0]
    assert [str(kind) for kind in table.schema.types] == [
        "uint64",
        "int64",
        "double",
        "bool",
        "list<item: string>",
        "list<item: list<item: uint64>>",
        "list<item: null>",
        "null",
        "list<item: string>",
    ]
    assert table.to_pylist() == [rows[0] | {"f": 1.0, "m": ["1", "a"]}, rows[1]]


def test_nesting_of_any_depth_is_read(tmp_path: Path) -> None:
    for depth in (5, 200, 100_000):
        deep = '{"item_id": "a", "d": ' + '{"k":' * depth + "1" + "}" * depth + "}\n"
        lists = '{"item_id": "b", "l": ' + "[" * depth + "1" + "]" * depth + "}\n"
        path = tmp_path / "x.jsonl"
        path.write_text(deep + lists)
        catalog = Catalog.read(path)
        assert len(catalog) == 2
        assert catalog.table["d"][0].as_py().count("{") == depth
        assert all(catalog.texts())


def test_items_text_names_keys_and_values(tmp_path: Path) -> None:
    details = {
        "Brand Name": "Acme",
        "size": {"Width": 2.0, "unit": None},
        "Tags": ["a", {"b": "c"}],
    }
    rows = [
        {"item_id": 1, "title": "lamp", "details": details},
        {"item_id": 2, "title": "{not json", "details": {"brand name": "Acme"}},
    ]
    texts = Catalog.read(write(tmp_path / "x.jsonl", rows)).texts()
    assert texts[0] == "lamp. details: Brand Name: Acme, size: Width: 2, Tags: a, b: c"
    assert texts[1] == "{not json. details: brand name: Acme"


def test_an_object_with_a_key_twice_keeps_both(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"item_id": 1, "d": {"k": "one", "k": "two"}}\n' * 1)
    assert Catalog.read(path).texts() == ["d: k: one, k: two"]


COLUMNS = {
    "columns": '{"item_id":{"0":1,"1":2},"title":{"0":"a","1":"b"}}',
    "split": '{"columns":["item_id","title"],"index":[0,1],"data":[[1,"a"],[2,"b"]]}',
    "index": '{"0":{"item_id":1,"title":"a"},"1":{"item_id":2,"title":"b"}}',
    "table": '{"schema":{"fields":[]},"data":[{"item_id":1}]}',
    "lists": '{"item_id":[1,2],"title":["a","b"]}',
    "wrapped": '{"items":[{"item_id":1},{"item_id":2}]}',
}


@pytest.mark.parametrize("kind", list(COLUMNS))
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_document_is_not_read_as_one_row(tmp_path: Path, kind: str, end: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(COLUMNS[kind] + end)
    for read in (lambda: Catalog.read(path), lambda: open_rows(path, ["item_id"])):
        with pytest.raises(
            DataError, match=r"items\.json: the only row .*orient='records', lines=True"
        ):
            read()


def test_the_advice_on_documents_works(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"item_id": [1, 2], "title": ["a", "b"]})
    for options in ({}, {"orient": "split"}, {"orient": "index"}, {"orient": "table"}):
        frame.to_json(tmp_path / "x.json", **options)
        with pytest.raises(DataError, match="the only row"):
            Catalog.read(tmp_path / "x.json")
    frame.to_json(tmp_path / "x.json", orient="records")
    with pytest.raises(DataError, match="one JSON array"):
        Catalog.read(tmp_path / "x.json")
    frame.to_json(tmp_path / "x.json", orient="records", lines=True)
    assert Catalog.read(tmp_path / "x.json").item_ids == ["1", "2"]
    assert Catalog.read(write(tmp_path / "one.jsonl", [{"item_id": 1, "d": {}}])).item_ids == ["1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "item_id": 1\n}\n', r"row 1.*span lines.*jq -c \."),
        ('[\n  {"item_id": 1}\n]\n', r"one JSON array"),
        (
            '{"item_id": 1}\n{"item_id": "\\ud800"}\n',
            r"row 2.*escape \\ud800 stands without its other half",
        ),
        ('{"item_id": 1}\n{"item_id": "\\ud800}\n', r"row 2.*not a JSON object"),
        ('{"item_id": 1}\n   \n', r"row 2.*not a JSON object"),
    ],
)
def test_what_is_no_json_line_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(path)


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "\udc00\ud800", "\\\ud83d"])
def test_halves_of_surrogate_pairs_are_named(tmp_path: Path, text: str) -> None:
    rows = [{"item_id": "\U0001f600"}, {"item_id": "b", "tags": [{text: 1}]}]
    for source in (rows, write(tmp_path / "x.jsonl", rows)):
        with pytest.raises(DataError, match=r"row 2, .* surrogate escape \\ud[8c]") as caught:
            read_table(source)
        assert caught.value.row == 2
    fixed = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    rows[1] = {"item_id": "b", "tags": [{fixed: 1}]}
    assert read_table(write(tmp_path / "x.jsonl", rows))[0]["item_id"][0].as_py() == "\U0001f600"
    assert len(read_table([{"item_id": "\\ud800"}])[0]) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_rows_without_a_key_are_refused(tmp_path: Path, number: int) -> None:
    rows: list[dict[str, Any]] = [{}] * number
    for source in (rows, write(tmp_path / "x.jsonl", rows)):
        for read in (Catalog.read, read_table, lambda source: open_rows(source, ["item_id"])):
            with pytest.raises(DataError, match=r"(dicts|x\.jsonl): no row has a key: write one"):
                read(source)
    rows = [*rows, {"item_id": "1", "title": "…"}]
    assert len(read_table(write(tmp_path / "x.jsonl", rows))[0]) == number + 1


def test_lines_that_are_too_long_or_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('{"item_id": "a"}\n\n{"item_id": "café"}\n'.encode("latin1"))
    message = (
        r"x\.jsonl, row 2, value b'.*caf\\xe9.*JSON lines are UTF-8; convert it: iconv -f latin1"
    )
    with pytest.raises(DataError, match=message) as caught:
        Catalog.read(path)
    assert "encoding with --encoding" not in str(caught.value)
    if shutil.which("iconv"):
        command = ["iconv", "-f", "latin1", "-t", "utf-8", str(path)]
        path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
        assert Catalog.read(path).item_ids == ["a", "café"]
    write(path, [{"item_id": "a"}, {"item_id": "b" * (20 << 20)}])
    with pytest.raises(
        DataError, match=r"x\.jsonl: a line is longer than 8 MiB; .*orient='records', lines=True"
    ) as caught:
        Catalog.read(path)
    assert "quote" not in str(caught.value)


def test_one_connection_reads_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    opened = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda: opened.append(1) or connect())
    rows = [{"item_id": n, **{f"k{key}": [[key], [n]] for key in range(20)}} for n in range(3)]
    table, _ = read_table(rows)
    assert table.to_pylist() == rows
    assert len(opened) == 1


MEMORY = """
import resource, sys
from genrec.data import Catalog
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
Catalog.read(sys.argv[1])
before = peak()
assert len(Catalog.read(sys.argv[2])) == 16000
print(peak() - before)
"""


def test_memory_grows_with_the_file_not_with_keys_times_rows(tmp_path: Path) -> None:
    draw = random.Random(0)
    wide = [
        {
            "item_id": f"i{i}",
            "title": f"red lamp {i}",
            "details": {f"key {draw.randrange(3000)}": "some value" for _ in range(8)},
        }
        for i in range(16_000)
    ]
    paths = [write(tmp_path / "small.jsonl", wide[:10]), write(tmp_path / "wide.jsonl", wide)]
    grown = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert paths[1].stat().st_size < 5e6
    assert int(grown.stdout) < 250  # megabytes; one cell for each key and row takes 2,000


LINES = {
    "no last line end": ('{"item_id": "a"}\n{"item_id": "b"}', 2),
    "blank lines": ('\n{"item_id": "a"}\r\n\r\n\n{"item_id": "b"}\n\n', 2),
    "carriage returns": ('{"item_id": "a"}\r{"item_id": "b"}\r', 2),
    "a mark at the start": ('\ufeff{"item_id": "a"}\n', 1),
}


@pytest.mark.parametrize("kind", list(LINES))
def test_lines_are_counted_on_their_own(tmp_path: Path, kind: str) -> None:
    text, rows = LINES[kind]
    path = tmp_path / "x.jsonl"
    path.write_bytes(text.encode())
    report = Catalog.read(path).report
    assert (report.in_file, report.rows, report.kept) == (rows, rows, rows)
    assert Catalog.read([{"item_id": "a"}]).report.in_file == 1


def test_a_line_that_was_not_read_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genrec.data.reading import delimited

    path = write(tmp_path / "x.jsonl", [{"item_id": n} for n in range(5)])
    whole = delimited.read_lines
    monkeypatch.setattr(delimited, "read_lines", lambda path: (t[:3] for t in whole(path)))
    with pytest.raises(DataError, match=r"x\.jsonl: the file has 5 lines, but 3 were read"):
        Catalog.read(path)
