"""The page's table of single lassos and elastic nets, and of thousands."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.pages.suite import beside_peer, duration
from benchmarks.pages.tables import head, row
from benchmarks.report import RESULTS


def nets() -> list[str]:
    """Every size beside both peers, and two costs for scale."""
    report = json.loads((RESULTS / "nets.json").read_text(encoding="utf-8"))
    lines = head(
        [
            "critical penalty over",
            "rows x columns",
            "columns used",
            "ours",
            "times as fast as",
            "one reading of the design",
            "Gram matrix of 2,048 columns or all",
        ],
        ["rows x columns", "times as fast as"],
    )
    for one in report["one"]:
        kind = "lasso" if one["l1_ratio"] == 1 else "elastic net"
        ours, floor = one["solvers"]["ours"], one["floor"]
        lines.append(
            row(
                [
                    f"{kind}, {one['alpha_is_critical_over']}",
                    f"{one['n']:,} x {one['p']:,}",
                    f"{ours['support']:,}",
                    duration(ours["seconds"]),
                    _beside(one["solvers"]),
                    duration(floor["pass_seconds"]),
                    duration(floor["gram_seconds"]),
                ]
            )
        )
    many = report["many"][-1]
    peer = many["solvers"]["scikit-learn"]
    loop, joblib, timed = (peer[k] for k in ("loop_seconds", "joblib_seconds", "timed_problems"))
    seconds = many["solvers"]["ours"]["seconds"]
    return [
        *lines,
        "",
        f"Every fit has a duality gap of at most {report['gap']:g}, judged in float64; of a peer's "
        f"tolerances the fastest that gets there counts. {many['batch']:,} nets of {many['n']} x "
        f"{many['p']} (penalty {many['alpha']:g}) take {duration(seconds)}. scikit-learn's loop "
        f"takes {loop / seconds:.0f} times as long on one core, and {joblib / seconds:.0f} times "
        f"on all cores by joblib (both extrapolated from {timed:,} nets).",
    ]


def _beside(solvers: Mapping[str, Any]) -> str:
    """How many times as fast as each peer, in words where the peer is faster."""
    mine = solvers["ours"]["seconds"]
    return "; ".join(
        beside_peer(name, peer["seconds"] / mine)
        for name, peer in solvers.items()
        if name != "ours" and "seconds" in peer
    )
