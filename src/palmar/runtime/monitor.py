"""What watches a rollout: whether it is finished, how smooth it was, what the guards changed, and a black box for afterwards."""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from dataclasses import asdict
from pathlib import Path

import numpy as np

from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.types import ActionChunk, Array, Observation, Reason

SURE = 0.6  # probability from which a policy that says "done" is believed


class Finished:
    """Completion detection, asked at every policy step: the policy has said "done" in `times` chunks running."""

    def __init__(self, threshold: float = SURE, times: int = 2) -> None:
        self.threshold, self.times, self.count = threshold, times, 0
        self._last: float | None = None

    def __call__(self, obs: Observation, chunk: ActionChunk | None) -> bool:
        if chunk is not None and chunk.t0 != self._last:
            self._last = chunk.t0
            self.count = self.count + 1 if (chunk.done or 0.0) > self.threshold else 0
        return self.count >= self.times


class Smoothness(Subscriber):
    """How smoothly the arm was commanded to move."""

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        self._joints: list[Array] = []
        self._seams: list[float] = []

    def on_tick(self, tick: Tick) -> None:
        self._joints.append(tick.verdict.command)
        if tick.new_chunk:
            self._seams.append(tick.seam)

    def report(self) -> dict[str, float]:
        """jerk_rms, jerk_max: third difference of the commanded position of the first frame [m/s³], or of all joint channels
        where the robot has no frame [unit/s³]. seam_mean, seam_max: jump of the action where chunks meet, in action units;
        the first chunk has no seam. All 0 for a rollout too short to tell.
        """
        commands = np.array(self._joints) if len(self._joints) > 3 else np.zeros((4, len(self._robot.channels)))
        if self._robot.frames and len(self._joints) > 3:
            path = self._robot.pose(self._robot.frame(), commands)[0]
        else:
            path = commands[:, self._robot.moves_joint]
        jerk = np.linalg.norm(np.diff(path, n=3, axis=0), axis=1) * self._robot.control_rate**3
        seams = np.array(self._seams[1:] or [0.0])
        return {
            "jerk_rms": float(np.sqrt(np.mean(jerk**2))),
            "jerk_max": float(jerk.max()),
            "seam_mean": float(seams.mean()),
            "seam_max": float(seams.max()),
        }


class SafetyCounts(Subscriber):
    """counts: {guard: commands it changed} in this rollout. changed: commands changed by any. checked: all commands."""

    def on_start(self, obs: Observation, body: Body) -> None:
        self.counts: Counter[str] = Counter()
        self.checked = self.changed = 0

    def on_tick(self, tick: Tick) -> None:
        self.checked += 1
        if tick.verdict.reasons:
            self.changed += 1
            self.counts.update(reason.guard for reason in tick.verdict.reasons)


class BlackBox(Subscriber):
    """Keeps the last `seconds` of ticks and, at the end, writes those before each fault to `folder` as JSON lines.

    A fault is a verdict that asks to stop, or a rollout that ends in one. written: the files of this rollout.
    """

    def __init__(self, folder: str | Path = "blackbox", seconds: float = 10.0) -> None:
        self.folder, self.seconds = Path(folder), seconds

    def on_start(self, obs: Observation, body: Body) -> None:
        self._ring: deque[Tick] = deque(maxlen=max(round(self.seconds * body.embodiment.control_rate), 1))
        self._faults: list[list[Tick]] = []
        self._faulty = False
        self.written: list[Path] = []

    def on_tick(self, tick: Tick) -> None:
        self._ring.append(tick)
        if tick.verdict.stop and not self._faulty:
            self._faults.append(list(self._ring))  # kept now, written later: a tick has no time for a disk
        self._faulty = tick.verdict.stop

    def on_end(self, reason: str) -> None:
        if reason == "fault" and not self._faulty:
            self._faults.append(list(self._ring))
        first = len(list(self.folder.glob("fault-*.jsonl")))
        for number, ticks in enumerate(self._faults, start=first):
            self.written.append(self.dump(self.folder / f"fault-{number:03d}.jsonl", ticks))

    def dump(self, path: Path, ticks: list[Tick] | None = None) -> Path:
        """Write these ticks, by default all that are kept, one JSON object a line. NaN and infinity become strings."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(_record(t), allow_nan=False) for t in (self._ring if ticks is None else ticks))
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def _record(tick: Tick) -> dict[str, object]:
    return {
        "index": tick.index,
        "time": _plain(tick.time),
        "late": _plain(tick.late),
        "took": _plain(tick.took),
        "observed": _plain(tick.observation.time),
        "instruction": tick.observation.instruction,
        "state": [_plain(x) for x in tick.observation.state],
        "target": [_plain(x) for x in tick.target],
        "command": [_plain(x) for x in tick.verdict.command],
        "reasons": [_reason(r) for r in tick.verdict.reasons],
        "stop": tick.verdict.stop,
        "new_chunk": tick.new_chunk,
        "confidence": None if tick.chunk is None or tick.chunk.confidence is None else _plain(tick.chunk.confidence),
    }


def _reason(reason: Reason) -> dict[str, object]:
    return {k: _plain(v) if isinstance(v, float) else v for k, v in asdict(reason).items()} | {"words": str(reason)}


def _plain(x: float) -> float | str:
    return round(float(x), 6) if math.isfinite(x) else str(float(x))
