"""Whatever holds numbers is taken, and means the same, in every public function of the room."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from populations import cloud

from syndigits_jax import fidelity as f
from syndigits_jax import preferences

KEY = jax.random.key(0)
WHOLE = np.random.default_rng(0).integers(-8, 9, (20, 3))
OTHER = np.random.default_rng(1).integers(-8, 9, (20, 3))
FORMS = {
    "integers": lambda a: a,
    "lists": lambda a: a.tolist(),
    "frames": pd.DataFrame,
    "frames with NA": lambda a: pd.DataFrame(a).astype("Int64"),
    "float16": lambda a: a.astype(np.float16),
    "big endian": lambda a: a.astype(">f8"),
    "objects": lambda a: a.astype(object),
    "unmasked": lambda a: np.ma.masked_invalid(a.astype(float)),
    "jax integers": jnp.asarray,
}
FUNCTIONS = {
    "frechet": f.frechet_distance,
    "mmd2": lambda x, y: f.mmd2_unbiased(x, y, 3),
    "mmd_p": lambda x, y: f.mmd_permutation_test(KEY, x, y, permutations=3).p_value,
    "median": lambda x, y: f.median_distance(x),
    "sliced": lambda x, y: f.sliced_wasserstein(KEY, x, y, projections=3),
    "prdc": lambda x, y: f.prdc(x, y).density,
    "coverage": f.coverage,
    "radius": lambda x, y: f.neighbour_radius(x),
    "held_in": lambda x, y: f.held_in_coverage(x, y).coverage,
    "homogeneity": lambda x, y: f.cosine_homogeneity(x).mean,
    "norm_ratio": f.norm_ratio,
    "paired_norm_ratio": f.paired_norm_ratio,
    "paired_cosine": f.paired_cosine_distance,
    "paired_distance": f.paired_distance,
    "kernel_weights": lambda x, y: f.reweight_kernel(x, y).value,
    "transport_weights": f.reweight_transport,
    "affine": lambda x, y: f.fit_affine_map(x, y)(y),
    "transport": lambda x, y: f.fit_transport_map(x, y, epsilon=0.5).value(y),
    "resample": lambda x, y: f.resample(KEY, x, [1] * 20, 4),
    "mixture": lambda x, y: f.fit_gaussian_mixture(KEY, x, 2, max_steps=3).value.means,
    "noise": lambda x, y: f.moment_matched_noise(KEY, x, 4),
    "bootstrap": lambda x, y: f.real_bootstrap(KEY, x, 4),
    "dirichlet": lambda x, y: f.dirichlet_interpolation(KEY, x, 4),
    "random_mixture": lambda x, y: f.random_mixture(KEY, x, 4),
    "prototypes": lambda x, y: f.prototype_perturbation(KEY, x, 4),
    "probes": lambda x, y: preferences.select_probes(KEY, x, list(range(1, 21)), size=5),
}
SCORES = {
    "rank_agreement": lambda x, y: f.rank_agreement(KEY, x, y, triplets=50).agree,
    "rating_correlation": f.rating_correlation,
    "index": lambda x, y: f.fidelity_gap_index(x, 0, 100),
    "stable": f.stable_gap,
    "weights": lambda x, y: preferences.mixture_weights(x),
    "embedding": lambda x, y: preferences.user_embedding(np.eye(3), x),
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *SCORES])
def test_every_form_means_the_same(name):
    function = (FUNCTIONS | SCORES)[name]
    expected = function(jnp.asarray(WHOLE, float), jnp.asarray(OTHER, float))
    for form, made in FORMS.items():
        found = function(made(WHOLE), made(OTHER))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=form)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_missing_and_absurd_input_is_refused_by_name(name):
    bad = WHOLE.astype(float)
    bad[3, 1] = np.nan
    masked = np.ma.masked_invalid(bad)
    missing = pd.DataFrame(WHOLE).astype("Int64")
    missing.iloc[3, 1] = pd.NA
    argument = r"`(x|y|real|seeds|prototypes|vectors)`"
    for values in (bad, masked, missing, bad.tolist(), jnp.asarray(bad), WHOLE + 1j, [[1, "a"]]):
        with pytest.raises(ValueError, match=argument):
            FUNCTIONS[name](values, OTHER)


TRACED = ["frechet", "mmd2", "mmd_p", "median", "sliced", "prdc", "coverage", "held_in"]
TRACED += ["homogeneity", "norm_ratio", "paired_norm_ratio", "transport_weights", "transport"]


@pytest.mark.parametrize("name", TRACED)
def test_nan_under_jit_stays_nan(name):
    x = cloud(0, 20, 3).at[3, 1].set(jnp.nan)
    found = jax.jit(FUNCTIONS[name])(x, cloud(1, 20, 3))
    assert np.isnan(np.asarray(found)).all()


def test_the_wider_of_two_types_is_kept():
    x, y = cloud(0, 20, 3), cloud(1, 20, 3).astype(jnp.float16)
    assert f.frechet_distance(x, y).dtype == jnp.float32
    assert f.frechet_distance(y, y).dtype == jnp.float32


def test_ratings_of_any_form_place_raters_alike():
    encoder = preferences.init_encoder(KEY, width=3, prototypes=2, hidden=(4,), dim=3)
    gram = preferences.score_gram(encoder, WHOLE.tolist())
    ratings = np.random.default_rng(2).integers(1, 6, (4, 20)).astype(float)
    expected = preferences.place_newton(gram, jnp.asarray(ratings, jnp.float32)).w
    for form in ("lists", "frames", "big endian"):
        np.testing.assert_array_equal(
            preferences.place_newton(gram, FORMS[form](ratings)).w, expected
        )
    ratings[0, 0] = np.nan
    with_gap = preferences.place_newton(gram, np.ma.masked_invalid(ratings)).w
    np.testing.assert_array_equal(with_gap, preferences.place_newton(gram, jnp.float32(ratings)).w)
    # Units and origin of the ratings, with the gap in them.
    for scale in (2.0**-30, 2.0**30):
        found = preferences.place_newton(gram, scale * ratings, gap=scale).w
        np.testing.assert_allclose(found, with_gap, atol=1e-4)
    np.testing.assert_allclose(preferences.place_newton(gram, ratings + 100).w, with_gap, atol=1e-4)
