"""Draws of people's answers to new questions: what an estimate knows, made into an answer model.

Everything is learnt from the known questions as they were predicted without their own fold; no
human answer to a target is used, but that known answers to it are not drawn. The level and the
spread of a target are the estimates; draws do not vary them.
"""

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .answer_model import AnswerModel, rank_correlation
from .answer_shapes import Shape, ShapeData, fit_tilts, option_use, twin_shape
from .components import standardised
from .joint_residuals import (
    FEWEST_PAIRS,
    RANK,
    ResidualKernel,
    Residuals,
    correlations,
    fit_residual_kernel,
    twin_loadings,
)
from .levels import FEWEST_ANSWERS, FEWEST_FOR_LEVELS
from .options import Tilt
from .questions import Problem, Scale, Setting, combined
from .stack import FoldMoments
from .targets import declared_ranges, steps

MOST_IN_COMPONENTS = 400
"""Of more known questions, those with most twins' answers make the components."""

MOST_SHARED = 0.98
"""Of the variance of a rank, what a question may share with others."""


@dataclass(frozen=True)
class Known:
    """Known questions as they were predicted without their fold.

    - `prediction`: (k, n); `sd`: (k,) estimated spread; `fold`: (k,).
    """

    prediction: Float[np.ndarray, "k n"]
    sd: Float[np.ndarray, " k"]
    fold: Int[np.ndarray, " k"]


