"""What an evaluation found: each trial, the settings that made them, and the films of some."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, regular_file
from palmar.eval.stats import Rate
from palmar.files import write_text
from palmar.types import Array


@dataclass(frozen=True)
class Trial:
    """One episode. nearest: name of the object the TCP came closest to; approached: it was the one asked for.
    done_seen: the policy itself said done (probability > 0.5) at the end. Latency in seconds, jerk in m/s³."""

    task: str
    split: str
    world: str
    seed: int
    instruction: str
    success: bool
    duration: float
    approached: bool
    nearest: str
    done_seen: bool | None
    latency: float
    jerk_rms: float
    seam_mean: float
    commands: int
    changed: int
    guards: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Trials and the settings that made them."""

    config: dict[str, Any]
    trials: tuple[Trial, ...]

    def rate(self, **where: object) -> Rate:
        """Success over the trials whose fields equal `where`."""
        chosen = self.select(**where)
        return Rate(sum(t.success for t in chosen), len(chosen))

    def approach(self, **where: object) -> Rate:
        """Share of trials in which the robot went to the object that was asked for."""
        chosen = self.select(**where)
        return Rate(sum(t.approached for t in chosen), len(chosen))

    def said_done(self, **where: object) -> Rate:
        """Share of the successes at whose end the policy itself said that it is done: all that a robot has to go by."""
        chosen = [t for t in self.select(**where) if t.success]
        return Rate(sum(bool(t.done_seen) for t in chosen), len(chosen))

    def select(self, **where: object) -> list[Trial]:
        return [t for t in self.trials if all(getattr(t, k) == v for k, v in where.items())]

    def to_dict(self) -> dict[str, Any]:
        splits = list(dict.fromkeys(t.split for t in self.trials))
        names = list(dict.fromkeys(t.task for t in self.trials))
        ok = [t.duration for t in self.trials if t.success]
        return {
            "config": self.config,
            "success": {
                s: {"all": self.rate(split=s).to_dict()} | {k: self.rate(split=s, task=k).to_dict() for k in names}
                for s in splits
            },
            "approached": {s: self.approach(split=s).to_dict() for s in splits},
            "said_done": {s: self.said_done(split=s).to_dict() for s in splits},
            "seconds_median": float(np.median(ok)) if ok else None,
            "jerk_rms_median": float(np.median([t.jerk_rms for t in self.trials])),
            "latency_ms_median": 1000 * float(np.median([t.latency for t in self.trials])),
            "commands": sum(t.commands for t in self.trials),
            "commands_changed": sum(t.changed for t in self.trials),
        }

    def save(self, path: str | Path) -> None:
        write_text(path, json.dumps(self.to_dict() | {"trials": [asdict(t) for t in self.trials]}, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Results:
        try:
            d = json.loads(regular_file(path).read_text())
            return cls(d["config"], tuple(Trial(**t) for t in d["trials"]))
        except FileNotFoundError:
            raise BadFile(f"no results at '{path}'. Next: palmar eval --out {path}") from None
        except (ValueError, KeyError, TypeError) as error:
            why = "it is not JSON" if isinstance(error, ValueError) else "it lacks them"
            raise BadFile(
                f"'{path}' is not a results file, with the settings and every trial of one evaluation: {why}. "
                "Next: palmar eval --policy POLICY --out FILE.json, which writes one"
            ) from error


@dataclass(frozen=True)
class Film:
    """A film on disk. world: sim, twin, robot. arm: which of the compared policies drove ("" when there is one).

    success: None when nobody can tell. note: what went wrong, in words. tcp: float32[N, 3] path of the commanded tool
    centre point in the base frame [m], one row a picture.
    """

    path: Path
    poster: Path
    instruction: str
    world: str
    success: bool | None
    seconds: float
    task: str = ""
    split: str = ""
    seed: int | None = None
    arm: str = ""
    note: str = ""
    tcp: Array = field(default_factory=lambda: np.zeros((0, 3), np.float32), repr=False, compare=False)


def shared(a: Results, b: Results) -> tuple[list[bool], list[bool]]:
    """Successes of both on the task, split and seed that both have, in one order."""
    left, right = ({(t.task, t.split, t.seed): t.success for t in r.trials} for r in (a, b))
    keys = [k for k in left if k in right]
    return [left[k] for k in keys], [right[k] for k in keys]


def differences(a: Results, b: Results) -> list[str]:
    """Settings other than the policy that two results do not share, in words."""
    ignored = {"policy", "tasks", "splits", "episodes", "seed"}
    names = sorted((a.config.keys() | b.config.keys()) - ignored)
    return [f"{n}: {a.config.get(n)} and {b.config.get(n)}" for n in names if a.config.get(n) != b.config.get(n)]
