"""The notebook that asks a language model, run as its reader runs it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "06_ask_a_language_model.ipynb"


# The Jupyter client's own sockets and event loop are not ours to close.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_asks_once_and_comes_to_a_report(smollm2, users_environment):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = users_environment | {"SYNDIGITS_VLLM_MODEL": smollm2}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(NOTEBOOK.parent), env=environment)
    said = {
        cell.id: "".join(out.get("text", "") for out in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert "told of the plans: False" in said["personas"]
    assert "asked 240, answered 240" in said["ask"]
    assert "asked again: 0, there already: 240" in said["ask"]
    assert "probabilities (24, 10, 5) answered 1.0" in said["tensor"]
    assert "What cannot be concluded from these tables" in said["judge"]
