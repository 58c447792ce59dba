"""Options with a few possible values, which are checked, shown in --help, and completed.

The lists repeat the library's own, so that the command line can start without importing it; a test
compares the two.
"""

import enum
from typing import Any


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


def method(typed: str) -> Method:
    """The calibrator of a name in any spelling: `elastic-net`, `ElasticNet`, `elastic_net`, `en`.

    **Raises:** `typer.BadParameter` for an unknown one, with the nearest names.
    """
    import typer

    from syndigits_jax.results.names import kebab, method_name

    try:
        return Method(kebab(method_name(str(typed))))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


METHOD_NAMES = ", ".join(Method)
"""All names, for the help of options."""

METHODS: dict[str, Any] = {
    "parser": method,
    "metavar": "NAME",
    "autocompletion": lambda incomplete: [one for one in Method if one.startswith(incomplete)],
}
"""How options read calibrators, in addition to their help."""


AUTO = "auto"
"""No single calibrator, but what the known questions choose."""


def method_or_auto(typed: str) -> Method | None:
    """As [`method`][], or `None` for `auto`. **Raises:** `typer.BadParameter` for another name."""
    return None if str(typed).strip().lower() == AUTO else method(typed)


METHODS_OR_AUTO: dict[str, Any] = {
    "parser": method_or_auto,
    "metavar": "NAME",
    "autocompletion": lambda incomplete: [
        one for one in (AUTO, *Method) if one.startswith(incomplete)
    ],
}
"""How options read calibrators or `auto`, in addition to their help."""


class Setting(enum.StrEnum):
    """The settings of a study: as published, the package's defaults, or both."""

    REFERENCE = "reference"
    DEFAULT = "default"
    BOTH = "both"


class Join(enum.StrEnum):
    """The treatment of people and questions that only one table has."""

    ERROR = "error"
    INNER = "inner"


class Divergence(enum.StrEnum):
    """The divergences that ensembles minimise."""

    TV = "tv"
    CHI2 = "chi2"
    KL = "kl"
    HELLINGER = "hellinger"
    KS = "ks"
    CDF_L1 = "cdf_l1"
    CDF_L2 = "cdf_l2"


class Variant(enum.StrEnum):
    """The blocks of weights of ensembles."""

    PERSONAS = "personas"
    DUMMIES = "dummies"
    BOTH = "both"


class Control(enum.StrEnum):
    """The ratings from which real users are placed by the personas' procedure."""

    HELD_OUT = "held_out"
    ALL = "all"


class TextEncoder(enum.StrEnum):
    """What makes vectors of the items' texts."""

    AUTO = "auto"
    MINILM = "minilm"
    TFIDF = "tfidf"


class EngineKind(enum.StrEnum):
    """vLLM on this machine, or any server with OpenAI's interface."""

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
    """What a survey persona leaves out: the block of a question asked, or the question only."""

    BLOCK = "block"
    QUESTION = "question"


class Study(enum.StrEnum):
    """The fidelity studies."""

    BASELINES = "baselines"
    TWINS = "twins"


class What(enum.StrEnum):
    """What of a population is estimated."""

    MEAN = "mean"
    SHARE = "share"
    DIFFERENCE = "difference"
