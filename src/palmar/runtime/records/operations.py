"""The operations log: what happened in each run, one JSON object a line, appended by every run to the same file.

    {"palmar": 1, "run": "5f0c…", "event": "started", "at": "2026-11-27T06:40:12.001Z", "t": 0.0, "policy": …, "robot": …}
    … "mode" · "fault" · "intervention" … "judging"
    {"palmar": 1, "run": "5f0c…", "event": "ended", "at": …, "t": 9.4, "outcome": "done", "success": true, "by": "simulator", …}

`runs.read_log` reads it. A line is appended with one write and flushed to the disk, on a thread of its own (`background`). What a
crash cuts off stays a line of its own that readers leave out. "judging": the loop is over, and who says whether the run succeeded
may be asked still. A run without it and without "ended" has crashed, or goes on.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from palmar.errors import BadFile, regular_file, unusable
from palmar.runtime.adaptation.lines import append, finite
from palmar.runtime.deploy import Report
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.records.background import PATIENCE, Background
from palmar.runtime.records.durations import Durations
from palmar.runtime.records.modes import Modes, emergency_stops
from palmar.runtime.records.takeovers import Takeovers
from palmar.runtime.supervision.controller import Controller
from palmar.types import Array, Observation, Reason

FORMAT = 1


def check_log(path: Path) -> None:
    """Before anything moves: can lines be added to this file, and is it a log? Raises `BadFile`."""
    regular_file(path)
    there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            first = file.readline(1 << 20)
        if not there:
            path.unlink()
    except OSError as error:
        raise unusable(error, path, writing=True) from error
    if first.strip() and not is_row(first):
        raise BadFile(f"'{path}' is no operations log; nothing was added to it. Next: another --log")


def is_row(line: bytes | str) -> bool:
    """Whether a line is one of an operations log, also where it was cut off behind its beginning."""
    return (line.encode() if isinstance(line, str) else line).startswith(b'{"palmar": 1, "run": ')


class OperationsLog(Subscriber):
    """Appends the events of one run. about: what "started" says beside the robot: policy, fingerprint, where, instruction, seed …
    controller: whose changes of mode are logged. `ended` says how it went; without it `close` writes that the run failed.

    Nothing is written before the rollout starts. begun: it has. lost: what could not be written, in words, once closed.
    """

    def __init__(self, path: str | Path, about: Mapping[str, Any], controller: Controller | None = None) -> None:
        self.path, self.about, self.controller = Path(path), dict(about), controller
        self.id = token_hex(8)
        self.begun = False
        self._over = False
        self._file: Background[dict[str, Any]] = Background(lambda row: append(self.path, row), str(path))

    @property
    def lost(self) -> str:
        return self._file.lost

    def on_start(self, obs: Observation, body: Body) -> None:
        from palmar import __version__

        robot = body.embodiment
        self.begun, self._start, self._now = True, obs.time, obs.time
        self._modes = Modes(self.controller)
        self._stopping, self._takeovers = False, Takeovers()
        self._takeovers.start(obs.time)
        self._estops = self._pressed()
        self._failing, self._failures = "", 0
        self._ticks = 0
        self._guards: Counter[str] = Counter()
        self._latency, self._took = Durations(), Durations()
        self._confidence: list[float] = []
        self._actions = Moments(robot.action_names)
        self._action: Array | None = None
        self._add(
            "started", version=__version__, robot=robot.name, control_rate=robot.control_rate, policy_rate=robot.policy_rate,
            **self.about,
        )  # fmt: skip

    def on_frame(self, obs: Observation, action: Array) -> None:
        self._action = action

    def on_tick(self, tick: Tick) -> None:
        self._now = tick.time
        self._ticks += 1
        self._took.add(tick.took)
        if self._takeovers.add(tick):
            self._taken()
        if self._action is not None:
            if tick.acting and tick.held is None and not self._takeovers.driving:
                self._actions.add(self._action)
            self._action = None
        if tick.verdict.reasons:
            self._guards.update(r.guard for r in tick.verdict.reasons)
        if tick.new_chunk and tick.chunk is not None:
            self._failing = ""
            if not tick.chunk.intervention:  # a person's chunk says nothing of the policy
                self._latency.add(tick.latency)
                if tick.chunk.confidence is not None:
                    self._confidence.append(float(tick.chunk.confidence))
        if tick.failure is not None:
            self._failures += 1
            if (kind := type(tick.failure).__name__) != self._failing:  # once, until a chunk comes
                self._failing = kind
                self._add("fault", source="policy", words=f"{kind}: {tick.failure}"[:500])
        if tick.verdict.stop and not self._stopping:
            fault = tick.verdict.fault
            self._add("fault", source=fault.guard, words=str(fault), reason=reason_values(fault))
        self._stopping = tick.verdict.stop
        self._changes(tick)

    def on_end(self, reason: str) -> None:
        if self._takeovers.end():
            self._taken()
        self._changes(None)
        self._add("judging")

    def ended(self, success: bool, by: str, report: Report) -> None:
        """by: who says whether it succeeded: simulator, person or policy."""
        self._end(
            outcome=report.outcome.reason, success=success, by=by, seconds=report.outcome.duration, mode=report.mode.name,
            words=report.reason, timing=report.timing, guards=report.counts, ended_by=report.ended_by,
        )  # fmt: skip

    def close(self, error: BaseException | None = None, patience: float = PATIENCE) -> None:
        """The end. error: what ended a run that has no `ended`."""
        if self.begun and not self._over:
            words = "" if error is None else f"{type(error).__name__}: {error}"[:500]
            mode = "" if self.controller is None else self.controller.mode.name
            self._end(
                outcome="fault", success=False, by="error", seconds=self._now - self._start, mode=mode, words=words,
                timing={"ticks": self._ticks}, guards=dict(self._guards), ended_by="",
            )  # fmt: skip
        self._file.close(patience)

    def _end(self, **values: Any) -> None:
        self._over = True
        self._takeovers.end()
        seen = np.array(self._confidence)
        confidence = {"n": len(seen), "mean": float(seen.mean()), "min": float(seen.min())} if len(seen) else None
        self._add(
            "ended", **values, source=self._modes.source, failures=self._failures,
            interventions={"n": self._takeovers.n, "seconds": self._takeovers.seconds}, confidence=confidence,
            estops=self._pressed() - self._estops,
            latency=self._latency.to_dict(), took=self._took.to_dict(), actions=self._actions.to_dict(),
        )  # fmt: skip

    def _pressed(self) -> int:
        return 0 if self.controller is None else emergency_stops(self.controller)

    def _taken(self) -> None:
        if self._takeovers.driving:
            self._add("intervention", what="began")
        else:
            self._add("intervention", what="ended", seconds=self._takeovers.lasted)

    def _changes(self, tick: Tick | None) -> None:
        for c in self._modes.changes(tick):
            values = None if c.reason is None else reason_values(c.reason)
            self._add("mode", mode=c.mode.name, words=c.words, source=c.source, reason=values)

    def _add(self, event: str, **values: Any) -> None:
        row = {"palmar": FORMAT, "run": self.id, "event": event, "at": _stamp(), "t": self._now - self._start}
        self._file.put(finite(row | values))


class Moments:
    """Mean, spread and range of each channel, one action after the other."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.n = names, 0
        self._mean, self._square = np.zeros(len(names)), np.zeros(len(names))
        self._low, self._high = np.full(len(names), np.inf), np.full(len(names), -np.inf)

    def add(self, action: Array) -> None:
        """float[A]; one that is not finite is left out."""
        x = np.asarray(action, float)
        if not np.isfinite(x).all():
            return
        self.n += 1
        away = x - self._mean
        self._mean = self._mean + away / self.n
        self._square = self._square + away * (x - self._mean)
        self._low, self._high = np.minimum(self._low, x), np.maximum(self._high, x)

    def to_dict(self) -> dict[str, Any] | None:
        """None of no action."""
        if not self.n:
            return None
        std = np.sqrt(self._square / self.n)
        values = {"mean": self._mean, "std": std, "min": self._low, "max": self._high}
        return {"names": list(self.names), "n": self.n} | {k: v.tolist() for k, v in values.items()}


def reason_values(reason: Reason) -> dict[str, Any]:
    """For JSON: the fields of a reason; None for a number that there is not."""
    return dict(finite(asdict(reason)))


def _stamp() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_row(line: str) -> dict[str, Any] | None:
    """A line of the log; None for one that is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.get("palmar") != FORMAT or not isinstance(row.get("run"), str):
        return None
    return row
