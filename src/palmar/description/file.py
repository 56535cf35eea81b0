"""Read a robot file: TOML that a person wrote or edited. Whatever is in it, the answer is a robot or an error that names
the field, the value and what was expected."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from palmar.description.fields import Table
from palmar.embodiments import ActionSpaceName, Embodiment
from palmar.errors import BadFile, UserError, unusable
from palmar.kinematics import Chain
from palmar.robot_parts import (  # fmt: skip
    KINDS,
    POSE,
    SOURCES,
    Camera,
    Channel,
    Column,
    Floor,
    Frame,
    Measurement,
    Source,
)
from palmar.shapes import SHAPE_KINDS, SIZES, WIDEST_MARGIN, Collision, CollisionShape
from palmar.thresholds import RANGES, Thresholds
from palmar.units import UNITS

MOST_BYTES = 4 * 2**20
MOST_DOTS = 32
DEEP_KEY = re.compile(rf"(?<![\w-])(?:(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MOST_DOTS},}}")
MEASURED = ("position", "velocity", "effort", "pose", "other")


def read_robot(path: str | Path) -> Embodiment:
    """The robot in a TOML file (`palmar robot make` writes one). Raises `BadFile` with the file, the field, the value and
    what was expected."""
    path = Path(path)
    try:
        if not path.exists():
            raise BadFile(f"there is no '{path}'. Next: palmar robot make SOURCE --out {path}")
        if not path.is_file():
            raise BadFile(
                f"'{path}' is no file; expected a robot file (TOML). Next: palmar robot make SOURCE --out FILE.toml"
            )
        if (size := path.stat().st_size) > MOST_BYTES:
            raise BadFile(
                f"'{path}' has {size} bytes; expected a robot file of at most {MOST_BYTES}. "
                "Next: palmar robot make SOURCE --out FILE.toml"
            )
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile(f"'{path}' is no UTF-8 text; expected a robot file (TOML). Next: save it as UTF-8") from error
    except ValueError as error:  # a zero byte in the path
        raise BadFile(f"{str(path)!r} is no path ({error}). Next: another path") from error
    except OSError as error:
        raise unusable(error, path) from error
    return parse_robot(text, str(path))


def parse_robot(text: str, name: str = "robot file") -> Embodiment:
    """The robot in the text of a robot file; `name` is the file's, for messages. Raises `BadFile`."""
    if deep := DEEP_KEY.search(text):  # `tomllib` takes memory in the square of the dots
        line = text.count("\n", 0, deep.start()) + 1
        raise BadFile(f"'{name}' has a name of more than {MOST_DOTS} parts in line {line}. Next: mend that line")
    try:
        values = tomllib.loads(text, parse_float=_float)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        why = "too deeply nested" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise BadFile(f"'{name}' is no TOML ({why}). Next: mend that line") from error
    try:
        return _robot(Table(values, ""))
    except (UserError, OverflowError) as error:
        raise BadFile(f"'{name}': {error}") from error


def _float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value) and "inf" not in literal:
        raise ValueError(f"{literal[:40]} is too large for a number")
    return value


def _robot(top: Table) -> Embodiment:
    name = top.text("name")
    rates = {k: top.number(k, d) for k, d in (("control_rate", 50.0), ("policy_rate", 10.0))}
    space: Any = top.one_of("action_space", get_args(ActionSpaceName), "channels")
    notes = top.text("notes", "", empty=True, lines=True)
    cameras = tuple(_camera(t) for t in top.tables("camera"))
    channels = tuple(_channel(t) for t in top.tables("channel"))
    frames = tuple(_frame(t, [c.name for c in channels]) for t in top.tables("frame"))
    state = tuple(_measurement(t) for t in top.tables("state"))
    shapes = tuple(_shape(t) for t in top.tables("shape"))
    collision = _collision(top.table("collision"), shapes) if top.has("collision") else Collision(shapes)
    thresholds = _thresholds(top.table("thresholds")) if top.has("thresholds") else Thresholds()
    top.done()
    return Embodiment(
        name, channels, frames, cameras, state, action_space=space, notes=notes, collision=collision, thresholds=thresholds,
        **rates,
    )  # fmt: skip


def _camera(t: Table) -> Camera:
    camera = Camera(
        t.text("name"),
        t.whole("height", 96, 1, 16384),
        t.whole("width", 96, 1, 16384),
        t.number("fov", 60.0, 1.0, 179.0),
    )
    t.done()
    return camera


