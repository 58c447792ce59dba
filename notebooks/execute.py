"""Execute notebooks, and keep what they print and draw: the site shows it.

python notebooks/execute.py             all that need no language model
python notebooks/execute.py 05 06       those whose names begin so; 06 needs vLLM (.ci/vllm/prepare)

A notebook that fails, warns or prints a path of this machine is left as it was.
"""

import ast
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = sorted(Path(__file__).resolve().parent.glob("*.ipynb"))
NEED_ENGINE = {"06_ask_a_language_model"}

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_PATH = re.compile(r"(?:/(?:work|tmp|home|root|Users|private|var)/|\b[A-Z]:\\)\S*")
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?%?")
_LARGEST = 150_000  # bytes of a figure


def executed(path: Path, environment: Mapping[str, str]) -> NotebookNode:
    """The notebook with the outputs of a fresh run, without what differs from run to run."""
    notebook = nbformat.read(path, as_version=4)
    settings = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # figures in the notebook
        "TF_CPP_MIN_LOG_LEVEL": "3",  # no remarks of the compiler on a busy machine
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, where there are no widgets
    }
    client = NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(path.parent), env={**environment, **settings})
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Text that came in several pieces, in one."""
    kept: list[NotebookNode] = []
    for output in outputs:
        stream = output.output_type == "stream"
        if stream and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def texts(cell: NotebookNode) -> list[str]:
    """What a code cell printed and showed, but for figures."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append(output.text)
        else:
            data = sorted(output.get("data", {}).items())  # a file has them in this order
            found += [text for kind, text in data if "image" not in kind]
    return found


def words(cell: NotebookNode) -> list[str]:
    """The same without numbers and spaces, and the kinds of outputs: alike on every machine."""
    kinds = [kind for output in cell.outputs for kind in sorted(output.get("data", ()))]
    return [" ".join(_NUMBER.sub(" ", text).split()) for text in texts(cell)] + kinds


def problems(notebook: NotebookNode) -> Iterator[str]:
    """What is wrong with the outputs, by cell."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from (f"{cell.id}: {problem}" for problem in _problems(cell))


def _problems(cell: NotebookNode) -> Iterator[str]:
    prints, draws = _shows(cell.source)
    images = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
    streams = {output.name for output in cell.outputs if output.output_type == "stream"}
    if prints and "stdout" not in streams:
        yield "prints, but there is no output"
    if draws and not images:
        yield "draws, but there is no figure"
    if "stderr" in streams:
        yield "has a warning"
    if any(output.output_type == "error" for output in cell.outputs):
        yield "has an error"
    for path in _PATH.findall("\n".join(texts(cell))):
        yield f"shows a path of one machine, {path}"
    if any(len(image) * 3 / 4 > _LARGEST for image in images):
        yield "has a figure that is too large"
    if "execution" in cell.metadata:
        yield "has the times of a run"


def _shows(source: str) -> tuple[bool, bool]:
    """Whether code prints, and whether it draws, where it is not only defined."""
    prints = draws = False
    nodes: list[ast.AST] = list(ast.parse(source).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            prints |= isinstance(node.func, ast.Name) and node.func.id == "print"
            draws |= isinstance(node.func, ast.Attribute) and node.func.attr == "subplots"
        nodes += ast.iter_child_nodes(node)
    return prints, draws


def main(names: list[str]) -> int:
    """Execute, check and write; the number of notebooks that failed."""
    chosen = [
        path
        for path in NOTEBOOKS
        if (path.stem.startswith(tuple(names)) if names else path.stem not in NEED_ENGINE)
    ]
    failed = 0
    for path in chosen:
        start = time.perf_counter()
        notebook = executed(path, {**os.environ, "JAX_PLATFORMS": "cpu"})
        found = list(problems(notebook))
        failed += bool(found)
        if not found:
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")
        for problem in found:
            print(f"  {problem}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
