"""Fit of a reranker: which of the mixture's best items the user took, learned from validation cases.

Every case teaches one choice: a softmax over the mixture's best items should name the target. Whether that
helps is asked of other cases: it is fitted on four fifths and judged on the last, five times. Where these
clearly fare better than with the mixture alone, it is fitted on all and kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.evaluation.metrics import METRICS
from genrec.fitting.weighing import Weighing, clearly_better
from genrec.recommender.reranker import DEPTH, Layers, Reranker, evidence, logits_of

__all__ = ["fit_reranker"]

log = logging.getLogger(__name__)
_FEWEST = 300
"""Cases whose target is among the items that are ordered: with fewer, nothing is fitted."""
_FOLDS = 5
"""Parts of the cases, each judged by what is fitted on the others."""
_HIDDEN = 16
_STEPS = 300
_CASES = 256
"""A step's."""
_LEARNING_RATE = 0.01


def fit_reranker(
    weighing: Weighing, weights: Mapping[str, float], seed: int = 0
) -> tuple[Reranker | None, dict[str, float]]:
    """Fit a reranker of a mixture, if that is clearly better than the mixture alone.

    Args:
        weighing: what the parts say of the validation cases.
        weights: component -> its weight in the mixture, of all that the recommender knows.
        seed: of its first weights, of the parts of the cases, and of the batches.

    Returns:
        It, and as ``reranked`` the ndcg@10 of cases that it was not fitted on; or None and nothing.
    """
    used = [name for name, weight in weights.items() if weight]
    choices = _Choices.of(weighing, weights, used)
    if len(used) + choices.model_too < 2 or len(choices) < _FEWEST:
        return None, {}
    fold = np.random.default_rng(seed).permutation(len(choices.target)) % _FOLDS
    found = np.zeros(len(fold))
    for number in range(_FOLDS):
        others = fold != number
        fitted = Reranker(weights, _fitted(choices.taken(others), seed))
        found[~others] = choices.taken(~others).ndcg(fitted, weighing.k)
    before = weighing.ndcg(weights)
    if not clearly_better(found, before):
        log.info(
            "no reranker: validation ndcg@10 %.4f is not clearly better than the mixture's %.4f",
            found.mean(),
            before.mean(),
        )
        return None, {}
    log.info("reranker: validation ndcg@10 %.4f, the mixture %.4f", found.mean(), before.mean())
    return Reranker(weights, _fitted(choices, seed)), {"reranked": round(float(found.mean()), 6)}


@dataclass(frozen=True)
class _Choices:
    """The mixture's best T items of C cases.

    Attributes:
        said: `(C, T, K)` what the parts with weight say of them, the language model last if it has weight.
        mixed: `(C, T)` the mixture; 0 behind the last item.
        target: `(C,)` the target's place, -1 where it is not among them.
        model_too: whether the language model has weight.
    """

    said: NDArray[np.float64]
    mixed: NDArray[np.float64]
    target: NDArray[np.int64]
    model_too: bool

    @classmethod
    def of(cls, weighing: Weighing, weights: Mapping[str, float], used: list[str]) -> _Choices:
        """Take the best items of each case."""
        vector = weighing.vector(weights)
        columns = [weighing.names.index(name) for name in used]
        model_too = bool(vector[-1] > 0)
        columns += [len(weighing.names)] * model_too
        scores = weighing.probabilities @ vector
        case = np.repeat(np.arange(len(weighing.targets)), np.diff(weighing.starts))
        best = np.lexsort((-scores, case))
        place = np.arange(len(best)) - weighing.starts[case[best]]
        best, place = best[place < DEPTH], place[place < DEPTH]
        row, shape = case[best], (len(weighing.targets), int(place.max(initial=0)) + 1)
        said, mixed = np.zeros((*shape, len(columns))), np.zeros(shape)
        said[row, place] = weighing.probabilities[best][:, columns]
        mixed[row, place] = scores[best]
        target = np.full(len(weighing.targets), -1)
        hit = (best == weighing.targets[row]) & (scores[best] > 0)
        target[row[hit]] = place[hit]
        return cls(said, mixed, target, model_too)

    def __len__(self) -> int:
        """Cases whose target is among the items."""
        return int((self.target >= 0).sum())

    def taken(self, rows: NDArray[np.bool_]) -> _Choices:
        """Those of some cases."""
        return _Choices(self.said[rows], self.mixed[rows], self.target[rows], self.model_too)

    def ndcg(self, reranker: Reranker, k: int) -> NDArray[np.float64]:
        """What the cases get, `(C,)`."""
        scores = np.where(self.mixed > 0, reranker.scores(self.said), -np.inf)
        own = scores[np.arange(len(scores)), self.target]
        ranks = (scores > own[:, None]).sum(1)
        return METRICS["ndcg"](np.where(self.target >= 0, ranks, np.iinfo(np.int64).max // 2), k)


class _Network(nn.Module):
    """The reranker as it is trained (see `Layers`); at first it changes nothing."""

    def __init__(self, read: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        bound = read**-0.5
        self.inner = nn.Parameter(
            torch.empty(read, _HIDDEN).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(torch.empty(_HIDDEN).uniform_(-bound, bound, generator=generator))
        self.outer = nn.Parameter(torch.zeros(_HIDDEN))
        self.straight = nn.Parameter(torch.zeros(read))

    def forward(self, read: Tensor) -> Tensor:
        """Changes `(B, T)` of the logits, of what is read, `(B, T, 2K)`."""
        hidden = F.gelu(read @ self.inner + self.bias, approximate="tanh")
        return hidden @ self.outer + read @ self.straight


def _fitted(choices: _Choices, seed: int) -> Layers:
    """Train on the cases whose target is among the items."""
    known = choices.taken(choices.target >= 0)
    real = known.mixed > 0
    read = evidence(known.said)  # (C, T, K) -> (C, T, 2K)
    mean, scale = read[real].mean(0), read[real].std(0).clip(1e-6)
    x = torch.from_numpy(((read - mean) / scale).astype(np.float32))
    start = torch.from_numpy(logits_of(known.mixed).astype(np.float32))
    open_ones, target = torch.from_numpy(real), torch.from_numpy(known.target)
    network = _Network(x.shape[2], seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=_STEPS)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(_STEPS):
        rows = torch.randint(len(x), (_CASES,), generator=generator)
        scores = F.logsigmoid(start[rows] + network(x[rows])).masked_fill(
            ~open_ones[rows], -torch.inf
        )
        loss = F.cross_entropy(scores, target[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return _kept(network, mean, scale, known, x)


@torch.no_grad()
def _kept(
    network: _Network,
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    known: _Choices,
    x: Tensor,
) -> Layers:
    """The trained layers, shifted so that the items together keep the probability that the mixture gave."""
    odds = torch.from_numpy(logits_of(known.mixed)) + network(x).double()
    real = torch.from_numpy(known.mixed > 0)
    wanted, low, high = float(known.mixed.sum()), -30.0, 30.0
    for _ in range(50):  # bisection: the sum rises with the shift
        shift = (low + high) / 2
        total = float((odds + shift).sigmoid()[real].sum())
        low, high = (shift, high) if total < wanted else (low, shift)
    parts = {name: value.double().numpy() for name, value in network.named_parameters()}
    return Layers(mean=mean, scale=scale, shift=np.array([shift]), **parts)
