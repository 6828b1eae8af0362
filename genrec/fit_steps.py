"""The steps that every way of training shares: loss and data, validation, memory, metrics, a bar to watch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from genrec.data.histories import Cases, Histories
from genrec.data.split import Split
from genrec.evaluation import Evaluation, Protocol, evaluate
from genrec.language_model.item_attention import require_masks
from genrec.memory import Memory, choose_weights, compare_texts
from genrec.mixtures import best_weight, mixed_ndcg
from genrec.pointing import likeness_of
from genrec.recommender import GenerativeRecommender
from genrec.settings import FitSettings
from genrec.training import (
    CodeNeighbors,
    HistorySource,
    NextItemLoss,
    TaskLoss,
    TaskSource,
    TrainingResult,
    packs,
)
from genrec.training.code_noise import stands_apart
from genrec.training.pointing import PointerLoss
from genrec.training.sources import Source
from genrec.training.throughput import peak_memory_mib

__all__ = [
    "UNCHOSEN",
    "choose_pointer",
    "choose_shares",
    "history_source",
    "measure_validation",
    "objective",
    "quick_validation",
    "training_bar",
    "training_metrics",
    "with_pointer_weight",
]

log = logging.getLogger(__name__)
POINTER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""What `choose_shares` tries."""
UNCHOSEN = 0.5
"""What the pointer weighs where nothing can be tried."""


def objective(recommender: GenerativeRecommender, train: Histories) -> tuple[nn.Module, Source]:
    """The loss, and what it is computed on: histories alone, or a mixture of tasks."""
    language_model, settings = recommender.language_model, recommender.settings
    normalization = settings.search.normalization
    if not settings.tasks:
        codes = recommender.semantic_ids.codes
        loss = NextItemLoss(
            language_model, codes, recommender.trie, normalization, recommender.inputs
        )
        if language_model.pointer is not None:
            loss.pointing = PointerLoss(language_model.pointer, likeness_of(recommender))
        return loss, history_source(recommender, train, settings.seed)
    packing = packs(language_model.core, language_model.vocabulary.all_tokens[:24])
    log.info("tasks: %s%s", ", ".join(settings.tasks), "" if packing else "; not packed")
    weight = settings.training.text_weight
    return (
        TaskLoss(
            language_model, recommender.trie, normalization, weight, packing, recommender.inputs
        ),
        TaskSource(
            train,
            recommender.renderer,
            list(settings.tasks.values()),
            language_model.prefix,
            settings.training,
            settings.seed,
            packing,
        ),
    )


def history_source(
    recommender: GenerativeRecommender, train: Histories, seed: int
) -> HistorySource:
    """Batches of histories, with the noise that the recommender's settings ask for.

    Raises:
        ConfigError: the language model cannot learn from histories that are written otherwise.
    """
    model, training = recommender.language_model, recommender.settings.training
    tokens, neighbors = model.tokens_per_item, None
    if training.code_noise:
        neighbors = CodeNeighbors.of(recommender.trie)
        levels, normalization = recommender.trie.levels, recommender.settings.search.normalization
        if stands_apart(levels, normalization):
            setting = f"training.code_noise with search.normalization = {normalization!r}"
            require_masks(model.core, model.vocabulary, setting)
            tokens = 2 * levels - 1
    return HistorySource(train, training, seed, tokens, neighbors)


def quick_validation(
    recommender: GenerativeRecommender, valid: Cases
) -> Callable[[], dict[str, float]] | None:
    """Measure on a fixed draw of validation cases, with few beams; None where there is no case."""
    if not len(valid):
        log.warning("no user has a validation case: the last weights are kept, best or not")
        return None
    settings = recommender.settings
    drawn = valid.draw(settings.validation_users, settings.seed)
    quick = recommender.alone(settings.validation_beams)
    return lambda: measure_validation(quick, drawn).metrics


