"""Runs batches of folds on several threads and collects what they compute."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from ..calibration.calibrate import Calibrated
from ..calibration.calibrators import Calibrator
from ..panel import Panel
from ..solvers.blas import one_blas_thread
from ..solvers.devices import to_host
from .holdout_result import HoldOut

OnFold = Callable[[int, int], None]
"""Called with (folds done, folds in all)."""


class _Stopped(Exception):
    """Another batch has failed or been interrupted."""


class Run:
    """One evaluation: its arrays of results, its timing and its progress.

    XLA runs one small fold on one core. A CPU is therefore used fully by running batches on several
    threads, an accelerator by larger batches on one. The first batch runs alone, with its methods
    in parallel, so that every program is compiled once and the compilations overlap.
    """

    def __init__(
        self,
        methods: Mapping[str, Calibrator],
        targets: int,
        samples: int,
        on_progress: OnFold | None,
        mesh: Mesh | None = None,
    ) -> None:
        self._mesh = mesh
        self._total = targets
        self._on_progress = on_progress
        self._prediction = {name: np.full((targets, samples), np.nan) for name in methods}
        self._training_mse = {name: np.full(targets, np.nan) for name in methods}
        self._status = {name: np.zeros(targets, np.int32) for name in methods}
        self._steps = {name: np.zeros(targets, np.int32) for name in methods}
        self._optimality = {name: np.full(targets, np.nan) for name in methods}
        self._imputation_status = {name: np.zeros(targets, np.int32) for name in methods}
        self._twins_alike = np.zeros(targets, bool)
        self._seconds = dict.fromkeys(methods, 0.0)
        self._preparation = 0.0
        self._done = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._methods_side_by_side: ThreadPoolExecutor | None = None

    def prepare(self, function: Callable, *args: Any) -> Any:
        """`function(*args)`, whose time counts as preparation that all methods share."""
        if self._stop.is_set():
            raise _Stopped
        start = time.perf_counter()
        result = jax.block_until_ready(function(*args))
        with self._lock:
            self._preparation += time.perf_counter() - start
        return result

    def fit(
        self, methods: Mapping[str, Calibrator], function: Callable, args: tuple, store: Callable
    ) -> None:
        """`store(name, function(method, *args))` for every method, each timed separately.

        **Arguments:**

        - `methods`: calibrators by name.
        - `function`: fits one method.
        - `args`: further arguments of `function`.
        - `store`: called with a name and what `function` returned.
        """

        def one(item: tuple[str, Calibrator]) -> None:
            if self._stop.is_set():
                return
            name, method = item
            start = time.perf_counter()
            outcome = to_host(self._mesh, function(method, *args))
            store(name, outcome)
            with self._lock:
                self._seconds[name] += time.perf_counter() - start

        pool = self._methods_side_by_side
        list(map(one, methods.items()) if pool is None else pool.map(one, methods.items()))

    def store(self, name: str, slots: Int[np.ndarray, " b"], outcome: Calibrated) -> None:
        """Store one batch of one method, a row per target; rows beyond `slots` are padding."""
        for field, into in (
            ("prediction", self._prediction),
            ("training_mse", self._training_mse),
            ("status", self._status),
            ("steps", self._steps),
            ("optimality", self._optimality),
            ("imputation_status", self._imputation_status),
        ):
            into[name][slots] = getattr(outcome, field)[: len(slots)]
        with self._lock:  # of all methods
            self._twins_alike[slots] |= np.asarray(outcome.twins_alike)[: len(slots)]

    def advance(self, count: int) -> None:
        """Report `count` more folds done."""
        with self._lock:
            self._done += count
            if self._on_progress is not None and not self._stop.is_set():
                self._on_progress(self._done, self._total)

    def execute(self, batch: Callable, chunks: Sequence[np.ndarray], workers: int) -> None:
        """Run `batch` on every chunk; an error or an interrupt stops the rest."""

        def guarded(chunk: np.ndarray) -> None:
            if self._stop.is_set():
                return
            try:
                batch(chunk)
            except _Stopped:
                pass
            except BaseException as error:
                self._fail(error)

        # LAPACK calls (small eigenproblems) would each start threads of their own.
        limits = one_blas_thread(workers > 1)
        with limits, ThreadPoolExecutor(workers) as pool:
            try:
                self._methods_side_by_side = pool if workers > 1 else None
                guarded(chunks[0])
                self._methods_side_by_side = None
                wait([pool.submit(guarded, chunk) for chunk in chunks[1:]])
            except BaseException as error:
                self._fail(error)
        if self._error is not None:
            raise self._error

    def _fail(self, error: BaseException) -> None:
        """Keep the first error and stop what has not started."""
        self._stop.set()
        with self._lock:
            if self._error is None:
                self._error = error

    def result(
        self,
        direction: Literal["question", "user"],
        panel: Panel,
        targets: Int[np.ndarray, " t"],
        truth: Float[np.ndarray, "t s"],
        controls: dict[str, Float[np.ndarray, "t s"]],
    ) -> HoldOut:
        """Everything collected, with the controls beside the methods.

        **Arguments:**

        - `direction`, `panel`, `targets`, `truth`: as in [`HoldOut`][].
        - `controls`: (t, s) predictions of the controls, by name.
        """
        return HoldOut(
            direction=direction,
            panel=panel,
            targets=targets,
            truth=truth,
            predictions={**controls, **self._prediction},
            training_mse=self._training_mse,
            status=self._status,
            steps=self._steps,
            optimality=self._optimality,
            imputation_status=self._imputation_status,
            twins_alike=self._twins_alike,
            seconds=self._seconds,
            preparation_seconds=self._preparation,
        )
