"""Runs as an operations log tells of them (`operations`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file, unusable
from palmar.runtime.records.durations import Durations
from palmar.runtime.records.operations import is_row, parse_row
from palmar.types import Array


@dataclass(frozen=True)
class Actions:
    """The policy's own actions of a run: names, how many, and float64[A] of each channel."""

    names: tuple[str, ...]
    n: int
    mean: Array
    std: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Run:
    """at: when it began. where: the simulated world, or the body. ended: False: it has crashed, or goes on. judging: its loop
    is over, so that it has not crashed, and nobody has said yet whether it succeeded.

    outcome: done, timeout, stopped or fault; "" while it has not ended. by: who said whether it succeeded. mode, source, words: of
    the controller at the end, what led to it, and why. seconds, ticks, late_ticks, guards {guard: commands changed}. latency, took:
    of the chunks and of the work of a tick. confidence: its mean, None where the policy says none. takeovers, driven: how often and
    how long [s] a person drove. timeout: the longest the run was allowed to take [s].
    """

    id: str
    at: datetime
    policy: str = ""
    fingerprint: str = ""
    robot: str = ""
    where: str = ""
    instruction: str = ""
    timeout: float = 0.0
    ended: bool = False
    judging: bool = False
    outcome: str = ""
    success: bool = False
    by: str = ""
    mode: str = ""
    source: str = ""
    words: str = ""
    seconds: float = 0.0
    ticks: int = 0
    late_ticks: int = 0
    guards: Mapping[str, int] = field(default_factory=dict)
    latency: Durations = field(default_factory=Durations)
    took: Durations = field(default_factory=Durations)
    confidence: float | None = None
    actions: Actions | None = None
    takeovers: int = 0
    driven: float = 0.0
    estops: int = 0
    failures: int = 0

    @property
    def version(self) -> str:
        """The policy with the fingerprint of its weights: after a training it is another."""
        return f"{self.policy} {self.fingerprint[:8]}".strip()

    @property
    def cause(self) -> str:
        """Why it did not succeed, as a class: what held or stopped it, the outcome, or "not fulfilled"; "" of a success."""
        if self.success:
            return ""
        if not self.ended:
            return "not judged" if self.judging else "crashed"
        if self.mode not in ("", "RUN"):
            return f"{self.mode}: {self.source}" if self.source else self.mode
        return "not fulfilled" if self.outcome == "done" else self.outcome


@dataclass(frozen=True)
class Log:
    """runs: in the order in which they began. damaged: lines that cannot be read, such as one that a crash cut off."""

    path: Path
    runs: tuple[Run, ...]
    damaged: int = 0


def read_log(path: str | Path) -> Log:
    """Raises `BadFile` for a file that is no operations log."""
    runs: dict[str, Run] = {}
    damaged = rows = 0
    try:
        with regular_file(path).open("rb") as file:
            for raw in file:
                line = raw.decode("utf-8", "replace").strip()
                if not line:
                    continue
                row = parse_row(line)
                read = None if row is None else _with(runs.get(row["run"]), row)
                if read is None:
                    damaged += 1
                    rows += is_row(line)
                    continue
                rows += 1
                runs[read.id] = read
    except OSError as error:
        raise unusable(error, path) from error
    if damaged and not rows:
        raise BadFile(f"'{path}' is no operations log. Next: the file of palmar run --log")
    return Log(Path(path), tuple(runs.values()), damaged)


def _with(run: Run | None, row: Mapping[str, Any]) -> Run | None:
    """The run with one more of its events; None for a row that says what none does. A run whose "started" was not written is
    known by its end alone."""
    try:
        at = datetime.fromisoformat(row["at"])
        run = run or Run(row["run"], at if at.tzinfo else at.replace(tzinfo=UTC))
        if row["event"] == "started":
            where = str(row.get("body") or row.get("world") or "")
            words = {k: str(row.get(k) or "") for k in ("policy", "fingerprint", "robot", "instruction")}
            return replace(run, at=at, where=where, timeout=float(row.get("timeout") or 0.0), **words)  # type: ignore[arg-type]
        if row["event"] == "judging":
            return replace(run, judging=True)
        return _ended(run, row) if row["event"] == "ended" else run
    except (KeyError, TypeError, ValueError, AttributeError, BadValue):
        return None


def _ended(run: Run, row: Mapping[str, Any]) -> Run:
    timing, hands, sure = row["timing"], row["interventions"], row["confidence"]
    return replace(
        run, ended=True, judging=False, outcome=str(row["outcome"]), success=row["success"] is True, by=str(row["by"]),
        mode=str(row["mode"]), source=str(row["source"]), words=str(row["words"]), seconds=float(row["seconds"]),
        ticks=int(timing.get("ticks", 0)), late_ticks=int(timing.get("late_ticks", 0)),
        guards={str(k): int(n) for k, n in row["guards"].items()},
        latency=Durations.from_dict(row["latency"]), took=Durations.from_dict(row["took"]),
        confidence=None if sure is None else float(sure["mean"]), actions=_actions(row["actions"]), takeovers=int(hands["n"]),
        driven=float(hands["seconds"]), estops=int(row["estops"]), failures=int(row["failures"]),
    )  # fmt: skip


def _actions(raw: Mapping[str, Any] | None) -> Actions | None:
    if raw is None:
        return None
    names = tuple(str(n) for n in raw["names"])
    values = [np.array(raw[k], float) for k in ("mean", "std", "min", "max")]
    if any(v.shape != (len(names),) for v in values):
        raise ValueError("as many numbers as names")
    return Actions(names, int(raw["n"]), *values)
