"""Fixtures shared by the whole suite."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from hypothesis.internal.conjecture import providers

if TYPE_CHECKING:
    from genrec import GenerativeRecommender
    from genrec.data.synthetic import SyntheticData

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch and numpy are loaded: workers side by side would wait for each other's threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]

# What is drawn follows from the test alone, not from CI being set, a database of earlier failures or the
# clock: how long an example takes is the machine's affair.
settings.register_profile(
    "same",
    settings.get_profile("default"),
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fresh", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of fresh draws."""
    parser.addoption(
        "--fresh-draws",
        type=int,
        default=0,
        metavar="TIMES",
        help="property tests draw other examples in every run, TIMES as many",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Fresh draws where they are asked for, else the same ones everywhere."""
    if config.getoption("--fresh-draws"):
        settings.load_profile("fresh")
    else:
        # Numbers and words of the modules that happen to be loaded would be drawn too: other examples
        # with other workers, with a test run alone, with a line changed elsewhere.
        nothing = providers.Constants()
        providers._get_local_constants = lambda: nothing


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fresh draws are more of them, also in a test that says how many."""
    if times := config.getoption("--fresh-draws"):
        tests = [getattr(item, "obj", None) for item in items]
        for test in {getattr(test, "__func__", test) for test in filter(is_hypothesis_test, tests)}:
            own = test._hypothesis_internal_use_settings
            test._hypothesis_internal_use_settings = settings(
                own, max_examples=times * own.max_examples
            )


# Why a test may be skipped where all that can be installed is installed.
NOT_INSTALLABLE = re.compile(
    "root may write anywhere|real data sets are not at|data set is not at|folders are exchanged on Linux"
    "|this system does not tell|draws afresh"
)


def _refuse_skip(report: Any) -> Any:
    """With GENREC_REQUIRE_ALL=true, as in `.ci/run`, what is skipped for want of an installation fails."""
    required = os.environ.get("GENREC_REQUIRE_ALL") == "true"
    if required and report.skipped and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr
        if not NOT_INSTALLABLE.search(reason):
            report.outcome, report.longrepr = "failed", f"{reason}, with GENREC_REQUIRE_ALL=true"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """A module may not be skipped."""
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Nor may a test."""
    return _refuse_skip((yield))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that ran in this process leaves no handler behind whose stream pytest has closed."""
    top, own = logging.getLogger(), logging.getLogger("genrec")
    before = top.handlers[:], top.level, own.handlers[:], own.level
    yield
    top.handlers[:], top.level, own.handlers[:], own.level = before


@pytest.fixture(autouse=True)
def _random_state_as_in_a_test_alone() -> None:
    """What a test draws without a seed of its own does not depend on what ran before it."""
    random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def _assert_alike(found: list[tuple[Any, float]], expected: list[tuple[Any, float]]) -> None:
    """The same items with scores within rounding, in the same order but for scores that close.

    A batch and one request alone add up in another order, so that of two scores that close, either may
    come first, or be the one that is cut off.
    """
    scores = [[score for _, score in items] for items in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert len({item for item, _ in found}) == len(found)
    own = dict(expected)
    for (item, _), (other, score) in zip(found, expected, strict=True):
        if item != other:
            assert own.get(item, scores[1][-1]) == pytest.approx(score, abs=1e-5), (item, other)


@pytest.fixture(scope="session")
def assert_alike() -> Callable[[list[tuple[Any, float]], list[tuple[Any, float]]], None]:
    """A check that two lists of (item, score), best first, differ by rounding alone."""
    return _assert_alike


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
    short = {"max_steps": 60, "batch_items": 512, "validations": 2, "warmup_steps": 5}
    return {
        "encoder": {"dimension": 32},
        "collaborative": {"dimension": 16},
        # A plain model, which can be exported; tests/recommender/test_item_vectors.py has the default.
        "language_model": {
            "compact": {"width": 16, "layers": 1, "heads": 2},
            "item_vectors": "none",
        },
        "training": short,
        "text_model": {"shape": {"width": 32, "layers": 1, "heads": 2}, "training": short},
        "validation_users": 100,
        "mixture_users": 100,
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
