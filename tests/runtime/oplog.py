"""An operations log of runs that nobody drove, for what reads logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from palmar.runtime.records.durations import Durations

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def row(i: int, event: str, **values: Any) -> dict[str, Any]:
    at = (BEGAN + timedelta(minutes=i)).isoformat()
    return {"palmar": 1, "run": f"run{i}", "event": event, "at": at, "t": 0.0} | values


def started(i: int, policy: str = "mine", fingerprint: str = "abcdef0123456789") -> dict[str, Any]:
    about = {"policy": policy, "fingerprint": fingerprint, "body": "mock:", "instruction": "reach", "timeout": 20.0}
    return row(i, "started", robot="arm7", **about)


def ended(
    i: int,
    success: bool,
    rng: np.random.Generator,
    moved: float = 0.0,
    latency: float = 0.01,
    late: int = 0,
    **more: Any,
) -> dict[str, Any]:
    chunks = Durations()
    for seconds in rng.lognormal(np.log(latency), 0.1, 20):
        chunks.add(float(seconds))
    mean, std = rng.normal(0, 1, 3) + [moved, 0, 0], rng.uniform(0.5, 1, 3)
    actions = {"names": ["x", "y", "z"], "n": 50, "mean": mean.tolist(), "std": std.tolist()}
    values = {
        "outcome": "done" if success else "timeout", "success": success, "by": "person", "seconds": 5.0, "mode": "RUN", "words": "",
        "source": "", "timing": {"ticks": 250, "late_ticks": late}, "guards": {"velocity": 3, "jerk": 0}, "failures": 0,
        "estops": 0,
        "interventions": {"n": 0, "seconds": 0.0}, "confidence": {"n": 20, "mean": 0.75, "min": 0.5},
        "latency": chunks.to_dict(), "took": chunks.to_dict(),
        "actions": actions | {"min": (mean - 1).tolist(), "max": (mean + 1).tolist()},
    }  # fmt: skip
    return row(i, "ended", **(values | more))


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def log_of(path: Path, successes: Sequence[bool], seed: int = 0, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Rows of runs that went so; written to `path`, and returned."""
    rng = np.random.default_rng(seed)
    who = {k: more.pop(k) for k in ("policy", "fingerprint") if k in more}
    rows = []
    for i, success in enumerate(successes, start=first):
        rows += [started(i, **who), ended(i, bool(success), rng, **more)]
    write(path, rows)
    return rows
