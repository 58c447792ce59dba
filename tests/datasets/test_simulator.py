"""The simulator has the truth it claims: angles, transfer, noise, missing answers, scales."""

import jax
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.datasets import sample_panel, sample_panel_with_truth, simulate_panel
from syndigits_jax.schema import Scale


@given(
    seed=st.integers(0, 10**6),
    angles=st.lists(st.floats(0.0, np.pi / 2), min_size=3, max_size=3),
    common=st.floats(0.0, 2.0),
)
def test_principal_angles_are_as_set(seed, angles, common):
    _, truth = simulate_panel(
        8, 9, 3, key=seed, alignment_angle=np.array(angles), common=common, twin_signal=0.3
    )
    measured = scipy.linalg.subspace_angles(truth.question_factors, truth.twin_question_factors)
    np.testing.assert_allclose(np.sort(measured), np.sort(angles), atol=1e-7)
    np.testing.assert_allclose(truth.angles, np.sort(angles))


@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_row_space_inclusion_means_exact_transfer(angle):
    panel, truth = simulate_panel(
        30, 12, 3, key=3, alignment_angle=angle, bias=1.0, bias_spread=0.5, question_spread=1.0
    )
    human, twin = truth.human - truth.question_means, panel.twin - truth.twin_question_means
    coefficients = np.linalg.lstsq(twin[:, 1:], twin[:, 0], rcond=1e-9)[0]
    error = np.abs(human[:, 1:] @ coefficients - human[:, 0]).max()
    assert error < 1e-8 if angle == 0 else error > 0.05


def test_answers_are_means_plus_factors_plus_noise():
    settings = {"bias": 0.7, "bias_spread": 0.2, "question_spread": 1.0, "question_mean": 3.0}
    panel, truth = simulate_panel(
        2000, 30, 4, key=11, noise=0.5, twin_noise=0.25, signal=1.5, twin_signal=0.8, **settings
    )
    for part, factors, means in (
        (truth.human, (truth.user_factors, truth.question_factors), truth.question_means),
        (
            truth.twin,
            (truth.twin_user_factors, truth.twin_question_factors),
            truth.twin_question_means,
        ),
    ):
        np.testing.assert_allclose(part, means + factors[0] @ factors[1].T, atol=1e-12)
    np.testing.assert_array_equal(panel.human, truth.human_complete)
    np.testing.assert_array_equal(panel.twin, truth.twin_complete)
    assert np.std(panel.human - truth.human) == pytest.approx(0.5, rel=0.02)
    assert np.std(panel.twin - truth.twin) == pytest.approx(0.25, rel=0.02)
    spread = np.sqrt(np.mean((truth.human - truth.question_means) ** 2))
    assert spread == pytest.approx(1.5, rel=0.05)
    spread = np.sqrt(np.mean((truth.twin - truth.twin_question_means) ** 2))
    assert spread == pytest.approx(0.8, rel=0.05)
    assert np.mean(truth.question_means) == pytest.approx(3.0, abs=0.6)
    assert np.mean(truth.twin_question_means - truth.question_means) == pytest.approx(0.7, abs=0.15)


def test_fidelity_is_the_correlation_of_latent_preferences():
    for fidelity in (0.0, 0.6, 1.0):
        _, truth = simulate_panel(5000, 6, 2, key=5, fidelity=fidelity)
        for a, b in zip(truth.user_factors.T, truth.twin_user_factors.T):
            assert np.corrcoef(a, b)[0, 1] == pytest.approx(fidelity, abs=0.04)


def test_common_gives_people_a_level_of_their_own():
    means = [
        simulate_panel(400, 40, 3, key=5, common=common)[1].human.mean(axis=1)
        for common in (0.0, 2.0)
    ]
    assert np.std(means[1]) > 3 * np.std(means[0])


def test_one_setting_leaves_the_other_draws_alone():
    plain, truth = simulate_panel(40, 20, 3, key=7, noise=0.3)
    holes, other = simulate_panel(40, 20, 3, key=7, noise=0.3, missing=0.4, alignment_angle=0.3)
    np.testing.assert_array_equal(truth.human_complete, other.human_complete)
    seen = holes.human_mask
    np.testing.assert_array_equal(holes.human[seen], plain.human[seen])
    assert np.mean(~seen) == pytest.approx(0.4, abs=0.05)
    assert holes.twin_mask.all()


