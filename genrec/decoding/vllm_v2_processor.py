"""vLLM logits processor for its second model runner, the default on GPUs since 0.33.

    vllm serve runs/shop/language_model \\
        --logits-processors genrec.decoding.vllm_v2_processor:CatalogProcessor \\
        --additional-config '{"genrec_recommender": "runs/shop"}'

Requests are the same as with `vllm_processor`, whose text says what they look like and what they get. Here
the generated tokens never leave the device: vLLM keeps them there, one line for each request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor
from vllm.v1.worker.gpu.sample.logits_processor import (  # type: ignore[import-not-found, unused-ignore]
    LogitsProcessor,
)

from genrec.common.errors import InputError
from genrec.decoding.constrained_batch import leave_only, send
from genrec.decoding.vllm_requests import check_request, open_catalog, wants_item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from vllm import SamplingParams  # type: ignore[import-not-found, unused-ignore]
    from vllm.config import VllmConfig  # type: ignore[import-not-found, unused-ignore]
    from vllm.v1.worker.gpu.sample.logits_processor import (  # type: ignore[import-not-found, unused-ignore]
        LogitsContext,
        LogitsProcRequestState,
    )

__all__ = ["CatalogProcessor"]


class CatalogProcessor(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Lets requests with ``extra_args={"genrec": True}`` generate items of the catalog and nothing else.

    Args:
        vllm_config: ``additional_config["genrec_recommender"]`` names the recommender's folder.
        req_states: vLLM's tables of the running requests, one slot a request.

    Raises:
        InputError: no folder is named, the served model lacks the codes' tokens, or the engine decodes
            speculatively (rows are then drafts, not requests).
        RecommenderError: the folder is no recommender.
    """

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        if vllm_config.speculative_config is not None:
            raise InputError(
                "genrec's logits processor does not work with speculative decoding: start the engine without"
            )
        self.mask = open_catalog(vllm_config.additional_config, req_states.device)
        self.mask.check_width(req_states.vocab_size)
        self.req_states, self.pin_memory = req_states, req_states.device.type == "cuda"
        self._stops: dict[int, Sequence[int]] = {}

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse a request at the door (see `check_request`)."""
        check_request(sampling_params)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Note what the slot's new request is; slots are used again and again."""
        self._stops.pop(req_idx, None)
        if wants_item(sampling_params):
            self._stops[req_idx] = sorted(sampling_params.all_stop_token_ids)
        return req_idx in self._stops

    def apply(self, logits: Tensor, ctx: LogitsContext) -> Tensor:
        """Mask `logits` `(B, V)` in place; row `i` is the request in slot ``ctx.idx_mapping_np[i]``."""
        rows, slots, levels = self._constrained_rows(ctx)
        last = int(np.searchsorted(levels, self.mask.levels))
        if last:
            generated = self._generated(slots[:last])
            self.mask.restrict(logits, self._send(rows[:last]), generated, levels[:last])
        closed = zip(rows[last:].tolist(), slots[last:].tolist(), strict=True)
        stops = {row: self._stops[slot] for row, slot in closed if self._stops[slot]}
        if stops:
            leave_only(logits, stops, pin_memory=self.pin_memory)
        return logits

    def _constrained_rows(
        self, ctx: LogitsContext
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows, slots and numbers of generated tokens of the requests for items, by that number."""
        slots = np.asarray(ctx.idx_mapping_np, np.int64)
        # The bound is exact without drafts, and padded behind the batch. A prompt that is not read to its
        # end yet gives a negative number, and a token that vLLM throws away.
        lengths = ctx.seq_lens_upper_bound_np[: len(slots)]
        levels = lengths - self.req_states.prompt_len.np[slots]
        wanted = np.array([int(slot) in self._stops for slot in slots], bool) & (levels >= 0)
        rows = np.flatnonzero(wanted)
        rows = rows[np.argsort(levels[rows], kind="stable")]
        return rows, slots[rows], levels[rows].astype(np.int64)

    def _generated(self, slots: NDArray[np.int64]) -> Tensor:
        """The first L tokens behind each slot's prompt, `(n, L)`; arbitrary ones past its level."""
        table = self.req_states.all_token_ids.gpu
        start = self.req_states.prompt_len.np[slots].astype(np.int64)
        columns = np.minimum(start[:, None] + np.arange(self.mask.levels), table.shape[1] - 1)
        generated: Tensor = table[self._send(slots)[:, None], self._send(columns)]
        return generated

    def _send(self, values: NDArray[np.int64]) -> Tensor:
        return send(values, self.req_states.device, pin_memory=self.pin_memory)
