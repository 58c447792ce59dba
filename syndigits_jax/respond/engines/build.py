"""Engines from a name and settings, as given by commands and pipelines."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

ENGINES = ("vllm", "openai")


def build_engine(
    engine: str | None,
    model: str | None,
    url: Sequence[str] = (),
    *,
    concurrency: int | None = None,
    timeout: float | None = None,
    retry_for: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """The engine described by the settings; it starts when it is first needed.

    **Arguments:**

    - `engine`: "vllm" (on this machine) or "openai" (any server with OpenAI's interface).
    - `model`: a folder or a name; for a server, the model's name on it.
    - `url`: addresses of one or several servers; for "openai" only.
    - `concurrency`: the most requests in flight at a time; for "openai" only.
    - `timeout`: seconds after which a request, or a batch of vLLM, is given up.
    - `retry_for`: seconds for which a busy or unreachable server is asked again; for "openai" only.
    - `options`: further settings of the engine by name; those that are not arguments of
      [`VLLMEngine`][syndigits_jax.respond.VLLMEngine] are passed on to vLLM.

    **Raises:** `ValueError` naming the argument; `ImportError` that says what to install.
    """
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(ENGINES)}, got {engine!r}")
    if not model:
        raise ValueError("`model` is missing: a folder or a name")
    given = dict(options or {})
    if timeout is not None:
        given["timeout"] = timeout
    if engine == "openai":
        if not url:
            raise ValueError("`url` is missing: the server, such as http://localhost:8000/v1")
        if concurrency is not None:
            given["concurrency"] = concurrency
        if retry_for is not None:
            given["retry_for"] = retry_for
        from .openai_engine import OpenAIEngine

        unknown = sorted(given.keys() - _keywords(OpenAIEngine))
        if unknown:
            raise ValueError(
                f"`engine_option` {unknown[0]}: a server has no such setting here; there are "
                f"{', '.join(sorted(_keywords(OpenAIEngine)))}"
            )
        return OpenAIEngine(list(url), model, **given)
    for name, value in (("url", url), ("concurrency", concurrency), ("retry_for", retry_for)):
        if value:
            raise ValueError(f"`{name}` is for the engine openai; vLLM runs on this machine")
    from .vllm_engine import VLLMEngine

    # Everything that is not an argument of VLLMEngine goes to vLLM, which checks it.
    own = {name: given.pop(name) for name in list(given) if name in _keywords(VLLMEngine)}
    more = own.pop("engine_arguments", {}) | given
    return VLLMEngine(model, **own, engine_arguments=more)


def _keywords(engine: Any) -> set[str]:
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(engine).parameters
    return {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
