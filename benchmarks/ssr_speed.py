"""Placement: thousands of personas by SSR and by Newton's method, against one persona at a time.

The loop is Algorithm 1 as it reads, in PyTorch: pairs listed, 200 steps of Adam through autograd,
with the projections of the probes computed once. It is timed on a few personas and extrapolated.
"Differentiated" is the same batched computation as ours, but the gradient taken by JAX through the
sum over all pairs of probes.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.preferences.encoder import (
    ScoreGram,
    gram_scores,
    init_encoder,
    mixture_weights,
    project,
    score_gram,
)
from syndigits_jax.preferences.placement import place_newton, place_ssr

WIDTH = 384


def clocked(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the result once it is there."""
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return time.perf_counter() - start, result


def simulate(seed: int, personas: int, probes: int):
    """An encoder of the paper's sizes, text vectors, planted mixtures and ratings from 1 to 5."""
    rng = np.random.default_rng(seed)
    encoder = init_encoder(jax.random.key(seed), width=WIDTH)
    vectors = rng.normal(0.3, 1, (probes, WIDTH))
    vectors = jnp.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), jnp.float32)
    # Random projectors of unit vectors differ little: enlarged, they spread the scores.
    encoder = jax.tree.map(lambda a: a * 3 if a.ndim == 3 else a, encoder)
    gram = score_gram(encoder, vectors)
    w = jnp.asarray(1.5 * rng.normal(size=(personas, 4)), jnp.float32)
    ratings = np.empty((personas, probes), np.float32)
    for first in range(0, personas, 4096):
        part = slice(first, first + 4096)
        scores = np.asarray(gram_scores(gram, w[part]))
        utility = scores + rng.gumbel(size=scores.shape)
        ratings[part] = 1 + np.argsort(np.argsort(utility, axis=1), axis=1) * 5 // probes
    return encoder, vectors, gram, w, jnp.asarray(ratings)


def differentiated(gram: ScoreGram, ratings, w, steps: int):
    """Adam on the same loss, its gradient by JAX through all pairs of probes."""

    def loss(w):
        s = gram_scores(gram, w)
        valid = ratings[:, :, None] - ratings[:, None, :] >= 1
        return jnp.sum(jnp.where(valid, jax.nn.softplus(s[:, None, :] - s[:, :, None]), 0))

    def step(t, carry):
        w, m, v = carry
        g = jax.grad(loss)(w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        c = (t + 1).astype(w.dtype)
        return w - 0.01 * (m / (1 - 0.9**c)) / (jnp.sqrt(v / (1 - 0.999**c)) + 1e-8), m, v

    zeros = jnp.zeros_like(w)
    return jax.lax.fori_loop(0, steps, step, (w, zeros, zeros))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--personas", type=int, default=10_000)
    parser.add_argument("--probes", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--loop", type=int, default=10, help="personas of the loop, timed")
    parser.add_argument("--differentiated", type=int, default=512, help="personas, timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "ssr_speed.json")
    args = parser.parse_args()
    # Not above: what is ours in this file needs no PyTorch.
    import torch

    from benchmarks.peer.placement import torch_persona

    encoder, vectors, gram, truth, ratings = simulate(args.seed, args.personas, args.probes)
    start = jax.random.normal(jax.random.key(1), truth.shape)
    ssr = jax.jit(functools.partial(place_ssr, steps=args.steps, batch_size=args.batch))
    newton = jax.jit(functools.partial(place_newton, batch_size=args.batch))
    ours: dict[str, Any] = {}
    placed = {}
    for name, run in (
        ("ssr", lambda: ssr(gram, ratings, init=start)),
        ("newton", lambda: newton(gram, ratings)),
    ):
        first, _ = clocked(run)
        seconds, result = clocked(run)
        placed[name] = result
        error = jnp.mean(jnp.abs(mixture_weights(result.w) - mixture_weights(truth)))
        ours[name] = {
            "seconds": seconds,
            "compilation_seconds": first - seconds,
            "mean_loss": float(jnp.mean(result.loss)),
            "median_gradient_norm": float(jnp.median(result.gradient_norm)),
            "largest_gradient_norm": float(jnp.max(result.gradient_norm)),
            "converged": float(jnp.mean(result.status == 0)),
            "mean_error_of_mixtures": float(error),
        }
        print(f"{name}: {seconds:.2f} s for {args.personas} personas, {ours[name]}")

    items = torch.as_tensor(np.array(project(encoder, vectors)))
    context = torch.as_tensor(np.array(gram.prototypes))
    scale = float(gram.scale)
    found = []
    rows, starts = np.asarray(ratings), np.asarray(start)
    torch_persona(items, context, scale, rows[0], starts[0], 2)
    began = time.perf_counter()
    for i in range(args.loop):
        found.append(torch_persona(items, context, scale, rows[i], starts[i], args.steps))
    loop_seconds = (time.perf_counter() - began) / args.loop * args.personas
    apart = float(np.max(np.abs(np.stack(found) - np.asarray(placed["ssr"].w)[: args.loop])))
    print(f"loop: {loop_seconds:.0f} s extrapolated, logits apart by {apart:.1e} at most")

    count = min(args.differentiated, args.personas)
    slow = jax.jit(functools.partial(differentiated, steps=args.steps))
    clocked(lambda: slow(gram, ratings[:count], start[:count]))
    seconds, _ = clocked(lambda: slow(gram, ratings[:count], start[:count]))
    slow_seconds = seconds / count * args.personas
    print(f"differentiated: {slow_seconds:.0f} s extrapolated from {count} personas")
    write_report(
        args.out,
        personas=args.personas,
        probes=args.probes,
        steps=args.steps,
        batch=args.batch,
        pairs_per_persona=float(jnp.mean(placed["ssr"].pairs)),
        ours=ours,
        loop={
            "personas_timed": args.loop,
            "seconds": loop_seconds,
            "times_slower": loop_seconds / ours["ssr"]["seconds"],
            "largest_difference_of_logits": apart,
            "torch_threads": torch.get_num_threads(),
        },
        differentiated={
            "personas_timed": count,
            "seconds": slow_seconds,
            "times_slower": slow_seconds / ours["ssr"]["seconds"],
        },
        versions_of_peers={"torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
