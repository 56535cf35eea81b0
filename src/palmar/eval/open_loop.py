"""A policy asked about recorded frames, one episode at a time: what fits what, the observations, and its chunks against what
was recorded. `offline` makes the figures of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from palmar.data.channels import is_delta, openings, partners, some
from palmar.errors import BadValue
from palmar.eval.offline_results import POLICY, Trace
from palmar.types import STILL, Array, Observation, Policy

PIECE = 8  # frames whose pictures are in memory at a time
STEADY = 1e-6  # a standard deviation below this is a constant
TRACED = 150  # most chunks of the open-loop plot


# ------------------------------------------------------------------------------------------------ what fits what


@dataclass(frozen=True)
class Fit:
    """states: columns of the set's state in the policy's order. actions: columns of the policy's actions in the set's order.
    cameras: that the policy looks at. past: frames before now that it looks at too."""

    states: Array
    actions: Array
    cameras: tuple[str, ...]
    past: tuple[int, ...]
    fps: float

    @classmethod
    def of(cls, policy: Policy, dataset: Any) -> Fit:
        interface, fps = policy.interface, float(getattr(dataset, "fps", 0) or 10.0)
        ours = tuple(dataset.state_names), tuple(dataset.action_names)
        state_names, action_names = tuple(interface.state_names), tuple(interface.action_names)
        if lacking := [n for n in state_names if n not in ours[0]]:
            raise BadValue(
                f"the policy's state has {some(lacking)}, and the set's has {some(ours[0], 8)}. Next: the set of the robot the "
                "policy was trained on, or another policy"
            )
        if set(action_names) != set(ours[1]):
            raise BadValue(
                f"the policy's actions are {some(action_names, 8)}, the set's are {some(ours[1], 8)}. Next: a set in the "
                "policy's action space, or another policy"
            )
        if lacking := [c for c in interface.cameras if c not in dataset.cameras]:
            raise BadValue(
                f"the policy looks at camera {some(lacking)}; the set has {some(tuple(dataset.cameras)) or 'none'}. Next: a set "
                "with that camera"
            )
        if abs(fps * interface.dt - 1) > 0.01:
            raise BadValue(
                f"the policy's actions last {interface.dt:.4g} s ({1 / interface.dt:.4g} Hz), the set has {fps:g} "
                "fps. Next: a set at the policy's rate"
            )
        past = tuple(o for o in interface.past if o < 0)
        return cls(
            np.array([ours[0].index(n) for n in state_names]), np.array([action_names.index(n) for n in ours[1]]),
            tuple(interface.cameras), past, fps,
        )  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """Of the whole set. sd: float64[A], 0 where the actions do not change. mean: float64[A]. step: float64[A], mean change from
    one action to the next. moving: bool[A], its change within a second, in standard deviations, is at least 0.3 of the largest
    channel's; a difference counts unless it is below 2 % of the largest. jumps: bool[A], moving and no opening, for the seams.
    hold: {action column: state column, or -1 for zero}."""

    sd: Array
    mean: Array
    step: Array
    moving: Array
    jumps: Array
    hold: Mapping[int, int]

    @classmethod
    def of(cls, dataset: Any) -> Scale:
        names, fps = tuple(dataset.action_names), float(getattr(dataset, "fps", 0) or 10.0)
        acted = [e for e in dataset.episodes if getattr(e, "source", "") != STILL]
        if not acted:
            raise BadValue("the set holds no episode in which a robot acts. Next: demonstrations (palmar collect)")
        parts = [np.asarray(dataset.actions[int(e.start) : int(e.stop)], np.float64) for e in acted]
        actions, states = (
            np.concatenate(parts),
            np.concatenate([np.asarray(dataset.states[int(e.start) : int(e.stop)], np.float64) for e in acted]),
        )
        sd = np.where(actions.std(0) > STEADY, actions.std(0), 0.0)
        second = max(1, round(fps))
        delta = np.array([is_delta(n) for n in names])
        change = _mean_change(parts, second)
        largest = sd[delta].max(initial=0.0)
        unit = np.where((sd > 0) & ~delta, change / np.where(sd > 0, sd, 1.0), 0.0)
        moving = (sd > 0) & np.where(delta, sd >= 0.02 * largest, unit >= 0.3 * unit.max(initial=0.0))
        moving = moving if moving.any() else sd > 0
        moving = moving if moving.any() else np.ones(len(names), bool)
        hold = {i: -1 for i in np.flatnonzero(delta)} | partners(names, dataset.state_names, actions, states)
        grips = openings(names, actions)
        jumps = moving & np.array([n not in grips for n in names])
        return cls(
            sd, actions.mean(0), _mean_change(parts, 1), moving, jumps, {int(i): int(j) for i, j in hold.items()}
        )

    def hold_name(self, i: int, state_names: Sequence[str]) -> str:
        return "" if i not in self.hold else "zero" if self.hold[i] < 0 else f"state {state_names[self.hold[i]]}"


def _mean_change(parts: Sequence[Array], lag: int) -> Array:
    """float64[A]: mean absolute change of the actions over `lag` frames."""
    changes = [np.abs(p[lag:] - p[:-lag]) for p in parts if len(p) > lag]
    return np.concatenate(changes).mean(0) if changes else np.zeros(parts[0].shape[1])


# ------------------------------------------------------------------------------------------------ acting


@dataclass
class Seen:
    """Of one episode. errors: {who: {moment: float64[A]}}; by_step: {who: float64[T]} over the moving channels, in standard
    deviations; ablated: {ablation: (error over the chunk, how far the actions moved)}, in the same."""

    index: int
    frames: int
    errors: dict[str, dict[str, Array]]
    by_step: dict[str, Array]
    seam: float
    ablated: dict[str, tuple[float, float]]
    words: str = ""


@dataclass
class Work:
    policy: Policy
    dataset: Any
    fit: Fit
    scale: Scale
    frames: int
    execute: int
    seed: int
    took: list[float] = field(default_factory=list)
    later: int = 0
    horizon: int = 0

    def episode(self, e: Any, ablate: bool) -> Seen:
        start, length = int(e.start), int(e.stop) - int(e.start)
        at = frames_of(length, self.execute, self.frames)
        rng = np.random.default_rng([self.seed, start])
        chunks: dict[str, list[Array]] = {}
        other = self._other_words(e, rng) if ablate else ""
        for piece in np.array_split(at, -(-len(at) // PIECE)):
            real = self._observations(e, piece)
            shown = {POLICY: real}
            if ablate:
                shown |= dict(self._ablated(e, real, other, rng))
            for who, sequences in shown.items():
                chunks.setdefault(who, []).append(self._act(sequences))
        predicted = {who: np.concatenate(parts) for who, parts in chunks.items()}
        return self._measure(start, length, at, predicted, e, other)

    def _measure(self, start: int, length: int, at: Array, predicted: Mapping[str, Array], e: Any, other: str) -> Seen:
        made, s = predicted[POLICY], self.scale
        horizon = made.shape[1]
        self.horizon, self.later = horizon, min(round(self.fit.fps), horizon - 1)
        window = at[:, None] + np.arange(horizon)
        inside = window < length
        recorded = np.asarray(self.dataset.actions[start : start + length], np.float64)
        truth = recorded[np.minimum(window, length - 1)]
        states = np.asarray(self.dataset.states[start : start + length], np.float64)[at]
        hold = np.full((len(at), 1, truth.shape[2]), np.nan)
        for i, j in s.hold.items():
            hold[:, 0, i] = 0.0 if j < 0 else states[:, j]
        last = np.where(at[:, None] > 0, recorded[np.maximum(at - 1, 0)], np.nan)[:, None]
        guesses = {POLICY: made, "hold still": hold, "last action": last, "mean action": s.mean[None, None]}
        off = {
            who: np.where(inside[..., None], np.abs(np.broadcast_to(g, truth.shape) - truth), np.nan)
            for who, g in guesses.items()
        }
        errors = {
            who: {
                "first": mean_of(x[:, 0]),
                "later": mean_of(x[:, self.later]),
                "chunk": mean_of(x.reshape(-1, x.shape[2])),
            }
            for who, x in off.items()
        }
        unit = np.where(s.sd > 0, s.sd, np.nan)
        by_step = {who: mean_of(mean_of(np.moveaxis(x / unit, 2, 0)[s.moving])) for who, x in off.items()}
        ablated = {}
        for who, x in predicted.items():
            if who != POLICY:
                error = np.where(inside[..., None], np.abs(x - truth), np.nan) / unit
                moved = np.where(inside[..., None], np.abs(x - made), np.nan) / unit
                ablated[who] = (float(overall(mean_of(error.reshape(-1, error.shape[2]))[None], s, False)[0]),
                                float(overall(mean_of(moved.reshape(-1, moved.shape[2]))[None], s, False)[0]))  # fmt: skip
        return Seen(int(getattr(e, "index", 0)), len(at), errors, by_step, self._seam(at, made), ablated, other)

    def _seam(self, at: Array, made: Array) -> float:
        """Mean over consecutive chunks and channels of |first of the next - last carried out| / the data's own step."""
        if self.execute > made.shape[1]:
            return float("nan")
        use = self.scale.jumps & (self.scale.step > 0)
        pairs = [
            (k, int(np.flatnonzero(at == i + self.execute)[0])) for k, i in enumerate(at) if i + self.execute in at
        ]
        if not pairs or not use.any():
            return float("nan")
        jumps = [np.abs(made[b, 0] - made[a, self.execute - 1]) for a, b in pairs]
        return float((np.mean(jumps, 0)[use] / self.scale.step[use]).mean())

    # -------------------------------------------------------------------------------------------- observations

    def _observations(self, e: Any, at: Array) -> list[list[Observation]]:
        """For each frame what is seen now, last, and before it where the policy looks back."""
        start, stop, back = int(e.start), int(e.stop), (*self.fit.past, 0)
        picked = np.clip(start + at[:, None] + np.array(back), start, stop - 1)
        batch = self.dataset.batch(picked.ravel(), 1)
        images = {c: x for c, x in batch["images"].items() if c in self.fit.cameras}
        states, tasks = np.asarray(batch["state"], np.float32)[:, self.fit.states], np.asarray(batch["task"])
        out = []
        for k in range(len(at)):
            rows = range(k * len(back), (k + 1) * len(back))
            out.append([
                Observation(
                    {c: np.ascontiguousarray(x[r]) for c, x in images.items()}, states[r], str(self.dataset.tasks[int(tasks[r])]),
                    float((picked.ravel()[r] - start) / self.fit.fps),
                )
                for r in rows
            ])  # fmt: skip
        return out

    def _ablated(
        self, e: Any, real: list[list[Observation]], other: str, rng: np.random.Generator
    ) -> Iterator[tuple[str, list[list[Observation]]]]:
        def changed(change: Callable[[int, int, Observation], Observation]) -> list[list[Observation]]:
            return [[change(k, i, o) for i, o in enumerate(row)] for k, row in enumerate(real)]

        if real[0][0].images:
            yield (
                "black pictures",
                changed(lambda k, i, o: replace(o, images={c: np.zeros_like(x) for c, x in o.images.items()})),
            )
            donors = [
                d
                for d in self.dataset.episodes
                if d is not e and d.stop > d.start and getattr(d, "source", "") != STILL
            ]
            if donors:
                donor = donors[int(rng.integers(len(donors)))]
                theirs = self._observations(donor, rng.integers(int(donor.stop) - int(donor.start), size=len(real)))
                yield "other pictures", changed(lambda k, i, o: replace(o, images=theirs[k][i].images))
        if other:
            yield "other words", changed(lambda k, i, o: replace(o, instruction=other))

    def _other_words(self, e: Any, rng: np.random.Generator) -> str:
        """The instruction of another episode that says something else; "" when there is none."""
        mine = str(e.instruction)
        others = sorted(
            {str(d.instruction) for d in self.dataset.episodes if getattr(d, "source", "") != STILL} - {mine, ""}
        )
        return others[int(rng.integers(len(others)))] if others else ""

    def _act(self, sequences: Sequence[Sequence[Observation]]) -> Array:
        """float64[frames, T, A], in the set's order."""
        out = []
        for seen in sequences:
            self.policy.reset()
            for before in seen[:-1]:
                self.policy.act(before)
            began = time.perf_counter()
            chunk = self.policy.act(seen[-1]).actions
            self.took.append(time.perf_counter() - began)
            if chunk.shape[1] != len(self.fit.actions):
                raise BadValue(
                    f"the policy's actions have {chunk.shape[1]} channels, the set's {len(self.fit.actions)}: "
                    f"{some(tuple(self.dataset.action_names), 8)}. Next: a set in the policy's action space"
                )
            out.append(np.asarray(chunk, np.float64)[:, self.fit.actions])
        if len({len(c) for c in out}) > 1:
            shortest = min(map(len, out))
            out = [c[:shortest] for c in out]
        return np.stack(out)

    def trace(self, e: Any) -> Trace:
        start, length = int(e.start), int(e.stop) - int(e.start)
        at = np.arange(0, length, max(self.execute, -(-length // TRACED)))
        pieces = [self._act(self._observations(e, p)) for p in np.array_split(at, -(-len(at) // PIECE))]
        made = np.concatenate(pieces)
        recorded = np.asarray(self.dataset.actions[start : start + length], np.float64)
        return Trace(
            int(getattr(e, "index", 0)), self.fit.fps, _rounded(recorded),
            tuple((int(i), _rounded(c)) for i, c in zip(at, made, strict=True)),
        )  # fmt: skip


def frames_of(length: int, execute: int, most: int) -> Array:
    """int64: frames to act on, of an episode of `length`: every `execute`-th one, or where these are more than `most`, pairs that
    are `execute` apart (for the seams), evenly over the episode."""
    every = np.arange(0, length, execute)
    if len(every) <= most or most < 2:
        return every[:most]
    firsts = np.linspace(0, length - 1 - execute, most // 2).round().astype(np.int64)
    return np.unique(np.concatenate([firsts, firsts + execute]))


def overall(errors: Array, s: Scale, scale: bool = True) -> Array:
    """float64[E, A] → [E]: mean over the moving channels, in standard deviations; NaN where none has a value."""
    x = (errors / np.where(s.sd > 0, s.sd, np.nan) if scale else errors)[:, s.moving]
    return mean_of(x.T)


def mean_of(x: Array) -> Array:
    """Mean over axis 0 of what is a number; NaN where nothing is."""
    have = np.isfinite(x)
    count = have.sum(0)
    out: Array = np.where(count > 0, np.where(have, x, 0.0).sum(0) / np.maximum(count, 1), np.nan)
    return out


def _rounded(x: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{v:.5g}") for v in row) for row in x)
