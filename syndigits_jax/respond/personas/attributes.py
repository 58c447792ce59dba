"""Personas without a text: attributes drawn from given marginals, or none at all."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...datasets.text_tables import parse_toml
from ...results.keys import Key, entropy
from ...schema import Persona
from ...solvers.checks import check_count

_MOST_PEOPLE = 10_000_000

Marginals = Mapping[str, Mapping[str, float | int]]
"""Shares of the values of each attribute; those of one attribute sum to 1."""

DEFAULT_MARGINALS: Marginals = MappingProxyType(
    {
        "age": {
            "18 to 24": 0.12, "25 to 34": 0.17, "35 to 44": 0.17, "45 to 54": 0.16,
            "55 to 64": 0.16, "65 to 74": 0.13, "75 or older": 0.09,
        },
        "gender": {"female": 0.51, "male": 0.49},
        "location": {
            "Northeastern United States": 0.17, "Midwestern United States": 0.21,
            "Southern United States": 0.38, "Western United States": 0.24,
        },
        "occupation": {
            "management, business, science or arts": 0.25, "sales or office work": 0.12,
            "service work": 0.10, "production, transport or moving goods": 0.08,
            "construction, maintenance, farming or fishing": 0.05, "retired": 0.20,
            "unable to work": 0.07, "student": 0.05, "at home with family": 0.05,
            "looking for work": 0.03,
        },
        "income": {
            "under $25,000": 0.16, "$25,000 to $49,999": 0.18, "$50,000 to $74,999": 0.16,
            "$75,000 to $99,999": 0.13, "$100,000 to $149,999": 0.17, "$150,000 or more": 0.20,
        },
        "education": {
            "no high school diploma": 0.10, "high school diploma": 0.26,
            "some college, no degree": 0.20, "associate degree": 0.09,
            "bachelor's degree": 0.21, "graduate or professional degree": 0.14,
        },
    }
)  # fmt: skip
"""Adults in the United States, in rounded shares.

The Persona Fidelity Gap samples its attributes "from realistic marginal distributions" (section 4)
that it does not state. These follow tables of the American Community Survey of about 2022 (age and
sex S0101, regions DP05, occupations of those at work S2401, household income S1901, education of
those over 25 S1501) and, for reasons not to work, the Current Population Survey, rounded to a few
percent: plausible values, not estimates. Pass other marginals where accuracy matters.
"""

WRITING_ATTRIBUTES = ("category_label", "top_items_block", "rating_hist", "n_reviews")
"""Attributes used to write a persona's text from a history; dropped once it is written."""


_PERCENT = 1e3  # shares are at most 1; those written as percentages are told so below


def check_marginals(marginals: Mapping[str, Any]) -> None:
    """**Raises:** `ValueError` naming the attribute and what is wrong with its shares."""
    if not marginals:
        raise ValueError("`marginals`: there are no attributes")
    for name, shares in marginals.items():
        if not isinstance(shares, Mapping) or not shares:
            raise ValueError(f"`marginals`: {name!r} needs a table of values and their shares")
        for value, share in shares.items():
            number = isinstance(share, int | float) and not isinstance(share, bool)
            if not number or not 0 <= share <= _PERCENT:
                raise ValueError(
                    f"`marginals`: the share of {name} {value!r} must be a number from 0 to 1, "
                    f"got {share!r}"
                )
        total = math.fsum(shares.values())
        if abs(total - 1) > 1e-6:
            hint = "; these look like percentages" if abs(total - 100) < 1 else ""
            raise ValueError(f"`marginals`: the shares of {name!r} sum to {total:g}, not 1{hint}")


