"""How well calibration works: hold-out, controls, metrics, adaptive transfer, few-shot, tuning."""

from .adaptive import AdaptiveTransfer as AdaptiveTransfer
from .adaptive import adaptive_transfer as adaptive_transfer
from .few_shot import FewShotCurve as FewShotCurve
from .few_shot import equivalent_respondents as equivalent_respondents
from .few_shot import few_shot_curve as few_shot_curve
from .holdout import leave_one_question_out as leave_one_question_out
from .holdout import leave_one_user_out as leave_one_user_out
from .holdout_result import HoldOut as HoldOut
from .other_answers import other_answers as other_answers
from .other_answers import person_mean as person_mean
from .tuning import Choice as Choice
from .tuning import choose_penalty as choose_penalty
from .tuning import tune_penalty as tune_penalty
