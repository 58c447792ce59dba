"""Encoder training: pairs per second against PyTorch and against the bare matrix products.

The PyTorch side is the same model written straightforwardly: `nn.Sequential` projectors, an
embedding of mixtures, AdamW with three groups, OneCycleLR, clipping; the context is projected once
per batch. It is fed by a `DataLoader` over pairs, and by index arrays cut by hand, which costs
nothing per pair. "Products" are the projectors' matrix products, forward and backward, and nothing
else: the floor of any implementation in this precision. `--users` then trains one epoch for many
users.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.preferences._training_step import make_batches, run_steps, start_state
from syndigits_jax.preferences.encoder import init_encoder, init_mixture
from syndigits_jax.preferences.pairs import Pairs, pair_table, sample_pairs
from syndigits_jax.preferences.training import TrainingProgress, TrainingSettings, train_encoder

WIDTH = 384
SHARES = (0.06, 0.05, 0.1, 0.19, 0.6)  # ratings of 1 to 5 stars, as in Amazon Reviews


def simulate(seed: int, users: int, items: int, fewest: int, most: int):
    """Ratings with the sizes of real ones (their content does not matter here), text vectors."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(fewest, most + 1, users)
    user = np.repeat(np.arange(users, dtype=np.int32), counts)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Different items per user: one from each of `most` equal parts of the catalogue.
    part = items // most
    item = (place * part + part * rng.random(len(user)) ** 2).astype(np.int32)
    rating = rng.choice([1.0, 2, 3, 4, 5], len(user), p=SHARES)
    table = RatingTable(
        user,
        item,
        rating,
        place.astype(float),
        tuple(map(str, range(users))),
        tuple(map(str, range(items))),
    )
    vectors = rng.normal(size=(items, WIDTH)).astype(np.float32)
    return table, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def our_speed(pairs: Pairs, vectors, users: int, steps: int, settings: TrainingSettings) -> float:
    """Pairs per second of the compiled loop over `steps` batches, compilation left out."""
    x = jnp.asarray(vectors)
    order = np.random.default_rng(0).permutation(len(pairs))[: steps * settings.batch_size]
    columns = (pairs.user[order], pairs.better[order], pairs.worse[order])
    chunks, count = make_batches(columns, users, settings.batch_size, steps)
    chunk = jax.tree.map(jnp.asarray, chunks[0])
    key = jax.random.key(0)
    seconds = []
    for _ in range(2):
        encoder = init_encoder(key, width=WIDTH)
        state = start_state(encoder, init_mixture(key, users, 4), settings)
        jax.block_until_ready(state)
        began = time.perf_counter()
        out = run_steps(
            state,
            chunk,
            jnp.int32(count),
            x,
            jnp.mean(x, axis=0),
            key,
            steps=steps,
            settings=settings,
        )
        jax.block_until_ready(out)
        seconds.append(time.perf_counter() - began)
    return len(order) / seconds[-1]


def products_speed(size: int, repeats: int) -> float:
    """Pairs per second if a step were its matrix products alone."""
    encoder = init_encoder(jax.random.key(0), width=WIDTH)
    x = jax.random.normal(jax.random.key(1), (2 * size, WIDTH))

    def products(weights, x):
        total = jnp.zeros(())
        for k in range(4):
            z = x
            for w in weights:
                z = z @ w[k]
            total = total + jnp.sum(z)
        return total

    @jax.jit
    def many(weights, x):
        def body(_, carry):
            gradient = jax.grad(products)(carry, x)
            return jax.tree.map(lambda w, g: w + 1e-9 * g, carry, gradient)

        return jax.lax.fori_loop(0, repeats, body, weights)

    jax.block_until_ready(many(encoder.weights, x))
    began = time.perf_counter()
    jax.block_until_ready(many(encoder.weights, x))
    return repeats * size / (time.perf_counter() - began)


def full_epoch(users: int, items: int, cap: int, seed: int) -> dict[str, Any]:
    """One epoch for many users, through the front door."""
    table, vectors = simulate(seed, users, items, 5, 15)
    began = time.perf_counter()
    implied = pair_table(table)
    mining = time.perf_counter() - began
    began = time.perf_counter()
    drawn = len(sample_pairs(jax.random.key(0), implied, cap))
    sampling = time.perf_counter() - began
    before = peak_gib()
    speeds: list[float] = []

    def report(progress: TrainingProgress) -> None:
        speeds.append(progress.pairs_per_second)
        if len(speeds) % 4 == 1:
            print(f"  step {progress.step}/{progress.steps}: {speeds[-1]:.0f} pairs/s", flush=True)

    settings = TrainingSettings(epochs=1, cap=cap, chunk_steps=512)
    began = time.perf_counter()
    train_encoder(vectors, table, key=jax.random.key(seed), settings=settings, on_progress=report)
    return {
        "users": users,
        "items": items,
        "ratings": len(table),
        "pairs": implied.total,
        "cap": cap,
        "pairs_in_epoch": drawn,
        "mining_seconds": mining,
        "sampling_seconds": sampling,
        "seconds": time.perf_counter() - began,
        "pairs_per_second": float(np.median(speeds)),
        "peak_gib": peak_gib(),
        "peak_gib_before_training": before,
    }


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def best_of(times: int, run: Callable[[], float]) -> float:
    return max(run() for _ in range(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compared-users", type=int, default=6_000)
    parser.add_argument("--compared-items", type=int, default=7_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--times", type=int, default=3, help="each speed is the best of so many")
    parser.add_argument("--users", type=int, default=268_000)
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--cap", type=int, default=10, help="pairs per user in the full epoch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "encoder_speed.json")
    args = parser.parse_args()
    # Not above: what is ours in this file needs no PyTorch.
    import torch

    from benchmarks.peer.encoder import torch_speed

    epoch = full_epoch(args.users, args.items, args.cap, args.seed) if args.users else None
    if epoch is not None:
        print(f"full epoch: {epoch}")
    users = args.compared_users
    table, vectors = simulate(args.seed, users, args.compared_items, 5, 15)
    settings = TrainingSettings()
    pairs = sample_pairs(jax.random.key(0), pair_table(table), None)
    needed = (args.steps + 3) * settings.batch_size
    if len(pairs) < needed:
        parser.error(f"--compared-users: {len(pairs)} pairs, but --steps needs {needed}")
    speeds = {
        "ours": best_of(args.times, lambda: our_speed(pairs, vectors, users, args.steps, settings)),
        "products": best_of(args.times, lambda: products_speed(settings.batch_size, args.steps)),
        "torch_loader": best_of(
            args.times,
            lambda: torch_speed(pairs, vectors, users, args.steps, settings.batch_size, True),
        ),
        "torch_arrays": best_of(
            args.times,
            lambda: torch_speed(pairs, vectors, users, args.steps, settings.batch_size, False),
        ),
    }
    ratios = {name: speeds["ours"] / speed for name, speed in speeds.items() if name != "ours"}
    for name, speed in speeds.items():
        print(f"{name}: {speed:.0f} pairs/s")
    print(f"ours against: {ratios}")
    write_report(
        args.out,
        compared_users=users,
        compared_items=args.compared_items,
        steps=args.steps,
        batch_size=settings.batch_size,
        pairs_per_second=speeds,
        ours_against=ratios,
        torch_threads=torch.get_num_threads(),
        full_epoch=epoch,
        versions_of_peers={"torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
