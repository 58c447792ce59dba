"""Attributes drawn from marginals, and personas that a model has written."""

import math
from collections import Counter

import jax
import pytest

from syndigits_jax.datasets import read_personas, write_personas
from syndigits_jax.respond import (
    DEFAULT_MARGINALS,
    backstory_prompts,
    demographic_prompts,
    find_template,
    read_marginals,
    render,
    sample_attributes,
    written_personas,
)
from syndigits_jax.schema import Persona

PAPERS_SIX = {"age", "gender", "location", "occupation", "income", "education"}


def test_frequencies_are_those_of_the_marginals():
    count = 20_000
    people = sample_attributes(count, key=3)
    assert set(people[0]) == PAPERS_SIX
    for name, shares in DEFAULT_MARGINALS.items():
        seen = Counter(person[name] for person in people)
        assert set(seen) == set(shares)
        chi2 = sum((seen[v] - count * p) ** 2 / (count * p) for v, p in shares.items())
        freedom = len(shares) - 1
        assert chi2 < freedom + 4 * math.sqrt(2 * freedom)  # four standard deviations
    # Attributes are drawn apart: a pair is as frequent as its shares say.
    both = sum(p["gender"] == "female" and p["age"] == "25 to 34" for p in people) / count
    assert abs(both - 0.51 * 0.17) < 4 * math.sqrt(0.0867 * 0.9133 / count)


def test_the_same_seed_gives_the_same_people_and_more_begin_alike():
    assert sample_attributes(50, key=1) == sample_attributes(80, key=1)[:50]
    assert sample_attributes(50, key=1) != sample_attributes(50, key=2)
    (only,) = sample_attributes(1, {"a": {"never": 0, "always": 1, "nor": 0.0}})
    assert only == {"a": "always"}


@pytest.mark.parametrize(
    ("marginals", "words"),
    [
        ({}, "no attributes"),
        ({"age": {}}, "'age' needs"),
        ({"age": {"young": 0.5, "old": 0.4}}, "'age' sum to 0.9, not 1$"),
        ({"age": {"young": 50, "old": 50}}, "percentages"),
        ({"age": {"young": -0.5, "old": 1.5}}, "age 'young'.*-0.5"),
        ({"age": {"young": float("nan")}}, "age 'young'"),
    ],
)
def test_bad_marginals_are_refused(marginals, words):
    with pytest.raises(ValueError, match=words):
        sample_attributes(3, marginals)
    with pytest.raises(ValueError, match="`people`"):
        sample_attributes(0)


def test_marginals_from_a_file(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text('[pet]\ncat = 0.25\n"a dog" = 0.75\n')
    assert read_marginals(path) == {"pet": {"cat": 0.25, "a dog": 0.75}}
    for text, words in (("[pet]\ncat = 0.5", "'pet' sum"), ("pet = 1", "'pet'"), ("[", "m.toml")):
        path.write_text(text)
        with pytest.raises(ValueError, match=words) as caught:
            read_marginals(path)
        assert "m.toml" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="none"):
        read_marginals(tmp_path / "none.toml")


def test_prompts_fill_the_papers_templates():
    people = demographic_prompts(3, key=5)
    assert [p.identifier for p in people][::2] == ["demographic-0001", "demographic-0003"]
    template = find_template("persona-demographic")
    text = render(template, people[0]).messages[-1].content
    assert f"Age: {people[0].attributes['age']}. Gender: " in text
    backstories = backstory_prompts(2)
    assert len({p.identifier for p in backstories}) == 2
    assert (
        "backstory"
        in render(find_template("persona-backstory"), backstories[0]).messages[0].content
    )
    with pytest.raises(ValueError, match="`people`"):
        backstory_prompts(0)


def test_what_a_model_wrote_becomes_the_text(tmp_path):
    asked = (
        Persona(
            "a", attributes={"age": "30", "seed": "7", "top_items_block": "x", "n_reviews": "2"}
        ),
        Persona("b"),
        Persona("c"),
        Persona("d"),
    )
    texts = {"a": " I am {a}. ", "b": "  \n", "c": None}
    written = written_personas(asked, texts)
    assert written.personas == (Persona("a", "I am {a}.", {"age": "30", "seed": "7"}),)
    assert written.empty == ("b",) and written.missing == ("c", "d") and not written.refused
    again = written_personas(asked, {"a": "I", "b": "As an AI, no.", "d": "D"}, ["b"])
    assert [p.identifier for p in again.personas] == ["a", "d"] and again.refused == ("b",)
    write_personas(tmp_path / "p.csv", written.personas)
    assert read_personas(tmp_path / "p.csv") == written.personas
    with pytest.raises(ValueError, match="'z' is none"):
        written_personas(asked, {"z": "x"})
    with pytest.raises(ValueError, match=r"none of 4.*1 empty, 0 refused, 3 missing"):
        written_personas(asked, {"b": ""})


def test_a_jax_key_draws_too():
    key = jax.random.key(3)
    assert sample_attributes(20, key=key) == sample_attributes(20, key=jax.random.PRNGKey(3))
    assert sample_attributes(20, key=key) != sample_attributes(20, key=jax.random.split(key)[0])
    with pytest.raises(ValueError, match="`key` must be"):
        sample_attributes(20, key="3")
