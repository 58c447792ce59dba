"""Errors by group, judged by loops in NumPy, by SciPy and by simulations of known truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.evaluation import group_errors, group_mean_control

KEY = jax.random.key(0)
AT = (np.arange(12) + 0.5) / 12
Q, N = 9, 60
LABELS = np.array(["b", "a", "c", ""])[np.arange(N) % 4]


def drawn(seed=0, bias=0.0, noise=0.25, people=N, questions=Q):
    """Answers on five points, and points and forecasts of them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, size=(questions, people)) / 4
    point = np.clip(truth + bias + noise * rng.normal(size=truth.shape), 0, 1)
    truth[rng.uniform(size=truth.shape) < 0.1] = np.nan
    return truth, point


@pytest.fixture(scope="module")
def found():
    truth, point = drawn()
    rng = np.random.default_rng(1)
    other = np.round(rng.uniform(size=truth.shape) * 4) / 4
    other[0, :3] = np.nan
    weight = rng.uniform(0.2, 3, N)
    within = {"point": 0.02 * rng.uniform(size=truth.shape), "other": np.zeros_like(truth)}
    shares = {
        "point": np.sort(rng.uniform(size=(*truth.shape, 12)), axis=2),
        "other": (other[..., None] <= AT).astype(float),
    }
    shares["point"][4] = np.nan  # a question without listed options
    estimates = {"point": point, "other": other}
    result = group_errors(
        estimates, truth, LABELS.tolist(), key=KEY, within=within, cumulative=shares,
        sample_weight=weight, replicates=50,
    )  # fmt: skip
    return result, estimates, truth, within, shares, weight


def mean_and_noise(values, w):
    """A weighted mean, and its sampling variance from the effective number of people."""
    mean = np.average(values, weights=w)
    m = w.sum() ** 2 / (w**2).sum()
    return mean, np.sum(w**2 * (values - mean) ** 2) / w.sum() ** 2 * m / (m - 1)


def test_every_measure_is_that_of_loops_over_questions_and_groups(found):
    result, estimates, truth, within, shares, weight = found
    assert result.groups == ("a", "b", "c") and result.estimates == ("point", "other")
    used = ~np.isnan(truth) & ~np.isnan(estimates["other"])
    judged = [j for j in range(Q) if j != 4]
    bias, noise, apart, apart_noise = {}, {}, {}, {}
    for e, name in enumerate(estimates):
        for g, label in enumerate(result.groups):
            spread, true_spread, correlation = [], [], []
            for j in range(Q):
                mine = used[j] & (label == LABELS)
                x, y, w = estimates[name][j, mine], truth[j, mine], weight[mine]
                bias[e, g, j], noise[e, g, j] = mean_and_noise(x - y, w)
                c = np.cov(x, y, aweights=w, ddof=0)
                correlation.append(c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]))
                if j == 4:
                    continue
                inner = np.average(within[name][j, mine], weights=w)
                spread.append(np.sqrt(c[0, 0] + inner))
                true_spread.append(np.sqrt(c[1, 1]))
                told = (y[:, None] <= AT).astype(float)
                both = [mean_and_noise(k, w) for k in (shares[name][j, mine] - told).T]
                apart[e, g, j], apart_noise[e, g, j] = np.array(both).T
            want = np.mean([bias[e, g, j] ** 2 - noise[e, g, j] for j in range(Q)])
            np.testing.assert_allclose(result.level.value[e, g], want, rtol=1e-4, atol=1e-6)
            want = np.sum(spread) / np.sum(true_spread)
            np.testing.assert_allclose(result.spread.value[e, g], want, rtol=1e-4)
            want = np.mean(correlation)
            np.testing.assert_allclose(result.correlation.value[e, g], want, atol=1e-4)
            want = np.mean([np.mean(apart[e, g, j] ** 2 - apart_noise[e, g, j]) for j in judged])
            np.testing.assert_allclose(result.distribution.value[e, g], want, rtol=1e-4)
        for p, (g, h) in enumerate(result.pairs):
            want = np.mean([
                (bias[e, g, j] - bias[e, h, j]) ** 2 - noise[e, g, j] - noise[e, h, j]
                for j in range(Q)
            ])  # fmt: skip
            np.testing.assert_allclose(result.gap.value[e, p], want, rtol=1e-3, atol=1e-6)
            want = np.mean([
                (apart[e, g, j] - apart[e, h, j]) ** 2 - apart_noise[e, g, j] - apart_noise[e, h, j]
                for j in judged
            ])  # fmt: skip
            np.testing.assert_allclose(result.distribution_gap.value[e, p], want, rtol=1e-3)
    total = [weight[label == LABELS].sum() for label in result.groups]
    np.testing.assert_allclose(result.share, np.array(total) / sum(total), rtol=1e-5)


