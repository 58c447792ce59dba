"""Do twins and humans share their latent spaces? (SYN-DIGITS, section 4.2, figures 3, 4, 6, 7.)

Calibration transfers to new questions when the twins' row space holds the humans' (equation 4.3),
and to new users when the column space does (6.1). Both are compared through the leading singular
directions of scaled, imputed matrices, beside two baselines: one shares only the shape with the
humans, the other also the distribution of every column.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float, as_floats
from ..solvers.completion import hard_impute
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ..solvers.solution import Status
from ..solvers.units import largest
from .rank_selection import CANDIDATES, observed, scaled_columns, select_rank

# Humans and twins have one shape: compiled once, used for both.
_choose = jax.jit(select_rank, static_argnames=("candidates", "repeats"))
_impute = jax.jit(hard_impute, static_argnames="rank")


class SubspaceAlignment(eqx.Module):
    """How close two subspaces with ordered bases are.

    - `cosine`: cosines of the principal angles between the two full subspaces, largest first;
      1 is shared, 0 orthogonal.
    - `projection_norm`: entry r - 1 is ‖P_a - P_b‖_F / sqrt(r) for the leading r directions of
      each; 0 is equal, sqrt(2) orthogonal.
    """

    cosine: Float[Array, " r"]
    projection_norm: Float[Array, " r"]


@full_precision
def subspace_alignment(a: Numbers, b: Numbers) -> SubspaceAlignment:
    """Compare the spans of two (p, r) matrices with orthonormal columns, leading direction first.

    **Raises:** `ValueError` for what holds no numbers and for unequal shapes.

    **Example:**

        >>> from syndigits_jax.diagnostics.alignment import subspace_alignment
        >>> result = subspace_alignment([[1.0], [0.0]], [[0.6], [0.8]])
        >>> print(result.cosine.round(2), result.projection_norm.round(3))
        [0.6] [1.131]
    """
    a, b = as_floats(a=a, b=b)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"`b` must be a matrix of the shape of `a`, {a.shape}, got {b.shape}")
    return _compared(a, b)


@jax.jit
def _compared(a: Float[Array, "p r"], b: Float[Array, "p r"]) -> SubspaceAlignment:
    cosine = jnp.clip(jnp.linalg.svd(a.T @ b, compute_uv=False), 0, 1)
    size = a.shape[1]

    def projection_norm(rank: Int[Array, ""]) -> Float[Array, ""]:
        leading = (jnp.arange(size) < rank).astype(a.dtype)[None, :]
        left, right = a * leading, b * leading
        # ‖P_a - P_b‖² = 2 ‖(I - P_b) P_a‖²; 2r - 2‖AᵀB‖² would cancel for close subspaces.
        residual = left - right @ (right.T @ left)
        return jnp.linalg.norm(residual) * jnp.sqrt(2 / rank.astype(a.dtype))

    return SubspaceAlignment(cosine, jax.lax.map(projection_norm, jnp.arange(1, size + 1)))


@full_precision
def singular_subspace(x: Numbers, rank: int, space: str) -> Float[Array, "p r"]:
    """The leading right ("row") or left ("column") singular vectors of `x` (n, m), as columns.

    Beyond the rank of `x` they are arbitrary completions of the basis.

    **Raises:** `ValueError` for what is no matrix of numbers, another space or a rank beyond the
    matrix.
    """
    x = as_float("x", x)
    if x.ndim != 2:
        raise ValueError(f"`x` must be a matrix (n, m), got shape {x.shape}")
    if not 1 <= rank <= min(x.shape):
        raise ValueError(f"`rank` must lie between 1 and {min(x.shape)}, got {rank}")
    x = x / largest(x)
    left, _, right = jnp.linalg.svd(x, full_matrices=False)
    if space == "row":
        return right[:rank].T
    if space == "column":
        return left[:, :rank]
    raise ValueError(f"`space` must be 'row' or 'column', got {space!r}")


class Alignment(eqx.Module):
    """Twins and baselines against the humans, over the leading directions.

    - `twin`: human against twin responses.
    - `normal`: human against a standard normal matrix.
    - `shuffled`: human against human responses with every column shuffled on its own.
    - `human_rank`, `twin_rank`: ranks at which the two sides were imputed.
    - `stacked_rank`: the rank chosen for the stacked matrix; 2 more directions are compared.
    - `status`: the worst [`Status`][] code of the imputations.
    """

    twin: SubspaceAlignment
    normal: SubspaceAlignment
    shuffled: SubspaceAlignment
    human_rank: int = eqx.field(static=True)
    twin_rank: int = eqx.field(static=True)
    stacked_rank: int = eqx.field(static=True)
    status: int = eqx.field(static=True, default=int(Status.CONVERGED))


def alignment_of_complete(
    key: PRNGKey,
    human: Numbers,
    twin: Numbers,
    directions: int,
    *,
    space: str = "row",
) -> tuple[SubspaceAlignment, SubspaceAlignment, SubspaceAlignment]:
    """Align twins and two baselines with the humans, for complete matrices. Works under `jit`.

    **Arguments:**

    - `key`: for the two random baselines.
    - `human`, `twin`: (n, m) complete, scaled answers.
    - `directions`: how many leading directions are compared; static.
    - `space`: `"row"` (questions) or `"column"` (users).

    **Returns:** the alignments of the twins, of a standard normal matrix and of the shuffled human
    answers, as in [`Alignment`][].

    **Raises:** `ValueError` for what holds no numbers, unequal shapes, another space or too many
    directions.
    """
    human, twin = as_floats(human=human, twin=twin)
    if human.ndim != 2 or human.shape != twin.shape:
        raise ValueError(f"`twin` must have the shape of `human`, {human.shape}, got {twin.shape}")
    normal_key, shuffle_key = jax.random.split(key)
    normal = jax.random.normal(normal_key, human.shape, human.dtype)
    shuffled = jax.random.permutation(shuffle_key, human, axis=0, independent=True)
    reference = singular_subspace(human, directions, space)

    def against(other: Float[Array, "n m"]) -> SubspaceAlignment:
        return subspace_alignment(reference, singular_subspace(other, directions, space))

    return against(twin), against(normal), against(shuffled)


def alignment(
    key: PRNGKey,
    human: Numbers,
    twin: Numbers,
    *,
    space: str = "row",
    rank: int | None = None,
    candidates: tuple[int, ...] = CANDIDATES,
    min_sd: float = 1.0,
    repeats: int = 1,
) -> Alignment:
    """Align the latent spaces of humans and twins (section 4.2).

    With `min_sd=0` the result does not depend on the units of the answers.

    **Arguments:**

    - `key`: for the hidden entries and the two random baselines.
    - `human`, `twin`: (n, m) answers of the same users to the same questions, NaN where missing.
    - `space`: `"row"` (questions; figures 3 and 4) or `"column"` (users; figures 6 and 7).
    - `rank`: of imputation and comparison. By default chosen as published (`select_rank`), for
      humans, twins and the two stacked over each other separately: each side is imputed at its
      own rank, and as many directions as the stacked rank plus 2 are compared.
    - `candidates`: ranks to choose from.
    - `min_sd`: columns are scaled by their own observed statistics first; those with a smaller
      standard deviation than this are only centred.
    - `repeats`: sets of hidden entries per rank selection.

    **Returns:** an [`Alignment`][]. The chosen ranks fix shapes, so this does not work under `jit`;
    [`alignment_of_complete`][] does.

    **Raises:** `ValueError` for what is no matrix of numbers, infinities, unequal shapes, an
    unknown space, or too large a rank.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.diagnostics import alignment
        >>> panel = sample_panel()
        >>> result = alignment(key=jax.random.key(0), human=panel.human, twin=panel.twin, rank=3)
        >>> print(result.twin.cosine[0] > result.normal.cosine[0])
        True
    """
    human, twin = as_floats(human=human, twin=twin)
    if human.shape != twin.shape:
        raise ValueError(f"`twin` must have the shape of `human`, {human.shape}, got {twin.shape}")
    if space not in ("row", "column"):
        raise ValueError(f"`space` must be 'row' or 'column', got {space!r}")
    (human, human_mask), (twin, twin_mask) = observed("human", human), observed("twin", twin)
    masks = human_mask, twin_mask
    scaled = [
        scaled_columns(x, mask, min_sd=min_sd) for x, mask in zip((human, twin), masks, strict=True)
    ]
    statuses = []
    baseline_key, *rank_keys = jax.random.split(key, 4)
    if rank is None:
        pairs = [
            (scaled[0], masks[0]),
            (scaled[1], masks[1]),
            (jnp.concatenate(scaled), jnp.concatenate(masks)),
        ]
        chosen = [
            _choose(rank_key, x, mask, candidates, repeats=repeats)
            for rank_key, (x, mask) in zip(rank_keys, pairs, strict=True)
        ]
        human_rank, twin_rank, stacked_rank = (int(each.rank) for each in chosen)
        statuses = [int(jnp.max(each.status)) for each in chosen]
    else:
        human_rank = twin_rank = stacked_rank = rank
    complete = [
        _impute(x, mask, each)
        for x, mask, each in zip(scaled, masks, (human_rank, twin_rank), strict=True)
    ]
    statuses += [int(each.status) for each in complete]
    completed = complete[0].value.completed, complete[1].value.completed
    directions = min(stacked_rank + 2, *human.shape)
    versus, normal, shuffled = alignment_of_complete(
        baseline_key, completed[0], completed[1], directions, space=space
    )
    return Alignment(
        twin=versus,
        normal=normal,
        shuffled=shuffled,
        human_rank=human_rank,
        twin_rank=twin_rank,
        stacked_rank=stacked_rank,
        status=max(statuses),
    )
