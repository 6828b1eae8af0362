"""Semantic IDs: items and their tuples of codes, bound one to one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.common.errors import InputError
from genrec.semantic_ids.base import ItemTokenizer, as_codes, as_table
from genrec.semantic_ids.collisions import POLICIES, Policy, require_distinct, resolve
from genrec.semantic_ids.nearest_free import nearest_free
from genrec.semantic_ids.rows import row_keys

if TYPE_CHECKING:
    import pyarrow

__all__ = ["SemanticIds"]


@dataclass(frozen=True, eq=False)
class SemanticIds:
    """The codes of every item of a catalog; no two items share a tuple. Immutable.

    Attributes:
        item_ids: the N items, in catalog order, each once.
        codes: `(N, L')` int32, unique rows; under ``extra_level`` the last level numbers the items
            that share all other codes.
        codebook_sizes: the size of each of the L' levels.
        policy: how collisions were resolved, and are when items come.
        moved: how many items did not keep the codes that the item tokenizer gave them.

    Raises:
        InputError: an item or a tuple occurs twice, or a code is outside its codebook.
    """

    item_ids: list[str]
    codes: NDArray[np.int32]
    codebook_sizes: tuple[int, ...]
    policy: Policy
    moved: int = 0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise InputError(f"no collision policy {self.policy!r}; known: {', '.join(POLICIES)}")
        codes = as_codes(self.codes, self.codebook_sizes)
        if len(codes) != len(self.item_ids):
            raise InputError(f"{len(self.item_ids)} item ids but {len(codes)} rows of codes")
        object.__setattr__(self, "codes", codes)
        self._require_distinct()

    @classmethod
    def build(
        cls,
        item_ids: Sequence[str],
        vectors: ArrayLike,
        tokenizer: ItemTokenizer,
        policy: Policy = "extra_level",
        titles: Sequence[str] | None = None,
    ) -> Self:
        """Encode a catalog's vectors `(N, D)` with a fitted item tokenizer and resolve collisions.

        A `numpy.memmap` is read block by block, and then only the rows of items that collide.

        Args:
            item_ids: N ids.
            vectors: `(N, D)` of any type of number.
            tokenizer: what turns them into codes.
            policy: how collisions are resolved (see `genrec.semantic_ids.collisions`).
            titles: N titles, to name colliding items by in the error of ``refuse``.

        Raises:
            InputError: lengths differ, a vector is not finite, an item occurs twice, there are more
                items than tuples, or items collide under ``refuse``.
        """
        table = _table_of(item_ids, vectors)
        names = list(item_ids)
        if titles is not None:
            names = [f"{title} ({item})" for title, item in zip(titles, names, strict=True)]
        resolution = resolve(tokenizer.encode(table), table, tokenizer, policy, names)
        return cls(
            list(item_ids),
            resolution.codes,
            resolution.codebook_sizes,
            policy,
            len(resolution.moved),
        )

    @classmethod
    def empty(cls, codebook_sizes: tuple[int, ...], policy: Policy) -> Self:
        """Return semantic IDs of no items.

        Adding a new catalog to them keeps the codebook sizes of the old one, as a language model
        trained on those needs.
        """
        return cls([], np.empty((0, len(codebook_sizes)), np.int32), codebook_sizes, policy)

    def add(self, item_ids: Sequence[str], vectors: ArrayLike, tokenizer: ItemTokenizer) -> Self:
        """Return these semantic IDs with new items at the end; nobody else's codes change.

        A new item whose tuple is held takes the nearest free one: under ``extra_level`` the lowest
        free number of its own bucket, or a neighbouring bucket's when that is full.

        Raises:
            InputError: an item is there already, there are more items than tuples, or a tuple is
                held under ``refuse``.
        """
        table = _table_of(item_ids, vectors)
        codes = tokenizer.encode(table)
        levels = codes.shape[1]
        expected = self.codebook_sizes[:-1] if self._has_extra_level else self.codebook_sizes
        if tokenizer.codebook_sizes != expected:
            raise InputError(
                f"the item tokenizer has codebooks of sizes {list(tokenizer.codebook_sizes)}, "
                f"these semantic IDs were made with {list(expected)}"
            )
        if self._has_extra_level:
            codes = np.column_stack([codes, np.zeros(len(codes), np.int32)])
        if self.policy == "refuse":
            require_distinct(np.concatenate([self.codes, codes]), [*self.item_ids, *item_ids])
        codes, surplus = nearest_free(
            codes,
            table,
            lambda tuples: tokenizer.decode(tuples[:, :levels]),
            self.codebook_sizes,
            self.codes,
        )
        return replace(
            self,
            item_ids=[*self.item_ids, *item_ids],
            codes=np.concatenate([self.codes, codes]),
            moved=self.moved + len(surplus),
        )

    def remove(self, item_ids: Sequence[str]) -> Self:
        """Return these semantic IDs without the given items; nobody else's codes change.

        Raises:
            InputError: an item is not there.
        """
        gone = [self._position(item_id) for item_id in item_ids]
        keep = np.ones(len(self), dtype=bool)
        keep[gone] = False
        return replace(
            self,
            item_ids=[item_id for item_id, kept in zip(self.item_ids, keep, strict=True) if kept],
            codes=self.codes[keep],
        )

    def index_of(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Return the catalog index `(M,)` of the item that each row of `(M, L')` names, or -1."""
        keys = row_keys(as_codes(codes, self.codebook_sizes))
        order, ordered = self._sorted_keys
        if not len(ordered):
            return np.full(len(keys), -1, np.int64)
        place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
        return np.where(ordered[place] == keys, order[place], -1)

    def to_arrow(self) -> pyarrow.ListArray:
        """Return the codes as a ``list<int32>`` column, one list an item."""
        import pyarrow

        offsets = np.arange(0, self.codes.size + 1, self.codes.shape[1], dtype=np.int32)
        return pyarrow.ListArray.from_arrays(offsets, pyarrow.array(self.codes.ravel()))

    @classmethod
    def from_arrow(cls, item_ids: Sequence[str], column: Any, description: dict[str, Any]) -> Self:
        """Rebuild from a ``list<int32>`` column and what `describe` gave.

        Raises:
            InputError: a list has the wrong length, or the codes are not unique and in range.
        """
        sizes = tuple(description["codebook_sizes"])
        rows = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        lengths = set(rows.value_lengths().unique().to_pylist())
        if lengths - {len(sizes)}:
            raise InputError(
                f"codes have lengths {sorted(lengths, key=str)}, expected {len(sizes)}"
            )
        codes = rows.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(sizes))
        return cls(list(item_ids), codes, sizes, description["policy"], description["moved"])

    def describe(self) -> dict[str, Any]:
        """Return everything but items and codes, as plain values for a JSON file."""
        return {
            "codebook_sizes": list(self.codebook_sizes),
            "policy": self.policy,
            "moved": self.moved,
        }

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def _has_extra_level(self) -> bool:
        return self.policy == "extra_level"

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {item_id: position for position, item_id in enumerate(self.item_ids)}

    @cached_property
    def _sorted_keys(self) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
        keys = row_keys(self.codes)
        order = np.argsort(keys, kind="stable")
        return order, keys[order]

    def _position(self, item_id: str) -> int:
        if item_id not in self._positions:
            near = difflib.get_close_matches(item_id, self.item_ids, n=3)
            hint = f"; close: {', '.join(near)}" if near else ""
            raise InputError(f"item {item_id!r} has no semantic ID{hint}")
        return self._positions[item_id]

    def _require_distinct(self) -> None:
        if len(self._positions) != len(self.item_ids):
            for position, item_id in enumerate(self.item_ids):
                if self._positions[item_id] != position:
                    raise InputError(f"item {item_id!r} occurs twice: give every item once")
        order, keys = self._sorted_keys
        same = np.flatnonzero(keys[1:] == keys[:-1])
        if len(same):
            first, second = (self.item_ids[order[same[0] + step]] for step in (0, 1))
            raise InputError(
                f"items {first!r} and {second!r} have the same codes "
                f"{self.codes[order[same[0]]].tolist()}: resolve collisions first"
            )


def _table_of(item_ids: Sequence[str], vectors: ArrayLike) -> NDArray[Any]:
    table = as_table(vectors)
    if len(table) != len(item_ids):
        raise InputError(f"{len(item_ids)} item ids but {len(table)} vectors")
    return table
