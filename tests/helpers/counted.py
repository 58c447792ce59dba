"""How often functions of the package are called, wherever they have been imported."""

import collections
import sys
from pathlib import Path

from syndigits_jax.datasets import delimited, rating_files, text_tables
from syndigits_jax.respond.asking import plan
from syndigits_jax.respond.prompts import render, templates
from syndigits_jax.workflows.fidelity import files

# Each parses a file whose path is its first argument.
PARSERS = (
    text_tables.read_json,
    delimited.read_delimited,
    rating_files.read_columns,
    templates.read_template,
    files.read_embeddings,
)


class Counted:
    """From now on `parsed`: files of a folder, by name; `rendered`: prompts, by persona and
    question; `plans`: their number."""

    def __init__(self, monkeypatch, folder):
        self.folder = folder
        self.parsed, self.rendered = collections.Counter(), collections.Counter()
        self.plans = 0
        for function in PARSERS:
            self._watch(monkeypatch, function, self._parsed)
        self._watch(monkeypatch, render.render, self._rendered)
        self._watch(monkeypatch, plan.make_plan, self._planned)

    def _parsed(self, path, *rest, **more):
        if Path(path).parent == self.folder:
            self.parsed[Path(path).name] += 1

    def _rendered(self, template, persona, question=None, *rest, **more):
        self.rendered[persona.identifier, question.identifier] += 1

    def _planned(self, *rest, **more):
        self.plans += 1

    def _watch(self, monkeypatch, function, note):
        def watched(*arguments, **options):
            note(*arguments, **options)
            return function(*arguments, **options)

        name, found = function.__name__, 0
        for module in list(sys.modules.values()):
            if module.__name__.startswith("syndigits_jax") and (vars(module).get(name) is function):
                monkeypatch.setattr(module, name, watched)
                found += 1
        assert found
