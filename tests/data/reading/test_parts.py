"""Folders, globs and URLs: every file of a table is read once, in order, or the table is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from genrec.common.errors import DataError
from genrec.data import Catalog, InteractionColumns, Interactions
from genrec.data.reading.readers import open_rows, read_table

Rows = list[dict[str, Any]]


def part(path: Path, rows: Rows) -> Path:
    """Write a file by its extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [list(rows[0]), *(row.values() for row in rows)]
        path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    else:
        path.write_text("".join(str(row).replace("'", '"') + "\n" for row in rows))
    return path


def event(user: int, item: int) -> dict[str, Any]:
    return {"user_id": f"u{user}", "item_id": f"i{item}"}


def both(source: Any) -> Rows:
    """Rows as read whole and as streamed, which must be the same."""
    whole = read_table(source)[0].to_pylist()
    names = list(whole[0])
    streamed = [row for batch in open_rows(source, names).batches for row in batch.to_pylist()]
    assert streamed == whole
    return whole


@pytest.fixture
def catalog() -> Catalog:
    return Catalog.read([{"item_id": f"i{n}", "title": f"lamp {n}"} for n in range(4)])


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json"])
def test_a_folder_of_spark_is_read_whole(tmp_path: Path, ending: str, catalog: Catalog) -> None:
    folder = tmp_path / "log.parquet"
    for number in (2, 0, 1):
        part(folder / f"part-0000{number}-abc.snappy{ending}", [event(number, number), event(9, 3)])
    for noise in ("_SUCCESS", "._SUCCESS.crc", ".part-00000-abc.crc", "_committed_17", ".DS_Store"):
        (folder / noise).write_bytes(b"")
    expected = [event(*pair) for n in range(3) for pair in ((n, n), (9, 3))]
    assert both(folder) == expected
    assert both(f"{folder}/") == expected
    assert both(f"{folder}/part-*{ending}") == expected
    log = Interactions.read(folder, catalog=catalog)
    assert log.report.lines()[0] == f"{folder} (3 files): 6 of 6 rows read, 6 kept"


def test_parts_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("part.10.parquet", "part.2.parquet", "b/part.0.parquet", "a.parquet"):
        part(tmp_path / "log" / name, [{"item_id": name}])
    assert [row["item_id"] for row in both(tmp_path / "log")] == [
        "a.parquet",
        "b/part.0.parquet",
        "part.2.parquet",
        "part.10.parquet",
    ]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json"])
def test_names_of_folders_become_columns(tmp_path: Path, ending: str, catalog: Catalog) -> None:
    log = tmp_path / "log"
    part(log / "date=2024-01-02" / "shop=a%20b" / f"x{ending}", [event(0, 0)])
    part(log / "date=2024-01-01" / "shop=c" / f"x{ending}", [event(0, 1)])
    part(log / "date=2024-01-03" / "shop=__HIVE_DEFAULT_PARTITION__" / f"x{ending}", [event(0, 2)])
    expected = [
        event(0, 1) | {"date": "2024-01-01", "shop": "c"},
        event(0, 0) | {"date": "2024-01-02", "shop": "a b"},
        event(0, 2) | {"date": "2024-01-03", "shop": None},
    ]
    assert both(log) == expected
    assert both(f"{log}/date=*") == expected
    assert both(f"{log}/date=*/shop=*/*{ending}") == expected
    assert both(f"{log}/**/*{ending}") == expected
    assert both(f"{log}/date=2024-01-0[12]/**") == expected[:2]
    columns = InteractionColumns(timestamp="date")
    read = Interactions.read(log, catalog=catalog, columns=columns)
    assert read.histories.items.tolist() == [1, 0, 2]
    assert read.timestamp_unit == "us"
    streamed = open_rows(log, ["date"])
    assert [row for batch in streamed.batches for row in batch.to_pylist()] == [
        {"date": row["date"]} for row in expected
    ]


