"""Skills carried out: a policy drives through the one loop and its guards, and a success check says whether it was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from palmar.agent.scripted import GripperPolicy, HomePolicy
from palmar.agent.seen import SceneDescription
from palmar.agent.skills import SKILLS, Skill, SkillResult, Status
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, RobotFault
from palmar.runtime.loop import Outcome, Subscriber, Tick
from palmar.runtime.records.blackbox import BlackBox
from palmar.types import ActionChunk, Observation, Policy, Reason

KINDS = 8
"""Kinds of changes by the guards that a result tells."""


class SuccessCheck(Protocol):
    """Tells whether a skill was done: not the policy that carried it out, where something else can tell."""

    def begin(self, skill: Skill) -> None:
        """A skill begins."""
        ...

    def over(self, obs: Observation, chunk: ActionChunk | None) -> bool:
        """Whether the skill should end now: asked at every policy step, while the robot moves."""
        ...

    def done(self, outcome: Outcome) -> bool | None:
        """Whether it is done now: asked once, when it has ended and the robot rests; None where nobody says, and nothing moves
        any more. Not asked after a fault or a stop."""
        ...

    def left(self) -> float:
        """How far the object is from where it should be [m], nan where nothing measures it."""
        ...


Until = Callable[[Observation, ActionChunk | None], bool]


Drive = Callable[[Policy, str, Until, float, Sequence[Subscriber]], Outcome]
"""One run of the loop on the body, with policy, instruction ("" for a policy that reads none), until, timeout [s] and subscribers:
`rollout` on a simulated clock, `deploy` on a robot. A `BlackBox` among the subscribers is given the safety layer. Raises
`RobotFault`."""


@dataclass
class Performer:
    """Carries out skills, one after the other, on one robot.

    policies: {skill: policy}, "" for every other. describe: the scene now. drive: one run of the loop. check: tells whether it
    is done. answer: what the person says to a question, None for no answer. slow: factor on the skills' own times. after: is told
    every result. blackbox: folder for the last seconds of each skill that was not done (`runtime.records.blackbox`), None for none.
    """

    robot: Embodiment
    policies: dict[str, Policy]
    describe: Callable[[], SceneDescription]
    drive: Drive
    check: SuccessCheck
    answer: Callable[[str], str | None] = lambda question: None
    slow: float = 1.0
    after: Callable[[SkillResult], None] = lambda result: None
    blackbox: Path | None = None

    def perform(self, skill: Skill) -> SkillResult:
        """The robot's faults are results, those in looking at the scene too. Raises `KeyboardInterrupt`, what a policy raises
        before it has acted, and `BadValue` for a skill without a policy."""
        result = self._performed(skill)
        self.after(result)
        return result

    def _performed(self, skill: Skill) -> SkillResult:
        try:
            scene = self.describe()
        except RobotFault as error:
            return SkillResult(skill, "fault", said=str(error))
        if (why := skill.not_possible(scene)) is not None:
            return SkillResult(skill, why[0], said=why[1])
        if skill.name == "ask":
            said = self.answer(skill.question)
            return SkillResult(skill, "not answered" if said is None else "answered", said=said or "")
        if skill.name == "look":
            return SkillResult(skill, "done")
        return self._driven(skill)

    def _driven(self, skill: Skill) -> SkillResult:
        watch, scripted = _Watch(), self._scripted(skill)
        box = None if self.blackbox is None else BlackBox(self.blackbox)
        watchers = (watch,) if box is None else (watch, box)
        policy = scripted or self._policy(skill)
        if scripted is None:
            self.check.begin(skill)

        def until(obs: Observation, chunk: ActionChunk | None) -> bool:
            return self.check.over(obs, chunk) if scripted is None else scripted.reached(obs)

        status: Status = "stalled"
        said, seconds = "", 0.0
        try:
            outcome = self.drive(policy, skill.instruction, until, SKILLS[skill.name].timeout * self.slow, watchers)
        except RobotFault as error:
            status, said, seconds = "fault", str(error), watch.seconds
        except BadFile as error:
            if box is None:
                raise
            status, said, seconds = "fault", str(error), watch.seconds  # a fault whose black box could not be written
        else:
            seconds, ended = outcome.duration, outcome.reason == "done"
            if outcome.error is not None:
                said = f"the policy failed {outcome.failures} times: {outcome.error}"
            if outcome.reason == "stopped":
                status = "stopped"
            elif (done := ended if scripted is not None else self.check.done(outcome)) is None:
                status, said = "stopped", "nobody says whether it was done"
            elif done:
                status = "done"
            elif ended:
                said = said or "it ended as done, and the check at rest says that it is not"
            if scripted is not None:
                said = "; ".join(filter(None, (said, scripted.said)))
        left = self.check.left() if scripted is None else float("nan")
        record = None
        if box is not None and status != "done":
            try:
                record = box.written[-1] if status == "fault" and box.written else box.keep("skill")
            except BadFile as error:  # a full disk is no reason to stop a robot
                said = said if str(error) in said else f"{said}; {error}".removeprefix("; ")
        return SkillResult(skill, status, seconds, watch.clipped, left, watch.confidence, said, record)

    def _scripted(self, skill: Skill) -> GripperPolicy | HomePolicy | None:
        if skill.name == "home":
            return HomePolicy(self.robot)
        if skill.name in ("open_gripper", "close_gripper"):
            return GripperPolicy(self.robot, 1.0 if skill.name == "open_gripper" else 0.0)
        return None

    def _policy(self, skill: Skill) -> Policy:
        policy = self.policies.get(skill.name) or self.policies.get("")
        if policy is None:
            raise BadValue(
                f"no policy carries out {skill.name} (there are some for {', '.join(self.policies)}). Next: one for ''"
            )
        return policy


class _Watch(Subscriber):
    """What the guards changed, each kind with its first reason, the lowest confidence and the time."""

    def __init__(self) -> None:
        self._clipped: dict[tuple[str, str], Reason] = {}
        self.confidence, self.seconds, self._began = float("nan"), 0.0, float("nan")

    @property
    def clipped(self) -> tuple[Reason, ...]:
        return tuple(self._clipped.values())

    def on_tick(self, tick: Tick) -> None:
        self._began = float(np.fmin(self._began, tick.time))
        self.seconds = tick.time - self._began
        for reason in tick.verdict.reasons:
            if len(self._clipped) < KINDS:
                self._clipped.setdefault((reason.guard, reason.quantity), reason)
        if tick.new_chunk and tick.chunk is not None and tick.chunk.confidence is not None:
            self.confidence = float(np.fmin(self.confidence, tick.chunk.confidence))
