"""A server in a thread whose answers a test sets: correct, wrong, late or none."""

import contextlib
import json
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np

ALPHABET = "\n 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz?.,|<>"
HANG_UP = "hang up"


def chat_answer(text, finish_reason="stop", logprobs=None, cached=0):
    """A chat completion as OpenAI's interface defines it."""
    return {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
                "logprobs": logprobs,
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }


def top_logprobs(probabilities):
    """The first token's likeliest, from {token: probability}."""
    top = [{"token": token, "logprob": float(np.log(p))} for token, p in probabilities.items()]
    return {"content": [{"token": top[0]["token"], "top_logprobs": top}]}


class StubServer:
    """Serves `model`, and answers chats as `behave(body, number)` says.

    `behave` returns a dict (200), a number (that status), bytes (200, as they are), a tuple
    (status, headers, body), HANG_UP, or a float: seconds to wait before answering "1". `models`,
    if given, is what it says in place of a list of its models. `targets` are the request lines'
    addresses, which are whole where it stands in for a proxy.
    """

    def __init__(self, behave, model="stub", vllm=False, models=None):
        self.behave, self.model, self.vllm, self.models = behave, model, vllm, models
        self.asked, self.keys, self.targets, self.most = [], [], [], 0
        self.proxy_keys = []
        self._now, self._lock = 0, threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body):
                with contextlib.suppress(ConnectionError):
                    self.reply(*stub.respond(self.path, body, self.headers))

            def reply(self, status, headers, content):
                if status is HANG_UP:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in (headers | {"Content-Length": len(content)}).items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def respond(self, path, body, headers):
        self.keys.append(headers.get("Authorization"))
        self.proxy_keys.append(headers.get("Proxy-Authorization"))
        self.targets.append(path)
        path = urlsplit(path).path
        if path == "/v1/models" and self.models is not None:
            return in_http(self.models)
        if path == "/v1/models":
            entry = {"id": self.model, "owned_by": "vllm" if self.vllm else "me"}
            return 200, {}, json.dumps({"data": [entry]}).encode()
        if path == "/version":
            return 200, {}, b'{"version": "9.9"}'
        if path == "/tokenize":
            text = body.get("prompt") or prompt_of(body["messages"])
            return 200, {}, json.dumps({"tokens": tokens_of(text)}).encode()
        if path == "/detokenize":
            text = "".join(ALPHABET[token] for token in body["tokens"])
            return 200, {}, json.dumps({"prompt": text}).encode()
        with self._lock:
            number = len(self.asked)
            self.asked.append((path, body))
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            said = self.behave(body, number)
            if isinstance(said, float):
                time.sleep(said)
                said = chat_answer("1")
        finally:
            with self._lock:
                self._now -= 1
        if said is HANG_UP:
            return HANG_UP, {}, b""
        return in_http(said)


def in_http(said):
    """(status, headers, body) of what a test wants to be answered."""
    if isinstance(said, tuple):
        return said
    if isinstance(said, int):
        return said, {}, json.dumps({"error": {"message": f"stub says {said}"}}).encode()
    return 200, {}, said if isinstance(said, bytes) else json.dumps(said).encode()


def body(said, status=200, **headers):
    """(status, headers, body) of bytes, or of JSON; header names with _ for -."""
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, content


def tokens_of(text):
    return [ALPHABET.index(letter) for letter in text]


def prompt_of(messages):
    return "".join(f"<{m['role']}>{m['content']}\n" for m in messages) + "<assistant>"


def next_token(tokens):
    """Log-probabilities of the next letter: any function of all the letters before will do."""
    seed = zlib.crc32(bytes(tokens))
    logits = 2.0 * np.random.default_rng(seed).standard_normal(len(ALPHABET))
    return logits - np.log(np.exp(logits).sum())


def letters_model(body, _number):
    """vLLM's server with a language model of letters."""
    chat = "messages" in body
    prompts = [tokens_of(prompt_of(body["messages"]))] if chat else body["prompt"]
    choices = []
    for index, prompt in enumerate(prompts):
        scores = next_token(prompt)
        top = {f"token_id:{token}": float(scores[token]) for token in body["logprob_token_ids"]}
        entries = [{"token": token, "logprob": score} for token, score in top.items()]
        both = {"content": [{"top_logprobs": entries}]} if chat else {"top_logprobs": [top]}
        choices.append(
            {
                "index": index,
                "logprobs": both,
                "message": {"content": "x"},
                "finish_reason": "length",
            }
        )
    return {"choices": choices, "prompt_token_ids": prompts[0] if chat else None}
