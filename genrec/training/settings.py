"""Training settings: how long, how fast and in what portions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genrec.common.config import Settings

__all__ = ["JointSettings", "TrainingSettings"]


class TrainingSettings(Settings):
    """How long and how fast to train."""

    epochs: int = Field(12, ge=1)
    """Passes over the log."""
    min_steps: int = Field(1000, ge=1)
    """A small log is passed over more often, until this many optimizer steps."""
    max_steps: int | None = Field(None, ge=1)
    """End after this many steps whatever the epochs say."""
    batch_items: int = Field(1024, ge=1)
    """Items of a batch, padding included."""
    batch_tokens: int | None = Field(None, ge=1)
    """With `tasks`, tokens of a batch; None is `batch_items` times the levels of a semantic ID."""
    text_weight: float = Field(0.1, ge=0)
    """With `tasks`, what a token of words counts in the loss; an item, with all its codes, counts 1."""
    max_items: int = Field(20, ge=1)
    """Longest history, in items; longer ones are cut into windows for training."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of AdamW's rate: linear warm-up, a plateau, linear decay to zero."""
    warmup_steps: int = Field(200, ge=0)
    """Steps to the peak."""
    codes_first: int = Field(0, ge=0)
    """Steps at the start in which only the codes' rows of a pretrained model train: they come to it as
    strangers, and their first gradients are no good for the rest."""
    decay: float = Field(0.5, ge=0, le=1)
    """Share of the run over which the rate falls to zero."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay of matrices (biases and norms have none)."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    validations: int = Field(8, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""
    patience: int = Field(3, ge=1)
    """Stop after this many validations without a better ndcg@10."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the forward and backward pass."""
    accumulate: int = Field(1, ge=1)
    """Pieces in which each batch goes through the model: less memory, the same gradients."""
    checkpoint_seconds: float = Field(30.0, ge=0)
    """Least time between two checkpoints."""
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Where losses, rates and throughput go as well, as accelerate names it."""


class JointSettings(Settings):
    """How several catalogs are trained on together."""

    temperature: float = Field(2.0, ge=1)
    """A catalog of n batches gives a share of training proportional to n ** (1 / temperature): 1 leaves sizes
    as they are, more helps the small."""
