"""Titles: the next product's title, written by the language model, and the real items nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.progress import progress
from genrec.data.histories import Histories
from genrec.language_model.tasks import PLACEHOLDER, Task
from genrec.recommender.nearest_items import NearestItem

if TYPE_CHECKING:
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["WritingSettings", "WrittenTitle", "write_titles"]

_NOBODY = np.empty(0, np.int32)
_TOP_P = 0.95
"""Titles are drawn from the likeliest tokens that hold this share of the probability."""


class WritingSettings(Settings):
    """How titles are written."""

    mode: Literal["beam", "sample", "grounded"] = "beam"
    """``beam``: the likeliest titles. ``sample``: drawn ones, which differ more. ``grounded``: for each of
    the best recommended items, the title that the model gives it."""
    max_tokens: int = Field(32, ge=1)
    """Longest title, in LM tokens."""
    beams: int = Field(4, ge=1)
    """Beams of ``beam``, at least as many as titles are wanted."""
    temperature: float = Field(0.8, gt=0)
    """Of ``sample``: below 1 is safer, above 1 more varied."""
    seed: int = Field(0, ge=0)
    """Of ``sample``."""
    batch: int = Field(64, ge=1)
    """Titles written at once."""
    nearest: int = Field(3, ge=0)
    """Real items named for each title."""


@dataclass(frozen=True)
class WrittenTitle:
    """A title that the language model wrote.

    Attributes:
        title: its words; they need not be those of any item.
        score: log-probability of them given the history (and, grounded, the item), at most 0.
        nearest: real items by similarity of text, best first.
        item_id: the recommended item that it is about, where the title is grounded in one.
    """

    title: str
    score: float
    nearest: tuple[NearestItem, ...]
    item_id: str | None = None


def write_titles(
    recommender: FittedRecommender, histories: Histories, n: int, settings: WritingSettings
) -> list[list[WrittenTitle]]:
    """Write `n` titles for each history of catalog indices, best first.

    Raises:
        InputError: the recommender has not learned to write titles in this mode.
    """
    task = _title_task(recommender, settings.mode)
    newest = histories.last(recommender.settings.training.max_items)
    items: NDArray[np.integer] | None = None
    if settings.mode == "grounded":
        # The whole history: what was seen long ago is left out too.
        items = recommender.rank(histories, n, exclude_seen=recommender.exclude_seen).items
    prompts = _prompts(recommender, task, newest, items)
    copies = 1 if items is not None else n
    written = _generate(recommender, prompts, copies, settings)
    nearest = _nearest(recommender, [title for title, _ in written], settings.nearest)
    ids = recommender.catalog.item_ids
    about: list[int | None] = [None] * len(written)
    if items is not None:
        about = [*items.ravel().tolist()]
    titles = [
        # Where fewer items than titles are left, fewer titles come.
        None
        if item == -1
        else WrittenTitle(title, score, tuple(near), None if item is None else ids[item])
        for (title, score), near, item in zip(written, nearest, about, strict=True)
    ]
    width = n if items is None else items.shape[1]
    rows = [titles[u * width : (u + 1) * width] for u in range(len(newest))]
    return [[title for title in row if title is not None] for row in rows]


def _title_task(recommender: FittedRecommender, mode: str) -> Task:
    """The task that the recommender learned to write titles by; grounded, about the item alone if it can."""
    tasks = recommender.settings.tasks.values()
    if mode != "grounded":
        known = [t for t in tasks if t.of_history and t.answer.strip() == "{item.title}"]
    else:
        known = [t for t in tasks if _names_an_item(t)]
        known += [t for t in tasks if t.of_history and t.answer.strip() == "{item} {item.title}"]
    if known:
        return known[0].replace(prompts=known[0].prompts[:1])
    name = "id-to-title" if mode == "grounded" else "next-title"
    raise InputError(
        f"this recommender has not learned to write titles (mode {mode!r}): fit it with a language model "
        f"that knows words (language_model.backbone=…) and tasks.{name}=0.5"
    )


def _names_an_item(task: Task) -> bool:
    """Whether it asks for the title of a semantic ID, and tells nothing else."""
    fields = {name for text in task.prompts for name in PLACEHOLDER.findall(text)}
    return fields == {"item"} and task.answer.strip() == "{item.title}"


def _prompts(
    recommender: FittedRecommender,
    task: Task,
    histories: Histories,
    items: NDArray[np.integer] | None,
) -> list[list[int]]:
    """LM tokens in front of every title: the question, and the item's codes where titles are grounded."""
    renderer = recommender.renderer
    if items is not None and not task.of_history:
        about = [max(int(item), 0) for item in items.ravel()]
        return renderer.tokens([renderer.prompt(task, _NOBODY, item) for item in about])
    asked = renderer.tokens([renderer.prompt(task, history) for history in histories])
    if items is None:
        return asked
    codes = recommender.language_model.vocabulary.encode(recommender.semantic_ids.codes)
    return [
        prompt + codes[max(int(item), 0)].tolist()
        for prompt, row in zip(asked, items, strict=True)
        for item in row
    ]


