"""Free text to answers: many wordings are understood, and no answer is guessed."""

import dataclasses
import math

import hypothesis
import hypothesis.strategies as st
import pytest

from syndigits_jax.respond import Message, Template, answers_of, find_template, parse, render
from syndigits_jax.schema import Option, Persona, Question, Scale

LABELS = ("Very safe", "Somewhat safe", "Not too safe", "Not at all safe", "Refused")
SAFE = Question(
    "SAFE",
    "How safe is your community?",
    tuple(Option(value, label) for value, label in enumerate(LABELS, 1)),
    refusal=5.0,
)
STARS = Question(
    "m1", "Stars?", scale=Scale(0.5, 5, 0.5), item={"title": "2 Fast 2 Furious (2003)"}
)
SLIDER = Question("s", "How many of 100?", scale=Scale(0, 100, 1))
ANY = Question("n", "How many countries?")
OFTEN = Question(
    "o",
    "How often?",
    (Option(1, "Yes"), Option(2, "No"), Option(3, "Yes, always"), Option(4, "Some")),
)
QUESTIONS = (SAFE, STARS, SLIDER, OFTEN)
# The shown order is not the options' own.
ORDERS = {"SAFE": (3, 2, 1, 0, 4), "o": (2, 0, 3, 1)}
NOTHING = math.nan


def asking(answer_with: str = "value", **changes) -> Template:
    """A template that asks, answered in this way."""
    return Template("t", "1", "here", (Message("user", "{question}"),), answer_with, **changes)


