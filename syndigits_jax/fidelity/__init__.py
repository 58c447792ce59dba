"""Persona fidelity: do simulated people cover the preferences of real ones?

Kumar, Dev and Garg, "The Persona Fidelity Gap". A population is an array with a row per user: where
in preference space that one is. In the order of the work:

- `text`, `encoder`, `pairs`, `training`: item texts as vectors; the multi-prototype Bradley-Terry
  encoder, [`train_encoder`][]; `rankers` is what to measure its held-out accuracy against.
- `probes`, `placement`, `user_placement`: which items to ask personas about, and where their
  ratings put them: [`place_ssr`][] as published, [`place_newton`][] to the optimum, and
  [`place_users`][] for real users by the same procedure.
- `frechet`, `mmd`, `sliced_wasserstein`, `prdc`, `homogeneity`: one metric each, pure functions of
  two populations. `paired`: personas against the users they were made from, with controls.
- `reference`, `panel`, `index`: [`fidelity_reference`][] draws real users for floor and ceilings,
  [`fidelity_panel`][] compares a population with them: all metrics and the Fidelity Gap Index,
  with intervals. Start here if you have embeddings already.
- `baselines`, `gaussian_mixture`: synthetic populations to read personas against.
- `repair`: weights for personas, and maps that move them.

Tables of ratings are read in `datasets`; all steps together are `studies.fidelity`, and on the
command line `syndigits fidelity`.
"""

from .baselines import dirichlet_interpolation as dirichlet_interpolation
from .baselines import moment_matched_noise as moment_matched_noise
from .baselines import prototype_perturbation as prototype_perturbation
from .baselines import random_mixture as random_mixture
from .baselines import real_bootstrap as real_bootstrap
from .encoder import PreferenceEncoder as PreferenceEncoder
from .encoder import ScoreGram as ScoreGram
from .encoder import gram_scores as gram_scores
from .encoder import init_encoder as init_encoder
from .encoder import init_mixture as init_mixture
from .encoder import mixture_weights as mixture_weights
from .encoder import project as project
from .encoder import score_gram as score_gram
from .encoder import scores as scores
from .encoder import user_embedding as user_embedding
from .frechet import frechet_distance as frechet_distance
from .gaussian_mixture import GaussianMixture as GaussianMixture
from .gaussian_mixture import fit_gaussian_mixture as fit_gaussian_mixture
from .homogeneity import Homogeneity as Homogeneity
from .homogeneity import cosine_homogeneity as cosine_homogeneity
from .homogeneity import norm_ratio as norm_ratio
from .homogeneity import paired_norm_ratio as paired_norm_ratio
from .index import fidelity_gap_index as fidelity_gap_index
from .index import stable_gap as stable_gap
from .mmd import median_distance as median_distance
from .mmd import mmd2_unbiased as mmd2_unbiased
from .mmd import mmd_permutation_test as mmd_permutation_test
from .paired import PairedPanel as PairedPanel
from .paired import RankAgreement as RankAgreement
from .paired import held_in_coverage as held_in_coverage
from .paired import paired_cosine_distance as paired_cosine_distance
from .paired import paired_distance as paired_distance
from .paired import paired_panel as paired_panel
from .paired import rank_agreement as rank_agreement
from .paired import rating_correlation as rating_correlation
from .pairs import Pairs as Pairs
from .pairs import PairTable as PairTable
from .pairs import held_out_pair_table as held_out_pair_table
from .pairs import pair_table as pair_table
from .pairs import sample_pairs as sample_pairs
from .panel import Estimate as Estimate
from .panel import FidelityPanel as FidelityPanel
from .panel import fidelity_panel as fidelity_panel
from .panel import reference_panel as reference_panel
from .placement import Placement as Placement
from .placement import place_newton as place_newton
from .placement import place_ssr as place_ssr
from .prdc import PRDC as PRDC
from .prdc import coverage as coverage
from .prdc import expected_coverage as expected_coverage
from .prdc import neighbour_radius as neighbour_radius
from .prdc import prdc as prdc
from .probes import select_probes as select_probes
from .rankers import Factorisation as Factorisation
from .rankers import FactorisationSettings as FactorisationSettings
from .rankers import fit_bpr as fit_bpr
from .rankers import mean_rating_scores as mean_rating_scores
from .rankers import popularity_scores as popularity_scores
from .rankers import ranking_accuracy as ranking_accuracy
from .rankers import remembered_scores as remembered_scores
from .reference import FidelityReference as FidelityReference
from .reference import PopulationMetrics as PopulationMetrics
from .reference import fidelity_reference as fidelity_reference
from .reference import population_metrics as population_metrics
from .repair import AffineMap as AffineMap
from .repair import TransportMap as TransportMap
from .repair import fit_affine_map as fit_affine_map
from .repair import fit_transport_map as fit_transport_map
from .repair import resample as resample
from .repair import reweight_kernel as reweight_kernel
from .repair import reweight_transport as reweight_transport
from .sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
from .text import embed_texts as embed_texts
from .text import sentence_encoder as sentence_encoder
from .training import Progress as Progress
from .training import TrainedEncoder as TrainedEncoder
from .training import TrainingSettings as TrainingSettings
from .training import pairwise_accuracy as pairwise_accuracy
from .training import train_encoder as train_encoder
from .user_placement import place_users as place_users
