"""Level head: logits of one level's codes.

A causal LM's head has a row for every token of its vocabulary, 150,000 of them in current models; a code
of level `l` competes with the `K_l` codes of its level only. This multiplies just those rows, in training
and in decoding, for plain models and for LoRA models whose new rows live in the adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from genrec.common.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["LevelHead"]


class LevelHead:
    """The rows of `model`'s head that belong to the codes of `vocabulary`."""

    def __init__(self, model: PreTrainedModel, vocabulary: CodeVocabulary) -> None:
        self.model = model
        device = model.get_input_embeddings().weight.device
        self.tokens = [torch.from_numpy(level).to(device) for level in vocabulary.tokens]
        places = _adapter_places(model.get_output_embeddings(), self.tokens)
        self._in_adapter = places is not None
        self._columns = [_as_slice(tokens) for tokens in self.tokens]
        self._places = [_as_slice(rows) for rows in places or self.tokens]

    def logits(self, hidden: Tensor, level: int) -> Tensor:
        """Turn final hidden states `(…, D)` into float32 logits `(…, K_level)`."""
        weight, bias = self._rows(level)
        bias = None if bias is None else bias.to(hidden.dtype)
        return self._finish(F.linear(hidden, weight.to(hidden.dtype), bias)).float()

    def logits_of(self, hidden: Tensor, level: int, codes: Tensor) -> Tensor:
        """Turn final hidden states `(…, D)` into float32 logits of a few codes each, `(…, C)` in and out."""
        weight, bias = self._rows(level)
        logits = (F.embedding(codes, weight.to(hidden.dtype)) @ hidden[..., None])[..., 0]
        return self._finish(
            logits if bias is None else logits + bias[codes].to(hidden.dtype)
        ).float()

    def log_probabilities(self, hidden: Tensor, level: int) -> Tensor:
        """Turn final hidden states into log-probabilities over the whole LM vocabulary, `(…, K_level)`."""
        logits = self.vocabulary_logits(hidden)
        own = logits[..., self._columns[level]]
        return own - logits.logsumexp(-1, keepdim=True)

    def vocabulary_logits(self, hidden: Tensor) -> Tensor:
        """Turn final hidden states `(…, D)` into float32 logits over the whole LM vocabulary, `(…, V)`."""
        return self._finish(self.model.get_output_embeddings()(hidden)).float()

    @torch.no_grad()
    def check(self) -> None:
        """Compare with the model's own forward pass.

        Raises:
            InputError: the model turns hidden states into logits in a way that is not supported.
        """
        ids = torch.stack([level[:1] for level in self.tokens]).view(1, -1)
        mode, _ = self.model.training, self.model.eval()
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        full = self.model(input_ids=ids, use_cache=False).logits.float()
        self.model.train(mode)
        for level, tokens in enumerate(self.tokens):
            if not torch.allclose(
                self.logits(hidden, level), full[..., tokens], atol=1e-2, rtol=1e-2
            ):
                raise InputError(
                    f"{type(self.model).__name__} computes its logits in an unknown way, so codes cannot be "
                    "scored exactly: choose another causal language model"
                )

    def _rows(self, level: int) -> tuple[Tensor, Tensor | None]:
        head, rows = self.model.get_output_embeddings(), self._places[level]
        bias = getattr(head, "bias", None)
        weight = (_adapter_rows(head) if self._in_adapter else head.weight)[rows]
        if not torch.is_grad_enabled():
            # A view may start anywhere in memory, and products differ in the last bit with where they start:
            # a copy makes a model and its reloaded self agree bit for bit.
            weight = weight.clone()
        return weight, None if bias is None else bias[self._columns[level]]

    def _finish(self, logits: Tensor) -> Tensor:
        return _finish(logits, self.model.config.get_text_config())


def _as_slice(rows: Tensor) -> Tensor | slice:
    """Rows that follow each other, as a slice: it is taken without a copy."""
    first = int(rows[0])
    consecutive = torch.arange(first, first + len(rows), device=rows.device)
    return slice(first, first + len(rows)) if torch.equal(rows, consecutive) else rows


def _adapter_rows(head: Any) -> Tensor:
    """The trained rows that peft keeps for `trainable_token_indices`, `(new tokens, D)`."""
    adapter = _row_adapter(head)
    rows: Tensor = adapter.trainable_tokens_delta[adapter.active_adapters[0]]
    return rows


def _row_adapter(head: Any) -> Any:
    """What holds the trained rows: beside LoRA it is inside a wrapper, alone it is the layer itself."""
    adapter = getattr(head, "token_adapter", head)
    return adapter if hasattr(adapter, "trainable_tokens_delta") else None


def _adapter_places(head: nn.Module, tokens: list[Tensor]) -> list[Tensor] | None:
    """Where each level's codes stand among peft's trained rows; None for a plain head."""
    adapter = _row_adapter(head)
    if adapter is None or not adapter.active_adapters:
        return None
    index = torch.as_tensor(
        adapter.token_indices[adapter.active_adapters[0]], device=tokens[0].device
    )
    order = index.argsort()
    return [order[torch.searchsorted(index[order], level)] for level in tokens]


def _finish(logits: Tensor, config: object) -> Tensor:
    """Apply what some architectures do to logits after the head (Gemma, Cohere, Granite)."""
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if scale := getattr(config, "logits_scaling", None):
        logits = logits / scale
    return logits
