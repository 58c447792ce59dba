"""Simulated panels of humans and twins with known truth: paired latent-factor models."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..panel import Panel
from ..results.keys import Key, entropy
from ..schema import Scale


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth behind a simulated panel; n users, m questions, rank r.

    **Arguments:**

    - `user_factors` U (n, r), `question_factors` V (m, r), `question_means` (m,), and the same of
      the twins.
    - `human`, `twin`: (n, m) noiseless responses: means + U Vᵀ.
    - `human_complete`, `twin_complete`: (n, m) all responses, with noise and rounding, before any
      went missing.
    - `angles`: (r,) principal angles between the row spaces of V and of the twins' V, ascending,
      in radians.
    """

    user_factors: Float[np.ndarray, "n r"]
    question_factors: Float[np.ndarray, "m r"]
    question_means: Float[np.ndarray, " m"]
    twin_user_factors: Float[np.ndarray, "n r"]
    twin_question_factors: Float[np.ndarray, "m r"]
    twin_question_means: Float[np.ndarray, " m"]
    human: Float[np.ndarray, "n m"]
    twin: Float[np.ndarray, "n m"]
    human_complete: Float[np.ndarray, "n m"]
    twin_complete: Float[np.ndarray, "n m"]
    angles: Float[np.ndarray, " r"]


def simulate_panel(
    n: int,
    m: int,
    rank: int,
    *,
    key: Key,
    alignment_angle: float | Float[np.ndarray, " r"] = 0.0,
    fidelity: float = 0.7,
    mixing: float = 0.5,
    common: float = 0.0,
    signal: float = 1.0,
    twin_signal: float | None = None,
    noise: float = 0.0,
    twin_noise: float = 0.0,
    question_mean: float | None = None,
    question_spread: float = 0.0,
    bias: float = 0.0,
    bias_spread: float = 0.0,
    missing: float = 0.0,
    twin_missing: float | str = 0.0,
    scale: Scale | None = None,
    name: str = "simulated",
) -> tuple[Panel, Truth]:
    """A panel from the latent-factor model of the SYN-DIGITS paper (section 4.1), and its truth.

    Humans answer Y = 1μᵀ + U Vᵀ + E, twins Ỹ = 1μ̃ᵀ + Ũ Ṽᵀ + Ẽ. At `alignment_angle` 0 the row
    spaces of V and Ṽ coincide, so row-space inclusion (4.3) holds exactly, and without noise,
    rounding and missing answers a linear fit on the twins transfers exactly to the humans.
    Changing one setting leaves all random draws of the others as they were.

    **Arguments:**

    - `n`, `m`, `rank`: numbers of users, questions and latent factors.
    - `key`: a JAX random key or an integer; the same key gives the same panel on any JAX version.
    - `alignment_angle`: principal angle(s) in radians between the two row spaces, 0 to π/2: one
      for all directions or one each. A positive one needs `m >= 2 * rank`.
    - `fidelity`: correlation of a twin's latent preferences with its person's, 0 to 1.
    - `mixing`: how far the twins rotate preferences among the shared directions; 0 not at all.
    - `common`: how far the leading direction is the same for all questions: 0 not at all; with
      larger values some people answer high, and others low, throughout.
    - `signal`, `twin_signal`: expected root mean square of U Vᵀ and of Ũ Ṽᵀ; by default equal.
    - `noise`, `twin_noise`: standard deviations of E and Ẽ.
    - `question_mean`, `question_spread`: mean and standard deviation of μ; the mean is by default
      the middle of `scale`, or 0.
    - `bias`, `bias_spread`: mean and standard deviation of μ̃ - μ.
    - `missing`, `twin_missing`: shares of answers missing completely at random, below 1; `"same"`:
      a twin's answer is missing where the human's is. Rows and columns keep at least one answer.
    - `scale`: if given, answers are clipped to it and rounded to its grid.
    - `name`: of the panel.

    **Raises:** `ValueError` naming the setting that is out of range.
    """
    angles = _check(n, m, rank, alignment_angle, fidelity, missing, twin_missing)
    for setting, value in {
        "signal": signal,
        "twin_signal": signal if twin_signal is None else twin_signal,
        "noise": noise,
        "twin_noise": twin_noise,
        "common": common,
        "question_spread": question_spread,
        "bias_spread": bias_spread,
    }.items():
        if not 0 <= value < np.inf:
            raise ValueError(f"`{setting}` must not be negative or infinite, got {value}")
    for setting, value in (("bias", bias), ("mixing", mixing), ("question_mean", question_mean)):
        if value is not None and not np.isfinite(value):
            raise ValueError(f"`{setting}` must be finite, got {value}")
    if question_mean is None:
        question_mean = 0.0 if scale is None else (scale.low + scale.high) / 2

    # All draws are made, in this order, whatever the settings.
    rng = np.random.default_rng(entropy(key))
    user_draws = rng.standard_normal((2, n, rank))
    directions = rng.standard_normal((m, min(2 * rank, m)))
    rotation = rng.standard_normal((rank, rank))
    mean_draws = rng.standard_normal((2, m))
    noise_draws = rng.standard_normal((2, n, m))
    holes = rng.random((2, n, m))

    directions[:, 0] += common
    user_factors = user_draws[0]
    twin_user_factors = fidelity * user_draws[0] + np.sqrt(1 - fidelity**2) * user_draws[1]
    basis, twin_basis = _aligned_bases(directions, rank, angles)
    strength = 0.7 ** np.arange(rank)
    strength *= np.sqrt(m / np.sum(strength**2))  # then U Vᵀ has unit mean square
    question_factors = signal * basis * strength[None, :]
    twin_question_factors = (
        (signal if twin_signal is None else twin_signal)
        * (twin_basis @ _cayley(mixing * rotation))
        * strength[None, :]
    )
    question_means = question_mean + question_spread * mean_draws[0]
    twin_question_means = question_means + bias + bias_spread * mean_draws[1]
    human = question_means[None, :] + user_factors @ question_factors.T
    twin = twin_question_means[None, :] + twin_user_factors @ twin_question_factors.T

    human_complete = human + noise * noise_draws[0]
    twin_complete = twin + twin_noise * noise_draws[1]
    if scale is not None:
        human_complete, twin_complete = scale.nearest(human_complete), scale.nearest(twin_complete)
    absent = _holes(holes[0], missing)
    twin_absent = absent if twin_missing == "same" else _holes(holes[1], float(twin_missing))
    panel = Panel.from_arrays(
        np.where(absent, np.nan, human_complete),
        np.where(twin_absent, np.nan, twin_complete),
        name=name,
        scale=scale,
    )
    truth = Truth(
        user_factors=user_factors,
        question_factors=question_factors,
        question_means=question_means,
        twin_user_factors=twin_user_factors,
        twin_question_factors=twin_question_factors,
        twin_question_means=twin_question_means,
        human=human,
        twin=twin,
        human_complete=human_complete,
        twin_complete=twin_complete,
        angles=np.sort(angles),
    )
    return panel, truth


