"""Run a script in several processes whose devices JAX sees as one.

    python -m benchmarks.launch --processes 2 SCRIPT ...

starts two processes on this machine. On several machines, start one process on each, the first one
on the machine that the others can reach:

    python -m benchmarks.launch --processes 2 --process 0 --coordinator first:12355 SCRIPT ...
    python -m benchmarks.launch --processes 2 --process 1 --coordinator first:12355 SCRIPT ...

In every process `jax.devices()` are then the devices of all, and a mesh over them is what the
functions of the package take as `mesh`. All processes run the same script on the same data; what
they return is whole in each. On CPUs the devices talk by gloo.
"""

import argparse
import os
import runpy
import socket
import subprocess
import sys
import time
import traceback


def main(arguments: list[str] | None = None) -> int:
    """Start the processes, or be one of them. Returns the first exit status that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, required=True, help="how many in all")
    parser.add_argument("--process", type=int, help="which one this is; by default all, here")
    parser.add_argument("--coordinator", help="host:port of the first process")
    parser.add_argument("script")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="the script's own arguments")
    chosen = parser.parse_args(arguments)
    if chosen.process is None:
        return _all_here(chosen)
    if chosen.coordinator is None:
        parser.error("--process needs --coordinator")
    _one(chosen)
    return 0


def _one(chosen: argparse.Namespace) -> None:
    """Join the others, then run the script as if it had been called itself."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(chosen.coordinator, chosen.processes, chosen.process)
    sys.argv = [chosen.script, *chosen.rest]
    try:
        runpy.run_path(chosen.script, run_name="__main__")
    except BaseException as error:
        status = error.code if isinstance(error, SystemExit) else 1
        if status in (0, None):
            return
        # JAX would wait at exit for the other processes, which may be waiting for this one.
        traceback.print_exc()
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)


def _all_here(chosen: argparse.Namespace) -> int:
    address = chosen.coordinator or f"localhost:{_free_port()}"
    shared = ["--processes", str(chosen.processes), "--coordinator", address]
    launched = sys.executable, "-m", "benchmarks.launch"
    running = [
        subprocess.Popen([*launched, *shared, "--process", str(i), chosen.script, *chosen.rest])
        for i in range(chosen.processes)
    ]
    try:
        # Where one fails, the others would wait for it.
        while any(p.poll() is None for p in running) and not any(p.poll() for p in running):
            time.sleep(0.1)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()  # JAX catches the signal that asks a process to end
    # Those that were killed have a negative status, the one that failed has its own.
    statuses = [process.wait() for process in running]
    return max(statuses) if max(statuses) > 0 else min(statuses)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
