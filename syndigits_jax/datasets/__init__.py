"""Readers of public data sets and of users' files, and simulators with known truth."""

from .block_simulator import BlockTruth, simulate_block_panel
from .distributions import (
    DistributionData,
    DistributionTruth,
    load_distributions,
    load_movielens_distributions,
    load_opinionqa,
    simulate_distributions,
)
from .films import PURCHASE_OPTIONS, STAR_OPTIONS, film_questions, read_items
from .known_twins import (
    TWIN_KINDS,
    SimulatedAnswers,
    SimulatedQuestions,
    simulate_answers,
    simulate_questions,
)
from .personas import read_personas, write_personas
from .questions import read_questions, write_questions
from .rating_files import load_amazon_2018, load_amazon_2023, load_movielens_ratings
from .ratings import RatingTable, rating_table
from .sample import sample_panel, sample_panel_with_truth
from .simulator import Truth, simulate_panel
from .surveys.labelled import read_spss, read_stata
from .surveys.qualtrics import read_qualtrics
from .surveys.survey import Survey
from .syn_digits import (
    CONSTRUCTIONS,
    DEFAULT_CONSTRUCTION,
    Construction,
    find_construction,
    load_movielens,
    load_twin_2k_500,
    present_constructions,
    read_twin_2k_500_questions,
)
from .tables import load_panel, read_table
from .versions import TWIN_2K_500_EXPERIMENTS, Versions, merge_versions

__all__ = [
    "CONSTRUCTIONS",
    "DEFAULT_CONSTRUCTION",
    "PURCHASE_OPTIONS",
    "STAR_OPTIONS",
    "TWIN_2K_500_EXPERIMENTS",
    "TWIN_KINDS",
    "BlockTruth",
    "Construction",
    "DistributionData",
    "DistributionTruth",
    "RatingTable",
    "SimulatedAnswers",
    "SimulatedQuestions",
    "Survey",
    "Truth",
    "Versions",
    "film_questions",
    "find_construction",
    "load_amazon_2018",
    "load_amazon_2023",
    "load_distributions",
    "load_movielens",
    "load_movielens_distributions",
    "load_movielens_ratings",
    "load_opinionqa",
    "load_panel",
    "load_twin_2k_500",
    "merge_versions",
    "present_constructions",
    "rating_table",
    "read_items",
    "read_personas",
    "read_qualtrics",
    "read_questions",
    "read_spss",
    "read_stata",
    "read_table",
    "read_twin_2k_500_questions",
    "sample_panel",
    "sample_panel_with_truth",
    "simulate_answers",
    "simulate_block_panel",
    "simulate_distributions",
    "simulate_panel",
    "simulate_questions",
    "write_personas",
    "write_questions",
]
