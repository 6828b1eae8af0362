"""Transfer: a fitted recommender on a catalog that it was never trained on, at once and without training.

The language model knows codes, and the item tokenizer gives any text codes that mean the same everywhere: so
a new catalog needs nothing but its texts. How well that goes depends on how near its products are to those
of the fit, and on an encoder whose vectors mean the same in both (a pretrained one, such as ``minilm``;
after Hou et al. 2022, UniSRec, and RecGPT, 2025).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.catalog import Catalog
from genrec.data.facts import data_facts
from genrec.data.histories import Histories
from genrec.data.interactions import Interactions
from genrec.encoders import TfidfEncoder
from genrec.language_model import LanguageModel
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.memory import MemorySettings
from genrec.recommender.settings import FitSettings
from genrec.recommender.text_model.model import TextModel
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.quality import lost_variance
from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["TransferSettings", "alike", "transfer"]

log = logging.getLogger(__name__)
_TRUSTED = 0.5
"""Most of their vectors' variance that codes may lose."""
_POINTER, _TEXT_ALONE = 0.95, 0.95


class TransferSettings(Settings):
    """Mixture weights beside the language model where no log was learned from."""

    pointer_weight: float | None = Field(None, ge=0, lt=1)
    """Weight of the pointer in what the language model expects, if it has one. None is .95, since codes are
    names and say little of items that the model was not trained on; but where they tell the new items apart
    (see `alike`), it is what the fit chose."""
    repeat_weight: float | None = Field(None, ge=0, lt=1)
    """Share that the pointer gives to items of the history themselves. None is what it learned: next to none
    where nobody in the logs of the fit bought the same thing twice. State one for a shop that sells what is
    bought again, and keep seen items in its recommendations."""
    text_weight: float | None = Field(None, ge=0, lt=1)
    """Weight of items whose texts are like those of the history (see `genrec.recommender.memory`). None is
    0 beside a pointer over vectors of a pretrained encoder, which knows words too; what the fit chose where
    the catalogs are alike; and .95 elsewhere: where the language model has codes alone, or vectors know the
    words of the fit alone. The weights were chosen on validation users of Toys, from Beauty, with
    MiniLM."""


def transfer(
    recommender: AnyRecommender,
    catalog: Catalog,
    log_of_it: Interactions | None = None,
    settings: TransferSettings | None = None,
    *,
    vectors: Sequence[str | Path] = (),
) -> AnyRecommender:
    """Recommend from another catalog: same language model and item tokenizer, new semantic IDs and tree.

    Nothing is trained, and the recommender given stays as it is. Counts of its log do not come along;
    likeness of texts is computed for the new catalog. To recommend for histories over both catalogs, add
    the new items instead (`GenerativeRecommender.add_items`).

    Args:
        recommender: fitted, best on several catalogs (see `genrec.fitting.together`).
        catalog: the new items; its columns may be others.
        log_of_it: interactions with them, for evaluation and later training; not learned from.
        settings: mixture weights beside the language model.
        vectors: where the fit read vectors of your own: as many files with those of the new items.

    Raises:
        InputError: the recommender's codes are numbers of its own items and mean nothing elsewhere; there are
            more items than semantic IDs; a log of another catalog; or a weight of a pointer that it has not.
    """
    settings = settings or TransferSettings()
    if not isinstance(recommender.item_tokenizer, ItemTokenizer):
        raise InputError(
            "the semantic IDs of this recommender number its own items, so they mean nothing in another "
            "catalog: fit it with an item tokenizer of vectors, such as item_tokenizer.kind=rqkmeans"
        )
    _require_pointer(recommender, settings)
    if log_of_it is not None and log_of_it.catalog.item_ids != catalog.item_ids:
        raise InputError("the log was read with another catalog: give the one it is transferred to")
    if isinstance(recommender.vectorizer.encoder, TfidfEncoder):
        log.warning(
            "the text encoder was fitted on the words of the first catalog, and knows no others: fit with "
            "encoder.name=minilm (or another pretrained model) for recommendations elsewhere"
        )
    none_of_them = recommender.vectorizer.reduced(np.empty(0, np.int64))
    vectorizer, found = none_of_them.grown(catalog, recommender.settings, vectors)
    ids = recommender.semantic_ids
    empty = SemanticIds.empty(ids.codebook_sizes, ids.policy)
    new_log = log_of_it if log_of_it is not None else _no_log(catalog)
    known = recommender.language_model.pointer is not None and alike(recommender, found)
    moved = recommender.changed(
        catalog=catalog,
        semantic_ids=empty.add(catalog.item_ids, found, recommender.item_tokenizer),
        vectorizer=vectorizer,
        language_model=_language_model(recommender.language_model, settings, known),
        log=new_log,
        settings=_settings(recommender, catalog, settings, known),
        metrics={},
        data=data_facts(catalog, new_log) | {"transferred_from": recommender.data},
        likeness=None,
        text_model=_text_model(recommender, catalog),
        reranker=None,
        item_vectors=None
        if recommender.item_vectors is None
        else recommender.language_model.read_of(found),
    )
    log.info(
        "%s items have semantic IDs, %s of them moved to free codes",
        f"{len(catalog):,}",
        f"{moved.semantic_ids.moved:,}",
    )
    return moved


