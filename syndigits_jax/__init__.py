"""Calibrate LLM-simulated people against real ones, in JAX."""

from .calibration import AlternatingLeastSquares as AlternatingLeastSquares
from .calibration import Calibrated as Calibrated
from .calibration import ElasticNet as ElasticNet
from .calibration import HardImpute as HardImpute
from .calibration import Lasso as Lasso
from .calibration import NeuralNet as NeuralNet
from .calibration import Ridge as Ridge
from .calibration import Settings as Settings
from .calibration import SoftImpute as SoftImpute
from .calibration import SyntheticControl as SyntheticControl
from .calibration import SyntheticIntervention as SyntheticIntervention
from .calibration import SyntheticPrior as SyntheticPrior
from .calibration import calibrate_question as calibrate_question
from .calibration import calibrate_user as calibrate_user
from .calibration import preset as preset
from .evaluation import HoldOut as HoldOut
from .evaluation import leave_one_question_out as leave_one_question_out
from .evaluation import leave_one_user_out as leave_one_user_out
from .panel import Panel as Panel

__version__ = "0.1.0"
