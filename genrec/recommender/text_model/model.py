"""Text model as a component of the mixture: a distribution over the catalog by what its words mean here.

Everything that follows the catalog is one vector an item. A new item gets that of its words at once, with
nothing trained; an item that was bought in training has a vector of its own in it, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.evaluation.baselines.sequence_model import SequenceConfig, pad
from genrec.recommender.tables import reading
from genrec.recommender.text_model.network import TextNetwork
from genrec.recommender.text_model.words import KnownWords, WordBags
from genrec.training.settings import TrainingSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["NAMED", "TextModel", "TextModelSettings", "TextShape", "TextTraining"]

NAMED = 256
"""Items that a history's row names. The likeliest so many share 1 among them."""
FOLDER, WEIGHTS, VECTORS = "text_model", "network.safetensors", "text_vectors.safetensors"
_CELLS = 2**24
"""Scores held at once."""


class TextShape(SequenceConfig):
    """Shape of the text model's network; defaults chosen on validation of Toys and Beauty."""

    width: int = Field(default=128, ge=2)
    """Size D of the vectors of words, items and states; a multiple of `heads`."""
    layers: int = Field(default=2, ge=1)
    """Blocks."""
    heads: int = Field(default=4, ge=1)
    """Attention heads."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout of embeddings, attention and residual branches."""


