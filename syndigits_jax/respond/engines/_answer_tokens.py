"""Answers as token sequences: what to ask a model for the probability of each, and the sum of it.

Answers of one token each need one forward pass. Longer ones share beginnings, so they form a tree;
every inner node is one more pass over the prompt and the tokens that lead there, of which all but
the last few are in the prefix cache.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# Engines return the log-probabilities of at most so many named tokens at a time.
MOST_TOKENS = 128


@dataclass(frozen=True)
class Probe:
    """One forward pass: the log-probabilities of `tokens` after the prompt and `prefix`."""

    prefix: tuple[int, ...]
    tokens: tuple[int, ...]


class AnswerTree:
    """Answers as a tree of tokens.

    The events whose probabilities are returned exclude each other, so that they may be
    renormalised: "the reply begins with this answer, and with no longer one" ("10" is not "1").

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
        # Of each answer those that continue it, but not those that continue one of these.
        self.longer: dict[tuple[int, ...], list[tuple[int, ...]]] = {
            sequence: [] for sequence in self.sequences
        }
        for sequence in self.sequences:
            shorter = [sequence[:length] for length in range(1, len(sequence))]
            nearest = [prefix for prefix in shorter if prefix in self.longer][-1:]
            for prefix in nearest:
                self.longer[prefix].append(sequence)

    def log_probabilities(self, scores: Sequence[Mapping[int, float]]) -> tuple[float, ...]:
        """Of each answer, from the log-probabilities of each probe's tokens (absent: unseen)."""
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
    """Tokens of each answer as it stands in a reply, right after a prompt.

    Some tokenisers put a space before a text that stands alone, so the answer is encoded behind the
    end of a rendered `prompt` (its tokens and its text), whose tokens are taken off; where the two
    do not come apart, or no prompt is given, the answer is encoded alone.
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
    """Tokens that surely hold any of the answers and the end of the turn: a byte each at worst."""
    return max(len(answer.encode()) for answer in answers) + 2
