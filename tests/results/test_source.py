"""A result's version is that of the code it depends on, and of nothing else."""

from pathlib import Path

import pytest

import syndigits_jax
from syndigits_jax.results.checkpoints import ENSEMBLES, INDIVIDUAL
from syndigits_jax.results.source import code_version, source_files

FILES = {
    "__init__.py": "from .fidelity import encoder",
    "panel.py": "",
    "solvers/__init__.py": "from .ridge import ridge as ridge\nfrom .net import net as net",
    "solvers/ridge.py": "import numpy",
    "solvers/net.py": "from ._loop import loop",
    "solvers/_loop.py": "",
    "fidelity/__init__.py": "",
    "fidelity/encoder.py": "",
    "evaluation/__init__.py": "",
    "evaluation/holdout.py": "from ..panel import Panel\nfrom package.solvers import ridge\n"
    "def later():\n    from . import folds\n",
    "evaluation/folds.py": "",
    "studies/__init__.py": "",
    "studies/tables.py": "from package.fidelity import encoder",
}


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "package"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_imports_are_followed_and_nothing_else(package):
    found = source_files(("evaluation.holdout", "studies/tables.py"), package)
    assert {str(path.relative_to(package)) for path in found} == {
        "evaluation/holdout.py",
        "evaluation/folds.py",
        "panel.py",
        "solvers/ridge.py",
        "studies/tables.py",
    }


@pytest.mark.parametrize("name", FILES)
def test_the_version_changes_with_what_is_used_only(package, name):
    used = {path.relative_to(package) for path in source_files(("evaluation.holdout",), package)}
    code_version.cache_clear()
    before = code_version(("evaluation.holdout",), package)
    (package / name).write_text(FILES[name] + "\n# changed\n")
    code_version.cache_clear()
    assert (code_version(("evaluation.holdout",), package) != before) == (Path(name) in used)


def test_absent_modules_are_an_error(package):
    for name in ("evaluation.absent", "evaluation/absent.py"):
        with pytest.raises(FileNotFoundError):
            source_files((name,), package)


@pytest.mark.parametrize(
    ("modules", "used", "unused"),
    [
        (
            INDIVIDUAL,
            ["solvers/ridge.py", "calibration/calibrate.py", "panel/panel.py"],
            "distribution",
        ),
        (ENSEMBLES, ["solvers/simplex.py", "distribution/certified.py"], "calibration"),
    ],
)
def test_the_tables_depend_on_their_rooms(modules, used, unused):
    root = Path(syndigits_jax.__file__).parent
    found = {str(path.relative_to(root)) for path in source_files(modules, root)}
    assert found.issuperset(used)
    outside = (unused, "preferences", "fidelity", "respond", "cli", "plots")
    assert not [name for name in found if name.startswith(outside)]
