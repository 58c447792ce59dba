"""Test-wide settings: strict JAX, a bounded hypothesis profile, and the real data if present."""

import collections
import gc
import itertools
import os
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import pytest

# No test reads what another run has compiled.
os.environ["SYNDIGITS_CACHE"] = "off"

# Compiling is most of what a test does, so programs are optimised less: a third of the time. Set
# XLA_FLAGS, even to nothing, to have them as users do; the lane `full` of CI does, and processes
# with `users_environment` always have.
OURS = "SYNDIGITS_TESTS_SET_XLA_FLAGS"  # workers inherit the flags, and must know whose they are
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    if jax.__version_info__ < (0, 11):
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
    os.environ[OURS] = "yes"
USERS_ENVIRONMENT = dict(os.environ)
if USERS_ENVIRONMENT.pop(OURS, None):
    del USERS_ENVIRONMENT["XLA_FLAGS"]

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "bounded",
    # Lanes of CI that run these tests once more look at fewer examples.
    max_examples=int(os.environ.get("SYNDIGITS_EXAMPLES", 20)),
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("bounded")

# Tracing makes and drops objects by the million, and modules and compiled programs hold as many:
# the default looks through them so often that it takes a tenth of the time.
gc.set_threshold(100_000, 20, 50)


def pytest_collection_finish():
    """What has been imported by now stays: no collection need look at it again."""
    gc.collect()
    gc.freeze()


EVERY = int(os.environ.get("SYNDIGITS_EVERY", 1))


def pytest_collection_modifyitems(config, items):
    """Of a test with many parameters, the first and every `EVERY`-th, where CI asks."""
    seen: collections.Counter[str] = collections.Counter()
    kept, dropped = [], []
    for item in items:
        name = item.nodeid.partition("[")[0]
        (dropped if seen[name] % EVERY else kept).append(item)
        seen[name] += 1
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


X64 = bool(jax.config.read("jax_enable_x64"))


# Compiled programs are memory maps, of which Linux grants a process 65,530: the compiler crashes on
# the next one, so caches are emptied well before.
MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000
finished_tests = itertools.count(1)


def pytest_runtest_teardown():
    """Drop all compiled programs when there are too many."""
    if next(finished_tests) % 20 == 0 and MAPS.exists():
        with MAPS.open("rb") as lines:
            count = sum(1 for _ in lines)
        if count > MOST_MAPS:
            jax.clear_caches()
            gc.collect()


@pytest.fixture(params=["float32", "float64"] if X64 else ["float32"])
def dtype(request):
    """float32 always; float64 too in the lane that sets JAX_ENABLE_X64=1."""
    return jnp.dtype(request.param)


@pytest.fixture(scope="session")
def same_environment() -> dict[str, str]:
    """For processes that compile as the tests do."""
    return dict(os.environ) | {"JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="session")
def users_environment() -> dict[str, str]:
    """For processes that run as a user's would."""
    return USERS_ENVIRONMENT | {"JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data sets; tests that ask for it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("SYNDIGITS_DATA", root.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real data not found at {path}; set SYNDIGITS_DATA to run this test")
    return path
