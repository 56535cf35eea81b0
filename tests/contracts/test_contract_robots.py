"""What every robot keeps: its names, its units both ways, its kinematics, and limits that no command gets past.

Robots of the package are found; beside them stand robots of other kinds: without a gripper, without kinematics, with speeds,
with a calibrated range for a unit, with two frames on one trunk, with joints that have no limits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palmar.certify.hostile import attacker, excess
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.kinematics import Chain
from palmar.robot_parts import Camera, Channel, Frame, Measurement, state_of
from palmar.robots import robot, robots
from palmar.runtime.control.actions import action_space
from palmar.runtime.control.path import Control
from palmar.runtime.fitting import fitted
from palmar.runtime.loop import resting_command, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.recording import columns_of
from palmar.runtime.safety.filter import Safety
from palmar.types import ActionChunk, Observation

EYE = np.array([1.0, 0.0, 0.0, 0.0])
UP = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])


def joint(name: str, **more) -> Channel:
    given = {"lower": -2.0, "upper": 2.0, "velocity": 2.0, "acceleration": 10.0, "jerk": 400.0, "tolerance": 0.3}
    return Channel(name, "revolute", "rad", **(given | more))


def chain(n: int, side: float = 0.0) -> Chain:
    offsets = np.array([[0, side if i == 0 else 0, 0.1 if i == 0 else 0.2] for i in range(n)], float)
    quats = np.stack([EYE if i % 2 == 0 else UP for i in range(n)])
    return Chain(offsets, quats, np.array([0.0, 0.0, 0.1]), EYE)


def base() -> Embodiment:
    """Three speeds, odometry beside them."""
    speed = {"lower": -0.6, "upper": 0.6, "velocity": 0.6, "acceleration": 1.5, "jerk": 30.0}
    channels = (
        Channel("vx", "velocity", "m/s", **speed), Channel("vy", "velocity", "m/s", **speed),
        Channel("wz", "velocity", "rad/s", -1.5, 1.5, 1.5, 4.0, 60.0),
    )  # fmt: skip
    state = (
        *state_of(channels),
        *(Measurement(f"odometry.{n}", u) for n, u in (("x", "m"), ("y", "m"), ("yaw", "rad"))),
    )
    return Embodiment("base", channels, cameras=(Camera("front"),), state=state)


def ranged() -> Embodiment:
    """As LeRobot's calibration writes it: percent of each joint's range, and the positions are all that is measured."""
    channels = [
        Channel(f"j{i}.pos", "revolute", "range_m100_100", -100, 100, 120.0, 800.0, tolerance=20.0, span=(-1.7, 1.9))
        for i in range(5)
    ]
    grip = Channel("gripper.pos", "opening", "range_0_100", 0.0, 100.0, 200.0)
    state = tuple(Measurement(c.name, c.unit, "position", c.name) for c in (*channels, grip))
    tip = Frame(
        "tip", tuple(c.name for c in channels), chain(5), np.array([[-0.5, -0.5, 0.0], [0.5, 0.5, 0.9]]), rotates=False
    )
    return Embodiment("ranged", (*channels, grip), (tip,), state=state, control_rate=30.0)


def two_armed() -> Embodiment:
    """A trunk that two arms share, and a gripper each."""
    names = ("trunk", "l1", "l2", "r1", "r2")
    channels = [joint(n) for n in names]
    channels += [Channel(f"{side}_gripper", "opening", "opening", 0.0, 1.0, 2.0) for side in ("left", "right")]
    box = np.array([[-0.6, -0.6, 0.05], [0.6, 0.6, 0.8]])
    frames = (
        Frame("left", ("trunk", "l1", "l2"), chain(3, 0.1), box, rotates=False),
        Frame("right", ("trunk", "r1", "r2"), chain(3, -0.1), box, rotates=False),
    )
    return Embodiment("two_armed", tuple(channels), frames)


def telescope() -> Embodiment:
    """A joint that turns, and one that slides out along the lever: how far a turn reaches depends on the slide."""
    channels = (joint("turn", upper=2.0, lower=-2.0), Channel("out", "prismatic", "m", 0.0, 1.0, 0.8, 4.0, 200.0))
    side = np.array([np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0])  # the slide's z lies across the axis of the turn
    path = Chain(np.zeros((2, 3)), np.stack([EYE, side]), np.zeros(3), EYE, (False, True))
    tip = Frame("tip", ("turn", "out"), path, np.array([[-1.1, -0.5, -0.1], [1.1, 0.5, 0.1]]), rotates=False)
    return Embodiment("telescope", channels, (tip,))


def sliding() -> Embodiment:
    """A gantry: two joints that slide, one that turns without end; degrees and millimetres; no gripper."""
    slide = {"velocity": 300.0, "acceleration": 2000.0, "jerk": 1e5, "tolerance": 50.0}
    channels = (
        Channel("x", "prismatic", "mm", -400.0, 400.0, **slide),
        Channel("y", "prismatic", "mm", -400.0, 400.0, **slide),
        Channel("turn", "continuous", "deg", -np.inf, np.inf, 90.0, 400.0, tolerance=20.0),
    )
    path = Chain(np.zeros((3, 3)), np.stack([EYE, UP, EYE]), np.array([0.1, 0.0, 0.0]), EYE, (True, True, False))
    tip = Frame("tip", ("x", "y", "turn"), path, np.array([[-0.2, -0.35, -0.3], [0.2, 0.35, 0.3]]), rotates=False)
    return Embodiment("sliding", channels, (tip,), control_rate=200.0)


OTHERS = {
    "no gripper, no kinematics": lambda: Embodiment("bare", tuple(joint(f"j{i}") for i in range(26))),
    "speeds": base,
    "calibrated ranges": ranged,
    "two arms on a trunk": two_armed,
    "slides and an endless joint": sliding,
    "a slide after a turn": telescope,
    "no acceleration limit": lambda: Embodiment("loose", (replace(joint("a"), acceleration=np.inf, jerk=np.inf),)),
}
ALL = {**{name: (lambda n=name: robot(n)) for name in robots()}, **OTHERS}


@pytest.fixture(params=ALL)
def body(request) -> Embodiment:
    return ALL[request.param]()


def test_names_and_units_belong_together(body):
    interface = body.interface()
    assert len(interface.state_units) == len(body.state_names)
    assert len(body.action_units) == len(body.action_names)
    assert set(body.with_action_space("channels").action_names) == set(body.channel_names)
    assert len(set(body.action_names)) == len(body.action_names)


def test_what_is_measured_is_what_was_commanded(body):
    rng = np.random.default_rng(0)
    low, high = np.maximum(body.lower, -9.0), np.minimum(body.upper, 9.0)
    for _ in range(5):
        command = rng.uniform(low, high)
        seen = body.measured(body.state_from(command, np.zeros(len(command))))
        known = np.isfinite(seen)
        assert seen[known] == pytest.approx(command[known])
        assert known[body.moves_joint].all()


def test_the_jacobian_is_the_derivative_in_the_units_of_the_joints(body):
    rng = np.random.default_rng(1)
    for frame in body.frames:
        q = body.positions(frame, rng.uniform(np.maximum(body.lower, -9.0), np.minimum(body.upper, 9.0)))
        assert body.positions(frame, _with(body, frame, body.commands(frame, q))) == pytest.approx(q)
        position, _, J = frame.chain.jacobian(q)
        assert position == pytest.approx(frame.chain.forward(q)[0])
        for i in range(len(q)):
            step = np.eye(len(q))[i] * 1e-6
            numeric = (frame.chain.forward(q + step)[0] - frame.chain.forward(q - step)[0]) / 2e-6
            assert J[:3, i] == pytest.approx(numeric, abs=1e-6)


def _with(body: Embodiment, frame: Frame, values: np.ndarray) -> np.ndarray:
    command = body.home.copy()
    command[body.path(frame)] = values
    return command


@pytest.mark.parametrize(("seed", "rate"), [(0, 1), (1, 4)])
def test_no_attack_gets_a_command_past_a_limit(body, seed, rate):
    body = replace(body, control_rate=body.control_rate * rate)
    safety, attack = Safety(body), attacker(body, np.random.default_rng(seed))
    start = command = resting_command(body, Observation({}, body.state_from(body.home, 0 * body.home)))
    safety.reset(start)
    commands = []
    for k in range(1200):
        now = k / body.control_rate
        obs = Observation({}, body.state_from(command, 0 * command).astype(np.float32), time=now)
        command = safety.check(attack(command), obs, now).command
        commands.append(command)
    over = excess(body, start, np.array(commands))
    assert max(over.values()) <= 1e-9, over
    assert sum(safety.counts.values()) > 100
    for _ in range(2000):
        if not safety.moving:
            break
        command = safety.brake().command
    assert not safety.moving
    speeds = [i for i, c in enumerate(body.channels) if c.kind == "velocity"]
    assert np.all(np.abs(command[speeds]) < 1e-9)  # braked is a stop


@pytest.mark.parametrize("space", ["channels", "ee_delta"])
def test_actions_of_every_space_become_commands(body, space):
    if space not in body.action_spaces:
        with pytest.raises(BadValue, match="ee_delta"):
            body.with_action_space(space)
        return
    body = body.with_action_space(space)
    control = Control(body)
    control.reset(body.home)
    still = np.zeros(len(body.action_names))
    if space == "channels":
        still = body.home.copy()
    else:
        still[-len(body.free) :] = body.home[list(body.free)] if body.free else still[-0:]
    for k in range(20):
        now = k / body.control_rate
        obs = Observation({}, body.state_from(control.command, 0 * control.command).astype(np.float32), time=now)
        _, verdict = control.step((still, 0.0), 0.2, obs, now)
    wide = np.where(np.isfinite(body.upper - body.lower), body.upper - body.lower, 1.0)
    assert np.abs((verdict.command - body.home) / wide).max() < 0.05
    assert np.isnan(action_space(body).target(np.full(len(still), np.nan), 0.2, 0.2, body.home)[body.moves_joint]).all()


def test_the_loop_runs_it(body):
    class Home:
        interface = body.interface()

        def act(self, obs, prefix=None):
            action = np.zeros((4, len(body.action_names)), np.float32)
            if body.action_space == "channels":
                action[:] = body.home
            return ActionChunk(action, 1 / body.policy_rate, obs.time)

        def reset(self): ...

    mock = MockBody(body)
    outcome = rollout(mock, Home(), mock.reset(), timeout=0.5)
    assert outcome.check().ticks == round(0.5 * body.control_rate)
    assert max(excess(body, body.home, np.array(mock.commands)).values()) <= 1e-9


def test_a_turn_reaches_further_when_the_slide_is_out():
    body, target = telescope(), np.array([1.4, 1.0])
    safety, command, found = Safety(body), np.array([0.0, 0.1]), []
    safety.reset(command)
    for k in range(200):
        obs = Observation({}, body.state_from(command, 0 * command).astype(np.float32), time=0.02 * k)
        command = safety.check(target, obs, 0.02 * k).command
        found.append(body.pose(body.frame(), command)[0][1])
    assert safety.counts["workspace"] > 0 and max(found) <= 0.5


def test_an_endless_joint_is_compared_the_short_way_round():
    body = sliding()
    assert body.difference(np.array([0, 0, 359.0]), np.array([0, 0, -359.0])) == pytest.approx([0, 0, -2])
    safety = Safety(body)
    safety.reset(np.array([0.0, 0.0, 179.0]))
    state = body.state_from(np.array([0.0, 0.0, -179.0]), np.zeros(3)).astype(np.float32)  # an encoder that wraps
    assert not safety.check(np.array([0.0, 0.0, 179.0]), Observation({}, state), 0.0).stop


def test_a_policy_and_a_recording_fit_whatever_the_action_spaces(body):
    class Plain:
        interface = body.with_action_space("channels").interface()

        def act(self, obs, prefix=None): ...

        def reset(self): ...

    assert fitted(Plain(), body).robot.action_names == body.channel_names
    assert columns_of(body, body.with_action_space("channels").interface()).robot.action_names == body.channel_names


def test_velocities_are_told_in_the_unit_they_are_measured_in():
    body = Embodiment("elbow", (joint("a"),), state=(Measurement("a.speed", "deg/s", "velocity", "a"),))
    state = body.state_from(np.zeros(1), np.array([1.0]))
    assert state == pytest.approx([180 / np.pi])
    assert body.measured(state, "velocity") == pytest.approx([1.0])


def test_a_base_that_rolls_on_is_stopped_not_followed():
    body = base()
    body = replace(body, channels=tuple(replace(c, tolerance=0.2) for c in body.channels))
    safety = Safety(body)
    state = body.state_from(np.array([0.5, 0.0, 0.0]), np.zeros(3)).astype(np.float32)  # commanded 0, measured 0.5 m/s
    for k in range(50):
        verdict = safety.check(np.zeros(3), Observation({}, state, time=0.02 * k), 0.02 * k)
        assert verdict.stop and verdict.command == pytest.approx(np.zeros(3))


@pytest.mark.parametrize(("unit", "turn"), [("rad", 1.0), ("deg", 180 / np.pi)])
def test_a_blocked_joint_is_told_at_its_own_tolerance_in_its_own_unit(unit, turn):
    limits = {"lower": -2.0, "upper": 2.0, "velocity": 2.0, "acceleration": 10.0, "tolerance": 0.3}
    body = Embodiment(
        "two",
        (
            Channel("a", "revolute", unit, **{k: v * turn for k, v in limits.items()}, sources={"tolerance": "user"}),
            Channel(
                "slide", "prismatic", "m", -0.2, 0.2, 0.2, 1.0, tolerance=0.01, sources={"tolerance": "data sheet"}
            ),
        ),
    )
    safety = Safety(body)
    assert safety.tolerance == pytest.approx([0.3 * turn, 0.01])
    for off, blocked in (((0.29, 0.009), ""), ((0.31, 0.0), "a"), ((0.0, 0.011), "slide")):
        safety.reset(body.home)
        state = body.state_from(body.home + np.array(off) * [turn, 1.0], np.zeros(2))
        verdict = safety.check(body.home, Observation({}, state), 0.0)
        assert [r.quantity for r in verdict.reasons if r.guard == "tracking"] == [blocked] * bool(blocked)


def test_a_robot_that_holds_is_recorded_where_it_is():
    body = two_armed()
    control = Control(body)
    control.reset(body.home + 0.3)
    assert control.hold == pytest.approx(body.home + 0.3)
    assert Control(robot("arm7")).space is not None
    control = Control(robot("arm7"))
    control.reset(robot("arm7").home)
    assert control.hold == pytest.approx([0, 0, 0, 0, 0, 0, 1])


def test_what_is_not_guarded_is_said():
    assert Safety(robot("arm7")).off == ()
    assert "tracking of vx, vy, wz: no tolerance is given" in Safety(base()).off
    off = " ".join(Safety(OTHERS["no gripper, no kinematics"]()).off)
    assert "workspace, floor and column: no kinematics are known" in off
    loose = replace(joint("a"), tolerance=None)
    assert "tracking of a: no tolerance is given" in " ".join(Safety(Embodiment("loose", (loose,))).off)
