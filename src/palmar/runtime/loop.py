"""The one loop. Collecting, evaluating, DAgger and deploying are this function with other arguments.

    body.observe → is a chunk due? → policy.act on a worker → chunks.splice → action space → safety.check → body.apply

A tick never waits for the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.runtime.actions import action_space
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import Clock, SimClock
from palmar.runtime.safety import Safety
from palmar.runtime.worker import Worker
from palmar.types import ActionChunk, Array, Observation, Verdict


@runtime_checkable
class Body(Protocol):
    """A simulated world, a mock, or a robot. Commands are joint targets [rad] and a gripper opening 0 … 1: float64[J+1]."""

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
    """One turn of the loop, as subscribers see it. late: how long after its time it began [s]. took: its own work [s]."""

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
    """Why a rollout ended (done, timeout, stopped, fault) and how long it took on its clock [s]."""

    reason: str
    duration: float
    ticks: int


def held(robot: Embodiment, obs: Observation) -> Array:
    """The command float64[J+1] an arm holds that is where `obs` saw it: measured angles [rad] and opening, 0 … 1."""
    opening = obs.state[robot.state_names.index("gripper.pos")]
    return np.append(obs.state[: len(robot.joints)], np.clip(opening, 0.0, 1.0)).astype(float)


def rollout(
    body: Body,
    worker: Worker,
    obs: Observation,
    *,
    clock: Clock | None = None,
    safety: Safety | None = None,
    chunks: ChunkBuffer | None = None,
    subscribers: Sequence[Subscriber] = (),
    until: Callable[[Observation, ActionChunk | None], bool] | None = None,
    stop: Callable[[], bool] | None = None,
    timeout: float = 15.0,
) -> Outcome:
    """Drive `body` with the policy behind `worker` from the first observation until done, stopped or out of time.

    Times count from the start of the episode: the body stamps its observations so, and chunks inherit it.

    until: asked at every policy step with the newest observation and chunk; True ends the rollout as "done".
    stop: asked at every tick; True ends it as "stopped" (Ctrl-C, a button). timeout: [s] on the loop's clock.

    Raises `BadValue` on a chunk of another action width than the body's, and what policy and body raise.
    """
    robot = body.embodiment
    clock = clock or SimClock()
    safety = safety or Safety(robot)
    chunks = chunks or ChunkBuffer()
    space = action_space(robot)
    tick_time = 1.0 / robot.control_rate
    every = round(robot.control_rate / robot.policy_rate)
    frames = any(s.wants_frames for s in subscribers)

    command = held(robot, obs)
    safety.reset(command)
    space.reset(command)
    hold = np.zeros(len(robot.action_names), np.float32)
    for s in subscribers:
        s.on_start(obs, body)
    start, epoch, index, late, reason = clock.now(), obs.time, 0, 0.0, "timeout"
    first = start
    while clock.now() - first < timeout - 1e-9:
        began = clock.now()
        now = epoch + index * tick_time  # time as the body stamps it: what observations, chunks and guards go by
        boundary = index % every == 0
        step = 1.0 / robot.policy_rate if chunks.current is None else chunks.current.dt
        asking = boundary and chunks.due(now, step) and not worker.busy
        if index or asking:
            obs = body.observe(images=asking or (boundary and frames))
            if (ahead := obs.time - now) > 1e-9:  # ticks were late and the body's time went on
                epoch, now = epoch + ahead, obs.time
        if asking:
            worker.request(obs, now)
            chunks.asked(now)
        if (fresh := worker.poll(now)) is not None:
            chunks.push(_fitting(fresh, robot), now)
        if stop is not None and stop():
            reason = "stopped"
            break
        if boundary and until is not None and until(obs, chunks.current):
            reason = "done"
            break
        sampled = chunks.sample(now)
        if sampled is None or chunks.current is None:
            target = command.copy()
        else:
            share = tick_time / chunks.current.dt
            target = space.target(sampled[0], share, sampled[1] + share, command)
        if boundary:
            for s in subscribers:
                s.on_frame(obs, hold if sampled is None else sampled[0])
        verdict = safety.check(target, obs, now)
        command = verdict.command
        body.apply(command)
        report = Tick(
            index, now, obs, target, verdict, late, clock.now() - began, chunks.current, fresh is not None,
            worker.latency, chunks.seam,
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
    return Outcome(reason, duration, index)


def _fitting(chunk: ActionChunk, robot: Embodiment) -> ActionChunk:
    if (width := chunk.actions.shape[1]) != (expected := len(robot.action_names)):
        raise BadValue(
            f"the policy answers {width} numbers an action; {robot.name} takes {expected}: "
            f"{', '.join(robot.action_names)}. Next: choose the body's action space to fit (`with_action_space`)"
        )
    return chunk
