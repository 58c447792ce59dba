"""Transport of a server's answer: compression, encodings, error pages, redirects, proxies."""

import base64
import contextlib
import gzip
import json
import re
import socket
import threading
import time
import zlib

import numpy as np
import pytest
from stub_chat_server import StubServer, body, chat_answer, top_logprobs
from test_odd_servers import GOOD, PROBABILITIES, one
from test_openai_engine import SECRET, asking, engine_for, outcomes

from syndigits_jax.respond.engines import _servers
from syndigits_jax.respond.engines.openai_engine import OpenAIEngine
from syndigits_jax.respond.requests import Completion, EngineDied, Failure

PLAIN = json.dumps(GOOD).encode()
RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(PLAIN) + RAW.flush()


def events(*said, end="\n\n"):
    lines = [f"data: {json.dumps(event)}" for event in said]
    return end.join([": a comment", "event: message", *lines, "data: [DONE]", ""]).encode()


PARTS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "3"}}]},
    {"choices": [{"index": 0, "delta": {"content": " \u2028of 5"}, "finish_reason": "length"}]},
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (body(gzip.compress(PLAIN), Content_Encoding="gzip"), "3"),
        (body(gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]), Content_Encoding="gzip"), "3"),
        (body(zlib.compress(PLAIN), Content_Encoding="deflate"), "3"),
        (body(DEFLATED, Content_Encoding="deflate"), "3"),
        (body(gzip.compress(zlib.compress(PLAIN)), Content_Encoding="deflate, gzip"), "3"),
        (body(gzip.compress(PLAIN)), "3"),  # it does not say so
        (body(PLAIN, Content_Encoding="gzip"), "3"),  # it says so and has not
        (body(PLAIN, Content_Encoding="br"), "3"),
        (body(PLAIN, Content_Encoding="identity"), "3"),
        (b"\xef\xbb\xbf" + PLAIN, "3"),
        (b"\r\n  " + PLAIN + b"\n\n", "3"),
        (json.dumps(GOOD).encode("utf-16"), "3"),
        (body(json.dumps(chat_answer("né"), ensure_ascii=False).encode("latin-1"),
              Content_Type="application/json; charset=ISO-8859-1"), "né"),
        (body(PLAIN, Content_Type="text/html"), "3"),
        (b"[" + PLAIN + b"]", "3"),
        (body(events(GOOD), Content_Type="text/event-stream"), "3"),
        (body(events(*PARTS), Content_Type="text/event-stream"), "3 \u2028of 5"),
        (body(events(*PARTS, end="\r\n\r\n"), Content_Type="text/event-stream"), "3 \u2028of 5"),
        (b"\n".join(json.dumps(part).encode() for part in PARTS), "3 \u2028of 5"),
    ],
)  # fmt: skip
def test_bodies_are_read_however_they_are_packed(said, text):
    found, asked = one(said)
    assert isinstance(found, Completion), found
    assert found.text == text and found.prompt_tokens == 7 and asked == 1


def test_probabilities_in_a_stream_of_events():
    logs = top_logprobs({"2": 0.5, "1": 0.25})
    part = {"choices": [{"index": 0, "delta": {"content": "2"}, "logprobs": logs}]}
    found, _ = one(events(part), asking(**PROBABILITIES))
    np.testing.assert_allclose(np.exp(found.log_probabilities), [0.25, 0.5])


PAGE = b"<!DOCTYPE html><html><head><title>502 Bad\n Gateway</title></head><body>x</body></html>"


