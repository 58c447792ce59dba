"""Chats from templates: one persona asked one question.

Slots of a template, in braces:

- `{persona}`: the persona's text. `{history}`: the lines that tell how the persona answered other
  questions, without the question asked and without its block. `{profile}`: the text and the
  history, whichever there is. `{attributes}`: all named facts, one a line, but for `seed`,
  `condition` and names that begin with an underscore; `{age}` or any other name: one of them.
- `{question}`: the question's text. `{options}`: its options, one a line, as the template is
  answered: `1 = Very safe`, `A. Very safe` or `- Very safe`. `{options_list}`: the same in one
  line, `['1. Very safe', '2. Somewhat safe']`. `{option_range}`: `1 to 5`, `A to E`, ...
- `{title}`, `{genre}`, `{tags}`, `{category}`, `{description}`: of the rated item. Without a
  category its genre is shown, without a description its tags, and "not stated" where an item
  has neither; only the title is required. Any other field of the item by its name.

Each slot is filled once and what fills it is never looked at again: braces in a title stay braces.
Chat control tokens in it are broken by spaces, and option labels are put on one line; no other
character is changed. What a text *says* ("ignore all instructions") reaches the model as it stands.

Nothing is flipped for reverse-coded questions, here or elsewhere: answers mean what the question
says, as they do in tables of human answers; `Question.reverse_coded` is for whoever adds up scales.
"""

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...schema import Persona, Question, Scale
from ..requests import Message
from .control_tokens import neutralised
from .slots import LETTERS, Filling, number_text, one_line, scale_of
from .templates import SLOT, Template

MOST_ANSWERS = 101
"""A scale without options is answered with one of its values up to this many of them."""


@dataclass(frozen=True)
class Prompt:
    """What is asked, and what may be answered.

    **Arguments:**

    - `messages`: the chat.
    - `answers`: the strings that are answers, in the order of the question's options (that of its
      refusal among them) or, without options, of its scale's values; `()` where any number or
      text is.
    - `values`: the number each stands for.
    - `marker`: where not empty, the answer follows this in free text.
    - `scale`: on which numbers are answered where `answers` is empty; `None` for any number.
    """

    messages: tuple[Message, ...]
    answers: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    marker: str = ""
    scale: Scale | None = None


def render(
    template: Template,
    persona: Persona,
    question: Question | None = None,
    order: Sequence[int] | None = None,
    *,
    blocks: Mapping[str, str] | None = None,
) -> Prompt:
    """The prompt that asks `persona` the `question` in the words of `template`.

    **Arguments:**

    - `question`: may be `None` for templates that ask none (those that write a persona).
    - `order`: positions of the question's options in the sequence in which they are shown; by
      default their own. The answers stay in the order of the options; letters go by what is shown.
    - `blocks`: block by question identifier ([`blocks_of`][]), of the questions the persona has
      answered; needed by `{history}` and `{profile}` where the question asked has a block.

    **Raises:** `ValueError` naming the template, the slot and the question or persona if a slot
    is unknown or cannot be filled; if the question's scale is not the one that the template's
    wording names; as [`answers_of`][] does.
    """
    shown = None if question is None else _order(question, order)
    answers, values = ((), ()) if question is None else answers_of(template, question, shown)
    fill = Filling(template, persona, question, shown or (), answers, blocks)
    messages = tuple(
        Message(
            message.role,
            # The whole message, as a token could be put together from two slots; a template
            # has none itself.
            neutralised(SLOT.sub(lambda match: fill(match.group()), message.content)),
        )
        for message in template.messages
    )
    scale = None if question is None else scale_of(template, question)
    return Prompt(messages, answers, values, template.marker, scale)


