"""Twins spread over eight simulated devices: the same fit as on one."""

import os
import subprocess
import sys

SCRIPT = """
import jax, numpy as np
from jax.sharding import Mesh
from syndigits_jax.datasets import simulate_distributions
from syndigits_jax.distribution import Answers, Spec, fit_ensembles
from syndigits_jax.distribution.design import make_design
import jax.numpy as jnp

assert jax.device_count() == 8
data, _ = simulate_distributions(0, twins=61, questions=12, options=3)
answers = Answers.from_choices(data.choices, 3)
mesh = Mesh(np.array(jax.devices()), ("twins",))
design = make_design(answers, jnp.ones((12, 3), bool), mesh)
assert len(design.matrix.sharding.device_set) == 8
assert {s.data.shape[0] for s in design.matrix.addressable_shards} == {8}
specs = [Spec("kl", v) for v in ("both", "personas")] + [Spec("tv"), Spec("kl", entropy=0.01)]
for one, eight in zip(
    fit_ensembles(data.counts, answers, specs),
    fit_ensembles(data.counts, answers, specs, mesh=mesh),
):
    assert eight.personas.shape == (61,) and int(eight.status) == 0
    scale = float(one.start - one.objective)
    assert abs(float(one.objective - eight.objective)) <= 2e-3 * scale
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
