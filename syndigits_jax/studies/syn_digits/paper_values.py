"""The numbers printed in the SYN-DIGITS paper, keyed by the names this package uses.

Tables 2, 4 and 5 (average Pearson correlation over held-out questions or users, standard error)
and Figure 5 (adaptive transfer). Methods have their class names; `Baseline` is the
uncalibrated twin, `InContext` the twin prompted with the user's other answers.
"""

from typing import NamedTuple

from syndigits_jax.datasets import DEFAULT_CONSTRUCTION
from syndigits_jax.results.names import METHODS

MOVIELENS = "movielens"
TWIN_2K_500 = "twin-2k-500"
OPINIONQA = "opinionqa"
ZERO_SHOT = "zero-shot"  # MovieLens has one construction and no folder name for it


class PaperValue(NamedTuple):
    """A printed number; `se` is None where the paper gives no standard error."""

    mean: float
    se: float | None


def _row(names: tuple[str, ...], means: str, errors: str) -> dict[str, PaperValue]:
    pairs = zip(means.split(), errors.split(), strict=True)
    values = [PaperValue(float(mean), float(error)) for mean, error in pairs]
    return dict(zip(names, values, strict=True))


TABLE2 = _row(
    ("Baseline", "InContext", *METHODS),
    ".349 .406 .511 .497 .524 .504 .457 .515 .473 .511 .512 .454",
    ".005 .005 .005 .006 .005 .005 .005 .005 .008 .005 .005 .005",
)

_TABLE4 = {
    "Text Persona - GPT4.1-mini": (
        ".168 .200 .195 .204 .198 .147 .190 .170 .202 .201 .121",
        ".015 .021 .021 .021 .020 .013 .017 .017 .018 .018 .016",
    ),
    "Text Persona - Gemini-Flash2.5": (
        ".188 .237 .234 .242 .215 .158 .200 .179 .221 .220 .127",
        ".016 .020 .020 .020 .020 .013 .019 .018 .019 .019 .015",
    ),
    "JSON Persona - GPT4.1-mini": (
        ".175 .211 .195 .214 .207 .158 .210 .185 .213 .213 .137",
        ".016 .021 .021 .021 .020 .013 .018 .018 .018 .018 .015",
    ),
    "JSON Persona - GPT4.1": (
        ".205 .213 .201 .220 .215 .156 .211 .181 .223 .222 .124",
        ".018 .019 .019 .019 .019 .013 .017 .017 .018 .018 .016",
    ),
    "Text Persona (Reasoning) - GPT4.1-mini": (
        ".165 .227 .221 .238 .228 .159 .213 .182 .224 .223 .121",
        ".015 .022 .022 .022 .021 .013 .019 .019 .019 .019 .016",
    ),
    "Text Persona (Repeating Questions) - GPT4.1-mini": (
        ".173 .226 .220 .235 .229 .155 .212 .193 .221 .220 .131",
        ".015 .022 .022 .022 .021 .013 .018 .018 .019 .019 .015",
    ),
    "Text Persona (Default Temperature) - GPT4.1-mini": (
        ".158 .199 .195 .204 .198 .144 .197 .165 .204 .204 .113",
        ".015 .021 .021 .021 .020 .013 .017 .018 .018 .018 .016",
    ),
    "JSON Persona (Predicted Output) - GPT4.1-mini": (
        ".158 .203 .191 .211 .201 .153 .188 .151 .207 .208 .108",
        ".014 .020 .019 .020 .019 .013 .017 .017 .019 .019 .015",
    ),
    "JSON Persona (Predicted Output) - GPT4.1": (
        ".200 .208 .200 .217 .212 .151 .202 .150 .215 .214 .143",
        ".017 .019 .019 .019 .019 .012 .019 .018 .018 .018 .015",
    ),
    "LLM Finetuning (500 training samples) - GPT4.1-mini": (
        ".048 .243 .220 .233 .232 .150 .231 .201 .226 .226 .101",
        ".008 .019 .018 .018 .018 .012 .018 .018 .017 .017 .016",
    ),
    "Demographics Only - GPT4.1-mini": (
        ".122 .196 .184 .204 .201 .157 .193 .155 .212 .213 .103",
        ".012 .021 .021 .021 .020 .013 .019 .016 .018 .018 .015",
    ),
    "Persona Summary - GPT4.1-mini": (
        ".148 .222 .211 .227 .221 .169 .215 .174 .232 .233 .111",
        ".013 .020 .020 .020 .020 .013 .018 .015 .018 .018 .016",
    ),
    "Persona Summary - JSON Persona - GPT4.1-mini": (
        ".102 .223 .212 .229 .224 .164 .214 .184 .235 .232 .130",
        ".011 .019 .019 .019 .019 .013 .017 .017 .018 .018 .015",
    ),
}
TABLE4 = {name: _row(("Baseline", *METHODS), *row) for name, row in _TABLE4.items()}

