"""How the public functions of reports and of prompts that take numbers are called."""

import numpy as np
import pandas as pd
from disturbed import array, filled, numbers, of

from syndigits_jax import report, respond
from syndigits_jax.schema import Option, Question

OPTIONS = tuple(Option(value, f"answer {value}") for value in (1, 2, 3))
ASKED = [Question(name, f"How {name}?", OPTIONS) for name in "abcd"]
ITEMS = {name: {"title": f"Film {name}"} for name in "abcd"}
ANSWERS = array(np.arange(32).reshape(8, 4) % 3 + 1)


def whole(value):
    """A Python number: whole, where it can be."""
    number = value.item()
    return int(number) if np.isfinite(number) and number == int(number) else number


def frame(cells):
    return pd.DataFrame(cells, [f"u{i}" for i in range(len(cells))], list("abcd"))


def report_of(values, cells):
    """A report with a claim of these values, and a table of these cells."""
    columns = tuple(
        report.Column(kind, kind, kind)
        for kind in ("number", "share", "count")  # as shown
    )
    rows = tuple(
        dict(zip(("number", "share", "count"), map(float, row), strict=False)) for row in cells
    )
    claim = report.Claim("quality", "They correlate.", dict(zip("abcd", map(float, values))))
    table = report.Table("scores", "Scores", columns, rows)
    return report.Report(
        "Twins", {"people": 9.0}, (claim,), (report.Section("s", "S", (), (table,)),)
    )


def written(function):
    return of(function, call=lambda values, cells: function(report_of(values, cells)), shapes=(),
              values=numbers(3), cells=numbers("m", 3), also=("table", "facts"))  # fmt: skip


REPORT = tuple(map(written, (report.to_text, report.to_markdown, report.to_html, report.to_json)))

PEOPLE = filled(3)
SHARES = array([0.25, 0.75])
RESPOND = (
    of(respond.sample_attributes, call=lambda people, marginals: respond.sample_attributes(
        whole(people), {"age": dict(zip("ab", marginals.tolist()))}), people=PEOPLE,
       marginals=SHARES, shapes=()),
    of(respond.demographic_prompts, call=lambda people, marginals: respond.demographic_prompts(
        whole(people), {"age": dict(zip("ab", marginals.tolist()))}), people=PEOPLE,
       marginals=SHARES, shapes=()),
    of(respond.backstory_prompts, call=lambda people: respond.backstory_prompts(whole(people)),
       people=PEOPLE, shapes=()),
    of(respond.option_orders, call=lambda count: respond.option_orders(
        ASKED[0], whole(count), key=0), count=PEOPLE, shapes=()),
    of(respond.survey_personas, call=lambda answers, shown, characters: respond.survey_personas(
        frame(answers), ASKED, shown=whole(shown), characters=whole(characters)), answers=ANSWERS,
       shown=PEOPLE, characters=filled(100), shapes=()),
    of(respond.history_personas, call=lambda ratings, shown: respond.history_personas(
        frame(ratings), ITEMS, shown=whole(shown)), ratings=ANSWERS, shown=PEOPLE, shapes=()),
    of(respond.grounded_prompts, call=lambda ratings, people, shown: respond.grounded_prompts(
        frame(ratings), ITEMS, whole(people), shown=whole(shown), fewest=1), ratings=ANSWERS,
       people=PEOPLE, shown=filled(2), shapes=()),
)  # fmt: skip

TABLE = (*REPORT, *RESPOND)
TEXTS = "takes texts, questions and templates: see tests/respond"
STORES = "takes a store or an engine: see tests/respond"
EXCEPTIONS = {
    "report.write_report": "takes what to_html takes, and files: see tests/report",
    **dict.fromkeys((
        "respond.answers_of", "respond.blocks_of", "respond.check_readout",
        "respond.demographics_personas", "respond.find_template", "respond.find_tokens",
        "respond.make_plan", "respond.parse", "respond.plan_texts", "respond.read_marginals",
        "respond.read_template", "respond.render", "respond.summary_personas",
        "respond.template_text", "respond.with_json", "respond.written_personas",
    ), TEXTS),
    **dict.fromkeys((
        "respond.choose_run", "respond.collect", "respond.collect_plan", "respond.collect_texts",
        "respond.dry_run", "respond.read_frame", "respond.read_ratings", "respond.read_records",
        "respond.read_tensor", "respond.to_panel", "respond.write_texts",
    ), STORES),
}  # fmt: skip
