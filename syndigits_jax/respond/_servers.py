"""HTTP to one or several servers: what to try again, when, and where."""

import asyncio
import email.utils
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

_LONGEST_WAIT = 30.0
_LONGEST_RETRY_AFTER = 600.0
_AGAIN = (408, 409, 425, 429)  # and all from 500
_UNUSABLE = (401, 403, 404)  # no request will fare better

T = TypeVar("T")


class Refused(Exception):
    """The server will not answer this request, however often it is asked."""


class Unusable(Refused):
    """It will not answer any other either: the key, the model or the address is wrong."""


class Unwell(Exception):
    """The server could not answer now. `wait`: seconds that it asked for."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


@dataclass
class Server:
    """One address: where its interface is, what is known about it, how busy it is."""

    api: str
    root: str
    busy: int = 0
    failures: int = 0
    not_before: float = -math.inf  # on the monotonic clock
    opened: bool = False
    vllm: bool = False
    version: str = "unknown"


def server_at(url: str) -> Server:
    """The server of an address: `http://host:8000` and `http://host:8000/v1` are the same.

    **Raises:** `ValueError` if it is no address, or holds a password.
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
    """The least busy of the servers that are well, and another if it fails.

    **Arguments:** `session`: an `aiohttp.ClientSession`. `retries`: of a request, after its first
    attempt; each waits twice as long as the one before it, from `backoff` seconds, less a random
    part of it, and no less than the server asked for (`Retry-After`). `hide`: takes secrets out of
    a message.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        session: Any,
        *,
        retries: int,
        backoff: float,
        hide: Callable[[str], str],
    ):
        self.servers = tuple(servers)
        self.session = session
        self.retries, self.backoff, self.hide = retries, backoff, hide

    async def ask(self, how: Callable[[Server], Awaitable[T]]) -> T:
        """`how`, with one server after another until it succeeds.

        **Raises:** `Refused`, or the last `Unwell`.
        """
        problem = Unwell("it was never asked")
        for attempt in range(self.retries + 1):
            if attempt:
                wait = min(_LONGEST_WAIT, self.backoff * 2.0 ** (attempt - 1))
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            server = await self._well()
            server.busy += 1
            try:
                answer = await how(server)
            except Unwell as now:
                problem = now
                server.failures += 1
                # A server that fails is left alone for a while: others take over, if there are any.
                pause = min(_LONGEST_WAIT, self.backoff * 2.0 ** min(server.failures - 1, 16))
                pause = max(now.wait, pause if len(self.servers) > 1 else 0.0)
                server.not_before = max(server.not_before, time.monotonic() + pause)
            else:
                server.failures = 0
                return answer
            finally:
                server.busy -= 1
        raise problem

    async def _well(self) -> Server:
        while True:
            now = time.monotonic()
            well = [server for server in self.servers if server.not_before <= now]
            if well:
                return min(well, key=lambda server: server.busy)
            await asyncio.sleep(min(server.not_before for server in self.servers) - now)

    async def call(
        self, server: Server, url: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One exchange: GET, or POST with a body. **Raises:** `Refused`, `Unwell`."""
        import aiohttp

        where = urlsplit(url).netloc
        try:
            async with self.session.request(
                "GET" if body is None else "POST", url, json=body, allow_redirects=False
            ) as response:
                status, headers, content = response.status, response.headers, await response.read()
        except TimeoutError:
            raise Unwell(f"{where} did not answer in time") from None
        except (aiohttp.ClientError, OSError) as problem:
            name = type(problem).__name__
            raise Unwell(self.hide(f"{where}: {name}: {str(problem)[:200]}")) from None
        if status >= 500 or status in _AGAIN:
            said = self._message(content)
            raise Unwell(f"{where}: HTTP {status}: {said}", retry_after(headers))
        if status >= 300:
            error = Unusable if status in _UNUSABLE else Refused
            raise error(f"{where}: HTTP {status}: {self._message(content)}")
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unwell(f"{where}: its answer is no JSON object: {self._message(content)!r}")
        return answer

    def _message(self, content: bytes) -> str:
        """What a server says went wrong, in one short line."""
        text = content[:4000].decode(errors="replace")
        try:
            error = json.loads(content)
            error = error.get("error", error)
            text = error if isinstance(error, str) else str(error.get("message", error))
        except (ValueError, AttributeError):
            pass
        return self.hide(" ".join(text.split()))[:300]


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to be left alone: a number, or a date."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if math.isfinite(seconds) else 0.0