def test_points_are_their_own_distribution(found):
    _, estimates, truth, *_, weight = found
    options = {"key": KEY, "sample_weight": weight, "replicates": 50}
    steps = {k: (v[..., None] <= AT).astype(float) for k, v in estimates.items()}
    steps["other"][0, :3] = 0.5  # where there is no estimate, there is nothing to judge
    given = group_errors(estimates, truth, LABELS.tolist(), cumulative=steps, **options)
    plain = group_errors(estimates, truth, LABELS.tolist(), **options)
    np.testing.assert_allclose(plain.distribution.value, given.distribution.value, rtol=1e-5)


def test_people_of_no_group_and_other_units_of_weights_change_nothing(found):
    result, estimates, truth, within, shares, weight = found
    noise = {k: np.where(LABELS == "", 0.7, v) for k, v in estimates.items()}
    again = group_errors(
        noise, truth, LABELS.tolist(), key=KEY, within=within, cumulative=shares,
        sample_weight=4 * weight, replicates=50,
    )  # fmt: skip
    np.testing.assert_allclose(again.level.value, result.level.value, rtol=1e-4)
    np.testing.assert_allclose(again.gap.draws, result.gap.draws, rtol=1e-3, atol=1e-5)


def test_small_groups_do_not_look_worse_because_they_are_small():
    """Twins from the people's own distribution have no error of level or of distribution."""
    rng = np.random.default_rng(3)
    groups = ["small"] * 12 + ["large"] * 200
    level, shape = [], []
    for seed in range(12):
        truth, twin = rng.integers(0, 5, size=(2, 40, 212)) / 4
        found = group_errors({"twin": twin}, truth, groups, key=jax.random.key(seed), replicates=2)
        level.append(found.level.value[0])
        shape.append(found.distribution.value[0])
    for draws in (level, shape):
        error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
        assert np.all(np.abs(np.mean(draws, axis=0)) < 3.5 * error)
        assert np.all(error < 0.002)
    # Without the correction the error of the small group's level were Var / n, far more than that.
    assert 2 * np.var(np.arange(5) / 4) / 12 > 0.02


def test_draws_vary_as_new_people_and_questions_would():
    """Standard errors against those of fresh samples, of which they are a little above."""
    rng = np.random.default_rng(4)
    values, errors = [], []
    groups = ["a"] * 40 + ["b"] * 40
    for seed in range(40):
        shift = 0.1 * rng.normal(size=(30, 1))
        truth = rng.uniform(size=(30, 80))
        twin = truth + shift + 0.1 * rng.normal(size=truth.shape)
        found = group_errors({"twin": twin}, truth, groups, key=jax.random.key(seed), replicates=50)
        values.append(np.asarray(found.level.value[0]))
        errors.append(np.std(np.asarray(found.level.draws[:, 0]), axis=0, ddof=1))
    ratio = np.mean(errors, axis=0) / np.std(values, axis=0, ddof=1)
    assert np.all((ratio > 0.75) & (ratio < 1.6))