def _check(
    n: int,
    m: int,
    rank: int,
    alignment_angle: float | np.ndarray,
    fidelity: float,
    missing: float,
    twin_missing: float | str,
) -> Float[np.ndarray, " r"]:
    """The angle of each direction, after checking the settings with a bounded range."""
    if not 1 <= rank <= min(n, m):
        raise ValueError(f"`rank` must be from 1 to min(n, m) = {min(n, m)}, got {rank}")
    given = np.asarray(alignment_angle, dtype=np.float64)
    if given.shape not in ((), (rank,)):
        raise ValueError(f"`alignment_angle` must be one angle or {rank}, got shape {given.shape}")
    if not np.all((given >= 0) & (given <= np.pi / 2)):
        raise ValueError(f"`alignment_angle` must be in [0, π/2] radians, got {alignment_angle}")
    if np.any(given > 0) and m < 2 * rank:
        raise ValueError(f"`alignment_angle` > 0 needs m >= 2 * rank, got m={m}, rank={rank}")
    if not 0 <= fidelity <= 1:
        raise ValueError(f"`fidelity` must be in [0, 1], got {fidelity}")
    if not 0 <= missing < 1:
        raise ValueError(f"`missing` must be in [0, 1), got {missing}")
    if isinstance(twin_missing, str):
        if twin_missing != "same":
            raise ValueError(f"`twin_missing` must be a share or 'same', got {twin_missing!r}")
    elif not 0 <= twin_missing < 1:
        raise ValueError(f"`twin_missing` must be in [0, 1), got {twin_missing}")
    return np.broadcast_to(given, (rank,)).copy()


def _aligned_bases(
    directions: Float[np.ndarray, "m k"], rank: int, angles: Float[np.ndarray, " r"]
) -> tuple[Float[np.ndarray, "m r"], Float[np.ndarray, "m r"]]:
    """Two orthonormal bases whose principal angles are `angles`, direction by direction.

    Each direction of the second is that of the first, turned towards a direction of its own in
    the orthogonal complement.
    """
    orthonormal, triangle = np.linalg.qr(directions)
    orthonormal *= np.sign(np.diag(triangle))[None, :]  # independent of LAPACK's signs
    basis = orthonormal[:, :rank]
    if not angles.any():
        return basis, basis
    complement = orthonormal[:, rank : 2 * rank]
    return basis, basis * np.cos(angles)[None, :] + complement * np.sin(angles)[None, :]


def _cayley(square: Float[np.ndarray, "r r"]) -> Float[np.ndarray, "r r"]:
    """A rotation (Cayley transform), further from the identity for a larger `square`."""
    skew = (square - square.T) / 2
    identity = np.eye(len(square))
    return np.linalg.solve(identity + skew, identity - skew)


def _holes(uniform: Float[np.ndarray, "n m"], share: float) -> np.ndarray:
    """Where answers are missing: `uniform < share`, but never a whole row or column."""
    absent = uniform < share
    rows, columns = np.arange(len(absent)), np.arange(absent.shape[1])
    empty = absent.all(axis=1)
    absent[rows[empty], np.argmax(uniform, axis=1)[empty]] = False
    empty = absent.all(axis=0)
    absent[np.argmax(uniform, axis=0)[empty], columns[empty]] = False
    return absent
