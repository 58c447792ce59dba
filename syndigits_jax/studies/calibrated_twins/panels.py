"""Placing populations by one procedure, and measuring them against the real users among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from syndigits_jax.fidelity import (
    PairedPanel,
    fidelity_panel,
    fidelity_reference,
    held_in_coverage,
    paired_distance,
    paired_panel,
    real_bootstrap,
    reference_panel,
)
from syndigits_jax.preferences import Placement, place_newton, place_ssr
from syndigits_jax.preferences.encoder import PRNGKey, ScoreGram, gram_scores
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
    "ssr": jax.jit(place_ssr, static_argnames=("gap", "steps", "learning_rate", "batch_size")),
    "newton": jax.jit(place_newton, static_argnames=("gap",)),
}


@dataclass(frozen=True)
class Rule:
    """Which two answers make a pair: `gap` apart in units of the population's SD, or in ranks."""

    gap: float
    unit: str = "sd"

    def place(self, key: PRNGKey, gram: ScoreGram, answers: np.ndarray, method: str) -> Placement:
        """All who answered; SSR starts anywhere, Newton's method where the pairs fit best."""
        values = standardised(answers) if self.unit == "sd" else ranked(answers)
        start = {"key": key} if method == "ssr" else {}
        return _PLACERS[method](gram, to_device(values), gap=self.gap, **start)


def place_all(
    key: PRNGKey, gram: ScoreGram, answers: Answers, method: str, rule: Rule
) -> dict[str, Placement]:
    """Every population placed, each from starts of its own: shared ones would make them alike."""
    return {
        name: rule.place(jax.random.fold_in(key, number), gram, values, method)
        for number, (name, values) in enumerate(answers.items())
    }


def users(placed: Placement) -> Users:
    """Those with a pair of answers are there."""
    return Users(placed.w, placed.embedding, ~np.asarray(placed.constant))


def placement_rows(placed: Placement, answers: Float[np.ndarray, "n m"]) -> list[dict]:
    """Share of a user's pairs that counted, and how well they were explained (log 2 is chance)."""
    count = np.sum(~np.isnan(answers), axis=1)
    there = ~np.asarray(placed.constant)
    values = {
        "pair_share": np.asarray(placed.pairs, float) / np.maximum(count * (count - 1) / 2, 1),
        "placement_loss": np.asarray(placed.loss, float)[there],
        "placement_gradient_norm": np.asarray(placed.gradient_norm, float)[there],
    }
    return [mean_row(metric, each) for metric, each in values.items() if len(each) > 1]


def spread_rows(real: Float[Array, "n d"], y: Float[Array, "l d"], replicates: int) -> list[dict]:
    """What a Fréchet distance is made of, in units of the real users' total SD.

    `dispersion_ratio`: total SD over the real users'; `mean_shift`: distance of the means. 95%
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
    """The panel of every population against the real users placed as they are.

    Floor (`real`: other real users) and ceilings are made once. `real_bootstrap` repeats real
    users.
    """
    keys = jax.random.split(key, 3)
    real = placed[REAL].population()
    others = {name: group.population() for name, group in placed.items() if name != REAL}
    size = min(settings.size, len(real) // 2)
    count = min(size, *(len(y) for y in others.values()))
    on_part(f"floor and ceilings, {label}")
    reference = fidelity_reference(
        keys[0], real, prototypes=prototypes, size=size, count=count,
        resamples=settings.resamples, replicates=settings.replicates, k=settings.k,
        projections=settings.projections, permutations=settings.permutations,
        temperature=temperature,
    )  # fmt: skip
    records = []
    for name in reference.populations:
        records += panel_records(name, label, label, reference_panel(reference, name).rows())
    others["real_bootstrap"] = real_bootstrap(keys[1], real, len(real))
    for number, (name, y) in enumerate(others.items()):
        on_part(f"{name}, {label}")
        panel = fidelity_panel(jax.random.fold_in(keys[2], number), reference, y)
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
) -> tuple[PairedPanel, PairedColumns]:
    """Paired metrics of personas and the humans they stand for, row by row."""
    rows = np.flatnonzero(seeds.there & people.there)
    mine, theirs = people.embedding[rows], seeds.embedding[rows]
    score = eqx.filter_jit(gram_scores)
    panel = paired_panel(
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
    """Share of each user's pairs of ratings `gap` apart that `scores` put in order; NaN without."""
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
    """Scores of all films."""
    return gram_scores(gram, w)


def halves(key: PRNGKey, m: int) -> Bool[np.ndarray, " m"]:
    """A random half of the films."""
    return np.asarray(jax.random.permutation(key, m)) < m // 2
