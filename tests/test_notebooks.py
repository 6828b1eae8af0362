"""Every notebook runs from top to bottom, and says the truth about what it found."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

CHECKS = {
    "quickstart": """
popularity = next(b for b in baselines if b.name == "popularity")
assert mine.metrics["recall@10"] > 2 * popularity.metrics["recall@10"]
assert mine.metrics["recall@10"] < best + 0.05
assert mine.invalid == 0
assert len(found) == len(without) == 5
assert not {item.item_id for item in without} & set(sold_out)
assert {item.item_id for item in only_tents} <= set(tents) - set(history)
"""
}
"""Run after the notebook's last cell: what its words promise."""


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= set(CHECKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_stored(path):
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS.get(path.stem, "")))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
