"""The page's table of single lassos and elastic nets, and of thousands."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.pages.suite import beside_fastest_solver, beside_peer, duration
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
            "sweeps",
            "their moves",
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
                    f"{ours['steps']:,}",
                    duration(floor["moves_seconds"]),
                ]
            )
        )
    return [
        *lines,
        "",
        f"Every fit has a duality gap of at most {report['gap']:g}, judged in float64; of a peer's "
        "tolerances the fastest that gets there counts. The aim was to be no slower than either "
        "peer, and it is missed where one is faster. A sweep moves one coefficient after the other "
        "in blocks of columns, each of which is read before and after its moves; the last column "
        f"is the time of so many moves alone.{_share_of_sweeps(report['one'])}",
        "",
        *_many(report["many"]),
    ]


def _many(batches: list[dict[str, Any]]) -> list[str]:
    """Batches beside the peers' loops on one core and on all."""
    lines = head(
        ["problems", "rows x columns", "penalty", "ours", "times as fast as"],
        ["rows x columns", "times as fast as"],
    )
    for many in batches:
        mine = many["solvers"]["ours"]["seconds"]
        beside = [
            beside_peer(f"{name}'s loop on {where}", peer[key] / mine)
            for name, peer in many["solvers"].items()
            if name != "ours"
            for where, key in (("one core", "loop_seconds"), ("all", "joblib_seconds"))
        ]
        shape = f"{many['n']} x {many['p']}"
        cells = [f"{many['batch']:,}", shape, f"{many['alpha']:g}", duration(mine)]
        lines.append(row([*cells, "; ".join(beside)]))
    return [
        *lines,
        "",
        "Loops on all cores are joblib's. Those of 2,000 problems and more are timed on the first "
        "100 and extrapolated. The aim was twice the best peer's loop; batches of a few larger "
        "problems miss it.",
    ]


def _beside(solvers: Mapping[str, Any]) -> str:
    """How many times as fast as each peer, in words where the peer is faster."""
    mine = solvers["ours"]["seconds"]
    return "; ".join(
        beside_peer(name, peer["seconds"] / mine)
        for name, peer in solvers.items()
        if name != "ours" and "seconds" in peer
    )


def _share_of_sweeps(cases: list[dict[str, Any]]) -> str:
    """What readings of used blocks and moves are of our time, where a peer is fastest."""
    tall = [one for one in cases if one["n"] >= one["p"]]
    slowest = min(tall, key=lambda one: beside_fastest_solver(one["solvers"]))
    floor, seconds = slowest["floor"], slowest["solvers"]["ours"]["seconds"]
    readings = 2 * floor["moves"] / slowest["p"] * floor["pass_seconds"]
    share = (readings + floor["moves_seconds"]) / seconds
    kind = "lasso" if slowest["l1_ratio"] == 1 else "elastic net"
    return (
        f" In the {kind} of {slowest['n']} x {slowest['p']} at the critical penalty over "
        f"{slowest['alpha_is_critical_over']}, where we are slowest beside a peer, these readings "
        f"and moves are {100 * share:.0f}% of our time. Fits with few sweeps are mostly what comes "
        "before and after them: the call, means and units, and the duality gap."
    )
