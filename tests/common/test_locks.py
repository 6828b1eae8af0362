"""One writer of a folder at a time: who holds the lock, who is refused, and what a crash leaves."""

import os
import signal
import subprocess
import sys

import pytest
from filelock import FileLock, Timeout

from genrec.common.artifacts import atomic_folder, require_free, reserved
from genrec.common.errors import InputError
from genrec.common.locks import lock_path, only_writer, require_unlocked

HOLD = """
import sys
from pathlib import Path
from genrec.common.locks import only_writer

with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
COUNT = """
import sys, time
from pathlib import Path
from genrec.common.errors import InputError
from genrec.common.locks import only_writer

target = Path(sys.argv[1])
done = 0
while done < 20:
    try:
        with only_writer(target):
            number = int(target.read_text())
            time.sleep(0.001)
            target.write_text(str(number + 1))
            done += 1
    except InputError:
        pass
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `shop`."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "shop")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_another_process_is_named_and_refused(holder, tmp_path):
    target = tmp_path / "shop"
    says = rf"shop is being written by another process \({holder.pid}, since 20..-..-.. ..:..:..\): wait"
    with pytest.raises(InputError, match=says), only_writer(target):
        pytest.fail("let in")
    with pytest.raises(InputError, match=says), atomic_folder(target):
        pytest.fail("let in")
    for refuse in (require_unlocked, require_free):
        with pytest.raises(InputError, match=says):
            refuse(target)
    assert names(tmp_path) == [".lock.shop"]
    holder.communicate("\n")
    with only_writer(target):
        pass
    assert names(tmp_path) == []


def test_a_killed_process_gives_the_lock_back(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert names(tmp_path) == [".lock.shop"], "what it left is a file, and no lock"
    require_unlocked(tmp_path / "shop")
    with only_writer(tmp_path / "shop"):
        assert str(os.getpid()) in lock_path(tmp_path / "shop").read_text()
    assert names(tmp_path) == []


def test_a_link_and_its_folder_have_one_lock(holder, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "shop")
    with pytest.raises(InputError, match="link is being written"), only_writer(tmp_path / "link"):
        pytest.fail("let in")


def test_who_holds_it_may_come_in_again(tmp_path):
    target = tmp_path / "shop"
    with only_writer(target), reserved(target), atomic_folder(target) as building:
        assert building.is_dir()
    assert names(tmp_path) == ["shop"]


@pytest.mark.parametrize("takes", [only_writer, reserved, atomic_folder])
def test_it_is_held_to_the_end_of_the_block(tmp_path, takes):
    lock = FileLock(lock_path(tmp_path / "shop"), timeout=0)
    with takes(tmp_path / "shop"), pytest.raises(Timeout):
        lock.acquire()
    with lock:
        pass


def test_of_launched_processes_the_first_one_holds_it(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with only_writer(tmp_path / "shop"):
        pass
    assert names(tmp_path) == [".lock.shop"]


def test_folders_made_for_the_lock_alone_go_with_it(tmp_path):
    with only_writer(tmp_path / "a" / "b" / "shop"):
        pass
    assert names(tmp_path) == []
    target = tmp_path / "a" / "shop"
    with only_writer(target):
        target.mkdir()
    assert names(tmp_path / "a") == ["shop"]
    lock = FileLock(lock_path(tmp_path / "a" / "other"))
    with (
        lock,
        pytest.raises(InputError, match="another process"),
        only_writer(tmp_path / "a" / "other"),
    ):
        pytest.fail("let in")


def test_a_target_that_was_made_meanwhile_is_refused(tmp_path, monkeypatch):
    target = tmp_path / "shop"

    def made_meanwhile(_):
        target.mkdir()
        monkeypatch.undo()

    monkeypatch.setattr("genrec.common.artifacts._require_writable_parent", made_meanwhile)
    with pytest.raises(InputError, match="exists already"), reserved(target):
        pytest.fail("let in")


def test_many_processes_take_turns(tmp_path):
    target = tmp_path / "count"
    target.write_text("0")
    words = [sys.executable, "-c", COUNT, str(target)]
    processes = [subprocess.Popen(words) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert target.read_text() == "60"
    assert names(tmp_path) == ["count"]