def choose_shares(
    recommender: GenerativeRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[GenerativeRecommender, dict[str, dict[str, float]]]:
    """Choose on validation what the pointer, then what the memory weighs, unless the settings say it.

    Args:
        recommender: trained.
        split: its validation cases choose.
        prior: what was chosen before this training, which stays unless something else is clearly better.

    Returns:
        The recommender with these weights, and for ``pointer`` (where there is one) and ``memory`` the
        ndcg@10 of every weight tried.
    """
    told = {}
    if recommender.language_model.pointer is not None:
        recommender, told["pointer"] = choose_pointer(recommender, split, prior)
    recommender, told["memory"] = choose_memory(recommender, split, prior)
    return recommender, told


def with_pointer_weight(
    recommender: GenerativeRecommender, weight: float | None
) -> GenerativeRecommender:
    """The same recommender, whose pointer has that share in what the language model expects."""
    whole = recommender.settings
    chosen = whole.language_model.replace(pointer_weight=weight)
    settings = whole.replace(language_model=chosen)
    return replace(recommender, settings=settings, index=recommender.trie)


def choose_pointer(
    recommender: GenerativeRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[GenerativeRecommender, dict[str, float]]:
    """Choose the pointer's share in what the language model expects (see `choose_shares`)."""
    whole = recommender.settings
    cases = split.valid.draw(whole.validation_users, whole.seed)
    before = None if prior is None else prior.language_model.pointer_weight
    if (
        recommender.language_model.pointer is None
        or whole.language_model.pointer_weight is not None
    ):
        return recommender, {}
    if not len(cases):
        weight = UNCHOSEN if before is None else before
        log.warning("no user has a validation case: the pointer weighs %.2f, good or not", weight)
        return with_pointer_weight(recommender, weight), {}
    codes = recommender.alone(codes_only=True).rank(
        cases.histories, whole.search.widest, exclude_seen=True
    )
    pointing = with_pointer_weight(recommender, 0.5).pointing
    assert pointing is not None
    expected = pointing.probabilities(cases.histories)
    tried = sorted({*POINTER_WEIGHTS, *([] if before is None else [before])})
    found = {
        weight: mixed_ndcg(codes, (expected, np.full(len(cases), weight)), cases)
        for weight in tried
    }
    best = best_weight(found, before)
    told = {str(weight): round(float(ndcg.mean()), 6) for weight, ndcg in found.items()}
    log.info(
        "the pointer weighs %.2f in the language model: validation ndcg@10 %.4f, codes alone %.4f",
        best,
        told[str(best)],
        told["0.0"],
    )
    return with_pointer_weight(recommender, best), told


def choose_memory(
    recommender: GenerativeRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[GenerativeRecommender, dict[str, float]]:
    """Choose what the log's counts weigh beside the language model, unless the settings say it.

    Returns:
        The recommender with that weight, and the validation ndcg@10 of every weight tried.
    """
    whole = recommender.settings
    settings = whole.memory
    cases = split.valid.draw(whole.validation_users, whole.seed)
    if None not in (settings.weight, settings.text_weight):
        return recommender, {}
    if not len(cases):
        kept = settings if prior is None else settings.filled(prior.memory)
        unchosen = whole.replace(memory=kept)
        return replace(recommender, settings=unchosen, index=recommender.trie), {}
    model = recommender.expected(cases.histories)
    likeness = compare_texts(recommender.catalog.texts(whole.template), settings)
    memory = Memory.of(split.train, len(recommender.catalog), settings, likeness)
    before = None if prior is None else prior.memory
    chosen, found = choose_weights(model, memory, cases, prior=before)
    log.info(
        "the log's counts weigh %.2f beside the language model%s: validation ndcg@10 %.4f%s",
        chosen.weight,
        f", likeness of texts {chosen.text_weight:.2f}" if chosen.text_weight else "",
        found[f"{chosen.weight}+{chosen.text_weight}"],
        f", alone {found['0.0+0.0']:.4f}" if "0.0+0.0" in found else "",
    )
    remembering = replace(
        recommender,
        settings=whole.replace(memory=chosen),
        likeness=likeness,
        index=recommender.trie,
    )
    return remembering, {weights: round(ndcg, 6) for weights, ndcg in found.items()}


def training_metrics(recommender: GenerativeRecommender, result: TrainingResult) -> dict[str, Any]:
    """What a training says in ``metrics.json``: its curve, its speed, its cost."""
    trainable, total = recommender.language_model.parameters()
    return {
        "training": {
            "steps": result.steps,
            "best_step": result.best_step,
            "stopped_early": result.stopped_early,
            "curve": result.curve,
        },
        "throughput": result.throughput,
        "parameters": {"trainable": trainable, "total": total},
        "peak_memory_mib": peak_memory_mib(),
    }


def measure_validation(recommender: GenerativeRecommender, cases: Cases) -> Evaluation:
    """Evaluate on validation cases, as every fit does."""
    protocol = Protocol(name=recommender.settings.split.protocol, split="valid", ks=(5, 10))
    return evaluate(recommender, cases, protocol, len(recommender.catalog))


@contextmanager
def training_bar() -> Iterator[Callable[[int, int, float], None]]:
    """A bar with loss and time left, on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = [
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    ]
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("training", total=None, loss=float("nan"))
        smooth: list[float] = []

        def report(step: int, total: int, loss: float) -> None:
            smooth[:] = [loss if not smooth else 0.98 * smooth[0] + 0.02 * loss]
            bar.update(task, completed=step, total=total, loss=smooth[0])

        yield report
