"""Answers as token sequences: the forward passes that give their probabilities.

Answers of one token each need one forward pass. Longer answers share beginnings, so they form a
tree; every inner node needs one more pass over the prompt and the tokens that lead to the node, of
which all but the last few are in the prefix cache.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# The most named tokens whose log-probabilities engines return at a time.
MOST_TOKENS = 128


@dataclass(frozen=True)
class Probe:
    """One forward pass: the log-probabilities of `tokens` after the prompt and `prefix`."""

    prefix: tuple[int, ...]
    tokens: tuple[int, ...]


class AnswerTree:
    """Answers as a tree of tokens.

    The probabilities returned are of mutually exclusive events, so that they can be renormalised:
    "the reply begins with this answer, but with no longer one" ("10" does not count as "1").

    **Arguments:** `answers` and their `sequences` of tokens.

    **Raises:** `ValueError` if an answer has no tokens or two have the same.
    """

    def __init__(self, answers: Sequence[str], sequences: Sequence[Sequence[int]]):
        if not answers:
            raise ValueError("there are no answers to score")
        self.sequences = tuple(tuple(sequence) for sequence in sequences)
        owner: dict[tuple[int, ...], str] = {}
        children: dict[tuple[int, ...], dict[int, None]] = {}
        for answer, sequence in zip(answers, self.sequences, strict=True):
            if not sequence:
                raise ValueError(f"the answer {answer!r} has no tokens")
            if sequence in owner:
                raise ValueError(
                    f"the answers {owner[sequence]!r} and {answer!r} are the same tokens to this "
                    "model: no probability tells them apart"
                )
            owner[sequence] = answer
            for length, token in enumerate(sequence):
                children.setdefault(sequence[:length], {})[token] = None
        self.children = {prefix: tuple(tokens) for prefix, tokens in children.items()}
        self.probes = tuple(
            Probe(prefix, tokens[start : start + MOST_TOKENS])
            for prefix, tokens in sorted(self.children.items(), key=lambda node: len(node[0]))
            for start in range(0, len(tokens), MOST_TOKENS)
        )
        self.depth = max(map(len, self.sequences))
        # For each answer the shortest answers that continue it.
        self.longer: dict[tuple[int, ...], list[tuple[int, ...]]] = {
            sequence: [] for sequence in self.sequences
        }
        for sequence in self.sequences:
            shorter = [sequence[:length] for length in range(1, len(sequence))]
            nearest = [prefix for prefix in shorter if prefix in self.longer][-1:]
            for prefix in nearest:
                self.longer[prefix].append(sequence)

    def log_probabilities(self, scores: Sequence[Mapping[int, float]]) -> tuple[float, ...]:
        """Log-probability of each answer, from those of each probe's tokens (absent: unseen)."""
        edges: dict[tuple[int, ...], float] = {
            (*probe.prefix, token): float(found.get(token, -math.inf))
            for probe, found in zip(self.probes, scores, strict=True)
            for token in probe.tokens
        }
        begins = {
            sequence: sum(edges[sequence[: length + 1]] for length in range(len(sequence)))
            for sequence in self.sequences
        }
        values = []
        for sequence, value in begins.items():
            longer = math.fsum(
                math.exp(begins[other] - value)
                for other in self.longer[sequence]
                if begins[other] > -math.inf
            )
            values.append(value + math.log1p(-longer) if longer < 1 else -math.inf)
        return tuple(values)


def answer_sequences(
    answers: Sequence[str],
    encode: Callable[[str], Sequence[int]],
    prompt: Sequence[int] = (),
    prompt_text: str = "",
) -> list[tuple[int, ...]]:
    """Tokens of each answer at the beginning of a reply, directly after a prompt.

    Some tokenisers add a space before a separate text, so an answer is encoded together with
    the prompt before it, whose tokens are then removed. Where this is not possible, or no prompt is
    given, the answer is encoded alone.

    **Arguments:** `answers`: the answer strings; `encode`: the tokens of a text; `prompt`,
    `prompt_text`: a rendered prompt as tokens and as text.
    """
    prompt = tuple(prompt)
    sequences = []
    for answer in answers:
        tokens = tuple(encode(prompt_text + answer)) if prompt else ()
        if prompt and tokens[: len(prompt)] == prompt:
            sequences.append(tokens[len(prompt) :])
        else:
            sequences.append(tuple(encode(answer)))
    return sequences


def most_probable(answers: Sequence[str], log_probabilities: Sequence[float]) -> str:
    """The answer of the highest probability; empty if none was seen."""
    best = max(range(len(answers)), key=lambda index: log_probabilities[index])
    return answers[best] if log_probabilities[best] > -math.inf else ""


def choice_problem(answers: Sequence[str]) -> str | None:
    """Why a reply cannot be constrained to these answers, or None."""
    if not answers:
        return "there are no answers to choose from"
    if "" in answers:
        return "an empty answer cannot be chosen"
    for index, answer in enumerate(answers):
        if answer in answers[:index]:
            return f"the answer {answer!r} is given twice"
    return None


def longest_reply(answers: Sequence[str]) -> int:
    """An upper bound on the tokens of any answer and the end of the turn: one per byte, plus 2."""
    return max(len(answer.encode()) for answer in answers) + 2
