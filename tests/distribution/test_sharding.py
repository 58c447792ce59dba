"""Twins spread over eight simulated devices: the same fit as on one."""

import os
import subprocess
import sys

SCRIPT = """
import jax, numpy as np
import jax.numpy as jnp
from syndigits_jax.datasets import simulate_distributions
from syndigits_jax.distribution import Answers, Spec, design, fit_ensembles, fit_large, make_design

assert jax.device_count() == 8
mesh = jax.make_mesh((8,), ("twins",))
everywhere = jnp.ones((12, 3), bool)

def poll(twins):
    data, _ = simulate_distributions(twins=twins, questions=12, options=3, key=0)
    return data.counts, Answers.from_choices(data.choices, 3)

def parts(x):
    return len(x.sharding.device_set), {s.data.shape[0] for s in x.addressable_shards}

def agree(one, eight, spread):
    assert int(eight.status) == 0 and eight.dummies.shape == (3,)
    assert eight.personas.shape == one.personas.shape
    assert abs(float(jnp.sum(eight.personas) + jnp.sum(eight.dummies)) - 1) < 1e-5
    scale = float(one.start - one.objective)
    assert abs(float(one.objective) - float(eight.objective)) <= 2e-3 * scale
    if spread:
        assert parts(eight.personas) == (8, {8}), eight.personas.sharding

# 61 twins leave three places of the last device empty, 64 none.
counts, answers = poll(61)
assert parts(make_design(answers, everywhere, mesh).matrix) == (8, {8})
specs = [Spec("kl", v) for v in ("both", "personas")] + [Spec("kl", entropy=0.01)]
ones, eights = (fit_ensembles(counts, answers, specs, mesh=m) for m in (None, mesh))
for one, eight in zip(ones, eights):
    agree(one, eight, False)
agree(ones[0], fit_large(counts, answers, specs[0], columns=16, mesh=mesh), False)

counts, answers = poll(64)
[one] = fit_ensembles(counts, answers, specs[:1])
agree(one, fit_ensembles(counts, answers, specs[:1], mesh=mesh)[0], True)
agree(one, fit_large(counts, answers, specs[0], columns=16, mesh=mesh), True)
# The answers as integers: every device holds those of its own eight twins only.
design._DENSE_BYTES = 0
blocked = make_design(answers, everywhere, mesh)
assert parts(blocked.answers.codes) == (8, {8}) and blocked.answers.codes.dtype == np.int8
agree(one, fit_ensembles(counts, answers, specs[:1], mesh=mesh)[0], True)
print("agree")
"""


def test_eight_devices_agree_with_one():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "agree"
