"""Quotes of text files: which pair, which are characters like others, which are refused, and by what name."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data.catalog import Catalog
from genrec.data.interactions import Interactions
from genrec.data.reading import quotes, text_stream
from genrec.data.reading.quotes import survey
from genrec.data.reading.readers import read_rows
from genrec.data.reading.text_format import TextFormat


def read(path, content, **format):
    path.write_text(content, encoding="utf-8", newline="")
    table, rows = read_rows(path, format=TextFormat(**format) if format else None)
    assert rows.in_file == table.num_rows
    return table.to_pylist(), rows.notes


# Written without quoting, one value in twenty or so holds a quote: search logs, MIND, LastFM, Wikipedia.
PLAIN = {
    "opens a field": '"black tent',
    "closes a field": 'tent 24"',
    "in a field": 'a 24" tent',
    "alone": '"',
    "two, opening": '""',
    "quoted word first": '"Great Performances" Cats',
    "quoted word last": 'Cats "Live"',
    "backslash": '"tent\\',
}


@pytest.mark.parametrize("ending", ["tsv", "dat"])
@pytest.mark.parametrize("kind", PLAIN)
def test_text_without_quoting_is_read_whole(tmp_path, kind, ending):
    mark, format = ("\t", {}) if ending == "tsv" else ("::", {"separator": "::"})
    titles = [PLAIN[kind] if n in (7, 9) else f"lamp {n}" for n in range(40)]
    lines = ["item_id", "title", "brand"], *([f"i{n}", t, "Acme"] for n, t in enumerate(titles))
    content = "".join(mark.join(line) + "\n" for line in lines)
    if kind == "alone":  # it could be one field over two lines, and is not guessed
        with pytest.raises(DataError, match=r"row 8, column 'title'.*whole rows.*--quoting none"):
            read(tmp_path / f"items.{ending}", content, **format)
        format["quoting"] = "none"
    rows, notes = read(tmp_path / f"items.{ending}", content, **format)
    assert [row["item_id"] for row in rows] == [f"i{n}" for n in range(40)]
    if kind not in ("two, opening",):
        assert [row["title"] for row in rows] == titles
    if kind in ("opens a field", "quoted word first", "backslash"):
        assert notes == ("quotes do not pair (row 8), so they are read as characters like others",)


def test_a_log_without_quoting_is_read_whole(tmp_path):
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{n}" for n in range(9)]}))
    words = ['"red lamp' if n % 50 == 7 else "lamp" for n in range(471)]
    lines = [f"u{n // 6}\t{word}\ti{n % 9}\t{1000 + n}\n" for n, word in enumerate(words)]
    (tmp_path / "log.tsv").write_text("user_id\tquery\titem_id\ttimestamp\n" + "".join(lines))
    log = Interactions.read(tmp_path / "log.tsv", catalog=catalog)
    assert len(log) == 471
    assert log.report.lines()[0].endswith("471 of 471 rows read, 471 kept")


# Fields of other programs that put a backslash before a quote.
SLASHED = {
    "spark": ['"Monitor 24\\""', 'Monitor 24"'],
    "spark, in the middle": ['"The \\"best\\" cup"', 'The "best" cup'],
    "spark, with a comma": ['"a \\"b\\", c"', 'a "b", c'],
    "spark, backslash last": ['"dir\\\\, \\"x\\""', 'dir\\, "x"'],
    "mysql, line break": ['"two\\\nlines \\"x\\""', 'two\nlines "x"'],
    "redshift, only quotes": ['"\\"\\""', '""'],
    "other letters after it": ['"C:\\new \\"x\\""', 'C:\\new "x"'],
}


@pytest.mark.parametrize("quoting", ["auto", "backslash"])
@pytest.mark.parametrize("kind", SLASHED)
def test_quotes_with_backslashes_are_recognised(tmp_path, kind, quoting):
    written, title = SLASHED[kind]
    content = f"item_id,title,brand\n1,Cup,Acme\n2,{written},Bolt\n3,Mat,Acme\n4,{written},Core\n"
    rows, notes = read(tmp_path / "items.csv", content, quoting=quoting)
    assert [row["title"] for row in rows] == ["Cup", title, "Mat", title]
    assert [row["brand"] for row in rows] == ["Acme", "Bolt", "Acme", "Core"]
    if quoting == "auto":
        assert "with a backslash before them" in notes[0]


# What cannot be known is refused; each message names an option, and the option reads it.
REFUSED = {
    "a stray quote swallows rows": (
        '1,"Monitor 24,Acme\n2,Cup,Acme\n3,TV 55",Bolt\n',
        r"row 1, column 'title', value '\"Monitor.*whole rows.*--quoting none",
        "none",
        ['"Monitor 24', "Cup", 'TV 55"'],
    ),
    "or one value with line breaks": (
        '1,"Monitor 24,Acme\n2,Cup,Acme\n3,TV 55",Bolt\n',
        r"if it is one value, say --quoting rfc4180",
        "rfc4180",
        ["Monitor 24,Acme\n2,Cup,Acme\n3,TV 55"],
    ),
    "two rows in one": (
        '1,Cup,Acme\n2,"Mat,Acme\n3,Rope",Bolt\n',
        r"row 2, column 'title', value '\"Mat.*whole rows",
        "none",
        ["Cup", '"Mat', 'Rope"'],
    ),
    "a quote in a quoted field": (
        '1,Cup,Acme\n2,"The "best" cup",Bolt\n',
        r"row 2, column 'title', value '\"The.*neither doubled nor at its end.*--quoting none",
        "none",
        ["Cup", '"The "best" cup"'],
    ),
    "a quote is never closed": (
        '1,Cup,Acme\n2,"Mat,Bolt\n3,Rope,Bolt\n',
        r"row 2, column 'title', value '\"Mat.*never closed.*--quoting none",
        "none",
        ["Cup", '"Mat', "Rope"],
    ),
    "backslashes either way": (
        '1,"a \\\\, b",Acme\n2,Cup,Bolt\n',
        r"escape what follows.*--quoting rfc4180.*--quoting backslash",
        "backslash",
        ["a \\, b", "Cup"],
    ),
    "backslashes either way, plain": (
        '1,"a \\\\, b",Acme\n2,Cup,Bolt\n',
        r"characters like others.*--quoting rfc4180",
        "rfc4180",
        ["a \\\\, b", "Cup"],
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_known_is_refused_and_the_option_reads_it(tmp_path, kind):
    rows, message, quoting, titles = REFUSED[kind]
    content = "item_id,title,brand\n" + rows
    with pytest.raises(DataError, match=message):
        read(tmp_path / "items.csv", content)
    found, _ = read(tmp_path / "items.csv", content, quoting=quoting)
    assert [row["title"] for row in found] == titles


@pytest.mark.parametrize(
    "title",
    [
        '"Tent, ""large"""',
        '"two\nlines"',
        '"three\nlines, one\nof them, with, commas"',
        'a 24" screen',
        '""',
        '"C:\\new, x"',
        '"{""a"": ""x\\\\y""}"',
    ],
)
def test_what_rfc_4180_has_is_read_as_ever(tmp_path, title):
    content = f"item_id,title,brand\n1,{title},Acme\n2,Cup,Bolt\n"
    rows, notes = read(tmp_path / "items.csv", content)
    own = title[1:-1].replace('""', '"') if title.startswith('"') else title
    assert [row["title"] for row in rows] == [own, "Cup"]
    breaks = title.count("\n")
    assert notes == ((f"{breaks} line breaks stand within quoted fields",) if breaks else ())