def answers_of(
    template: Template, question: Question, order: Sequence[int] | None = None
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The strings that answer `question` when `template` asks it, and the number of each.

    In the order of the options, or ascending for a scale without options of at most 101 values.
    Both are empty for open questions, longer scales, and templates answered with text.

    **Raises:** `ValueError` naming template and question if letters or labels are wanted of a
    question without options, there are more options than letters, two labels are alike or one is
    empty, or the question's scale is not the template's.
    """
    if template.answer_with == "text":
        return (), ()
    where = f"template {template.name!r}, question {question.identifier!r}"
    options = question.options
    scale = scale_of(template, question)
    if template.answer_with == "value" or not options:
        if template.answer_with != "value":
            raise ValueError(
                f"{where}: it has no options, so it cannot be answered with a "
                f'{template.answer_with}; use a template with answer_with = "value"'
            )
        values = tuple(option.value for option in options)
        if not options and scale is not None and _is_short(scale):
            values = scale.values
        answers = tuple(number_text(value) for value in values)
    elif template.answer_with == "letter":
        if len(options) > len(LETTERS):
            raise ValueError(
                f"{where}: {len(options)} options, but {len(LETTERS)} letters; use a template "
                'with answer_with = "value"'
            )
        rank = {option: place for place, option in enumerate(_order(question, order))}
        values = tuple(option.value for option in options)
        answers = tuple(LETTERS[rank[i]] for i in range(len(options)))
    else:
        values = tuple(option.value for option in options)
        answers = tuple(neutralised(one_line(option.label)) for option in options)
        if not all(answers):
            raise ValueError(f"{where}: an option has no label to answer with")
    if len({answer.casefold() for answer in answers}) < len(answers):
        raise ValueError(f"{where}: two options are answered alike; answers: {answers}")
    return answers, tuple(float(value) for value in values)


def check_readout(template: Template, question: Question, readout: str) -> None:
    """Refuse a read-out that the template or the question does not admit.

    **Raises:** `ValueError` if the model writes before it answers, or the question is open, and
    `readout` is not `"text"`; as [`answers_of`][] does.
    """
    if readout not in template.readouts:
        raise ValueError(
            f"`readout`: {readout!r} reads the first words, but template {template.name!r} has the "
            "model write freely first; use 'text'"
        )
    answers, _ = answers_of(template, question)
    if not answers and readout != "text":
        raise ValueError(
            f"`readout`: question {question.identifier!r} has no list of answers for {readout!r}; "
            f"give it options, or a scale with a step and at most {MOST_ANSWERS} values, or use "
            "'text'"
        )


def option_orders(question: Question, count: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Up to `count` different orders in which to show the question's options.

    The first is their own, the second its reverse, the others are random permutations that depend
    on `seed` and the question's identifier alone. The refusal keeps its place. Where there are
    fewer permutations, all are returned; for a question without options, one empty order.

    **Raises:** `ValueError` if `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    movable = [i for i, option in enumerate(question.options) if option.value != question.refusal]

    def with_refusal(moved: Sequence[int]) -> tuple[int, ...]:
        order = list(range(len(question.options)))
        for place, option in zip(movable, moved):
            order[place] = option
        return tuple(order)

    orders = dict.fromkeys([with_refusal(movable), with_refusal(movable[::-1])])
    wanted = min(count, math.factorial(len(movable)))
    digest = hashlib.sha256(f"{seed}:{question.identifier}".encode()).digest()
    uniform = random.Random(int.from_bytes(digest)).random  # the same on every Python
    while len(orders) < wanted:
        moved = sorted(movable, key=lambda _: uniform())
        orders[with_refusal(moved)] = None
    return tuple(orders)[:wanted]


def blocks_of(questions: Iterable[Question]) -> dict[str, str]:
    """The block of each question, by identifier."""
    return {question.identifier: question.block for question in questions}


def _order(question: Question, order: Sequence[int] | None) -> tuple[int, ...]:
    count = len(question.options)
    if order is None:
        return tuple(range(count))
    if sorted(order) != list(range(count)):
        raise ValueError(
            f"`order` must hold each of the {count} options of question {question.identifier!r} "
            f"once, got {tuple(order)}"
        )
    return tuple(int(i) for i in order)


def _is_short(scale: Scale) -> bool:
    return scale.step is not None and round(scale.width / scale.step) < MOST_ANSWERS
