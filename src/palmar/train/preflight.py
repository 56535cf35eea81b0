"""Do a data set, a checkpoint and a robot fit one another? Every check by name, before hours are spent or a motor moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from palmar.checks import Check
from palmar.data.channels import some
from palmar.data.findings import examine
from palmar.data.stats import finite_rows
from palmar.description.find import find_robot
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.kinematics import matrix_to_quat
from palmar.policy import ADAPTERS, split_robot
from palmar.train.scale import FAR, beyond, misfit
from palmar.types import Array
from palmar.units import BOUNDS


@dataclass(frozen=True)
class Side:
    """One of the three, in the words all of them have; None where it says nothing. recorded: {camera: other sizes that it
    resizes pictures from}."""

    what: str
    cameras: Mapping[str, tuple[int, int]] | None = None
    state_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    rate: float | None = None
    robot: str = ""
    horizon: int | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)


def preflight(
    data: Any | None = None,
    checkpoint: str | Path | None = None,
    robot: Embodiment | str | None = None,
    execute: int = 4,
) -> list[Check]:
    """Compare what is given, two or three of: a data set (`Dataset`), a checkpoint folder, a robot.

    execute: how many actions of a chunk are to be carried out. Raises `BadValue` with fewer than two, `BadFile` when one cannot
    be read at all.
    """
    body = find_robot(robot) if isinstance(robot, str) else robot
    sides = [
        *([] if data is None else [of_data(data)]),
        *([] if checkpoint is None else [of_checkpoint(checkpoint)]),
        *([] if body is None else [of_robot(body)]),
    ]
    if len(sides) < 2:
        raise BadValue("nothing to compare. Next: give two of --data, --policy and --robot")
    checks = [c for a, b in _pairs(sides) for c in compare(a, b)]
    for side in sides:
        checks += statistics(side)
        if side.what == "checkpoint" and side.horizon is not None:
            checks.append(execution(side, execute))
    if data is not None:
        checks += ranges(data, body)
        checks += values(data)
        if body is not None:
            checks += tool_turn(data, body)
        if checkpoint is not None:
            checks += normalised(data, next(s for s in sides if s.what == "checkpoint"))
    return checks


def of_data(data: Any) -> Side:
    sizes = {}
    if len(data):
        images = data.batch(np.array([0]), 1)["images"]
        sizes = {c: (int(x.shape[-3]), int(x.shape[-2])) for c, x in images.items()}
    return Side(
        "data set", sizes, tuple(data.state_names), tuple(data.action_names), float(getattr(data, "fps", 0)) or None,
        str(getattr(data, "robot_type", "") or ""), stats=dict(getattr(data, "stats", {})),
    )  # fmt: skip


def of_checkpoint(path: str | Path) -> Side:
    """FOLDER, or FOLDER@ROBOT for another robot that shares the model."""
    from palmar.models.checkpoint import check_robot, read_config

    if (kind := str(path).partition(":")[0]) in ADAPTERS and not Path(path).exists():
        raise BadValue(
            f"'{path}' is of {kind}; preflight reads palmar's own checkpoints. Next: a folder that palmar train wrote, or shipped"
        )
    folder, robot = split_robot(str(path))
    config, interface, normalizers, _, _ = read_config(folder)
    end = check_robot(normalizers, robot)
    if robot:
        other = next(r for r in getattr(config, "robots", ()) if r.name == robot)
        interface = replace(interface, state_names=other.state_names, action_names=other.action_names)
    normalizers = {k.removesuffix(end): n for k, n in normalizers.items() if k in (f"state{end}", f"action{end}")}
    return Side(
        "checkpoint", dict(interface.cameras), interface.state_names, interface.action_names, 1.0 / interface.dt,
        interface.embodiment, interface.horizon,
        {"normalizers": normalizers}, recorded={c: tuple(s) for c, s in interface.recorded.items()},
    )  # fmt: skip


def of_robot(robot: Embodiment) -> Side:
    cameras = {c.name: (c.height, c.width) for c in robot.cameras}
    return Side("robot", cameras, tuple(robot.state_names), tuple(robot.action_names), robot.policy_rate, robot.name)


def compare(a: Side, b: Side) -> Iterator[Check]:
    """Names, widths, cameras, rate and robot of two sides."""
    pair = f"{a.what} ↔ {b.what}"
    for what, next_step in (
        ("state_names", "use the robot the data was recorded on (in Python palmar.data.mapped.MappedData renames)"),
        (
            "action_names",
            "use the action space the data was recorded in (palmar train --others ROBOT=FOLDER makes joint targets)",
        ),
    ):
        ours, theirs = getattr(a, what), getattr(b, what)
        if ours is not None and theirs is not None:
            label = what.replace("_", " ")
            yield Check(f"{pair}: {label}", ours == theirs, _names(a.what, ours, b.what, theirs), next_step)
    if a.cameras is not None and b.cameras is not None:
        needed, have = (a, b) if a.what == "checkpoint" else (b, a)
        assert needed.cameras is not None and have.cameras is not None
        only = [c for c in needed.cameras if c not in have.cameras]
        sizes = [
            c for c in needed.cameras
            if c in have.cameras and needed.cameras[c] != have.cameras[c] and have.cameras[c] not in needed.recorded.get(c, ())
        ]  # fmt: skip
        if only:
            found = f"{needed.what} needs {', '.join(only)}; {have.what} has {', '.join(have.cameras) or 'none'}"
        elif sizes:
            c = sizes[0]
            found = f"'{c}' is {_size(needed.cameras[c])} px in the {needed.what}, {_size(have.cameras[c])} in the {have.what}"
        else:
            found = ", ".join(
                f"{c} {_size(s)}" + (f" of {_size(have.cameras[c])}, resized" if s != have.cameras[c] else "")
                for c, s in needed.cameras.items()
            )
        yield Check(f"{pair}: cameras", not only and not sizes, found, "rename, add or resize the camera")
    if a.rate is not None and b.rate is not None:
        same = abs(a.rate - b.rate) < 0.01 * a.rate
        yield Check(
            f"{pair}: rate",
            same,
            f"{a.rate:g} Hz and {b.rate:g} Hz",
            "an action must last as long as it did when recorded",
        )
    if a.robot and b.robot:
        yield Check(f"{pair}: robot", a.robot == b.robot, f"'{a.robot}' and '{b.robot}'", "is this the robot you mean?")
    chunk = a.horizon or b.horizon
    if chunk is not None:
        seconds = chunk / (a.rate or b.rate or 1.0)
        yield Check(
            f"{pair}: chunk size", 0.1 <= seconds <= 10, f"{chunk} actions, {seconds:.2g} s", "chunks last 0.1 … 10 s"
        )


def statistics(side: Side) -> Iterator[Check]:
    """Present, finite, and (of a checkpoint) doing something."""
    if side.what == "data set":
        wanted = [k for k in ("observation.state", "action") if k not in side.stats]
        bad = [k for k, s in side.stats.items() if any(not np.isfinite(np.asarray(v, float)).all() for v in s.values())]
        found = (
            f"missing for {', '.join(wanted)}" if wanted else f"not finite for {', '.join(bad)}" if bad else "finite"
        )
        yield Check("data set: statistics", not wanted and not bad, found, "mend the set: palmar repair FOLDER")
    for name, n in side.stats.get("normalizers", {}).items() if side.what == "checkpoint" else ():
        offset, scale = np.array(n["offset"], float), np.array(n["scale"], float)
        names = side.state_names if name == "state" else side.action_names
        finite = bool(np.isfinite(offset).all() and np.isfinite(scale).all())
        active = bool((scale != 1).any() or (offset != 0).any()) and bool((scale > 0).any())
        width = names is None or len(scale) == len(names)
        found = f"{len(scale)} dimensions, {int((scale == 0).sum())} constant"
        if not finite:
            found = "NaN or infinity inside"
        elif not active:
            found = "offset 0 and scale 1 (or 0) everywhere: it does nothing"
        elif not width:
            found = f"{len(scale)} dimensions for {len(names or ())} names"
        yield Check(
            f"checkpoint: {name} normaliser", finite and active and width, found, "train again on data with statistics"
        )


def execution(side: Side, execute: int) -> Check:
    """Does a chunk last as long as it is carried out?"""
    horizon = side.horizon or 0
    left = execute - horizon
    found = f"{horizon} actions in a chunk, {execute} carried out"
    if left > 0:
        found += f": {left} of every {execute} ticks have no action"
    return Check(
        "checkpoint: chunk and execute", execute >= 1 and left <= 0, found,
        f"carry out {horizon} at most (--execute {horizon}), or train with a longer horizon",
    )  # fmt: skip


def values(data: Any) -> Iterator[Check]:
    """What `data.findings` says of the set's values."""
    found = examine(data)
    for f in found:
        where = f"{some(f.channels)}: " if f.channels else ""
        yield Check(f"data set: {f.name}", False, f"{where}{f.found}; expected {f.expected}", f.next)
    if not found:
        yield Check("data set: values", True, "no fault found in states, actions, timestamps and pictures")


