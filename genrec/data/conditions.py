"""Conditions on items' attributes, such as ``price<20`` or ``brand=Acme|Other``: the words of ``--where``.

A condition is words: what they mean is decided by the catalog's column (`genrec.data.attributes`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from genrec.common.errors import InputError

__all__ = ["OPERATORS", "Condition"]

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")

_WORDS = re.compile(r"(?P<column>[^<>=!]+)(?P<operator>[<>=!]+)(?P<values>.*)", re.DOTALL)
_EXAMPLE = "write COLUMN OPERATOR VALUE, such as 'price<20' or 'brand=Acme|Other'"


@dataclass(frozen=True)
class Condition:
    """One condition on one attribute of an item.

    An item with a list (such as categories) meets ``=``, ``<``, ``<=``, ``>`` and ``>=`` if any element
    does, and ``!=`` if no element equals. An item whose attribute is missing meets none of them.

    Attributes:
        column: of the catalog.
        operator: one of `OPERATORS`.
        values: as text. ``=`` asks for any of them, ``!=`` for none of them; the others compare with one.

    Raises:
        InputError: the column is empty, the operator unknown, or there are no or too many values.
    """

    column: str
    operator: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        values: object = self.values
        if not (isinstance(values, tuple) and all(isinstance(value, str) for value in values)):
            raise InputError(f"values must be a tuple of texts, such as ('20',), got {values!r}")
        if not self.column.strip():
            raise InputError(f"condition {str(self)!r} names no column: {_EXAMPLE}")
        if self.operator not in OPERATORS:
            known = " ".join(OPERATORS)
            raise InputError(f"condition {str(self)!r}: no operator {self.operator!r}, use {known}")
        if not self.values or not all(map(str.strip, self.values)):
            raise InputError(
                f"condition {str(self)!r} has an empty value: {_EXAMPLE}; "
                "items whose attribute is missing meet no condition"
            )
        if len(self.values) > 1 and self.operator not in ("=", "!="):
            raise InputError(
                f"condition {str(self)!r}: {self.operator!r} takes one value, only = and != several"
            )

    @classmethod
    def parse(cls, words: str) -> Self:
        """Read ``COLUMN OPERATOR VALUE``, with or without spaces, several values separated by ``|``.

        A column or value with one of these signs in its own name needs the constructor.

        Raises:
            InputError: the words are not a condition.
        """
        parts = _WORDS.fullmatch(words)
        if parts is None:
            known = " ".join(OPERATORS)
            message = f"{words!r} is not a condition: {_EXAMPLE}, in quotes on a command line"
            raise InputError(f"{message}; operators: {known}")
        values = tuple(value.strip() for value in parts["values"].split("|"))
        return cls(parts["column"].strip(), parts["operator"], values)

    @classmethod
    def of(cls, condition: str | Condition) -> Condition:
        """Return the condition itself, or what its words say.

        Raises:
            InputError: the words are not a condition.
        """
        return condition if isinstance(condition, Condition) else cls.parse(str(condition))

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{'|'.join(self.values)}"
