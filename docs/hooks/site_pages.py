"""MkDocs hooks: the pages of the site that are not files of ``docs/``.

Nothing is written twice. The repository's own documents become pages under their own paths, notebooks
become Markdown, and the pages of the command, of the settings and of the library are made from the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from command_page import command_page
from http_page import http_page
from mkdocs.structure.files import File
from notebook_pages import notebook_files
from reference_pages import reference_pages
from settings_page import settings_page
from site_links import rewritten

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_files", "on_page_markdown"]

DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("tokenizers/README.md", "train/README.md", "eval/README.md", "notebooks/README.md"),
)
"""Markdown files of the repository, by the paths that they have there and on the site."""
PICTURES = ("eval/pictures/*.svg",)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page and picture that is not a file of ``docs/``."""
    root = Path(config.config_file_path).parent
    made: dict[str, str | bytes] = {
        "command.md": command_page(),
        "http.md": http_page(),
        "settings.md": settings_page(),
        **reference_pages(root / "genrec"),
    }
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        made |= notebook_files(path)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    pictures = [path for pattern in PICTURES for path in sorted(root.glob(pattern))]
    for path in [*(root / uri for uri in DOCUMENTS), *pictures]:
        uri = path.relative_to(root).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between files of the repository lead to pages of the site."""
    root = Path(config.config_file_path).parent
    shown = {file.src_uri for file in files if file.inclusion.is_included()}
    return rewritten(markdown, page.file.src_uri, root, shown)
