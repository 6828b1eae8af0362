"""Backbone: the causal language model, a compact one made here, or any pretrained one, tuned.

Both are Transformers `PreTrainedModel`s and take the same path from here on. Of a pretrained model a LoRA
adapter trains, or all of it, or the rows of the new code tokens alone (see `genrec.language_model.tuning`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.common.errors import ConfigError, InputError, RecommenderError
from genrec.language_model import tuning
from genrec.language_model.compact import CompactSettings, compact_model, compact_tokenizer
from genrec.language_model.item_attention import (
    BidirectionalInputs,
    ItemAttention,
    require_masks,
)
from genrec.language_model.item_inputs import (
    ItemInputs,
    ItemProjection,
    TokenInputs,
    plain_inputs,
)
from genrec.language_model.pointer import Pointer
from genrec.language_model.pretrained import (
    WHERE_A_BASE_MAY_LIE,
    BaseRecord,
    grow_tables,
    pretrained_model,
    pretrained_tokenizer,
)
from genrec.language_model.saved import read_saved_model, read_saved_tokenizer
from genrec.language_model.settings import LanguageModelSettings, LoraSettings
from genrec.language_model.vocabulary import CodeVocabulary, code_geometry, initialise_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CompactSettings", "LanguageModel", "LanguageModelSettings", "LoraSettings"]


@dataclass
class LanguageModel:
    """A causal LM, its tokenizer, the codes' tokens in it, and the prompt in front of a history.

    Attributes:
        model: a `PreTrainedModel`, or a `PeftModel` around one.
        tokenizer: the LM's tokenizer with the code tokens added.
        vocabulary: the codes' tokens.
        prefix: LM tokens in front of every history (at least one).
        base: the pretrained weights that an adapter was tuned on; None where weights are saved whole.
        item_projection: takes items' vectors in beside their codes; None where codes are all it reads.
        item_attention: what a code in a history sees of its own item.
        pointer: says which items of a history count; None where codes are all it predicts.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: CodeVocabulary
    prefix: list[int]
    base: BaseRecord | None = None
    item_projection: ItemProjection | None = None
    item_attention: ItemAttention = "causal"
    pointer: Pointer | None = None
    _paused: list[torch.nn.Parameter] = field(default_factory=list, init=False, repr=False)

    @property
    def core(self) -> PreTrainedModel:
        """The Transformers model itself; LoRA layers, if any, are inside it."""
        return self.model.get_base_model() if tuning.is_adapted(self.model) else self.model

    @property
    def max_tokens(self) -> int | None:
        """Longest sequence the model can take, None where unlimited."""
        limit = getattr(self.core.config, "max_position_embeddings", None)
        return int(limit) if limit else None

    @property
    def tokens_per_item(self) -> int:
        """LM tokens that an item takes in a training pass."""
        levels = len(self.vocabulary.codebook_sizes)
        return levels if self.item_attention == "causal" else 2 * levels - 1

    @property
    def quantized(self) -> bool:
        """Whether linear layers are kept in 8 or 4 bits."""
        return bool(getattr(self.core, "is_quantized", False))

    def parameters(self) -> tuple[int, int]:
        """Count the parameters that train, and all."""
        sizes = [(p.numel(), p.requires_grad) for p in self._all_parameters()]
        return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)

    def to(self, device: torch.device, dtype: str | None = None) -> None:
        """Move to a device, in another precision where `dtype` names one.

        Raises:
            ConfigError: a quantized model was asked for another precision.
        """
        if dtype is not None and self.quantized:
            raise ConfigError(
                f"dtype = {dtype!r}: a quantized model computes as it was trained; leave dtype out"
            )
        for module in (self.model, self.item_projection):
            if module is not None:
                module.to(device)
                if dtype is not None:
                    module.to(getattr(torch, dtype))
        if self.pointer is not None:
            self.pointer.to(device)  # so small that it stays exact

    def read_of(self, vectors: NDArray[np.float32]) -> NDArray[np.float16] | None:
        """What the model reads of a catalog's vectors `(N, D_v)`; None if it knows codes alone."""
        if self.item_projection is None and self.pointer is None:
            return None
        return vectors.astype(np.float16)

    def inputs(
        self, codes: NDArray[np.integer], vectors: NDArray[np.floating] | None
    ) -> TokenInputs:
        """How tokens enter the model in a catalog.

        Args:
            codes: `(N, L)` of the catalog.
            vectors: `(N, D_v)` of its items; not read by a model that reads codes alone.
        """
        inputs: TokenInputs = plain_inputs
        if self.item_projection is not None:
            assert vectors is not None, "a model that reads vectors needs those of the catalog"
            inputs = ItemInputs(self.core, self.vocabulary, codes, vectors, self.item_projection)
        if self.item_attention == "causal":
            return inputs
        return BidirectionalInputs(self.core, self.vocabulary, inputs)

    def train_only_codes(self, only: bool) -> None:
        """Freeze everything but the code tokens' rows (a warm-up of these), or end that.

        Exact for every tuning: no other parameter gets a gradient, and an optimizer that was made before
        leaves all of them alone, weight decay included. Calling it twice is calling it once.

        Raises:
            InputError: the rows are no parameters of their own: the model is compact, merged, or was read
                for use.
        """
        rows = tuning.code_rows(self.model)
        if only and not rows:
            raise InputError(
                "the code tokens' rows cannot train alone here: that takes a pretrained language model "
                "(language_model.backbone) which is about to be tuned"
            )
        for parameter in self._paused:
            parameter.requires_grad_(True)
        self._paused = []
        if only:
            own = {id(row) for row in rows}
            trains = [p for p in self._all_parameters() if p.requires_grad]
            self._paused = [p for p in trains if id(p) not in own]
        for parameter in self._paused:
            parameter.requires_grad_(False)
            parameter.grad = None  # an optimizer steps on whatever it finds

    def merged(self) -> LanguageModel:
        """Copy, with adapter and code rows written into the weights: a plain Transformers model.

        The logits stay the same but for rounding, and passes get cheaper. The original is untouched.

        Raises:
            InputError: the model is quantized; its weights cannot take the updates.
        """
        if self.quantized:
            raise InputError(
                "a quantized language model cannot be merged: read it with quantization = none first"
            )
        model = copy.deepcopy(self.model)
        return replace(
            self,
            model=tuning.merge(model) if tuning.is_adapted(model) else model,
            base=None,
            item_projection=copy.deepcopy(self.item_projection),
            pointer=copy.deepcopy(self.pointer),
        )

    def save(self, folder: Path) -> None:
        """Write weights (safetensors; of an adapter only what it adds to its base model) and tokenizer."""
        if self.base is not None:
            tuning.save_adapter(self.model, folder)
            self.base.save(folder)
        else:
            plain = self.merged() if tuning.is_adapted(self.model) else self
            plain.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        for part in self.parts.values():
            part.save(folder)

    @property
    def parts(self) -> dict[str, ItemProjection | Pointer]:
        """What was trained beside the model itself, by name."""
        both = {"item_projection": self.item_projection, "pointer": self.pointer}
        return {name: part for name, part in both.items() if part is not None}

    def _all_parameters(self) -> list[torch.nn.Parameter]:
        modules: list[torch.nn.Module] = [self.model, *self.parts.values()]
        return [parameter for module in modules for parameter in module.parameters()]

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

        Raises:
            RecommenderError: the backbone cannot be found.
            ConfigError: it cannot be quantized or checkpointed, or attend to items, as the settings want; or
                they weigh a pointer that it is not to have.
        """
        if settings.pointer_weight is not None and not settings.pointer:
            raise ConfigError(
                f"language_model.pointer_weight = {settings.pointer_weight:g} weighs a pointer, and there is "
                "none: set language_model.pointer=true, or leave the weight out"
            )
        compact = settings.backbone == "compact"
        tokenizer = compact_tokenizer() if compact else pretrained_tokenizer(settings)
        vocabulary = CodeVocabulary.extend(tokenizer, codebook_sizes)
        positions = (max_items + 1) * len(codebook_sizes) + 1
        base = None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if compact:
                model = compact_model(settings.compact, len(tokenizer), positions)
            else:
                model = pretrained_model(settings)
                base = BaseRecord.of(settings, model)
                grow_tables(model, len(tokenizer))
            initialise_rows(model, vocabulary, code_geometry(codes, vectors, codebook_sizes), seed)
            if not compact:
                model = tuning.add_adapter(model, settings, vocabulary)
        base = None if settings.tuning == "full" else base
        width = model.get_input_embeddings().weight.shape[1]
        made = cls(
            model,
            tokenizer,
            vocabulary,
            _prefix(tokenizer, settings),
            base,
            ItemProjection.of(vectors, width, seed)
            if settings.item_vectors in ("encoder", "text_model")
            else None,
            settings.item_attention,
            Pointer(width, max_items, seed) if settings.pointer else None,
        )
        if made.item_attention == "bidirectional":
            require_masks(made.core, vocabulary, "language_model.item_attention = 'bidirectional'")
        if settings.gradient_checkpointing:
            tuning.checkpoint_activations(made.core)
        return made

    @classmethod
    def load(
        cls,
        folder: Path,
        settings: LanguageModelSettings,
        codebook_sizes: tuple[int, ...],
        *,
        merged: bool = False,
    ) -> LanguageModel:
        """Read what `save` wrote, in evaluation mode.

        Args:
            folder: with weights or an adapter, and the tokenizer.
            settings: those it was made with; `backbone` may name another place of the same base model.
            codebook_sizes: codes of each level.
            merged: write an adapter into the weights of its base model, which makes passes cheaper and
                rounds differently. A quantized base model keeps its adapter beside it.

        Raises:
            RecommenderError: the folder cannot be read, its tokenizer lacks a code, or the base model is gone
                or another.
        """
        tokenizer = read_saved_tokenizer(folder)
        vocabulary = CodeVocabulary.of(tokenizer, codebook_sizes)
        base = None
        if (folder / "adapter_config.json").exists():
            model, base = _adapted(folder, settings, len(tokenizer))
        else:
            dtype = "float32" if settings.backbone == "compact" else settings.dtype
            model = read_saved_model(folder, getattr(torch, dtype))
        model.eval()
        language_model = cls(
            model,
            tokenizer,
            vocabulary,
            _prefix(tokenizer, settings),
            base,
            ItemProjection.load(folder),
            settings.item_attention,
            Pointer.load(folder),
        )
        if merged and base is not None and not language_model.quantized:
            return replace(language_model, model=tuning.merge(model), base=None)
        return language_model


def _lies_at(backbone: str, folder: Path) -> str:
    """A relative folder that is not below the current one is looked for below those above `folder`."""
    path = Path(backbone)
    if path.is_absolute() or path.exists():
        return backbone
    places = [above / path for above in folder.resolve().parents]
    found = [place for place in places if (place / "config.json").is_file()]
    return str(found[0]) if found else backbone


def _adapted(
    folder: Path, settings: LanguageModelSettings, tokens: int
) -> tuple[PreTrainedModel, BaseRecord]:
    """Put the adapter in `folder` on its base model, once that has proved to be the same."""
    record = BaseRecord.load(folder)
    settings = record.pinned(settings)
    if record.revision is None:  # a folder, and not of the hub
        settings = settings.replace(backbone=_lies_at(settings.backbone, folder))
    try:
        model = pretrained_model(settings)
    except RecommenderError as error:
        raise RecommenderError(
            f"{folder} holds what was tuned on {record.name!r}, without which it is of no use: {error}. "
            f"{WHERE_A_BASE_MAY_LIE}"
        ) from None
    found = BaseRecord.of(settings, model)
    record.check(found)
    with torch.random.fork_rng():  # rows that are made here are drawn, and then replaced
        grow_tables(model, tokens)
        model = tuning.load_adapter(model, folder)
    tuning.fold_code_rows(model)
    return model, found


def _prefix(tokenizer: PreTrainedTokenizerBase, settings: LanguageModelSettings) -> list[int]:
    words = "" if settings.backbone == "compact" else settings.instruction
    tokens = list(tokenizer(words, add_special_tokens=False)["input_ids"]) if words else []
    start = tokenizer.bos_token_id
    tokens = tokens if start is None else [start, *tokens]
    return tokens or [tokenizer.eos_token_id or 0]
