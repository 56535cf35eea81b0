"""The agent's loop: plan → check → confirm → skills, one after the other → what really happened → plan again, within bounds.

It is done when its planner, shown the scene as it is now, has nothing left to do, and every skill that was tried is done by the
success check: a planner alone cannot say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from palmar.agent.conversation import Conversation
from palmar.agent.performing import Performer
from palmar.agent.plans import Plan, Planner, PlanRequest, Question, Refusal, check_plan
from palmar.agent.skills import SkillResult
from palmar.errors import RobotFault, UserError
from palmar.ranges import Count, check_ranges

Ending = Literal["done", "refused", "not answered", "not confirmed", "failed", "stopped"]
Confirm = Callable[[Plan], Plan | None]
"""The plan that is carried out in place of the one that is shown; None for none."""


@dataclass(frozen=True)
class AgentLimits:
    """replans: plans after the first, whatever the reason for them. questions: to the person, about one instruction. steps: skills
    that are carried out."""

    replans: Count = 8
    questions: Count = 4
    steps: Count = 40

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True)
class AgentRun:
    """What became of an instruction. why: of an ending that is not "done". results: of every skill that was tried. replans: plans
    after the first. asked: questions to the person. seconds: that the robot moved [s]."""

    instruction: str
    ending: Ending
    why: str = ""
    results: tuple[SkillResult, ...] = ()
    replans: int = 0
    asked: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return sum(r.seconds for r in self.results)

    @property
    def moved(self) -> bool:
        return self.seconds > 0


def carry_out(
    instruction: str,
    planner: Planner,
    performer: Performer,
    limits: AgentLimits | None = None,
    confirm: Confirm = lambda plan: plan,
    log: Conversation | None = None,
    by: Literal["person", "model"] = "person",
) -> AgentRun:
    """Do what an instruction asks, or say why not. confirm: asked before each plan is carried out. by: whose words they are.

    Raises `KeyboardInterrupt` (the robot has been braked to rest by then, and the log has its end), and what the planner raises
    before anything was tried; after that it is the end "failed". Raises `RobotFault` when the scene cannot be looked at.
    """
    limits, log = limits or AgentLimits(), log or Conversation()
    request = PlanRequest(instruction, performer.describe())
    asked: list[str] = []
    plans = 0
    log.add(by, text=instruction)
    log.add("scene", text=str(request.scene), planner=planner.name)

    def end(ending: Ending, why: str = "") -> AgentRun:
        log.add("end", ending=ending, why=why)
        return AgentRun(instruction, ending, why, request.tried, max(0, plans - 1), tuple(asked))

    def counted(question: str) -> AgentRun | None:
        """Count a question; the end, where no more may be asked."""
        if len(asked) < limits.questions:
            asked.append(question)
            return None
        return end("not answered", f"{limits.questions} questions were asked, and there are more: {question}")

    while True:
        try:
            decision = planner.decide(request)
        except UserError as error:
            if not request.tried:
                raise
            return end("failed", str(error))
        if isinstance(decision, Question):
            log.add("question", text=decision.text, choices=list(decision.choices))
            if (ended := counted(decision.text)) is not None:
                return ended
            said = performer.answer(decision.text)
            if said is None:
                return end("not answered", decision.text)
            log.add("answer", text=said)
            request = replace(request, answers=(*request.answers, (decision.text, said)), refused="")
            continue
        if isinstance(decision, Refusal):
            log.add("refusal", text=decision.why)
            return end("failed" if request.tried else "refused", decision.why)
        log.add("plan", **decision.as_dict())
        if not decision.steps:
            last = {r.skill: r for r in request.tried}  # of a skill that was tried again, the last
            failed = [r for r in last.values() if not r.done]
            if failed:
                return end("failed", f"nothing is left to do, says the planner, but {failed[-1]}")
            return end("done", "" if last else "nothing had to be done")
        plans += 1
        if plans > limits.replans + 1:
            return end("failed", f"{limits.replans} new plans were tried, and it is not done")
        if (fault := check_plan(decision, request.scene, request.tried)) is not None:
            log.add("note", text=f"the plan is not carried out: {fault}")
            request = replace(request, refused=str(fault))
            continue
        plan = confirm(decision)
        if plan is None:
            return end("not confirmed")
        if plan != decision:
            log.add("plan", **plan.as_dict(), edited=True)
            if (fault := check_plan(plan, request.scene, request.tried)) is not None:
                return end("not confirmed", f"the edited plan cannot be carried out: {fault}")
        for skill in plan.steps:
            if len(request.tried) >= limits.steps:
                return end("failed", f"{limits.steps} skills were carried out, and it is not done")
            if skill.name == "ask" and (ended := counted(skill.question)) is not None:
                return ended
            log.add("step", **skill.as_dict())
            try:
                result = performer.perform(skill)
                over = result.status in ("stopped", "fault")
                scene = request.scene if over else performer.describe()
            except UserError as error:
                return end("failed", str(error))
            except RobotFault as error:  # of a robot at rest, in looking at the scene
                end("failed", str(error))
                raise
            except KeyboardInterrupt:
                end("stopped", "Ctrl-C")
                raise
            request = replace(request, tried=(*request.tried, result), scene=scene, refused="")
            record = {} if result.record is None else {"record": str(result.record)}
            log.add("result", status=result.status, text=str(result), scene=str(request.scene), **record)
            if skill.name == "ask" and result.done:
                request = replace(request, answers=(*request.answers, (skill.question, result.said)))
            if over:  # a person looks at the robot before it moves again
                return end("stopped" if result.status == "stopped" else "failed", str(result))
            if not result.done:
                break
