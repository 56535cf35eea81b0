"""What a planner answers: a plan, a question or a refusal; and the check of a plan against the scene before anything moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from palmar.agent.seen import SceneDescription
from palmar.agent.skills import Argument, Skill, SkillResult, skill_from
from palmar.errors import BadValue

LONGEST = 20
"""Steps of a plan: one that is longer is taken for one that goes in a circle."""


@dataclass(frozen=True, slots=True)
class Plan:
    """steps: in order, each once after the other. why: for the person who confirms it."""

    steps: tuple[Skill, ...]
    why: str = ""

    def __str__(self) -> str:
        return "\n".join(f"{i}. {s}" for i, s in enumerate(self.steps, 1)) or "nothing is left to do"

    def as_dict(self) -> dict[str, Any]:
        return {"plan": [s.as_dict() for s in self.steps], "why": self.why}


@dataclass(frozen=True, slots=True)
class Question:
    """The instruction can mean more than one thing. choices: the answers that would settle it."""

    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """It cannot be done here, and why."""

    why: str


Decision = Plan | Question | Refusal


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a planner is asked: the person's words, the scene now, and what was tried since they were said. answers: (question,
    answer) so far. refused: why the last plan was not carried out, "" at first."""

    instruction: str
    scene: SceneDescription
    tried: tuple[SkillResult, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()
    refused: str = ""


class Planner(Protocol):
    """Raises `BadValue` for what it cannot read at all, `ModelUnreachable` where it lives elsewhere and does not answer."""

    name: str

    def decide(self, request: PlanRequest) -> Decision: ...


@dataclass(frozen=True, slots=True)
class PlanFault:
    """Why a plan is not carried out: step, from 1 on, and what is wrong with it there."""

    step: int
    skill: Skill
    why: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.skill}: {self.why}"


def check_plan(plan: Plan, scene: SceneDescription, tried: Sequence[SkillResult] = ()) -> PlanFault | None:
    """The first step that cannot begin in the scene that the steps before it should leave; None for a plan that holds.

    A step that comes again right after itself, one that has failed `AGAIN` times already, and what is more than `LONGEST` steps
    are faults too: a plan that goes in a circle never ends.
    """
    for i, skill in enumerate(plan.steps, 1):
        if i > LONGEST:
            return PlanFault(i, skill, f"the plan has {len(plan.steps)} steps; expected {LONGEST} at most")
        if i > 1 and skill == plan.steps[i - 2] and skill.name != "ask":
            return PlanFault(i, skill, "it comes twice in a row")
        if sum(r.skill == skill and not r.done for r in tried) >= AGAIN:
            return PlanFault(i, skill, f"it has failed {AGAIN} times")
        if (why := skill.not_possible(scene)) is not None:
            return PlanFault(i, skill, f"{why[0]}: {why[1]}")
        scene = skill.after(scene)
    return None


AGAIN = 3
"""Failures of one step after which it is not tried again."""


def decision_from(said: Any) -> Decision:
    """A decision as a model or a person writes it: {"plan": [step, …], "why": text}, {"question": text, "choices": [text, …]} or
    {"refusal": text}. Raises `BadValue` and `UnknownName`."""
    if not isinstance(said, dict):
        raise BadValue(
            f"a decision is {str(said)[:80]}; expected a plan, a question or a refusal. Next: an object with one of them"
        )
    kinds = [k for k in ("plan", "question", "refusal") if said.get(k) not in (None, "")]
    if len(kinds) != 1:
        raise BadValue(
            f"a decision has {', '.join(kinds) or 'none'} of plan, question and refusal; expected one. Next: one of them"
        )
    if kinds == ["plan"]:
        if not isinstance(said["plan"], list) or len(said["plan"]) > 10 * LONGEST:
            raise BadValue(f"a plan is {str(said['plan'])[:80]}; expected up to {LONGEST} steps. Next: a list of steps")
        return Plan(tuple(map(_step_from, said["plan"])), _text(said.get("why") or "", "why")[:500])
    if kinds == ["question"]:
        choices = said.get("choices") or []
        if not isinstance(choices, list):
            raise BadValue(f"choices are {str(choices)[:80]}; expected a list of texts. Next: leave them out")
        return Question(
            _text(said["question"], "question")[:500], tuple(_text(c, "a choice")[:100] for c in choices[:20])
        )
    return Refusal(_text(said["refusal"], "refusal")[:500])


def _step_from(said: Any) -> Skill:
    """A step of a plan: no field that skills do not have, whatever its value."""
    if isinstance(said, dict) and (unknown := {str(k) for k in said} - {"skill", *get_args(Argument)}):
        raise BadValue(
            f"a step has '{min(unknown)[:40]}'; expected skill, {', '.join(get_args(Argument))}. Next: without it"
        )
    return skill_from(said)


def _text(said: Any, what: str) -> str:
    if not isinstance(said, str):
        raise BadValue(f"{what} is {str(said)[:80]}; expected text. Next: write it as one sentence")
    return said