def _generate(
    recommender: FittedRecommender, prompts: list[list[int]], n: int, settings: WritingSettings
) -> list[tuple[str, float]]:
    """`n` titles and their log-probabilities behind each prompt, one prompt after another."""
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    if settings.mode != "sample" and len(distinct) < len(
        prompts
    ):  # nothing is drawn: ask each once
        asked = {prompt: place for place, prompt in enumerate(distinct)}
        once = _generate(recommender, [list(prompt) for prompt in distinct], n, settings)
        starts = [asked[tuple(prompt)] * n for prompt in prompts]
        return [title for start in starts for title in once[start : start + n]]
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    found: list[list[tuple[str, float]]] = [[] for _ in prompts]
    step = max(1, settings.batch // n)
    with (
        torch.random.fork_rng(),
        progress("writing titles", len(prompts)) as advance,
    ):
        torch.manual_seed(settings.seed)
        for start in range(0, len(order), step):
            chosen = order[start : start + step]
            titles = _generate_batch(recommender, [prompts[i] for i in chosen], n, settings)
            for place, i in enumerate(chosen):
                found[i] = sorted(titles[place * n : place * n + n], key=lambda t: -t[1])
            advance(len(chosen))
    return [title for titles in found for title in titles]


@torch.inference_mode()
def _generate_batch(
    recommender: FittedRecommender, prompts: list[list[int]], n: int, settings: WritingSettings
) -> list[tuple[str, float]]:
    language_model = recommender.language_model
    tokenizer, model = language_model.tokenizer, language_model.model
    width = max(map(len, prompts))
    end = tokenizer.eos_token_id
    ids = torch.full((len(prompts), width), end or 0)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # on the left: all answers begin in one column
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    device = language_model.core.device
    given = recommender.inputs(ids.to(device))
    out = model.generate(
        **given,
        attention_mask=mask.to(device),
        max_new_tokens=settings.max_tokens,
        suppress_tokens=language_model.vocabulary.all_tokens,
        pad_token_id=end or 0,
        eos_token_id=end,
        num_return_sequences=n,
        return_dict_in_generate=True,
        output_logits=True,
        **_strategy(settings, n),
    )
    # Behind embeddings, the sequences are the answers alone.
    answers = out.sequences[:, width:] if "input_ids" in given else out.sequences
    return list(
        zip(
            [t.strip() for t in tokenizer.batch_decode(answers, skip_special_tokens=True)],
            _log_probabilities(model, out, answers, end).tolist(),
            strict=True,
        )
    )


def _strategy(settings: WritingSettings, n: int) -> dict[str, Any]:
    if settings.mode == "sample":
        return {
            "do_sample": True,
            "temperature": settings.temperature,
            "top_p": _TOP_P,
            "top_k": 0,
        }
    return {"do_sample": False, "num_beams": max(settings.beams, n)}


def _log_probabilities(model: Any, out: Any, answers: Tensor, end: int | None) -> Tensor:
    """Sum of the answers' log-probabilities, `(B,)`, up to and with the end token."""
    beams = getattr(out, "beam_indices", None)
    each: Tensor = model.compute_transition_scores(
        out.sequences, out.logits, beams, normalize_logits=True
    )
    if end is None:
        return each.sum(1)
    answers = answers[:, : each.shape[1]]
    behind_end = (answers == end).cumsum(1) - (answers == end).long() > 0
    return each.masked_fill(behind_end, 0.0).sum(1)


def _nearest(
    recommender: FittedRecommender, titles: Sequence[str], k: int
) -> list[list[NearestItem]]:
    if not k:
        return [[] for _ in titles]
    return recommender.nearest_items.search(list(titles), k)
