"""LETTER's two losses, which an autoencoder with codebooks can add to its own.

Wang et al. 2024, "Learnable Item Tokenization for Generative Recommendation" (arXiv:2405.07314):
*alignment* pulls an item's quantized latent to its collaborative vector and away from those of other
items, so that items bought together get similar codes; *diversity* keeps a level's code vectors from
crowding, so that codes are used evenly. Unlike there, both compare directions (cosines, with a
temperature) rather than raw products, which would depend on the scale of the latents; a linear map
takes latents to the size of the collaborative vectors; and an item without behaviour is left out of
the alignment.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from genrec.semantic_ids.kmeans import kmeans, nearest

__all__ = ["Alignment", "CodeGroups", "diversity_loss"]

TEMPERATURE = 0.1
"""Of both losses."""


class Alignment(nn.Module):
    """InfoNCE between quantized latents and the collaborative vectors of the same items.

    Args:
        latent: Z, size of the latents.
        collaborative: `(N, C)` of all items; a row of zeros is an item without behaviour.
        generator: draws the first weights of the map between the two.
    """

    def __init__(self, latent: int, collaborative: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.known = collaborative.any(dim=1)
        self.targets = F.normalize(collaborative, dim=1)
        drawn = torch.randn(collaborative.shape[1], latent, generator=generator)
        self.projection = nn.Parameter((drawn / latent**0.5).to(collaborative.device))

    def forward(self, latents: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of latents `(B, Z)` of the items `rows` `(B,)`; 0 if none is known."""
        known = self.known[rows]
        if not known.any():
            return latents.new_zeros(())
        projected = F.normalize(latents[known] @ self.projection.T, dim=1)
        similarity = projected @ self.targets[rows[known]].T / TEMPERATURE
        return F.cross_entropy(similarity, torch.arange(len(similarity), device=latents.device))


class CodeGroups:
    """A level's codes in groups of similar ones, from which partners are drawn.

    Args:
        codebook: `(K, Z)`.
        groups: how many; at most K.
        seed: fixes the clustering.
    """

    def __init__(self, codebook: Tensor, groups: int, seed: int) -> None:
        vectors = codebook.detach().cpu().numpy()
        group = torch.from_numpy(nearest(vectors, kmeans(vectors, groups, 10, seed)))
        self.order = torch.argsort(group, stable=True)
        sizes = torch.bincount(group)
        self.size = sizes[group]
        self.first = (torch.cumsum(sizes, dim=0) - sizes)[group]
        self.place = torch.argsort(self.order)

    def partners(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Draw for each of codes `(B,)` another of its group; itself where it is alone."""
        codes = codes.cpu()
        size, first = self.size[codes], self.first[codes]
        others = (size - 1).clamp(min=1)
        step = 1 + (torch.rand(len(codes), generator=generator) * others).long()
        return self.order[first + (self.place[codes] - first + step) % size]


def diversity_loss(chosen: Tensor, codebook: Tensor, codes: Tensor, partners: Tensor) -> Tensor:
    """Pull code vectors to a partner of their group and away from all other codes.

    Args:
        chosen: `(B, Z)`, the code vectors of a batch, with gradients.
        codebook: `(K, Z)`.
        codes: `(B,)`, which they are.
        partners: `(B,)`, a code of the same group each; one equal to its code is left out.
    """
    paired = partners != codes
    if not paired.any():
        return chosen.new_zeros(())
    similarity = F.normalize(chosen[paired], dim=1) @ F.normalize(codebook, dim=1).T / TEMPERATURE
    similarity = similarity.scatter(1, codes[paired, None], float("-inf"))
    return F.cross_entropy(similarity, partners[paired])
