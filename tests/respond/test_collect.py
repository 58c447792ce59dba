"""Collection asks each missing request once, despite interruptions; what it records.

Longer than 400 lines: all of it asks one stand-in engine, whose set-up it shares.
"""

import math
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_engines import StubEngine, honest, plain_template, some_personas, some_questions

from syndigits_jax.respond.asking.collect import CollectionProgress, Report, collect
from syndigits_jax.respond.asking.plan import make_plan
from syndigits_jax.respond.prompts.render import render
from syndigits_jax.respond.prompts.templates import Template
from syndigits_jax.respond.readouts.outcomes import MalformedCompletion, read_outcome
from syndigits_jax.respond.requests import Completion, Decoding, EngineDied, Failure, Message
from syndigits_jax.respond.store.responses import ResponseStore, StoreError
from syndigits_jax.schema import Option, Persona, Question, Scale

PEOPLE, ASKED = some_personas(5), some_questions(4)
TEMPLATE = plain_template()
ALL = len(PEOPLE) * len(ASKED)


def ask(path, engine=None, *, people=PEOPLE, asked=ASKED, template=TEMPLATE, **options):
    decoding = options.pop("decoding", Decoding())
    return collect(engine or StubEngine(), template, people, asked, decoding, path, **options)


def contents(path):
    """All rows by what they are about, without times and sessions."""
    query = (
        "SELECT personas.identifier, questions.identifier, shown, draw, template_version, model, "
        "settings, text, value, status, probabilities, outside, finish_reason, prompt_tokens, "
        "completion_tokens, cached_tokens FROM responses JOIN personas ON personas.id = persona "
        "JOIN questions ON questions.id = question JOIN runs ON runs.id = run ORDER BY 1,2,3,4,5,7"
    )
    with ResponseStore(path, read_only=True) as store:
        return list(store.rows(query))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r.db"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "r.db"
    ask(path)
    return contents(path)


# --- what is asked ----------------------------------------------------------------------------


def test_every_question_is_asked_of_every_persona_once_in_order(path):
    engine = StubEngine(window=1)
    report = ask(path, engine)
    chats = [render(TEMPLATE, p, q).messages for p in PEOPLE for q in ASKED]
    assert [request.messages for request in engine.asked] == chats
    assert (report.planned, report.already, report.asked, report.answered) == (ALL, 0, ALL, ALL)
    assert report.missing == report.failed == 0 and not report.gave_up
    assert (report.prompt_tokens, report.completion_tokens) == (90 * ALL, ALL)
    assert report.outside == pytest.approx(0.2)
    assert engine.closed == 0  # whoever made it closes it


def test_the_same_call_asks_nothing_more_and_more_of_anything_asks_the_rest(path):
    ask(path)
    again = StubEngine(version="2")
    report = ask(path, again)
    assert (report.already, report.asked, again.asked) == (ALL, 0, [])
    for options, new in (
        ({"people": some_personas(6)}, len(ASKED)),
        ({"asked": some_questions(5)}, len(PEOPLE)),  # of the first five people
        ({"decoding": Decoding(orders=2)}, ALL),
        ({"decoding": Decoding(orders=3)}, ALL),
        ({"decoding": Decoding("choice")}, ALL),
        ({"decoding": Decoding("sample", temperature=1.0, draws=2)}, 2 * ALL),
        ({"decoding": Decoding("sample", temperature=1.0, draws=3)}, ALL),
        ({"template": plain_template("2")}, ALL),
    ):
        assert ask(path, **options).asked == new, options
    changed = [Persona("p0", "Somebody else."), *PEOPLE[1:]]
    assert ask(path, people=changed).asked == len(ASKED)


