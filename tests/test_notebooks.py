"""Every notebook runs from top to bottom, and is kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
NEED_ENGINE = {"06_ask_a_language_model"}


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} > NEED_ENGINE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "strip the outputs"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# The Jupyter client's own sockets and event loop are not ours to close.
@pytest.mark.filterwarnings("ignore")
def test_notebook_runs(path, users_environment):
    if path.stem in NEED_ENGINE:
        pytest.skip("needs a real engine; tests/real_vllm/test_vllm_notebook.py runs it")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(path.parent), env=users_environment)
