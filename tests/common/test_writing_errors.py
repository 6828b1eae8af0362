"""Errors of writing in one message, whoever raises them."""

import errno
from pathlib import Path

import pytest

import genrec
from genrec.common.artifacts import atomic_file, atomic_folder
from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.program import program
from genrec.common.writing_errors import WritingError, writing_error
from genrec.fitting.work_folder import WorkFolder

FULL = "No space left on device; make room on its disk, and run the same again"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            f"runs/x cannot be written: {FULL}",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), f"a file cannot be written: {FULL}"),
        (OSError(errno.EDQUOT, "", "x"), "x cannot be written: Disk quota exceeded; make room"),
        (OSError("[Errno 28] Error writing bytes to file"), f"a file cannot be written: {FULL}"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), FULL),
        (RuntimeError('IO Error: Could not write file "t": No space left on device'), FULL),
        (PermissionError(errno.EACCES, "", "x"), "x cannot be written: Permission denied; allow"),
        (OSError(errno.EROFS, "", "x"), "x cannot be written: Read-only file system; allow"),
        (
            FileNotFoundError(errno.ENOENT, "", "runs/x"),
            "runs/x cannot be written: No such file or",
        ),
    ],
)
def test_an_error_of_writing_says_what_to_do(error, says):
    assert says in str(writing_error(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("28"),
        OSError("no number"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        FileNotFoundError(errno.ENOENT, "", str(Path(genrec.__file__).parent / "page.html")),
        InputError("row 28 says: No space left on device"),
        ConnectionResetError(errno.ECONNRESET, "", "x"),
    ],
)
def test_any_other_error_stays_what_it_is(error):
    assert writing_error(error) is None


def test_a_program_ends_with_the_message_and_status_2(capsys):
    error = OSError(errno.ENOSPC, "No space left on device", "runs/x")
    error.add_note("Some is kept")
    with pytest.raises(SystemExit) as left, program():
        raise error
    assert left.value.code == 2
    assert capsys.readouterr().err == f"Error: runs/x cannot be written: {FULL}. Some is kept\n"
    with pytest.raises(ZeroDivisionError), program():
        _ = 1 / 0


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_what_is_named_is_the_target_and_nothing_is_left(tmp_path, make):
    says = f"shop cannot be written: {FULL}"
    with pytest.raises(WritingError, match=says), make(tmp_path / "shop"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "shop"):
        (tmp_path / "other" / "file").read_text()


@pytest.mark.parametrize("kind", [OSError, WritingError])
def test_a_work_folder_stays_and_says_so(tmp_path, kind):
    def run():
        with WorkFolder.beside(tmp_path / "out") as work:
            work.claim({"data": "a"}, Settings())
            raise kind(errno.ENOSPC, "No space left on device")

    with pytest.raises(kind) as raised:
        run()
    [note] = raised.value.__notes__
    assert "out.partial, and the same run goes on from there" in note
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
