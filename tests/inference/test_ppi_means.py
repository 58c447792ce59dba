"""Prediction-powered means, shares and differences against closed forms and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.inference import (
    Basis,
    ppi_difference,
    ppi_mean,
    ppi_means,
    ppi_share,
    student_t_quantile,
)
from syndigits_jax.inference.prediction_powered._inputs import check_flag

N, K = 200, 40
RNG = np.random.default_rng(0)
TASTE = RNG.normal(size=N)
FULL = np.round(3 + TASTE + 0.7 * RNG.normal(size=N), 2)
TWIN = 10 - 2 * TASTE + RNG.normal(size=N)
ASKED = np.zeros(N, bool)
ASKED[RNG.permutation(N)[:K]] = True
TRUTH = np.where(ASKED, FULL, np.nan)
WEIGHT = RNG.uniform(0.5, 2.0, size=N)
LEVEL = 0.9


def close(ours, theirs, rtol=2e-4):
    np.testing.assert_allclose(np.asarray(ours, float), theirs, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
def test_t_quantiles_are_those_of_scipy(level):
    df = np.array([1, 1.5, 2, 2.7, 3, 5, 9, 19, 39, 41, 300, 1e7])
    ours = student_t_quantile(level, df)
    np.testing.assert_allclose(ours, scipy.stats.t.ppf((1 + level) / 2, df), rtol=2e-5)


def test_people_alone_are_the_classical_interval():
    found = ppi_mean(TRUTH, TWIN, level=LEVEL, skewness_corrected=False)
    answers = FULL[ASKED]
    error = scipy.stats.sem(answers)
    low, high = scipy.stats.t.interval(LEVEL, K - 1, answers.mean(), error)
    close(found.classical.value, answers.mean())
    close([found.classical.standard_error, found.classical.lower], [error, low])
    close(found.classical.upper, high)
    close(found.people, K)
    # And so is the estimate with a tuning of 0.
    nothing = ppi_mean(TRUTH, TWIN, tuning=0.0, level=LEVEL, skewness_corrected=False)
    close([nothing.lower, nothing.upper], [low, high])
    assert int(nothing.basis) == Basis.PEOPLE and abs(float(nothing.worth)) < 1e-3


@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_a_given_tuning_is_the_published_estimator(lam):
    """PPI (λ = 1) and PPI++: mean of λ f over people not asked, plus the rectifier."""
    twin = 3 + 0.8 * TASTE
    found = ppi_mean(TRUTH, twin, tuning=lam, level=LEVEL)
    rectifier = FULL[ASKED] - lam * twin[ASKED]
    close(found.value, lam * twin[~ASKED].mean() + rectifier.mean())
    square = rectifier.var(ddof=1) / K + lam**2 * twin[~ASKED].var() / (N - K)
    close(found.standard_error, np.sqrt(square), rtol=3e-3)  # N - K against N in one denominator
    close(found.tuning, [lam])


def test_the_power_tuned_estimate_is_the_regression_estimator():
    """With the share of the slope that the F test keeps, and λ = slope · share not asked."""
    found = ppi_mean(TRUTH, TWIN)
    x, y = TWIN[ASKED], FULL[ASKED]
    fit = scipy.stats.linregress(x, y)
    statistic = fit.rvalue**2 / (1 - fit.rvalue**2) * (K - 2)
    slope = fit.slope * (1 - 1 / statistic)
    close(found.value, y.mean() + slope * (TWIN.mean() - x.mean()))
    close(found.tuning, [slope * (1 - K / N)])
    assert int(found.basis) == Basis.TWINS


def test_several_proxies_are_a_penalised_regression():
    """A ridge penalty of one person on standardised proxies, shrunk by 1 - 1/F."""
    proxies = np.stack([TWIN, TASTE + RNG.normal(size=N), TWIN + 0.01 * TASTE], axis=1)
    found = ppi_mean(TRUTH, proxies)
    x, y = proxies[ASKED], FULL[ASKED]
    z = (x - x.mean(0)) / x.std(0)
    slope = np.linalg.solve(z.T @ z / K + np.eye(3) / K, z.T @ (y - y.mean()) / K)
    explained = 1 - np.mean((y - y.mean() - z @ slope) ** 2) / y.var()
    statistic = explained / 3 / (1 - explained) * (K - 4)
    slope = slope / x.std(0) * (1 - 1 / statistic)
    close(found.value, y.mean() + slope @ (proxies.mean(0) - x.mean(0)), rtol=1e-3)
    assert found.standard_error < 0.9 * found.classical.standard_error


def test_a_finite_population_has_the_correction():
    lam = 0.5
    found = ppi_mean(TRUTH, TWIN, tuning=lam, finite=True)
    rest = FULL[ASKED] - lam / (1 - K / N) * TWIN[ASKED]
    close(found.standard_error, np.sqrt((1 - K / N) * rest.var(ddof=1) / K))
    alone = np.sqrt((1 - K / N) * FULL[ASKED].var(ddof=1) / K)
    close(found.classical.standard_error, alone)
    # Everybody asked: nothing is unknown but the population's own draw.
    everybody = ppi_mean(FULL, TWIN, finite=True)
    close([everybody.value, everybody.standard_error], [FULL.mean(), 0])
    drawn = ppi_mean(FULL, TWIN)
    close([drawn.value, drawn.standard_error], [FULL.mean(), scipy.stats.sem(FULL)])


def test_weights_are_those_of_survey_sampling():
    """Taylor's linearisation; weights 1 and 2 count like one and two people in the value."""
    found = ppi_mean(TRUTH, TWIN, sample_weight=WEIGHT)
    w, y = WEIGHT[ASKED] / WEIGHT[ASKED].sum(), FULL[ASKED]
    mean = w @ y
    close(found.classical.value, mean)
    linear = w * (y - mean)
    close(found.classical.standard_error, np.sqrt(K / (K - 1) * np.sum(linear**2)))
    whole = np.where(np.arange(N) % 3 == 0, 2, 1)
    copied = [np.repeat(a, whole) for a in (TRUTH, TWIN)]
    close(
        ppi_mean(TRUTH, TWIN, tuning=-0.2, sample_weight=whole).value,
        ppi_mean(*copied, tuning=-0.2).value,
    )
    # People of weight 0 do not exist.
    weight = np.where(np.arange(N) < 150, 1.0, 0.0)
    left = ppi_mean(TRUTH, TWIN, sample_weight=weight)
    usual = ppi_mean(TRUTH[:150], TWIN[:150])
    for name in ("value", "standard_error", "lower", "upper"):
        close(getattr(left, name), getattr(usual, name))