@pytest.mark.parametrize(
    ("said", "reason", "times"),
    [
        (PAGE, "HTML page, not JSON.*'502 Bad Gateway'", 4),
        ((502, {}, PAGE), "HTTP 502: 502 Bad Gateway$", 4),
        ((403, {}, b"<html><body><p>Go &amp; away</p></body></html>"), "HTTP 403: Go & away$", 1),
        ((400, {"Content-Encoding": "gzip"}, gzip.compress(b'{"detail": "too long"}')),
         "HTTP 400: too long$", 1),
        ((422, {}, b'{"detail": [{"loc": ["body", "seed"], "msg": "not a number"}]}'),
         "HTTP 422: body.seed: not a number$", 1),
        ((402, {}, b""), "HTTP 402: Payment Required$", 1),
        ((400, {}, b"{}"), "HTTP 400: Bad Request$", 1),
        ((400, {}, b"null"), "HTTP 400: Bad Request$", 1),
        (events({"error": {"code": 400, "message": "too long"}}), "error 400: too long", 1),
        (b'[{"error": {"code": 400, "message": "too long"}}]', "error 400: too long", 1),
        (body(gzip.compress(PLAIN)[:30], Content_Encoding="gzip"), "cut short", 4),
        (body(b"\x00\x01\x02", Content_Encoding="gzip"), "said to be compressed", 4),
        (body(b"\x00\x01\x02", Content_Encoding="br"), "'br', which was not asked for", 4),
        (b"data: [DONE]\n\n", "no JSON object", 4),
        (b"", "its answer is empty", 4),
        (b"[" * 100_000, "no JSON object", 4),
        (b"12", "no JSON object: '12'", 4),
    ],
)  # fmt: skip
def test_bodies_that_are_no_answer_say_what_they_are(said, reason, times):
    found, asked = one(said)
    assert isinstance(found, Failure) and asked == times
    assert re.search(reason, found.reason), found.reason


# --- what is hardly HTTP ------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZE = f"{len(PLAIN):X}".encode()


class RawServer:
    """Sends the same bytes to every request, and closes the connection."""

    def __init__(self, said):
        self.said, self.asked = said, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    asked = connection.recv(1 << 16)
                    self.asked += asked.startswith(b"POST")
                    connection.sendall(self.said)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (CHUNKED + SIZE + b"\r\n" + PLAIN + b"\r\n0\r\n\r\n", "3"),
        (CHUNKED + SIZE + b";a=b\r\n" + PLAIN + b"\r\n0\r\nX-More: 1\r\n\r\n", "3"),
        (OK + b"\r\n" + PLAIN, "3"),  # until it hangs up
        (b"HTTP/1.0 200 \r\n\r\n" + PLAIN, "3"),
        (CHUNKED + SIZE + b"\r\n" + PLAIN[:20], None),
        (CHUNKED + b"zz\r\n" + PLAIN, None),
        (OK + b"Content-Length: 100000\r\n\r\n" + PLAIN, None),
        (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n" + PLAIN, None),
        (OK + b"Content-Length: -1\r\n\r\n" + PLAIN, None),
        (OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n" + PLAIN, None),
        (OK + b"broken header\r\n\r\n" + PLAIN, None),
        (PLAIN, None),
        (b"", None),
        (b"\x00\xff\x00", None),
    ],
)  # fmt: skip
def test_answers_that_are_hardly_http(said, text):
    with RawServer(said) as server, engine_for(server, model="stub", retries=1) as engine:
        if text is None:
            with pytest.raises(EngineDied, match=r"no server answers: 127\.0\.0\.1:\d+: \w+"):
                _ = engine.identity
        else:
            (found,) = outcomes(engine, [asking()])
            assert isinstance(found, Completion) and found.text == text and server.asked == 1


