"""Autoencoder around a quantizer: the part that RQ-VAE, mixture-of-experts codebooks and FSQ share.

Encoder and decoder are each the sum of a linear map and an MLP. The linear maps start as the vectors'
principal components and the MLPs at zero: training begins where a quantizer of the principal
components would end, and thousands of steps do what the usual thousands of epochs are for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from genrec.common.progress import progress
from genrec.semantic_ids.base import ItemTokenizer, ItemTokenizerSettings
from genrec.semantic_ids.letter import Alignment

__all__ = [
    "AutoencoderSettings",
    "AutoencoderTokenizer",
    "Quantized",
    "QuantizedAutoencoder",
    "linear",
    "mlp",
    "train",
]

CHUNK = 8192
"""Rows that pass through the network at once outside of training."""


class AutoencoderSettings(ItemTokenizerSettings):
    """The network around a quantizer and how it is trained."""

    hidden: tuple[int, ...] = (256,)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    steps: int = Field(default=2000, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=256, ge=1)
    """Vectors a step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of AdamW's rate, which warms up over 5 % of the steps and then falls to zero."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's weight decay."""
    alignment: float = Field(default=0.1, ge=0)
    """Weight of LETTER's alignment loss, where collaborative vectors are given to `fit`."""


class Quantized(NamedTuple):
    """What a quantizer makes of latents `(B, Z)`.

    Attributes:
        latents: `(B, Z')`, what the decoder reads, with gradients straight through.
        codes: `(B, L)` int64.
        loss: scalar, what the quantizer itself adds to the training loss.
    """

    latents: Tensor
    codes: Tensor
    loss: Tensor


