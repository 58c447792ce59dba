"""How much the neural network's row of Tables 2 and 5 depends on its seed (MovieLens)."""

import argparse
from pathlib import Path

import jax
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.calibration import NeuralNet, Settings, preset
from syndigits_jax.datasets import load_movielens
from syndigits_jax.evaluation import leave_one_question_out, leave_one_user_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS / "nn_seeds.json")
    args = parser.parse_args()
    panel = load_movielens(args.data)
    rows = {}
    for direction, evaluate, methods in (
        ("question", leave_one_question_out, preset("movielens", "question")),
        ("user", leave_one_user_out, preset("movielens", "user")),
    ):
        net = methods["NeuralNet"]
        assert isinstance(net, NeuralNet)
        methods = {
            str(seed): NeuralNet(net.hidden, net.weight_decay, key=jax.random.key(seed))
            for seed in range(args.seeds)
        }
        result = evaluate(methods, panel, settings=Settings.reference())
        means = [row["mean"] for row in result.summary() if row["method"] in methods]
        rows[direction] = means
        print(f"new {direction}s: {np.round(means, 4)} mean {np.mean(means):.4f}")
    write_report(args.out, pearson_by_seed=rows)


if __name__ == "__main__":
    main()
