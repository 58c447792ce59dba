"""Twins' answers, stored as small integers or probabilities, and the two products of every fit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers, concrete, host_array, host_floats, refuse_no_numbers
from ..solvers.precision import full_precision
from .options import kept_options

MISSING = -1
"""Code of a missing answer."""

_BLOCK_ENTRIES = 1 << 18
"""Answers that a product with codes handles at a time: few enough for a core's cache."""


class Answers(eqx.Module):
    """What n twins answer to m questions with at most K options each.

    - `codes`: (n, m) int8 or int16 positions of the chosen options, -1 where missing; or `None`.
    - `probabilities`: (n, m, K) distributions over the options; or `None`.
    - `fallback`: (m, K) what a missing answer counts as: the other twins' mean, so that an ensemble
      stays a mixture of distributions and linear in its weights.
    - `options`: (m, K), which options the questions have; `None` if that was not stated.

    Build with [`Answers.from_choices`][] or [`Answers.from_probabilities`][]. Memory of choices is
    one byte an answer; no array of size n x m x K is formed.
    """

    codes: Int[Array, "n m"] | None
    probabilities: Float[Array, "n m K"] | None
    fallback: Float[Array, "m K"]
    options: Bool[Array, "m K"] | None = None

    @staticmethod
    def from_choices(choices: Numbers, n_options: Numbers, *, options: Numbers = None) -> "Answers":
        """Choices as positions 0 .. K - 1 of the options, NaN or -1 where missing.

        **Arguments:** `choices`: (n, m); `n_options`: K, or (m,) how many options every question
        has, which are then its first ones; `options`: (m, K) or (K,), true for the options that a
        question has, where these are not the first ones. With a single K and no `options`, it is
        not known whether every question has all K options.

        **Raises:** `ValueError` for another shape than (n, m), no twins or questions, positions
        that are not whole or not those of an option, or infinities.

        **Example:**

            >>> from syndigits_jax.distribution import Answers
            >>> answers = Answers.from_choices([[0, 2], [1, -1], [1, 2]], 3)  # 3 twins, 2 questions
            >>> print(answers.n, answers.m, answers.n_options)
            3 2 3
        """
        given = _choices(choices)
        k, stated = _stated_options(n_options, options, given.shape[1])
        codes = _codes(given, k)
        if stated is not None:
            wrong = (codes != MISSING) & ~stated[np.arange(codes.shape[1]), codes]
            if wrong.any():
                i, j = np.argwhere(wrong)[0]
                raise ValueError(
                    f"`choices`: twin {i} chose option {codes[i, j]} of question {j}, which has "
                    f"only the options {', '.join(map(str, np.flatnonzero(stated[j])))}"
                )
        counts = np.stack([(codes == option).sum(0) for option in range(k)], axis=1)
        return Answers(jnp.asarray(codes), None, _fallback(counts, stated), _as_jax(stated))

    @staticmethod
    def from_probabilities(probabilities: Numbers, *, options: Numbers = None) -> "Answers":
        """Distributions over the options, (n, m, K); a row of NaN is a missing answer.

        **Arguments:** `options`: (m, K) or (K,), true for the options that a question has.
        Entries at the others must be 0 or NaN.

        **Raises:** `ValueError` for another shape, negative entries, mass on options that do not
        exist, or rows that do not sum to 1 within 1e-3 (they are normalised).

        **Example:**

            >>> from syndigits_jax.distribution import Answers
            >>> answers = Answers.from_probabilities([[[0.5, 0.5]], [[0.25, 0.75]]])  # 2 twins
            >>> print(answers.n, answers.m, answers.n_options)
            2 1 2
        """
        given = host_floats("probabilities", probabilities)
        if given.ndim != 3 or min(given.shape) == 0:
            raise ValueError(
                f"`probabilities` must be twins x questions x options, got shape {given.shape}"
            )
        missing = np.isnan(given)
        gone: np.ndarray = np.asarray(missing.all(axis=2))
        here = kept_options(given.shape[1:], options=options)
        stated = None if options is None else here
        if (missing & here & ~gone[:, :, None]).any():
            raise ValueError("`probabilities`: an answer is NaN for some options but not for all")
        rows = np.where(missing, 0, given)
        if not (np.isfinite(rows).all() and (rows >= 0).all()):
            raise ValueError("`probabilities` must be finite and not negative")
        if (rows > 0)[:, ~here].any():
            raise ValueError(
                "`probabilities`: an answer has mass on an option that its question lacks"
            )
        total = rows.sum(axis=2)
        if (np.abs(total - 1) > 1e-3)[~gone].any():
            raise ValueError("`probabilities` must sum to 1 over the options (the last axis)")
        rows = rows / np.where(gone, 1, total)[:, :, None]
        fallback = _fallback(rows.sum(axis=0), stated)
        rows = np.where(gone[:, :, None], np.asarray(fallback)[None], rows)
        stored = jnp.asarray(rows, jnp.result_type(float))
        return Answers(None, stored, fallback, _as_jax(stated))

    @property
    def n(self) -> int:
        """Number of twins."""
        return self._stored().shape[0]

    @property
    def m(self) -> int:
        """Number of questions."""
        return self.fallback.shape[0]

    @property
    def n_options(self) -> int:
        """K, the largest number of options."""
        return self.fallback.shape[1]

    def _stored(self) -> Array:
        stored = self.probabilities if self.codes is None else self.codes
        if stored is None:
            raise ValueError("Answers need codes or probabilities")
        return stored

    def questions(self, positions: Numbers) -> "Answers":
        """The answers to some of the questions; a missing answer keeps its fallback.

        `positions`: whole numbers, or a mask of the m questions.

        **Raises:** `ValueError` for positions that are not whole, or of no question.
        """
        where = _positions(positions, self.m)
        return Answers(
            None if self.codes is None else self.codes[:, where],
            None if self.probabilities is None else self.probabilities[:, where],
            self.fallback[where],
            None if self.options is None else self.options[where],
        )

    def restricted(self, options: Numbers) -> "Answers":
        """The answers without some options: a twin that chose one of them counts as missing.

        `options`: (m, K) or (K,), true for those that stay. Probabilities are renormalised.

        **Raises:** `ValueError` for another shape, or a question that loses every option.
        """
        shape = (self.m, self.n_options)
        keep = kept_options(shape, options=options, stated=self.options)
        stated = jnp.asarray(keep)
        if keep.all():
            return Answers(self.codes, self.probabilities, self.fallback, stated)
        if self.codes is None:
            rows = np.where(keep, np.asarray(self._stored()), 0)
            total = rows.sum(axis=2, keepdims=True)
            gone = total == 0
            rows = rows / np.where(gone, 1, total)
            fallback = _fallback(rows.sum(axis=0), keep)
            rows = jnp.where(gone, fallback[None], rows).astype(fallback.dtype)
            return Answers(None, rows, fallback, stated)
        codes = np.asarray(self.codes)
        lost = (codes != MISSING) & ~keep[np.arange(self.m), codes]
        codes = np.where(lost, MISSING, codes).astype(codes.dtype)
        counts = np.stack([(codes == k).sum(0) for k in range(self.n_options)], axis=1)
        return Answers(jnp.asarray(codes), None, _fallback(counts, keep), stated)

    def twins(self, positions: Numbers) -> "Answers":
        """The answers of some of the twins; a missing answer keeps its fallback.

        `positions`: whole numbers, or a mask of the n twins.

        **Raises:** `ValueError` for positions that are not whole, or of no twin.
        """
        where = _positions(positions, self.n)
        return Answers(
            None if self.codes is None else self.codes[where],
            None if self.probabilities is None else self.probabilities[where],
            self.fallback,
            self.options,
        )

    def dense(self) -> Float[Array, "n cells"]:
        """Every twin's distributions, side by side: n x m x K numbers, for small problems."""
        if self.codes is None:
            return self._stored().reshape(self.n, -1)
        dtype = self.fallback.dtype
        chosen = jax.nn.one_hot(self.codes, self.n_options, dtype=dtype)
        gone = (self.codes == MISSING)[:, :, None]
        return jnp.where(gone, self.fallback[None], chosen).reshape(self.n, -1)

    @jax.jit
    @full_precision
    def mix(self, weights: Float[Array, " n"]) -> Float[Array, "m K"]:
        """Σᵢ wᵢ (answer of twin i): the ensemble's distribution of every question."""
        if self.codes is None:
            return jnp.tensordot(weights, self._stored().astype(weights.dtype), 1)
        kinds = jnp.arange(MISSING, self.n_options, dtype=self.codes.dtype)

        # A block takes one matrix product per option: on a CPU four times faster than one product
        # with a one-hot tensor. Segment sums are about as fast, but add a million small numbers one
        # by one, which loses digits.
        def add(total, block):
            codes, w = block
            rows = jax.lax.map(lambda k: w @ (codes == k).astype(w.dtype), kinds)
            return total + rows, None

        blocks = _blocks(self.codes)
        padded = jnp.pad(weights, (0, blocks.shape[0] * blocks.shape[1] - self.n))
        zero = jnp.zeros((1 + self.n_options, self.m), weights.dtype)
        total, _ = jax.lax.scan(add, zero, (blocks, padded.reshape(blocks.shape[:2])))
        return total[1:].T + total[0][:, None] * self.fallback.astype(weights.dtype)

    @jax.jit
    @full_precision
    def score(self, gradient: Float[Array, "m K"]) -> Float[Array, " n"]:
        """Per twin, Σ_j ⟨its answer to question j, gradient_j⟩: the transpose of [`mix`][]."""
        if self.codes is None:
            return jnp.tensordot(self._stored().astype(gradient.dtype), gradient, 2)
        default = jnp.sum(self.fallback.astype(gradient.dtype) * gradient, axis=1)
        slopes = jnp.concatenate([default[None], gradient.T])

        # Chains of `where` fuse with the sum, which makes them faster than a matrix product.
        def block(codes):
            found = jnp.broadcast_to(slopes[:1], codes.shape)
            for k in range(self.n_options):
                found = jnp.where(codes == k, slopes[None, 1 + k], found)
            return jnp.sum(found, axis=1)

        return jax.lax.map(block, _blocks(self.codes)).reshape(-1)[: self.n]