def test_a_column_of_the_file_stays_where_a_folder_has_its_name(tmp_path: Path) -> None:
    part(tmp_path / "log" / "item_id=9" / "x.parquet", [event(0, 1)])
    assert both(tmp_path / "log") == [event(0, 1)]


def test_a_single_file_gets_no_column_from_its_folder(tmp_path: Path) -> None:
    path = part(tmp_path / "lr=0.1" / "items.csv", [{"item_id": "a"}])
    assert both(path) == [{"item_id": "a"}]


def test_columns_and_types_of_all_parts_are_joined(tmp_path: Path) -> None:
    log = tmp_path / "log"
    part(log / "0.parquet", [{"item_id": 1, "n": 1}])
    part(log / "1.parquet", [{"item_id": 2, "n": 0.5, "late": "x"}])
    part(log / "2.parquet", [{"item_id": 3, "n": None}])
    pq.write_table(pa.table({"item_id": pa.array([], pa.int32())}), log / "3.parquet")
    assert both(log) == [
        {"item_id": 1, "n": 1.0, "late": None},
        {"item_id": 2, "n": 0.5, "late": "x"},
        {"item_id": 3, "n": None, "late": None},
    ]
    part(log / "4.parquet", [{"item_id": 4, "n": "four"}])
    with pytest.raises(
        DataError, match=r"4\.parquet, column 'n': string here, double in the files before"
    ):
        read_table(log)


def test_json_columns_are_typed_by_all_parts(tmp_path: Path) -> None:
    part(tmp_path / "log" / "0.json", [{"item_id": 1, "n": 1}])
    part(tmp_path / "log" / "1.json", [{"item_id": 2, "n": 0.5, "late": "x"}])
    (tmp_path / "log" / "2.json").write_bytes(b"")
    assert read_table(tmp_path / "log")[0].to_pylist() == [
        {"item_id": 1, "n": 1.0, "late": None},
        {"item_id": 2, "n": 0.5, "late": "x"},
    ]


@pytest.mark.parametrize("empty", ["", "user_id,item_id", "user_id,item_id\n"])
@pytest.mark.parametrize("place", ["0.csv", "2.csv"])
def test_parts_without_rows_are_passed_over(tmp_path: Path, empty: str, place: str) -> None:
    part(tmp_path / "log" / "1.csv", [event(0, 0)])
    (tmp_path / "log" / place).write_text(empty)
    assert both(tmp_path / "log") == [event(0, 0)]
    (tmp_path / "log" / "1.csv").write_text("user_id,item_id\n")
    with pytest.raises(DataError, match="no rows"):
        read_table(tmp_path / "log")


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


