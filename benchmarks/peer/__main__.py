"""Run hold-out folds of the published protocol and store predictions and seconds."""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.peer.protocol import METHODS, PARAMETERS, correlations, leave_one_out, read_panel
from syndigits_jax.results.files import replacing


def parse_targets(text: str | None, count: int) -> list[int]:
    """``"all"``, one number N (N targets spread evenly) or several positions ``"0,1,2"``."""
    if text is None or text == "all":
        return list(range(count))
    if "," in text:
        return [int(position) for position in text.split(",") if position]
    return np.linspace(0, count - 1, min(int(text), count)).round().astype(int).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--dataset", choices=["movielens", "twin-2k-500"], required=True)
    parser.add_argument("--construction", default="Text Persona - GPT4.1-mini")
    parser.add_argument("--direction", choices=["question", "user"], required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--targets", help="positions 0,1,2 (one: 7,) or a count; default: all")
    parser.add_argument("--form", choices=["published", "shared"], default="published")
    parser.add_argument("--jobs", type=int, default=2, help="folds at a time, a thread each")
    parser.add_argument("--out", type=Path, help="NPZ file for predictions and seconds")
    args = parser.parse_args()

    panel = read_panel(args.data, args.dataset, args.construction)
    defaults = PARAMETERS[args.dataset, args.direction]
    parameters = {name: defaults[name] for name in args.methods}
    count = panel.human.shape[1 if args.direction == "question" else 0]
    targets = parse_targets(args.targets, count)
    out = leave_one_out(panel, parameters, targets, args.direction, args.form, args.jobs)
    if args.out is not None:
        with replacing(args.out) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **out)

    print(f"{len(targets)} folds in {out['wall_seconds']:.1f} s, {args.form} form")
    for name in ("Baseline", *args.methods):
        scores = correlations(out[f"prediction/{name}"], out["truth"])
        seconds = out.get(f"seconds/{name}", np.zeros(1)).mean()
        print(f"{name:<24} {np.nanmean(scores):.4f}  {seconds:8.3f} s per fold")
    if "seconds/Imputation" in out:
        print(f"{'Imputation':<24} {'':6}  {out['seconds/Imputation'].mean():8.3f} s per fold")


if __name__ == "__main__":
    main()