def test_answers_of_one_person_err_together():
    """A person whose row is repeated five times is one person."""
    person = np.repeat(np.arange(N), 5)
    once, five = ppi_mean(TRUTH, TWIN), ppi_mean(TRUTH[person], TWIN[person], clusters=person)
    for ours, theirs in zip(jax.tree.leaves(five), jax.tree.leaves(once), strict=True):
        close(ours, theirs, rtol=2e-3)
    # By name, and with a closed form: sums of deviations by person.
    noisy = np.repeat(TRUTH, 5) + RNG.normal(size=5 * N)
    found = ppi_mean(noisy, TWIN[person], clusters=[f"p{i}" for i in person])
    y = noisy.reshape(N, 5)[ASKED]
    sums = (y - y.mean()).sum(axis=1) / y.size
    close(found.classical.standard_error, np.sqrt(K / (K - 1) * np.sum(sums**2)))


def test_strata_are_means_of_their_own():
    stratum = np.where(TASTE > 0.5, "high", np.where(TASTE > -0.5, "middle", "low"))
    found = ppi_mean(TRUTH, TWIN, strata=stratum)
    value = square = 0.0
    for name in ("high", "low", "middle"):
        inside = stratum == name
        one = ppi_mean(TRUTH[inside], TWIN[inside])
        value += inside.mean() * float(one.value)
        square += (inside.mean() * float(one.standard_error)) ** 2
    close([found.value, found.standard_error], [value, np.sqrt(square)], rtol=1e-3)
    assert found.tuning.shape == (3, 1)


def test_differences_are_those_of_welch():
    group = np.where(np.arange(N) % 2 == 0, "a", "b")
    found = ppi_difference(TRUTH, TWIN, group, tuning=0.0, level=LEVEL, skewness_corrected=False)
    a, b = FULL[ASKED & (group == "a")], FULL[ASKED & (group == "b")]
    welch = scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(LEVEL)
    close(found.value, b.mean() - a.mean(), rtol=1e-3)
    close([found.lower, found.upper], welch, rtol=2e-3)
    tuned = ppi_difference(TRUTH, TWIN, group)
    parts = [ppi_mean(TRUTH[group == name], TWIN[group == name]) for name in "ab"]
    close(tuned.value, parts[1].value - parts[0].value, rtol=1e-3)
    close(tuned.standard_error, np.hypot(*(float(p.standard_error) for p in parts)))


