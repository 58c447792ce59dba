"""Settings that choose between the method as described and the published code."""

from typing import Literal

import equinox as eqx


class Settings(eqx.Module):
    """How responses are prepared and predictions mapped back.

    `Settings()` is recommended; `Settings.reference()` reproduces the paper's tables.

    **Arguments:**

    - `imputation_rank`: rank of the hard impute that fills donors for the regressions. Lowered
      where the matrix is too small for it.
    - `imputation_scale`: whether donors are imputed `"standardised"`, every question by its
      observed mean and standard deviation, or `"raw"` (published), where questions with large
      numbers dominate what is imputed into all others.
    - `imputation_tol`, `imputation_max_steps`: its stopping rule (relative change, refits).
    - `min_std`: a donor's standard deviation below this counts as this, in the unit of the answers.
      The published code uses 1, which switches scaling off for nearly all film ratings and makes
      results depend on the unit; 0 scales every donor that varies at all.
    - `outlier_limit`: answers of a new user's twin are clipped at this many standard deviations
      from the other twins' mean; `inf` (published) clips nothing, so that one unusual answer to a
      question that other twins answer alike can outweigh all others.
    - `missing_target`: what a twin's missing answer to the target does in a fit: `"drop"` gives
      it no weight, `"zero"` (published) treats it as the mean answer.
    - `alike_twins`: the training error where all twins answer a target alike. A fit to a constant
      has no error and carries no information about the humans: `"unknown"` makes it NaN, which
      passes no threshold; `"fitted"` (published) keeps the fit's error, 0, which passes all.
    - `new_user_statistics`: whose question means and spreads map a new user's prediction back:
      those of the other `"human"` respondents or (published) of their `"twin"`s.
    - `new_user_blocks`: held-out users are imputed in this many groups; a group's members take no
      part in estimating the row space that imputes them or their fellow members. 0 imputes anew
      for every user.
    - `new_user_stack`: how the completion methods join humans and twins for new users: `"over"`
      puts a user's human and twin answers in one column, the transpose of new questions; `"beside"`
      (published) gives humans and twins columns of their own, so that a new user's human column is
      empty and its prediction hardly more than the questions' means.
    - `simplex`: `"certified"` solves synthetic control to a Frank-Wolfe gap; `"unconverged"` is
      the published exponentiated gradient after 3000 steps.
    - `regression_tol`: relative duality gap at which lasso and elastic net stop.
    - `completion_tol`: relative change at which hard and soft impute stop.
    - `als_tol`: the same for alternating least squares. The published sweeps stop on a small
      change of the objective, far from the minimum; their setting here, 5e-4, still comes closer.
    - `few_shot_level`, `few_shot_slope`, `few_shot_donors`: where some human answers to the target
      are known, how far the truth is expected to be from the prediction without them, in level,
      in slope and along the donors: prior variances over that of the noise (see
      [`learn_from_answers`][]). A level of 1/3 is three answers' worth of trust in the twins'.
    """

    imputation_rank: int = eqx.field(static=True, default=5)
    imputation_scale: Literal["standardised", "raw"] = eqx.field(
        static=True, default="standardised"
    )
    imputation_tol: float = eqx.field(static=True, default=1e-4)
    imputation_max_steps: int = eqx.field(static=True, default=1000)
    min_std: float = eqx.field(static=True, default=0.0)
    outlier_limit: float = eqx.field(static=True, default=4.0)
    missing_target: Literal["drop", "zero"] = eqx.field(static=True, default="drop")
    alike_twins: Literal["unknown", "fitted"] = eqx.field(static=True, default="unknown")
    new_user_statistics: Literal["human", "twin"] = eqx.field(static=True, default="human")
    new_user_blocks: int = eqx.field(static=True, default=40)
    new_user_stack: Literal["over", "beside"] = eqx.field(static=True, default="over")
    simplex: Literal["certified", "unconverged"] = eqx.field(static=True, default="certified")
    regression_tol: float = eqx.field(static=True, default=1e-6)
    completion_tol: float = eqx.field(static=True, default=1e-4)
    als_tol: float = eqx.field(static=True, default=1e-4)
    few_shot_level: float = eqx.field(static=True, default=1 / 3)
    few_shot_slope: float = eqx.field(static=True, default=0.1)
    few_shot_donors: float = eqx.field(static=True, default=0.15)

    @staticmethod
    def reference() -> "Settings":
        """The settings of the published code (see the documentation of each field)."""
        return Settings(
            imputation_scale="raw",
            min_std=1.0,
            outlier_limit=float("inf"),
            missing_target="zero",
            alike_twins="fitted",
            new_user_statistics="twin",
            new_user_stack="beside",
            simplex="unconverged",
            als_tol=5e-4,
        )

    def __check_init__(self):
        for name in ("imputation_rank", "imputation_max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "min_std",
            "imputation_tol",
            "regression_tol",
            "completion_tol",
            "als_tol",
            "few_shot_level",
            "few_shot_slope",
            "few_shot_donors",
        ):
            if not getattr(self, name) >= 0:  # so that NaN is refused too
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        choices = {
            "imputation_scale": ("standardised", "raw"),
            "missing_target": ("drop", "zero"),
            "alike_twins": ("unknown", "fitted"),
            "new_user_statistics": ("human", "twin"),
            "new_user_stack": ("over", "beside"),
            "simplex": ("certified", "unconverged"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.new_user_blocks < 0:
            raise ValueError(f"new_user_blocks must not be negative, got {self.new_user_blocks}")


def resolve(settings: Settings | None) -> Settings:
    """The settings, or the default for `None`. **Raises:** `ValueError` for another type."""
    if settings is None:
        return Settings()
    if not isinstance(settings, Settings):
        raise ValueError(f"settings must be Settings() or Settings.reference(), got {settings!r}")
    return settings
