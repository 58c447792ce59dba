"""Out-of-fold moments of the known questions, and the stack of components that they choose.

For the weights that predict a question j, the moments of a known question k must come from fits
that saw neither. Folds f and g are therefore left out together, and every pair of folds is fitted
once: its fits predict the questions of f for weights without g, and those of g for weights
without f. With F folds that is F(F - 1)/2 fits of a method, besides F for the predictions.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from ..evaluation.holdout import padded_targets
from ..panel import Responses
from ..solvers.blas import one_blas_thread
from ..solvers.devices import as_mesh, devices_in, everywhere, over_devices, to_host
from ..solvers.precision import full_precision
from .components import (
    COMPONENTS,
    Components,
    Donors,
    Moments,
    WeightedPanel,
    components,
    donors,
    truth_moments,
)
from .weights import FEWEST_TARGETS, learnt_weights

OnFit = Callable[[int, int], None]
"""Called with (fits done, fits in all), from one thread at a time; first with none done."""

OnPair = Callable[[tuple[int, int], np.ndarray, np.ndarray], None]
"""Called with two folds, the targets in them (b,) and their components (b, c, n)."""


class Stack(eqx.Module):
    """A fitted combination of components: a pytree for `jit`, `vmap` and `grad`.

    - `weights`: (c,) of the components.
    - `mean`, `sd`: (t,) level and spread of every target, in units of its answers.
    - `low`, `high`: (t,) ends of its range.
    - `people`: (n,) weights of the people, in whose mean a prediction has the level `mean`.
    """

    weights: Float[Array, " c"]
    mean: Float[Array, " t"]
    sd: Float[Array, " t"]
    low: Float[Array, " t"]
    high: Float[Array, " t"]
    people: Float[Array, " n"]

    @full_precision
    def __call__(self, values: Float[Array, "t c n"]) -> Float[Array, "t n"]:
        """Predictions on the answers' scale from standardised components."""
        z = jnp.einsum("c,tcn->tn", self.weights, values)
        z = z - (z @ self.people / jnp.sum(self.people))[:, None]
        predicted = self.mean[:, None] + self.sd[:, None] * z
        return jnp.clip(predicted, self.low[:, None], self.high[:, None])


@dataclass(frozen=True)
class OuterMoments:
    """Moments of known targets (questions or users), by what else was left out of their fits.

    The last entry of the first axis is for weights that may use every known target; entry f is for
    those that must not use fold f, and is 0 for the targets of that fold.

    - `gram`, `cross`, `size`: (F + 1, k, c, c), (F + 1, k, c), (F + 1, k).
    - `fold`: (k,) the fold of each target.
    - `or_nothing`: whether weights that do not help are 0 ([`learnt_weights`][]).
    """

    or_nothing: ClassVar[bool] = False

    gram: Float[np.ndarray, "o k c c"]
    cross: Float[np.ndarray, "o k c"]
    size: Float[np.ndarray, "o k"]
    fold: Int[np.ndarray, " k"]

    def weights(
        self, prior: Sequence[float], outer: int | None = None
    ) -> tuple[Float[np.ndarray, " c"], bool]:
        """Pooled weights, without fold `outer` if one is given, and whether they were learnt.

        With fewer than [`FEWEST_TARGETS`][] targets they are `prior`.
        """
        place = len(self.gram) - 1 if outer is None else outer
        start = jnp.asarray(prior, self.gram.dtype)
        if int(np.sum(self.size[place] > 0)) < FEWEST_TARGETS:
            return np.asarray(start), False
        arrays = self.gram[place], self.cross[place], self.size[place], self.fold
        arrays = map(jnp.asarray, arrays)
        weights, _ = learnt_weights(*arrays, start, or_nothing=self.or_nothing)
        return np.asarray(weights), True

    @staticmethod
    def empty(fold: Int[np.ndarray, " k"], parts: int, dtype: Any) -> "OuterMoments":
        """Of no target yet; `parts`: number of components."""
        shape = int(fold.max()) + 2, len(fold), parts
        gram = np.zeros((*shape, parts), dtype)
        return OuterMoments(gram, np.zeros(shape, dtype), np.zeros(shape[:2], dtype), fold)

    def store(self, pair: tuple[int, int], members: Int[np.ndarray, " b"], found: Moments) -> None:
        """Keep what a fit without both folds of `pair` finds of its `members`, in their order."""
        (f, g), own, folds = pair, self.fold[members], len(self.gram) - 1
        place = np.full(len(members), folds) if f == g else np.where(own == f, g, f)
        self.gram[place, members] = found.gram
        self.cross[place, members] = found.cross
        self.size[place, members] = found.size


