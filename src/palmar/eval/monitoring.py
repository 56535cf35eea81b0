"""What an operations log says of each version of a policy: success, alarms, latency, interventions, and why runs failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.eval.drop import Drop, drop_of, started
from palmar.eval.shift import MOST, Shift, least, shifts, summaries
from palmar.eval.stats import Rate
from palmar.ranges import Count, Range, Share, check_ranges
from palmar.runtime.records.durations import Durations
from palmar.runtime.records.runs import Log, Run
from palmar.types import STILL, Array, Reason

if TYPE_CHECKING:
    from palmar.data.reader import Dataset

ACTIVE = 20
"""Versions that drove one of the last so many runs are in use: their alarms count."""
GRACE = 60.0
"""How long after its longest time a run that has not ended, and is not being judged, is taken to have crashed [s]."""
ANSWER = 86_400.0
"""How long after its longest time a run that is being judged has not succeeded: nobody will say any more [s]."""


@dataclass(frozen=True)
class MonitorConfig:
    """baseline: success rate that was promised, None: the first `reference` runs of a version say it. alpha: chance of ever a false
    alarm of a version, of the drop and of the shift each. reference: runs of a version that later ones are compared with. block:
    runs that are compared at a time, and that one row of success over time is of. budget: longest time that a chunk may take [s].
    share: of chunks, and of ticks, that may be late."""

    baseline: float | None = None
    alpha: float = 0.05
    reference: Count = 50
    block: Count = 20
    budget: float = 0.05
    share: Share = 0.01

    def __post_init__(self) -> None:
        check_ranges(self)
        inside = Range(0, 1, above=True, below=True)
        for name, value in (("baseline", self.baseline), ("alpha", self.alpha)):
            if value is not None and value not in inside:
                raise BadValue(f"{name} is {value:g}; expected {inside}. Next: 0.95 and 0.05 are usual")
        if self.budget not in Range(0, 60, above=True):
            raise BadValue(f"budget is {self.budget:g} s; expected above 0 and at most 60. Next: 0.05")


@dataclass(frozen=True)
class Late:
    """n: chunks, or ticks. over: those that were late. p50, p99 [s]. alarm: that more than the share allowed are late is outside
    the 95 % interval of the share; they are taken to be independent, so that this has no rate of false alarms."""

    n: int
    over: int
    p50: float
    p99: float
    alarm: bool


@dataclass(frozen=True)
class Version:
    """A version of a policy. windows: (first run, last run, when that began, successes) of `block` runs each, the last of what is
    left. causes: {why: runs that did not succeed}. taken: runs in which a person took over. hours: that it drove, with them.
    confidence: mean over runs, None where it says none. unfinished: runs that may go on still. alarms: why, one each."""

    name: str
    active: bool
    runs: int
    unfinished: int
    rate: Rate
    windows: tuple[tuple[int, int, datetime, Rate], ...]
    drop: Drop | None
    shifts: tuple[Shift, ...]
    chunks: Late
    ticks: Late
    latency: Durations
    taken: Rate
    takeovers: int
    driven: float
    hours: float
    causes: Mapping[str, int]
    said_by: Mapping[str, int]
    guards: Mapping[str, int]
    confidence: float | None
    alarms: tuple[Reason, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Training:
    """Episodes of a data set, to compare the actions of runs with. values: float64[E, 2A] (`shift.summaries`)."""

    names: tuple[str, ...]
    values: Array


@dataclass(frozen=True)
class Monitored:
    """versions: in the order in which they first drove. alarms: of those in use."""

    log: Log
    config: MonitorConfig
    versions: tuple[Version, ...]

    @property
    def alarms(self) -> tuple[tuple[str, Reason], ...]:
        return tuple((v.name, a) for v in self.versions if v.active for a in v.alarms)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "log": str(self.log.path), "runs": len(self.log.runs), "damaged": self.log.damaged,
            "alarms": [{"version": name, "what": a.guard, "words": str(a)} for name, a in self.alarms],
            "versions": [_figures(v) for v in self.versions],
        }  # fmt: skip


def monitored(
    log: Log,
    config: MonitorConfig | None = None,
    policy: str = "",
    training: Training | None = None,
    now: datetime | None = None,
) -> Monitored:
    """policy: only versions whose name contains it. training: episodes in place of the reference, for the shift of
    actions. now: when it is, for runs that have not ended.

    Raises `UnknownName` for a policy that the log does not know, `BadValue` for training of other channels.
    """
    config, now = config or MonitorConfig(), now or datetime.now(UTC)
    groups: dict[str, list[Run]] = {}
    for run in log.runs:
        groups.setdefault(run.version or "unnamed", []).append(run)
    recent = {r.version or "unnamed" for r in log.runs[-ACTIVE:]}
    kept = {name: runs for name, runs in groups.items() if policy in name}
    if policy and not kept:
        raise UnknownName("policy of the log", policy, list(groups))
    return Monitored(
        log, config, tuple(_version(name, runs, name in recent, config, training, now) for name, runs in kept.items())
    )


def _version(
    name: str, every: Sequence[Run], active: bool, config: MonitorConfig, training: Training | None, now: datetime
) -> Version:
    runs = [r for r in every if r.ended or now > r.at + timedelta(seconds=r.timeout + (ANSWER if r.judging else GRACE))]
    successes = [r.success for r in runs]
    windows = []
    for start in range(0, len(runs), config.block):
        some = runs[start : start + config.block]
        windows.append((start, start + len(some) - 1, some[0].at, Rate(sum(r.success for r in some), len(some))))
    drop = drop_of(successes, config.alpha, config.baseline, config.reference)
    shifted, notes = _shifted(runs, config, training)
    latency = Durations.together(r.latency for r in runs)
    took = Durations.together(r.took for r in runs)
    chunks = _late(latency.n, latency.over(config.budget), latency, config.share)
    ticks = _late(sum(r.ticks for r in runs), sum(r.late_ticks for r in runs), took, config.share)
    sure = [r.confidence for r in runs if r.confidence is not None]
    if drop is None and config.baseline is None:
        notes = (*notes, _no_drop(len(runs), config))
    return Version(
        name, active, len(runs), len(every) - len(runs), Rate(sum(successes), len(runs)), tuple(windows), drop, shifted, chunks,
        ticks, latency, Rate(sum(r.takeovers > 0 for r in runs), len(runs)), sum(r.takeovers for r in runs),
        sum(r.driven for r in runs), sum(r.seconds for r in runs) / 3600, Counter(r.cause for r in runs if not r.success),
        Counter(r.by or "nobody" for r in runs), sum((Counter(r.guards) for r in runs), Counter()),
        float(np.mean(sure)) if sure else None, _alarms(drop, shifted, chunks, ticks, config), notes,
    )  # fmt: skip


def _no_drop(runs: int, config: MonitorConfig) -> str:
    if runs < config.reference:
        return f"a drop is not looked for yet: {runs} runs, and {config.reference} make the reference; --baseline RATE needs none"
    return "a drop cannot be told: hardly any run of the reference succeeded"


def _shifted(
    runs: Sequence[Run], config: MonitorConfig, training: Training | None
) -> tuple[tuple[Shift, ...], tuple[str, ...]]:
    """Of the runs in which the policy acted, in the action space of the last of them."""
    acted = [r for r in runs if r.actions is not None]
    if not acted or acted[-1].actions is None:
        return (), ()
    names = acted[-1].actions.names
    used = [r.actions for r in acted if r.actions is not None and r.actions.names == names]
    reference = config.reference if training is None else _columns(training, names)
    found = tuple(
        shifts(summaries([a.mean for a in used], [a.std for a in used]), names, config.alpha, reference, config.block)
    )
    compared = reference if isinstance(reference, int) else len(reference)
    if blind := _blind(len(found) + 1, compared, config):
        return found, (blind,)
    if found:
        return found, ()
    first = "" if training is not None else f"{config.reference} make the reference, and "
    return (), (
        f"a shift of the actions is not looked for yet: {len(used)} runs; {first}{config.block} are compared at a time",
    )


def _blind(block: int, reference: int, config: MonitorConfig) -> str:
    """Why this block and later ones can never alarm; "" while they can."""
    level, p = config.alpha * started(block), least(reference, config.block)
    if p <= level:
        return ""
    can = "can no longer" if block > 1 else "cannot"
    said = f"a shift {can} be told: the level of block {block} is {level:.2g}, and no p is below {p:.2g}"
    if p > 1 / (MOST + 1):
        few = f"{reference} runs are the reference, and {config.block} are compared at a time"
        return f"{said}: {few}. Next: a larger --block, or a new reference of more runs"
    return f"{said}. Next: a new --log, with a new reference"


def training_of(dataset: Dataset) -> Training:
    """The episodes of a data set in which something moved."""
    spans = [(e.start, e.stop) for e in dataset.episodes if e.source != STILL and e.stop > e.start]
    if not spans:
        raise BadValue(
            f"'{dataset.root}' has no episodes with actions. Next: the data set that the policy was trained on"
        )
    rows = [np.asarray(dataset.actions[a:b], float) for a, b in spans]
    return Training(tuple(dataset.action_names), summaries([r.mean(0) for r in rows], [r.std(0) for r in rows]))


def _columns(training: Training, names: Sequence[str]) -> Array:
    """float64[E, 2A] in the order of the runs."""
    if missing := [n for n in names if n not in training.names]:
        raise BadValue(
            f"the data set has no action '{missing[0]}'; its actions are {', '.join(training.names)}. Next: the set that the "
            "policy was trained on"
        )
    at = [training.names.index(n) for n in names]
    return training.values[:, [*at, *(i + len(training.names) for i in at)]]


def _late(n: int, over: int, durations: Durations, share: float) -> Late:
    alarm = n > 0 and Rate(min(over, n), n).interval[0] > share
    return Late(n, over, durations.percentile(50), durations.percentile(99), alarm)


def bound_words(config: MonitorConfig) -> str:
    """What is known of false alarms, in a sentence without its end."""
    return (
        f"the chance that a version whose success has not dropped ever raises the alarm is at most {100 * config.alpha:g} %, "
        "and the same for the shift of its actions; the alarm of latency has no such bound"
    )


def success_words(v: Version) -> str:
    """Success and the state of its alarm, in a sentence."""
    said = f"Success {v.rate}, said by {', '.join(f'{k} ({n})' for k, n in sorted(v.said_by.items()))}."
    if v.unfinished:
        said += f" {v.unfinished} runs have not ended."
    if v.confidence is not None:
        said += f" Mean confidence {v.confidence:.2f}."
    if v.drop is not None:
        given = f"of the first {v.drop.reference} runs, at least" if v.drop.reference else "given as"
        state = "no drop" if v.drop.at is None else f"DROPPED: alarm after {v.drop.at} of {v.drop.n} runs"
        share = f"{100 * v.drop.evidence:.0f} % of the evidence for an alarm"
        said += f" Baseline ({given}) {100 * v.drop.baseline:.1f} %: {state}; {share}."
    return said


def _alarms(
    drop: Drop | None, shifted: Sequence[Shift], chunks: Late, ticks: Late, config: MonitorConfig
) -> tuple[Reason, ...]:
    found = []
    if drop is not None and drop.at is not None:
        note = f"below {100 * drop.baseline:.1f} % (alarm after {drop.at} runs)"
        found.append(Reason("drop", "success", over=None, note=note))
    for s in shifted:
        if s.alarm:
            top = s.moved[0]
            found.append(
                Reason(
                    "shift",
                    f"{top.what} of {top.channel}, runs {s.first + 1} … {s.last + 1}: p",
                    s.p,
                    s.level,
                    over=False,
                )
            )
            break
    for what, late, unit in (("chunks over the budget", chunks, "%"), ("late ticks", ticks, "%")):
        if late.alarm:
            found.append(Reason("latency", what, 100 * late.over / late.n, 100 * config.share, unit))
    return tuple(found)


def _figures(v: Version) -> dict[str, Any]:
    def late(x: Late) -> dict[str, Any]:
        return {"n": x.n, "over": x.over, "p50_ms": 1e3 * x.p50, "p99_ms": 1e3 * x.p99}

    return {
        "name": v.name, "active": v.active, "runs": v.runs, "unfinished": v.unfinished, "success": v.rate.to_dict(),
        "windows": [{"first": a, "last": b, "at": at.isoformat()} | r.to_dict() for a, b, at, r in v.windows],
        "drop": None if v.drop is None else vars(v.drop) | {"evidence": v.drop.evidence},
        "shift": [
            {
                "block": s.block, "first": s.first, "last": s.last, "p": s.p, "level": s.level, "alarm": s.alarm,
                "moved": [vars(m) for m in s.moved if m.p <= s.level],
            }
            for s in v.shifts
        ],
        "chunks": late(v.chunks), "ticks": late(v.ticks), "taken": v.taken.to_dict(), "takeovers": v.takeovers,
        "driven_seconds": v.driven, "hours": v.hours, "causes": dict(v.causes), "said_by": dict(v.said_by),
        "guards": dict(v.guards), "confidence": v.confidence, "alarms": [str(a) for a in v.alarms], "notes": list(v.notes),
    }  # fmt: skip
