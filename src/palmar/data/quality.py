"""Which demonstrations are worth learning from, and what is wrong with the others. Nothing is deleted: a `Kept` is a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmar.data.channels import correlation, is_delta, openings, partners
from palmar.data.stats import finite_rows
from palmar.data.view import View
from palmar.errors import BadValue
from palmar.types import STILL, Array


@dataclass(frozen=True)
class Limits:
    """idle: largest share of frames whose action moves less than `still` of its own spread. jerk: largest root mean square
    third difference of the actions over the median of all episodes. Grippers and other openings are left out of both, since
    opening and closing is a step and no motion along a path (`channels.openings` says how they are known). length: an episode
    this many times longer or shorter than the median is an outlier. shortest: fewer frames than this are truncated. stuck: a
    gripper is commanded over half the range of its commands and its reading moves less than this share of the range of its
    readings. failures: keep episodes that failed. An episode with a number that is not finite is never kept."""

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
    """kept: indices into `source.episodes`. dropped: one entry an episode, its first reason. openings: {action channel left
    out of jerk and idle: how it was known to be an opening}."""

    kept: tuple[int, ...]
    dropped: tuple[Dropped, ...]
    openings: Mapping[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for d in self.dropped:
            counts[d.reason] = counts.get(d.reason, 0) + 1
        return counts

    def __str__(self) -> str:
        why = ", ".join(f"{n} {reason}" for reason, n in self.reasons.items()) or "nothing"
        return f"kept {len(self.kept)} of {len(self.kept) + len(self.dropped)} episodes; dropped {why}"

    @property
    def left_out(self) -> str:
        """Which channels are no motion, in words; empty when all are."""
        if not self.openings:
            return ""
        names = ", ".join(f"{name} ({how})" for name, how in self.openings.items())
        return f"left out of jerk and idle, as openings: {names}"


LEAVE_OUT = "leave the episode out (palmar train --good-only; in Python palmar.data.quality), or record it again"
"""What to do about a number that is not finite."""


class Kept(View):
    """A data set without some of its episodes. Frames keep their indices, so nothing is copied."""

    def __init__(self, source: Any, episodes: Sequence[int]) -> None:
        super().__init__(source)
        self.episodes = tuple(source.episodes[i] for i in episodes)


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


def finite_episodes(source: Any) -> list[int]:
    """Places in `source.episodes` of those whose states and actions are all finite."""
    finite = finite_rows(np.asarray(source.states), np.asarray(source.actions))
    return [i for i, e in enumerate(source.episodes) if finite[e.start : e.stop].all()]


def check_numbers(sets: Sequence[Any]) -> None:
    """Raise `BadValue` with the data set, the episode and the frame of the first number that is not finite."""
    for i, source in enumerate(sets):
        if where := bad_number(source):
            name = f"'{source.root}'" if getattr(source, "root", None) is not None else f"data set {i}"
            raise BadValue(f"{name}: {where}. Next: {LEAVE_OUT}")


def assess(source: Any, limits: Limits | None = None) -> Quality:
    """Judge every episode. Stills are kept as they are: they have no motion to judge."""
    limits = limits or Limits()
    judged = _Channels.of(source)
    facts = [_facts(source, e, limits, judged) for e in source.episodes]
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
    return Quality(tuple(kept), tuple(dropped), judged.openings)


@dataclass(frozen=True)
class _Facts:
    numbers: Mapping[str, float] = field(default_factory=dict)
    content: bytes = b""


@dataclass(frozen=True)
class _Channels:
    """spread: float64[A], standard deviation of each action channel, infinite where nothing moves. moves: action columns
    that are judged as motion. deltas: whether each of these is a difference. grips: (action column, state column, range of
    the commands, range of the readings) of the openings that are measured too."""

    spread: Array
    moves: Array
    deltas: Array
    openings: Mapping[str, str]
    grips: tuple[tuple[int, int, float, float], ...]

    @classmethod
    def of(cls, source: Any) -> _Channels:
        actions, states = (np.asarray(x, np.float64) for x in (source.actions, source.states))
        names, sound = list(source.action_names), finite_rows(states, actions)
        actions, states = actions[sound], states[sound]
        if not len(actions):
            width = len(names)
            return cls(np.full(width, np.inf), np.arange(width), np.zeros(width, bool), {}, ())
        found = openings(names, actions)
        moves = np.array([i for i, n in enumerate(names) if n not in found] or range(len(names)))
        pairs = {i: j for i, j in partners(names, source.state_names, actions, states).items() if names[i] in found}
        grips = []
        for i, j in pairs.items():
            asked, read = float(np.ptp(actions[:, i])), float(np.ptp(states[:, j]))
            # readings that do not follow the commands in any episode are noise, whatever their own range
            follows = abs(correlation(actions[:, i], states[:, j])) > 0.3
            grips.append((i, j, asked, read if follows else max(asked, read)))
        deltas = np.array([is_delta(names[i]) for i in moves])
        spread = actions.std(0)
        return cls(np.where(spread > 1e-9, spread, np.inf), moves, deltas, found, tuple(grips))


def _facts(source: Any, e: Any, limits: Limits, judged: _Channels) -> _Facts:
    actions, states = (np.asarray(x[e.start : e.stop], np.float64) for x in (source.actions, source.states))
    if strange := int((~np.isfinite(actions)).sum() + (~np.isfinite(states)).sum()):
        return _Facts(
            {"length": float(len(actions)), "idle": 0.0, "jerk": 0.0, "stuck": np.inf, "not finite": float(strange)}
        )
    unit = actions[:, judged.moves] / judged.spread[judged.moves]
    speed = np.abs(np.where(judged.deltas, unit, np.diff(unit, axis=0, prepend=unit[:1])))
    third = np.diff(unit, 3, axis=0)
    numbers = {
        "length": float(len(actions)),
        "idle": float((speed.max(1) < limits.still).mean()) if len(actions) else 1.0,
        "jerk": float(np.sqrt((third**2).mean())) if len(third) else 0.0,
        "stuck": np.inf,
        "not finite": 0.0,
    }
    for i, j, asked, read in judged.grips:
        if len(actions) and asked > 0 and np.ptp(actions[:, i]) > 0.5 * asked:
            share = float(np.ptp(states[:, j])) / read if read > 0 else 0.0
            numbers["stuck"] = min(numbers["stuck"], share)
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
