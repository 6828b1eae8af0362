"""Fit of a text model: every next item against the whole catalog, words and items learned together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.common.errors import ConfigError
from genrec.common.progress import training_bar
from genrec.data.catalog import Catalog
from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation import Protocol, Ranking, evaluate
from genrec.evaluation.selection import top_k_sparse
from genrec.fitting.baselines.losses import sampled, whole
from genrec.fitting.objectives.histories import HistorySource, Successions
from genrec.fitting.objectives.item_teacher import Named
from genrec.fitting.work_folder import WorkFolder
from genrec.recommender.settings import FitSettings
from genrec.recommender.text_model.model import NAMED, TextModel
from genrec.recommender.text_model.network import TextNetwork
from genrec.recommender.text_model.words import KnownWords, WordBags
from genrec.training import TrainingResult, train
from genrec.training.sharding import wants_shards

__all__ = ["TextModelLoss", "TextTeacher", "fit_text_model"]

log = logging.getLogger(__name__)
_LEFT_OUT = 0.3
"""Share of items whose own vector is left out of a training step, so that their words stand for them."""
_SMALL = 0.02
_WHOLE = 20_000
"""Most items that a target is held against all of."""
_NEGATIVES = 8192
"""Items that are drawn for a step where there are more."""
_CELLS = 2**25
"""Scores that a lesson may take: of a large catalog, not all places of a batch are taught."""


def fit_text_model(
    catalog: Catalog, split: Split, settings: FitSettings, work: WorkFolder
) -> tuple[TextModel, TrainingResult]:
    """Train a text model on the training histories; the weights that validate best are kept.

    Args:
        catalog: the N items.
        split: histories to learn from, and validation cases.
        settings: of the fit.
        work: where the same fit goes on where it was interrupted.

    Raises:
        ConfigError: parameters are to be in pieces (FSDP), which this small model's are not.
    """
    if wants_shards():
        raise ConfigError(
            "the text model cannot be trained with --use_fsdp: set text_model.weight=0, or launch with "
            "--multi_gpu"
        )
    own = settings.text_model
    known, loss = _untrained(catalog, split.train, settings)
    loss.to(settings.torch_device())
    source = Successions(HistorySource(split.train, own.training, settings.seed))
    with training_bar() as report:
        result = train(
            loss,
            source,
            own.training,
            _validation(known, loss, split.valid, settings),
            folder=work.path / "text_model_checkpoints",
            seed=settings.seed,
            report=report,
        )
    log.info("text model: %s words, best at step %d", f"{len(known):,}", result.best_step)
    return loss.trained(known), result


def _untrained(
    catalog: Catalog, histories: Histories, settings: FitSettings
) -> tuple[KnownWords, TextModelLoss]:
    own = settings.text_model
    texts = catalog.texts(settings.template)
    known = KnownWords.fit(texts)
    rows = known.rows(texts)
    start = known.start(rows, own.shape.width, settings.seed)
    network = TextNetwork(start, own.training.max_items, own.shape, settings.seed)
    bags = WordBags.of(rows, torch.device("cpu"))
    sold = np.bincount(histories.items, minlength=len(catalog)) > 0
    return known, TextModelLoss(network, bags, torch.from_numpy(sold), settings.seed)


class TextModelLoss(nn.Module):
    """Negative log-likelihood of every next item, in nats, summed.

    Items that nobody bought in training are no alternatives: they would only learn that they are never
    bought.

    Args:
        network: what trains.
        bags: the words of the N items.
        sold: `(N,)` bool, which items have a training event.
        seed: of the items' own vectors.
    """

    def __init__(self, network: TextNetwork, bags: WordBags, sold: Tensor, seed: int = 0) -> None:
        super().__init__()
        self.network = network
        generator = torch.Generator().manual_seed(seed)
        width = network.positions.shape[1]
        self.own = nn.Parameter(torch.randn(len(bags), width, generator=generator) * _SMALL)
        self.sold: Tensor
        self.words: Tensor
        self.weights: Tensor
        self.starts: Tensor
        self.register_buffer("sold", sold.nonzero()[:, 0], persistent=False)
        for name, part in vars(bags).items():
            self.register_buffer(name, part, persistent=False)

    @property
    def bags(self) -> WordBags:
        """The words of the items, on the device of the loss."""
        return WordBags(self.words, self.weights, self.starts)

    def forward(self, items: Tensor) -> Tensor:
        """Sum over all items but the first of sequences `(B, T)`, padded on the right with -1."""
        width = max(1, items.shape[1] - 1)
        targets = F.pad(items, (0, 1), value=-1)[:, 1 : width + 1]
        real = targets >= 0
        compared, drawn = self._compared(items)
        vectors = self._vectors(compared)
        places = torch.full((len(self.own),), -1, device=items.device)
        places[compared] = torch.arange(len(compared), device=items.device)
        # Without its last item, which predicts nothing, a row is the history of its last target.
        history = torch.where(real, places[items[:, :width].clamp(min=0)], -1)
        states = self.network(vectors, history)[real]  # (B, T, D) -> (M, D)
        table, wanted = F.normalize(vectors, dim=1), places[targets[real]]
        if drawn is None:
            return whole(states, table, wanted)
        return sampled(states, table, wanted, places[drawn], of=len(self.sold))

    def _compared(self, items: Tensor) -> tuple[Tensor, Tensor | None]:
        """The items whose vectors a step needs, and the drawn alternatives, None where all are."""
        if len(self.sold) <= _WHOLE:
            return self.sold, None
        chosen = torch.randint(len(self.sold), (_NEGATIVES,), device=items.device)
        drawn = self.sold[_distinct(chosen)]
        return _distinct(torch.cat([drawn, items[items >= 0]])), drawn

    def _vectors(self, items: Tensor) -> Tensor:
        """Vectors `(M, D)` of some items; in training now and then without what is their own."""
        own = self.own[items]
        if self.training:
            own = own * (torch.rand(len(items), 1, device=own.device) >= _LEFT_OUT)
        bags = self.bags if len(items) == len(self.own) else self.bags.take(items)
        return self.network.texts(bags) + own

    @torch.no_grad()
    def trained(self, known: KnownWords) -> TextModel:
        """The text model as it stands; items that nobody bought have their words alone."""
        sold = torch.zeros(len(self.own), 1, device=self.own.device)
        sold[self.sold] = 1.0
        vectors = self.network.texts(self.bags) + self.own * sold
        network = self.network.eval()
        return TextModel(known, network, vectors.cpu().numpy().astype(np.float16))


@dataclass(frozen=True)
class TextTeacher:
    """A text model as the teacher of a language model (see `ItemTeacher`)."""

    model: TextModel

    @torch.no_grad()
    def expects(self, items: Tensor) -> Named:
        """Say what is likely at the places of histories `(B, T)`, padded on the right with -1.

        The first place of a row, those behind more items than the model reads, and in a large catalog all
        but every so many, are left to the items that came.
        """
        width = min(items.shape[1], self.model.reads + 1)
        real = items >= 0
        number = real.flatten().cumsum(0).view_as(items) - 1
        asked = real[:, 1:width]
        places, n_items = number[:, 1:width][asked], len(self.model.vectors)
        if not len(places):
            return Named(places, places[:, None], torch.zeros(0, 1, device=items.device))
        queries = self.model.queries(items[:, : width - 1])[asked]  # (B, T - 1, D) -> (R, D)
        every = -(-len(places) * n_items // _CELLS)
        likely = self.model.probabilities(queries[::every])
        best = likely.topk(min(NAMED, n_items), dim=1, sorted=False)
        return Named(places[::every], best.indices, best.values)


def _distinct(items: Tensor) -> Tensor:
    found: Tensor = torch.unique(items)
    return found


@dataclass(frozen=True)
class _Alone:
    """The text model as a ranker of its own."""

    model: TextModel
    name: str = "text_model"

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        found = self.model.scores(histories)
        return top_k_sparse(found, k, excluded=histories if exclude_seen else None)


def _validation(
    known: KnownWords, loss: TextModelLoss, valid: Cases, settings: FitSettings
) -> Callable[[], dict[str, float]] | None:
    """Measure on a draw of the validation cases; where some targets are seen items, by the better way."""
    if not len(valid):
        return None
    drawn = valid.draw(settings.validation_users, settings.seed)
    ways = (True, False) if drawn.repeated.any() else (True,)

    def validate() -> dict[str, float]:
        ranker = _Alone(loss.eval().trained(known))
        found = [
            evaluate(ranker, drawn, Protocol(split="valid", exclude_seen=seen), len(loss.own))
            for seen in ways
        ]
        return max((each.metrics for each in found), key=lambda metrics: metrics["ndcg@10"])

    return validate