def normalised(data: Any, checkpoint: Side) -> Iterator[Check]:
    """Do the checkpoint's normalisers, which --init keeps, fit these numbers (`scale.misfit`)?"""
    for what, names, numbers in (("state", data.state_names, data.states), ("action", data.action_names, data.actions)):
        n = checkpoint.stats["normalizers"].get(what)
        theirs = checkpoint.state_names if what == "state" else checkpoint.action_names
        numbers = np.asarray(numbers, float)
        if n is None or tuple(theirs or ()) != tuple(names) or len(n["scale"]) != len(names):
            continue  # names and widths have a check of their own
        offset, scale = np.array(n["offset"], float), np.array(n["scale"], float)
        numbers = numbers[finite_rows(numbers)]
        if not (np.isfinite(offset).all() and np.isfinite(scale).all()) or not len(numbers):
            continue
        wrong = misfit(names, offset, scale, numbers)
        share = 100 * beyond(offset, scale, numbers)
        yield Check(
            f"data set ↔ checkpoint: {what} normaliser",
            not wrong,
            wrong or f"{share:.1f} % of the values of a channel are beyond {FAR:g} σ at most",
            "another scale or unit: convert the data, or --init with --normalizer new, or train from scratch",
        )


def tool_turn(data: Any, robot: Embodiment) -> Iterator[Check]:
    """The recorded quaternion of the tool against the one that the joints make: wxyz, or xyzw under the names of wxyz?"""
    names, quat = list(data.state_names), [f"tcp.{q}" for q in ("qw", "qx", "qy", "qz")]
    if not robot.frames:
        return
    joints = [f"{j}.pos" for j in robot.frame().joints]
    if any(n not in names for n in (*quat, *joints)) or not len(data.states):
        return
    states = np.asarray(data.states, float)
    states = states[finite_rows(states)]
    picked = states[np.linspace(0, len(states) - 1, min(20, len(states))).astype(int)] if len(states) else states
    if not len(picked):
        return
    q = picked[:, [names.index(n) for n in quat]]
    if np.abs(np.linalg.norm(q, axis=1) - 1).max() > 0.01:
        return
    true = np.array(
        [matrix_to_quat(robot.frame().chain.forward(row[[names.index(n) for n in joints]])[1]) for row in picked]
    )
    as_named, rolled = (np.abs((x * true).sum(1)).mean() for x in (q, np.roll(q, 1, axis=1)))
    ok = not (rolled > 0.99 and as_named < 0.95)
    found = f"agrees with the joints by {as_named:.2f} as wxyz and by {rolled:.2f} as xyzw (1 is equal)"
    yield Check("data set ↔ robot: quaternion order", ok, found, "put w, now last, first: palmar has wxyz")


