"""Placement of populations by one procedure, and their comparison with the real users."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from syndigits_jax.fidelity import (
    PairedMeasures,
    control_measures,
    fidelity_measures,
    held_in_coverage,
    paired_distance,
    paired_measures,
    real_bootstrap,
    real_users,
)
from syndigits_jax.preferences import Placement, place_newton, place_ssr
from syndigits_jax.preferences.encoder import ScoreGram, gram_scores
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.studies.calibrated_twins.data import (
    Answers,
    mean_row,
    ranked,
    standardised,
    to_device,
)
from syndigits_jax.workflows.fidelity.populations import PairedColumns, PanelSettings, Users
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

REAL = "real"
_PLACERS = {
    "ssr": jax.jit(place_ssr, static_argnames=("gap", "batch_size")),
    "newton": jax.jit(place_newton, static_argnames=("gap",)),
}


@dataclass(frozen=True)
class Rule:
    """Which answers form a pair: those at least `gap` apart, in units (`unit`) of the population's
    standard deviation ("sd") or in ranks."""

    gap: float
    unit: str = "sd"

    def place(self, key: PRNGKey, gram: ScoreGram, answers: np.ndarray, method: str) -> Placement:
        """Place all users with a pair of answers.

        **Arguments:** `key`: for random starts (SSR only); `gram`: score forms of the films;
        `answers`: (n, m), NaN where missing; `method`: "ssr" or "newton".
        """
        values = standardised(answers) if self.unit == "sd" else ranked(answers)
        start = {"key": key} if method == "ssr" else {}
        return _PLACERS[method](gram, to_device(values), gap=self.gap, **start)


def place_all(
    key: PRNGKey, gram: ScoreGram, answers: Answers, method: str, rule: Rule
) -> dict[str, Placement]:
    """Place every population, each from different random starts, as common ones would make them
    more similar.

    **Arguments:** `key`: for random starts; `gram`: score forms of the films; `answers`: by
    population; `method`: "ssr" or "newton"; `rule`: which answers form a pair.
    """
    return {
        name: rule.place(jax.random.fold_in(key, number), gram, values, method)
        for number, (name, values) in enumerate(answers.items())
    }


def users(placed: Placement) -> Users:
    """Placed raters, of whom those with a pair of answers are used."""
    return Users(placed.w, placed.embedding, ~np.asarray(placed.constant))


def placement_rows(placed: Placement, answers: Float[np.ndarray, "n m"]) -> list[dict]:
    """Rows of the share of pairs used, and of the placement's loss (log 2 is chance) and gradient
    norm; means over users."""
    count = np.sum(~np.isnan(answers), axis=1)
    there = ~np.asarray(placed.constant)
    values = {
        "pair_share": np.asarray(placed.pairs, float) / np.maximum(count * (count - 1) / 2, 1),
        "placement_loss": np.asarray(placed.loss, float)[there],
        "placement_gradient_norm": np.asarray(placed.gradient_norm, float)[there],
    }
    return [mean_row(metric, each) for metric, each in values.items() if len(each) > 1]


def spread_rows(real: Float[Array, "n d"], y: Float[Array, "l d"], replicates: int) -> list[dict]:
    """The components of a Fréchet distance, in units of the real users' total standard deviation.

    `dispersion_ratio`: the total standard deviation; `mean_shift`: the distance of the means. 95%
    bootstrap intervals over both populations.
    """
    rng = np.random.default_rng(0)
    a, b = np.asarray(real, float), np.asarray(y, float)

    def statistic(a, b):
        spread = [np.sqrt(z.var(axis=0, ddof=1).sum()) for z in (a, b)]
        return spread[1] / spread[0], np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) / spread[0]

    def again(z):
        return z[rng.integers(0, len(z), len(z))]

    draws = np.array([statistic(again(a), again(b)) for _ in range(replicates)])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    names = ("dispersion_ratio", "mean_shift")
    parts = zip(names, statistic(a, b), low, high, strict=True)
    return [
        {"metric": name, "mean": float(mean), "low": float(first), "high": float(last)}
        for name, mean, first, last in parts
    ]


def panels(
    key: PRNGKey,
    placed: Mapping[str, Users],
    prototypes: Float[Array, "p d"],
    label: str,
    settings: PanelSettings,
    on_part: Callable[[str], None],
    *,
    temperature: float = 1.0,
) -> list[FidelityRecord]:
    """The panel of every population against real users placed by the same procedure.

    Floor (`real`: other real users) and ceilings are computed once. `real_bootstrap` consists of
    real users drawn with replacement.

    **Arguments:**

    - `key`: for resampling.
    - `placed`: raters by population, including `real`.
    - `prototypes`: (p, d) of the encoder; `temperature`: of the encoder.
    - `label`: the procedure, as named in records.
    - `settings`: metrics and resamples.
    - `on_part`: called with the comparison that begins.
    """
    keys = jax.random.split(key, 3)
    real = placed[REAL].population()
    others = {name: group.population() for name, group in placed.items() if name != REAL}
    size = min(settings.size, len(real) // 2)
    count = min(size, *(len(y) for y in others.values()))
    on_part(f"floor and ceilings, {label}")
    reference = real_users(
        keys[0], real, prototypes=prototypes, size=size, count=count,
        resamples=settings.resamples, replicates=settings.replicates, k=settings.k,
        projections=settings.projections, permutations=settings.permutations,
        temperature=temperature,
    )  # fmt: skip
    records = []
    for name in reference.populations:
        records += panel_records(name, label, label, control_measures(reference, name).rows())
    others["real_bootstrap"] = real_bootstrap(keys[1], real, len(real))
    for number, (name, y) in enumerate(others.items()):
        on_part(f"{name}, {label}")
        panel = fidelity_measures(jax.random.fold_in(keys[2], number), reference, y)
        rows = panel.rows() + spread_rows(real, y, settings.replicates)
        held_in = held_in_coverage(real, y, settings.k)
        nothing = {"low": np.nan, "high": np.nan}
        rows += [
            {"metric": "held_in_coverage", "mean": float(held_in.coverage), **nothing},
            {"metric": "held_in_coverage_of_real_users", "mean": float(held_in.real), **nothing},
        ]
        records += panel_records(name, label, label, rows)
    return records


def pairs(
    key: PRNGKey,
    gram: ScoreGram,
    seeds: Users,
    people: Users,
    answers: Float[np.ndarray, "n m"],
    settings: PanelSettings,
) -> tuple[PairedMeasures, PairedColumns]:
    """Paired metrics of personas and their humans; row i of both is the same person.

    **Arguments:** `key`: for triplets and the bootstrap; `gram`: score forms of the films; `seeds`:
    the humans; `people`: the personas; `answers`: (n, m) of the personas; `settings`: for
    `triplets` and `paired_replicates`.
    """
    rows = np.flatnonzero(seeds.there & people.there)
    mine, theirs = people.embedding[rows], seeds.embedding[rows]
    score = eqx.filter_jit(gram_scores)
    panel = paired_measures(
        key, theirs, mine, seed_scores=score(gram, seeds.w[rows]),
        persona_scores=score(gram, people.w[rows]), ratings=to_device(answers[rows]),
        triplets=settings.triplets, replicates=settings.paired_replicates,
    )  # fmt: skip
    norms = [np.linalg.norm(np.asarray(z), axis=1) for z in (mine, theirs)]
    columns = PairedColumns(
        np.asarray(paired_distance(theirs, mine)),
        np.asarray(paired_distance(jnp.roll(theirs, 1, axis=0), mine)),
        norms[0] / norms[1],
    )
    return panel, columns


def pair_accuracy(
    scores: Float[np.ndarray, "n m"], human: Float[np.ndarray, "n m"], gap: float
) -> Float[np.ndarray, " n"]:
    """Share of each user's pairs of ratings at least `gap` apart that `scores` order correctly; NaN
    without a pair."""
    out = np.full(len(human), np.nan)
    for i, (s, r) in enumerate(zip(scores, human, strict=True)):
        there = ~np.isnan(r)
        s, r = s[there], r[there]
        apart = r[:, None] - r[None, :] >= gap
        if apart.any():
            out[i] = ((np.sign(s[:, None] - s[None, :]) + 1) / 2)[apart].mean()
    return out


@jax.jit
def all_scores(gram: ScoreGram, w: Float[Array, "n p"]) -> Float[Array, "n m"]:
    """Scores of all films for users with logits `w`."""
    return gram_scores(gram, w)


def halves(key: PRNGKey, m: int) -> Bool[np.ndarray, " m"]:
    """Booleans that mark a random half of `m` films."""
    return np.asarray(jax.random.permutation(key, m)) < m // 2