def test_seeds_differ_between_requests_and_depend_on_nothing_else(tmp_path):
    decoding = Decoding("sample", temperature=1.0, draws=3, orders=2, seed=4)
    seeds = {}
    for name, people in (("a", PEOPLE), ("b", PEOPLE[::-1][:2])):
        engine = StubEngine(window=3)
        ask(tmp_path / name, engine, people=people, decoding=decoding)
        seeds[name] = [request.seed for request in engine.asked]
        assert len(set(seeds[name])) == len(people) * len(ASKED) * 6
        assert all(0 <= seed < 2**31 for seed in seeds[name])
    assert set(seeds["b"]) < set(seeds["a"])
    other = StubEngine()
    ask(tmp_path / "c", other, decoding=Decoding("sample", temperature=1.0, draws=3, orders=2))
    assert not {request.seed for request in other.asked} & set(seeds["a"])


def test_orders_show_options_differently_and_answers_stay_in_theirs(path):
    engine = StubEngine(window=1)
    question = some_questions(2, options=3, refusal=9.0)[0]
    ask(path, engine, people=PEOPLE[:1], asked=[question], decoding=Decoding(orders=50))
    chats = [request.messages[0].content for request in engine.asked]
    assert len(set(chats)) == len(chats) == 6  # three options, the refusal at its place
    assert {request.answers for request in engine.asked} == {("1", "2", "3", "9")}
    shown = [row[2] for row in contents(path)]
    assert "" in shown and "2,1,0,3" in shown


def test_requests_are_read_lazily(path):
    ahead = []

    class Reading(StubEngine):
        def stream(self, requests):
            def counted():
                for number, request in enumerate(requests):
                    ahead.append(number - len(self.asked))
                    yield request

            return super().stream(counted())

    ask(path, Reading(window=3))
    assert max(ahead) < 3 and len(ahead) == ALL


def test_limit_and_progress(path, uninterrupted):
    seen: list[CollectionProgress] = []
    report = ask(path, limit=7, on_progress=seen.append)
    assert (report.asked, report.missing) == (7, ALL - 7)
    assert (seen[0].done, seen[0].total, seen[0].already) == (0, 7, 0)
    assert (seen[-1].done, seen[-1].total) == (7, 7) and seen[-1].seconds_left == 0
    assert math.isinf(seen[0].seconds_left) and seen[-1].rate > 0
    assert seen[-1].prompt_tokens == 7 * 90 and seen[-1].cached_tokens == 7 * 64
    rest = ask(path, on_progress=seen.append)
    assert (rest.already, rest.asked, rest.missing) == (7, ALL - 7, 0)
    assert seen[-1].already == 7
    assert contents(path) == uninterrupted


# --- what goes wrong --------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.lists(st.integers(0, ALL), max_size=4), st.integers(1, 30), st.integers(0, 2**16))
def test_deaths_and_failures_lose_and_repeat_nothing(
    uninterrupted, tmp_path_factory, deaths, window, seed
):
    """An engine that stops repeatedly and fails at random: in the end all is stored, and
    nothing that was answered was asked twice."""
    path = tmp_path_factory.mktemp("d") / "r.db"
    unlucky = np.random.default_rng(seed)
    answered = []
    for dies_at in (*deaths, None):
        engine = StubEngine(window=window, dies_at=dies_at, fails=lambda _: unlucky.random() < 0.2)
        honestly = engine.answer
        engine.answer = lambda request, of=honestly: (answered.append(request.seed), of(request))[1]
        try:
            ask(path, engine)
        except EngineDied as error:
            assert "the same command asks only the rest" in str(error)
    ask(
        path, StubEngine(answer=lambda request: (answered.append(request.seed), honest(request))[1])
    )
    assert contents(path) == uninterrupted
    assert len(answered) == len(set(answered)) == ALL


def test_failures_are_counted_and_asked_again(path, uninterrupted):
    report = ask(path, StubEngine(fails=lambda number: number % 3 == 0))
    failed = math.ceil(ALL / 3)
    assert (report.failed, report.answered, report.missing) == (failed, ALL - failed, failed)
    assert report.reasons == {"overloaded": failed}
    assert len(contents(path)) == ALL - failed
    assert ask(path).asked == failed
    assert contents(path) == uninterrupted


