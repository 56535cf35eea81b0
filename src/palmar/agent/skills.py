"""What a robot can be asked for one step at a time: typed skills with a precondition, an effect, a time and a result.

A skill is a value; who carries it out is `agent.performing`. The table `SKILLS` is the only list of them: planners, the schema that
a language model is given and the check of plans read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from palmar.agent.seen import LONGEST, NEAR, SceneDescription, SeenObject
from palmar.errors import BadValue, UnknownName
from palmar.sim.vocabulary import DIRECTIONS
from palmar.types import Reason

Status = Literal[
    "done",
    "stalled",
    "no such object",
    "low confidence",
    "not possible",
    "stopped",
    "fault",
    "answered",
    "not answered",
]
Argument = Literal["object", "destination", "direction", "question"]


@dataclass(frozen=True, slots=True)
class Skill:
    """One step. name: of `SKILLS`; of the others those that this skill has are given, by the names of the scene.

    Raises `UnknownName` for another name, `BadValue` for an argument that is missing, too many or too long.
    """

    name: str
    object: str = ""
    destination: str = ""
    direction: str = ""
    question: str = ""

    def __post_init__(self) -> None:
        if self.name not in SKILLS:
            raise UnknownName("skill", self.name, SKILLS)
        kind = SKILLS[self.name]
        for argument in ("object", "destination", "direction", "question"):
            value = getattr(self, argument)
            if not isinstance(value, str) or len(value) > LONGEST:
                raise BadValue(
                    f"{argument} of {self.name} is {str(value)[:60]!r}; expected {LONGEST} characters at most. Next: a name"
                )
            if bool(value) != (argument in kind.arguments):
                need = ", ".join(kind.arguments) or "none"
                raise BadValue(
                    f"{self.name} has {argument} {value!r}; expected arguments: {need}. Next: {kind.example}"
                )
        if self.direction and self.direction not in DIRECTIONS:
            raise UnknownName("direction", self.direction, DIRECTIONS)

    def __str__(self) -> str:
        """Such as "place_on(red cube, blue plate)"."""
        return f"{self.name}({', '.join(getattr(self, a) for a in SKILLS[self.name].arguments)})"

    def as_dict(self) -> dict[str, str]:
        """What is kept in logs and read again by `skill_from`."""
        return {"skill": self.name} | {a: getattr(self, a) for a in SKILLS[self.name].arguments}

    @property
    def instruction(self) -> str:
        """What a policy is told, "" for a skill that needs none."""
        return SKILLS[self.name].wording.format(
            o=self.object, g=self.destination, d=self.direction, on=preposition(self.destination)
        )

    def not_possible(self, scene: SceneDescription) -> tuple[Status, str] | None:
        """Why it cannot begin in this scene, None when it can."""
        return _unseen(self, scene) or SKILLS[self.name].precondition(self, scene)

    def after(self, scene: SceneDescription) -> SceneDescription:
        """The scene that it should leave."""
        return SKILLS[self.name].effect(self, scene)


@dataclass(frozen=True, slots=True)
class SkillKind:
    """arguments: those it has. meaning: for who plans. wording: what a policy is told ({o}, {g}, {on}, {d}), "" where none
    drives. timeout: [s]."""

    arguments: tuple[Argument, ...]
    meaning: str
    example: str
    precondition: Callable[[Skill, SceneDescription], tuple[Status, str] | None]
    effect: Callable[[Skill, SceneDescription], SceneDescription]
    wording: str = ""
    timeout: float = 15.0


@dataclass(frozen=True, slots=True)
class SkillResult:
    """What really happened. seconds: it took [s]. clipped: what the guards changed, each kind of change once. left: how far the
    thing was from where it should be at the end [m], nan where nothing measures it. confidence: lowest of the policy's, nan
    without one. said: an answer, or what went wrong. record: black box of a skill that was not done, None for none."""

    skill: Skill
    status: Status
    seconds: float = 0.0
    clipped: tuple[Reason, ...] = ()
    left: float = float("nan")
    confidence: float = float("nan")
    said: str = ""
    record: Path | None = None

    @property
    def done(self) -> bool:
        return self.status in ("done", "answered")

    def __str__(self) -> str:
        """Such as "push(blue can, left): stalled after 15.0 s, 0.04 m left; clipped: workspace x 0.72 > 0.68 m"."""
        said = f"{self.skill}: {self.status}"
        if self.seconds:
            said += f" after {self.seconds:.1f} s"
        if not self.done and self.left == self.left:
            said += f", {self.left:.2f} m left"
        if self.confidence == self.confidence:
            said += f", confidence {self.confidence:.2f}"
        if self.clipped:
            said += "; clipped: " + ", ".join(map(str, self.clipped[:3]))
        return said + (f"; {self.said}" if self.said else "")


def skill_from(said: Any) -> Skill:
    """A skill that a model, a person or a log wrote: {"skill": name, argument: text, …}.

    Raises `BadValue` and `UnknownName` with what there is.
    """
    if not isinstance(said, Mapping) or not isinstance(said.get("skill"), str):
        raise BadValue(f'a step is {str(said)[:80]}; expected {{"skill": NAME, …}}. Next: one of {", ".join(SKILLS)}')
    more = {str(k): v for k, v in said.items() if k != "skill" and v not in ("", None)}
    if unknown := set(more) - {"object", "destination", "direction", "question"}:
        raise BadValue(
            f"{said['skill'][:40]} has '{min(unknown)[:40]}'; expected object, destination, direction, question. Next: without"
        )
    return Skill(said["skill"][:60], **more)


def skill_from_text(text: str) -> Skill:
    """A skill as `str` of it: "push(red cube, left)". Raises `BadValue` and `UnknownName`."""
    name, bracket, rest = text.strip().partition("(")
    if name not in SKILLS:
        raise UnknownName("skill", name[:60], SKILLS)
    kind = SKILLS[name]
    given = [part.strip() for part in rest.rstrip().removesuffix(")").split(",", max(0, len(kind.arguments) - 1))]
    given = [part for part in given if part]
    if not bracket or len(given) != len(kind.arguments):
        raise BadValue(f"'{text[:80]}' is no {name}; expected {kind.example}. Next: its arguments in brackets")
    return Skill(name, **dict(zip(kind.arguments, given, strict=True)))


def preposition(destination: str) -> str:
    return "in" if destination.split(" ")[-1:] in (["tray"], ["box"], ["bowl"], ["basin"]) else "on"


# ---------------------------------------------------------------------------------------------- what each needs and leaves


def _unseen(skill: Skill, scene: SceneDescription) -> tuple[Status, str] | None:
    for name in (skill.object, skill.destination):
        if not name:
            continue
        thing = scene.find(name)
        if thing is None:
            return "no such object", f"'{name}' is not here: {', '.join(scene.names) or 'nothing is seen'}"
        if thing.confidence < NEAR:
            return "low confidence", f"'{name}' is seen with confidence {thing.confidence:.2f} < {NEAR}"
    return None


def _always(skill: Skill, scene: SceneDescription) -> None:
    return None


def _same(skill: Skill, scene: SceneDescription) -> SceneDescription:
    return scene


def _opens(skill: Skill, scene: SceneDescription) -> tuple[Status, str] | None:
    if skill.object.split()[-1] not in ("drawer", "door"):
        return "not possible", f"'{skill.object}' does not open; expected a drawer or a door"
    return None


def _free(skill: Skill, scene: SceneDescription) -> tuple[Status, str] | None:
    thing = scene.find(skill.object)
    assert thing is not None
    if thing.fixed:
        return "not possible", f"'{skill.object}' stands fast; expected one of {', '.join(t.name for t in scene.free)}"
    if scene.holding and scene.holding != skill.object:
        return "not possible", f"the gripper holds '{scene.holding}'"
    return None


def _empty(skill: Skill, scene: SceneDescription) -> tuple[Status, str] | None:
    if scene.holding:
        return "not possible", f"the gripper holds '{scene.holding}'"
    return _free(skill, scene)


def _on_the_table(skill: Skill, scene: SceneDescription) -> tuple[Status, str] | None:
    thing = scene.find(skill.object)
    assert thing is not None
    if thing.on:
        return "not possible", f"'{skill.object}' lies on '{thing.on}', and is not pushed from there"
    return _empty(skill, scene)


def _fits(skill: Skill, scene: SceneDescription) -> tuple[Status, str] | None:
    goal = scene.find(skill.destination)
    assert goal is not None
    if not goal.fixed:
        return (
            "not possible",
            f"nothing is put on '{skill.destination}'; expected one of {', '.join(t.name for t in scene.fixed)}",
        )
    others = [t.name for t in scene.lying_on(skill.destination) if t.name != skill.object]
    if others:
        return "not possible", f"'{others[0]}' lies on '{skill.destination}' already"
    return _free(skill, scene)


def _moved(scene: SceneDescription, name: str, **changes: Any) -> SceneDescription:
    thing = scene.find(name)
    assert thing is not None
    said: dict[str, Any] = {"on": "", "beyond": (), "position": None} | changes
    return scene.with_thing(replace(thing, **said))


def _held(skill: Skill, scene: SceneDescription) -> SceneDescription:
    return replace(_moved(scene, skill.object), holding=skill.object)


def _placed(skill: Skill, scene: SceneDescription) -> SceneDescription:
    goal: SeenObject | None = scene.find(skill.destination)
    assert goal is not None
    return replace(_moved(scene, skill.object, on=skill.destination, position=goal.position), holding="")


def _pushed(skill: Skill, scene: SceneDescription) -> SceneDescription:
    thing = scene.find(skill.object)
    assert thing is not None
    across = {"left": "right", "right": "left"}.get(skill.direction)
    kept = tuple(d for d in thing.beyond if d not in (skill.direction, across))
    return _moved(scene, skill.object, beyond=(*kept, skill.direction))


def _let_go(skill: Skill, scene: SceneDescription) -> SceneDescription:
    return replace(scene, holding="")


SKILLS: dict[str, SkillKind] = {
    "move_to": SkillKind(
        ("object",), "bring the gripper over a thing, without touching it", "move_to(red cube)", _empty, _same, "reach for the {o}"
    ),
    "grasp": SkillKind(
        ("object",), "take a thing and lift it; it stays in the gripper", "grasp(red cube)", _empty, _held, "pick up the {o}"
    ),
    "place_on": SkillKind(
        ("object", "destination"), "take a thing, unless it is held already, and put it on or in a plate or tray that is empty",
        "place_on(red cube, blue plate)", _fits, _placed, "put the {o} {on} the {g}",
    ),
    "push": SkillKind(
        ("object", "direction"), "shove a thing over the painted line to the left, to the right or forward (away from the robot)",
        "push(red cube, left)", _on_the_table, _pushed, "push the {o} {d}",
    ),
    "open": SkillKind(
        ("object",), "open a drawer or door", "open(blue drawer)", _opens, _same, "open the {o}"
    ),
    "open_gripper": SkillKind((), "let go of what is held", "open_gripper()", _always, _let_go, timeout=3.0),
    "close_gripper": SkillKind((), "close the gripper where it is", "close_gripper()", _always, _same, timeout=3.0),
    "home": SkillKind(
        (), "bring the arm back to where it starts, over the table, before something is tried again", "home()", _always, _same,
        timeout=6.0,
    ),
    "look": SkillKind((), "look at the table again", "look()", _always, _same),
    "ask": SkillKind(
        ("question",), "ask the person, where the instruction can mean two things", "ask(Which cube?)", _always, _same
    ),
}  # fmt: skip
