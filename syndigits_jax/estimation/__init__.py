"""Estimates of new answers by a combination of methods (`auto`): predictions, intervals, draws."""

from .answer_model import AnswerModel as AnswerModel
from .answer_model import draw_people as draw_people
from .auto import estimate_new_users_and_questions as estimate_new_users_and_questions
from .auto import estimate_questions as estimate_questions
from .auto import hold_out_questions as hold_out_questions
from .auto_users import estimate_users as estimate_users
from .auto_users import hold_out_users as hold_out_users
from .expected_quality import ExpectedQuality as ExpectedQuality
from .expected_quality import hold_out_quality as hold_out_quality
from .grouping import blocks_from_names as blocks_from_names
from .held_out_probabilities import HeldOutProbabilities as HeldOutProbabilities
from .held_out_probabilities import hold_out_probabilities as hold_out_probabilities
from .intervals import question_intervals as question_intervals
from .learned_control import hold_out_learned_control as hold_out_learned_control
from .learned_control import learned_control as learned_control
from .options import option_probabilities as option_probabilities
from .person_intervals import Judged as Judged
from .person_intervals import PersonIntervals as PersonIntervals
from .person_intervals import fewest_units as fewest_units
from .results import Estimates as Estimates
from .results import Expected as Expected
from .targets import AUTO as AUTO
