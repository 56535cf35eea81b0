"""The states of a deployment: who may say no to a policy that runs.

    RUN → HOLD (rest, and wait to be resumed) → HANDOFF (a person takes over) → E-STOP (only `reset` leads out)

Every state but RUN brakes the robot within its limits and keeps it at rest. States only get graver by themselves.
After a collision (a fault of `guards.EMERGENCIES`) it first goes back to the measured values: it must not keep pressing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np

from palmar.embodiments import LITTLE
from palmar.errors import PolicyUnreachable
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.safety.filter import RESTS
from palmar.runtime.safety.guards import EMERGENCIES, Move
from palmar.types import Array, Observation, Reason


class Mode(IntEnum):
    RUN = 0
    HOLD = 1
    HANDOFF = 2
    ESTOP = 3


STALL, WATCHDOG, REMOTE = "stall", "watchdog", "remote policy"
"""What holds (`Controller.hold`) a robot that was asked to move and did not, one whose policy is silent, and one whose policy's
server is not there."""
YIELDING = 2.0
"""Longest way back to the measured values [s]: a robot that sags is not followed all the way down."""


class Controller(Subscriber):
    """The latched state machine. It is a guard (it brakes), a subscriber (it watches) and a `stop` (its `over`).

    watchdog: longest time without a fresh chunk that was in time to be carried out [s]; a person who takes over releases it.
    patience: how long HOLD waits for a person before HANDOFF [s]. stalled: longest time in which the robot is asked to move and
    does not [s]: the guards refuse all of it, or a channel pushes with nearly all its effort (`Thresholds.stall_effort`, where it
    is measured).
    deadman: asked at every tick; False is a released deadman switch, and holds.

    A policy on a server that is lost (`PolicyUnreachable`) holds at once, until it answers again.

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
        # {mode: {what latched it: reason}}: entries are only added, so no thread can overwrite a graver one
        self._latched: dict[Mode, dict[str, str]] = {}
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
        return max((m for m, why in tuple(self._latched.items()) if why), default=Mode.RUN)

    @property
    def reason(self) -> str:
        """Of the mode: the first that led to it."""
        return next(iter(tuple(self._latched.get(self.mode, {}).values())), self._paused)

    @property
    def source(self) -> str:
        """What led to the mode first, such as a guard, watchdog or deadman; "confidence" of a pause, "" where nothing said."""
        return next(iter(tuple(self._latched.get(self.mode, {}))), "confidence" if self._paused else "")

    def stalled_by(self) -> str:
        """Why it holds a robot that was asked to move and did not; "" when it holds none for that."""
        return self._latched.get(Mode.HOLD, {}).get(STALL, "")

    def hold(self, reason: str, source: str = "") -> None:
        """source: what holds, such as a guard. Each keeps its own reason, the first; `resume` takes all back, `release` one."""
        self._worsen(Mode.HOLD, reason, source)

    def release(self, source: str) -> None:
        """This source holds no more: RUN when nothing else does."""
        if self._latched.get(Mode.HOLD, {}).pop(source, None) is not None and self.mode is Mode.RUN:
            self._fresh = self._now
            self.history.append((self._now, Mode.RUN, "released"))

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
            elif isinstance(
                tick.failure, PolicyUnreachable
            ):  # at once: what is left of the chunk is older with every tick
                self.hold(str(tick.failure), REMOTE)
        if tick.new_chunk and tick.acting and tick.chunk is not None and np.isfinite(tick.chunk.actions).all():
            self._fresh, self._failure, self.acted = tick.time, None, True
            self.release(REMOTE)
            if tick.chunk.intervention:  # a person drives: what the policy does not answer holds nobody
                self.release(WATCHDOG)
        if tick.verdict.stop:
            fault = tick.verdict.fault
            if fault.guard in EMERGENCIES:
                self.emergency_stop(str(fault))
                if self._hit is None:
                    self._hit, self._moving = tick.time, True
            else:
                self.hold(str(fault), fault.guard)
        if self.deadman is not None and not self.deadman():
            self.hold("deadman released", "deadman")
        if self.mode is Mode.RUN and (quiet := tick.time - self._fresh) > self.watchdog:
            self.hold(f"watchdog {self._why(tick)} for {quiet:.2f} > {self.watchdog:.2f} s", WATCHDOG)
        if self.mode is Mode.RUN and (still := self._stall(tick)) > self.stalled:
            self.hold(
                f"stalled asked to move, does not, for {still:.2f} > {self.stalled:.2f} s: {tick.verdict.reasons[0]}",
                STALL,
            )
        if self.mode is Mode.RUN and self._moving_in_vain(tick) > self.stalled:
            i = int(np.nanargmin(self._pressing))
            channel, still = self._robot.channels[i].name, tick.time - self._pressing[i]
            self.hold(
                f"stalled {channel} pushes with over {self._force[i]:.3g} of its effort and does not move, for {still:.2f} > "
                f"{self.stalled:.2f} s",
                STALL,
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
        # a chunk that is followed below its own speed asks for more than its target says
        asked = tick.speed < 1.0 or bool((np.abs(tick.target - tick.verdict.command) > self._little).any())
        if self._moving or not tick.acting or not tick.verdict.reasons or not asked:
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

    def _worsen(self, mode: Mode, reason: str, source: str = "") -> None:
        before = self._latched_mode
        if mode < before or source in (known := self._latched.setdefault(mode, {})):
            return
        self._since = self._now if mode > before else self._since
        known[source] = reason
        self.history.append((self._now, mode, reason))