def test_blocks_are_resampled_as_a_whole():
    rng = np.random.default_rng(6)
    block = np.repeat(np.arange(6), 5)
    truth = rng.uniform(size=(30, 80))
    twin = truth + 0.15 * rng.normal(size=6)[block][:, None]
    groups = ["a"] * 40 + ["b"] * 40
    alone = group_errors({"twin": twin}, truth, groups, key=KEY, replicates=50)
    together = group_errors(
        {"twin": twin}, truth, groups, key=KEY, blocks=block.tolist(), replicates=50
    )
    np.testing.assert_allclose(together.level.value, alone.level.value, rtol=1e-5)
    ratio = together.level.intervals().standard_error / alone.level.intervals().standard_error
    np.testing.assert_allclose(ratio, np.sqrt(5), rtol=0.4)


def test_group_means_alone_have_not_seen_the_question():
    truth, _ = drawn(2)
    rng = np.random.default_rng(7)
    folds = np.arange(Q) // 3
    before = group_mean_control(truth, LABELS.tolist(), folds=folds.tolist())
    truth[3:6] = rng.uniform(size=(3, N))
    after = group_mean_control(truth, LABELS.tolist(), folds=folds.tolist())
    assert np.array_equal(before[3:6], after[3:6]) and not np.array_equal(before[:3], after[:3])


def test_group_means_alone_are_standardised_means_of_the_others():
    truth, _ = drawn(5)
    weight = np.random.default_rng(8).uniform(0.5, 2, N)
    got = group_mean_control(truth, LABELS.tolist(), sample_weight=weight)
    for j in (0, 4):
        level, spread, z = [], [], []
        for k in range(Q):
            there = ~np.isnan(truth[k])
            if k == j:
                continue
            mean = np.average(truth[k, there], weights=weight[there])
            sd = np.sqrt(np.average((truth[k, there] - mean) ** 2, weights=weight[there]))
            mine = there & (LABELS == "b")
            level.append(mean)
            spread.append(sd)
            z.append((np.average(truth[k, mine], weights=weight[mine]) - mean) / sd)
        want = np.mean(level) + np.mean(spread) * np.mean(z)
        np.testing.assert_allclose(got[j, LABELS == "b"], want, rtol=1e-5)
        np.testing.assert_allclose(got[j, LABELS == ""], np.mean(level), rtol=1e-5)


GOOD = np.linspace(0, 1, 24).reshape(3, 8)
GROUPS = list("aaaabbbb")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimates": {}}, "at least one estimate"),
        ({"truth": GOOD[0]}, "`truth` must be"),
        ({"estimates": {"t": GOOD[:2]}}, "must have shape"),
        ({"within": {"u": GOOD}}, "`within` must have the estimates"),
        ({"cumulative": {"t": GOOD}}, "must have shape"),
        ({"groups": GROUPS[:3]}, "must have 8 labels"),
        ({"groups": ["a"] * 8}, "at least two groups"),
        ({"groups": list("aaaaaaab")}, "'b' has 1 answers"),
        ({"blocks": ["x"] * 3}, "at least two blocks"),
        ({"blocks": ["x"]}, "must name 3 questions"),
        ({"sample_weight": [1.0]}, "`sample_weight` must have shape"),
        ({"sample_weight": [-1.0] * 8}, "must not be negative"),
        ({"replicates": 1}, "`replicates`"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = {"estimates": {"t": GOOD}, "truth": GOOD, "groups": GROUPS, "key": KEY} | change
    with pytest.raises(ValueError, match=message):
        group_errors(**given)


def test_bad_input_of_the_control_is_refused():
    with pytest.raises(ValueError, match="n labels"):
        group_mean_control(GOOD, GROUPS[:2])
    with pytest.raises(ValueError, match="`folds`"):
        group_mean_control(GOOD, GROUPS, folds=[1])


def test_estimates_that_do_not_vary_have_correlation_0():
    flat = jnp.full(GOOD.shape, 0.5)
    found = group_errors({"t": flat}, GOOD, GROUPS, key=KEY, replicates=10)
    np.testing.assert_array_equal(found.correlation.value, 0)
    np.testing.assert_array_equal(found.spread.value, 0)
    assert np.all(found.correlation.intervals().standard_error == 0)
