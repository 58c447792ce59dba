"""Leave one question, or one user, out: any set of methods on one panel, with shared work."""

import os
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int

from ..calibration.calibrators import Calibrator, FitAndTransfer, MatrixCompletion
from ..calibration.inputs import person_weight
from ..calibration.settings import Settings, resolve
from ..panel import Panel, PanelArrays
from ..solvers.boundary import Numbers
from ..solvers.checks import check_count, check_squares
from ..solvers.devices import as_mesh, devices_in, everywhere
from . import folds
from .controls import controls
from .holdout_result import HoldOut
from .holdout_run import OnFold, Run

Methods = Calibrator | Mapping[str, Calibrator] | Sequence[Calibrator]


def leave_one_question_out(
    methods: Methods,
    panel: Panel,
    *,
    settings: Settings | None = None,
    targets: Iterable[int] | Int[np.ndarray, " t"] | None = None,
    sample_weight: Numbers | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    on_progress: OnFold | None = None,
    mesh: Mesh | None = None,
) -> HoldOut:
    """Predict every question's human answers from the other questions (section 3.3).

    The held-out human column is never read: changing it changes no prediction, bit for bit.

    **Arguments:**

    - `methods`: calibrators by name, or a sequence of them (named by class).
    - `panel`: humans and their twins.
    - `settings`: [`Settings`][]; `Settings.reference()` reproduces the paper.
    - `targets`: positions of the questions to hold out; all by default.
    - `sample_weight`: (n,) weights of the users.
    - `batch_size`: folds in memory at a time, per worker; by default 4 on a CPU, else 64.
    - `workers`: batches computed at once; by default the number of cores on a CPU, else 1.
    - `on_progress`: called with (folds done, folds in all), from one thread at a time.
    - `mesh`: devices over whose first axis the folds are spread, `batch_size` at a time on each,
      in one thread.

    **Returns:** a [`HoldOut`][] with a row per question.

    **Raises:** `ValueError` for unusable methods, targets or weights (such as all zero), for
    several workers with a mesh, for answers whose squares overflow, and for a rank beyond the
    matrix. Constant twin columns and columns without human answers are accepted: the former predict
    a constant (training error NaN, correlation 0), the latter score NaN.

    **Example:**

        >>> from syndigits_jax import Ridge, leave_one_question_out
        >>> from syndigits_jax.datasets import sample_panel
        >>> panel = sample_panel().take(questions=slice(0, 8))
        >>> held_out = leave_one_question_out({"Ridge": Ridge(10.0)}, panel)
        >>> print(held_out.predictions["Ridge"].shape, sorted(held_out.predictions))
        (8, 200) ['Baseline', 'Ridge', 'UserMean', 'ZScoredUserMean']
    """
    mesh = as_mesh(mesh)
    named, positions = named_methods(methods), target_positions(targets, panel.m, "question")
    settings = resolve(settings)
    arrays, weight = _arrays(panel), _weight(sample_weight, panel)
    vectorised = jax.default_backend() != "cpu"
    size = batch_of(default_batch_size(batch_size, vectorised), len(positions), mesh)
    count = threads(workers, mesh)
    arrays, weight = everywhere(mesh, (arrays, weight))
    regressions, stacks = methods_by_kind(named)
    preparing, fitting = settings.only(*folds.QUESTIONS), settings.only(*folds.FITTING)
    incomplete = folds.incomplete_columns(panel)
    run = Run(named, len(positions), panel.n, on_progress, mesh)

    def batch(slots: Int[np.ndarray, " b"]) -> None:
        index = everywhere(mesh, jnp.asarray(padded_targets(positions[slots], size)))
        preparation = arrays, index, weight, preparing, vectorised, mesh, incomplete

        def store(name: str, outcome) -> None:
            run.store(name, slots, jax.tree.map(lambda leaf: leaf[..., 0], outcome))

        if regressions:
            problems, codes = run.prepare(folds.question_regressions, *preparation)
            args = problems, codes, fitting, vectorised, mesh
            run.fit(regressions, folds.fit_batch, args, store)
        if stacks:
            problems = run.prepare(folds.question_stacks, *preparation)
            codes = everywhere(mesh, jnp.zeros((size,), jnp.int32))
            run.fit(stacks, folds.fit_batch, (problems, codes, fitting, vectorised, mesh), store)
        run.advance(len(slots))

    slots = np.arange(len(positions))
    run.execute(batch, [slots[i : i + size] for i in range(0, len(slots), size)], count)
    truth = panel.human[:, positions].T
    return run.result("question", panel, positions, truth, controls(panel, positions, "question"))


