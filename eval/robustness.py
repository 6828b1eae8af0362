"""What sellers and made-up users can do to a recommender, and what its defences take back.

    python eval/robustness.py eval/robustness_demo.yaml [parts=[texts] texts.products=5 …]

*texts*: products that sell little come back with texts that are written for the recommender, under
several cleanings of texts (`template.cleaning`). *users*: the log gets made-up users who push an item, and
is fitted anew with suspects left out (`split.fake_users.leave_out`) and without. Writes JSON and, beside it,
the tables.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from bench.fake_users import FakeUserAttack, FakeUserResult, measure_fake_users
from bench.visibility import TextAttack, VisibilityRow, measure_visibility
from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance
from genrec.common.config import Settings
from genrec.common.progress import progress
from genrec.common.recipe import run_recipe, write_results
from genrec.data.settings import DataSettings
from genrec.data.synthetic import SyntheticShop
from genrec.recommender.settings import FitSettings


class Config(Settings):
    """What is attacked, how, and where the result goes."""

    parts: tuple[Literal["texts", "users"], ...] = ("texts", "users")
    """Which attacks."""
    recommender: Path = Path("runs/sft_demo")
    """The recommender folder whose products change their texts."""
    texts: TextAttack = TextAttack()
    """Products, users and cleanings."""
    data: DataSettings = DataSettings(shop=SyntheticShop())
    """The log that gets made-up users."""
    users: FakeUserAttack = FakeUserAttack()
    """How they are made up."""
    fit: FitSettings = FitSettings()
    """Of every fit on that log."""
    out: Path = Path("runs/robustness.json")
    """JSON document; the tables go beside it, ending in .md."""


def main(config: Config) -> None:
    """Attack, measure, write, print."""
    document: dict[str, object] = {
        "config": config.model_dump(mode="json"),
        "provenance": provenance(),
    }
    tables = []
    if "texts" in config.parts:
        rows = _texts(config)
        document["texts"] = [asdict(row) for row in rows]
        tables.append(_table(_TEXT_HEAD, map(_text_cells, rows)))
    if "users" in config.parts:
        results = _users(config)
        document["users"] = [asdict(result) for result in results]
        tables.append(_table(_USER_HEAD, map(_user_cells, results)))
    told = "\n\n".join(tables)
    write_results(config.out, document, told)
    print(told)


def _texts(config: Config) -> list[VisibilityRow]:
    recommender = GenerativeRecommender.from_pretrained(config.recommender, merged=True)
    with progress("products", config.texts.products) as bar:
        return measure_visibility(recommender, config.texts, bar)


def _users(config: Config) -> list[FakeUserResult]:
    catalog, log = config.data.read()
    with progress("fits", 2 * (1 + len(config.users.attacks))) as bar:
        return measure_fake_users(catalog, log, config.fit, config.users, lambda _: bar(1))


_TEXT_HEAD = (
    "ranker",
    "cleaning",
    "text",
    "mean rank",
    "median",
    "ranks gained",
    "in the top 10 of",
)
_USER_HEAD = ("fake users", "suspects", "exposure@10", "ndcg@10", "left out", "of the fakes")


def _text_cells(row: VisibilityRow) -> list[str]:
    named = [row.ranker, row.cleaning, row.strategy, f"{row.mean:.1f}", f"{row.median:.0f}"]
    return [*named, _interval(row.gained, "+.1f"), _interval(row.top, ".4f")]


def _user_cells(result: FakeUserResult) -> list[str]:
    share = f"{result.caught / result.fakes:.0%}" if result.fakes else ""
    named = [result.attack or "none", "left out" if result.defended else "kept"]
    measured = [_interval(result.exposure, ".4f"), _interval(result.ndcg, ".4f")]
    return [*named, *measured, f"{result.out:,} of {result.users:,}", share]


def _interval(value: tuple[float, float, float], form: str) -> str:
    mean, low, high = (format(number, form) for number in value)
    return f"{mean} ({low} to {high})"


def _table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * 3 + ["---:"] * (len(names) - 3), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    run_recipe(main, Config)
