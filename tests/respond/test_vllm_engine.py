"""An engine's child process from start to end, with a stand-in for vLLM that ends or hangs.

Longer than 400 lines: every way to die meets one stand-in engine, whose set-up they share.
"""

import contextlib
import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from syndigits_jax.respond import find_template
from syndigits_jax.respond.asking.collect import collect_plan
from syndigits_jax.respond.asking.plan import make_plan
from syndigits_jax.respond.engines import vllm_engine as vllm_engine
from syndigits_jax.respond.engines.vllm_engine import VLLMEngine
from syndigits_jax.respond.requests import Completion, EngineDied, Failure, Message, Request
from syndigits_jax.schema import Option, Persona, Question

STUB = Path(__file__).parents[1] / "helpers" / "stub_worker.py"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Engines whose child is the stand-in; all are closed at the end, and their children gone."""
    monkeypatch.setattr(vllm_engine, "_check_installed", lambda: None)
    made = []

    def engine(model="some/model", **options):
        # The smaller the batches, the fewer are in one boat.
        one = VLLMEngine(model, **({"timeout": 20.0, "batch_size": 4} | options))
        one._command = (sys.executable, str(STUB), str(tmp_path / "starts"))
        made.append(one)
        return one

    yield engine
    for one in made:
        one.close()
    for pid in started(tmp_path):
        assert not is_alive(pid)


def started(tmp_path):
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in (tmp_path / "starts").read_text().split()]
    return []


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def asking(*texts):
    persona = Message("system", "You are " + 1000 * "very " + "patient.")
    return [Request((persona, Message("user", text)), "text") for text in texts]


def answers_of(engine, requests):
    found = dict(engine.stream(requests))
    assert sorted(found) == list(range(len(requests)))
    return [found[position] for position in range(len(requests))]


def texts_of(outcomes):
    return [outcome.text for outcome in outcomes]


def test_answers_come_back_in_place_and_failures_beside_them(make, tmp_path):
    engine = make()
    found = answers_of(engine, asking("a", "long", *"bcdefghi"))
    assert found[0] == Completion("A", (-1.0, -math.inf), "stop", 3, 1, 2)
    assert found[1] == Failure("too long")
    assert texts_of(found[2:]) == list("BCDEFGHI")
    assert len(started(tmp_path)) == 1 and engine.pid == started(tmp_path)[0]
    identity = engine.identity
    assert (identity.model, identity.engine) == ("some/model", "vllm")
    assert identity.version == "1.2 cpu float32"
    engine.close()
    engine.close()
    assert engine.pid is None


def test_requests_are_read_two_batches_ahead(make):
    read = []
    requests = (read.append(request) or request for request in asking(*(100 * "x")))
    stream = make(batch_size=4).stream(requests)
    next(stream)
    assert len(read) == 8
    stream.close()


def test_a_stream_that_is_left_does_not_disturb_the_next(make):
    engine = make(batch_size=2)
    stream = engine.stream(asking(*"abcdefgh"))
    next(stream)
    stream.close()
    assert texts_of(answers_of(engine, asking(*"klmn"))) == list("KLMN")


@pytest.mark.parametrize("what", ["die", "error", "nonsense", "short", "odd"])
def test_an_engine_that_dies_once_is_replaced_and_nothing_is_lost(make, tmp_path, what):
    engine = make()
    requests = asking("a", "b", "c", f"{what} {tmp_path / 'once'}", *"efghijkl")
    with pytest.warns(RuntimeWarning, match="vLLM failed and is restarted"):
        found = answers_of(engine, requests)
    assert all(isinstance(outcome, Completion) for outcome in found)
    assert texts_of(found[4:]) == list("EFGHIJKL")
    assert len(started(tmp_path)) == 2


def test_an_engine_that_hangs_is_killed_and_replaced(make, tmp_path):
    engine = make(timeout=1.5)
    with pytest.warns(RuntimeWarning, match=r"no answer within 1.5 s"):
        found = answers_of(engine, asking("a", f"hang {tmp_path / 'once'}", "c", "d", "e"))
    assert all(isinstance(outcome, Completion) for outcome in found)
    first, second = started(tmp_path)
    assert not is_alive(first) and is_alive(second)


def test_one_that_is_killed_from_outside_is_replaced(make, tmp_path):
    engine = make(batch_size=1)
    found = {}
    with pytest.warns(RuntimeWarning, match="signal 9"):
        for position, outcome in engine.stream(asking(*"abcdefghijkl")):
            if not found:
                os.kill(engine.pid, signal.SIGKILL)
            assert position not in found
            found[position] = outcome
    assert texts_of(found[i] for i in range(12)) == list("ABCDEFGHIJKL")


def test_the_request_that_kills_is_found_and_given_up_alone(make, tmp_path):
    requests = asking(*"abcdefghij", "die", *"lmnopqrstuvwxyz")
    with pytest.warns(RuntimeWarning, match=r"exit code 3: RuntimeError: die was said"):
        found = answers_of(make(batch_size=26), requests)
    assert isinstance(found[10], Failure)
    assert "RuntimeError: die was said" in found[10].reason
    assert texts_of(found[:10] + found[11:]) == list("ABCDEFGHIJLMNOPQRSTUVWXYZ")
    # Twice with all, then with halves: 26, 13, 7, 4, 2, 1 at most.
    assert len(started(tmp_path)) <= 8


def test_two_that_kill_are_both_found(make):
    requests = asking("die", *"bcdef", "die", "h")
    with pytest.warns(RuntimeWarning):
        found = answers_of(make(batch_size=8), requests)
    assert [i for i, outcome in enumerate(found) if isinstance(outcome, Failure)] == [0, 6]


def test_it_gives_up_when_it_dies_time_and_again(make, tmp_path):
    engine = make(restarts=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(EngineDied, match=r"failed 4 times in a row; .*die was said"):
            list(engine.stream(asking(*(["die"] * 50))))
    assert len(started(tmp_path)) == 4
    assert engine.pid is None


def test_what_was_answered_before_the_end_is_kept(make):
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(EngineDied):
            for position, outcome in make(restarts=1).stream(asking(*"abcd", *(["die"] * 50))):
                seen.append((position, outcome.text))
    assert seen == list(enumerate("ABCD"))


def test_a_model_that_does_not_load_says_why_and_is_not_tried_for_ever(make, tmp_path):
    engine = make("unloadable")
    reason = "does not start with the model 'unloadable'.*OSError: no weights here"
    for _ in range(2):
        with pytest.raises(EngineDied, match=reason):
            _ = engine.identity
    with pytest.raises(EngineDied, match=reason):
        list(engine.stream(asking("a")))
    assert len(started(tmp_path)) == 3


def test_a_start_that_fails_after_a_death_is_tried_again(make, tmp_path, monkeypatch):
    """The second and third start fail, as they do while a GPU's memory is not free yet."""
    monkeypatch.setattr(vllm_engine, "_PAUSE", 0.01)
    engine = make(engine_arguments={"flaw": True})
    with pytest.warns(RuntimeWarning):
        found = answers_of(engine, asking("a", f"die {tmp_path / 'once'}", *"cdefgh"))
    assert texts_of(found[2:]) == list("CDEFGH") and len(started(tmp_path)) == 4
    (tmp_path / "once").unlink()
    (tmp_path / "starts").unlink()
    engine = make(engine_arguments={"flaw": True}, restarts=2)
    with pytest.warns(RuntimeWarning), pytest.raises(EngineDied, match="out of memory"):
        answers_of(engine, asking("a", f"die {tmp_path / 'once'}", *"cdefgh"))


