"""Results as records: one number each, with its origin and the number in the paper."""

import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import syndigits_jax
from syndigits_jax.results.files import write_text
from syndigits_jax.version import __version__

RESULTS = "results.json"
"""The file of records inside an output folder."""

_KEY = ("table", "dataset", "construction", "direction", "method", "setting", "metric")
_ENSEMBLE = ("objective", "variant", "gap")
_PACKAGES = ("jax", "jaxlib", "numpy", "equinox", "optax", "pandas", "matplotlib")


@dataclasses.dataclass(frozen=True)
class Record:
    """One number of a table.

    - `table`: `table2`, `table4`, `table5`, `figure5`, or a study's own name.
    - `dataset`: `movielens`, `twin-2k-500` or `opinionqa`; `construction`: a folder name of the
      published data (`zero-shot` for MovieLens, which has one construction only).
    - `direction`: what was held out, `question` or `user`.
    - `method`: a calibrator's class name, or a control (`Baseline`, `InContext`, `UserMean`,
      `ZScoredUserMean`, `ItemMean`); `setting`: `reference` or `default`, or what a study holds out
      together.
    - `mean`, `se`, `count`: over the held-out targets where `metric` is defined; `None` if unknown.
    - `paper_mean`, `paper_se`: the printed number; `None` where there is none.
    - `objective`, `variant`, `gap`: for weighted ensembles only: the divergence that was minimised,
      the block that was weighted, and the certified relative gap.
    - `seconds`: time in the method's own fits, without the imputation and scaling that all methods
      of the evaluation share; `None` for controls.
    """

    table: str
    dataset: str
    construction: str
    direction: str
    method: str
    setting: str
    metric: str
    mean: float | None
    se: float | None
    count: int
    paper_mean: float | None = None
    paper_se: float | None = None
    seconds: float | None = None
    objective: str | None = None
    variant: str | None = None
    gap: float | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that identify a record."""
        return (*(getattr(self, name) for name in _KEY), self.objective or "", self.variant or "")


def machine() -> dict[str, Any]:
    """The hardware that the numbers, above all the times, were measured on."""
    device = jax.devices()[0]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "device": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, this package and what it computes with, where installed."""
    found = {"python": platform.python_version(), "syndigits_jax": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["precision"] = "float64" if jax.config.read("jax_enable_x64") else "float32"
    return found


def commit() -> dict[str, Any] | None:
    """The Git commit of this package's source; `None` outside a checkout of it.

    **Returns:** `hash`, and `changed`: whether the source of the package, or of the benchmarks
    beside it, differs from the commit.
    """
    package = Path(syndigits_jax.__file__).parent
    try:
        # In a checkout of another repository the package is not tracked.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        paths = (".", ":(top,glob)benchmarks/**/*.py")
        changes = _git(package, "status", "--porcelain", "--", *paths)
        return {"hash": _git(package, "rev-parse", "HEAD").strip(), "changed": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", folder, *arguments], env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


def run_description() -> dict[str, Any]:
    """The description of a run, part of every results file.

    [`machine`][], [`versions`][] and [`commit`][] under these names, and `date` (ISO, UTC).
    """
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write_results(
    path: str | os.PathLike[str], records: Sequence[Record], *, merge: bool = True
) -> int:
    """Write `records` to a JSON file, whole or not at all, and return how many it then holds.

    With `merge`, records of an earlier file at `path` that are not among `records` are kept,
    provided that they come from the same machine, versions and commit; otherwise they are moved to
    `<name>.previous.json`.

    **Raises:** `ValueError` if two records have the same key, or if `path` is not a results file.
    """
    path = Path(path)
    described = run_description()
    kept: dict[tuple[str, ...], Record] = {}
    if merge and path.exists():
        header, earlier = read_results(path)
        if header == {name: described[name] for name in header}:
            kept = {record.key: record for record in earlier}
        else:
            write_text(path.with_suffix(".previous.json"), path.read_text(encoding="utf-8"))
    fresh = {record.key: record for record in records}
    if len(fresh) != len(records):
        raise ValueError("records: two of them have the same table, data, method and metric")
    # Recomputed keys keep their place; new keys follow.
    everything = [_fields(record) for record in {**kept, **fresh}.values()]
    write_document(path, {"records": everything}, described)
    return len(everything)


def write_document(
    path: str | os.PathLike[str],
    content: Mapping[str, Any],
    described: Mapping[str, Any] | None = None,
) -> None:
    """Write a results file as JSON, whole or not at all; NaN and infinity become null.

    **Arguments:** `path`: the file, which is replaced; `content`: what follows the description of
    the run; `described`: this description, by default [`run_description`][]'s.
    """
    described = run_description() if described is None else described
    document = finite_or_none({**described, **content})
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_results_path(path: str | os.PathLike[str]) -> None:
    """Check, before any work, that a results file can be written to `path`.

    **Raises:** `ValueError` if another file is in its place, or its folder is not a folder.
    """
    path = Path(path)
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(f"out: {path.parent} is not a folder")
    if not path.exists():
        return
    try:
        known = {"machine", "versions", "records"} <= json.loads(path.read_text("utf-8")).keys()
    except (ValueError, AttributeError, OSError, RecursionError):
        known = False
    if not known:
        raise ValueError(f"{path} is not a results file written by this package")


def _fields(record: Record) -> dict[str, Any]:
    fields = dataclasses.asdict(record)
    return {k: v for k, v in fields.items() if v is not None or k not in _ENSEMBLE}


def read_results(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[Record]]:
    """Read a results file back: (machine, versions and commit, records).

    **Raises:** `ValueError` if the file does not hold `machine`, `versions` and `records`.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        records = [Record(**fields) for fields in document["records"]]
        header = {name: document[name] for name in ("machine", "versions")}
        return header | {"commit": document.get("commit")}, records
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a results file written by this package") from error


def finite_or_none(value: Any) -> Any:
    """`value` with every NaN and infinity replaced by None (JSON has neither)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [finite_or_none(item) for item in value]
    return value


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _memory_gib() -> float | None:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return round(pages * size / 2**30, 1)
