"""The causal language model: a compact one made here, or any pretrained one with LoRA.

Both are Transformers `PreTrainedModel`s and take the same path from here on. A pretrained model keeps its
weights; what trains is a LoRA adapter (Hu et al. 2021) and the rows of the new code tokens
(peft's `trainable_token_indices`), with tied and untied heads alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import Field

from genrec.config import Settings
from genrec.errors import InputError, RecommenderError
from genrec.language_model.vocabulary import CodeVocabulary, code_geometry, initialise_rows

if TYPE_CHECKING:
    import numpy as np
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CompactSettings", "LanguageModel", "LanguageModelSettings", "LoraSettings"]


class CompactSettings(Settings):
    """Shape of the compact language model (a GPT-2 architecture: it has dropout everywhere)."""

    width: int = Field(128, ge=8, multiple_of=4)
    """Hidden size D; a multiple of `heads`."""
    layers: int = Field(3, ge=1)
    """Transformer blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout of embeddings, attention and residual branches."""


class LoraSettings(Settings):
    """The adapter that is trained on a pretrained model."""

    rank: int = Field(16, ge=1)
    """Rank of the update of each linear layer."""
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
    tuning: Literal["lora", "full"] = "lora"
    """What trains of a pretrained model (the compact one always trains whole)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of a pretrained model's weights."""
    instruction: str = "A shopper chose these products, oldest first:"
    """Words in front of the history, for a pretrained model."""
    compact: CompactSettings = CompactSettings()
    """Shape of the compact model."""
    lora: LoraSettings = LoraSettings()
    """Adapter of a pretrained model."""


@dataclass
class LanguageModel:
    """A causal LM, its tokenizer, the codes' tokens in it, and the prompt in front of a history.

    Attributes:
        model: a `PreTrainedModel`, or a `PeftModel` around one.
        tokenizer: the LM's tokenizer with the code tokens added.
        vocabulary: the codes' tokens.
        prefix: LM tokens in front of every history (at least one).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: CodeVocabulary
    prefix: list[int]

    @property
    def core(self) -> PreTrainedModel:
        """The Transformers model itself; LoRA layers, if any, are inside it."""
        return self.model.get_base_model() if _is_peft(self.model) else self.model

    @property
    def max_tokens(self) -> int | None:
        """Longest sequence the model can take, None where unlimited."""
        limit = getattr(self.core.config, "max_position_embeddings", None)
        return int(limit) if limit else None

    def parameters(self) -> tuple[int, int]:
        """Count the parameters that train, and all."""
        sizes = [(p.numel(), p.requires_grad) for p in self.model.parameters()]
        return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)

    def to(self, device: torch.device, dtype: str | None = None) -> None:
        """Move to a device, in another precision where `dtype` names one."""
        self.model.to(device=device, dtype=None if dtype is None else getattr(torch, dtype))

    def save(self, folder: Path) -> None:
        """Write weights (safetensors; for LoRA the adapter only) and tokenizer."""
        # The adapter holds the code rows already; peft would add the whole resized tables to it.
        options = {"save_embedding_layers": False} if _is_peft(self.model) else {}
        self.model.save_pretrained(folder, **options)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def create(
        cls,
        settings: LanguageModelSettings,
        codes: NDArray[np.integer],
        vectors: NDArray[np.float32],
        codebook_sizes: tuple[int, ...],
        *,
        max_items: int,
        seed: int,
    ) -> LanguageModel:
        """Make the model that training starts from.

        Args:
            settings: which model.
            codes: `(N, L)` codes of the catalog; with `vectors` `(N, D)` they give the new rows.
            vectors: `(N, D)` item vectors.
            codebook_sizes: codes of each level.
            max_items: longest history, in items; sets the compact model's number of positions.
            seed: of all initial weights.
        """
        compact = settings.backbone == "compact"
        tokenizer = _compact_tokenizer() if compact else _pretrained_tokenizer(settings)
        vocabulary = CodeVocabulary.extend(tokenizer, codebook_sizes)
        positions = (max_items + 1) * len(codebook_sizes) + 1
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = (
                _compact(settings.compact, len(tokenizer), positions)
                if compact
                else _pretrained(settings)
            )
            if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
                model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            initialise_rows(model, vocabulary, code_geometry(codes, vectors, codebook_sizes), seed)
            if not compact and settings.tuning == "lora":
                model = _with_lora(model, settings, vocabulary)
        return cls(
            model,
            tokenizer,
            vocabulary,
            _prefix(tokenizer, "" if compact else settings.instruction),
        )

    @classmethod
    def load(
        cls, folder: Path, settings: LanguageModelSettings, codebook_sizes: tuple[int, ...]
    ) -> LanguageModel:
        """Read what `save` wrote; a LoRA adapter is put back on its base model, in evaluation mode."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        vocabulary = CodeVocabulary.of(tokenizer, codebook_sizes)
        compact = settings.backbone == "compact"
        if (folder / "adapter_config.json").exists():
            from peft import PeftModel

            base = _pretrained(settings)
            if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:
                base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            model = PeftModel.from_pretrained(base, folder)
        else:
            dtype = torch.float32 if compact else getattr(torch, settings.dtype)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        model.eval()
        return cls(
            model,
            tokenizer,
            vocabulary,
            _prefix(tokenizer, "" if compact else settings.instruction),
        )


