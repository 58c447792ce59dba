"""Both papers together: what does calibrating twins do to their fidelity in preference space?

The 500 real users of the SYN-DIGITS paper's MovieLens data, their language-model twins, and twins
calibrated by SYN-DIGITS are placed by one procedure in the preference space of an encoder that was
trained on other people's ratings, and measured against one another as the Persona Fidelity Gap
does; then the populations are repaired there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from jaxtyping import Float

from syndigits_jax.fidelity.encoder import PRNGKey
from syndigits_jax.studies.fidelity_populations import PairedColumns
from syndigits_jax.studies.fidelity_records import FidelityRecord
from syndigits_jax.studies.tables import OnProgress


@dataclass(frozen=True)
class PreferenceTwinsSettings:
    """How the study is done."""

    @staticmethod
    def quick() -> "PreferenceTwinsSettings":
        """Small numbers, to see that everything runs."""
        return PreferenceTwinsSettings()


@dataclass(frozen=True, eq=False)
class PreferenceTwinsReport:
    """What the study found.

    - `records`: all numbers; `counts`: of users, films, ratings and pairs.
    - `populations`: embeddings (n, d) of the main placement by name, `real` first.
    - `paired`: by (procedure, reference), distances of each twin to its human and to another's.
    - `notes`: the answer in words, and what should be known to read the numbers.
    """

    records: tuple[FidelityRecord, ...]
    counts: dict[str, int]
    populations: dict[str, Float[np.ndarray, "n d"]]
    paired: Mapping[tuple[str, str], PairedColumns] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def study_preference_twins(
    data: str | PathLike[str],
    *,
    embed: Callable[[Sequence[str]], np.ndarray],
    key: PRNGKey,
    settings: PreferenceTwinsSettings | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> PreferenceTwinsReport:
    """Train on `movielens/ml-latest-small`, place and measure `syn-digits/MovieLens-20M`.

    **Arguments:** `data`: the folder that holds both; `embed`: from film texts to vectors, such as
    `sentence_encoder()`; `out`: a folder where training is kept, to be resumed.
    """
    raise NotImplementedError
