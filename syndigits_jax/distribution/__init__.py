"""Distribution level: weighted ensembles of twins that match human answer distributions."""

from .answers import Answers as Answers
from .cross_validation import Blend as Blend
from .cross_validation import fit_blend as fit_blend
from .divergences import cdf_l1 as cdf_l1
from .divergences import cdf_l2 as cdf_l2
from .divergences import chi_square as chi_square
from .divergences import hellinger as hellinger
from .divergences import kolmogorov_smirnov as kolmogorov_smirnov
from .divergences import kullback_leibler as kullback_leibler
from .divergences import total_variation as total_variation
from .ensemble import Ensemble as Ensemble
from .ensemble import Spec as Spec
from .ensemble import fit_ensemble as fit_ensemble
from .ensemble import fit_ensembles as fit_ensembles
from .error_bound import DistributionBound as DistributionBound
from .error_bound import best_coefficients as best_coefficients
from .error_bound import theorem_7_1 as theorem_7_1
from .intervals import share_intervals as share_intervals
from .objective import DIVERGENCES as DIVERGENCES
