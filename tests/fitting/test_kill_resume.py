"""A fit that is killed goes on where it stood and ends with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from genrec.testing.fakes import save_tiny_pretrained

SETTINGS = [
    "text_model.training.min_steps=30",
    "text_model.training.epochs=1",
    "encoder.dimension=16",
    "collaborative.dimension=8",
    "language_model.compact.width=16",
    "language_model.compact.layers=1",
    "language_model.compact.heads=2",
    "training.max_steps=80",
    "training.batch_items=512",
    "training.validations=2",
    "training.checkpoint_seconds=0",
    "validation_users=50",
]


def words(shop_files, out, *more):
    items, clicks = map(str, shop_files)
    return ["fit", "--items", items, "--interactions", clicks, "--out", str(out), *SETTINGS, *more]


def start(shop_files, out, *more):
    """The command in a process of its own, on one thread: sums must be taken in one order."""
    code = "from genrec.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words(shop_files, out, *more)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return err


@pytest.fixture(scope="module")
def undisturbed(shop_files, tmp_path_factory):
    """The folder of a fit that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "shop"
    finish(start(shop_files, out))
    return out


@pytest.fixture(scope="module")
def killed(shop_files, tmp_path_factory):
    """Where the folder of a fit would be that was killed in the middle of training."""
    out = tmp_path_factory.mktemp("killed") / "shop"
    process = start(shop_files, out)
    checkpoints = out.with_name("shop.partial") / "checkpoints"
    deadline = time.monotonic() + 120
    # Two: the middle of training, and a moment at which a checkpoint may be half-written.
    while len(list(checkpoints.glob("step-*.safetensors"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    return out


@pytest.fixture
def unfinished(killed, tmp_path):
    """A copy of the killed fit's work folder, beside an `out` of its own."""
    shutil.copytree(killed.with_name("shop.partial"), tmp_path / "shop.partial")
    return tmp_path / "shop"


def last_step(out):
    steps = out.with_name("shop.partial").glob("checkpoints/step-*.safetensors")
    return max(int(path.stem.split("-")[1]) for path in steps)


def model_bytes(out):
    names = ("language_model", "item_tokenizer", "collaborative", "encoder")
    return [(out / name / "model.safetensors").read_bytes() for name in names]


@pytest.mark.slow
def test_a_killed_fit_ends_like_an_undisturbed_one(unfinished, shop_files, undisturbed):
    assert 0 < last_step(unfinished) < 80
    said = finish(start(shop_files, unfinished))
    assert "continuing the fit in" in said
    assert "of 80" in said.split("continuing after step")[-1]
    assert model_bytes(unfinished) == model_bytes(undisturbed)
    assert [path.name for path in unfinished.parent.iterdir()] == ["shop"]


def test_other_settings_are_refused_and_nothing_is_lost(unfinished, shop_files, command):
    step = last_step(unfinished)
    answer = command(*words(shop_files, unfinished, "seed=7"))
    assert answer.status == 2
    assert "shop.partial holds an unfinished fit with other data or settings" in answer.message
    assert "--restart" in answer.message
    assert last_step(unfinished) == step


def test_restart_discards_the_unfinished_fit(unfinished, shop_files, command):
    answer = command(
        *words(shop_files, unfinished, "seed=7", "training.warmup_steps=3"), "--restart"
    )
    assert answer.status == 0
    assert [path.name for path in unfinished.parent.iterdir()] == ["shop"]


def test_a_fit_killed_before_it_wrote_anything_starts_anew(shop_files, tmp_path, command):
    """The kill may come between making the work folder and the end of writing its first file."""
    for name, content in (("empty", None), ("torn", '{"genrec": "0.1')):
        work = tmp_path / name / "shop.partial"
        work.mkdir(parents=True)
        if content is not None:
            (work / "fit.json").write_text(content)
        quick = [word for word in SETTINGS if "max_steps" not in word] + ["training.max_steps=2"]
        items, clicks = shop_files
        answer = command(
            "fit",
            "--items",
            items,
            "--interactions",
            clicks,
            "--out",
            work.with_name("shop"),
            *quick,
        )
        assert answer.status == 0, answer
        assert [path.name for path in work.parent.iterdir()] == ["shop"]


@pytest.mark.slow
def test_a_torn_checkpoint_is_passed_over(unfinished, shop_files, undisturbed):
    newest = sorted(unfinished.with_name("shop.partial").glob("checkpoints/step-*"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    said = finish(start(shop_files, unfinished))
    assert "using the one before it" in said
    assert model_bytes(unfinished) == model_bytes(undisturbed)


TASKS = ["tasks={next-title: 0.3, item-to-id: 0.3}", "training.codes_first=20"]


def kill_at(step, shop_files, out, more):
    """Start the fit, or go on with it; SIGKILL once its checkpoint of `step` is there or being written."""
    process = start(shop_files, out, *more)
    checkpoints = out.with_name("shop.partial") / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(int(path.stem.split("-")[1]) >= step for path in checkpoints.glob("step-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_tuning_on_tasks_survives_three_kills(shop_files, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    more = [*TASKS, f"language_model.backbone={base}", "training.batch_tokens=400"]
    whole, out = tmp_path / "whole" / "shop", tmp_path / "killed" / "shop"
    finish(start(shop_files, whole, *more))
    for step in sorted(random.Random(7).sample(range(2, 70), 3)):
        kill_at(step, shop_files, out, more)
        assert not out.exists()
    finish(start(shop_files, out, *more))
    names = ("language_model/adapter_model", "item_tokenizer/model")
    for name in names:
        expected = (whole / f"{name}.safetensors").read_bytes()
        assert (out / f"{name}.safetensors").read_bytes() == expected, name
