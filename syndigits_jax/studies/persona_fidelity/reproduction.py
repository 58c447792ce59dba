"""The studies of fidelity on public data; each finished study is saved."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets import load_amazon_2018, load_movielens_ratings
from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.results.checkpoints import UNITS, Checkpoints, unit_key
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.results.records import check_results_path, write_document
from syndigits_jax.solvers.blas import one_blas_thread
from syndigits_jax.solvers.keys import PRNGKey, key_data
from syndigits_jax.studies.persona_fidelity.baselines import BaselinesSettings, study_baselines
from syndigits_jax.studies.persona_fidelity.paper_values import paper_range
from syndigits_jax.workflows.fidelity.populations import PairedColumns
from syndigits_jax.workflows.fidelity.records import FidelityRecord

Study = Literal["baselines", "twins"]
STUDIES: tuple[Study, ...] = ("baselines", "twins")
TWINS = "movielens-20m"
Embed = Callable[[Sequence[str]], Float[np.ndarray, "m e"]]

_AMAZON, _ENDING = "amazon-2018", "_ratings_5plus.csv"
_TWINS_PLACED = "newton"  # the placement of the twins whose embeddings are saved
_TWIN_FILES = ("syn-digits/MovieLens-20M", "movielens/ml-latest-small")


@dataclasses.dataclass(frozen=True, eq=False)
class StudyResult:
    """Results of one study on one data set.

    - `records`: all numbers; `counts`: of ratings, users and so on; `notes`: remarks.
    - `populations`: embeddings (n, d) by reference, then by population, `real` first.
    - `paired`: by (population, procedure), distances of each persona to its own seed and to
      another's.
    - `resumed`: whether the results of an earlier run were used.
    """

    study: Study
    dataset: str
    records: tuple[FidelityRecord, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    populations: Mapping[str, Mapping[str, Float[np.ndarray, "n d"]]]
    paired: Mapping[tuple[str, str], PairedColumns]
    resumed: bool = False


@dataclasses.dataclass(frozen=True)
class _Unit:
    study: Study
    dataset: str
    read: Callable[[], RatingTable] | None


def present_datasets(data: str | os.PathLike[str]) -> dict[str, Callable[[], RatingTable]]:
    """Readers of the rating data under `data`, by name.

    `amazon-2018/<category>_ratings_5plus.csv` (with its `_items.csv`) is
    `amazon-2018-<category>`, in lower case with hyphens; `movielens/<release>/ratings.csv` (with
    `movies.csv` and `tags.csv`) is named by the release.
    """
    data = Path(data)
    found: dict[str, Callable[[], RatingTable]] = {}
    for path in sorted((data / _AMAZON).glob(f"*{_ENDING}")):
        category = path.name.removesuffix(_ENDING)
        name = f"{_AMAZON}-{category.lower().replace('_', '-')}"
        found[name] = functools.partial(load_amazon_2018, data / _AMAZON, [category])
    for path in sorted((data / "movielens").glob("*/ratings.csv")):
        found[path.parent.name] = functools.partial(load_movielens_ratings, path.parent)
    return found


def run_fidelity(
    data: str | os.PathLike[str],
    *,
    embed: Embed,
    key: PRNGKey,
    out: str | os.PathLike[str],
    datasets: Sequence[str] = (),
    studies: Sequence[str] = (),
    settings: BaselinesSettings | None = None,
    twin_settings: Any = None,
    on_progress: OnProgress | None = None,
) -> list[StudyResult]:
    """Run the studies on the data sets present; `results.json` is written after each of them.

    **Arguments:**

    - `data`: a folder with `amazon-2018`, `movielens` and, for the twins, `syn-digits`.
    - `embed`: from item texts to vectors (m, e).
    - `key`: for all random draws.
    - `out`: a folder for results and finished work, which later calls reuse.
    - `datasets`: names as in `present_datasets` (all by default), or `movielens-20m` for the twins.
    - `studies`: `baselines`, `twins`; by default all for which there are data.
    - `settings`, `twin_settings`: of the two studies.
    - `on_progress`: called with a [`Progress`][syndigits_jax.results.progress.Progress].

    **Raises:** `ValueError` for an unknown name, or if `results.json` is not a results file;
    `FileNotFoundError` if there are no data, or `studies` names `twins` and their data are absent.
    """
    check_results_path(Path(out) / "results.json")
    settings = BaselinesSettings() if settings is None else settings
    units = _plan(Path(data), datasets, studies)
    store = Checkpoints(Path(out) / UNITS)
    results: list[StudyResult] = []
    before = 0
    for number, unit in enumerate(units):
        show, stages = _stages(on_progress, unit.dataset, before, len(units) - number)
        if unit.read is not None:
            ratings = unit.read()
            vectors = embed(ratings.texts)
            name = unit_key(
                ("studies.persona_fidelity.reproduction",),
                study=unit.study, settings=settings, key=key_data(key), items=vectors,
                ratings=[ratings.user, ratings.item, ratings.rating, ratings.time],
            )  # fmt: skip
            compute = functools.partial(
                _baselines, ratings, vectors, key=key, settings=settings, out=out, on_progress=show
            )
        else:
            name = unit_key(
                ("studies.persona_fidelity.reproduction",),
                study=unit.study,
                settings=twin_settings,
                key=key_data(key),
                files=_digest(data),
            )
            compute = functools.partial(
                _twins, data, embed=embed, key=key, settings=twin_settings, out=out,
                on_progress=show,
            )  # fmt: skip
        with one_blas_thread():
            arrays, resumed = store.get(f"{unit.study}-{name}", compute)
        if resumed:
            show(Progress(0, 1, unit.study, 1, 1, resumed=True))
        results.append(_result(unit, arrays, resumed))
        before += stages[0]
        write_fidelity_study(Path(out) / "results.json", results)
    return results


def write_fidelity_study(path: str | os.PathLike[str], results: Sequence[StudyResult]) -> None:
    """Write a results file, which is replaced as a whole: [`run_description`][], counts, notes and
    records.

    A record is a `FidelityRecord` with `study` and `dataset`, and the range over the paper's splits
    (`paper_low`, `paper_high`; null if nothing comparable is printed).

    **Raises:** `ValueError` if `path` exists and is not a results file.
    """
    check_results_path(path)
    content = {
        "studies": [
            {"study": r.study, "dataset": r.dataset, "counts": r.counts, "notes": r.notes}
            for r in results
        ],
        "records": [_fields(r, record) for r in results for record in r.records],
    }
    write_document(path, content)


def paper_values(record: FidelityRecord) -> tuple[float, float] | None:
    """The lowest and highest number that the paper prints for a record, or None.

    The paper compares with users as trained. Twins, on whose people no encoder was trained, are
    compared with users placed by the same procedure.
    """
    alike = record.population == "twins" and record.procedure in ("newton", "ssr")
    alike = alike and record.procedure == record.reference
    own = record.population != "real" or record.procedure == record.reference
    if alike or (own and record.reference == "trained"):
        return paper_range(record.population, record.metric)
    return None


def _fields(result: StudyResult, record: FidelityRecord) -> dict[str, Any]:
    low, high = paper_values(record) or (None, None)
    return {
        "study": result.study,
        "dataset": result.dataset,
        **dataclasses.asdict(record),
        "paper_low": low,
        "paper_high": high,
    }


def _stages(
    on_progress: OnProgress | None, dataset: str, before: int, studies: int
) -> tuple[OnProgress, list[int]]:
    """A callback that reports a study's progress as a part of all studies, and its stages so far.

    `before`: stages of earlier studies; `studies`: studies left, including this one.
    """
    stages = [1]

    def show(progress: Progress) -> None:
        stages[0] = max(stages[0], progress.units)
        if on_progress is not None:
            label, at = f"{dataset}, {progress.label}", before + progress.unit
            units = before + stages[0] * studies
            on_progress(dataclasses.replace(progress, unit=at, units=units, label=label))

    return show, stages


def _plan(data: Path, datasets: Sequence[str], studies: Sequence[str]) -> list[_Unit]:
    for name in studies:
        if name not in STUDIES:
            raise ValueError(f"unknown study '{name}'; known: {', '.join(STUDIES)}")
    readers = present_datasets(data)
    twins = all((data / folder).is_dir() for folder in _TWIN_FILES)
    wanted = studies or STUDIES
    known = [*readers, *([TWINS] if twins else [])]
    if not known:
        raise FileNotFoundError(
            f"no rating data in {data}: expected {_AMAZON}/*{_ENDING} or movielens/*/ratings.csv"
        )
    for name in datasets:
        if name not in known:
            raise ValueError(f"unknown data set '{name}'; in {data} there are: {', '.join(known)}")
    if "twins" in studies and not twins:
        raise FileNotFoundError(f"the twins need {' and '.join(_TWIN_FILES)} in {data}")
    chosen = datasets or known
    units = [
        _Unit("baselines", name, read)
        for name, read in readers.items()
        if "baselines" in wanted and name in chosen
    ]
    if twins and "twins" in wanted and TWINS in chosen:
        units.append(_Unit("twins", TWINS, None))
    if not units:
        raise ValueError(f"none of the data sets {', '.join(chosen)} has study {', '.join(wanted)}")
    return units


def _baselines(ratings: RatingTable, vectors: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    report = study_baselines(ratings, vectors, **options)
    return _arrays(report.records, report.counts, report.notes, report.populations, {})


def _twins(data: str | os.PathLike[str], **options: Any) -> dict[str, np.ndarray]:
    from syndigits_jax.studies.calibrated_twins.study import study_preference_twins

    report = study_preference_twins(data, **options)
    populations = {_TWINS_PLACED: report.populations} if report.populations else {}
    return _arrays(report.records, report.counts, report.notes, populations, report.paired)


def _arrays(
    records: Sequence[FidelityRecord],
    counts: Mapping[str, int],
    notes: Sequence[str],
    populations: Mapping[str, Mapping[str, np.ndarray]],
    paired: Mapping[tuple[str, str], PairedColumns],
) -> dict[str, np.ndarray]:
    """A finished study as arrays; records and names are in a JSON text, which keeps their order."""
    arrays: dict[str, np.ndarray] = {}
    names: list[list[str]] = []
    for reference, by_name in populations.items():
        for name, points in by_name.items():
            arrays[f"population{len(names)}"] = np.asarray(points)
            names.append([reference, name])
    for number, columns in enumerate(paired.values()):
        arrays[f"paired{number}"] = np.stack([np.asarray(column) for column in columns])
    document = {
        "records": [dataclasses.asdict(record) for record in records],
        "counts": dict(counts),
        "notes": list(notes),
        "populations": names,
        "paired": [list(pair) for pair in paired],
    }
    return arrays | {"document": np.array(json.dumps(document))}


def _result(unit: _Unit, arrays: Mapping[str, np.ndarray], resumed: bool) -> StudyResult:
    document = json.loads(str(arrays["document"]))
    populations: dict[str, dict[str, np.ndarray]] = {}
    for number, (reference, name) in enumerate(document["populations"]):
        populations.setdefault(reference, {})[name] = arrays[f"population{number}"]
    paired = {
        (population, procedure): PairedColumns(*arrays[f"paired{number}"])
        for number, (population, procedure) in enumerate(document["paired"])
    }
    records = tuple(FidelityRecord(**fields) for fields in document["records"])
    counts, notes = document["counts"], tuple(document["notes"])
    return StudyResult(
        unit.study, unit.dataset, records, counts, notes, populations, paired, resumed
    )


def _digest(data: str | os.PathLike[str]) -> str:
    """A hash of the files of the twins."""
    digest = hashlib.sha256()
    for folder in _TWIN_FILES:
        for path in sorted((Path(data) / folder).rglob("*.csv")):
            digest.update(str(path.relative_to(data)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
