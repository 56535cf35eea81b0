"""Deploying: the one loop on the wall clock, with the policy on its own thread, and someone who may say no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from palmar.description.guesses import check_deployable
from palmar.policy import Policy
from palmar.runtime.adaptation.swapping import RollBack
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import Clock, WallClock
from palmar.runtime.confidence.conduct import Conduct, chain, judged, judged_of
from palmar.runtime.confidence.judge import Judge, JudgeConfig
from palmar.runtime.control.path import Control
from palmar.runtime.fitting import check_fits
from palmar.runtime.loop import Body, Outcome, Subscriber, brake_to_rest, rollout
from palmar.runtime.records.blackbox import BlackBox
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.cameras import CameraWatch
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.latching import Latching
from palmar.runtime.timing import Timing
from palmar.runtime.undisturbed import undisturbed
from palmar.runtime.worker import Threaded
from palmar.types import ActionChunk, Observation, Prefix

LATE = 0.6
"""How long after the actions that are carried out of a chunk the next may come before the watchdog holds, at least [s]."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a deployment came to: `mode` and `reason` of the controller at the end, `Timing.report`, `Safety.counts`, what is not
    guarded on this robot (`Safety.off`), the signal that ended it, "" for none, and why the E-STOP could not be latched, "" when it
    was or need not be."""

    outcome: Outcome
    mode: Mode
    reason: str
    timing: dict[str, float]
    counts: dict[str, int]
    off: tuple[str, ...] = ()
    ended_by: str = ""
    unlatched: str = ""


def deploy(
    body: Body,
    policy: Policy,
    instruction: str,
    obs: Observation,
    *,
    timeout: float = 60.0,
    execute: int = 4,
    realtime: bool = False,
    controller: Controller | None = None,
    until: Callable[[Observation, ActionChunk | None], bool] | None = None,
    subscribers: Sequence[Subscriber] = (),
    clock: Clock | None = None,
    blackbox: Path | None = None,
    slowing: bool = True,
    latch: Latch | None = None,
) -> Report:
    """Run the policy on a body in real time, from an observation just made, until done, stopped or timed out.

    However it ends, the robot is braked to rest within its limits first: also on Ctrl-C, SIGTERM and SIGHUP (outcome "stopped";
    a second one raises `KeyboardInterrupt` at once) and when the body raises (the error goes on to the caller; subscribers see
    the end "fault", each once). A policy that raises before its first chunk ends the run, and the error goes to the caller;
    later it is a chunk that does not come, and the watchdog holds. A policy that says how sure it is (`Confident`) is judged:
    careful, pause, ask and hand over are carried out (`confidence.conduct`).

    execute: actions of a chunk before the policy is asked again; the controller's watchdog waits at least as long as they take
    (`LATE`). realtime: new chunks fit on to what runs while they are computed (`ChunkBuffer.realtime`).
    blackbox: folder to write the last seconds before each fault to (`BlackBox`). A `BlackBox` among the subscribers is given the
    safety layer whose verdicts it keeps.
    slowing: follow a chunk more slowly along its own path before a guard has to clip (`pacing.Pacing`).
    latch: the E-STOP of a real robot, None for a simulated one. Its run does not begin while that is pressed, stops when it is,
    and presses it after a collision; a camera that is frozen or black holds the robot (`CameraWatch`).
    Raises `BadValue` when a limit of the robot is a guess (`check_deployable`), its E-STOP is latched, and when the policy was
    made for other names, units, rates or chunks than the body's (`check_fits`).
    """
    check_deployable(body.embodiment)
    check_fits(policy.interface, body.embodiment, execute)
    if latch is not None:
        latch.require_released()
        latch.prepare()
    clock, controller = clock or WallClock(), controller or Controller()
    safety, timing = Safety(body.embodiment, guards=(*GUARDS, controller)), Timing()
    boxes = () if blackbox is None else (BlackBox(blackbox, safety=safety),)
    latching = () if latch is None else (Latching(controller, latch),)
    cameras = () if latch is None else (CameraWatch(controller),)
    watchers = tuple(
        _Once(s) for s in (Park(safety, clock), controller, timing, *boxes, *latching, *cameras, *subscribers)
    )
    controller.watchdog = max(controller.watchdog, execute / body.embodiment.policy_rate + LATE)
    policy = judged(policy, Judge(JudgeConfig(execute=execute)))
    watchers = (*watchers, *(_Once(p) for p in chain(policy) if isinstance(p, Subscriber)))
    if (judge := judged_of(policy)) is not None:
        watchers = (*watchers, _Once(Conduct(controller, judge)))
    policy.reset()
    worker = Threaded(Instructed(policy, instruction))
    for s in subscribers:
        if isinstance(s, BlackBox):
            s.safety = s.safety or safety
        if isinstance(s, RollBack):
            s.stalled, s.forget = s.stalled or controller.stalled_by, s.forget or worker.forget
            s.silent = controller.watchdog if s.silent is None else s.silent
    with undisturbed(controller.finish):
        try:
            outcome = rollout(
                body, worker, obs, clock=clock, control=Control(body.embodiment, safety, slowing=slowing),
                chunks=ChunkBuffer(execute, realtime=realtime),
                subscribers=watchers, until=until, stop=controller.over, timeout=timeout,
            )  # fmt: skip
        except BaseException as error:
            for s in watchers:
                try:
                    s.on_end("fault")
                except BaseException as another:  # the others must be told, and the first error is the one to raise
                    error.add_note(f"and {type(s.inner).__name__} at the end: {type(another).__name__}: {another}")
            raise
        finally:
            worker.close()
    if outcome.error is not None and not controller.acted:
        raise outcome.error
    return Report(
        outcome, controller.mode, controller.reason, timing.report(), dict(safety.counts), safety.off, controller.ended_by,
        "".join(x.trouble for x in latching),
    )  # fmt: skip


class Instructed:
    """Tell the inner policy what is wanted, whatever the body says."""

    def __init__(self, inner: Policy, instruction: str) -> None:
        self.inner, self.instruction = inner, instruction
        self.interface = inner.interface

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return self.inner.act(replace(obs, instruction=self.instruction), prefix)

    def reset(self) -> None:
        self.inner.reset()


class _Once(Subscriber):
    """Hands everything on; the end once, and only to who has heard the start."""

    def __init__(self, inner: Subscriber) -> None:
        self.inner, self.wants_frames, self._listens = inner, inner.wants_frames, False
        self.on_frame, self.on_tick = inner.on_frame, inner.on_tick  # type: ignore[method-assign]

    def on_start(self, obs: Observation, body: Body) -> None:
        self._listens = True
        self.inner.on_start(obs, body)

    def on_end(self, reason: str) -> None:
        if self._listens:
            self._listens = False
            self.inner.on_end(reason)


class Park(Subscriber):
    """At the end, before any other subscriber: brake to rest, one command a control tick, looking at nothing."""

    def __init__(self, safety: Safety, clock: Clock) -> None:
        self.safety, self.clock = safety, clock
        self._body: Body | None = None

    def on_start(self, obs: Observation, body: Body) -> None:
        self._body = body

    def on_end(self, reason: str) -> None:
        if self._body is not None:
            brake_to_rest(self._body, self.safety, self.clock)
