"""Names of methods, constructions and settings as people type them, with help for typing errors."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

METHODS = (
    "Ridge",
    "Lasso",
    "ElasticNet",
    "NeuralNet",
    "SyntheticControl",
    "SyntheticIntervention",
    "HardImpute",
    "SoftImpute",
    "AlternatingLeastSquares",
    "SyntheticPrior",
)
"""The class names of the calibrators, in the order of the paper's tables."""

Direction = Literal["question", "user"]
"""What is held out: a question of known people, or a person."""

SETTINGS = ("reference", "default")

# The paper's abbreviations, beside class names in any spelling (`elastic-net`, `ElasticNet`).
_SHORT = {
    "en": "ElasticNet",
    "nn": "NeuralNet",
    "sc": "SyntheticControl",
    "si": "SyntheticIntervention",
    "hsv": "HardImpute",
    "ssv": "SoftImpute",
    "als": "AlternatingLeastSquares",
    "sp": "SyntheticPrior",
}


def kebab(name: str) -> str:
    """`ElasticNet` as it is typed on a command line: `elastic-net`.

    **Example:**

        >>> from syndigits_jax.results.names import kebab
        >>> print(kebab("ElasticNet"))
        elastic-net
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def method_name(typed: str, known: Sequence[str] = METHODS) -> str:
    """The class name of a method typed as a class name, in kebab case or as in the paper.

    **Raises:** `ValueError` for an unknown method, with the nearest names.

    **Example:**

        >>> from syndigits_jax.results.names import method_name
        >>> print(method_name("elastic-net"))
        ElasticNet
    """
    plain = re.sub(r"[^a-z]", "", typed.lower())
    spellings = {kebab(name).replace("-", ""): name for name in known}
    spellings |= {short: name for short, name in _SHORT.items() if name in known}
    if plain in spellings:
        return spellings[plain]
    raise _unknown("method", typed, [kebab(name) for name in known])


def method_names(typed: Iterable[str] | None, known: Sequence[str] = METHODS) -> tuple[str, ...]:
    """Class names in the order of `known`, each once; all of them if none is typed."""
    chosen = {method_name(name, known) for name in typed or ()}
    return tuple(name for name in known if name in chosen) if chosen else tuple(known)


def construction_names(
    typed: Iterable[str] | None, available: Sequence[str], known: Sequence[str] = ()
) -> tuple[str, ...]:
    """Those of the constructions `available` that are typed (any case); all if none is typed.

    **Raises:** `ValueError` for one that is not available, with the nearest names, or saying that
    it is `known` but absent.
    """
    by_lower = {name.lower(): name for name in available}
    chosen = set()
    for name in typed or ():
        if name.lower() not in by_lower:
            if name.lower() in map(str.lower, known):
                have = ", ".join(f"'{other}'" for other in available)
                raise ValueError(
                    f"construction '{name}' is known, but not in this folder, which has {have}"
                )
            raise _unknown("construction", name, available)
        chosen.add(by_lower[name.lower()])
    return tuple(name for name in available if name in chosen) if chosen else tuple(available)


def setting_names(typed: str) -> tuple[str, ...]:
    """`reference`, `default`, or for `both` the two. **Raises:** `ValueError` for other names."""
    if typed == "both":
        return SETTINGS
    if typed in SETTINGS:
        return (typed,)
    raise _unknown("setting", typed, [*SETTINGS, "both"])


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """At most `count` of the `known` names that are close to a mistyped one, in any case.

    **Example:**

        >>> from syndigits_jax.results.names import nearest
        >>> print(nearest("rigde", ["ridge", "lasso"]))
        ['ridge']
    """
    lowered = {one.lower(): one for one in known}
    return [lowered[one] for one in difflib.get_close_matches(name.lower(), lowered, n=count)]


def near(name: str, known: Iterable[str]) -> str:
    """The nearest known name, or else all of them, as text for an error message."""
    known = list(known)
    close = nearest(name, known)
    return f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}"


def _unknown(what: str, typed: str, known: Sequence[str]) -> ValueError:
    close = nearest(typed, known, 2)
    if close:
        hint = "did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
    else:
        hint = "known: " + ", ".join(f"'{name}'" for name in known)
    return ValueError(f"unknown {what} '{typed}'; {hint}")
