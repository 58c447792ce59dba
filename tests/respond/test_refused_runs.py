"""Servers that refuse all personas, which ends the run, or a few, which does not."""

import re

import pytest
from stub_chat_server import StubServer, chat_answer, top_logprobs
from stub_engines import plain_template, some_personas, some_questions
from test_openai_engine import engine_for

from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.requests import Decoding, EngineDied
from syndigits_jax.schema import Persona

TEXT = Decoding("text")


def ask(server, path, people, asked, decoding=TEXT, **options):
    with engine_for(server, **options) as engine:
        return collect(engine, plain_template(), people, asked, decoding, path / "r.db")


SHAPES = [(6, 10), (60, 1), (1, 60), (2, 30), (3, 20)]
INSIDE = {"error": {"message": "stub says 400", "code": 400}}


@pytest.mark.parametrize(
    ("refusal", "people", "questions"),
    [(refusal, *shape) for refusal in (400, 402) for shape in SHAPES]
    + [(refusal, 6, 10) for refusal in (401, 403, 404, 413, 422, INSIDE)],
)
def test_a_server_that_refuses_everything_ends_the_run_with_its_reason(
    tmp_path, refusal, people, questions
):
    with StubServer(lambda *_: refusal) as server:
        said = r"requests failed in a row; the last: .*stub says 4\d\d.*; 0 of 60 answers are in"
        with pytest.raises(EngineDied, match=said):
            ask(server, tmp_path, some_personas(people), some_questions(questions))
        assert 20 <= len(server.asked) <= 30


def test_most_failures_says_how_soon(tmp_path):
    with StubServer(lambda *_: 400) as server:
        with pytest.raises(EngineDied, match="in a row"):
            ask(server, tmp_path, some_personas(6), some_questions(10), most_failures=5)
        assert 5 <= len(server.asked) <= 15


@pytest.mark.parametrize(
    ("said", "decoding"),
    [
        (chat_answer("1"), Decoding()),  # no log-probabilities
        (chat_answer("well", logprobs=top_logprobs({"1": 0.9, "2": 0.8})), Decoding()),
        (chat_answer("I would say one"), Decoding("choice")),
        ({"choices": [{"message": {"content": None, "reasoning_content": "Hm"}}]}, TEXT),
    ],
)
def test_answers_that_are_of_no_use_to_anybody_end_it_too(tmp_path, said, decoding):
    with StubServer(lambda *_: said) as server:
        with pytest.raises(EngineDied, match="in a row"):
            ask(server, tmp_path, some_personas(6), some_questions(10), decoding)
        assert len(server.asked) <= 30


@pytest.mark.parametrize("refusal", [400, 402, 403, 413, 422])
@pytest.mark.parametrize("bad", [lambda n: n < 6, lambda n: n % 5 == 0, lambda n: 20 < n < 30])
def test_a_few_refusals_among_answers_do_not_end_it(tmp_path, refusal, bad):
    with StubServer(lambda _, number: refusal if bad(number) else chat_answer("1")) as server:
        report = ask(server, tmp_path, some_personas(6), some_questions(10))
    assert report.asked == 60 and not report.gave_up
    failed = sum(map(bad, range(60)))
    assert (report.failed, report.answered) == (failed, 60 - failed)
    assert all(re.search(f"stub says {refusal}", reason) for reason in report.reasons)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_persona_that_is_refused_keeps_nobody_from_being_asked(tmp_path, place):
    people = some_personas(4)
    people.insert(place, Persona("long", "Far too long."))

    def behave(body, _number):
        return 400 if "Far too long." in body["messages"][0]["content"] else chat_answer("1")

    with StubServer(behave) as server:
        report = ask(server, tmp_path, people, some_questions(70))
    assert (report.answered, report.failed, report.gave_up) == (4 * 70, 70, False)
