"""Deploying: the one loop on the wall clock, with the policy on its own thread, and someone who may say no.

    RUN → HOLD (rest, and wait to be resumed) → HANDOFF (a person takes over) → E-STOP (only `reset` leads out)

Every state but RUN brakes the robot within its limits and keeps it at rest. States only get graver by themselves.
After a collision (a fault of `guards.EMERGENCIES`) it first goes back to the measured values: it must not keep pressing.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

import numpy as np

from palmar.description.guesses import check_deployable
from palmar.embodiments import LITTLE, Embodiment
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.policy import Policy
from palmar.runtime.blackbox import BlackBox
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.clock import Clock, WallClock
from palmar.runtime.confidence.conduct import Conduct, judged, judged_of
from palmar.runtime.control import Control
from palmar.runtime.fitting import check_execute
from palmar.runtime.guards import EMERGENCIES, GUARDS, Move
from palmar.runtime.loop import Body, Outcome, Subscriber, Tick, brake_to_rest, rollout
from palmar.runtime.safety import RESTS, Safety
from palmar.runtime.worker import Threaded
from palmar.types import ActionChunk, Array, Observation, Prefix, Reason


class Mode(IntEnum):
    RUN = 0
    HOLD = 1
    HANDOFF = 2
    ESTOP = 3


YIELDING = 2.0
"""Longest way back to the measured values [s]: a robot that sags is not followed all the way down."""


class Controller(Subscriber):
    """The latched state machine. It is a guard (it brakes), a subscriber (it watches) and a `stop` (its `over`).

    watchdog: longest time without a fresh chunk that was in time to be carried out [s]. patience: how long HOLD waits for a
    person before HANDOFF [s]. stalled: longest time in which the robot is asked to move and does not [s]: the
    guards refuse all of it, or a channel pushes with nearly all its effort (`Thresholds.stall_effort`, where it is measured).
    deadman: asked at every tick; False is a released deadman switch, and holds.

    HOLD is latched by `hold`; `pause` holds only until `go_on`, such as while a policy is not sure (`confidence.conduct`).

    history: (time [s], mode, reason) of every change. ended_by: why it was told to finish, such as SIGTERM. `hold`,
    `handoff`, `emergency_stop` and `finish` may be called from any thread or signal handler.
    """

    def __init__(
        self,
        watchdog: float = 1.0,
        patience: float = 30.0,
        deadman: Callable[[], bool] | None = None,
        stalled: float = 1.0,
    ) -> None:
        self.watchdog, self.patience, self.deadman, self.stalled = watchdog, patience, deadman, stalled
        self._latched: dict[Mode, str] = {}  # one entry a mode: no thread can overwrite a graver one
        self._paused = ""
        self.history: list[tuple[float, Mode, str]] = []
        self._now = self._since = self._fresh = 0.0
        self._finishing, self._moving = False, False
        self.ended_by = ""
        self._last: Array | None = None
        self._hit: float | None = None

    @property
    def mode(self) -> Mode:
        return max(self._latched_mode, Mode.HOLD if self._paused else Mode.RUN)

    @property
    def _latched_mode(self) -> Mode:
        return max(tuple(self._latched), default=Mode.RUN)

    @property
    def reason(self) -> str:
        return self._latched.get(self.mode, self._paused)

    def hold(self, reason: str) -> None:
        self._worsen(Mode.HOLD, reason)

    def pause(self, reason: str) -> None:
        """HOLD until `go_on`: nobody needs to resume it. What is latched meanwhile stays latched."""
        if not self._paused:
            self._since = self._now if self.mode is Mode.RUN else self._since
            self._paused = reason
            self.history.append((self._now, Mode.HOLD, f"paused: {reason}"))

    def go_on(self) -> None:
        """The end of a pause."""
        if self._paused:
            self._paused, self._fresh = "", self._now
            self.history.append((self._now, self._latched_mode, "goes on"))

    def handoff(self, reason: str) -> None:
        self._worsen(Mode.HANDOFF, reason)

    def emergency_stop(self, reason: str) -> None:
        self._worsen(Mode.ESTOP, reason)

    def finish(self, by: str = "") -> None:
        """Brake to rest, then end the rollout as stopped. by: who or what asked for it."""
        self._finishing, self.ended_by = True, by or self.ended_by

    def resume(self) -> bool:
        """Back to RUN from HOLD or HANDOFF; False from E-STOP, which only `reset` leaves."""
        self._latched.pop(Mode.HOLD, None)
        self._latched.pop(Mode.HANDOFF, None)
        if self.mode is Mode.ESTOP:
            return False
        self._fresh = self._now
        self.history.append((self._now, Mode.RUN, "resumed"))
        return True

    def reset(self) -> None:
        """Back to RUN from anywhere: a person has looked."""
        self._latched.clear()
        self._hit, self._paused = None, ""
        self._fresh = self._now
        self.history.append((self._now, Mode.RUN, "reset"))

    def over(self) -> bool:
        """The rollout should end: asked to, or handed to a person, and the robot is at rest."""
        return not self._moving and (self._finishing or self.mode >= Mode.HANDOFF)

    def __call__(self, move: Move) -> Reason | None:
        if self.mode is Mode.RUN and not self._finishing:
            return None
        move.halt, move.yields = True, self._yields(move.now)
        return Reason(
            "controller", over=None, note="finishing" if self._finishing else f"{self.mode.name}: {self.reason}"
        )

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        self._little = LITTLE * self._robot.widths
        self._rests = np.array([np.inf if c.tolerance is None else c.tolerance * RESTS for c in self._robot.channels])
        self._now = self._since = self._fresh = obs.time
        self._moving, self._last, self._hit = False, None, None
        self._stuck: float | None = None
        self._force = self._robot.thresholds.stall_effort * self._robot.array("effort")
        self._pressing = self._pressed_at = np.full(len(self._little), np.nan)  # since when [s], and where
        self._failure: Exception | None = None
        self.acted = False

    def on_end(self, reason: str) -> None:
        self._finishing = False

    def on_tick(self, tick: Tick) -> None:
        self._now, command = tick.time, tick.verdict.command
        changed = self._last is not None and not np.array_equal(command, self._last)
        self._moving, self._last = changed or bool(command[self._robot.speeds].any()), command
        if self._yields(tick.time):  # turning round it stands still for a tick, and is not at rest
            pressed = np.abs(self._robot.difference(command, self._robot.measured(tick.observation.state)))
            self._moving = self._moving or bool((pressed > self._rests).any())
        if tick.failure is not None:
            self._failure = tick.failure
            if not self.acted:  # nothing has moved yet: there is nothing to wait for
                self.finish()
        if tick.new_chunk and tick.acting and tick.chunk is not None and np.isfinite(tick.chunk.actions).all():
            self._fresh, self._failure, self.acted = tick.time, None, True
        if tick.verdict.stop:
            fault = next((r for r in tick.verdict.reasons if r.guard != "controller"), Reason("a guard", over=None))
            if fault.guard in EMERGENCIES:
                self.emergency_stop(str(fault))
                if self._hit is None:
                    self._hit, self._moving = tick.time, True
            else:
                self.hold(str(fault))
        if self.deadman is not None and not self.deadman():
            self.hold("deadman released")
        if self.mode is Mode.RUN and (quiet := tick.time - self._fresh) > self.watchdog:
            self.hold(f"watchdog {self._why(tick)} for {quiet:.2f} > {self.watchdog:.2f} s")
        if self.mode is Mode.RUN and (still := self._stall(tick)) > self.stalled:
            self.hold(
                f"stalled asked to move, does not, for {still:.2f} > {self.stalled:.2f} s: {tick.verdict.reasons[0]}"
            )
        if self.mode is Mode.RUN and self._moving_in_vain(tick) > self.stalled:
            i = int(np.nanargmin(self._pressing))
            channel, still = self._robot.channels[i].name, tick.time - self._pressing[i]
            self.hold(
                f"stalled {channel} pushes with over {self._force[i]:.3g} of its effort and does not move, for {still:.2f} > "
                f"{self.stalled:.2f} s"
            )
        if self.mode is Mode.HOLD and tick.time - self._since > self.patience:
            self.handoff(f"held for {self.patience:.0f} s: {self.reason}")

    def _why(self, tick: Tick) -> str:
        """What the watchdog misses, in words."""
        if self._failure is not None:
            return f"the policy fails ({type(self._failure).__name__}: {self._failure}), no fresh chunk"
        late = tick.chunk is not None and not tick.acting and tick.chunk.t0 > self._fresh - 1e-9
        return "chunks come later than they are long, no chunk in time" if late else "no fresh chunk"

    def _stall(self, tick: Tick) -> float:
        """How long the guards have refused all motion that was asked for [s]."""
        asked = np.abs(tick.target - tick.verdict.command) > self._little
        if self._moving or not tick.acting or not tick.verdict.reasons or not asked.any():
            self._stuck = None
            return 0.0
        self._stuck = tick.time if self._stuck is None else self._stuck
        return tick.time - self._stuck

    def _moving_in_vain(self, tick: Tick) -> float:
        """How long a channel has pushed with nearly all its effort towards its command, and not moved [s]."""
        state = tick.observation.state
        effort, here = np.abs(self._robot.measured(state, "effort")), self._robot.measured(state)
        if not np.isfinite(effort).any():
            return 0.0
        away = np.abs(self._robot.difference(tick.verdict.command, here)) > self._little
        pushes = (effort >= self._force) & away & self._robot.moves_joint
        moved = ~(np.abs(self._robot.difference(here, self._pressed_at)) <= 5 * self._little)
        self._pressed_at = np.where(moved | ~pushes, here, self._pressed_at)
        since = np.where(moved | np.isnan(self._pressing), tick.time, self._pressing)
        self._pressing = np.where(pushes, since, np.nan)
        return tick.time - float(np.nanmin(self._pressing)) if pushes.any() else 0.0

    def _yields(self, now: float) -> bool:
        return self._hit is not None and now - self._hit <= YIELDING

    def _worsen(self, mode: Mode, reason: str) -> None:
        if mode > self._latched_mode:
            self._since = self._now
            self._latched.setdefault(mode, reason)
            self.history.append((self._now, mode, reason))


class Timing(Subscriber):
    """How well the loop kept time. slack: a tick that begins later than this counts as late [s]."""

    def __init__(self, slack: float = 0.002) -> None:
        self.slack = slack

    def on_start(self, obs: Observation, body: Body) -> None:
        self._tick_time = 1.0 / body.embodiment.control_rate
        self._began: list[float] = []
        self._late: list[float] = []
        self._took: list[float] = []
        self._latency: list[float] = []
        self._speeds: list[float] = []
        self._dropped = 0

    def on_tick(self, tick: Tick) -> None:
        self._began.append(time.perf_counter() - tick.took)
        self._late.append(tick.late)
        self._took.append(tick.took)
        if tick.acting:
            self._speeds.append(tick.speed)
        if tick.new_chunk and tick.chunk is not None:
            self._latency.append(tick.latency)
            self._dropped += max(int((tick.time - tick.chunk.t0) / tick.chunk.dt + 1e-6), 0)

    def report(self) -> dict[str, float]:
        """Milliseconds, and counts: ticks, late_ticks, chunks, late_steps (over before they came, so dropped).

        slowed: share of ticks, 0 … 1, in which a chunk was followed below its own speed; speed: its mean, 0 … 1.
        period: between beginnings of ticks. jitter: how far it is from 1 / control rate. took: work of a tick.
        """
        period = np.diff(self._began) if len(self._began) > 1 else np.array([self._tick_time])
        return {
            **_summary("period", period),
            **_summary("jitter", np.abs(period - self._tick_time)),
            **_summary("took", np.array(self._took or [0.0])),
            **_summary("latency", np.array(self._latency or [0.0])),
            "ticks": len(self._late),
            "late_ticks": int(np.sum(np.array(self._late) > self.slack)),
            "chunks": len(self._latency),
            "late_steps": self._dropped,
            "slowed": float(np.mean(np.array(self._speeds or [1.0]) < 1.0)),
            "speed": float(np.mean(self._speeds or [1.0])),
        }


def _summary(name: str, seconds: Array) -> dict[str, float]:
    p50, p99, worst = np.percentile(seconds, [50, 99, 100]) * 1e3
    return {f"{name}_p50": float(p50), f"{name}_p99": float(p99), f"{name}_max": float(worst)}


class Instructed:
    """Tell the inner policy what is wanted, whatever the body says."""

    def __init__(self, inner: Policy, instruction: str) -> None:
        self.inner, self.instruction = inner, instruction
        self.interface = inner.interface

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return self.inner.act(replace(obs, instruction=self.instruction), prefix)

    def reset(self) -> None:
        self.inner.reset()


@dataclass(frozen=True, slots=True)
class Report:
    """What a deployment came to: `mode` and `reason` of the controller at the end, `Timing.report`, `Safety.counts`, what is not
    guarded on this robot (`Safety.off`), and the signal that ended it, "" for none."""

    outcome: Outcome
    mode: Mode
    reason: str
    timing: dict[str, float]
    counts: dict[str, int]
    off: tuple[str, ...] = ()
    ended_by: str = ""


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
) -> Report:
    """Run the policy on a body in real time, from an observation just made, until done, stopped or timed out.

    However it ends, the robot is braked to rest within its limits first: also on Ctrl-C, SIGTERM and SIGHUP (outcome "stopped";
    a second one raises `KeyboardInterrupt` at once) and when the body raises (the error goes on to the caller; subscribers see
    the end "fault", each once). A policy that raises before its first chunk ends the run, and the error goes to the caller;
    later it is a chunk that does not come, and the watchdog holds. A policy that says how sure it is (`Confident`) is judged:
    careful, pause, ask and hand over are carried out (`confidence.conduct`).

    realtime: new chunks fit on to what runs while they are computed (`ChunkBuffer.realtime`).
    blackbox: folder to write the last seconds before each fault to (`BlackBox`).
    slowing: follow a chunk more slowly along its own path before a guard has to clip (`pacing.Pacing`).
    Raises `BadValue` when a limit of the robot is a guess (`check_deployable`), and when the policy was made for other names,
    units, rates or chunks than the body's (`check_fits`).
    """
    check_deployable(body.embodiment)
    check_fits(policy.interface, body.embodiment, execute)
    clock, controller = clock or WallClock(), controller or Controller()
    safety, timing = Safety(body.embodiment, guards=(*GUARDS, controller)), Timing()
    boxes = () if blackbox is None else (BlackBox(blackbox, safety=safety),)
    watchers = tuple(_Once(s) for s in (Park(safety, clock), controller, timing, *boxes, *subscribers))
    policy = judged(policy)
    if (judge := judged_of(policy)) is not None:
        watchers = (*watchers, _Once(Conduct(controller, judge)))
    policy.reset()
    worker = Threaded(Instructed(policy, instruction))
    with _undisturbed(controller.finish):
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
        outcome, controller.mode, controller.reason, timing.report(), dict(safety.counts), safety.off, controller.ended_by
    )  # fmt: skip


def check_fits(interface: Interface, robot: Embodiment, execute: int = 1) -> None:
    """Raise `BadValue` naming the first thing in which a policy and a robot do not mean the same by their numbers: names,
    units, cameras, rate, or a chunk shorter than the part of it that is carried out."""
    ours = robot.interface(interface.horizon)
    for what in ("action_names", "state_names"):
        theirs, mine = getattr(interface, what), getattr(ours, what)
        if tuple(theirs) != tuple(mine):
            raise BadValue(
                f"the policy's {what} are {', '.join(theirs)}; {robot.name} has {', '.join(mine)}. "
                "Next: a policy trained for this robot and action space"
            )
    for what, names in (("state", ours.state_names), ("action", ours.action_names)):
        for i, name in enumerate(names):
            a, b = interface.unit(what, i), ours.unit(what, i)  # type: ignore[arg-type]
            if a and b and a != b:
                raise BadValue(
                    f"the policy's {what} '{name}' is in '{a}'; {robot.name}'s is in '{b}'. Next: a robot file with the "
                    "policy's unit, or a mapping (palmar.mapping.Mapping)"
                )
    for camera in interface.cameras:
        if camera not in ours.cameras:
            raise BadValue(
                f"the policy looks through camera '{camera}'; {robot.name} has {', '.join(ours.cameras) or 'none'}. "
                "Next: name the camera alike in the robot file"
            )
    if abs(interface.dt * robot.policy_rate - 1) > 0.01:
        raise BadValue(
            f"an action of the policy lasts {interface.dt:g} s ({1 / interface.dt:g} Hz); {robot.name} takes "
            f"{robot.policy_rate:g} actions a second. Next: policy_rate = {1 / interface.dt:g} in the robot file"
        )
    check_execute(interface, execute)


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


@contextmanager
def _undisturbed(on_interrupt: Callable[[str], None]) -> Iterator[None]:
    """First in line for a core, quick thread switches, short garbage collections, a signal to end (Ctrl-C, SIGTERM, a closed
    terminal) a request the first time; all put back.

    A thread that computes gives the interpreter up only every switch interval (5 ms by default): that would be jitter.
    Real-time priority is for this thread alone, and only where the system allows it (root, or an rtprio limit).
    """
    interval = sys.getswitchinterval()
    main = threading.current_thread() is threading.main_thread()
    presses = itertools.count()

    def interrupted(number: int, _: object) -> None:
        if next(presses):  # braking takes too long for this person, or something hangs
            raise KeyboardInterrupt
        on_interrupt(signal.Signals(number).name)

    names = [n for n in ("SIGINT", "SIGTERM", "SIGHUP") if main and hasattr(signal, n)]
    if main and "SIGHUP" in names and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        names.remove("SIGHUP")  # nohup: to go on without a terminal was asked for
    before = {n: signal.signal(getattr(signal, n), interrupted) for n in names}
    sys.setswitchinterval(0.0002)
    gc.collect()
    gc.freeze()  # what exists now is not looked through again
    policy = _schedule()
    try:
        yield
    finally:
        if policy is not None:
            os.sched_setscheduler(0, *policy)
        gc.unfreeze()
        sys.setswitchinterval(interval)
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _schedule() -> tuple[int, os.sched_param] | None:
    """Give the calling thread real-time priority; its policy before, or None where that is not to be had."""
    if not hasattr(os, "SCHED_FIFO"):
        return None
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return None
    return before
