"""The text for each slot of a template, for one persona and question."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ...results.names import nearest
from ...schema import Persona, Question, Scale
from .templates import ITEM_SLOTS, PERSONA_SLOTS, QUESTION_SLOTS, Template

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BOOKKEEPING = ("seed", "condition")
"""Attributes about a persona's origin, which are not shown."""
NOT_STATED = "not stated"
_INSTEAD = {"category": ("genre",), "description": ("tags",), "genre": (), "tags": ()}


class Filling:
    """Returns the text for each slot, for one persona and question."""

    def __init__(
        self,
        template: Template,
        persona: Persona,
        question: Question | None,
        shown: Sequence[int],
        answers: Sequence[str],
        blocks: Mapping[str, str] | None,
    ):
        self.template, self.persona, self.question = template, persona, question
        self.shown, self.answers, self.blocks = shown, answers, blocks

    def __call__(self, found: str) -> str:
        if found in ("{{", "}}"):
            return found[0]
        slot = found[1:-1]
        if slot in PERSONA_SLOTS:
            return self._of_persona(slot)
        if slot in QUESTION_SLOTS or slot in ITEM_SLOTS:
            if self.question is None:
                raise self._error(slot, "no question is asked")
            if slot in QUESTION_SLOTS:
                return self._of_question(slot, self.question)
            return self._of_item(slot, self.question)
        return self._named(slot)

    def _of_persona(self, slot: str) -> str:
        persona = self.persona
        name = f"persona {persona.identifier!r}"
        if slot == "persona":
            if not persona.text.strip():
                hint = "; it has answers: use {profile} or {history}" if persona.answers else ""
                raise self._error(slot, f"{name} has no text{hint}")
            return persona.text
        if slot == "attributes":
            facts = [
                f"{key}: {value}"
                for key, value in persona.attributes.items()
                if key not in BOOKKEEPING and not key.startswith("_")
            ]
            if not facts:
                raise self._error(slot, f"{name} has no attributes")
            return "\n".join(facts)
        if slot == "history":
            if not persona.answers:
                hint = "; it has a text: use {profile} or {persona}" if persona.text else ""
                raise self._error(slot, f"{name} has no answers{hint}")
            return "\n".join(self._history(slot)) or "none"
        parts = [persona.text, "\n".join(self._history(slot))]
        profile = "\n\n".join(part for part in parts if part.strip())
        if not profile:
            raise self._error(slot, f"{name} has neither a text nor answers to other questions")
        return profile

    def _history(self, slot: str) -> list[str]:
        question, answers = self.question, self.persona.answers
        if question is None:
            return list(answers.values())
        blocks = {} if self.blocks is None else self.blocks
        lines = []
        for identifier, line in answers.items():
            if identifier == question.identifier:
                continue
            if question.block:
                if identifier not in blocks:
                    raise self._error(
                        slot,
                        f"the block {question.block!r} of question {question.identifier!r} is to "
                        f"be left out, but that of {identifier!r}, which persona "
                        f"{self.persona.identifier!r} has answered, is not known; name the blocks "
                        "of all questions answered (`blocks`)",
                    )
                if blocks[identifier] == question.block:
                    continue
            lines.append(line)
        return lines

    def _of_question(self, slot: str, question: Question) -> str:
        if slot == "question":
            if not question.text.strip():
                raise self._error(slot, f"question {question.identifier!r} has no text")
            return question.text
        options = question.options
        if slot == "option_range":
            return self._range(question)
        if not options:
            return _number_wanted(scale_of(self.template, question))
        labels = [one_line(options[i].label) for i in self.shown]
        if slot == "options_list":
            codes = [number_text(options[i].value) for i in self.shown]
            if self.template.answer_with == "letter":
                codes = [self.answers[i] for i in self.shown]
            if self.template.answer_with == "label":
                return str(labels)
            return str([f"{code}. {label}" for code, label in zip(codes, labels)])
        if self.template.answer_with == "label":
            return "\n".join(f"- {label}" for label in labels)
        if self.template.answer_with == "letter":
            return "\n".join(f"{LETTERS[i]}. {label}" for i, label in enumerate(labels))
        codes = [number_text(options[i].value) for i in self.shown]
        return "\n".join(f"{code} = {label}" for code, label in zip(codes, labels))

    def _range(self, question: Question) -> str:
        options = question.options
        if not options:
            return _range_text(scale_of(self.template, question))
        if self.template.answer_with == "letter":
            return f"{LETTERS[0]} to {LETTERS[len(options) - 1]}"
        if self.template.answer_with == "label":
            return _either([f'"{one_line(options[i].label)}"' for i in self.shown])
        values = sorted(option.value for option in options)
        if _run(values):
            return f"{number_text(values[0])} to {number_text(values[-1])}"
        proper = [value for value in values if value != question.refusal]
        if _run(proper) and len(proper) < len(values):
            ends = f"{number_text(proper[0])} to {number_text(proper[-1])}"
            return f"{ends} or {number_text(question.refusal or 0)}"
        return _either([number_text(value) for value in values])

    def _of_item(self, slot: str, question: Question) -> str:
        for name in (slot, *_INSTEAD.get(slot, ())):
            value = str(question.item.get(name, "")).strip()
            if value:
                return str(question.item[name])
        if slot == "title":
            raise self._error(slot, f"question {question.identifier!r} has no item with a title")
        return NOT_STATED

    def _named(self, slot: str) -> str:
        attributes = self.persona.attributes
        item = {} if self.question is None else self.question.item
        found = [str(fields[slot]) for fields in (attributes, item) if slot in fields]
        if len(found) == 2:
            raise self._error(
                slot, "both the persona's attributes and the item's fields have this name"
            )
        if not found or not found[0].strip():
            known = (*attributes, *item, *PERSONA_SLOTS, *QUESTION_SLOTS, *ITEM_SLOTS)
            close = nearest(slot, [name for name in known if name != slot])
            hint = f"; did you mean {{{close[0]}}}?" if close else ""
            raise self._error(
                slot,
                f"persona {self.persona.identifier!r} has no attribute of this name"
                + ("" if self.question is None else f", nor has {self.question.identifier!r}")
                + hint,
            )
        return found[0]

    def _error(self, slot: str, problem: str) -> ValueError:
        return ValueError(f"template {self.template.name!r}, slot {{{slot}}}: {problem}")


