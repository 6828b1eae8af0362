"""The work folder of a run: who goes on in it, when it goes, and that nobody else's is touched."""

import pytest
from filelock import FileLock, Timeout

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.locks import lock_path
from genrec.fitting.work_folder import WorkFolder


class Run(Settings):
    seed: int = 0


def begun(out):
    """The work folder of a run that was killed after its first result."""

    def run():
        with WorkFolder.beside(out) as work:
            work.claim({"data": "a"}, Run())
            (work.path / "vectors").write_text("half an hour's work")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    return out.with_name(f"{out.name}.partial")


def test_a_killed_run_goes_on_and_what_is_saved_leaves_nothing(tmp_path):
    out = tmp_path / "out"
    assert begun(out) == tmp_path / "out.partial"
    with WorkFolder.beside(out) as work:
        work.claim({"data": "a"}, Run())
        assert (work.path / "vectors").read_text() == "half an hour's work"
        work.save(lambda: out.mkdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("other", [{"data": "b"}, {"seed": 1}])
def test_another_run_is_refused_and_leaves_it_as_it_is(tmp_path, other):
    path = begun(tmp_path / "out")
    settings = Run(seed=other.get("seed", 0))
    with (
        pytest.raises(InputError, match="unfinished fit with other data or settings"),
        WorkFolder.beside(tmp_path / "out") as work,
    ):
        work.claim({"data": other.get("data", "a")}, settings)
    assert (path / "vectors").exists()


def test_a_run_that_somebody_else_is_at_is_refused_and_left_alone(tmp_path):
    path = begun(tmp_path / "out")
    entering = WorkFolder.beside(tmp_path / "out", restart=True)
    with FileLock(lock_path(tmp_path / "out")):
        with pytest.raises(InputError, match="out is being written by another process"):
            WorkFolder.beside(tmp_path / "out")
        with pytest.raises(InputError, match="out is being written by another process"), entering:
            pytest.fail("let in")
    assert (path / "vectors").exists()
    with WorkFolder.beside(tmp_path / "out") as work:
        work.claim({"data": "a"}, Run())
        with pytest.raises(Timeout):
            FileLock(lock_path(tmp_path / "out"), timeout=0).acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_was_made_since_the_look_is_refused(tmp_path):
    entering = WorkFolder.beside(tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists already"), entering:
        pytest.fail("let in")
    assert not list(tmp_path.glob(".*"))


def test_restart_throws_an_unfinished_run_away_and_nothing_else(tmp_path):
    path = begun(tmp_path / "out")
    with WorkFolder.beside(tmp_path / "out", restart=True) as work:
        work.claim({"data": "b"}, Run())
        assert not (path / "vectors").exists()
    somebodys = tmp_path / "mine.partial"
    somebodys.mkdir()
    (somebodys / "letters").write_text("mine")
    with (
        pytest.raises(InputError, match="not empty and not a fit's work folder"),
        WorkFolder.beside(tmp_path / "mine", restart=True) as work,
    ):
        work.claim({}, Run())
    assert (somebodys / "letters").read_text() == "mine"


def test_a_run_that_claimed_nothing_removes_nothing(tmp_path):
    somebodys = tmp_path / "out.partial"
    somebodys.mkdir()
    with WorkFolder.beside(tmp_path / "out"):
        pass
    assert somebodys.is_dir()


@pytest.mark.parametrize("trained", [False, True])
def test_what_was_refused_before_it_trained_leaves_nothing(tmp_path, trained):
    def run():
        with WorkFolder.beside(tmp_path / "out") as work:
            work.claim({}, Run())
            if trained:
                work.checkpoints.mkdir()
            raise InputError("no good")

    with pytest.raises(InputError, match="no good"):
        run()
    left = [path.name for path in tmp_path.rglob("checkpoints")]
    assert left == (["checkpoints"] if trained else [])
    assert (tmp_path / "out.partial").exists() == trained


def test_what_is_in_the_way_is_said_before_any_work(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letters").write_text("mine")
    with pytest.raises(InputError, match="exists already: choose another folder"):
        WorkFolder.beside(tmp_path / "out")
    with pytest.raises(InputError, match="was not made by genrec"):
        WorkFolder.beside(tmp_path / "out", overwrite=True)
    (tmp_path / "file.partial").write_text("")
    with (
        pytest.raises(InputError, match="is in the way of the fit's work folder"),
        WorkFolder.beside(tmp_path / "file") as work,
    ):
        work.claim({}, Run())


def test_a_temporary_one_is_gone_and_a_kept_one_stays(tmp_path):
    with WorkFolder.temporary() as work:
        work.claim({}, Run())
        assert work.path.is_dir()
    assert not work.path.exists()
    with WorkFolder(tmp_path / "work", kept=True) as work:
        work.claim({}, Run())
    assert work.path.is_dir()
