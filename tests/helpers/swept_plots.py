"""How the public functions of figures are called; a figure is laid out, as when it is saved."""

import jax.numpy as jnp
import matplotlib
import numpy as np
from disturbed import Call, array, filled, numbers, of
from swept_evaluation import SCORED, scored

from syndigits_jax import evaluation, plots

# A figure has no shape of people and questions, and no numbers to look for NaN in.
VALUES = ("all missing", "one missing", "constant", "zero", "negative", "huge", "infinite")
NAMES = list("abcd")


def drawn(axes):
    """Lay the figure out, which looks at every limit, tick and text."""
    for ax in axes if isinstance(axes, tuple | list) else [axes]:
        ax.figure.set_layout_engine("none")  # it would lay everything out several times
        ax.figure.draw_without_rendering()


def plot(function, call=None, also=(), only=(*VALUES, "no rows"), **arguments) -> Call:
    def draw(**given):
        with matplotlib.rc_context({"figure.dpi": 20}):
            drawn((call or function)(**given))

    return of(function, call=draw, shapes=(), also=also, only=only, **arguments)


def series(*names):
    """A function from arrays, a row each, to a mapping of these names."""
    return lambda rows: dict(zip(names, rows, strict=False))


def by_name(numbers):
    return {name: number.item() for name, number in zip(NAMES, numbers, strict=False)}


def pairs(numbers):
    return {name: tuple(map(float, pair)) for name, pair in zip(NAMES, numbers, strict=False)}


def number(value):
    return value.item()


LINE, OTHER = numbers("m"), numbers("m", seed=1)
SHARES = array([0.25, 0.5, 0.75, 1.0])
LOW, HIGH = array([0.5, 1.0, 1.5, 0.25]), array([5.0, 6.0, 5.5, 7.0])
ENDS = array([[0.25, 0.5], [0.5, 1.0], [0.0, 0.5], [0.25, 1.0]])
TWO = array([[0.25, 0.5, 0.75, 1.0], [0.5, 0.5, 0.75, 0.75]])
FIVE = array([[1.0, 2, 2.5, 3], [0.5, 1, 2, 2.5], [1.5, 2.5, 3, 3.5]])
EDGES, QUARTERS = np.array([0, 0.25, 0.5, 0.75, 1]), np.full(4, 0.25)


def diagram(forecast, frequency):
    """A reliability diagram of four bins."""
    parts = (EDGES, forecast, frequency, QUARTERS / 2, QUARTERS)
    return evaluation.Reliability(*(jnp.asarray(part, jnp.float32) for part in parts))


TABLE = (
    plot(plots.plot_adaptive_curve, thresholds=SHARES, scores=LINE, baseline=filled(0.5).within(
        number), always=filled(0.75).within(number), se=SHARES, chosen=filled(0.5).within(number)),
    plot(plots.plot_agreement, x=LINE, series=TWO.within(series("a", "b")), xlabel="x", ylabel="y",
         x_ends=array([[0.5] * 4, [6.0] * 4]), y_ends=array([[0.0] * 4, [2.0] * 4]).within(
             lambda ends: {"a": ends}), names=NAMES),
    plot(plots.plot_principal_cosines, cosines=TWO.within(series("a", "b"))),
    plot(plots.plot_projection_distance, distances=TWO.within(series("a", "b"))),
    plot(plots.plot_alignment, cosines=TWO.within(series("a", "b")),
         distances=TWO.within(series("a", "b"))),
    plot(plots.plot_answer_distribution, calibrated=SHARES, true=SHARES, baseline=SHARES,
         interval=array([[0.125, 0.25, 0.5, 0.75], [0.5, 0.75, 1, 1]]).within(tuple)),
    plot(plots.plot_variance_ratios, calibrated=LINE, baseline=OTHER),
    plot(plots.plot_gap, curves=FIVE.within(lambda rows: {"a": tuple(rows[:2])}),
         level=filled(1e-2).within(number)),
    plot(plots.plot_fidelity_gap, gaps=SHARES.within(lambda x: {"a": by_name(x)}),
         intervals=ENDS.within(lambda x: {"a": pairs(x)})),
    plot(plots.plot_collapse, values=SHARES.within(by_name), intervals=ENDS.within(pairs),
         reference="a"),
    plot(plots.plot_local_against_global, local=SHARES.within(by_name),
         coverage=SHARES.within(by_name)),
    plot(plots.plot_projection, populations=numbers(2, "n", "m").within(series("a", "b"))),
    plot(plots.plot_histograms, values=TWO.within(series("a", "b"))),
    plot(plots.plot_dot_intervals, intervals=FIVE.within(lambda x: dict(zip(NAMES, np.transpose(
        x)))), xlabel="x", reference=filled(1).within(number)),
    plot(plots.plot_group_intervals, names=NAMES, series=FIVE.within(lambda x: {"a": list(x)}),
         xlabel="x", overall=filled(1).within(number), counts=LINE),
    plot(plots.plot_methods, means=SHARES.within(by_name), errors=SHARES.within(by_name),
         paper=SHARES.within(by_name)),
    plot(plots.plot_score_differences, calibrated=LINE, baseline=OTHER),
    plot(plots.plot_questions, names=NAMES, estimate=LINE, lower=LOW, upper=HIGH, observed=OTHER,
         xlabel="x", threshold=filled(2).within(number)),
    plot(plots.plot_few_shot, call=lambda scores: plots.plot_few_shot(scored(scores)),
         scores=SCORED, also=("predictions",)),
    plot(plots.plot_reliability, call=lambda forecast, frequency: plots.plot_reliability(
        diagram(forecast, frequency)), only=VALUES, also=("diagrams",), forecast=SHARES,
         frequency=SHARES),
    plot(plots.plot_cumulative_variance, shares=TWO.within(series("a", "b")),
         level=filled(0.5).within(number)),
    plot(plots.plot_error_by_people, people=array([10.0, 20, 50, 100]),
         series=FIVE.within(lambda x: {"a": list(x)}), ylabel="y",
         levels=array([0.5, 2]).within(by_name), worth=filled(30).within(number),
         worth_ends=array([20.0, 40]).within(lambda x: [float(one) for one in x])),
)  # fmt: skip
EXCEPTIONS = {
    "plots.has_umap": "takes nothing",
    "plots.save_figure": "takes a figure: see tests/plots/test_figure_sizes.py",
}