def test_it_gives_up_when_nothing_but_failures_comes(path):
    engine = StubEngine(window=2, fails=lambda number: number >= 4)
    report = ask(path, engine, patience=3)
    assert report.gave_up and len(engine.asked) < 12
    assert report.answered == 4 and report.missing == ALL - 4
    # Failures here and there are no reason.
    assert not ask(path, StubEngine(fails=lambda number: number % 2), patience=2).gave_up


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("window", [1, 50])
def test_a_persona_that_always_fails_keeps_nobody_from_being_asked(path, place, window):
    people, asked = some_personas(4), some_questions(123)
    people.insert(place, Persona("long", "Far too long."))

    def answer(request):
        if "Far too long." in request.messages[0].content:
            return Failure(f"the prompt is too long by {request.seed} tokens")
        return honest(request)

    report = ask(path, StubEngine(window=window, answer=answer), people=people, asked=asked)
    assert (report.answered, report.failed, report.missing) == (4 * 123, 123, 123)
    assert not report.gave_up
    # Alone and without any answer, it is given up.
    engine = StubEngine(window=1, answer=answer)
    report = ask(path, engine, people=people, asked=asked)
    assert report.gave_up and len(engine.asked) == 100 and report.missing == 123


def test_a_limit_is_not_used_up_by_a_persona_that_always_fails(path):
    people = [Persona("long", "Far too long."), *some_personas(2)]

    def answer(request):
        long = "Far too long." in request.messages[0].content
        return Failure("too long") if long else honest(request)

    engine = StubEngine(window=1, answer=answer)
    report = ask(path, engine, people=people, asked=some_questions(10), limit=10)
    assert (report.asked, report.failed, report.answered) == (10, 3, 7)


def test_an_engine_that_fails_everybody_is_given_up_soon(path):
    people, asked = some_personas(60), some_questions(20)
    engine = StubEngine(window=1, fails=lambda number: number >= 40)
    assert ask(path, engine, people=people, asked=asked).gave_up
    assert len(engine.asked) == 40 + 100


def test_an_interrupt_keeps_what_came_and_stops_the_engine(path, uninterrupted):
    ended = []

    class Interrupted(StubEngine):
        def stream(self, requests):
            try:
                for number, outcome in enumerate(super().stream(requests)):
                    if number == 9:
                        raise KeyboardInterrupt
                    yield outcome
            finally:
                ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        ask(path, Interrupted())
    assert ended and len(contents(path)) == 9
    ask(path)
    assert contents(path) == uninterrupted


def test_requests_that_an_engine_forgets_are_failures(path, uninterrupted):
    class Forgetful(StubEngine):
        def stream(self, requests):
            return (outcome for outcome in super().stream(requests) if outcome[0] % 4)

    report = ask(path, Forgetful())
    assert report.reasons == {"the engine returned no outcome": 5} and report.missing == 5
    ask(path)
    assert contents(path) == uninterrupted


def test_an_engine_that_answers_twice_is_an_error(path):
    class Stammering(StubEngine):
        def stream(self, requests):
            for outcome in super().stream(requests):
                yield outcome
                yield outcome

    with pytest.raises(RuntimeError, match="which was not sent or already answered"):
        ask(path, Stammering())


def test_a_disk_that_fills_up_loses_nothing(path, uninterrupted, monkeypatch):
    with ResponseStore(path) as store:
        ask(store, limit=3)
        assert store._connection is not None
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        chatty = StubEngine(answer=lambda request: Completion("word " * 5000, (-1.0,) * 5))
        with pytest.raises(StoreError, match="the disk is full"):
            ask(store, chatty)
        with pytest.raises(StoreError, match="the disk is full"):
            store.close()
    assert len(contents(path)) == 3
    ask(path)
    assert contents(path) == uninterrupted


def test_a_busy_store_is_found_before_the_engine_starts(path):
    class Unstarted:
        def stream(self, requests):
            raise AssertionError

        def close(self):
            pass

        identity = None

    with ResponseStore(path), pytest.raises(StoreError, match="is writing it"):
        ask(path, Unstarted())


