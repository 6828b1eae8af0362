"""Sample passes: one causal pass a user against one sample a position, by cost and by result.

Recommenders are often trained on a sample for every position: the history up to it is the input, the item
there the only target, and a user of n events is read n times. A causal pass reads the user once and takes
every item as a target. Both are trained here by the same loop, from the same weights, with batches of the
same size.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.data.histories import Histories
from genrec.fitting.objectives.batches import epoch_batches, pad_items
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss, item_loss
from genrec.generative_recommender import GenerativeRecommender
from genrec.training import TrainingSettings, train
from genrec.training.sources import Epoch, Part, Source, share

__all__ = ["PassResult", "Passes", "SampleLoss", "SampleSource", "fresh_model", "measure_passes"]

Passes = Literal["user", "position", "position, padded at random"]


@dataclass(frozen=True)
class PassResult:
    """What one way of training cost and reached.

    Attributes:
        passes: which.
        sequences: read in an epoch. items: of these, padding left out. padded: with padding.
        epoch_seconds: of an epoch's steps, from the pace of batches spread through it.
        steps: optimizer steps of the run of equal time. epochs: passes over the log in it.
        seconds: that it trained.
        ndcg: validation ndcg@10 after it.
    """

    passes: Passes
    sequences: int
    items: int
    padded: int
    epoch_seconds: float
    steps: int
    epochs: float
    seconds: float
    ndcg: float


@dataclass(frozen=True)
class SampleSource:
    """A sample for every position: the newest items up to it, the last of which is the target.

    Attributes:
        histories: one sequence a user.
        settings: longest sample, less its target, and size of a batch.
        seed: of the order.
        by_length: whether batches hold samples of like lengths, which is kinder than what is common.
    """

    histories: Histories
    settings: TrainingSettings
    seed: int
    by_length: bool = True
    tokens_per_item: int = 1

    def epoch(self, number: int) -> Epoch:
        """Cut every sample, and batch them."""
        generator = np.random.default_rng((self.seed, number))
        samples = _samples(self.histories, self.settings.max_items + 1)
        if self.by_length:
            batches = epoch_batches(samples.lengths, self.settings.batch_items, generator)
        else:
            # What a batch of the longest samples holds: with random members it is nearly always that long.
            rows = max(1, self.settings.batch_items // int(samples.lengths.max()))
            order = generator.permutation(len(samples))
            batches = np.split(order, range(rows, len(order), rows))
        return _SampleEpoch(samples, batches, self.tokens_per_item)


def _samples(histories: Histories, most: int) -> Histories:
    """Every prefix of every history, its newest `most` items."""
    lengths = histories.lengths
    ends = np.arange(len(histories.items)) + 1
    starts = np.maximum(np.repeat(histories.offsets[:-1], lengths), ends - most)
    sizes = ends - starts
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, sizes)
    return Histories(histories.items[places], offsets)


@dataclass(frozen=True)
class _SampleEpoch:
    samples: Histories
    batches: list[NDArray[np.int64]]
    tokens_per_item: int

    def __len__(self) -> int:
        return len(self.batches)

    def units(self, batch: int) -> float:
        return float(len(self.batches[batch]))

    def tokens(self, batch: int) -> int:
        return int(self.samples.lengths[self.batches[batch]].sum()) * self.tokens_per_item

    def part(self, batch: int, part: Part) -> tuple[Tensor, bool]:
        rows, counts = share(self.batches[batch], part)
        return torch.from_numpy(pad_items(self.samples, rows)), counts


class SampleLoss(NextItemLoss):
    """Negative log-likelihood of each sample's last item alone, summed."""

    def forward(self, items: Tensor) -> Tensor:
        """Sum over a batch of samples `(B, n)`, padded on the right with -1."""
        last = (items >= 0).sum(1) - 1
        rows = torch.arange(len(items), device=items.device)
        hidden, target = self._hidden(items)[rows, last], items[rows, last]
        return torch.stack(
            [
                item_loss(self.head, self.trie, self.normalization, hidden[:, level], target, level)
                for level in range(self.trie.levels)
            ]
        ).sum()


