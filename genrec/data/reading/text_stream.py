"""Streams of text: a file's bytes as UTF-8 with separators of one byte, in blocks or as a file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genrec.common.errors import DataError
from genrec.data.reading.text_format import TextFormat

__all__ = [
    "BLOCK_BYTES",
    "UNIT",
    "BlockFile",
    "count_rows",
    "open_stream",
    "text_blocks",
    "whole_lines",
]

BLOCK_BYTES = 8 << 20
UNIT = "\x1f"
"""What stands for a separator of several bytes: the character made for it, which nobody types."""
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_BOM = codecs.BOM_UTF8


def open_stream(path: Path) -> Any:
    """Open a file for reading, decompressing by its last extension."""
    import pyarrow as pa

    return pa.input_stream(str(path), compression=_COMPRESSIONS.get(path.suffix.lower()))


class BlockFile:
    """A file to read from blocks of bytes, as `pyarrow` takes it."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest, self.closed = blocks, memoryview(b""), False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end."""
        if size < 0:
            return bytes(self._rest) + b"".join(self._blocks)
        while not len(self._rest):
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = memoryview(block)
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def __enter__(self) -> BlockFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the blocks."""
        self.closed = True


def text_blocks(path: Path, format: TextFormat, separator: str) -> Iterator[bytes]:
    """Return the file as blocks of UTF-8, a byte order mark left out.

    A separator of several bytes becomes `UNIT`.

    Raises:
        DataError: the bytes are not of the encoding, or `UNIT` stands in the file and a separator
            needs it.
    """
    blocks = _raw(path) if format.plain else _decoded(path, format.encoding)
    blocks = _without_mark(blocks)
    mark = separator.encode()
    return blocks if len(mark) == 1 else _with_unit(path, blocks, mark)


def whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut blocks after ends of lines; the last may lack one."""
    waiting: list[bytes] = []
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if not cut and b"\r" in block[:-1]:
            cut = block.rfind(b"\r", 0, len(block) - 1) + 1
        if cut:
            yield b"".join([*waiting, block[:cut]]) if waiting else block[:cut]
            waiting = [block[cut:]] if cut < len(block) else []
        elif block:
            waiting.append(block)
    if waiting:
        yield b"".join(waiting)


def count_rows(lines: bytes) -> tuple[int, set[str]]:
    """Count whole lines that are not empty, of one at least; no quoted field goes over several.

    Returns:
        How many there are, and what ends them: ``LF`` (also after a carriage return) and ``CR``.
    """
    ends: set[str] = set()
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n")
        ends |= {"LF"} if b"\n" in lines else set()
        ends |= {"CR"} if b"\r" in lines else set()
        lines = lines.replace(b"\r", b"\n")
    elif lines.endswith(b"\n"):
        ends.add("LF")
    breaks = np.frombuffer(lines, np.uint8) == 10
    empty = np.count_nonzero(breaks[1:] & breaks[:-1]) + bool(breaks[0])
    return int(np.count_nonzero(breaks) - empty + (not breaks[-1])), ends


def _raw(path: Path) -> Iterator[bytes]:
    with open_stream(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            yield block


def _decoded(path: Path, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in _raw(path):
            yield decoder.decode(block).encode("utf-8")
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeError as error:
        message = f"not {encoding} text ({error}); name its encoding with --encoding"
        raise DataError(f"{message} (format= in Python)", source=path) from None


def _without_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    first = b""
    for block in blocks:  # a block of a stream may be shorter than the mark
        first += block
        if len(first) >= len(_BOM):
            break
    yield first.removeprefix(_BOM)
    yield from blocks


def _with_unit(path: Path, blocks: Iterator[bytes], mark: bytes) -> Iterator[bytes]:
    unit = UNIT.encode()
    for block in whole_lines(blocks):
        if unit in block:
            message = "the file holds the character U+001F, so a separator of one byte is needed"
            raise DataError(message, source=path)
        yield block.replace(mark, unit)
