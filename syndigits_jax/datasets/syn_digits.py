"""The individual-level data of the SYN-DIGITS paper, in the layout of its public repository."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..panel import Panel
from ..schema import Option, Question, Scale
from .tables import load_panel
from .text_tables import read_json

_HOME = "https://github.com/yw3453/syn-digits"
_TWIN_2K_500 = Path("2K500", "synthetic_control")
_MOVIELENS = Path("MovieLens-20M", "synthetic_control")


@dataclass(frozen=True)
class Construction:
    """One way of making the twins of Twin-2K-500 (paper, Table 3 and appendix A.3).

    `folder` is its name in the repository, `label` its name in the paper's tables.
    """

    folder: str
    label: str
    content: str
    strategy: str


CONSTRUCTIONS = (
    Construction("Text Persona - GPT4.1-mini", "Text, GPT-4.1-mini", "Full survey", "Default"),
    Construction(
        "Text Persona - Gemini-Flash2.5", "Text, Gemini-Flash-2.5", "Full survey", "Default"
    ),
    Construction("JSON Persona - GPT4.1-mini", "JSON, GPT-4.1-mini", "Full survey", "Default"),
    Construction("JSON Persona - GPT4.1", "JSON, GPT-4.1", "Full survey", "Default"),
    Construction(
        "Text Persona (Reasoning) - GPT4.1-mini",
        "Text + CoT, GPT-4.1-mini",
        "Full survey",
        "Chain-of-thought",
    ),
    Construction(
        "Text Persona (Repeating Questions) - GPT4.1-mini",
        "Text + repeat, GPT-4.1-mini",
        "Full survey",
        "Question repetition",
    ),
    Construction(
        "Text Persona (Default Temperature) - GPT4.1-mini",
        "Text, temp=0.7, GPT-4.1-mini",
        "Full survey",
        "Temperature 0.7",
    ),
    Construction(
        "JSON Persona (Predicted Output) - GPT4.1-mini",
        "JSON + PO, GPT-4.1-mini",
        "Full survey",
        "Predicted output",
    ),
    Construction(
        "JSON Persona (Predicted Output) - GPT4.1",
        "JSON + PO, GPT-4.1",
        "Full survey",
        "Predicted output",
    ),
    Construction(
        "LLM Finetuning (500 training samples) - GPT4.1-mini",
        "Fine-tuned GPT-4.1-mini",
        "Full survey",
        "Fine-tuned",
    ),
    Construction(
        "Demographics Only - GPT4.1-mini",
        "Demographics only, GPT-4.1-mini",
        "Demographics",
        "Default",
    ),
    Construction("Persona Summary - GPT4.1-mini", "Summary, GPT-4.1-mini", "Summary", "Default"),
    Construction(
        "Persona Summary - JSON Persona - GPT4.1-mini",
        "Summary + JSON, GPT-4.1-mini",
        "Summary",
        "Default",
    ),
)
"""The thirteen constructions, in the order of the paper's Tables 3 and 4."""

DEFAULT_CONSTRUCTION = CONSTRUCTIONS[0]


def find_construction(name: str) -> Construction:
    """The construction of this folder name or paper label (case and spacing at ends ignored).

    **Raises:** `ValueError` listing the thirteen folder names.

    **Example:**

        >>> from syndigits_jax.datasets import CONSTRUCTIONS, find_construction
        >>> print(len(CONSTRUCTIONS), find_construction(CONSTRUCTIONS[0].label) == CONSTRUCTIONS[0])
        13 True
    """
    wanted = name.strip().lower()
    for construction in CONSTRUCTIONS:
        if wanted in (construction.folder.lower(), construction.label.lower()):
            return construction
    names = ", ".join(repr(c.folder) for c in CONSTRUCTIONS)
    raise ValueError(f"`construction`: no {name!r}; the thirteen are {names}")


def present_constructions(data_dir: str | PathLike[str]) -> tuple[Construction, ...]:
    """The constructions whose two tables lie in `data_dir`, in the paper's order.

    **Raises:** `FileNotFoundError` if `data_dir` does not hold the repository's data.
    """
    folder = data_root(data_dir, _TWIN_2K_500) / _TWIN_2K_500
    return tuple(
        c
        for c in CONSTRUCTIONS
        if all((folder / c.folder / name).is_file() for name in ("real.csv", "LLM.csv"))
    )