def leave_one_user_out(
    methods: Methods,
    panel: Panel,
    *,
    settings: Settings | None = None,
    targets: Iterable[int] | Int[np.ndarray, " t"] | None = None,
    sample_weight: Numbers | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    on_progress: OnFold | None = None,
    mesh: Mesh | None = None,
) -> HoldOut:
    """Predict every user's answers from the other users (section 6).

    Users are held out in `settings.new_users.blocks` groups: a group's imputations and completions
    never use its members' human answers.

    **Arguments:** `methods`, `panel`, `settings`, `batch_size`, `workers`, `on_progress`: as in
    [`leave_one_question_out`][], and `mesh`, except that every device runs the whole of a matrix
    completion, which has no folds; `targets`: positions of users, all by default; `sample_weight`:
    (n,) weights of the users where a mean is taken over people.

    **Returns:** a [`HoldOut`][] with a row per user. **Raises:** as [`leave_one_question_out`][].

    **Example:**

        >>> from syndigits_jax import Ridge, leave_one_user_out
        >>> from syndigits_jax.datasets import sample_panel
        >>> panel = sample_panel().take(users=slice(0, 20), questions=slice(0, 8))
        >>> held_out = leave_one_user_out([Ridge(10.0)], panel, targets=[0, 5])
        >>> print(held_out.predictions["Ridge"].shape, held_out.scores("mae", "Ridge").shape)
        (2, 8) (2,)
    """
    mesh = as_mesh(mesh)
    named, positions = named_methods(methods), target_positions(targets, panel.n, "user")
    settings = resolve(settings)
    arrays, weight = _arrays(panel), _weight(sample_weight, panel)
    vectorised = jax.default_backend() != "cpu"
    blocks = min(int(settings.new_users.blocks) or panel.n, panel.n)
    block_size = -(-panel.n // blocks)
    size = batch_of(default_batch_size(batch_size, vectorised), block_size, mesh)
    count = threads(workers, mesh)
    arrays, weight = everywhere(mesh, (arrays, weight))
    regressions, stacks = methods_by_kind(named)
    preparing, fitting = settings.only(*folds.USERS), settings.only(*folds.FITTING)
    run = Run(named, len(positions), panel.m, on_progress, mesh)

    def complete(members: Int[np.ndarray, " b"], slots: Int[np.ndarray, " t"]) -> None:
        padded = everywhere(mesh, jnp.asarray(padded_targets(members, block_size)))
        real = everywhere(mesh, jnp.asarray(np.arange(block_size) < len(members)))
        stack = run.prepare(folds.user_stack, arrays, padded, real, weight, preparing)
        wanted = np.searchsorted(members, positions[slots])

        def store(name: str, outcome) -> None:
            run.store(name, slots, jax.tree.map(lambda leaf: leaf[wanted], outcome))

        run.fit(stacks, folds.fit_stack, (stack, fitting), store)

    def regress(members: Int[np.ndarray, " b"], slots: Int[np.ndarray, " t"]) -> None:
        held_out = everywhere(mesh, jnp.asarray(np.isin(np.arange(panel.n), members)))
        completed, code = run.prepare(folds.impute_without, arrays, held_out, weight, preparing)
        codes = jnp.broadcast_to(code, (size,))
        for part in (slots[i : i + size] for i in range(0, len(slots), size)):
            index = everywhere(mesh, jnp.asarray(padded_targets(positions[part], size)))
            problems = run.prepare(
                folds.user_regressions,
                arrays,
                completed,
                index,
                weight,
                preparing,
                vectorised,
                mesh,
            )

            def store(name: str, outcome, part=part) -> None:
                run.store(name, part, jax.tree.map(lambda leaf: leaf[..., 0], outcome))

            args = problems, codes, fitting, vectorised, mesh
            run.fit(regressions, folds.fit_batch, args, store)
            run.advance(len(part))

    def block(slots: Int[np.ndarray, " t"]) -> None:
        # Blocks are fixed by position in the panel, for any subset of targets.
        members = np.arange(int(positions[slots[0]]) % blocks, panel.n, blocks)
        if stacks:
            complete(members, slots)
        if regressions:
            regress(members, slots)
        else:
            run.advance(len(slots))

    groups = positions % blocks
    run.execute(block, [np.flatnonzero(groups == g) for g in np.unique(groups)], count)
    truth = panel.human[positions]
    return run.result("user", panel, positions, truth, controls(panel, positions, "user"))


def methods_by_kind(
    methods: Mapping[str, Calibrator],
) -> tuple[dict[str, Calibrator], dict[str, Calibrator]]:
    """The regressions and the matrix completions among the methods."""
    regressions: dict[str, Calibrator] = {
        k: v for k, v in methods.items() if isinstance(v, FitAndTransfer)
    }
    stacks: dict[str, Calibrator] = {
        k: v for k, v in methods.items() if isinstance(v, MatrixCompletion)
    }
    return regressions, stacks


def named_methods(methods: Methods) -> dict[str, Calibrator]:
    """Checked methods by name. **Raises:** `ValueError` for an unusable name or method."""
    if isinstance(methods, Calibrator):
        methods = [methods]
    if isinstance(methods, Mapping):
        named = dict(methods)
    else:
        named = {type(method).__name__: method for method in methods}
        if len(named) < len(methods):
            raise ValueError(
                "methods holds several of one class; give a mapping from names to calibrators"
            )
    if not named:
        raise ValueError("methods is empty; pass for example preset('movielens')")
    for name, method in named.items():
        if not isinstance(method, FitAndTransfer | MatrixCompletion):
            raise ValueError(f"methods[{name!r}] is not a calibrator but {method!r}")
        if name in ("Baseline", "UserMean", "ZScoredUserMean", "ItemMean"):
            raise ValueError(f"methods: {name!r} is the name of a control; choose another")
    return named


def target_positions(
    targets: Iterable[int] | Int[np.ndarray, " t"] | None, count: int, kind: str
) -> Int[np.ndarray, " t"]:
    """Checked positions among `count` targets, by default all. **Raises:** `ValueError`."""
    if targets is None:
        return np.arange(count)
    positions = np.asarray(list(targets))
    if positions.size == 0 or not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(f"targets must be positions of {kind}s (integers), got {positions}")
    if positions.min() < 0 or positions.max() >= count:
        raise ValueError(f"targets must lie in 0..{count - 1}, the panel's {kind}s")
    if len(np.unique(positions)) < len(positions):
        raise ValueError("targets repeats a position")
    return positions


def _arrays(panel: Panel) -> PanelArrays:
    for name in ("human", "twin"):
        check_squares(getattr(panel, name), name, jnp.result_type(float))
    return panel.arrays()


def _weight(sample_weight: Numbers, panel: Panel) -> Array | None:
    return person_weight(sample_weight, panel.n, panel.arrays().human.dtype)


def default_batch_size(batch_size: int | None, vectorised: bool) -> int:
    """The batch size, or the default for `None`. **Raises:** `ValueError` if below 1."""
    if batch_size is None:
        return 64 if vectorised else 4
    check_count("batch_size", batch_size)
    return batch_size


def batch_of(batch_size: int, count: int, mesh: Mesh | None = None) -> int:
    """Items of `count` in a batch: up to `batch_size` on each device, as many on every one."""
    devices = devices_in(mesh)
    return devices * min(batch_size, -(-count // devices))


def threads(workers: int | None, mesh: Mesh | None = None) -> int:
    """The number of threads, or the default for `None`: 1 with a mesh, whose devices all take part
    in every program. **Raises:** `ValueError` if below 1, and for several with a mesh."""
    if mesh is not None:
        if workers not in (None, 1):
            raise ValueError(f"`workers` must be 1 with a `mesh`, got {workers}")
        return 1
    if workers is None:
        return (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    check_count("workers", workers)
    return workers


def padded_targets(index: Int[np.ndarray, " k"], size: int) -> Int[np.ndarray, " size"]:
    """`index`, its last entry repeated up to `size`: every batch has one shape."""
    return np.concatenate([index, np.repeat(index[-1:], size - len(index))])