def understood(text: str, question: Question, answer_with: str = "value", **changes):
    """Value and status."""
    template = asking(answer_with, **changes)
    order = ORDERS.get(question.identifier) if answer_with == "letter" else None
    prompt = render(template, Persona("p", "x"), question, order)
    parsed = parse(text, question, prompt, answer_with)
    assert math.isnan(parsed.value) != (parsed.status == "answered")
    return parsed.status if math.isnan(parsed.value) else parsed.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", 4), (" 4.", 4), ("4/5", 4), ("4 / 5", 4), ("**4**", 4), ("__4__", 4), ("(2)", 2),
        ("[3]", 3), ('"3"', 3), ("- 4", 4), ("4!", 4), ("3,0", 3), ("3.0", 3), ("\n\n2\n", 2),
        ("Answer: 4", 4), ("**Answer:** 4", 4), ("Final answer: 4.", 4), ("ANSWER: 4", 4),
        ("I would rate it 4 out of 5.", 4), ("4 out of 5 stars", 4), ("4 stars out of 5", 4),
        ("On a scale of 1 to 5, 4", 4), ("I'd say a 2 on a 1-5 scale", 2), ("Rating: 3", 3),
        ("On a 5-point scale I'd say 3.", 3), ("(1 to 5): 3", 3), ("three", 3), ("Four stars.", 4),
        ("4 (Not at all safe)", 4), ("4 = Not at all safe", 4), ("2. Somewhat safe", 2),
        ("3 because 2 of my friends moved away", 3), ("4\n\n1. Crime.\n2. Noise.", 4),
        ("First 2, then...\nAnswer: 3", 3), ("Answer: 2\nOn reflection:\nAnswer: 3", 3),
        ("Answer:\n\n3\n", 3), ("So \\boxed{2}", 2), ("<think>3? No, 2.</think>4", 4),
        ("4. As an AI I am only guessing.", 4), ("I can't wait to move there! 4", 4),
        ("I don't know much about crime, so 3", 3), ("4th July was loud, I'd say 2", 2),
        # Labels, whatever the case.
        ("very safe", 1), ("It is somewhat safe.", 2), ("I'd call it **Not too safe**", 3),
        # Two answers, none, or one that is not offered.
        ("3 or 4", "unparsed"), ("3-4", "unparsed"), ("3, maybe 4", "unparsed"),
        ("3 (or 4)", "unparsed"), ("between 3 and 4", "unparsed"), ("1-5", "unparsed"),
        ("1. I\n2. you", "unparsed"), ("Answer: 2 or 3", "unparsed"), ("Answer: N", "unparsed"),
        ("6", "unparsed"), ("10", "unparsed"), ("1.5", "unparsed"), ("-4", "unparsed"),
        ("4/10", "unparsed"), ("8 out of 10", "unparsed"), ("14", "unparsed"), ("1,2", "unparsed"),
        ("I am 45, so 3", "unparsed"), ("not very safe", "unparsed"), ("Hello", "unparsed"),
        ("Very safe or somewhat safe", "unparsed"), ("<think>3? No,", "unparsed"),
        ("3 million", "unparsed"), ("1 2 3 4", "unparsed"), ("B", "unparsed"),
        # The refusal's code and label, and refusals in words.
        ("5", "refused"), ("Refused", "refused"), ("Answer: 5", "refused"),
        ("I prefer not to answer.", "refused"), ("I don't know", "refused"),
        ("I don’t know.", "refused"), ("As an AI, I have no community.", "refused"),
        ("I cannot answer that.", "refused"), ("I'm sorry, but I can't assist.", "refused"),
        ("I am unable to provide a rating from 1 to 5.", "refused"),
        ("I cannot rate this on a scale of 1 to 4.", "refused"),
        ("", "empty"), (" \n\t", "empty"),
    ],
)  # fmt: skip
def test_numbers_labels_and_refusals(text, expected):
    assert understood(text, SAFE) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.5 stars", 3.5), ("3,5", 3.5), ("3½", 3.5), ("3 1/2", 3.5), ("½", 0.5), ("0.5", 0.5),
        ("5.0", 5), ("4.5 out of 5", 4.5), ("3.5/5.0", 3.5), ("three and a half stars", 3.5),
        ("(0.5 - 5.0): 4.5", 4.5), ("I'd give 2 Fast 2 Furious (2003) a 4", 4),
        ("2 Fast 2 Furious: 3", 3), ("In 2003 I gave it 4", 4), ("four out of five", 4),
        ("10.5", "unparsed"), ("4.25", "unparsed"), ("0", "unparsed"), ("1999", "unparsed"),
        ("four out of ten", "unparsed"),
    ],
)  # fmt: skip
def test_half_stars_titles_and_years(text, expected):
    assert understood(text, STARS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It is not a {}.", "Anything but {}", "less than {}", "I'd never say {}", "higher than {}",
        "I don't think it is a {}", "at least {}", "no more than a {}", "It's not “{}”.",
        "Answer: not {}", "I would say {} or more", "I would say {}+", "{}+", "{} or less",
        "I have {} children", "I am {} years old.", "I am a {}-year-old nurse.",
        "{}-year-old nurse", "With {} dogs one feels well.", "Nothing but {}", "isn't {}",
        "We moved {} times", "below {}", "Anything except a {}", "{} children",
    ],
)  # fmt: skip
def test_numbers_negated_compared_or_counting_are_no_answers(text):
    for question in (SAFE, STARS, SLIDER):
        assert understood(text.format(3), question) == "unparsed"


@pytest.mark.parametrize(
    "text",
    [
        "I'd give it {} stars", "I would say {} points", "I'd say {} out of 5", "I'd say {}/5",
        "I am not sure, but {}", "It is not bad. {}", "I can't complain: {}", "I'd rate {} as is",
        "I feel {} is right", "It gets a {}-star rating", "I'd go with {}", "Not great but a {}",
        "I'd say {}\nchildren play here",
    ],
)  # fmt: skip
def test_numbers_that_are_said_are_answers(text):
    for question in (SAFE, STARS):
        assert understood(text.format(3), question) == 3


def test_what_a_number_counts_may_be_what_was_asked():
    assert understood("I have been to 54 countries.", ANY) == 54
    assert understood("I have been to 54 cities.", ANY) == "unparsed"
    assert understood("It is 2 somewhat safe", SAFE) == 2
    assert understood("I would say 70 percent", SLIDER) == 70
    assert understood("I would say 70 %", SLIDER) == 70


