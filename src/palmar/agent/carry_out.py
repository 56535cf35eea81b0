"""The agent's loop: plan → check → confirm → skills, one after the other → what really happened → plan again, within bounds.

It is "done" when its planner, shown the scene as it is now, has nothing left to do, and every skill that was tried is done by
the success check. Where nothing was carried out it is "nothing to do": no check has confirmed what the planner says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from palmar.agent.conversation import Conversation
from palmar.agent.performing import Performer
from palmar.agent.plans import Plan, Planner, PlanRequest, Question, Refusal, check_plan
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import Skill, SkillResult
from palmar.errors import UserError
from palmar.ranges import Count, check_ranges

Ending = Literal["done", "nothing to do", "refused", "not answered", "not confirmed", "failed", "stopped"]
Confirm = Callable[[Plan], Plan | None]
"""The plan that is carried out in place of the one that is shown; None, or a plan without steps, for none."""


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
    """What became of an instruction. why: of the ending, "" where the results say it. results: of every skill that was tried.
    replans: plans after the first. asked: questions to the person. seconds: that the robot moved [s]."""

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
    ended: Callable[[AgentRun], None] = lambda run: None,
) -> AgentRun:
    """Do what an instruction asks, or say why not. confirm: asked before each plan is carried out; where it gives another plan and
    that is done whole, the run is over, whatever else the planner had planned. by: whose words they are. ended: is told how
    it ended, also when something is raised.

    Raises `KeyboardInterrupt` (the robot has been braked to rest by then), `RobotFault` when the scene cannot be looked at, what a
    policy raises before it has acted, and what the planner raises before anything was tried; after that it is the ending "failed".
    Whatever is raised, the log has its end.
    """
    log = log or Conversation()
    log.add(by, text=instruction)
    running = _Running(instruction, planner, performer, limits or AgentLimits(), confirm, log)
    try:
        run = running.run()
    except BaseException as error:
        ending: Ending = "failed" if isinstance(error, Exception) else "stopped"
        why = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        log.add("end", ending=ending, why=why, raised=True)
        ended(running.end(ending, why))
        raise
    log.add("end", ending=run.ending, why=run.why)
    ended(run)
    return run


@dataclass
class _Running:
    """One instruction while it is carried out. plans: that were made. held: object of the last grasp that was done and has not
    been let go since, for scenes that do not tell. request: with every skill that was tried."""

    instruction: str
    planner: Planner
    performer: Performer
    limits: AgentLimits
    confirm: Confirm
    log: Conversation
    plans: int = 0
    held: str = ""
    asked: list[str] = field(default_factory=list)
    request: PlanRequest = field(init=False)

    def __post_init__(self) -> None:
        self.request = PlanRequest(self.instruction, SceneDescription(()))

    def run(self) -> AgentRun:
        self.request = replace(self.request, scene=self.performer.describe())
        self.log.add("scene", text=str(self.request.scene), planner=self.planner.name)
        while True:
            if (ended := self._round()) is not None:
                return ended

    def end(self, ending: Ending, why: str = "") -> AgentRun:
        return AgentRun(self.instruction, ending, why, self.request.tried, max(0, self.plans - 1), tuple(self.asked))

    def _round(self) -> AgentRun | None:
        """One decision of the planner and what follows from it; the end, or None to ask the planner again."""
        try:
            decision = self.planner.decide(self.request)
        except UserError as error:
            if not self.request.tried:
                raise
            return self.end("failed", str(error))
        if isinstance(decision, Question):
            return self._question(decision)
        if isinstance(decision, Refusal):
            self.log.add("refusal", text=decision.why)
            return self.end("failed" if self.request.tried else "refused", decision.why)
        self.log.add("plan", **decision.as_dict())
        if not decision.steps:
            return self._nothing_left()
        if self.plans > self.limits.replans:
            return self.end("failed", f"{self.limits.replans} new plans were tried, and it is not done")
        self.plans += 1
        if (fault := check_plan(decision, self.request.scene, self.request.tried)) is not None:
            self.log.add("note", text=f"the plan is not carried out: {fault}")
            self.request = replace(self.request, refused=str(fault))
            return None
        plan = self.confirm(decision)
        if plan is None:
            return self.end("not confirmed")
        edited = plan.steps != decision.steps
        if edited:
            self.log.add("plan", **plan.as_dict(), edited=True)
            if not plan.steps:
                return self.end("not confirmed", "the edited plan has no steps")
            if (fault := check_plan(plan, self.request.scene, self.request.tried)) is not None:
                return self.end("not confirmed", f"the edited plan cannot be carried out: {fault}")
        before = len(self.request.tried)
        for skill in plan.steps:
            if (ended := self._step(skill)) is not None:
                return ended
            if not self.request.tried[-1].done:
                return None
        return self._done(self.request.tried[before:], "the plan as it was edited") if edited else None

    def _question(self, question: Question) -> AgentRun | None:
        self.log.add("question", text=question.text, choices=list(question.choices))
        if (ended := self._counted(question.text)) is not None:
            return ended
        said = self.performer.answer(question.text)
        if said is None:
            return self.end("not answered", question.text)
        self.log.add("answer", text=said)
        self.request = replace(self.request, answers=(*self.request.answers, (question.text, said)), refused="")
        return None

    def _counted(self, question: str) -> AgentRun | None:
        """Count a question; the end, where no more may be asked."""
        if len(self.asked) < self.limits.questions:
            self.asked.append(question)
            return None
        return self.end("not answered", f"{self.limits.questions} questions were asked, and there are more: {question}")

    def _nothing_left(self) -> AgentRun:
        """The end, where the planner says that nothing is left to do."""
        last = {r.skill: r for r in self.request.tried}  # of a skill that was tried again, the last
        if failed := [r for r in last.values() if not r.done]:
            return self.end("failed", f"nothing is left to do, says the planner, but {failed[-1]}")
        return self._done(list(last.values()))

    def _done(self, results: Sequence[SkillResult], why: str = "") -> AgentRun:
        """The end, where all these results are done: questions alone carry nothing out."""
        if all(r.skill.name == "ask" for r in results):
            return self.end("nothing to do", "nothing is left to do, says the planner, and nothing was carried out")
        return self.end("done", why)

    def _step(self, skill: Skill) -> AgentRun | None:
        """Carry out one skill; the end, where nothing may follow."""
        if len(self.request.tried) >= self.limits.steps:
            return self.end("failed", f"{self.limits.steps} skills were carried out, and it is not done")
        if skill.name == "ask" and (ended := self._counted(skill.question)) is not None:
            return ended
        self.log.add("step", **skill.as_dict())
        try:
            result = self._performed(skill)
            over = result.status in ("stopped", "fault")
            if result.done:
                self.held = _held_after(skill, self.held)
            scene = self.request.scene if over else self._scene()
        except UserError as error:
            return self.end("failed", str(error))
        self.request = replace(self.request, scene=scene, refused="")
        record = {} if result.record is None else {"record": str(result.record)}
        self.log.add("result", status=result.status, text=str(result), scene=str(scene), **record)
        if skill.name == "ask" and result.done:
            self.request = replace(self.request, answers=(*self.request.answers, (skill.question, result.said)))
        if over:  # a person looks at the robot before it moves again
            return self.end("stopped" if result.status == "stopped" else "failed", str(result))
        return None

    def _performed(self, skill: Skill) -> SkillResult:
        try:
            result = self.performer.perform(skill)
        except KeyboardInterrupt:
            self._tried(SkillResult(skill, "stopped", said="Ctrl-C"))
            raise
        self._tried(result)
        return result

    def _tried(self, result: SkillResult) -> None:
        self.request = replace(self.request, tried=(*self.request.tried, result))

    def _scene(self) -> SceneDescription:
        """The scene now; where it does not tell what is held, that is what was grasped last and not let go since."""
        scene = self.performer.describe()
        if scene.placements or scene.holding or not self.held:
            return scene
        things = scene.things if self.held in scene.names else (*scene.things, SeenObject(self.held))
        return replace(scene, things=things, holding=self.held)


def _held_after(skill: Skill, held: str) -> str:
    """What is in the gripper when a skill is done, by the skill's own effect. held: before."""
    names = dict.fromkeys(n for n in (skill.object, skill.destination, held) if n)
    return skill.after(SceneDescription(tuple(map(SeenObject, names)), held)).holding
