"""What every model is: two verbs over one batch, and what it was built for.

A model is a `Model` with `loss` and `act`, built from a frozen configuration by `ModelConfig.build(interface)`. Data sets,
normalisation and real time stay outside (`train.feed`, `models.acting`).

Axis legend: B batch · K pictures in time · T horizon · A action · S state · L tokens · C cameras · G grounded slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.sights import Sights
from palmar.sim import truth
from palmar.types import Array

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer

GROUNDED = truth.THINGS  # what simulator truth says where to look for
DECIMETRE = truth.DECIMETRE  # relative positions are predicted in this unit, so that they are about 1

_SKIP: ContextVar[bool] = ContextVar("skip_pretrained", default=False)


@contextmanager
def skip_pretrained() -> Iterator[None]:
    """Models are built here without reading pretrained weights: those of a checkpoint are about to take their place."""
    token = _SKIP.set(True)
    try:
        yield
    finally:
        _SKIP.reset(token)


def wants_weights() -> bool:
    """Whether a part that is being built should read its pretrained weights: not in `skip_pretrained`, nor where only shapes are
    asked for (the meta device)."""
    return not _SKIP.get() and torch.empty(0).device.type != "meta"


def check_pictures(interface: Interface, modules: bool = False) -> None:
    """Raise `BadValue` unless a network can look through the cameras: at least one, sides of multiples of 8 px from 16 on; with
    names that a module can have where each camera has modules of its own."""
    if not interface.cameras:
        raise BadValue("no cameras; expected at least one {name: (height, width)}")
    for name, (height, width) in interface.cameras.items():
        if modules and (not name or "." in name):
            raise BadValue(
                f"camera '{name}' has an encoder of its own; expected a name without a dot. Next: another name, such as --keys "
                f"images.{name.replace('.', '_') or 'front'}=FEATURE"
            )
        if height % 8 or width % 8 or min(height, width) < 16:
            raise BadValue(
                f"camera '{name}' is {height}×{width}; expected multiples of 8 px, 16 or more. Next: --image-size"
            )


@dataclass(frozen=True)
class Inputs:
    """What a model sees. images: {camera: float32[B, 3, H, W]} from `pixels`, or [B, K, 3, H, W] when the interface has
    more than one offset. state: float32[B, S] normalised. tokens float16[B, L, 384], mask bool[B, L]: the frozen sentence
    encoder's vectors (`encoders.SentenceTokens`), empty for a model that reads `texts` itself.

    When acting: language is what `Model.encode_language` made of these words before, () where it is to be made now; sights
    remembers pictures that have not changed; noise [B, ...] takes the place of what the model would draw (`Model.noise`).
    """

    images: Mapping[str, Tensor]
    state: Tensor
    tokens: Tensor
    mask: Tensor
    texts: Sequence[str] = ()
    language: tuple[Tensor, ...] = ()
    sights: Sights | None = None
    noise: Tensor | None = None


@dataclass(frozen=True)
class Labels:
    """Simulator truth for the grounded slots G (target, goal); never an input.

    points: [B, C, G, 2] (u, v). visible: [B, C, G] 0/1. placed: bool[B, C, G], there is something to label.
    relative: [B, G, 3] position in the base frame minus the TCP's, in decimetres. known: bool[B, G].
    boxes: [B, C, G, 4] (u, v, w, h), middle and sides in 0 … 1; boxed: bool[B, C, G], there is one. turns: [B, G, 2]
    (cos 4ψ, sin 4ψ) of the yaw ψ; turned: bool[B, G], it has one. All four None when the data do not say.
    """

    points: Tensor
    visible: Tensor
    placed: Tensor
    relative: Tensor
    known: Tensor
    boxes: Tensor | None = None
    boxed: Tensor | None = None
    turns: Tensor | None = None
    turned: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Batch(Inputs):
    """`Inputs` with what should come of them. actions: [B, T, A] normalised; pad: bool[B, T], True after the end of the
    episode; done: bool[B], already fulfilled; importance: float32[A], how much each action dimension counts. density: of a
    batch that is a part of an optimiser step, how many true entries a row of the whole step has in each of `Model.masks`."""

    actions: Tensor
    pad: Tensor
    done: Tensor
    importance: Tensor
    labels: Labels | None = None
    density: Mapping[str, float] | None = None

    def each(self, mask: str) -> float | None:
        """Entries of a mask a row of the whole step has, None for a batch that is a whole step. Raises `BadValue`."""
        if self.density is None:
            return None
        if mask not in self.density:
            raise BadValue(
                f"the loss takes a mean over '{mask}', and the model counts {', '.join(self.density)}. Next: add it to `masks` "
                "of the model (or of its head), so that a batch in pieces weighs as the whole"
            )
        return self.density[mask]


@dataclass(frozen=True)
class PriorChunk:
    """As `types.Prefix`, normalised, for a model. actions: [B, n, A]; committed: how many of them will have run."""

    actions: Tensor
    committed: int


@dataclass(frozen=True)
class Prediction:
    """What a model answers. actions: [B, T, A] normalised. done: logit [B]. confidence: [B] in 0 … 1.
    attention: {camera.what: [B, h, w]} each summing to 1. texts: what it said, for a model that also speaks. features: [B, D],
    the mean of what the action head is given."""

    actions: Tensor
    done: Tensor | None = None
    confidence: Tensor | None = None
    attention: Mapping[str, Tensor] | None = None
    texts: Sequence[str] = ()
    features: Tensor | None = None


class Model(nn.Module):
    """Everything that is trained; frozen encoders that need no gradient may stay outside."""

    config: ModelConfig
    interface: Interface
    alone: ClassVar[bool] = False
    """Whether `act` takes one row at a time: a graph made for one, or a model that draws for its batch as a whole."""

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Take what it needs of the training actions [n, A] (in the robot's units) before the first step: bins, limits.
        Most models need nothing."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What to minimise, and its parts by name (detached, `action` among them). Every mean in it is over the rows, or over
        one of `masks`."""
        raise NotImplementedError

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """bool[B, ...] by name: what the loss takes masked means over (`Batch.each`). A batch is cut into pieces, and shared
        by processes, so that each part must divide by the count of the whole."""
        return masks_of(batch)

    def as_robot(self, name: str) -> Model:
        """The same weights (not a copy) as another robot that shares them uses them. Raises `BadValue`, `UnknownName`."""
        raise BadValue(f"'{self.config.preset}' has one robot; for '{name}' beside it take a model such as bcz-tiny")

    @property
    def noise(self) -> tuple[int, ...]:
        """Shape of a row of the random numbers that `act` draws at once, () for a model that draws none or in another way."""
        return ()

    def encode_language(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Everything that depends on the words alone, to be given again as `Inputs.language` while the instruction stays; ()
        for a model that keeps nothing. With it or without, the answer is bit for bit the same."""
        return ()

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        """The chunk that follows. prior: what runs meanwhile, which the chunk is to fit on to (`models.guidance`)."""
        raise NotImplementedError


class ModelConfig(Protocol):
    """A frozen dataclass beside the model it builds. preset: the name it came from. max_tokens: of an instruction, 0 when
    the model reads `Inputs.texts` itself. offsets: see `Interface`."""

    @property
    def preset(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def offsets(self) -> tuple[int, ...]: ...
    def for_texts(self, texts: Sequence[str]) -> ModelConfig:
        """The configuration with limits under which each of these instructions is read whole; equal where they are read so
        already. Raises `BadValue` for an instruction that the encoder cannot read whole."""
        ...

    def build(self, interface: Interface) -> Model: ...


def masks_of(batch: Batch) -> dict[str, Tensor]:
    """The masks that every batch has: steps before the end, done, and where its labels say something."""
    found = {"steps": ~batch.pad, "done": batch.done}
    if batch.labels is None:
        return found
    labels, seen = batch.labels, batch.labels.visible > 0.5
    found |= {f"seen.{i}": seen[:, i] for i in range(seen.shape[1])}  # of each camera
    found |= {"seen.0.target": seen[:, 0, :1], "placed": labels.placed, "known": labels.known}
    found |= {"both known": labels.known.all(-1), "target known": labels.known[:, 0]}
    if labels.boxed is not None:
        found["boxed"] = labels.boxed & seen
    if labels.turned is not None:
        found["turned"] = labels.turned
    return found


def pixels(images: Tensor) -> Tensor:
    """uint8[..., H, W, 3] → float32[..., 3, H, W] about 0, channels-last in memory."""
    return images.movedim(-1, -3).to(torch.float32).sub_(115.0).div_(64.0)


def colours(images: Tensor) -> Tensor:
    """From `pixels` to 0 … 1, as towers trained by others are fed."""
    return (images.float() * 64.0 + 115.0) / 255.0


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
