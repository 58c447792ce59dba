"""The notebook that asks a language model, run as its reader runs it."""

import nbformat
import pytest

from notebooks.execute import NOTEBOOKS, executed, problems, words

PATH = next(path for path in NOTEBOOKS if path.stem == "06_ask_a_language_model")


# The Jupyter client's own sockets and event loop are not ours to close.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_asks_once_and_comes_to_a_report(smollm2, users_environment):
    notebook = executed(PATH, users_environment | {"SYNDIGITS_VLLM_MODEL": smollm2})
    assert not list(problems(notebook))
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
    for cell, kept in zip(notebook.cells, nbformat.read(PATH, as_version=4).cells, strict=True):
        # What the report concludes is the engine's numbers, which differ by version.
        if cell.cell_type == "code" and cell.id != "judge":
            assert words(cell) == words(kept), cell.id
