"""Run a command and write what it used: `python -m benchmarks.suite.used FILE COMMAND ...`.

A process that holds little in between: Linux counts what a parent held as a child's own memory.
"""

import json
import resource
import subprocess
import sys
import time


def main() -> None:
    file, *command = sys.argv[1:]
    start = time.perf_counter()
    code = subprocess.run(command, check=False).returncode
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "process_seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_gib": used.ru_maxrss / 2**20,
    }
    with open(file, "w", encoding="utf-8") as told:
        told.write(json.dumps(found))
    raise SystemExit(code)


if __name__ == "__main__":
    main()
