"""Sequences of what a user does: panels are built, hidden, saved, calibrated, held out, resumed.

Whatever the sequence, identifiers and their answers stay together, what is loaded equals what was
saved, and no prediction knows the answers that it is judged by.
"""

import shutil
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from disturbed import unclear
from hypothesis import Phase
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from same_bits import same

from syndigits_jax import (
    Panel,
    Ridge,
    Settings,
    SoftImpute,
    calibrate_question,
    estimate_questions,
    leave_one_question_out,
    load,
    save,
)
from syndigits_jax.calibration import Imputation
from syndigits_jax.results.checkpoints import Checkpoints, unit_key

# Two sizes, so that programs are shared.
LARGE, SMALL = (12, 6), (9, 5)
SETTINGS = Settings(imputation=Imputation(rank=1))
METHODS = {"Ridge": Ridge(2.0), "SoftImpute": SoftImpute(2, 0.5)}
SCALE = (1.0, 5.0, 1.0)
seeds = st.integers(0, 7)


def masked(x):
    return np.ma.array(np.nan_to_num(x, nan=9).astype(int), mask=np.isnan(x))


FORMS = {
    "lists": lambda x: x.tolist(),
    "objects": lambda x: np.where(np.isnan(x), None, x.astype(object)),
    "text": lambda x: np.where(np.isnan(x), "", x.astype(str)),
    "masked integers": masked,
    "single precision": lambda x: x.astype(np.float32),
    "half precision": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f8"),
    "Fortran's order": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "JAX": jnp.asarray,
}


