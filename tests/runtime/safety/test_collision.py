"""Shapes keep their distance, whatever is asked for; and where they do not at first, they only come apart."""

from dataclasses import replace

import numpy as np
import pytest
from walks import perfect, pushed, reach

import palmar.runtime.safety.collision as collision
from palmar.errors import BadValue, MissingPackage, UnknownName
from palmar.kinematics import Chain
from palmar.robots import robot, robots
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.limits import Limits
from palmar.shapes import Collision, CollisionShape

SHAPED = [n for n in robots() if n != "mobile3"]


def nowhere(*_):
    return ()


@pytest.mark.parametrize("name", SHAPED)
def test_no_motion_brings_shapes_nearer_than_the_margin(name):
    body = robot(name)
    free = reach(body, np.random.default_rng(7), 20, guarded=False)
    kept = reach(body, np.random.default_rng(7), 40)
    assert free.nearest < 0.0  # there is something to prevent
    assert kept.nearest >= body.collision.margin
    assert 0 < kept.bound < kept.commands / 2


def test_two_arms_keep_apart():
    body = robot("bimanual14")
    left, right = (body.frame(f) for f in ("left", "right"))
    safety, command = Safety(body, zones=nowhere), body.home
    safety.reset(command)
    said = set()
    for k in range(150):
        target = command.copy()
        for frame in (left, right):
            q = body.positions(frame, command)
            target[body.path(frame)] = body.commands(
                frame, frame.chain.step_towards(q, np.array([0.0, 0.0, 0.2]), None, q)
            )
        verdict = safety.check(target, perfect(body, command, k * 0.02), k * 0.02)
        command = verdict.command
        said |= {r.quantity for r in verdict.reasons if r.guard == "collision"}
    assert any("left" in s and "right" in s for s in said), said
    assert safety._clear.distances(command).min() >= body.collision.margin
    assert np.linalg.norm(body.pose(left, command)[0] - body.pose(right, command)[0]) < 0.15  # they came to each other


def overlapping(body, clear, rng):
    """A command at which shapes are nearer than the margin, not by much."""
    while True:
        command = rng.uniform(body.lower, body.upper)
        if -0.02 < clear.distances(command).min() < 0.0:
            return command


def test_a_robot_that_starts_too_near_only_comes_apart():
    body, rng = robot("arm7"), np.random.default_rng(3)
    for _ in range(5):
        safety = Safety(body, zones=nowhere)
        command = overlapping(body, safety._clear, rng)
        safety.reset(command)
        before = np.minimum(safety._clear.distances(command), body.collision.margin)
        for k in range(150):
            goal = command + rng.normal(size=8) * 0.05 if k < 50 else body.home
            command = safety.check(goal, perfect(body, command, k * 0.02), k * 0.02).command
            now = safety._clear.distances(command)
            assert (now >= before - 2e-5).all()
        assert now.min() > before.min() + 1e-3


@pytest.mark.parametrize("name", SHAPED)
def test_reach_bounds_what_distances_change_by_and_slopes_are_their_derivatives(name):
    body, rng = robot(name), np.random.default_rng(1)
    clear, _ = collision.clearance(body, Limits.of(body))
    for _ in range(60):
        q = rng.uniform(body.lower, body.upper)
        other = q + rng.normal(size=len(q)) * 0.1 * body.widths
        change = np.abs(clear.distances(other) - clear.distances(q))
        assert (change <= clear._reach @ np.abs(other - q)[clear.channels] + 1e-5).all()
        distances = clear.distances(q)
        pair = int(np.argmin(np.where(distances > 0.01, distances, np.inf)))
        clear.reset(q)
        _, slopes, _ = clear.slopes(q, pair)
        for j, channel in enumerate(clear.channels):
            step = np.zeros(len(q))
            step[channel] = 1e-4 * body.widths[channel]
            found = (clear.distances(q + step)[pair] - clear.distances(q - step)[pair]) / (2 * step[channel])
            # the nearest point may jump on a flat face, so slopes need not agree everywhere
            assert abs(found - slopes[0, j]) * body.widths[channel] < 0.25, (clear.pairs[pair], j)


