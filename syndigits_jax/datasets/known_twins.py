"""Simulated studies whose twins are good or bad in a known way, to judge what is said of them.

A question is drawn from a law of questions, a person from a law of people; given both, people's
and twins' answers have a law of their own. So the truth of any statement about other people or
other questions of this kind can be had to any precision, by drawing more of them.

People and twins have latent answers mean + loadings · factors + noise, rounded to a scale. Twins'
factors are rotated, and correlated with those of their person; apart from their fault twins'
answers have exactly the law of people's: the same means, spreads and correlations.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..results.keys import Key, entropy
from ..schema import Scale

TWIN_KINDS = ("good", "collapsed", "biased", "useless", "group-biased")
"""Twins that know their person and have no fault; vary a third as much; answer half of the
questions too high or too low; know nothing of people nor of questions; are good for one group, and
know little and answer too high for the other."""

SCALE = Scale(1.0, 5.0, 1.0)
GROUPS = ("north", "south")
ARMS = ("control", "treated")
SECOND_GROUP = 0.4
"""Share of people of the group whose twins are group-biased."""
EFFECT = 0.7
"""Size of the effect of the arm on the questions that have one."""
EVERY = 3
"""One question of so many, the first of them, has an effect."""

_RANK, _SIGNAL, _NOISE, _SPREAD = 3, 0.8, 0.7, 0.5
_FIDELITY, _TURN = 0.85, 0.6  # of twins; radians by which their first two factors are turned
_COLLAPSE = 0.35


@dataclass(frozen=True, eq=False)
class SimulatedQuestions:
    """m questions, of twins of one kind.

    - `mean`: (m,); `loadings`: (m, 3); `twin_mean`, `twin_loadings`: of twins.
    - `effect`: (m,) of the
      arm among people, and `twin_effect` among twins, before rounding.
    """

    kind: str
    mean: Float[np.ndarray, " m"]
    loadings: Float[np.ndarray, "m 3"]
    twin_mean: Float[np.ndarray, " m"]
    twin_loadings: Float[np.ndarray, "m 3"]
    effect: Float[np.ndarray, " m"]
    twin_effect: Float[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class SimulatedAnswers:
    """n people and their twins, who answered m questions.

    - `human`, `twin`: (n, m); `second`: (n,) whether of the second of [`GROUPS`][];
      `treated`: (n,) whether in the second of [`ARMS`][].
    """

    human: Float[np.ndarray, "n m"]
    twin: Float[np.ndarray, "n m"]
    second: Bool[np.ndarray, " n"]
    treated: Bool[np.ndarray, " n"]

    @property
    def groups(self) -> tuple[str, ...]:
        """The name of every person's group."""
        return tuple(GROUPS[int(one)] for one in self.second)

    @property
    def arms(self) -> tuple[str, ...]:
        """The name of every person's arm."""
        return tuple(ARMS[int(one)] for one in self.treated)


def simulate_questions(kind: str, m: int, *, key: Key) -> SimulatedQuestions:
    """Questions, and what twins of a kind make of them.

    **Arguments:** `kind`: one of [`TWIN_KINDS`][]; `m`: how many; `key`: a JAX key or an integer.

    **Raises:** `ValueError` for an unknown kind.

    **Example:**

        >>> from syndigits_jax.datasets import simulate_answers, simulate_questions
        >>> questions = simulate_questions("biased", 24, key=0)
        >>> answers = simulate_answers(questions, 120, key=1)
        >>> print(answers.human.shape, (questions.twin_mean == questions.mean).sum())
        (120, 24) 12
    """
    if kind not in TWIN_KINDS:
        raise ValueError(f"`kind` must be one of {TWIN_KINDS}, got {kind!r}")
    rng = np.random.default_rng([*np.atleast_1d(entropy(key)).tolist(), 1])
    (mean, loadings), (other_mean, other_loadings) = (_questions(m, rng) for _ in range(2))
    some = np.arange(m) % EVERY == 0
    effect = np.where(some, EFFECT * rng.choice([-1.0, 1.0], m), 0.0)
    bias = np.where(rng.permutation(m) % 2 == 0, 0.3 + 0.5 * rng.standard_normal(m), 0.0)
    reacts = {"collapsed": _COLLAPSE, "useless": 0.0}.get(kind, 1.0)
    if kind == "useless":
        twin_mean, twin_loadings = other_mean, other_loadings
    else:
        twin_mean, twin_loadings = mean + bias * (kind == "biased"), loadings
    return SimulatedQuestions(
        kind, mean, loadings, twin_mean, twin_loadings, effect, reacts * effect
    )


def _questions(m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Means and loadings of m questions: some people answer high throughout."""
    direction = rng.standard_normal((m, _RANK)) + np.array([1.0, 0.0, 0.0])
    size = _SIGNAL * rng.uniform(0.6, 1.4, (m, 1))
    loadings = size * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    return 3 + _SPREAD * rng.standard_normal(m), loadings


def simulate_answers(
    questions: SimulatedQuestions, n: int, *, key: Key, scale: Scale = SCALE
) -> SimulatedAnswers:
    """Answers of n people and their twins to drawn questions.

    **Arguments:** `questions`; `n`: how many people; `key`; `scale`: to which answers are rounded.

    **Example:**

        >>> from syndigits_jax.datasets import simulate_answers, simulate_questions
        >>> answers = simulate_answers(simulate_questions("collapsed", 12, key=0), 50, key=1)
        >>> print(answers.twin.std() < answers.human.std())
        True
    """
    rng = np.random.default_rng([*np.atleast_1d(entropy(key)).tolist(), 2])
    m, kind = len(questions.mean), questions.kind
    person, other = rng.standard_normal((2, n, _RANK))
    second = rng.random(n) < SECOND_GROUP
    treated = rng.permutation(n) % 2 == 0
    noise = _NOISE * rng.standard_normal((2, n, m))
    fidelity = np.full(n, 0.0 if kind == "useless" else _FIDELITY)
    shift, size = np.zeros((n, 1)), 1.0
    if kind == "group-biased":
        fidelity, shift = np.where(second, 0.2, fidelity), 0.6 * second[:, None]
    elif kind == "collapsed":
        size = _COLLAPSE
    twin = fidelity[:, None] * person + np.sqrt(1 - fidelity**2)[:, None] * other
    # The same rotation of factors and loadings would change nothing: only loadings are turned, so
    # correlations between questions are those of people.
    turn = np.eye(_RANK)
    turn[:2, :2] = [[np.cos(_TURN), -np.sin(_TURN)], [np.sin(_TURN), np.cos(_TURN)]]
    arm = treated[:, None].astype(float)
    latent = questions.mean + person @ questions.loadings.T + noise[0] + arm * questions.effect
    own = twin @ (questions.twin_loadings @ turn).T + noise[1]
    latent_twin = questions.twin_mean + shift + size * own + arm * questions.twin_effect
    return SimulatedAnswers(scale.nearest(latent), scale.nearest(latent_twin), second, treated)
