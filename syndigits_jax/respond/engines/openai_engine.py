"""Servers with OpenAI's chat-completions interface, such as vLLM's own."""

import asyncio
import concurrent.futures
import json
import os
import queue
import re
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from syndigits_jax.respond.engines._model_lists import first_names, served_models
from syndigits_jax.respond.engines._model_names import telling_fields, with_settings
from syndigits_jax.respond.engines._server_readouts import Readouts
from syndigits_jax.respond.engines._servers import (
    Refused,
    Server,
    Servers,
    Unavailable,
    Unusable,
    server_at,
)
from syndigits_jax.respond.requests import Completion, EngineDied, EngineIdentity, Failure, Request

T = TypeVar("T")
_FIXED = ("messages", "model", "n", "stream", "logprobs", "top_logprobs", "structured_outputs")
# Some servers reject these or name them differently, so they may be removed.
_DECODING = ("temperature", "top_p", "seed", "max_tokens")
_KEYS = ("SYNDIGITS_API_KEY", "OPENAI_API_KEY")
_FIRST = 8  # requests in flight before the first answer
_ASKED_FOR_MODELS = 2  # retries of the list of models at a server that is unavailable


class OpenAIEngine:
    """One or several servers with the chat-completions interface, asked concurrently.

    vLLM's own servers return exact probabilities of any answers and constrain choices. On other
    servers only answers among the 20 likeliest first tokens have a probability, and a choice is the
    model's unconstrained reply, which must be one of the answers.

    Temporary errors are retried: status 429 and 500 or above, time-outs, lost connections, and
    answers in another format. Others (any other 4xx) become a [`Failure`][] at once. An error
    inside an answer of HTTP 200 is treated by its own code.

    Redirects are followed on the same host, with the key only to the same port. The environment's
    proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) are used.

    **Arguments:**

    - `urls`: addresses such as `http://127.0.0.1:8000/v1`; each request goes to the least busy.
    - `model`: its name on the server; may be omitted if the server has only one.
    - `concurrency`: the most requests in flight; reached after the first answers.
    - `timeout`: seconds for one exchange.
    - `retries`: of each request. `retry_for`: seconds within which a request is retried beyond
      `retries`, as long as servers are busy or gone. `backoff`: the first wait in seconds,
      which doubles with every retry; the header `Retry-After` is respected.
    - `most_failures`: the engine stops after this many failed requests without an answer in
      between. Before the first answer all failures count; later, rejections that may be due to a
      single request (400, 413, 422) do not.
    - `chat_template_arguments`: for the model's chat template, on vLLM's servers; they become part
      of the model's name.
    - `extra_body`: additional fields of every request's body; None removes a field. Fields that the
      requests set themselves cannot be changed. Fields that may affect answers become part of the
      model's name.

    An API key is read from the environment variable SYNDIGITS_API_KEY or else OPENAI_API_KEY. It
    is sent to all of `urls`, and nowhere else.

    **Raises:** `ValueError` naming the argument; `ImportError` without the extra `server`.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        model: str | None = None,
        *,
        concurrency: int = 32,
        timeout: float = 60.0,
        retries: int = 5,
        retry_for: float = 0.0,
        backoff: float = 0.5,
        most_failures: int = 20,
        chat_template_arguments: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ):
        for name, value in {
            "concurrency": concurrency,
            "timeout": timeout,
            "most_failures": most_failures,
        }.items():
            if not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}")
        for name, value in {"retries": retries, "retry_for": retry_for, "backoff": backoff}.items():
            if not value >= 0:
                raise ValueError(f"`{name}` must not be negative, got {value}")
        self._servers = [server_at(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._servers:
            raise ValueError("`urls` must name at least one server")
        try:
            import aiohttp  # noqa: F401
        except ImportError:
            raise ImportError(
                'asking a server needs aiohttp: pip install "syndigits-jax[server]"'
            ) from None
        self._model = model
        self._concurrency, self._timeout = concurrency, timeout
        self._retries, self._retry_for, self._backoff = retries, retry_for, backoff
        self._most_failures = most_failures
        self._template_arguments = dict(chat_template_arguments or {})
        self._extra = _checked_extra(extra_body or {})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._readouts: Readouts | None = None
        self._opening: dict[int, asyncio.Lock] = {}
        self._failures = 0
        self._answered = 0  # requests of the current stream
        self._last_failure = ""

    def __repr__(self) -> str:
        return f"OpenAIEngine({[server.api for server in self._servers]}, {self._model!r})"

    def __enter__(self) -> "OpenAIEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def identity(self) -> EngineIdentity:
        """The model's name on the server, and the server's version if available.

        **Raises:** `ValueError` if it does not serve the model; [`EngineDied`][] if none answers.
        """
        readouts = self._start()
        try:
            server = self._wait(readouts.servers.ask(self._opened))
        except Unavailable as problem:
            raise EngineDied(f"no server answers: {problem}") from None
        except Refused as problem:
            raise EngineDied(f"the server refuses: {problem}") from None
        name = self._named(readouts.model)
        return EngineIdentity(name, "vllm-server" if server.vllm else "openai", server.version)

    @property
    def model(self) -> str | None:
        """The model's name in responses, or None if only a server can tell it."""
        return self._named(self._model) if self._model else None

    def _named(self, model: str) -> str:
        return with_settings(model, self._template_arguments, body=telling_fields(self._extra))

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion | Failure]]:
        """Answer `requests`, read up to twice `concurrency` ahead; see [`Engine`][].

        **Raises:** as `identity` does; [`EngineDied`][] after `most_failures` in a row.
        """
        readouts = self._start()
        _ = self.identity  # a wrong model or key is found before any request is sent
        gate = self._wait(_make_gate(self._concurrency))
        done: queue.SimpleQueue[tuple[int, concurrent.futures.Future[Any]]] = queue.SimpleQueue()
        flying: set[concurrent.futures.Future[Any]] = set()
        self._failures = self._answered = 0
        source = iter(enumerate(requests))  # read in this thread: the source may be bound to it
        try:
            while True:
                # Few at first, so that a server that rejects everything is detected early.
                most = min(2 * self._concurrency, _FIRST + 2 * self._answered)
                while len(flying) < most and (item := next(source, None)):
                    position, request = item
                    future = self._submit(self._answer(readouts, gate, request))
                    flying.add(future)
                    future.add_done_callback(lambda future, at=position: done.put((at, future)))
                if not flying:
                    return
                position, future = done.get()
                flying.discard(future)
                yield position, future.result()
                if self._failures >= self._most_failures:
                    failures, self._failures = self._failures, 0
                    while not done.empty():  # requests completed in the meantime
                        position, future = done.get()
                        flying.discard(future)
                        yield position, future.result()
                    raise EngineDied(
                        f"{failures} requests failed in a row; the last: {self._last_failure}"
                    )
        finally:
            for future in flying:
                future.cancel()

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        readouts, self._readouts = self._readouts, None
        if loop is None or thread is None:
            return
        if readouts is not None:
            stop = asyncio.run_coroutine_threadsafe(_stop(readouts.servers.session), loop)
            stop.result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()

    async def _answer(
        self, readouts: Readouts, gate: asyncio.Semaphore, request: Request
    ) -> Completion | Failure:
        async def ask(server: Server) -> Completion:
            try:
                await self._opened(server)
            except ValueError as problem:  # another server may have the model
                raise Unavailable(str(problem)) from None
            return await readouts.answer(server, request)

        async with gate:
            try:
                completion = await readouts.servers.ask(ask)
            except (Refused, Unavailable) as problem:
                # Before the first answer, a rejection may concern all requests.
                if isinstance(problem, Unavailable | Unusable) or not self._answered:
                    self._failures += 1
                    self._last_failure = str(problem)
                return Failure(str(problem))
        self._failures = 0
        self._answered += 1
        return completion

    async def _opened(self, server: Server) -> Server:
        """The server, after its kind, its version and the model have been checked."""
        readouts = self._readouts
        assert readouts is not None
        async with self._opening.setdefault(id(server), asyncio.Lock()):
            if server.opened:
                return server
            served = await self._served(readouts.servers, server)
            name = self._model
            names = first_names(served)
            if name is None and len(names) == 1:
                (name,) = names
            if name not in served:
                listed = ", ".join(sorted(names)[:10]) or "nothing"
                if name is None:
                    raise ValueError(
                        f"`model` must be named: {server.api} serves {listed}; name it by --model"
                    )
                raise ValueError(f"`model`: no {name!r}: {server.api} serves {listed}")
            readouts.model = name
            server.vllm = served[name].get("owned_by") == "vllm"
            if server.vllm:
                try:
                    version = await readouts.servers.call(server, f"{server.root}/version")
                    server.version = str(version.get("version", "unknown"))
                except (Refused, Unavailable) as problem:  # a proxy may block this address
                    if not problem.status:
                        raise
            server.opened = True
            return server

    async def _served(self, servers: Servers, server: Server) -> dict[str, Mapping[str, Any]]:
        """The server's models by name; if it does not list them, the one that was given.

        **Raises:** `Refused` for a wrong key; `Unavailable` if the server does not answer;
        `ValueError` if no model was given.
        """
        try:
            listed = served_models(await servers.call(server, f"{server.api}/models", lists=True))
            if listed:
                return listed
            why = "it lists no models"
        except ValueError as problem:
            why = str(problem)
        except Unavailable as problem:
            server.unlisted += 1
            again = min(_ASKED_FOR_MODELS, self._retries // len(self._servers))
            busy = problem.status >= 400 and server.unlisted <= again
            if not problem.status or busy:
                raise
            why = str(problem)
        except Refused as problem:
            if problem.status in (0, 401, 407):  # all requests will fail in the same way
                raise
            why = str(problem)
        if self._model is None:
            raise ValueError(
                f"`model` must be named: {server.api} does not say what it serves ({why}); name it "
                "by --model"
            )
        servers.note(
            server,
            f"it does not say what it serves ({why}): {self._model!r} is asked for all the same, "
            "and probabilities are read as of any server that is not vLLM's",
        )
        return {self._model: {}}

    def _start(self) -> Readouts:
        if self._readouts is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
            self._opening = {}
            self._readouts = self._wait(self._make_readouts())
        return self._readouts

    async def _make_readouts(self) -> Readouts:
        import aiohttp

        key = next((value for name in _KEYS if (value := os.environ.get(name, "").strip())), "")
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
        )

        def hide(text: str) -> str:
            text = re.sub(r"//[^/@\s]+@", "//***@", text)  # a proxy's password
            return text.replace(key, "***") if key else text

        servers = Servers(
            self._servers, session, retries=self._retries, retry_for=self._retry_for,
            backoff=self._backoff, hide=hide,
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )  # fmt: skip
        return Readouts(servers, self._model or "", self._template_arguments, self._extra)

    def _submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._submit(work).result()


def _checked_extra(extra: Mapping[str, Any]) -> dict[str, Any]:
    """**Raises:** `ValueError` for values that are not JSON and fields of a response's key."""
    for field, value in extra.items():
        if field in _FIXED or (field in _DECODING and value is not None):
            how = "the decoding" if field in _DECODING else "the engine"
            raise ValueError(f"`extra_body`: {field!r} is set by {how} and cannot be changed here")
    try:
        json.dumps(dict(extra))
    except TypeError as problem:
        raise ValueError(f"`extra_body` takes only JSON values: {problem}") from None
    return dict(extra)


async def _make_gate(size: int) -> asyncio.Semaphore:
    return asyncio.Semaphore(size)


async def _stop(session: Any) -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await session.close()
