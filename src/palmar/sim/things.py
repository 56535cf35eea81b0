"""What stands in a scene: kinds of things, their colours, and the words for them.

Directions are the robot's own: left is +y, right is -y, forward is +x (away from the base).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from palmar.errors import BadValue
from palmar.types import Array

# Paint as hue, saturation, value.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.0, 0.85, 0.80),
    "yellow": (0.145, 0.90, 0.90),
    "green": (0.37, 0.80, 0.60),
    "blue": (0.60, 0.85, 0.80),
    "purple": (0.79, 0.65, 0.65),
}


@dataclass(frozen=True)
class Form:
    """A shape that things have.

    geom: how it is built. size: MuJoCo half sizes [m]. half: half the sides of the cuboid around it [m]. rest: height of
    its origin over the ground at rest [m]. mass [kg]; 0: it stands fast. room: how far the middle of another thing must be
    from it, beside that thing's own `room` [m]. square: looks alike after a quarter turn. nouns: the first is the usual one.
    foot: its origin is its foot, it stands fast and keeps its size; else the origin is the centre. slip: its own friction as
    a share of that of other things, where it slides more easily than they do. firm: its contacts are stiff, so that it does
    not creep between fingers.
    """

    geom: Literal["box", "cylinder", "sphere", "plate", "tray", "zone", "socket", "cup", "bowl", "drawer", "door"]
    size: tuple[float, float, float]
    half: tuple[float, float, float]
    rest: float
    mass: float
    room: float
    nouns: tuple[str, ...]
    square: bool = False
    foot: bool = False
    slip: float = 1.0
    firm: bool = False


# Of things made of several boxes, which `compounds` builds and tasks reckon with.
BALLS = 6  # in a cup
CLEARANCE = 0.002  # between a peg in the middle of its hole and the walls [m]
POST = (0.009, 0.025)  # radius and half length of a drawer's or door's handle, a round post on its top [m]
PANE = (0.06, 0.16)  # half sides of the glass over a zone [m]

KINDS: dict[str, Form] = {
    "cube": Form("box", (0.0225,) * 3, (0.0225,) * 3, 0.0225, 0.08, 0.048, ("cube", "block"), square=True),
    "cylinder": Form("cylinder", (0.021, 0.027, 0.0), (0.021, 0.021, 0.027), 0.027, 0.07, 0.048, ("cylinder", "can")),
    "ball": Form("sphere", (0.024, 0.0, 0.0), (0.024,) * 3, 0.024, 0.06, 0.048, ("ball", "sphere")),
    "plate": Form("plate", (0.065, 0.004, 0.0), (0.065, 0.065, 0.004), 0.008, 0.0, 0.085, ("plate", "dish"), foot=True),
    "pillar": Form("cylinder", (0.10, 0.22, 0.0), (0.10, 0.10, 0.22), 0.22, 0.0, 0.24, ("pillar", "column")),
    "crate": Form("box", (0.14, 0.14, 0.14), (0.14,) * 3, 0.14, 0.0, 0.24, ("crate", "chest"), square=True),
    "globe": Form("sphere", (0.15, 0.0, 0.0), (0.15,) * 3, 0.15, 0.0, 0.24, ("globe", "orb")),
    "tray": Form(
        "tray", (0.062,) * 3, (0.066, 0.066, 0.012), 0.006, 0.0, 0.085, ("tray", "box"), square=True, foot=True
    ),
    "puck": Form(
        "cylinder", (0.028, 0.014, 0.0), (0.028, 0.028, 0.014), 0.014, 0.06, 0.05, ("puck", "disc"), slip=0.025
    ),
    "zone": Form("zone", (0.035, 0.0005, 0.0), (0.035, 0.035, 0.0005), 0.0, 0.0, 0.0, ("zone", "spot"), foot=True),
    "peg": Form(
        "box", (0.012, 0.012, 0.035), (0.012, 0.012, 0.035), 0.035, 0.05, 0.045, ("peg", "pin"), square=True, firm=True
    ),
    "socket": Form(
        "socket",
        (0.036, 0.014, 0.015),
        (0.036, 0.036, 0.015),
        0.0,
        0.0,
        0.075,
        ("socket", "hole"),
        square=True,
        foot=True,
    ),
    "cup": Form("cup", (0.025, 0.003, 0.03), (0.025, 0.025, 0.03), 0.03, 0.05, 0.06, ("cup", "mug"), square=True),
    "bowl": Form("bowl", (0.055, 0.004, 0.02), (0.06, 0.06, 0.02), 0.006, 0.0, 0.085, ("bowl", "basin"), foot=True),
    "drawer": Form(
        "drawer", (0.07, 0.05, 0.022), (0.075, 0.055, 0.022), 0.0, 0.0, 0.15, ("drawer", "slider"), foot=True
    ),
    "door": Form("door", (0.05, 0.06, 0.022), (0.055, 0.065, 0.022), 0.0, 0.0, 0.15, ("door", "gate"), foot=True),
}
SHAPES = ("cube", "cylinder", "ball")  # what a gripper takes
DESTINATIONS = ("plate", "tray")  # what a thing is put on or in: fixed, with the origin at the foot
MOVING = ("drawer", "door")  # what opens: a frame that stands fast and a part that moves in it
LANDMARKS = ("pillar", "crate", "globe")  # what a robot drives to: they stand fast
NOUNS = {shape: kind.nouns for shape, kind in KINDS.items()}


@dataclass(frozen=True)
class Item:
    """A thing in a scene. x, y in the base frame at the start [m], yaw [rad]. ajar: how far a drawer or door is open at the
    start, 0 … 1."""

    shape: str
    colour: str
    x: float
    y: float
    yaw: float = 0.0
    ajar: float = 0.0

    @property
    def kind(self) -> Form:
        return KINDS[self.shape]

    @property
    def size(self) -> tuple[float, float, float]:
        """MuJoCo half sizes [m]."""
        return self.kind.size

    @property
    def rest_height(self) -> float:
        """Height of the origin over the ground at rest [m]."""
        return self.kind.rest

    @property
    def width(self) -> float:
        """Size between the finger pads [m]."""
        return 2 * self.kind.half[0]

    @property
    def mass(self) -> float:
        """[kg]; 0 for what stands fast."""
        return self.kind.mass

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


def half_extent(item: Item) -> Array:
    """float64[3]: half the sides of the cuboid around a thing [m], before `object_scale`."""
    return np.array(item.kind.half)


def apart(a: Item, b: Item) -> bool:
    """Whether two things leave each other the room they need."""
    return bool(np.hypot(a.x - b.x, a.y - b.y) > sum((a.kind.room, b.kind.room)))


def kind_of(name: str, shapes: Sequence[str]) -> tuple[str, str]:
    """Colour and shape of a name, such as "red cube". Raises `BadValue` for another colour, and a shape not among these."""
    colour, _, shape = name.partition(" ")
    if colour not in COLOURS or shape not in shapes:
        raise BadValue(
            f"'{name}' is no thing of this table; expected a colour ({', '.join(COLOURS)}) and {' or '.join(shapes)}. "
            f"Next: such as 'red {shapes[0]}'"
        )
    return colour, shape