# Table 4's last column: relative gain of the best method over the baseline, in percent.
TABLE4_BEST_GAIN = dict(
    zip(
        _TABLE4,
        (21.4, 28.7, 22.3, 8.78, 44.2, 35.8, 29.1, 33.5, 8.50, 406.0, 74.6, 57.4, 130.0),
        strict=True,
    )
)

TABLE5 = {
    MOVIELENS: _row(
        ("Baseline", *METHODS),
        ".246 .373 .372 .373 .377 .375 .361 .372 .372 .372 .366",
        ".006 .006 .006 .006 .006 .006 .006 .006 .006 .006 .007",
    ),
    TWIN_2K_500: _row(
        ("Baseline", *METHODS),
        ".847 .875 .873 .875 .877 .874 .875 .873 .873 .873 .863",
        ".002 .002 .002 .002 .002 .002 .002 .002 .002 .002 .002",
    ),
}

# Gains over the baseline in percent, as printed (from unrounded correlations).
TABLE2_GAIN = dict(zip(METHODS, (46, 42, 50, 44, 31, 48, 36, 46, 47, 30), strict=True))
TABLE2_GAIN_OVER_IN_CONTEXT = dict(
    zip(METHODS, (26, 22, 29, 24, 13, 27, 17, 26, 26, 12), strict=True)
)
TABLE5_GAIN = {
    MOVIELENS: dict(zip(METHODS, (52, 51, 52, 53, 52, 47, 51, 51, 51, 49), strict=True)),
    TWIN_2K_500: dict(
        zip(METHODS, (3.3, 3.1, 3.3, 3.5, 3.2, 3.3, 3.1, 3.1, 3.1, 1.9), strict=True)
    ),
}

# Figure 5 and its caption: the best correlation over the threshold, near training MSE 0.15.
FIGURE5_BEST = {"Ridge": PaperValue(0.252, None), "ElasticNet": PaperValue(0.252, None)}
FIGURE5_BEST_THRESHOLD = 0.15
_DEFAULT = TABLE4[DEFAULT_CONSTRUCTION.folder]
FIGURE5_ALWAYS = {name: _DEFAULT[name] for name in ("Ridge", "ElasticNet")}


def paper_value(
    table: str, dataset: str, construction: str, method: str, metric: str = "pearson"
) -> PaperValue | None:
    """The printed value for one cell, or None if the paper prints none.

    **Arguments:** `table`: `table2`, `table4`, `table5` or `figure5`; `dataset`, `construction`: of
    the panel; `method`: a class name; `metric`: `pearson`, or for Figure 5 also
    `adaptive_pearson_best` and `adaptive_threshold_best`.
    """
    if table == "figure5":
        if metric == "adaptive_pearson_best":
            return FIGURE5_BEST.get(method)
        if metric == "adaptive_threshold_best":
            known = method in FIGURE5_BEST
            return PaperValue(FIGURE5_BEST_THRESHOLD, None) if known else None
        table = "table4"
    if metric != "pearson":
        return None
    if table == "table2" and dataset == MOVIELENS:
        return TABLE2.get(method)
    if table == "table4" and dataset == TWIN_2K_500:
        return TABLE4.get(construction, {}).get(method)
    if table == "table5":
        return TABLE5.get(dataset, {}).get(method)
    return None


# Table 6: the ensemble fitted by the CDF ℓ1 distance, and the uniform ensemble.
_TABLE6_METRICS = ("tv", "chi2", "kl", "hellinger", "ks", "cdf_l1", "cdf_l2")
TABLE6: dict[tuple[str, str], dict[str, float]] = {
    (dataset, variant): dict(zip(_TABLE6_METRICS, map(float, printed.split()), strict=True))
    for dataset, variant, printed in (
        (MOVIELENS, "both", "0.188 23.54 0.212 0.036 0.123 0.415 0.041"),
        (MOVIELENS, "uniform", "0.381 28558 2.438 0.176 0.280 0.922 0.189"),
        (OPINIONQA, "both", "0.178 0.298 0.123 0.031 0.154 0.271 0.045"),
        (OPINIONQA, "uniform", "0.350 11824 1.300 0.137 0.303 0.520 0.154"),
    )
}


def table6_value(dataset: str, objective: str, variant: str, metric: str) -> float | None:
    """The test divergence printed in Table 6, or None; there are no standard errors.

    **Arguments:** `dataset`: of the panel; `objective`: the divergence minimised, only `cdf_l1` for
    a fit; `variant`: `both` or `uniform`; `metric`: the test divergence.
    """
    if variant != "uniform" and objective != "cdf_l1":
        return None
    return TABLE6.get((dataset, variant), {}).get(metric)
