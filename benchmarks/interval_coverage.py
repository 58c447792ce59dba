"""How often intervals for people's answers hold the truth, on simulated panels of known truth.

New questions of known blocks, questions of new blocks, and questions chosen because they are hard:
of a hundred more of known blocks the three whose twins are farthest off on average, which is what
nobody may do who wants coverage. Standard errors are over panels.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import Estimates, estimate_questions
from syndigits_jax.panel import Panel
from syndigits_jax.schema import Scale

LEVELS = (0.8, 0.9)
KNOWN = {10: (5, 20), 40: (10, 20), 100: (20, 10), 250: (50, 5)}
"""Blocks and panels for every number of known questions."""

PEOPLE, NEW, NEW_BLOCKS, SIZE = 120, 24, 3, 5
"""People; new questions of known blocks, about; blocks without known questions, and their size."""

CANDIDATES, HARD = 100, 3

SCALE = Scale(1, 5, 1)


def simulated(known: int, key: int) -> tuple[Estimates, np.ndarray, dict[str, np.ndarray]]:
    """An estimate of new questions, people's answers to them, and which are of which kind.

    Twins answer too high or too low by question and by block. Questions of a block, and blocks, are
    exchangeable: which are new is the same for every key, but for the hard ones.
    """
    blocks = KNOWN[known][0]
    old, new = known // blocks, max(1, NEW // blocks)
    label = [*np.repeat(np.arange(blocks), old), *np.repeat(np.arange(blocks), new)[:NEW]]
    label += [*np.repeat(np.arange(blocks, blocks + NEW_BLOCKS), SIZE)]
    ordinary = len(label)
    label = np.array([*label, *(np.arange(CANDIDATES) % blocks)])
    panel, _ = simulate_panel(
        PEOPLE, len(label), 4, key=key, common=0.5, noise=0.7, twin_noise=0.5, question_spread=0.6,
        bias_spread=0.3, missing=0.1,
    )  # fmt: skip
    shift = np.random.default_rng([key, 1]).normal(0, 0.3, blocks + NEW_BLOCKS)
    human, twin = SCALE.nearest(3 + panel.human), SCALE.nearest(3 + panel.twin + shift[label])
    gap = np.abs(np.nanmean(human, axis=0) - np.nanmean(twin, axis=0))
    hard = ordinary + np.sort(np.argsort(-gap[ordinary:])[:HARD])
    kept = np.concatenate([np.arange(ordinary), hard])
    human, twin, label = human[:, kept], twin[:, kept], label[kept]
    panel = Panel.from_arrays(human, twin, scale=SCALE)
    chosen = np.arange(known, panel.m)
    found = estimate_questions(
        panel.with_missing(human=np.isin(np.arange(panel.m), chosen) & np.ones((panel.n, 1), bool)),
        blocks=list(label),
        intervals=LEVELS,
        workers=2,
    )
    fresh, picked = label[chosen] >= blocks, chosen >= ordinary
    kinds = {"known blocks": ~fresh & ~picked, "new blocks": fresh, "hard": picked}
    return found, human[:, chosen], kinds


def covered(
    found: Estimates, truth: np.ndarray, kinds: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Coverage and width over the range, by level and kind of question."""
    out = {}
    for level in LEVELS:
        interval = found.intervals(level)
        lower, upper = np.asarray(interval.lower), np.asarray(interval.upper)
        inside = np.where(np.isnan(truth), np.nan, (lower <= truth) & (truth <= upper))
        by_question = np.nanmean(inside, axis=0)
        width = np.mean(upper - lower, axis=0) / (found.high - found.low)
        whole = width > 1 - 1e-6
        for name, mine in kinds.items():
            out[f"{level:.0%}, {name}"] = {
                "coverage": float(by_question[mine].mean()),
                "width": float(width[mine].mean()),
                "whole_scale": float(np.mean(whole[mine])),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--known", type=int, nargs="+", default=list(KNOWN))
    parser.add_argument("--panels", type=int, help="for every number of known questions")
    parser.add_argument("--out", type=Path, default=RESULTS / "interval_coverage.json")
    args = parser.parse_args()
    rows = []
    for known in args.known:
        count = args.panels or KNOWN[known][1]
        panels = [covered(*simulated(known, key)) for key in range(count)]
        for kind in panels[0]:
            values = {name: [panel[kind][name] for panel in panels] for name in panels[0][kind]}
            row = {name: float(np.mean(found)) for name, found in values.items()}
            error = float(np.std(values["coverage"], ddof=1) / np.sqrt(count))
            rows.append({"known": known, "panels": count, "of": kind, **row, "coverage_se": error})
            print(
                f"{known:4d} known, {kind:<18} coverage {row['coverage']:.3f} (s.e. {error:.3f}), "
                f"width {row['width']:.2f}, the whole scale in {row['whole_scale']:.0%}",
                flush=True,
            )
    write_report(args.out, people=PEOPLE, new=NEW, new_blocks=NEW_BLOCKS, rows=rows)


if __name__ == "__main__":
    main()
