"""The linear map from weights to predicted distributions, dense or in blocks."""

from typing import Any, Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers
from ..solvers.devices import as_mesh, by_rows, copied, devices_in
from ..solvers.precision import full_precision
from .answers import MISSING, Answers

Variant = Literal["both", "personas", "dummies"]
VARIANTS: tuple[Variant, ...] = ("both", "personas", "dummies")

_DENSE_BYTES = 1 << 29
"""Above this size the twins' distributions are not held as a matrix."""


class DenseDesign(eqx.Module):
    """The twins' distributions as a matrix, without the cells that no twin ever chose.

    - `matrix`: (n, c) probabilities of the c cells (question, option) that some twin chooses.
    - `column`: (m, K) the cell's column, c where there is none.
    - `dummies`: (m, d, K) distributions of the d dummies. With a mesh d may exceed K: dummies that
      pad the last device answer nothing.
    - `mesh`: devices over whose first axis the rows and the weights are spread; static.
    """

    matrix: Float[Array, "n c"]
    column: Int[Array, "m K"]
    dummies: Float[Array, "m d K"]
    mesh: Mesh | None = eqx.field(static=True, default=None)

    @full_precision
    def mix(self, weights: Float[Array, " w"]) -> Float[Array, "m K"]:
        """(n + K,) weights to the (m, K) distributions that they mix."""
        n = self.matrix.shape[0]
        cells = jnp.append(weights[:n] @ self.matrix, jnp.zeros((), weights.dtype))
        return cells[self.column] + jnp.tensordot(weights[n:], self.dummies, (0, 1))


class BlockedDesign(eqx.Module):
    """The twins' answers as they are stored; products go over them in blocks.

    With a `mesh` every device goes over the blocks of its own twins, and the mixtures are summed.
    """

    answers: Answers
    dummies: Float[Array, "m d K"]
    mesh: Mesh | None = eqx.field(static=True, default=None)

    @full_precision
    def mix(self, weights: Float[Array, " w"]) -> Float[Array, "m K"]:
        """(n + K,) weights to the (m, K) distributions that they mix."""
        n = self.answers.n
        mixed = _mix(self, weights[:n])
        return mixed + jnp.tensordot(weights[n:], self.dummies, (0, 1))

    def score(self, gradient: Float[Array, "m K"]) -> Float[Array, " n"]:
        """The slope in the weight of every twin, padding included: see [`Answers.score`][]."""
        if self.mesh is None:
            return self.answers.score(gradient)
        axis = self.mesh.axis_names[0]
        return jax.shard_map(
            lambda answers, gradient: answers.score(gradient),
            mesh=self.mesh,
            in_specs=(_specs(self.answers, axis), PartitionSpec()),
            out_specs=PartitionSpec(axis),
            check_vma=False,
        )(self.answers, gradient)


Design = DenseDesign | BlockedDesign


def rows_of(design: Design) -> int:
    """Twins of a design, padding included."""
    return design.matrix.shape[0] if isinstance(design, DenseDesign) else design.answers.n


def spread(design: Design, weights: Array) -> Array:
    """`weights`, over twins and dummies, laid out over the design's devices if it has several."""
    if design.mesh is None:
        return weights
    return jax.lax.with_sharding_constraint(weights, by_rows(design.mesh))


def _specs(answers: Answers, axis: str) -> Answers:
    """How each array of the answers is laid out: spread by twins, or copied to every device."""
    rows, everywhere = PartitionSpec(axis), PartitionSpec()
    fields: list[Any] = [
        None if stored is None else rows for stored in (answers.codes, answers.probabilities)
    ]
    return Answers(fields[0], fields[1], cast(Any, everywhere))


@jax.custom_vjp
def _mix(design: BlockedDesign, weights: Array) -> Array:
    """`answers.mix`, with a transpose that reads the answers again instead of storing blocks."""
    if design.mesh is None:
        return design.answers.mix(weights)
    axis = design.mesh.axis_names[0]
    return jax.shard_map(
        lambda answers, weights: jax.lax.psum(answers.mix(weights), axis),
        mesh=design.mesh,
        in_specs=(_specs(design.answers, axis), PartitionSpec(axis)),
        out_specs=PartitionSpec(),
        check_vma=False,
    )(design.answers, weights)


def _mix_forward(design: BlockedDesign, weights: Array) -> tuple[Array, BlockedDesign]:
    return _mix(design, weights), design


def _mix_backward(design: BlockedDesign, gradient: Array) -> tuple[None, Array]:
    return None, design.score(gradient)


_mix.defvjp(_mix_forward, _mix_backward)