@pytest.mark.parametrize("title", ["Cup", '"Cup, red"'])
def test_two_ways_to_end_a_line_are_refused_and_one_is_read(tmp_path, title):
    content = f"item_id,title\n1,{title}\r2,Mat\n"
    with pytest.raises(DataError, match="some lines end in LF and some in a carriage return alone"):
        read(tmp_path / "items.csv", content)
    for ending in ("\n", "\r", "\r\n"):
        text = f"item_id,title\n\n1,{title}\n2,Mat".replace("\n", ending)
        assert [row["item_id"] for row in read(tmp_path / "items.csv", text)[0]] == ["1", "2"]


@given(st.lists(st.sampled_from(["a", '"', '""', ",", "\n", "\r\n", "\\", '\\"']), max_size=24))
def test_a_file_in_small_blocks_is_the_same_file(pieces):
    data = "".join(pieces).encode()
    for quoting in ("rfc4180", "backslash", "none"):
        parts = (data[i : i + 3] for i in range(0, len(data), 3))
        whole, small = survey(iter([data]), b",", quoting), survey(parts, b",", quoting)
        if whole.problem is None:
            assert small == whole
            text = quotes.unescaped(iter([data]), b",")
            again = quotes.unescaped((data[i : i + 3] for i in range(0, len(data), 3)), b",")
            if quoting == "backslash":
                assert b"".join(again) == b"".join(text)
        else:
            assert small.problem is not None
            assert (small.problem.kind, small.problem.row) == (
                whole.problem.kind,
                whole.problem.row,
            )


@given(st.lists(st.sampled_from(["a", '"', '""', ",", "\n", "\\"]), max_size=24))
def test_rows_are_those_of_an_obvious_reader(pieces):
    text = "".join(pieces)
    found = survey(iter([text.encode()]), b",", "rfc4180")
    rows, breaks, wrong = slowly(text)
    assert (found.problem is not None) == wrong
    if not wrong:
        assert (found.rows, found.breaks) == (rows, breaks)


def slowly(text):
    """Rows, line breaks in quotes, and whether a quote is out of place; letter by letter."""
    rows = breaks = start = i = 0
    inside, wrong, fresh = False, False, True
    while i < len(text):
        letter = text[i]
        if inside:
            if letter == '"':
                if text[i + 1 : i + 2] == '"':
                    i += 1
                elif text[i + 1 : i + 2] in ("", ",", "\n"):
                    inside = False
                else:
                    return 0, 0, True
            breaks += letter == "\n" and inside
        elif letter == '"' and fresh:
            inside = True
        elif letter == "\n":
            rows += i > start
            start = i + 1
        fresh = not inside and letter in ",\n"
        i += 1
    rows += len(text) > start
    return rows, breaks, wrong or inside


def test_a_row_without_end_is_refused_without_reading_on(tmp_path, monkeypatch):
    monkeypatch.setattr(quotes, "LONGEST", 1000)
    monkeypatch.setattr(text_stream, "BLOCK_BYTES", 256)
    content = 'item_id,title\n1,Cup\n2,"Mat\n' + "3,Rope\n" * 1000
    with pytest.raises(DataError, match=r"row 2, column 'title'.*never closed"):
        read(tmp_path / "items.csv", content)