def test_an_interrupt_ends_the_child(make, tmp_path):
    engine = make(batch_size=1)

    def interrupted():
        yield from asking(*"abc")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.stream(interrupted()))
    assert engine.pid is None
    assert not any(map(is_alive, started(tmp_path)))


def test_the_engines_messages_go_to_the_log(make, tmp_path):
    log = tmp_path / "engine.log"
    with pytest.warns(RuntimeWarning):
        answers_of(make(log=log), asking("a", f"die {tmp_path / 'once'}"))
    assert "die was said" in log.read_text()


def test_batches_grow_while_they_are_quick_and_shrink_when_they_are_slow(make):
    engine = make(batch_size=512)
    sizes = []
    for seconds in (0.1, 0.1, 0.1, 0.1, 0.1, 5.0, 20.0, 400.0, 400.0, 400.0, 400.0):
        engine._adapt(engine._size, seconds)
        sizes.append(engine._size)
    assert sizes == [64, 128, 256, 512, 512, 512, 256, 128, 64, 32, 32]
    engine._adapt(3, 0.1)  # the last batch of a stream says nothing
    assert engine._size == 32


def test_a_worker_ends_with_its_parent(tmp_path):
    """The real worker's own watch, while it is busy loading, when its parent is killed."""
    child = (
        "import time\n"
        "from syndigits_jax.respond.engines import vllm_worker\n"
        "vllm_worker.load = lambda setup: print('loading') or time.sleep(600)\n"
        "vllm_worker.main()\n"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE,"
        f" stderr=open({str(tmp_path / 'log')!r}, 'w'), start_new_session=True)\n"
        "child.stdin.write(b'{}\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as one:
        pid = int(one.stdout.readline())
        for _ in range(400):  # what it prints goes to its log, as its output is for answers
            if "loading" in (tmp_path / "log").read_text():
                break
            time.sleep(0.05)
        assert is_alive(pid)
        one.kill()
    for _ in range(200):
        if not is_alive(pid):
            break
        time.sleep(0.05)
    assert not is_alive(pid)


def test_texts_that_are_shared_are_sent_once():
    message = vllm_engine.packed(asking("a", "b"))
    assert len(message["texts"]) == 3
    assert len(json.dumps(message)) < 6000
    places = [request["messages"] for request in message["requests"]]
    assert places == [[["system", 0], ["user", 1]], [["system", 0], ["user", 2]]]


def test_names_of_models(tmp_path):
    def folder(place, config="{}", weights=b"abc"):
        path = tmp_path / place / "checkpoint-500"
        path.mkdir(parents=True)
        (path / "config.json").write_text(config)
        (path / "model.safetensors").write_bytes(weights)
        return str(path)

    def name(path, given=None, **arguments):
        return vllm_engine.model_name(path, given, arguments)

    first = name(folder("a"))
    assert first.startswith("checkpoint-500@")
    assert name(folder("b")) == first
    others = [
        name(folder("c", config='{"x": 1}')),
        name(folder("d", weights=b"abcd")),
        name(folder("e", weights=b"abd")),
    ]
    assert len({first, *others}) == 4
    assert name("org/model") == "org/model" and name("org/model", "mine") == "mine"
    assert name("org/model", enable_thinking=False) == 'org/model {"enable_thinking": false}'


def test_settings_that_change_answers_stand_in_the_name():
    def name(settings, template=None):
        return vllm_engine.model_name("org/model", "mine", template or {}, settings)

    assert name({"dtype": "auto", "max_model_len": 99, "seed": 1, "quantization": None}) == "mine"
    assert name({"hf_token": "secret", "load_format": "auto", "enforce_eager": True}) == "mine"
    assert name({"dtype": "float16", "load_format": "dummy"}) == (
        'mine engine {"dtype": "float16", "load_format": "dummy"}'
    )
    both = {"quantization": "fp8", "hf_overrides": {"b": 1, "a": 2}}
    assert name(both, {"x": 1}) == name(dict(reversed(both.items())), {"x": 1})
    assert name(both, {"x": 1}).startswith('mine {"x": 1} engine {"hf_overrides": {"a": 2, "b": 1}')
    assert name({}, {"dtype": "float16"}) != name({"dtype": "float16"})


def test_the_engines_name_has_its_settings(make):
    assert make(max_model_len=64, tensor_parallel_size=2).model == "some/model"
    assert make(dtype="float16").model == 'some/model engine {"dtype": "float16"}'
    engine = make(dtype="auto", engine_arguments={"quantization": "fp8", "block_size": 16})
    assert engine.model == 'some/model engine {"quantization": "fp8"}' == engine.identity.model


def test_models_of_equal_size_are_told_apart_by_their_weights(tmp_path):
    """Of a large file, samples are read: its beginning, middle and end among them."""
    (tmp_path / "config.json").write_text("{}")
    weights, size = tmp_path / "model.safetensors", 4_000_000
    names = set()
    for place in (None, 0, 2**16 - 1, size // 2, size - 2**16, size - 1):
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        weights.write_bytes(content)
        names.add(vllm_engine.model_name(str(tmp_path), None, {}))
    assert len(names) == 6


def test_the_childs_variables():
    child = vllm_engine.child_environment
    assert child({"OMP_NUM_THREADS": "3"}, "m", None)["OMP_NUM_THREADS"] == "3"
    assert child({"OMP_NUM_THREADS": "3"}, "m", 2)["OMP_NUM_THREADS"] == "2"
    assert int(child({}, "m", None)["OMP_NUM_THREADS"]) >= 1
    assert (
        child({"A": "b", "JAX_PLATFORMS": "cuda"}, "m", None).items()
        >= {
            "A": "b",
            "JAX_PLATFORMS": "cpu",
        }.items()
    )
    assert "HF_HUB_OFFLINE" not in child({}, "org/model", None)
    assert child({}, "/", None)["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "`batch_size`"),
        ({"timeout": 0.0}, "`timeout`"),
        ({"threads": 0}, "`threads`"),
        ({"restarts": -1}, "`restarts`"),
        ({"kv_cache_gib": 0.0}, "`kv_cache_gib`"),
        ({"gpu_memory_utilization": 1.5}, "`gpu_memory_utilization`"),
        ({"engine_arguments": {"x": {1, 2}}}, "`engine_arguments`"),
    ],
)
def test_wrong_settings_name_themselves(options, said):
    with pytest.raises(ValueError, match=said):
        VLLMEngine("some/model", **options)


def test_wrong_models_are_known_before_anything_starts(tmp_path):
    for model, said in [
        ("", "`model`"),
        (str(tmp_path), "no config.json"),
        (str(tmp_path / "absent"), "there is no folder"),
        ("./absent", "there is no folder"),
    ]:
        with pytest.raises(ValueError, match=said):
            VLLMEngine(model)


def test_without_vllm_it_says_how_to_install_it_when_it_is_needed(monkeypatch):
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None)
    engine = VLLMEngine("some/model")
    assert engine.model == "some/model"  # enough where nothing is missing
    for needing in (
        engine.check,
        lambda: engine.identity,
        lambda: list(engine.stream(asking("a"))),
    ):
        with pytest.raises(ImportError, match=r'pip install "syndigits-jax\[vllm\]"'):
            needing()


def test_where_nothing_is_missing_the_engine_does_not_start(make, tmp_path):
    asked = ([Persona("p", "text")], [Question("q", "How?", (Option(1, "a"), Option(2, "b")))])
    path = tmp_path / "answers.sqlite"
    template = find_template("survey")
    decoding = template.settings(readout="choice")
    engine = make()
    # Checking the type of an engine, as tests do, looks at its identity and so starts it.
    plain = inspect.unwrap(collect_plan)
    plan = make_plan(template, *asked, decoding)
    first = plain(engine, plan, path)
    assert first.asked == 1 and engine.pid is not None
    again = make()
    report = plain(again, plan, path)
    assert (report.asked, report.already) == (0, 1) and again.pid is None
