"""Identification finds what a world hides, says when it can't, and its files survive a round trip."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue, MissingPackage, RobotFault, UnknownName
from palmar.robots.arm7 import arm7
from palmar.runtime.mock import MockBody
from palmar.sim.params import SPACE, WorldParams
from palmar.transfer.diagnose import (
    CENTRE,
    Motion,
    Recordings,
    Slide,
    _slews,
    diagnose,
    diagnose_slower,
    excitation,
    table,
)
from palmar.transfer.identification import Identification
from palmar.transfer.plot import plot
from palmar.transfer.sysid import identify
from palmar.transfer.whitening import whiten, whitening

pytest.importorskip("scipy")
HIDDEN = {"gain": 0.85, "damping": 1.06, "action_delay": 2.0, "proprio_noise": 0.002, "friction": 0.7}


@pytest.fixture(scope="module")
def recordings():
    from palmar.sim.world import World

    world = World(images=False)
    world.load(table(), WorldParams(HIDDEN))
    return diagnose(world, seconds=4.0, held_out=2.0, slides=3)


@pytest.fixture(scope="module")
def found(recordings):
    wanted = ("gain", "damping", "action_delay", "friction", "mass")
    return identify(recordings, parameters=wanted, progress=False)


def still(seconds: float = 4.0) -> Recordings:
    """An arm that was never moved."""
    n, home, rng = round(seconds * 50), arm7().home[:7], np.random.default_rng(0)
    held = np.tile(np.append(home, 1.0), (n, 1))
    motion = Motion(held, home + rng.normal(0, 0.003, (n, 7)), rng.normal(0, 0.003, (n, 7)), home)
    return Recordings("arm7", 0.02, motion, motion)


@pytest.mark.parametrize("name", ["gain", "damping", "action_delay", "friction"])
def test_hidden_parameter_is_found(found, name):
    e = found.estimates[name]
    assert e.identified, e.note
    assert e.low <= HIDDEN[name] <= e.high or abs(e.value - HIDDEN[name]) < 0.1 * HIDDEN[name]


def test_held_out_motion_fits_better(found):
    assert found.residual_after < 0.5 * found.residual_before


def test_the_mass_of_an_object_is_not_claimed(found):
    assert not found.estimates["mass"].identified
    assert "mass" not in found.params().values


def test_randomization_takes_the_intervals_and_leaves_the_rest(found):
    drawn = found.randomization(1.0)
    e = found.estimates["gain"]
    assert drawn.ranges["gain"] == (e.low, e.high)
    assert set(drawn.ranges) == {n for n, e in found.estimates.items() if e.identified}
    lights = [drawn.sample(np.random.default_rng(s))["light"] for s in range(50)]
    assert min(lights) < 0.8 and max(lights) > 1.5
    assert all(e.low <= drawn.sample(np.random.default_rng(s))["gain"] <= e.high for s in range(20))


def test_json_round_trip(found):
    assert Identification.from_json(found.to_json()) == found
    assert len(found.rows()) == len(found.estimates)


def test_recordings_round_trip(recordings, tmp_path):
    recordings.save(tmp_path / "r.npz")
    again = Recordings.load(tmp_path / "r.npz")
    assert np.array_equal(again.free.position, recordings.free.position)
    assert np.array_equal(again.slides[1].item, recordings.slides[1].item)
    assert (again.robot, again.dt, again.notes) == (recordings.robot, recordings.dt, recordings.notes)


def test_picture(found, recordings, tmp_path):
    pytest.importorskip("matplotlib")
    plot(found, recordings, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_without_motion_nothing_is_claimed():
    found = identify(still(), parameters=("gain", "link_mass", "action_delay", "friction"), progress=False)
    assert not any(e.identified for e in found.estimates.values()), found.rows()
    for name, e in found.estimates.items():
        assert (e.value, e.low, e.high) == (SPACE[name].nominal, SPACE[name].low, SPACE[name].high)
    assert found.params().values == {}
    Identification.from_json(found.to_json())


def test_a_body_without_a_tracker_gives_no_slides():
    recorded = diagnose(MockBody(arm7()), seconds=2.0, held_out=2.0)
    assert recorded.slides == () and "tracker" in recorded.notes[0]


def test_an_arm_that_lags_is_moved_slower_and_it_is_noted():
    from palmar.sim.world import World

    world = World(images=False)
    world.load(table(), WorldParams({"action_delay": 9.0}))
    short = {"seconds": 3.0, "held_out": 2.0, "slides": 0}
    with pytest.raises(RobotFault, match=r"stopped: tracking .* slower if it only lagged: diagnose\(body, haste=0.6\)"):
        diagnose(world, **short)
    with pytest.raises(RobotFault, match=r"stopped: tracking"):
        diagnose_slower(world, (1.0,), **short)
    recorded = diagnose_slower(world, (1.0, 0.5), **short)
    assert "went at 0.5 of their ordinary speed" in recorded.notes[-1]
    speed = lambda haste: np.abs(np.diff(excitation(arm7(), 3.0, 0, haste), axis=0)).max()  # noqa: E731
    assert speed(0.5) < 0.7 * speed(1.0)
    assert not diagnose_slower(MockBody(arm7()), (1.0, 0.5), seconds=2.0, held_out=2.0, slides=0).notes


def test_what_is_no_lag_is_not_tried_again():
    class Broken(MockBody):
        resets = 0

        def reset(self, seed=None):
            self.resets += 1
            return super().reset(seed)

        def apply(self, command):
            raise RobotFault("the bus is gone")

    once, body = Broken(arm7()), Broken(arm7())
    for where, hastes in ((once, (1.0,)), (body, (1.0, 0.5))):
        with pytest.raises(RobotFault, match="the bus is gone"):
            diagnose_slower(where, hastes, seconds=2.0, held_out=2.0, slides=0)
    assert body.resets == once.resets


@pytest.mark.parametrize("seed", range(5))
def test_excitation_passes_the_safety_layer_inside_the_workspace(seed):
    robot = arm7()
    targets = excitation(robot, 6.0, seed)
    tcp = robot.frame().chain.forward(targets)[0]
    assert (tcp > robot.frame().workspace[0]).all() and (tcp < robot.frame().workspace[1]).all()
    assert tcp[:, 2].min() > 0.12, "over what stands on the table"
    assert np.allclose(robot.frame().chain.forward(targets[0])[0], CENTRE, atol=1e-3)
    assert np.ptp(targets, axis=0).min() > 0.05


def test_whitening_leaves_white_noise():
    rng = np.random.default_rng(0)
    e, z = rng.normal(size=(4000, 2)), np.zeros((4000, 2))
    for t in range(1, 4000):
        z[t] = z[t - 1] @ [[0.8, 0.1], [0.0, 0.5]] + e[t]
    w = whiten(z, *whitening(z, 2))
    assert np.allclose(np.cov(w.T), np.eye(2), atol=0.05)
    assert abs(np.mean(w[1:] * w[:-1])) < 0.05


def test_bad_input_says_what_to_do(tmp_path):
    with pytest.raises(BadFile, match=r"no recordings at .*diagnose"):
        Recordings.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"not a zip")
    with pytest.raises(BadFile, match="is not a diagnostic recording"):
        Recordings.load(tmp_path / "bad.npz")
    with pytest.raises(BadFile, match="not an identification"):
        Identification.from_json("{}")
    with pytest.raises(BadValue, match="at least 2 s"):
        identify(still(1.0), progress=False)
    with pytest.raises(BadValue, match="recordings are of 'other'"):
        identify(replace(still(), robot="other"), progress=False)
    with pytest.raises(UnknownName, match="Did you mean 'friction'"):
        identify(still(), parameters=("fricton",), progress=False)
    with pytest.raises(BadValue, match=r"expected \[T, J\+1\]"):
        Motion(np.zeros((5, 7)), np.zeros((5, 7)), np.zeros((5, 7)), np.zeros(7))
    with pytest.raises(BadValue, match=r"T ≥ 10"):
        Slide(np.zeros((5, 3)), np.zeros(5))
    with pytest.raises(BadValue, match="at least 2 s each"):
        diagnose(MockBody(arm7()), seconds=1.0)
    with pytest.raises(BadValue, match=r"haste 2.0 is not in 0.1 … 1"):
        diagnose(MockBody(arm7()), haste=2.0)
    with pytest.raises(BadValue, match=r"no haste is given"):
        diagnose_slower(MockBody(arm7()), ())


def test_without_the_extra_the_message_holds_the_command(monkeypatch):
    import mujoco.sysid

    monkeypatch.delattr(mujoco.sysid, "optimize")
    with pytest.raises(MissingPackage, match=r"pip install 'palmar\[sysid\]'"):
        identify(still(), progress=False)


def test_noise_of_commands_is_as_strong_at_every_delay():
    """A part of a tick of delay blends two commands, not two draws of the noise."""
    from palmar.transfer.replay import simulate_arm

    robot = arm7()
    home = robot.positions(robot.frame(), robot.home)
    command = np.tile(np.append(home, 1.0), (60, 1))
    draws = np.random.default_rng(0).normal(0, 1e-4, (2, 60, 7))
    whole, part = (simulate_arm(robot, [{"action_delay": d}], command, home, draws)[1][0] for d in (1.0, 1.5))
    assert np.allclose(whole, part)


def test_slews_keep_within_the_limits_they_are_given():
    q = _slews(1000, 0.02, 0.3, 1.5, 10.0, 0.0, np.random.default_rng(1))
    v = np.diff(q) / 0.02
    assert np.abs(q).max() < 0.36 and np.abs(v).max() <= 1.5 + 1e-9
    assert np.abs(np.diff(v)).max() / 0.02 <= 10.0 + 1e-6
    assert v.std() > 0.8, "it is fast most of the time"
