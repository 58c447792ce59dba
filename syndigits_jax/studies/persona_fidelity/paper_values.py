"""The numbers printed in the Persona Fidelity Gap paper: Tables 2 and 7 to 10, by split."""

METRICS = ("frechet", "mmd", "coverage", "sliced_wasserstein")
METHODS = ("real", "dirichlet", "gmm", "prototype", "llama", "qwen", "noise")

# Columns as METRICS, rows as METHODS; as text, which preserves the rounding.
PANELS = {
    "combined": """
        0.084e-3 0.27e-3 0.986 0.55e-3
        0.45e-3 18e-3 0.886 1.3e-3
        0.16e-3 -0.63e-3 0.536 0.60e-3
        15e-3 220e-3 0.000 7.8e-3
        3.0e-3 272e-3 0.088 3.3e-3
        3.2e-3 326e-3 0.094 3.3e-3
        6.8e-3 37e-3 0.000 2.1e-3""",
    "musical_instruments": """
        6.0E-06 2.6E-04 0.978 1.7E-04
        4.2E-05 3.19E-03 0.960 4.13E-04
        1.33E-04 9.39E-03 0.156 5.33E-04
        3.12E-02 0.406 0.000 1.23E-02
        4.43E-04 0.421 0.084 1.18E-03
        5.09E-04 0.462 0.066 1.21E-03
        1.11E-03 4.86E-02 0.000 1.01E-03""",
    "software": """
        2.12E-05 -6.27E-05 0.960 3.78E-04
        2.89E-04 1.88E-02 0.884 1.06E-03
        1.48E-04 4.34E-04 0.500 5.58E-04
        1.66E-02 0.265 0.000 8.31E-03
        2.64E-03 0.478 0.088 3.20E-03
        2.64E-03 0.465 0.078 3.18E-03
        4.73E-03 3.63E-02 0.000 1.60E-03""",
    "video_games": """
        2.93E-05 -2.40E-04 0.932 2.92E-04
        1.47E-04 1.40E-02 0.906 6.61E-04
        1.60E-04 6.85E-04 0.280 4.90E-04
        2.65E-02 0.371 0.000 1.09E-02
        1.19E-03 0.368 0.060 1.80E-03
        1.28E-03 0.430 0.046 1.93E-03
        2.25E-03 3.42E-02 0.000 1.18E-03""",
}

# Table 10: columns FPD, MMD, SWD, coverage.
INDEX_METRICS = ("frechet", "mmd", "sliced_wasserstein", "coverage")
INDICES = {
    "combined": """
        0.000 0.000 0.000 0.000
        0.055 0.491 0.484 0.101
        0.012 -0.024 0.034 0.456
        2.28 5.97 4.82 1.000
        0.437 7.39 1.80 0.911
        0.463 8.84 1.85 0.905
        1.000 1.000 1.000 1.000""",
    "musical_instruments": """
        0.000 0.000 0.000 0.000
        0.033 0.061 0.289 0.018
        0.115 0.189 0.432 0.840
        28.21 8.40 14.44 1.000
        0.395 8.71 1.20 0.914
        0.455 9.55 1.24 0.933
        1.000 1.000 1.000 1.000""",
    "software": """
        0.000 0.000 0.000 0.000
        0.057 0.518 0.556 0.079
        0.027 0.014 0.148 0.479
        3.51 7.30 6.51 1.000
        0.556 13.16 2.32 0.908
        0.555 12.81 2.30 0.919
        1.000 1.000 1.000 1.000""",
    "video_games": """
        0.000 0.000 0.000 0.000
        0.053 0.413 0.417 0.028
        0.059 0.027 0.223 0.700
        11.92 10.79 12.01 1.000
        0.521 10.69 1.71 0.936
        0.564 12.50 1.85 0.951
        1.000 1.000 1.000 1.000""",
}

# Last column of Tables 2, 7, 8 and 9: mean cosine within a population; rows as METHODS.
COSINES = {
    "combined": "0.699 0.819 0.713 0.233 0.943 0.964 0.639",
    "musical_instruments": "0.727 0.805 0.685 0.031 0.985 0.986 0.615",
    "software": "0.658 0.787 0.662 0.155 0.977 0.978 0.604",
    "video_games": "0.675 0.767 0.667 0.051 0.983 0.988 0.563",
}

# Table 1, four splits by two language models.
PERSONAS = {
    "paired_cosine_distance": "0.227 0.214 0.269 0.274 0.249 0.241 0.272 0.278",
    "rank_accuracy": "0.797 0.805 0.729 0.722 0.843 0.846 0.805 0.803",
    "rating_correlation": "0.787 0.796 0.579 0.566 0.839 0.841 0.754 0.752",
}

# The paper's names of the populations. It describes the covariances of its Gaussian mixture as
# diagonal (section 4) and as full (Table 6).
_NAMES = {
    "real": ("real",),
    "dirichlet": ("dirichlet",),
    "gaussian_mixture_diagonal": ("gmm",),
    "gaussian_mixture_full": ("gmm",),
    "prototype_perturbation": ("prototype",),
    "noise": ("noise",),
    "personas": ("llama", "qwen"),
    "twins": ("llama", "qwen"),
}
_INDEX_NAMES = {
    "fgi_frechet": "frechet",
    "fgi_mmd2": "mmd",
    "fgi_sliced_wasserstein": "sliced_wasserstein",
    "fgi_coverage": "coverage",
}


def paper_range(population: str, metric: str) -> tuple[float, float] | None:
    """Lowest and highest printed number over the paper's four splits (and two language models).

    Only for metrics that do not depend on the encoder's scale: indices, coverage, cosines, and
    those of Table 1 for `personas` (and for `twins`, of other people). None if the paper prints no
    number. The printed numbers are relative to real users as the encoder trained them.
    """
    if population in ("personas", "twins") and metric in PERSONAS:
        values = [float(text) for text in PERSONAS[metric].split()]
        return min(values), max(values)
    rows = [METHODS.index(name) for name in _NAMES.get(population, ())]
    if metric in _INDEX_NAMES:
        tables = INDICES.values()
        column = INDEX_METRICS.index(_INDEX_NAMES[metric])
    elif metric == "coverage":
        tables, column = PANELS.values(), METRICS.index("coverage")
    elif metric == "cosine_mean":
        tables, column = ("\n".join(row.split()) for row in COSINES.values()), 0
    else:
        return None
    lines = [table.strip().splitlines() for table in tables]
    values = [float(split[row].split()[column]) for split in lines for row in rows]
    return (min(values), max(values)) if values else None
