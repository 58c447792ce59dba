"""Saving and loading: equal after a round trip, bit for bit; files that differ say how."""

import dataclasses
import json
import pickle
import zipfile

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from same_bits import same

import syndigits_jax
from syndigits_jax import Panel, Ridge, Settings, calibrate_question, load, save
from syndigits_jax.calibration import calibrators
from syndigits_jax.datasets import sample_panel
from syndigits_jax.distribution import Answers, Spec, fit_ensembles, make_targets
from syndigits_jax.distribution.objective import DIVERGENCES, Hellinger, as_divergence
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.preferences import init_encoder
from syndigits_jax.report import Claim, Column, Figure, Report, Section, Table
from syndigits_jax.results.objects import SavedFileError, SavedFileWarning
from syndigits_jax.saving import _ROOMS
from syndigits_jax.schema import Option, Question, Scale
from syndigits_jax.solvers import Status, ridge

X64 = bool(jax.config.read("jax_enable_x64"))
DTYPES = ["?", "i1", "u2", "i8", "f2", "f4", "f8", "c8", "U3", "M8[s]"]


def returned(path, value):
    save(path, value)
    return load(path)


@examples(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
            st.sampled_from([*Status]),
            st.sampled_from(DTYPES).flatmap(
                lambda d: arrays(np.dtype(d), array_shapes(min_dims=0, max_dims=3, min_side=0))
            ),
            st.sampled_from(["f4", "i4", "?"]).flatmap(
                lambda d: arrays(np.dtype(d), array_shapes(min_dims=0, max_side=3)).map(jnp.asarray)
            ),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.tuples(inner, inner),
            st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
        ),
        max_leaves=6,
    )
)  # fmt: skip
def test_numbers_text_arrays_and_containers_come_back(tmp_path, value):
    assert same(returned(tmp_path / "v", value), value)


def ours(kind):
    """Subclasses of `kind` in the package: other tests define some too."""
    return [one for one in kind.__subclasses__() if one.__module__.startswith("syndigits_jax.")]


@pytest.mark.parametrize("kind", ours(calibrators.Calibrator))
def test_calibrators_come_back(tmp_path, kind, dtype):
    assert len(ours(kind)) > 2
    for one in ours(kind):
        number = {"penalty", "alpha", "weight_decay"} & {f.name for f in dataclasses.fields(one)}
        method = one(**dict.fromkeys(number, jnp.asarray(0.3, dtype)))
        back = returned(tmp_path / "m", method)
        assert same(back, method) and eqx.tree_equal(back, method) is not False
        leaves = jax.tree.leaves(method)
        assert [x.weak_type for x in jax.tree.leaves(back)] == [x.weak_type for x in leaves]


def test_what_was_fitted_comes_back_with_its_settings(tmp_path, dtype):
    panel = sample_panel().take(users=slice(0, 12), questions=slice(0, 5))
    numbers = panel.arrays(dtype)
    human, twin = numbers.human.values, numbers.twin.values
    settings = Settings.reference().change(imputation={"rank": 2})
    result = calibrate_question(Ridge(jnp.asarray(3.0, dtype)), human[:, :4], twin)
    held = HoldOut(
        "question", panel, np.arange(5), panel.human.T, {"Ridge": panel.twin.T.astype(dtype)},
        seconds={"Ridge": 0.1},
    )  # fmt: skip
    targets = make_targets(jnp.full((2, 2), 0.5, dtype))
    twins = Answers.from_choices(np.array([[0, 1], [1, 0], [1, 1]]), 2)
    (ensemble,) = fit_ensembles(np.full((2, 2), 0.5), twins, [Spec("hellinger", ridge=0.1)])
    run = {
        "settings": settings, "result": result, "held": held, "panel": panel, "targets": targets,
        "twins": twins, "ensemble": ensemble, "spec": Spec(Hellinger()),
        "encoder": init_encoder(jax.random.key(0), width=3, hidden=(4,), dim=2, dtype=dtype),
        "question": Question("q", "?", (Option(1, "a"), Option(2, "b")), Scale(1, 2, 1)),
        "fit": ridge(human[:, :2], human[:, 2], 1.0), "key": jax.random.key(7),
    }  # fmt: skip
    back = returned(tmp_path / "run.npz", run)
    for name in run:
        assert same(back[name], run[name]), name
    assert not back["panel"].human.flags.writeable
    assert back["settings"] == settings and back["held"].methods == held.methods
    first = (tmp_path / "run.npz").read_bytes()
    save(tmp_path / "run.npz", back)
    assert (tmp_path / "run.npz").read_bytes() == first


def test_narrow_floats_come_back(tmp_path):
    for dtype in (jnp.bfloat16, ml_dtypes.float8_e4m3fn):
        assert same(*[(a := jnp.ones(3, dtype)), returned(tmp_path / "b", a)])


