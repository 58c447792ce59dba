"""Three sentences to repeat: how good the twins are, what they are worth, where to trust them."""

from collections.abc import Sequence

from syndigits_jax.report import Claim, Section

from .evidence import Evidence
from .wording import interval, number, percent

_UNTOLD = "cannot be told from these tables: there are too few questions or people."


def summary(evidence: Evidence, sections: Sequence[Section]) -> tuple[Claim, Claim, Claim]:
    """The first sentences of a report, from the numbers of its sections.

    **Arguments:** `evidence`; `sections`: of the report; those that are missing, or had too little
    to go by, are said to be untold.

    **Returns:** how good calibrated twins are beside people's other answers; what they are worth in
    respondents; for which questions to trust them, or not.
    """
    known = {claim.name: claim for section in sections for claim in section.claims}
    return _good(evidence, known), _worth(known), _where(known)


def _good(evidence: Evidence, known: dict[str, Claim]) -> Claim:
    """Correlation, and beside a model that learns from people's other answers alone."""
    name, found, gate = "summary.good", known.get("quality.auto_correlation"), None
    if found is None or "lower" not in found.values:
        return Claim(name, f"How good calibrated twins are {_UNTOLD}")
    new = "survey_" if evidence.survey and "quality.survey_gate" in known else ""
    gate = known.get(f"quality.{new}gate") if new else known.get("quality.gate")
    found = known.get(f"quality.{new}auto_correlation", found)
    level = found.level or evidence.level
    kind = "in a new survey" if new else "new questions of this kind"
    values = {key: float(value) for key, value in found.values.items()}
    ends = values["estimate"], values.get("lower", -1.0), values.get("upper", 1.0)
    text = (
        f"Calibrated twins predict people's answers to {kind} with a correlation of "
        f"{number(ends[0])} ({interval(ends, level)})"
    ).replace("answers to in", "answers in")
    if gate is None or "lower" not in gate.values:
        return Claim(name, f"{text}.", values, level, found.finding, found.source)
    gap = float(gate.values["estimate"])
    of = interval((gate.values["lower"], gate.values["upper"]), level)
    if gate.finding == "twins add":
        text += f", {number(gap)} more than people's other answers alone give ({of})."
    elif gate.finding == "twins take away":
        of = interval((-gate.values["upper"], -gate.values["lower"]), level)
        text += f", {number(-gap)} less than people's other answers alone give ({of}): leave them."
    else:
        text += (
            f"; no gain over people's other answers alone is shown (difference "
            f"{number(gap, sign=True)}, {of})."
        )
    values |= {f"gain_{key}": float(value) for key, value in gate.values.items()}
    return Claim(name, text, values, level, gate.finding, gate.source)


def _worth(known: dict[str, Claim]) -> Claim:
    """Alone, and as the share of people that need not be asked."""
    name, alone, beside = "summary.worth", known.get("worth.alone"), known.get("worth.beside")
    if alone is None or beside is None or beside.level is None or "upper" not in beside.values:
        return Claim(name, f"What the twins are worth in respondents {_UNTOLD}")
    low, r2, high = (float(beside.values[key]) for key in ("lower", "estimate", "upper"))
    text = alone.text.removesuffix(".")
    text = f"{text}; beside people who are asked, they save "
    saved = f"{percent(r2)} of them ({interval((low, high), beside.level, digits=0, share=True)})."
    if low <= 0:
        saved = (
            f"at most {percent(high)} of them, and perhaps nobody "
            f"({interval((low, high), beside.level, digits=0, share=True)})."
        )
    values = {f"alone_{key}": float(value) for key, value in alone.values.items()}
    values |= {"estimate": r2, "lower": low, "upper": high}
    return Claim(name, text + saved, values, beside.level, beside.finding, beside.source)


def _where(known: dict[str, Claim]) -> Claim:
    """Which questions are told apart, or else a group for which twins are worse."""
    name, lift = "summary.where", known.get("left_to_twins.lift")
    groups = [
        claim
        for key, claim in known.items()
        if key.startswith("groups.")
        and key.endswith("_calibrated")
        and claim.finding
        and claim.level is not None
    ]
    if lift is None or lift.level is None:
        if groups:
            one = groups[0]
            return Claim(name, one.text, one.values, one.level, one.finding, one.source)
        return Claim(name, f"For which questions to trust twins {_UNTOLD}")
    values = {key: float(value) for key, value in lift.values.items()}
    gap, ends = values["estimate"], (values["lower"], values["upper"])
    if lift.finding == "expected quality tells questions apart":
        text = (
            "Which questions may be left to twins can be told before anybody is asked: in the half "
            "of the questions with the higher expected correlation, twins correlate with people by "
            f"{number(gap)} more than in the other half ({interval(ends, lift.level)}); the table "
            "names them."
        )
    elif lift.finding:
        text = (
            "Expectations of which questions may be left to twins mislead: in the half of the "
            "questions with the higher expected correlation, twins correlate with people by "
            f"{number(-gap)} less than in the other half "
            f"({interval((-ends[1], -ends[0]), lift.level)})."
        )
    else:
        text = (
            "Which questions may be left to twins cannot be told beforehand: in the half of the "
            "questions with the higher expected correlation, the correlation differs from that in "
            f"the other half by {number(gap, sign=True)} ({interval(ends, lift.level)})."
        )
    finding = lift.finding
    if groups:
        text += f" {groups[0].text}"
        finding = "; ".join(one for one in (finding, groups[0].finding) if one)
    return Claim(name, text, values, lift.level, finding, lift.source)