def fresh_model(recommender: GenerativeRecommender, seed: int) -> GenerativeRecommender:
    """Copy of a recommender whose language model starts anew, and has no memory beside it."""
    from genrec.language_model import LanguageModel

    alone = recommender.alone()
    settings, ids = alone.settings, alone.semantic_ids
    learned = settings.language_model.item_vectors == "text_model"
    vectors = (
        alone.text_model.vectors.astype(np.float32)
        if learned and alone.text_model
        else alone.vectorizer.vectors(alone.catalog, settings)
    )
    anew = LanguageModel.create(
        settings.language_model,
        ids.codes,
        vectors,
        ids.codebook_sizes,
        max_items=settings.training.max_items,
        seed=seed,
    )
    read = None if learned else anew.read_of(vectors)
    return alone.changed(
        language_model=anew,
        item_vectors=read,
    )


def measure_passes(
    recommender: GenerativeRecommender,
    histories: Histories,
    passes: Passes,
    validate: Callable[[], dict[str, float]],
    *,
    seconds: float,
    folder: Path,
) -> PassResult:
    """Time one way of training, then train that way for `seconds` from the weights it is given.

    Args:
        recommender: freshly made; its settings say how it trains.
        histories: what it trains on.
        passes: the way.
        validate: measures the recommender as it is.
        seconds: of training, validation not counted.
        folder: for checkpoints.
    """
    settings, ids = recommender.settings, recommender.semantic_ids
    training, tokens = settings.training, recommender.language_model.tokens_per_item
    source: Source = HistorySource(histories, training, settings.seed, tokens)
    kind: type[NextItemLoss] = NextItemLoss
    if passes != "user":
        by_length = passes == "position"
        source = SampleSource(histories, training, settings.seed, by_length, tokens)
        kind = SampleLoss
    loss = kind(
        recommender.language_model,
        ids.codes,
        recommender.trie,
        settings.search.normalization,
        recommender.inputs,
    )
    epoch = source.epoch(0)
    facts = _epoch_facts(epoch)
    epoch_seconds = facts["padded"] * _seconds_an_item(copy.deepcopy(loss), epoch)
    steps = max(1, round(seconds / epoch_seconds * len(epoch)))
    run = training.replace(max_steps=steps, epochs=steps, validations=1, checkpoint_seconds=1e9)
    result = train(loss, source, run, None, folder=folder, seed=settings.seed)
    ndcg = validate()["ndcg@10"]
    took = result.throughput["seconds"]
    return PassResult(
        passes,
        **facts,
        epoch_seconds=epoch_seconds,
        steps=result.steps,
        epochs=result.steps / len(epoch),
        seconds=took,
        ndcg=ndcg,
    )


def _epoch_facts(epoch: Epoch) -> dict[str, int]:
    """Sequences and items of an epoch, without and with padding."""
    shapes = [epoch.part(batch, Part(0, 1))[0] for batch in range(len(epoch))]
    return {
        "sequences": sum(len(items) for items in shapes),
        "items": sum(int((items >= 0).sum()) for items in shapes),
        "padded": sum(items.numel() for items in shapes),
    }


def _seconds_an_item(loss: Any, epoch: Epoch, batches: int = 24) -> float:
    """Seconds of a step over its padded items, over batches spread through an epoch."""
    optimizer = torch.optim.AdamW(p for p in loss.parameters() if p.requires_grad)
    loss.train()
    taken, items_seen = 0.0, 0
    chosen = np.linspace(0, len(epoch) - 1, batches + 2).astype(int)
    for number, batch in enumerate(chosen):
        items, _ = epoch.part(int(batch), Part(0, 1))
        began = time.perf_counter()
        (loss(items) / epoch.units(int(batch))).backward()
        optimizer.step()
        optimizer.zero_grad()
        if number >= 2:  # the first ones warm up
            taken, items_seen = taken + time.perf_counter() - began, items_seen + items.numel()
    return taken / items_seen
