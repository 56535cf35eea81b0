"""Policies written for other runtimes, on checkpoints made on the spot."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from test_sights import observation, policy

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.models import checkpoint
from palmar.models.export import check_exportable, check_form, export
from palmar.models.exported import FILE, is_exported
from palmar.models.forms import in_form
from palmar.models.parity import BOUNDS, Bound, parity
from palmar.models.presets import preset
from palmar.policy import Policy, check_policy, load_policy

LACKING = [p for p in ("onnx", "onnxscript", "onnxruntime") if find_spec(p) is None]
ONNX = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (palmar[export])")
OPENVINO = pytest.mark.skipif(find_spec("openvino") is None or bool(LACKING), reason="not installed: openvino")
SEEN = [observation(i, 0.1 * i, pictures=i) for i in range(6)]
WIDE = Bound(10.0, 100.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, and beside it the same as ONNX."""
    if LACKING:
        pytest.skip(f"not installed: {', '.join(LACKING)} (palmar[export])")
    root, one = tmp_path_factory.mktemp("export"), policy("palmar-nano")
    scales = one.normalizers
    checkpoint.save(root / "run", one.model.state_dict(), one.model.config, one.model.interface, scales, {"step": 7})
    loaded = load_policy(str(root / "run"))
    export(loaded, root / "onnx", SEEN, made_of="run")
    return root


@pytest.fixture
def traced(folder, monkeypatch):
    """`folder`, whose checkpoint is not traced again: what is made of it begins with the graphs that lie there."""
    copied = lambda function, example, path: shutil.copy(folder / "onnx" / path.name, path)  # noqa: E731
    monkeypatch.setattr("palmar.models.export.to_onnx", copied)
    return folder


def test_an_exported_policy_is_a_policy_like_any_other(folder):
    check_policy(str(folder / "onnx"))
    one, other = load_policy(str(folder / "run")), load_policy(str(folder / "onnx"))
    assert isinstance(other, Policy) and other.interface == one.interface
    for i in range(4):  # words never seen in the export, too
        obs = observation(i, 0.1 * i, f"put the {i} blue balls on the plate", i)
        a, b = one.act(obs), other.act(obs)
        assert np.abs(a.actions - b.actions).max() < 1e-4 and (a.dt, a.t0) == (b.dt, b.t0)
        assert b.actions.dtype == np.float32 and abs(a.done - b.done) < 1e-4 and abs(a.confidence - b.confidence) < 1e-3
        assert a.attention.keys() == b.attention.keys()
        assert np.abs(a.features - b.features).max() < 1e-3 * np.abs(a.features).max()
    assert other.info["step"] == 7 and other.info["made_of"] == "run" and other.info["parity"]["largest"] < 1e-2
    assert not list((folder / "onnx").glob("*.p*k*l*")) and not (folder / "onnx.part").exists()


def test_damage_is_told(folder, tmp_path):
    def copied(name):
        return shutil.copytree(folder / "onnx", tmp_path / name)

    weights = copied("a") / "policy.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BadFile, match=r"policy.onnx' is not the file that was exported. Next: "):
        load_policy(str(tmp_path / "a"))
    (copied("b") / "words.onnx").unlink()
    with pytest.raises(BadFile, match=r"lacks words.onnx. Next: "):
        load_policy(str(tmp_path / "b"))
    about = json.loads((copied("c") / FILE).read_text())
    for changes in ({"runtime": "tensorrt"}, {"version": 2}, {"config": {}}, {"normalizers": []}, {"interface": 3}):
        (tmp_path / "c" / FILE).write_text(json.dumps(about | changes))
        with pytest.raises(BadFile, match=r"Next: export the policy again"):
            check_policy(str(tmp_path / "c"))
    about["normalizers"]["action"]["scale"] = [2 * s for s in about["normalizers"]["action"]["scale"]]
    (tmp_path / "c" / FILE).write_text(json.dumps(about))
    with pytest.raises(BadFile, match=r"changed after the export: its fingerprint is another one. Next: "):
        check_policy(str(tmp_path / "c"))


