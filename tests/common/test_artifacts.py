"""Folders and files that are whole or absent, and manifests that notice any change."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common import artifacts
from genrec.common.errors import InputError, RecommenderError
from genrec.common.manifest import RECOMMENDER, read_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    """A small folder with a manifest."""
    made = tmp_path / "made"
    with artifacts.atomic_folder(made) as building:
        (building / "part").mkdir()
        (building / "part" / "weights").write_bytes(bytes(range(256)))
        (building / "words.txt").write_text("words\n")
        write_manifest(building, {"settings": {"seed": 1}, "data": {"rows": 3}})
    return made


def test_a_folder_appears_whole(folder, tmp_path):
    assert {path.name for path in tmp_path.iterdir()} == {"made"}
    assert read_manifest(folder)["settings"] == {"seed": 1}


def test_a_folder_whose_making_fails_never_appears(tmp_path):
    def fail():
        with artifacts.atomic_folder(tmp_path / "made") as building:
            (building / "half").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_kill_while_writing_leaves_the_name_free(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from genrec.common.artifacts import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as building:\n"
        "    (building / 'half').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "made"
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    with artifacts.atomic_folder(target) as building:
        (building / "whole").write_text("whole")
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_only_what_genrec_made_is_overwritten(folder, tmp_path):
    with artifacts.atomic_folder(folder, overwrite=True) as building:
        (building / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "wedding.jpg").write_bytes(b"irreplaceable")
    for target in (photos, photos / "wedding.jpg"):
        with (
            pytest.raises(InputError, match="was not made by genrec"),
            artifacts.atomic_folder(target, overwrite=True),
        ):
            pytest.fail("entered")
    assert (photos / "wedding.jpg").read_bytes() == b"irreplaceable"


def test_a_failed_replacement_keeps_the_old_folder(folder):
    with pytest.raises(KeyError), artifacts.atomic_folder(folder, overwrite=True):
        raise KeyError
    assert read_manifest(folder)["data"] == {"rows": 3}


MOMENTS = {
    "half built": "(building / 'half').write_text('half'); die()",
    "built": "artifacts._replace = die",
    "exchanged": "artifacts.shutil.rmtree = die",
    "half removed": "artifacts.shutil.rmtree = lambda path: ((path / 'words.txt').unlink(), die())",
}


def replaced_and_killed(folder, moment):
    """Replace the folder in a process that kills itself at some moment."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from genrec.common import artifacts\n"
        "from genrec.common.manifest import write_manifest\n"
        "die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with artifacts.atomic_folder(Path(sys.argv[1]), overwrite=True) as building:\n"
        "    (building / 'words.txt').write_text('new')\n"
        "    write_manifest(building, {'data': {'rows': 4}})\n"
        f"    {moment}\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_while_replacing_leaves_the_old_folder_or_the_new_one(folder, moment):
    replaced_and_killed(folder, MOMENTS[moment])
    rows = read_manifest(folder)["data"]["rows"]
    assert rows == (3 if "built" in moment else 4)
    with artifacts.atomic_folder(folder, overwrite=True) as building:
        write_manifest(building, {"data": {"rows": 5}})
    assert read_manifest(folder)["data"]["rows"] == 5


@pytest.mark.skipif(sys.platform != "linux", reason="folders are exchanged on Linux")
def test_there_is_no_moment_without_a_folder(folder, monkeypatch):
    """Two renames would have one between them; the exchange needs none."""
    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("renamed"))
    with artifacts.atomic_folder(folder, overwrite=True) as building:
        (building / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_where_folders_cannot_be_exchanged_the_old_one_is_found(folder):
    code = (
        "artifacts._exchanged = lambda *_: False; rename = Path.rename; "
        "Path.rename = lambda path, to: die() if path == building else rename(path, to)"
    )
    replaced_and_killed(folder, code)
    assert not folder.exists()
    with pytest.raises(RecommenderError, match="was being replaced when") as said:
        read_manifest(folder)
    [old] = folder.parent.glob(".made.old.*/replaced")
    assert str(old) in str(said.value)
    old.rename(folder)
    assert read_manifest(folder)["data"]["rows"] == 3


def test_without_an_exchange_a_folder_is_replaced_all_the_same(folder, monkeypatch):
    monkeypatch.setattr(artifacts, "_exchanged", lambda *_: False)
    with artifacts.atomic_folder(folder, overwrite=True) as building:
        (building / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in folder.parent.iterdir()] == ["made"]


def test_a_link_to_a_folder_stays_one(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    with artifacts.atomic_folder(link, overwrite=True) as building:
        (building / "new").write_text("new")
    assert link.is_symlink()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_known_hashes_are_not_computed_again(folder):
    write_manifest(folder, {}, known={"words.txt": "0" * 64})
    with pytest.raises(RecommenderError, match=r"words\.txt is not the file"):
        read_manifest(folder)


def test_looking_whether_a_target_is_free_makes_nothing(folder, tmp_path):
    artifacts.require_free(tmp_path / "a" / "b" / "c")
    artifacts.require_file(tmp_path / "a" / "b.json")
    with pytest.raises(InputError, match=r"made exists already: take another"):
        artifacts.require_free(folder, advice="take another")
    with pytest.raises(InputError, match=r"words\.txt is a file, not a folder"):
        artifacts.require_free(folder / "words.txt" / "deeper" / "c")
    with pytest.raises(InputError, match=r"made is a folder: name a file in it"):
        artifacts.require_file(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "file"

    def write(text, error=None):
        with artifacts.atomic_file(target) as path:
            path.write_text(text)
            if error:
                raise error

    write("one")
    write("two")
    with pytest.raises(KeyError):
        write("half", KeyError)
    assert target.read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["file"]
    with (
        pytest.raises(InputError, match="cannot be written"),
        artifacts.atomic_file(target / "under a file"),
    ):
        pytest.fail("entered")


@given(st.data())
def test_any_flipped_bit_of_any_file_is_noticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    (folder / "words.txt").write_text("words\n")
    write_manifest(folder, {"settings": {"seed": 1}, "provenance": {"genrec": "0"}})
    path = folder / data.draw(st.sampled_from(["words.txt", RECOMMENDER.manifest]))
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(RecommenderError, match=str(folder)):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["part/weights", "words.txt", RECOMMENDER.manifest])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(RecommenderError, match=name):
        read_manifest(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("settings"),
        lambda document: document.pop("files"),
        lambda document: document.update(files={}),
        lambda document: document["files"].pop("words.txt"),
        lambda document: document["files"].pop(RECOMMENDER.manifest),
        lambda document: document["settings"].update(seed=2),
        lambda document: document.update(more=1),
    ],
)
def test_an_edited_manifest_is_noticed(folder, change):
    path = folder / RECOMMENDER.manifest
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(RecommenderError, match=r"recommender\.json is not the file that was saved"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"format_version": 99, "provenance": {"genrec": "7.5"}}', r"version 99.*made with \(7.5"),
        ('{"format_version": 99, "provenance": 5}', r"version 99.*reads version 1.*unknown"),
        ("{}", "format version None"),
        ("[]", "is not a manifest"),
        ("", "cannot be read"),
    ],
)
def test_another_format_is_said(folder, content, expected):
    (folder / RECOMMENDER.manifest).write_text(content)
    with pytest.raises(RecommenderError, match=expected):
        read_manifest(folder)
