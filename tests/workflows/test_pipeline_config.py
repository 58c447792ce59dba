"""A pipeline's file: every key is read, every mistake is named with file, part and key."""

import pytest

from syndigits_jax.respond.requests import Decoding
from syndigits_jax.workflows.pipeline.config import Fidelity, read_pipeline

WHOLE = """
out = "out/mine"

[questions]
file = "${WHERE}/q.json"
block = ["A", "B"]

[[personas]]
kind = "survey"
human = "human.csv"
questions = "q.json"
people = 5

[engine]
kind = "vllm"
model = "m"
dtype = "bfloat16"

[respond]
template = "survey"
readout = "sample"
temperature = 1
draws = 3

[calibrate]
human = "sub/human.csv"
groups = ["sex", "age"]
weights = "size"

[fidelity]
ratings = "r.csv"
items = "i.csv"
epochs = 2
gap = 2
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "elsewhere")

    def reading(*changes, text=WHOLE):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "pipeline.toml"
        path.write_text(text, encoding="utf-8")
        return read_pipeline(path)

    reading.folder = tmp_path
    return reading


def test_all_parts(read):
    found, folder = read(), read.folder
    assert found.out == folder / "out/mine"
    assert found.questions.file == folder / "elsewhere/q.json"
    assert found.questions.block == ("A", "B") and found.questions.ask == ()
    (personas,) = found.personas
    assert personas.kind == "survey" and personas.writing is None
    assert dict(personas.options) == {
        "human": folder / "human.csv", "questions": folder / "q.json", "people": 5,
    }  # fmt: skip
    assert (found.engine.kind, found.engine.model) == ("vllm", "m")
    assert dict(found.engine.options) == {"dtype": "bfloat16"}
    assert found.template.name == "survey"
    assert (found.decoding.readout, found.decoding.temperature, found.decoding.draws) == (
        "sample", 1.0, 3,
    )  # fmt: skip
    assert found.calibrate.human == folder / "sub/human.csv"
    assert found.calibrate.columns == ("sex", "age", "size")
    assert found.fidelity == Fidelity(folder / "r.csv", folder / "i.csv", epochs=2, gap=2.0)


def test_parts_that_are_not_there_are_not_done(read):
    found = read(text=WHOLE[: WHOLE.index("[calibrate]")])
    assert found.calibrate is None and found.fidelity is None


def test_a_share_that_may_be_missing(read):
    assert read().allow_missing == 0.0
    found = read(("draws = 3", "draws = 3\nallow_missing = 0.05"))
    assert found.allow_missing == 0.05 and found.decoding == read().decoding
    assert read(("draws = 3", "allow_missing = 0")).allow_missing == 0.0


def test_a_folder_beside_the_file_is_a_model_of_vllm_but_none_of_a_server(read):
    (read.folder / "m").mkdir()
    assert read().engine.model == str(read.folder / "m")
    assert read(('"vllm"', '"openai"')).engine.model == "m"


def test_a_template_beside_the_file(read):
    (read.folder / "own.toml").write_text(
        'name = "own"\nversion = "1"\nsource = "A test."\nanswer_with = "value"\n'
        '[[messages]]\nrole = "user"\ncontent = "{persona} {question} {options}"\n'
    )
    assert read(('"survey"\nreadout', '"own.toml"\nreadout')).template.name == "own"


def test_personas_whose_texts_are_written(read):
    several = (
        'kind = "sampled"\nname = "demographic"\npeople = 3\ntemperature = 0.5\nseed = 4\n\n'
        '[[personas]]\nkind = "backstory"\nname = "free"\n'
    )
    survey = WHOLE[WHOLE.index('kind = "survey"') : WHOLE.index("[engine]")]
    text = WHOLE[: WHOLE.index("[calibrate]")]
    found = read((survey, several), text=text).personas
    assert [one.name for one in found] == ["demographic", "free"]
    assert dict(found[0].options) == {"people": 3, "key": 4}
    template, decoding = found[0].writing
    assert template.name == "persona-demographic"
    assert isinstance(decoding, Decoding) and (decoding.temperature, decoding.seed) == (0.5, 4)
    assert found[1].writing[0].name == "persona-backstory"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('out = "out/mine"', "", ["no `out`"]),
        ('out = "out/mine"', "out = 3", ["`out` must be text", "3"]),
        ("[engine]", "[engin]", ["unknown key `engin`", "did you mean `engine`"]),
        ("[respond]", "[fidelty]", ["unknown key `fidelty`", "`fidelity`"]),
        ("block =", "blocks =", ["[questions]", "`blocks`", "`block`"]),
        ('block = ["A", "B"]', 'block = "A"', ["[questions]", "`block`", "list of texts"]),
        ("block =", 'ask = ["a"]\nblock =', ["[questions]", "`ask` and `block`"]),
        ("file =", "ask = []\n#", ["[questions]", "no `file`"]),
        ("${WHERE}", "${NOT_SET_HERE}", ["environment variable NOT_SET_HERE"]),
        ('kind = "survey"', 'kind = "surveys"', ["[[personas]]", "'surveys'", "`survey`"]),
        ('kind = "survey"', "kind = 3", ["[[personas]]", "`kind` must be text"]),
        ("people = 5", "peopel = 5", ["[[personas]]", "`peopel`", "`people`"]),
        ("people = 5", 'people = "5"', ["[[personas]]", "`people`", "whole number"]),
        ("people = 5", "people = true", ["[[personas]]", "`people`", "whole number"]),
        ("people = 5", "temperature = 1.0", ["[[personas]]", "unknown key `temperature`"]),
        ('human = "human.csv"', "", ["[[personas]]", "no `human`"]),
        ('human = "human.csv"', "human = 1", ["[[personas]]", "`human` must be a path"]),
        ('kind = "vllm"', 'kind = "vlm"', ["[engine]", "'vlm'", "`vllm`"]),
        ('model = "m"', "", ["[engine]", "no `model`"]),
        ("draws = 3", "drawz = 3", ["[respond]", "`drawz`", "`draws`"]),
        ("draws = 3", "draws = 1.5", ["[respond]", "`draws`", "whole number"]),
        ('"sample"', '"guess"', ["[respond]", "`readout`", "guess"]),
        ("temperature = 1", "temperature = 0", ["[respond]", "`temperature`"]),
        ("draws = 3", 'allow_missing = "5%"', ["[respond]", "`allow_missing`", "a number", "5%"]),
        ("draws = 3", "allow_missing = true", ["[respond]", "`allow_missing`", "a number"]),
        ("draws = 3", "allow_missing = 5", ["[respond]", "`allow_missing`", "a share", "5"]),
        ("draws = 3", "allow_missing = 1.0", ["[respond]", "`allow_missing`", "a share"]),
        ("draws = 3", "allow_missing = -0.1", ["[respond]", "`allow_missing`", "a share"]),
        ("draws = 3", "allow_missing = nan", ["[respond]", "`allow_missing`", "a share"]),
        ("draws = 3", "allow_mising = 0.1", ["[respond]", "`allow_mising`", "`allow_missing`"]),
        ('"survey"\nreadout', '"surveey"\nreadout', ["[respond]", "surveey", "survey"]),
        ('"survey"\nreadout', '"persona-backstory"\nreadout', ["[respond]", "asks nothing"]),
        ("te]\nhuman =", "te]\nhumans =", ["[calibrate]", "`humans`", "`human`"]),
        ("weights", "wieghts", ["[calibrate]", "`wieghts`", "`weights`"]),
        ('["sex", "age"]', "[3]", ["[calibrate]", "`groups`", "3"]),
        ("epochs = 2", "epoch = 2", ["[fidelity]", "`epoch`", "`epochs`"]),
        ("gap = 2", 'gap = "2"', ["[fidelity]", "`gap`", "a number"]),
        ("[fidelity]", "[[fidelity]]", ["[fidelity]", "table of keys and values"]),
        ("[engine]", '[[personas]]\nkind = "backstory"\n[engine]', ["only one", "not 2"]),
        ("out =", "out ", ["not a TOML file"]),
    ],
)  # fmt: skip
def test_mistakes_are_named(read, old, new, words):
    with pytest.raises(ValueError) as raised:
        read((old, new))
    assert str(raised.value).startswith(str(read.folder / "pipeline.toml"))
    for word in words:
        assert word in str(raised.value)


def test_all_mistakes_are_named_at_once(read):
    with pytest.raises(ValueError) as raised:
        read(
            ('model = "m"', ""), ("draws = 3", "drawz = 3\nseed = true"),
            ("people = 5", "peopel = 5"), ("gap = 2", 'gap = "2"\nquik = true'),
            ("groups", "group"), ("block =", "blocks ="),
        )  # fmt: skip
    assert [part.split("; (")[0] for part in str(raised.value).split(") ")[1:]] == [
        "[questions]: unknown key `blocks`; did you mean `block`?",
        "[engine]: no `model`",
        "[respond]: `seed` must be a whole number, got True",
        "[respond]: unknown key `drawz`; did you mean `draws`?",
        "[calibrate]: unknown key `group`; did you mean `groups`?",
        "[fidelity]: `gap` must be a number, got '2'",
        "[fidelity]: unknown key `quik`; did you mean `quick`?",
        "[[personas]]: unknown key `peopel`; did you mean `people`?",
    ]
    assert "pipeline.toml: 8 mistakes: (1) [questions]" in str(raised.value)


def test_names_of_conditions_differ(read):
    text = WHOLE[: WHOLE.index("[calibrate]")]
    with pytest.raises(ValueError, match="names repeat"):
        read(
            ("[engine]", '[[personas]]\nkind = "survey"\nhuman="a"\nquestions="b"\n[engine]'),
            text=text,
        )
    with pytest.raises(ValueError, match="asks a question"):
        survey = 'human = "human.csv"\nquestions = "q.json"\npeople = 5'
        asking = ('kind = "survey"', 'kind = "backstory"\ntemplate = "survey"')
        read(asking, (survey, ""), text=text)


def test_personas_that_are_none_and_texts_that_cannot_be_written(read):
    survey = WHOLE[WHOLE.index("[[personas]]") : WHOLE.index("[engine]")]
    text = WHOLE[: WHOLE.index("[calibrate]")]
    for new, words in (
        ("", r"\[\[personas\]\]: there are none"),
        ('[[personas]]\nkind = "backstory"\ntemplate = "surveey"\n', "surveey"),
        ('[[personas]]\nkind = "backstory"\ntemperature = -1.0\n', "`temperature` must not be neg"),
        ('[[personas]]\nkind = "file"\n', "no `file`"),
    ):
        head = "" if new else "personas = []\n"
        with pytest.raises(ValueError, match=words):
            read((survey, new), text=head + text)
    (found,) = read((survey, '[[personas]]\nkind = "file"\nfile = "p.json"\n'), text=text).personas
    assert dict(found.options) == {"file": read.folder / "p.json"} and not found.writing


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        read_pipeline(tmp_path / "none.toml")