# --- what is refused before anything is asked -------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"people": []}, "`personas`: there are none"),
        ({"asked": []}, "`questions`: there are none"),
        ({"people": [PEOPLE[0], PEOPLE[0]]}, "`personas`: duplicate identifiers 'p0'"),
        ({"asked": [ASKED[1], ASKED[1]]}, "`questions`: duplicate identifiers 'q1'"),
        ({"people": [*PEOPLE, Persona("mute")]}, "mute"),
        ({"asked": [*ASKED, Question("open", "Why?")]}, "open"),
        ({"asked": [*ASKED, Question("silent", "", ASKED[0].options)]}, "silent"),
        ({"limit": 0}, "`limit`"),
        (
            {"template": Template("w", "1", "s", (Message("user", "{persona}"),), "text")},
            "asks no question",
        ),
    ],
)
def test_bad_input_is_refused_before_the_store_is_made(tmp_path, changes, message):
    engine = StubEngine()
    with pytest.raises(ValueError, match=message):
        ask(tmp_path / "r.db", engine, **changes)
    assert not engine.asked and not list(tmp_path.iterdir())


# --- what an answer is worth ------------------------------------------------------------------


def outcome(completion, readout="probabilities", question=None, answer_with="value"):
    question = question or some_questions(1, options=3, refusal=9.0)[0]
    prompt = render(plain_template("1", answer_with), PEOPLE[0], question)
    return read_outcome(completion, question, prompt, readout, answer_with)


def test_a_distribution_is_renormalised_and_its_mean_leaves_refusals_out():
    given = np.array([0.1, 0.2, 0.1, 0.3])
    found = outcome(Completion("9", tuple(np.log(given).tolist())))
    assert found.status == "answered"
    assert np.frombuffer(found.probabilities, "<f4") == pytest.approx(given / 0.7)
    assert found.outside == pytest.approx(0.3)
    assert found.value == pytest.approx((0.1 * 1 + 0.2 * 2 + 0.1 * 3) / 0.4)


def test_extreme_distributions():
    small = outcome(Completion("1", (-2000.0, -2001.0, -math.inf, -math.inf)))
    p = math.e / (1 + math.e)
    assert np.frombuffer(small.probabilities, "<f4") == pytest.approx([p, 1 - p, 0, 0])
    assert small.outside == 1.0 and small.value == pytest.approx(2 - p)
    none = outcome(Completion("1", (-math.inf,) * 4))
    assert (none.status, none.value, none.probabilities, none.outside) == (
        "unparsed",
        None,
        None,
        1,
    )
    refuses = outcome(Completion("9", (-50.0, -50.0, -50.0, 0.0)))
    assert (refuses.status, refuses.value) == ("refused", None)
    scale = Scale(1, 3, 1, "nominal")
    named = Question("q", "Which?", some_questions(1, options=3)[0].options, scale=scale)
    assert outcome(Completion("3", (-2.0, -3.0, -1.0)), question=named).value == 3


@pytest.mark.parametrize("logs", [None, (), (-1.0,) * 3, (math.nan, -1.0, -1.0, -1.0), (5.0,) * 4])
def test_malformed_distributions_are_failures(path, logs):
    with pytest.raises(MalformedCompletion):
        outcome(Completion("1", logs))
    report = ask(path, StubEngine(answer=lambda request: Completion("1", logs)), limit=2)
    if logs is None or len(logs) != 5:
        assert report.failed == 2 and "malformed" in next(iter(report.reasons))
        assert not contents(path)


@pytest.mark.parametrize("readout", ["choice", "sample"])
def test_constrained_answers_are_taken_by_the_letter(readout):
    for text, value, status in (
        ("2", 2.0, "answered"), (" 3\n", 3.0, "answered"), ("9", None, "refused"),
        ("", None, "empty"), (" \n", None, "empty"), ("4", None, "unparsed"),
        ("The answer is 2", None, "unparsed"),
    ):  # fmt: skip
        assert outcome(Completion(text), readout)[:2] == (value, status), text


