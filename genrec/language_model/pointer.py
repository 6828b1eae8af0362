"""Pointer: the language model says which items of a history count, and what is like them comes next.

    p(j | history) = sum over the history's items i of  a_i * p(j | i)

    p(j | i) = s_same [i = j] + s_vectors like_vectors(j | i) + s_words like_words(j | i) + s_any / N

`a` is the attention that the state behind the newest item pays to the states behind all of them, newer ones
first by a learned recency. So the model points, as a pointer network does (Vinyals et al. 2015; mixed with a
vocabulary, Merity et al. 2016, "Pointer Sentinel Mixture Models"), but at all items that are like the ones
pointed at (see `likeness`). A sum over items can expect two unlike things at once, which one query vector
between them cannot. The mixture weights `s`, which sum to 1, are learned too: how often the same item comes
again, and how far vectors, words and neither tell what comes next.

Codes are names, and those of a catalog that the model was never trained on tell it little. What is learned
here speaks of recency and likeness alone, and holds anywhere that vectors and words mean the same.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from genrec.language_model.module_files import load_module, save_module

__all__ = ["Pointer"]

FILE = "pointer.safetensors"
_KEYS = 32
"""Size of queries and keys."""
_DECAY = 0.5
"""Where recency starts, in nats an item."""
_START_WEIGHTS = (0.1, 0.4, 0.4, 0.1)
"""Where the mixture weights start: the item itself, like it by vector, like it by words, anything."""


class Pointer(nn.Module):
    """Attention over the items of a history, and what each of them makes likely.

    It starts as recency alone: what the states say is learned.

    Args:
        width: D of the language model's states.
        max_items: longest history.
        seed: of the weights.
    """

    def __init__(self, width: int, max_items: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.recency = nn.Parameter(-_DECAY * torch.arange(max_items, dtype=torch.float32))
        self.share_logits = nn.Parameter(torch.tensor(_START_WEIGHTS).log())
        self.key = nn.Parameter(torch.randn(_KEYS, width, generator=generator) / width**0.5)
        self.query = nn.Parameter(torch.zeros(_KEYS, width))

    def forward(self, states: Tensor) -> Tensor:
        """How much each item counts for what follows each item.

        Args:
            states: `(B, n, D)` behind the items of sequences, oldest first.

        Returns:
            `(B, n, n)` float32 log-weights: row t is a distribution over the items up to t; -inf behind it.
        """
        n = states.shape[1]
        states = states.to(self.query.dtype)
        # (B, n, D) -> (B, n, keys) twice -> (B, n, n): what each state asks, against what each one offers
        met = (states @ self.query.T) @ (states @ self.key.T).transpose(1, 2) / _KEYS**0.5
        place = torch.arange(n, device=states.device)
        age = place[:, None] - place  # (n, n), below 0 for what comes later
        oldest = len(self.recency) - 1
        scores = met + self.recency[age.clamp(0, oldest)]
        weights: Tensor = scores.float().masked_fill(age < 0, -torch.inf).log_softmax(-1)
        return weights

    @property
    def mixture_weights(self) -> Tensor:
        """Of the item itself, of what is like it by vector and by words, of anything: `(4,)`, sum 1."""
        return self.share_logits.float().softmax(0)

    def after(self, same: Tensor, alike: Tensor, rest: Tensor, n_items: int) -> Tensor:
        """How likely each of some items is after another one.

        Args:
            same: `(…, u, M)` bool, whether it is the same item.
            alike: `(2, …, u, M)` what the first gives to the second (see `Likeness`), 0 for the same.
            rest: `(2, …, u)` what it keeps, which goes to anything.
            n_items: N, size of the catalog.

        Returns:
            `(…, u, M)` float32 probabilities; over all N items they sum to 1.
        """
        itself, vectors, words, anything = self.mixture_weights
        spread = (anything + vectors * rest[0] + words * rest[1]) / n_items
        likely: Tensor = vectors * alike[0] + words * alike[1] + itself * same + spread[..., None]
        return likely

    def by_recency_alone(self) -> Pointer:
        """A copy that heeds no states: where codes say little, so do the states behind them."""
        pointer = copy.deepcopy(self)
        nn.init.zeros_(pointer.query)
        return pointer

    def expecting_repeats(self, weight: float) -> Pointer:
        """A copy that gives the history's own items this weight, and what it gave the rest in proportion."""
        pointer = copy.deepcopy(self)
        with torch.no_grad():
            others = self.share_logits[1:].log_softmax(0) + math.log1p(-weight)
            same = torch.tensor([max(weight, 1e-9)]).log().to(others)
            pointer.share_logits.copy_(torch.cat([same, others]))
        return pointer

    def save(self, folder: Path) -> None:
        """Write the weights into a language model's folder."""
        save_module(self, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Pointer | None:
        """Read what `save` wrote; None where there is none.

        Raises:
            RecommenderError: the file cannot be read.
        """
        return load_module(
            folder / FILE, lambda state: cls(state["key"].shape[1], len(state["recency"]))
        )
