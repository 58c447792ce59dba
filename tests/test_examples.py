"""The examples in docstrings: each runs on its own, as pasted, and prints the output shown.

Run once more, an example compiles nothing: so every public function that has one is called twice
with the same shapes. Where an example imports a package that is not installed, it is skipped.
"""

import ast
import doctest
import importlib.util
import inspect
import math
import re
from pathlib import Path

import pytest
from compilations import compilations

import syndigits_jax

PACKAGE = Path(syndigits_jax.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")


def examples() -> dict[str, tuple[str, Path, int]]:
    """Docstrings with an example, their files and lines, by dotted name; nothing is imported."""
    found = {}

    def look(node: ast.Module | ast.ClassDef | ast.FunctionDef, name: str, path: Path) -> None:
        text = ast.get_docstring(node, clean=True)
        if text and ">>>" in text:
            found[name] = text, path, node.body[0].lineno
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                look(child, f"{name}.{child.name}", path)

    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "syndigits_jax"
        look(ast.parse(path.read_text(encoding="utf-8")), name, path)
    return found


EXAMPLES = examples()


def alike(want: str, got: str) -> bool:
    """Whether two outputs agree: decimals to four digits, all else but white space exactly."""
    if re.sub(r"\s", "", NUMBER.sub("#", want)) != re.sub(r"\s", "", NUMBER.sub("#", got)):
        return False

    def close(a: str, b: str) -> bool:
        if a.lstrip("-+").isdigit() or b.lstrip("-+").isdigit():
            return a == b
        return math.isclose(float(a), float(b), rel_tol=1e-4, abs_tol=1e-6)

    return all(map(close, NUMBER.findall(want), NUMBER.findall(got)))


class Checker(doctest.OutputChecker):
    """Compares numbers as numbers: 0.4 and 0.39999998 are the same."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or alike(want, got)


def run(text: str, name: str, path: Path, line: int) -> str:
    """What goes wrong in the example of a docstring; empty if nothing does."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, str(path), line - 1)
    report: list[str] = []
    doctest.DocTestRunner(Checker(), optionflags=FLAGS).run(test, out=report.append)
    return "".join(report)


def imported(text: str) -> set[str]:
    """The packages that an example imports."""
    source = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


# These are given a function that the example defines.
COMPILED_ANEW = (
    "solvers.simplex_convex.minimize_on_simplex",
    "solvers.simplex_convex.mirror_descent",
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path, monkeypatch):
    text, path, line = EXAMPLES[name]
    for package in sorted(imported(text)):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the example needs {package}")
    monkeypatch.chdir(tmp_path)
    assert not (report := run(text, name, path, line)), report
    if name not in COMPILED_ANEW:
        with compilations() as compiled:
            run(text, name, path, line)
        assert not compiled, "no call compiles twice: see the house rules"


@pytest.mark.parametrize(
    ("printed", "documented", "expected"),
    [
        ("[0.39999998 1.]", "[0.4 1. ]", True),
        ("[ 1. -2.]", "[1. -2.]", True),
        ("0.41", "0.4", False),
        ("3", "2", False),
        ("2.0", "2", False),
        ("[1. 2.]", "[1. 2. 3.]", False),
        ("True", "False", False),
    ],
)
def test_outputs_are_compared(printed, documented, expected):
    report = run(f">>> print({printed!r})\n{documented}\n", "printed", Path("none.py"), 1)
    assert (report == "") is expected


def test_an_example_that_raises_fails():
    assert "ZeroDivisionError" in run(">>> 1 / 0\n", "wrong", Path("none.py"), 1)


def test_examples_stand_under_their_heading():
    """House style, which Markdown shows as code: the heading, and then an indented block."""
    wrong = [
        name
        for name, (text, _, _) in EXAMPLES.items()
        if len(re.findall(r"\*\*Example:\*\*\n\n {4}>>> ", text)) != 1
        or re.search(r"^ {0,3}>>> ", text, re.MULTILINE)
    ]
    assert not wrong


# Public functions without an example, by reason. Figures are shown in the notebooks.
EXCEPTIONS = {
    "reads a public data set or a large file": """
        datasets.load_amazon_2018 datasets.load_amazon_2023 datasets.load_movielens
        datasets.load_movielens_distributions datasets.load_movielens_ratings
        datasets.load_opinionqa datasets.load_twin_2k_500 datasets.present_constructions
        datasets.read_twin_2k_500_questions preferences.sentence_encoder""",
    "returns random draws, which differ between versions": """
        datasets.simulate_block_panel datasets.simulate_distributions datasets.simulate_panel
        respond.demographic_prompts
        respond.option_orders respond.sample_attributes""",
    "needs a language model, or a store of responses": """
        respond.choose_run respond.collect respond.collect_plan respond.collect_texts
        respond.plan_texts respond.read_frame respond.read_ratings
        respond.read_records respond.read_tensor respond.to_panel respond.write_texts""",
    "compiles for long; its parts have examples": """
        distribution.fit_blend distribution.fit_large distribution.share_intervals
        evaluation.equivalent_respondents evaluation.few_shot_curve fidelity.control_measures
        fidelity.fidelity_measures fidelity.population_metrics fidelity.real_users solvers.kmeans
        estimation.estimate_new_users_and_questions estimation.estimate_users
        estimation.hold_out_questions estimation.hold_out_users""",
    "is shown in the example of `certified_fit`": "distribution.make_targets",
    "is shown in its module's docstring": "respond.read_template",
}


def public_functions() -> dict[str, str]:
    """Docstrings of the functions that the rooms of the package list, by room and name."""
    found = {}
    for room in dir(syndigits_jax):
        module = getattr(syndigits_jax, room)
        if room.startswith("_") or room == "plots" or not inspect.ismodule(module):
            continue
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            home = getattr(value, "__module__", "").removeprefix(module.__name__)
            if inspect.isfunction(value) and not name.startswith("_") and home[:1] in ("", "."):
                found[f"{room}.{name}"] = value.__doc__ or ""
    return found


def test_public_functions_have_an_example():
    found = public_functions()
    assert len(found) > 100
    lacking = {name for name, text in found.items() if "**Example:**" not in text}
    assert lacking == set(" ".join(EXCEPTIONS.values()).split())