def test_both_arms_of_one_person_err_together():
    """Paired arms: the interval of the mean of the differences."""
    person, arm = np.tile(np.arange(N), 2), np.repeat([0, 1], N)
    truth = np.concatenate([TRUTH, TRUTH + 1 + 0.1 * RNG.normal(size=N)])
    found = ppi_difference(truth, np.tile(TWIN, 2), arm, clusters=person, tuning=0.0)
    change = (truth[N:] - truth[:N])[ASKED]
    close([found.value, found.standard_error], [change.mean(), scipy.stats.sem(change)], rtol=1e-3)


@pytest.mark.parametrize("yes", [0, 1, 13, 40])
def test_shares_have_wilsons_interval(yes):
    answers = np.where(ASKED, 0.0, np.nan)
    answers[np.flatnonzero(ASKED)[:yes]] = 1
    found = ppi_share(answers, TWIN, tuning=0.0, level=LEVEL)
    p, t2 = yes / K, scipy.stats.t.ppf((1 + LEVEL) / 2, K - 1) ** 2 / K
    half = np.sqrt(t2) * np.sqrt(p * (1 - p) + t2 / 4) / (1 + t2)
    centre = (p + t2 / 2) / (1 + t2)
    close([found.lower, found.upper], [centre - half, centre + half], rtol=1e-3)
    assert (int(found.basis) == Basis.ALIKE) == (yes in (0, 40))


def test_a_table_of_questions_is_each_of_them():
    truth = np.stack([TRUTH, np.where(ASKED, TASTE, np.nan), np.full(N, np.nan)], axis=1)
    truth[np.flatnonzero(ASKED)[:10], 1] = np.nan
    proxies = np.stack([TWIN, FULL, TWIN], axis=1)
    table = ppi_means(truth, proxies, batch_size=2)
    for j in range(2):
        one = ppi_mean(truth[:, j], proxies[:, j])
        for name in ("value", "standard_error", "lower", "upper", "people", "worth"):
            close(getattr(table, name)[j], getattr(one, name), rtol=1e-3)
    assert int(table.basis[2]) == Basis.TOO_FEW and np.isnan(table.lower[2])
    mapped = jax.jit(jax.vmap(lambda y, x: ppi_mean(y, x)))(truth[:, :2].T, proxies[:, :2].T)
    close(mapped.upper, table.upper[:2])


def test_gradients_are_finite():
    """Also where the proxies are useless, constant, or perfect."""
    for proxy in (TWIN, np.ones(N), FULL, RNG.normal(size=N)):

        def width(y, x):
            return ppi_mean(jnp.where(ASKED, y, jnp.nan), x).half_width

        slopes = jax.grad(width, argnums=(0, 1))(jnp.asarray(FULL), jnp.asarray(proxy))
        assert all(np.isfinite(slope).all() for slope in slopes)


@given(
    unit=st.sampled_from([1e-3, 1.0, 1e4]),
    move=st.sampled_from([0.0, 50.0]),
    twin_unit=st.sampled_from([-1e3, 1e-3, 7.0]),
)
def test_units_and_origins(unit, move, twin_unit):
    """The interval follows the answers; the unit and the sign of the twins do not matter."""
    usual = ppi_mean(TRUTH, TWIN)
    moved = ppi_mean(unit * TRUTH + move, twin_unit * (TWIN + move))
    for name in ("value", "lower", "upper"):
        ours, theirs = float(getattr(moved, name)), float(getattr(usual, name))
        assert abs(ours - (unit * theirs + move)) < 1e-4 * (unit + abs(move))


