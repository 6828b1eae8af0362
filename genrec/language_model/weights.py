"""Weights of a language model: their hash, and whether all of them can train."""

from __future__ import annotations

import hashlib

import torch

from genrec.common.errors import InputError
from genrec.language_model.backbone import LanguageModel

__all__ = ["hash_weights", "require_plain"]


def require_plain(language_model: LanguageModel, what: str) -> None:
    """Refuse a language model whose weights cannot all be trained.

    Raises:
        InputError: it is quantized, or an adapter that is not merged; `what` names what was to be done.
    """
    if language_model.quantized:
        raise InputError(f"a quantized language model cannot {what}: fit it without quantization")
    if language_model.base is not None:
        raise InputError(
            f"an adapter has to be merged before the language model can {what}: open the recommender with "
            "GenerativeRecommender.from_pretrained(…, merged=True)"
        )


def hash_weights(language_model: LanguageModel) -> str:
    """SHA-256 over all parameters, in their order, those beside the model itself among them."""
    digest = hashlib.sha256()
    named = list(language_model.model.named_parameters())
    for part, module in language_model.parts.items():
        named += module.named_parameters(prefix=part)
    for name, parameter in named:
        digest.update(name.encode())
        whole = parameter.detach().cpu().contiguous().flatten()
        digest.update(whole.view(torch.uint8).numpy().data)
    return digest.hexdigest()
