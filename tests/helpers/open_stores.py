"""Stores with a few answers, for tests."""

import pytest
from stub_engines import plain_template, some_personas, some_questions

from syndigits_jax.respond import StoreError
from syndigits_jax.respond.requests import Decoding, EngineIdentity
from syndigits_jax.respond.store.responses import Response, ResponseStore

SAFE, PENDING = 3, 2
STUB = EngineIdentity("m", "stub", "1")


def filled(path, count=3):
    """A store with `count` responses of one persona to as many questions, and its numbers."""
    store = ResponseStore(path)
    run = store.register_run(plain_template(), STUB, Decoding())
    questions = some_questions(max(count, 2))
    (persona,), columns = store.register_grid(
        run, some_personas(1), questions, [[]] * len(questions)
    )
    session = store.register_session(run, STUB)
    for column in columns[:count]:
        store.add(response(run, persona, column, session))
    store.flush()
    return store, run, persona, columns, session


def response(run, persona, question, session, text="3", **changes):
    fields = {
        "run": run, "persona": persona, "question": question, "shown": "", "draw": 0,
        "session": session, "text": text, "value": 3.0, "status": "answered",
        "probabilities": None, "outside": None, "finish_reason": "stop", "prompt_tokens": 1,
        "completion_tokens": 1, "cached_tokens": 0, "time": 0.0,
    }  # fmt: skip
    return Response(**(fields | changes))


def open_store(tmp_path):
    path = tmp_path / "folder" / "r.db"
    store, run, persona, columns, session = filled(path, SAFE)
    return path, store, lambda draw: response(run, persona, columns[0], session, draw=draw)


def first_error(store, answer, words):
    """What `flush` says, in full; `close` says it too, once, and the store is closed then."""
    for draw in range(1, 1 + PENDING):
        store.add(answer(draw))
    with pytest.raises(StoreError, match=words) as error:
        store.flush()
    message = str(error.value)
    assert f"not saved: {PENDING} answers added since" in message
    with pytest.raises(StoreError, match=words) as error:
        store.close()
    assert f"not saved: {PENDING} answers added since" in str(error.value)
    store.close()
    for late in (lambda: store.add(answer(9)), store.flush, store.count):
        with pytest.raises(StoreError, match="closed"):
            late()
    return message
