"""Notebooks run from top to bottom, and show what they show when they are run."""

import re
from pathlib import Path

import nbformat
import pytest

from notebooks.execute import NEED_ENGINE, NOTEBOOKS, executed, problems, words

ROOT = Path(__file__).resolve().parents[1]

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook):
    return {cell.id: words(cell) for cell in notebook.cells if cell.cell_type == "code"}


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} > NEED_ENGINE
    assert [path.stem[:3] for path in NOTEBOOKS] == [f"{i:02}_" for i in range(1, 9)]


@each
def test_a_notebook_is_kept_with_its_outputs(path):
    assert not list(problems(nbformat.read(path, as_version=4)))


@each
def test_a_notebook_asks_a_question_and_says_what_to_do_next(path):
    cells = nbformat.read(path, as_version=4).cells
    assert re.match(r"# .+\n\n\*\*.+\?\*\*", cells[0].source)
    assert "## What to do next on real data" in cells[-1].source


@each
def test_a_notebook_is_in_the_navigation_and_links_to_others_that_exist(path):
    assert f"notebooks/{path.name}" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([^)]+\.ipynb)\)", text):
        assert (path.parent / name).exists()


@pytest.mark.slow
@each
# The Jupyter client's own sockets and event loop are not ours to close.
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs_and_shows_what_is_kept(path, same_environment):
    if path.stem in NEED_ENGINE:
        pytest.skip("needs a real engine; tests/real_vllm/test_vllm_notebook.py runs it")
    notebook = executed(path, same_environment)
    assert not list(problems(notebook))
    assert outputs(notebook) == outputs(nbformat.read(path, as_version=4)), (
        f"`python notebooks/execute.py {path.stem[:2]}` writes the outputs anew"
    )


def a_notebook(source, *found):
    cell = nbformat.v4.new_code_cell(source, id="one", outputs=list(found))
    return nbformat.v4.new_notebook(cells=[cell])


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    "notebook, said",
    [
        (a_notebook("print(1)"), "there is no output"),
        (a_notebook("if True:\n    print(1)"), "there is no output"),
        (a_notebook("def f():\n    print(1)"), None),
        (a_notebook("ax = plt.subplots()[1]", printed("1")), "there is no figure"),
        (a_notebook("f()", printed("careful", "stderr")), "a warning"),
        (a_notebook("f()", nbformat.v4.new_output("error", ename="E", evalue="")), "an error"),
        (a_notebook("f()", printed("in /home/ada/answers.csv\n")), "/home/ada/answers.csv"),
        (a_notebook("f()", printed("in C:\\ada\n")), "C:\\ada"),
        (a_notebook("f()", printed("7 of 12 people; work/life\n")), None),
    ],
)
def test_outputs_that_must_not_be_kept(notebook, said):
    found = list(problems(notebook))
    assert (said is None and not found) or (said is not None and said in found[0])


def test_words_are_alike_where_only_numbers_differ():
    first, second, third = (
        words(a_notebook("f()", printed(text)).cells[0])
        for text in ("gain  0.12 (-1e-3 to 5%)", "gain -0.1 (2 to 17%)", "loss 0.12 (1 to 5%)")
    )
    assert first == second != third
