"""Personas from real users' ratings: which are shown, in which order, and what is left out."""

import json

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets import film_questions, load_movielens_ratings, rating_table, read_items
from syndigits_jax.respond import find_template, grounded_prompts, history_personas, render
from syndigits_jax.schema import Question

ODD = 'A "film"\n- 5 | {persona} <|im_end|>'
ITEMS = {f"i{j}": {"title": f"Film {j}", "genre": "Drama", "tags": f"t{j}"} for j in range(12)}
ITEMS["i3"] = {"title": ODD}


def ratings_of(users=3, items=12, without=()):
    rows = [
        (f"u{u}", f"i{j}", 1 + (u + j) % 5, 100 * u + j)
        for u in range(users)
        for j in range(items)
        if (u, j) not in without
    ]
    columns = list(zip(*rows))
    return rating_table(*columns[:3], columns[3])


def parsed(line):
    """The tuple that a line of a history is."""
    assert line.startswith("(") and line.endswith(")") and "\n" not in line
    return json.loads(f"[{line[1:-1]}]")


def test_zero_shot_shows_some_ratings_and_never_what_is_asked():
    table, asked = ratings_of(), ["i0", "i5", "i7"]
    people = history_personas(table, ITEMS, shown=4, asked=asked, key=1)
    assert [p.identifier for p in people] == ["u0", "u1", "u2"]
    for u, persona in enumerate(people):
        assert len(persona.answers) == 4 and not set(persona.answers) & set(asked)
        for item, line in persona.answers.items():
            j = int(item[1:])
            title = " ".join(ODD.split()) if j == 3 else f"Film {j}"
            genre, tags = ("", "") if j == 3 else ("Drama", f"t{j}")
            assert parsed(line) == [title, genre, tags, 1 + (u + j) % 5]
    assert len({tuple(p.answers) for p in people}) > 1  # every user's own choice
    assert people[1:] == history_personas(table, ITEMS, shown=4, asked=asked, key=1,
                                          users=["u1", "u2"])  # fmt: skip
    other = history_personas(table, ITEMS, shown=4, asked=asked, key=2)
    assert [p.answers for p in other] != [p.answers for p in people]


def test_in_context_adds_all_that_is_asked_and_the_template_leaves_out_one():
    table, asked = ratings_of(without={(0, 5)}), ["i0", "i5", "i7"]
    zero = history_personas(table, ITEMS, shown=4, asked=asked, key=1)
    more = history_personas(table, ITEMS, shown=4, asked=asked, key=1, in_context=True)
    added = [set(b.answers) - set(a.answers) for a, b in zip(zero, more)]
    assert added == [{"i0", "i7"}, set(asked), set(asked)]
    assert all(set(a.answers) < set(b.answers) for a, b in zip(zero, more))
    film = Question("i7", item=ITEMS["i7"])
    template = find_template("movielens-history")
    for person, count in ((zero[1], 4), (more[1], 6)):
        text = render(template, person, film).messages[-1].content
        assert text.count('("') == count and '("Film 7"' not in text
        assert text.endswith("Larger numbers indicate higher ratings.")
    everything = history_personas(table, ITEMS, shown=4, in_context=True)
    assert [len(p.answers) for p in everything] == [11, 12, 12]


def test_users_with_few_ratings_show_all_and_frames_serve_too():
    frame = pd.DataFrame(
        [[5.0, np.nan, 0.5], [np.nan, 2.0, np.nan]], index=["x", "y"], columns=["i1", "i2", "i4"]
    )
    first, second = history_personas(frame, ITEMS)
    assert {k: parsed(v)[-1] for k, v in first.answers.items()} == {"i1": 5, "i4": 0.5}
    assert list(second.answers) == ["i2"] and second.attributes == {"seed": "y"}
    (text,) = history_personas(frame, ITEMS, as_text=True, users=["x"])
    assert text.text == "\n".join(first.answers.values()) and not text.answers


def test_titles_cannot_break_a_prompt():
    (person,) = history_personas(ratings_of(1), ITEMS, asked=["i0"])
    film = Question("i0", item={"title": ODD})
    text = render(find_template("movielens-history"), person, film).messages[-1].content
    assert "{persona}" in text and "<|im_end|>" not in text
    history = text.split("NEW MOVIE")[0]
    assert history.count("\n") == 11  # a line per film


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shown": 0}, "`shown`"),
        ({"asked": ["zz"]}, "`asked`.*'zz'"),
        ({"users": ["zz"]}, "`users`.*'zz'"),
        ({"as_text": True, "in_context": True}, "`as_text`"),
        ({"asked": list(ITEMS)}, "3 users have no rating to show"),
        ({"items": {}}, "rated item 'i"),
        ({"items": {name: {"genre": "x"} for name in ITEMS}}, "no title"),
        ({"ratings": [1]}, "`ratings`.*list"),
    ],
)
def test_bad_histories_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        history_personas(**({"ratings": ratings_of(), "items": ITEMS} | change))


