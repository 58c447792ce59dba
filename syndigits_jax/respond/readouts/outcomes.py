"""From an engine's completion to the stored value, status and option probabilities."""

import math
import re
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...schema import Question
from ..requests import Completion

STATUSES = ("answered", "refused", "unparsed", "empty")
"""Statuses of a response: a value; a refusal; text without a recognised answer; no text at all."""

NO_MASS = 1e-6
"""A smaller total probability of all answers except the refusal is regarded as rounding error."""

_LAST_NUMBER = re.compile(r"[^\d\s]?\d[\d.,]*\Z")
_MOST_ANSWERS = 10_000


class Outcome(NamedTuple):
    """A response's content. `value` is `None` unless `status` is "answered"; `probabilities`
    (float32, little-endian, one per answer) and `outside` are only set for the read-out
    "probabilities"."""

    value: float | None
    status: str
    probabilities: bytes | None = None
    outside: float | None = None


class MalformedCompletion(ValueError):
    """The engine returned a completion that its interface does not allow."""


def read_outcome(
    completion: Completion, question: Question, prompt: Any, readout: str, answer_with: str
) -> Outcome:
    """The value and the status of a completion, by read-out:

    - `"probabilities"`: renormalised over the answers. The value is their mean over all answers
      except the refusal on ordinal and interval scales, the most probable of them on nominal ones.
      The status is "refused" only if nearly all probability is on the refusal.
    - `"choice"`, `"sample"`: the value of the answer string returned, ignoring surrounding space.
      Any other text is unparsed: the engine did not constrain the reply.
    - `"text"`: as [`parse`][syndigits_jax.respond.readouts.parsing.parse] returns. A text that was
      cut off (finish reason "length") directly after its number is unparsed, as "$1" may be the
      beginning of "$10", unless it is a complete answer with which no other answer begins.

    **Arguments:**

    - `completion`: the engine's answer.
    - `question`: the question asked, for its refusal and scale.
    - `prompt`: the [`Prompt`][syndigits_jax.respond.Prompt] sent, for its `answers` and `values`.
    - `readout`: one of [`READOUTS`][syndigits_jax.respond.READOUTS].
    - `answer_with`: the template's, as in [`ANSWERS_WITH`][].

    **Raises:** [`MalformedCompletion`][] if there is not one valid log-probability per answer.
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
        # A text that is not an answer on a scale (a persona, a summary) has no value.
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
    """Whether `text` is an answer with which no other answer begins."""
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
        raise MalformedCompletion("invalid log-probabilities: NaN, or above 0")
    top = max(logs)
    if top == -math.inf:  # the engine's candidates include none of the answers
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
    """The value of a distribution over all answers; `None` for a refusal."""
    answers = [pair for pair in zip(values, shares) if pair[0] != question.refusal]
    mass = sum(share for _, share in answers)
    if mass < NO_MASS:
        return None
    if question.scale is not None and question.scale.kind == "nominal":
        return float(max(answers, key=lambda answer: answer[1])[0])
    return sum(value * share for value, share in answers) / mass
