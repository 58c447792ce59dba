"""How well calibration works: hold-out, controls, metrics and scores, the gate, tuning."""

from .adaptive import AdaptiveTransfer as AdaptiveTransfer
from .adaptive import adaptive_transfer as adaptive_transfer
from .ceilings import attenuation_corrected as attenuation_corrected
from .ceilings import mean_reliability as mean_reliability
from .ceilings import retest_answers as retest_answers
from .ceilings import retest_reliability as retest_reliability
from .ceilings import share_of_ceiling as share_of_ceiling
from .ceilings import split_half as split_half
from .comparison import Comparison as Comparison
from .comparison import Estimated as Estimated
from .comparison import compare_predictions as compare_predictions
from .expectations import ExpectationsJudged as ExpectationsJudged
from .expectations import judge_expectations as judge_expectations
from .few_shot import FewShotCurve as FewShotCurve
from .few_shot import equivalent_respondents as equivalent_respondents
from .few_shot import few_shot_curve as few_shot_curve
from .gate import TwinGain as TwinGain
from .gate import twin_gain as twin_gain
from .holdout import leave_one_question_out as leave_one_question_out
from .holdout import leave_one_user_out as leave_one_user_out
from .holdout_result import HoldOut as HoldOut
from .joint_structure import JointStructure as JointStructure
from .joint_structure import joint_structure as joint_structure
from .level_errors import LevelErrors as LevelErrors
from .level_errors import level_errors as level_errors
from .option_forecasts import from_draws as from_draws
from .option_forecasts import from_points as from_points
from .option_forecasts import marginal_of_others as marginal_of_others
from .option_forecasts import option_positions as option_positions
from .option_forecasts import smoothed as smoothed
from .other_answers import other_answers as other_answers
from .other_answers import person_mean as person_mean
from .people_worth import PeopleWorth as PeopleWorth
from .people_worth import people_worth as people_worth
from .probability_calibration import fit_probability_calibration as fit_probability_calibration
from .probability_calibration import (
    nested_probability_calibration as nested_probability_calibration,
)
from .probability_scores import brier_score as brier_score
from .probability_scores import log_score as log_score
from .probability_scores import probability_losses as probability_losses
from .probability_scores import ranked_probability_score as ranked_probability_score
from .probability_scores import simbench_score as simbench_score
from .probability_scores import skill as skill
from .reliability_diagram import Reliability as Reliability
from .reliability_diagram import expected_calibration_error as expected_calibration_error
from .reliability_diagram import reliability as reliability
from .threshold import ThresholdChoice as ThresholdChoice
from .threshold import choose_threshold as choose_threshold
from .tuning import Choice as Choice
from .tuning import choose_penalty as choose_penalty
from .tuning import tune_penalty as tune_penalty
