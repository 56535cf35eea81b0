"""Guards: one function each. `safety.Safety` folds them over every command.

A guard takes the `Move` a command asks for, may soften it or halt it, and answers with its reason: its name, the
quantity and the bound in short human words; None when it changed nothing. A zone takes points of the arm and answers
how far each is inside; it is checked along the whole braking path. Adding either is one function in `GUARDS`, `ZONES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from palmar.embodiments import Embodiment
from palmar.kinematics import Chain, quat_to_matrix
from palmar.types import Array, Observation


@dataclass(frozen=True)
class Limits:
    """What one control tick may do: float64[J] position [rad], velocity [rad/s], acceleration [rad/s²], and `dt` [s].

    They lie inside the robot's own limits by one part in a million, so rounding never crosses those. At a high control
    rate jerk binds first: a change of acceleration by 2·a in one tick is a jerk of 2·a/dt, so a ≤ jerk·dt/2 keeps it.
    At 50 Hz Franka's jerk limits are five times wider than that and change nothing.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    dt: float

    @classmethod
    def of(cls, robot: Embodiment) -> Limits:
        dt, inside = 1.0 / robot.control_rate, 1.0 - 1e-6
        acceleration = np.minimum(robot.acceleration, 0.5 * dt * robot.jerk) * inside
        return cls(robot.position_lower + 1e-6, robot.position_upper - 1e-6, robot.velocity * inside, acceleration, dt)

    def reachable(self, room: Array) -> Array:
        """Largest speed [rad/s] that, kept for one tick and then braked at the limit, stops within `room` [rad] ≥ 0.

        In units of a·dt and a·dt² braking from u takes u + (u-1) + (u-2) + … = n·u - n(n-1)/2 with n = ⌈u⌉; this is the
        inverse. Exact for ticks (v·dt + v²/2a ≤ room is its limit for small dt), so full braking stays admissible:
        it leaves exactly the room the next, slower step needs.
        """
        unit = self.acceleration * self.dt
        x = np.maximum(room, 0.0) / (unit * self.dt)
        n = np.maximum(np.ceil(0.5 * np.sqrt(1.0 + 8.0 * x) - 0.5), 1.0)
        return (x / n + 0.5 * (n - 1.0)) * unit

    def braked(self, v: Array) -> Array:
        """The velocity [..., J] after one tick of full braking."""
        most = self.acceleration * self.dt
        return v - np.minimum(np.maximum(v, -most), most)


@dataclass(slots=True)
class Move:
    """One command on its way through the guards: what it asks for and where the robot stands.

    target: float64[J+1] as asked for. velocity: float64[J] wanted for this tick [rad/s]; guards soften it.
    gripper: opening wanted. lead: float64[J] velocity of the target itself [rad/s].
    slowest, fastest: float64[J] between which every joint limit is kept [rad/s].
    position, before: float64[J] the last command [rad] and the velocity it was reached with [rad/s].
    opening: the gripper's last command. now: [s] on the time of observations.
    halt: brake fully instead. yields: with halt, go back to the measured angles and rest there.
    stop: also ask the controller to leave RUN.
    """

    target: Array
    velocity: Array
    gripper: float
    lead: Array
    slowest: Array
    fastest: Array
    position: Array
    before: Array
    opening: float
    observation: Observation
    now: float
    robot: Embodiment
    limits: Limits
    stale_after: float
    max_error: float
    halt: bool = False
    yields: bool = False
    stop: bool = False


Guard = Callable[[Move], str | None]


def nan(move: Move) -> str | None:
    """A NaN or infinite target says nothing about where to go: brake."""
    if np.isfinite(move.target).all():
        return None
    move.halt = True
    i = int(np.argmin(np.isfinite(move.target)))
    return f"nan {(*move.robot.joints, 'gripper')[i]} target is {move.target[i]}"


def stale(move: Move) -> str | None:
    """Acting on an old picture of the world is acting blind."""
    age = move.now - move.observation.time
    if age <= move.stale_after + 1e-9:
        return None
    move.halt = move.stop = True
    return f"stale observation {age:.2f} > {move.stale_after:.2f} s"


def tracking(move: Move) -> str | None:
    """The arm is not where it was told to be: it hit something, jammed, or lost power. Stop pressing."""
    error = np.abs(move.position - move.observation.state[: len(move.position)])
    if (error <= move.max_error).all():
        return None
    move.halt = move.yields = move.stop = True
    i = int(np.argmax(~(error <= move.max_error)))
    return f"tracking {move.robot.joints[i]} {error[i]:.2f} > {move.max_error:.2f} rad"