class QuantizedAutoencoder(nn.Module):
    """Encoder, quantizer, decoder; a subclass says how latents are quantized.

    Vectors are centred and divided by one number first, so that the loss is 1 for a decoder that
    always answers the mean, whatever the encoder's scale.

    Args:
        dimension: D.
        encoded: Z, the size of what the encoder gives.
        quantized: Z', the size of what the decoder reads.
        hidden: widths of the hidden layers of the encoder; the decoder mirrors them.
        generator: draws the first weights.
    """

    center: Tensor
    scale: Tensor

    def __init__(
        self,
        dimension: int,
        encoded: int,
        quantized: int,
        hidden: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.encoder: nn.Module = mlp([dimension, *hidden, encoded], generator)
        self.decoder: nn.Module = mlp([quantized, *reversed(hidden), dimension], generator)
        self.into = linear(dimension, encoded)
        self.out = linear(quantized, dimension)
        self.register_buffer("center", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(()))

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""

    def quantize(self, latents: Tensor) -> Quantized:
        """Quantize latents `(B, Z)`."""
        raise NotImplementedError

    def latents_of(self, codes: Tensor) -> Tensor:
        """Return what the decoder reads `(B, Z')` for codes `(B, L)`."""
        raise NotImplementedError

    def start_linear(self, components: Tensor, deviations: Tensor) -> None:
        """Set the linear maps from principal components `(P, D)`, the first ones first.

        Args:
            components: orthonormal rows; zeros where the vectors have fewer.
            deviations: `(P,)`, the standard deviation along each.
        """
        self.into.weight.copy_(components)
        self.out.weight.copy_(components.T)

    def before_step(self, step: int, vectors: Tensor, generator: torch.Generator) -> None:
        """Tend the codebooks before optimizer step `step`, given all scaled vectors."""

    def after_training(self, vectors: Tensor) -> None:
        """Finish what needs the final network, given all scaled vectors `(N, D)`."""

    def encode(self, vectors: Tensor) -> Tensor:
        """Return latents `(B, Z)` of scaled vectors `(B, D)`."""
        latents: Tensor = self.into(vectors) + self.encoder(vectors)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Return scaled vectors `(B, D)` of quantized latents `(B, Z')`."""
        vectors: Tensor = self.out(latents) + self.decoder(latents)
        return vectors

    def scaled(self, vectors: Tensor) -> Tensor:
        """Centre and scale vectors `(B, D)`."""
        return (vectors - self.center) / self.scale

    @torch.no_grad()
    def standardize(self, vectors: Tensor) -> Tensor:
        """Set centre, scale and linear maps from all vectors `(N, D)`; return these scaled."""
        self.center.copy_(vectors.mean(dim=0))
        deviation = (vectors - self.center).square().mean().sqrt()
        self.scale.copy_(deviation if deviation > 1e-6 else torch.ones(()))
        scaled = self.scaled(vectors)
        variances, axes = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
        components = scaled.new_zeros(self.into.weight.shape)
        deviations = scaled.new_zeros(len(components))
        kept = min(len(components), len(axes))
        components[:kept] = axes.flip(1).T[:kept]
        deviations[:kept] = variances.flip(0)[:kept].clamp(min=0).sqrt()
        self.start_linear(components, deviations)
        return scaled


class AutoencoderTokenizer(ItemTokenizer):
    """Item tokenizer by a quantized autoencoder; a subclass gives the network.

    Args:
        settings: network, quantizer and training.
        device: where torch trains and encodes.
    """

    settings: AutoencoderSettings
    aligns: ClassVar[bool] = True

    def __init__(self, settings: AutoencoderSettings | None = None, device: str = "cpu") -> None:
        super().__init__(settings)
        self.device = torch.device(device)
        self.model: QuantizedAutoencoder | None = None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return () if self.model is None else self.model.codebook_sizes

    @abstractmethod
    def _network(self, dimension: int, items: int) -> QuantizedAutoencoder:
        """Return the untrained network for vectors of a size; codebooks need no more than `items`."""

    def _fit(self, vectors: NDArray[np.float32], collaborative: NDArray[np.float32] | None) -> None:
        model = self._network(vectors.shape[1], len(vectors)).to(self.device)
        behaviour = None if collaborative is None else torch.tensor(collaborative)
        train(model, torch.tensor(vectors), self.settings, behaviour)
        self.model = model

    @torch.inference_mode()
    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        assert self.model is not None
        # A product's last bit depends on where in the batch a row stands: each vector goes in once, so that
        # equal ones get equal codes.
        whole_rows = np.dtype((np.void, vectors.itemsize * vectors.shape[1]))
        rows = np.ascontiguousarray(vectors).view(whole_rows).ravel()
        _, first, row_of = np.unique(rows, return_index=True, return_inverse=True)
        parts = []
        for part in torch.split(torch.tensor(vectors[first]), CHUNK):
            latents = self.model.encode(self.model.scaled(part.to(self.device)))
            parts.append(self.model.quantize(latents).codes.cpu())
        return torch.cat(parts).numpy().astype(np.int32)[row_of]

    @torch.inference_mode()
    def _decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        model = self.model
        assert model is not None
        parts = []
        for part in torch.split(torch.tensor(codes).long(), CHUNK):
            vectors = model.decode(model.latents_of(part.to(self.device)))
            parts.append((vectors * model.scale + model.center).cpu())
        return torch.cat(parts).numpy()

    def _state(self) -> dict[str, NDArray[Any]]:
        assert self.model is not None
        return {name: value.cpu().numpy() for name, value in self.model.state_dict().items()}

    def _restore(self, state: dict[str, NDArray[Any]], dimension: int) -> None:
        codes = state["codebooks"].shape[1] if "codebooks" in state else 1
        model = self._network(dimension, codes)
        if "into.weight" not in state:  # from before the linear maps: without them, zeros
            added = {name for name in model.state_dict() if name not in state}
            state = state | {name: model.state_dict()[name].numpy() * 0 for name in added}
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        self.model = model.to(self.device).eval()


def train(
    model: QuantizedAutoencoder,
    vectors: Tensor,
    settings: AutoencoderSettings,
    collaborative: Tensor | None = None,
) -> None:
    """Train in place; the same seed, device and thread count give the same weights.

    Args:
        model: on its device.
        vectors: `(N, D)`.
        settings: of the training.
        collaborative: `(N, C)` that codes are to agree with; rows of zeros are left out.
    """
    device = model.center.device
    generator = torch.Generator().manual_seed(settings.seed)
    data = model.train().standardize(vectors.to(device))
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    alignment = None
    if collaborative is not None and settings.alignment:
        drawn = torch.Generator().manual_seed(settings.seed)
        alignment = Alignment(model.out.in_features, collaborative.to(device), drawn)
        learned += alignment.parameters()
    optimizer = torch.optim.AdamW(
        learned, settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.05
    )
    batches = _batches(len(data), settings.batch_size, generator)
    with progress(f"Training {type(model).__name__}", settings.steps) as advance:
        for step in range(settings.steps):
            rows = next(batches).to(device)
            model.before_step(step, data, generator)
            quantized = model.quantize(model.encode(data[rows]))
            loss = (model.decode(quantized.latents) - data[rows]).square().mean() + quantized.loss
            if alignment is not None:
                loss = loss + settings.alignment * alignment(quantized.latents, rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            advance(1)
    model.eval().after_training(data)


def mlp(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Return linear layers with SiLU between; the last starts at zero, the rest are drawn."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = linear(inputs, outputs, bias=True)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        layers += [layer, nn.SiLU()]
    nn.init.zeros_(layer.weight)
    return nn.Sequential(*layers[:-1])


def linear(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    """Return a linear layer of zeros, made without touching torch's own randomness."""
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta").to_empty(device="cpu")
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield index batches without end, every epoch in a new order."""
    while True:
        yield from torch.split(torch.randperm(count, generator=generator), size)
