"""The script for one accelerator, rehearsed on a CPU; no times."""

import json

from benchmarks import gpu
from benchmarks.suite.registry import CASES


def test_rehearsal_judges_kernels_and_keeps_what_fails(tmp_path, monkeypatch, capsys):
    def broken():
        raise RuntimeError("no such device")

    steps_of = gpu.steps_of
    monkeypatch.setattr(gpu, "steps_of", lambda *given: {"broken": broken} | steps_of(*given))
    out = tmp_path / "gpu.json"
    wanted = ["broken", "kernel ridge", "kernel sliced", "placement"]
    gpu.main(["--size", "small", "--out", str(out), "--only", *wanted])
    report = json.loads(out.read_text())
    steps = report["steps"]
    assert steps["broken"]["failed"] == "RuntimeError: no such device"
    for name in ("ridge", "sliced-wasserstein"):
        sides = steps[f"kernel {name}"]["sides"]
        assert sides and all(side["within_target"] for side in sides.values())
    assert steps["placement"]["newton"]["converged"] == 1
    assert report["commit"]["hash"] and report["versions"]["precision"] == "float32"
    assert "kernel ridge:" in capsys.readouterr().out


def test_no_step_begins_after_the_budget(tmp_path):
    out = tmp_path / "gpu.json"
    gpu.main(["--size", "small", "--out", str(out), "--only", "table", "--budget", "0"])
    steps = json.loads(out.read_text())["steps"]
    assert steps and all("left_out" in step for step in steps.values())


def test_every_kernel_of_the_suite_is_in_it():
    steps = gpu.steps_of("small", None, {})
    assert {name for name in steps if name.startswith("kernel ")} == {f"kernel {c}" for c in CASES}
