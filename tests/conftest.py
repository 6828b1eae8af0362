"""Fixtures shared by the whole suite."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from genrec import GenerativeRecommender
    from genrec.data.synthetic import SyntheticData

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch and numpy are loaded: workers side by side would wait for each other's threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]

# How long an example takes is the machine's affair: the first one waits for an import. Where CI is set,
# hypothesis draws the same examples each time.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that ran in this process leaves no handler behind whose stream pytest has closed."""
    top, own = logging.getLogger(), logging.getLogger("genrec")
    before = top.handlers[:], top.level, own.handlers[:], own.level
    yield
    top.handlers[:], top.level, own.handlers[:], own.level = before


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: beside the repository, or where GENREC_DATA says."""
    folder = Path(os.environ.get("GENREC_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {folder} (set GENREC_DATA to their folder)")
    return folder


@dataclass(frozen=True)
class Answer:
    """What a command left behind: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Standard error as one line, without the frame that usage errors are drawn in."""
        return " ".join(re.sub("[│╭╮╰╯─]", " ", self.err).split())

    @property
    def json(self) -> Any:
        """The one JSON document on standard output; NaN, which is not JSON, fails."""
        return json.loads(self.out, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the command in this process: ``command("inspect", folder)``."""
    from genrec.cli import main

    def run(*words: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return Answer(int(left.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def quick_settings() -> dict[str, Any]:
    """Settings of a fit that takes about a second."""
    return {
        "encoder": {"dimension": 32},
        "collaborative": {"dimension": 16},
        "language_model": {"compact": {"width": 16, "layers": 1, "heads": 2}},
        "training": {"max_steps": 60, "batch_items": 512, "validations": 2, "warmup_steps": 5},
        "validation_users": 100,
        "search": {"beams": 10},
    }


@pytest.fixture(scope="session")
def shop() -> SyntheticData:
    """A shop of 120 items and 300 customers."""
    from genrec.data import SyntheticShop, generate

    return generate(SyntheticShop(items=120, users=300, seed=3))


@pytest.fixture(scope="session")
def shop_files(shop: SyntheticData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shop's items.csv and interactions.csv."""
    return shop.write(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def recommender(shop: SyntheticData, quick_settings: dict[str, Any]) -> GenerativeRecommender:
    """A recommender of the shop; not to be changed."""
    from genrec import FitSettings, GenerativeRecommender

    settings = FitSettings.model_validate(quick_settings)
    return GenerativeRecommender.fit(shop.catalog, shop.log, settings)


@pytest.fixture(scope="session")
def recommender_folder(
    recommender: GenerativeRecommender, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same recommender's folder; to be copied before anything in it is changed."""
    folder = tmp_path_factory.mktemp("saved") / "recommender"
    recommender.save_pretrained(folder)
    return folder
