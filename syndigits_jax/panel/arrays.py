"""Responses as arrays for `jit`: numbers, and a mask that says which of them are real."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Responses(eqx.Module):
    """Responses with missing ones replaced by 0, and the mask that says which are real.

    **Arguments:** `values`: numbers, finite also where missing; `mask`: of the same shape, true
    where observed.
    """

    values: Float[Array, "*shape"]
    mask: Bool[Array, "*shape"]

    @staticmethod
    def from_nan(x: Float[Array, "..."]) -> "Responses":
        """Responses from an array in which NaN is missing."""
        mask = ~jnp.isnan(x)
        return Responses(jnp.where(mask, x, 0), mask)

    @staticmethod
    def complete(values: Float[Array, "..."]) -> "Responses":
        """Responses of which none is missing."""
        return Responses(values, jnp.ones(values.shape, bool))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`."""
        return self.values.shape

    @property
    def dtype(self) -> Any:
        """The floating type of `values`."""
        return self.values.dtype

    @property
    def T(self) -> "Responses":
        """With the axes in reverse order."""
        return Responses(self.values.T, self.mask.T)

    def rows(self, index: Any) -> "Responses":
        """The part at `index` of the first axis; `index` as in NumPy."""
        return Responses(self.values[index], self.mask[index])

    def columns(self, index: Any) -> "Responses":
        """The part at `index` of the second axis; `index` as in NumPy."""
        return Responses(self.values[:, index], self.mask[:, index])

    def only(self, kept: Bool[Array, "..."]) -> "Responses":
        """The same responses, those missing too where `kept` (which broadcasts) is false."""
        return Responses(self.values, self.mask & kept)


class PanelArrays(eqx.Module):
    """The numbers of a panel, for numerical code: `human` and `twin` responses, (n, m) each."""

    human: Responses
    twin: Responses
