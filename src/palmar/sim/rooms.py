"""Where a task is done: a ground that things stand on, lines painted on it, and what is seen around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

Line = tuple[tuple[float, float], tuple[float, float]]
Wall = tuple[str, tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Viewpoint:
    """Where people look at a room from. azimuth, elevation [deg] and distance [m] of a camera about the point `at` [m]."""

    azimuth: float = 174.0  # facing the robot
    elevation: float = -29.0
    distance: float = 0.98
    at: tuple[float, float, float] = (0.43, 0.0, 0.12)


@dataclass(frozen=True)
class Room:
    """size: half length of the ground along x, y [m]; centre: of it. lines: (centre), (half length along x, y) [m].
    walls: name, half sides and centre of what is only seen. rises: whether `table_height` moves the ground. view: of films."""

    size: tuple[float, float]
    centre: tuple[float, float]
    lines: tuple[Line, ...] = ()
    walls: tuple[Wall, ...] = ()
    rises: bool = True
    view: Viewpoint = Viewpoint()


# The lines are those a push must cross.
TABLE = Room(
    (0.45, 0.6), (0.45, 0.0),
    lines=(((0.50, 0.14), (0.14, 0.003)), ((0.50, -0.14), (0.14, 0.003)), ((0.60, 0.0), (0.003, 0.14))),
    walls=(("wall_back", (0.02, 1.5, 1.0), (-0.6, 0, 0.4)), ("floor", (1.6, 1.6, 0.02), (0.4, 0, -0.6))),
)  # fmt: skip

PLAIN = replace(TABLE, lines=())  # the same table with nothing painted on it

# A desk between two arms that face each other, with the wall beyond it.
DESK = Room(
    (0.40, 0.60), (0.05, 0.0),
    walls=(("wall_back", (0.02, 1.5, 1.0), (0.75, 0, 0.3)), ("floor", (1.6, 1.6, 0.02), (0.2, 0, -0.6))),
    view=Viewpoint(0.0, -38.0, 1.15, (0.05, 0.0, 0.08)),
)  # fmt: skip

# A floor of 3.2 m with low walls, seen from above.
ARENA = Room(
    (1.6, 1.6), (0.0, 0.0),
    walls=tuple(
        (f"wall_{name}", (0.03, 1.66, 0.12) if x else (1.66, 0.03, 0.12), (1.63 * x, 1.63 * y, 0.12))
        for name, x, y in (("ahead", 1, 0), ("behind", -1, 0), ("left", 0, 1), ("right", 0, -1))
    ),
    rises=False,
    view=Viewpoint(20.0, -48.0, 3.6, (0.1, 0.0, 0.0)),
)  # fmt: skip
