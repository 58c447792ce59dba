"""Replaces the child process of VLLMEngine: echoes, ends or hangs, as the prompts specify.

usage: python stub_worker.py FILE    (a line is appended to FILE at each start)
"""

import json
import os
import sys
import time

NOTHING = {"finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": 1, "cached_tokens": 2}


def say(message):
    print(json.dumps(message), flush=True)


with open(sys.argv[1], "a+") as starts:
    starts.write(f"{os.getpid()}\n")
    starts.seek(0)
    start = len(starts.readlines())
setup = json.loads(sys.stdin.readline())
if setup["model"].endswith("unloadable"):
    print("a line that is not the reason", file=sys.stderr)
    print("OSError: no weights here", file=sys.stderr)
    sys.exit(1)
if setup["arguments"].get("flaw") and start in (2, 3):
    sys.exit("OSError: out of memory")
say({"ready": {"version": "1.2", "device": "cpu", "dtype": "float32"}})
for line in sys.stdin:
    batch = json.loads(line)
    texts = [batch["texts"][request["messages"][-1][1]] for request in batch["requests"]]
    for text in texts:
        what, _, path = text.partition(" ")
        if path.startswith("/"):  # once only
            if os.path.exists(path):
                continue
            open(path, "w").close()
        if what == "die":
            print(f"RuntimeError: {what} was said", file=sys.stderr, flush=True)
            os._exit(3)
        if what == "hang":
            time.sleep(600)
        if what == "error":
            say({"error": "ValueError: step failed"})
        if what == "nonsense":
            print("INFO: loading", flush=True)
        if what == "short":
            say({"batch": batch["batch"], "outcomes": []})
        if what == "odd":
            say({"batch": batch["batch"], "outcomes": [{"unheard": 1}] * len(texts)})
    say(
        {
            "batch": batch["batch"],
            "outcomes": [
                {"failure": "too\nlong"}
                if text == "long"
                else NOTHING | {"text": text.upper(), "log_probabilities": [-1.0, float("-inf")]}
                for text in texts
            ],
        }
    )
