"""Persona fidelity: do simulated people cover the preferences of real ones?"""

from .baselines import dirichlet_interpolation as dirichlet_interpolation
from .baselines import moment_matched_noise as moment_matched_noise
from .baselines import prototype_perturbation as prototype_perturbation
from .baselines import random_mixture as random_mixture
from .baselines import real_bootstrap as real_bootstrap
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
from .prdc import PRDC as PRDC
from .prdc import coverage as coverage
from .prdc import expected_coverage as expected_coverage
from .prdc import neighbour_radius as neighbour_radius
from .prdc import prdc as prdc
from .sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
