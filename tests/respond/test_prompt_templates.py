"""Templates: the papers' wording, versions and hashes, and users' own files."""

import dataclasses
from pathlib import Path

import pytest

import syndigits_jax.respond.prompts.templates as templates
from syndigits_jax.respond import (
    READOUTS,
    Message,
    Template,
    find_template,
    list_templates,
    read_template,
)
from syndigits_jax.schema import Scale

MINE = '''
name = "mine"
version = "2.1"
source = "Pilot study."
answer_with = "label"

[decoding]
temperature = 0.5
max_tokens = 12
readout = "choice"

[[messages]]
role = "system"
content = "You are {persona}"

[[messages]]
role = "user"
content = """
{question}
{options}"""
'''

# Sentences of SYN-DIGITS (sections 3.3 and 7.3) and The Persona Fidelity Gap (appendix D).
PAPERS = {
    "movielens-history": [
        "You are given a user's history of movie ratings and a new movie for the same user to "
        "rate.",
        "USER'S RATING HISTORY: {history}\nNEW MOVIE: {title}; GENRE: {genre}; TOP 10 TAGS: "
        "{tags}.\nFORMAT",
        "FORMAT INSTRUCTIONS: Only a number on a 5-star rating scale, with half-star increments "
        "(0.5 - 5.0). Larger numbers indicate higher ratings.",
    ],
    "movielens-persona": [
        "You, AI, are an expert in predicting human preferences. You are given a persona profile "
        "and a movie to rate, and also a format instruction that specifies the type of rating you "
        "need to provide.",
        "{persona}\nMOVIE: {title}\nGENRE: {genre}\nTOP 10 TAGS: {tags}\nFORMAT INSTRUCTIONS: Only",
    ],
    "opinionqa-persona": [
        "You need to answer the survey question as the persona would answer it, based on the "
        "persona profile and the format instructions.",
        "corresponding to the choice of answer to the survey question.",
    ],
    "persona-demographic": [
        "Be specific and avoid stereotypes. The persona should feel like a real individual",
        "Age: {age}. Gender: {gender}. Location: {location}. Occupation: {occupation}. Income "
        "bracket: {income}. Education: {education}. Write a 150 to 250 word persona",
    ],
    "persona-backstory": [
        "Do not list demographic attributes; instead, weave them naturally into a narrative. End "
        "with a short paragraph on what kinds of products they tend to buy and why.",
    ],
    "persona-grounded": [
        "Do NOT invent preferences that contradict the evidence.",
        "Top-rated items by this user (rating, category, title, review snippet): {top_items_block}."
        " Empirical rating distribution: {rating_hist}. Total reviews: {n_reviews}.",
    ],
    "fidelity-rating": [
        "You are role-playing as the following person: {persona}. You must respond ONLY from this "
        "person's perspective. Stay completely in character.",
        "how likely would you be to purchase the following product? Title: {title}. Category: "
        "{category}. Description: {description}. Use a 1 to 5 scale where 1=Definitely would NOT "
        "buy, 2=Probably would not buy, 3=Might or might not buy, 4=Probably would buy, "
        "5=Definitely would buy. Respond with ONLY a single number.",
    ],
}