def number_text(value: float) -> str:
    """A number as text without trailing zeros: `1`, `0.5`."""
    return np.format_float_positional(round(float(value), 10) + 0.0, trim="-")


def scale_of(template: Template, question: Question) -> Scale | None:
    """The scale of the answers: the template's or the question's. **Raises:** `ValueError` if both
    have one and they differ."""
    named, own = template.scale, question.scale
    if named is None or own is None:
        return own if named is None else named
    same = (named.low, named.high, named.step) == (own.low, own.high, own.step)
    if not same:
        raise ValueError(
            f"template {template.name!r} asks for answers {_range_text(named)}, but the scale of "
            f"question {question.identifier!r} is {_range_text(own)}; give the question the "
            "template's scale, or none"
        )
    return named


def _range_text(scale: Scale | None) -> str:
    if scale is None:
        return "any number"
    ends = f"{number_text(scale.low)} to {number_text(scale.high)}"
    if scale.step is None or scale.step == 1:
        return ends
    return f"{ends} in steps of {number_text(scale.step)}"


def _number_wanted(scale: Scale | None) -> str:
    if scale is None:
        return "a number"
    whole = scale.step == 1 and scale.low == round(scale.low)
    return f"a {'whole ' if whole else ''}number from {_range_text(scale)}"


def _run(values: Sequence[float]) -> bool:
    return len(values) > 1 and all(b - a == 1 for a, b in itertools.pairwise(values))


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def one_line(text: str) -> str:
    """`text` in one line; a line break in a label would look like another option."""
    return " ".join(text.split())
