"""Quotes of delimited text: where they pair, what they enclose, and how many rows that makes.

A quote opens a field only at its start, and closes it only at its end; a quote within a field that none
opened is a character like others. The bytes are looked at in blocks, by NumPy: only a block whose quotes
are not simply taken in turns is walked quote by quote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.reading.text_stream import count_rows, whole_lines

__all__ = ["Problem", "Survey", "survey", "unescaped"]

_QUOTE, _LF, _CR, _BACKSLASH = b'"\n\r\\'
LONGEST = 8 << 20
"""Bytes of a row beyond which its quoted field counts as never closed."""
_Bytes = NDArray[np.uint8]
_Places = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row.

    Attributes:
        kind: ``stray``, a quote within a quoted field is neither doubled nor at its end; ``open``, a
            quoted field is never closed; ``swallowed``, the line breaks in a quoted field part what
            look like rows; ``ragged``, a row has more or fewer fields than the first.
        row: its number, the first row of the file being 0.
        field: number of the field, from 0; of a ragged row, how many it has.
        value: what stands there, from the opening quote on.
    """

    kind: str
    row: int
    field: int
    value: str


@dataclass(frozen=True)
class Survey:
    """What a whole file holds under one reading of its quotes.

    Attributes:
        rows: rows that are not empty, a header row among them.
        breaks: line breaks within quoted fields.
        problem: the first quote that stands where none can; reading stops there.
        swallowed: the first row that looks like several.
        ragged: the first row of another number of fields.
        fields: of the first row.
        doubled: whether a quote is doubled in a quoted field, no backslash before it.
        slashes: whether a backslash in a quoted field stands before what a backslash may escape.
        others: whether one stands there before anything else.
        ends: what ends its rows, of ``LF`` (also after a carriage return) and ``CR``.
    """

    rows: int = 0
    breaks: int = 0
    problem: Problem | None = None
    swallowed: Problem | None = None
    ragged: Problem | None = None
    fields: int = 0
    doubled: bool = False
    slashes: bool = False
    others: bool = False
    ends: frozenset[str] = frozenset()

    @property
    def clean(self) -> bool:
        """Whether the quotes pair and every row has as many fields as the first."""
        return self.problem is None and self.ragged is None


def survey(
    blocks: Iterator[bytes],
    separator: bytes,
    quoting: str,
    *,
    counted: bool = True,
    each: bool = False,
) -> Survey:
    """Look through a file.

    Args:
        blocks: its bytes.
        separator: one byte.
        quoting: ``rfc4180``, ``backslash`` or ``none``.
        counted: whether fields are counted, so that a ragged row is found.
        each: whether they are in each row, or in all rows of a block together where it has no quote.
    """
    found, fields, rest = Survey(), -1, b""
    lines = whole_lines(blocks)
    following = next(lines, b"")
    while following:
        data = rest + following
        following = next(lines, b"")
        if fields > 0 and not each and not rest and (quoting == "none" or b'"' not in data):
            rows, ends = count_rows(data)
            if not counted or data.count(separator) == rows * (fields - 1):
                found = replace(found, rows=found.rows + rows, ends=found.ends | ends)
                continue
        block = _Block(data, separator[0], quoting, last=not following)
        if fields < 0 and len(block.ends):
            fields = block.fields_of_first()
        found = block.added_to(found, fields, counted)
        if found.problem:
            return found
        rest = data[block.taken :]
        if following and len(rest) > LONGEST:
            return replace(found, problem=block.never_closed(found.rows))
    return found


def unescaped(blocks: Iterator[bytes], separator: bytes) -> Iterator[bytes]:
    """Rewrite quoted fields with backslashes as RFC 4180 has them.

    In a quoted field, a backslash before a quote, a backslash, a separator or a line break goes, and
    a quote is doubled; any other backslash, and one in a field without quotes, stays.
    """
    rest = b""
    lines = whole_lines(blocks)
    following = next(lines, b"")
    while following:
        data = rest + following
        following = next(lines, b"")
        block = _Block(data, separator[0], "backslash", last=not following)
        taken = block.taken if following else len(data)
        yield block.rewritten(taken)
        rest = data[taken:]