def test_proxies_that_cannot_help_leave_the_classical_interval():
    """Constant, missing for everybody asked, or useless in these data: people alone, and said."""
    missing = np.where(ASKED, np.nan, TWIN)
    residual = TASTE - np.polyval(np.polyfit(FULL[ASKED], TASTE[ASKED], 1), FULL)
    for proxy in (np.full(N, 2.1), missing, np.full(N, np.nan), residual):
        found = ppi_mean(TRUTH, proxy)
        assert int(found.basis) == Basis.PEOPLE and float(found.tuning[0]) == 0
        for name in ("value", "lower", "upper"):
            close(getattr(found, name), getattr(found.classical, name), rtol=1e-5)
    several = np.stack([np.full(N, 2.1), TWIN], axis=1)
    assert ppi_mean(TRUTH, several).worth > 10


def test_people_asked_who_alone_have_a_proxy_are_on_their_own():
    found = ppi_mean(TRUTH, np.where(ASKED, TWIN, np.nan))
    close(found.value, found.classical.value, rtol=1e-5)
    assert abs(float(found.half_width / found.classical.half_width) - 1) < 0.1


@pytest.mark.parametrize("finite", [False, True])
def test_intervals_hold_where_proxies_are_missing(finite):
    """For most of the people who were not asked, or for half of everybody."""
    repeats, size, n = 1500, 200, 40
    keys = jax.random.split(jax.random.key(5), 3)
    y, noise, chance = (jax.random.normal(k, (repeats, size)) for k in keys)
    asked = jnp.arange(size) < n
    truth = jnp.where(asked, y, jnp.nan)
    target = jnp.mean(y, axis=1) if finite else 0
    run = jax.jit(jax.vmap(lambda *a: ppi_mean(*a, level=LEVEL, finite=finite)))
    for lacks in ((chance > -1) & ~asked[None], chance > 0):
        found = run(truth, jnp.where(lacks, jnp.nan, y + 0.3 * noise))
        covers = float(np.mean((found.lower <= target) & (found.upper >= target)))
        assert covers > LEVEL - 3.5 * np.sqrt(LEVEL * (1 - LEVEL) / repeats)
        assert jnp.mean(found.half_width) < jnp.mean(found.classical.half_width)


def test_weights_that_one_person_dominates_leave_few_degrees_of_freedom():
    weight = np.where(np.arange(N) == int(np.flatnonzero(ASKED)[0]), 1e4, 1.0)
    usual, found = (ppi_mean(TRUTH, TWIN, sample_weight=w) for w in (np.ones(N), weight))
    assert found.classical.half_width > 5 * found.classical.standard_error
    assert usual.classical.half_width < 3 * usual.classical.standard_error


@pytest.mark.parametrize("unit", [1e38, 1e-30])
def test_the_unit_of_weights_does_not_matter(unit):
    usual = ppi_mean(TRUTH, TWIN, sample_weight=WEIGHT)
    found = ppi_mean(TRUTH, TWIN, sample_weight=np.float32(unit) * WEIGHT / WEIGHT.max())
    for name in ("value", "lower", "upper"):
        close(getattr(found, name), getattr(usual, name), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e25, 1e-25])
def test_answers_and_proxies_of_extreme_units(unit):
    usual = ppi_mean(TRUTH, TWIN)
    for found, scale in (
        (ppi_mean(TRUTH * unit, TWIN * unit), unit),
        (ppi_mean(TRUTH, TWIN / unit), 1.0),
    ):
        for name in ("value", "lower", "upper"):
            close(getattr(found, name) / scale, getattr(usual, name), rtol=1e-4)
        assert abs(float(found.worth / usual.worth) - 1) < 1e-2


def test_a_finite_population_that_was_asked_as_a_whole_is_certain():
    found = ppi_mean(FULL, TWIN, finite=True)
    assert found.lower == found.value == found.upper
    share = ppi_share((FULL > 2).astype(float), TWIN, finite=True)
    assert share.lower == share.value == share.upper


def test_people_who_all_agree_say_nothing_of_their_spread():
    found = ppi_mean(np.where(ASKED, 4.0, np.nan), TWIN)
    assert int(found.basis) == Basis.ALIKE and float(found.value) == 4
    assert np.isneginf(found.lower) and np.isposinf(found.upper)


