"""vLLM logits processor for its first model runner.

    VLLM_USE_V2_MODEL_RUNNER=0 vllm serve runs/shop/language_model \\
        --logits-processors genrec.decoding.vllm_processor:CatalogProcessor \\
        --additional-config '{"genrec_recommender": "runs/shop"}'

vLLM resolves that name itself; nothing in genrec imports this module, and vLLM must be installed. Where
vLLM uses its second model runner (the default on GPUs since 0.33), name `vllm_v2_processor` instead and
leave the variable out. A request asks for an item with

    SamplingParams(extra_args={"genrec": True}, max_tokens=L, temperature=0, detokenize=False)

in Python, or ``"vllm_xargs": {"genrec": true}, "max_tokens": L`` over HTTP, and a prompt that ends where an
item begins. Its first L tokens are then an item's semantic ID, whatever the other requests of the batch
are; after them only its stop tokens may come, or anything where it has none. Several items come from
sampling (``n=10, temperature=1``), which may repeat one. vLLM's own beam search hands no `extra_args`
to processors and ranks by unmasked probabilities, so it is not constrained: `BeamSearch` is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import (  # type: ignore[import-not-found, unused-ignore]
    BatchUpdate,
    LogitsProcessor,
    MoveDirectionality,
)

from genrec.decoding.constrained_batch import ConstrainedBatch, ItemRequest
from genrec.decoding.vllm_requests import check_request, open_catalog, wants_item

if TYPE_CHECKING:
    from vllm import SamplingParams  # type: ignore[import-not-found, unused-ignore]
    from vllm.config import VllmConfig  # type: ignore[import-not-found, unused-ignore]

__all__ = ["CatalogProcessor"]


class CatalogProcessor(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Lets requests with ``extra_args={"genrec": True}`` generate items of the catalog and nothing else.

    Args:
        vllm_config: ``additional_config["genrec_recommender"]`` names the recommender's folder.
        device: of the logits.
        is_pin_memory: whether pinned memory is to be had.

    Raises:
        InputError: no folder is named, or the served model lacks the codes' tokens.
        RecommenderError: the folder is no recommender.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        mask = open_catalog(vllm_config.additional_config, device)
        mask.check_width(vllm_config.model_config.get_vocab_size())
        self.batch = ConstrainedBatch(mask, pin_memory=is_pin_memory)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse a request at the door (see `check_request`)."""
        check_request(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """False: the likeliest token of all may lead to no item."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the engine's batch: what left, what came, what moved, in this order."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self.batch.put(row, None)
        for row, params, _, generated in batch_update.added:
            self.batch.put(row, _item_request(params, generated))
        for source, target, direction in batch_update.moved:
            swapped = direction == MoveDirectionality.SWAP
            (self.batch.swap if swapped else self.batch.move)(source, target)

    def apply(self, logits: Tensor) -> Tensor:
        """Mask `logits` `(B, V)` in place."""
        return self.batch.apply(logits) if self.batch else logits


def _item_request(params: Any, generated: list[int]) -> ItemRequest | None:
    if not wants_item(params):
        return None
    return ItemRequest(generated, sorted(params.all_stop_token_ids))
