"""What an agent knows of a scene, as values: the things that stand there, where, and how sure perception is of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from palmar.errors import BadValue

NEAR = 0.6  # confidence below which a thing is not acted upon
NOT_PERCEIVED = "what lies on what is not perceived"
LONGEST = 500  # characters of a name, and of an argument of a skill
NOT_IN_NAMES = frozenset(",()[]{}<>")
"""They part the arguments of a skill that is written out: "push(red cube, left)"."""


@dataclass(frozen=True, slots=True)
class SeenObject:
    """One thing. name: colour and noun, "red cube". fixed: it stands fast, and others are put on or in it. position: of its
    centre in the base frame [m], None where perception does not tell. on: name of what it lies on or in, "" for the table.
    beyond: the painted lines it is over (left, right, forward). confidence: of perception, 0 … 1.

    Raises `BadValue` for a name that is empty, has commas, brackets or line feeds, or more than `LONGEST` characters."""

    name: str
    fixed: bool = False
    position: tuple[float, float, float] | None = None
    on: str = ""
    beyond: tuple[str, ...] = ()
    confidence: float = 1.0

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 <= self.confidence <= 1:
            raise BadValue(f"confidence of '{self.name}' is {self.confidence}; expected 0 … 1. Next: a probability")

    def __str__(self) -> str:
        said = [self.name]
        if self.position is not None:
            said.append(f"at x {self.position[0]:.2f}, y {self.position[1]:.2f}, z {self.position[2]:.2f} m")
        if self.on:
            said.append(f"on the {self.on}")
        if self.beyond:
            said.append(f"past the {' and the '.join(self.beyond)} line")
        if self.confidence < 1:
            said.append(f"confidence {self.confidence:.2f}")
        return ", ".join(said)


def check_name(name: str) -> None:
    """Raises `BadValue` for a name that a written skill could not be read again with."""
    if not name.strip():
        raise BadValue(f"the name of a thing is {name!r}; expected colour and noun. Next: such as 'red cube'")
    if len(name) > LONGEST:
        raise BadValue(
            f"the name of a thing, {name[:40]!r} …, has {len(name)} characters; expected {LONGEST} at most. Next: a short one"
        )
    if wrong := sorted({c for c in name if c in NOT_IN_NAMES or not c.isprintable()}):
        raise BadValue(
            f"the name of a thing is {name[:60]!r}; expected no comma, bracket or line feed, and it has {wrong[0]!r}. "
            "Next: colour and noun, such as 'red cube'"
        )
    if name != " ".join(name.split()):
        raise BadValue(
            f"the name of a thing is {name[:60]!r}; expected one space between words and none around them. "
            f"Next: '{' '.join(name.split())[:60]}'"
        )


@dataclass(frozen=True, slots=True)
class SceneDescription:
    """things: each name once. holding: name of what is in the gripper, "" for nothing. placements: perception tells what lies on
    what, past which line, and what is held; else nothing can be read from their absence."""

    things: tuple[SeenObject, ...]
    holding: str = ""
    placements: bool = True

    def __post_init__(self) -> None:
        names = [t.name for t in self.things]
        if twice := {n for n in names if names.count(n) > 1}:
            raise BadValue(
                f"the scene has '{min(twice)}' more than once; expected names that tell things apart. "
                "Next: number them, such as 'red cube 2'"
            )
        if self.holding and self.holding not in names:
            raise BadValue(
                f"the gripper holds '{self.holding}', which the scene lacks ({', '.join(names) or 'it is empty'}). "
                "Next: list it among the things"
            )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.things)

    @property
    def free(self) -> tuple[SeenObject, ...]:
        """What can be taken or pushed."""
        return tuple(t for t in self.things if not t.fixed)

    @property
    def fixed(self) -> tuple[SeenObject, ...]:
        """What things are put on or in."""
        return tuple(t for t in self.things if t.fixed)

    @property
    def held(self) -> str:
        """Name of what is in the gripper, "nothing", or "unknown" where perception does not tell."""
        return self.holding or ("nothing" if self.placements else "unknown")

    def find(self, name: str) -> SeenObject | None:
        return next((t for t in self.things if t.name == name), None)

    def lying_on(self, name: str) -> tuple[SeenObject, ...]:
        return tuple(t for t in self.things if t.on == name)

    def with_thing(self, thing: SeenObject, holding: str | None = None) -> SceneDescription:
        """The scene with one thing otherwise. holding: None leaves what is held."""
        things = tuple(thing if t.name == thing.name else t for t in self.things)
        return replace(self, things=things, holding=self.holding if holding is None else holding)

    def __str__(self) -> str:
        lines: Iterable[str] = (f"- {t}" for t in self.things)
        unknown = () if self.placements else (NOT_PERCEIVED,)
        return "\n".join([*lines, f"in the gripper: {self.held}", *unknown])
