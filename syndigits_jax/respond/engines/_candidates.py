"""Tokens with their log-probabilities, as servers report them, and the answers' probabilities.

Several tokens may stand for the same text: with or without a space before it, made from bytes, or
repeated in a vocabulary. They are the same answer, so their probabilities are added.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from syndigits_jax.respond.engines._answer_tokens import choice_problem
from syndigits_jax.respond.engines._servers import Refused

_UNSEEN = -9999.0  # what servers write for minus infinity in JSON
_ABOVE = 1e-3  # how far rounding may lift a log-probability above 0, and ...
_EXCESS = 1e-2  # ... a sum of probabilities above 1
_SAME = 1e-3  # how far two reports of one token's log-probability may differ
_MARKS = "Ġ▁Ċ"  # tokenisers' symbols for a space, a space and a newline
NUMBERED = "token_id:"

NOTHING_RETURNED = (
    "the server returned no log-probabilities: ask it with readout 'choice' or 'text'"
)


class Candidate(NamedTuple):
    """A possible first token: `name` as the server writes it, its `text` in bytes (None if
    unknown), and `log`, its log-probability (None if it is not a number)."""

    name: str
    text: bytes | None
    log: float | None


def candidate(entry: Any) -> Candidate:
    """A candidate from an entry such as `{"token": " 1", "logprob": -0.1, "bytes": [32, 49]}`.

    **Raises:** `Refused` for a log-probability above 0; `TypeError` if the entry is no object.
    """
    if not isinstance(entry, Mapping):
        raise TypeError(f"{entry!r:.80} is no token with its log-probability")
    token = entry.get("token")
    token = token if isinstance(token, str) else entry.get("text")
    name = token if isinstance(token, str) else str(entry.get("token"))
    return Candidate(
        name,
        _text(token if isinstance(token, str) else None, entry.get("bytes")),
        log_probability(entry.get("logprob"), name),
    )


def log_probability(value: Any, name: Any = "a token") -> float | None:
    """A log-probability, which may be written as text; None if it is not a number (null, NaN).

    **Raises:** `Refused` if it is above 0.
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if math.isnan(number):
        return None
    if number > _ABOVE:
        raise Refused(
            f"the log-probability {number:g} of {name!r} is above 0, and no probability is above 1"
        )
    return -math.inf if number <= _UNSEEN else min(number, 0.0)


def _text(token: str | None, given: Any) -> bytes | None:
    """The bytes of a token without surrounding space; `given` bytes take precedence."""
    if (
        isinstance(given, list)
        and given
        and all(isinstance(byte, int) and 0 <= byte < 256 for byte in given)
    ):
        raw = bytes(given)
    elif token is None:
        return None
    elif one := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token):
        raw = bytes([int(one[1], 16)])
    elif re.fullmatch(r"bytes:(\\x[0-9A-Fa-f]{2})+", token):
        raw = bytes.fromhex(token.removeprefix("bytes:").replace("\\x", ""))
    else:
        raw = token.encode(errors="surrogatepass")
    return _bare(raw)


def _bare(raw: bytes) -> bytes:
    try:
        text = raw.decode()
    except UnicodeDecodeError:  # a part of a character
        return raw.lstrip()
    while (bare := text.strip().lstrip(_MARKS)) != text:
        text = bare
    return text.encode()


def first_candidates(choice: Mapping[str, Any]) -> list[Candidate]:
    """The candidates for a reply's first token, including the one that was sampled.

    **Raises:** `Refused` if the server returned none.
    """
    logs = choice.get("logprobs")
    sampled: Candidate | None = None
    top: Any = None
    if isinstance(logs, Mapping) and logs.get("content"):
        logs = logs["content"]
    if isinstance(logs, list):
        entry = {} if not logs or logs[0] is None else logs[0]
        if not isinstance(entry, Mapping):
            raise TypeError(f"{entry!r:.80} is no token with its log-probabilities")
        top = entry.get("top_logprobs")
        if "token" in entry or entry.get("bytes"):
            sampled = candidate(entry)
    elif isinstance(logs, Mapping):  # the format of the completions interface
        top, tokens, own = (
            one[0] if isinstance(one, list) and one else None if one == [] else one
            for one in map(logs.get, ("top_logprobs", "tokens", "token_logprobs"))
        )
        if isinstance(tokens, str):
            sampled = candidate({"token": tokens, "logprob": own})
    if isinstance(top, Mapping):
        top = [{"token": token, "logprob": value} for token, value in top.items()]
    found = with_sampled([candidate(entry) for entry in top or ()], sampled)
    if not any(one.log is not None and one.log > -math.inf for one in found):
        raise Refused(NOTHING_RETURNED)
    return found


def with_sampled(top: list[Candidate], sampled: Candidate | None) -> list[Candidate]:
    """`top`, and the sampled token if it is not among them."""
    if sampled is None:
        return top
    alike = [one for one in top if one.text == sampled.text]
    named = [one for one in alike if one.name == sampled.name]
    if sampled.log is None:
        return top if named else [*top, sampled]
    known = [one.log for one in (alike if sampled.text is not None else named)]
    if any(log is not None and _is_same(log, sampled.log) for log in known):
        return top
    # Another token of the same text, unless the probabilities would then exceed 1.
    return [*top, sampled] if not named or _mass([*top, sampled]) <= 1 + _ABOVE else top


