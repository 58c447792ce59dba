"""Calibration of twins' answers: the problem, its settings, ten methods, and their application."""

from .calibrate import Calibrated as Calibrated
from .calibrate import calibrate_question as calibrate_question
from .calibrate import calibrate_user as calibrate_user
from .calibrators import AlternatingLeastSquares as AlternatingLeastSquares
from .calibrators import Calibrator as Calibrator
from .calibrators import ElasticNet as ElasticNet
from .calibrators import FitAndTransfer as FitAndTransfer
from .calibrators import HardImpute as HardImpute
from .calibrators import Lasso as Lasso
from .calibrators import MatrixCompletion as MatrixCompletion
from .calibrators import NeuralNet as NeuralNet
from .calibrators import Ridge as Ridge
from .calibrators import SoftImpute as SoftImpute
from .calibrators import SyntheticControl as SyntheticControl
from .calibrators import SyntheticIntervention as SyntheticIntervention
from .calibrators import SyntheticPrior as SyntheticPrior
from .presets import preset as preset
from .settings import FewShot as FewShot
from .settings import Fitting as Fitting
from .settings import Imputation as Imputation
from .settings import NewUsers as NewUsers
from .settings import Preparation as Preparation
from .settings import Settings as Settings