def make_design(answers: Answers, options: Numbers, mesh: Mesh | None = None) -> Design:
    """A dense design if the twins' distributions fit in memory, else a blocked one.

    Call it outside `jit`. A twin that chose an option left out counts as missing, and a dummy twin
    that stands for one spreads evenly over the rest.

    **Arguments:** `answers`: of n twins to m questions; `options`: (m, K) or (K,), true for the
    options to take in; `mesh`: devices over whose first axis the twins are spread, padded with
    twins that answer nothing. The limit of the dense form, 512 MiB, is then that of one device.

    **Raises:** `ValueError` for a mask of another shape, or a question without options.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.distribution import Answers, make_design
        >>> design = make_design(Answers.from_choices([[0, 1], [1, 1]], 2), [True, True])
        >>> print(design.mix(jnp.asarray([0.75, 0.25, 0.0, 0.0])).round(2))  # 2 twins, 2 dummies
        [[0.75 0.25]
         [0.   1.  ]]
    """
    mesh = as_mesh(mesh)
    devices = devices_in(mesh)
    if answers.n * answers.m * answers.n_options * 4 > devices * _DENSE_BYTES:
        return blocked_design(answers, options, mesh)
    answers = answers.restricted(options)
    dummies = _dummies(answers)
    matrix = np.asarray(answers.dense())
    used = matrix.any(axis=0)
    column = np.where(used, np.cumsum(used) - 1, used.sum()).reshape(answers.m, answers.n_options)
    cells, column = matrix[:, used], jnp.asarray(column, jnp.int32)
    if mesh is None:
        return DenseDesign(jnp.asarray(cells), column, dummies)
    rows, everywhere = by_rows(mesh), copied(mesh)
    return DenseDesign(
        jax.device_put(np.pad(cells, ((0, -answers.n % devices), (0, 0))), rows),
        jax.device_put(column, everywhere),
        jax.device_put(_filled(dummies, devices), everywhere),
        mesh,
    )


def blocked_design(answers: Answers, options: Numbers, mesh: Mesh | None = None) -> BlockedDesign:
    """The answers as they are stored; arguments and errors as in [`make_design`][]."""
    mesh = as_mesh(mesh)
    answers = answers.restricted(options)
    dummies = _dummies(answers)
    if mesh is None:
        return BlockedDesign(answers, dummies)
    rows, everywhere = by_rows(mesh), copied(mesh)
    devices = devices_in(mesh)
    padding = (0, -answers.n % devices)
    codes, probabilities = answers.codes, answers.probabilities
    if codes is not None:
        codes = np.pad(np.asarray(codes), (padding, (0, 0)), constant_values=MISSING)
        codes = jax.device_put(codes, rows)
    if probabilities is not None:
        probabilities = np.pad(np.asarray(probabilities), (padding, (0, 0), (0, 0)))
        probabilities = jax.device_put(probabilities, rows)
    return BlockedDesign(
        Answers(codes, probabilities, jax.device_put(answers.fallback, everywhere)),
        jax.device_put(_filled(dummies, devices), everywhere),
        mesh,
    )


def _filled(dummies: Array, devices: int) -> Array:
    return jnp.pad(dummies, ((0, 0), (0, -dummies.shape[1] % devices), (0, 0)))


def _dummies(answers: Answers) -> Float[Array, "m K K"]:
    keep = np.asarray(answers.options)
    identity = np.broadcast_to(np.eye(keep.shape[1]), (*keep.shape, keep.shape[1]))
    evenly = keep / keep.sum(axis=1, keepdims=True)
    rows = np.where(keep[:, :, None], identity, evenly[:, None, :])
    return jnp.asarray(rows, jnp.result_type(float))


def support_in(variant: str, n: int, n_options: int, design: Design) -> Bool[Array, " w"]:
    """[`support_of`][] in the layout of a design, false for its padding.

    **Arguments:** `variant`, `n`, `n_options`: as in [`support_of`][]; `design`: of the n twins.
    """
    support = support_of(variant, n, n_options, rows_of(design))
    support = jnp.pad(support, (0, design.dummies.shape[1] - n_options))
    return support if design.mesh is None else jax.device_put(support, by_rows(design.mesh))


def personas_of(weights: Float[Array, " w"], n: int, design: Design) -> Float[Array, " n"]:
    """The weights of the n twins: still spread if the devices divide n, else on every device."""
    if design.mesh is None:
        return weights[:n]
    layout = by_rows(design.mesh) if rows_of(design) == n else copied(design.mesh)
    return jax.jit(lambda w: w[:n], out_shardings=layout)(weights)


def support_of(variant: str, n: int, n_options: int, rows: int | None = None) -> Bool[Array, " w"]:
    """Which weights a variant may use: a mask over twins, then dummies.

    **Arguments:** `variant`: one of `VARIANTS`; `n`: twins; `n_options`: K, the number of dummies;
    `rows`: twins of the design, padding included, n by default.

    **Raises:** `ValueError` for another variant.

    **Example:**

        >>> from syndigits_jax.distribution import support_of
        >>> print(support_of("personas", 3, 2))  # 3 twins, then 2 dummies
        [ True  True  True False False]
    """
    if variant not in VARIANTS:
        raise ValueError(f"`variant` must be one of {VARIANTS}, got {variant!r}")
    place = np.arange((n if rows is None else rows) + n_options)
    persona, dummy = place < n, place >= (n if rows is None else rows)
    chosen = {"both": persona | dummy, "personas": persona, "dummies": dummy}[variant]
    return jnp.asarray(chosen)
