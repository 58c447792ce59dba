"""The published questions in the papers' prompts; each of their answers is parsed."""

import json

import pytest

from syndigits_jax.datasets import read_questions
from syndigits_jax.respond import find_template, parse, render
from syndigits_jax.schema import Persona

pytestmark = pytest.mark.data
ANN = Persona("ann", "A nurse from Ohio.")


def understood(question, prompt) -> None:
    """Every answer string, alone, with its label and behind the marker, is its own value."""
    labels = [option.label for option in question.options] or [""] * len(prompt.answers)
    for answer, value, label in zip(prompt.answers, prompt.values, labels):
        for text in (answer, f"{answer} = {label}", f"So.\nAnswer: {answer}\n", f"**{answer}**."):
            parsed = parse(text, question, prompt, "value")
            if value == question.refusal:
                assert parsed.status == "refused"
            else:
                assert (parsed.value, parsed.status) == (value, "answered"), text


def test_opinionqa_prompts_show_the_published_questions(data_dir):
    path = data_dir / "syn-digits/OpinionQA/distribution_calibration"
    path /= "Qs_likert_scale_5_choices.json"
    published = json.loads(path.read_text(encoding="utf-8"))
    template = find_template("opinionqa-persona")
    questions = read_questions(path)
    assert len(questions) == len(published) == 489
    for question in questions:
        prompt = render(template, ANN, question)
        asked = prompt.messages[1].content.split("SURVEY QUESTION: ")[1]
        asked, form = asked.split("\nFORMAT INSTRUCTIONS: ")
        assert asked == published[question.identifier]["question"].strip()
        assert form.startswith("Only an integer number from 1 to 5, corresponding to")
        understood(question, prompt)


def test_twin_2k_500_questions_can_be_asked(data_dir):
    questions = read_questions(data_dir / "twin-2k-500/questions.json")
    assert len(questions) == 123
    for name in ("survey", "survey-repeat"):
        template = find_template(name)
        for question in questions:
            prompt = render(template, ANN, question)
            assert question.text in prompt.messages[1].content
            assert len(prompt.answers) in (len(question.options), 101)
            understood(question, prompt)
