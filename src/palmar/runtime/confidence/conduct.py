"""What a judge advises is carried out: careful chunks here, the rest by the controller.

Confident(policy) → Judged → chunk (slower, fewer actions) → loop
                      └ advice → Conduct → Controller.pause · go_on · hold · handoff
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from palmar.runtime.adaptation.intervening import Intervening
from palmar.runtime.confidence.confident import Confident
from palmar.runtime.confidence.judge import Advice, Judge, Level
from palmar.runtime.loop import Subscriber, Tick
from palmar.types import ActionChunk, Observation, Policy, Prefix

Novel = Callable[[Observation], bool]


SOURCE = "confidence"
"""What holds the controller, so that it is this alone that is taken back."""


class Stops(Protocol):
    """What `Controller` does for advice."""

    @property
    def mode(self) -> int: ...
    @property
    def reason(self) -> str: ...
    def resume(self) -> bool: ...
    def pause(self, reason: str) -> None: ...
    def go_on(self) -> None: ...
    def hold(self, reason: str, source: str = "") -> None: ...
    def release(self, source: str) -> None: ...
    def handoff(self, reason: str) -> None: ...


class Judged:
    """The inner policy, whose every chunk is judged by its confidence. Where the advice is to be careful the chunk lasts
    longer: the same path at a share of the speed, and fewer of its actions before the policy is asked again.

    advice: on the newest chunk. novel: whether an object or scene is not one of training, asked at every chunk.
    """

    def __init__(self, inner: Policy, judge: Judge | None = None, novel: Novel = lambda obs: False) -> None:
        self.inner, self.judge, self.novel = inner, judge or Judge(), novel
        self.interface = inner.interface
        self._speeds = _speeds(self.interface.action_units)
        self._slowed = False
        self.advice = self.judge(None)

    def reset(self) -> None:
        self.inner.reset()
        self.judge.reset()
        self.advice, self._slowed = self.judge(None), False

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """prefix: not handed on while the running chunk is a slowed one, whose steps are not the policy's."""
        chunk = self.inner.act(obs, None if self._slowed else prefix)
        if chunk.intervention:  # a person drives as they like
            self._slowed = False
            self.judge.answered()
            self.advice = self.judge(None)
            return chunk
        self.advice = self.judge(chunk.confidence, self.novel(obs))
        self._slowed = self.advice.level is Level.CAREFUL and self.advice.speed < 1
        if self.advice.level is Level.GO:
            return chunk
        execute = min(self.advice.execute, chunk.execute or self.advice.execute, len(chunk.actions))
        return replace(slowed(chunk, self.advice, self._speeds) if self._slowed else chunk, execute=execute)


def slowed(chunk: ActionChunk, advice: Advice, speeds: Sequence[int] = ()) -> ActionChunk:
    """The chunk at `advice.speed` of its speed: its actions last longer, those that are speeds themselves become smaller."""
    actions = chunk.actions
    if len(speeds):
        actions = actions.copy()
        actions[:, list(speeds)] *= np.float32(advice.speed)
    return replace(chunk, actions=actions, dt=chunk.dt / advice.speed)


def _speeds(units: Sequence[str]) -> list[int]:
    """Places of the actions that are speeds."""
    return [i for i, unit in enumerate(units) if unit.endswith("/s")]


class Conduct(Subscriber):
    """PAUSE holds the controller until there is no alarm any more; ASK holds it until a person resumes, which answers the judge;
    ESCALATE hands the robot over."""

    def __init__(self, controller: Stops, policy: Judged) -> None:
        self.controller, self.policy = controller, policy
        self._asked = False

    def on_tick(self, tick: Tick) -> None:
        advice = self.policy.advice
        if self._asked and tick.chunk is not None and tick.chunk.intervention:
            self.controller.release(SOURCE)  # the person who was asked drives, unless something else holds
        if self._asked and self.controller.mode == 0:  # a person has looked and resumed
            self._asked = False
            self.policy.judge.answered()
            self.policy.advice = self.policy.judge(None)
            return
        reason = "" if advice.reason is None else str(advice.reason)
        if advice.level is Level.ESCALATE:
            self.controller.go_on()
            self.controller.handoff(reason)
        elif advice.level is Level.ASK:
            if not self._asked:
                self.controller.hold(reason, SOURCE)
                self.controller.go_on()
                self._asked = True
        elif advice.level is Level.PAUSE:
            self.controller.pause(reason)
        else:
            self.controller.go_on()


def judged(policy: Policy, judge: Judge | None = None) -> Policy:
    """A policy that says how sure it is (`Confident`), and is not judged yet, with a judge; any other as it is. Where a person
    takes over by rule (`Intervening`), the rule is the judge."""
    found = list(chain(policy))
    if any(isinstance(p, Judged | Intervening) for p in found) or not any(isinstance(p, Confident) for p in found):
        return policy
    return Judged(policy, judge)


def judged_of(policy: Policy) -> Judged | None:
    """The judge's policy among a policy and those it wraps."""
    return next((p for p in chain(policy) if isinstance(p, Judged)), None)


def chain(policy: object) -> Iterator[object]:
    """A policy and those it wraps."""
    while policy is not None:
        yield policy
        policy = getattr(policy, "inner", None)
