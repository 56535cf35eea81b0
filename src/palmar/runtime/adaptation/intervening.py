"""A person takes over from a policy and gives back, or an expert in their place; by hand, by the clock, or on an alarm.

policy ⇄ person       a rule says after every question who answers; chunks of the person are marked (`ActionChunk.intervention`)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from palmar.errors import BadValue
from palmar.runtime.confidence.judge import Judge, Level
from palmar.runtime.loop import Subscriber, Tick
from palmar.runtime.worker import Threaded
from palmar.types import ActionChunk, Array, Observation, Policy, Prefix


class Rule(Protocol):
    """Who drives. Called with what is seen, the policy's own chunk for it, and whether the person drives now; True: the person
    does from now on."""

    def reset(self) -> None: ...

    def __call__(self, obs: Observation, chunk: ActionChunk, driving: bool) -> bool: ...


class After:
    """The person takes over after so many seconds of an episode, and drives to its end: whoever is not done by then has failed."""

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0:
            raise BadValue(f"takeover is after {seconds} s; expected 0 or more. Next: 5")
        self.seconds = seconds
        self._began: float | None = None

    def reset(self) -> None:
        self._began = None

    def __call__(self, obs: Observation, chunk: ActionChunk, driving: bool) -> bool:
        self._began = obs.time if self._began is None else self._began
        return obs.time - self._began >= self.seconds - 1e-9


class OnAlarm:
    """Takes over when the judge of the policy's confidence would ask a person, and gives back when it has been calm again.

    calm: answers of the policy without an alarm, one after the other, before it drives again. least: shortest turn of the person
    [s].
    A policy that says no confidence is never taken over.
    """

    def __init__(self, judge: Judge | None = None, calm: int = 5, least: float = 1.0) -> None:
        if calm < 1 or not least >= 0:
            raise BadValue(f"calm is {calm} chunks, least {least} s; expected calm ≥ 1 and least ≥ 0. Next: 5 and 1")
        self.judge, self.calm, self.least = judge or Judge(), calm, least
        self.reset()

    def reset(self) -> None:
        self.judge.reset()
        self._since, self._quiet = 0.0, 0
        self._counted: float | None = None

    def __call__(self, obs: Observation, chunk: ActionChunk, driving: bool) -> bool:
        if not driving:
            if self.judge(chunk.confidence).level < Level.ASK:
                return False
            self._since, self._quiet = obs.time, 0
            return True
        if chunk.t0 != self._counted and (
            chunk.confidence is not None or np.isfinite(chunk.actions).all()
        ):  # an answer, once
            sure = chunk.confidence is None or chunk.confidence > self.judge.config.careful
            self._quiet, self._counted = self._quiet + 1 if sure else 0, chunk.t0
        if self._quiet < self.calm or obs.time - self._since < self.least - 1e-9:
            return True
        self.judge.reset()  # someone has looked: it may ask as often as at first
        return False


class ByHand:
    """The person says it themselves. take, give: whether they take over, or give back, each asked once for each chunk, such as a
    key. Taking over again does nothing, so that it may be said in haste; of both at once it is the one that counts."""

    def __init__(self, take: Callable[[], bool], give: Callable[[], bool]) -> None:
        self.take, self.give = take, give

    def reset(self) -> None:
        """The next episode begins with the policy."""
        self.take(), self.give()

    def __call__(self, obs: Observation, chunk: ActionChunk, driving: bool) -> bool:
        take, give = self.take(), self.give()
        return take or (driving and not give)


class Intervening(Subscriber):
    """A policy and a person, of whom one drives. The policy is asked all the time: its confidence tells when it may drive again.

    As a subscriber of the rollout (`deploy` makes it one) it knows what was commanded last: a person who takes over begins there,
    also where the policy was held before its newest actions ran.

    every: seconds between two questions to the policy while the person drives, those between two while it does: a detector of
    failures looks at one chunk after the other, and was fitted to chunks so far apart. 0 for as often as the person is asked.
    patience: how long an answer of the policy is waited for [s] before the rule is asked without one, so that a person can take
    over from a policy that hangs; it then computes on a thread of its own. None: as long as it takes, as in simulation.

    driving: the person does. takeovers: how often they took over, seconds: how long they drove, since it was made.
    Raises `BadValue` when the person's actions are not the policy's, by name or unit.
    """

    def __init__(
        self, policy: Policy, person: Policy, rule: Rule, patience: float | None = None, every: float = 0.0
    ) -> None:
        if patience is not None and not patience > 0:
            raise BadValue(f"patience is {patience} s; expected above 0. Next: 1.0, or None to wait for the policy")
        if not every >= 0:
            raise BadValue(f"every is {every} s; expected 0 or more. Next: execute · dt of the policy")
        if person.interface.action_names != policy.interface.action_names:
            raise BadValue(
                f"who takes over commands {', '.join(person.interface.action_names)}; the policy commands "
                f"{', '.join(policy.interface.action_names)}. Next: a person in the policy's action space"
            )
        for i, name in enumerate(policy.interface.action_names):
            theirs, ours = person.interface.unit("action", i), policy.interface.unit("action", i)
            if theirs and ours and theirs != ours:
                raise BadValue(
                    f"who takes over commands '{name}' in '{theirs}'; the policy commands it in '{ours}'. Next: a person in the "
                    "policy's units"
                )
        self.inner, self.person, self.rule = policy, person, rule
        self.interface = policy.interface
        self._worker = None if patience is None else Threaded(policy)
        self._patience, self.every = patience, every
        self._asked: Observation | None = None
        self._heard: ActionChunk | None = None  # the last answer of the policy
        self._said: float | None = None  # of what observation [s] it was handed on last while the person drives
        self._wanted: float | None = None  # when it was last asked while the person drives [s]
        self._reset_due, self._episode = False, 0
        self.takeovers, self.seconds = 0, 0.0
        self.driving, self._last = False, 0.0
        self._command: Array | None = None

    def reset(self) -> None:
        self._episode, self._heard, self._asked, self._said, self._wanted = self._episode + 1, None, None, None, None
        self._reset_due = self._worker is not None and self._worker.busy  # then as soon as it is not
        if self._worker is not None:
            self._worker.forget()
        if not self._reset_due:
            self.inner.reset()
        self.person.reset()
        self.rule.reset()
        self.driving, self._command = False, None

    def close(self) -> None:
        """The end: whoever waits in `act` for a policy that hangs waits no longer."""
        self._episode += 1
        if self._worker is not None:
            self._worker.close()

    def on_tick(self, tick: Tick) -> None:
        self._command = tick.verdict.command

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Of the policy, or of the person: then marked as an intervention, with the policy's confidence, to be asked again after
        one action unless they say otherwise. An answer of the policy that is not finite counts as confidence 0, and so does what it
        raises, which is raised while nobody else drives. A policy that has not answered yet says no confidence, or, while the
        person drives, that of its last answer. Raises `RuntimeError` when it is reset or closed meanwhile."""
        prefix, chunk, episode = None if self.driving else prefix, None, self._episode
        while chunk is None:
            if self._episode != episode:
                raise RuntimeError("the episode ended before the policy answered")
            raised: Exception | None = None
            try:
                chunk = self._ask(obs, prefix)
            except Exception as error:
                raised = error
            silent = chunk is None and raised is None
            late = self._heard if silent and self.driving else None
            seen = late or (self._none(obs) if chunk is None else chunk)
            judged = seen if silent or np.isfinite(seen.actions).all() else replace(seen, confidence=0.0)
            before, self.driving = self.driving, self.rule(obs, judged, self.driving)
            self.seconds += obs.time - self._last if before else 0.0
            self.takeovers += self.driving and not before
            self._last = obs.time
            if self.driving:
                if not before and hasattr(self.person, "take_over") and self._command is not None:
                    self.person.take_over(self._command)
                own = self.person.act(obs)
                done = (
                    None if late is not None and late.t0 == self._said else seen.done
                )  # what it said once it says once
                self._said = seen.t0
                return replace(
                    own, intervention=True, execute=own.execute or 1, confidence=judged.confidence, done=done
                )
            if raised is not None:
                raise raised
        return chunk

    def _ask(self, obs: Observation, prefix: Prefix | None) -> ActionChunk | None:
        """The policy's answer; None when there is none within `patience`. Raises what the policy raises. What was asked for an
        older observation is only kept as what was heard last, and not waited for while the person drives."""
        worker, patience = self._worker, self._patience
        if self.driving and self._asked is not obs:
            if self._wanted is not None and obs.time - self._wanted < self.every - 0.5 * self.interface.dt:
                return None
            self._wanted = obs.time
        elif not self.driving:
            self._wanted = obs.time
        if worker is None or patience is None:
            self._heard = self.inner.act(obs, prefix)
            return self._heard
        if self._asked is not obs:
            if worker.busy and (self.driving or not worker.wait(patience)):
                return None
            try:
                self._heard = worker.poll(obs.time) or self._heard
            except Exception:
                self._heard = None  # what it raised for another observation
            if self._reset_due:
                self.inner.reset()
                self._reset_due = False
            worker.request(obs, obs.time, prefix)
            self._asked = obs
        if not worker.wait(patience):
            return None
        self._asked = None
        self._heard = worker.poll(obs.time)
        return self._heard

    def _none(self, obs: Observation) -> ActionChunk:
        """For the rule, in place of a chunk that there is not."""
        nothing = np.full((1, len(self.interface.action_names)), np.nan, np.float32)
        return ActionChunk(nothing, self.interface.dt, obs.time)