def position(move: Move) -> str | None:
    """Aim at the nearest angles within the joint limits."""
    lower, upper, goal = move.limits.lower, move.limits.upper, move.target[:-1]
    inside = np.minimum(np.maximum(goal, lower), upper)
    over = np.abs(goal - inside)
    i = int(over.argmax())
    if over[i] <= 1e-5:  # the limits lie 1e-6 inside the robot's own
        return None
    move.target = np.append(inside, move.target[-1])
    move.velocity = (inside - move.position) / move.limits.dt
    return f"position {move.robot.joints[i]} {goal[i]:.4g} {'>' if goal[i] > inside[i] else '<'} {inside[i]:.4g} rad"


def velocity(move: Move) -> str | None:
    """Slow all joints by one factor, so the arm keeps its direction."""
    share = np.abs(move.velocity) / move.limits.velocity
    i = int(share.argmax())
    if share[i] <= 1.0:
        return None
    asked = abs(float(move.velocity[i]))
    move.velocity = move.velocity / share[i]
    return f"velocity {move.robot.joints[i]} {asked:.2f} > {move.limits.velocity[i]:.2f} rad/s"


def acceleration(move: Move) -> str | None:
    """Change speed no faster than allowed, and go only so fast that the arm can stop at its target.

    Were only the change limited, a target would be passed, come back to and passed again. The room to stop in is the
    way to the target, what the target itself needs to stop from the speed it moves at, so smooth motion passes
    untouched, and `a·dt²` (3 to 8 mrad), which a single tick makes good. A target that stops dead is passed once, by
    the way the arm takes to brake.
    """
    lim, wanted = move.limits, move.velocity
    most = lim.acceleration * lim.dt
    speed, softened = np.abs(wanted), wanted
    room = np.abs(move.target[:-1] - move.position) + most * lim.dt
    room = room + np.where(move.lead * wanted > 0, move.lead**2 / (2 * lim.acceleration), 0.0)
    share = lim.reachable(room) / np.maximum(speed, most)
    i = int(share.argmin())
    if slow := share[i] < 1.0:
        softened = wanted * share[i]
    softened = np.minimum(np.maximum(softened, move.before - most), move.before + most)
    if np.abs(softened - wanted).max() <= 1e-3:
        return None
    move.velocity = softened
    if slow:
        asked = float(speed[i])
    else:
        i = int((np.abs(wanted - move.before) / most).argmax())
        asked = abs(float(wanted[i] - move.before[i]))
    return f"acceleration {move.robot.joints[i]} {asked / lim.dt:.1f} > {lim.acceleration[i]:.1f} rad/s²"


def braking(move: Move) -> str | None:
    """Approach a joint limit only as fast as the arm can stop before it."""
    lim, here, wanted = move.limits, move.position, move.velocity
    softened = np.minimum(np.maximum(wanted, move.slowest), move.fastest)
    change = np.abs(softened - wanted)
    i = int(change.argmax())
    if change[i] <= 1e-3:
        return None
    move.velocity = softened
    v = float(wanted[i])
    end = here[i] + v * lim.dt + v * abs(v) / (2 * lim.acceleration[i])
    sign, bound = (">", lim.upper[i]) if v > 0 else ("<", lim.lower[i])
    return f"braking {move.robot.joints[i]} ends at {end:.4g} {sign} {bound:.4g} rad"


def gripper(move: Move) -> str | None:
    """An opening between 0 and 1 that changes no faster than the gripper can follow."""
    most = move.robot.gripper_velocity * move.limits.dt * (1 - 1e-6)
    asked = move.gripper
    move.gripper = min(max(asked, 0.0, move.opening - most), 1.0, move.opening + most)
    if abs(move.gripper - asked) <= 1e-5:
        return None
    if not -1e-5 <= asked <= 1.0 + 1e-5:
        return f"gripper opening {asked:.4g} {'> 1' if asked > 1 else '< 0'}"
    rate = abs(asked - move.opening) / move.limits.dt
    return f"gripper rate {rate:.2f} > {move.robot.gripper_velocity:.2f} openings/s"


GUARDS: tuple[Guard, ...] = (stale, tracking, nan, position, velocity, acceleration, braking, gripper)

