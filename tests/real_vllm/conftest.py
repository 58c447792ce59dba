"""A real engine with real (small) models: `.ci/vllm/prepare FOLDER` makes both."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from rating_requests import workload

from syndigits_jax.respond.engines.openai_engine import OpenAIEngine
from syndigits_jax.respond.engines.vllm_engine import VLLMEngine, child_environment

SMALL_CACHE = 2**26  # bytes


def pytest_collection_modifyitems(items):
    """Where there is no vLLM, these tests say so."""
    spec = importlib.util.find_spec("vllm")
    wanted = {"SYNDIGITS_VLLM_TINY", "SYNDIGITS_VLLM_MODEL"} & os.environ.keys()
    if (spec is None or spec.origin is None) and not wanted:
        mark = pytest.mark.skip(reason="vLLM is not installed; see .ci/vllm/prepare")
        for item in items:
            if Path(item.fspath).parent == Path(__file__).parent:
                item.add_marker(mark)


def folder_named(variable):
    if variable not in os.environ:
        pytest.skip(f"{variable} names no model folder; see .ci/vllm/prepare")
    # Who names one means these tests to run.
    path = os.environ[variable]
    assert os.path.isfile(os.path.join(path, "config.json")), f"{variable}: no model in {path!r}"
    return path


@pytest.fixture(scope="session")
def tiny():
    """Folder of the random model."""
    return folder_named("SYNDIGITS_VLLM_TINY")


@pytest.fixture(scope="session")
def smollm2():
    """Folder of SmolLM2-135M-Instruct."""
    return folder_named("SYNDIGITS_VLLM_MODEL")


def tiny_engine(folder, **options):
    options = {"dtype": "float32", "max_model_len": 1024, "kv_cache_gib": 1 / 16} | options
    return VLLMEngine(folder, timeout=120.0, start_timeout=180.0, **options)


@pytest.fixture(scope="session")
def offline(tiny):
    """The random model in float32, in a child process."""
    with tiny_engine(tiny, threads=1) as engine:
        yield engine


def answers_of(engine, requests):
    """Outcomes in the order of the requests, each of which has one."""
    found = dict(engine.stream(requests))
    assert sorted(found) == list(range(len(requests)))
    return [found[position] for position in range(len(requests))]


@pytest.fixture(scope="session")
def asked_offline(smollm2):
    """The workload's outcomes by SmolLM2 in bfloat16, offline."""
    engine = VLLMEngine(smollm2, max_model_len=2048, timeout=200.0, start_timeout=180.0)
    with engine:
        return answers_of(engine, workload())


class Server:
    """vLLM's own server of SmolLM2."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = child_environment(os.environ, folder, None) | {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "TORCH_COMPILE_DISABLE": "1",
        }
        command = f"""-m vllm.entrypoints.openai.api_server --model {folder}
            --served-model-name smollm2 --host 127.0.0.1 --port {self.port} --dtype bfloat16
            --enforce-eager --block-size 32 --max-num-seqs 64 --no-enable-chunked-prefill
            --max-model-len 2048 --max-num-batched-tokens 4096 --kv-cache-memory-bytes {2**28}
            --enable-prompt-tokens-details"""
        self.process = subprocess.Popen(
            [sys.executable, *command.split()],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise

    def wait(self, seconds=180):
        for _ in range(2 * seconds):
            assert self.process.poll() is None, "the server did not start"
            try:
                return self.get("/health")
            except OSError:
                time.sleep(0.5)
        raise TimeoutError("the server is not ready")

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read().decode()

    def count(self, name):
        """A counter among the engine's metrics."""
        lines = (line.split() for line in self.get("/metrics").splitlines())
        found = [float(line[1]) for line in lines if line and line[0].split("{")[0] == name]
        assert found, f"no metric {name}"
        return sum(found)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def server(smollm2, asked_offline):
    """vLLM's server; started when the offline engine is gone, as both want the memory."""
    started = Server(smollm2)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def online(server):
    """The engine that asks it."""
    with OpenAIEngine(server.url, timeout=120.0) as engine:
        yield engine


@pytest.fixture(scope="session")
def asked_online(online):
    """The same workload's outcomes by the server."""
    return answers_of(online, workload())


@pytest.fixture(scope="session")
def judged(tiny):
    """Log-probabilities of next tokens by transformers, from a process that imports it."""

    def judge(chats, prefixes):
        """[chat][prefix] -> tokens of the answers, and the next token's log-probabilities."""
        script = Path(__file__).with_name("judge_with_transformers.py")
        done = subprocess.run(
            [sys.executable, str(script), tiny],
            input=json.dumps({"chats": chats, "prefixes": prefixes}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return judge