@pytest.mark.parametrize("name", robots())
def test_what_is_skipped_on_a_path_is_never_a_collision(name):
    body, rng = robot(name), np.random.default_rng(2)
    clear, why = collision.clearance(body, Limits.of(body))
    if clear is None:
        assert name == "mobile3" and "no two shapes move" in why
        return
    same = 0
    for _ in range(60):
        start = rng.uniform(body.lower, body.upper)
        if clear.distances(start).min() < 0.006:
            continue
        path = start + np.linspace(0, 1, 15)[:, None] * rng.normal(size=len(start)) * 0.15 * body.widths
        clear.reset(body.home)
        kept, pair, _ = clear.keeps(path)
        depths = np.array([clear.distances(q) for q in path]).min(axis=0) - body.collision.margin - collision.SLACK
        assert kept == bool((depths >= 0).all())
        assert pair == -1 or depths[pair] < 0
        same += not kept
    assert same > 3


@pytest.mark.parametrize("name", SHAPED)
def test_a_pushed_robot_leaves_again_or_raises_an_alarm(name):
    body, rng = robot(name), np.random.default_rng(11)
    ends = [pushed(body, rng) for _ in range(24)]
    assert "late" not in ends, ends.index("late")
    assert ends.count("left") > 18


def test_without_mujoco_it_is_off_and_says_so(monkeypatch):
    def missing():
        raise MissingPackage("mujoco is not installed. Next: pip install 'palmar[sim]'")

    monkeypatch.setattr(collision, "import_mujoco", missing)
    safety = Safety(robot("arm7"))
    assert safety.off == ("collision: mujoco is not installed. Next: pip install 'palmar[sim]'",)
    assert "collision" not in safety.counts
    assert "collision: no collision shapes are given" in Safety(replace(robot("arm7"), collision=Collision())).off


def test_wrong_shapes_are_refused():
    with pytest.raises(BadValue, match=r"shape 'a' \(box\) has size \[0.1\]; expected 3 numbers > 0: half x"):
        CollisionShape("a", "box", (0.1,))
    with pytest.raises(BadValue, match="expected 2 numbers > 0: radius, half length"):
        CollisionShape("a", "capsule", (0.1, -1.0))
    with pytest.raises(UnknownName, match="kind of collision shape 'a' 'cone'"):
        CollisionShape("a", "cone", (0.1,))
    ball = CollisionShape("a", "sphere", (0.1,))
    with pytest.raises(BadValue, match="two collision shapes are called 'a'"):
        Collision((ball, ball))
    with pytest.raises(UnknownName, match="shape of an allowed pair 'b'"):
        Collision((ball,), (("a", "b"),))
    with pytest.raises(UnknownName, match="joint channel of collision shape 'a' 'elbow'"):
        replace(robot("arm7"), collision=Collision((replace(ball, channel="elbow"),)))


def test_a_shape_on_a_slide_moves_with_it():
    body = robot("arm7")
    chain = Chain(np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]), np.zeros(3), np.array([1.0, 0, 0, 0]), (True,))
    slide = replace(body.channels[0], name="z", kind="prismatic", unit="m", lower=0.0, upper=1.0, home=0.5, coupling="")
    frame = replace(body.frame(), joints=("z",), chain=chain, workspace=None, zones=())
    shapes = (
        CollisionShape("ball", "sphere", (0.1,), "z"),
        CollisionShape("far", "sphere", (0.1,), "", (0.0, 0.0, 1.0)),
        CollisionShape("near", "sphere", (0.1,), "", (0.0, 0.0, -0.5)),
    )
    lift = replace(
        body,
        name="lift",
        channels=(slide,),
        frames=(frame,),
        state=(),
        action_space="channels",
        collision=Collision(shapes),
    )
    assert (
        Safety(lift).off[-1] == "collision: no two shapes move against each other that may not touch"
    )  # one joint: adjacent
