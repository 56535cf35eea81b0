"""The cameras, channels and rate of a policy or a data set (`Interface`), and two of them made alike both ways (`Mapping`).

Names, order, units and picture sizes are compared by value; what differs is converted by name or refused by name. A
`Mapping` wraps a data set for training and a policy for acting, and lies in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from palmar.choices import FIT, FITS, Fit
from palmar.errors import BadValue, UnknownName
from palmar.pictures import fit
from palmar.types import ActionChunk, Array, Observation, Policy, Prefix
from palmar.units import UNKNOWN, check_unit, conversion


@dataclass(frozen=True)
class Interface:
    """What a policy was built for, what a data set holds, or what a robot gives and takes.

    cameras: {name: (height, width)} [px]. dt: seconds an action lasts. horizon: T. offsets: which pictures go in, in policy
    steps from now, oldest first; those after 0 exist in training only (a future to predict, a goal to reach).
    state_units, action_units: `units.UNITS` of each name, "" where nobody has said; empty when none is known. recorded:
    {camera: the sizes (height, width) its pictures had before they were resized for training}; pictures of these sizes are
    resized in the same way when acting (`pictures.FIT`). Empty where nothing was resized.
    """

    cameras: Dictionary[str, tuple[int, int]]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    horizon: int = 16
    dt: float = 0.1
    embodiment: str = ""
    offsets: tuple[int, ...] = (0,)
    state_units: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    recorded: Dictionary[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, size in self.cameras.items():
            if len(size) != 2 or min(size) < 1:
                raise BadValue(
                    f"camera '{name}' is {size}; expected (height, width) in pixels. Next: such as (480, 640)"
                )
        if self.horizon < 1 or not (self.dt > 0 and np.isfinite(self.dt)):
            raise BadValue(
                f"horizon {self.horizon}, dt {self.dt}; expected horizon ≥ 1 and dt > 0 s. "
                "Next: a chunk of 1 or more actions"
            )
        if 0 not in self.offsets or list(self.offsets) != sorted(set(self.offsets)):
            raise BadValue(
                f"offsets are {self.offsets}; expected rising steps with 0 (now) among them. "
                "Next: (0,) for the present alone"
            )
        for what, names, units in (
            ("state", self.state_names, self.state_units), ("action", self.action_names, self.action_units),
        ):  # fmt: skip
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise BadValue(
                    f"two {what} channels are called '{twice[0]}'; expected different names. Next: rename one"
                )
            if units and len(units) != len(names):
                raise BadValue(
                    f"{len(units)} {what} units for {len(names)} names; expected one each, or none at all. "
                    "Next: one unit for each name, '' where it is not known"
                )
            for unit in units:
                check_unit(unit, f"unit of a {what} channel")

    @property
    def past(self) -> tuple[int, ...]:
        """The offsets there are pictures for when acting."""
        return tuple(o for o in self.offsets if o <= 0)

    def unit(self, what: Literal["state", "action"], i: int) -> str:
        """The unit of a channel, "" where it is not known."""
        units = self.state_units if what == "state" else self.action_units
        return units[i] if units else UNKNOWN

    def check(self, obs: Observation) -> None:
        """Raise `BadValue` naming the first thing of an observation that differs."""
        for name, size in self.cameras.items():
            if name not in obs.images:
                have = ", ".join(obs.images) or "none"
                raise BadValue(f"camera '{name}' is missing (given: {have}). Next: rename or add the camera")
            known = (tuple(size), *(tuple(s) for s in self.recorded.get(name, ())))
            if obs.images[name].shape[:2] not in known:
                got, said = ("×".join(map(str, s)) for s in (obs.images[name].shape[:2], size))
                more = "".join(f", resized from {h}×{w}" for h, w in known[1:])
                raise BadValue(
                    f"camera '{name}' gives {got} px; this policy was trained on {said}{more}. "
                    "Next: --fit, or pictures of that size"
                )
        if len(obs.state) != len(self.state_names):
            raise BadValue(
                f"state has {len(obs.state)} values; this policy was trained on {len(self.state_names)}: "
                f"{', '.join(self.state_names)}. "
                "Next: a body or a data set with these"
            )
        if not np.isfinite(obs.state).all():
            bad = [n for n, x in zip(self.state_names, obs.state, strict=True) if not np.isfinite(x)]
            raise BadValue(f"state is not finite at {', '.join(bad)}. Next: check the sensor")

    def seen(self, obs: Observation) -> dict[str, Array]:
        """{camera: uint8[H, W, 3]}: the pictures of an observation that fits, resized as they were for training."""
        return {c: fit(obs.images[c], *size, FIT) for c, size in self.cameras.items()}


@dataclass(frozen=True)
class Column:
    """One channel of ours made of one of theirs: ours = scale · theirs[index] + offset."""

    index: int
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class View:
    """One camera of ours made of one of theirs. how: see `pictures.fit`."""

    camera: str
    how: Fit = FIT


@dataclass(frozen=True)
class Mapping:
    """Two interfaces made alike, both ways.

    theirs: of the data set or the robot. ours: of the policy. state, action: how each channel of ours is made of theirs.
    views: how each camera of ours is made of theirs. held: {action channel of theirs that ours lacks: its constant value}.
    unchecked: channels of ours whose unit one side does not state; they are passed on as they are.
    dropped: state channels and cameras of theirs that ours does not use.

    `take_state`, `take_action`, `take_images` lead from theirs to ours (training, observing); `state_back`, `action_back`
    return (acting). Going and returning is the identity within float error on every channel that both have.
    """

    theirs: Interface
    ours: Interface
    state: tuple[Column, ...]
    action: tuple[Column, ...]
    views: Dictionary[str, View]
    held: Dictionary[str, float] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        theirs: Interface,
        ours: Interface,
        names: Dictionary[str, str] | None = None,
        cameras: Dictionary[str, str] | None = None,
        how: Fit = FIT,
        held: Dictionary[str, float] | None = None,
        spans: Dictionary[str, tuple[float, float]] | None = None,
    ) -> Mapping:
        """The mapping of two interfaces by their names and units.

        names, cameras: {ours: theirs} where they are called differently. how: pictures of another size are stretched,
        cropped or padded. held: values for action channels of theirs that ours does not have. spans: {name of ours: joint
        positions at both ends of the calibrated range}, for units that are a share of it.

        Raises `BadValue` naming the first thing that does not fit: a camera, state or action channel that ours needs and
        theirs lacks, an action channel of theirs that nobody commands, units that do not convert, rates that differ; names
        come before rates. Messages call the arguments as the options of `palmar run`: --names, --cameras, --hold (held).
        """
        names, cameras, held, spans = dict(names or {}), dict(cameras or {}), dict(held or {}), dict(spans or {})
        if how not in FITS:
            raise UnknownName("way to fit a picture", str(how), FITS)
        for new in names:
            if new not in ours.state_names and new not in ours.action_names:
                raise UnknownName("channel of the policy in --names", new, (*ours.state_names, *ours.action_names))
            if names[new] not in theirs.state_names and names[new] not in theirs.action_names:
                raise UnknownName(
                    f"channel in --names {new}=…", names[new], (*theirs.state_names, *theirs.action_names)
                )
        for new in cameras:
            if new not in ours.cameras:
                raise UnknownName("camera of the policy in --cameras", new, ours.cameras)
        views: dict[str, View] = {}
        for camera in ours.cameras:
            source = cameras.get(camera, camera)
            if source not in theirs.cameras:
                have = ", ".join(theirs.cameras) or "none"
                raise BadValue(
                    f"camera '{source}' is missing (there are: {have}). Next: say which it is, --cameras {camera}=CAMERA"
                )
            views[camera] = View(source, how)
        state = cls._columns("state", theirs, ours, names, spans)
        action = cls._columns("action", theirs, ours, names, spans)
        used = {c.index for c in action}
        for i, name in enumerate(theirs.action_names):
            if i in used and name in held:
                raise BadValue(f"--hold names action '{name}', which the policy commands. Next: leave it out of --hold")
            if i not in used and name not in held:
                raise BadValue(
                    f"nobody commands action '{name}': the policy's actions are {', '.join(ours.action_names) or 'none'}. "
                    f"Next: name the one that does, --names ACTION={name}, or hold it, --hold {name}=VALUE"
                )
        for name, value in held.items():
            if name not in theirs.action_names:
                raise UnknownName("action channel in --hold", name, theirs.action_names)
            if not np.isfinite(value):
                raise BadValue(f"--hold {name}={value}; expected a finite number. Next: --hold {name}=0")
        if abs(theirs.dt / ours.dt - 1) > 0.01:
            raise BadValue(
                f"the data or the robot run at {1 / theirs.dt:g} Hz, the policy at {1 / ours.dt:g} Hz; expected one rate. "
                f"Next: data recorded at {1 / ours.dt:g} Hz, or a policy trained at {1 / theirs.dt:g} Hz"
            )
        return cls(theirs, ours, state, action, views, held)

    @staticmethod
    def _columns(
        what: Literal["state", "action"],
        theirs: Interface,
        ours: Interface,
        names: Dictionary[str, str],
        spans: Dictionary[str, tuple[float, float]],
    ) -> tuple[Column, ...]:
        there = theirs.state_names if what == "state" else theirs.action_names
        wanted = ours.state_names if what == "state" else ours.action_names
        columns: list[Column] = []
        for i, name in enumerate(wanted):
            source = names.get(name, name)
            if source not in there and name in there:  # a name of the other kind was renamed
                source = name
            if source not in there:
                raise BadValue(
                    f"{what} channel '{source}' is missing (there are: {', '.join(there) or 'none'}). Next: say which it is, "
                    f"--names {name}=CHANNEL"
                )
            k = there.index(source)
            a, b = theirs.unit(what, k), ours.unit(what, i)
            try:
                scale, offset = (1.0, 0.0) if not a or not b else conversion(a, b, spans.get(name))
            except BadValue as error:
                raise BadValue(f"{what} channel '{source}': {error}") from error
            if any(c.index == k for c in columns):
                raise BadValue(
                    f"{what} channel '{source}' is used for two of ours, '{name}' among them. Next: one name each"
                )
            columns.append(Column(k, scale, offset))
        return tuple(columns)

    # ---------------------------------------------------------------------------------------------- what it does

    @property
    def identity(self) -> bool:
        """Whether nothing is changed: same names in the same order, same units and picture sizes."""
        plain = all(c == Column(i) for columns in (self.state, self.action) for i, c in enumerate(columns))
        same = all(
            v.camera == c and tuple(self.theirs.cameras[v.camera]) == tuple(self.ours.cameras[c])
            for c, v in self.views.items()
        )
        return plain and same and not self.dropped and not self.held

    @property
    def dropped(self) -> tuple[str, ...]:
        """State channels and cameras of theirs that ours does not use."""
        used = {c.index for c in self.state}
        seen = {v.camera for v in self.views.values()}
        return (
            *(n for i, n in enumerate(self.theirs.state_names) if i not in used),
            *(f"camera {c}" for c in self.theirs.cameras if c not in seen),
        )

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Channels of ours whose unit one side does not state; they are passed on as they are."""
        out: dict[str, None] = {}
        for what, names, columns in (
            ("state", self.ours.state_names, self.state), ("action", self.ours.action_names, self.action),
        ):  # fmt: skip
            for i, (name, column) in enumerate(zip(names, columns, strict=True)):
                if not self.theirs.unit(what, column.index) or not self.ours.unit(what, i):  # type: ignore[arg-type]
                    out[name] = None
        return tuple(out)

    def take_state(self, values: Array) -> Array:
        """float[..., S of theirs] → float[..., S of ours]."""
        return _forward(values, self.state)

    def state_back(self, values: Array) -> Array:
        """float[..., S of ours] → float[..., S of theirs]; NaN for channels that ours drops."""
        return _backward(values, self.state, np.full(len(self.theirs.state_names), np.nan))

    def take_action(self, values: Array) -> Array:
        """float[..., A of theirs] → float[..., A of ours]."""
        return _forward(values, self.action)

    def action_back(self, values: Array) -> Array:
        """float[..., A of ours] → float[..., A of theirs], with the held values."""
        rest = np.array([self.held.get(n, np.nan) for n in self.theirs.action_names], float)
        return _backward(values, self.action, rest)

    def take_images(self, images: Dictionary[str, Array]) -> dict[str, Array]:
        """{camera of theirs: uint8[..., H, W, 3]} → {camera of ours}, in the size of ours. Raises `BadValue` for a camera
        that is missing."""
        out = {}
        for camera, view in self.views.items():
            if view.camera not in images:
                raise BadValue(
                    f"camera '{view.camera}' is missing (given: {', '.join(images) or 'none'}). "
                    "Next: name the one that is meant, --cameras"
                )
            out[camera] = fit(images[view.camera], *self.ours.cameras[camera], view.how)
        return out

    def observation(self, obs: Observation) -> Observation:
        """As the policy sees it. Raises `BadValue` when it is no observation of theirs."""
        if obs.state.shape != (len(self.theirs.state_names),):
            raise BadValue(
                f"state has {len(obs.state)} values; expected {len(self.theirs.state_names)}: "
                f"{', '.join(self.theirs.state_names)}. "
                "Next: a body that measures these"
            )
        state = self.take_state(obs.state).astype(np.float32)
        return replace(obs, images=self.take_images(obs.images), state=state)

    def chunk(self, chunk: ActionChunk) -> ActionChunk:
        """What the policy answers, in the channels and units of theirs."""
        if chunk.actions.shape[1] != len(self.ours.action_names):
            raise BadValue(
                f"the policy answers {chunk.actions.shape[1]} numbers an action; expected {len(self.ours.action_names)}: "
                f"{', '.join(self.ours.action_names)}. "
                "Next: a policy of this interface"
            )
        spread = chunk.spread
        if spread is not None:
            scales = np.zeros(len(self.theirs.action_names))
            wide = np.zeros((len(spread), len(scales)), np.float32)
            for i, c in enumerate(self.action):
                wide[:, c.index] = spread[:, i] / abs(c.scale)
            spread = wide
        return replace(chunk, actions=self.action_back(chunk.actions).astype(np.float32), spread=spread)

    # ---------------------------------------------------------------------------------------------- in a file

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` gives an equal mapping back."""
        return {
            "theirs": interface_to_dict(self.theirs),
            "ours": interface_to_dict(self.ours),
            "state": [[c.index, c.scale, c.offset] for c in self.state],
            "action": [[c.index, c.scale, c.offset] for c in self.action],
            "views": {k: [v.camera, v.how] for k, v in self.views.items()},
            "held": dict(self.held),
        }

    @classmethod
    def from_dict(cls, value: Dictionary[str, Any]) -> Mapping:
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_dict` has not written."""
        theirs, ours = interface_from_dict(value["theirs"]), interface_from_dict(value["ours"])

        def columns(rows: Any, names: Sequence[str], there: Sequence[str]) -> tuple[Column, ...]:
            made = tuple(Column(int(i), float(s), float(o)) for i, s, o in rows)
            if len(made) != len(names) or any(not 0 <= c.index < len(there) or c.scale == 0 for c in made):
                raise ValueError("columns of a mapping do not fit its interfaces")
            return made

        views = {str(k): View(str(c), how) for k, (c, how) in value["views"].items()}
        if set(views) != set(ours.cameras) or any(
            v.camera not in theirs.cameras or v.how not in FITS for v in views.values()
        ):
            raise ValueError("views of a mapping do not fit its interfaces")
        return cls(
            theirs, ours, columns(value["state"], ours.state_names, theirs.state_names),
            columns(value["action"], ours.action_names, theirs.action_names), views,
            {str(k): float(v) for k, v in value.get("held", {}).items()},
        )  # fmt: skip


class MappedPolicy:
    """A policy behind a mapping: it acts on observations of theirs and answers in their channels and units."""

    def __init__(self, inner: Policy, mapping: Mapping) -> None:
        self.inner, self.mapping = inner, mapping
        self.interface = replace(mapping.theirs, horizon=mapping.ours.horizon, offsets=mapping.ours.offsets)

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """prefix: its actions as the outer side names them."""
        given = prefix
        if prefix is not None:
            given = replace(prefix, actions=self.mapping.take_action(prefix.actions).astype(np.float32))
        return self.mapping.chunk(self.inner.act(self.mapping.observation(obs), given))

    def reset(self) -> None:
        self.inner.reset()


def interface_to_dict(interface: Interface) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "cameras": {c: list(size) for c, size in interface.cameras.items()},
        "state_names": list(interface.state_names),
        "action_names": list(interface.action_names),
        "horizon": interface.horizon,
        "dt": interface.dt,
        "embodiment": interface.embodiment,
        "offsets": list(interface.offsets),
        "state_units": list(interface.state_units),
        "action_units": list(interface.action_units),
        "recorded": {c: [list(size) for size in sizes] for c, sizes in interface.recorded.items()},
    }


def interface_from_dict(value: Dictionary[str, Any]) -> Interface:
    """Raises `KeyError`, `TypeError` or `ValueError` for what `interface_to_dict` has not written."""
    given = dict(value)
    given["cameras"] = {str(c): (int(size[0]), int(size[1])) for c, size in given["cameras"].items()}
    for key in ("state_names", "action_names", "offsets", "state_units", "action_units"):
        if key in given:
            given[key] = tuple(given[key])
    given["recorded"] = {
        str(c): tuple((int(h), int(w)) for h, w in sizes) for c, sizes in given.get("recorded", {}).items()
    }
    return Interface(**given)


def _forward(values: Array, columns: Sequence[Column]) -> Array:
    index = np.array([c.index for c in columns], np.int64)
    scale = np.array([c.scale for c in columns])
    offset = np.array([c.offset for c in columns])
    if all(c.scale == 1 and c.offset == 0 for c in columns):
        return np.asarray(values)[..., index]
    return np.asarray(values, float)[..., index] * scale + offset


def _backward(values: Array, columns: Sequence[Column], rest: Array) -> Array:
    values = np.asarray(values, float)
    out = np.broadcast_to(rest, (*values.shape[:-1], len(rest))).copy()
    for i, c in enumerate(columns):
        out[..., c.index] = (values[..., i] - c.offset) / c.scale
    return out
