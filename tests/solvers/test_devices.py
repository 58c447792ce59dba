"""Work spread over the devices of a mesh: eight simulated ones, and those of two processes."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from syndigits_jax.calibration import Ridge
from syndigits_jax.datasets import sample_panel
from syndigits_jax.estimation import hold_out_questions
from syndigits_jax.evaluation import leave_one_question_out
from syndigits_jax.fidelity import neighbour_radius
from syndigits_jax.solvers.devices import as_mesh

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "tests/helpers/several_devices.py")


def run(*command: str, flags: str = "") -> subprocess.CompletedProcess:
    """A process of its own, as JAX asks for devices once."""
    flags = os.environ.get("XLA_FLAGS", "") + flags
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def test_eight_devices_agree_with_one():
    works = ["hold_out", "hold_out_users", "auto", "placement", "points", "training"]
    result = run(SCRIPT, *works, flags=" --xla_force_host_platform_device_count=8")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == works


def test_two_processes_agree_with_one():
    works = ["hold_out", "fits", "training"]
    result = run("-m", "benchmarks.launch", "--processes", "2", SCRIPT, *works)
    if "Multiprocess computations aren't implemented on the CPU" in result.stderr:
        pytest.skip("this jaxlib has no collectives between the CPUs of several processes")
    assert result.returncode == 0, result.stderr
    assert all(result.stdout.count(work) == 2 for work in works), result.stdout


FAILING = """
import sys, time, jax
if jax.process_index() == int(sys.argv[1]):
    raise SystemExit(3)
time.sleep(600)
"""


def test_a_process_that_fails_ends_the_others(tmp_path):
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    result = run("-m", "benchmarks.launch", "--processes", "2", str(script), "1")
    if "Multiprocess computations aren't implemented on the CPU" in result.stderr:
        pytest.skip("this jaxlib has no collectives between the CPUs of several processes")
    assert result.returncode == 3


def test_a_mesh_of_one_device_changes_no_bit():
    mesh, x = jax.make_mesh((1,), ("devices",)), [[0.0], [1.0], [3.0]]
    assert (neighbour_radius(x, 1, mesh=mesh) == neighbour_radius(x, 1)).all()


def test_bad_input():
    panel = sample_panel().take(users=slice(0, 9), questions=slice(0, 4))
    mesh = jax.make_mesh((1,), ("devices",))
    with pytest.raises(ValueError, match="`mesh` must be a"):
        as_mesh(jax.devices())
    for function in (
        lambda: leave_one_question_out([Ridge(1.0)], panel, workers=2, mesh=mesh),
        lambda: hold_out_questions(panel, workers=2, mesh=mesh),
    ):
        with pytest.raises(ValueError, match="`workers` must be 1 with a `mesh`"):
            function()
