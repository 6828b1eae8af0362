"""Layout of a text file: which reading of its quotes holds for all of it, and how many rows it has.

A file without a quote is only counted. Another is read through once under each reading that is in
question; what its bytes do not decide is refused, with the option that does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from genrec.common.errors import DataError
from genrec.data.reading.quotes import Problem, Survey, survey
from genrec.data.reading.text_format import TextFormat
from genrec.data.reading.text_stream import UNIT, count_rows, text_blocks, whole_lines

__all__ = ["Layout", "find_layout"]

_NAMED = "--quoting {0} (format=TextFormat(quoting={0!r}) in Python)"


@dataclass(frozen=True)
class Layout:
    """What was found out of a file.

    Attributes:
        quoting: ``rfc4180``, ``backslash`` or ``none``.
        rows: rows that are not empty, the header's among them.
        breaks: line breaks within quoted fields.
        notes: what the report should say of it.
    """

    quoting: str
    rows: int
    breaks: int = 0
    notes: tuple[str, ...] = ()


def find_layout(path: Path, format: TextFormat, separator: str) -> Layout:
    """Read a file through and say how it is to be read.

    Args:
        path: the file.
        format: what its user says of it.
        separator: what stands between fields.

    Raises:
        DataError: its quotes pair in no way, in more than one, or so that they seem to swallow rows;
            or the file is damaged.
    """
    try:
        count = _Count()
        for block in whole_lines(text_blocks(path, format, separator)):
            count.add(block)
            if count.escaped:
                break
        if not count.quoted:
            return _with_one_ending(path, Layout("none", count.rows), count.ends)
        mark = (separator if len(separator.encode()) == 1 else UNIT).encode()

        def read(quoting: str) -> Survey:
            counted = count.escaped or separator not in ",;"
            return survey(text_blocks(path, format, separator), mark, quoting, counted=counted)

        if format.quoting != "auto":
            return _as_told(path, format, separator, read)
        return _guessed(path, format, separator, read, count.escaped)
    except OSError as error:
        raise DataError(f"the file is damaged and cannot be read ({error})", source=path) from None


def _as_told(
    path: Path, format: TextFormat, separator: str, read: Callable[[str], Survey]
) -> Layout:
    found = read(format.quoting)
    if found.problem:
        raise _refusal(path, format, separator, found.problem)
    return _layout(path, format.quoting, found)


def _guessed(
    path: Path,
    format: TextFormat,
    separator: str,
    read: Callable[[str], Survey],
    escaped: bool,
) -> Layout:
    doubled = read("rfc4180")
    slashed = read("backslash") if escaped else doubled
    if slashed.clean and not doubled.clean:
        if slashed.swallowed:
            raise _refusal(path, format, separator, slashed.swallowed)
        note = "quotes with a backslash before them stand in quoted fields, as Spark writes them"
        return _layout(path, "backslash", slashed, note)
    if slashed.clean and doubled.slashes and not (doubled.doubled or doubled.others):
        raise DataError(
            "backslashes in its quoted fields can be characters like others, or escape what follows; "
            f"say which: {_NAMED.format('rfc4180')} or --quoting backslash",
            source=path,
        )
    if doubled.problem is None and (doubled.ragged is None or separator in ",;"):
        if doubled.swallowed:
            raise _refusal(path, format, separator, doubled.swallowed)
        return _layout(path, "rfc4180", doubled)
    if separator not in ",;" and (plain := read("none")).clean:
        problem = doubled.problem or doubled.ragged
        assert problem is not None
        row = problem.row + (format.columns is not None)
        note = f"quotes do not pair (row {row}), so they are read as characters like others"
        return _layout(path, "none", plain, note)
    if doubled.problem is None:
        return _layout(path, "rfc4180", doubled)
    raise _refusal(path, format, separator, doubled.problem)


def _layout(path: Path, quoting: str, found: Survey, *notes: str) -> Layout:
    if found.breaks:
        notes += (f"{found.breaks:,} line breaks stand within quoted fields",)
    layout = Layout(quoting, found.rows, found.breaks, notes)
    return _with_one_ending(path, layout, found.ends)


def _refusal(path: Path, format: TextFormat, separator: str, problem: Problem) -> DataError:
    none = _NAMED.format("none")
    if problem.kind == "swallowed":
        message = (
            "a quote opens here that takes in what look like whole rows; if they are, read quotes as "
            f"characters like others with {none}; if it is one value, say --quoting rfc4180"
        )
    elif problem.kind == "open":
        message = (
            'a quoted field is never closed: it swallows the rest of the file; close it with ", or '
            f"read quotes as characters like others with {none}"
        )
    else:
        message = (
            "a quote within the quoted field is neither doubled nor at its end; double it, or say how "
            f"the file is written: --quoting backslash, or {none}, where quotes mean nothing"
        )
    row = problem.row + (format.columns is not None)
    names = _names(path, format, separator)
    column = names[problem.field] if row and problem.field < len(names) else None
    value = problem.value.replace(UNIT, separator)
    return DataError(message, source=path, row=row or None, column=column, value=value)


def _names(path: Path, format: TextFormat, separator: str) -> list[str]:
    """Names of the columns, for a message: the header's fields as far as they are plain."""
    if format.columns is not None:
        return list(format.columns)
    mark = separator if len(separator.encode()) == 1 else UNIT
    for block in whole_lines(text_blocks(path, format, separator)):
        first = block.lstrip(b"\r\n")[: 1 << 16].splitlines()
        if first:
            text = first[0].decode("utf-8", errors="replace")
            return [name.strip('"') for name in text.split(mark)]
    return []


class _Count:
    """What can be told of a file without parting its fields.

    Attributes:
        quoted: whether a quote occurs.
        escaped: whether a backslash stands before one.
        rows: lines that are not empty, up to the first quote.
        ends: what ends lines, of ``LF`` and ``CR``, up to the first quote.
    """

    def __init__(self) -> None:
        self.quoted = self.escaped = False
        self.rows = 0
        self.ends: set[str] = set()

    def add(self, block: bytes) -> None:
        """Take the next whole lines."""
        self.quoted = self.quoted or b'"' in block
        if self.quoted:
            # one byte is found faster than two
            self.escaped = b"\\" in block and b'\\"' in block
            return
        rows, ends = count_rows(block)
        self.rows += rows
        self.ends |= ends


def _with_one_ending(path: Path, layout: Layout, ends: Collection[str]) -> Layout:
    if len(ends) > 1:
        raise DataError(
            "some lines end in LF and some in a carriage return alone, so that either may part rows; "
            "write one of them, or quote fields that hold the other",
            source=path,
        )
    return layout
