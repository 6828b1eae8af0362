"""Property tests draw the same examples everywhere, and others where fresh draws are asked for."""

import json
import os
import random
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import settings

PROPERTIES = """
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if os.environ["WITH_SHOP"]:
    import shop

DRAWN = {}


@pytest.fixture(autouse=True, scope="module")
def written():
    yield
    Path(os.environ["DRAWN"]).write_text(json.dumps(DRAWN))


@given(st.integers(), st.floats(), st.text(max_size=3))
def test_plain(number, real, word):
    DRAWN.setdefault("plain", []).append(repr((number, real, word)))


@pytest.mark.parametrize("one_of_two", "ab")
@given(number=st.integers())
@settings(max_examples=30)
def test_with_a_number_of_its_own(one_of_two, number):
    DRAWN.setdefault(one_of_two, []).append(number)


@given(st.integers())
def test_false(number):
    assert number < 1000
"""
WORKERS = ("--numprocesses=2", "--dist=loadfile")
SHOP = "ITEMS, PRICES, WORDS = [123456, -654321], [0.123, 7e9], ['shoe', 'hat']\n"


@pytest.fixture(scope="module")
def drawn(root, tmp_path_factory):
    """Run PROPERTIES under the suite's own conftest: what was drawn, and what was printed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "tests").mkdir()
    shutil.copy(root / "tests" / "conftest.py", folder / "tests")
    (folder / "tests" / "test_properties.py").write_text(PROPERTIES)
    (folder / "shop.py").write_text(SHOP)

    def run(*options, shop="", **variables):
        words = [sys.executable, "-m", "pytest", "--rootdir", ".", "tests", *options]
        unset = {"CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"}
        env = {name: value for name, value in os.environ.items() if name not in unset}
        env |= {"DRAWN": str(folder / "drawn.json"), "WITH_SHOP": shop, **variables}
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
        assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
        return json.loads((folder / "drawn.json").read_text()), done.stdout

    return run


def test_this_run_draws_what_every_run_draws(request):
    if request.config.getoption("--fresh-draws"):
        pytest.skip("this run draws afresh")
    assert settings().derandomize
    assert settings().database is None
    assert settings().deadline is None


@pytest.fixture(scope="module")
def same(drawn):
    return drawn()[0]


@pytest.mark.slow
def test_the_same_is_drawn_everywhere(drawn, same):
    """After a run that failed, where CI is set, by a worker beside another, with more modules loaded."""
    assert len(same["plain"]) >= 100
    elsewhere, printed = drawn(*WORKERS, CI="true", shop="yes")
    assert elsewhere == same
    assert "Failing test case" in printed


@pytest.mark.slow
def test_fresh_draws_are_others_and_more(drawn, same):
    fresh, printed = drawn("--fresh-draws=3")
    again, _ = drawn("--fresh-draws=3", *WORKERS)
    for name, least in (("plain", 300), ("a", 90), ("b", 90)):
        assert len(same[name]) < least <= len(fresh[name])
        assert least <= len(again[name])
        assert fresh[name] != again[name]
        assert fresh[name][: len(same[name])] != same[name]
    assert "@reproduce_failure" in printed


def test_what_a_test_draws_without_a_seed_does_not_depend_on_others():
    found = torch.rand(3).tolist(), random.random()
    torch.manual_seed(0)
    random.seed(0)
    assert found == (torch.rand(3).tolist(), random.random())
