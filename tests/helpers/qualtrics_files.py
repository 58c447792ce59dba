"""Small questionnaires and exports of Qualtrics, written as it writes them."""

import csv
import io
import json
from pathlib import Path


def mc(qid, tag, labels, selector="SAVR", text="", **more):
    """A multiple-choice question; `labels` by choice identifier, or in order."""
    if not isinstance(labels, dict):
        labels = {str(i): label for i, label in enumerate(labels, 1)}
    return {
        "QuestionID": qid, "DataExportTag": tag, "QuestionType": "MC", "Selector": selector,
        "QuestionText": text or f"About {tag}?",
        "Choices": {name: {"Display": label} for name, label in labels.items()},
        "ChoiceOrder": list(labels), **more,
    }  # fmt: skip


def matrix(qid, tag, rows, answers, sub="SingleAnswer", selector="Likert", **more):
    """A matrix of statements by answers."""
    return mc(qid, tag, rows, selector) | {
        "QuestionType": "Matrix", "SubSelector": sub,
        "Answers": {str(i): {"Display": a} for i, a in enumerate(answers, 1)},
        "AnswerOrder": list(range(1, len(answers) + 1)), **more,
    }  # fmt: skip


def other(qid, tag, kind, selector="", **more):
    """A question of another type."""
    return {
        "QuestionID": qid, "DataExportTag": tag, "QuestionType": kind, "Selector": selector,
        "QuestionText": f"About {tag}?", **more,
    }  # fmt: skip


def block(name, *qids, kind="Standard", **options):
    """A block of questions."""
    inside = [{"Type": "Question", "QuestionID": qid} for qid in qids]
    return {
        "Type": kind, "Description": name, "ID": f"BL_{name}", "BlockElements": inside,
        "Options": options,
    }  # fmt: skip


def write_qsf(path: Path, blocks, questions, flow=()):
    """A questionnaire file."""
    elements = [
        {"Element": "BL", "Payload": {str(i): one for i, one in enumerate(blocks)}},
        {"Element": "FL", "Payload": {"Type": "Root", "Flow": [
            {"Type": "Branch", "Flow": [{"Type": "Standard", "ID": f"BL_{name}"}]} for name in flow
        ]}},
        *({"Element": "SQ", "PrimaryAttribute": q["QuestionID"], "Payload": q} for q in questions),
        {"Element": "SO", "Payload": None},
    ]  # fmt: skip
    path.write_text(json.dumps({"SurveyEntry": {}, "SurveyElements": elements}))
    return path


def place(where):
    """The cell of the third header row: "QID1", "QID1|2" (a choice), or a field."""
    name, _, choice = where.partition("|")
    content = {"ImportId": name} | ({"choiceId": choice} if choice else {})
    return json.dumps(content, separators=(",", ":"))


def write_export(path: Path, columns, rows, encoding="utf-8"):
    """An export; `columns`: (name, text, place) each."""
    separator = "\t" if path.suffix == ".tsv" else ","
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow([name for name, _, _ in columns])
    writer.writerow([text for _, text, _ in columns])
    writer.writerow([place(where) for _, _, where in columns])
    writer.writerows(rows)
    path.write_bytes(out.getvalue().encode(encoding))
    return path
