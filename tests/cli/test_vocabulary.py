"""One vocabulary for all commands: the same thing has the same name, and a name means one thing."""

import enum
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from syndigits_jax.cli import choices
from syndigits_jax.cli.app import app
from syndigits_jax.cli.command import command
from syndigits_jax.cli.exits import BAD_INPUT, FAILED, INCOMPLETE, INTERRUPTED, Ended

runner = CliRunner()

# What an option is called, and what it means wherever it stands; CONTRIBUTING.md has the same list.
VOCABULARY = {
    "all": "not only what the latest run asked",
    "alpha": "a penalty",
    "answer": "an answer whose share is estimated",
    "arms": "a column of randomised arms",
    "as-text": "a switch",
    "ask": "a question that is asked, by identifier",
    "ask-questions": "a file of questions that will be asked",
    "batteries": "a switch",
    "blend": "a switch",
    "block": "a block of questions that is asked",
    "blocks": "a column that names blocks of questions",
    "category-label": "what items are called",
    "characters": "the longest text",
    "column": "a column of a table",
    "concurrency": "requests at a time",
    "construction": "a published construction of twins",
    "control": "which ratings place real users",
    "count": "how many items are chosen",
    "data": "a folder of published data",
    "dataset": "a published data set",
    "divergence": "what an ensemble minimises",
    "draws": "answers per question",
    "drop": "an option that is left out",
    "dry-run": "show, and ask nothing",
    "embeddings": "vectors of item texts",
    "engine": "what is asked",
    "engine-option": "a further setting of the engine",
    "epochs": "most epochs of training",
    "fewest": "ratings that a user must have",
    "figure-width": "of files of figures, in inches",
    "finite": "the people are the population",
    "font-size": "of texts in figures, in points",
    "form": "the form of a persona",
    "gap": "the rating difference that is a preference",
    "group": "a column of two groups",
    "groups": "a column of groups",
    "hidden": "units of a hidden layer",
    "human": "a table of people's answers",
    "id-column": "the column of identifiers",
    "in-context": "a switch",
    "input-price": "of a million tokens",
    "intervals": "the share that intervals cover",
    "items": "a table of items",
    "join": "what becomes of people in one table only",
    "l1-ratio": "the elastic net's mix",
    "leave-out": "what is not told",
    "limit": "most requests",
    "marginals": "shares of attributes",
    "max-tokens": "the longest text, in tokens",
    "method": "a calibrator",
    "missing": "codes of missing answers",
    "model": "a language model",
    "new-users": "predict people, not questions",
    "options": "the options of a question",
    "orders": "orders of the options",
    "out": "what is written: a table, a file or a folder",
    "output-price": "of a million tokens",
    "penalty": "a squared penalty",
    "people": "how many people; for `evaluate`, a table of them",
    "personas": "a file of personas",
    "questions": "a file of questions",
    "quick": "a first look",
    "rank": "of low-rank methods",
    "ratings": "a table of ratings",
    "readout": "how answers are read",
    "records": "a table of responses",
    "report": "a table of diagnostics",
    "retest": "a table of the same people's second answers",
    "retry-for": "seconds of retries",
    "run": "a run of a store",
    "scale": "the scale of ratings",
    "seed": "of random numbers",
    "setting": "reference or default",
    "shares": "a table of shares",
    "shown": "how many answers of a person are told",
    "store": "a store of responses",
    "study": "a published study",
    "surveys": "personas to put before",
    "table": "a table of people",
    "target": "what is predicted",
    "temperature": "of texts",
    "template": "a prompt",
    "tensor": "a file of probabilities",
    "text-encoder": "what makes vectors of item texts",
    "threshold": "of the training error",
    "timeout": "seconds",
    "top-p": "of texts",
    "twin": "a table of twins' answers",
    "url": "a server",
    "user": "whose history",
    "variant": "what an ensemble weighs",
    "weight-by-count": "a switch",
    "weight-decay": "of the network",
    "weights": "a column of survey weights",
    "what": "what of a population is estimated",
}
SHARED = {"quiet", "verbose", "json", "help"}


def commands(group=None, path=()):
    """(path, command) of every command."""
    group = group or typer.main.get_command(app)
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        else:
            yield (*path, name), one


COMMANDS = dict(commands())


def options(one):
    return {o.opts[0].removeprefix("--"): o for o in one.params if o.opts[0].startswith("--")}


def test_contributing_has_the_vocabulary():
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^\| `--([a-z0-9-]+)` \| (.+) \|$", text, re.MULTILINE))
    assert found == VOCABULARY


def type_of(option):
    """What one value of an option is; some commands take several."""
    described = getattr(option, "type_descriptor", None)
    if described is None:  # older versions of typer
        return option.type.name
    inner = typing.get_args(described.annotation)
    return str(inner[0] if inner else described.annotation)


def test_every_option_is_in_the_vocabulary_and_every_word_in_use():
    used = {name for one in COMMANDS.values() for name in options(one)}
    assert used - SHARED == set(VOCABULARY)


TABLE_OF_PEOPLE = ("evaluate", "people")
"""The one exception: a table of people beside those of answers; elsewhere a count of people."""


def test_an_option_has_one_type_everywhere():
    types = {}
    for path, one in COMMANDS.items():
        for name, option in options(one).items():
            if (*path, name) != TABLE_OF_PEOPLE:
                types.setdefault(name, {}).setdefault(type_of(option), []).append(" ".join(path))
    assert not {name: found for name, found in types.items() if len(found) > 1}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_the_shared_options_and_help(path):
    assert {"quiet", "verbose", "json"} <= set(options(COMMANDS[path]))
    for flag in ("-h", "--help"):
        result = runner.invoke(app, [*path, flag])
        assert result.exit_code == 0 and "Usage" in result.output
    assert COMMANDS[path].help
    assert all(o.help for o in options(COMMANDS[path]).values())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_options_are_kebab_case_and_have_one_spelling(path):
    for name, option in options(COMMANDS[path]).items():
        assert name == name.lower().replace("_", "-")
        assert len([o for o in option.opts if o.startswith("--")]) == 1