def test_another_robot_is_not_inside(folder):
    with pytest.raises(UnknownName, match=r"robot of this exported policy 'arm9'.*none but its own"):
        load_policy(f"{folder / 'onnx'}@arm9")


def test_over_the_bound_nothing_is_left(traced, tmp_path):
    one = load_policy(str(traced / "run"))
    with pytest.raises(BadValue, match=r"differ by mean .*expected mean ≤ 0 σ and largest ≤ 0 σ. Next: "):
        export(one, tmp_path / "out", SEEN, bound=Bound(0.0, 0.0))
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BadFile, match=r"is there already. Next: another --out"):
        export(load_policy(str(folder / "run")), tmp_path, SEEN)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@ONNX
@pytest.mark.parametrize("precision", ["int8-dynamic", "int8-static"])
def test_int8_is_near(traced, tmp_path, precision):
    found = export(load_policy(str(traced / "run")), tmp_path / "out", SEEN, "onnx", precision, WIDE)
    assert found.mean < 0.5 and found.observations == (3 if precision == "int8-static" else 6)
    size = {
        name: (where / "policy.onnx").stat().st_size
        for name, where in (("int8", tmp_path / "out"), ("fp32", traced / "onnx"))
    }
    assert size["int8"] < size["fp32"]


@ONNX
@pytest.mark.parametrize("name", ["diffusion-tiny", "act-tiny"])
def test_other_systems(tmp_path, name):
    config = preset(name)
    if name == "diffusion-tiny":  # each sampling step is a part of the graph: two say as much as ten
        config = replace(config, head=replace(config.head, diffusion=replace(config.head.diffusion, samples=2)))
    one = policy(config)
    assert export(one, tmp_path / name, SEEN).within(BOUNDS["fp32"])
    assert is_exported(tmp_path / name)


@OPENVINO
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_openvino(traced, tmp_path, precision):
    found = export(load_policy(str(traced / "run")), tmp_path / "ov", SEEN, "openvino", precision, WIDE)
    assert found.mean < (1e-4 if precision == "fp32" else 0.1)
    assert load_policy(str(tmp_path / "ov")).act(SEEN[0]).actions.shape == (4, 3)


def test_forms_that_are_not_made():
    with pytest.raises(BadValue, match=r"--to onnx --precision bf16: .*Next: --to openvino"):
        check_form("onnx", "bf16")
    with pytest.raises(BadValue, match=r"--to openvino --precision int8-dynamic: .*Next: "):
        check_form("openvino", "int8-dynamic")
    with pytest.raises(UnknownName, match=r"precision 'int4'"):
        check_form("onnx", "int4")


def test_what_cannot_be_exported(folder):
    with pytest.raises(BadValue, match=r"a object cannot be exported; expected the policy of a palmar checkpoint"):
        check_exportable(object())
    with pytest.raises(BadValue, match=r"exported already. Next: "):
        check_exportable(load_policy(str(folder / "onnx")))
    with pytest.raises(BadValue, match=r"0 observations; expected 2 or more"):
        export(load_policy(str(folder / "run")), folder / "none", [])


@ONNX
def test_a_form_is_made_once_and_found_again(traced, tmp_path):
    one = load_policy(str(traced / "run"))
    where = tmp_path / "onnx-fp32"
    assert parity(one, in_form(one, "onnx-fp32", SEEN, where), SEEN).within(BOUNDS["fp32"])
    written = (where / FILE).stat().st_mtime_ns
    in_form(one, "onnx-fp32", SEEN, where)
    assert (where / FILE).stat().st_mtime_ns == written
    with pytest.raises(BadValue, match=r"was exported of another policy \(it does not say which\) than this \(abc\)"):
        in_form(one, "onnx-fp32", SEEN, where, "abc")
