"""Which frames a batch is made of: shares of sources and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from palmar.data.mapped import interface_of
from palmar.errors import BadValue, UnknownName
from palmar.types import Array

COMPARED = ("cameras", "state_names", "action_names", "privileged_names")


@dataclass(frozen=True)
class Group:
    """Frames of one task in one source. frames: int64[n], indices into the feed."""

    source: int
    task: str
    frames: Array


@dataclass(frozen=True)
class Mixture:
    """p(group) ∝ weight of its source · weight of its task · n^(1 / temperature), n the frames of the group.

    temperature: 1 samples frames evenly, 2 lifts small tasks, infinity makes all tasks equal; below 1 large tasks get
    even more (mT5, Xue et al. 2021, arXiv 2010.11934, with their α = 1 / T). Frames of a group are drawn evenly.
    sources: weight of each data set in the order they are given, all 1 when empty; 0 leaves one out. tasks: (pattern, weight)
    of sampling, losses: (pattern, weight) of the loss; the first pattern that fits a task's name counts, 1 when none does.
    curriculum: (epoch, patterns): from that epoch on these tasks only; before the first entry all. web: share of a batch
    that is questions about pictures instead of robot frames (`data.webdata`). robots: which of the robots that share the
    model are trained, by name, all when empty; sources, tasks, losses and curriculum are the first one's.
    """

    temperature: float = 2.0
    sources: tuple[float, ...] = ()
    tasks: tuple[tuple[str, float], ...] = ()
    losses: tuple[tuple[str, float], ...] = ()
    curriculum: tuple[tuple[float, tuple[str, ...]], ...] = ()
    web: float = 0.0
    robots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise BadValue(
                f"temperature is {self.temperature}; expected > 0 (infinity: all tasks equal). Next: 1 for as recorded"
            )
        weights = [*self.sources, *(w for _, w in (*self.tasks, *self.losses))]
        if any(not w >= 0 or w == float("inf") for w in weights) or (self.sources and not sum(self.sources) > 0):
            raise BadValue(
                f"weights are {weights}; expected finite numbers ≥ 0, one source above 0. "
                "Next: leave weights out for equal ones"
            )
        if not 0 <= self.web < 1:
            raise BadValue(f"web is {self.web}; expected a share of the batch, 0 … below 1. Next: 0.2, or 0 for none")
        if list(self.curriculum) != sorted(self.curriculum):
            raise BadValue(
                f"curriculum begins at epochs {[e for e, _ in self.curriculum]}; expected rising epochs. "
                "Next: put its stages in order"
            )

    def probabilities(self, groups: Sequence[Group], epoch: float = 0.0) -> Array:
        """float64[len(groups)], summing to 1. Raises `BadValue` when nothing can be drawn."""
        self._check(groups)
        size = np.array([len(g.frames) for g in groups], float)
        p = np.where(size > 0, np.maximum(size, 1) ** (1 / self.temperature), 0.0)
        p *= [self.sources[g.source] if self.sources else 1.0 for g in groups]
        p *= [first(self.tasks, g.task) for g in groups]
        begun = [patterns for start, patterns in self.curriculum if start <= epoch]
        if begun:
            p *= [any(fnmatchcase(g.task, x) for x in begun[-1]) for g in groups]
        if not p.sum() > 0:
            known = ", ".join(dict.fromkeys(g.task for g in groups))
            raise BadValue(
                f"the mixture leaves nothing to draw at epoch {epoch:g}. Tasks: {known}. "
                "Next: weights above 0 for one of them"
            )
        return p / p.sum()

    def draw(self, groups: Sequence[Group], count: int, epoch: float, rng: np.random.Generator) -> Array:
        """int64[count] frames. The shares of groups are met to within one frame of every batch (systematic sampling)."""
        edges = self.probabilities(groups, epoch).cumsum()
        which = np.searchsorted(edges / edges[-1], (rng.random() + np.arange(count)) / count, side="right")
        within = rng.random(count)
        picked = [groups[g].frames[int(w * len(groups[g].frames))] for g, w in zip(which, within, strict=True)]
        return np.array(picked, np.int64)[rng.permutation(count)]

    def trained_robots(self, robots: Sequence[str]) -> list[int]:
        """Which of these robots are trained. Raises `UnknownName`."""
        for name in self.robots:
            if name not in robots:
                raise UnknownName("robot of this run", name, robots)
        return [i for i, name in enumerate(robots) if not self.robots or name in self.robots]

    def loss_weight(self, task: str) -> float:
        return first(self.losses, task)

    def _check(self, groups: Sequence[Group]) -> None:
        held = max(g.source for g in groups) + 1
        if self.sources and len(self.sources) < held:
            raise BadValue(
                f"the mixture weighs {len(self.sources)} sources, there are {held} data sets. "
                "Next: one weight for each data set"
            )
        names = list(dict.fromkeys(g.task for g in groups))
        for pattern in (x for x, _ in (*self.tasks, *self.losses)):
            if not any(fnmatchcase(n, pattern) for n in names):
                raise UnknownName("task", pattern, names)


def first(table: Sequence[tuple[str, float]], name: str) -> float:
    """The weight of the first pattern that fits, 1 when none does."""
    return next((w for pattern, w in table if fnmatchcase(name, pattern)), 1.0)


def check_alike(sets: Sequence[Any]) -> None:
    """Raise `BadValue` naming the first feature in which two sources differ, and the mapping that makes them alike."""
    for i, other in enumerate(sets[1:], 1):
        for what in COMPARED:
            ours, theirs = list(getattr(sets[0], what)), list(getattr(other, what))
            if ours != theirs:
                raise BadValue(
                    f"data sets differ in {what}: {ours} and {theirs}. Next: {_advice(what, ours, theirs, i)}"
                )
        sizes, others = (interface_of(s).cameras for s in (sets[0], other))
        for camera in (c for c in sizes if c in others and sizes[c] != others[c]):
            (h, w), (h2, w2) = sizes[camera], others[camera]
            raise BadValue(
                f"data sets differ in the pictures of camera '{camera}': {h}×{w} px and {h2}×{w2} px in set {i}. Next: one size "
                f"for all (palmar train --image-size {min(h, h2)} {min(w, w2)}), or palmar.data.mapped.MappedData(sets[{i}], "
                "like=sets[0]), which resizes"
            )
        mine, its = (float(getattr(s, "fps", 0.0)) for s in (sets[0], other))
        if mine != its:
            raise BadValue(f"data sets differ in rate: {mine:g} and {its:g} Hz. Next: record or resample at one rate")


def _advice(what: str, ours: list[str], theirs: list[str], i: int) -> str:
    """What makes set i like set 0, where the same things have other names or another order."""
    lacking = [n for n in ours if n not in theirs]
    spare = [n for n in theirs if n not in ours]
    if what == "privileged_names" or not lacking:
        return f"palmar.data.mapped.MappedData(sets[{i}], like=sets[0])"
    if len(spare) < len(lacking):
        return f"without set {i}, which has no {', '.join(lacking)}: what was not recorded cannot be invented"
    pairs = dict(zip(lacking, spare, strict=False))
    option = "cameras" if what == "cameras" else "names"
    return f"if they are the same, palmar.data.mapped.MappedData(sets[{i}], like=sets[0], {option}={pairs})"