class TextTraining(TrainingSettings):
    """How long and how fast the text model learns."""

    epochs: int = Field(8, ge=1)
    """Passes over the log."""
    min_steps: int = Field(400, ge=1)
    """A small log is passed over more often, until this many optimizer steps."""
    warmup_steps: int = Field(100, ge=0)
    """Steps to the peak."""
    validations: int = Field(4, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""


class TextModelSettings(Settings):
    """A small sequence network over the words of items, mixed with what the language model expects."""

    weight: float | None = Field(None, ge=0, le=1)
    """Its weight in the mixture; 0 trains none, None is chosen on validation (0 where no user has a
    validation case)."""
    teacher_weight: float = Field(0.5, ge=0, le=1)
    """Share of its probabilities in what the language model learns, beside the items that came; 0 teaches
    nothing. With `tasks` it does not teach."""
    shape: TextShape = TextShape()
    """Size of the network."""
    training: TextTraining = TextTraining()
    """How it learns."""


@dataclass(frozen=True, eq=False)
class TextModel:
    """A trained text network and the vectors of N items.

    Attributes:
        known: the words that the network has vectors of.
        network: in evaluation mode.
        vectors: `(N, D)` float16: unit vector of an item's words, plus the item's own.
    """

    known: KnownWords
    network: TextNetwork
    vectors: NDArray[np.float16]
    name: ClassVar[str] = "text_model"

    @property
    def reads(self) -> int:
        """How many of a history's newest items it reads."""
        return self.network.max_items

    def scores(self, histories: Histories, allow: NDArray[np.integer] | None = None) -> csr_matrix:
        """What it expects after each of C histories, `(C, N)`; a row sums to 1, or is empty.

        Args:
            histories: catalog indices, oldest first.
            allow: the only items that may be named; None for all. What passes has the same probability
                either way.
        """
        from scipy.sparse import csr_matrix

        allowed = np.arange(len(self.vectors)) if allow is None else np.asarray(allow, np.int64)
        rows, columns, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
        for part, named in self._named(histories):
            named = named[:, torch.from_numpy(allowed).to(named.device)]  # (R, N) -> (R, allowed)
            best, places = named.topk(min(NAMED, len(allowed)), dim=1)
            rows.append(np.repeat(part, best.shape[1]))
            columns.append(allowed[places.cpu().numpy().ravel()])
            values.append(best.double().cpu().numpy().ravel())
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return csr_matrix(entries, shape=(len(histories), len(self.vectors)))

    def scores_of(self, histories: Histories, items: NDArray[np.integer]) -> csr_matrix:
        """The same of given items `(C, k)`, whether or not a row would name them, `(C, N)`."""
        from scipy.sparse import csr_matrix

        rows, columns, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
        for part, named in self._named(histories):
            own = np.unique(
                np.repeat(part, items.shape[1]) * len(self.vectors) + items[part].ravel()
            )
            row, column = own // len(self.vectors), own % len(self.vectors)
            place = torch.from_numpy(np.searchsorted(part, row)), torch.from_numpy(column)
            rows.append(row)
            columns.append(column)
            values.append(named[place].double().cpu().numpy())
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return csr_matrix(entries, shape=(len(histories), len(self.vectors)))

    @torch.inference_mode()
    def _named(self, histories: Histories) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Numbers of some histories, none empty, and the probabilities `(R, N)` that follow them.

        Those of the likeliest `NAMED` items sum to 1: over all items, the few that a row names would
        share less.
        """
        order = np.argsort(histories.lengths, kind="stable")  # of like length: little padding
        order = order[histories.lengths[order] > 0]
        newest = histories.last(self.reads)
        step = max(1, _CELLS // len(self.vectors))
        for start in range(0, len(order), step):
            part = np.sort(order[start : start + step])
            likely = self._probabilities(newest.take(part))
            best = likely.topk(min(NAMED, likely.shape[1]), dim=1).values
            yield part, likely / best.sum(1, keepdim=True).clamp(min=1e-30)

    def _probabilities(self, histories: Histories) -> Tensor:
        """Softmax over all N items after each of R histories, none empty, `(R, N)`."""
        items = pad(histories).to(self._table.device)
        last = (items >= 0).sum(1) - 1
        rows = torch.arange(len(items), device=items.device)
        return self.probabilities(self.queries(items)[rows, last])  # (R, T, D) -> (R, D) -> (R, N)

    @torch.no_grad()
    def queries(self, items: Tensor) -> Tensor:
        """What it looks for behind each item of histories `(B, T)`, padded on the right with -1, `(B, T, D)`.

        T is at most what it `reads`.
        """
        states: Tensor = self.network(self._entering, items)
        return states

    @torch.no_grad()
    def probabilities(self, queries: Tensor) -> Tensor:
        """Softmax over all N items for R queries `(R, D)`, `(R, N)`."""
        likely: Tensor = (queries @ self._table.T).softmax(1)
        return likely

    @cached_property
    def _entering(self) -> Tensor:
        device = self.network.positions.device
        return torch.from_numpy(self.vectors).to(device).float()

    @cached_property
    def _table(self) -> Tensor:
        return F.normalize(self._entering, dim=1)

    @torch.inference_mode()
    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors `(M, D)` of new items by their words alone."""
        bags = WordBags.of(self.known.rows(texts), self.network.positions.device)
        vectors: NDArray[np.float32] = self.network.texts(bags).cpu().numpy()
        return vectors

    def grown(self, texts: Sequence[str]) -> TextModel:
        """The same for a catalog with M new items of these texts at its end."""
        new = self.of_texts(texts).astype(np.float16)
        return replace(self, vectors=np.concatenate([self.vectors, new]))

    def reduced(self, kept: NDArray[np.integer]) -> TextModel:
        """The same for the items `(N',)` of its catalog that stay."""
        return replace(self, vectors=self.vectors[kept])

    def reworded(
        self, items: NDArray[np.integer], before: Sequence[str], after: Sequence[str]
    ) -> TextModel:
        """The same once the texts of `(M,)` items are others; what is the items' own stays."""
        vectors = self.vectors.copy()
        own = vectors[items].astype(np.float32) - self.of_texts(before)
        vectors[items] = (own + self.of_texts(after)).astype(np.float16)
        return replace(self, vectors=vectors)

    def to(self, device: torch.device) -> TextModel:
        """The same on a device."""
        return replace(self, network=self.network.to(device))

    def save(self, folder: Path) -> None:
        """Write what does not follow the catalog into a recommender folder."""
        from safetensors.torch import save_file

        own = folder / FOLDER
        own.mkdir(exist_ok=True)
        self.known.save(own)
        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(state | {"idf": torch.from_numpy(self.known.idf)}, own / WEIGHTS)

    def save_items(self, folder: Path) -> None:
        """Write the items' vectors into a recommender folder."""
        from safetensors.numpy import save_file

        save_file({"vectors": np.ascontiguousarray(self.vectors)}, folder / VECTORS)

    @classmethod
    def load(cls, folder: Path, shape: TextShape) -> Self | None:
        """Read what `save` and `save_items` wrote; None where there is none.

        Raises:
            RecommenderError: a file cannot be read, or does not fit the others.
        """
        from safetensors.numpy import load_file as load_arrays
        from safetensors.torch import load_file

        path, items = folder / FOLDER / WEIGHTS, folder / VECTORS
        if not (path.exists() or items.exists()):
            return None
        with reading(path):
            state = load_file(path)
            known = KnownWords.load(path.parent, state.pop("idf").numpy())
            if state["words"].shape != (len(known), shape.width):
                raise ValueError(f"it has no vectors ({len(known)}, {shape.width}) of its words")
            network = TextNetwork(state["words"], len(state["positions"]), shape)
            network.load_state_dict(state)
        with reading(items):
            vectors = load_arrays(items)["vectors"]
            if vectors.dtype != np.float16 or vectors.shape[1:] != (shape.width,):
                raise ValueError(f"it has no float16 vectors (N, {shape.width})")
        return cls(known, network.eval(), vectors)
