"""Answer scales, questions and personas: plain data on the host."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from .tables.responses import identifiers, positions

SCALE_KINDS = ("ordinal", "interval", "nominal")


@dataclass(frozen=True)
class Scale:
    """The answers a question admits: from `low` to `high`, in steps of `step` or continuous.

    **Arguments:**

    - `low`, `high`: the end points, both admissible, `low < high`.
    - `step`: distance between neighbouring answers; `None` for a continuous scale.
    - `kind`: `"ordinal"` (ranks), `"interval"` (differences are meaningful) or `"nominal"`
      (codes without order).

    **Raises:** `ValueError` if an end point is not finite, `low >= high`, `step` is not positive,
    or the range is not a whole number of steps.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.schema import Scale
        >>> scale = Scale(1, 5, step=1)
        >>> print(scale.values, scale.nearest(np.asarray([0.2, 3.4, 7.0])))
        (1.0, 2.0, 3.0, 4.0, 5.0) [1. 3. 5.]
    """

    low: float | int
    high: float | int
    step: float | int | None = None
    kind: str = "ordinal"

    def __post_init__(self):
        for name in ("low", "high") if self.step is None else ("low", "high", "step"):
            object.__setattr__(self, name, _finite(getattr(self, name), f"Scale: `{name}`"))
        if not self.low < self.high:
            raise ValueError(f"Scale: `low` must be below `high`, got {self.low} and {self.high}")
        if self.kind not in SCALE_KINDS:
            raise ValueError(f"Scale: `kind` must be one of {SCALE_KINDS}, got {self.kind!r}")
        if self.step is None:
            return
        if self.step <= 0:
            raise ValueError(f"Scale: `step` must be positive, got {self.step}")
        count = self.width / self.step
        if not math.isfinite(count):
            raise ValueError(
                f"Scale: too many steps of {self.step} lead from {self.low} to {self.high}"
            )
        if not math.isclose(count, round(count), abs_tol=1e-6) or round(count) < 1:
            raise ValueError(
                f"Scale: `step`: steps of {self.step} do not lead from {self.low} to {self.high}"
            )

    @property
    def width(self) -> float:
        """`high - low`."""
        return self.high - self.low

    @property
    def values(self) -> tuple[float, ...]:
        """All admissible answers, ascending. **Raises:** `ValueError` for a continuous scale."""
        if self.step is None:
            raise ValueError("a continuous Scale has no list of values; give it a `step`")
        return tuple(self.low + self.step * i for i in range(round(self.width / self.step) + 1))

    def nearest(self, answers: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The admissible answers nearest to `answers`: clipped, and rounded to the grid if any.

        NaN stays NaN.
        """
        clipped = np.clip(answers, self.low, self.high)
        if self.step is None:
            return clipped
        return self.low + self.step * np.round((clipped - self.low) / self.step)


ScaleLike = Scale | tuple[float | int, ...]
"""A [`Scale`][], or `(low, high)` or `(low, high, step)`."""