# --- redirects --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("whole", [True, False])
def test_redirects_on_the_same_host_are_followed_with_the_request_and_the_key(
    status, whole, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    def behave(_body, number):
        place = (server.url if whole else "") + "/elsewhere/chat?a=b"
        return GOOD if number else (status, {"Location": place}, b"")

    with StubServer(behave) as server, engine_for(server) as engine:
        (found,) = outcomes(engine, [asking()])
    assert found.text == "3"
    (_, first), (path, second) = server.asked
    assert first == second and path == "/elsewhere/chat"
    assert set(server.keys) == {f"Bearer {SECRET}"}


def test_another_port_of_the_same_host_gets_the_request_without_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with (
        StubServer(lambda *_: GOOD) as second,
        StubServer(lambda *_: (307, {"Location": f"{second.url}/chat"}, b"")) as first,
        engine_for(first) as engine,
    ):
        (found,) = outcomes(engine, [asking()])
    assert found.text == "3" and set(first.keys) == {f"Bearer {SECRET}"}
    assert second.keys == [None] and second.asked[0][1] == first.asked[0][1]


@pytest.mark.parametrize(
    ("status", "place", "reason"),
    [
        (308, "https://127.0.0.1/v1/chat", "redirects to https://127.0.0.1/v1/chat"),
        (302, "http://login.invalid/?key=abc", "redirects to http://login.invalid/, which is"),
        (302, "http://me:word@127.0.0.1/", "redirects to http://127.0.0.1/, which is"),
        (302, "", "it redirects to nowhere"),
        (302, "http://[bad", "it redirects to nowhere"),
        (302, "/round", "more than 5 redirects"),
        (303, "/done", "without the request"),
        (300, "/done", "HTTP 300: Multiple Choices"),
        (304, "", "HTTP 304"),
    ],
)
def test_redirects_elsewhere_are_named_and_not_followed(status, place, reason):
    found, asked = one((status, {"Location": place}, b""))
    assert isinstance(found, Failure) and reason in found.reason
    assert "abc" not in found.reason and "word" not in found.reason
    assert asked == (6 if "more than" in reason else 1)


# --- Retry-After ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": " 3 "}, 3),
        ({"Retry-After": "-0.5"}, 0),
        ({"Retry-After": "3, 4"}, 0),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 GMT"}, 0),
        ({"Retry-After": "Mon, 99 Foo 2020"}, 0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 600),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "soon"}, 0),
        ({}, 0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(headers, seconds):
    assert _servers.retry_after(headers) == seconds


def test_a_date_without_a_zone_is_greenwichs(monkeypatch):
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        soon = time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime(time.time() + 60))
        for zone in ("", " -0000", " GMT"):
            found = _servers.retry_after({"Retry-After": soon + zone})
            assert found == pytest.approx(60, abs=20)
    finally:
        monkeypatch.undo()
        time.tzset()


# --- proxies ----------------------------------------------------------------------------------


@pytest.fixture
def clean(monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # A file of passwords for other programs changes nothing.
    netrc = tmp_path / "netrc"
    netrc.write_text("machine model.invalid login me password word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    return monkeypatch


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("key", [SECRET, None])
def test_the_environments_proxy_is_used(clean, name, key):
    for variable in ("OPENAI_API_KEY", "SYNDIGITS_API_KEY"):
        clean.delenv(variable, raising=False)
    if key:
        clean.setenv("OPENAI_API_KEY", key)
    with StubServer(lambda *_: GOOD) as proxy:
        clean.setenv(name, proxy.url)
        with OpenAIEngine("http://model.invalid:81/v1", retries=0) as engine:
            assert [answer.text for answer in outcomes(engine, [asking()] * 2)] == ["3", "3"]
    assert set(proxy.targets) == {
        "http://model.invalid:81/v1/models",
        "http://model.invalid:81/v1/chat/completions",
    }
    assert set(proxy.keys) == {f"Bearer {key}" if key else None}


def test_a_host_may_be_reached_without_the_proxy(clean):
    clean.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with StubServer(lambda *_: GOOD) as server:
        with engine_for(server, retries=0) as engine, pytest.raises(EngineDied, match="no server"):
            _ = engine.identity
        clean.setenv("NO_PROXY", "localhost,127.0.0.1")
        with engine_for(server, retries=0) as engine:
            assert outcomes(engine, [asking()])[0].text == "3"


def identity_problem(engine):
    with engine, pytest.raises(EngineDied) as died:
        _ = engine.identity
    return str(died.value)


def test_a_proxys_password_is_sent_to_it_and_shown_nowhere(clean, caplog):
    with caplog.at_level(0), StubServer(lambda *_: GOOD, models=407) as proxy:
        clean.setenv("HTTP_PROXY", proxy.url.replace("://", f"://me:{SECRET}@"))
        died = identity_problem(OpenAIEngine("http://model.invalid/v1", retries=0))
    assert "the proxy requires a user name" in died
    assert proxy.proxy_keys == [f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"]
    clean.setenv("HTTP_PROXY", f"http://me:{SECRET}@127.0.0.1:9")
    gone = identity_problem(OpenAIEngine("http://model.invalid/v1", retries=0))
    assert not any(SECRET in text for text in (died, gone, caplog.text))


def test_a_proxy_that_is_none_of_http_is_named(clean):
    clean.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    died = identity_problem(OpenAIEngine("http://model.invalid/v1", retries=0))
    assert re.search(r"a socks5 proxy.*NO_PROXY=model\.invalid", died)
