"""From what an engine returned to what is stored: a value, a status, option probabilities."""

import math
import re
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...schema import Question
from ..requests import Completion

STATUSES = ("answered", "refused", "unparsed", "empty")
"""What became of a response that the engine did return: a value; the refusal code; text in which no
answer was found; no text at all."""

NO_MASS = 1e-6
"""Less than that on all answers but the refusal is float32 noise of the refusal's."""

_LAST_NUMBER = re.compile(r"[^\d\s]?\d[\d.,]*\Z")
_MOST_ANSWERS = 10_000


class Outcome(NamedTuple):
    """`value` is `None` unless `status` is "answered"; `probabilities` (float32, little-endian, one
    per answer) and `outside` are those of the read-out "probabilities"."""

    value: float | None
    status: str
    probabilities: bytes | None = None
    outside: float | None = None


class MalformedCompletion(ValueError):
    """The engine returned what its interface does not allow; the message says what."""


def read_outcome(
    completion: Completion, question: Question, prompt: Any, readout: str, answer_with: str
) -> Outcome:
    """What a completion says.

    - `"probabilities"`: renormalised over the answers. The value is their mean over all answers
      but the refusal on ordinal and interval scales, the most probable of them on nominal ones; it
      is refused only where nearly all mass is the refusal's.
    - `"choice"`, `"sample"`: that of the answer string that came, up to surrounding space. Another
      text is unparsed, never guessed at: it means that the engine did not constrain.
    - `"text"`: as [`parse`][syndigits_jax.respond.readouts.parsing.parse] finds. Where the text was
      cut off (finish reason "length") right behind the number that is its answer, "$1" may have
      become "$10": it is unparsed, unless it is an answer as a whole that begins no other one.

    **Arguments:** `prompt`: what was rendered, for its `answers` and `values`.

    **Raises:** [`MalformedCompletion`][].
    """
    if readout == "probabilities":
        return _distribution(completion, question, prompt)
    if not completion.text.strip():
        return Outcome(None, "empty")
    if readout == "text":
        from .parsing import parse

        parsed = parse(completion.text, question, prompt, answer_with)
        if completion.finish_reason == "length" and parsed.status in ("answered", "refused"):
            number = _LAST_NUMBER.search(completion.text)
            if number and not _is_whole(completion.text.strip(), question, prompt):
                before = completion.text[: number.start()]
                rest = parse(before, question, prompt, answer_with)
                if (rest.status, str(rest.value)) != (parsed.status, str(parsed.value)):
                    return Outcome(None, "unparsed")
        # A text that is no answer on a scale (a persona, a summary) has no value.
        valued = parsed.status == "answered" and not math.isnan(parsed.value)
        return Outcome(float(parsed.value) if valued else None, parsed.status)
    text = completion.text.strip()
    for value, answer in zip(prompt.values, prompt.answers):
        if text == answer.strip():
            if value == question.refusal:
                return Outcome(None, "refused")
            return Outcome(float(value), "answered")
    return Outcome(None, "unparsed")


def _is_whole(text: str, question: Question, prompt: Any) -> bool:
    """Whether `text` is an answer that no other answer begins with."""
    answers = [answer.strip() for answer in prompt.answers]
    scale = prompt.scale or question.scale
    if not answers and scale is not None and scale.step is not None:
        if scale.width / scale.step > _MOST_ANSWERS:
            return False
        answers = [f"{value:.10g}" for value in scale.values]
    return text in answers and not any(a != text and a.startswith(text) for a in answers)


def _distribution(completion: Completion, question: Question, prompt: Any) -> Outcome:
    logs, count = completion.log_probabilities, len(prompt.answers)
    if logs is None or len(logs) != count:
        got = "none" if logs is None else str(len(logs))
        raise MalformedCompletion(f"{count} log-probabilities expected, got {got}")
    if any(math.isnan(log) or log > 1e-3 for log in logs):
        raise MalformedCompletion("log-probabilities that are none: NaN, or above 0")
    top = max(logs)
    if top == -math.inf:  # the engine saw none of the answers among its candidates
        return Outcome(None, "unparsed", None, 1.0)
    relative = [math.exp(log - top) for log in logs]
    total = sum(relative)
    outside = min(1.0, max(0.0, 1.0 - math.exp(top) * total))
    shares = [weight / total for weight in relative]
    blob = struct.pack(f"<{count}f", *shares)
    value = _mean_or_mode(question, prompt.values, shares)
    return Outcome(value, "refused" if value is None else "answered", blob, outside)


def _mean_or_mode(
    question: Question, values: Sequence[float], shares: Sequence[float]
) -> float | None:
    """What a distribution over all answers stands for; `None` if it refuses."""
    answers = [pair for pair in zip(values, shares) if pair[0] != question.refusal]
    mass = sum(share for _, share in answers)
    if mass < NO_MASS:
        return None
    if question.scale is not None and question.scale.kind == "nominal":
        return float(max(answers, key=lambda answer: answer[1])[0])
    return sum(value * share for value, share in answers) / mass
