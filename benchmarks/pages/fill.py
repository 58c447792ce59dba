"""Which figures stand on the pages, where they come from, and how they are put there."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages.asking import respond, respond_speed
from benchmarks.pages.distributions import ensembles, table6
from benchmarks.pages.draws import draws
from benchmarks.pages.fidelity import fidelity, fidelity_speed
from benchmarks.pages.individual import few_shot, figure5, speed, table2, table4, table5
from benchmarks.pages.inference import prediction_powered
from benchmarks.pages.nets import nets
from benchmarks.pages.scaling import devices, starts
from benchmarks.pages.suite import in_short, suite, suite_large
from benchmarks.report import RESULTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MARK = re.compile(r"<!-- results: ([\w-]+) -->\n.*?<!-- /results -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Figures between two marks: `build` makes the lines from the JSON `files`."""

    build: Callable[[], list[str]]
    files: tuple[str, ...]

    def text(self) -> str:
        """The lines, and below them where and when they were computed."""
        lines = self.build()
        if not lines:
            return ""
        origins = [f"*{one}*" for one in dict.fromkeys(filter(None, map(origin, self.files)))]
        return "\n".join(["", *lines, *(["", *origins] if origins else []), ""])


BLOCKS = {
    "speed-in-short": Block(in_short, ()),
    "suite": Block(suite, ("suite-paper", "growth", "refits")),
    "suite-large": Block(suite_large, ("suite-large",)),
    "nets": Block(nets, ("nets",)),
    "starts": Block(starts, ("compile_times",)),
    "devices": Block(devices, ("sharding",)),
    "prediction-powered": Block(
        prediction_powered, ("prediction_powered_study", "prediction_powered_coverage")
    ),
    "table2": Block(table2, ("tables/table2",)),
    "few_shot": Block(few_shot, ("few_shot",)),
    "table4": Block(table4, ("tables/table4",)),
    "figure5": Block(figure5, ("tables/figure5",)),
    "table5": Block(table5, ("tables/table5",)),
    "speed": Block(speed, ("table2_speed",)),
    "table6": Block(table6, ("tables/table6",)),
    "ensembles": Block(ensembles, ("ensembles_speed", "million_twins")),
    "fidelity": Block(fidelity, ("tables/fidelity-twins", "tables/fidelity-baselines")),
    "fidelity-speed": Block(fidelity_speed, ("encoder_speed", "ssr_speed", "fidelity_metrics")),
    "draws": Block(draws, ("draws",)),
    "respond": Block(respond, ("end_to_end",)),
    "respond-speed": Block(respond_speed, ("respond_overhead", "respond_speed")),
}


def origin(name: str) -> str:
    """Where a file of results comes from, in a line; empty without the file."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return ""
    report = json.loads(path.read_text(encoding="utf-8"))
    said = [f"`benchmarks/results/{name}.json`"]
    if report.get("date"):
        said.append(report["date"])
    if report.get("commit"):
        changed = ", changed" if report["commit"]["changed"] else ""
        said.append(f"commit {report['commit']['hash'][:9]}{changed}")
    said.append(f"JAX {report['versions']['jax']}")
    machine = report["machine"]
    said.append(f"{machine['system']}, {machine['cores']} cores")
    if machine["device"] != "cpu":
        said.append(machine["device_kind"])
    return "; ".join(said) + "."


def filled(text: str) -> str:
    """`text` with every marked block replaced by its figures.

    **Raises:** `KeyError` for a mark without figures.
    """

    def replace(found: re.Match[str]) -> str:
        name = found.group(1)
        return f"<!-- results: {name} -->\n{BLOCKS[name].text()}\n<!-- /results -->"

    return MARK.sub(replace, text)
