"""Recipe frame: settings in, messages to stderr, errors as one line, around a recipe's `main`.

A recipe is a program run by path: ``python train/sft.py train/sft_demo.yaml out=runs/other``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from genrec.common.artifacts import atomic_file
from genrec.common.config import Settings, load_settings
from genrec.common.program import log_to_stderr, program

__all__ = ["run_recipe", "write_results"]

C = TypeVar("C", bound=Settings)


def run_recipe(
    main: Callable[[C], None], kind: type[C], arguments: Sequence[str] | None = None
) -> None:
    """Call `main` with settings of class `kind` read from the command line.

    Args:
        main: the recipe.
        kind: its settings.
        arguments: a YAML file, then ``key=value`` words that override it (``--key=value`` and, for
            true, ``--key`` mean the same); None takes the command line. None at all, or ``--help``,
            print the recipe's docstring and its settings.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or {"-h", "--help"} & set(words):
        print(_help(main, kind))
        return
    log_to_stderr()
    with program():
        main(_settings(kind, words))


def write_results(out: Path, document: Mapping[str, Any], table: str) -> None:
    """Write what was measured: the document as JSON into `out`, the table beside it, ending in .md."""
    files = {out: json.dumps(document, indent=2), out.with_suffix(".md"): table}
    for path, content in files.items():
        with atomic_file(path) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")


def _settings(kind: type[C], words: Sequence[str]) -> C:
    first, *rest = words
    path = None if "=" in first or first.startswith("--") else first
    return load_settings(kind, path, map(_assignment, rest if path else words))


def _assignment(word: str) -> str:
    """Take ``--key=value`` and ``--key`` for ``key=value`` and ``key=true``."""
    bare = word.removeprefix("--")
    return bare if bare == word or "=" in bare else f"{bare}=true"


def _help(main: Callable[[C], None], kind: type[C]) -> str:
    fields = kind.model_fields.items()
    settings = [f"  {name:16} {field.description or ''}" for name, field in fields]
    purpose = (sys.modules[main.__module__].__doc__ or "").strip()
    return "\n".join([purpose, "", "Settings (dots descend: data.items=FILE):", *settings])
