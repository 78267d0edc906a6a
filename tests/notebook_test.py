"""The notebook of first steps: it runs, and the script beside it is the same."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_steps.ipynb"


# What the test runs in place of a minute of training and all held-out photos.
SHORTER = {
    '"--set=crop=48"': '"--set=crop=24", "--validation_pictures=1"',
    '"--pictures=0"': '"--pictures=0", "--limit=2"',
}


def shorten(notebook):
    for long, short in SHORTER.items():
        (cell,) = (cell for cell in notebook.cells if long in cell.source)
        cell.source = cell.source.replace(long, short)


def cells(notebook):
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


def test_the_script_is_the_notebook():
    jupytext = pytest.importorskip("jupytext")
    script = jupytext.read(NOTEBOOK.with_suffix(".py"))
    assert cells(jupytext.read(NOTEBOOK)) == cells(script)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    jupytext = pytest.importorskip("jupytext")
    nbclient = pytest.importorskip("nbclient")
    notebook = jupytext.read(NOTEBOOK)
    shorten(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=540, resources=resources).execute()
    texts = [o.get("text", "") for c in notebook.cells for o in c.get("outputs", [])]
    printed = "".join(texts)
    before, after = (
        float(line.split()[2]) for line in printed.splitlines() if line.startswith("restored   ")
    )
    assert after > before + 3  # decibels; it was trained on half as much noise
    assert any(
        "image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", [])
    )
    assert list(tmp_path.glob("first_steps/exported/tflite/*_float16.tflite"))
