"""Protocol of an evaluation: all that must be equal for two numbers to be comparable.

A metric without its protocol is a rumour: the same model on the same data moves by a fifth between
validation and test, or between excluding seen items and keeping them. So every result carries this
record, down to a hash of the cases that were counted.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.histories import Cases
from genrec.evaluation.bootstrap import Bootstrap

__all__ = ["PROTOCOL_VERSION", "Protocol", "hash_cases"]

PROTOCOL_VERSION = 2
"""1: a target in a tie counted where the ranker happened to list it. 2: by expectation; hit, map, ece."""


class Protocol(Settings):
    """How recommenders are measured; ranking is always over the full catalog, never a sample."""

    name: str = "leave-one-out"
    """How targets were split off, such as ``leave-one-out`` (see `genrec.data.split`)."""
    split: Literal["valid", "test"] = "test"
    """Which cases are counted: ``valid`` chooses settings, ``test`` is reported once."""
    ks: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(5, 10), min_length=1)
    """The cut-offs; all are read from one ranking of the largest."""
    exclude_seen: bool = True
    """Whether items of the history may not be recommended."""
    candidates: Literal["catalog"] = "catalog"
    """What is ranked: every item, never a sample of them."""
    ties: Literal["expected"] = "expected"
    """How a target among items of equal score counts: by its mean over all their orders."""
    bootstrap: Bootstrap = Bootstrap()
    """How confidence intervals are computed."""
    version: int = PROTOCOL_VERSION
    """Version of these rules; numbers of different versions are not comparable."""
    users: int | None = None
    """Distinct users counted; filled in by `evaluate`, checked if given."""
    cases: int | None = None
    """Targets counted, one or more a user; filled in by `evaluate`, checked if given."""
    items: int | None = None
    """Catalog size, the number of candidates; filled in by `evaluate`, checked if given."""
    data_hash: str | None = None
    """Hash of the cases (see `hash_cases`); filled in by `evaluate`, checked if given."""

    @field_validator("ks")
    @classmethod
    def _ascending(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(ks)))

    def counted(self, cases: Cases, n_items: int) -> Protocol:
        """Return the protocol with `users`, `cases`, `items` and `data_hash` of what is counted.

        Raises:
            InputError: one of them was already stated and differs, or the rules are of another version.
        """
        if self.version != PROTOCOL_VERSION:
            raise InputError(
                f"the protocol is of version {self.version}, and this genrec measures by version "
                f"{PROTOCOL_VERSION}: leave the version out"
            )
        facts = {
            "users": len(np.unique(cases.users)),
            "cases": len(cases),
            "items": n_items,
            "data_hash": hash_cases(cases, n_items),
        }
        for name, fact in facts.items():
            stated = getattr(self, name)
            if stated not in (None, fact):
                raise InputError(
                    f"the protocol states {name} = {stated!r} but the cases have {fact!r}: "
                    "evaluate the data it was made for, or leave the field out"
                )
        return self.replace(**facts)


def hash_cases(cases: Cases, n_items: int) -> str:
    """Return 16 hex digits that change with any history, target, their order, or the catalog size.

    Items enter as catalog indices, so another order of the catalog file is other data.
    """
    digest = hashlib.sha256(f"{n_items} {len(cases)} ".encode())
    for array in (cases.targets, cases.histories.items, cases.histories.offsets, cases.users):
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]
