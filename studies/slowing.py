"""What does slowing along the path keep, where guards that clip would leave it?

A policy leads the tool of arm7 along a line past a box, from where it sees that it is: chunks of 16 joint actions at 10 Hz. The
box crosses the line to and fro ("moving"), or stands a few millimetres beside it ("tight"). The body follows perfectly, so what
differs is the control path alone. The zone is where the moving box will be within the next second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from study import Row, Rows, Size, Study, compared, points, verdict

from palmar.eval.stats import Rate
from palmar.robots import robot
from palmar.runtime.control.path import Control
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.zones import keep_out, zones_of
from palmar.types import ActionChunk, Array, Observation, Prefix

if TYPE_CHECKING:
    from making import Lab

    from palmar.embodiments import Embodiment
    from palmar.robot_parts import Frame
    from palmar.runtime.safety.zones import Zone

ARMS = ("unfiltered", "clipping", "slowing")
SCENES = ("moving", "tight")
SECONDS, HORIZON = 12.0, 16
NEAR = 0.02  # of the goal: reached [m]
SWEEP = 1.0  # of the box's motion that the zone covers [s]
MARGIN = 0.01  # kept from the moving box [m]
HALF = np.array([0.04, 0.04, 0.15])  # of the box [m]


class Scene:
    """A line for the tool and a box, by seed. time: now, on the episode's time [s]."""

    def __init__(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.kind, self.time = kind, 0.0
        self.robot = robot("arm7", "channels")
        frame = self.robot.frame()
        x, z = rng.uniform(0.42, 0.55), rng.uniform(0.15, 0.35)
        side = rng.choice([-1.0, 1.0])
        start, goal = np.array([x, -0.22 * side, z]), np.array([x + rng.uniform(-0.05, 0.05), 0.22 * side, z])
        share = np.linspace(0.0, 1.0, round(rng.uniform(16, 28)))
        share = share**3 * (10 - 15 * share + 6 * share**2)
        q = self.robot.positions(frame, self.robot.home)
        rotation = frame.chain.forward(q)[1]
        path = []
        for at in start + share[:, None] * (goal - start):
            q = frame.chain.solve(q, at, rotation, q)
            path.append(q)
        self.path = np.repeat(self.robot.home[None], len(path), axis=0)
        self.path[:, self.robot.path(frame)] = self.robot.commands(frame, np.array(path))
        self.goal = self.robot.pose(frame, self.path[-1])[0]
        middle = 0.5 * (start + goal)
        self._speed, self._phase = rng.uniform(0.08, 0.2), rng.uniform(0.0, 1.0)
        if kind == "tight":
            middle = middle + np.array([(HALF[0] + rng.uniform(0.003, 0.01)) * rng.choice([-1.0, 1.0]), 0.0, 0.0])
        self._middle = middle

    def box(self, ahead: float = 0.0) -> Array:
        """Corners [2, 3] of the box `ahead` seconds from now."""
        centre = self._middle.copy()
        if self.kind == "moving":  # to and fro over 0.6 m, at one speed
            way = ((self.time + ahead) * self._speed / 0.6 + self._phase) % 2.0
            centre[0] += 0.6 * (abs(way - 1.0) - 0.5)
        return np.stack([centre - HALF, centre + HALF])

    def swept(self) -> Array:
        boxes = np.stack([self.box(t) for t in (0.0, SWEEP / 2, SWEEP)])
        return np.stack([boxes[:, 0].min(0), boxes[:, 1].max(0)])

    def zones(self, body: Embodiment, frame: Frame) -> list[Zone]:
        if self.kind == "tight":
            box = self.box()
            return [*zones_of(body, frame), keep_out(frame, lambda: box, moves=False)]
        return [*zones_of(body, frame), keep_out(frame, self.swept, margin=MARGIN)]


class Follower:
    """Goes on along the path from the point nearest to what it sees."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.interface = scene, scene.robot.interface(HORIZON)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        path, joints = self.scene.path, self.scene.robot.moves_joint
        fine = np.linspace(0.0, len(path) - 1.0, 8 * len(path))
        dense = np.stack([np.interp(fine, np.arange(len(path)), path[:, i]) for i in np.flatnonzero(joints)], axis=1)
        seen = self.scene.robot.measured(obs.state)[joints]
        at = fine[int(np.linalg.norm(dense - seen, axis=1).argmin())]
        steps = np.minimum(at + 1.0 + np.arange(HORIZON), len(path) - 1.0)
        actions = np.stack([np.interp(steps, np.arange(len(path)), column) for column in path.T], axis=1)
        return ActionChunk(actions.astype(np.float32), 1.0 / self.scene.robot.policy_rate, obs.time)


class Judge(Subscriber):
    """contacts: ticks with the tool in the box, of which `driven` while the robot moved. slowed: ticks below full speed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.contacts = self.driven = self.slowed = self.ticks = self.changed = 0
        self._last: Array | None = None
        self.reached = False

    def on_tick(self, tick: Tick) -> None:
        scene = self.scene
        scene.time = tick.time
        tool = scene.robot.pose(scene.robot.frame(), tick.verdict.command)[0]
        low, high = scene.box()
        if ((tool > low) & (tool < high)).all():
            self.contacts += 1
            moved = self._last is not None and float(np.linalg.norm(tool - self._last)) > 1e-5
            self.driven += moved
        self._last = tool
        self.ticks, self.slowed = self.ticks + 1, self.slowed + (tick.speed < 1.0)
        self.changed += bool(tick.verdict.reasons)
        self.reached = self.reached or bool(np.linalg.norm(tool - scene.goal) < NEAR)


def trial(arm: str, kind: str, seed: int) -> tuple[Judge, float]:
    scene = Scene(kind, seed)
    body = MockBody(scene.robot)
    body.reset()
    body.apply(scene.path[0])
    body.apply(scene.path[0])
    body.commands.clear()
    judge = Judge(scene)
    safety = Safety(scene.robot, zones=zones_of if arm == "unfiltered" else scene.zones)
    control = Control(scene.robot, safety, slowing=arm == "slowing")
    outcome = rollout(
        body, Follower(scene), body.observe(), control=control, subscribers=(judge,), timeout=SECONDS,
        stop=lambda: judge.reached,
    ).check()  # fmt: skip
    return judge, outcome.duration


def measure(lab: Lab, arm: str) -> Row:
    row: Row = {}
    for kind in SCENES:
        runs = {str(seed): trial(arm, kind, seed) for seed in range(lab.size.trials)}
        ticks = max(sum(j.ticks for j, _ in runs.values()), 1)
        for name, of in (("reached", lambda j: j.reached), ("no contact", lambda j: not j.contacts)):
            told = {seed: bool(of(j)) for seed, (j, _) in runs.items()}
            row[f"{kind}: {name}"], row[f"_{kind} {name}"] = Rate(sum(told.values()), len(told)), told
        both = {seed: j.reached and not j.contacts for seed, (j, _) in runs.items()}
        row[f"{kind}: both"], row[f"_{kind} both"] = Rate(sum(both.values()), len(both)), both
        row[f"{kind}: driven into [trials]"] = sum(j.driven > 0 for j, _ in runs.values())
        row[f"{kind}: seconds"] = float(np.mean([seconds for _, seconds in runs.values()]))
        row[f"{kind}: slowed [%]"] = 100.0 * sum(j.slowed for j, _ in runs.values()) / ticks
        row[f"{kind}: clipped [%]"] = 100.0 * sum(j.changed for j, _ in runs.values()) / ticks
    return row


def answer(rows: Rows) -> str:
    said = []
    for kind in SCENES:
        against = {
            arm: compared(rows["unfiltered"][f"_{kind} reached"], rows[arm][f"_{kind} reached"])
            for arm in ("clipping", "slowing")
        }
        said.append(
            f"{kind.capitalize()}: the goal is reached {points(against['slowing'])} against unfiltered with slowing, "
            f"{points(against['clipping'])} with clipping; slowing {verdict(against['slowing'])} unfiltered, and without any "
            f"contact in {rows['slowing'][f'{kind}: both']} against {rows['unfiltered'][f'{kind}: both']} unfiltered and "
            f"{rows['clipping'][f'{kind}: both']} clipped."
        )
    return " ".join(said)


def figure(rows: Rows) -> str:
    from palmar.eval import plots

    series = {
        arm: [(float(k), rows[arm][f"{kind}: both"]) for k, kind in enumerate(SCENES)] for arm in rows
    }  # fmt: skip
    return plots.trend(series, "Reached without contact", "0: moving box, 1: tight passage")


STUDY = Study(
    question="What does slowing along the path keep, where guards that clip would leave it?",
    arms=ARMS,
    expectation="Slowing reaches the goal within 5 points of unfiltered and never drives into the box; clipping slides off.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100),
    quick=Size(trials=3),
    settings={"seconds": SECONDS, "near": NEAR, "sweep": SWEEP, "margin": MARGIN, "half": HALF.tolist()},
)
