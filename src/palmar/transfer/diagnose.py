"""Diagnostic motions: drive a body through the ordinary verbs and write down what its sensors say.

Two motions tell most about an arm and a table. Free motion: slews of the strong joints near their limits of speed and
acceleration, so that they lag most for their gain, damping and inertia; and steps of the wrist, whose small motors saturate, so
that its speed is torque limit over damping and tells the damping by itself. Sweep and release:
the arm swings a cube along the table and lets go; the cube slides to rest under friction alone.
Everything passes `runtime.safety`, nothing hidden is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, RobotFault, regular_file
from palmar.files import replace_file
from palmar.kinematics import rotvec_to_matrix
from palmar.runtime.loop import Body, resting_command
from palmar.runtime.safety.filter import Safety
from palmar.sim.scenario import Scenario
from palmar.sim.things import Item
from palmar.types import Array, Observation

TRACKER_NOISE = 5e-4  # [m] standard deviation a good tag or marker tracker has
REST = 0.6  # the arm rests this long before a free motion [s]
CENTRE = np.array([0.50, 0.0, 0.36])  # free motion happens around this TCP position, over everything on the table [m]
REACH = (0.30, 0.08, 0.25, 0.10, 0.13, 0.13, 0.13)  # furthest that the joints go from there [rad]
WAITS = (0.0, 0.0, 0.0, 0.0, 0.50, 0.56, 0.62)  # from one turn to the next at least: the wrist lags far behind [s]
HASTE = (0.9, 0.8)  # of the limits of speed and acceleration
WRIST = slice(4, 7)
SWING = 0.5  # angle of the first joint at either end of a sweep [rad]


@runtime_checkable
class Tracked(Protocol):
    """A body with a tracker: the centre of an object in the base frame [m]."""

    def item(self, i: int) -> Array: ...


@dataclass(frozen=True)
class Motion:
    """One recording of the arm. Row k is read one tick after command k was sent.

    command: float64[T, J+1] as sent. position: [T, J] measured [rad]. velocity: [T, J] measured [rad/s].
    start: [J] first measured angles [rad].
    """

    command: Array
    position: Array
    velocity: Array
    start: Array

    def __post_init__(self) -> None:
        T, J = self.position.shape if self.position.ndim == 2 else (0, 0)
        if T == 0 or self.command.shape != (T, J + 1) or self.velocity.shape != (T, J) or self.start.shape != (J,):
            raise BadValue(
                f"motion has command {list(self.command.shape)}, position {list(self.position.shape)}, velocity "
                f"{list(self.velocity.shape)}, start {list(self.start.shape)}; expected [T, J+1], [T, J], [T, J], [J]. "
                "Next: record it again with diagnose(world)"
            )
        for name in ("command", "position", "velocity", "start"):
            if not np.isfinite(getattr(self, name)).all():
                raise BadValue(f"motion has {name} values that are not finite. Next: record it again")


@dataclass(frozen=True)
class Slide:
    """One release, from the first command to open on. item: float64[T, 3] centre of the cube, base frame [m].

    opening: float64[T] measured gripper opening, 0 … 1; its first value is that of the closed grip.
    """

    item: Array
    opening: Array

    def __post_init__(self) -> None:
        if self.item.shape != (len(self.opening), 3) or len(self.opening) < 10:
            raise BadValue(
                f"slide has item {list(self.item.shape)}, opening {list(self.opening.shape)}; expected [T, 3], [T], T ≥ 10. "
                "Next: record it again with diagnose(world)"
            )


@dataclass(frozen=True)
class Recordings:
    """What diagnosis wrote down. `free` is fitted, `held_out` only judged.

    robot: name of the embodiment. dt: length of a tick [s]. tracker_noise: declared, of `Slide.item` [m].
    """

    robot: str
    dt: float
    free: Motion
    held_out: Motion
    slides: tuple[Slide, ...] = ()
    tracker_noise: float = TRACKER_NOISE
    notes: tuple[str, ...] = field(default=())

    def save(self, path: str | Path) -> None:
        """An .npz of plain arrays: no pickle."""
        about = {"robot": self.robot, "dt": self.dt, "tracker_noise": self.tracker_noise, "notes": list(self.notes)}
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
        for name in ("free", "held_out"):
            motion = getattr(self, name)
            arrays |= {f"{name}.{k}": getattr(motion, k) for k in ("command", "position", "velocity", "start")}
        for i, slide in enumerate(self.slides):
            arrays |= {f"slide{i}.item": slide.item, f"slide{i}.opening": slide.opening}

        def write(aside: Path) -> None:
            with aside.open("wb") as f:
                np.savez_compressed(f, **arrays)

        replace_file(path, write)

    @classmethod
    def load(cls, path: str | Path) -> Recordings:
        """Read what `save` wrote. Raises `BadFile`."""
        try:
            with np.load(regular_file(path), allow_pickle=False) as z:
                about = json.loads(str(z["about"]))
                motions = {
                    name: Motion(*(z[f"{name}.{k}"] for k in ("command", "position", "velocity", "start")))
                    for name in ("free", "held_out")
                }
                count = sum(k.endswith(".item") for k in z.files)
                slides = tuple(Slide(z[f"slide{i}.item"], z[f"slide{i}.opening"]) for i in range(count))
                return cls(
                    about["robot"], about["dt"], motions["free"], motions["held_out"], slides,
                    about["tracker_noise"], tuple(about["notes"]),
                )  # fmt: skip
        except FileNotFoundError:
            raise BadFile(
                f"no recordings at {path}; expected an .npz of diagnostic recordings. Next: diagnose(world).save(path)"
            ) from None
        except (KeyError, ValueError, OSError, EOFError, BadZipFile) as e:
            raise BadFile(
                f"{path} is not a diagnostic recording ({e}). Next: record it again with diagnose(world)"
            ) from None


def table() -> Scenario:
    """The table for diagnosis: one cube, with room to slide on either side. `world.load(table())` before `diagnose`."""
    x, y = 0.52 * np.cos(-SWING), 0.52 * np.sin(-SWING)
    cube = Item("cube", "red", float(x), float(y), -SWING)
    return Scenario("push", "push the red cube left", (cube,), 0, None, "left")


def diagnose(
    body: Body, *, seconds: float = 20.0, held_out: float = 4.0, slides: int = 5, seed: int = 0, haste: float = 1.0
) -> Recordings:
    """Run the diagnostic motions on a body and record them.

    seconds, held_out: length of the fitted and of the judged free motion [s]. slides: sweeps with a release; 0 when the
    body has no tracker (`Tracked`). seed: of the motions and of the tracker's declared noise. haste: of the free motions'
    ordinary speed and acceleration, 0.1 … 1. A simulated world must be loaded with `table()` first. Raises `BadValue` on
    other tables, `RobotFault` when the safety layer stops the arm: one that hears commands late lags too far behind at full haste.
    """
    if not min(seconds, held_out) >= 2.0:
        raise BadValue(
            f"free motions of {seconds} s and {held_out} s; expected at least 2 s each. Next: longer motions"
        )
    if not 0.1 <= haste <= 1.0:
        raise BadValue(f"haste {haste} is not in 0.1 … 1. Next: 1, or 0.6 for an arm that lags")
    robot = body.embodiment
    drive = _Drive(body, haste)
    free = drive.free(seconds, seed)
    judged = drive.free(held_out, seed + 1000)
    tracks: tuple[Slide, ...] = ()
    notes: tuple[str, ...] = ()
    if slides and not isinstance(body, Tracked):
        notes = ("the body has no tracker (`item`): no slide was recorded",)
    elif slides:
        tracks, notes = drive.slides(slides, seed)
    return Recordings(robot.name, 1.0 / robot.control_rate, free, judged, tracks, notes=notes)


class ArmLags(RobotFault):
    """The safety layer stopped the arm because it was not where it was commanded to be."""


def diagnose_slower(body: Body, hastes: Sequence[float] = (1.0, 0.6, 0.4), **options: Any) -> Recordings:
    """`diagnose`, of a simulated body, whose arm may lag: after a stop because it lagged once more with the next haste. A note
    says which it was. A person looks at a real arm after a stop; this does not wait for one. Raises `RobotFault` when the last
    is stopped too, `BadValue` as `diagnose`."""
    for haste in hastes:
        try:
            recorded = diagnose(body, haste=haste, **options)
        except ArmLags:
            if haste == hastes[-1]:
                raise
            continue
        slower = f"the free motions went at {haste:g} of their ordinary speed: faster ones were stopped, the arm lags"
        return replace(recorded, notes=(*recorded.notes, slower)) if haste < hastes[0] else recorded
    raise BadValue("no haste is given; expected one or more, from the fastest on. Next: hastes=(1.0, 0.6)")


def excitation(robot: Embodiment, seconds: float, seed: int = 0, haste: float = 1.0) -> Array:
    """Joint targets float64[T, J] of a free motion around `CENTRE`, starting and ending there.

    Slews between random places either side of it near the joints' limits, of the wrist faster than its motors can follow. Scaled
    so that the TCP stays in the workspace. haste: of that speed and acceleration, 0.1 … 1.
    """
    rng = np.random.default_rng([31, seed])
    frame = robot.frame()
    dt, joints, home = 1.0 / robot.control_rate, len(frame.joints), robot.positions(frame, robot.home)
    fastest, rate = (robot.array(q)[robot.path(frame)] for q in ("velocity", "acceleration"))
    t = np.arange(round(seconds / dt)) * dt
    centre = frame.chain.solve(home, CENTRE, np.diag([1.0, -1.0, -1.0]), home)
    waves = np.zeros((len(t), joints))
    for j, (reach, wait) in enumerate(zip(REACH, WAITS, strict=True)):
        waves[:, j] = _slews(len(t), dt, reach, haste * HASTE[0] * fastest[j], haste * HASTE[1] * rate[j], wait, rng)
    ease = np.clip(np.minimum(t, t[-1] - t) / 0.7, 0, 1) ** 2
    waves *= ease[:, None]
    box = workspace(robot) + np.array([[0.04, 0.04, 0.13], [-0.04, -0.04, -0.03]])
    for scale in np.linspace(1.0, 0.1, 19):
        tcp = frame.chain.forward(centre + scale * waves)[0]
        if (tcp > box[0]).all() and (tcp < box[1]).all():
            break
    return centre + scale * waves


def _slews(
    ticks: int, dt: float, reach: float, speed: float, rate: float, wait: float, rng: np.random.Generator
) -> Array:
    """Positions float64[ticks] that go to and fro between random places, each 0.7 … 1 of `reach` away from 0, with trapezoids of
    speed: at most `speed`, changing by at most `rate` a second. wait: from one turn to the next at least [s]."""
    out, q, v, turned = np.empty(ticks), 0.0, 0.0, 0
    goal = reach * rng.choice([-1.0, 1.0])
    for k in range(ticks):
        way = goal - q
        wanted = np.sign(way) * min(speed, np.sqrt(1.6 * rate * abs(way)), abs(way) / dt)
        v += np.clip(wanted - v, -rate * dt, rate * dt)
        out[k] = q = q + v * dt
        if abs(goal - q) < 0.02 * reach + 0.01 and (k - turned) * dt >= wait:
            goal, turned = -np.sign(goal) * reach * rng.uniform(0.7, 1.0), k
    return out


def check_diagnosable(robot: Embodiment) -> None:
    """Raise `BadValue` unless the motions here fit the robot: one frame over seven joints in radians, then one gripper."""
    fits = len(robot.frames) == 1 and len(robot.frame().joints) == 7 and len(robot.channels) == 8
    if not fits or robot.channels[-1].kind != "opening" or robot.frame().workspace is None:
        raise BadValue(
            f"{robot.name} has {len(robot.frames)} frames and channels {', '.join(robot.channel_names)}; the diagnostic motions "
            "are for a 7-joint arm with a gripper. Next: palmar sysid with --robot arm7"
        )


def workspace(robot: Embodiment) -> Array:
    """float64[2, 3] corners of the box of the first frame [m]."""
    box = robot.frame().workspace
    assert box is not None
    return box


class _Drive:
    """Sends targets through the safety layer, one a tick."""

    def __init__(self, body: Body, haste: float = 1.0) -> None:
        self.body, self.robot, self.haste = body, body.embodiment, haste
        check_diagnosable(self.robot)
        self.safety = Safety(self.robot)
        self.chain = self.robot.frame().chain
        path = self.robot.path(self.robot.frame())
        self.fastest, self.rate = (self.robot.array(q)[path] for q in ("velocity", "acceleration"))
        self.home = self.robot.positions(self.robot.frame(), self.robot.home)
        self.dt = 1.0 / self.robot.control_rate
        self.begin()

    def begin(self) -> None:
        self.obs: Observation = self.body.reset()
        self.command = resting_command(self.robot, self.obs)
        self.safety.reset(self.command)

    def tick(self, target: Array, opening: float) -> None:
        goal = np.append(target, opening)
        verdict = self.safety.check(goal, self.obs, self.obs.time)
        if verdict.stop:
            lags = verdict.reasons[-1].guard == "tracking"  # the last one is what stopped it
            raise (ArmLags if lags else RobotFault)(
                f"diagnosis was stopped: {'; '.join(map(str, verdict.reasons))}. "
                f"Next: look at the robot, and record again, slower if it only lagged: diagnose(body, haste={0.6 * self.haste:.2g})"
            )
        self.command = verdict.command
        self.body.apply(self.command)
        self.obs = self.body.observe(images=False)

    def to(self, target: Array, opening: float, share: float = 0.4, settle: float = 0.3) -> None:
        """Move to joint angles [J] along a straight line with smooth ends, then wait.

        share: of the velocity limits; the wrist goes at half of it, its motors are weak.
        """
        begin, opened = self.command[:-1], self.command[-1]
        speed = share * self.fastest
        speed[WRIST] *= 0.5
        n = max(
            int(np.ceil(1.5 * (np.abs(target - begin) / speed).max() / self.dt)), round(abs(opening - opened) / 0.03), 1
        )
        for k in range(1, n + 1):
            s = k / n
            self.tick(begin + (target - begin) * s * s * (3 - 2 * s), opened + (opening - opened) * s)
        for _ in range(round(settle / self.dt)):
            self.tick(target, opening)

    def free(self, seconds: float, seed: int) -> Motion:
        self.begin()
        path = excitation(self.robot, seconds, seed, self.haste)
        self.to(path[0], 1.0)
        n = len(self.home)
        start = self.obs.state[:n].astype(float)
        rows: list[tuple[Array, Array, Array]] = []
        for target in [*[path[0]] * round(REST / self.dt), *path]:
            self.tick(target, 1.0)
            rows.append((self.command, self.obs.state[:n].astype(float), self.obs.state[n : 2 * n].astype(float)))
        command, position, velocity = (np.array(c) for c in zip(*rows, strict=True))
        return Motion(command, position, velocity, start)

    def slides(self, count: int, seed: int) -> tuple[tuple[Slide, ...], tuple[str, ...]]:
        """Grasp the cube, swing it with the first joint at about 1 m/s, open, watch it slide; then from the other side."""
        self.begin()
        rng = np.random.default_rng([37, seed])
        track: Callable[[], Array] = lambda: self.body.item(0) + rng.normal(0, TRACKER_NOISE, 3)  # type: ignore[attr-defined]  # noqa: E731
        done: list[Slide] = []
        notes: list[str] = []
        for i in range(count):
            at = np.mean([track() for _ in range(10)], axis=0)
            if not self._reachable(at):
                notes.append(f"slide {i}: the cube is at {np.round(at, 3).tolist()}, out of reach; stopped there")
                break
            around = np.arctan2(at[1], at[0])
            side = -1.0 if around > 0 else 1.0
            over, grip = self._pose(at + [0, 0, 0.10], around), self._pose(at, around)
            self.to(over, 1.0)
            self.to(grip, 1.0, share=0.2)
            self.to(grip, 0.0)
            back = grip.copy()
            back[0] = -side * SWING + (grip[0] - around)
            self.to(back, 0.0, share=0.3)  # carry it to the end of the swing
            if np.linalg.norm(track() - self._tcp()) > 0.03:
                notes.append(f"slide {i}: the cube slipped out of the grip")
                self._lift()
                continue
            done.append(self._swing(back, side, track))
            self._lift()
        return tuple(done), tuple(notes)

    def _swing(self, back: Array, side: float, track: Callable[[], Array]) -> Slide:
        """Accelerate, let go at full speed, run on and brake; record from letting go until 0.7 s later."""
        fastest, rate = 0.95 * self.fastest[0], 0.6 * self.rate[0]
        q, v, rows, opening = back.copy(), 0.0, [], 0.0
        for k in range(round(1.6 / self.dt)):
            travelled = side * (q[0] - back[0])
            if travelled < 0.55:
                v = min(v + rate * self.dt, fastest)
            else:
                v = max(v - rate * self.dt, 0.0)
            if travelled > 0.30:
                opening = min(opening + self.robot.channels[-1].velocity * self.dt, 1.0)
            q[0] += side * v * self.dt
            self.tick(q, opening)
            if opening > 0:
                rows.append((track(), float(self.obs.state[2 * len(q)])))
            if len(rows) * self.dt > 0.7 or k * self.dt > 1.5:
                break
        item, opened = (np.array(c) for c in zip(*rows, strict=True))
        return Slide(item, opened)

    def _lift(self) -> None:
        """Up from the table, where the arm is."""
        here, rotation = self.chain.forward(self.command[:-1])
        up = np.array([here[0], here[1], here[2] + 0.10])
        q = self.command[:-1]
        self.to(self.chain.solve(q, up, rotation, q), 1.0)

    def _tcp(self) -> Array:
        return self.chain.forward(self.obs.state[: len(self.home)])[0]

    def _reachable(self, at: Array) -> bool:
        low, high = workspace(self.robot)
        r = np.hypot(at[0], at[1])
        return bool((at[:2] > low[:2]).all() and (at[:2] < high[:2]).all() and 0.4 < r < 0.68)

    def _pose(self, at: Array, around: float) -> Array:
        """Joint angles with the tool down over a point, fingers on the near and far side: the way along the swing is free."""
        rotation = rotvec_to_matrix(np.array([0, 0, around + np.pi / 2])) @ np.diag([1.0, -1.0, -1.0])
        posture = self.home.copy()
        posture[0], posture[6] = around, self.home[6] - np.pi / 2
        return self.chain.solve(posture, at, rotation, posture, iterations=100)
