"""What the machine can do: bytes and operations per second, measured in the same run."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np


def bandwidth(cores: int | None = None, mib: int = 256, repeats: int = 7) -> dict[str, float]:
    """Bytes per second of NumPy's copy, triad and sum, every core on arrays of its own."""
    cores = cores or os.cpu_count() or 1
    size = mib * 2**20 // 4
    arrays = [tuple(np.ones(size, np.float32) for _ in range(3)) for _ in range(cores)]

    def copy(a, b, c):
        np.copyto(a, b)

    def triad(a, b, c):
        np.multiply(c, np.float32(3), out=a)
        np.add(a, b, out=a)

    def read(a, b, c):
        b.sum()

    found = {}
    with ThreadPoolExecutor(cores) as pool:
        for function, streams in ((copy, 2), (triad, 5), (read, 1)):
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                list(pool.map(lambda each: function(*each), arrays))  # noqa: B023
                seconds.append(time.perf_counter() - start)
            found[function.__name__] = streams * cores * size * 4 / min(seconds)
    return found


def device_bandwidth(mib: int = 1024, repeats: int = 7) -> float:
    """Bytes per second of a compiled triad a = b + 3 c on the default device."""
    size = mib * 2**20 // 4
    b, c = jnp.ones(size, jnp.float32), jnp.ones(size, jnp.float32)
    triad = jax.jit(lambda b, c: b + 3 * c)
    jax.block_until_ready(triad(b, c))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(triad(b, c))
        seconds.append(time.perf_counter() - start)
    return 3 * size * 4 / min(seconds)


def arithmetic(size: int = 2048, repeats: int = 5, dtype: str = "float32") -> float:
    """Operations per second of a large product of matrices in full precision."""
    x = jnp.ones((size, size), dtype)
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    jax.block_until_ready(product(x))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(product(x))
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def rates(size: str) -> dict[str, float]:
    """`bytes_per_second`, the fastest of copy, triad and sum, and `operations_per_second`."""
    if jax.default_backend() == "cpu":
        found = bandwidth(mib=16 if size == "small" else 256)
        fastest = max(found.values())
    else:
        fastest = device_bandwidth(mib=64 if size == "small" else 1024)
        found = {"triad": fastest}
    return found | {
        "bytes_per_second": fastest,
        "operations_per_second": arithmetic(256 if size == "small" else 2048),
    }
