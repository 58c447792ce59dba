"""The evaluations in each table of the paper: data, hold-out and methods."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from syndigits_jax.calibration import Settings, preset
from syndigits_jax.datasets import (
    CONSTRUCTIONS,
    DEFAULT_CONSTRUCTION,
    load_movielens,
    load_twin_2k_500,
    present_constructions,
)
from syndigits_jax.panel import Panel
from syndigits_jax.results.names import Direction, construction_names, method_names, setting_names
from syndigits_jax.studies.syn_digits.paper_values import MOVIELENS, TWIN_2K_500, ZERO_SHOT

TABLES = ("table2", "table4", "table5", "figure5")

# The methods of Figure 5; all other fit-and-transfer methods have a training error too.
_FIGURE5 = ("Ridge", "ElasticNet")


@dataclass(frozen=True)
class Unit:
    """One hold-out evaluation of a panel by several methods in one setting."""

    table: str
    dataset: str
    construction: str
    direction: Direction
    setting: str
    methods: tuple[str, ...]

    @property
    def label(self) -> str:
        """A description for progress lines."""
        where = self.dataset if self.construction == ZERO_SHOT else self.construction
        return f"{where}, new {self.direction}s, {self.setting}"

    def settings(self) -> Settings:
        """The evaluation settings of this unit."""
        return Settings.reference() if self.setting == "reference" else Settings()

    def calibrators(self) -> dict[str, Any]:
        """The unit's methods with the paper's hyperparameters (Tables 7 and 8)."""
        known = preset(self.dataset, self.direction)
        return {name: known[name] for name in self.methods}


def plan(
    table: str,
    data_dir: str | os.PathLike[str],
    *,
    constructions: Iterable[str] | None = None,
    methods: Iterable[str] | None = None,
    setting: str = "reference",
) -> list[Unit]:
    """The units of a table, in the order in which they run.

    **Arguments:**

    - `table`: `table2` (MovieLens, new questions), `table4` (Twin-2K-500, new questions, every
      construction present), `table5` (both data sets, new users) or `figure5` (adaptive transfer
      on the default construction).
    - `data_dir`: the folder of the public data.
    - `constructions`: folder names of Twin-2K-500; by default the paper's, if present.
    - `methods`: names in any spelling; by default the paper's.
    - `setting`: `reference`, `default` or `both`.

    **Raises:** `ValueError` for an unknown name, or constructions for a table that has none;
    `FileNotFoundError` if the data are absent.
    """
    if table not in TABLES:
        raise ValueError(f"unknown table '{table}'; known: {', '.join(TABLES)}")
    chosen = list(constructions or ())
    if table == "table2" and chosen:
        raise ValueError("constructions: table2 is MovieLens, which has only one construction")
    settings = setting_names(setting)
    if table == "figure5":
        names = method_names(methods) if methods else _FIGURE5
    else:
        names = method_names(methods)

    direction: Direction = "user" if table == "table5" else "question"
    panels: list[tuple[str, str]] = []
    if table in ("table2", "table5"):
        panels.append((MOVIELENS, ZERO_SHOT))
    if table != "table2":
        present = [c.folder for c in present_constructions(data_dir)]
        if not present:
            raise FileNotFoundError(f"no construction of Twin-2K-500 in {os.fspath(data_dir)}")
        if not chosen and table != "table4":
            chosen = [DEFAULT_CONSTRUCTION.folder]
        known = [c.folder for c in CONSTRUCTIONS]
        panels += [(TWIN_2K_500, c) for c in construction_names(chosen, present, known)]
    return [
        Unit(table, dataset, construction, direction, setting, names)
        for dataset, construction in panels
        for setting in settings
    ]


def load(data_dir: str | os.PathLike[str], dataset: str, construction: str) -> Panel:
    """The panel of a unit. **Raises:** `FileNotFoundError`, `ValueError` as the readers do."""
    if dataset == MOVIELENS:
        return load_movielens(data_dir)
    return load_twin_2k_500(data_dir, construction)
