"""Peak memory of distances between populations, counted by the compiler: blocks, not matrices."""

import jax
import jax.numpy as jnp
import pytest

from syndigits_jax.fidelity import mmd2_unbiased, prdc

MEASURES = {
    "mmd": lambda x, y, block: mmd2_unbiased(x, y, 1.0, block=block),
    "prdc": lambda x, y, block: prdc(x, y, block=block),
}


def temporary(function, *arguments) -> int:
    """Bytes that a compiled program needs beside its arguments and results."""
    program = jax.jit(function).lower(*arguments).compile()
    return program.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", MEASURES)
def test_memory_is_that_of_a_few_blocks(name):
    points, block = 4000, 2**16
    x = jnp.zeros((points, 8))
    whole = x.dtype.itemsize * points**2
    used = temporary(lambda x, y: MEASURES[name](x, y, block=block), x, x)
    assert used < 12 * x.dtype.itemsize * block < whole / 15
    wider = temporary(lambda x, y: MEASURES[name](x, y, block=16 * block), x, x)
    assert wider > 4 * used
