"""From data sets to batches: a pure function of (seed, step), computed one step ahead on a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from palmar.data.augment import Augment, draw_warp, recoloured, shifted, warp_actions, warp_labels, warped
from palmar.data.language import Paraphrases, Wordings
from palmar.data.mapped import interface_of
from palmar.data.mixture import Group, Mixture, check_alike
from palmar.data.quality import check_numbers
from palmar.data.split import episode_digests
from palmar.data.trained_tasks import task_names
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Batch, Labels, pixels
from palmar.models.encoders import SentenceTokens
from palmar.sim import truth
from palmar.types import STILL, Array


class Source(Protocol):
    """What training needs of a data set (`data.reader.Dataset` is one)."""

    @property
    def cameras(self) -> Sequence[str]: ...
    @property
    def state_names(self) -> Sequence[str]: ...
    @property
    def action_names(self) -> Sequence[str]: ...
    @property
    def privileged_names(self) -> Sequence[str]: ...
    @property
    def tasks(self) -> Sequence[str]: ...
    @property
    def episodes(self) -> Sequence[Any]: ...
    @property
    def states(self) -> Array: ...
    @property
    def actions(self) -> Array: ...
    def __len__(self) -> int: ...
    def batch(self, indices: Any, horizon: int) -> Mapping[str, Any]: ...


__all__ = ["Augment", "Feed", "Source", "ahead", "recoloured", "rng_of", "shifted"]


def rng_of(seed: int, step: int, purpose: int = 0) -> np.random.Generator:
    """A generator that depends on nothing but its arguments, so that step 500 is the same after a restart."""
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), purpose], counter=[0, 0, 0, step]))


class Feed:
    """Frames of one or more data sets, split by episode into training and validation."""

    def __init__(
        self,
        sets: Sequence[Source],
        horizon: int,
        *,
        seed: int = 0,
        validation: float = 0.03,
        paraphrases: Paraphrases | None = None,
        max_tokens: int = 32,
        augment: Augment | None = None,
        success_only: bool = False,
        offsets: tuple[int, ...] = (0,),
    ) -> None:
        self.offsets = offsets
        self.sets, self.horizon, self.seed, self.augment = list(sets), horizon, seed, augment
        first = self.sets[0]
        check_alike(self.sets)
        check_numbers(self.sets)
        self.starts = np.cumsum([0, *(len(s) for s in self.sets)])
        kept = [
            (
                int(e.start) + int(base),
                int(e.stop) + int(base),
                getattr(e, "source", "") == STILL,
                (i, getattr(e, "index", k)),
            )
            for i, (s, base) in enumerate(zip(self.sets, self.starts, strict=False))
            for k, e in enumerate(s.episodes)
            if e.success is not False or not success_only
        ]
        digests = [
            (digest, getattr(e, "source", "") == STILL)
            for s in self.sets
            for e, digest in zip(s.episodes, episode_digests(s), strict=True)
            if e.success is not False or not success_only
        ]
        self.still = np.zeros(int(self.starts[-1]), bool)  # frames to look at, whose actions mean nothing
        for start, stop, still, _ in kept:
            self.still[start:stop] = still
        episodes = [(start, stop) for start, stop, still, _ in kept if not still]
        stills = [np.arange(start, stop) for start, stop, still, _ in kept if still]
        if not episodes:
            raise BadValue(
                "the data holds no episode" + (" that succeeded" if success_only else "") + ". Next: palmar collect"
            )
        recorded: dict[Any, list[int]] = {}  # parts of one recorded episode are held out together
        for i, whole in enumerate(whole for _, _, still, whole in kept if not still):
            recorded.setdefault(whole, []).append(i)
        wholes = list(recorded.values())
        held = max(1, round(validation * len(wholes))) if validation > 0 and len(wholes) > 1 else 0
        order = rng_of(seed, 0, 1).permutation(len(wholes))
        frames = [np.concatenate([np.arange(*episodes[i]) for i in wholes[j]]) for j in order]
        self.validation = np.sort(np.concatenate(frames[:held])) if held else np.empty(0, np.int64)
        self.moving = np.sort(np.concatenate(frames[held:]))
        acted = [digest for digest, still in digests if not still]
        self.trained_on = tuple(
            acted[wholes[j][0]] for j in sorted(order[held:])
        )  # by content, for `data.split.held_out`
        self.trained_tasks = task_names(
            e for s in self.sets for e in s.episodes if e.success is not False or not success_only
        )
        self.training = np.sort(np.concatenate([self.moving, *stills]))
        self.tasks = list(dict.fromkeys(t for s in self.sets for t in s.tasks))
        self._task_of = [np.array([self.tasks.index(t) for t in s.tasks], np.int64) for s in self.sets]
        self.wordings = Wordings.of(self.tasks, paraphrases)
        self.tokens, self.mask = SentenceTokens(max_tokens)(self.wordings.texts)
        self._when: dict[str, Any] = {} if offsets == (0,) else {"offsets": offsets}
        self._permutation: tuple[int, Array] = (-1, self.training)
        self.labels = truth.decoder(first.privileged_names, first.cameras, first.state_names)
        self._group()

    @property
    def moves(self) -> Array:
        """float[n, A]: the actions to learn from, in the robot's units."""
        actions: Array = np.concatenate([s.actions for s in self.sets])[self.moving]
        return actions

    @property
    def seen_states(self) -> Array:
        """float[n, S]: the states of the training frames, in the robot's units."""
        states: Array = np.concatenate([s.states for s in self.sets])[self.training]
        return states

    def _group(self) -> None:
        """families: names of the episodes' tasks. family: which of them a frame belongs to. groups: training frames."""
        named = [(i, str(getattr(e, "task", "")), e) for i, s in enumerate(self.sets) for e in s.episodes]
        self.families = list(dict.fromkeys(name for _, name, _ in named))
        self.family = np.zeros(int(self.starts[-1]), np.int64)
        for i, name, e in named:
            base = int(self.starts[i])
            self.family[base + int(e.start) : base + int(e.stop)] = self.families.index(name)
        source = np.searchsorted(self.starts, self.training, side="right") - 1
        keys = source * len(self.families) + self.family[self.training]
        self.groups = [
            Group(int(k) // len(self.families), self.families[int(k) % len(self.families)], self.training[keys == k])
            for k in np.unique(keys)
        ]

    def frames(self, indices: Array) -> dict[str, Any]:
        """`Dataset.batch` over all sets, with `task` counted in `self.tasks`; a still's actions are all padding."""
        which = np.searchsorted(self.starts, indices, side="right") - 1
        parts, places = [], []
        for i in np.unique(which):
            place = np.flatnonzero(which == i)
            part = dict(self.sets[i].batch(indices[place] - self.starts[i], self.horizon, **self._when))
            part["task"] = self._task_of[i][np.asarray(part["task"])]
            part["pad"] = np.asarray(part["pad"]) | self.still[indices[place], None]
            parts.append(part)
            places.append(place)
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(places))
        out: dict[str, Any] = {k: np.concatenate([p[k] for p in parts])[back] for k in parts[0] if k != "images"}
        out["images"] = {c: np.concatenate([p["images"][c] for p in parts])[back] for c in parts[0]["images"]}
        return out

    def order(self, turn: int, size: int) -> Array:
        """Frame indices of the step that is the turn-th of this feed: over consecutive turns every frame comes exactly once
        an epoch, in an order that depends on (seed, epoch)."""
        n, out = len(self.training), []
        at, left = turn * size, size
        while left:
            epoch, offset = divmod(at, n)
            if self._permutation[0] != epoch:
                self._permutation = (epoch, rng_of(self.seed, epoch, 2).permutation(n))
            piece = self._permutation[1][offset : offset + left]
            out.append(piece)
            at, left = at + len(piece), left - len(piece)
        return self.training[np.concatenate(out)]

    def step(
        self,
        step: int,
        size: int,
        mixture: Mixture | None = None,
        part: tuple[int, int] = (0, 1),
        turn: int | None = None,
    ) -> dict[str, Any]:
        """Raw arrays of one training step; pictures already shifted. part: (i, n) for every n-th row from i on. turn: how
        many steps were made of this feed before, where that is not all of them (several robots)."""
        rng = rng_of(self.seed, step, 3)
        turn = step if turn is None else turn
        if mixture is None:
            picked = self.order(turn, size)
        else:
            epoch = turn * size / max(1, len(self.training))
            picked = mixture.draw(self.groups, size, epoch, rng_of(self.seed, step, 5))
        picked = picked[part[0] :: part[1]]
        raw = dict(self.frames(picked))
        raw["family"] = self.family[picked]
        raw["words"] = self.wordings.draw(np.asarray(raw["task"]), rng)
        raw["labels"] = None if self.labels is None else self.labels(raw["privileged"], raw["state"])
        if self.augment is not None:
            self._augment(raw, self.augment, rng, rng_of(self.seed, step, 7))
        return raw

    def _augment(self, raw: dict[str, Any], a: Augment, rng: np.random.Generator, more: np.random.Generator) -> None:
        """What is drawn here and not on the device: it moves labels and actions too. `more` is for what came later, so that
        the draws of `rng` stay what they were."""
        if a.shift:
            raw["images"], raw["labels"] = shifted(raw["images"], raw["labels"], a.shift, rng)
        if a.warps:
            raw["warp"] = draw_warp(a, len(raw["state"]), more)
            raw["actions"] = warp_actions(np.asarray(raw["actions"]), raw["warp"], self.sets[0].action_names, a)
            if raw["labels"] is not None:
                sizes = [x.shape[-3:-1] for x in raw["images"].values()]
                raw["labels"] = warp_labels(raw["labels"], raw["warp"], sizes)

    def plain(self, indices: Array) -> dict[str, Any]:
        """Raw arrays without augmentation, in the instruction's own words."""
        raw = dict(self.frames(indices))
        raw["family"] = self.family[indices]
        raw["words"] = np.array([self.wordings.rows[t][0] for t in np.asarray(raw["task"])])
        raw["labels"] = None if self.labels is None else self.labels(raw["privileged"], raw["state"])
        return raw

    def tensors(
        self,
        raw: Mapping[str, Any],
        state: Any,
        action: Any,
        importance: Array,
        augment: Augment | None = None,
        device: str = "cpu",
    ) -> Batch:
        """Normalised tensors for the model, on `device`; colours and warps are made there."""

        def there(x: Array, dtype: Any = None) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(x if dtype is None else np.asarray(x, dtype))).to(device)

        # features of a frozen tower (`train.features`) stand where pictures do, and are numbers already
        images = {c: pixels(t) if (t := there(x)).dtype == torch.uint8 else t.float() for c, x in raw["images"].items()}
        if augment is not None and "warp" in raw:
            images = {c: warped(x, there(raw["warp"])) for c, x in images.items()}
        if augment is not None:
            images = {c: recoloured(x, augment) for c, x in images.items()}
        words = torch.from_numpy(raw["words"])
        mask = self.mask[words]
        longest = int(mask.sum(1).max()) if mask.shape[1] else 0
        labels = raw["labels"]
        return Batch(
            images,
            there(state.forward(raw["state"]), np.float32),
            self.tokens[words, :longest].to(device),
            mask[:, :longest].to(device),
            tuple(self.wordings.texts[w] for w in raw["words"]),
            actions=there(action.forward(raw["actions"]), np.float32),
            pad=there(raw["pad"], bool),
            done=there(raw["done"], bool),
            importance=there(importance),
            labels=None if labels is None else Labels(**{k: there(v) for k, v in labels.items()}),
        )

    def interface(self, horizon: int, dt: float) -> Interface:
        """Of the data: what the first set holds, with the sizes that the pictures of all sets were recorded in."""
        own = interface_of(self.sets[0], horizon)
        recorded = recorded_sizes(self.sets, own.cameras)
        return replace(own, horizon=horizon, dt=dt, embodiment="", offsets=self.offsets, recorded=recorded)


def recorded_sizes(
    sets: Sequence[Source], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[tuple[int, int], ...]]:
    """{camera: the other sizes its pictures were recorded in}, of data sets that say so (`Dataset.recorded_sizes`)."""
    found: dict[str, dict[tuple[int, int], None]] = {}
    for source in sets:
        for camera, size in getattr(source, "recorded_sizes", {}).items():
            if camera in sizes and tuple(size) != tuple(sizes[camera]):
                found.setdefault(camera, {})[size] = None
    return {camera: tuple(kinds) for camera, kinds in found.items()}


def ahead(make: Callable[[int], Any], start: int, stop: int | None, depth: int = 3) -> Generator[Any]:
    """make(start), make(start + 1), … computed on a thread up to `depth` ahead. Closing it ends the thread."""
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: tuple[Any, BaseException | None]) -> None:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        step = start
        try:
            while not closed.is_set() and (stop is None or step < stop):
                put((make(step), None))
                step += 1
        except BaseException as e:  # handed to the caller, who raises it
            put((None, e))

    thread = threading.Thread(target=work, name="palmar-feed", daemon=True)
    thread.start()
    try:
        step = start
        while stop is None or step < stop:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item
            step += 1
    finally:
        closed.set()
        thread.join(timeout=5)
