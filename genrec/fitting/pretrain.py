"""Pretraining of a small base language model: BPE tokenizer and weights from texts, in Transformers format.

Where no pretrained model can be had, the catalog's own texts teach a model its words; from then on it is
tuned like any other. It knows nothing but these texts: a pretrained model from the hub knows more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.common.artifacts import atomic_folder
from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.fitting.work_folder import WorkFolder
from genrec.language_model.text_tokenizer import train_bpe
from genrec.training.loop import Report, TrainingResult, train
from genrec.training.settings import TrainingSettings
from genrec.training.sources import Epoch, Part, share

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BaseModelSettings", "pretrain"]


class BaseModelSettings(Settings):
    """Shape of the base model (Qwen3's architecture, tied tables) and how it learns."""

    tokens: int = Field(8192, ge=300)
    """Most tokens of its vocabulary."""
    width: int = Field(192, ge=8, multiple_of=4)
    """Hidden size D."""
    layers: int = Field(4, ge=1)
    """Transformer blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide `width` into even parts."""
    context: int = Field(128, ge=8)
    """Tokens of a training sequence."""
    positions: int = Field(2048, ge=64)
    """Longest sequence that the model may be tuned on."""
    batch: int = Field(32, ge=1)
    """Sequences of a batch."""
    training: TrainingSettings = TrainingSettings(
        epochs=10, min_steps=200, learning_rate=3e-3, validations=4
    )
    """How long and how fast (what is about items there is not read)."""
    seed: int = Field(0, ge=0)
    """Of weights and order."""


def pretrain(
    texts: Sequence[str],
    settings: BaseModelSettings,
    out: Path,
    *,
    device: str = "cpu",
    overwrite: bool = False,
    report: Report | None = None,
) -> TrainingResult:
    """Learn a tokenizer and a causal language model from `texts`; write both to `out`.

    A run that was interrupted goes on when it is called again with the same arguments.

    Raises:
        InputError: the texts are too short for a single sequence, or `out` is in the way.
    """
    advice = "choose another out, or set overwrite=true"
    with WorkFolder.beside(out, overwrite=overwrite, advice=advice) as work:
        tokenizer = train_bpe(texts, settings.tokens)
        blocks = _blocks([*tokenizer(list(texts))["input_ids"]], tokenizer.eos_token_id, settings)
        model = _random_model(settings, len(tokenizer), tokenizer.eos_token_id).to(device)
        work.claim({"blocks": hashlib.sha256(blocks.tobytes()).hexdigest()}, settings)
        result = train(
            _TextLoss(model),
            _Blocks(blocks, settings.batch, settings.seed),
            settings.training,
            None,
            folder=work.checkpoints,
            seed=settings.seed,
            report=report,
        )
        with atomic_folder(out, overwrite=overwrite) as building:
            model.save_pretrained(building)
            tokenizer.save_pretrained(building)
    return result


def _blocks(texts: list[list[int]], end: int, settings: BaseModelSettings) -> NDArray[np.int64]:
    """All texts in one line, an end token behind each, cut into sequences `(S, context)`."""
    line = np.concatenate([np.array([*text, end], np.int64) for text in texts])
    count = len(line) // settings.context
    if not count:
        raise InputError(
            f"the texts have {len(line)} tokens, fewer than one sequence of context = {settings.context}: "
            "give more texts, or a shorter context"
        )
    return line[: count * settings.context].astype(np.int64).reshape(count, settings.context)


def _random_model(settings: BaseModelSettings, tokens: int, end: int) -> PreTrainedModel:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    if settings.width % (2 * settings.heads):
        raise InputError(
            f"width = {settings.width} must be a multiple of twice the heads = {settings.heads}"
        )
    config = Qwen3Config(
        vocab_size=tokens,
        hidden_size=settings.width,
        intermediate_size=3 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        head_dim=settings.width // settings.heads,
        max_position_embeddings=settings.positions,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return Qwen3ForCausalLM(config)


class _TextLoss(nn.Module):
    """Negative log-likelihood of every token but the first, in nats, summed over `(B, T)` tokens."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Sum over a batch."""
        logits = self.model(input_ids=tokens, use_cache=False).logits[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")


@dataclass(frozen=True)
class _Blocks:
    """Sequences of one length, in another order each epoch."""

    blocks: NDArray[np.int64]
    batch: int
    seed: int

    def epoch(self, number: int) -> Epoch:
        order = np.random.default_rng((self.seed, number)).permutation(len(self.blocks))
        starts = range(0, len(order), self.batch)
        return _BlockEpoch(self.blocks, [order[i : i + self.batch] for i in starts])


@dataclass(frozen=True)
class _BlockEpoch:
    blocks: NDArray[np.int64]
    batches: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.batches)

    def units(self, batch: int) -> float:
        return float(len(self.batches[batch]) * (self.blocks.shape[1] - 1))

    def tokens(self, batch: int) -> int:
        return int(self.blocks[self.batches[batch]].size)

    def part(self, batch: int, part: Part) -> tuple[Tensor, bool]:
        rows, counts = share(self.batches[batch], part)
        return torch.from_numpy(self.blocks[rows]), counts
