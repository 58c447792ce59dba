"""Work spread over devices: seconds on one and on two, and bytes that travel between devices.

Seconds are of simulated devices of one CPU, each of which gets a core if there are as many. One
device is measured as users have it, with all cores, and held to one core. Where other work shares
the cores (`load_before`), CPU seconds alone tell something: the work that spreading adds.

Bytes are counted in the compiled programs of eight devices, which need not exist: what every device
gets from the others, by kind of exchange, for each time the program, or the body of its loop, runs.
"""

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, write_report

DEVICES = 8
TIMED = ("hold_out", "newton", "prdc", "training")
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
EXCHANGE = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(?:-start)?\(")
SHAPE = re.compile(r"\b(pred|bf16|[a-z]+(\d+))\[([\d,]*)\]")


def exchanged(program: str) -> dict[str, int]:
    """Bytes of the results of every kind of exchange in the text of a compiled program."""
    total: Counter[str] = Counter()
    for shapes, kind in EXCHANGE.findall(program):
        for name, bits, sides in SHAPE.findall(shapes):
            size = {"pred": 8, "bf16": 16}.get(name) or int(bits)
            count = np.prod([int(side) for side in sides.split(",") if side], dtype=np.int64)
            total[kind] += int(count) * size // 8
    return dict(total)


def works(small: bool) -> dict[str, Callable[[Any], Any]]:
    """What is spread, by name: functions of a mesh. `small`: for counting alone."""
    import jax
    import jax.numpy as jnp

    from syndigits_jax.calibration import Ridge
    from syndigits_jax.datasets import simulate_distributions, simulate_panel
    from syndigits_jax.datasets.preference_simulator import simulate_preferences
    from syndigits_jax.distribution import Answers, Spec, fit_ensembles
    from syndigits_jax.estimation import hold_out_questions
    from syndigits_jax.evaluation import leave_one_question_out
    from syndigits_jax.fidelity import mmd2_unbiased, prdc
    from syndigits_jax.preferences import (
        TrainingSettings,
        init_encoder,
        place_newton,
        place_ssr,
        score_gram,
        train_encoder,
    )

    rng, key = np.random.default_rng(0), jax.random.key(0)
    users, questions = (60, 24) if small else (400, 64)
    panel, _ = simulate_panel(users, questions, 5, key=0, noise=0.5, twin_noise=0.5)
    raters, size = (64, 256) if small else (4000, 6000)
    encoder = init_encoder(key=key, width=128)
    gram = score_gram(encoder, jnp.asarray(rng.normal(size=(40, 128)), jnp.float32))
    ratings = rng.integers(1, 6, (raters, 40)).astype(np.float32)
    x, y = (rng.normal(size=(size, 64)).astype(np.float32) for _ in range(2))
    table, truth = simulate_preferences(*(200, 300) if small else (1000, 800), key=0, ratings=30)
    vectors = np.pad(truth.vectors, ((0, 0), (0, 128 - truth.vectors.shape[1])))
    settings = TrainingSettings(epochs=1, cap=30, chunk_steps=8)
    polled, _ = simulate_distributions(twins=256, questions=20, options=4, key=0)
    answers = Answers.from_choices(polled.choices, 4)
    return {
        "hold_out": lambda mesh: leave_one_question_out([Ridge(10.0)], panel, mesh=mesh),
        "auto": lambda mesh: hold_out_questions(panel, mesh=mesh),
        "fits": lambda mesh: fit_ensembles(
            polled.counts, answers, [Spec("cdf_l2", ridge=0.1)], mesh=mesh
        ),
        "ssr": lambda mesh: place_ssr(gram, ratings, key=key, mesh=mesh),
        "newton": lambda mesh: place_newton(gram, ratings, mesh=mesh),
        "prdc": lambda mesh: prdc(x, y, mesh=mesh),
        "mmd": lambda mesh: mmd2_unbiased(x, y, 10.0, mesh=mesh),
        "training": lambda mesh: train_encoder(
            vectors, table, key=key, init=encoder, settings=settings, mesh=mesh
        ),
    }


def parameters() -> int:
    """Bytes of the parameters of the encoder that is trained."""
    import jax

    from syndigits_jax.preferences import init_encoder

    leaves = jax.tree.leaves(init_encoder(key=jax.random.key(0), width=128))
    return sum(leaf.nbytes for leaf in leaves if hasattr(leaf, "nbytes"))


def measure(name: str, devices: int) -> None:
    """Run in a process of its own: print seconds with and without compilation."""
    import jax

    assert jax.device_count() == devices
    mesh = jax.make_mesh((devices,), ("devices",)) if devices > 1 else None
    work, seconds, cpu = works(False)[name], [], []
    for _ in range(3):
        start, used = time.perf_counter(), time.process_time()
        jax.block_until_ready(jax.tree.leaves(work(mesh)))
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    figures = {"with_compilation": seconds[0], "seconds": min(seconds[1:])}
    print(json.dumps(figures | {"cpu_seconds": min(cpu[1:])}))


def count(name: str) -> None:
    """Run in a process of its own, which writes out its programs: a work on eight devices."""
    import jax

    works(True)[name](jax.make_mesh((DEVICES,), ("devices",)))


def _process(*arguments: str, devices: int, flags: str = "", cores: int | None = None) -> str:
    flags += f" --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "benchmarks.sharding", *arguments]
    if cores is not None:
        command = ["taskset", "-c", ",".join(map(str, range(cores))), *command]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    result = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return result.stdout


def counted(name: str) -> dict[str, dict[str, int]]:
    """Bytes exchanged by the programs of a work that exchange any, by name of the program."""
    found: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--xla_dump_to={folder} --xla_dump_hlo_as_text"
        _process("--count", name, devices=DEVICES, flags=flags)
        for path in sorted(Path(folder).glob("*after_optimizations.txt")):
            if bytes_of := exchanged(path.read_text()):
                found[path.name.split(".")[1].removeprefix("jit_")] = bytes_of
    return found


def timed(name: str) -> dict[str, Any]:
    """Seconds of a work: one device on one core and on all cores, and two devices."""
    run = functools.partial(_process, "--measure", name, "--devices")
    return {
        "one device, one core": json.loads(run("1", devices=1, cores=1)),
        "one device": json.loads(run("1", devices=1)),
        "two devices": json.loads(run("2", devices=2)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=RESULTS / "sharding.json")
    parser.add_argument("--part", choices=("bytes", "seconds"), help="the other one is kept")
    parser.add_argument("--measure")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--count")
    chosen = parser.parse_args()
    if chosen.measure:
        return measure(chosen.measure, chosen.devices)
    if chosen.count:
        return count(chosen.count)
    before = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    exchange, seconds = before.get("bytes_between_devices", {}), before.get("seconds", {})
    if chosen.part != "seconds":
        exchange = {name: counted(name) for name in works(True)}
    for name in TIMED if chosen.part != "bytes" else ():
        load = os.getloadavg()[0]
        seconds[name] = timed(name) | {"load_before": load}
    write_report(
        chosen.out,
        cores=os.cpu_count(),
        seconds=seconds,
        devices_counted=DEVICES,
        bytes_between_devices=exchange,
        bytes_of_parameters=parameters(),
    )


if __name__ == "__main__":
    main()