def test_a_film_called_by_a_number_does_not_hide_the_answer():
    ten = dataclasses.replace(STARS, item={"title": "4"})
    assert understood("4", ten) == 4


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        (SLIDER, "70", 70), (SLIDER, "70%", 70), (SLIDER, "70/100", 70),
        (SLIDER, "101", "unparsed"),
        (SLIDER, "about 30", 30), (SLIDER, "50.5", "unparsed"), (SLIDER, "0 to 100", "unparsed"),
        (dataclasses.replace(SLIDER, scale=Scale(0, 100)), "50.5", 50.5),
        (dataclasses.replace(SLIDER, scale=Scale(0, 1000, 1)), "1,000", 1000),
        (dataclasses.replace(SLIDER, scale=Scale(0, 1000, 1)), "1,001", "unparsed"),
        (ANY, "I think 54.", 54), (ANY, "1,200", 1200), (ANY, "-3", -3), (ANY, "1e400", "unparsed"),
        (ANY, "about 1.5 million", "unparsed"), (ANY, "12 or 13", "unparsed"),
        (ANY, "9" * 400, "unparsed"), (ANY, "$40", 40),
    ],
)  # fmt: skip
def test_numbers_on_scales_without_options(question, text, expected):
    assert understood(text, question) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Shown in the order Not at all, Not too, Somewhat, Very, Refused.
        ("B", 3), ("b)", 3), ("(B)", 3), ("**B**", 3), ("B. Not too safe", 3), ("Option C", 2),
        ("The answer is (D).", 1), ("I choose B because", 3), ("very safe", 1), ("B\nas I", 3),
        ("Answer: A", 4), ("E", "refused"), ("A good question", "unparsed"), ("Z", "unparsed"),
        ("A or B", "unparsed"), ("A, B", "unparsed"), ("(A) or (B)", "unparsed"),
        ("I, for one", "unparsed"), ("3", "unparsed"),
    ],
)  # fmt: skip
def test_letters_go_by_what_was_shown(text, expected):
    assert understood(text, SAFE, "letter") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes", 1), ("yes.", 1), ("Yes, I would", 1), ("Yes, always", 3), ("yes, always.", 3),
        ("No\nbecause", 2), ("Some.", 4), ("Some people do", "unparsed"),
        ("No doubt, yes", "unparsed"), ("Yes/No", "unparsed"), ("Yes or no", "unparsed"),
        ("2", "unparsed"), ("yesterday", "unparsed"),
    ],
)  # fmt: skip
def test_labels_alone_and_in_front(text, expected):
    assert understood(text, OFTEN, "label") == expected


def test_a_number_is_a_value_before_it_is_a_label():
    counts = Question("c", "?", (Option(1, "0"), Option(2, "1"), Option(3, "2 or more")))
    assert understood("1", counts) == 1 and understood("1", counts, "label") == 2
    assert understood("0", counts) == 1  # no value, but a label
    assert understood("2 or more", counts) == 3
    paid = Question("p", "How much?", (Option(1, "$10"), Option(2, "$100"), Option(3, "$2")))
    for text, expected in [
        ("1 = $10", 1),
        ("2: $100.", 2),
        ("$2", 3),
        ("2", 2),
        ("Answer: $10", 1),
    ]:
        assert understood(text, paid) == expected
    assert understood("2 = $10", paid) == "unparsed"


def test_behind_a_marker_only():
    reasoned = {"marker": "Answer:", "decoding": {"readout": "text"}}
    for text, expected in [
        ("The person said 3 once.", "unparsed"),
        ("Step 1. It is 3.\n**answer:** 2", 2),
        ("The options are 1 to 5.\nAnswer: N\n\nAnswer: 4", 4),
        ("3", 3),
        ("As an AI I have no views.", "refused"),
        ("So 3 it is. Answer:", "unparsed"),
    ]:
        assert understood(text, SAFE, **reasoned) == expected
    own = {"marker": "RATING =", "decoding": {"readout": "text"}}
    assert understood("Answer: 1\nRating = 2", SAFE, **own) == 2


