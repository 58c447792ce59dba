"""The example of a report: `syndigits evaluate` on a simulated survey, whose faults are known.

    python -m benchmarks.example_report

writes the survey's tables and `report.html` to `docs/examples/evaluate`. The same with the command:

    syndigits evaluate --human human.csv --twin twin.csv --questions questions.json \
        --people people.csv --weights weight --groups age --groups region --arms frame --out out
"""

import argparse
import time
from pathlib import Path

from syndigits_jax.report import write_report
from syndigits_jax.studies.demo.survey import simulate_survey, write_survey
from syndigits_jax.workflows.evaluate.run import evaluate

FOLDER = Path(__file__).parents[1] / "docs" / "examples" / "evaluate"


def main() -> None:
    """Write the example, and print its first sentences."""
    parser = argparse.ArgumentParser(description="write the example of a report")
    parser.add_argument("--out", type=Path, default=FOLDER)
    folder = parser.parse_args().out
    paths = write_survey(simulate_survey(), folder)
    start = time.perf_counter()
    report = evaluate(
        paths["human"],
        paths["twin"],
        questions=paths["questions"],
        people=paths["people"],
        weights="weight",
        groups=("age", "region"),
        arms="frame",
        title="Example: simulated people, on groceries",
    )
    print(f"{time.perf_counter() - start:.0f} s")
    for path in write_report(report, folder, formats=("html",)):
        print(path, f"{path.stat().st_size / 1e3:.0f} kB")
    for claim in report.summary:
        print(claim.text)


if __name__ == "__main__":
    main()
