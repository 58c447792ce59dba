"""The model's name in the key of a response: one line with everything that affects its answers."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SAMPLE = 1 << 16  # bytes
_SAMPLES = 17  # of one file, from its beginning to its end
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".model", ".gguf")

_NEUTRAL_ARGUMENTS = {
    # Speed and memory.
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "data_parallel_size_local",
    "decode_context_parallel_size",
    "prefill_context_parallel_size",
    "nnodes",
    "node_rank",
    "master_addr",
    "master_port",
    "numa_bind",
    "optimization_level",
    "cudagraph_capture_sizes",
    "kv_offloading_backend",
    "kv_offloading_size",
    "enable_expert_parallel",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "num_gpu_blocks_override",
    "swap_space",
    "cpu_offload_gb",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_model_len",
    "max_seq_len_to_capture",
    "block_size",
    "enforce_eager",
    "compilation_config",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "async_scheduling",
    "scheduling_policy",
    "distributed_executor_backend",
    "disable_custom_all_reduce",
    "max_parallel_loading_workers",
    "limit_mm_per_prompt",
    # Locations, logging, and a secret, which must not be recorded.
    "download_dir",
    "load_format",
    "safetensors_load_strategy",
    "use_tqdm_on_load",
    "disable_log_stats",
    "enable_log_requests",
    "log_level",
    "hf_token",
    # Every request has its own seed; asking for more log-probabilities than allowed is an error.
    "seed",
    "max_logprobs",
}
_NEUTRAL_FIELDS = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "priority",
    "request_id",
    "cache_salt",
    "prompt_cache_key",
    "safety_identifier",
}


def model_name(
    model: str,
    name: str | None,
    chat_template_arguments: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
) -> str:
    """The name of a local model.

    The name of a folder does not identify a model ("checkpoint-500" may be any), and its path
    differs between machines, so a hash of its configuration and weights is added. Of the weight
    files, names, sizes and samples are hashed, as reading all of them would take minutes.

    **Arguments:** `model`, `name`, `chat_template_arguments`: as for `VLLMEngine`; `arguments`: all
    arguments of vLLM; those that affect answers become part of the name.
    """
    if name is None:
        name = model
        if os.path.isdir(model):
            folder = Path(model).resolve()
            name = f"{folder.name}@{_digest(folder)}"
    return with_settings(name, chat_template_arguments, engine=_telling(arguments or {}))


def with_settings(
    name: str, chat_template_arguments: Mapping[str, Any], **others: Mapping[str, Any]
) -> str:
    """`name` followed by the settings as JSON with sorted keys; empty ones are left out."""
    if chat_template_arguments:
        name += " " + json.dumps(dict(chat_template_arguments), sort_keys=True)
    for what, settings in others.items():
        if settings:
            name += f" {what} {json.dumps(dict(settings), sort_keys=True)}"
    return name


def telling_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request's body that may affect the answer."""
    return {key: value for key, value in body.items() if key not in _NEUTRAL_FIELDS}


def _telling(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in arguments.items()
        if value is not None
        and (key not in _NEUTRAL_ARGUMENTS or (key, value) == ("load_format", "dummy"))
        and (key, value) != ("dtype", "auto")
    }


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        if file.suffix in (".json", ".jinja"):
            digest.update(file.name.encode() + file.read_bytes())
        elif file.suffix in _WEIGHTS:
            _add_samples(file, digest)
    return digest.hexdigest()[:8]


def _add_samples(file: Path, digest: Any) -> None:
    """Add a file's name, its size, and samples of its content; all of a small file."""
    size = file.stat().st_size
    digest.update(f"{file.name} {size}".encode())
    with file.open("rb") as stream:
        if size <= _SAMPLES * _SAMPLE:
            digest.update(stream.read())
            return
        for number in range(_SAMPLES):
            stream.seek(number * (size - _SAMPLE) // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE))