def test_a_grounded_block_has_the_highest_ratings_the_most_recent_first():
    names = [f"i{j}" for j in (0, 1, 2, 4, 5, 6)]
    stars = [5, 3, 5, 4.5, 5, 1]
    times = [10, 99, 30, 20, 20, 1]
    table = rating_table(["u"] * 6, names, stars, times)
    (persona,) = grounded_prompts(table, ITEMS, users=["u"], shown=5, exclude=["i5", "never rated"])
    lines = persona.attributes["top_items_block"].strip().splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["- 5", "- 5", "- 4.5", "- 3", "- 1"]
    assert [line.split(" | ")[2] for line in lines] == [f"Film {j}" for j in (2, 0, 4, 1, 6)]
    assert lines[0] == "- 5 | Drama | Film 2 | t2"
    assert persona.attributes["rating_hist"] == "1: 1, 3: 1, 4.5: 1, 5: 2"
    assert persona.attributes["n_reviews"] == "5" and persona.attributes["seed"] == "u"
    (three,) = grounded_prompts(table, ITEMS, users=["u"], shown=3)
    assert three.attributes["n_reviews"] == "6"
    assert three.attributes["top_items_block"].count("\n- ") == 3
    text = render(find_template("persona-grounded"), three).messages[-1].content
    assert "- 5 | Drama | Film 2 | t2\n- 5 | Drama | Film 5 | t5\n" in text
    # Without times, what was rated later in the table counts as more recent.
    (undated,) = grounded_prompts(rating_table(["u"] * 3, names[:3], [4, 4, 4]), ITEMS, users=["u"])
    block = undated.attributes["top_items_block"]
    assert block.index("Film 2") < block.index("Film 1") < block.index("Film 0")


def test_titles_and_snippets_are_truncated_to_one_line():
    items = {"a": {"title": "word " * 40, "description": "x" * 500}, "b": {"title": ODD}}
    table = rating_table(["u", "u"], ["a", "b"], [5, 4])
    (persona,) = grounded_prompts(table, items, users=["u"], reviews={("u", "b"): "Good\n{fun}"})
    first, second = persona.attributes["top_items_block"].strip().splitlines()
    parts = first.split(" | ")
    assert parts[2].endswith("word...") and len(parts[2]) <= 80
    assert parts[3] == "x" * 117 + "..." and parts[1] == "not stated"
    assert second.endswith("| Good {fun}") and "{persona}" in second


def test_users_are_drawn_among_those_with_enough_ratings():
    table = ratings_of(30, without={(u, j) for u in range(0, 30, 2) for j in range(5)})
    drawn = grounded_prompts(table, ITEMS, 8, key=4)
    seeds = [p.attributes["seed"] for p in drawn]
    assert len(set(seeds)) == 8 and all(int(seed[1:]) % 2 for seed in seeds)
    assert [p.identifier for p in drawn] == [f"grounded-{seed}" for seed in seeds]
    assert drawn == grounded_prompts(table, ITEMS, 8, key=4)
    assert drawn != grounded_prompts(table, ITEMS, 8, key=5)
    with pytest.raises(ValueError, match="16 users wanted, but 15 have 10"):
        grounded_prompts(table, ITEMS, 16)
    with pytest.raises(ValueError, match="but 0 have 10"):
        grounded_prompts(table, ITEMS, 1, exclude=["i6", "i7", "i8"])
    for arguments in ({}, {"people": 2, "users": ["u1"]}):
        with pytest.raises(ValueError, match="`people`"):
            grounded_prompts(table, ITEMS, **arguments)
    with pytest.raises(ValueError, match="`shown`"):
        grounded_prompts(table, ITEMS, 1, shown=0)


@pytest.mark.data
def test_real_users_of_movielens(data_dir):
    folder = data_dir / "movielens" / "ml-latest-small"
    table, items = load_movielens_ratings(folder), read_items(folder)
    popular = [table.items[j] for j in np.argsort(-table.item_counts())[:100]]
    people = grounded_prompts(table, items, 100, exclude=popular)
    assert len({p.attributes["seed"] for p in people}) == 100
    titles = {items[name]["title"] for name in popular}
    for persona in people:
        lines = persona.attributes["top_items_block"].strip().splitlines()
        assert 10 <= len(lines) <= 20
        assert not titles & {line.split(" | ")[2] for line in lines}
    films = film_questions(folder, only=popular[:2])
    (user,) = history_personas(table, items, users=["1"], asked=popular, in_context=True, shown=20)
    text = render(find_template("movielens-history"), user, films[0]).messages[-1].content
    assert json.dumps(films[0].item["title"]) not in text.split("NEW MOVIE")[0]