def _is_peft(model: nn.Module) -> bool:
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def _compact_tokenizer() -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<s>": 0, "<unk>": 1}, unk_token="<unk>"))  # noqa: S106 a token, no secret
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", unk_token="<unk>")  # noqa: S106


def _compact(shape: CompactSettings, tokens: int, positions: int) -> PreTrainedModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    if shape.width % shape.heads:
        raise InputError(
            f"language_model.compact.width = {shape.width} must be a multiple of heads = {shape.heads}"
        )
    config = GPT2Config(
        vocab_size=tokens,
        n_positions=positions,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
        activation_function="relu",
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def _pretrained(settings: LanguageModelSettings) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, settings.dtype)
    model: PreTrainedModel = _from_hub(
        AutoModelForCausalLM, settings, dtype=dtype, use_safetensors=True
    )
    return model


def _pretrained_tokenizer(settings: LanguageModelSettings) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return _from_hub(AutoTokenizer, settings)


def _from_hub(kind: Any, settings: LanguageModelSettings, **options: Any) -> Any:
    try:
        return kind.from_pretrained(settings.backbone, revision=settings.revision, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecommenderError(
            f"language_model.backbone = {settings.backbone!r} is neither 'compact', nor a local folder with "
            f"a causal language model, nor a hub model that can be reached from here: {reason}"
        ) from None


def _with_lora(
    model: PreTrainedModel, settings: LanguageModelSettings, vocabulary: CodeVocabulary
) -> PreTrainedModel:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules="all-linear",
        trainable_token_indices=_trainable_tokens(model, vocabulary),
        revision=settings.revision,
    )
    return get_peft_model(model, config)


def _trainable_tokens(model: PreTrainedModel, vocabulary: CodeVocabulary) -> dict[str, list[int]]:
    """New rows by layer: peft follows a tied head by itself, an untied one must be named."""
    names = {module: name.rsplit(".", 1)[-1] for name, module in model.named_modules()}
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    layers = [table] if head.weight is table.weight else [table, head]
    return {names[layer]: vocabulary.all_tokens for layer in layers}


def _prefix(tokenizer: PreTrainedTokenizerBase, instruction: str) -> list[int]:
    tokens = (
        list(tokenizer(instruction, add_special_tokens=False)["input_ids"]) if instruction else []
    )
    start = tokenizer.bos_token_id
    tokens = tokens if start is None else [start, *tokens]
    return tokens or [tokenizer.eos_token_id or 0]