def _channel(t: Table) -> Channel:
    name = t.text("name")
    t = t.called(f"channel '{name}'")
    kind: Any = t.one_of("kind", KINDS)
    unit = t.one_of("unit", ("", *UNITS))
    sources: dict[str, Source] = {}
    lower, upper = -math.inf, math.inf
    if t.has("position"):
        p = t.table("position")
        lower, upper = p.number("lower", -math.inf, infinite=True), p.number("upper", math.inf, infinite=True)
        _source(p, "position", sources)
    limits: dict[str, Any] = {"acceleration": math.inf, "jerk": math.inf, "effort": None, "tolerance": None}
    for q in ("velocity", "acceleration", "jerk", "effort", "tolerance"):
        if t.has(q):
            v = t.table(q)
            limits[q] = v.number("value", infinite=True)
            _source(v, q, sources)
        elif q == "velocity":
            t.lacks(q, 'a table such as { value = 1.0, source = "data sheet" }')
    span = t.numbers("span", 2) if t.has("span") else None
    channel = Channel(
        name, kind, unit, lower, upper, home=t.number("home", 0.0), joint=t.text("joint", "", empty=True),
        span=None if span is None else (span[0], span[1]), coupling=t.text("coupling", "", empty=True), sources=sources,
        **limits,
    )  # fmt: skip
    t.done()
    return channel


def _source(t: Table, quantity: str, sources: dict[str, Source]) -> None:
    if t.has("source"):
        sources[quantity] = t.one_of("source", SOURCES)  # type: ignore[assignment]
    t.done()


def _frame(t: Table, channels: Sequence[str]) -> Frame:
    name = t.text("name")
    t = t.called(f"frame '{name}'")
    joints, offsets, quats, slides = [], [], [], []
    for link in t.tables("chain"):
        joints.append(link.one_of("channel", channels))
        offsets.append(link.numbers("offset", 3))
        quats.append(_quat(link))
        slides.append(link.yes("slides", False))
        link.done()
    tool = t.table("tool")
    chain = Chain(
        np.array(offsets, float).reshape(-1, 3), np.array(quats, float).reshape(-1, 4), np.array(tool.numbers("offset", 3)),
        np.array(_quat(tool)), tuple(slides) if any(slides) else (),
    )  # fmt: skip
    tool.done()
    workspace = None
    if t.has("workspace"):
        box = t.table("workspace")
        workspace = np.array([box.numbers("lower", 3), box.numbers("upper", 3)])
        box.done()
    step = (0.04, 0.2)
    if t.has("max_step"):
        m = t.table("max_step")
        step = m.number("translation"), m.number("rotation")
        m.done()
    frame = Frame(
        name, tuple(joints), chain, workspace, tuple(_zone(z) for z in t.tables("zones")), step, t.yes("rotates", True)
    )  # fmt: skip
    t.done()
    return frame


def _quat(t: Table) -> list[float]:
    quat = t.numbers("quat", 4)
    if not max(map(abs, quat)) < 1e3 or not float(np.linalg.norm(quat)) > 1e-3:
        t.refuse("quat", quat, "a quaternion w, x, y, z, best of length 1")
    return quat


def _zone(t: Table) -> Floor | Column:
    kind = t.one_of("kind", ("floor", "column"))
    points = tuple(t.texts("points"))
    height = t.number("height")
    zone = Floor(height, points) if kind == "floor" else Column(t.number("radius", low=0.0), height, points)
    t.done()
    return zone


def _shape(t: Table) -> CollisionShape:
    name = t.text("name")
    t = t.called(f"shape '{name}'")
    kind: Any = t.one_of("kind", SHAPE_KINDS)
    size = tuple(t.numbers("size", len(SIZES[kind])))
    pos = t.numbers("pos", 3) if t.has("pos") else [0.0, 0.0, 0.0]
    quat = _quat(t) if t.has("quat") else [1.0, 0.0, 0.0, 0.0]
    shape = CollisionShape(
        name,
        kind,
        size,
        t.text("channel", "", empty=True),
        (pos[0], pos[1], pos[2]),
        (quat[0], quat[1], quat[2], quat[3]),
    )
    t.done()
    return shape


def _collision(t: Table, shapes: tuple[CollisionShape, ...]) -> Collision:
    margin = t.number("margin", Collision().margin, 0.0, WIDEST_MARGIN)
    allowed = []
    for pair in t.lists("allowed"):
        if len(pair) != 2 or not all(isinstance(n, str) for n in pair):
            t.refuse("allowed", pair, "pairs of names of shapes")
        allowed.append((pair[0], pair[1]))
    t.done()
    return Collision(shapes, tuple(allowed), margin)


def _thresholds(t: Table) -> Thresholds:
    values: dict[str, Any] = {
        name: t.number(name, getattr(Thresholds(), name), low, high) for name, (low, high) in RANGES.items()
    }
    forces = {}
    if t.has("forces"):
        table = t.table("forces")
        forces = {name: table.number(name, low=0.0) for name in table.values}
        table.done()
    t.done()
    return Thresholds(**values, forces=forces)


def _measurement(t: Table) -> Measurement:
    name = t.text("name")
    t = t.called(f"state '{name}'")
    quantity: Any = t.one_of("quantity", MEASURED, "other")
    component = POSE.index(t.one_of("component", POSE)) if quantity == "pose" else 0
    measurement = Measurement(
        name, t.one_of("unit", ("", *UNITS), ""), quantity, t.text("of", "", empty=quantity == "other"), component
    )  # fmt: skip
    t.done()
    return measurement
