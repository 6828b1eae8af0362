"""Request: what is asked of a recommender for every user."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.recommender.query import clean_query

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.data.conditions import Condition

__all__ = ["Request", "check_count", "read_histories"]


@dataclass(frozen=True)
class Request:
    """What is asked for every user.

    Attributes:
        k: items wanted. exclude_seen: leave out items of the history; None is as the recommender does.
        allow: the only items that may be returned, None for all. deny: items never to return.
        where: conditions that a returned item meets. query: what is wanted now, in words.
        explain: reasons wanted for each item (see `genrec.recommender.explain`).
    """

    k: int = 10
    exclude_seen: bool | None = None
    allow: Sequence[str] | None = None
    deny: Sequence[str] | None = None
    where: Sequence[Condition | str] = ()
    query: str | None = None
    explain: int = 0

    def checked(self, exclude_seen: bool) -> Request:
        """The same request, its query clean, and nothing left open.

        Args:
            exclude_seen: what the recommender does where the request does not say.

        Raises:
            InputError: a count is no whole number or too small, `allow` or `deny` is no list, or the query
                is blank or too long.
        """
        check_count("k", self.k, "item")
        if self.explain:
            check_count("explain", self.explain, "reason")
        if isinstance(self.allow, str) or isinstance(self.deny, str):
            raise InputError("allow and deny must be lists of item ids, such as ['id1', 'id2']")
        said = exclude_seen if self.exclude_seen is None else self.exclude_seen
        query = None if self.query is None else clean_query(self.query)
        return replace(self, query=query, exclude_seen=said)

    def allowed_items(self, catalog: Catalog) -> NDArray[np.int32] | None:
        """Catalog indices of the items that any history may be given; None for all.

        Raises:
            InputError: an id is not in the catalog, or a condition does not fit its columns.
        """
        deny = list(self.deny or ())
        if self.allow is None and not deny and not self.where:
            return None
        allowed = catalog.where(self.where)
        if self.allow is not None:
            allowed = np.intersect1d(allowed, catalog.index_of(list(self.allow)))
        return np.setdiff1d(allowed, catalog.index_of(deny))


def check_count(name: str, count: int, things: str) -> None:
    """Check that a count of things wanted is a whole number of at least one.

    Raises:
        InputError: it is not; the message names the argument.
    """
    try:
        wanted = operator.index(count)
    except TypeError:
        wanted = 0
    if wanted < 1:
        raise InputError(f"{name} = {count!r}: ask for at least 1 {things}, as a whole number")


def read_histories(histories: Sequence[Sequence[str]], catalog: Catalog) -> Histories:
    """Histories of item ids as histories of catalog indices.

    Raises:
        InputError: they are no lists of item ids, or an id is not in the catalog.
    """
    if isinstance(histories, str) or any(
        not hasattr(history, "__len__") or isinstance(history, str) for history in histories
    ):
        raise InputError(
            "histories must be lists of item ids, one list a user: [['id1', 'id2'], ['id3']]"
        )
    return Histories.of([catalog.index_of(history) for history in histories])
