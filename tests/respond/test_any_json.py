"""Whatever JSON a server answers: a completion or a clear error, never another exception."""

import asyncio
import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from test_openai_engine import asking

from syndigits_jax.respond.engines._http_answers import in_words, read_json, said_error
from syndigits_jax.respond.engines._model_lists import served_models
from syndigits_jax.respond.engines._server_readouts import Readouts
from syndigits_jax.respond.engines._servers import Refused, Servers, Unavailable, server_at

NAMES = (
    "choices error errors message content logprobs top_logprobs token logprob bytes detail code "
    "status type object text index refusal tool_calls usage prompt_tokens data models id name "
    "finish_reason delta tokens token_logprobs prompt_tokens_details msg loc metadata raw"
)
names = st.sampled_from(NAMES.split())
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=25,
)


@given(
    st.dictionaries(names, any_json, max_size=6),
    any_json,
    st.sampled_from(("text", "probabilities")),
)
@settings(max_examples=100)
def test_any_json_is_an_answer_or_a_clear_word(said, part, readout):
    """Never another exception, which would end the run without a word."""
    said = {"choices": [{"message": {"content": part}, "logprobs": {"content": [part]}}]} | said

    class Sole(Servers):
        def __init__(self):
            pass

        async def call(self, server, url, body=None, *, lists=False):
            if (error := said_error(said)) is not None:
                assert isinstance(error[0], int) and isinstance(error[1], str)
                raise Refused(error[1])
            return said

        def note(self, server, text):
            assert server.api in ("http://host/v1",) and text

    answers = Readouts(Sole(), "m", {}, {})
    request = asking(readout=readout, answers="12")
    with contextlib.suppress(Refused, Unavailable):
        found = asyncio.run(answers.answer(server_at("http://host"), request))
        assert isinstance(found.text, str) and isinstance(found.finish_reason, str)
        counts = found.prompt_tokens, found.completion_tokens, found.cached_tokens
        assert all(isinstance(count, int) and count >= 0 for count in counts)
    with contextlib.suppress(ValueError):
        served_models(part)
    in_words(part)
    read_json(json.dumps(said).encode())
    read_json(b"data: " + json.dumps(said).encode() + b"\n\ndata: {}")
