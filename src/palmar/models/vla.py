"""One model out of parts: cameras and words → tokens → fusion → head. A system is a configuration of it (`presets`).

pictures ─ vision encoder (one for all cameras, or one each; FiLM by the instruction) ─ few tokens ─┐
words ──── text encoder ────────────────────────────────────────────────────────────────────────────┤
state ──── MLP ─────────────────────────────────────────────────────────────────────────────────────┼─ fusion ─ head
robot, goal picture, latent, objects found in the pictures (where the system has them) ─────────────┘
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models.auxiliary import Latent, LatentConfig, Video, VideoConfig
from palmar.models.base import GROUNDED, Batch, Inputs, Model, Prediction, PriorChunk, check_pictures
from palmar.models.compress import CompressConfig
from palmar.models.heads import ChunkConfig, DoneHead, Head, HeadConfig
from palmar.models.heads.denoised import GenerativeHead
from palmar.models.imagenet import ImagenetConfig
from palmar.models.objects import Found, Objects, ObjectsConfig, objects_loss
from palmar.models.sequence import (
    WORDS,
    Fused,
    FusionConfig,
    PassConfig,
    PooledConfig,
    Segment,
    SelfAttentionConfig,
    joined,
)
from palmar.models.text import Summary, TextConfig, VectorsConfig
from palmar.models.transformer import grid_features
from palmar.models.vision import EfficientNetConfig, PretrainedVisionConfig, ResNetConfig, SmallConvConfig, ViTConfig

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array

COLOURS = 3  # channels of a picture
OWN = "own"  # the robot of the interface, among the names of `VLAConfig.robots`


@dataclass(frozen=True)
class GoalConfig:
    """A picture of the goal instead of words, or beside them: the one `offset` steps ahead in training (> 0). Words and
    goal are each hidden with these probabilities, never both, so that either will do when acting (Octo)."""

    offset: int = 8
    hide_goal: float = 0.5
    hide_words: float = 0.2


VisionEncoderConfig = (
    SmallConvConfig | ViTConfig | EfficientNetConfig | ResNetConfig | PretrainedVisionConfig | ImagenetConfig
)


@dataclass(frozen=True)
class Robot:
    """Another robot that shares everything but its state encoder, its token and its head."""

    name: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    head: HeadConfig = field(default_factory=ChunkConfig)


@dataclass(frozen=True)
class StateConfig:
    """velocities: whether joint velocities are an input (off: they tempt a policy to copy its own past). noise: added in
    training, so that no digit is trusted too much."""

    hidden: int = 128
    velocities: bool = False
    noise: float = 0.02


@dataclass(frozen=True)
class VLAConfig:
    """history: which pictures go in, in policy steps, the last one 0 (now). per_camera: an encoder for each camera instead
    of one for all. condition: width of the instruction for FiLM. done: weight of saying when it is fulfilled. ensemble: when
    acting, answer with the mean of the newest chunks, their weights falling by exp(-this) from the oldest on
    (`runtime.chunks.Averaged`)."""

    vision: VisionEncoderConfig = field(default_factory=SmallConvConfig)
    text: TextConfig = field(default_factory=VectorsConfig)
    fusion: FusionConfig = field(default_factory=SelfAttentionConfig)
    head: HeadConfig = field(default_factory=ChunkConfig)
    compress: CompressConfig | None = None
    state: StateConfig = field(default_factory=StateConfig)
    history: tuple[int, ...] = (0,)
    per_camera: bool = False
    condition: int = 128
    done: float = 0.1
    video: VideoConfig | None = None
    goal: GoalConfig | None = None
    latent: LatentConfig | None = None
    objects: ObjectsConfig | None = None
    ensemble: float | None = None
    robots: tuple[Robot, ...] = ()
    preset: str = "vla"

    @property
    def max_tokens(self) -> int:
        return self.text.max_tokens

    @property
    def offsets(self) -> tuple[int, ...]:
        future = {*(self.video.offsets if self.video else ()), *((self.goal.offset,) if self.goal else ())}
        return (*self.history, *sorted(future))

    def for_texts(self, texts: Sequence[str]) -> VLAConfig:
        """See `ModelConfig`."""
        return replace(self, text=self.text.for_texts(texts))

    def build(self, interface: Interface) -> VLA:
        return VLA(self, interface)


class Proprioception(nn.Module):
    """State [B, S], normalised → token [B, 1, D]. A channel that is missing (NaN) is 0 and marked as missing."""

    def __init__(self, config: StateConfig, names: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.kept: Tensor
        kept = [i for i, n in enumerate(names) if config.velocities or not n.endswith(".vel")]
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.long), persistent=False)
        self.noise = config.noise
        self.layers = nn.Sequential(nn.Linear(2 * len(kept), config.hidden), nn.ReLU(), nn.Linear(config.hidden, width))

    def forward(self, state: Tensor) -> Tensor:
        state = state[:, self.kept]
        there = state.isfinite()
        state = torch.where(there, state, torch.zeros_like(state))
        if self.training and self.noise > 0:
            state = state + self.noise * torch.randn_like(state)
        return self.layers(torch.cat([state, (~there).to(state.dtype)], -1))[:, None]


class Cameras(nn.Module):
    """Pictures {camera: [B, K, 3, H, W]} → one segment of tokens a camera."""

    def __init__(self, config: VLAConfig, cameras: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.names, width = list(cameras), config.fusion.width
        condition = config.condition if config.vision.film else 0
        made = {n: config.vision.build(condition) for n in (self.names if config.per_camera else ["all"])}
        self.encoders = nn.ModuleDict(made)
        self.inside = inside = next(iter(made.values())).width
        self.compress = None if config.compress is None else config.compress.build(inside)
        self.project = nn.Linear(inside, width)
        self.views = nn.Parameter(torch.randn(len(cameras), width) * 0.02)
        self.times = nn.Parameter(torch.randn(len(config.history), 1, width) * 0.02)
        self.grids: dict[str, tuple[int, int]] = {n: self.encoder(n).grid(*size) for n, size in cameras.items()}
        for i, grid in enumerate(self.grids.values()):
            self.register_buffer(f"grid{i}", grid_features(*grid, inside), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encoder(self, camera: str) -> Any:
        return self.encoders[camera if camera in self.encoders else "all"]

    def forward(self, camera: str, pictures: Tensor, condition: Tensor | None, prefix: str = "") -> Segment:
        """pictures: [B, K, 3, H, W], the newest last; or [B, K, C, h, w], what the encoder made of them."""
        batch, times = pictures.shape[:2]
        i = self.names.index(camera)
        if condition is not None:
            condition = condition.repeat_interleave(times, 0)
        flat = pictures.flatten(0, 1)
        known = flat.shape[1] != COLOURS  # the features of a frozen tower, computed before (`train.features`)
        tokens = flat.flatten(2).transpose(1, 2) if known else self.encoder(camera)(flat, condition)
        tokens = tokens + getattr(self, f"grid{i}").to(tokens.dtype)
        cells = tokens.unflatten(0, (batch, times))[:, -1]
        if self.compress is not None:
            tokens = self.compress(tokens)
        tokens = self.project(tokens).unflatten(0, (batch, times)) + self.views[i] + self.times[-times:]
        grid = self.grids[camera] if self.compress is None else None
        return Segment(prefix + camera, tokens.flatten(1, 2), None, times, grid, cells)


class VLA(Model):
    """See the top of this file. `as_robot` gives the same weights as another robot sees them."""

    roles: ClassVar[Mapping[str, Sequence[str]]] = {
        "vision": ("cameras",),
        "language": ("text", "summary", "words"),
        "head": ("heads", "finished"),
    }

    def __init__(self, config: VLAConfig, interface: Interface) -> None:
        super().__init__()
        check_pictures(interface, modules=config.per_camera)
        if interface.offsets != config.offsets:
            raise BadValue(
                f"the interface has pictures at {interface.offsets}, preset '{config.preset}' needs {config.offsets}. "
                "Next: build the Interface with offsets=config.offsets"
            )
        if not config.history or config.history[-1] != 0 or list(config.history) != sorted(set(config.history)):
            raise BadValue(f"history is {config.history}; expected rising steps that end with 0 (now)")
        if config.goal is not None and isinstance(config.fusion, PassConfig | PooledConfig):
            raise BadValue(f"a goal picture with {type(config.fusion).__name__}; expected a fusion that attends")
        self.config: VLAConfig = config
        self.interface, self.robot = interface, OWN
        width = config.fusion.width
        self.text = config.text.build()
        # where words go no further than FiLM there is nothing to project
        self.words = None if isinstance(config.fusion, PassConfig) else nn.Linear(self.text.width, width)
        summed = config.vision.film or (config.objects is not None and self.words is None)
        self.summary = Summary(self.text.width, config.condition) if summed else None
        self.cameras = Cameras(config, interface.cameras)

        interfaces = {OWN: interface} | {r.name: self.interface_for(r) for r in config.robots}
        heads = {OWN: config.head} | {r.name: r.head for r in config.robots}
        if len(interfaces) != len(config.robots) + 1 or any("." in name or not name for name in interfaces):
            raise BadValue(f"robots are {', '.join(r.name for r in config.robots)}; expected different names, no dots")
        self.states = nn.ModuleDict(
            {n: Proprioception(config.state, f.state_names, width) for n, f in interfaces.items()}
        )
        self.embodiments = nn.Parameter(torch.randn(len(interfaces), width) * 0.02) if config.robots else None
        self.heads = nn.ModuleDict({n: heads[n].build(width, f) for n, f in interfaces.items()})
        self.finished = DoneHead(width)
        horizon, actions = interface.horizon, len(interface.action_names)
        self.latent = Latent(config.latent, width, horizon, actions) if config.latent else None
        self.video = Video(config.video, width, interface.cameras) if config.video else None
        self.objects = None
        if config.objects is not None:
            self.objects = Objects(config.objects, width, self.cameras.inside, width, self.cameras.grids)
            # where the words themselves go no further than FiLM
            self.instruction = nn.Linear(config.condition, width) if self.words is None else None
        self.goal = nn.Parameter(torch.randn(width) * 0.02) if config.goal else None
        found = 0 if self.objects is None else len(GROUNDED)
        others = 2 + (self.embodiments is not None) + (self.latent is not None) + found
        self.fusion = config.fusion.build(len(interface.cameras) * len(config.history), others, horizon)

    # -------------------------------------------------------------------------------------------- perceive

    def encode_language(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """(mask bool[B, L], the condition [B, C] for FiLM where there is one, words [B, L, D] where they are fused): see
        `Model`."""
        words, mask = self.text(inputs)
        condition = () if self.summary is None else (self.summary(words, mask),)
        return mask, *condition, *(() if self.words is None else (self.words(words),))

    def perceive(self, inputs: Inputs, batch: Batch | None = None) -> tuple[Fused, Tensor]:
        """Cameras, instruction and state, fused; and the divergence of the latent (0 without one). batch: while training, what
        the latent is made from. A loss in evaluation is judged as the model acts: by words alone, from the prior."""
        learning = self.fusion.training  # of a part that the views of all robots share
        kept = inputs.language if not learning else ()
        language = kept or self.encode_language(inputs)
        mask, more = language[0], list(language[1:])
        condition = more.pop(0) if self.summary is not None else None
        past, goal = self.pictures(inputs)
        teaching = learning and batch is not None
        if batch is not None and not learning:
            goal = {}
        hidden = self.hide(len(inputs.state), mask.device) if goal else None
        if hidden is not None:
            mask = mask & ~hidden[1][:, None]
        state = self.states[self.robot](inputs.state)
        segments = [Segment("state", state)]
        words = None if self.words is None else Segment(WORDS, more.pop(0), mask)
        if words is not None:
            segments.insert(0, words)
        divergence = state.new_zeros(())
        if self.embodiments is not None:
            robot = self.embodiments[list(self.heads).index(self.robot)]
            segments.insert(0, Segment("robot", robot.expand(len(state), 1, -1)))
        if self.latent is not None:
            token = self.latent.prior(len(state))
            if teaching and self.robot == OWN:  # another robot's actions may be of another width
                assert batch is not None
                token, divergence = self.latent(state[:, 0], batch.actions, batch.pad)
            segments.append(Segment("latent", token))
        use = inputs.sights if kept else None
        for camera, x in past.items():
            make = partial(self.cameras, camera, x, condition)
            segments.append(make() if use is None else use.recall(camera, inputs.images[camera], language, make))
        found = None
        if self.objects is not None:
            context, there = self.object_context(words, state, condition)
            found = self.objects(context, there, {s.name: s.cells for s in segments if s.cells is not None})
            things = found.tokens.split(1, 1)
            segments += [Segment(f"object.{n}", t) for n, t in zip(GROUNDED, things, strict=True)]
        for camera, picture in goal.items():
            assert self.goal is not None and hidden is not None
            tokens = self.cameras(camera, picture, condition, "goal.").tokens + self.goal
            segments.append(Segment(f"goal.{camera}", tokens, ~hidden[0][:, None].expand(-1, tokens.shape[1])))
        return replace(self.fusion(segments), found=found), divergence

    def object_context(
        self, words: Segment | None, state: Tensor, condition: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Words and state that the objects' queries attend to: [B, L, D] with bool[B, L]."""
        if words is None:
            assert self.instruction is not None and condition is not None
            words = Segment(WORDS, self.instruction(condition)[:, None])
        return joined([words, Segment("state", state)])

    def pictures(self, inputs: Inputs) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """{camera: [B, K, 3, H, W]} of the past, and of the goal: empty when there is none."""
        past, goal, history = {}, {}, len(self.config.history)
        offsets = self.config.offsets
        for camera in self.interface.cameras:
            x = inputs.images[camera]
            x = x[:, None] if x.ndim == 4 else x
            if x.shape[1] not in (history, len(offsets)):
                raise BadValue(
                    f"camera '{camera}' has {x.shape[1]} pictures in time; expected {history} (acting) or {len(offsets)} "
                    f"(training), at {offsets}"
                )
            past[camera] = x[:, :history]
            if self.config.goal is not None and x.shape[1] == len(offsets) > history:
                at = offsets.index(self.config.goal.offset)
                goal[camera] = x[:, at : at + 1]
        return past, goal

    def hide(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(goal hidden, words hidden), bool[count] each and never both true; nothing is hidden when acting."""
        assert self.config.goal is not None
        draw = torch.rand(count, device=device) if self.fusion.training else torch.ones(count, device=device)
        goal = draw < self.config.goal.hide_goal
        return goal, ~goal & (draw < self.config.goal.hide_goal + self.config.goal.hide_words)

    # -------------------------------------------------------------------------------------------- the two verbs

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The head's loss and what the system adds to it. Parts: those of the head, done, latent, video, those of the
        objects where the batch has labels, loss (all)."""
        seen, divergence = self.perceive(batch, batch)
        total, parts = self.head.loss(seen.context, batch)
        done = DoneHead.loss(self.finished(seen.context.mean(1)).float(), batch)
        total, parts = total + self.config.done * done, parts | {"done": done}
        if self.config.latent is not None:
            total, parts = total + self.config.latent.weight * divergence, parts | {"latent": divergence}
        if self.config.video is not None and self.video is not None:
            at = [self.config.offsets.index(o) for o in self.config.video.offsets]
            now = {c: x[:, -1] for c, x in self.pictures(batch)[0].items()}
            video = self.video.loss(seen, now, {c: batch.images[c][:, at] for c in now})
            total, parts = total + self.config.video.weight * video, parts | {"video": video}
        objects, more = objects_loss(self.objects, seen.found, batch)
        total, parts = total + objects, parts | more
        return total, {k: v.detach() for k, v in (parts | {"loss": total}).items()}

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        return super().masks(batch) | self.head.masks(batch)

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        """Memoryless but for the past pictures it is given. prior: see `models.heads`."""
        seen, _ = self.perceive(inputs)
        mean = seen.context.mean(1)
        done = self.finished(mean)
        looked = (self.attention(seen) or {}) | self.sought(seen.found)
        head = self.head
        if inputs.noise is not None and isinstance(head, GenerativeHead):
            return Prediction(
                head.from_noise(seen.context, inputs.noise, prior), done, None, looked or None, features=mean
            )
        return Prediction(head.act(seen.context, prior), done, None, looked or None, features=mean)

    @property
    def noise(self) -> tuple[int, ...]:
        return self.head.shape if isinstance(self.head, GenerativeHead) else ()

    def imagine(self, inputs: Inputs) -> dict[str, Tensor]:
        """The pictures to come as the model sees them: {camera: [B, F, 3, H, W]} in the units of `base.pixels`."""
        if self.video is None:
            raise BadValue(f"preset '{self.config.preset}' does not predict pictures. Next: take gr2")
        now = {c: x[:, -1] for c, x in self.pictures(inputs)[0].items()}
        return self.video(self.perceive(inputs)[0], now)

    def locate(self, inputs: Inputs) -> Found:
        """Where the target and the goal are and how they lie to each other, as the model sees it."""
        if self.objects is None:
            raise BadValue(
                f"preset '{self.config.preset}' does not locate things. Next: VLAConfig(objects=ObjectsConfig())"
            )
        found = self.perceive(inputs)[0].found
        assert found is not None
        return found

    def sought(self, found: Found | None) -> dict[str, Tensor]:
        """{camera.target and camera.goal: [B, h, w]}, each summing to 1; empty for a model without objects."""
        if found is None:
            return {}
        heat = {c: x.softmax(-1).unflatten(-1, self.cameras.grids[c]) for c, x in found.heat.items()}
        return {f"{c}.{name}": x[:, i] for c, x in heat.items() for i, name in enumerate(GROUNDED)}

    def attention(self, seen: Fused) -> dict[str, Tensor] | None:
        """{camera.words: [B, h, w]} of the newest pictures, mean over heads and words, each summing to 1."""
        if seen.weights is None or self.config.compress is not None:
            return None
        each = seen.weights.mean((1, 2))  # [B, L]
        end = 1 + (self.embodiments is not None) + (self.latent is not None)  # one token each before the cameras
        maps = {}
        for camera, (h, w) in self.cameras.grids.items():
            end += len(self.config.history) * h * w
            newest = each[:, end - h * w : end]
            maps[f"{camera}.words"] = (newest / newest.sum(-1, keepdim=True)).unflatten(-1, (h, w))
        return maps

    # -------------------------------------------------------------------------------------------- robots and heads

    @property
    def head(self) -> Head:
        """The action head of the robot at hand."""
        head = self.heads[self.robot]
        assert isinstance(head, Head)
        return head

    def interface_for(self, robot: Robot) -> Interface:
        """This interface with another robot's names."""
        return replace(
            self.interface,
            embodiment=robot.name,
            state_names=robot.state_names,
            action_names=robot.action_names,
            state_units=(),
            action_units=(),
        )

    def as_robot(self, name: str) -> VLA:
        """The same weights (not a copy) as the robot called `name` uses them. Raises `UnknownName`."""
        robots = {r.name: r for r in self.config.robots}
        if name not in robots:
            raise UnknownName("robot", name, robots)
        view = copy.copy(self)
        view.robot, view.interface = name, self.interface_for(robots[name])
        return view

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Bins and limits of the head of the robot at hand."""
        self.head.fit(actions, normalizer)
