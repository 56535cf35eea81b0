"""Robots as values: channels, frames, cameras and rates (`robot_parts`), and the arithmetic of all of them together. A new robot is
a new value and a body that moves it.

A robot has any number of channels and frames; a gripper is a channel like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.kinematics import steady_quat
from palmar.magnitudes import RATES as TICKS
from palmar.magnitudes import check_resolution
from palmar.mapping import Interface
from palmar.robot_parts import Camera, Channel, Frame, Measurement, state_of
from palmar.shapes import Collision, JointPlace, joint_places
from palmar.thresholds import Thresholds
from palmar.types import Array
from palmar.units import check_unit, conversion

ActionSpaceName = Literal["ee_delta", "channels"]
DELTA = ("dx", "dy", "dz", "drx", "dry", "drz")
LITTLE = 1e-3
"""Two commands that differ by less than this share of a channel's width (`Embodiment.widths`) ask for the same."""
JITTER = 0.01
"""Share of a channel's width that a reading may change by between two ticks without being wrong."""


@dataclass(frozen=True)
class Embodiment:
    """A robot as a value.

    channels: what it is commanded by, in the order of a command float64[N]. frames: named points (none: joint spaces
    only). cameras: what its policies look through. state: what it measures, in the order of `Observation.state`; by default
    `state_of(channels, frames)`. control_rate: commands a second the body takes [Hz]. policy_rate: actions a second a
    policy gives [Hz]. action_space: `channels` (absolute commands of all channels) or `ee_delta` (steps of every frame,
    absolute commands of the channels that are on no frame's path). notes: what a person should know of it. collision: shapes
    that are kept apart. thresholds: of the guards that watch its readings.
    """

    name: str
    channels: tuple[Channel, ...]
    frames: tuple[Frame, ...] = ()
    cameras: tuple[Camera, ...] = ()
    state: tuple[Measurement, ...] = ()
    control_rate: float = 50.0
    policy_rate: float = 10.0
    action_space: ActionSpaceName = "channels"
    notes: str = ""
    collision: Collision = field(default_factory=Collision)
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        if not self.channels:
            raise BadValue(f"{self.name} has no channels; expected at least one. Next: add a channel for each motor")
        if not self.state:
            object.__setattr__(self, "state", state_of(self.channels, self.frames))
        for what, names in (
            ("channels", [c.name for c in self.channels]), ("frames", [f.name for f in self.frames]),
            ("cameras", [c.name for c in self.cameras]), ("measurements", [m.name for m in self.state]),
        ):  # fmt: skip
            if twice := sorted(n for n, times in Counter(names).items() if times > 1):
                raise BadValue(
                    f"{self.name}: two {what} are called '{twice[0]}'; expected different names. Next: rename one"
                )
        moving = [c.name for c in self.channels if c.moves_joint]
        for f in self.frames:
            for joint in f.joints:
                if joint not in moving:
                    raise UnknownName(f"joint channel of frame '{f.name}'", joint, moving)
        for m in self.state:
            known = [f.name for f in self.frames] if m.quantity == "pose" else self.channel_names
            if m.quantity != "other" and m.of not in known:
                raise UnknownName(f"{'frame' if m.quantity == 'pose' else 'channel'} of '{m.name}'", m.of, known)
            check_unit(m.unit, f"unit of '{m.name}'")
        for shape in self.collision.shapes:
            if shape.channel and shape.channel not in self.joint_places:
                raise UnknownName(f"joint channel of collision shape '{shape.name}'", shape.channel, self.joint_places)
        for name in self.thresholds.forces:
            if name not in self.state_names:
                raise UnknownName("measurement with a largest force", name, self.state_names)
        _ = self._scales, self._measured  # units that do not convert are refused here
        if self.action_space not in get_args(ActionSpaceName):
            raise UnknownName("action space", str(self.action_space), get_args(ActionSpaceName))
        if self.action_space == "ee_delta":
            if not self.frames:
                raise BadValue(f"{self.name} has no frames, so no 'ee_delta' actions. Next: action space 'channels'")
            paths = [j for f in self.frames for j in f.joints]
            if shared := sorted({j for j in paths if paths.count(j) > 1}):
                raise BadValue(
                    f"{self.name}: '{shared[0]}' is on the path of two frames, whose 'ee_delta' actions would both command it. "
                    "Next: action space 'channels', or frames whose paths begin after it"
                )
        for what in ("control_rate", "policy_rate"):
            value = getattr(self, what)
            if not TICKS[0] <= value <= TICKS[1]:
                raise BadValue(
                    f"{self.name}: {what} is {value} Hz; expected {TICKS[0]:g} … {TICKS[1]:g}. Next: a rate in that range"
                )
        ratio = self.control_rate / self.policy_rate
        if ratio < 0.5 or abs(ratio - round(ratio)) > 1e-6:
            raise BadValue(
                f"{self.name}: control_rate {self.control_rate} Hz is {ratio:.4g} × policy_rate {self.policy_rate} Hz; "
                f"expected a whole number of control ticks an action. "
                "Next: a control_rate that is 1, 2, 3 … times the policy_rate"
            )
        for c in self.channels:
            orders = ("acceleration", "jerk") if c.kind == "velocity" else ("velocity", "acceleration", "jerk")
            furthest = max(abs(c.lower), abs(c.upper))
            check_resolution(c.name, furthest, self.control_rate, {q: getattr(c, q) for q in orders})

    # ---------------------------------------------------------------------------------------------- from files

    @classmethod
    def from_urdf(cls, path: str | Path, **options: Any) -> Embodiment:
        """A robot from a URDF file; see `palmar.description.from_description` for the options and errors."""
        from palmar.description.build import from_urdf

        return from_urdf(path, **options)

    @classmethod
    def from_mjcf(cls, path: str | Path, **options: Any) -> Embodiment:
        """A robot from an MJCF file; see `palmar.description.from_description` for the options and errors."""
        from palmar.description.build import from_mjcf

        return from_mjcf(path, **options)

    @classmethod
    def from_dataset(cls, dataset: Any, **options: Any) -> Embodiment:
        """A robot from what was demonstrated; see `palmar.description.from_dataset`."""
        from palmar.description.dataset import from_dataset

        return from_dataset(dataset, **options)

    @classmethod
    def from_file(cls, path: str | Path) -> Embodiment:
        """The robot in a robot file (TOML). Raises `BadFile`."""
        from palmar.description.file import read_robot

        return read_robot(path)

    # ---------------------------------------------------------------------------------------------- names

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.channels)

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.state)

    @property
    def action_names(self) -> tuple[str, ...]:
        """`channels`: the channels. `ee_delta`: dx, dy, dz [m] and drx, dry, drz [rad] of each frame (FRAME.dx where there
        are several), then the channels that are on no frame's path."""
        if self.action_space == "channels":
            return self.channel_names
        many = len(self.frames) > 1
        deltas = [f"{f.name}.{d}" if many else d for f in self.frames for d in (DELTA if f.rotates else DELTA[:3])]
        return (*deltas, *(self.channels[i].name for i in self.free))

    @property
    def action_units(self) -> tuple[str, ...]:
        if self.action_space == "channels":
            return tuple(c.unit for c in self.channels)
        steps = [u for f in self.frames for u in (("m",) * 3 + (("rad",) * 3 if f.rotates else ()))]
        return (*steps, *(self.channels[i].unit for i in self.free))

    @cached_property
    def free(self) -> tuple[int, ...]:
        """Indices of the channels that are on no frame's path."""
        held = {j for f in self.frames for j in f.joints}
        return tuple(i for i, c in enumerate(self.channels) if c.name not in held)

    # ---------------------------------------------------------------------------------------------- look-ups

    def index(self, channel: str) -> int:
        """Where a channel is in a command. Raises `UnknownName`."""
        if channel not in self.channel_names:
            raise UnknownName(f"channel of {self.name}", channel, self.channel_names)
        return self.channel_names.index(channel)

    def frame(self, name: str = "") -> Frame:
        """A frame by its name, the first for "". Raises `UnknownName`, `BadValue` when there is none."""
        if not self.frames:
            raise BadValue(
                f"{self.name} has no frames (no kinematics are known). Next: a robot file with a description"
            )
        if not name:
            return self.frames[0]
        found = next((f for f in self.frames if f.name == name), None)
        if found is None:
            raise UnknownName(f"frame of {self.name}", name, [f.name for f in self.frames])
        return found

    def path(self, frame: Frame) -> Array:
        """int64[J]: where the channels of a frame's path are in a command."""
        known = self._paths.get(frame.joints)
        return np.array([self.index(j) for j in frame.joints], np.int64) if known is None else known

    def positions(self, frame: Frame, command: Array) -> Array:
        """Joint positions [..., J] [rad], [m] along a frame's path for commands [..., N] in the channels' units."""
        scale, offset = self._si(frame.name)
        return np.asarray(command)[..., self.path(frame)] * scale + offset

    def commands(self, frame: Frame, positions: Array) -> Array:
        """The inverse of `positions`: values [..., J] of the channels along a frame's path."""
        scale, offset = self._si(frame.name)
        return (np.asarray(positions) - offset) / scale

    def pose(self, frame: Frame, command: Array) -> tuple[Array, Array]:
        """Position [..., 3] [m] and rotation [..., 3, 3] of a frame for commands [..., N]."""
        return frame.chain.forward(self.positions(frame, command))

    @cached_property
    def _paths(self) -> dict[tuple[str, ...], Array]:
        return {f.joints: np.array([self.index(j) for j in f.joints], np.int64) for f in self.frames}

    def _si(self, frame: str) -> tuple[Array, Array]:
        return self._scales[frame]

    @cached_property
    def joint_places(self) -> dict[str, JointPlace]:
        """{channel on a frame's path: where its joint frame is}, each after the one before it."""
        return joint_places((f.joints, f.chain) for f in self.frames)

    @cached_property
    def _scales(self) -> dict[str, tuple[Array, Array]]:
        out = {}
        for f in self.frames:
            pairs = np.array([self.channels[i].to_si for i in self.path(f)])
            out[f.name] = pairs[:, 0], pairs[:, 1]
        return out

    # ---------------------------------------------------------------------------------------------- arrays over channels

    def array(self, quantity: str) -> Array:
        """float64[N] of a field of every channel: lower, upper, velocity, acceleration, jerk, home. NaN where None."""
        values = [getattr(c, quantity) for c in self.channels]
        return np.array([np.nan if v is None else v for v in values], float)

    @cached_property
    def home(self) -> Array:
        """float64[N] neutral command."""
        return self.array("home")

    @cached_property
    def lower(self) -> Array:
        """float64[N] lowest command."""
        return self.array("lower")

    @cached_property
    def upper(self) -> Array:
        """float64[N] highest command."""
        return self.array("upper")

    @cached_property
    def _measured(self) -> dict[str, tuple[Array, Array, Array]]:
        """{quantity: (index in the state [N]; scale and offset [N] into the channel's unit)}; where it is not measured the index
        is -1 and the offset NaN."""
        out = {}
        for quantity in ("position", "velocity", "effort"):
            where = {m.of: i for i, m in enumerate(self.state) if m.quantity == quantity}
            twice = [m.name for i, m in enumerate(self.state) if m.quantity == quantity and where[m.of] != i]
            if twice:
                raise BadValue(
                    f"{self.name}: '{twice[0]}' measures a {quantity} that another measurement has already. "
                    "Next: leave one out"
                )
            index = np.array([where.get(c.name, -1) for c in self.channels], np.int64)
            pairs = np.where(index[:, None] >= 0, [1.0, 0.0], [1.0, np.nan])
            if quantity == "position":
                for k, (c, i) in enumerate(zip(self.channels, index, strict=True)):
                    if i >= 0 and self.state[i].unit and c.unit and self.state[i].unit != c.unit:
                        pairs[k] = conversion(self.state[i].unit, c.unit, c.span)
            elif quantity == "velocity":  # a rate converts as its unit does, without the offset
                for k, (c, i) in enumerate(zip(self.channels, index, strict=True)):
                    unit = self.state[i].unit.removesuffix("/s") if i >= 0 else ""
                    if unit and c.unit and unit != c.unit:
                        pairs[k] = conversion(unit, c.unit, c.span)[0], 0.0
            out[quantity] = index, pairs[:, 0], pairs[:, 1]
        return out

    def command_of(self, given: Any) -> Array:
        """`given` as a command, float64[N]; NaN and infinity pass.

        Raises `BadValue` for another shape and for what is no number: True is not 1 rad.
        """
        values = np.array(given)
        true = isinstance(given, list | tuple) and any(isinstance(x, bool | np.bool_) for x in given)
        if values.shape != (len(self.channels),) or values.dtype.kind not in "fiu" or true:
            shown = " ".join(str(given).split())
            raise BadValue(
                f"command is {shown}; expected {len(self.channels)} numbers: {', '.join(self.channel_names)}. "
                "Next: one finite number for each channel"
            )
        return values.astype(float)

    def measured(self, state: Array, quantity: str = "position") -> Array:
        """float64[N]: position, velocity or effort of every channel as the state float[S] has it, in the channel's unit; NaN
        for those that are not measured. Of a velocity channel the position is its speed."""
        index, scale, offset = self._measured[quantity]
        read: Array = np.asarray(state, float)[index]
        return read if quantity in self._as_read else read * scale + offset

    @cached_property
    def _as_read(self) -> frozenset[str]:
        """Quantities that every channel has measured, in its own unit."""
        same = (q for q, (_, scale, offset) in self._measured.items() if (scale == 1.0).all() and (offset == 0.0).all())
        return frozenset(same)

    @cached_property
    def jitter(self) -> Array:
        """float64[N]: what a reading may change by whatever the velocity limit is: noise, and coarse sensors."""
        return JITTER * self.widths

    def measures(self, quantity: str) -> bool:
        """Whether the state has this quantity of any channel."""
        return self._measures[quantity]

    @cached_property
    def _measures(self) -> dict[str, bool]:
        return {quantity: bool((index >= 0).any()) for quantity, (index, _, _) in self._measured.items()}

    def state_from(self, position: Array, velocity: Array, effort: Array | None = None) -> Array:
        """float64[S], the inverse of `measured`: the state of a robot whose channels are at these values float64[N], with the
        poses of its frames by its own kinematics. Of a velocity channel the position is its speed. Efforts that are not given
        and other measurements are 0."""
        poses = {f.name: self.pose(f, position) for f in self.frames}
        state = np.zeros(len(self.state))
        for quantity, values in (("position", position), ("velocity", velocity), ("effort", effort)):
            if values is not None:
                index, scale, offset = self._measured[quantity]
                there = index >= 0
                state[index[there]] = (np.asarray(values)[there] - offset[there]) / scale[there]
        for i, m in enumerate(self.state):
            if m.quantity == "pose":
                place, rotation = poses[m.of]
                state[i] = place[m.component] if m.component < 3 else steady_quat(rotation)[m.component - 3]
        return state

    @cached_property
    def rates(self) -> Array:
        """float64[N]: largest change of each command a second: the velocity, of a velocity channel the acceleration."""
        return np.where(self.speeds, self.array("acceleration"), self.array("velocity"))

    @cached_property
    def speeds(self) -> Array:
        """bool[N]: which channels are commanded by their speed."""
        return np.array([c.kind == "velocity" for c in self.channels])

    @cached_property
    def endless(self) -> Array:
        """bool[N]: continuous channels without position limits."""
        return np.isinf(self.upper - self.lower)

    @cached_property
    def widths(self) -> Array:
        """float64[N]: from the lowest to the highest command of each channel in its unit; of an endless one a whole turn, 2π
        where its unit is not stated."""
        turn = np.where(np.isfinite(self._turns), self._turns, 2 * np.pi)
        return np.where(self.endless, turn, self.upper - self.lower)

    @cached_property
    def moves_joint(self) -> Array:
        """bool[N]: which channels are positions of joints."""
        return np.array([c.moves_joint for c in self.channels])

    def difference(self, a: Array, b: Array) -> Array:
        """a − b float64[..., N] of two commands or measurements; of a continuous joint the shortest way round."""
        d = np.asarray(a, float) - np.asarray(b, float)
        if not self._turning:
            return d
        turn = self._turns
        return np.where(np.isfinite(turn), d - np.where(np.isfinite(turn), turn, 1.0) * np.round(d / turn), d)

    @cached_property
    def _turning(self) -> bool:
        return bool(np.isfinite(self._turns).any())

    @cached_property
    def _turns(self) -> Array:
        """float64[N]: a whole turn of a continuous channel in its unit; infinite for others, and where no unit is stated."""
        turning = (c.kind == "continuous" and bool(c.unit) for c in self.channels)
        return np.array(
            [abs(2 * np.pi / c.to_si[0]) if t else np.inf for c, t in zip(self.channels, turning, strict=True)]
        )

    # ---------------------------------------------------------------------------------------------- variants

    def with_action_space(self, name: ActionSpaceName) -> Embodiment:
        return replace(self, action_space=name)

    @property
    def action_spaces(self) -> tuple[ActionSpaceName, ...]:
        """The action spaces it has: `ee_delta` where there are frames, and no joint is on the path of two."""
        paths = [j for f in self.frames for j in f.joints]
        return ("ee_delta", "channels") if paths and len(set(paths)) == len(paths) else ("channels",)

    def fitting(self, action_names: Sequence[str] | None) -> Embodiment:
        """The robot with the action space that has these names; as it is for None. Raises `BadValue` when none has."""
        if action_names is None:
            return self
        variants = [self.with_action_space(s) for s in self.action_spaces]
        found = next((r for r in variants if r.action_names == tuple(action_names)), None)
        if found is None:
            ours = "; or ".join(", ".join(r.action_names) for r in variants)
            raise BadValue(
                f"the policy's actions are {', '.join(action_names)}; {self.name} takes {ours}. Next: a policy trained for "
                "this robot, or a mapping of its names (palmar.mapping.Mapping)"
            )
        return found

    def guesses(self) -> list[str]:
        """Limits whose source is a guess, such as "elbow velocity"; none may be left when a policy moves the robot."""
        return [f"{c.name} {q}" for c in self.channels for q in c.guessed()]

    def interface(self, horizon: int = 16) -> Interface:
        """The interface of a policy or a data set of this robot."""
        return Interface(
            {c.name: (c.height, c.width) for c in self.cameras}, self.state_names, self.action_names, horizon,
            1.0 / self.policy_rate, self.name, state_units=tuple(m.unit for m in self.state), action_units=self.action_units,
        )  # fmt: skip
