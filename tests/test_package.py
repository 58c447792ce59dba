"""The package as installed: what importing it does and does not do, its metadata, its layers."""

import ast
import importlib.metadata
import importlib.resources
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import syndigits_jax

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "syndigits_jax"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {"jax", "narwhals", "numpy", "equinox", "optax", "ott-jax", "jaxtyping", "threadpoolctl"}

# What data flows through, first to last: the numerics never import what stands around them.
NUMERICS = ("solvers", "inference", "calibration", "distribution", "fidelity", "panel", "schema")
SHELL = {"datasets", "respond", "studies", "plots", "cli"}


def run_python(
    code: str, *, timeout: float | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter where a warning is an error."""
    strict = ["-W", "error", "-W", "ignore:JAXopt is no longer maintained:DeprecationWarning"]
    return subprocess.run(
        [sys.executable, *strict, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
        timeout=timeout,
    )


IMPORT_EVERYTHING_NUMERICAL = f"""
import importlib
import syndigits_jax
for room in {NUMERICS}:
    importlib.import_module("syndigits_jax." + room)
"""


IMPORT_EVERY_MODULE = """
import importlib
import pkgutil
import syndigits_jax
for found in pkgutil.walk_packages(syndigits_jax.__path__, "syndigits_jax."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def test_import_starts_no_device():
    """An import that touched a device would fail here, where no platform can start; whoever starts
    none takes none of its memory."""
    no_platform = {"JAX_PLATFORMS": "no_such_platform"}
    imported = run_python(IMPORT_EVERY_MODULE, **no_platform)
    assert imported.returncode == 0, imported.stderr
    # The probe works: the first computation does fail.
    computed = run_python("import jax; jax.numpy.zeros(1)", **no_platform)
    assert computed.returncode != 0


def test_import_is_light_and_offline():
    code = """
import sys
def refuse(event, arguments):
    if event.startswith("socket.") and event != "socket.__new__":
        raise RuntimeError(f"network use on import: {event} {arguments}")
sys.addaudithook(refuse)
"""
    code += IMPORT_EVERYTHING_NUMERICAL
    code += """
heavy = {"pandas", "pyarrow", "matplotlib", "typer", "rich", "sklearn", "torch", "flax"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_command_without_the_study_extra_names_it():
    code = "import sys; sys.modules['typer'] = None; from syndigits_jax.cli import main; main()"
    result = run_python(code)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "syndigits-jax[study]" in result.stderr


def test_programs_with_two_batched_factorisations_end():
    """On two cores JAX 0.10 hung here, for which pyproject.toml excludes it."""
    code = """
import jax, jax.numpy as jnp
from syndigits_jax.solvers import ridge
def one(key):
    x = jax.random.normal(key, (30, 18))
    several = jax.vmap(lambda weight: ridge(x, x[:, 0], 1.0, sample_weight=weight).value.coef)
    return several(1 - jnp.eye(30)).sum() + ridge(x, x[:, 1], 1.0).value.coef.sum()
many = jax.jit(jax.vmap(one))
for seed in range(10):
    many(jax.random.split(jax.random.key(seed), 200)).block_until_ready()
"""
    result = run_python(code, timeout=300)
    assert result.returncode == 0, result.stderr


def test_typed_marker_is_shipped():
    assert importlib.resources.files("syndigits_jax").joinpath("py.typed").is_file()


def test_version_is_the_same_everywhere():
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert citation is not None
    assert (
        syndigits_jax.__version__
        == importlib.metadata.version("syndigits-jax")
        == citation.group(1)
    )


def test_public_names_are_documented():
    public = {
        name: value
        for name in dir(syndigits_jax)
        if not name.startswith("_") and not inspect.ismodule(value := getattr(syndigits_jax, name))
    }
    assert {"calibrate_question", "leave_one_question_out", "Panel", "Ridge"} <= public.keys()
    assert not [name for name, value in public.items() if callable(value) and not value.__doc__]


def lower_bounds() -> dict[str, str]:
    """Package → lowest version in pyproject.toml, over the dependencies and all extras."""
    requirements = list(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        requirements += extra
    found = (re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement) for requirement in requirements)
    return {match.group(1): match.group(2) for match in found if match is not None}


def test_core_dependencies_are_few():
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert names == CORE


def test_oldest_lane_uses_the_lower_bounds():
    """What CI calls oldest is what `pip` may install: the same versions, up to a patch release."""
    pinned = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (ROOT / ".ci/constraints-oldest.txt").read_text(), re.M)
    )
    bounds = lower_bounds()
    assert pinned.keys() >= CORE
    for name in pinned.keys() & bounds.keys():
        assert f"{pinned[name]}.".startswith(f"{bounds[name]}."), name


def imported_rooms(path: Path) -> set[str]:
    """The rooms of the package (first component below it) that a module imports, lazily or not."""
    here = path.relative_to(PACKAGE).with_suffix("").parts
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = here[: len(here) - node.level] if node.level else ()
            stem = ["syndigits_jax", *parents] if node.level else []
            stem += (node.module or "").split(".") if node.module else []
            full = [".".join([*stem, alias.name]) for alias in node.names]
        else:
            continue
        rooms |= {n.split(".")[1] for n in full if n.startswith("syndigits_jax.")}
    return rooms


def modules(room: str) -> list[Path]:
    single = PACKAGE / f"{room}.py"
    return [single] if single.exists() else sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", NUMERICS)
def test_numerics_never_import_their_surroundings(room):
    assert modules(room)
    for path in modules(room):
        assert not imported_rooms(path) & SHELL, path


def test_solvers_know_nothing_above_them():
    for path in modules("solvers"):
        assert imported_rooms(path) <= {"solvers"}, path