def read_marginals(path: str | PathLike[str]) -> dict[str, dict[str, float | int]]:
    """Marginals from a TOML file: one table per attribute, one share per value.

        [age]
        "18 to 39" = 0.4
        "40 or older" = 0.6

    **Raises:** `FileNotFoundError`; `ValueError` naming the file and the attribute.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.respond import read_marginals
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "marginals.toml"
        ...     _ = path.write_text('age = {"18 to 39" = 0.4, "40 or older" = 0.6}')
        ...     print(read_marginals(path))
        {'age': {'18 to 39': 0.4, '40 or older': 0.6}}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        marginals = parse_toml(path.read_bytes())
        check_marginals(marginals)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return marginals


def sample_attributes(
    people: int, marginals: Marginals = DEFAULT_MARGINALS, *, key: Key = 0
) -> tuple[dict[str, str], ...]:
    """Attributes of `people` persons, each drawn from its marginal, independently of the others.

    Unlikely combinations occur, such as a retired person of 18 to 24. The same arguments give the
    same persons, and a larger number begins with the same ones. `key`: a JAX random key or an
    integer.

    **Raises:** `ValueError` as [`check_marginals`][] does, or if `people` is no number from 1 to
    ten million.
    """
    check_count("people", people, _MOST_PEOPLE)
    check_marginals(marginals)
    uniform = np.random.default_rng(entropy(key)).random((people, len(marginals)))
    columns = {}
    for column, (name, shares) in enumerate(marginals.items()):
        ends = np.cumsum(np.asarray(list(shares.values()), dtype=np.float64))
        positive = np.flatnonzero(np.asarray(list(shares.values())))
        # If rounding leaves the sum below 1, the last value with a positive share takes the rest.
        drawn = np.minimum(np.searchsorted(ends, uniform[:, column], side="right"), positive[-1])
        values = [str(value) for value in shares]
        columns[name] = [values[k] for k in drawn]
    return tuple({name: columns[name][i] for name in columns} for i in range(people))


def demographic_prompts(
    people: int, marginals: Marginals = DEFAULT_MARGINALS, *, key: Key = 0
) -> tuple[Persona, ...]:
    """Personas without a text, with attributes for the template `persona-demographic`.

    The free-form demographic condition of The Persona Fidelity Gap (section 4, appendix D). `key`:
    as in [`sample_attributes`][].

    **Raises:** `ValueError` as [`sample_attributes`][] does.
    """
    drawn = sample_attributes(people, marginals, key=key)
    return tuple(
        Persona(name, attributes={**attributes, "condition": "demographic"})
        for name, attributes in zip(_names("demographic", people), drawn, strict=True)
    )


def backstory_prompts(people: int) -> tuple[Persona, ...]:
    """Personas without text or attributes, for the template `persona-backstory`.

    The free-form backstory condition of The Persona Fidelity Gap: "no attribute slots and no item
    history" (section 4); the texts differ only by the seeds of their requests.

    **Raises:** `ValueError` if `people` is no number from 1 to ten million.

    **Example:**

        >>> from syndigits_jax.respond import backstory_prompts
        >>> print([persona.identifier for persona in backstory_prompts(2)])
        ['backstory-0001', 'backstory-0002']
    """
    check_count("people", people, _MOST_PEOPLE)
    return tuple(
        Persona(name, attributes={"condition": "backstory"}) for name in _names("backstory", people)
    )


@dataclass(frozen=True)
class WrittenPersonas:
    """Personas with their texts, and the identifiers of those without: `empty` (the text is
    empty), `refused` (the model refused) and `missing` (there is no response)."""

    personas: tuple[Persona, ...]
    empty: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def written_personas(
    personas: tuple[Persona, ...],
    texts: Mapping[str, str | None],
    refused: Collection[str] = (),
) -> WrittenPersonas:
    """Personas with the texts that a model wrote for them.

    Attributes that are only used to write the text ([`WRITING_ATTRIBUTES`][]) are dropped, and so
    are `answers`.

    **Arguments:** `personas`: those that were prompted; `texts`: the texts by identifier, `None`
    where writing failed; `refused`: identifiers of personas whose text is a refusal.

    **Raises:** `ValueError` if `texts` has a persona not in `personas`, or no persona has a text.

    **Example:**

        >>> from syndigits_jax.respond import backstory_prompts, written_personas
        >>> first, second = backstory_prompts(2)
        >>> texts = {first.identifier: "A nurse of 30.", second.identifier: ""}
        >>> written = written_personas((first, second), texts)
        >>> print(written.personas[0].text, written.empty == (second.identifier,))
        A nurse of 30. True
    """
    known = {persona.identifier for persona in personas}
    strange = [name for name in texts if name not in known]
    if strange:
        raise ValueError(f"`texts`: {strange[0]!r} is none of the personas")
    done, empty, declined, missing = [], [], [], []
    for persona in personas:
        text = texts.get(persona.identifier)
        if text is None:
            missing.append(persona.identifier)
        elif not text.strip():
            empty.append(persona.identifier)
        elif persona.identifier in refused:
            declined.append(persona.identifier)
        else:
            kept = {k: v for k, v in persona.attributes.items() if k not in WRITING_ATTRIBUTES}
            done.append(replace(persona, text=text.strip(), attributes=kept, answers={}))
    if not done:
        raise ValueError(
            f"`texts`: none of {len(personas)} personas has a text ({len(empty)} empty, "
            f"{len(declined)} refused, {len(missing)} missing)"
        )
    return WrittenPersonas(tuple(done), tuple(empty), tuple(declined), tuple(missing))


def _names(condition: str, count: int) -> list[str]:
    # Four digits, so that names do not depend on the number of people.
    return [f"{condition}-{i:04d}" for i in range(1, count + 1)]
