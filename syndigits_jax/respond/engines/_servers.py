"""HTTP requests to one or several servers: what to retry, when, and where."""

import asyncio
import http
import itertools
import logging
import math
import random
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from syndigits_jax.respond.engines._http_answers import (
    in_one_line,
    read_json,
    retry_after,
    said_error,
    unpacked,
)

_LONGEST_WAIT = 30.0
_AGAIN = (408, 409, 425, 429)  # and all from 500 except those below
# All requests will fail alike: the key, the account, the model or the address is wrong.
_UNUSABLE = (401, 402, 403, 404, 405, 407, 410, 501, 505)
_MOST_REDIRECTS = 5
_HINTS = {
    401: " (the API key is missing or wrong: set SYNDIGITS_API_KEY or OPENAI_API_KEY)",
    407: " (the proxy requires a user name and a password)",
}
MOST_TOP = 20  # the most log-probabilities per token that servers return

T = TypeVar("T")


class Refused(Exception):
    """The server rejects this request; repeating it will not help.

    `status`: the HTTP status, or 0; `said`: the server's message.
    """

    def __init__(self, reason: str, status: int = 0, said: str = ""):
        super().__init__(reason)
        self.status, self.said = status, said


class Unusable(Refused):
    """The server rejects all requests: the key, the model or the address is wrong."""


class Unavailable(Exception):
    """The server could not answer at the moment.

    `wait`: seconds to wait, as the server asked; `status`: the HTTP status, 0 without an answer;
    `said`: the server's message.
    """

    def __init__(self, reason: str, wait: float = 0.0, status: int = 0, said: str = ""):
        super().__init__(reason)
        self.wait, self.status, self.said = wait, status, said


@dataclass
class Server:
    """One address: its interface, what is known about it, and its load."""

    api: str
    root: str
    busy: int = 0
    failures: int = 0
    not_before: float = -math.inf  # on the monotonic clock
    opened: bool = False
    vllm: bool = False
    version: str = "unknown"
    unlisted: int = 0  # failed requests for its list of models
    top: int = MOST_TOP  # the most log-probabilities per token that it returns
    noted: set[str] = field(default_factory=set)


