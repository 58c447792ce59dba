"""How the public functions of fidelity, preferences and distribution are called."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from disturbed import array, filled, numbers, of

from syndigits_jax import distribution as d
from syndigits_jax import fidelity as f
from syndigits_jax import preferences as p
from syndigits_jax.datasets import rating_table

KEY = jax.random.key(0)
X, Y = numbers("n", "m"), numbers("n", "m", seed=1)
ONES = filled(1, "n")
RATINGS = numbers("n", "m", seed=2)


def whole(value):
    """A Python number: whole, where it can be."""
    return int(value) if np.isfinite(value) else value.item()


FEW = {"size": 3, "count": 3, "resamples": 2, "replicates": 2, "k": 1, "projections": 2}
FEW |= {"permutations": 3}
REAL = numbers(12, "m")


@functools.cache
def real_users():
    return f.real_users(KEY, REAL.make(12, 4), **FEW)


FIDELITY = (
    of(f.real_users, call=lambda real: f.real_users(KEY, real, **FEW), real=REAL, shapes=(),
       undefined=("zero",)),
    of(f.fidelity_measures, call=lambda y: f.fidelity_measures(KEY, real_users(), y),
       y=numbers(6, "m", seed=3), shapes=(), undefined=("zero",)),
    of(f.cosine_homogeneity, x=X, undefined=("zero",)),
    of(f.coverage, x=X, y=Y, k=1),
    of(f.prdc, x=X, y=Y, k=1),
    of(f.neighbour_radius, x=X, k=1),
    of(f.held_in_coverage, real=X, y=Y, k=1),
    of(f.expected_coverage, call=lambda n, count: f.expected_coverage(whole(n), whole(count), 2),
       n=filled(10), count=filled(4)),
    of(f.dirichlet_interpolation, key=KEY, real=X, count=3, concentration=1.0),
    of(f.moment_matched_noise, key=KEY, real=X, count=3),
    of(f.prototype_perturbation, key=KEY, prototypes=X, count=3),
    of(f.random_mixture, key=KEY, prototypes=X, count=3),
    of(f.real_bootstrap, key=KEY, real=X, count=3),
    of(f.effective_numbers, human=X, twin=Y, sample_weight=ONES),
    of(f.fidelity_gap_index, value=filled(0.5, "m"), floor=filled(0.25, "m"),
       ceiling=filled(1, "m")),
    of(f.fit_affine_map, call=lambda x, y: f.fit_affine_map(x, y)(y), x=X, y=Y),
    of(f.fit_gaussian_mixture, key=KEY, x=X, components=2, max_steps=2,
       regularisation=filled(1e-6)),
    of(f.fit_transport_map, x=X, y=Y, max_steps=100, epsilon=0.5),
    of(f.frechet_distance, x=X, y=Y),
    of(f.median_distance, x=X),
    of(f.mmd2_unbiased, x=X, y=Y),
    of(f.mmd_permutation_test, key=KEY, x=X, y=Y, permutations=3),
    of(f.norm_ratio, x=X, y=Y, undefined=("zero",)),
    of(f.paired_cosine_distance, x=X, y=Y, undefined=("zero",)),
    of(f.paired_distance, x=X, y=Y),
    of(f.paired_norm_ratio, x=X, y=Y, undefined=("zero",)),
    of(f.paired_measures, key=KEY, seeds=X, personas=Y, triplets=9, replicates=3,
       shapes=("no people", "no questions", "one person"), undefined=("zero",)),
    of(f.population_metrics, call=lambda x, y, sigma: f.population_metrics(
        jnp.asarray(x, float), jnp.asarray(y, float), jnp.asarray(sigma, float),
        jnp.eye(4)[:2], k=1), x=X, y=Y, sigma=filled(1), shapes=("no people", "one person"),
       undefined=("zero",)),
    of(f.rank_agreement, key=KEY, persona_scores=X, seed_scores=Y, triplets=9),
    of(f.rating_correlation, ratings=X, scores=Y, undefined=("constant", "zero", "one question")),
    of(f.resample, key=KEY, y=X, weights=ONES, count=3),
    of(f.reweight_kernel, x=X, y=Y),
    of(f.reweight_transport, x=X, y=Y),
    of(f.sliced_wasserstein, key=KEY, x=X, y=Y, projections=2),
    of(f.stable_gap, floor=numbers("n"), ceiling=numbers("n", seed=1)),
)  # fmt: skip


@functools.cache
def encoder():
    return p.init_encoder(KEY, width=3, prototypes=2, hidden=(), dim=3)


@functools.cache
def gram():
    return p.score_gram(encoder(), jnp.eye(4, 3))


def table(user, item, rating):
    return rating_table(user.astype(int), item.astype(int), rating)


def ratings_of(function, **options):
    return lambda rating: function(table(WHO, WHAT, rating), **options)


WHO, WHAT = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
GIVEN = numbers(12, seed=5)


def of_ratings(function, **options):
    return of(function, call=ratings_of(function, **options), rating=GIVEN, shapes=())


TRAINING = p.TrainingSettings(epochs=1, batch_size=4, chunk_steps=2)
PREFERENCES = (
    of(p.embed_texts, call=lambda vectors: p.embed_texts(list("abcdefgh")[: len(vectors)], vectors),
       vectors=numbers("n", 3)),
    of_ratings(p.fit_bpr, key=KEY, settings=p.FactorisationSettings(factors=1, epochs=1)),
    of(p.gram_scores, call=lambda w: p.gram_scores(gram(), w), w=numbers("n", 2)),
    of(p.held_out_pair_table, call=lambda rating: p.held_out_pair_table(
        table(WHO, WHAT, rating).where(WHAT < 2), table(WHO, WHAT, rating).where(WHAT >= 2)),
       rating=GIVEN, shapes=()),
    of_ratings(p.mean_rating_scores),
    of_ratings(p.popularity_scores),
    of_ratings(p.pair_table),
    of(p.sample_pairs, call=lambda rating: p.sample_pairs(
        KEY, p.pair_table(table(WHO, WHAT, rating)), 2), rating=GIVEN, shapes=()),
    of(p.remembered_scores, call=lambda rating, user, item: p.remembered_scores(
        table(WHO, WHAT, rating), user, item), rating=GIVEN,
       user=array([0, 1]), item=array([0, 1]), shapes=()),
    of(p.mixture_weights, w=X),
    of(p.user_embedding, projected_context=numbers("m", 3), w=X),
    of(p.place_newton, call=lambda ratings, ridge: p.place_newton(gram(), ratings, ridge=ridge),
       ratings=RATINGS, ridge=filled(0.5), shapes=("no people", "one person")),
    of(p.place_ssr, call=lambda ratings, init: p.place_ssr(gram(), ratings, init=init, steps=2),
       ratings=RATINGS, init=numbers("n", 2), shapes=("no people", "one person")),
    of(p.place_users, call=lambda rating: p.place_users(
        gram(), table(WHO, WHAT, rating), method="newton"), rating=GIVEN, shapes=()),
    of(p.project, call=lambda x: p.project(encoder(), x), x=numbers("n", 3)),
    of(p.score_gram, call=lambda items: p.score_gram(encoder(), items), items=numbers("n", 3)),
    of(p.scores, call=lambda w: p.scores(jnp.ones((2, 3, 4)), jnp.ones((2, 4)),
                                         jnp.asarray(w, float), jnp.asarray(0.0)),
       w=numbers("n", 2)),
    of(p.ranking_accuracy, better=numbers("n"), worse=numbers("n", seed=1)),
    of(p.select_probes, key=KEY, vectors=X, popularity=numbers("n", seed=1), size=4,
       shares=[0.5, 0.5]),
    of(p.train_encoder, call=lambda items, rating: p.train_encoder(
        items, table(WHO, WHAT, rating), key=KEY, init=encoder(), settings=TRAINING),
       items=numbers(4, 3), rating=GIVEN, shapes=()),
)  # fmt: skip

CHOICES = array(np.arange(24).reshape(8, 3) * [1, 2, 5] % 3)
COUNTS = array([[3.0, 1, 2], [1, 1, 4], [2, 5, 1]])
P, Q = array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]), array([[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])
STEPS = array([1.0, 2, 4])


def twins(choices):
    return d.Answers.from_choices(choices, 3)


def with_twins(function, **options):
    def call(targets, choices, **given):
        return function(targets, twins(choices), **given, **options)

    return of(function, call=call, targets=COUNTS, choices=CHOICES, shapes=())


def certified(targets, choices, ridge, floor):
    design = d.make_design(twins(choices), [True] * 3)
    numbers = (jnp.asarray(number, jnp.float32) for number in (ridge, 0.0, floor))
    penalties = d.Penalties(*numbers)
    return d.certified_fit(
        "cdf_l2", d.make_targets(targets), design, d.support_of("both", 8, 3), penalties
    )


def diverging(function, **more):
    return of(function, p=P, q=Q, shapes=(), **more)


DISTRIBUTION = (
    *(diverging(function) for function in
      (d.chi_square, d.hellinger, d.kullback_leibler, d.total_variation, d.kolmogorov_smirnov)),
    *(diverging(function, values=STEPS) for function in (d.cdf_l1, d.cdf_l2)),
    of(d.make_targets, targets=COUNTS, weight=filled(1, 3), values=STEPS, shapes=()),
    with_twins(d.fit_ensemble, divergence="kl"),
    of(d.fit_ensemble, call=lambda weight, values, base: d.fit_ensemble(
        COUNTS.make(0, 0), twins(CHOICES.make(0, 0)), "kl", weight=weight, values=values,
        base=base), weight=filled(1, 3), values=STEPS, base=filled(1, 11), shapes=()),
    with_twins(d.fit_ensembles, specs=[d.Spec("kl")]),
    with_twins(d.fit_large, spec=d.Spec("kl"), columns=16, max_rounds=1),
    with_twins(d.fit_blend, divergence="kl", folds=2, entropies=(0.0,), shares=(0.0, 1.0)),
    of(d.share_intervals, call=lambda targets, choices: d.share_intervals(
        targets, twins(choices), twins(CHOICES.make(0, 0)), d.Spec("kl"), folds=2),
       targets=COUNTS, choices=CHOICES, shapes=()),
    of(d.make_design, call=lambda choices: d.make_design(twins(choices), [True] * 3),
       choices=CHOICES, shapes=()),
    of(d.certified_fit, call=certified, targets=COUNTS, choices=CHOICES,
       ridge=filled(0.0), floor=filled(1e-6), shapes=(), also=("penalties",)),
    of(d.best_coefficients, questions=numbers("m", 3), new=numbers(3, seed=1)),
    of(d.theorem_7_1, call=lambda coefficients, structural: d.theorem_7_1(
        coefficients, structural, n=10, n_options=3, ratio=2.0),
       coefficients=filled(0.25, 4), structural=filled(0.1), shapes=()),
)  # fmt: skip

TABLE = (*FIDELITY, *PREFERENCES, *DISTRIBUTION)
EXCEPTIONS = {
    "fidelity.control_measures": "takes what real_users returned",
    "preferences.init_encoder": "takes sizes: see tests/preferences/test_encoder.py",
    "preferences.init_mixture": "takes sizes",
    "preferences.pairwise_accuracy": "takes what score_gram and sample_pairs returned",
    "preferences.sentence_encoder": "loads a model",
    "preferences.tfidf_encoder": "takes texts: see tests/preferences/test_tfidf.py",
    "distribution.support_of": "takes sizes",
}