def test_written_personas_are_no_answers():
    writes = find_template("persona-backstory")
    prompt = render(writes, Persona("p"))
    for text, status in [
        ("Ann, 34, is a nurse. She cannot give up coffee.", "answered"),
        ("I'm sorry, but I can't create that.", "refused"),
        (" ", "empty"),
    ]:
        parsed = parse(text, SAFE, prompt, writes.answer_with)
        assert parsed.status == status and math.isnan(parsed.value)


WRAPPINGS = (
    "{}", " {} ", "{}.", "**{}**", "'{}'", '"{}"', "Answer: {}", "answer: {}.", "Answer:\n{}\n",
    "I think about it.\nAnswer: {}", "`{}`", "- {}", "{}\n", "{}\n\nThat is how I feel.",
    "Answer: **{}**", "({})", "<think>Hm.</think>\n{}", "Final answer: {}!", "{}, because I do.",
)  # fmt: skip


@hypothesis.given(
    question=st.sampled_from(QUESTIONS),
    answer_with=st.sampled_from(("value", "letter", "label")),
    wrapping=st.sampled_from(WRAPPINGS),
    data=st.data(),
)
@hypothesis.settings(max_examples=150)
def test_every_answer_in_every_wrapping_comes_back(question, answer_with, wrapping, data):
    if not question.options:
        answer_with = "value"
    order = ORDERS.get(question.identifier) if answer_with == "letter" else None
    answers, values = answers_of(asking(answer_with), question, order)
    chosen = data.draw(st.integers(0, len(answers) - 1))
    expected = "refused" if values[chosen] == question.refusal else values[chosen]
    assert understood(wrapping.format(answers[chosen]), question, answer_with) == expected


@hypothesis.given(question=st.sampled_from(QUESTIONS), number=st.integers(-1000, 1000))
@hypothesis.settings(max_examples=60)
def test_numbers_that_are_no_answers_are_never_moved(question, number):
    _, values = answers_of(asking(), question)
    hypothesis.assume(number not in values)
    for text in (f"{number}", f"Answer: {number}", f"I'd say {number}.", f"{number}.5"):
        if float(number) + 0.5 not in values:
            assert understood(text, question) == "unparsed"


PIECES = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            (
                "Answer:",
                "4",
                "/",
                "out of",
                "<think>",
                "</think>",
                "\\boxed{",
                "}",
                "½",
                "²",
                "I cannot",
                "Very safe",
                "B)",
                "1 to 5",
                ",",
                "\n",
                " ",
                "٣",
                "İ",
                "no",
                "0.5",
                "2 Fast 2 Furious",
            )
        ),
    ),
    max_size=12,
).map("".join)


@hypothesis.given(
    text=PIECES,
    question=st.sampled_from((*QUESTIONS, ANY)),
    answer_with=st.sampled_from(("value", "letter", "label", "text")),
)
@hypothesis.settings(max_examples=150)
def test_no_text_raises_and_every_answer_is_admissible(text, question, answer_with):
    if not question.options and answer_with in ("letter", "label"):
        answer_with = "value"
    found = parse(text, question, render(asking(answer_with), Persona("p"), question), answer_with)
    assert found.status in ("answered", "refused", "unparsed", "empty")
    assert (found.status == "empty") == (not text.strip())
    if found.status == "answered" and answer_with != "text":
        _, values = answers_of(asking(answer_with), question)
        assert found.value in values if values else math.isfinite(found.value)
        assert found.value != question.refusal
    else:
        assert math.isnan(found.value)


@pytest.mark.parametrize("piece", ["1", "1 ", "1/", "( ", "<think>", "Answer:", "I cannot ", "- "])
def test_long_texts_are_read_to_their_end(piece):
    # Quadratic in the length, this would not come back.
    understood(piece * 20_000, SAFE)
    understood(piece * 20_000 + "x", STARS)