ONE = np.where(np.arange(N) == 3, 1.0, np.nan)
TWO = np.where(np.arange(N) < 2, 1.0, np.nan)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ppi_mean(np.full(N, np.nan), TWIN), "`truth`: 0 people have an answer"),
        (lambda: ppi_mean(ONE, TWIN), "`truth`: 1 person has an answer"),
        (lambda: ppi_mean(TRUTH, TWIN, sample_weight=np.zeros(N)), "`sample_weight` is zero"),
        (lambda: ppi_mean(TRUTH, TWIN, sample_weight=-WEIGHT), "`sample_weight` must not be neg"),
        (lambda: ppi_mean(TRUTH, TWIN, sample_weight=WEIGHT[:3]), "`sample_weight` must have"),
        (lambda: ppi_mean(TRUTH, TWIN[ASKED]), "`proxies` must have shape"),
        (lambda: ppi_mean(TRUTH[:, None], TWIN), "`truth` must have shape"),
        (lambda: ppi_mean(TRUTH, TWIN / np.where(TASTE > 0, 1, 0.0)), "`proxies` holds infinity"),
        (lambda: ppi_mean(TRUTH, TWIN, level=95), "`level` must be"),
        (lambda: ppi_mean(TRUTH, TWIN, tuning=[1, 2]), "`tuning` must be"),
        (lambda: ppi_mean(TRUTH, TWIN, clusters=np.zeros(N)), "`truth`: 1 cluster has"),
        (lambda: ppi_mean(TRUTH, TWIN, clusters=[1, 2]), "`clusters` must have shape"),
        (lambda: ppi_mean(TWO, TWIN, strata=np.arange(N) % 2), "`truth`: 1 person .* in stratum 1"),
        (lambda: ppi_difference(TWO, TWIN, np.arange(N) % 2), "`truth`: 1 person .* in group 1"),
        (lambda: ppi_difference(TRUTH, TWIN, np.arange(N) % 3), "`group` must have labels of two"),
        (lambda: ppi_share(TRUTH, TWIN), "`truth` must be 0 or 1"),
        (lambda: ppi_mean(None, TWIN), "`truth` must hold numbers"),
        (lambda: ppi_mean(TRUTH, np.empty((N, 0))), "`proxies` has no column"),
        (lambda: check_flag("finite", "no"), "`finite` must be True or False"),
        (lambda: check_flag("skewness_corrected", 1), "`skewness_corrected` must be True or False"),
        (lambda: ppi_mean(TRUTH, TWIN, tuning=np.nan), "`tuning` must be a moderate"),
        (lambda: ppi_mean(TRUTH, TWIN, strata=np.arange(N) % 2, n_strata=3), "`n_strata` is 3"),
        (lambda: ppi_mean(TRUTH, TWIN, strata=["a", None] * (N // 2)), "`strata` is missing for"),
        (lambda: ppi_means(TRUTH, TWIN), r"`truth` must be \(n, q\)"),
    ],
)
def test_bad_input_is_named(call, words):
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("kind", ["good", "useless", "adversarial"])
def test_coverage_is_that_of_people_alone_and_the_width_at_most(kind):
    """Superpopulation of 1,000 with n = 20 and 100; 4,000 repeats; within Monte-Carlo error."""
    repeats, size = 4000, 300
    keys = jax.random.split(jax.random.key(0), 3)
    y, noise = (jax.random.normal(k, (repeats, size)) for k in keys[:2])
    twin = {"good": y + 0.5 * noise, "useless": noise, "adversarial": 0.5 * noise - 2 * y}[kind]
    run = jax.jit(jax.vmap(lambda truth, x: ppi_mean(truth, x, level=LEVEL)))
    for n in (20, 100):
        found = run(jnp.where(jnp.arange(size) < n, y, jnp.nan), twin)
        covers = [float(np.mean((f.lower <= 0) & (f.upper >= 0))) for f in (found, found.classical)]
        error = np.sqrt(LEVEL * (1 - LEVEL) / repeats)
        assert covers[0] > min(covers[1], LEVEL) - 3 * error
        if n == 100:
            assert abs(covers[0] - LEVEL) < 3.5 * error
        wide = float(jnp.mean(found.half_width) / jnp.mean(found.classical.half_width))
        limit = 1 + 1 / n if kind == "useless" else {20: 0.8, 100: 0.75}[n]
        assert wide < limit


@pytest.mark.skipif(bool(jax.config.read("jax_enable_x64")), reason="double precision holds them")
def test_answers_that_single_precision_makes_equal_are_refused():
    with pytest.raises(ValueError, match="`truth` lie so far from 0"):
        ppi_mean(1e12 + TRUTH, TWIN)
