"""Diagnostics of the data: alignment of latent spaces, error bounds and rank selection."""

from .alignment import Alignment as Alignment
from .alignment import alignment as alignment
from .error_bound import ErrorBound as ErrorBound
from .error_bound import estimate_error_bound as estimate_error_bound
from .error_bound import theorem_4_1 as theorem_4_1
from .rank_selection import select_rank as select_rank
from .rank_selection import svd_diagnostics as svd_diagnostics
