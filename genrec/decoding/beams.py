"""Beams of a search, its settings, and what each of its steps reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from genrec.common.config import Settings
from genrec.common.errors import ConfigError
from genrec.decoding.scores import Normalization
from genrec.decoding.trie import Trie
from genrec.language_model.level_head import LevelHead

__all__ = ["BeamSettings", "Beams", "SearchSpace"]

_Width = Annotated[int, Field(ge=1)]


class BeamSettings(Settings):
    """How the catalog is searched."""

    beams: _Width | tuple[_Width, ...] = 50
    """Live prefixes W, one number for all levels or one for each level but the last; the search uses at
    least the number of items asked for."""
    normalization: Normalization = "catalog"
    """What a level's probabilities sum to one over."""
    leaf_flush: bool = True
    """Score all remaining levels in one pass as soon as few items are left below the live prefixes; the
    result is the same, up to rounding and ties."""
    batch_tokens: int = Field(16384, ge=1)
    """Prompt tokens and beams computed together; bounds the memory of everything but the logits."""

    @property
    def widest(self) -> int:
        """Most live prefixes of any level."""
        return max(self.beams) if isinstance(self.beams, tuple) else self.beams

    def widths(self, levels: int, k: int) -> list[int]:
        """Beams kept after each of L levels; the last keeps the `k` items."""
        given = self.beams if isinstance(self.beams, tuple) else (self.beams,) * (levels - 1)
        if len(given) != levels - 1:
            raise ConfigError(
                f"search.beams gives {len(given)} widths for {levels} levels: give one number, or "
                f"{levels - 1} (the last level keeps the items asked for)"
            )
        return [*(max(width, k) for width in given), k]


@dataclass(frozen=True)
class Beams:
    """Live prefixes of R requests, best first.

    Attributes:
        nodes: `(R, W)` trie nodes.
        scores: `(R, W)` log-probabilities; -inf is a dead beam.
        lines: `(R, W, J)` slots of the tokens before each beam's newest code (see `readers`).
    """

    nodes: Tensor
    scores: Tensor
    lines: Tensor


@dataclass(frozen=True)
class SearchSpace:
    """What every step of a search reads: the catalog's tree and the language model's head over its codes.

    Attributes:
        trie: semantic IDs of the catalog.
        head: scores of the codes of one level.
        settings: of the search.
    """

    trie: Trie
    head: LevelHead
    settings: BeamSettings

    def tokens_of(self, nodes: Tensor, depth: int) -> Tensor:
        """LM token of the last code of each node of `depth` >= 1, of the shape of `nodes`."""
        return self.head.tokens[depth - 1][self.trie.code[depth - 1][nodes].long()]
