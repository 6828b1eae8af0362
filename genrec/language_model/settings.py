"""Settings of the language model: which one continues the histories, and how it is tuned."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from genrec.common.config import Settings
from genrec.language_model.compact import CompactSettings
from genrec.language_model.item_attention import ItemAttention

__all__ = ["LanguageModelSettings", "LoraSettings"]


class LoraSettings(Settings):
    """The adapter that is trained on a pretrained model (LoRA, Hu et al. 2021)."""

    rank: int = Field(16, ge=1)
    """Rank of the update of each linear layer; the head and the tables have none."""
    alpha: int = Field(32, ge=1)
    """Scale of the update, over `rank`."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout in front of the update."""


class LanguageModelSettings(Settings):
    """Which causal language model continues the histories."""

    backbone: str = "compact"
    """``compact``, or a pretrained causal LM: a Hugging Face hub name or a local path."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    tuning: Literal["lora", "full", "vocabulary"] = "lora"
    """What trains of a pretrained model: an adapter and the codes' rows, all of it, or these rows alone (the
    compact model always trains whole)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of a pretrained model's weights. What an adapter trains is float32 in any case; with
    ``tuning: full`` bfloat16 would round small updates away, so leave it and set ``training.precision``."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Keep a pretrained model's frozen linear layers in 8 or 4 bits (QLoRA, Dettmers et al. 2023): a quarter
    or less of the memory. Needs ``pip install 'genrec[quantize]'``."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time, same gradients."""
    item_vectors: Literal["auto", "none", "encoder", "text_model"] = "auto"
    """Which vectors of a history's items enter beside their codes (see `item_inputs`): those of the encoder,
    or those that the text model learned. A model that reads some is no plain one for `genrec export` and
    vLLM. ``auto`` is the text model's for a compact model without a pointer, if there is one; else none."""
    item_attention: ItemAttention = "causal"
    """What a code in a history sees of its own item: the codes before it, or, ``bidirectional``, all of them
    (see `item_attention`). Training then sends nearly twice the tokens through a model that must heed masks,
    which one with sliding windows or a running state does not, and it is no plain model for `genrec export`
    and vLLM."""
    pointer: bool | None = None
    """Whether it also learns to point: at the items of a history that count, and so at all that are like them
    (see `pointer`). None is yes for several catalogs together and no for one: of a catalog that it was never
    trained on, the pointer tells it most. Each history is then read twice, and the model is no plain one for
    `genrec export` and vLLM."""
    pointer_weight: float | None = Field(None, ge=0, lt=1)
    """Share of the pointer in what the language model expects; None is chosen on validation."""
    instruction: str = "A shopper chose these products, oldest first:"
    """Words in front of the history, for a pretrained model."""
    compact: CompactSettings = CompactSettings()
    """Shape of the compact model."""
    lora: LoraSettings = LoraSettings()
    """Adapter of a pretrained model."""

    @field_validator("item_vectors", mode="before")
    @classmethod
    def _of_the_encoder_or_none(cls, value: Any) -> Any:
        if isinstance(value, bool):  # folders of before have it so
            return "encoder" if value else "none"
        return value

    @model_validator(mode="after")
    def _quantized_weights_stay(self) -> LanguageModelSettings:
        if self.quantization != "none" and self.backbone == "compact":
            raise ValueError(
                "quantization is for a pretrained backbone: give one, or set quantization to none"
            )
        if self.quantization != "none" and self.tuning == "full":
            raise ValueError(
                f"weights in {self.quantization} cannot train: set tuning to lora or vocabulary, or "
                "quantization to none"
            )
        return self
