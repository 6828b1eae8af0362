"""Errors that a user can meet: each says what was given, what is allowed and what to do."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ConfigError",
    "DataError",
    "GenrecError",
    "InputError",
    "MissingExtraError",
    "RecommenderError",
]


class GenrecError(Exception):
    """Base of every error that genrec raises on purpose."""


class InputError(GenrecError, ValueError):
    """The caller's input or options are at fault; the command line exits with status 2."""


class ConfigError(InputError):
    """A setting is unknown or has a value that is not allowed."""


class DataError(InputError):
    """A catalog or log cannot be used as it is; names the file, row, column and value where known.

    Args:
        message: what is wrong and what to do.
        source: the file (or a word for an in-memory table) that was being read.
        row: 1-based number of the data row in the source, the header not counted.
        column: the column's name in the source.
        value: the offending value.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
        value: object = None,
    ) -> None:
        self.source, self.row, self.column, self.value = source, row, column, value
        place = [str(source)] if source is not None else []
        place += [f"row {row}"] if row is not None else []
        place += [f"column {column!r}"] if column is not None else []
        place += [f"value {value!r}"] if value is not None else []
        super().__init__(f"{', '.join(place)}: {message}" if place else message)


class RecommenderError(InputError):
    """A recommender folder is missing, incomplete, altered or of another format version."""


class MissingExtraError(InputError):
    """An optional dependency is not installed; the message holds the pip command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: "
            f"pip install 'genrec[{extra}]'"
        )
