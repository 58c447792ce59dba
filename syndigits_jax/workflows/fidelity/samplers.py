"""Settings of the comparison with real users, and the baselines that are compared with them."""

import dataclasses

import jax
from jaxtyping import Array, Float

from syndigits_jax.fidelity import (
    dirichlet_interpolation,
    fit_gaussian_mixture,
    prototype_perturbation,
)
from syndigits_jax.solvers.keys import PRNGKey

SAMPLERS = (
    "dirichlet", "prototype_perturbation", "gaussian_mixture_diagonal", "gaussian_mixture_full",
)  # fmt: skip
"""The baselines of section 4 that are neither floor nor ceiling."""
_FIT_USERS = 5000  # the most users to which a Gaussian mixture is fitted


@dataclasses.dataclass(frozen=True)
class PanelSettings:
    """Settings of metrics, resamples and baselines.

    - `size`: the most real users and personas per resample; at most half of the users are used.
    - `resamples`, `replicates`, `k`, `projections`, `permutations`: as in `real_users`.
    - `components`: of the Gaussian mixtures; at most one per ten users.
    - `anchors`, `concentration`: of Dirichlet interpolation; `sigma`: of prototype perturbation.
    - `samplers`: the baselines that are drawn, some of `SAMPLERS`.
    - `held_in_limit`: the most users for which held-in coverage is computed; its cost grows with
      the square of their number.
    - `triplets`: of rank accuracy; `paired_replicates`: of the paired metrics' bootstrap.
    """

    size: int = 500
    resamples: int = 5
    replicates: int = 200
    k: int = 5
    projections: int = 500
    permutations: int = 500
    components: int = 16
    anchors: int = 3
    concentration: float = 1.0
    sigma: float = 0.01
    samplers: tuple[str, ...] = SAMPLERS
    held_in_limit: int = 50_000
    triplets: int = 10_000
    paired_replicates: int = 1000

    def __post_init__(self):
        if not set(self.samplers) <= set(SAMPLERS):
            raise ValueError(f"`samplers` must be some of {SAMPLERS}, got {self.samplers!r}")
        for field in dataclasses.fields(self):
            if field.name != "samplers" and not getattr(self, field.name) > 0:
                raise ValueError(
                    f"`{field.name}` must be positive, got {getattr(self, field.name)}"
                )


def baselines(
    key: PRNGKey,
    real: Float[Array, "n d"],
    prototypes: Float[Array, "p d"],
    count: int,
    settings: PanelSettings,
) -> dict[str, Float[Array, "count d"]]:
    """Draws from the samplers of section 4 that are neither floor nor ceiling, by name.

    **Arguments:** `key`: for fits and draws; `real`: (n, d) embeddings of real users; `prototypes`:
    (p, d) of the encoder; `count`: number of draws from each; `settings`: of the samplers.
    """
    keys = jax.random.split(key, 7)
    found: dict[str, Float[Array, "count d"]] = {}
    if "dirichlet" in settings.samplers:
        found["dirichlet"] = dirichlet_interpolation(
            keys[1], real, count, anchors=min(settings.anchors, len(real)),
            concentration=settings.concentration,
        )  # fmt: skip
    if "prototype_perturbation" in settings.samplers:
        found["prototype_perturbation"] = prototype_perturbation(
            keys[2], prototypes, count, sigma=settings.sigma, concentration=settings.concentration
        )
    fitted = real
    if len(real) > _FIT_USERS:
        fitted = real[jax.random.choice(keys[0], len(real), (_FIT_USERS,), replace=False)]
    components = max(1, min(settings.components, len(fitted) // 10))
    for position, covariance in enumerate(("diagonal", "full")):
        name = f"gaussian_mixture_{covariance}"
        if name in settings.samplers:
            fit = _fit_mixture(
                keys[3 + position], fitted, components=components, covariance=covariance
            )
            found[name] = fit.value.sample(keys[5 + position], count)
    return found


_fit_mixture = jax.jit(fit_gaussian_mixture, static_argnames=("components", "covariance"))
