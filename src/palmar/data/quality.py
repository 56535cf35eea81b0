"""Which demonstrations are worth learning from, and what is wrong with the others. Nothing is deleted: a `Kept` is a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmar.errors import BadValue
from palmar.types import STILL, Array


@dataclass(frozen=True)
class Limits:
    """idle: largest share of frames whose action moves less than `still` of its own spread. jerk: largest root mean square
    third difference of the actions over the median of all episodes. length: an episode this many times longer or
    shorter than the median is an outlier. shortest: fewer frames than this are truncated. stuck: the gripper is commanded
    over half its range and its reading moves less than this share of its range. failures: keep episodes that failed.
    An episode with a number that is not finite is never kept."""

    idle: float = 0.6
    still: float = 0.02
    jerk: float = 4.0
    length: float = 4.0
    shortest: int = 5
    stuck: float = 0.05
    failures: bool = False


@dataclass(frozen=True)
class Dropped:
    """Why one episode is left out: reason, what was measured, and the limit."""

    episode: int
    reason: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"episode {self.episode}: {self.reason} {self.value:.3g}, limit {self.limit:.3g}"


@dataclass(frozen=True)
class Quality:
    """kept: indices into `source.episodes`. dropped: one entry an episode, its first reason."""

    kept: tuple[int, ...]
    dropped: tuple[Dropped, ...]

    @property
    def reasons(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for d in self.dropped:
            counts[d.reason] = counts.get(d.reason, 0) + 1
        return counts

    def __str__(self) -> str:
        why = ", ".join(f"{n} {reason}" for reason, n in self.reasons.items()) or "nothing"
        return f"kept {len(self.kept)} of {len(self.kept) + len(self.dropped)} episodes; dropped {why}"


class Kept:
    """A data set without some of its episodes. Frames keep their indices, so nothing is copied."""

    def __init__(self, source: Any, episodes: Sequence[int]) -> None:
        self.source = source
        self.episodes = tuple(source.episodes[i] for i in episodes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)


def bad_number(source: Any) -> str | None:
    """Where the first NaN or infinity is, in words; None when every number is finite."""
    for what, names in (("states", source.state_names), ("actions", source.action_names)):
        values = np.asarray(getattr(source, what))
        if np.isfinite(values).all():
            continue
        for e in source.episodes:
            rows, columns = np.nonzero(~np.isfinite(values[e.start : e.stop]))
            if len(rows):
                name = names[columns[0]]
                more = f" ({len(rows)} such numbers in this episode)" if len(rows) > 1 else ""
                found = values[e.start + rows[0], columns[0]]
                return f"{what[:-1]} '{name}' is {found} in episode {e.index}, frame {rows[0]}{more}"
    return None


def check_numbers(sets: Sequence[Any]) -> None:
    """Raise `BadValue` with the data set, the episode and the frame of the first number that is not finite."""
    for i, source in enumerate(sets):
        if where := bad_number(source):
            name = f"'{source.root}'" if getattr(source, "root", None) is not None else f"data set {i}"
            raise BadValue(
                f"{name}: {where}. Next: leave the episode out (palmar train --good-only; in Python palmar.data.quality), or "
                "record it again"
            )


def assess(source: Any, limits: Limits | None = None) -> Quality:
    """Judge every episode. Stills are kept as they are: they have no motion to judge."""
    limits = limits or Limits()
    spread = _spread(source)
    facts = [_facts(source, e, limits, spread) for e in source.episodes]
    moving = [f for f, e in zip(facts, source.episodes, strict=True) if getattr(e, "source", "") != STILL]
    sound = [f.numbers for f in moving if not f.numbers["not finite"]]
    typical = {k: float(np.median([n[k] for n in sound])) for k in ("length", "jerk")} if sound else {}
    seen: dict[bytes, int] = {}
    kept: list[int] = []
    dropped: list[Dropped] = []
    for i, (f, e) in enumerate(zip(facts, source.episodes, strict=True)):
        if getattr(e, "source", "") == STILL and not f.numbers["not finite"]:
            kept.append(i)
            continue
        if why := _judge(f, e, limits, typical, seen, i):
            dropped.append(why)
        else:
            kept.append(i)
    return Quality(tuple(kept), tuple(dropped))


@dataclass(frozen=True)
class _Facts:
    numbers: Mapping[str, float] = field(default_factory=dict)
    content: bytes = b""


def _spread(source: Any) -> Array:
    """float64[A]: standard deviation of the actions that are numbers; infinite where nothing moves."""
    actions = np.asarray(source.actions, np.float64)
    spread = (
        actions[np.isfinite(actions).all(1)].std(0) if np.isfinite(actions).all(1).any() else np.zeros(actions.shape[1])
    )
    return np.where(spread > 1e-9, spread, np.inf)


def _facts(source: Any, e: Any, limits: Limits, spread: Array) -> _Facts:
    actions, states = (np.asarray(x[e.start : e.stop], np.float64) for x in (source.actions, source.states))
    if strange := int((~np.isfinite(actions)).sum() + (~np.isfinite(states)).sum()):
        return _Facts(
            {"length": float(len(actions)), "idle": 0.0, "jerk": 0.0, "stuck": np.inf, "not finite": float(strange)}
        )
    unit = actions / spread
    moves = [i for i, n in enumerate(source.action_names) if n != "gripper"] or list(range(actions.shape[1]))
    delta = "dx" in source.action_names
    speed = np.abs(unit[:, moves]) if delta else np.abs(np.diff(unit[:, moves], axis=0, prepend=unit[:1, moves]))
    third = np.diff(unit, 3, axis=0)
    numbers = {
        "length": float(len(actions)),
        "idle": float((speed.max(1) < limits.still).mean()) if len(actions) else 1.0,
        "jerk": float(np.sqrt((third**2).mean())) if len(third) else 0.0,
        "stuck": np.inf,
        "not finite": 0.0,
    }
    if "gripper" in source.action_names and "gripper.pos" in source.state_names:
        asked = actions[:, list(source.action_names).index("gripper")]
        read = states[:, list(source.state_names).index("gripper.pos")]
        if len(asked) and np.ptp(asked) > 0.5:
            numbers["stuck"] = float(np.ptp(read))
    return _Facts(numbers, np.ascontiguousarray(np.concatenate([actions, states], -1), np.float32).tobytes())


def _judge(
    f: _Facts, e: Any, limits: Limits, typical: Mapping[str, float], seen: dict[bytes, int], i: int
) -> Dropped | None:
    n = f.numbers
    if n["not finite"]:
        return Dropped(i, "NaN or infinity", n["not finite"], 0.0)
    if e.success is False and not limits.failures:
        return Dropped(i, "failed", 0.0, 1.0)
    if n["length"] < limits.shortest:
        return Dropped(i, "truncated", n["length"], limits.shortest)
    ratio = max(n["length"] / typical["length"], typical["length"] / n["length"])
    if ratio > limits.length:
        return Dropped(i, "outlier length", ratio, limits.length)
    if n["idle"] > limits.idle:
        return Dropped(i, "idle", n["idle"], limits.idle)
    if typical["jerk"] > 0 and n["jerk"] / typical["jerk"] > limits.jerk:
        return Dropped(i, "jerk", n["jerk"] / typical["jerk"], limits.jerk)
    if n["stuck"] < limits.stuck:
        return Dropped(i, "stuck gripper", n["stuck"], limits.stuck)
    if (first := seen.setdefault(f.content, i)) != i:
        return Dropped(i, f"duplicate of episode {first}", 1.0, 0.0)
    return None
