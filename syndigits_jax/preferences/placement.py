"""Placement of personas and users in preference space from their ratings: SSR and Newton's method.

Kumar, Dev and Garg, section 3.3, equation 5 and Algorithm 1: mixture logits w that explain a
rater's pairs of ratings under a frozen encoder. Every rater is a problem in p unknowns.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers, as_float, concrete
from ..solvers.checks import check_count, check_positive, check_scalar, check_steps, number
from ..solvers.devices import as_mesh, devices_in, everywhere, over_devices
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ..solvers.solution import Solution
from ._pair_loss import effective_gap
from ._placement_solvers import Tile, adam_tile, best_start, newton_tile
from .encoder import ScoreGram, init_mixture, user_embedding


class Placement(Solution[Float[Array, "n p"]]):
    """Where raters were placed, and how well their ratings determine it.

    A [`Solution`][] with an entry per rater, so that `raise_on_failure` takes it.

    - `value`, also called `w`: (n, p) mixture logits.
    - `status`: a [`Status`][] code: `FIXED_STEPS` after SSR's budget.
    - `steps`: of Adam or of Newton's method.
    - `optimality`, also called `gradient_norm`: length of the gradient of what was minimised (mean
      loss, plus ridge in [`place_newton`][]) in w: 0 at an optimum. It measures how far a rater is
      from convergence.
    - `embedding`: (n, d) u* = Σ_k π_k P_k(c̄), not normalised.
    - `loss`: mean of -log sig(s_a - s_b) over a rater's pairs, without ridge; log 2 is chance.
    - `pairs`: number of pairs.
    """

    embedding: Float[Array, "n d"]
    loss: Float[Array, " n"]
    pairs: Float[Array, " n"]

    def __init__(
        self,
        w: Float[Array, "n p"],
        status: Int[Array, " n"],
        steps: Int[Array, " n"],
        gradient_norm: Float[Array, " n"],
        *,
        embedding: Float[Array, "n d"],
        loss: Float[Array, " n"],
        pairs: Float[Array, " n"],
    ):
        super().__init__(w, status, steps, gradient_norm)
        self.embedding = embedding
        self.loss = loss
        self.pairs = pairs

    @property
    def w(self) -> Float[Array, "n p"]:
        """Mixture logits, the `value`."""
        return self.value

    @property
    def gradient_norm(self) -> Float[Array, " n"]:
        """Length of the gradient, the `optimality`."""
        return self.optimality

    @property
    def constant(self) -> Bool[Array, " n"]:
        """Whether no pair of ratings differs by the gap, so that the rater cannot be placed.

        `w` is then the start with SSR and 0 (equal mixture) with Newton.
        """
        return self.pairs == 0


def _tiled(
    solve: Callable[[ScoreGram, Array, Array], Tile],
    gram: ScoreGram,
    ratings: Float[Array, "n M"],
    w: Float[Array, "n p"],
    batch_size: int,
    mesh: Mesh | None,
) -> Placement:
    """`solve` for `batch_size` raters at a time; the last tiles are padded with empty raters."""
    n, devices = w.shape[0], devices_in(mesh)
    size = min(batch_size, -(-n // devices))
    tiles = -(-n // size)
    tiles += -tiles % devices
    padding = ((0, tiles * size - n), (0, 0))
    own = gram.numerator.ndim == 3

    def cut(values, fill):
        values = jnp.pad(values, padding + ((0, 0),) * (values.ndim - 2), constant_values=fill)
        return values.reshape(tiles, size, *values.shape[1:])

    def one(solve, gram, tile):
        ratings, w, *forms = tile
        if forms:
            gram = eqx.tree_at(lambda g: (g.numerator, g.square), gram, tuple(forms))
        return solve(gram, ratings.T, w.T)

    def each(solve, gram, rows):
        return jax.lax.map(functools.partial(one, solve, gram), rows)

    rows = (cut(ratings, jnp.nan), cut(w, 0))
    if own:
        rows += (cut(gram.numerator, 0), cut(gram.square, 0))
    out = over_devices(mesh, Partial(each, solve, gram), rows)
    w = jnp.swapaxes(out.w, 1, 2).reshape(tiles * size, -1)[:n]
    flat = (out.status, out.steps, out.gradient_norm, out.loss, out.pairs)
    status, steps, norm, loss, pairs = (a.reshape(-1)[:n] for a in flat)
    embedding = user_embedding(gram.prototypes, w, gram.temperature)
    return Placement(w, status, steps, norm, embedding=embedding, loss=loss, pairs=pairs)


@full_precision
def place_ssr(
    gram: ScoreGram,
    ratings: Numbers,
    *,
    key: PRNGKey | None = None,
    init: Numbers | None = None,
    gap: float = 1.0,
    steps: int | Int[Array, ""] = 200,
    learning_rate: Numbers = 0.01,
    batch_size: int = 1024,
    mesh: Mesh | None = None,
) -> Placement:
    """Place raters by the paper's Algorithm 1: `steps` of Adam on the summed pair loss.

    The defaults move each entry of w by at most about `steps * learning_rate` = 2, so different
    starts end at different points. `gradient_norm` measures the distance from an optimum;
    [`place_newton`][] reaches one.

    **Arguments:**

    - `gram`: the frozen encoder at the probes, see [`score_gram`][] and `ScoreGram.take`: forms
      (M, f), or (n, M, f) where every rater has their own probes.
    - `ratings`: (n, M), NaN where missing.
    - `key`: draws the starts w ~ N(0, I); or `init`: (n, p), your own starts.
    - `gap`: smallest difference of ratings that makes a pair. The result does not depend on the
      common unit of both, nor on the origin of the ratings.
    - `steps`, `learning_rate`: of Adam; may be traced.
    - `batch_size`: raters solved together; bounds the memory to a few (M, `batch_size`) arrays.
    - `mesh`: devices over whose first axis the raters are spread, `batch_size` at a time on each.
      The results stay spread if the devices divide the raters.

    Under `jax.jit`, `gap`, `batch_size` and `mesh` are static. It has no derivatives.

    **Returns:** a [`Placement`][], with status `FIXED_STEPS` (`NONFINITE` for a loss that is not
    finite).

    **Raises:** `ValueError` if shapes disagree, a setting is out of range, neither `key` nor
    `init` is given, or a rating is infinite.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.preferences import init_encoder, place_ssr, score_gram
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, hidden=(), dim=5, dtype=float)
        >>> gram, ratings = score_gram(encoder, jnp.eye(3)), [[5.0, 3.0, 1.0], [2.0, 2.0, 2.0]]
        >>> placed = place_ssr(gram, ratings, init=jnp.zeros((2, 4)), steps=20)
        >>> print(placed.embedding.shape, placed.pairs, placed.constant)
        (2, 5) [3. 0.] [False  True]
    """
    mesh = as_mesh(mesh)
    ratings, w = _checked(gram, ratings, key, init, batch_size)
    check_steps(steps, "steps")
    check_scalar("learning_rate", learning_rate)
    check_positive(learning_rate=learning_rate)
    effective_gap(gap)
    rate = number("learning_rate", learning_rate, w.dtype)
    arrays = everywhere(mesh, (gram, ratings, w, jnp.asarray(steps, jnp.int32), rate))
    return _ssr(*arrays, float(gap), batch_size, mesh)


@functools.partial(jax.jit, static_argnames=("gap", "batch_size", "mesh"))
@full_precision
def _ssr(gram, ratings, w, steps, rate, gap: float, batch_size: int, mesh) -> Placement:
    def solve(steps, rate, gram: ScoreGram, ratings: Array, w: Array) -> Tile:
        return adam_tile(gram, ratings, w, gap, steps, rate)

    return _tiled(Partial(solve, steps, rate), gram, ratings, w, batch_size, mesh)


@full_precision
def place_newton(
    gram: ScoreGram,
    ratings: Numbers,
    *,
    key: PRNGKey | None = None,
    init: Numbers | None = None,
    gap: float = 1.0,
    ridge: Numbers = 1e-3,
    tol: Numbers = 1e-5,
    max_steps: int | Int[Array, ""] = 60,
    batch_size: int = 1024,
    mesh: Mesh | None = None,
) -> Placement:
    """Place raters at an optimum of (mean pair loss) + `ridge` / 2 · |w|²; not in the paper.

    Newton's method with the exact p x p Hessian in a trust region, all raters of a tile at once.
    The ridge, in nats per squared logit, makes the solution unique and finite: the softmax does not
    change when all logits shift, and ratings that one prototype explains best would send its logit
    to infinity. The loss is not convex in w and has poor local optima. By default the start is the
    best fit among w = 0 and each prototype leading by e³ (the same for the same ratings), from
    which simulated raters reached their best known optimum. Converged means a gradient of at most
    `tol`, or no gain left above rounding.

    **Arguments:**

    - `gram`, `ratings`, `gap`, `batch_size`, `mesh`: as in [`place_ssr`][].
    - `key` or `init`: random or given starts, as in [`place_ssr`][], in place of the default one.
    - `ridge`: penalty on |w|², positive.
    - `tol`: largest length of the gradient at convergence.
    - `max_steps`: most Newton steps.

    **Returns:** a [`Placement`][].

    **Raises:** `ValueError` as [`place_ssr`][], except that neither `key` nor `init` is needed.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.preferences import init_encoder, place_newton, score_gram
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, hidden=(), dim=5, dtype=float)
        >>> gram, ratings = score_gram(encoder, jnp.eye(3)), [[5.0, 3.0, 1.0], [2.0, 2.0, 2.0]]
        >>> placed = place_newton(gram, ratings)
        >>> print(placed.embedding.shape, placed.pairs, placed.constant)
        (2, 5) [3. 0.] [False  True]
    """
    p = gram.prototypes.shape[0]
    search = key is None and init is None
    if search:
        ratings = as_float("ratings", ratings)
        init = jnp.zeros((len(ratings), p), gram.numerator.dtype)
    mesh = as_mesh(mesh)
    ratings, w = _checked(gram, ratings, key, init, batch_size)
    check_steps(max_steps)
    for name, value in (("ridge", ridge), ("tol", tol)):
        check_scalar(name, value)
    check_positive(ridge=ridge, tol=tol)
    effective_gap(gap)
    penalty, stop = number("ridge", ridge, w.dtype), number("tol", tol, w.dtype)
    limits = penalty, stop, jnp.asarray(max_steps, jnp.int32)
    arrays = everywhere(mesh, (gram, ratings, w, limits))
    return _newton(*arrays, float(gap), search, batch_size, mesh)


@functools.partial(jax.jit, static_argnames=("gap", "search", "batch_size", "mesh"))
@full_precision
def _newton(gram, ratings, w, limits, gap: float, search: bool, batch_size: int, mesh) -> Placement:
    """From the starts `w`, or with `search` from the best of the default ones."""
    p = gram.prototypes.shape[0]

    def solve(limits, gram: ScoreGram, ratings: Array, w: Array) -> Tile:
        start = best_start(gram, ratings, p, gap) if search else w
        return newton_tile(gram, ratings, start, gap, *limits)

    return _tiled(Partial(solve, limits), gram, ratings, w, batch_size, mesh)


def _checked(
    gram: ScoreGram, ratings: Numbers, key: PRNGKey | None, init: Numbers | None, batch_size: int
) -> tuple[Float[Array, "n M"], Float[Array, "n p"]]:
    """The ratings and the starts, checked against `gram`."""
    ratings = as_float("ratings", ratings).astype(gram.numerator.dtype)
    items = gram.numerator.shape[-2]
    if ratings.ndim != 2 or ratings.shape[1] != items:
        raise ValueError(
            f"`ratings` must be (raters, {items}): one column per probe of `gram`; got shape "
            f"{ratings.shape}"
        )
    n, p = ratings.shape[0], gram.prototypes.shape[0]
    if n == 0:
        raise ValueError("`ratings`: at least one rater is needed")
    if gram.numerator.ndim == 3 and gram.numerator.shape[0] != n:
        raise ValueError(
            f"`gram` has probes for {gram.numerator.shape[0]} raters, but `ratings` has {n} rows"
        )
    if (values := concrete(ratings)) is not None and np.isinf(values).any():
        raise ValueError("`ratings` has infinite entries; missing ratings must be NaN")
    check_count("batch_size", batch_size)
    if init is None:
        if key is None:
            raise ValueError("`key` or `init` is needed: SSR starts from random mixtures")
        return ratings, init_mixture(key, n, p, gram.numerator.dtype)
    init = as_float("init", init).astype(gram.numerator.dtype)
    if init.shape != (n, p):
        raise ValueError(f"`init` must have shape {(n, p)}, raters x prototypes, got {init.shape}")
    if (values := concrete(init)) is not None and not np.isfinite(values).all():
        raise ValueError("`init` must be finite")
    return ratings, init