def answer_ranges(
    scale: ScaleLike | Mapping[Any, ScaleLike] | None, questions: Sequence[str]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """`low`, `high` and `step` of each question, NaN where unknown.

    **Arguments:** `scale`: one for all `questions`, a mapping from question identifiers to such,
    or `None`.

    **Raises:** `ValueError` for an invalid scale, or a mapping with a question not in `questions`.

    **Example:**

        >>> from syndigits_jax.schema import answer_ranges
        >>> low, high, step = answer_ranges({"q1": (1, 5, 1)}, ["q1", "q2"])
        >>> print(low, high, step)
        [ 1. nan] [ 5. nan] [ 1. nan]
    """

    def triple(one: ScaleLike) -> tuple[float, float, float]:
        if not isinstance(one, Scale):
            if not isinstance(one, tuple) or len(one) not in (2, 3):
                raise ValueError(f"`scale` must be a Scale or (low, high[, step]), got {one!r}")
            one = Scale(one[0], one[1], one[2] if len(one) == 3 else None)
        return one.low, one.high, math.nan if one.step is None else one.step

    unknown = (math.nan, math.nan, math.nan)
    if isinstance(scale, Mapping):
        of = dict(zip(identifiers(scale, "scale"), scale.values()))
        positions(questions, of, "scale")
        rows = [triple(of[question]) if question in of else unknown for question in questions]
    else:
        rows = [unknown if scale is None else triple(scale)] * len(questions)
    low, high, step = np.array(rows, dtype=np.float64).reshape(len(questions), 3).T
    return low, high, step


@dataclass(frozen=True)
class Option:
    """One answer option: its numeric code (`value`) and the text that is shown (`label`).

    **Raises:** `ValueError` for a code that is not finite.

    **Example:**

        >>> from syndigits_jax.schema import Option
        >>> print(Option(1, "Very safe"))
        Option(value=1.0, label='Very safe')
    """

    value: float | int
    label: str

    def __post_init__(self):
        value = _finite(self.value, f"Option: `value` of {self.label!r}")
        object.__setattr__(self, "value", value)


@dataclass(frozen=True)
class Question:
    """A question (survey item, or a film or product to be rated).

    **Arguments:**

    - `identifier`: the name of its column in response tables.
    - `text`: the question as asked.
    - `options`: the answer options in the order shown; empty for open numeric answers.
    - `scale`: the admissible answers; by default derived from `options`, where that is possible.
    - `refusal`: the code of "refused" or "don't know", which counts as missing.
    - `reverse_coded`: higher answers mean less of what the block measures.
    - `block`: the part of the questionnaire it belongs to.
    - `item`: further fields of a rated item (`title`, `genre`, `tags`, `description`, ...).

    **Raises:** `ValueError` for an empty identifier or repeated option values.

    **Example:**

        >>> from syndigits_jax.schema import Option, Question
        >>> options = (Option(1, "Yes"), Option(2, "No"), Option(9, "Refused"))
        >>> question = Question("q1", "Do you own a car?", options, refusal=9.0)
        >>> print(question.scale)
        Scale(low=1.0, high=2.0, step=1.0, kind='ordinal')
    """

    identifier: str
    text: str = ""
    options: tuple[Option, ...] = ()
    scale: Scale | None = None
    refusal: float | None = None
    reverse_coded: bool = False
    block: str = ""
    item: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.identifier:
            raise ValueError("Question: `identifier` is empty")
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "item", dict(self.item))
        values = [option.value for option in self.options]
        if len(set(values)) < len(values):
            raise ValueError(f"Question {self.identifier!r}: `options` repeat a value")
        if self.scale is None:
            object.__setattr__(self, "scale", self._scale_of_options())

    def _scale_of_options(self) -> Scale | None:
        values = sorted(o.value for o in self.options if o.value != self.refusal)
        if len(values) < 2:
            return None
        gaps = np.diff(values)
        even = np.allclose(gaps, gaps[0])
        return Scale(values[0], values[-1], float(gaps[0]) if even else None)


@dataclass(frozen=True)
class Persona:
    """A person as described to a language model.

    **Arguments:**

    - `identifier`: the name of its row in response tables.
    - `text`: the description.
    - `attributes`: named facts (age, gender, ...; `seed` for the real user it was made from).
    - `answers`: by question identifier, the line that tells how the person answered it; kept
      apart from `text` where the question asked, or its block, must be left out.

    **Raises:** `ValueError` for an empty identifier.

    **Example:**

        >>> from syndigits_jax.schema import Persona
        >>> persona = Persona("p1", "A teacher of 45 from Ohio.", {"age": "45"})
        >>> print(persona.identifier, persona.attributes["age"])
        p1 45
    """

    identifier: str
    text: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.identifier:
            raise ValueError("Persona: `identifier` is empty")
        object.__setattr__(self, "attributes", dict(self.attributes))
        object.__setattr__(self, "answers", dict(self.answers))


def _finite(value: float | int, what: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{what} must be finite, got {number}")
    return number
