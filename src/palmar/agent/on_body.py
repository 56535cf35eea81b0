"""A performer on a real robot: each skill is one `deploy` on a body, and a person or the policy says whether it was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from palmar.agent.performing import Performer, SuccessCheck, Until
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import Skill, SkillResult
from palmar.errors import RobotFault
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Body, Outcome, Subscriber
from palmar.runtime.monitor import SURE, Finished
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch
from palmar.types import ActionChunk, Observation, Policy, Prefix

Says = Callable[[Skill, bool], bool | None]
"""Whether a skill was done, given what the policy says of it; None where nobody answers."""
Attend = Callable[[Policy, str, Controller], AbstractContextManager[tuple[Policy, Sequence[Subscriber]]]]
"""A context manager around each skill, given its policy, its instruction ("" for a scripted one) and its controller; yields
the policy to run and the subscribers of this skill. It may give the controller a deadman switch."""
LASTS = 3  # actions of a chunk of a scripted skill: the robot does not stop while the next is computed


def by_policy(skill: Skill, done: bool) -> bool:
    """`Says` as the policy's own "done"."""
    return done


class SaidCheck:
    """`SuccessCheck` where nothing measures it: the policy's own "done" ends a skill, and `says` whether it was done.

    sure: probability from which the policy's "done" counts, 0 … 1. A policy that gives none runs until the time is over.
    """

    def __init__(self, says: Says, sure: float = SURE) -> None:
        self.says, self.sure = says, sure

    def begin(self, skill: Skill) -> None:
        self._skill, self._finished = skill, Finished(self.sure)

    def over(self, obs: Observation, chunk: ActionChunk | None) -> bool:
        return self._finished(obs, chunk)

    def done(self, outcome: Outcome) -> bool | None:
        return self.says(self._skill, outcome.reason == "done")

    def left(self) -> float:
        return float("nan")


class ToldScene:
    """What a person says lies on the table, changed by each skill that was done as that skill should. Where things lie,
    and what lay on what before, is not known. Raises `BadValue` for one name twice."""

    def __init__(self, things: Sequence[str], places: Sequence[str] = ()) -> None:
        told = (*(SeenObject(t) for t in things), *(SeenObject(p, True) for p in places))
        self.scene = SceneDescription(told, placements=False)

    def __call__(self) -> SceneDescription:
        return self.scene

    def after(self, result: SkillResult) -> None:
        if result.done:
            self.scene = result.skill.after(self.scene)


class Lasting:
    """A scripted policy whose chunks last for `LASTS` actions: on a robot the next one comes a tick after it is due."""

    def __init__(self, inner: Policy) -> None:
        self.inner = inner
        self.interface = replace(inner.interface, horizon=LASTS * inner.interface.horizon)

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        chunk = self.inner.act(obs, prefix)
        return replace(chunk, actions=np.repeat(chunk.actions, LASTS, axis=0))

    def reset(self) -> None:
        self.inner.reset()


@contextmanager
def unattended(
    policy: Policy, instruction: str, controller: Controller
) -> Iterator[tuple[Policy, Sequence[Subscriber]]]:
    """`Attend` without a person at the robot: the same policy and no subscribers."""
    yield policy, ()


def performer(
    body: Body,
    policies: dict[str, Policy],
    describe: Callable[[], SceneDescription],
    check: SuccessCheck,
    *,
    latch: Latch | None = None,
    attend: Attend = unattended,
    execute: int = 4,
    realtime: bool = False,
    blackbox: Path | None = None,
    slow: float = 1.0,
) -> Performer:
    """A performer on a body that was reset: each skill by `runtime.deploy.deploy`, with a controller of its own.

    policies, describe, slow, blackbox: as of `Performer`; the policies fit `body.embodiment`. latch: the E-STOP of a real robot,
    None for a simulated one. execute, realtime: as of `deploy`.

    A skill that ends while the controller holds the robot, has handed it over or has stopped it has the status "fault",
    with the reason: nothing moves until a person has looked. Ctrl-C, SIGTERM and SIGHUP are the status "stopped".
    """
    robot = body.embodiment

    def drive(
        policy: Policy, instruction: str, until: Until, timeout: float, watchers: Sequence[Subscriber]
    ) -> Outcome:
        if latch is not None and (pressed := latch.read()) is not None:
            raise RobotFault(
                f"the E-STOP of robot '{latch.robot}' is latched: {pressed}. Next: look at the robot, then "
                f"palmar estop --release {latch.robot}"
            )
        if instruction:  # the first call reads the sentence and warms the caches: not on the robot's time
            policy.act(replace(body.observe(), instruction=instruction))
        controller = Controller()
        with attend(policy if instruction else Lasting(policy), instruction, controller) as (driver, more):
            report = deploy(
                body, driver, instruction, body.observe(), timeout=timeout, execute=execute if instruction else 1,
                realtime=realtime and bool(instruction), controller=controller, until=until,
                subscribers=(*watchers, *more), latch=latch,
            )  # fmt: skip
        if report.mode is not Mode.RUN:
            unlatched = f" (the E-STOP could not be latched: {report.unlatched})" if report.unlatched else ""
            raise RobotFault(
                f"{report.mode.name}: {report.reason}{unlatched}. Next: look at the robot, then say it again"
            )
        return report.outcome

    return Performer(robot, policies, describe, drive, check, slow=slow, blackbox=blackbox)
