"""Repair of twins in preference space, fitted on one half of the people, measured on the other."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.fidelity import (
    control_measures,
    fidelity_measures,
    fit_affine_map,
    fit_transport_map,
    paired_measures,
    real_users,
    resample,
    reweight_kernel,
    reweight_transport,
)
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.studies.calibrated_twins.panels import spread_rows
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

HELD_OUT = "held-out users"
_MOVED = (
    "",
    ", mapped",
    ", transported",
)  # repairs that keep the relation of each persona to its human


def repairs(
    key: PRNGKey,
    x: Float[Array, "n d"],
    y: Float[Array, "n d"],
    others: Float[Array, "l d"],
    *,
    penalty: float = 0.0,
    epsilon: float = 0.01,
) -> dict[str, Float[Array, "..."]]:
    """Repaired populations by the suffix of their repair, fitted to real users and their twins.

    Reweighting resamples the twins of the fit, as many as in `others`; maps move the twins in
    `others`. `, transported (drawn)` moves each of them to a real user of the fit.

    **Arguments:**

    - `key`: for resampling.
    - `x`, `y`: (n, d) real users and their twins, to whom repairs are fitted.
    - `others`: (l, d) the twins to be repaired.
    - `penalty`: of `reweight_kernel`; `epsilon`: of `fit_transport_map`.
    """
    keys = jax.random.split(key, 3)
    weights = jax.jit(reweight_kernel)(x, y, penalty=penalty).value
    move = fit_transport_map(x, y, epsilon=epsilon).value
    return {
        "": others,
        ", reweighted (kernel)": resample(keys[0], y, weights, len(others)),
        ", reweighted (transport)": resample(keys[1], y, reweight_transport(x, y), len(others)),
        ", mapped": fit_affine_map(x, y)(others),
        ", transported": move(others),
        ", transported (drawn)": move.sample(keys[2], others),
    }


def repair_records(
    key: PRNGKey,
    real: Float[Array, "n d"],
    twins: dict[str, Float[Array, "n d"]],
    procedure: str,
    settings: PanelSettings,
    *,
    prototypes: Float[Array, "p d"],
    temperature: float = 1.0,
) -> list[FidelityRecord]:
    """Panels of repaired populations against real users that were not used in the fits.

    People are divided into two random halves; repairs fitted on one are measured on the other, both
    ways, and the results are averaged. The errors of the halves are treated as independent, as no
    person is in both. `real, other half` is the best that a repair could achieve: the users to whom
    it was fitted, measured against the others.

    **Arguments:**

    - `key`: for halves and resampling.
    - `real`: (n, d) real users.
    - `twins`: (n, d) populations by name; row i is the same person in all populations.
    - `procedure`: how all were placed, for records.
    - `settings`: metrics and resamples.
    - `prototypes`: (p, d) of the encoder; `temperature`: of the encoder.
    """
    n = len(real)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, 0), n))
    halves = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    found: dict[tuple[str, str], list[dict]] = {}
    moved: dict[str, list[Array]] = {}
    size = min(settings.size, min(map(len, halves)) // 2)

    def add(name: str, rows: list[dict]) -> None:
        for row in rows:
            found.setdefault((name, row["metric"]), []).append(row)

    for fold, (fit, judge) in enumerate((halves, halves[::-1])):
        fold_key = jax.random.fold_in(key, 1 + fold)
        x, judged = real[fit], real[judge]
        reference = real_users(
            fold_key, judged, prototypes=prototypes, size=size, count=size,
            resamples=settings.resamples, replicates=settings.replicates, k=settings.k,
            projections=settings.projections, permutations=settings.permutations,
            temperature=temperature,
        )  # fmt: skip
        for name in reference.populations:
            add(name, control_measures(reference, name).rows())
        candidates = {"real, other half": x}
        for number, (name, y) in enumerate(twins.items()):
            done = repairs(jax.random.fold_in(fold_key, number), x, y[fit], y[judge])
            for suffix, z in done.items():
                candidates[f"{name}{suffix}"] = z
                if suffix in _MOVED:
                    moved.setdefault(f"{name}{suffix}", []).append(z)
        for number, (name, z) in enumerate(candidates.items()):
            one = jax.random.fold_in(jax.random.fold_in(fold_key, 99), number)
            panel = fidelity_measures(one, reference, z)
            add(name, panel.rows() + spread_rows(judged, z, settings.replicates))
    label = f"{procedure}, {HELD_OUT}"
    records = [
        record
        for (name, _), rows in found.items()
        for record in panel_records(name, label, label, [_average(rows)])
    ]
    seeds = jnp.concatenate([real[halves[1]], real[halves[0]]])
    for name, parts in moved.items():
        panel = paired_measures(
            jax.random.fold_in(key, 3), seeds, jnp.concatenate(parts),
            replicates=settings.paired_replicates,
        )  # fmt: skip
        # The homogeneity is already in the panels.
        rows = [row for row in panel.rows() if row["metric"].startswith("paired")]
        records += panel_records(name, label, label, rows)
    return records


def _average(rows: list[dict]) -> dict:
    """Mean of independent estimates, with an interval from their independent errors."""
    mean = float(np.mean([row["mean"] for row in rows]))
    ends = {}
    for end, sign in (("low", -1), ("high", 1)):
        away = np.array([row[end] - row["mean"] for row in rows])
        ends[end] = mean + sign * float(np.sqrt(np.sum(away**2))) / len(rows)
    return {"metric": rows[0]["metric"], "mean": mean, **ends}
