"""What options may be, where they are one of a few words: checked, shown in --help, completed.

The numerics name their choices themselves; a test holds these lists to theirs, so that the command
line starts without them.
"""

import enum


class Method(enum.StrEnum):
    """The ten calibrators."""

    RIDGE = "ridge"
    LASSO = "lasso"
    ELASTIC_NET = "elastic-net"
    NEURAL_NET = "neural-net"
    SYNTHETIC_CONTROL = "synthetic-control"
    SYNTHETIC_INTERVENTION = "synthetic-intervention"
    HARD_IMPUTE = "hard-impute"
    SOFT_IMPUTE = "soft-impute"
    ALTERNATING_LEAST_SQUARES = "alternating-least-squares"
    SYNTHETIC_PRIOR = "synthetic-prior"


class Setting(enum.StrEnum):
    """As published, corrected, or both."""

    REFERENCE = "reference"
    DEFAULT = "default"
    BOTH = "both"


class Join(enum.StrEnum):
    """What becomes of people and questions that only one table has."""

    ERROR = "error"
    INNER = "inner"


class Divergence(enum.StrEnum):
    """What ensembles minimise."""

    TV = "tv"
    CHI2 = "chi2"
    KL = "kl"
    HELLINGER = "hellinger"
    KS = "ks"
    CDF_L1 = "cdf_l1"
    CDF_L2 = "cdf_l2"


class Variant(enum.StrEnum):
    """What ensembles weigh."""

    PERSONAS = "personas"
    DUMMIES = "dummies"
    BOTH = "both"


class Control(enum.StrEnum):
    """The ratings that place real users as personas are placed."""

    HELD_OUT = "held_out"
    ALL = "all"


class EngineKind(enum.StrEnum):
    """vLLM on this machine, or any server that speaks OpenAI's protocol."""

    VLLM = "vllm"
    OPENAI = "openai"


class Readout(enum.StrEnum):
    """How an answer is read."""

    PROBABILITIES = "probabilities"
    CHOICE = "choice"
    TEXT = "text"
    SAMPLE = "sample"


class RatingScale(enum.StrEnum):
    """The scale on which items are rated."""

    STARS = "stars"
    PURCHASE = "purchase"


class Form(enum.StrEnum):
    """The form of a survey persona."""

    TEXT = "text"
    JSON = "json"


class LeaveOut(enum.StrEnum):
    """What is left out of a survey persona with a question that will be asked."""

    BLOCK = "block"
    QUESTION = "question"


class Study(enum.StrEnum):
    """The fidelity studies."""

    BASELINES = "baselines"
    TWINS = "twins"
