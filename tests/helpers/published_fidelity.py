"""The ranges of values that the paper's rounded numbers allow."""

from syndigits_jax.studies.persona_fidelity.paper_values import INDEX_METRICS as INDEX_METRICS
from syndigits_jax.studies.persona_fidelity.paper_values import INDICES as INDICES
from syndigits_jax.studies.persona_fidelity.paper_values import METHODS as METHODS
from syndigits_jax.studies.persona_fidelity.paper_values import METRICS as METRICS
from syndigits_jax.studies.persona_fidelity.paper_values import PANELS as PANELS


def cells(table: str, metrics: tuple[str, ...]) -> dict[str, dict[str, tuple[float, float]]]:
    """Method → metric → what the printed number may stand for, lowest and highest."""
    rows = [line.split() for line in table.strip().splitlines()]
    return {
        method: {metric: interval(text) for metric, text in zip(metrics, row, strict=True)}
        for method, row in zip(METHODS, rows, strict=True)
    }


def interval(text: str) -> tuple[float, float]:
    """A printed number, give or take half a unit of its last digit."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.5 * 10 ** (int(exponent or 0) - decimals)
    return float(text) - half, float(text) + half
