"""Which frames a batch is made of: shares of sources and tasks, and data sets made alike so that they can be mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

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
            raise BadValue(f"temperature is {self.temperature}; expected > 0 (infinity: all tasks equal)")
        weights = [*self.sources, *(w for _, w in (*self.tasks, *self.losses))]
        if any(not w >= 0 or w == float("inf") for w in weights) or (self.sources and not sum(self.sources) > 0):
            raise BadValue(f"weights are {weights}; expected finite numbers ≥ 0, one source above 0")
        if not 0 <= self.web < 1:
            raise BadValue(f"web is {self.web}; expected a share of the batch, 0 … below 1")
        if list(self.curriculum) != sorted(self.curriculum):
            raise BadValue(f"curriculum begins at epochs {[e for e, _ in self.curriculum]}; expected rising epochs")

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
            raise BadValue(f"the mixture leaves nothing to draw at epoch {epoch:g}. Tasks: {known}")
        return p / p.sum()

    def draw(self, groups: Sequence[Group], count: int, epoch: float, rng: np.random.Generator) -> Array:
        """int64[count] frames. The shares of groups are met to within one frame of every batch (systematic sampling)."""
        edges = self.probabilities(groups, epoch).cumsum()
        which = np.searchsorted(edges / edges[-1], (rng.random() + np.arange(count)) / count, side="right")
        within = rng.random(count)
        picked = [groups[g].frames[int(w * len(groups[g].frames))] for g, w in zip(which, within, strict=True)]
        return np.array(picked, np.int64)[rng.permutation(count)]

    def lanes(self, robots: Sequence[str]) -> list[int]:
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
            raise BadValue(f"the mixture weighs {len(self.sources)} sources, there are {held} data sets")
        names = list(dict.fromkeys(g.task for g in groups))
        for pattern in (x for x, _ in (*self.tasks, *self.losses)):
            if not any(fnmatchcase(n, pattern) for n in names):
                raise UnknownName("task", pattern, names)


def first(table: Sequence[tuple[str, float]], name: str) -> float:
    """The weight of the first pattern that fits, 1 when none does."""
    return next((w for pattern, w in table if fnmatchcase(name, pattern)), 1.0)


def check_alike(sets: Sequence[Any]) -> None:
    """Raise `BadValue` naming the first feature in which two sources differ, and the adapter that makes them alike."""
    for i, other in enumerate(sets[1:], 1):
        for what in COMPARED:
            ours, theirs = list(getattr(sets[0], what)), list(getattr(other, what))
            if ours != theirs:
                raise BadValue(
                    f"data sets differ in {what}: {ours} and {theirs}. Next: {_advice(what, ours, theirs, i)}"
                )
        mine, its = (float(getattr(s, "fps", 0.0)) for s in (sets[0], other))
        if mine != its:
            raise BadValue(f"data sets differ in rate: {mine:g} and {its:g} Hz. Next: record or resample at one rate")


def _advice(what: str, ours: list[str], theirs: list[str], i: int) -> str:
    if what == "action_names" and set(ours) - set(theirs):
        return (
            f"set {i} has no {', '.join(sorted(set(ours) - set(theirs)))}; if they have other names there, "
            f"Adapted(sets[{i}], actions={{ours: theirs}}) of palmar.data.mixture; actions cannot be invented"
        )
    lacking = [n for n in ours if n not in theirs]
    spare = [n for n in theirs if n not in ours]
    if what == "cameras":
        pairs = {o: t for o, t in zip(lacking, spare, strict=False)} or {o: o for o in ours}
        return f"palmar.data.mixture.Adapted(sets[{i}], like=sets[0], cameras={pairs})"
    return (
        f"palmar.data.mixture.Adapted(sets[{i}], like=sets[0]), which orders names as set 0 and fills {lacking} with 0"
    )


class Adapted:
    """A data set as if it had been recorded with another's names: cameras renamed, vectors ordered, gaps filled.

    like: the set to resemble. cameras, states, actions: {our name: their name} where they differ. fill: for state
    channels that are not there (a constant, which normalisation maps to 0); labels that are not there become NaN, which
    training takes as unknown. Pictures of another size are resized. Actions and cameras cannot be invented: `BadValue`.
    """

    def __init__(
        self,
        source: Any,
        like: Any,
        cameras: Mapping[str, str] | None = None,
        states: Mapping[str, str] | None = None,
        actions: Mapping[str, str] | None = None,
        fill: float = 0.0,
    ) -> None:
        self.source, self.fill = source, fill
        self.cameras, self.state_names = tuple(like.cameras), tuple(like.state_names)
        self.action_names, self.privileged_names = tuple(like.action_names), tuple(like.privileged_names)
        self.tasks, self.episodes = source.tasks, source.episodes
        self.fps = getattr(source, "fps", 10.0)
        self.robot_type = getattr(source, "robot_type", "")
        self._camera = {c: (cameras or {}).get(c, c) for c in self.cameras}
        if strange := [t for t in self._camera.values() if t not in source.cameras]:
            raise BadValue(
                f"camera '{strange[0]}' is not in the set (it has {', '.join(source.cameras)}). Next: cameras={{ours: theirs}}"
            )
        self._state = _columns(self.state_names, source.state_names, states)
        self._action = _columns(self.action_names, source.action_names, actions)
        self._privileged = _columns(self.privileged_names, source.privileged_names, None)
        if (self._action < 0).any():
            lacking = [n for n, i in zip(self.action_names, self._action, strict=True) if i < 0]
            raise BadValue(f"the set has no action {', '.join(lacking)} (it has {', '.join(source.action_names)})")
        first_pictures = like.batch(np.array([0]), 1)["images"]
        self._size = {c: first_pictures[c].shape[-3:-1] for c in self.cameras}

    def __len__(self) -> int:
        return len(self.source)

    @property
    def states(self) -> Array:
        return _take(self.source.states, self._state, self.fill)

    @property
    def actions(self) -> Array:
        return _take(self.source.actions, self._action, 0.0)

    def batch(self, indices: Array, horizon: int, **more: Any) -> dict[str, Any]:
        """As `Dataset.batch`, with the adapted names."""
        raw = dict(self.source.batch(indices, horizon, **more))
        raw["images"] = {c: resized(raw["images"][t], self._size[c]) for c, t in self._camera.items()}
        raw["state"] = _take(raw["state"], self._state, self.fill)
        raw["actions"] = _take(raw["actions"], self._action, 0.0)
        if self.privileged_names:
            truth = raw.get("privileged", np.zeros((len(raw["state"]), 0), np.float32))
            raw["privileged"] = _take(truth, self._privileged, np.nan)
        else:
            raw.pop("privileged", None)
        return raw


def _columns(wanted: Sequence[str], there: Sequence[str], names: Mapping[str, str] | None) -> Array:
    """Where each wanted name is, -1 where it is not."""
    at = {n: i for i, n in enumerate(there)}
    return np.array([at.get((names or {}).get(n, n), -1) for n in wanted], np.int64)


def _take(values: Array, columns: Array, fill: float) -> Array:
    if not values.shape[-1]:
        return np.full((*values.shape[:-1], len(columns)), fill, np.float32)
    return np.where(columns >= 0, values[..., np.maximum(columns, 0)], np.float32(fill)).astype(np.float32)


def resized(images: Array, size: tuple[int, int]) -> Array:
    """uint8[..., H, W, 3] → uint8[..., *size, 3]; the same array when it has the size already."""
    if images.shape[-3:-1] == tuple(size):
        return images
    from PIL import Image

    flat = images.reshape(-1, *images.shape[-3:])
    small = [np.asarray(Image.fromarray(x).resize((size[1], size[0]), Image.Resampling.BOX)) for x in flat]
    return np.stack(small).reshape(*images.shape[:-3], *size, 3)
