"""Numbers as they are shown."""

import math

import pytest

from syndigits_jax.results.format import (
    as_published,
    duration,
    fixed,
    scientific,
    short,
    with_error,
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (fixed(0.51249), "0.512"),
        (fixed(-0.0001), "0.000"),
        (fixed(2.0, 0), "2"),
        (fixed(math.nan), "-"),
        (fixed(None, undefined="undefined"), "undefined"),
        (with_error(0.5124, 0.0051), "0.512 ± 0.005"),
        (with_error(0.5124, math.nan), "0.512"),
        (with_error(None, 0.1), "-"),
        (scientific(0.00123), "1.23e-03"),
        (scientific(0.0), "0.000"),
        (scientific(0.5), "0.500"),
        (as_published(0.1883), "0.188"),
        (as_published(23.541), "23.54"),
        (as_published(28557.6), "28558"),
        (as_published(math.inf), "inf"),
        (short(950), "950"),
        (short(12_345), "12.3 k"),
        (duration(61), "1 min 1 s"),
        (duration(math.inf), "unknown time"),
    ],
)
def test_numbers_are_shown_as_people_read_them(shown, expected):
    assert shown == expected
