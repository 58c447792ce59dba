"""The linear map from weights to predicted distributions, dense or in blocks."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from ..solvers._precision import full_precision
from .answers import Answers

Variant = Literal["both", "personas", "dummies"]
VARIANTS: tuple[Variant, ...] = ("both", "personas", "dummies")

_DENSE_BYTES = 1 << 29
"""Above this size the twins' distributions are not held as a matrix."""


class DenseDesign(eqx.Module):
    """The twins' distributions as a matrix, without the cells that no twin ever chose.

    - `matrix`: (n, c) probabilities of the c cells (question, option) that some twin chooses.
    - `column`: (m, K) the cell's column, c where there is none.
    - `dummies`: (m, K, K) what the dummies answer: dummy, option.
    """

    matrix: Float[Array, "n c"]
    column: Int[Array, "m K"]
    dummies: Float[Array, "m K K"]

    @full_precision
    def mix(self, weights: Float[Array, " w"]) -> Float[Array, "m K"]:
        """(n + K,) weights to the (m, K) distributions that they mix."""
        n = self.matrix.shape[0]
        cells = jnp.append(weights[:n] @ self.matrix, jnp.zeros((), weights.dtype))
        return cells[self.column] + jnp.tensordot(weights[n:], self.dummies, (0, 1))


class BlockedDesign(eqx.Module):
    """The twins' answers as they are stored; products go over them in blocks."""

    answers: Answers
    dummies: Float[Array, "m K K"]

    @full_precision
    def mix(self, weights: Float[Array, " w"]) -> Float[Array, "m K"]:
        """(n + K,) weights to the (m, K) distributions that they mix."""
        n = self.answers.n
        mixed = _mix(self.answers, weights[:n])
        return mixed + jnp.tensordot(weights[n:], self.dummies, (0, 1))


Design = DenseDesign | BlockedDesign


def rows_of(design: Design) -> int:
    """Twins of a design, padding included."""
    return design.matrix.shape[0] if isinstance(design, DenseDesign) else design.answers.n


@jax.custom_vjp
def _mix(answers: Answers, weights: Array) -> Array:
    """`answers.mix`, whose transpose goes over the answers anew instead of keeping every block."""
    return answers.mix(weights)


def _mix_forward(answers: Answers, weights: Array) -> tuple[Array, Answers]:
    return answers.mix(weights), answers


def _mix_backward(answers: Answers, gradient: Array) -> tuple[None, Array]:
    return None, answers.score(gradient)


_mix.defvjp(_mix_forward, _mix_backward)


def make_design(answers: Answers, options: Bool[Array, "m K"], mesh: Mesh | None = None) -> Design:
    """The smaller of the two forms that is still fast; call outside `jit`.

    A dummy twin whose option a question does not have spreads evenly over those it has. With a
    `mesh`, the dense form, its rows spread over the devices of the mesh's first axis and padded
    with twins that answer nothing.
    """
    dummies = _dummies(options)
    if mesh is None and answers.n * answers.m * answers.n_options * 4 > _DENSE_BYTES:
        return BlockedDesign(answers, dummies)
    matrix = np.asarray(answers.dense())
    used = matrix.any(axis=0)
    column = np.where(used, np.cumsum(used) - 1, used.sum()).reshape(answers.m, answers.n_options)
    cells, column = matrix[:, used], jnp.asarray(column, jnp.int32)
    if mesh is None:
        return DenseDesign(jnp.asarray(cells), column, dummies)
    axis = mesh.axis_names[0]
    padding = -answers.n % mesh.shape[axis]
    rows = NamedSharding(mesh, PartitionSpec(axis))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return DenseDesign(
        jax.device_put(np.pad(cells, ((0, padding), (0, 0))), rows),
        jax.device_put(column, everywhere),
        jax.device_put(dummies, everywhere),
    )


def _dummies(options: Bool[Array, "m K"]) -> Float[Array, "m K K"]:
    keep = np.asarray(options)
    identity = np.broadcast_to(np.eye(keep.shape[1]), (*keep.shape, keep.shape[1]))
    evenly = keep / keep.sum(axis=1, keepdims=True)
    rows = np.where(keep[:, :, None], identity, evenly[:, None, :])
    return jnp.asarray(rows, jnp.result_type(float))


def support_of(variant: str, n: int, n_options: int, rows: int | None = None) -> Bool[Array, " w"]:
    """Which weights a variant may use, of a design with `rows` twins, n of them real.

    **Raises:** `ValueError` for another variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
    place = np.arange((n if rows is None else rows) + n_options)
    persona, dummy = place < n, place >= (n if rows is None else rows)
    chosen = {"both": persona | dummy, "personas": persona, "dummies": dummy}[variant]
    return jnp.asarray(chosen)
