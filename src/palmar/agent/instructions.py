"""The long instructions that agents are judged by: texts, tables and goals, written by someone who did not know the planners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from palmar.sim.goals import Goal
from palmar.sim.written import read_written

Kind = Literal["feasible", "impossible", "ambiguous"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FILE = Path(__file__).parent.parent / "assets" / "agent" / "instructions.toml"
ANY = "any"  # place: each thing that lies on any is on one of its own
TASKS = {"on": "place", "past": "push", "held": "pick", "reached": "reach"}


@dataclass(frozen=True, slots=True)
class LongInstruction:
    """text: as a person says it. things, places: on its table. goals: in the order that `ordered` asks for; of an ambiguous one
    what is to be done after `answers`; of an impossible one none, and `why`. seen: a plain chain of placing and pushing."""

    text: str
    kind: Kind
    things: tuple[str, ...]
    places: tuple[str, ...]
    goals: tuple[Goal, ...]
    ordered: bool = True
    answers: tuple[str, ...] = ()
    why: str = ""
    seen: bool = False


def instructions() -> tuple[LongInstruction, ...]:
    """The 100 that ship: 70 feasible, 15 impossible, 15 ambiguous. The file is read at each call."""
    return read_instructions(FILE)


def read_instructions(file: Path) -> tuple[LongInstruction, ...]:
    """Raises `BadFile` naming the entry that is wrong."""
    return read_written(file, _instruction, "text, kind, things, places and goals", FILE.name)


def _instruction(entry: dict[str, Any]) -> LongInstruction:
    kind = entry["kind"]
    if kind not in KINDS:
        raise ValueError(f"kind '{kind}'; expected one of {', '.join(KINDS)}")
    things, places = tuple(entry["things"]), tuple(entry.get("places", ()))
    goals = tuple(_goal(said, (*things, *places)) for said in entry["goals"])
    return LongInstruction(
        str(entry["text"]), kind, things, places, goals, bool(entry.get("ordered", True)),
        tuple(entry.get("answers", ())), str(entry.get("why", "")), bool(entry.get("seen", False)),
    )  # fmt: skip


def _goal(said: str, names: Sequence[str]) -> Goal:
    word, _, rest = said.partition(" ")
    target, _, more = (part.strip() for part in rest.partition("|"))
    if word not in TASKS or target not in names or (word == "on" and more not in (*names, ANY)):
        raise ValueError(
            f"goal '{said}'; expected on THING | PLACE (or {ANY}), past THING | DIRECTION, held THING, reached THING"
        )
    return Goal(TASKS[word], target, more if word == "on" and more != ANY else "", more if word == "past" else "")
