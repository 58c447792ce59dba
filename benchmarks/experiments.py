"""Experiments of Twin-2K-500: effects of framing, anchors and the like among people and twins.

The section of effects of `syndigits evaluate`, on the experiments between people of one
construction: gain and loss framing, the anchoring questions, and twelve others, merged from their
columns. The whole panel takes several minutes.
"""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, write_report
from syndigits_jax.datasets import (
    DEFAULT_CONSTRUCTION,
    TWIN_2K_500_EXPERIMENTS,
    load_twin_2k_500,
    merge_versions,
)
from syndigits_jax.report import Report
from syndigits_jax.results.files import replacing
from syndigits_jax.workflows.evaluate.effects import effects_section
from syndigits_jax.workflows.evaluate.evidence import Inputs, gather_evidence


def main() -> None:
    """Print the section and write its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default=os.environ.get("SYNDIGITS_DATA", "../shared/data"))
    parser.add_argument("--construction", default=DEFAULT_CONSTRUCTION.folder)
    parser.add_argument("--people", type=int, default=None, help="the first so many; all")
    parser.add_argument("--out", type=Path, default=RESULTS / "experiments.json")
    options = parser.parse_args()
    found = merge_versions(
        load_twin_2k_500(options.data, options.construction), TWIN_2K_500_EXPERIMENTS
    )
    panel = found.panel.take(users=slice(0, options.people))
    arms = {name: arm[: panel.n] for name, arm in found.arms.items()}
    section = effects_section(gather_evidence(Inputs(panel, outcome_arms=arms)))
    assert section is not None
    print(Report("Experiments of Twin-2K-500", {"people": panel.n}, (), (section,)))
    claims: list[dict[str, Any]] = [dataclasses.asdict(claim) for claim in section.claims]
    write_report(
        options.out,
        construction=options.construction,
        people=panel.n,
        claims=claims,
        effects=[dict(row) for row in section.tables[0].rows],
    )
    from matplotlib.figure import Figure  # an optional dependency

    (plot,) = section.figures
    figure = Figure(figsize=plot.size, layout="constrained")
    plot.draw(figure.subplots())
    with replacing(options.out.with_suffix(".png")) as temporary:
        figure.savefig(temporary, dpi=150)


if __name__ == "__main__":
    main()