def server_at(url: str) -> Server:
    """The server at an address: `http://host:8000` and `http://host:8000/v1` are the same.

    **Raises:** `ValueError` if it is not an HTTP address, or contains a password.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError(
            "`urls`: an address with a user name or password would be recorded; "
            "set OPENAI_API_KEY instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`urls`: {url!r} is no address such as http://127.0.0.1:8000/v1")
    if parts.query or parts.fragment:
        raise ValueError(f"`urls`: {parts.hostname}: an address without '?' and '#' is wanted")
    path = parts.path.rstrip("/") or "/v1"
    api = f"{parts.scheme}://{parts.netloc}{path}"
    return Server(api, api.removesuffix("/v1"))


class Servers:
    """Several servers; each request goes to the least busy one that is available.

    **Arguments:**

    - `servers`: the servers.
    - `session`: an `aiohttp.ClientSession`.
    - `retries`: the most retries of a request after its first attempt.
    - `retry_for`: seconds since the first attempt within which it is retried beyond `retries`.
    - `backoff`: the first wait before a retry, in seconds. The wait doubles with every retry, less
      a random part of up to one half, but is no less than the server asked for (`Retry-After`).
    - `hide`: removes secrets from a message.
    - `headers`: headers of every request, such as the key; not sent to other addresses.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        session: Any,
        *,
        retries: int,
        retry_for: float = 0.0,
        backoff: float,
        hide: Callable[[str], str],
        headers: Mapping[str, str] | None = None,
    ):
        self.servers = tuple(servers)
        self.session, self.headers = session, dict(headers or {})
        self.retries, self.retry_for, self.backoff = retries, retry_for, backoff
        self.hide = hide

    async def ask(self, how: Callable[[Server], Awaitable[T]]) -> T:
        """Call `how` with one server after another until it succeeds.

        **Raises:** `Refused`, or the last `Unavailable`.
        """
        problem, start = Unavailable("no request was sent"), time.monotonic()
        for attempt in itertools.count():
            if attempt > self.retries and time.monotonic() - start >= self.retry_for:
                break
            if attempt:
                wait = min(_LONGEST_WAIT, self.backoff * 2.0 ** min(attempt - 1, 16))
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            server = await self._next_server()
            server.busy += 1
            try:
                answer = await how(server)
            except Unavailable as now:
                problem = now
                server.failures += 1
                # A server that failed is not asked for a while if there are others.
                pause = min(_LONGEST_WAIT, self.backoff * 2.0 ** min(server.failures - 1, 16))
                pause = max(now.wait, pause if len(self.servers) > 1 else 0.0)
                server.not_before = max(server.not_before, time.monotonic() + pause)
            else:
                server.failures = 0
                return answer
            finally:
                server.busy -= 1
        raise problem

    async def _next_server(self) -> Server:
        while True:
            now = time.monotonic()
            ready = [server for server in self.servers if server.not_before <= now]
            if ready:
                return min(ready, key=lambda server: server.busy)
            await asyncio.sleep(min(server.not_before for server in self.servers) - now)

    def note(self, server: Server, text: str) -> None:
        """Log a limitation of a server, once."""
        if text not in server.noted:
            server.noted.add(text)
            logging.getLogger(__name__).warning(self.hide(f"{server.api}: {text}"))

    async def call(
        self,
        server: Server,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        lists: bool = False,
    ) -> Any:
        """One HTTP exchange: GET, or POST with a body.

        **Arguments:** `server`: the server; `url`: the address on it; `body`: sent as JSON;
        `lists`: whether a JSON list is a valid answer too.

        **Returns:** the JSON object of the answer (or a list).

        **Raises:** `Refused`, `Unavailable`.
        """
        where = urlsplit(url).netloc
        status, headers, content = await self._exchange(url, body)
        kind = headers.get("Content-Type", "")
        try:
            content = unpacked(content, headers.get("Content-Encoding", ""))
        except ValueError as problem:
            raise Unavailable(f"{where}: HTTP {status}: {problem}", status=status) from None
        if status >= 300:
            raise self._problem(where, status, in_one_line(content, kind), headers)
        try:
            answer = read_json(content, kind)
        except ValueError as problem:
            raise Unavailable(self.hide(f"{where}: {problem}"), status=status) from None
        if lists and isinstance(answer, list):
            return answer
        if isinstance(answer, list) and len(answer) == 1:
            (answer,) = answer  # some servers return errors in a list
        if not isinstance(answer, dict):
            said = self.hide(" ".join(str(answer).split())[:300])
            raise Unavailable(f"{where}: its answer is no JSON object: {said!r}", status=status)
        if (error := said_error(answer)) is not None:
            raise self._problem(where, error[0], error[1], headers, inside=True)
        return answer

    def _problem(
        self, where: str, status: int, said: str, headers: Mapping[str, str], inside: bool = False
    ) -> Refused | Unavailable:
        """The error for an HTTP status, or for a status `inside` an answer of HTTP 200."""
        known = status in http.HTTPStatus.__members__.values()
        said = self.hide(said)[:300] or (http.HTTPStatus(status).phrase if known else "no reason")
        name = f"HTTP {status}" if not inside else f"error {status or ''}".rstrip()
        reason = f"{where}: {name}: {said}{_HINTS.get(status, '')}"
        if status in _UNUSABLE or 300 <= status < 400:
            return Unusable(reason, status, said)
        if status >= 500 or status in _AGAIN or not status:
            return Unavailable(reason, retry_after(headers), status or 200, said)
        return Refused(reason, status, said)

    async def _exchange(
        self, url: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, after following redirects to the same host."""
        import aiohttp

        where, first = urlsplit(url).netloc, url
        for _ in range(_MOST_REDIRECTS + 1):
            # The key is only sent to the address that was given.
            headers = self.headers if _origin(url) == _origin(first) else {}
            try:
                async with self.session.request(
                    "GET" if body is None else "POST",
                    url,
                    json=body,
                    headers={"Accept-Encoding": "gzip, deflate", **headers},
                    proxy=proxy_for(url),
                    allow_redirects=False,
                ) as response:
                    status, answered = response.status, response.headers
                    content = await response.read()
            except TimeoutError:
                raise Unavailable(f"{where} did not answer in time") from None
            except ValueError as problem:  # an address or header that cannot be sent
                raise Unusable(self.hide(f"{where}: {str(problem)[:200]}")) from None
            except (aiohttp.ClientError, OSError) as problem:
                name = type(problem).__name__
                raise Unavailable(self.hide(f"{where}: {name}: {str(problem)[:200]}")) from None
            if status not in (301, 302, 303, 307, 308):
                return status, answered, content
            url = self._redirected(where, status, url, answered.get("Location", ""), body)
        raise Unusable(f"{where}: HTTP {status}: more than {_MOST_REDIRECTS} redirects", status)

    def _redirected(self, where: str, status: int, url: str, location: str, body: Any) -> str:
        """The address of a redirect, if it may be followed. **Raises:** `Unusable`."""
        try:
            there = urlsplit(urljoin(url, location.strip()))
            host, _ = there.hostname, there.port
        except ValueError:
            host, there = None, urlsplit("")
        if not location.strip() or not host:
            raise Unusable(f"{where}: HTTP {status}: it redirects to nowhere", status)
        shown = self.hide(f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}"[:200])
        here = urlsplit(url)
        if (there.scheme, host) != (here.scheme, here.hostname) or "@" in there.netloc:
            raise Unusable(
                f"{where}: HTTP {status}: it redirects to {shown}, which is another address and is "
                "not followed: name it as the server's address if it is the right one",
                status,
            )
        if status == 303 and body is not None:
            raise Unusable(
                f"{where}: HTTP 303: it redirects to {shown} without the request: is the address "
                "right?",
                status,
            )
        return there.geturl()


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def proxy_for(url: str) -> str | None:
    """The proxy for `url` in the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`).

    aiohttp's own support for these variables would also send passwords from a `.netrc` file.

    **Raises:** `ValueError` if it is not an HTTP proxy.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = (proxies.get(parts.scheme) or proxies.get("all") or "").strip()
    host = parts.hostname or ""
    if not proxy or any(urllib.request.proxy_bypass(name) for name in (host, parts.netloc)):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = proxy.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise ValueError(
            f"the environment names a {scheme} proxy, and only HTTP proxies can be used: set "
            f"HTTP_PROXY and HTTPS_PROXY, or NO_PROXY={host}"
        )
    return proxy
