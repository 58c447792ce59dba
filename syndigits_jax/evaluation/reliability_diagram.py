"""Whether what is forecast with probability p happens in a share p of cases."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers
from ..solvers.checks import check_count
from ..solvers.units import largest
from .option_forecasts import scored_cells


class Reliability(eqx.Module):
    """A reliability diagram: forecasts in b bins of similar probability.

    - `edges`: (b + 1,) of the bins.
    - `forecast`: (b,) mean probability of the events in each; NaN for an empty bin.
    - `frequency`: (b,) the share of them that happened; `error`: (b,) its standard error, as if
      events were independent.
    - `share`: (b,) the share of all events that are in the bin.
    """

    edges: Float[Array, " edges"]
    forecast: Float[Array, " b"]
    frequency: Float[Array, " b"]
    error: Float[Array, " b"]
    share: Float[Array, " b"]

    @property
    def calibration_error(self) -> Float[Array, ""]:
        """Mean over events of |forecast - frequency| of their bins; NaN without events."""
        gap = jnp.abs(self.forecast - self.frequency)
        total = jnp.sum(jnp.where(self.share > 0, self.share * gap, 0))
        return jnp.where(jnp.sum(self.share) > 0, total, jnp.nan)


def reliability(
    probabilities: Numbers,
    answers: Numbers,
    *,
    events: str | int = "all",
    bins: int = 10,
    by: str = "width",
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Reliability:
    """The reliability diagram of forecasts, all questions and people together.

    **Arguments:**

    - `probabilities`: (..., n, k); `answers`: (..., n) positions of options; `mask`: (..., n), true
      for what counts; `sample_weight`: (n,).
    - `events`: `"all"` takes every option of every forecast for an event of its own, `"top"` the
      most probable option alone (the confidence of classifiers), a number one option.
    - `bins`: how many; `by`: of equal `"width"`, or with about equally many events (`"mass"`).
      An event on an edge belongs to the bin below it.

    **Returns:** a [`Reliability`][].

    **Raises:** `ValueError` for forecasts, answers or weights that do not fit, unknown events or
    `by`, and no bin.

    **Example:**

        >>> from syndigits_jax.evaluation import reliability
        >>> diagram = reliability([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]], [0, 1, 1], bins=2)
        >>> print(diagram.forecast.round(2), diagram.frequency.round(2))
        [0.27 0.73] [0.33 0.67]
    """
    check_count("bins", bins)
    if by not in ("width", "mass"):
        raise ValueError(f"`by` must be 'width' or 'mass', got {by!r}")
    p, y, weight = scored_cells(probabilities, answers, mask=mask, sample_weight=sample_weight)
    size = p.shape[-1]
    hit = jax.nn.one_hot(y, size, dtype=p.dtype)
    if events == "all":
        weight = jnp.broadcast_to(weight[..., None], p.shape)
    elif events == "top":
        top = jnp.argmax(p, axis=-1)[..., None]
        p, hit = jnp.max(p, axis=-1), jnp.take_along_axis(hit, top, axis=-1)[..., 0]
    elif isinstance(events, int) and 0 <= events < size:
        p, hit = p[..., events], hit[..., events]
    else:
        raise ValueError(
            f"`events` must be 'all', 'top' or an option from 0 to {size - 1}, got {events!r}"
        )
    return _binned(p.reshape(-1), hit.reshape(-1), weight.reshape(-1), bins, by)


def _binned(p, hit, weight, bins: int, by: str) -> Reliability:
    edges = jnp.linspace(0, 1, bins + 1, dtype=p.dtype)
    if by == "mass":
        edges = jnp.nanquantile(jnp.where(weight > 0, p, jnp.nan), edges)
    place = jnp.searchsorted(edges[1:-1], p, side="left")
    member = (place[None, :] == jnp.arange(bins, dtype=place.dtype)[:, None]).astype(
        p.dtype
    ) * weight[None, :]
    member = member / largest(weight)  # so that squares of weights are finite
    weight = weight / largest(weight)
    size = jnp.sum(member, axis=1)
    safe = jnp.where(size > 0, size, 1)

    def mean(values):
        return jnp.where(size > 0, member @ values / safe, jnp.nan)

    frequency = mean(hit)
    squares = jnp.sum(member**2, axis=1) / safe**2  # 1 / the effective number of events
    error = jnp.sqrt(jnp.maximum(frequency * (1 - frequency), 0) * squares)
    total = jnp.sum(weight)
    return Reliability(edges, mean(p), frequency, error, size / jnp.where(total > 0, total, 1))


def expected_calibration_error(
    probabilities: Numbers,
    answers: Numbers,
    *,
    events: str | int = "all",
    bins: int = 10,
    by: str = "width",
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Float[Array, ""]:
    """Mean |forecast - frequency| over the events of a [`reliability`][] diagram, 0 is best.

    No proper score: the marginal, the same for everyone, has almost none. Of few events it is too
    large, as frequencies then differ from probabilities by chance. Naeini, Cooper and Hauskrecht
    (2015).

    **Arguments:** `probabilities`, `answers`, `events`, `bins`, `by`, `mask`, `sample_weight`: as
    in [`reliability`][]. **Raises:** as there.

    **Example:**

        >>> from syndigits_jax.evaluation import expected_calibration_error
        >>> forecasts = [[0.9, 0.1], [0.9, 0.1]]
        >>> print(expected_calibration_error(forecasts, [0, 1], events="top").round(2))
        0.4
    """
    diagram = reliability(
        probabilities,
        answers,
        events=events,
        bins=bins,
        by=by,
        mask=mask,
        sample_weight=sample_weight,
    )
    return diagram.calibration_error
