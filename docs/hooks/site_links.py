"""Links between files of the repository, as links between pages of the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from reference_pages import page_of

__all__ = ["rewritten"]

_LINK = re.compile(r"(?P<picture>!?)\[(?P<label>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def rewritten(markdown: str, uri: str, root: Path, uris: set[str]) -> str:
    """Rewrite the links of a page.

    A link to a document or a notebook leads to its page, one to a module to its place in the reference.
    Any other file that exists stays as plain words: the site does not show it. What does not exist is left
    as it is, and MkDocs says so.

    Args:
        markdown: the page as it stands in the repository.
        uri: its path on the site.
        root: the repository.
        uris: every path of the site.
    """
    home = "docs" if (root / "docs" / uri).exists() else ""

    def link(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:|/", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(home, posixpath.dirname(uri), target))
        page, anchor = _page(path, anchor)
        if page in uris:
            there = posixpath.relpath(page, posixpath.dirname(uri) or ".")
            place = f"#{anchor}" if anchor else ""
            return f"{match['picture']}[{match['label']}]({there}{place})"
        return match["label"] if (root / path).exists() else match[0]

    return _outside_fences(markdown, lambda text: _LINK.sub(link, text))


def _page(path: str, anchor: str) -> tuple[str, str]:
    """The page of a file of the repository, and the place on it."""
    if path == "genrec/recommender/settings.py":
        return "settings.md", anchor
    if path.startswith("genrec/") and path.endswith(".py"):
        return page_of(path), path.removesuffix(".py").replace("/", ".")
    if path.endswith(".ipynb"):
        return path.removesuffix(".ipynb") + ".md", anchor
    return path.removeprefix("docs/"), anchor


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])