def fold_pairs(fold: Int[np.ndarray, " k"], nested: bool) -> list[tuple[int, int]]:
    """Every fold with itself and, if `nested`, every pair of different ones."""
    folds = range(int(fold.max()) + 1)
    alone = [(f, f) for f in folds]
    return alone + list(itertools.combinations(folds, 2)) if nested else alone


@dataclass(frozen=True)
class FoldMoments(OuterMoments):
    """Moments and predictions of the known questions.

    - `values`: (k, c, n) predictions of every known question without its fold.
    - `unexplained`: (k,); `status`: (k,) of the fits; `imputation_status`: (k,).
    """

    values: Float[np.ndarray, "k c n"]
    unexplained: Float[np.ndarray, " k"]
    status: Int[np.ndarray, " k"]
    imputation_status: Int[np.ndarray, " k"]


def fold_moments(
    responses: WeightedPanel,
    known: Int[np.ndarray, " k"],
    fold: Int[np.ndarray, " k"],
    *,
    truth: Responses | None = None,
    nested: bool = True,
    most: int | None = None,
    workers: int = 1,
    on_fit: OnFit | None = None,
    on_pair: OnPair | None = None,
    mesh: Mesh | None = None,
) -> FoldMoments:
    """Fit every fold, and every pair of folds, of the known questions.

    **Arguments:**

    - `responses`: of all questions; those not `known` take no part.
    - `known`: (k,) positions of the known questions; `fold`: (k,) the fold of each, from 0.
    - `truth`: what is predicted; by default the humans' answers in `responses`.
    - `nested`: whether pairs of folds are fitted too, so that weights without a fold exist.
    - `most`: largest number of questions of a pair whose moments are computed; all by default.
    - `workers`: pairs computed at once.
    - `on_fit`: progress.
    - `on_pair`: called with what the fit without each pair of folds predicts of its members.
    - `mesh`: devices over whose first axis the fits are spread, one at a time on each.
    """
    truth = responses.human if truth is None else truth
    count, n = len(known), responses.human.shape[0]
    shape = fit_sizes(fold, nested, most)
    dtype, parts = responses.human.dtype, len(COMPONENTS)
    outer = OuterMoments.empty(fold, parts, dtype)
    values = np.zeros((count, parts, n), dtype)
    unexplained = np.zeros(count, dtype)
    status, imputation = np.zeros(count, np.int32), np.zeros(count, np.int32)
    complete = is_complete(responses, known)
    everyone = np.zeros(responses.human.shape[1], bool)
    everyone[known] = True
    mesh = as_mesh(mesh)
    devices = devices_in(mesh)
    given = everywhere(mesh, (responses, truth))

    def left_out(pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The targets of a fit, and which questions are its donors."""
        f, g = pair
        members = np.flatnonzero((fold == f) | (fold == g))
        if f != g and most is not None and len(members) > most:
            members = members[np.linspace(0, len(members) - 1, most).astype(int)]
        used = everyone.copy()
        used[known[(fold == f) | (fold == g)]] = False
        return members, used

    def store(pair, members, found, imputed, moments) -> None:
        f, g = pair
        keep = slice(len(members))
        if f == g:
            values[members], unexplained[members] = found.values[keep], found.unexplained[keep]
            status[members], imputation[members] = found.status[keep], np.max(imputed)
        outer.store(pair, members, jax.tree.map(lambda leaf: leaf[keep], moments))
        if on_pair is not None:
            on_pair(pair, members, found.values[keep])

    def progress(done: int, _: int) -> None:
        counts = [len(batch) for batch in batches]
        if on_fit is not None:
            on_fit(sum(counts[:done]), sum(counts))

    def fit(pairs: Sequence[tuple[int, int]]) -> None:
        size = shape[pairs[0][0] == pairs[0][1]]
        parts = [left_out(pair) for pair in pairs]
        parts += parts[-1:] * (devices - len(pairs))
        used = [used for _, used in parts]
        index = [padded_targets(known[members], size) for members, _ in parts]
        if mesh is None:
            store(pairs[0], parts[0][0], *_fit(*given, used[0], index[0], complete))
            return
        args = everywhere(mesh, (jnp.asarray(np.stack(used)), jnp.asarray(np.stack(index))))
        found = to_host(mesh, _fits(*given, *args, complete, mesh))
        for place, pair in enumerate(pairs):
            one = jax.tree.map(lambda leaf, place=place: leaf[place], found)
            store(pair, parts[place][0], *one)

    batches = _batches(fold_pairs(fold, nested), shape, devices)
    in_order(fit, batches, workers, progress)
    arrays = outer.gram, outer.cross, outer.size, fold
    return FoldMoments(*arrays, values, unexplained, status, imputation)


def fit_sizes(
    fold: Int[np.ndarray, " k"], nested: bool, most: int | None = None
) -> dict[bool, int]:
    """Targets of every fit: without one fold (true), and without a pair of folds.

    One shape for all fits, or two where pairs are smaller.
    """
    sizes = np.sort(np.bincount(fold))
    largest = int(sizes[-2:].sum()) if nested and len(sizes) > 1 else int(sizes[-1])
    if most is not None and nested and most < largest:
        return {True: int(sizes[-1]), False: most}
    return {True: largest, False: largest}


def predict(
    responses: WeightedPanel,
    known: Int[np.ndarray, " k"],
    targets: Int[np.ndarray, " t"],
    size: int | None = None,
) -> tuple[Components, Donors]:
    """Components of targets from all known questions, and the donors that they are made of.

    **Arguments:**

    - `responses`: of all questions.
    - `known`: (k,) positions of the donors; `targets`: (t,) of those to predict.
    - `size`: targets at a time, all by default; with that of the folds' fits ([`fit_sizes`][]) all
      run the same program.
    """
    used = np.zeros(responses.human.shape[1], bool)
    used[known] = True
    prepared = donors(responses, jnp.asarray(used), is_complete(responses, known))
    size = len(targets) if size is None else size
    parts = [
        jax.device_get(components(responses, prepared, jnp.asarray(padded_targets(part, size))))
        for part in (targets[i : i + size] for i in range(0, len(targets), size))
    ]
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(targets)], *parts)
    return found, prepared


def is_complete(responses: WeightedPanel, known: Int[np.ndarray, " k"]) -> bool:
    """Whether neither side misses an answer to a known question."""
    sides = responses.human, responses.twin
    return all(bool(np.asarray(side.mask)[:, known].all()) for side in sides)


def _fit(responses, truth: Responses, used, targets, complete: bool):
    """(components of targets, status of the imputation, moments) without what is not used."""
    found = _found(responses, truth, jnp.asarray(used), jnp.asarray(targets), complete)
    return jax.device_get(found)


def _found(responses, truth: Responses, used, targets, complete: bool):
    prepared = donors(responses, used, complete)
    found = components(responses, prepared, targets)
    moments = truth_moments(found, truth.columns(targets), responses.weight)
    return found, prepared.status, moments


@functools.partial(jax.jit, static_argnames=("complete", "mesh"))
def _fits(responses, truth: Responses, used, targets, complete: bool, mesh: Mesh):
    """The same for several fits, one after the other on every device."""

    def each(responses, truth, items):
        def one(item):
            used, targets = item
            return _found(responses, truth, used, targets, complete)

        return jax.lax.map(one, items)

    return over_devices(mesh, Partial(each, responses, truth), (used, targets))


def _batches(
    pairs: list[tuple[int, int]], shape: dict[bool, int], devices: int
) -> list[list[tuple[int, int]]]:
    """Pairs of folds whose fits have one shape, as many together as there are devices."""
    groups = [pairs]
    if shape[True] != shape[False]:
        groups = [[p for p in pairs if (p[0] == p[1]) == alone] for alone in (True, False)]
    return [group[i : i + devices] for group in groups for i in range(0, len(group), devices)]


def in_order(
    function: Callable, items: Sequence, workers: int, on_done: OnFit | None = None
) -> None:
    """`function` of every item, the first one alone so that programs are compiled once.

    **Arguments:**

    - `function`: called with one item at a time, from several threads.
    - `items`: at least one.
    - `workers`: threads.
    - `on_done`: called with (items done, items in all), first with none done: the first item takes
      longest, as its programs are compiled.

    **Raises:** the first error, or an interrupt, which ends it.
    """
    limits = one_blas_thread(workers > 1)
    if on_done is not None:
        on_done(0, len(items))
    with limits, ThreadPoolExecutor(workers) as pool:
        function(items[0])
        futures = [pool.submit(function, item) for item in items[1:]]
        try:
            if on_done is not None:
                on_done(1, len(items))
            for done, future in enumerate(futures, 2):
                future.result()
                if on_done is not None:
                    on_done(done, len(items))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