def test_missing_answers():
    same, _ = simulate_panel(40, 20, 3, key=7, missing=0.4, twin_missing="same")
    np.testing.assert_array_equal(same.human_mask, same.twin_mask)
    apart, _ = simulate_panel(40, 20, 3, key=7, missing=0.4, twin_missing=0.2)
    assert np.mean(~apart.twin_mask) == pytest.approx(0.2, abs=0.05)
    sparse, _ = simulate_panel(15, 10, 2, key=7, missing=0.98, twin_missing=0.98)
    for mask in (sparse.human_mask, sparse.twin_mask):
        assert mask.any(axis=0).all() and mask.any(axis=1).all()
        assert mask.mean() < 0.25


def test_answers_on_a_scale():
    scale = Scale(1.0, 5.0, 0.5)
    panel, truth = simulate_panel(50, 10, 2, key=2, scale=scale, noise=0.5, missing=0.1)
    assert panel.scale == (1.0, 5.0) and panel.steps == 0.5
    assert set(np.unique(panel.twin)) <= set(scale.values)
    assert set(np.unique(panel.human[panel.human_mask])) <= set(scale.values)
    np.testing.assert_array_equal(truth.question_means, np.full(10, 3.0))
    assert np.std(truth.human - np.round(2 * truth.human) / 2) > 0.1


def test_seeds_and_keys():
    first, _ = simulate_panel(6, 4, 2, key=1)
    np.testing.assert_array_equal(first.human, simulate_panel(6, 4, 2, key=1)[0].human)
    typed, _ = simulate_panel(6, 4, 2, key=jax.random.key(1))
    raw, _ = simulate_panel(6, 4, 2, key=jax.random.PRNGKey(1))
    np.testing.assert_array_equal(typed.human, raw.human)
    others = [simulate_panel(6, 4, 2, key=s)[0].human for s in (2, jax.random.key(2))]
    for other in others:
        assert np.abs(other - first.human).max() > 0.1
        assert np.abs(other - typed.human).max() > 0.1


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rank": 0}, "`rank` must be from 1 to"),
        ({"rank": 6}, "`rank` must be from 1 to .* = 5"),
        ({"rank": 3, "alignment_angle": 0.1}, "m >= 2"),
        ({"alignment_angle": -0.1}, "`alignment_angle` must be in"),
        ({"alignment_angle": 1.6}, "`alignment_angle` must be in"),
        ({"alignment_angle": np.zeros(3)}, "`alignment_angle` must be one angle or 2"),
        ({"fidelity": 1.1}, "`fidelity`"),
        ({"missing": 1.0}, "`missing`"),
        ({"twin_missing": -0.1}, "`twin_missing`"),
        ({"twin_missing": "as human"}, "`twin_missing`"),
        ({"noise": -1.0}, "`noise` must not be negative"),
        ({"twin_signal": float("nan")}, "`twin_signal` must not be negative"),
    ],
)
def test_settings_out_of_range(settings, match):
    with pytest.raises(ValueError, match=match):
        simulate_panel(6, 5, key=0, **{"rank": 2, **settings})


def test_the_sample_panel_is_always_the_same():
    panel = sample_panel()
    assert (panel.n, panel.m) == (200, 40) and panel.scale == (1.0, 5.0)
    assert panel.users[0] == "person_001" and panel.questions[-1] == "item_40"
    np.testing.assert_array_equal(panel.human[0, :8], [2.0, 5.0, 5.0, 2.0, 3.0, 5.0, 5.0, 5.0])
    np.testing.assert_array_equal(panel.twin[-1, -8:], [3.0, 3.0, 3.0, 5.0, 4.0, 3.0, 3.0, 3.0])
    for answers, counts in (
        (panel.human, [677, 1463, 2039, 1622, 992]),
        (panel.twin, [40, 651, 2870, 3142, 1297]),
    ):
        found = [int(np.sum(answers == value)) for value in (1, 2, 3, 4, 5)]
        assert found == counts


def test_calibration_pays_on_the_sample_panel():
    # ridge on all other questions, fitted on the twins and applied to the (complete) humans
    panel, truth = sample_panel_with_truth()
    human = truth.human_complete
    raw, calibrated = [], []
    for j in range(panel.m):
        donors = np.arange(panel.m) != j
        twin = panel.twin[:, donors] - panel.twin[:, donors].mean(axis=0)
        target = panel.twin[:, j] - panel.twin[:, j].mean()
        weights = np.linalg.solve(twin.T @ twin + 30 * np.eye(panel.m - 1), twin.T @ target)
        raw.append(np.corrcoef(panel.twin[:, j], human[:, j])[0, 1])
        calibrated.append(np.corrcoef(human[:, donors] @ weights, human[:, j])[0, 1])
    assert 0.15 < np.mean(raw) < 0.3
    assert np.mean(calibrated) > np.mean(raw) + 0.15
