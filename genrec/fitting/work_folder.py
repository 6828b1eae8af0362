"""Work folder: what an unfinished run has made so far, so that the same run goes on where it stood.

    with WorkFolder.beside(out, overwrite=overwrite, restart=restart) as work:
        work.claim(data, settings)
        ...  # intermediate results in work.path, checkpoints in work.checkpoints
        work.save(lambda: ...)  # the result, in `out`

It stands beside the folder to make, belongs to one run (data and settings), and is gone once the result is
saved. A run that was refused before it trained leaves none, so that it does not stand in a better one's way.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from genrec.common.artifacts import genrec_version, require_free
from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.locks import only_writer
from genrec.common.program import is_main
from genrec.common.writing_errors import WritingError, writing_error
from genrec.training.processes import agreed_folder, wait_for_all

__all__ = ["WorkFolder"]

log = logging.getLogger(__name__)
_MARKER = "fit.json"


@dataclass
class WorkFolder:
    """The work folder of one run.

    Under ``accelerate launch`` all processes enter it, and the first one makes, saves and removes.

    A second run of the same result is refused while the first one is at it (see `genrec.common.locks`).

    Attributes:
        path: where it is.
        restart: whether what an unfinished run left there is thrown away first.
        kept: whether it outlives the run.
        result: what the run makes; None is the work folder itself.
        check: refuses a result that is in the way, once nobody else is at it.
    """

    path: Path
    restart: bool = False
    kept: bool = False
    result: Path | None = None
    check: Callable[[], None] = lambda: None
    _claimed: bool = field(default=False, init=False)
    _lock: ExitStack = field(default_factory=ExitStack, init=False)

    @classmethod
    def beside(
        cls,
        out: Path,
        *,
        overwrite: bool = False,
        restart: bool = False,
        advice: str = "choose another folder, or set overwrite=true",
    ) -> Self:
        """The work folder of a run that makes `out`.

        Raises:
            InputError: `out` is in the way (`advice` says what to do), or cannot be written.
        """

        def check() -> None:
            require_free(out, overwrite=overwrite, advice=advice)

        check()
        return cls(out.with_name(f"{out.name}.partial"), restart, result=out, check=check)

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[WorkFolder]:
        """A work folder for a run that nobody will resume."""
        with tempfile.TemporaryDirectory(prefix="genrec-") as folder:
            yield cls(agreed_folder(Path(folder)), kept=True)

    @property
    def checkpoints(self) -> Path:
        """Where the training loop keeps its state."""
        return self.path / "checkpoints"

    def __enter__(self) -> Self:
        with ExitStack() as entering:
            entering.enter_context(only_writer(self.result or self.path))
            if is_main():
                self.check()
                if self.restart and (self.path / _MARKER).is_file():
                    shutil.rmtree(self.path)
            self._lock = entering.pop_all()
        wait_for_all()
        self._fresh = not self.path.exists()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        """Tidy up, while nobody else may come in."""
        if error is None:
            if is_main() and self._claimed and not self.kept:
                shutil.rmtree(self.path)
            wait_for_all()
            return
        nothing_to_go_on_with = self._fresh and not self.checkpoints.exists()
        refused = isinstance(error, InputError) and not isinstance(error, WritingError)
        if refused and nothing_to_go_on_with and is_main():
            shutil.rmtree(self.path, ignore_errors=True)
        elif self._claimed and self.path.exists() and writing_error(error) is not None:
            error.add_note(
                f"What is done so far stays in {self.path}, and the same run goes on from there"
            )

    def claim(self, data: dict[str, Any], settings: Settings) -> None:
        """Make the folder, marked as belonging to this data and these settings; or go on in it.

        Raises:
            InputError: it holds another unfinished run or something else, or cannot be written.
        """
        content, marker = _mark(data, settings), self.path / _MARKER
        if marker.is_file() and marker.read_text(encoding="utf-8") == content:
            self._claimed = True
            log.info("continuing the fit in %s", self.path)
            return
        self._require_empty(marker)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            marker.write_text(content, encoding="utf-8")
            self._claimed = True
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)
            found = writing_error(error, self.path)
            raise found or InputError(f"{self.path} cannot be written: {error.strerror}") from None

    def save(self, write: Callable[[], None]) -> None:
        """Let the first process write the result."""
        if is_main():
            write()

    def _require_empty(self, marker: Path) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is in the way of the fit's work folder: move it")
        there = self.path.iterdir() if self.path.exists() else ()
        others = [path for path in there if path != marker]
        if others and marker.is_file():
            raise InputError(
                f"{self.path} holds an unfinished fit with other data or settings: run that one again to "
                "finish it, choose another --out, or pass --restart to discard it"
            )
        if others:
            raise InputError(f"{self.path} is not empty and not a fit's work folder: move it")


def _mark(data: dict[str, Any], settings: Settings) -> str:
    facts = {"genrec": genrec_version(), "data": data, "settings": settings.model_dump(mode="json")}
    return json.dumps(facts, indent=2) + "\n"
