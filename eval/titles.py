"""Judge the titles that a recommender writes for the next product, beside three baselines.

    python eval/titles.py eval/titles_demo.yaml [most_cases=500 …]

Baselines: the history's last title, the same shortened to the length that does best on validation, and the
title of the top recommended item. Writes JSON and, beside it, the table as Markdown.
"""

from pathlib import Path
from typing import Literal

from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.data.histories import Cases
from genrec.evaluation import (
    TitleEvaluation,
    TitleTargets,
    choose_title_length,
    compare_titles,
    evaluate_titles,
    last_titles,
    shortened,
    top_item_titles,
)
from genrec.recommender.titles import WritingSettings, write_titles


class Config(Settings):
    """Whose titles, on which cases, and where the result goes."""

    recommender: Path
    """Folder of a recommender that learned to write titles."""
    split: Literal["valid", "test"] = "test"
    """Which cases; test is for reporting only."""
    most_cases: int | None = None
    """Cases drawn at random; None takes all."""
    writing: WritingSettings = WritingSettings(nearest=0)
    """How titles are written."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    out: Path
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Write, judge, compare."""
    model = GenerativeRecommender.from_pretrained(
        config.recommender, device=config.device, merged=True
    )
    split = model.split
    cases = split.test if config.split == "test" else split.valid
    cases = cases.draw(config.most_cases, seed=0)
    ranking = model.rank(cases.histories, 1, exclude_seen=True).items
    written = write_titles(model, cases.histories, 1, config.writing)
    last = last_titles(cases, model.catalog)
    length = choose_title_length(split.valid, model.catalog)
    systems = {
        "genrec": [[title.title for title in titles] for titles in written],
        "last title": last,
        f"last title, {length} words": shortened(last, length),
        "title of the top item": top_item_titles(ranking, model.catalog),
    }
    first, *others = [_judged(name, answers, cases, model) for name, answers in systems.items()]
    result = compare_titles(first, others)
    document = result.to_json() | {"split": config.split, "provenance": provenance()}
    write_results(config.out, document, result.markdown_table())
    print(result.markdown_table())


def _judged(
    name: str, answers: list[list[str]], cases: Cases, model: GenerativeRecommender
) -> TitleEvaluation:
    first = [titles[0] for titles in answers]
    near = model.nearest_items.similarity(first, cases.targets)
    targets = TitleTargets.of(cases, model.catalog)
    return evaluate_titles(name, answers, targets, similarity=near)


if __name__ == "__main__":
    run_recipe(main, Config)
