"""Automatic domain randomisation: ranges that grow where the policy still succeeds at their ends.

Source: OpenAI et al. 2019, "Solving Rubik's Cube with a Robot Hand", arXiv 1910.07113, algorithm 1. Every parameter has a
range. In a boundary episode one parameter is set to one end of its range and the others are drawn from theirs. Each end keeps a
buffer of outcomes; when it holds `buffer` of them, the end moves outwards by 5 % of the parameter's ordinary width if the share
of successes is at least 0.7, inwards by 2 % otherwise, and the buffer is emptied. No end leaves the physical bounds or crosses
the centre.

A state is a value and iteration i draws from the seed and i alone, so that a run that was stopped and taken up again is the run
that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import log
from typing import Annotated, Any, Literal

import numpy as np

from palmar.errors import BadValue
from palmar.ranges import Count, Range, Seed, Share, check_ranges
from palmar.sim.choosing import check_spans, chosen
from palmar.sim.params import SPACE, Randomization, WorldParams

Side = Literal["low", "high"]
SIDES: tuple[Side, Side] = ("low", "high")
STEP = Range(0, 1, above=True)
Spans = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class AdrConfig:
    """parameters: names, groups or "all". threshold: share of successes from which an end moves outwards. widen, shrink: how
    far it moves, as a share of the parameter's ordinary width. buffer: outcomes of an end before it is judged. episodes:
    boundary episodes of an iteration. begin: 0 … 1, width of the first ranges as a share of the ordinary ones. centre: the
    point the ranges are around, such as an identified one. limits: {name: (low, high)} that the ends stay within, narrower
    than the physical bounds."""

    parameters: tuple[str, ...] = ("all",)
    threshold: Share = 0.7
    widen: Annotated[float, STEP] = 0.05
    shrink: Annotated[float, STEP] = 0.02
    buffer: Count = 10
    episodes: Count = 20
    begin: Share = 0.1
    seed: Seed = 0
    centre: WorldParams = field(default_factory=WorldParams)
    limits: Spans = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "parameters", chosen(self.parameters))
        object.__setattr__(self, "limits", check_spans(self.limits))
        if stray := [n for n in self.limits if n not in self.parameters]:
            raise BadValue(
                f"limits of {', '.join(stray)}, whose range does not move; expected limits of {', '.join(self.parameters)}. Next: "
                f"{stray[0]} among the parameters, or no limits of it"
            )
        for name in self.parameters:
            low, high = self.bounds(name)
            if not low <= self.centre[name] <= high:
                raise BadValue(
                    f"centre of {name} is {self.centre[name]:g}, outside its limits {low:g} … {high:g}; expected it inside. "
                    "Next: wider limits, or none"
                )
        if not self.ends():
            raise BadValue(
                f"no end of {', '.join(self.parameters)} can move: all limits are at the centre. Next: wider limits, or none"
            )

    def bounds(self, name: str) -> tuple[float, float]:
        p = SPACE[name]
        return self.limits.get(name, (p.least, p.most))

    def ends(self) -> list[tuple[str, Side]]:
        """(parameter, side) of the ends that can move: a delay of 0 ticks has nothing below it."""
        return [
            (n, s) for n in self.parameters for s, b in zip(SIDES, self.bounds(n), strict=True) if b != self.centre[n]
        ]

    def to_dict(self) -> dict[str, Any]:
        """As it comes back from JSON."""
        return asdict(self) | {
            "parameters": list(self.parameters), "centre": dict(self.centre.values),
            "limits": {n: list(s) for n, s in self.limits.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Boundary:
    """One episode to run. side: which end `parameter` is at. number: counts up over the whole run, for the table's seed."""

    params: WorldParams
    parameter: str
    side: Side
    number: int


