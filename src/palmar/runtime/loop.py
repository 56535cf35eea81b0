"""The one loop. Collecting, evaluating, DAgger and deploying are this function with other arguments.

    body.observe → is a chunk due? → policy.act on a worker → chunks.splice → control: action space → guards → body.apply

A tick never waits for the policy, and a policy that fails never ends the loop: its chunk becomes stale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import Clock, SimClock
from palmar.runtime.control.path import HALTS, Control
from palmar.runtime.correcting import corrector
from palmar.runtime.safety.filter import Safety
from palmar.runtime.worker import Inline, Worker
from palmar.types import ActionChunk, Array, Observation, Policy, Verdict

REFUSED = 1.0
"""How long a body may refuse the commands that brake it before no more are sent [s]."""


@runtime_checkable
class Body(Protocol):
    """A simulated world, a mock, or a robot. Commands are float64[N], absolute values of the channels of `embodiment` in
    their units and order."""

    embodiment: Embodiment

    def observe(self, images: bool = True) -> Observation:
        """What the sensors say now. `images=False` skips the cameras: proprioception must be cheap."""
        ...

    def apply(self, command: Array) -> None:
        """Send one command; it is held for one control tick."""
        ...

    def reset(self, seed: int | None = None) -> Observation: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Tick:
    """One turn of the loop, as subscribers see it. late: how long after its time it began [s]. took: its own work [s].

    acting: an action of a chunk was carried out; False: the chunks had run dry and the robot held. failure: what the policy
    raised since the last tick. speed: at which the chunk was followed, 0 … 1 of its own (`pacing`). looked: pictures were asked
    for. held: where a policy step begins while the guards hold the robot, the action float32[A] that was carried out in its
    place: to stay.
    """

    index: int
    time: float
    observation: Observation
    target: Array
    verdict: Verdict
    late: float = 0.0
    took: float = 0.0
    chunk: ActionChunk | None = None
    new_chunk: bool = False
    latency: float = 0.0
    seam: float = 0.0
    acting: bool = False
    failure: Exception | None = None
    speed: float = 1.0
    looked: bool = False
    held: Array | None = None


class Subscriber:
    """Watches a rollout. `wants_frames` makes the loop look through the cameras at every policy step."""

    wants_frames = False

    def on_start(self, obs: Observation, body: Body) -> None:
        """The episode begins."""

    def on_frame(self, obs: Observation, action: Array) -> None:
        """A policy step begins: what is seen, and the action float32[A] that will be carried out."""

    def on_tick(self, tick: Tick) -> None:
        """A command was sent."""

    def on_end(self, reason: str) -> None:
        """The episode is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a rollout ended (done, timeout, stopped) and how long it took on its clock [s]. failures: times the policy raised;
    error: the last."""

    reason: str
    duration: float
    ticks: int
    failures: int = 0
    error: Exception | None = None

    def check(self) -> Outcome:
        """Itself; raises what the policy raised. For who would rather have no result than that of a failing policy."""
        if self.error is not None:
            raise self.error
        return self


def resting_command(robot: Embodiment, obs: Observation) -> Array:
    """The command float64[N] of a robot that rests where `obs` saw it: measured positions, openings within their range,
    speeds 0; home for what is not measured."""
    measured = robot.measured(obs.state)
    command = np.where(np.isfinite(measured), measured, robot.home)
    for i, c in enumerate(robot.channels):
        if c.kind == "opening":
            command[i] = np.clip(command[i], c.lower, c.upper)
        elif c.kind == "velocity":
            command[i] = 0.0
        elif not np.isfinite(measured[i]) and any(m.of == c.name and m.quantity == "position" for m in robot.state):
            command[i] = measured[i]  # a sensor that answers no number: `Safety.reset` refuses it by name
    return command


LONGEST = 60.0
"""Of a braking path [s]."""


def brake_to_rest(body: Body, safety: Safety, clock: Clock) -> None:
    """Come to rest within the limits, one command a control tick, looking at nothing.

    A command that the body refuses is not the last; what it raised first is raised at the end, or when it has refused all
    for `REFUSED` seconds.
    """
    refused: Exception | None = None
    began = taken = clock.now()
    while safety.moving and clock.now() - began < LONGEST:
        when = clock.now() + 1.0 / body.embodiment.control_rate
        try:
            body.apply(safety.brake().command)
            taken = clock.now()
        except Exception as error:
            refused = refused or error
            if clock.now() - taken > REFUSED:
                break
        clock.wait_until(when)
    if refused is not None:
        raise refused


def rollout(
    body: Body,
    policy: Policy | Worker,
    obs: Observation,
    *,
    clock: Clock | None = None,
    control: Control | None = None,
    chunks: ChunkBuffer | None = None,
    subscribers: Sequence[Subscriber] = (),
    until: Callable[[Observation, ActionChunk | None], bool] | None = None,
    stop: Callable[[], bool] | None = None,
    timeout: float = 15.0,
) -> Outcome:
    """Drive `body` with a policy, or with the worker it computes on, from the first observation until done, stopped or out
    of time. A policy alone computes at once (`worker.Inline`).

    Times count from the start of the episode: the body stamps its observations so, and chunks inherit it.

    until: asked at every policy step with the newest observation and chunk; True ends the rollout as "done".
    stop: asked at every tick; True ends it as "stopped" (Ctrl-C, a button). timeout: [s] on the loop's clock.

    A policy that corrects (`runtime.correcting`) does so at every policy step, on this thread, from the newest observation;
    what a person commands (`ActionChunk.intervention`) it leaves alone.

    What the policy raises, also a chunk of another action width than the body's, or for another time, leaves the chunk before
    it to run out; the robot then holds. It is reported in `Tick.failure` and `Outcome.error`. Raises what the body raises.
    """
    robot = body.embodiment
    worker: Worker = policy if hasattr(policy, "poll") else Inline(policy)  # type: ignore[assignment]
    clock = clock or SimClock()
    control = control or Control(robot)
    chunks = chunks or ChunkBuffer()
    tick_time = 1.0 / robot.control_rate
    every = round(robot.control_rate / robot.policy_rate)
    frames = any(s.wants_frames for s in subscribers)
    correction = corrector(getattr(worker, "policy", None))
    frames = frames or (correction is not None and correction.wants_images)
    corrected: Array | None = None
    corrected_step = 0

    control.reset(resting_command(robot, obs))
    for s in subscribers:
        s.on_start(obs, body)
    start, epoch, index, late, reason = clock.now(), obs.time, 0, 0.0, "timeout"
    first, failures, error, asked = start, 0, None, chunks.epoch
    fresh: ActionChunk | None = None
    failure: Exception | None = None

    def hear(now: float) -> None:
        """Take over what the worker has answered."""
        nonlocal fresh, failures, error, failure
        try:
            if (answer := worker.poll(now)) is not None:
                chunks.push(_fitting(answer, robot), now, asked)
                fresh = answer
        except Exception as raised:
            failures, error, failure = failures + 1, raised, raised

    worker.forget()  # what was asked for in another episode
    while clock.now() - first < timeout - 1e-9:
        began = clock.now()
        now = epoch + index * tick_time  # time as the body stamps it: what observations, chunks and guards go by
        boundary = index % every == 0
        fresh, failure = None, None
        if not worker.busy:  # an answer that came since the last tick is lost when the worker is asked again
            hear(now)
        step = 1.0 / robot.policy_rate if chunks.current is None else chunks.current.dt
        asking = boundary and chunks.due(now, step) and not worker.busy
        looked = asking or (boundary and frames)
        if index or asking:
            obs = body.observe(images=looked)
            if (ahead := obs.time - now) > 1e-9:  # ticks were late and the body's time went on
                epoch, now = epoch + ahead, obs.time
        if asking:
            worker.request(obs, now, chunks.rest(now))
            chunks.asked(now)
            asked = chunks.epoch
        hear(now)
        if stop is not None and stop():
            reason = "stopped"
            break
        if boundary and until is not None and until(obs, chunks.current):
            reason = "done"
            break
        sampled = chunks.sample(now)
        by_policy = chunks.current is not None and not chunks.current.intervention
        if correction is not None and sampled is not None and by_policy:
            step_now = chunks.position(now)
            if (
                boundary
                or fresh is not None
                or corrected is None
                or (chunks.slipped > 0 and step_now != corrected_step)
            ):
                corrected, corrected_step = sampled[0], step_now
                try:
                    corrected = correction.correct(obs, sampled[0], step_now)
                except Exception as raised:  # the action as it is
                    failures, error, failure = failures + 1, raised, raised
            sampled = corrected, sampled[1]
        share = 1.0 if chunks.current is None else tick_time / chunks.current.dt
        if boundary:
            for s in subscribers:
                s.on_frame(obs, control.hold if sampled is None else sampled[0])
        target, verdict = control.step(sampled, share, obs, now, chunks.coming(now))
        chunks.slip((1.0 - control.speed) * tick_time)
        halted = boundary and any(r.guard in HALTS for r in verdict.reasons)
        body.apply(verdict.command)
        report = Tick(
            index, now, obs, target, verdict, late, clock.now() - began, chunks.current, fresh is not None,
            worker.latency, chunks.seam, sampled is not None, failure, control.speed, looked,
            control.hold if halted else None,
        )  # fmt: skip
        for s in subscribers:
            s.on_tick(report)
        index += 1
        late = clock.wait_until(start + index * tick_time)
        if late > tick_time:
            start += late  # never catch up: commands closer together than a tick would outrun the limits
    duration = clock.now() - first
    for s in subscribers:
        s.on_end(reason)
    return Outcome(reason, duration, index, failures, error)


def _fitting(chunk: ActionChunk, robot: Embodiment) -> ActionChunk:
    if (width := chunk.actions.shape[1]) != (expected := len(robot.action_names)):
        raise BadValue(
            f"the policy answers {width} numbers an action; {robot.name} takes {expected}: "
            f"{', '.join(robot.action_names)}. Next: choose the body's action space to fit (`with_action_space`)"
        )
    return chunk