def ranges(data: Any, robot: Embodiment | None) -> Iterator[Check]:
    """Units: do the numbers look like radians, metres and 0 … 1?"""
    if robot is None:
        return  # a set's own unit is no fault; that its actions and states have one is looked at in `values`
    states, actions = np.asarray(data.states, float), np.asarray(data.actions, float)
    finite = np.isfinite(states).all(1) & np.isfinite(actions).all(1)  # the other frames are named in `values`
    states, actions = states[finite], actions[finite]
    if not len(states):
        return
    units = {m.name: m.unit for m in robot.state if m.quantity == "position"}
    joints = [i for i, n in enumerate(data.state_names) if units.get(n) == "rad"]
    if joints:
        largest = float(np.abs(states[:, joints]).max())
        found = f"joint positions reach {largest:.3g}"
        yield Check(
            "data set: joint units", largest <= 2 * np.pi + 0.1, found + " rad", "these look like degrees: convert"
        )
    asked = {**units, **dict(zip(robot.action_names, robot.action_units, strict=True))}
    for what, names, values in (("state", data.state_names, states), ("action", data.action_names, actions)):
        for unit, (lowest, highest) in BOUNDS.items():
            grip = [i for i, n in enumerate(names) if (units if what == "state" else asked).get(n) == unit]
            if grip:
                low, high, room = float(values[:, grip].min()), float(values[:, grip].max()), 0.25 * (highest - lowest)
                ok = low > lowest - room and high < highest + room
                found = f"{low:.3g} … {high:.3g} {unit}"
                yield Check(f"data set: {what} in {unit}", ok, found, f"expected {lowest:g} … {highest:g}: rescale")
    if "dx" in data.action_names:
        at = [list(data.action_names).index(n) for n in ("dx", "dy", "dz") if n in data.action_names]
        step = float(np.quantile(np.linalg.norm(actions[:, at], axis=1), 0.99))
        most = robot.frame().max_step[0] if robot.frames else np.inf
        ok = step <= 3 * most
        found = f"99 % of steps are within {step:.3g} m; the robot makes {most:g} m at most"
        yield Check("data set ↔ robot: action units", ok, found, "these look like millimetres, or another rate")
    if tuple(data.state_names) == tuple(robot.state_names):
        measured = np.stack([robot.measured(s) for s in states])
        margin = 0.01 * robot.widths
        outside = (measured < robot.lower - margin) | (measured > robot.upper + margin)
        bad = [robot.channels[i].name for i in np.flatnonzero((outside & robot.moves_joint).any(0))]
        found = f"outside at {', '.join(bad)}" if bad else "within"
        yield Check("data set ↔ robot: joint limits", not bad, found, "another robot, or another zero of its joints")


def _pairs(sides: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    for i, a in enumerate(sides):
        for b in sides[i + 1 :]:
            yield a, b


def _names(a: str, ours: Sequence[str], b: str, theirs: Sequence[str]) -> str:
    if list(ours) == list(theirs):
        return f"{len(ours)} alike"
    lacking = [n for n in ours if n not in theirs]
    spare = [n for n in theirs if n not in ours]
    if not lacking and not spare:
        return "the same names in another order"
    parts = [
        f"only the {a} has {', '.join(lacking[:4])}" if lacking else "",
        f"only the {b} has {', '.join(spare[:4])}" if spare else "",
    ]
    return f"{len(ours)} and {len(theirs)}: " + "; ".join(p for p in parts if p)


def _size(size: tuple[int, int] | Array) -> str:
    return f"{size[0]}×{size[1]}"
