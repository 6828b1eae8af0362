"""What RQ-VAE and FSQ share: an MLP autoencoder with a quantizer between its halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from genrec.config import Settings
from genrec.progress import progress

__all__ = [
    "AutoencoderSettings",
    "Quantized",
    "QuantizedAutoencoder",
    "decode_codes",
    "encode_vectors",
    "load_state",
    "state_of",
    "train",
]

CHUNK = 8192
"""Rows that pass through the network at once outside of training."""


class AutoencoderSettings(Settings):
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
    seed: int = 0
    """Fixes the first weights, the batches and the choice of codes."""


class Quantized(NamedTuple):
    """What a quantizer makes of latents `(B, Z)`.

    Attributes:
        latents: `(B, Z)`, the quantized latents, with gradients straight through.
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
    """

    center: Tensor
    scale: Tensor

    def __init__(
        self, dimension: int, latent: int, hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.encoder = mlp([dimension, *hidden, latent], generator)
        self.decoder = mlp([latent, *reversed(hidden), dimension], generator)
        self.register_buffer("center", torch.zeros(dimension))
        self.register_buffer("scale", torch.ones(()))

    def quantize(self, latents: Tensor) -> Quantized:
        """Quantize latents `(B, Z)`."""
        raise NotImplementedError

    def latents_of(self, codes: Tensor) -> Tensor:
        """Return the quantized latents `(B, Z)` that codes `(B, L)` stand for."""
        raise NotImplementedError

    def before_step(self, step: int, vectors: Tensor, generator: torch.Generator) -> None:
        """Tend the codebooks before optimizer step `step` on the scaled batch `vectors`."""

    def standardize(self, vectors: Tensor) -> None:
        """Set centre and scale from all vectors `(N, D)`."""
        self.center.copy_(vectors.mean(dim=0))
        deviation = (vectors - self.center).square().mean().sqrt()
        self.scale.copy_(deviation if deviation > 1e-6 else torch.ones(()))

    def loss(self, vectors: Tensor) -> Tensor:
        """Return the reconstruction loss of scaled vectors `(B, D)` plus the quantizer's own."""
        quantized = self.quantize(self.encoder(vectors))
        error: Tensor = (self.decoder(quantized.latents) - vectors).square().mean()
        return error + quantized.loss


A = TypeVar("A", bound=QuantizedAutoencoder)


def train(
    model: A, vectors: NDArray[np.float32], settings: AutoencoderSettings, device: torch.device
) -> A:
    """Train on vectors `(N, D)`; the same seed, device and thread count give the same weights."""
    generator = torch.Generator().manual_seed(settings.seed)
    data = torch.from_numpy(vectors).to(device)
    model.to(device).train().standardize(data)
    data = (data - model.center) / model.scale
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.05
    )
    batches = _batches(len(data), settings.batch_size, generator)
    with progress(f"Training {type(model).__name__}", settings.steps) as advance:
        for step in range(settings.steps):
            batch = data[next(batches).to(device)]
            model.before_step(step, data, generator)
            optimizer.zero_grad(set_to_none=True)
            model.loss(batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            advance(1)
    return model.eval()


@torch.inference_mode()
def encode_vectors(model: QuantizedAutoencoder, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return codes `(N, L)` int32 of vectors `(N, D)`."""
    parts = []
    for part in torch.split(torch.from_numpy(vectors), CHUNK):
        scaled = (part.to(model.center.device) - model.center) / model.scale
        parts.append(model.quantize(model.encoder(scaled)).codes.cpu())
    return torch.cat(parts).numpy().astype(np.int32)


@torch.inference_mode()
def decode_codes(model: QuantizedAutoencoder, codes: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return vectors `(N, D)` float32 of codes `(N, L)`."""
    parts = []
    for part in torch.split(torch.from_numpy(codes).long(), CHUNK):
        latents = model.latents_of(part.to(model.center.device))
        parts.append((model.decoder(latents) * model.scale + model.center).cpu())
    return torch.cat(parts).numpy()


def state_of(model: nn.Module) -> dict[str, NDArray[Any]]:
    """Return the module's state as named numpy arrays."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def load_state(model: A, state: dict[str, NDArray[Any]], device: torch.device) -> A:
    """Put the arrays of `state_of` back into a module of the same shape, ready for use."""
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return model.to(device).eval()


def mlp(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Return linear layers with SiLU between, their first weights drawn from `generator`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
        nn.init.xavier_uniform_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield index batches without end, every epoch in a new order."""
    while True:
        yield from torch.split(torch.randperm(count, generator=generator), size)
