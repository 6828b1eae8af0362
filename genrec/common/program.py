"""Program frame: quiet libraries, one message for an error, an exit status, around whatever a program does.

Exit status: 0 done, 1 a failure of ours, 2 the user's input or settings (one message, no traceback).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from genrec.common.errors import GenrecError, InputError
from genrec.common.writing_errors import writing_error

__all__ = ["is_main", "log_to_stderr", "program"]


def is_main() -> bool:
    """Whether this process writes files and messages: the only one, or the first of those launched."""
    return os.environ.get("RANK", "0") == "0"


def log_to_stderr(*, quiet: bool = False) -> None:
    """Send messages to stderr; of several launched processes only the first says more than warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("genrec").setLevel(
        logging.INFO if is_main() and not quiet else logging.WARNING
    )


@contextmanager
def program() -> Iterator[None]:
    """Run the block as a program: its errors end the process with a message on stderr."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        yield
    except InputError as error:
        _refuse(error, error)
    except GenrecError as error:
        print(f"genrec failed: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if (found := writing_error(error)) is None:
            raise
        _refuse(found, error)


def _refuse(message: InputError, error: Exception) -> NoReturn:
    """End with the message, and what was added to the error on its way."""
    print(". ".join([f"Error: {message}", *getattr(error, "__notes__", ())]), file=sys.stderr)
    sys.exit(2)
