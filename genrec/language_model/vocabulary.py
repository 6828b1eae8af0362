"""Vocabulary of semantic IDs: one language-model token for each code of each level.

Code `c` of level `l` prints as ``<l:c>``. The tokens are appended to any causal LM's tokenizer; their
embedding rows start from the geometry of the codes, so that neighbours in the item space are
neighbours for the language model before its first training step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.common.errors import RecommenderError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CodeVocabulary", "code_geometry", "code_name", "initialise_rows"]


@dataclass(frozen=True)
class CodeVocabulary:
    """Two-way table between codes and LM token ids.

    Attributes:
        tokens: for each level, the LM token of every code, `(K_l,)` int64.
    """

    tokens: tuple[NDArray[np.int64], ...]

    @classmethod
    def extend(
        cls, tokenizer: PreTrainedTokenizerBase, codebook_sizes: tuple[int, ...]
    ) -> CodeVocabulary:
        """Add the tokens that `tokenizer` does not have yet, and return the table."""
        from transformers import AddedToken

        names = [
            code_name(level, code)
            for level, size in enumerate(codebook_sizes)
            for code in range(size)
        ]
        tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
        return cls.of(tokenizer, codebook_sizes)

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, codebook_sizes: tuple[int, ...]
    ) -> CodeVocabulary:
        """Read the table from a tokenizer that was extended before.

        Raises:
            RecommenderError: the tokenizer lacks a code's token.
        """
        known = tokenizer.get_vocab()
        tokens = []
        for level, size in enumerate(codebook_sizes):
            names = [code_name(level, code) for code in range(size)]
            if missing := [name for name in names if name not in known]:
                raise RecommenderError(
                    f"the language model's tokenizer lacks {len(missing)} of the {size} tokens of level "
                    f"{level} (the first is {missing[0]!r}): it was not saved with this recommender"
                )
            tokens.append(np.array([known[name] for name in names], dtype=np.int64))
        return cls(tuple(tokens))

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each level."""
        return tuple(len(level) for level in self.tokens)

    def levels_of(self, tokens: int) -> NDArray[np.int8]:
        """Level of each of the language model's `tokens` tokens, -1 for words, `(V,)`."""
        levels = np.full(tokens, -1, np.int8)
        for level, own in enumerate(self.tokens):
            levels[own] = level
        return levels

    @property
    def all_tokens(self) -> list[int]:
        """Every code's token id, ascending."""
        return sorted(int(token) for level in self.tokens for token in level)

    def encode(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Turn codes `(…, L')` with `L' <= L` into LM tokens of the same shape."""
        columns = [self.tokens[level][codes[..., level]] for level in range(codes.shape[-1])]
        return np.stack(columns, axis=-1)

    def decode(self, tokens: NDArray[np.integer]) -> NDArray[np.int32]:
        """Turn LM tokens `(…, L')` back into codes; the inverse of `encode`.

        Raises:
            ValueError: a token is no code of its level.
        """
        columns = []
        for level in range(tokens.shape[-1]):
            order = np.argsort(self.tokens[level])
            place = np.searchsorted(self.tokens[level], tokens[..., level], sorter=order)
            code = order[np.minimum(place, len(order) - 1)]
            if not np.array_equal(self.tokens[level][code], tokens[..., level]):
                raise ValueError(f"not every token of column {level} is a code of that level")
            columns.append(code.astype(np.int32))
        return np.stack(columns, axis=-1)


def code_geometry(
    codes: NDArray[np.integer], vectors: NDArray[np.float32], codebook_sizes: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """Describe each code by what it adds to the item vectors that carry it.

    Level by level, a code's row is the mean of what the earlier levels left unexplained in the vectors of
    its items: for a residual quantizer that is the codebook itself, and for any other item tokenizer its
    closest equivalent. It needs nothing but codes and vectors.

    Args:
        codes: `(N, L)`.
        vectors: `(N, D)`.
        codebook_sizes: codes of each level.

    Returns:
        For each level `(K_l, D)`; the row of a code that no item carries is zero.
    """
    rest = vectors - vectors.mean(axis=0)
    geometry = []
    for level, size in enumerate(codebook_sizes):
        total = np.zeros((size, vectors.shape[1]), np.float64)
        np.add.at(total, codes[:, level], rest)
        count = np.bincount(codes[:, level], minlength=size)[:, None]
        means = (total / np.maximum(count, 1)).astype(np.float32)
        rest = rest - means[codes[:, level]]
        geometry.append(means)
    return geometry


@torch.no_grad()
def initialise_rows(
    model: PreTrainedModel,
    vocabulary: CodeVocabulary,
    geometry: list[NDArray[np.float32]],
    seed: int,
) -> None:
    """Write the code tokens' embedding (and, if untied, head) rows from their geometry.

    Rows are a fixed random projection of the geometry (distances survive it: Johnson and Lindenstrauss),
    moved and scaled to the mean and spread of the rows that the model already has. Codes without geometry
    get the mean plus noise of the same spread.
    """
    generator = torch.Generator().manual_seed(seed)
    width = model.get_input_embeddings().weight.shape[1]
    projection = torch.randn(geometry[0].shape[1], width, generator=generator)
    old = torch.ones(model.get_input_embeddings().weight.shape[0], dtype=torch.bool)
    old[vocabulary.all_tokens] = False
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for weight in [table] if head is table else [table, head]:
        known = weight[old.to(weight.device)].float()
        mean, spread = known.mean(0), known.std(0).mean()
        for tokens, rows in zip(vocabulary.tokens, geometry, strict=True):
            projected = torch.from_numpy(rows) @ projection
            blank = projected.norm(dim=1) == 0
            projected = (
                projected / projected[~blank].std().clamp(min=1e-12)
                if (~blank).sum() > 1
                else projected
            )
            projected[blank] = torch.randn(int(blank.sum()), width, generator=generator)
            weight[torch.from_numpy(tokens)] = (mean + spread * projected.to(mean.device)).to(
                weight.dtype
            )


def code_name(level: int, code: int) -> str:
    """How a code's token prints."""
    return f"<{level}:{code}>"