@dataclass(frozen=True)
class AdrState:
    """After `iteration` iterations. ranges: {parameter: (low, high)}, in its unit. buffers: {parameter: outcomes at (low, high)}.
    policy: that was evaluated last."""

    iteration: int
    ranges: Spans
    buffers: Mapping[str, tuple[tuple[bool, ...], tuple[bool, ...]]]
    policy: str = ""

    @property
    def entropy(self) -> float | None:
        """Of the uniform distribution in the ranges, a parameter, in nats; 0 where every range is as wide as the ordinary one.
        None where one is a point."""
        shares = self.widths().values()
        return None if min(shares) <= 0 else sum(map(log, shares)) / len(shares)

    def widths(self) -> dict[str, float]:
        """{parameter: width as a share of its ordinary one}."""
        return {n: (high - low) / (SPACE[n].high - SPACE[n].low) for n, (low, high) in self.ranges.items()}

    def to_dict(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration, "policy": self.policy, "entropy": self.entropy,
            "ranges": {n: list(s) for n, s in self.ranges.items()},
            "buffers": {n: [[int(x) for x in side] for side in b] for n, b in self.buffers.items() if any(b)},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> AdrState:
        """Raises ValueError, KeyError or TypeError for what is none, `BadValue` or `UnknownName` for ranges that cannot be."""
        ranges = check_spans({n: (float(low), float(high)) for n, (low, high) in d["ranges"].items()})
        buffers = {n: tuple(tuple(map(bool, side)) for side in d["buffers"].get(n, ([], []))) for n in ranges}
        return cls(int(d["iteration"]), ranges, buffers, str(d["policy"]))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Moved:
    """An end that was judged. successes: of the buffer. to: where it is now."""

    parameter: str
    side: Side
    successes: int
    n: int
    to: float


def start(config: AdrConfig, policy: str = "") -> AdrState:
    """The first ranges: `begin` times the ordinary ones, about the centre, within the limits."""
    ranges = {}
    for name in config.parameters:
        p, c, (low, high) = SPACE[name], config.centre[name], config.bounds(name)
        ranges[name] = (
            float(max(c + config.begin * (p.low - p.nominal), low)), float(min(c + config.begin * (p.high - p.nominal), high)),
        )  # fmt: skip
    return AdrState(0, ranges, {n: ((), ()) for n in ranges}, policy)


def worlds(config: AdrConfig, state: AdrState) -> Randomization:
    """Uniform in the ranges of a state; every other parameter at the centre."""
    return Randomization(0.0, centre=config.centre, ranges=state.ranges)


def episodes(config: AdrConfig, state: AdrState) -> list[Boundary]:
    """The boundary episodes of the next iteration."""
    rng = np.random.default_rng([101, config.seed, state.iteration])
    out = []
    inside, ends = worlds(config, state), config.ends()
    for i in range(config.episodes):
        name, side = ends[rng.integers(len(ends))]
        params = inside.sample(rng).replace(**{name: state.ranges[name][SIDES.index(side)]})
        out.append(Boundary(params, name, side, state.iteration * config.episodes + i))
    return out


def step(
    config: AdrConfig, state: AdrState, ran: Sequence[Boundary], successes: Sequence[bool]
) -> tuple[AdrState, list[Moved]]:
    """The state after the outcomes of an iteration, and the ends that were judged. Raises `BadValue` for another number of
    outcomes."""
    if len(ran) != len(successes):
        raise BadValue(
            f"{len(successes)} outcomes of {len(ran)} episodes; expected one of each. Next: evaluate must answer for every one"
        )
    ranges, buffers, moved = dict(state.ranges), {n: list(b) for n, b in state.buffers.items()}, []
    for b, success in zip(ran, successes, strict=True):
        k = SIDES.index(b.side)
        if b.params[b.parameter] != ranges[b.parameter][k]:
            continue  # the end has moved since: this says nothing about where it is now
        buffers[b.parameter][k] = seen = (*buffers[b.parameter][k], bool(success))
        if len(seen) >= config.buffer:
            ranges[b.parameter] = _moved(config, b.parameter, ranges[b.parameter], b.side, sum(seen) / len(seen))
            buffers[b.parameter][k] = ()
            moved.append(Moved(b.parameter, b.side, sum(seen), len(seen), ranges[b.parameter][k]))
    after = {n: (b[0], b[1]) for n, b in buffers.items()}
    return replace(state, iteration=state.iteration + 1, ranges=ranges, buffers=after), moved


def _moved(config: AdrConfig, name: str, span: tuple[float, float], side: Side, share: float) -> tuple[float, float]:
    p, centre, (least, most) = SPACE[name], config.centre[name], config.bounds(name)
    by = (config.widen if share >= config.threshold else -config.shrink) * (p.high - p.low)
    low, high = span
    if side == "low":
        return float(np.clip(low - by, least, centre)), high
    return low, float(np.clip(high + by, centre, most))


Evaluate = Callable[[Sequence[Boundary], str], Sequence[bool]]
"""(boundary episodes, policy) → success of each."""
Train = Callable[[AdrState], str]
"""A policy trained on from that of the state, in its ranges."""


def adr(
    config: AdrConfig,
    evaluate: Evaluate,
    iterations: int,
    state: AdrState | None = None,
    train: Train | None = None,
    every: int = 10,
    watch: Callable[[AdrState, Sequence[bool], Sequence[Moved]], None] | None = None,
) -> AdrState:
    """Iterate until `iterations` are done in all. state: to go on from. train: called after each `every` iterations, None: the
    policy stays as it is, and the ranges say how far it reaches. watch: called after each iteration, with its successes and
    what moved."""
    state = state or start(config)
    while state.iteration < iterations:
        ran = episodes(config, state)
        outcome = [bool(s) for s in evaluate(ran, state.policy)]
        state, moved = step(config, state, ran, outcome)
        if train is not None and state.iteration % every == 0:
            state = replace(state, policy=train(state))
        if watch:
            watch(state, outcome, moved)
    return state
