"""The library's reference: a page for each part, a section for each of its modules."""

from __future__ import annotations

import ast
from pathlib import Path

import genrec

__all__ = ["page_of", "reference_pages"]

PARTS = {
    "recommender": "Recommender",
    "fitting": "Fitting",
    "data": "Data",
    "encoders": "Encoders",
    "semantic_ids": "Semantic IDs",
    "language_model": "Language model",
    "decoding": "Decoding",
    "training": "Training",
    "evaluation": "Evaluation",
    "serving": "Serving",
    "common": "Common",
    "testing": "Testing",
}
"""Room of `genrec` and its page's title, in the order of the site. The roof stands on the first page."""
FIRST = (
    "genrec.generative_recommender",
    "genrec.recommender.fitted_recommender",
    "genrec.recommender.recommend",
    "genrec.recommender.request",
    "genrec.recommender.settings",
)
"""Modules that stand before the others of their page."""


_DOCSTRING_ALONE = "\n    options:\n      members: false"


def page_of(path: str) -> str:
    """The page of a module, by its path in the repository (``genrec/data/split.py``)."""
    part = path.split("/")[1]
    return f"reference/{part if part in PARTS else 'recommender'}.md"


def reference_pages(package: Path) -> dict[str, str]:
    """Markdown by page, for mkdocstrings to fill, and the list of parts that leads to them."""
    parts: dict[str, dict[str, Path]] = {page_of(f"genrec/{part}/"): {} for part in PARTS}
    for path in sorted(package.rglob("*.py")):
        module = _module(path, package.parent)
        if module != "genrec" and not module.startswith("genrec.cli"):  # have pages of their own
            parts[page_of(path.relative_to(package.parent).as_posix())][module] = path
    titles = dict(zip(parts, PARTS.values(), strict=True))
    pages = {page: _page(title, parts[page]) for page, title in titles.items()}
    return {"reference/README.md": _front(titles, package), **pages}


def _page(title: str, modules: dict[str, Path]) -> str:
    first = {name: place for place, name in enumerate(FIRST)}
    names = sorted(modules, key=lambda name: (first.get(name, len(first)), name))
    table = ["| module | |", "|---|---|"]
    table += [f"| [`{name}`](#{name}) | {_purpose(modules[name])} |" for name in names]
    sections = (
        # What a package offers is shown with the module that it comes from.
        f"::: {name}" + (_DOCSTRING_ALONE if modules[name].name == "__init__.py" else "")
        for name in names
    )
    return "\n\n".join([f"# {title}", "\n".join(table), *sections])


def _front(titles: dict[str, str], package: Path) -> str:
    """What `from genrec import …` offers, and the parts."""
    lines = [f"# The library\n\n{genrec.__doc__}\n", "| name | |", "|---|---|"]
    for name in genrec.__all__:
        thing = getattr(genrec, name)
        lines.append(f"| [`{name}`][{thing.__module__}.{name}] | {_first_line(thing.__doc__)} |")
    lines += ["\n## Parts\n", "| part | |", "|---|---|"]
    for part, (page, title) in zip(PARTS, titles.items(), strict=True):
        purpose = _purpose(package / part / "__init__.py")
        lines.append(f"| [{title}]({page.removeprefix('reference/')}) | {purpose} |")
    return "\n".join(lines) + "\n"


def _module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _purpose(path: Path) -> str:
    """The first line of a module's docstring."""
    return _first_line(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))


def _first_line(docstring: str | None) -> str:
    return (docstring or "").split("\n")[0].replace("|", "&#124;")