def load_twin_2k_500(
    data_dir: str | PathLike[str],
    construction: str | Construction = DEFAULT_CONSTRUCTION,
    *,
    questions: Mapping[str, Question] | None = None,
) -> Panel:
    """Twin-2K-500: up to 2,058 respondents, 123 questions of differing ranges, one construction.

    **Arguments:**

    - `data_dir`: a clone of the public repository, its `data` folder, or a folder that holds
      either under the name `syn-digits`.
    - `construction`: one of [`CONSTRUCTIONS`][], or its folder name or paper label.
    - `questions`: the catalogue that gives each question's range; by default the file
      `twin-2k-500/questions.json` in or beside the data folder, if there is one. A question
      without a known range gets the extremes of its observed answers
      (`Panel.with_observed_ranges`).

    **Raises:** `ValueError` for an unknown construction; `FileNotFoundError` naming the missing
    file and where the data come from; `ImportError` without pandas.
    """
    if isinstance(construction, str):
        construction = find_construction(construction)
    root = data_root(data_dir, _TWIN_2K_500)
    folder = root / _TWIN_2K_500 / construction.folder
    panel = load_panel(
        required_file(folder / "real.csv"), required_file(folder / "LLM.csv"), name="twin-2k-500"
    )
    if questions is None:
        found = _catalogue(Path(data_dir), root)
        questions = {} if found is None else read_twin_2k_500_questions(found)
    scales = {
        name: question.scale
        for name, question in questions.items()
        if question.scale is not None and name in panel.questions
    }
    return panel.with_scale(scales).with_observed_ranges()


def load_movielens(data_dir: str | PathLike[str], *, in_context: bool = True) -> Panel:
    """MovieLens: 500 users, 250 films, ratings from 0.5 to 5 in halves.

    **Arguments:** `data_dir` as in [`load_twin_2k_500`][]; `in_context`: whether to attach the
    twins that saw the user's other ratings, as the control `"InContext"`.

    **Raises:** `FileNotFoundError` naming the missing file and where the data come from;
    `ImportError` without pandas.
    """
    folder = data_root(data_dir, _MOVIELENS) / _MOVIELENS
    controls = {}
    if in_context:
        controls["InContext"] = required_file(folder / "LLM_in_context_other_ratings_full.csv")
    return load_panel(
        required_file(folder / "real.csv"),
        required_file(folder / "LLM.csv"),
        name="movielens",
        scale=Scale(0.5, 5.0, 0.5),
        controls=controls,
    )


def read_twin_2k_500_questions(path: str | PathLike[str]) -> dict[str, Question]:
    """The Twin-2K-500 question catalogue (`questions.json`), by column name.

    Options are coded 1, 2, ... in the order listed; sliders with a stated range go in whole steps;
    open numeric answers have no scale.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it is no such catalogue.
    """
    path = Path(path)
    catalogue = read_json(path)
    try:
        return {name: twin_question(name, entry) for name, entry in catalogue.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a catalogue of questions ({error})") from error


def data_root(data_dir: str | PathLike[str], inside: Path) -> Path:
    """The folder that holds `inside`, given a clone, its `data`, or the parent of either.

    **Raises:** `FileNotFoundError` naming `data_dir` and where the data come from.
    """
    start = Path(data_dir)
    for root in (start, start / "data", start / "syn-digits", start / "syn-digits" / "data"):
        if (root / inside).is_dir():
            return root
    raise FileNotFoundError(f"no folder {inside} in {start}; {_advice()}")


def twin_question(name: str, entry: Mapping[str, Any]) -> Question:
    """A question from its entry in the Twin-2K-500 catalogue.

    **Raises:** `ValueError`, `KeyError`, `TypeError` or `AttributeError` for another entry.
    """
    labels = entry["options"] or []
    bounds = entry["range"]
    text = " ".join(part for part in (entry["text"], entry["row"]) if part)
    return Question(
        identifier=name,
        text=text,
        options=tuple(Option(float(i), str(label)) for i, label in enumerate(labels, start=1)),
        scale=None if bounds is None else Scale(bounds[0], bounds[1], 1.0),
        block=entry["block"] or "",
    )


def _catalogue(data_dir: Path, root: Path) -> Path | None:
    for folder in (data_dir, root, root.parent, root.parent.parent):
        path = folder / "twin-2k-500" / "questions.json"
        if path.is_file():
            return path
    return None


def required_file(path: Path) -> Path:
    """The path of an existing file. **Raises:** `FileNotFoundError` saying where to get it."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; {_advice()}")
    return path


def _advice() -> str:
    return f"get the data with `git clone {_HOME}` and name that folder"