EMERGENCIES = frozenset({"tracking"})
"""Guards whose stop may be a collision: an E-STOP where the others are a HOLD."""


class Skeleton:
    """Joint origins and the TCP of a serial arm, for a whole braking path in one go."""

    def __init__(self, chain: Chain) -> None:
        fixed = np.zeros((len(chain.quats), 4, 4))
        fixed[:, :3, :3], fixed[:, :3, 3], fixed[:, 3, 3] = quat_to_matrix(chain.quats), chain.offsets, 1.0
        # fixed · Rz(angle) is linear in cos, sin and 1: three constant matrices a joint.
        self._cos, self._sin, self._one = np.zeros_like(fixed), np.zeros_like(fixed), fixed.copy()
        self._cos[..., 0], self._cos[..., 1] = fixed[..., 0], fixed[..., 1]
        self._sin[..., 0], self._sin[..., 1] = fixed[..., 1], -fixed[..., 0]
        self._one[..., :2] = 0.0
        self._tool = np.append(chain.tool_offset, 1.0)
        lengths = np.linalg.norm(np.vstack([chain.offsets[1:], chain.tool_offset]), axis=1)
        self.reach = np.cumsum(lengths[::-1])[::-1]  # [J] how far from joint i's axis any later point can be [m]

    def points(self, q: Array) -> Array:
        """Points [N, J+1, 3] [m] in the base frame for joint angles q [N, J] [rad]: the joint origins, then the TCP."""
        c, s = np.cos(q)[..., None, None], np.sin(q)[..., None, None]
        turns = c * self._cos + s * self._sin + self._one
        out = np.empty((len(q), q.shape[1] + 1, 3))
        T = turns[:, 0]
        out[:, 0] = T[:, :3, 3]
        for i in range(1, q.shape[1]):
            T = T @ turns[:, i]
            out[:, i] = T[:, :3, 3]
        out[:, -1] = T[:, :3] @ self._tool
        return out


@dataclass(frozen=True, slots=True)
class Zone:
    """Where some points of the arm must be.

    inside: points [N, J+1, 3] → float[N, M], how far inside each of M bounds [m]; negative is outside. It must not
    change faster than the points move (a distance never does). words: the M quantities; bounds: their values [m];
    signs: '<' where smaller is outside, '>' where larger is.
    """

    name: str
    inside: Callable[[Array], Array]
    words: tuple[str, ...]
    bounds: Array
    signs: tuple[str, ...]

    def reason(self, inside: Array) -> str:
        """The worst of inside [N, M] in words."""
        depth = inside.min(axis=0)
        i = int(depth.argmin())
        value = self.bounds[i] + (depth[i] if self.signs[i] == "<" else -depth[i])
        return f"{self.name} {self.words[i]} {value:.3f} {self.signs[i]} {self.bounds[i]:.3f} m"


def workspace(robot: Embodiment) -> Zone:
    """The TCP stays in the robot's workspace box."""
    lower, upper = robot.workspace
    words = ("tcp.x", "tcp.y", "tcp.z")

    def inside(points: Array) -> Array:
        tcp = points[:, -1]
        return np.concatenate([tcp - lower, upper - tcp], axis=1)

    return Zone("workspace", inside, words * 2, robot.workspace.ravel(), ("<",) * 3 + (">",) * 3)


def floor(robot: Embodiment, height: float = 0.06) -> Zone:
    """Elbow, forearm and wrist stay a link's radius above the table (z = 0 of the base frame)."""
    moving = robot.joints[2:]
    return Zone(
        "floor", lambda p: p[:, 2:-1, 2] - height, tuple(f"{j}.z" for j in moving),
        np.full(len(moving), height), ("<",) * len(moving),
    )  # fmt: skip


def column(robot: Embodiment, radius: float = 0.17, height: float = 0.5) -> Zone:
    """Self-collision: the wrist stays out of the column the arm stands on, or above it (link radii included)."""

    def inside(points: Array) -> Array:
        wrist = points[:, -3:-1]
        return np.maximum(np.hypot(wrist[..., 0], wrist[..., 1]) - radius, wrist[..., 2] - height)

    return Zone("column", inside, tuple(f"{j}.radius" for j in robot.joints[-2:]), np.full(2, radius), ("<",) * 2)


ZONES: tuple[Callable[[Embodiment], Zone], ...] = (workspace, floor, column)
