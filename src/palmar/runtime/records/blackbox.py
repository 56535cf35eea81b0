"""A black box: the last seconds before a fault, written so that the guards can be run over them again, bit for bit.

A dump is JSON lines. The first is about the run: the robot as the text of its file, the guards by name and their settings, and
the state of the safety layer before the first tick. Then a line a tick: what was measured, asked for and sent, and why.
Numbers are the shortest decimals that read back as the same double; NaN and infinity are strings.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from palmar.description.file import parse_robot
from palmar.description.write import robot_text
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, regular_file, unusable
from palmar.files import write_text
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.safety.filter import Safety, State, guard_name
from palmar.types import Array, Observation, Reason

FORMAT = 1
Kept = tuple[Tick, Array, State | None]
"""A tick, a copy of its state, and the safety layer's state after it."""


class BlackBox(Subscriber):
    """Keeps the last `seconds` of ticks and, at the end, writes those before each fault to `folder` as JSON lines.

    A fault is a verdict that asks to stop, or a rollout that ends in one. written: the files of this rollout.
    safety: whose verdicts they are; without it a dump can be read, but not played again.
    """

    def __init__(self, folder: str | Path = "blackbox", seconds: float = 10.0, safety: Safety | None = None) -> None:
        self.folder, self.seconds, self.safety = Path(folder), seconds, safety
        self.written: list[Path] = []
        self._ring: deque[Kept] = deque()

    def on_start(self, obs: Observation, body: Body) -> None:
        self._robot = body.embodiment
        self._ring = deque(maxlen=max(round(self.seconds * self._robot.control_rate), 1))
        self._first = None if self.safety is None else self.safety.state
        self._faults: list[tuple[State | None, list[Kept]]] = []
        self._faulty = False
        self.written = []

    def on_tick(self, tick: Tick) -> None:
        if len(self._ring) == self._ring.maxlen:
            self._first = self._ring[0][2]
        tick = replace(
            tick, observation=replace(tick.observation, images={})
        )  # pictures are not written, and are large
        self._ring.append((tick, tick.observation.state.copy(), None if self.safety is None else self.safety.state))
        if tick.verdict.stop and not self._faulty:
            self._faults.append(
                (self._first, list(self._ring))
            )  # kept now, written later: a tick has no time for a disk
        self._faulty = tick.verdict.stop

    def on_end(self, reason: str) -> None:
        if reason == "fault" and not self._faulty:
            self._faults.append((self._first, list(self._ring)))
        for state, kept in self._faults:
            self.written.append(self._write(self._free("fault"), state, kept))

    def dump(self, path: Path) -> Path:
        """Write all ticks that are kept. Raises `BadFile` where it cannot be written."""
        return self._write(path, self._first, list(self._ring))

    def keep(self, kind: str) -> Path | None:
        """Write all ticks that are kept to kind-NNN.jsonl in the folder; None where there are none. Raises `BadFile`."""
        return self.dump(self._free(kind)) if self._ring else None

    def _free(self, kind: str) -> Path:
        there = [
            int(n) for p in self.folder.glob(f"{kind}-*.jsonl") if (n := p.stem.removeprefix(f"{kind}-")).isdecimal()
        ]
        return self.folder / f"{kind}-{max(there, default=-1) + 1:03d}.jsonl"

    def _write(self, path: Path, state: State | None, kept: list[Kept]) -> Path:
        values = [_header(self._robot, self.safety, state), *(_record(*k) for k in kept)]
        text = "".join(f"{json.dumps(v, allow_nan=False, ensure_ascii=False)}\n" for v in values)
        try:
            return write_text(path, text, errors="backslashreplace")
        except OSError as error:
            raise unusable(error, path, writing=True) from error


@dataclass(frozen=True)
class Record:
    """A tick as it was recorded. state: float[S]. target, command: float64[N]. halted: as of `filter.State`. guards: names of the
    guards that changed the command; words: what they said. confidence: of the chunk that was followed, nan where it says none.
    failure: what the policy raised since the tick before, "" for nothing."""

    index: int
    time: float
    observed: float
    state: Array
    target: Array
    command: Array
    stop: bool
    halted: str
    guards: tuple[str, ...]
    words: tuple[str, ...]
    confidence: float
    failure: str


@dataclass(frozen=True)
class Dump:
    """A black box read back. guards: names in order. start: state of the safety layer before the first tick, None where it was
    not recorded. version: of the palmar that wrote it."""

    robot: Embodiment
    version: str
    guards: tuple[str, ...]
    stale_after: float
    tolerance: Array
    start: State | None
    ticks: tuple[Record, ...]


