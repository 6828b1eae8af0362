"""The same command twice at once, as cron does: the second one is told, and nothing is mixed up."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from genrec import GenerativeRecommender
from genrec.common.locks import lock_path

QUICK = [
    "encoder.dimension=16",
    "collaborative.dimension=8",
    "language_model.compact.width=16",
    "language_model.compact.layers=1",
    "language_model.compact.heads=2",
    "training.validations=1",
]
COMMANDS = {
    "fit": "fit --items {items} --interactions {log} --out {out}",
    "fit, overwriting": "fit --items {items} --interactions {log} --out {dir} --overwrite",
    "fit of several": (
        "fit --items {items} --interactions {log} --items {items} --interactions {log} --name a "
        "--name b --out {out}"
    ),
    "fit further": "fit --from {dir} --interactions {log} --out {out}",
    "transfer": "transfer {dir} --items {items} --out {out}",
    "items add": "items add {dir} --items {items}",
    "items add, elsewhere": "items add {dir} --items {items} --out {out}",
    "items remove": "items remove {dir} --ids P0001",
    "items remove, elsewhere": "items remove {dir} --ids P0001 --out {out}",
    "items update": "items update {dir} --items {items}",
    "items update, elsewhere": "items update {dir} --items {items} --out {out}",
    "adapters fit": "adapters fit {dir} --out {out}",
    "adapters combine": "adapters combine {dir} --adapter {dir} --out {out}",
    "export": "export {dir} --out {out}",
    "demo": "demo --out {out}",
    "recommend": "recommend {dir} --input {log} --output {out}.csv",
}


@pytest.fixture
def places(recommender_folder, shop_files, tmp_path):
    items, log = shop_files
    folder = shutil.copytree(recommender_folder, tmp_path / "shop")
    return {"items": items, "log": log, "dir": folder, "out": tmp_path / "out"}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_waits_for_nobody_and_spoils_nothing(places, command, words):
    words = words.format(**places).split()
    target = words[-1] if "--out" in words or "--output" in words else places["dir"]
    target = places["dir"] if "--overwrite" in words else places["dir"].parent / target
    before = contents(places["dir"])
    with FileLock(lock_path(target)):
        answer = command(*words)
        assert answer.status == 2, answer.err
        assert f"{target} is being written by another process" in answer.message
    assert contents(places["dir"]) == before
    left = {path.name for path in places["dir"].parent.iterdir()} - {lock_path(target).name}
    assert left == {"shop"}


def test_a_dry_run_reads_only(places, command):
    feed = places["out"].with_suffix(".csv")
    feed.write_text("item_id,price\nP0001,2\n")
    with FileLock(lock_path(places["dir"])):
        words = ["items", "update", places["dir"], "--items", feed, "--dry-run"]
        assert command(*words).status == 0


@pytest.mark.slow
def test_two_fits_at_once_and_one_after_a_crash(places, command, tmp_path):
    words = ["fit", "--items", places["items"], "--interactions", places["log"]]
    words += ["--out", places["out"], *QUICK, "training.max_steps=100000"]
    code = "from genrec.cli import main; main()"
    first = subprocess.Popen([sys.executable, "-c", code, *map(str, words)])
    deadline = time.monotonic() + 120
    while not (tmp_path / "out.partial" / "fit.json").exists():
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = command(*words)
    assert second.status == 2
    assert f"out is being written by another process ({first.pid}, since " in second.message
    assert first.poll() is None, "the first one goes on"
    first.send_signal(signal.SIGKILL)
    first.wait()
    words[-1] = "training.max_steps=20"
    assert command(*words, "--restart").status == 0
    assert len(GenerativeRecommender.from_pretrained(places["out"], device="cpu").catalog) == 120
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "shop"]