def test_reports_come_back_without_how_figures_are_drawn(tmp_path):
    figure = Figure("f", "F", lambda axes: axes, "caption", "alt", data={"x": [1.0, np.nan]})
    table = Table("t", "T", (Column("a", "A"),), ({"a": 1.5}, {"a": None}))
    claim = Claim("c", "It is 1.", {"estimate": 1.0}, 0.9, "adds")
    report = Report("R", {"n": 3}, (claim,), (Section("s", "S", (claim,), (table,), (figure,)),))
    back = returned(tmp_path / "r", report)
    with pytest.raises(ValueError, match="not how it is drawn"):
        back.sections[0].figures[0].draw(None)
    drawn = dataclasses.replace(back.sections[0].figures[0], draw=figure.draw)
    section = dataclasses.replace(back.sections[0], figures=(drawn,))
    assert same(dataclasses.replace(back, sections=(section,)), report)


def test_what_is_not_the_package_s_own_is_refused(tmp_path):
    class Mine(Ridge):
        pass

    for value in (Mine(), {1, 2}, np.array([object()]), print, {"a": [Ridge, 1]}, 1j):
        with pytest.raises(ValueError, match=r"`obj`: cannot save"):
            save(tmp_path / "x", value)
    assert not list(tmp_path.iterdir())


def edited(path, change):
    """The file with another header."""
    with zipfile.ZipFile(path) as stored:
        files = {name: stored.read(name) for name in stored.namelist()}
    header = json.loads(files["header.json"])
    files["header.json"] = json.dumps(change(header) or header).encode()
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.update(format=2, version="9.1"), r"has format 2 of version 9\.1.*update"),
        (lambda h: h["object"].update({"class": "calibration.Gone"}), "holds a calibration.Gone"),
        (lambda h: h["object"]["fields"].update(new=1), "has no `new` in this version"),
        (lambda h: h["object"]["fields"].update(penalty={"set": 1}), "holds .'set'.*not know"),
        (lambda h: h["object"]["fields"]["penalty"].update(jax=7), "is damaged"),
        (lambda h: h.update(kind="other"), "none that `save` wrote"),
        (lambda h: {**h, "object": {"class": "solvers.Factors", "fields": {}}}, "which this ver"),
        (lambda h: {**h, "object": {"class": "schema.Option", "fields":
                                    {"value": {"float": "nan"}, "label": ""}}}, "must be finite"),
    ],
)  # fmt: skip
def test_files_of_other_versions_say_what_changed(tmp_path, change, words):
    save(tmp_path / "m", Ridge())
    edited(tmp_path / "m", change)
    with pytest.raises(SavedFileError, match=rf"m: .*{words}"):
        load(tmp_path / "m")


def test_a_file_without_a_new_field_has_its_default(tmp_path):
    save(tmp_path / "m", Settings())
    edited(tmp_path / "m", lambda h: h["object"]["fields"].pop("few_shot") and None)
    with pytest.warns(SavedFileWarning, match=r"no `few_shot` yet \(it was written by version"):
        assert load(tmp_path / "m") == Settings()


def test_bounds_hold_for_what_is_read(tmp_path):
    save(tmp_path / "m", Ridge())
    edited(tmp_path / "m", lambda h: h["object"]["fields"].update(penalty=-1.0))
    with pytest.raises(SavedFileError, match="penalty must be finite and at least 0"):
        load(tmp_path / "m")


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_files_that_are_cut_off_or_foreign_are_refused(tmp_path, kept):
    path = tmp_path / "m"
    save(path, {"x": np.arange(500.0)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(SavedFileError, match="damaged or cut off"):
        load(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(SavedFileError, match="damaged"):
        load(path)
    path.write_bytes(pickle.dumps(Settings))
    with pytest.raises(SavedFileError, match="no file that `save` wrote"):
        load(path)
    np.savez(tmp_path / "n.npz", x=np.arange(3))
    with pytest.raises(SavedFileError, match="none that `save` wrote"):
        load(tmp_path / "n.npz")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def test_double_precision_is_not_rounded_on_the_way(tmp_path):
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        save(tmp_path / "m", Ridge(jnp.asarray(0.1, jnp.float64)))
        assert load(tmp_path / "m").penalty.dtype == jnp.float64
    if not X64:
        with pytest.raises(SavedFileError, match=r"float64 arrays.*JAX_ENABLE_X64=1"):
            load(tmp_path / "m")


def test_names_in_files_are_unique_and_panels_are_checked(tmp_path):
    for room, kinds in _ROOMS.items():
        assert len({kind.__name__ for kind in kinds}) == len(kinds), room
    assert {type(as_divergence(name)) for name in DIVERGENCES} <= set(_ROOMS["distribution"])
    own = {one for base in calibrators.Calibrator.__subclasses__() for one in base.__subclasses__()}
    own = {one for one in own if one.__module__.startswith(syndigits_jax.__name__)}
    assert own <= set(_ROOMS["calibration"])
    panel = Panel.from_arrays([[1, 2], [3, 4]], [[1, 2], [3, 5]])
    save(tmp_path / "p", panel)
    edited(tmp_path / "p", lambda h: h["object"]["fields"].update(users={"tuple": ["a", "a"]}))
    with pytest.raises(SavedFileError, match="duplicate identifiers"):
        load(tmp_path / "p")