class Study(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())

    def teardown(self):
        shutil.rmtree(self.folder)

    def keep(self, value):
        """What is loaded of it."""
        save(self.folder / "kept.npz", value)
        back = load(self.folder / "kept.npz")
        assert same(back, value)
        return back

    # --- panels ----------------------------------------------------------------------------------

    @initialize(seed=seeds, form=st.sampled_from(list(FORMS)), frames=st.booleans())
    def build(self, seed, form, frames):
        rng = np.random.default_rng(seed)
        taste = rng.normal(size=LARGE[0])
        whole = np.clip(np.round(3 + taste[:, None] + rng.normal(size=LARGE)), 1, 5)
        human = np.where(rng.random(LARGE) < 0.1, np.nan, whole)
        human[:4] = whole[:4]
        twin = np.clip(np.round(3.5 + 0.5 * taste[:, None] + 0.5 * rng.normal(size=LARGE)), 1, 5)
        users = [f"p{i:02}" for i in rng.permutation(LARGE[0])]
        questions = [f"q{j}" for j in rng.permutation(LARGE[1])]
        if frames:
            table, other = (pd.DataFrame(FORMS["objects"](x), users, questions)
                            for x in (human, twin))  # fmt: skip
            shuffled = other.iloc[rng.permutation(LARGE[0]), rng.permutation(LARGE[1])]
            self.panel = Panel.from_frames(table, shuffled, scale=SCALE)
        else:
            given = FORMS[form](human), FORMS[form](twin)
            self.panel = Panel.from_arrays(*given, users, questions, scale=SCALE)
        # By identifier, whatever becomes of the panel.
        self.answers = {
            (u, q): (human[i, j], twin[i, j])
            for i, u in enumerate(users)
            for j, q in enumerate(questions)
        }
        self.users, self.questions = users, questions

    @rule(seed=seeds, by_name=st.booleans())
    def reorder(self, seed, by_name):
        rng = np.random.default_rng(seed)
        rows, columns = rng.permutation(self.panel.n), rng.permutation(self.panel.m)
        self.users = [self.users[i] for i in rows]
        self.questions = [self.questions[j] for j in columns]
        if by_name:
            self.panel = self.panel.select(self.users, self.questions)
        else:
            self.panel = self.panel.take(rows, columns)

    @precondition(lambda self: self.panel.n == LARGE[0])
    @rule(start=st.integers(0, 3), drop=st.booleans())
    def take_a_part(self, start, drop):
        rows = [*range(start), *range(start + 3, LARGE[0])]
        columns = range(SMALL[1])
        lost = self.users[start : start + 3], self.questions[SMALL[1] :]
        if self.panel.new_questions == tuple(lost[1]):
            return  # the one question to be predicted
        self.panel = self.panel.drop(*lost) if drop else self.panel.take(rows, slice(0, SMALL[1]))
        self.users = [self.users[i] for i in rows]
        self.questions = [self.questions[j] for j in columns]

    @precondition(lambda self: not self.panel.new_questions)
    @rule(seed=seeds)
    def hide_a_question(self, seed):
        hidden = self.questions[seed % len(self.questions)]
        mask = np.zeros((self.panel.n, self.panel.m), bool)
        mask[:, self.questions.index(hidden)] = True
        self.forget(mask)

    @rule(seed=seeds)
    def hide_cells(self, seed):
        mask = np.random.default_rng(seed).random((self.panel.n, self.panel.m)) < 0.05
        mask &= (np.sum(self.panel.human_mask & ~mask, axis=0) >= 4)[None]
        self.forget(mask)

    def forget(self, mask):
        self.panel = self.panel.with_missing(human=mask)
        for i, j in np.argwhere(mask):
            cell = self.users[i], self.questions[j]
            self.answers[cell] = np.nan, self.answers[cell][1]

    @rule()
    def save_and_load(self):
        self.panel = self.keep(self.panel)

    @rule(seed=seeds)
    def through_tables(self, seed):
        human, twin = self.panel.to_frames()
        order = np.random.default_rng(seed).permutation(self.panel.n)
        self.panel = Panel.from_frames(human, twin.iloc[order], scale=SCALE)

    @invariant()
    def answers_stay_with_their_identifiers(self):
        if not hasattr(self, "panel"):
            return
        assert (self.panel.users, self.panel.questions) == (
            tuple(self.users), tuple(self.questions),
        )  # fmt: skip
        for side, values in enumerate((self.panel.human, self.panel.twin)):
            expected = [[self.answers[u, q][side] for q in self.questions] for u in self.users]
            np.testing.assert_array_equal(values, expected)
            assert not values.flags.writeable
        assert self.panel.scale == SCALE[:2]

    # --- predictions -----------------------------------------------------------------------------

    def calibrated(self, method, panel):
        target = panel.questions.index(panel.new_questions[0])
        known = np.delete(np.arange(panel.m), target)
        twin = panel.twin[:, [*known, target]]
        return calibrate_question(method, panel.human[:, known], twin, settings=SETTINGS)

    @precondition(lambda self: self.panel.new_questions)
    @rule(name=st.sampled_from(list(METHODS)), seed=seeds)
    def calibrate(self, name, seed):
        method = METHODS[name]
        result = self.calibrated(method, self.panel)
        assert np.isfinite(result.prediction).all() and result.prediction.shape == (
            len(self.users),
            1,
        )
        kept = self.keep({"method": method, "panel": self.panel, "result": result})
        again = self.calibrated(kept["method"], kept["panel"])
        assert same(again.prediction, kept["result"].prediction)
        rows = np.random.default_rng(seed).permutation(self.panel.n)
        moved = self.calibrated(method, self.panel.take(rows))
        np.testing.assert_allclose(moved.prediction, result.prediction[rows], atol=2e-3)

    @precondition(lambda self: self.panel.new_questions and self.panel.n == LARGE[0])
    @rule()
    def estimate(self):
        found = estimate_questions(self.panel, expect=False, workers=1)
        assert found.users == tuple(self.users) and found.questions == self.panel.new_questions
        assert (found.prediction >= 1).all() and (found.prediction <= 5).all()
        again = estimate_questions(self.keep(self.panel), expect=False, workers=1)
        np.testing.assert_array_equal(again.prediction, found.prediction)
        assert same(self.keep(found).prediction, found.prediction)

    def held_out(self, panel, target):
        found = leave_one_question_out(
            METHODS, panel, settings=SETTINGS, targets=[target], workers=1
        )
        return {name: np.asarray(found.predictions[name]) for name in METHODS}, found

    @precondition(lambda self: not self.panel.new_questions)
    @rule(seed=seeds)
    def hold_out(self, seed):
        target = seed % self.panel.m
        before, found = self.held_out(self.panel, target)
        assert found.truth.shape == (1, len(self.users))
        np.testing.assert_array_equal(found.truth[0], self.panel.human[:, target])
        noise = np.random.default_rng(seed).integers(1, 6, self.panel.n).astype(float)
        human = np.array(self.panel.human)
        human[:, target] = np.where(noise == 3, np.nan, noise)
        after, _ = self.held_out(self.panel.replace(human=human), target)
        for name in METHODS:
            assert same(after[name], before[name])
        back = self.keep(found)
        assert same(back.summary("mae"), found.summary("mae"))

    @precondition(lambda self: not self.panel.new_questions)
    @rule(seed=seeds, cut=st.sampled_from([None, 0, 0.3, 0.9, 1.0]))
    def resume(self, seed, cut):
        """A finished unit is read; one that was cut off, or changed, is computed again."""
        target = seed % self.panel.m
        store = Checkpoints(self.folder / "units")
        key = unit_key(("evaluation.holdout",), human=self.panel.human, twin=self.panel.twin,
                       target=target)  # fmt: skip
        first, _ = store.get(key, lambda: self.held_out(self.panel, target)[0])
        data = store.path(key).read_bytes()
        if cut is not None:
            half = round(cut * len(data))
            changed = data[:half] if cut < 1 else spoilt(data)
            store.path(key).write_bytes(changed)
        again, stored = Checkpoints(self.folder / "units").get(
            key, lambda: self.held_out(self.panel, target)[0]
        )
        assert stored is (cut is None)
        assert all(same(again[name], first[name]) for name in METHODS)

    # --- mistakes --------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["take", "select", "drop", "mask", "answers", "sizes", "file"]))
    def mistake(self, name):
        panel, human = self.panel, np.array(self.panel.human)
        wrong = self.folder / "wrong.npz"
        save(wrong, panel)
        wrong.write_bytes(wrong.read_bytes()[:-40])
        human[0, 0] = np.inf
        call, words = {
            "take": (lambda: panel.take([panel.n]), {"users"}),
            "select": (lambda: panel.select(["nobody"]), {"users"}),
            "drop": (lambda: panel.drop(questions=["nothing"]), {"questions"}),
            "mask": (lambda: panel.with_missing(human=human[:1] > 0), {"human"}),
            "answers": (lambda: panel.replace(human=human), {"human"}),
            "sizes": (
                lambda: calibrate_question(METHODS["Ridge"], panel.human, panel.twin[:-1]),
                {"twin"},
            ),
            "file": (lambda: load(wrong), {"wrong"}),
        }[name]
        with pytest.raises(ValueError) as caught:
            call()
        assert not unclear(caught.value, words)


def spoilt(data: bytes) -> bytes:
    """Other bytes in the middle."""
    middle = len(data) // 3
    return (
        data[:middle]
        + bytes(255 - byte for byte in data[middle : middle + 40])
        + data[middle + 40 :]
    )


TestStudy = Study.TestCase
# A failure prints its steps; they are not made fewer, which takes minutes.
TestStudy.settings = bounds(
    max_examples=6,
    stateful_step_count=9,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
)
