"""Leaf flush: all remaining levels scored in one pass once few items are left below the live prefixes.

After a level or two most prefixes of a catalog lead to one item only. Then the items below the live beams
are few, and the tokens above them form a small tree that the model reads in one pass with teacher forcing,
in place of one pass a level. Under the normalization ``catalog`` a prefix with one item below it is certain
already: it costs nothing at all.

The beams' pruning is repeated on the scores, level by level, so that the result is what the search by
levels would have found, up to rounding and ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genrec.decoding.filters import LeafFilter
from genrec.decoding.scores import child_log_probabilities

if TYPE_CHECKING:
    from genrec.decoding.beams import Beams, SearchSpace
    from genrec.decoding.readers import Reader
    from genrec.decoding.trie import Trie

__all__ = ["leaf_flush"]

MOST_LEAVES = 16
"""Items below the live prefixes, per beam, up to which a flush is considered."""
PASS_TOKENS = 64
"""What one pass of the model costs beside its tokens, in tokens."""


@dataclass(frozen=True)
class _Leaves:
    """The T leaves below each request's beams.

    Attributes:
        leaf: `(R, T)`, in the order of the beams. real: `(R, T)`, False on padding.
        beam: `(R, T)` the beam above each leaf.
        paths: for each depth from the beams' to L, the node above each leaf, `(R, T)`.
    """

    leaf: Tensor
    real: Tensor
    beam: Tensor
    paths: list[Tensor]


@dataclass(frozen=True)
class _Reads:
    """Nodes of one depth whose hidden states are needed, each once.

    Attributes:
        place: `(R, T)` where the node above each leaf stands among the M nodes of its request.
        needed: `(R, T)` whether it stands there.
        nodes: `(R, M)`, padded with node 0.
    """

    place: Tensor
    needed: Tensor
    nodes: Tensor


def leaf_flush(
    space: SearchSpace,
    reader: Reader,
    beams: Beams,
    widths: list[int],
    filtered: LeafFilter | None,
) -> tuple[Tensor, Tensor] | None:
    """Finish the search from `beams`, whose newest codes were not read yet, if that is cheap.

    Args:
        space: trie, head and normalization.
        reader: has read everything above the beams.
        beams: the live prefixes; their depth is one more than their lines are long.
        widths: beams kept after each level.
        filtered: what may be returned.

    Returns:
        The best leaves `(R, <= k)` and their scores; None where going on by levels is cheaper.
    """
    trie, depth = space.trie, beams.lines.shape[2] + 1
    certain, last_step = space.settings.normalization == "catalog", depth == trie.levels - 1
    below = None if last_step and not certain else _leaves_below(trie, beams, depth)
    if below is None:
        return None
    reads = [
        _reads(trie, below, nodes, depth + step, only_branching=certain)
        for step, nodes in enumerate(below.paths[:-1])
    ]
    # By levels each beam is read once a level; in one pass each node that is needed, and L - depth - 1 passes
    # are spared beside their tokens.
    saved = beams.nodes.shape[1] * (trie.levels - depth) - sum(r.nodes.shape[1] for r in reads)
    if saved * len(beams.nodes) + PASS_TOKENS * (trie.levels - depth - 1) <= 0:
        return None
    hidden = _read(space, reader, beams, below, reads)
    # (R, W) -> (R, T): each leaf starts with the score of the beam above it
    total = beams.scores.gather(1, below.beam).masked_fill(~below.real, -torch.inf)
    if filtered is not None:
        alive = filtered.alive(trie, trie.levels + 1, below.leaf)
        total = total.masked_fill(~alive, -torch.inf)
    for step, (read, child) in enumerate(zip(reads, below.paths[1:], strict=True)):
        total = total + _gain(space, read, hidden[step], depth + step, child)
        total = _prune(total, child, widths[depth + step])
    best = total.sort(dim=1, descending=True, stable=True)
    k = widths[-1]
    return below.leaf.gather(1, best.indices[:, :k]), best.values[:, :k]


def _leaves_below(trie: Trie, beams: Beams, depth: int) -> _Leaves | None:
    """List the leaves below the live beams; None where they are too many."""
    first, end = trie.leaves(depth, beams.nodes)
    count = (end - first).masked_fill(beams.scores.isinf(), 0)  # (R, W); dead beams have none
    ends = count.cumsum(1)
    most = int(ends[:, -1].max())
    if most > MOST_LEAVES * beams.nodes.shape[1]:
        return None
    # (R, T): leaves of a request side by side, beam after beam; which beam a place belongs to, `ends` tells.
    rank = torch.arange(max(most, 1), device=first.device).expand(len(first), -1).contiguous()
    real = rank < ends[:, -1:]
    beam = torch.searchsorted(ends, rank, right=True).clamp(max=beams.nodes.shape[1] - 1)
    leaf = first.gather(1, beam) + rank - (ends - count).gather(1, beam)
    leaf = torch.where(real, leaf, 0)
    paths = [beams.nodes.gather(1, beam)]
    paths += [trie.nodes_above(leaf, d) for d in range(depth + 1, trie.levels + 1)]
    return _Leaves(leaf, real, beam, paths)


def _reads(
    trie: Trie, below: _Leaves, nodes: Tensor, depth: int, *, only_branching: bool
) -> _Reads:
    """Choose the nodes of one depth that the model must read."""
    needed = below.real
    if only_branching:
        first, end = trie.leaves(depth, nodes)
        needed = needed & (end - first > 1)
    # Leaves are in trie order, so equal nodes stand in a run: its first leaf reads for all.
    fresh = _opens_run(nodes) & needed
    place = fresh.cumsum(1) - 1
    kept = torch.zeros(
        len(nodes), int(fresh.sum(1).max()) + 1, dtype=torch.int64, device=nodes.device
    )
    spare = kept.shape[1] - 1
    kept.scatter_(
        1, torch.where(fresh, place, spare), nodes
    )  # (R, T) -> (R, M + 1), the last one spare
    return _Reads(place.clamp(min=0), needed, kept[:, :spare])


def _read(
    space: SearchSpace, reader: Reader, beams: Beams, below: _Leaves, reads: list[_Reads]
) -> list[Tensor]:
    """Run the model over the tree of needed nodes; return hidden states `(R, M, D)` for each depth."""
    depth, base = beams.lines.shape[2] + 1, reader.slots
    sizes = [read.nodes.shape[1] for read in reads]
    if not sum(sizes):
        return [beams.scores.new_empty(len(beams.scores), 0, 0)] * len(reads)
    # (R, W, J) -> (R, T, J): the line above each leaf, which grows by one slot a depth
    above = beams.lines.gather(1, below.beam[..., None].expand(-1, -1, depth - 1))
    tokens, lines = [], []
    for step, read in enumerate(reads):
        spare = sizes[step]
        # (R, M + 1, J): the lines of the nodes that are read; all are as long as the deepest needs
        line = above.new_full((len(above), spare + 1, depth - 1 + len(reads) - 1), -1)
        where = torch.where(read.needed, read.place, spare)[..., None]
        line[..., : above.shape[2]].scatter_(1, where.expand_as(above), above)
        lines.append(line[:, :spare])
        tokens.append(space.tokens_of(read.nodes, depth + step))
        slots = base + sum(sizes[:step]) + read.place
        above = torch.cat([above, slots[..., None]], dim=2)
    hidden = reader.extend(torch.cat(tokens, dim=1), torch.cat(lines, dim=1))
    return list(torch.split(hidden, sizes, dim=1))


def _gain(
    space: SearchSpace, read: _Reads, hidden: Tensor, depth: int, child: Tensor
) -> Tensor | float:
    """Log-probability of the step from depth `depth` to the node `child` above each leaf, `(R, T)`."""
    if not read.nodes.shape[1]:
        return 0.0
    first, _, gain = child_log_probabilities(
        space.head, space.trie, hidden, depth, read.nodes, space.settings.normalization
    )
    rank = child - first.gather(1, read.place)
    # (R, M, C) -> (R, M C) -> (R, T)
    flat = read.place * gain.shape[2] + torch.where(read.needed, rank, 0)
    return gain.flatten(1).gather(1, flat).masked_fill(~read.needed, 0.0)


def _prune(total: Tensor, nodes: Tensor, width: int) -> Tensor:
    """Keep, of the leaves' scores `(R, T)`, those below the best `width` of their `nodes` `(R, T)`."""
    if total.shape[1] <= width:
        return total
    run = _opens_run(nodes).cumsum(1) - 1  # (R, T): which different node, counted from 0
    best_of_run = torch.full_like(total, -torch.inf).scatter_reduce(1, run, total, "amax")
    kept = torch.zeros_like(run, dtype=torch.bool)
    kept.scatter_(1, best_of_run.topk(width, dim=1).indices, True)
    return total.masked_fill(~kept.gather(1, run), -torch.inf)


def _opens_run(nodes: Tensor) -> Tensor:
    """Mark where `(R, T)` nodes differ from the one before."""
    opens = torch.ones_like(nodes, dtype=torch.bool)
    opens[:, 1:] = nodes[:, 1:] != nodes[:, :-1]
    return opens
