"""Settings that choose between the method as described and the published code."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

if TYPE_CHECKING:
    Number = float | Float[Array, "..."]
    Count = int | Int[Array, "..."]
else:  # NumPy's numbers are converted, but only after the types are checked
    Number = float | np.floating | Float[Array, "..."]
    Count = int | np.integer | Int[Array, "..."]


def _number(value: Any) -> Any:
    """A Python number where the value is known, so that all calls share one program."""
    known = not isinstance(value, Tracer) and np.ndim(value) == 0
    return float(value) if known else value


def _count(value: Any) -> Any:
    known = not isinstance(value, Tracer) and np.ndim(value) == 0
    if known and int(value) != value:
        raise ValueError(f"settings: a count must be a whole number, got {value}")
    return int(value) if known else value


def _number_field(default: float) -> Any:
    return eqx.field(converter=_number, default=default)


def _count_field(default: int) -> Any:
    return eqx.field(converter=_count, default=default)


def _choice_field(default: Any) -> Any:
    return eqx.field(static=True, default=default)


def _check(group: eqx.Module, name: str, least: int) -> None:
    """Refuse a known number below `least`, and NaN."""
    value = getattr(group, name)
    if isinstance(value, Tracer) or np.all(np.asarray(value) >= least):
        return
    must = "not be negative" if least == 0 else f"be at least {least}"
    raise ValueError(f"`{name}` must {must}, got {value}")


def _check_choice(group: eqx.Module, name: str, *allowed: str) -> None:
    value = getattr(group, name)
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}")


class Imputation(eqx.Module):
    """How missing answers of the donors are filled in for the regressions.

    **Arguments:**

    - `method`: `"soft"` imputes with a nuclear-norm penalty, a convex problem that takes tens of
      refits. `"hard"` (published) fits a matrix of fixed rank; where answers are missing in blocks
      it may not be done after thousands.
    - `rank`: the most that the fit may have; `None` is 20 for soft impute, where the penalty
      decides, and 5 for hard impute. Lowered where the matrix is too small for it
      (see `rank_for`). Shapes the program.
    - `penalty`: of soft impute, in units of √(sum of the users' weights), √n without weights. ½
      is about the largest singular value of noise that is half the variance of standardised
      answers, half of which are missing. Not read by hard impute.
    - `scale`: whether donors are imputed `"standardised"`, every question by its observed mean and
      standard deviation, or `"raw"` (published), where questions with large numbers dominate what
      is imputed into all others. Soft impute needs `"standardised"`: its penalty is in standard
      deviations.
    - `tol`, `max_steps`: the stopping rule (relative change, refits).

    **Raises:** `ValueError` for an unknown choice, a rank or `max_steps` below 1, a negative
    penalty or tolerance, and soft impute of raw answers.
    """

    method: Literal["soft", "hard"] = _choice_field("soft")
    rank: int | None = _choice_field(None)
    scale: Literal["standardised", "raw"] = _choice_field("standardised")
    penalty: Number = _number_field(0.5)
    tol: Number = _number_field(1e-4)
    max_steps: Count = _count_field(1000)

    def __check_init__(self):
        _check_choice(self, "method", "soft", "hard")
        _check_choice(self, "scale", "standardised", "raw")
        if self.rank is not None:
            _check(self, "rank", 1)
        _check(self, "max_steps", 1)
        _check(self, "penalty", 0)
        _check(self, "tol", 0)
        if self.method == "soft" and self.scale == "raw":
            raise ValueError(
                '`scale` must be "standardised" for soft impute, whose penalty is in standard '
                'deviations of the answers; for raw answers choose method="hard"'
            )

    def rank_for(self, shape: tuple[int, ...]) -> int:
        """The rank for a matrix of this shape: at most one less than its smaller side.

        A full rank would leave nothing to fit.
        """
        rank = {"soft": 20, "hard": 5}[self.method] if self.rank is None else self.rank
        return max(1, min(rank, min(shape) - 1))


class Preparation(eqx.Module):
    """How the problem of a target is made of the donors' answers.

    **Arguments:**

    - `min_std`: a donor's standard deviation below this counts as this, in the unit of the answers.
      The published code uses 1, which switches scaling off for nearly all film ratings and makes
      results depend on the unit; 0 scales every donor that varies at all.
    - `missing_target`: what a twin's missing answer to the target does in a fit: `"drop"` gives
      it no weight, `"zero"` (published) treats it as the mean answer.
    """

    min_std: Number = _number_field(0.0)
    missing_target: Literal["drop", "zero"] = _choice_field("drop")

    def __check_init__(self):
        _check(self, "min_std", 0)
        _check_choice(self, "missing_target", "drop", "zero")


class NewUsers(eqx.Module):
    """What is chosen for new users only.

    **Arguments:**

    - `statistics`: whose question means and spreads map a new user's prediction back: those of the
      other `"human"` respondents or (published) of their `"twin"`s.
    - `outlier_limit`: answers of a new user's twin are clipped at this many standard deviations
      from the other twins' mean; `inf` (published) clips nothing, so that one unusual answer to a
      question that other twins answer alike can outweigh all others.
    - `stack`: how the completion methods join humans and twins: `"over"` puts a user's human and
      twin answers in one column, the transpose of new questions; `"beside"` (published) gives
      humans and twins columns of their own, so that a new user's human column is empty and its
      prediction hardly more than the questions' means.
    - `blocks`: held-out users are imputed in this many groups; a group's members take no part in
      estimating the row space that imputes them or their fellow members. 0 imputes anew for every
      user.
    """

    statistics: Literal["human", "twin"] = _choice_field("human")
    outlier_limit: Number = _number_field(4.0)
    stack: Literal["over", "beside"] = _choice_field("over")
    blocks: Count = _count_field(40)  # read on the host, by hold-outs only

    def __check_init__(self):
        _check(self, "outlier_limit", 0)
        _check(self, "blocks", 0)
        _check_choice(self, "statistics", "human", "twin")
        _check_choice(self, "stack", "over", "beside")


class Fitting(eqx.Module):
    """How closely the calibrators are fitted, and what a fit to a constant says.

    **Arguments:**

    - `simplex`: `"certified"` solves synthetic control to a Frank-Wolfe gap; `"unconverged"` is
      the published exponentiated gradient after 3000 steps.
    - `alike_twins`: the training error where all twins answer a target alike. A fit to a constant
      has no error and carries no information about the humans: `"unknown"` makes it NaN, which
      passes no threshold; `"fitted"` (published) keeps the fit's error, 0, which passes all.
    - `completion`: `"accelerated"` extrapolates the steps of soft impute and alternating least
      squares, which then come closer to the optimum in fewer steps; `"plain"` (published) does not.
    - `regression_tol`: relative duality gap at which lasso and elastic net stop.
    - `completion_tol`: relative change at which hard and soft impute stop.
    - `als_tol`: the same for alternating least squares. The published sweeps stop on a small
      change of the objective, far from the minimum; their setting here, 5e-4, still comes closer.
    """

    simplex: Literal["certified", "unconverged"] = _choice_field("certified")
    alike_twins: Literal["unknown", "fitted"] = _choice_field("unknown")
    completion: Literal["accelerated", "plain"] = _choice_field("accelerated")
    regression_tol: Number = _number_field(1e-6)
    completion_tol: Number = _number_field(1e-4)
    als_tol: Number = _number_field(1e-4)

    def __check_init__(self):
        for name in ("regression_tol", "completion_tol", "als_tol"):
            _check(self, name, 0)
        _check_choice(self, "simplex", "certified", "unconverged")
        _check_choice(self, "alike_twins", "unknown", "fitted")
        _check_choice(self, "completion", "accelerated", "plain")


class FewShot(eqx.Module):
    """How far the truth is expected to be from the prediction, where some answers are known.

    **Arguments:** `level`, `slope`, `donors`: in level, in slope and along the donors: prior
    variances over that of the noise (see [`learn_from_answers`][]). A level of 1/3 is three
    answers' worth of trust in the twins'.
    """

    level: Number = _number_field(1 / 3)
    slope: Number = _number_field(0.1)
    donors: Number = _number_field(0.15)

    def __check_init__(self):
        for name in ("level", "slope", "donors"):
            _check(self, name, 0)


class Settings(eqx.Module):
    """How responses are prepared, calibrators fitted and predictions mapped back.

    `Settings()` is recommended; `Settings.reference()` reproduces the paper's tables. Of each
    group, numbers are data: changing them compiles nothing. Choices and ranks shape the program.

    **Arguments:** `imputation`: [`Imputation`][]; `preparation`: [`Preparation`][]; `new_users`:
    [`NewUsers`][]; `fitting`: [`Fitting`][]; `few_shot`: [`FewShot`][].
    """

    imputation: Imputation = Imputation()
    preparation: Preparation = Preparation()
    new_users: NewUsers = NewUsers()
    fitting: Fitting = Fitting()
    few_shot: FewShot = FewShot()

    @staticmethod
    def reference() -> "Settings":
        """The settings of the published code (see the documentation of each field)."""
        return Settings(
            imputation=Imputation(method="hard", rank=5, scale="raw"),
            preparation=Preparation(min_std=1.0, missing_target="zero"),
            new_users=NewUsers(statistics="twin", outlier_limit=float("inf"), stack="beside"),
            fitting=Fitting(
                simplex="unconverged", alike_twins="fitted", completion="plain", als_tol=5e-4
            ),
        )

    def only(self, *groups: str) -> "Settings":
        """These groups, and the defaults of the others.

        A compiled function is given the groups that it reads, so that no choice in another one
        compiles it again.
        """
        return Settings(**{name: getattr(self, name) for name in groups})

    def change(self, **groups: dict[str, Any]) -> "Settings":
        """The settings with other values of some fields, by group.

        For example `settings.change(imputation={"rank": 2}, fitting={"als_tol": 1e-6})`.
        """
        return dataclasses.replace(
            self,
            **{
                name: dataclasses.replace(getattr(self, name), **fields)
                for name, fields in groups.items()
            },
        )


def resolve(settings: Settings | None) -> Settings:
    """The settings, or the default for `None`. **Raises:** `ValueError` for another type."""
    if settings is None:
        return Settings()
    if not isinstance(settings, Settings):
        raise ValueError(f"settings must be Settings() or Settings.reference(), got {settings!r}")
    return settings