def test_free_text_is_parsed_and_counted(path):
    texts = {"q0": "2", "q1": "", "q2": "I'd rather not say", "q3": "bananas"}
    asked = some_questions(4, refusal=9.0)

    def answer(request):
        (name,) = (q.identifier for q in asked if q.text in request.messages[0].content)
        return Completion(texts[name] + "\ud800" * (name == "q3"), None, "length")

    decoding = Decoding("text", temperature=0.5)
    report = ask(path, StubEngine(answer=answer), asked=asked, decoding=decoding)
    assert isinstance(report, Report)
    counts = (report.answered, report.empty, report.refused, report.unparsed)
    assert counts == (len(PEOPLE),) * 4
    assert math.isnan(report.outside)
    rows = contents(path)
    assert {(row[1], row[8]) for row in rows} == {
        ("q0", 2),
        ("q1", None),
        ("q2", None),
        ("q3", None),
    }
    assert {row[12] for row in rows} == {"length"}
    assert ("q3", "bananas?") in {(row[1], row[7]) for row in rows}


def test_a_number_that_may_have_been_cut_off_is_no_answer():
    paid = Question("p", "How much?", tuple(Option(v, f"${v}") for v in (1, 2, 10)), refusal=2.0)
    slider = Question("s", "How many?", scale=Scale(0, 100, 1))
    stars = Question("m", "Stars?", scale=Scale(1, 5, 1))
    halves = Question("h", "Stars?", scale=Scale(0.5, 5, 0.5))
    cases = [
        (paid, "$1", "label", 1.0), (paid, "$10", "label", 10.0), (paid, "1", "value", 1.0),
        (paid, "10", "value", 10.0), (paid, "2", "value", "refused"),
        (paid, "I'd say 1", "value", 1.0), (slider, "7", "value", 7.0),
        (slider, "100", "value", 100.0), (slider, "Answer: 30", "value", 30.0),
        (stars, "4", "value", 4.0), (halves, "4", "value", 4.0), (halves, "4.5", "value", 4.5),
        (stars, "4 because of 3", "value", 4.0), (stars, "Answer: 4\n", "value", 4.0),
        (stars, "I'd say 4.", "value", 4.0),
    ]  # fmt: skip
    cut_off = {0, 2, 5, 6, 8, 10, 14}
    for number, (question, text, with_, expected) in enumerate(cases):
        for reason in ("stop", "length"):
            found = outcome(Completion(text, None, reason), "text", question, with_)
            lost = reason == "length" and number in cut_off
            got = found.value if found.status == "answered" else found.status
            assert got == ("unparsed" if lost else expected), (text, reason)


def test_what_is_recorded(path):
    ask(path, people=PEOPLE[:1], limit=1)
    ask(path, StubEngine(version="2"), people=PEOPLE[:1])
    plan = make_plan(TEMPLATE, PEOPLE[:1], ASKED, Decoding())
    with ResponseStore(path, read_only=True) as store:
        (run,) = store.runs()
        assert (run.template, run.template_version) == ("plain", "1")
        assert (run.template_hash, run.model) == (TEMPLATE.hash, "stub-model")
        rows = list(store.rows(
            "SELECT question, text, probabilities, engine, engine_version, package_version, time "
            "FROM responses JOIN sessions ON sessions.id = session ORDER BY question"
        ))  # fmt: skip
        assert [row[4] for row in rows] == ["1", "2", "2", "2"]
        assert {row[3] for row in rows} == {"stub"} and all(row[6] > 1e9 for row in rows)
        for row, task in zip(rows, plan.tasks):
            request = plan.request(0, task, plan.prompt(0, task))
            weights = np.exp(honest(request).log_probabilities)
            assert row[1] == honest(request).text
            assert np.frombuffer(row[2], "<f4") == pytest.approx(weights / weights.sum())
    with sqlite3.connect(path) as plain:  # any SQLite program reads it
        assert plain.execute("SELECT COUNT(*) FROM responses").fetchone() == (4,)
    plain.close()