def read_dump(path: str | Path) -> Dump:
    """Read a dump of `BlackBox`. Raises `BadFile` for another file, and for one that is cut off in the middle of a line."""
    try:
        lines = regular_file(path).read_text("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"'{path}' is no text ({error.reason}); expected a black box. Next: a fault-NNN.jsonl of --blackbox"
        ) from error
    except OSError as error:
        raise unusable(error, path) from error
    try:
        top = json.loads(lines[0])
        if not isinstance(top, dict) or "blackbox" not in top:
            raise ValueError("its first line is of no black box")
        if top["blackbox"] != FORMAT:
            raise ValueError(f"it is of format {top['blackbox']}; expected {FORMAT}")
        ticks = tuple(_read_tick(json.loads(line)) for line in lines[1:])
        robot = replace(parse_robot(top["robot"], f"robot in {path}"), action_space=top["action_space"])
        start = None if top["state"] is None else _read_state(top["state"])
        guards, stale = tuple(str(g) for g in top["guards"]), _number(top["stale_after"])
        dump = Dump(robot, str(top["version"]), guards, stale, _array(top["tolerance"]), start, ticks)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        raise BadFile(f"'{path}' is no black box of palmar ({said}). Next: a fault-NNN.jsonl of --blackbox") from error
    n, s = len(robot.channels), len(robot.state)
    if not ticks:
        raise BadFile(f"'{path}' holds no ticks; expected at least one. Next: another dump of --blackbox")
    for t in ticks:
        if t.command.shape != (n,) or t.target.shape != (n,) or t.state.shape != (s,):
            raise BadFile(
                f"'{path}': tick {t.index} is not of {robot.name}; expected {n} channels and {s} measurements. "
                "Next: another dump of --blackbox"
            )
    return dump


def _header(robot: Embodiment, safety: Safety | None, state: State | None) -> dict[str, Any]:
    from palmar import __version__

    return {
        "blackbox": FORMAT, "version": __version__, "robot": robot_text(robot), "action_space": robot.action_space,
        "guards": [] if safety is None else [guard_name(g) for g in safety.guards],
        "stale_after": 0.0 if safety is None else _plain(safety.stale_after),
        "tolerance": [] if safety is None else _list(safety.tolerance),
        "state": None if state is None else {
            "command": _list(state.command), "rate": _list(state.rate), "change": _list(state.change),
            "goal": _list(state.goal), "drift": _list(state.drift),
            "halted": state.halted,
            "bounds": [
                {"depths": [_list(d) for d in depths], "marked": _list(marked), "margin": _plain(margin)}
                for depths, marked, margin in state.bounds
            ],
            "seen": _list(state.seen), "seen_at": _plain(state.seen_at), "clipped": f"{state.clipped:x}", "run": state.run,
        },
    }  # fmt: skip


def _read_state(value: Any) -> State:
    bounds = tuple(
        ([_array(d) for d in b["depths"]], _array(b["marked"]), _number(b["margin"])) for b in value["bounds"]
    )
    command, rate, change, goal, drift = (_array(value[k]) for k in ("command", "rate", "change", "goal", "drift"))
    seen, at = _array(value["seen"]), _number(value["seen_at"])
    clipped, run = int(value["clipped"], 16), int(value["run"])
    return State(command, rate, change, goal, drift, str(value["halted"]), bounds, seen, at, clipped, run)


def _record(tick: Tick, state: Array, after: State | None) -> dict[str, Any]:
    return {
        "index": tick.index,
        "time": _plain(tick.time),
        "late": _plain(tick.late),
        "took": _plain(tick.took),
        "observed": _plain(tick.observation.time),
        "instruction": tick.observation.instruction,
        "dtype": state.dtype.name,
        "state": _list(state),
        "target": _list(tick.target),
        "command": _list(tick.verdict.command),
        "reasons": [_reason(r) for r in tick.verdict.reasons],
        "stop": tick.verdict.stop,
        "halted": "" if after is None else after.halted,
        "new_chunk": tick.new_chunk,
        "confidence": None if tick.chunk is None or tick.chunk.confidence is None else _plain(tick.chunk.confidence),
        "failure": "" if tick.failure is None else f"{type(tick.failure).__name__}: {tick.failure}",
    }


def _read_tick(value: Any) -> Record:
    reasons = value["reasons"]
    return Record(
        int(value["index"]), _number(value["time"]), _number(value["observed"]),
        _array(value["state"]).astype(np.float64 if value["dtype"] == "float64" else np.float32),
        _array(value["target"]), _array(value["command"]), bool(value["stop"]), str(value["halted"]),
        tuple(str(r["guard"]) for r in reasons), tuple(str(r["words"]) for r in reasons),
        float("nan") if value["confidence"] is None else _number(value["confidence"]), str(value["failure"]),
    )  # fmt: skip


def _reason(reason: Reason) -> dict[str, object]:
    return {k: _plain(v) if isinstance(v, float) else v for k, v in asdict(reason).items()} | {"words": str(reason)}


def _plain(x: float) -> float | str:
    return float(x) if math.isfinite(x) else str(float(x))


def _list(values: Array) -> list[float | str]:
    return [_plain(x) for x in np.asarray(values, float).ravel().tolist()]


def _number(x: Any) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float | str):
        raise TypeError(f"{x!r} is no number")
    return float(x)


def _array(values: Any) -> Array:
    return np.array([_number(x) for x in values], float)
