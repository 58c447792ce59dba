"""Test-wide settings: strict JAX, a bounded hypothesis profile, and the real data if present."""

import os
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "bounded",
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("bounded")

X64 = bool(jax.config.read("jax_enable_x64"))


@pytest.fixture(params=["float32", "float64"] if X64 else ["float32"])
def dtype(request):
    """float32 always; float64 too in the lane that sets JAX_ENABLE_X64=1."""
    return jnp.dtype(request.param)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data sets; tests that ask for it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("SYNDIGITS_DATA", root.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real data not found at {path}; set SYNDIGITS_DATA to run this test")
    return path