class _Block:
    """Whole lines, the first of which begins a row.

    Attributes:
        ends: where rows end, `(R,)`: the last byte of each row's line end, or the block's end.
        taken: bytes up to the end of the last whole row.
    """

    def __init__(self, data: bytes, separator: int, quoting: str, last: bool) -> None:
        self._data, self._separator, self._quoting = data, separator, quoting
        self._bytes: _Bytes = np.frombuffer(data, np.uint8)
        self._stray: int | None = None  # where the field opens that holds it
        self._edges: _Places = np.zeros(0, np.int64)
        self._doubled = False
        if quoting != "none":
            self._edges = self._pairs()
        ends = _line_ends(self._bytes, data)
        if last and len(data) and (not len(ends) or ends[-1] != len(data) - 1):
            ends = np.append(ends, len(data))  # one past the end: there is no line end
        inside = self._inside(ends)
        self._open = len(self._edges) % 2 == 1
        self._line_ends, self._line_inside = ends, inside
        self.ends: _Places = ends[~inside]
        self.taken = int(min(self.ends[-1] + 1, len(data))) if len(self.ends) else 0
        self._last = last

    def fields_of_first(self) -> int:
        """Return the number of fields of the first row that is not empty."""
        counts, full = self._separators(self.ends), self._full()
        return int(counts[np.argmax(full)]) + 1 if full.any() else -1

    def added_to(self, found: Survey, fields: int, counted: bool) -> Survey:
        """Return the survey with this block's rows."""
        full = self._full()
        before = found.rows
        if counted and found.ragged is None:
            found = replace(found, fields=fields, ragged=self._ragged(fields, before, full))
        if found.swallowed is None and self._line_inside.any():
            found = replace(found, swallowed=self._swallowed(fields, before, full))
        taken = self._line_ends < (self.ends[-1] if len(self.ends) else 0)
        breaks = int((self._line_inside & taken).sum())
        marks = self._bytes[self.ends[self.ends < len(self._bytes)]]
        ends = {word for word, mark in (("LF", _LF), ("CR", _CR)) if (marks == mark).any()}
        found = replace(
            found,
            rows=before + int(full.sum()),
            breaks=found.breaks + breaks,
            ends=found.ends | ends,
        )
        if self._quoting == "rfc4180" and (self._doubled or b"\\" in self._data):
            found = self._with_evidence(found)
        if self._stray is not None:
            return replace(found, problem=self._at("stray", before, full, self._stray))
        if self._open and self._last:
            return replace(found, problem=self._at("open", before, full, int(self._edges[-1])))
        return found

    def never_closed(self, before: int) -> Problem:
        """Describe the row that is not whole at the block's end."""
        place = int(self._edges[-1]) if self._open else self.taken
        return Problem(
            "open", before, self._field(self.taken, place), self._text(place, place + 60)
        )

    def rewritten(self, taken: int) -> bytes:
        """Return the first `taken` bytes with doubled quotes in place of backslashes."""
        data = self._bytes[:taken]
        slashes = self._slashes(taken)
        if not len(slashes):
            return self._data[:taken]
        following = data[slashes + 1]
        changed = data.copy()
        changed[slashes[following == _QUOTE]] = _QUOTE
        others = np.isin(following, [_BACKSLASH, _LF, _CR, self._separator])
        return bytes(np.delete(changed, slashes[others]).tobytes())

    def _slashes(self, taken: int) -> _Places:
        """Backslashes in quoted fields, without those that another one escapes."""
        slashes = np.flatnonzero(self._bytes[:taken] == _BACKSLASH)
        if not len(slashes):
            return slashes
        slashes = slashes[self._inside(slashes) & (slashes + 1 < taken)]
        # of a run of backslashes, the first, third … escape what follows them
        run = np.cumsum(np.diff(slashes, prepend=-2) != 1)
        first = slashes[np.searchsorted(run, run)]
        return np.asarray(slashes[(slashes - first) % 2 == 0])

    def _with_evidence(self, found: Survey) -> Survey:
        """Add what tells doubled quotes from backslashes."""
        following = self._bytes[self._slashes(len(self._data)) + 1]
        meant = np.isin(following, [_QUOTE, _BACKSLASH, _LF, _CR, self._separator])
        return replace(
            found,
            doubled=found.doubled or self._doubled,
            slashes=found.slashes or bool(meant.any()),
            others=found.others or not meant.all(),
        )

    def _pairs(self) -> _Places:
        """Return where quoted fields open and close, in turns; sets `_stray` where they cannot."""
        data = self._bytes
        quotes = np.flatnonzero(data == _QUOTE)
        if self._quoting == "backslash" and len(quotes):
            quotes = quotes[~_escaped(data, quotes)]
        if not len(quotes):
            return quotes
        before = _is_edge(data, quotes - 1, self._separator)
        after = _is_edge(data, quotes + 1, self._separator)
        doubled = np.append(np.diff(quotes) == 1, False)
        again = np.concatenate([[False], doubled[:-1]])
        bare = data[np.maximum(quotes - 1, 0)] != _BACKSLASH
        opens, closes = slice(0, None, 2), slice(1, None, 2)
        if np.all(before[opens] | again[opens]) and np.all(after[closes] | doubled[closes]):
            plain = np.ones(len(quotes), bool)
            plain[opens], plain[closes] = ~again[opens], ~doubled[closes]
            self._doubled = bool((doubled & bare)[closes].any())
            return quotes[plain]
        return self._walk(quotes, before.tolist(), after.tolist(), doubled.tolist())

    def _walk(
        self, quotes: _Places, before: list[bool], after: list[bool], doubled: list[bool]
    ) -> _Places:
        edges: list[int] = []
        inside, i = False, 0
        while i < len(quotes):
            if inside and doubled[i]:
                self._doubled |= self._data[quotes[i] - 1] != _BACKSLASH
                i += 1
            elif inside and not after[i]:
                self._stray = int(quotes[edges.pop()])
                break
            elif inside or before[i]:
                edges.append(i)
                inside = not inside
            i += 1
        return quotes[edges]

    def _inside(self, places: _Places) -> NDArray[np.bool_]:
        return np.asarray(np.searchsorted(self._edges, places) % 2 == 1)

    def _full(self) -> NDArray[np.bool_]:
        """Which rows are not empty."""
        return _is_full(self._bytes, self.ends)

    def _separators(self, ends: _Places) -> _Places:
        """Separators outside quotes of each row, `(R,)`."""
        places = np.flatnonzero(self._bytes == self._separator)
        if len(self._edges):
            places = places[~self._inside(places)]
        return np.diff(np.searchsorted(places, ends), prepend=0)

    def _ragged(self, fields: int, before: int, full: NDArray[np.bool_]) -> Problem | None:
        counts = self._separators(self.ends) + 1
        wrong = np.flatnonzero(full & (counts != fields))
        if not len(wrong):
            return None
        row = int(wrong[0])
        start = int(self.ends[row - 1]) + 1 if row else 0
        value = self._text(start, int(self.ends[row]))
        return Problem("ragged", before + int(full[:row].sum()), int(counts[row]), value)

    def _swallowed(self, fields: int, before: int, full: NDArray[np.bool_]) -> Problem | None:
        """The first row of several lines that each have, quotes aside, as many fields as a row."""
        if not len(self.ends):
            return None
        ends = self._line_ends[self._line_ends <= self.ends[-1]]
        places = np.flatnonzero(self._bytes == self._separator)
        alike = np.diff(np.searchsorted(places, ends), prepend=0) == fields - 1
        last = np.searchsorted(ends, self.ends)
        first = np.append(0, last[:-1] + 1)
        lines = last - first + 1
        known = np.append(0, np.cumsum(alike))
        inner = known[last] - known[first + 1] == lines - 2
        outer = alike[first].astype(int) + alike[last]
        several = (lines > 1) & inner & np.where(lines == 2, outer == 2, outer > 0)
        if fields < 2 or not several.any():
            return None
        broken = ends[first[int(np.argmax(several))]]
        opened = int(self._edges[np.searchsorted(self._edges, broken) - 1])
        return self._at("swallowed", before, full, opened)

    def _at(self, kind: str, before: int, full: NDArray[np.bool_], opened: int) -> Problem:
        row = int(np.searchsorted(self.ends, opened))
        start = int(self.ends[row - 1]) + 1 if row else 0
        number = before + int(full[:row].sum())
        return Problem(kind, number, self._field(start, opened), self._text(opened, opened + 60))

    def _field(self, start: int, place: int) -> int:
        places = np.flatnonzero(self._bytes[start:place] == self._separator) + start
        return int((~self._inside(places)).sum())

    def _text(self, start: int, end: int) -> str:
        return self._data[start:end][:80].decode("utf-8", errors="replace").rstrip("\r\n")


