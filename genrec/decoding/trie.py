"""Trie: the catalog's semantic IDs as a prefix tree, held in flat arrays.

Items are sorted by their codes once; an item's place in that order is its *leaf*. A node of depth `d` is
then a run of consecutive leaves that share their first `d` codes, so three facts make every operation a
look-up instead of a walk:

* nodes of a depth are numbered in sorted order (breadth first), so the children of a node are consecutive
  numbers and their codes ascend;
* the leaves below a node are consecutive, so a filter is a difference of counts at the ends of that run;
* a node is one integer, so a beam's whole state is that integer.

The layout follows the compressed-sparse-row idea of STATIC (youtube/static-constraint-decoding), with codes
in the narrowest integer that holds them: five or six bytes a node and eight more an item, 12 to 16 bytes an
item in a catalog of ten million.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.common.errors import InputError, RecommenderError

__all__ = ["MAX_CODES", "MAX_LEVELS", "Trie"]

MAX_CODES, MAX_LEVELS = 65_536, 8


@dataclass(frozen=True)
class Trie:
    """Prefix tree over the semantic IDs of N items, L codes each.

    Depth 0 is the root, depth L the whole semantic ID. Items with the same semantic ID are neighbouring
    leaves below one node of depth L.

    Attributes:
        codebook_sizes: codes of each level, `K_0 … K_{L-1}`.
        code: for each depth `d` in 1..L (at position `d - 1`), the last code of each of the `n_d` nodes, then
            zeros, so that from any node on as many codes can be read as the widest parent has children.
        child_start: for each depth `d` in 0..L-1, `(n_d + 1,)`: node `j` has the children
            ``child_start[d][j] … child_start[d][j + 1] - 1`` at depth `d + 1`. Where items share semantic
            IDs, one more entry gives the leaves of each node of depth L.
        widest: for each depth `d` in 0..L, the largest number of children of one node (at L: of leaves).
        leaf_item: `(N,)` item at each leaf.
        item_leaf: `(N,)` its inverse.
    """

    codebook_sizes: tuple[int, ...]
    code: tuple[Tensor, ...]
    child_start: tuple[Tensor, ...]
    widest: tuple[int, ...]
    leaf_item: Tensor
    item_leaf: Tensor

    @classmethod
    def build(
        cls,
        codes: NDArray[np.integer],
        codebook_sizes: tuple[int, ...],
        device: torch.device | str = "cpu",
    ) -> Trie:
        """Build the tree of `codes` `(N, L)`; item `i` is row `i`. Rows may repeat.

        Raises:
            InputError: no items, too many levels or codes, or a code outside its level's range.
        """
        codes = np.asarray(codes)
        _check(codes, codebook_sizes)
        items, levels = codes.shape
        order = _sorted_rows(codes, codebook_sizes)
        opens = np.zeros(items, bool)  # does this leaf open a new node of the depth at hand?
        opens[0] = True
        above = np.zeros(1, np.int64)  # first leaf of every node one depth higher
        code, child_start = [], []
        for level in range(levels):
            ranked = codes[order, level].astype(_narrowest(codebook_sizes[level]))
            opens[1:] |= ranked[1:] != ranked[:-1]
            first = np.flatnonzero(opens)
            child_start.append(_ends(np.searchsorted(first, above), len(first)))
            code.append(ranked[first])
            above = first
        if len(above) < items:
            child_start.append(_ends(above, items))
        item_leaf = np.empty(items, np.int32)
        item_leaf[order] = np.arange(items, dtype=np.int32)
        widest = [int(np.diff(start).max()) for start in child_start]
        padded = [np.pad(c, (0, wide - 1)) for c, wide in zip(code, widest, strict=False)]
        return cls(
            tuple(codebook_sizes),
            tuple(torch.from_numpy(c) for c in padded),
            tuple(torch.from_numpy(s) for s in child_start),
            tuple(widest if len(widest) > levels else [*widest, 1]),
            torch.from_numpy(order.astype(np.int32)),
            torch.from_numpy(item_leaf),
        ).to(device)

    @property
    def levels(self) -> int:
        """Number of codes in a semantic ID, L."""
        return len(self.codebook_sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(tensor.nbytes for _, tensor in self._named_tensors())

    def __len__(self) -> int:
        return len(self.leaf_item)

    def to(self, device: torch.device | str) -> Trie:
        """The same tree on another device."""
        return Trie(
            self.codebook_sizes,
            tuple(_on(torch.device(device), code) for code in self.code),
            tuple(start.to(device) for start in self.child_start),
            self.widest,
            self.leaf_item.to(device),
            self.item_leaf.to(device),
        )

    def child_span(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """First child of each of `nodes` (any shape) of `depth`, and one past its last."""
        if depth == len(self.child_start):  # below unique semantic IDs: each node is its own leaf
            return nodes, nodes + 1
        start = self.child_start[depth]
        return start[nodes].long(), start[nodes + 1].long()

    def child_codes(self, depth: int, first: Tensor) -> Tensor:
        """Codes of the children that follow `first` (any shape `S`) at ``depth + 1``, int64.

        Returns:
            `(*S, C)` with `C` = ``widest[depth]``; arbitrary codes behind a node's last child.
        """
        rank = torch.arange(self.widest[depth], device=first.device)
        if self._all_codes_follow(depth):
            return rank.expand(*first.shape, -1)
        return self.code[depth].unfold(0, len(rank), 1)[first].long()

    def node_count(self, depth: int) -> int:
        """Number of nodes of `depth`."""
        return len(self.child_start[depth]) - 1 if depth < len(self.child_start) else len(self)

    def _all_codes_follow(self, depth: int) -> bool:
        """Whether every node of `depth` has a child for each code of its level."""
        return self.node_count(depth + 1) == self.node_count(depth) * self.codebook_sizes[depth]

    def children(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """List the children of `nodes` (any shape `S`) of one depth, padded to the widest node.

        Returns:
            Child numbers `(*S, C)` at ``depth + 1`` (leaves where `depth` is L) and a mask `(*S, C)` that is
            False on padding, where `C` is ``widest[depth]``; padded entries hold a valid number.
        """
        first, end = self.child_span(depth, nodes)
        child = first[..., None] + torch.arange(self.widest[depth], device=first.device)
        last = end[..., None] - 1
        return torch.minimum(child, last), child <= last

    def child(self, depth: int, nodes: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Follow one code from each node of `depth`; `nodes` and `codes` have any one shape `S`.

        Returns:
            Child numbers `(*S)` and whether there is such a child; an arbitrary valid number where not.
        """
        low, end = self.child_span(depth, nodes)
        last, of = end - 1, self.code[depth]
        # Binary search among the ascending codes of the children, as many halvings as the widest needs.
        high = last
        for _ in range(self.widest[depth].bit_length()):
            middle = (low + high) // 2
            below = of[middle].long() < codes
            low, high = (
                torch.where(below, torch.minimum(middle + 1, last), low),
                torch.where(below, high, middle),
            )
        return low, of[low].long() == codes

    def leaves(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Leaves below each node of `depth`: the first, and one past the last."""
        first, end = nodes, nodes + 1
        for start in self.child_start[depth:]:
            first, end = start[first].long(), start[end].long()
        return first, end

    def nodes_of(self, items: Tensor, depth: int) -> Tensor:
        """Node of `depth` above each of `items` (any shape)."""
        return self.nodes_above(self.item_leaf[items].long(), depth)

    def nodes_above(self, leaves: Tensor, depth: int) -> Tensor:
        """Node of `depth` above each of `leaves` (any shape)."""
        nodes = leaves.int()
        for start in reversed(self.child_start[depth:]):
            nodes = torch.searchsorted(start, nodes, right=True, out_int32=True) - 1
        return nodes.long()

    def save(self, path: Path) -> None:
        """Write the arrays as one safetensors file."""
        from safetensors.torch import save_file

        sizes = {"codebook_sizes": " ".join(map(str, self.codebook_sizes))}
        save_file({name: t.contiguous() for name, t in self._named_tensors()}, path, sizes)

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Trie:
        """Map a saved tree into memory: pages are read when a search first touches them.

        Raises:
            RecommenderError: the file is not such a tree.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                sizes = tuple(int(size) for size in file.metadata()["codebook_sizes"].split())
            place = torch.device(device)
            code = tuple(_on(place, tensors[f"code.{level}"]) for level in range(len(sizes)))
            starts = [name for name in tensors if name.startswith("child_start.")]
            child_start = tuple(tensors[f"child_start.{depth}"] for depth in range(len(starts)))
            widest = tuple(tensors["widest"].tolist())
            return cls(sizes, code, child_start, widest, tensors["leaf_item"], tensors["item_leaf"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RecommenderError(f"{path} does not hold a catalog's trie: {error}") from error

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for level, code in enumerate(self.code):
            wide = code.dtype == torch.int32
            yield f"code.{level}", code.to(torch.uint16) if wide else code
        for depth, start in enumerate(self.child_start):
            yield f"child_start.{depth}", start
        yield "leaf_item", self.leaf_item
        yield "item_leaf", self.item_leaf
        yield "widest", torch.tensor(self.widest)


def _check(codes: NDArray[np.integer], codebook_sizes: tuple[int, ...]) -> None:
    if codes.ndim != 2 or not len(codes) or codes.shape[1] != len(codebook_sizes):
        raise InputError(
            f"a trie needs codes of shape (items, {len(codebook_sizes)}) with at least one item, "
            f"got {codes.shape}"
        )
    if not 1 <= len(codebook_sizes) <= MAX_LEVELS or max(codebook_sizes) > MAX_CODES:
        raise InputError(
            f"a trie holds 1 to {MAX_LEVELS} levels of at most {MAX_CODES} codes, "
            f"got {len(codebook_sizes)} levels of {tuple(codebook_sizes)}"
        )
    low, high = codes.min(axis=0), codes.max(axis=0)
    for level, size in enumerate(codebook_sizes):
        if low[level] < 0 or high[level] >= size:
            raise InputError(
                f"level {level} has codes from {low[level]} to {high[level]}, allowed are 0 to {size - 1}"
            )


def _sorted_rows(codes: NDArray[np.integer], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Order of the rows by their codes; equal rows keep their order."""
    keys, room = [np.zeros(len(codes), np.uint64)], 1
    for level, size in enumerate(sizes):
        if room * size >= 1 << 63:  # the key is full: the next levels sort within it
            keys.append(np.zeros(len(codes), np.uint64))
            room = 1
        keys[-1] = keys[-1] * np.uint64(size) + codes[:, level].astype(np.uint64)
        room *= size
    return np.argsort(keys[0], kind="stable") if len(keys) == 1 else np.lexsort(keys[::-1])


def _narrowest(size: int) -> type[np.unsignedinteger]:
    return np.uint8 if size <= 256 else np.uint16


def _on(device: torch.device, code: Tensor) -> Tensor:
    """Codes on a device, as integers that can be indexed there: off the CPU, those of 16 bits cannot."""
    code = code.to(device)
    return code if device.type == "cpu" or code.dtype == torch.uint8 else code.int()


def _ends(starts: NDArray[np.int64], total: int) -> NDArray[np.int32]:
    return np.append(starts, total).astype(np.int32)