REFUSED = {
    "no header": (
        {"0.csv": "user_id,item_id\nu,i\n", "1.csv": "u,i\nu,i\n"},
        r"1\.csv: its header is u, i",
    ),
    "a ragged row": ({"0.csv": "a,b\n1,2\n", "1.csv": "a,b\n1\n"}, r"1\.csv, row 1, value '1'"),
    "no object": (
        {"0.json": '{"a": 1}\n', "1.json": '{"a": 1}\n3\n'},
        r"1\.json, row 2, value '3'",
    ),
    "formats mixed": (
        {"0.csv": "a,b\n1,2\n", "1.json": '{"a": 1}\n'},
        r"several formats: 0\.csv, 1\.json",
    ),
    "no format": (
        {"0.csv": "a,b\n1,2\n", "notes.txt": "x"},
        r"notes\.txt: the extension does not name",
    ),
    "Delta": ({"0.csv": "a\n1\n", "_delta_log/0.json": "{}"}, r"a Delta table"),
    "Hudi": ({"0.csv": "a\n1\n", ".hoodie/x": "{}"}, r"a Hudi table"),
    "nothing": ({"_SUCCESS": ""}, r"no files there to read"),
    "fake Parquet": ({"0.parquet": "PAR1"}, r"0\.parquet: not a readable Parquet file"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_a_folder_that_is_no_table_is_refused(tmp_path: Path, kind: str) -> None:
    files, message = REFUSED[kind]
    for name, content in files.items():
        text(tmp_path / "log" / name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / "log")
    assert str(tmp_path) in str(caught.value)


def test_the_advice_on_mixed_folders_works(tmp_path: Path) -> None:
    part(tmp_path / "x" / "a.csv", [{"item_id": "a"}])
    part(tmp_path / "x" / "b.parquet", [{"item_id": "b"}])
    with pytest.raises(DataError, match=r"by a glob \(folder/\*\.parquet\)"):
        read_table(tmp_path / "x")
    assert both(tmp_path / "x" / "*.parquet") == [{"item_id": "b"}]


def test_a_name_with_marks_of_a_glob_is_a_file_first(tmp_path: Path) -> None:
    path = part(tmp_path / "items[1].csv", [{"item_id": "a"}])
    assert both(path) == [{"item_id": "a"}]
    with pytest.raises(DataError, match="no files there"):
        read_table(tmp_path / "other[1].csv")
    with pytest.raises(DataError, match="no files there"):
        read_table("a" * 5000 + "*.csv")


def test_hidden_files_are_read_if_asked_for(tmp_path: Path) -> None:
    part(tmp_path / "_new.csv", [{"item_id": "a"}])
    part(tmp_path / "old.csv", [{"item_id": "b"}])
    assert both(tmp_path / "*.csv") == [{"item_id": "b"}]
    assert both(tmp_path / "_*.csv") == [{"item_id": "a"}]


@pytest.fixture
def memory() -> Any:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def send(memory: Any, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe(f"/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json"])
def test_urls_are_read_like_paths(
    tmp_path: Path, memory: Any, ending: str, catalog: Catalog
) -> None:
    part(tmp_path / "b" / "log" / "date=2024-01-02" / f"x{ending}", [event(0, 0)])
    part(tmp_path / "b" / "log" / "date=2024-01-01" / f"x{ending}", [event(0, 1)])
    text(tmp_path / "b" / "log" / "_SUCCESS", "")
    send(memory, tmp_path)
    expected = [event(0, 1) | {"date": "2024-01-01"}, event(0, 0) | {"date": "2024-01-02"}]
    for source in (
        "memory://b/log",
        "memory://b/log/",
        Path("memory://b/log"),
        f"memory://b/log/*/*{ending}",
        f"memory://b/log/date=*/x{ending}",
    ):
        assert both(source) == expected
    one = f"memory://b/log/date=2024-01-01/x{ending}"
    assert both(one) == [event(0, 1)]
    assert Interactions.read(one, catalog=catalog).report.source == one


def test_what_is_wrong_behind_a_url_is_named_by_it(memory: Any) -> None:
    memory.pipe("/b/x.csv", b"a,b\n1,2\n3\n")
    memory.pipe("/b/y.jsonl", b'{"a": 1}\n3\n')
    memory.pipe("/b/z.parquet", b"PAR1")
    with pytest.raises(DataError, match=r"memory://b/x\.csv, row 2") as caught:
        read_table("memory://b/x.csv")
    assert (caught.value.row, caught.value.source) == (2, "memory://b/x.csv")
    for name, message in (
        ("y.jsonl", "row 2"),
        ("z.parquet", "not a readable Parquet"),
        ("none.csv", "no such file"),
        ("*.tsv", "no files there"),
    ):
        with pytest.raises(DataError, match=rf"memory://b/.*{message}"):
            read_table(f"memory://b/{name}")


def test_pyarrows_file_systems_are_asked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part(tmp_path / "bucket" / "log" / "0.parquet", [event(0, 0)])
    bucket = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    asked = []

    def from_uri(url: str) -> tuple[Any, str]:
        asked.append(url)
        return bucket, url.partition("://")[2].partition("?")[0]

    monkeypatch.setattr(pyarrow.fs, "FileSystem", type("Fake", (), {"from_uri": from_uri}))
    assert both("s3://bucket/log") == [event(0, 0)]
    assert both("gs://bucket/log/*.parquet?retry_limit_seconds=9") == [event(0, 0)]
    assert asked[0] == "s3://bucket/log"
    assert asked[-1] == "gs://bucket/log?retry_limit_seconds=9"


def test_secrets_of_a_url_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_uri(url: str) -> None:
        raise OSError(f"no route to {url}")

    monkeypatch.setattr(pyarrow.fs, "FileSystem", type("Fake", (), {"from_uri": from_uri}))
    with pytest.raises(
        DataError, match=r"s3://b/x\.csv: the URL cannot be opened \(no route"
    ) as caught:
        read_table("s3://key:secret@b/x.csv?token=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


DRIVERS = {
    "s3": "s3fs",
    "hf": "huggingface_hub",
    "https": "aiohttp",
    "sftp": "paramiko",
    "oci": "ocifs",
}


@pytest.mark.parametrize("scheme", list(DRIVERS))
def test_a_missing_driver_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(url: str) -> None:
        raise ImportError(url)

    def not_built(url: str) -> None:
        raise pa.ArrowNotImplementedError("built without it")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    monkeypatch.setattr(pyarrow.fs, "FileSystem", type("Fake", (), {"from_uri": not_built}))
    with pytest.raises(DataError, match=rf"not installed: pip install {DRIVERS[scheme]}$"):
        read_table(f"{scheme}://b/x.csv")


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(DataError, match=r"nosuch://b/x\.csv: the URL cannot be opened"):
        read_table("nosuch://b/x.csv")


def test_rows_are_those_that_the_footers_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = part(tmp_path / "x.parquet", [event(n, 0) for n in range(10)])
    whole = pq.ParquetFile.iter_batches

    def cut(self: Any, **options: Any) -> Any:
        return (batch[:4] for batch in whole(self, **options))

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", cut)
    with pytest.raises(DataError, match="6 rows are missing of those that its footer counts"):
        read_table(path)


def test_types_that_do_not_hold_each_other_are_no_damage(tmp_path: Path) -> None:
    part(tmp_path / "log" / "0.parquet", [{"item_id": 2**53 + 1}])
    part(tmp_path / "log" / "1.parquet", [{"item_id": 0.5}])
    message = r"0\.parquet, column 'item_id': int64 here, double with the other files"
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / "log")
    assert "damaged" not in str(caught.value)
    part(tmp_path / "log" / "0.parquet", [{"item_id": float(2**53)}])
    assert len(read_table(tmp_path / "log")[0]) == 2


DAMAGE = {
    "a column's name": (b"title", b"t\xfftle", "not a readable Parquet file"),
    "a field's name": (b"Brand", b"B\xffand", "not a readable Parquet file"),
    "the footer's length": (b"PAR1", b"PAR2", "not a readable Parquet file"),
    "a page": (b"red lamp", b"\xff" * 8, "column 'title', value .*: not UTF-8 text"),
}


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, kind: str) -> None:
    before, after, message = DAMAGE[kind]
    path = tmp_path / "x.parquet"
    rows = [{"item_id": "a", "title": "red lamp", "details": {"Brand": "x"}}]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="none", write_statistics=False)
    path.write_bytes(path.read_bytes().replace(before, after))
    for read in (read_table, lambda path: list(open_rows(path, ["title"]).batches)):
        with pytest.raises(DataError, match=rf"x\.parquet.*{message}"):
            read(path)


def test_links_are_followed(tmp_path: Path) -> None:
    part(tmp_path / "there" / "x.csv", [{"item_id": "a"}])
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "linked").symlink_to(tmp_path / "there")
    assert both(tmp_path / "log") == [{"item_id": "a"}]
