"""vLLM in a child process, which is restarted if it fails.

Longer than 400 lines: one class, the life of a child process from start to end.
"""

import importlib.util
import json
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syndigits_jax.respond.engines._child_process import ChildDied, ChildProcess
from syndigits_jax.respond.engines._model_names import model_name
from syndigits_jax.respond.requests import Completion, EngineDied, EngineIdentity, Failure, Request

_FIRST_BATCH = 32
_SECONDS_PER_BATCH = 5.0  # short enough to show progress and to lose little if the engine fails
_PAUSE = 3.0  # seconds before another start
_MOST_FAILURES = 2  # failures of the engine with one batch, after which the batch is halved
_WORKER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from syndigits_jax.respond.engines.vllm_worker import main; main()"
)


@dataclass
class _Batch:
    positions: list[int]
    requests: list[Request]
    failures: int = 0

    def halves(self) -> "list[_Batch]":
        middle = len(self.requests) // 2
        return [
            _Batch(self.positions[part], self.requests[part], _MOST_FAILURES - 1)
            for part in (slice(None, middle), slice(middle, None))
        ]


class VLLMEngine:
    """vLLM on this machine's GPU or CPU, in a separate process.

    An engine in which a step failed is unusable and may never return. The process is therefore
    restarted if it ends, reports an error or does not answer in time, and its batch is asked again.
    A batch with which the engine failed twice is halved until the request that causes the failure
    is alone; that request becomes a [`Failure`][].

    **Arguments:**

    - `model`: a folder or a name on the Hugging Face hub.
    - `name`: the model's name in responses and their keys. Default: `model`; for a folder, its name
      and a hash of its configuration and weights, which does not depend on the folder's location.
    - `dtype`, `max_model_len`, `tensor_parallel_size`, `gpu_memory_utilization`: arguments of vLLM,
      passed on if given.
    - `kv_cache_gib`: size of the key-value cache on a CPU, in GiB.
    - `threads`: CPU threads; by default OMP_NUM_THREADS, or else all.
    - `engine_arguments`: further arguments of `vllm.LLM`; they override the engine's own settings.
      Those that may affect answers become part of the model's name, as `dtype` does.
    - `chat_template_arguments`: for the model's chat template (`{"enable_thinking": False}`); they
      change the prompt, and become part of the model's name.
    - `batch_size`: the most requests per batch; the engine has up to two batches at a time. Batches
      begin with as many requests as the engine answers concurrently, and grow while they take less
      than a few seconds.
    - `timeout`, `start_timeout`: seconds after which a batch, or a start, is given up.
    - `restarts`: the most consecutive failures of the engine without an answer in between.
    - `log`: a file to which the engine's messages are appended; by default they are discarded.

    The engine starts when it is first needed. Close it, or use it as a context manager.

    **Raises:** `ValueError` naming the argument; `ImportError` if vLLM is not installed, when the
    engine is first needed.
    """

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        tensor_parallel_size: int | None = None,
        gpu_memory_utilization: float | None = None,
        kv_cache_gib: float = 0.25,
        threads: int | None = None,
        engine_arguments: Mapping[str, Any] | None = None,
        chat_template_arguments: Mapping[str, Any] | None = None,
        batch_size: int = 1024,
        timeout: float = 600.0,
        start_timeout: float = 1800.0,
        restarts: int = 5,
        log: str | os.PathLike[str] | None = None,
    ):
        for argument, value in {
            "kv_cache_gib": kv_cache_gib,
            "threads": threads,
            "batch_size": batch_size,
            "timeout": timeout,
            "start_timeout": start_timeout,
            "max_model_len": max_model_len,
            "tensor_parallel_size": tensor_parallel_size,
        }.items():
            if value is not None and not value > 0:
                raise ValueError(f"`{argument}` must be positive, got {value}")
        if restarts < 0:
            raise ValueError(f"`restarts` must not be negative, got {restarts}")
        if gpu_memory_utilization is not None and not 0 < gpu_memory_utilization <= 1:
            raise ValueError(
                "`gpu_memory_utilization` must be above 0 and at most 1, "
                f"got {gpu_memory_utilization}"
            )
        given = {
            "dtype": dtype,
            "max_model_len": max_model_len,
            "tensor_parallel_size": tensor_parallel_size,
            "gpu_memory_utilization": gpu_memory_utilization,
        }
        arguments = {key: value for key, value in given.items() if value is not None}
        self._setup = {
            "model": str(model),
            "arguments": arguments | dict(engine_arguments or {}),
            "chat_template_arguments": dict(chat_template_arguments or {}),
            "kv_cache_gib": kv_cache_gib,
            "named_tokens": True,
        }
        try:
            json.dumps(self._setup)
        except TypeError as problem:
            raise ValueError(
                "`engine_arguments` and `chat_template_arguments` go to another process, so they "
                f"take numbers, text, lists and mappings only: {problem}"
            ) from None
        _check_model(str(model))
        self._name = model_name(
            str(model), name, self._setup["chat_template_arguments"], self._setup["arguments"]
        )
        self._batch_size = batch_size
        self._timeout, self._start_timeout, self._restarts = timeout, start_timeout, restarts
        self._log = None if log is None else Path(log)
        self._command: Sequence[str] = (
            sys.executable,
            "-P",
            "-c",
            _WORKER,
            json.dumps([path or os.getcwd() for path in sys.path]),
        )
        self._environment = child_environment(os.environ, str(model), threads)
        self._child: ChildProcess | None = None
        self._about: dict[str, Any] = {}
        self._sent = 0
        self._failures = 0  # consecutive failures of the engine, without an answer in between
        self._size = min(batch_size, _FIRST_BATCH)

    def __enter__(self) -> "VLLMEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self):
        if getattr(self, "_child", None) is not None:
            self.close()

    @property
    def identity(self) -> EngineIdentity:
        """The model, and vLLM with its version, device and number type; starts the engine.

        **Raises:** [`EngineDied`][] if it does not start; `ImportError` as `check` does.
        """
        self._start()
        about = self._about
        version = f"{about['version']} {about['device']} {about['dtype']}"
        return EngineIdentity(self._name, "vllm", version)

    @property
    def model(self) -> str:
        """The model's name in responses, known before the engine starts."""
        return self._name

    def check(self) -> None:
        """Check the requirements of the engine without starting it.

        **Raises:** `ImportError` if vLLM is not installed.
        """
        _check_installed()

    @property
    def pid(self) -> int | None:
        """The identifier of the child process, or None if there is none."""
        return None if self._child is None else self._child.pid

    def close(self) -> None:
        """End the process at once; it is started again when needed."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion | Failure]]:
        """Answer `requests`, which is read at most two batches ahead; see [`Engine`][].

        **Raises:** [`EngineDied`][] if the engine fails more than `restarts` times in a row or does
        not start; `ImportError` as `check` does.
        """
        source = iter(enumerate(requests))
        waiting: deque[_Batch] = deque()
        asked: deque[tuple[int, _Batch]] = deque()
        try:
            while True:
                # The engine has two batches at a time. A batch with which it failed is sent alone,
                # so that a further failure can be attributed to it.
                while len(asked) < 2 and not any(batch.failures for _, batch in asked):
                    if asked and waiting and waiting[0].failures:
                        break
                    self._start()  # first, as the size of a batch depends on the engine
                    if (batch := self._next(waiting, source)) is None:
                        break
                    asked.append((self._send(batch), batch))
                if not asked:
                    return
                number, batch = asked[0]
                begun = time.monotonic()
                try:
                    outcomes = self._receive(number, len(batch.requests))
                except (ChildDied, TimeoutError) as problem:
                    waiting.extendleft(later for _, later in reversed(list(asked)[1:]))
                    asked.clear()
                    yield from self._after_failure(batch, waiting, problem)
                    continue
                asked.popleft()
                self._failures = 0
                self._adapt(len(batch.requests), time.monotonic() - begun)
                yield from zip(batch.positions, outcomes, strict=True)
        except KeyboardInterrupt:
            self.close()
            raise

    def _next(self, waiting: deque[_Batch], source: Iterator[tuple[int, Request]]) -> _Batch | None:
        if waiting:
            return waiting.popleft()
        batch = _Batch([], [])
        while len(batch.requests) < self._size and (item := next(source, None)) is not None:
            batch.positions.append(item[0])
            batch.requests.append(item[1])
        return batch if batch.requests else None

    def _adapt(self, size: int, seconds: float) -> None:
        if seconds > 2 * _SECONDS_PER_BATCH:
            self._size = max(self._least, size // 2)
        elif seconds < _SECONDS_PER_BATCH / 2 and size >= self._size:
            self._size = 2 * size
        self._size = min(self._size, self._batch_size)

    @property
    def _least(self) -> int:
        """The requests that the engine answers concurrently, the least size of a batch."""
        return min(int(self._about.get("concurrency", _FIRST_BATCH)), self._batch_size)

    def _send(self, batch: _Batch) -> int:
        self._start()
        assert self._child is not None
        self._sent += 1
        self._child.send({"batch": self._sent, **packed(batch.requests)})
        return self._sent

    def _receive(self, number: int, size: int) -> list[Completion | Failure]:
        """Outcomes of a batch. **Raises:** `TimeoutError`, `ChildDied`."""
        assert self._child is not None
        deadline = time.monotonic() + self._timeout
        while True:
            said = self._child.receive(deadline - time.monotonic())
            if not isinstance(said, dict) or "error" in said:
                raise ChildDied(str(said.get("error") if isinstance(said, dict) else said))
            if said.get("batch") != number:
                continue  # a batch of an earlier stream that was not read to its end
            outcomes = said.get("outcomes")
            if not isinstance(outcomes, list) or len(outcomes) != size:
                raise ChildDied(f"it answered {size} requests with something else")
            try:
                return [unpacked(outcome) for outcome in outcomes]
            except (TypeError, KeyError) as problem:
                raise ChildDied(f"it returned an invalid outcome: {problem}") from None

    def _after_failure(
        self, batch: _Batch, waiting: deque[_Batch], problem: Exception
    ) -> Iterator[tuple[int, Failure]]:
        """Clean up after a failure: requeue the batch, halve it, or give up its only request."""
        silent = isinstance(problem, TimeoutError)
        reason = f"no answer within {self._timeout:g} s" if silent else _one_line(problem)
        self.close()
        self._failures += 1
        batch.failures += 1
        if self._failures > self._restarts:
            raise EngineDied(
                f"vLLM failed {self._failures} times in a row; the last time: {reason}"
            )
        warnings.warn(f"vLLM failed and is restarted ({reason})", RuntimeWarning, stacklevel=3)
        if batch.failures < _MOST_FAILURES:
            waiting.appendleft(batch)
        elif len(batch.requests) > 1:
            # To the end: batches answered before then show that the engine itself works.
            waiting.extend(batch.halves())
        else:
            yield batch.positions[0], Failure(f"the engine failed at this request: {reason}")

    def _start(self) -> None:
        while self._child is None:
            try:
                self._launch()
            except EngineDied:
                # A restart may fail at first: the memory of the old process is freed with a delay.
                if not 0 < self._failures < self._restarts:
                    raise
                self._failures += 1
                time.sleep(_PAUSE)

    def _launch(self) -> None:
        self.check()
        child = ChildProcess(self._command, self._environment, self._log)
        try:
            child.send(self._setup)
            said = child.receive(self._start_timeout)
            if "ready" not in said:
                raise ChildDied(str(said.get("error", said)))
        except (ChildDied, TimeoutError) as problem:
            reason = _one_line(problem)
            reason = reason or f"it was not ready within {self._start_timeout:g} s"
            child.kill()
            raise EngineDied(
                f"vLLM does not start with the model {self._setup['model']!r}: {reason}"
            ) from None
        except BaseException:
            child.kill()
            raise
        self._child, self._about = child, said["ready"]
        self._size = max(self._size, self._least)


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:500]


def packed(requests: Sequence[Request]) -> dict[str, Any]:
    """Requests as a message that holds each distinct text once."""
    texts: dict[str, int] = {}
    return {
        "requests": [
            {
                "messages": [
                    [message.role, texts.setdefault(message.content, len(texts))]
                    for message in request.messages
                ],
                "readout": request.readout,
                "answers": list(request.answers),
                "temperature": request.temperature,
                "top_p": request.top_p,
                "max_tokens": request.max_tokens,
                "seed": request.seed,
            }
            for request in requests
        ],
        "texts": list(texts),
    }


def unpacked(outcome: Mapping[str, Any]) -> Completion | Failure:
    """The outcome of one request in a message."""
    if "failure" in outcome:
        return Failure(" ".join(str(outcome["failure"]).split()))
    fields: dict[str, Any] = dict(outcome)
    if (values := fields.get("log_probabilities")) is not None:
        fields["log_probabilities"] = tuple(values)
    return Completion(**fields)


def child_environment(
    environment: Mapping[str, str], model: str, threads: int | None
) -> dict[str, str]:
    """The child's environment: the parent's, with some variables set or overridden."""
    result = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TOKENIZERS_PARALLELISM": "false",
        **({"HF_HUB_OFFLINE": "1"} if os.path.isdir(model) else {}),
        **environment,
        "JAX_PLATFORMS": "cpu",  # the device is vLLM's
    }
    if threads is not None:
        result["OMP_NUM_THREADS"] = str(threads)
    elif "OMP_NUM_THREADS" not in result:
        free = getattr(os, "sched_getaffinity", None)
        result["OMP_NUM_THREADS"] = str(len(free(0)) if free else os.cpu_count() or 1)
    return result


def _check_model(model: str) -> None:
    """Check the model as far as possible before a process is started."""
    if not model:
        raise ValueError("`model` must be a folder or a name on the Hugging Face hub")
    path = Path(model)
    if path.is_dir() and not (path / "config.json").exists():
        raise ValueError(f"`model`: the folder {model} has no config.json")
    if not path.exists() and (path.is_absolute() or model.startswith((".", "~"))):
        raise ValueError(f"`model`: there is no folder {model}")


def _check_installed() -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:  # a mere folder of that name has no origin
        raise ImportError('vLLM is not installed: pip install "syndigits-jax[vllm]"')
