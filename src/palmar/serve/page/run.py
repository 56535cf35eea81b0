"""What a run tells its page, and what it does when somebody there wants something."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from typing import Any

import numpy as np

from palmar.errors import BadFile
from palmar.eval.stats import Rate
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.timing import SLACK
from palmar.serve.metrics import SECONDS, Buckets
from palmar.serve.page.config import PageConfig
from palmar.serve.page.keys import PageDeadman, PageKeys
from palmar.serve.page.messages import Head
from palmar.serve.page.process import PageProcess, attention_of
from palmar.types import Array, Observation

EVERY = 0.1
"""Between two states that are shown [s]."""
SILENT = 1.0
"""Longest time without a sign of life of the page's process while the robot moves [s]; then it is held."""
QUIET = 0.5
"""Longest time that a person who drives from the page may be unheard [s]; then the robot is held."""
PAGE, DRIVER = "page", "page's driver"
"""What holds the controller (`Controller.hold`)."""
LONG = 400
"""Characters of an error that are shown."""
TAIL = 30
"""Changes of the state that are shown."""


class RunPage(Subscriber):
    """The page of one run after another, on one robot.

    about: what the page says of the whole: policy, robot, world; "latch" is the name of a real robot, whose E-STOP the page latches
    as well. keys, deadman: what is held on the page. `began` before each run, `ended` after it.
    """

    wants_frames = True

    def __init__(self, config: PageConfig, about: Head) -> None:
        self.keys = PageKeys()
        self.deadman = PageDeadman(self.keys)
        self._about, self._shown = dict(about), 0.0
        self._controller: Controller | None = None
        self._running = False
        self._flags: set[str] = set()
        self._by_page = self._starting = False
        self._stopped = ""
        self._stops: deque[tuple[Any, float]] = deque(maxlen=64)
        self._wanted: deque[str] = deque(maxlen=1)
        self._answers: dict[int, bool] = {}
        self._asked = itertools.count(1)
        self._woken = threading.Condition()
        self._over = False
        self._runs: list[Head] = []
        self._question: Head | None = None
        self._latency = Buckets(SECONDS)
        self._ticks = self._changed = self._late = 0
        self._worst, self._driving = 0.0, False
        self._tick: Tick | None = None
        self._note = ""
        self._reset("")
        self.process = PageProcess(config, self._heard, self._lost)
        self.process.about(self._about)
        self._show()

    @property
    def address(self) -> str:
        return self.process.address

    @property
    def controller(self) -> Controller | None:
        """Of the run that goes on."""
        return self._controller

    @property
    def ticks(self) -> int:
        """Of the run that goes on, or the last."""
        return self._ticks

    # ------------------------------------------------------------------------------------------------ for who runs it

    def instruction(self) -> str | None:
        """The next thing to do, waited for; None when the session is to end."""
        self._show()
        with self._woken:
            while not self._wanted and not self._over:
                self._woken.wait(0.5)
            words = None if self._over else self._wanted.popleft()
        if words is not None:
            self.starting(words)
        return words

    def starting(self, instruction: str) -> None:
        """A run for this is being prepared; `began` follows, or `failed`."""
        self._reset(instruction)
        self._starting = True
        self._show()

    @property
    def over(self) -> bool:
        """Somebody ended the session."""
        return self._over

    def began(self, instruction: str, controller: Controller, **about: Any) -> None:
        """A run begins under this controller, before anything moves: a stop since it was asked for stops it now. about: what else
        is known now."""
        self._reset(instruction)
        with self._woken:
            self._controller, self._running, self._starting = controller, True, False
            if self._stopped:
                controller.emergency_stop(f"stopped from the page ({self._stopped})")
                self._stopped = ""
            elif self._wanted or self._over:  # something else was asked for meanwhile
                controller.finish()
        self._about |= about
        self.process.about(self._about)

    def ended(self, summary: Head) -> None:
        """A run is over. summary: instruction, success (None where nobody says), seconds, reason, notes."""
        self._rests()
        self._runs.append(summary)
        self._note = ""
        self._show()

    def failed(self, why: str) -> None:
        """It could not begin, or ended by an error."""
        self._rests()
        self._note = why if len(why) < LONG else why[:LONG] + " …"
        self._show()

    def _rests(self) -> None:
        """Nothing moves any more, until the next run begins."""
        with self._woken:
            self._controller, self._running, self._starting = None, False, False
        self._answer_stops("the robot is at rest")

    def drivable(self, why_not: str = "") -> None:
        """Whether a person can take over from the page."""
        self._about |= {"takeover": not why_not, "why": why_not}

    def holding(self, needed: bool) -> None:
        """Whether the enabling button has to be held while the robot moves."""
        self._about["deadman"] = needed
        self._note = "Drive, and hold the button that lets it move" if needed else ""
        self.process.about(self._about)
        self._show()

    def take(self, elsewhere: bool = False) -> bool:
        """Whether a person takes over, from the page or `elsewhere`, such as a terminal; who did so last drives."""
        wanted = self._taken("take")
        if wanted or elsewhere:
            self._by_page = not elsewhere
        return wanted or elsewhere

    def give(self, elsewhere: bool = False) -> bool:
        """Whether they give back."""
        return self._taken("give") | elsewhere

    def ask(self, question: str, seconds: float = 120.0) -> bool | None:
        """Yes or no of who drives; None when nobody answers within so many seconds, or before the next instruction."""
        number = next(self._asked)
        with self._woken:
            self._question = {"id": number, "words": question}
        self._show()
        try:
            with self._woken:
                self._woken.wait_for(lambda: number in self._answers or self._wanted or self._over, seconds)
                self._question = None
                return self._answers.pop(number, None)
        finally:
            self._show()

    def end(self) -> None:
        """The session is over after this run."""
        with self._woken:
            self._over = True
            self._woken.notify_all()

    def close(self) -> None:
        self.process.close()

    # ------------------------------------------------------------------------------------------------ what people want

    def _heard(self, head: Head) -> None:
        """On the thread that reads."""
        kind, controller, who = head["t"], self._controller, str(head.get("who", "the page"))
        if kind == "stop":
            self._stop(head, who)
        elif kind == "keys":
            self.keys.said(map(str, head.get("down", ())))
        elif kind == "press":
            self.keys.press(str(head.get("key", "")))
        elif kind == "hold" and controller is not None:
            self._flags.discard("go on")  # which was said before
            controller.hold(f"held from the page ({who})", PAGE)
        elif kind == "finish" and controller is not None:
            controller.finish()
        elif kind in ("go on", "take", "give"):
            self._flags.add(kind)
        elif kind == "gone":
            self._flags.add("gone")
            self._wanted.clear()  # what nobody waits for any more
        elif kind in ("instruct", "end", "answer"):
            with self._woken:
                if kind == "instruct":
                    self._wanted.append(str(head.get("text", "")))
                    self._stopped = ""  # whoever asks for something after a stop means it
                elif kind == "end":
                    self._over = True
                elif self._question is not None and head.get("id") == self._question["id"]:
                    self._answers[self._question["id"]] = bool(head.get("yes"))
                self._woken.notify_all()
            if kind != "answer" and controller is not None:
                controller.finish()  # brakes to rest; then the next begins

    def _stop(self, head: Head, who: str) -> None:
        came = time.monotonic()
        self._flags.discard("go on")
        with self._woken:
            self._wanted.clear()
            if (controller := self._controller) is None:  # also a run that is being prepared does not begin
                self._stopped = who
        if controller is not None and self._running:
            self._stops.append((head.get("id"), came))
            controller.emergency_stop(f"stopped from the page ({who})")
            if not self._running:  # the run has just ended
                self._answer_stops("the robot is at rest")
            return
        what = "the run that is being prepared does not begin" if self._starting else "nothing moves"
        if robot := self._about.get("latch"):
            try:
                Latch(robot).press("stopped from the page", by=who)
                what = "latched: nothing drives the robot before palmar estop --release"
            except BadFile as error:
                what = str(error)
        self.process.say({"t": "did", "id": head.get("id"), "what": what, "ms": 0.0})

    def _answer_stops(self, what: str) -> None:
        while self._stops:
            number, came = self._stops.popleft()
            took = 1e3 * (time.monotonic() - came)
            self.process.say({"t": "did", "id": number, "what": what, "ms": took})

    def _lost(self) -> None:
        if (controller := self._controller) is not None:
            controller.hold("the page's process has ended: nobody could stop the robot from there", PAGE)

    def _taken(self, flag: str) -> bool:
        there = flag in self._flags
        self._flags.discard(flag)
        return there

    # ------------------------------------------------------------------------------------------------ Subscriber

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        for camera, image in obs.images.items():
            self.process.picture(camera, image)

    def on_tick(self, tick: Tick) -> None:
        controller = self._controller
        if controller is None:
            return
        self._tick, self._ticks = tick, self._ticks + 1
        self._worst, self._late = max(self._worst, tick.late), self._late + (tick.late > SLACK)
        if tick.verdict.reasons:
            self._changed += 1
            self._counts.update(r.guard for r in tick.verdict.reasons)
        chunk = tick.chunk
        self._driving = chunk is not None and chunk.intervention and controller.mode < Mode.HANDOFF
        if tick.new_chunk and chunk is not None and not chunk.intervention:
            self._latency.add(tick.latency)
            if chunk.confidence is not None:
                self._sure.append([round(tick.time, 2), round(float(chunk.confidence), 4)])
        if tick.looked:
            for camera, image in tick.observation.images.items():
                self.process.picture(camera, image, attention_of(chunk and chunk.attention, camera))
        if self._stops and any(r.guard == "controller" for r in tick.verdict.reasons):
            self._answer_stops("the robot brakes")
        self._supervise(controller)
        if (now := time.monotonic()) - self._shown >= EVERY:
            self._shown = now
            self._show()

    def on_end(self, reason: str) -> None:
        self._running = False
        self._answer_stops("the robot is at rest")
        self._show()

    def _supervise(self, controller: Controller) -> None:
        if self._taken("go on") and controller.mode in (Mode.HOLD, Mode.HANDOFF):
            controller.resume()
        gone = self._taken("gone")
        if self._driving and self._by_page and (gone or self.keys.quiet > QUIET):
            controller.hold("who drives from the page is not heard any more", DRIVER)
        if self.process.silent > SILENT:
            controller.hold("the page's process does not answer: nobody could stop the robot from there", PAGE)

    # ------------------------------------------------------------------------------------------------ what is shown

    def _reset(self, instruction: str) -> None:
        self._instruction = instruction
        self._ticks = self._changed = self._late = 0
        self._worst, self._tick, self._driving = 0.0, None, False
        self._note = ""
        self._counts: Counter[str] = Counter()
        self._sure: deque[list[float]] = deque(maxlen=20)
        self._flags.clear()

    def _show(self) -> None:
        self.process.state(self._state())

    def _state(self) -> Head:
        controller, tick = self._controller, self._tick
        successes = [r["success"] for r in self._runs if r.get("success") is not None]
        rate = Rate(sum(successes), len(successes))
        mode, reason = self._mode(controller)
        state: Head = {
            "mode": mode, "reason": reason, "running": self._running, "instruction": self._instruction,
            "question": self._question, "note": self._note,
            "pending": self._wanted[0] if self._wanted else "",
            "history": [] if controller is None else [[t, m.name, why] for t, m, why in controller.history[-TAIL:]],
            "driving": self._driving, "runs": self._runs[-TAIL:], "of": len(self._runs),
            "success": {"k": rate.successes, "n": rate.n, "low": rate.interval[0], "high": rate.interval[1]},
            "latency": {"edges": SECONDS, "counts": list(self._latency.counts)},
            "ticks": {"n": self._ticks, "late": self._late, "worst": self._worst},
            "safety": {"changed": self._changed, "counts": dict(self._counts.most_common())},
            "confidence": list(self._sure),
        }  # fmt: skip
        if tick is not None:
            chunk = tick.chunk
            state |= {
                "time": tick.time, "speed": tick.speed, "infer": tick.latency,
                "why": [str(r) for r in tick.verdict.reasons[:3]],
                "done": None if chunk is None else chunk.done,
                "channels": self._channels(tick.verdict.command),
            }  # fmt: skip
        return state

    def _mode(self, controller: Controller | None) -> tuple[str, str]:
        if controller is not None and (self._running or controller.mode is not Mode.RUN):
            return controller.mode.name, controller.reason
        if controller is not None:
            return "FINISHED", "the robot is at rest; what is asked for is being written"
        robot = self._about.get("latch")
        if robot and (pressed := Latch(robot).read()) is not None:
            return Mode.ESTOP.name, f"latched: {pressed}. Next: look at the robot, then palmar estop --release {robot}"
        return ("STARTING", "") if self._starting else ("WAITING", "")

    def _channels(self, command: Array) -> list[list[Any]]:
        """Of each: name, value, unit, and where it is in its range, 0 … 1, None for an endless one."""
        shown = []
        for c, value in zip(self._robot.channels, command, strict=True):
            width = c.upper - c.lower
            where = float(np.clip((value - c.lower) / width, 0, 1)) if np.isfinite(width) and width > 0 else None
            shown.append([c.name, float(value), c.unit, where])
        return shown