def written(folder: Path, text: str) -> Path:
    """A template file with this content."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def simple(**changes) -> Template:
    """A small template."""
    base = Template("t", "1", "here", (Message("user", "{persona} {question}"),))
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize("name", PAPERS)
def test_built_in_templates_say_what_the_papers_say(name):
    chat = "\n".join(message.content for message in find_template(name).messages)
    for sentence in PAPERS[name]:
        assert sentence in chat


def test_decoding_defaults_are_the_papers():
    writes = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 512, "readout": "text"}
    for condition in ("demographic", "backstory", "grounded"):
        assert find_template(f"persona-{condition}").decoding == writes
    rates = find_template("fidelity-rating").settings()
    assert (rates.temperature, rates.top_p, rates.max_tokens) == (0.1, 0.95, 8)
    assert find_template("movielens-history").settings().temperature == 0
    changed = find_template("fidelity-rating").settings(temperature=0.0, seed=3, readout=None)
    assert (changed.temperature, changed.seed, changed.readout) == (0.0, 3, "text")
    with pytest.raises(ValueError, match="tempreature"):
        find_template("survey").settings(tempreature=1.0)


def test_built_in_templates_are_told_apart_and_put_the_persona_first():
    found = list_templates()
    assert {t.name for t in found} >= {*PAPERS, "survey", "survey-chain-of-thought"}
    assert {t.name for t in found} >= {"survey-repeat", "persona-summary"}
    assert len({(t.name, t.version) for t in found}) == len({t.hash for t in found}) == len(found)
    for template in found:
        asked = {*templates.QUESTION_SLOTS, *templates.ITEM_SLOTS}
        of_persona = [slot for slot in template.slots if slot not in asked]
        assert list(template.prefix_slots) == of_persona, template.name
        assert template.asks == bool(asked & set(template.slots))
        assert template.source
    late = simple(messages=(Message("user", "{question} {persona}"),))
    assert late.prefix_slots == ()


def test_a_hash_covers_what_is_asked_and_nothing_else():
    base = simple()
    assert simple(source="elsewhere", decoding={"temperature": 1.0}).hash == base.hash
    windows = simple(messages=(Message("user", "\r\n{persona} {question} \r\n"),))
    assert windows.hash == base.hash
    others = [
        simple(name="u"),
        simple(version="2"),
        simple(answer_with="label"),
        simple(marker="Answer:", decoding={"readout": "text"}),
        simple(scale=Scale(1, 5, 1)),
        simple(messages=(Message("user", "{persona} {question}!"),)),
        simple(messages=(Message("system", "{persona} {question}"), Message("user", "?"))),
        simple(messages=(Message("user", "{persona}"), Message("user", "{question}"))),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 1 + len(others)


def test_a_users_file_is_a_template(tmp_path):
    path = written(tmp_path, MINE)
    mine = read_template(path)
    assert find_template(str(path)) == find_template(path) == mine
    assert (mine.name, mine.version, mine.answer_with) == ("mine", "2.1", "label")
    assert mine.slots == ("persona", "question", "options")
    assert mine.messages[1] == Message("user", "{question}\n{options}")
    assert mine.settings().readout == "choice" and mine.readouts == READOUTS
    with_mark = written(tmp_path, "\ufeff" + MINE.replace("\n", "\r\n"))
    assert read_template(with_mark).hash == mine.hash


def test_the_latest_version_is_found_unless_one_is_named(tmp_path, monkeypatch):
    versions = tuple(simple(version=v) for v in ("10", "9", "1.2", "2-beta"))
    for template in versions:
        text = MINE.replace('"mine"', '"t"').replace('"2.1"', f'"{template.version}"')
        (tmp_path / f"{template.version}.toml").write_text(text)
    monkeypatch.setattr(templates, "_BUILTIN", tmp_path)
    list_templates.cache_clear()
    try:
        assert find_template("t").version == "10"
        assert find_template("t@9").version == "9"
        with pytest.raises(ValueError, match="t@3"):
            find_template("t@3")
    finally:
        monkeypatch.undo()
        list_templates.cache_clear()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "mine"', "", "no key `name`"),
        ('name = "mine"', 'name = "my study"', "`name` must be letters"),
        ('version = "2.1"', "version = 2.1", "`version` is float, not str; put it in quotes"),
        ('answer_with = "label"', 'answer_with = "number"', "`answer_with` must be one of"),
        ('answer_with = "label"', 'answers_with = "label"', "`answers_with`; did you mean"),
        ('answer_with = "label"', 'answer_with = "text"', "must be 'text'"),
        ("max_tokens", "max_token", "'max_token'; did you mean 'max_tokens'"),
        ("temperature = 0.5", "temperature = -1", "`temperature` must not be negative"),
        ("temperature = 0.5", 'temperature = "0.5"', "`temperature` must be a number"),
        ("max_tokens = 12", "max_tokens = 12.5", "`max_tokens` must be a whole number"),
        ('role = "user"', 'role = "assistant"', "the last one must be the user's"),
        ('role = "user"', 'role = "human"', "`role` must be one of"),
        ('role = "user"', 'rule = "user"', "(2 of 2): unknown key `rule`"),
        ('content = "You', 'text = "You', "(1 of 2): unknown key `text`"),
        ("{options}", "{options", "a brace that belongs to no slot"),
        ("{options}", "{the options}", "literal braces are doubled"),
        ("{options}", "<|im_end|>", "control token '<|im_end|>'"),
        ("[[messages]]", "[messages]", "TOML"),
        ('"You are {persona}"', '""', "(1 of 2): `content` is empty"),
        ('"Pilot study."', '"Pilot study.', "line 4"),
        ("[decoding]", "[scale]\nlow = 5\nhigh = 1\n[decoding]", "`low` must be below `high`"),
        ("[decoding]", "[scale]\nlow = 5\n[decoding]", "`scale` needs `high`"),
        ("[decoding]", '[scale]\nlow = "1"\nhigh = 5\n[decoding]', "without quotes"),
        ('answer_with = "label"', 'answer_with = "label"\nmarker = "A:"', "behind 'A:'"),
        ("[decoding]", "[scale]\nlow = 1\nhihg = 5\n[decoding]", "`scale` has no 'hihg'"),
        ('content = "You are {persona}"', "content = 3", "(1 of 2): no text `content`"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, old, new, says):
    assert old in MINE
    path = written(tmp_path, MINE.replace(old, new))
    with pytest.raises(ValueError) as raised:
        read_template(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and says in message


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ('"You are {persona}"', "each message begins with a line [[messages]]"),
        ('["You are {persona}"]', "`messages` (1 of 1): needs a `role` and a `content`, got 'You"),
        ("[]", "`messages` is empty"),
    ],
)
def test_messages_that_are_none_are_said_to_be(tmp_path, messages, says):
    head = MINE[: MINE.index("[decoding]")]
    with pytest.raises(ValueError) as raised:
        read_template(written(tmp_path, f"{head}messages = {messages}\n"))
    assert says in str(raised.value)


def test_the_text_of_a_template_is_that_of_its_file(tmp_path):
    assert templates.template_text(written(tmp_path, MINE)) == MINE
    shipped = templates.template_text("survey")
    assert read_template(written(tmp_path, shipped)) == find_template("survey")


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        find_template(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes('source = "é"'.encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        read_template(path)
    with pytest.raises(ValueError, match=r"'surveys'; did you mean 'survey'\?.*fidelity-rating"):
        find_template("surveys")


def test_sampling_is_at_temperature_one_unless_told_otherwise():
    def sampled(decoding, **changes):
        message = Message("user", "{question}")
        template = Template("t", "1", "here", (message,), decoding=decoding)
        return template.settings(**changes).temperature

    assert sampled({}, readout="sample") == 1.0
    assert sampled({"temperature": 0.0}, readout="sample", temperature=None) == 1.0
    assert sampled({"readout": "sample"}) == 1.0
    assert sampled({"temperature": 0.7}, readout="sample") == 0.7
    assert sampled({"temperature": 0.7}, readout="sample", temperature=0.2) == 0.2
    assert sampled({}) == sampled({}, readout="choice") == 0.0
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        sampled({}, readout="sample", temperature=0.0)
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        sampled({"readout": "sample", "temperature": 0.0})
