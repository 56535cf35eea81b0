"""A trained model behind the `Policy` protocol: normalise → act → un-normalise."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from palmar.models.base import Inputs, Model, Prediction, PriorChunk, pixels
from palmar.models.encoders import SentenceTokens
from palmar.models.sights import Sights
from palmar.robots import with_units
from palmar.runtime.chunks import Averaged
from palmar.types import ActionChunk, Array, Observation, Prefix
from palmar.units import BOUNDS

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer


class NeuralPolicy:
    """A trained model as a `Policy`. It remembers no more than the past pictures that its interface asks for, and, where its
    configuration has an `ensemble`, its newest chunks, to answer with their mean (`runtime.chunks.Averaged`).

    interface: the model's; units that the checkpoint does not state are those of the robot it names (`robots.with_units`).
    still: a picture whose values are all within so many steps of 8 bits of the one encoded before is not encoded again
    (`Sights`); 0 is exact.
    An action whose unit the checkpoint states and which has two ends (`units.BOUNDS`) is clipped to them.
    """

    def __init__(
        self,
        model: Model,
        state: Normalizer,
        actions: Normalizer,
        info: Mapping[str, Any] | None = None,
        device: str = "cpu",
        still: float = 0.0,
    ) -> None:
        self.model = model.to(device).eval()
        self.interface = with_units(model.interface)
        self.normalizers = {"state": state, "action": actions}
        self.info = dict(info or {})
        self.device = device
        self.sentences = SentenceTokens(model.config.max_tokens)
        self.sights = Sights(still)
        self._words: tuple[str, Tensor, Tensor, tuple[Tensor, ...]] | None = None
        self._seen: deque[tuple[float, Mapping[str, Array]]] = deque()
        decay = getattr(model.config, "ensemble", None)
        self._averaged = None if decay is None else Averaged(self, decay)

    def session(self) -> NeuralPolicy:
        """The same weights with a memory of its own, for another episode meanwhile. Not to be used from two threads at once."""
        other = copy(self)
        other.sights, other._words, other._seen = Sights(self.sights.bound), None, deque()
        if self._averaged is not None:
            other._averaged = Averaged(other, self._averaged.decay)
        return other

    @property
    def ensembles(self) -> bool:
        """Whether it averages its chunks of its own accord."""
        return self._averaged is not None

    def reset(self) -> None:
        """Forget the past pictures and chunks; word vectors are kept, they do not change."""
        self._seen.clear()
        self.sights.clear()
        if self._averaged is not None:
            self._averaged.forget()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """As `newest`, or the mean of the newest chunks where the configuration has an `ensemble`."""
        new = self.newest(obs, prefix)
        return new if self._averaged is None else self._averaged.mean(new)

    def newest(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """The next T actions, un-normalised, with whatever else the model says (`base.Prediction`); done is a probability.

        What a model draws at random it draws from the observation: the same one gets the same answer.
        prefix: un-normalised; its committed actions are the first of the answer. Raises `BadValue` when the observation does
        not fit `interface`.
        """
        with self.drawing(obs):
            out = self.model.act(self.inputs(obs), self.normal(prefix))
        return self._chunk(out, 0, obs, prefix)

    @property
    def together(self) -> bool:
        """Whether sessions of it can be answered with one pass through the network (`act_together`)."""
        return not self.model.alone

    def _chunk(self, out: Prediction, row: int, obs: Observation, prefix: Prefix | None) -> ActionChunk:
        """A row of what the model answered, un-normalised."""
        actions = self.normalizers["action"].inverse(out.actions[row].float().cpu().numpy()).astype(np.float32)
        done = None if out.done is None else float(out.done[row].float().sigmoid())
        sure = None if out.confidence is None else float(out.confidence[row])
        seen = None if out.features is None else out.features[row].float().cpu().numpy()
        heat = {k: v[row].float().cpu().numpy() for k, v in (out.attention or {}).items()}
        if prefix is not None:
            known = prefix.actions[: min(prefix.committed, len(actions))]
            actions[: len(known)] = known
        for i in range(actions.shape[1]):
            if (ends := BOUNDS.get(self.model.interface.unit("action", i))) is not None:
                actions[:, i] = actions[:, i].clip(*ends)
        return ActionChunk(actions, self.interface.dt, obs.time, sure, done, heat or None, features=seen)

    @contextmanager
    def drawing(self, obs: Observation) -> Iterator[None]:
        """No gradients but those that guidance asks for, and random numbers that depend on the observation alone."""
        with torch.no_grad(), drawn_from(crc32(np.append(obs.state, obs.time).tobytes()), self.device):
            yield

    def inputs(self, obs: Observation) -> Inputs:
        """What the model sees, normalised, one row. The same observation twice is one in its past.

        Raises `BadValue` when the observation does not fit `interface`.
        """
        self.interface.check(obs)
        state = torch.from_numpy(np.asarray(self.normalizers["state"].forward(obs.state[None]), np.float32))
        tokens, mask, language = self._read(obs.instruction, state)
        images = self._pictures(obs)
        return Inputs(images, state.to(self.device), tokens, mask, (obs.instruction,), language, self.sights)

    def normal(self, prefix: Prefix | None) -> PriorChunk | None:
        """As the model wants it: normalised, one row."""
        if prefix is None:
            return None
        actions = np.asarray(self.normalizers["action"].forward(prefix.actions), np.float32)
        return PriorChunk(torch.from_numpy(actions)[None].to(self.device), prefix.committed)

    def _pictures(self, obs: Observation) -> dict[str, Tensor]:
        """float32[1, 3, H, W] of now, or [1, K, 3, H, W] of now and before; before the first picture, the first again."""
        past, seen = self.interface.past, self.interface.seen(obs)
        if past == self.interface.offsets == (0,):
            return {c: self._tensor(c, x) for c, x in seen.items()}
        if self._seen and self._seen[-1][0] == obs.time:
            self._seen.pop()
        self._seen.append((obs.time, seen))
        longest = -past[0] * self.interface.dt
        while len(self._seen) > 1 and self._seen[1][0] <= obs.time - longest:
            self._seen.popleft()
        times = np.array([t for t, _ in self._seen])
        chosen = [int(np.abs(times - (obs.time + o * self.interface.dt)).argmin()) for o in past]
        stacks = {c: np.stack([self._seen[i][1][c] for i in chosen]) for c in self.interface.cameras}
        return {c: self._tensor(c, x) for c, x in stacks.items()}

    def _tensor(self, camera: str, image: Array) -> Tensor:
        def made(x: Array) -> Tensor:
            return pixels(torch.from_numpy(np.ascontiguousarray(x))[None]).to(self.device)

        return self.sights.picture(camera, image, made)

    def _read(self, instruction: str, state: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Only the first call with an instruction pays for the sentence encoder, and for what the model makes of the words."""
        if self._words is None or self._words[0] != instruction:
            if len(self.sentences.cache) > 4096:  # a long-lived server must not grow without end
                self.sentences.cache.clear()
            tokens, mask = self.sentences([instruction])
            tokens, mask = tokens.to(self.device), mask.to(self.device)
            with torch.no_grad():
                language = self.model.encode_language(Inputs({}, state.to(self.device), tokens, mask, (instruction,)))
            self._words = (instruction, tokens, mask, language)
        return self._words[1:]