@dataclass(frozen=True)
class DrawSource:
    """What the draws of an estimate are made of.

    - `problem`, `scale`: the panel without human answers to the targets, and the levels from it.
    - `at`: (t,) positions of the targets; `settings`: of each.
    - `moments`, `weights`: by setting, the hold-out and the weights of the components.
    - `scales`: by setting, the levels without each fold, where they are known already.
    - `answers`: (n, t) known human answers to the targets.
    """

    problem: Problem
    scale: Scale
    at: Int[np.ndarray, " t"]
    settings: Sequence[Setting]
    moments: Mapping[Setting, FoldMoments]
    weights: Mapping[Setting, Float[np.ndarray, " c"]]
    answers: Float[np.ndarray, "n t"]
    scales: Mapping[Setting, Sequence[Scale]]

    def model(
        self, prediction: Float[np.ndarray, "t n"], sd: Float[np.ndarray, " t"]
    ) -> tuple[AnswerModel, dict[str, bool]]:
        """The joint distribution of the answers, and by setting whether correlations were learnt.

        **Arguments:** `prediction`: (t, n) means; `sd`: (t,) spreads.

        **Raises:** `ValueError` where the range of a target is not known, or too few known
        questions say how far twins are from people.
        """
        self._check()
        problem, at, weight = self.problem, self.at, self.problem.weight
        panel, data = problem.panel, self.shapes
        shapes = []
        for i, j in enumerate(at):
            base = self.base(i)
            if base is None:
                low, high = float(data.low[j]), float(data.high[j])
                mean = float(np.average(prediction[i], weights=weight))
                shapes.append(twin_shape(panel.twin[:, j], weight, mean, float(sd[i]), low, high))
            else:
                shapes.append(Shape(data.grid(int(j)), base, False))
        tilts, sizes = fit_tilts(shapes, prediction, sd, weight)
        options, log_base = map(
            np.stack, zip(*(shape.padded(max(sizes)) for shape in shapes), strict=True)
        )
        loading, block_loading, learnt = self._loadings()
        blocks = [self._block(int(j)) for j in at]
        names = list(dict.fromkeys(blocks))
        known_answer = ~np.isnan(self.answers).T
        dtype = jnp.result_type(float)

        def real(values) -> Array:
            return jnp.asarray(np.asarray(values), dtype)

        model = AnswerModel(
            options=real(options),
            log_base=real(log_base),
            tilt=tilts,
            smooth=jnp.asarray([shape.smooth for shape in shapes]),
            low=real(data.low[at]),
            high=real(data.high[at]),
            step=real(data.step[at]),
            loading=loading,
            block_loading=block_loading,
            block=jnp.asarray([names.index(name) for name in blocks], jnp.int32),
            number=jnp.asarray([_number(panel.questions[j]) for j in at], jnp.uint32),
            block_number=jnp.asarray([_number(name) for name in names], jnp.uint32),
            answer=real(np.where(known_answer, self.answers.T, 0)),
            known=jnp.asarray(known_answer),
        )
        return _on_ranks(model, real(weight)), learnt

    @functools.cached_property
    def shapes(self) -> ShapeData:
        """Ranges and steps of all questions."""
        panel = self.problem.panel
        step = steps(panel, np.arange(panel.m))
        return ShapeData(self.scale.low, self.scale.high, step, declared_ranges(panel))

    @functools.cached_property
    def held(self) -> dict[Setting, Known]:
        """The known questions as each of the targets' settings predicts them."""
        return {setting: self._known(setting) for setting in dict.fromkeys(self.settings)}

    @functools.cached_property
    def _bases(self) -> dict[tuple[Setting, int], Float[np.ndarray, " k"]]:
        return {}

    def base(self, target: int) -> Float[np.ndarray, " k"] | None:
        """Base shares of a target's options, learnt from known questions; `None` without a grid.

        **Arguments:** `target`: its place among the targets.
        """
        count, setting = self.shapes.count(int(self.at[target])), self.settings[target]
        if not count:
            return None
        if (setting, count) not in self._bases:
            problem, one = self.problem, self.held[setting]
            human = problem.panel.human[:, problem.known]
            use = option_use(
                self.shapes, count, problem.known, human, one.prediction, one.sd, problem.weight
            )
            self._bases[setting, count] = use.base()
        return self._bases[setting, count]

    def _known(self, setting: Setting) -> Known:
        problem, moments = self.problem, self.moments[setting]
        fold = moments.fold
        scales = self.scales.get(setting) or [
            problem.levels(problem.known[fold != f]) for f in range(int(fold.max()) + 1)
        ]
        weights = [self.weights[setting]] * len(scales)
        sd = np.stack([np.asarray(scale.levels.sd) for scale in scales])[fold, problem.known]
        return Known(combined(problem, moments, scales, weights), sd, fold)

    def _check(self) -> None:
        problem, at = self.problem, self.at
        names = problem.panel.questions
        for j in at:
            if not self.scale.high[j] > self.scale.low[j]:
                raise ValueError(
                    f"`targets`: the range of {names[j]!r} is not known, as its twins all answer "
                    "alike; give its scale to draw answers to it"
                )
        few = np.sum(problem.panel.human_mask[:, problem.known], axis=0) >= FEWEST_ANSWERS
        if few.sum() < FEWEST_FOR_LEVELS:
            raise ValueError(
                f"`human`: {few.sum()} other questions have at least {FEWEST_ANSWERS} human "
                f"answers; draws need {FEWEST_FOR_LEVELS} to learn how answers spread"
            )

    def _block(self, j: int) -> str:
        """The block of a question; without blocks, questions share none."""
        blocks, names = self.problem.blocks, self.problem.panel.questions
        return f"block {blocks[j]}" if blocks is not None else f"question {names[j]}"

    def _loadings(
        self,
    ) -> tuple[Float[Array, "t s"], Float[Array, "t s"], dict[str, bool]]:
        """Factors of the residuals' correlations of the targets, each from its setting."""
        problem, at, known = self.problem, self.at, self.problem.known
        twin, weight = problem.responses.twin, problem.responses.weight
        z = standardised(twin, weight)
        total = jnp.sum(jnp.where(twin.mask, weight[:, None], 0), axis=0)
        x = jnp.sqrt(weight)[:, None] * z / jnp.sqrt(jnp.where(total > 0, total, 1))[None, :]
        count = np.asarray(jnp.sum(twin.mask, axis=0))[known]
        most = np.sort(np.argsort(-count, kind="stable")[:MOST_IN_COMPONENTS])
        basis = x[:, known[most]]
        gram = basis.T @ basis
        everyone = jnp.ones((len(most),), bool)
        of_targets = twin_loadings(gram, x[:, at].T @ basis, everyone)
        of_known = x[:, known].T @ basis
        block = np.unique([self._block(int(j)) for j in known], return_inverse=True)[1]
        loading = np.zeros((len(at), RANK + 1))
        block_loading = loading.copy()
        learnt: dict[str, bool] = {}
        for setting, one in self.held.items():
            kernel = self._kernel(one, gram, of_known, most, block)
            mine = np.flatnonzero([s == setting for s in self.settings])
            found = kernel.loadings(of_targets[mine])
            loading[mine], block_loading[mine] = map(np.asarray, found)
            learnt[setting] = int(kernel.pairs) >= FEWEST_PAIRS
        dtype = jnp.result_type(float)
        return jnp.asarray(loading, dtype), jnp.asarray(block_loading, dtype), learnt

    def _kernel(self, one: Known, gram, cross, most, block) -> ResidualKernel:
        """The kernel of a setting's folds, each on components made without its fold."""
        human, fold = self.problem.panel.human[:, self.problem.known], one.fold
        dtype = gram.dtype
        mask = ~np.isnan(human)
        values = np.where(mask, human - one.prediction.T, 0) / self.scale.width[self.problem.known]
        correlation, count = correlations(
            Residuals(jnp.asarray(values, dtype), jnp.asarray(mask)),
            self.problem.responses.weight,
        )
        loading = np.zeros((len(fold), RANK))
        for f in range(int(fold.max()) + 1):
            used = jnp.asarray(fold[most] != f)
            found = np.asarray(twin_loadings(gram, cross, used))
            loading[fold == f] = found[fold == f]
        numbers = jnp.asarray(fold), jnp.asarray(block)
        return fit_residual_kernel(jnp.asarray(loading, dtype), *numbers, correlation, count)


def _number(name: str) -> int:
    """A number of a name that is the same on every machine."""
    return zlib.crc32(name.encode())


@jax.jit
def _on_ranks(model: AnswerModel, weight: Float[Array, " n"]) -> AnswerModel:
    """Loadings of residuals made into loadings of ranks, whose correlations are larger."""

    def one(item: tuple[Tilt, Array, Array]) -> Array:
        tilt, options, log_base = item
        return rank_correlation(tilt.probabilities(options, log_base), options, weight)

    # Without this, questions with nearly certain answers would be correlated without bounds.
    part = jnp.maximum(jax.lax.map(one, (model.tilt, model.options, model.log_base)), 0.2)
    a, b = model.loading / part[:, None], model.block_loading / part[:, None]
    shared = jnp.sum(a**2, axis=1) + jnp.sum(b**2, axis=1)
    shrink = jnp.sqrt(jnp.minimum(1, MOST_SHARED / jnp.maximum(shared, MOST_SHARED)))[:, None]

    def fields(m: AnswerModel):
        return m.loading, m.block_loading

    return eqx.tree_at(fields, model, (a * shrink, b * shrink))
