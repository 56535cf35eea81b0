"""`palmar sysid --data`: a log of torques by one command, and what may be wrong with how it is asked for."""

import json

import numpy as np
import pytest
from simulated_arm import URDF

from palmar.cli.main import main
from palmar.transfer.excitation import FourierMotion
from palmar.transfer.rigid_body import regressor
from palmar.transfer.serial_arm import serial_arm
from palmar.transfer.torque_identification import TorqueIdentification


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A robot of two joints, and a log of it."""
    where = tmp_path_factory.mktemp("sysid")
    (where / "two.urdf").write_text(URDF)
    arm = serial_arm(where / "two.urdf", "flange")
    rng = np.random.default_rng(0)
    t, q, dq, ddq = FourierMotion(np.zeros(2), rng.normal(0, 0.3, (2, 5)), rng.normal(0, 0.3, (2, 5)), 8.0).at(100.0)
    torque = regressor(arm.chain, q, dq, ddq).reshape(len(t), 2, 20) @ arm.inertia.ravel() + 0.2 * np.tanh(dq / 0.02)
    torque += rng.normal(0, 0.02, torque.shape)
    names = ["time", *(f"j{i}.{w}" for w in ("pos", "vel", "effort") for i in (1, 2))]
    rows = np.hstack([t[:, None], q, dq, torque])
    np.savetxt(where / "log.csv", rows, delimiter=",", header=",".join(names), comments="")
    degrees = rows.copy()
    degrees[:, 1:5] = np.rad2deg(degrees[:, 1:5])
    np.savetxt(where / "degrees.csv", degrees, delimiter=",", header=",".join(names), comments="")
    return where


@pytest.mark.usefixtures("wide")
def test_a_log_is_identified(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = [
        "sysid",
        "--robot",
        "two.urdf",
        "--frame",
        "flange",
        "--data",
        "log.csv",
        "--fit",
        "0.5:5",
        "--test",
        "5:7.5",
    ]
    assert main([*words, "--out", str(tmp_path / "found.json"), "--plot", str(tmp_path / "torques.png")]) == 0
    out = capsys.readouterr().out
    assert "identified, test seconds" in out and "friction model" in out and "j2.coulomb" in out
    found = TorqueIdentification.load(tmp_path / "found.json")
    known = ["--known", str(tmp_path / "found.json"), "--test", "5:7.5", "--json"]
    assert main(["sysid", "--robot", "two.urdf", "--frame", "flange", "--data", "log.csv", *known]) == 0
    again = json.loads(capsys.readouterr().out)["rms"]
    assert found.rms_test is not None and max(found.rms_test) < 0.05 and (tmp_path / "torques.png").exists()
    assert list(again.values()) == pytest.approx(found.rms_test, rel=0.05)
    for stretch, seen in (("5:7.5", False), ("4:6", True)):
        words = ["--data", "log.csv", "--known", str(tmp_path / "found.json"), "--test", stretch]
        assert main(["sysid", "--robot", "two.urdf", "--frame", "flange", *words]) == 0
        out = capsys.readouterr().out
        assert f"over {stretch[0]}.0" in out and ("these errors are no prediction there" in out) == seen
    assert (
        main(["sysid", "--robot", "two.urdf", "--frame", "flange", "--data", "degrees.csv", "--units", "deg", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["robot"] == "two"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data none.csv --robot two.urdf --frame flange", "there is no 'none.csv'"),
        ("--data degrees.csv --robot two.urdf --frame flange", "Next: --units deg"),
        ("--data log.csv --robot two.urdf --frame none", "unknown frame"),
        ("--data log.csv --robot two.urdf --frame flange --fit 8:0.5", "--fit is '8:0.5'; expected FROM:TO in seconds"),
        ("--data log.csv --robot two.urdf --frame flange --test x", "--test is 'x'; expected FROM:TO"),
        ("--data log.csv --robot two.urdf --frame flange --fit 1:2", "expected 2 s or more"),
        ("--data log.csv --robot two.urdf --frame flange --fit 1:5 --test 4:6", "overlaps the fitted one"),
        ("--data log.csv --robot arm7", "has no column for q of joint1"),
        ("--data log.csv --robot arm9", "unknown robot 'arm9'"),
        ("--data log.csv --twin 3", "--twin counts without --data"),
        ("--fit 0:3", "--fit 0:3 counts only with --data"),
        ("--data log.csv --known x.json --fit 0:3", "--fit goes with a fit, and --known fits nothing"),
        ("--data log.csv --robot two.urdf --frame flange --known x.json", "no identification at 'x.json'"),
        ("--units deg", "--units deg counts only with --data"),
        ("--data log.csv --cutoff 0", "--cutoff is 0.0; expected 0.1 … 1000 Hz"),
    ],
)
def test_what_is_asked_for_by_mistake(words, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["sysid", *words.split()]) == 2
    err = capsys.readouterr().err
    assert message in " ".join(err.split()) and ("Next:" in err or "unknown" in err)