def _is_same(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= _SAME


def _mass(found: Iterable[Candidate]) -> float:
    return math.fsum(math.exp(one.log) for one in found if one.log is not None)


def check_mass(logs: Iterable[float]) -> None:
    """**Raises:** `Refused` if the probabilities add up to more than 1."""
    total = math.fsum(map(math.exp, logs))
    if total > 1 + _EXCESS:
        raise Refused(
            f"the probabilities of the first token add up to {total:.3g}, which is above 1: what "
            "was returned as log-probabilities is something else"
        )


def by_answer(answers: Sequence[str], found: Sequence[Candidate]) -> tuple[float, ...]:
    """Log-probabilities of answers of one token each, from the likeliest tokens.

    **Raises:** `Refused` if one of the tokens is the beginning of an answer that is itself not
    among them, so that the answer is longer than one token and its probability unknown; if the
    log-probability of an answer's token is missing; or if the probabilities add up to more than 1.
    """
    if not answers:
        raise Refused("there are no answers to score")
    if problem := choice_problem([answer.strip() for answer in answers]):
        raise Refused(problem)
    if any(one.name.startswith(NUMBERED) for one in found):
        raise Refused("the server names tokens by number: their texts are unknown")
    check_mass(one.log for one in found if one.log is not None)
    wanted = {answer: _bare(answer.encode(errors="surrogatepass")) for answer in answers}
    logs: dict[str, list[float]] = {answer: [] for answer in answers}
    for one in found:
        for answer, text in wanted.items():
            if one.text != text:
                continue
            if one.log is None:
                raise Refused(
                    f"the server returned no log-probability for the token {one.name!r}: ask it "
                    "with readout 'choice' or 'text'"
                )
            logs[answer].append(one.log)
    for answer, text in wanted.items():
        begins = [
            one.name
            for one in found
            if one.text and text.startswith(one.text) and one.log not in (None, -math.inf)
        ]
        if begins and not logs[answer]:
            raise Refused(
                f"the answer {answer!r} is longer than one token ({begins[0]!r} begins it), and "
                "this server shows the first token alone: answer with letters, or ask vLLM"
            )
    values = tuple(log_sum(logs[answer]) for answer in answers)
    if max(values) == -math.inf:
        _check_unseen(found)
    return values


def _check_unseen(found: Sequence[Candidate]) -> None:
    """**Raises:** `Refused` if the candidates do not show that all answers are unlikely."""
    if len(found) < 2:
        raise Refused(NOTHING_RETURNED)
    likeliest = max(found, key=lambda one: -math.inf if one.log is None else one.log)
    if likeliest.name and likeliest.text == b"":
        raise Refused(
            f"the reply begins with white space ({likeliest.name!r}), and this server shows the "
            "first token alone: ask it with readout 'choice' or 'text'"
        )


def by_number(
    entries: Iterable[tuple[int, Any]],
    wanted: Iterable[int],
    decode: Callable[[int], str] | None = None,
) -> dict[int, float]:
    """Log-probabilities of `wanted` tokens, from an engine that reports tokens by number.

    With `decode`, the probabilities of other tokens of exactly the same text are added. A text
    with a space before it is a different text, as the engine's constrained choices have none.

    **Raises:** `Refused` for a log-probability that is missing, above 0 or no number, and if the
    probabilities add up to more than 1.
    """
    found = [(int(token), log_probability(value, token)) for token, value in entries]
    if not any(log is not None and log > -math.inf for _, log in found):
        raise Refused("the engine returned no log-probabilities")
    check_mass(log for _, log in found if log is not None)
    wanted = list(wanted)
    texts = {decode(token): token for token in wanted} if decode is not None else {}
    texts.pop("", None)
    logs: dict[int, list[float]] = {}
    for token, log in found:
        if decode is not None and token not in wanted:
            token = texts.get(decode(token), token)
        if token in wanted and log is None:
            raise Refused(f"the engine returned no log-probability for the token number {token}")
        if log is not None:
            logs.setdefault(token, []).append(log)
    return {token: log_sum(values) for token, values in logs.items()}


def log_sum(logs: Sequence[float]) -> float:
    """The logarithm of a sum of probabilities, at most 0; independent of their order."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return top
    return min(0.0, top + math.log(math.fsum(math.exp(log - top) for log in logs)))


def by_token(found: Sequence[Candidate], wanted: Iterable[int]) -> dict[int, float]:
    """Log-probabilities by token, from candidates with names such as `"token_id:32"`.

    **Raises:** `Refused` if no candidate has such a name, for a `wanted` token without a
    log-probability, and if the probabilities add up to more than 1.
    """
    numbers = [one.name.removeprefix(NUMBERED) for one in found]
    logs = {
        int(number): one.log
        for number, one in zip(numbers, found)
        if one.name.startswith(NUMBERED) and number.isdecimal()
    }
    if not logs:
        raise Refused(
            f"the server names tokens by their texts ({found[0].name!r}), not by their numbers: "
            "an answer longer than one token cannot be followed"
        )
    for token in wanted:
        if token in logs and logs[token] is None:
            raise Refused(f"the server returned no log-probability for the token number {token}")
    known = {token: log for token, log in logs.items() if log is not None}
    check_mass(known.values())
    return known
