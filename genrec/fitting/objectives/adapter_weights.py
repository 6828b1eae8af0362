"""Adapter weights as an objective: of a whole language model, these few numbers train.

After the layer-wise integration of X-Cross (Hadad et al. 2025); what is different is said in
`genrec.language_model.domain_adapters`.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genrec.language_model.backbone import LanguageModel
from genrec.language_model.domain_adapters import block_count, weigh_loras

__all__ = ["AdapterWeightLoss"]


class AdapterWeightLoss(nn.Module):
    """A loss of a language model with A adapters, as a function of their weights alone.

    Args:
        loss: of the model.
        language_model: it, with adapters as `load_loras` leaves them.
        start: `(A,)` weights to start from.
        each_block: whether every block of layers has weights of its own.
    """

    def __init__(
        self,
        loss: nn.Module,
        language_model: LanguageModel,
        start: NDArray[np.floating],
        each_block: bool,
    ) -> None:
        super().__init__()
        self.loss = loss.eval()
        blocks, device = block_count(language_model), language_model.core.device
        # Single numbers: a layer multiplies by the parameter itself, and so follows every step.
        self._rows = [
            [
                nn.Parameter(torch.tensor(float(weight), device=device))
                for _ in range(blocks if each_block else 1)
            ]
            for weight in start
        ]
        self.weights = nn.ParameterList(weight for row in self._rows for weight in row)
        spread = 1 if each_block else blocks
        weigh_loras(language_model, [row * spread for row in self._rows])

    def forward(self, inputs: Any) -> Tensor:
        """Loss of a batch, summed over its items."""
        value: Tensor = self.loss(inputs)
        return value

    def train(self, mode: bool = True) -> Self:
        """Leave the model as a search finds it: what is frozen needs no dropout."""
        super().train(mode)
        self.loss.eval()
        return self

    def learned(self) -> NDArray[np.float64]:
        """The weights as they stand: `(A, G)`, or `(A, 1)` where all blocks share them."""
        return np.array([[weight.item() for weight in row] for row in self._rows])
