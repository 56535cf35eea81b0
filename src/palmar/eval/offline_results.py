"""What an offline evaluation found: errors by channel and by step, beside baselines and the policy with inputs taken away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmar.errors import BadFile, BadValue, regular_file
from palmar.eval.bootstrap import Estimate, means
from palmar.files import write_text

KIND = "offline"
MOMENTS = ("first", "later", "chunk")
"""Of a chunk: its first action; the one a second later (or the last, in a shorter chunk); the mean of all."""
POLICY = "policy"
BASELINES = ("hold still", "last action", "mean action")
LITTLE, MUCH = (
    0.02,
    0.10,
)  # relative changes of the error: below the first is none; a change up to the second is not ruled out
Errors = Mapping[str, Mapping[str, Estimate]]
"""{who: {moment: mean absolute error}}."""


@dataclass(frozen=True)
class ChannelErrors:
    """sd: standard deviation of the recorded actions, in the channel's unit. moving: it changes enough within a second to count
    in the means over channels. hold: what "hold still" repeats: `state NAME`, `zero` for a difference, "" where no state
    has that name. errors: in the channel's unit. less_hold: error of the policy less that of "hold still" at the later moment,
    paired by episode, in the channel's unit."""

    name: str
    sd: float
    moving: bool
    hold: str
    errors: Errors
    less_hold: Estimate

    def in_sd(self, who: str, moment: str) -> Estimate:
        """In standard deviations of the recorded actions; unknown where they do not change."""
        return self.errors[who][moment].scaled(1 / self.sd) if self.sd > 0 else Estimate(None, None, None, 0)


@dataclass(frozen=True)
class Ablation:
    """The same policy with an input taken away or exchanged. tested: False when the set has no other to exchange it for (then
    `verdict` says why). change: of the error over the chunk, relative, paired by episode. moved: mean change of the
    predicted actions [standard deviations]."""

    name: str
    tested: bool
    change: Estimate
    moved: float | None
    verdict: str

    @property
    def unused(self) -> bool:
        """The error does not get worse: less than 2 %, or an interval with 0 in it that rules out more than 10 %."""
        return self.tested and judge(self.change) == "no"


def judge(change: Estimate) -> str:
    """Does taking the input away make it worse? "yes", "no", or "cannot tell" with too few episodes."""
    if change.value is None:
        return "cannot tell"
    if change.low is None or change.high is None:  # one episode
        return "no" if abs(change.value) < 1e-6 else "cannot tell"
    if change.value < LITTLE and change.high < MUCH:
        return "no"
    if change.low > 0:
        return "yes"
    return "no" if change.high < MUCH else "cannot tell"


@dataclass(frozen=True)
class Execution:
    """How many actions of a chunk to carry out. by_step: error of each step of the chunk, by who; by_execute: of the policy,
    when the first 1, 2, … are carried out; all in standard deviations over the moving channels. seam: jump from the last action
    carried out to the first of the next chunk, over the recorded actions' own step. horizon: actions in a chunk."""

    execute: int
    recommended: int
    horizon: int
    by_step: Mapping[str, tuple[Estimate, ...]]
    by_execute: tuple[Estimate, ...]
    seam: Estimate


@dataclass(frozen=True)
class EpisodeErrors:
    """Of the policy in one episode. digest: of its content, by which results are paired. errors: {moment: one value a channel,
    in its unit, None where there is none}."""

    index: int
    digest: str
    frames: int
    errors: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class Trace:
    """One episode for the open-loop plot. recorded: [frames][channels]. chunks: (first frame, [steps][channels])."""

    episode: int
    fps: float
    recorded: tuple[tuple[float, ...], ...]
    chunks: tuple[tuple[int, tuple[tuple[float, ...], ...]], ...]