def _blocks(codes: Array) -> Int[Array, "blocks rows m"]:
    n, m = codes.shape
    rows = max(1, min(n, _BLOCK_ENTRIES // m))
    return jnp.pad(codes, ((0, -n % rows), (0, 0)), constant_values=MISSING).reshape(-1, rows, m)


def _fallback(counts: np.ndarray, keep: np.ndarray | None = None) -> Float[Array, "m K"]:
    """Mean answer to every question; uniform over its options where nobody answered."""
    keep = np.ones(counts.shape, bool) if keep is None else keep
    total = counts.sum(axis=1, keepdims=True)
    even = keep / keep.sum(axis=1, keepdims=True)
    mean = np.where(total > 0, counts / np.where(total > 0, total, 1), even)
    return jnp.asarray(mean, jnp.result_type(float))


def _as_jax(mask: np.ndarray | None) -> Bool[Array, "m K"] | None:
    return None if mask is None else jnp.asarray(mask)


def _positions(positions: Numbers, size: int) -> Array | np.ndarray:
    """Whole positions below `size`, or a mask of it; negative ones count from the end."""
    if isinstance(positions, jax.Array) and concrete(positions) is None:
        return jnp.asarray(positions)
    where = host_array("positions", positions)
    if where.dtype == bool:
        if where.shape != (size,):
            raise ValueError(f"`positions`: a mask must have {size} entries, got {where.shape}")
        return np.flatnonzero(where)
    whole = host_floats("positions", where)
    if not (whole == np.round(whole)).all() or (whole < -size).any() or (whole >= size).any():
        raise ValueError(f"`positions` must be whole numbers below {size}")
    return whole.astype(np.int32)


def _choices(choices: Numbers) -> np.ndarray:
    """(n, m) numbers, in their own type if it is one of NumPy's, to save memory."""
    given = host_array("choices", choices)
    refuse_no_numbers("choices", given.dtype)
    if given.dtype.kind not in "biuf":
        given = host_floats("choices", choices)
    if given.ndim != 2 or min(given.shape) == 0:
        raise ValueError(f"`choices` must be twins x questions, got shape {given.shape}")
    return given


def _stated_options(
    n_options: Numbers, options: Numbers, m: int
) -> tuple[int, Bool[np.ndarray, "m K"] | None]:
    """K, and which options each of the m questions has, if that is stated."""
    count = host_floats("n_options", n_options)
    if count.shape not in ((), (m,)):
        raise ValueError(
            f"`n_options` must be one number, or one for each of the {m} questions; got shape "
            f"{count.shape}"
        )
    if not (count == np.round(count)).all() or np.min(count) < 1 or np.max(count) < 2:
        raise ValueError(f"`n_options` must be whole and at least 2, got {n_options}")
    k = int(np.max(count))
    if count.ndim == 0 and options is None:
        return k, None
    first = np.arange(k)[None] < np.broadcast_to(count, (m,))[:, None]
    return k, kept_options((m, k), options=options, stated=first)


def _codes(choices: np.ndarray, n_options: int) -> np.ndarray:
    small = np.int8 if n_options <= 127 else np.int16
    if n_options > np.iinfo(np.int16).max:
        raise ValueError(f"`n_options` must be at most {np.iinfo(np.int16).max}, got {n_options}")
    whole = choices
    if choices.dtype.kind == "f":
        whole = np.where(np.isnan(choices), MISSING, choices)
        if not np.array_equal(whole, np.round(whole)):
            raise ValueError(
                "`choices` must be positions of options (0, 1, ...); got fractions: are these the "
                "options' ordinal values?"
            )
    if whole.min() < MISSING or whole.max() >= n_options:
        raise ValueError(
            f"`choices` must lie in 0..{n_options - 1} (or be -1 or NaN where missing), got "
            f"{whole.min()}..{whole.max()}: are they numbered from 1?"
        )
    return whole.astype(small)
