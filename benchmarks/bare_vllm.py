"""vLLM by itself, in a process of its own: what `benchmarks.respond_speed` compares with.

It is started with the settings that `VLLMEngine` starts it with, and then does what a short script
of one's own would: all chats in one call of `LLM.chat`. It is spoken to in lines of JSON.
"""

import json
import os
import sys
import time
from typing import Any

_TOP = 20  # log-probabilities, where those of named tokens cannot be had


class Bare:
    """The engine, asked without any layer."""

    def __init__(self, setup: dict[str, Any], answers: list[str]):
        from syndigits_jax.respond.engines.vllm_worker import load

        self.llm: Any = load(setup)[0]
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        tokens = [self.encode(answer) for answer in answers]
        if any(len(one) != 1 for one in tokens):
            raise ValueError(f"to this model some of {answers} are not one token: {tokens}")
        self.tokens = [one[0] for one in tokens]
        named = "logprob_token_ids" in getattr(SamplingParams, "__struct_fields__", ())
        how: dict[str, Any] = {"logprob_token_ids": self.tokens} if named else {"logprobs": _TOP}
        self.parameters = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False, **how)

    def encode(self, text: str) -> list[int]:
        return self.llm.get_tokenizer().encode(text, add_special_tokens=False)

    def cache_tokens(self) -> int | None:
        """How many tokens the cache of keys and values holds; None if the engine does not say."""
        cache = self.llm.llm_engine.vllm_config.cache_config
        blocks = getattr(cache, "num_gpu_blocks", None)  # on a CPU too
        return None if blocks is None else int(blocks) * int(cache.block_size)

    def ask(self, way: str, chats: list[list[dict[str, str]]]) -> dict[str, Any]:
        """Seconds, and what came: by `"chat"`, or by `"generate"` from prompts that are tokens."""
        self.llm.reset_prefix_cache()
        if way == "chat":
            start = time.perf_counter()
            outputs = self.llm.chat(chats, self.parameters, use_tqdm=False)
        else:
            write = self.llm.get_tokenizer().apply_chat_template
            texts = [write(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
            prompts = [{"prompt_token_ids": self.encode(text)} for text in texts]
            start = time.perf_counter()
            outputs = self.llm.generate(prompts, self.parameters, use_tqdm=False)
        seconds = time.perf_counter() - start
        found = [output.outputs[0].logprobs[0] for output in outputs]
        return {
            "seconds": seconds,
            "requests": len(outputs),
            "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
            "cached_tokens": sum(output.num_cached_tokens or 0 for output in outputs),
            "log_probabilities": [[one[token].logprob for token in self.tokens] for one in found],
        }


def main() -> None:
    """Talk over what was the standard output; whatever else prints goes to the log."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(message: Any) -> None:
        pipe.write(json.dumps(message).encode() + b"\n")
        pipe.flush()

    first = json.loads(sys.stdin.readline())
    bare = Bare(first["setup"], first["answers"])
    say({"cache_tokens": bare.cache_tokens()})
    for line in sys.stdin:
        message = json.loads(line)
        say(bare.ask(message["way"], message["chats"]))


if __name__ == "__main__":
    main()
