"""Chats from templates: one question to one persona.

Slots of a template, in braces:

- `{persona}`: the persona's text. `{history}`: the persona's answers to other questions, one per
  line, without the question asked and without its block. `{profile}`: the text and the history, as
  far as there are any. `{attributes}`: all attributes, one per line, except `seed`, `condition` and
  names that begin with an underscore; `{age}` or any other name: one attribute.
- `{question}`: the question's text. `{options}`: its options, one per line, in the format of the
  template's answers: `1 = Very safe`, `A. Very safe` or `- Very safe`. `{options_list}`: the same
  in one line, `['1. Very safe', '2. Somewhat safe']`. `{option_range}`: `1 to 5`, `A to E`, ...
- `{title}`, `{genre}`, `{tags}`, `{category}`, `{description}`: of the rated item. Without a
  category its genre is shown, without a description its tags, and "not stated" where an item
  has neither; only the title is required. Any other field of the item by its name.

Slots are filled once, and braces in the inserted text are kept. Chat control tokens in it are
broken by spaces, and option labels are put on one line; no other character is changed. Instructions
in a text ("ignore all instructions") are not filtered.

Answers to reverse-coded questions are not reversed, here or elsewhere: they are coded as the
question states, like those in tables of human answers. `Question.reverse_coded` is only used when
scales are added up.
"""

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...results.keys import Key, entropy
from ...schema import Persona, Question, Scale
from ...solvers.checks import check_count
from ..requests import Message
from .control_tokens import neutralised
from .slots import LETTERS, Filling, number_text, one_line, scale_of
from .templates import SLOT, Template

MOST_ANSWERS = 101
"""The most values of a scale without options that are listed as possible answers."""


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt and its possible answers.

    **Arguments:**

    - `messages`: the chat.
    - `answers`: the possible answer strings, in the order of the question's options (including its
      refusal) or, without options, of its scale's values; `()` if any number or text is allowed.
    - `values`: the number for each of `answers`.
    - `marker`: if not empty, the text after which the answer follows in free text.
    - `scale`: the scale of the answer if `answers` is empty; `None` for any number.
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
    """The prompt that asks `persona` the `question` with the wording of `template`.

    **Arguments:**

    - `template`, `persona`: their content fills the prompt.
    - `question`: may be `None` for templates that ask none (those that write a persona).
    - `order`: positions of the question's options in the order in which they are shown; by default
      the question's own order. `Prompt.answers` stay in the order of the options; letters are
      assigned in the order shown.
    - `blocks`: block by question identifier ([`blocks_of`][]), of the questions the persona has
      answered; needed by `{history}` and `{profile}` if the question asked has a block.

    **Raises:** `ValueError` naming the template, the slot and the question or persona if a slot
    is unknown or cannot be filled; if the question's scale is not the one that the template's
    wording names; as [`answers_of`][] does.

    **Example:**

        >>> from syndigits_jax.respond import Message, Template, render
        >>> from syndigits_jax.schema import Option, Persona, Question
        >>> message = Message("user", "{persona} {question} {options_list} Answer {option_range}.")
        >>> template = Template("pilot", "1", "Written for a pilot study.", (message,))
        >>> question = Question("q1", "Do you own a car?", (Option(1, "Yes"), Option(2, "No")))
        >>> prompt = render(template, Persona("p1", "You are a nurse."), question)
        >>> print(prompt.messages[0].content, prompt.answers)
        You are a nurse. Do you own a car? ['1. Yes', '2. No'] Answer 1 to 2. ('1', '2')
    """
    shown = None if question is None else _order(question, order)
    answers, values = ((), ()) if question is None else answers_of(template, question, shown)
    fill = Filling(template, persona, question, shown or (), answers, blocks)
    messages = tuple(
        Message(
            message.role,
            # The whole message, as two slots could form a token together; the template has none.
            neutralised(SLOT.sub(lambda match: fill(match.group()), message.content)),
        )
        for message in template.messages
    )
    scale = None if question is None else scale_of(template, question)
    return Prompt(messages, answers, values, template.marker, scale)


def answers_of(
    template: Template, question: Question, order: Sequence[int] | None = None
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The strings that answer `question` when `template` asks it, and their numbers.

    They are in the order of the options, or ascending for a scale of at most 101 values without
    options. Both are empty for open questions, longer scales, and templates answered with text.
    `order`: as in [`render`][]; it determines the letters.

    **Raises:** `ValueError` naming template and question if letters or labels are wanted of a
    question without options, there are more options than letters, two labels are alike or one is
    empty, or the question's scale is not the template's.

    **Example:**

        >>> from syndigits_jax.respond import answers_of, find_template
        >>> from syndigits_jax.schema import Option, Question
        >>> question = Question("q1", "Do you own a car?", (Option(1, "Yes"), Option(2, "No")))
        >>> print(answers_of(find_template("survey"), question))
        (('1', '2'), (1.0, 2.0))
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
    """Check that a read-out suits the template and the question.

    **Raises:** `ValueError` if the model writes before it answers, or the question is open, and
    `readout` is not `"text"`; as [`answers_of`][] does.

    **Example:**

        >>> from syndigits_jax.respond import check_readout, find_template
        >>> from syndigits_jax.schema import Option, Question
        >>> question = Question("q1", "Do you own a car?", (Option(1, "Yes"), Option(2, "No")))
        >>> check_readout(find_template("survey"), question, "probabilities")  # no error
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


def option_orders(question: Question, count: int, *, key: Key) -> tuple[tuple[int, ...], ...]:
    """Up to `count` different orders in which to show the question's options.

    The first is the question's own order, the second its reverse, the others are random
    permutations that depend only on `key` (a JAX random key or an integer) and the question's
    identifier. The refusal keeps its
    place. If there are fewer than `count` orders, all are returned; for a question without options,
    one empty order.

    **Raises:** `ValueError` if `count` is below 1.
    """
    check_count("count", count)
    movable = [i for i, option in enumerate(question.options) if option.value != question.refusal]

    def with_refusal(moved: Sequence[int]) -> tuple[int, ...]:
        order = list(range(len(question.options)))
        for place, option in zip(movable, moved):
            order[place] = option
        return tuple(order)

    orders = dict.fromkeys([with_refusal(movable), with_refusal(movable[::-1])])
    wanted = min(count, math.factorial(len(movable)))
    digest = hashlib.sha256(f"{entropy(key)}:{question.identifier}".encode()).digest()
    uniform = random.Random(int.from_bytes(digest)).random  # the same on every Python
    while len(orders) < wanted:
        moved = sorted(movable, key=lambda _: uniform())
        orders[with_refusal(moved)] = None
    return tuple(orders)[:wanted]


def blocks_of(questions: Iterable[Question]) -> dict[str, str]:
    """The block of each question, by identifier.

    **Example:**

        >>> from syndigits_jax.respond import blocks_of
        >>> from syndigits_jax.schema import Question
        >>> print(blocks_of([Question("q1", block="trust"), Question("q2", block="money")]))
        {'q1': 'trust', 'q2': 'money'}
    """
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