def test_choices_are_those_of_the_library():
    from syndigits_jax.calibration import presets
    from syndigits_jax.datasets import films
    from syndigits_jax.distribution.design import VARIANTS
    from syndigits_jax.distribution.objective import DIVERGENCES
    from syndigits_jax.respond.engines.build import ENGINES
    from syndigits_jax.respond.personas.builders import FORMS, LEAVE_OUT
    from syndigits_jax.respond.requests import READOUTS
    from syndigits_jax.results.names import METHODS, SETTINGS, kebab
    from syndigits_jax.workflows.fidelity.parts import CONTROLS
    from syndigits_jax.workflows.fidelity.texts import TEXT_ENCODERS
    from syndigits_jax.workflows.target import WHAT

    assert presets is not None
    library = {
        choices.Method: map(kebab, METHODS),
        choices.Setting: (*SETTINGS, "both"),
        choices.Divergence: DIVERGENCES,
        choices.Variant: VARIANTS,
        choices.Control: CONTROLS,
        choices.TextEncoder: TEXT_ENCODERS,
        choices.EngineKind: ENGINES,
        choices.Readout: READOUTS,
        choices.RatingScale: films._ANSWERS,
        choices.Form: FORMS,
        choices.LeaveOut: LEAVE_OUT,
        choices.Join: ("error", "inner"),
        choices.Study: ("baselines", "twins"),
        choices.What: WHAT,
    }
    for enumeration, names in library.items():
        assert {str(one) for one in enumeration} == set(names)
    every = {
        one
        for _, one in inspect.getmembers(choices, inspect.isclass)
        if issubclass(one, enum.Enum) and one.__module__ == choices.__name__
    }
    assert every == set(library)


@pytest.mark.parametrize("typed", ["elastic-net", "ElasticNet", "elastic_net", "ELASTIC-NET", "en"])
def test_a_method_is_known_in_any_spelling(typed):
    assert choices.method(typed) is choices.Method.ELASTIC_NET
    given = ["calibrate", "--human", "no.csv", "--twin", "no.csv", "--out", "o.csv"]
    result = runner.invoke(app, [*given, "--method", typed])
    assert "calibrating no.csv with elastic-net" in result.stderr, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["calibrate", "--human", "h.csv", "--twin", "t.csv", "--out", "o.csv", "--method", "magic"],
        ["reproduce", "table2", "--data", ".", "--out", "o", "--setting", "published"],
        ["reproduce", "table3", "--data", ".", "--out", "o"],
        ["respond", "--personas", "p", "--questions", "q", "--template", "t", "--readout", "x"],
        ["calibrate", "--nonsense"],
        ["nonsense"],
    ],
)
def test_what_is_not_a_choice_is_refused_before_any_work(arguments):
    code = (
        "import sys\n"
        "from syndigits_jax.cli import main\n"
        f"sys.argv = ['syndigits', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    assert 'jax' not in sys.modules and 'numpy' not in sys.modules\n"
        "    sys.exit(end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == BAD_INPUT, done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_help_starts_nothing():
    code = (
        "import sys\n"
        "from syndigits_jax.cli import main\n"
        "sys.argv = ['syndigits', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    loaded = {'jax', 'numpy', 'pandas', 'matplotlib', 'equinox'} & set(sys.modules)\n"
        "    sys.exit(end.code or len(loaded))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def ending(act):
    one = typer.Typer()

    @command(one, resume="run it again")
    def only(top: int = 1):
        """Do it."""
        return act()

    return one


def raising(error):
    def act():
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "code", "line"),
    [
        (lambda: {"a": 1}, 0, ""),
        (raising(Ended(INCOMPLETE, "2 are missing")), INCOMPLETE, "2 are missing"),
        (raising(ValueError("`top` must be positive")), BAD_INPUT, "error: --top must be positive"),
        (
            raising(FileNotFoundError(2, "No such file", "x.csv")),
            BAD_INPUT,
            "error: x.csv: no such",
        ),
        (raising(ImportError("install it")), BAD_INPUT, "error: install it"),
        (raising(OSError(28, "No space left on device", "x")), FAILED, "error: x: no space left"),
        (raising(RuntimeError("the engine\ndied")), FAILED, "error: the engine died"),
        (raising(MemoryError()), FAILED, "error: out of memory"),
        (raising(KeyError("k")), FAILED, "error: KeyError: 'k' (a defect; --verbose shows where)"),
        (raising(KeyboardInterrupt()), INTERRUPTED, "stopped; run it again"),
    ],
)
def test_exit_codes_and_json(act, code, line):
    result = runner.invoke(ending(act), ["--json"])
    assert result.exit_code == code, result.exception
    assert result.stderr.startswith(line) and len(result.stderr.splitlines()) == bool(line)
    content = json.loads(result.stdout)
    assert content["status"] == {
        0: "done", 1: "incomplete", 2: "bad input", 3: "failed", 130: "interrupted",
    }[code]  # fmt: skip
    assert content.get("a") == (None if code else 1)
    assert ("error" in content) == bool(code)


def test_verbose_shows_where_a_defect_is():
    result = runner.invoke(ending(raising(KeyError("k"))), ["--verbose"])
    assert result.exit_code == FAILED and "Traceback" in result.stderr
    assert "Traceback" not in runner.invoke(ending(raising(KeyError("k")))).stderr