def act_together(asked: Sequence[tuple[NeuralPolicy, Observation]]) -> list[ActionChunk]:
    """As `act` of each without a prefix, with one pass through the network: sessions of one policy, which is `together`.

    Equal to asking one by one but for rounding. Raises `BadValue` as `NeuralPolicy.inputs`.
    """
    first = asked[0][0]
    noise = []
    for policy, obs in asked:
        if first.model.noise:
            with policy.drawing(obs):
                noise.append(torch.randn(1, *first.model.noise, device=first.device))
    rows = [policy.inputs(obs) for policy, obs in asked]
    width = max(r.tokens.shape[1] for r in rows)
    inputs = Inputs(
        {c: torch.cat([r.images[c] for r in rows]) for c in first.interface.cameras},
        torch.cat([r.state for r in rows]),
        torch.cat([F.pad(r.tokens, (0, 0, 0, width - r.tokens.shape[1])) for r in rows]),
        torch.cat([F.pad(r.mask, (0, width - r.mask.shape[1])) for r in rows]),
        [t for r in rows for t in r.texts],
        noise=torch.cat(noise) if noise else None,
    )
    with torch.no_grad():
        out = first.model.act(inputs)
    new = [policy._chunk(out, i, obs, None) for i, (policy, obs) in enumerate(asked)]
    return [n if p._averaged is None else p._averaged.mean(n) for (p, _), n in zip(asked, new, strict=True)]


@contextmanager
def drawn_from(seed: int, device: str | torch.device) -> Iterator[None]:
    """What torch draws inside comes from `seed` alone, on the CPU and on `device`. The generators of both, and of every
    other device, go on afterwards as if nothing had been drawn."""
    where = torch.device(device)
    kind = None if where.type == "cpu" else torch.get_device_module(where.type)
    index = [] if kind is None else [kind.current_device() if where.index is None else where.index]
    with torch.random.fork_rng(devices=index, device_type=None if kind is None else where.type):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed every GPU there is
        if kind is not None:
            with kind.device(index[0]):
                kind.manual_seed(seed)
        yield
