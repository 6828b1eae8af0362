"""The library's reference: a page for each part, a section for each of its modules."""

from __future__ import annotations

import ast
from pathlib import Path

import genrec

__all__ = ["page_of", "reference_pages"]

PARTS = {
    "recommender": "Recommender",
    "data": "Data",
    "encoders": "Encoders",
    "semantic_ids": "Semantic IDs",
    "language_model": "Language model",
    "decoding": "Decoding",
    "training": "Training",
    "evaluation": "Evaluation",
    "serving": "Serving",
    "testing": "Testing",
}
"""Folder of `genrec` and its page's title, in the order of the site. The first is the modules beside them."""
FIRST = ("genrec.recommender", "genrec.recommendation", "genrec.settings")
"""Modules that stand before the others of their page."""


_DOCSTRING_ALONE = "\n    options:\n      members: false"


def page_of(path: str) -> str:
    """The page of a module, by its path in the repository (``genrec/data/split.py``)."""
    part = path.split("/")[1]
    return f"reference/{part if part in PARTS else 'recommender'}.md"


def reference_pages(package: Path) -> dict[str, str]:
    """Markdown by page, for mkdocstrings to fill, and the list of parts that leads to them."""
    parts: dict[str, dict[str, str]] = {page_of(f"genrec/{part}/"): {} for part in PARTS}
    for path in sorted(package.rglob("*.py")):
        module = _module(path, package.parent)
        if not module.startswith("genrec.cli"):  # the command has a page of its own
            parts[page_of(path.relative_to(package.parent).as_posix())][module] = _purpose(path)
    titles = dict(zip(parts, PARTS.values(), strict=True))
    pages = {page: _page(title, parts[page]) for page, title in titles.items()}
    return {"reference/README.md": _front(titles), **pages}


def _page(title: str, modules: dict[str, str]) -> str:
    first = {name: place for place, name in enumerate(FIRST)}
    names = sorted(modules, key=lambda name: (first.get(name, len(first)), name))
    table = ["| module | |", "|---|---|"]
    table += [f"| [`{name}`](#{name}) | {modules[name]} |" for name in names]
    sections = (f"::: {name}{_DOCSTRING_ALONE if name.count('.') == 1 and title != PARTS['recommender'] else ''}" for name in names)
    return "\n\n".join([f"# {title}", "\n".join(table), *sections])


def _front(pages: dict[str, str]) -> str:
    """What `from genrec import …` offers, and the parts."""
    names = [f"- [`{name}`][{getattr(genrec, name).__module__}.{name}]" for name in genrec.__all__]
    parts = [f"- [{title}]({page.removeprefix('reference/')})" for page, title in pages.items()]
    return "\n".join(
        [f"# The library\n\n{genrec.__doc__}\n", *names, "\n## Parts\n", *parts, ""]
    )


def _module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _purpose(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
