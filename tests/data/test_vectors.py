"""Item vectors from files: matched by id, scaled to length 1, and refused where they cannot be right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.common.config import load_settings
from genrec.common.errors import ConfigError, DataError
from genrec.data import Catalog
from genrec.data.vectors import VectorFile, read_vectors, unit_rows, vectors_setting
from genrec.recommender.settings import FitSettings

IDS = ["a", "b", "c", "d"]
ROWS = np.array([[3, 4, 0], [0, 0, 2], [1, 0, 0], [0, 5, 12]], np.float32)
UNIT = np.array([[0.6, 0.8, 0], [0, 0, 1], [1, 0, 0], [0, 5 / 13, 12 / 13]])


@pytest.fixture
def catalog():
    return Catalog.from_table(pa.table({"item_id": IDS, "title": IDS}))


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def parquet(path="v.parquet", ids=IDS, **columns):
    pq.write_table(pa.table({"item_id": ids} | columns), path, row_group_size=2)
    return VectorFile(path=Path(path))


def npy(rows=ROWS, ids=None, path="v.npy"):
    np.save(path, rows)
    if ids is not None:
        Path(path).with_suffix(".ids.txt").write_text("".join(f"{item_id}\n" for item_id in ids))
    return VectorFile(path=Path(path))


def lists(rows, kind=None):
    return pa.array(list(map(list, rows)), kind or pa.list_(pa.float32()))


FORMS = {
    "lists": lambda: parquet(v=lists(ROWS)),
    "float64 lists": lambda: parquet(v=lists(ROWS, pa.list_(pa.float64()))),
    "large lists": lambda: parquet(v=lists(ROWS, pa.large_list(pa.float32()))),
    "lists of one size": lambda: parquet(v=lists(ROWS, pa.list_(pa.float32(), 3))),
    "lists of halves": lambda: parquet(v=lists(ROWS.astype(np.float16), pa.list_(pa.float16()))),
    "integers": lambda: parquet(v=lists(ROWS.astype(int).tolist(), pa.list_(pa.int64()))),
    "columns": lambda: parquet(x=ROWS[:, 0], y=ROWS[:, 1], z=ROWS[:, 2].astype(int), name=IDS),
    "npy in catalog order": npy,
    "npy of halves": lambda: npy(ROWS.astype(np.float16)),
    "npy with ids": lambda: npy(ROWS[::-1], IDS[::-1]),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_unit_vectors(form, catalog):
    vectors, report = read_vectors(form(), catalog)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, UNIT, atol=1e-3)
    assert (report.rows, report.kept, report.notes) == (4, 4, ())


def test_ids_as_json_and_elsewhere(catalog):
    file = npy(ROWS[[2, 0]])
    Path("v.ids.json").write_text(json.dumps(["c", "a"]))
    np.testing.assert_allclose(read_vectors(file, catalog)[0][[0, 2]], UNIT[[0, 2]], atol=1e-3)
    Path("v.ids.json").rename("elsewhere.json")
    named = file.replace(ids="elsewhere.json")
    np.testing.assert_allclose(read_vectors(named, catalog)[0][[0, 2]], UNIT[[0, 2]], atol=1e-3)


def test_numbers_are_ids_too():
    catalog = Catalog.from_table(pa.table({"item_id": [10, 20], "title": ["x", "y"]}))
    vectors, _ = read_vectors(parquet(ids=[20, 10], v=lists(ROWS[:2])), catalog)
    np.testing.assert_allclose(vectors, UNIT[[1, 0]], atol=1e-3)
    np.save("n.npy", ROWS[:2])
    Path("n.ids.json").write_text("[20, 10]")
    vectors, _ = read_vectors(VectorFile(path="n.npy"), catalog)
    np.testing.assert_allclose(vectors, UNIT[[1, 0]], atol=1e-3)


def test_missing_items_get_zeros_and_unknown_ids_are_counted(catalog):
    file = parquet(ids=["c", "zz", "yy"], v=lists(ROWS[:3]))
    vectors, report = read_vectors(file, catalog)
    np.testing.assert_allclose(vectors[2], UNIT[0], atol=1e-3)
    assert not vectors[[0, 1, 3]].any()
    assert report.lines() == [
        "v.parquet: 3 rows read, 2 dropped (not in the catalog), 1 kept",
        "3 of 4 items have no vector in it: zeros there",
    ]


MARK = "\ufeff"
IDS_BESIDE = {
    "a mark at the start": ("v.ids.txt", MARK + "a\nb\nc\nd\n"),
    "a mark, no last line end": ("v.ids.txt", MARK + "a\nb\nc\nd"),
    "as Windows writes it": ("v.ids.txt", MARK + "a\r\nb\r\nc\r\nd\r\n"),
    "a mark before JSON": ("v.ids.json", MARK + '["a", "b", "c", "d"]'),
    "as a Mac wrote it": ("v.ids.txt", "a\rb\rc\rd\r"),
}


@pytest.mark.parametrize("kind", list(IDS_BESIDE))
def test_no_id_beside_vectors_is_lost(kind, catalog):
    name, text = IDS_BESIDE[kind]
    Path(name).write_bytes(text.encode())
    vectors, report = read_vectors(npy(), catalog)
    np.testing.assert_allclose(vectors, UNIT, atol=1e-3)
    assert (report.rows, report.kept, report.notes) == (4, 4, ())


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_an_id_may_hold_what_unicode_calls_a_line_end(mark):
    items = Catalog.from_table(pa.table({"item_id": ["a", f"b{mark}c", "d", "e"]}))
    Path("v.ids.txt").write_text(f"a\nb{mark}c\nd\ne\n", encoding="utf-8")
    assert read_vectors(npy(), items)[1].kept == 4


@pytest.mark.parametrize(
    "name", ["__index_level_0__", "__index_level_1__", "Unnamed: 0", "Unnamed: 0.1"]
)
def test_row_numbers_of_pandas_are_no_dimension(name, catalog):
    columns = {"x": ROWS[:, 0], "y": ROWS[:, 1], "z": ROWS[:, 2], name: [900, 901, 902, 903]}
    np.testing.assert_allclose(read_vectors(parquet(**columns), catalog)[0], UNIT, atol=1e-3)
    lists_beside = parquet(v=lists(ROWS), **{name: [[9]] * 4})
    np.testing.assert_allclose(read_vectors(lists_beside, catalog)[0], UNIT, atol=1e-3)
    pq.write_table(pa.table({name: IDS, "v": lists(ROWS)}), "v.parquet")
    named = VectorFile(path=Path("v.parquet"), item_id=name)
    assert read_vectors(named, catalog)[1].kept == 4


def test_vectors_in_a_folder_of_parts(catalog):
    for name, rows in (("0", slice(0, 2)), ("1", slice(2, 4))):
        Path("v").mkdir(exist_ok=True)
        parquet(f"v/{name}.parquet", ids=IDS[rows], v=lists(ROWS[rows]))
    Path("v/_SUCCESS").touch()
    for path in ("v", "v/*.parquet"):
        vectors, report = read_vectors(VectorFile(path=Path(path)), catalog)
        np.testing.assert_allclose(vectors, UNIT, atol=1e-3)
        assert report.rows == 4


def test_a_column_can_be_named(catalog):
    file = parquet(v=lists(ROWS), w=lists(ROWS[::-1])).replace(column="w")
    np.testing.assert_allclose(read_vectors(file, catalog)[0], UNIT[::-1], atol=1e-3)
    pq.write_table(pa.table({"asin": IDS, "v": lists(ROWS)}), "v.parquet")
    named = VectorFile(path="v.parquet", item_id="asin")
    np.testing.assert_allclose(read_vectors(named, catalog)[0], UNIT, atol=1e-3)


def test_rows_are_converted_chunk_by_chunk(catalog, monkeypatch):
    monkeypatch.setattr("genrec.data.vectors.CHUNK", 3)
    np.testing.assert_allclose(read_vectors(npy(), catalog)[0], UNIT, atol=1e-3)


def test_lengths_neither_overflow_nor_vanish():
    rows = np.array([[3e300, 4e300], [3e-300, 4e-300], [0, 0]])
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8], [0.6, 0.8], [0, 0]])


NAN = ROWS.copy()
NAN[2, 1] = np.nan
OBJECTS = np.array([[1, None]], dtype=object)
BAD = {
    "another format": (lambda: VectorFile(path="v.csv"), "v.csv: item vectors are read from"),
    "no npy": (lambda: npy().replace(path="w.npy"), "w.npy: no such file; did you mean 'v.npy'?"),
    "no parquet": (lambda: VectorFile(path="w.parquet"), "w.parquet: no such file"),
    "pickled objects": (lambda: npy(OBJECTS), "pickled objects are never loaded"),
    "not a npy": (lambda: Path("v.npy").write_text("x") and VectorFile(path="v.npy"), "v.npy: not"),
    "one vector": (lambda: npy(ROWS[0]), r"found float32 \(3,\)"),
    "text": (lambda: npy(np.array([["x"]])), "expected a table of numbers"),
    "no columns": (lambda: npy(ROWS[:, :0]), r"\(4, 0\)"),
    "fewer rows than items": (lambda: npy(ROWS[:3]), r"3 vectors for 4 items .* v\.ids\.txt"),
    "fewer rows than ids": (lambda: npy(ROWS, IDS[:3]), "4 vectors for 3 item ids beside it"),
    "an empty id": (lambda: npy(ROWS, ["a", "", "c", "d"]), r"v\.ids\.txt, row 2.*the id is empty"),
    "NaN": (lambda: npy(NAN), r"row 3, value 'c'.*NaN"),
    "NaN by id": (lambda: npy(NAN[::-1], IDS[::-1]), r"row 2, value 'c'.*NaN"),
    "NaN in a list": (lambda: parquet(v=lists(NAN)), r"row 3, value 'c'.*NaN"),
    "a gap in a list": (
        lambda: parquet(v=pa.array([[1.0, 2], [1, None], [3, 4], [5, 6]])),
        r"row 2, value 'b'.*a gap",
    ),
    "a gap in a column": (lambda: parquet(x=[1, 2, None, 4]), r"row 3, value 'c'.*a gap"),
    "infinity": (lambda: npy(ROWS / 0.0 * 0), "NaN, infinity"),
    "one id twice": (
        lambda: parquet(ids=["a", "b", "a", "d"], v=lists(ROWS)),
        r"row [13], value 'a': the item has another vector in row [13]",
    ),
    "no known id": (lambda: npy(ROWS[:2], ["x", "y"]), "none .* is in the catalog; .* 'x', 'y'"),
    "no id column": (
        lambda: parquet(v=lists(ROWS)).replace(item_id="itemid"),
        "column 'itemid': no such column; found 'item_id', 'v'; did you mean 'item_id'",
    ),
    "no such column": (lambda: parquet(v=lists(ROWS)).replace(column="w"), "column 'w'"),
    "two lists": (lambda: parquet(v=lists(ROWS), w=lists(ROWS)), "several columns of lists: v, w"),
    "no vectors": (lambda: parquet(name=IDS), "neither a column of lists nor numeric"),
    "lists of text": (lambda: parquet(v=[["x"]] * 4), "expected lists of numbers"),
    "a column of text": (lambda: parquet(v=IDS).replace(column="v"), "expected lists of numbers"),
    "lengths differ": (
        lambda: parquet(v=pa.array([[1.0, 2], [1, 2], [3], [4, 5]])),
        r"row 3, column 'v', value 'c': the vector has 1 numbers, that of row 1 has 2",
    ),
    "a missing list": (
        lambda: parquet(v=pa.array([[1.0, 2], None, [3, 4], [4, 5]])),
        r"row 2, column 'v', value 'b': the vector has 0",
    ),
    "empty lists": (lambda: parquet(v=pa.array([[]] * 4, pa.list_(pa.float32()))), "has 0 numbers"),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=BAD)
def test_is_refused(make, says, catalog):
    with pytest.raises(DataError, match=says):
        read_vectors(make(), catalog)


def test_options_are_settings():
    words = ["a.parquet", "b.npy:0.5", "odd:name.npy", "C:/x y.npy:2"]
    settings = load_settings(FitSettings, None, vectors_setting(words))
    assert [(file.path.as_posix(), file.weight) for file in settings.vectors] == [
        ("a.parquet", 1.0),
        ("b.npy", 0.5),
        ("odd:name.npy", 1.0),
        ("C:/x y.npy", 2.0),
    ]
    assert vectors_setting([]) == []


@pytest.mark.parametrize("weight", ["0", "-1", "inf"])
def test_weights_are_positive(weight):
    with pytest.raises(ConfigError, match=r"vectors\.0\.weight"):
        load_settings(FitSettings, None, vectors_setting([f"a.npy:{weight}"]))
