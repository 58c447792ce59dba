"""Every public function with empty, missing, constant, huge, tiny and oddly laid out input.

The outcome is a result without new NaN, or an error of the package that names the argument.
"""

import inspect

import jaxtyping
import pytest
import swept_evaluation
import swept_panels
import swept_plots
import swept_populations
import swept_solvers
import swept_texts
from disturbed import SAME, SHAPES, VALUES, trouble

import syndigits_jax

SWEPT = (
    swept_solvers, swept_evaluation, swept_populations, swept_panels, swept_plots, swept_texts,
)  # fmt: skip
TABLE = {}
for entry in (entry for module in SWEPT for entry in module.TABLE):
    TABLE.setdefault(entry.name, []).append(entry)


@pytest.fixture(autouse=True)
def without_type_checks():
    """As users run it: annotations are checked in tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", TABLE)
def test_odd_input_is_computed_or_named(name):
    wrong = [
        line
        for entry in TABLE[name]
        for disturbance in (*VALUES, SAME, *SHAPES)
        for line in trouble(entry, disturbance)
    ]
    assert not wrong, "\n".join(wrong)


OTHER_ROOMS = {
    "saving": "takes files: see tests/test_saving.py",
}
READERS = (
    "load_amazon_2018 load_amazon_2023 load_movielens load_movielens_distributions "
    "load_movielens_ratings load_opinionqa load_panel load_twin_2k_500 present_constructions "
    "read_personas read_qualtrics read_questions read_spss read_stata read_table "
    "read_twin_2k_500_questions write_personas write_questions"
)


def public_functions():
    for room in dir(syndigits_jax):
        module = getattr(syndigits_jax, room)
        if room.startswith("_") or not inspect.ismodule(module) or room in OTHER_ROOMS:
            continue
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            home = getattr(value, "__module__", "").removeprefix(module.__name__)
            if inspect.isfunction(value) and not name.startswith("_") and home[:1] in ("", "."):
                yield f"{room}.{name}"


def test_every_public_function_has_its_place():
    excepted = {name for module in SWEPT for name in module.EXCEPTIONS}
    excepted |= {f"datasets.{name}" for name in READERS.split()}
    assert not excepted & set(TABLE)
    assert set(public_functions()) == excepted | {n for n in TABLE if n.count(".") == 1} - {
        "schema.Scale",
        "schema.Option",
    }
