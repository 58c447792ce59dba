"""Lists of models in any form, or none; a named model is asked in all cases."""

import pytest
from stub_chat_server import StubServer, chat_answer, letters_model
from test_openai_engine import asking, engine_for, outcomes

from syndigits_jax.respond.requests import EngineDied

GOOD = chat_answer("3")

LISTS = [
    ([{"id": "stub"}], "stub"),
    (["stub"], "stub"),
    ({"data": ["stub"]}, "stub"),
    ({"models": [{"name": "stub"}]}, "stub"),
    ({"models": [{"name": "models/stub"}]}, "stub"),
    ({"object": "list", "data": [{"id": "stub"}, None, 3, {"id": None}]}, "stub"),
    ({"data": {"stub": {"owned_by": "me"}}}, "stub"),
    ({"object": "list", "data": None}, None),
    ({"data": []}, None),
    ([], None),
    ({}, None),
    ({"ok": True}, None),
    (b"not JSON", None),
    (b"<html><title>Sign in</title></html>", None),
    (b"", None),
    (b'"stub"', None),
    ({"error": {"message": "no such route"}}, None),
    (400, None), (403, None), (404, None), (405, None), (501, None), (500, None), (503, None),
    ((302, {"Location": "https://login.example/"}, b""), None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "sole"), LISTS, ids=repr)
def test_whatever_the_list_of_models_is_a_named_model_is_asked(said, sole, caplog):
    with StubServer(lambda *_: GOOD, models=said) as server:
        with engine_for(server, model="stub") as engine:
            assert engine.identity.model == "stub"
            (found,) = outcomes(engine, [asking()])
            assert found.text == "3"
        notes = [r for r in caplog.records if "does not say what it serves" in r.message]
        assert len(notes) == (0 if sole else 1)
        with engine_for(server) as engine:
            if sole:
                assert engine.identity.model == sole
            else:
                with pytest.raises(ValueError, match=r"`model` must be named.*name it by --model"):
                    _ = engine.identity


def test_a_wrong_key_is_an_error_whether_the_model_is_named_or_not():
    with StubServer(lambda *_: GOOD, models=401) as server:
        for model in ("stub", None):
            engine = engine_for(server, model=model)
            said = r"HTTP 401: stub says 401.*OPENAI_API_KEY"
            with engine, pytest.raises(EngineDied, match=said):
                _ = engine.identity
        assert server.asked == []


def test_a_server_that_is_starting_is_asked_for_its_models_again():
    """So that vLLM's own is known as such."""
    with StubServer(letters_model, vllm=True) as server:
        honest, calls = server.respond, []

        def starting(path, body, headers):
            calls.append(path)
            return (503, {}, b"starting") if len(calls) < 3 else honest(path, body, headers)

        server.respond = starting
        with engine_for(server, model="stub") as engine:
            assert engine.identity.engine == "vllm-server"


@pytest.mark.parametrize("said", [404, 500, b"<html>no</html>"], ids=repr)
def test_a_hidden_version_is_unknown(said):
    with StubServer(letters_model, vllm=True) as server:
        honest = server.respond

        def hiding(path, body, headers):
            if path != "/version":
                return honest(path, body, headers)
            return (said, {}, b"") if isinstance(said, int) else (200, {}, said)

        server.respond = hiding
        with engine_for(server) as engine:
            assert (engine.identity.engine, engine.identity.version) == ("vllm-server", "unknown")