def _line_ends(data: _Bytes, raw: bytes) -> _Places:
    ends = np.flatnonzero(data == _LF)
    if b"\r" in raw:
        lone = np.flatnonzero(data == _CR)
        last = lone + 1 == len(data)
        lone = lone[last | (_at(data, lone + 1) != _LF)]
        ends = np.sort(np.concatenate([ends, lone])) if len(lone) else ends
    return ends


def _is_full(data: _Bytes, ends: _Places) -> NDArray[np.bool_]:
    lengths = np.diff(ends, prepend=-1) - 1
    carriage = (_at(data, ends) == _LF) & (lengths > 0) & (_at(data, ends - 1) == _CR)
    return np.asarray(lengths > carriage)


def _is_edge(data: _Bytes, places: _Places, separator: int) -> NDArray[np.bool_]:
    """Whether a field begins or ends at a place: a separator, a line end or the end of the data."""
    edges = np.zeros(256, bool)
    edges[[separator, _LF, _CR]] = True
    return np.asarray(edges[_at(data, places)])


def _at(data: _Bytes, places: _Places) -> _Bytes:
    """The bytes at ascending places, of which the first and the last may lie beside the data: LF there."""
    if not len(places):
        return data[:0]
    inside = slice(int(places[0] < 0), len(places) - int(places[-1] >= len(data)))
    found = np.full(len(places), _LF, np.uint8)
    found[inside] = data[places[inside]]
    return found


def _escaped(data: _Bytes, quotes: _Places) -> NDArray[Any]:
    """Whether an odd number of backslashes stands before a quote."""
    if not len(slashes := np.flatnonzero(data == _BACKSLASH)):
        return np.zeros(len(quotes), bool)
    starts = slashes[np.diff(slashes, prepend=-2) != 1]
    length = np.zeros(len(quotes), np.int64)
    behind = (quotes > 0) & (data[np.maximum(quotes - 1, 0)] == _BACKSLASH)
    run = starts[np.searchsorted(starts, quotes[behind]) - 1]
    length[behind] = quotes[behind] - run
    return np.asarray(length % 2 == 1)
