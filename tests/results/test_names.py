"""Names as people type them."""

import pytest

from syndigits_jax.results.names import (
    construction_names,
    kebab,
    method_name,
    method_names,
    setting_names,
)
from syndigits_jax.studies.syn_digits.paper_values import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_found_in_every_spelling(name):
    for typed in (name, kebab(name), kebab(name).upper(), kebab(name).replace("-", "_")):
        assert method_name(typed) == name


@pytest.mark.parametrize(
    ("typed", "name"),
    [("EN", "ElasticNet"), ("als", "AlternatingLeastSquares"), ("hsv", "HardImpute")],
)
def test_the_papers_abbreviations(typed, name):
    assert method_name(typed) == name


def test_chosen_methods_keep_the_tables_order_and_come_once():
    assert method_names(["soft-impute", "ridge", "SSV"]) == ("Ridge", "SoftImpute")
    assert method_names(None) == METHODS == method_names([])


@pytest.mark.parametrize("typed", ["elastic", "elasticnets", "Elastc-Net"])
def test_a_mistyped_method_gets_a_suggestion(typed):
    with pytest.raises(ValueError, match=f"unknown method '{typed}'; did you mean 'elastic-net'"):
        method_name(typed)


def test_an_unrecognisable_method_gets_the_list():
    with pytest.raises(ValueError, match=r"known: 'ridge', 'lasso'"):
        method_name("zzzz")
    with pytest.raises(ValueError, match="known:"):
        method_name("nope")  # soft-impute shares letters with it, no more


def test_constructions_and_settings():
    have = ("Text Persona - GPT4.1-mini", "JSON Persona - GPT4.1-mini")
    assert construction_names(["json persona - gpt4.1-mini"], have) == have[1:]
    assert construction_names(None, have) == have
    with pytest.raises(ValueError, match="unknown construction 'JSON Persona'; did you mean 'JSON"):
        construction_names(["JSON Persona"], have)
    with pytest.raises(ValueError, match=r"'absent' is known, but not in this folder"):
        construction_names(["absent"], have, ("Absent", *have))
    assert setting_names("both") == ("reference", "default")
    with pytest.raises(ValueError, match="unknown setting 'defualt'; did you mean 'default'"):
        setting_names("defualt")
