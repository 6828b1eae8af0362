"""Notebooks as pages, by nbconvert; pictures of their outputs become files beside them.

The repository keeps notebooks without outputs. Where the site is to show them, they are run: what a page
says was found is then what this very code found. That takes minutes and is asked for:
``GENREC_RUN_NOTEBOOKS=true``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor

__all__ = ["VARIABLE", "notebook_files"]

VARIABLE = "GENREC_RUN_NOTEBOOKS"
"""Environment variable: ``true`` runs the notebooks and shows what they found."""


def notebook_files(path: Path) -> dict[str, str | bytes]:
    """The page of a notebook and its pictures, by their paths on the site."""
    notebook = nbformat.read(path, as_version=4)
    if os.environ.get(VARIABLE, "").lower() in ("1", "true", "yes"):
        notebook = _run(notebook)
    stem = f"notebooks/{path.stem}"
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    markdown, resources = MarkdownExporter().from_notebook_node(notebook, resources=resources)
    pictures = {f"notebooks/{name}": content for name, content in resources["outputs"].items()}
    return {f"{stem}.md": markdown, **pictures}


def _run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Run it in a folder of its own, and keep what it printed: bars and warnings are no result."""
    with tempfile.TemporaryDirectory() as folder:
        runner = ExecutePreprocessor(timeout=600, kernel_name="python3")
        notebook, _ = runner.preprocess(notebook, {"metadata": {"path": folder}})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return notebook
