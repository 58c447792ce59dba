"""What prediction-powered inference returns: an estimate beside that of the people alone."""

import enum

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..conformal import Interval


class Basis(enum.IntEnum):
    """What an interval rests on.

    - `TWINS`: people's answers, and proxies that make it narrower.
    - `PEOPLE`: people's answers alone; the proxies do not help, are constant, or are missing.
    - `ALIKE`: people who all gave the same answer. Their spread is unknown: the interval of a mean
      is infinite; that of a share is Wilson's.
    - `TOO_FEW`: fewer than two people (or clusters of people), where an interval needs two; NaN.
    """

    TWINS = 0
    PEOPLE = 1
    ALIKE = 2
    TOO_FEW = 3

    @property
    def word(self) -> str:
        """As tables show it, such as `too few`."""
        return self.name.lower().replace("_", " ")


class PointEstimate(Interval):
    """An estimate with its standard error, and the ends of its interval."""

    value: Float[Array, "*cells"]
    standard_error: Float[Array, "*cells"]


class Estimate(PointEstimate):
    """A prediction-powered estimate, and the classical one from the same people beside it.

    - `value`, `standard_error`, `lower`, `upper`: the estimate, and its interval.
    - `classical`: the same from people's answers alone.
    - `tuning`: the weight of the twins of people who were not asked, λ of PPI++: 0 uses no twin,
      1 is plain prediction-powered inference. One per proxy, and per stratum or arm where there
      are any.
    - `people`: the number of people asked, or of clusters of answers.
    - `basis`: a [`Basis`][] code.
    """

    classical: PointEstimate
    tuning: Float[Array, "..."]
    people: Float[Array, "*cells"]
    basis: Int[Array, "*cells"]

    @property
    def effective_people(self) -> Float[Array, "*cells"]:
        """How many people, asked alone, would give the same standard error: n · Var₀ / Var."""
        error = jnp.where(self.standard_error > 0, self.standard_error, 1)
        ratio = self.classical.standard_error / error
        same = self.standard_error == self.classical.standard_error
        perfect = (self.standard_error == 0) & ~same
        return jnp.where(perfect, jnp.inf, self.people * jnp.where(same, 1, ratio**2))

    @property
    def worth(self) -> Float[Array, "*cells"]:
        """How many more people the twins were worth; negative where they cost precision."""
        return self.effective_people - self.people

    @property
    def people_saved(self) -> Float[Array, "*cells"]:
        """The share of those people who need not be asked: 1 - n / effective people."""
        return 1 - self.people / self.effective_people