@dataclass(frozen=True)
class OfflineResults:
    """overall: errors in standard deviations over the moving channels. versus: {baseline: {moment: policy's error less the
    baseline's, paired by episode}}, over the moving channels that have the baseline. config: settings; split: which episodes."""

    config: Mapping[str, Any]
    split: Mapping[str, Any]
    channels: tuple[ChannelErrors, ...]
    overall: Errors
    versus: Errors
    ablations: tuple[Ablation, ...]
    execution: Execution
    episodes: tuple[EpisodeErrors, ...]
    trace: Trace | None
    notes: tuple[str, ...] = ()

    @property
    def moving(self) -> list[str]:
        return [c.name for c in self.channels if c.moving]

    def ablation(self, name: str) -> Ablation:
        return next(a for a in self.ablations if a.name == name)

    @property
    def ignores_cameras(self) -> bool:
        return any(a.unused for a in self.ablations if a.name == "other pictures")

    @property
    def ignores_words(self) -> bool:
        return any(a.unused for a in self.ablations if a.name == "other words")

    def to_dict(self) -> dict[str, Any]:
        in_sd = [
            {who: {m: asdict(c.in_sd(who, m)) for m in MOMENTS} for who in c.errors} for c in self.channels
        ]  # fmt: skip
        d = asdict(self)
        for channel, sd in zip(d["channels"], in_sd, strict=True):
            channel["errors_in_sd"] = sd
        return {"kind": KIND} | d | {"ignores_cameras": self.ignores_cameras, "ignores_words": self.ignores_words}

    def save(self, path: str | Path) -> None:
        write_text(path, json.dumps(self.to_dict(), allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> OfflineResults:
        try:
            return cls.from_dict(json.loads(regular_file(path).read_text()))
        except FileNotFoundError:
            raise BadFile(f"no results at '{path}'. Next: palmar eval --data FOLDER --out {path}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadFile(
                f"'{path}' is no offline evaluation. Next: palmar eval --data FOLDER --out FILE.json, which writes one"
            ) from error

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> OfflineResults:
        """Raises `KeyError`, `TypeError` or `ValueError` for anything else than `to_dict` gives."""
        if d["kind"] != KIND:
            raise ValueError(f"kind is {d['kind']}; expected {KIND}")
        x = d["execution"]
        execution = Execution(
            x["execute"], x["recommended"], x["horizon"], {k: _list(v) for k, v in x["by_step"].items()},
            _list(x["by_execute"]), Estimate.from_dict(x["seam"]),
        )  # fmt: skip
        t = d["trace"]
        trace = None if t is None else Trace(
            t["episode"], t["fps"], _grid(t["recorded"]), tuple((int(i), _grid(c)) for i, c in t["chunks"])
        )  # fmt: skip
        return cls(
            d["config"], d["split"],
            tuple(
                ChannelErrors(
                    c["name"], c["sd"], c["moving"], c["hold"], _errors(c["errors"]), Estimate.from_dict(c["less_hold"])
                )
                for c in d["channels"]
            ),
            _errors(d["overall"]), _errors(d["versus"]),
            tuple(Ablation(**(a | {"change": Estimate.from_dict(a["change"])})) for a in d["ablations"]),
            execution,
            tuple(
                EpisodeErrors(e["index"], e["digest"], e["frames"], {k: tuple(v) for k, v in e["errors"].items()})
                for e in d["episodes"]
            ),
            trace, tuple(d["notes"]),
        )  # fmt: skip


def is_offline(path: str | Path) -> bool:
    """Whether a file holds what `OfflineResults.save` writes."""
    if not regular_file(path).exists():
        return False
    try:
        d = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(d, dict) and d.get("kind") == KIND


def compared(a: OfflineResults, b: OfflineResults) -> dict[str, Estimate]:
    """{moment: error of b less that of a [standard deviations], over the moving channels and paired by episode}.

    Raises `BadValue` when they have not the same channels or share no episode.
    """
    names = [[c.name for c in r.channels] for r in (a, b)]
    if names[0] != names[1]:
        raise BadValue(
            f"the channels differ: {', '.join(names[0][:6])} and {', '.join(names[1][:6])}. Next: evaluate both on one set"
        )
    left, right = ({e.digest: e for e in r.episodes} for r in (a, b))
    both = [k for k in left if k in right]
    if not both:
        raise BadValue("the two evaluations share no episode. Next: the same --data, --episodes and --seed for both")
    moving = np.array([c.moving for c in a.channels])
    sd = np.array([c.sd if c.sd > 0 else np.nan for c in a.channels])
    out = {}
    for moment in MOMENTS:
        sides = [
            np.array([[np.nan if x is None else x for x in side[k].errors[moment]] for k in both], float) / sd
            for side in (left, right)
        ]
        difference = (sides[1] - sides[0])[:, moving]
        rows = np.array([np.nanmean(r) if np.isfinite(r).any() else np.nan for r in difference])
        out[moment] = means(rows[:, None])[0]
    return out


def _errors(d: Mapping[str, Any]) -> dict[str, dict[str, Estimate]]:
    return {who: {m: Estimate.from_dict(e) for m, e in by.items()} for who, by in d.items()}


def _list(values: Sequence[Any]) -> tuple[Estimate, ...]:
    return tuple(Estimate.from_dict(v) for v in values)


def _grid(values: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values)