def _require_pointer(recommender: FittedRecommender, settings: TransferSettings) -> None:
    """Refuse a weight of what the language model has not."""
    stated = {name: getattr(settings, name) for name in ("pointer_weight", "repeat_weight")}
    given = [name for name, weight in stated.items() if weight is not None]
    if given and recommender.language_model.pointer is None:
        raise InputError(
            f"this recommender's language model has no pointer to weigh: leave {given[0]} out, or fit "
            "several catalogs together, or one with language_model.pointer=true"
        )


def _text_model(recommender: FittedRecommender, catalog: Catalog) -> TextModel | None:
    """The text model for the new catalog, by the words that it knows, if the language model reads it."""
    known = recommender.text_model
    if known is None or recommender.settings.language_model.item_vectors != "text_model":
        return None
    return known.reduced(np.empty(0, np.int64)).grown(catalog.texts(recommender.settings.template))


def _language_model(
    language_model: LanguageModel, settings: TransferSettings, known: bool
) -> LanguageModel:
    """The same with a pointer for the new catalog.

    Where codes say little, so do the states behind them: on Toys, heeding them took a model of Beauty from
    .096 to .087 recall@10.
    """
    pointer = language_model.pointer
    if pointer is not None and not known:
        pointer = pointer.by_recency_alone()
    if pointer is not None and settings.repeat_weight is not None:
        pointer = pointer.expecting_repeats(settings.repeat_weight)
    return replace(language_model, pointer=pointer)


def _no_log(catalog: Catalog) -> Interactions:
    return Interactions.of_histories(catalog, Histories.of([]), None)


def alike(recommender: FittedRecommender, vectors: NDArray[np.float32]) -> bool:
    """Whether codes keep at least half of what tells new items apart, so that they can be trusted.

    Shops drawn from one world lose a third of the variance of each other's vectors; Beauty and Toys together
    lose .9 of another beauty shop's, 1.2 of an industrial one's and 1.6 of films'. A recommender that was
    transferred itself has no weights that were chosen beside trusted codes.

    Args:
        recommender: whose codes.
        vectors: `(N, D)` of the new items.
    """
    assert isinstance(recommender.item_tokenizer, ItemTokenizer)
    if "transferred_from" in recommender.data or not vectors.std(axis=0).any():
        return False
    return lost_variance(recommender.item_tokenizer, vectors) <= _TRUSTED


def _settings(
    recommender: FittedRecommender,
    catalog: Catalog,
    settings: TransferSettings,
    known: bool,
) -> FitSettings:
    """Those of the fit, with mixture weights that suit the new catalog."""
    fitted = recommender.settings
    pointer, text = _mixture_weights(recommender, known)
    pointer = pointer if settings.pointer_weight is None else settings.pointer_weight
    text = text if settings.text_weight is None else settings.text_weight
    if pointer is not None:
        log.info(
            "the pointer weighs %.2f in the language model, likeness of texts %.2f", pointer, text
        )
        if settings.repeat_weight is not None:
            whole = (1 - text) * pointer * settings.repeat_weight
            log.info("items of the history themselves have %.2f of the whole", whole)
    return fitted.replace(
        memory=_memory(fitted.memory, len(catalog), text),
        text_model=fitted.text_model.replace(weight=0.0),
        language_model=fitted.language_model.replace(pointer_weight=pointer),
    )


def _mixture_weights(recommender: FittedRecommender, known: bool) -> tuple[float | None, float]:
    """What pointer and likeness of texts weigh unless it is said (see `TransferSettings`)."""
    if recommender.language_model.pointer is None:
        return None, _TEXT_ALONE
    if known:
        log.info("the catalogs are alike: the weights that the fit chose are kept")
        chosen = recommender.settings.language_model.pointer_weight or 0.0
        return chosen, recommender.settings.memory.text_weight or 0.0
    knows_words = not isinstance(recommender.vectorizer.encoder, TfidfEncoder)
    return _POINTER, 0.0 if knows_words else _TEXT_ALONE


def _memory(memory: MemorySettings, items: int, text_weight: float) -> MemorySettings:
    """No counts, and likeness of texts where comparing them takes no hours."""
    few = items <= memory.text_items
    if not few and text_weight:
        log.warning(
            "texts of %s items are not compared, since time grows with the square (memory.text_items is %s): "
            "the language model ranks alone",
            f"{items:,}",
            f"{memory.text_items:,}",
        )
    return memory.replace(weight=0.0, text_weight=text_weight if few else 0.0)
