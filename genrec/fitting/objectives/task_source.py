"""Task source: every history in one pass, and beside it examples of each task, as batches.

All examples of an epoch are rendered when it begins; a million of them take about a minute and a gigabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.fitting.objectives.batches import epoch_batches, windows
from genrec.fitting.objectives.packing import TokenBatch, first_fit, stack
from genrec.language_model.prompts import Example, Renderer
from genrec.language_model.tasks import Task
from genrec.training.settings import TrainingSettings
from genrec.training.sources import Epoch, Part, share

__all__ = ["TaskSource"]

_POOL, _ROW = 16, 512


@dataclass(frozen=True)
class TaskSource:
    """The next item of every history, and further tasks by their weights.

    Attributes:
        histories: one sequence a user.
        renderer: turns tasks into tokens.
        tasks: what is learned beside the histories themselves.
        prefix: LM tokens in front of a history that is passed over.
        settings: longest window, size of a batch, weight of words.
        seed: of everything that is drawn.
        packs: whether several sequences may share a row (see `genrec.fitting.objectives.packing.packs`).
    """

    histories: Histories
    renderer: Renderer
    tasks: Sequence[Task]
    prefix: Sequence[int]
    settings: TrainingSettings
    seed: int
    packs: bool = True

    def epoch(self, number: int) -> Epoch:
        """Draw, render and pack."""
        generator = np.random.default_rng((self.seed, number))
        data = windows(self.histories, self.settings.max_items + 1, generator)
        examples = [self._pass(items) for items in data]
        for task in self.tasks:
            examples += self._drawn(task, data, generator)
        levels_of = self.renderer.vocabulary.levels_of(len(self.renderer.tokenizer))
        batches = self._batches(np.array([len(e.tokens) for e in examples]), generator)
        return _TaskEpoch(examples, batches, levels_of, self.settings.text_weight)

    def _pass(self, items: NDArray[np.int32]) -> Example:
        codes = self.renderer.vocabulary.encode(self.renderer.codes[items])
        tokens = np.concatenate([np.array(self.prefix, np.int64), codes.ravel()])
        return Example(tokens, len(self.prefix), np.repeat(items.astype(np.int64), codes.shape[1]))

    def _drawn(self, task: Task, data: Histories, generator: np.random.Generator) -> list[Example]:
        count = max(1, round(task.weight * len(data)))
        if not task.of_history:
            items = generator.integers(0, len(self.renderer.codes), count)
            nothing = [np.empty(0, np.int32)] * count
            return self.renderer.examples([task] * count, nothing, items, generator)
        follows = np.ones(len(data.items), bool)
        follows[data.offsets[:-1]] = False  # the first of a window follows nothing
        places = np.flatnonzero(follows) if follows.any() else np.arange(len(data.items))
        places = generator.choice(places, count)
        begins = data.offsets[np.searchsorted(data.offsets, places, side="right") - 1]
        before = [data.items[b:p] for b, p in zip(begins, places, strict=True)]
        return self.renderer.examples([task] * count, before, data.items[places], generator)

    def _batches(
        self, lengths: NDArray[np.int64], generator: np.random.Generator
    ) -> list[list[list[int]]]:
        """Batches of rows of examples."""
        budget = self.settings.batch_tokens or self.settings.batch_items * len(
            self.renderer.vocabulary.tokens
        )
        if not self.packs:
            single = epoch_batches(lengths, budget, generator)
            return [[[int(i)] for i in batch] for batch in single]
        width = max(min(_ROW, budget), int(lengths.max()))
        order = generator.permutation(len(lengths))
        pool = max(1, int(_POOL * budget / lengths.mean()))
        batches, rows_a_batch = [], max(1, budget // width)
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            rows = [[int(part[i]) for i in row] for row in first_fit(lengths[part], width)]
            rows = [rows[i] for i in generator.permutation(len(rows))]
            batches += [rows[i : i + rows_a_batch] for i in range(0, len(rows), rows_a_batch)]
        return [batches[i] for i in generator.permutation(len(batches))]


@dataclass(frozen=True)
class _TaskEpoch:
    examples: list[Example]
    batches: list[list[list[int]]]
    levels_of: NDArray[np.int8]
    text_weight: float

    def __len__(self) -> int:
        return len(self.batches)

    def units(self, batch: int) -> float:
        targets = [e.tokens[e.answer :] for row in self._rows(batch) for e in row]
        levels = self.levels_of[np.concatenate(targets)]
        items = float((levels == self.levels_of.max()).sum())  # each item ends with its last level
        return items + self.text_weight * float((levels < 0).sum())

    def tokens(self, batch: int) -> int:
        return sum(len(e.tokens) for row in self._rows(batch) for e in row)

    def part(self, batch: int, part: Part) -> tuple[TokenBatch, bool]:
        chosen, counts = share(np.arange(len(self.batches[batch])), part)
        rows = self._rows(batch)
        return stack([rows[i] for i in chosen], self.levels_of), counts

    def _rows(self, batch: int) -> list[list[Example]]:
        return [[self.examples[i] for i in row] for row in self.batches[batch]]
