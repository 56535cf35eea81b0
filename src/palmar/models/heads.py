"""From what was perceived to actions. Every action head has two verbs:

    loss(context, batch) → what to minimise, and its parts (`action` among them: mean absolute error, normalised)
    act(context)         → actions float32[B, T, A], normalised

context: [B, N, D], one or more vectors of what was perceived; a head that needs only one takes their mean. A frozen
configuration builds its head for a width and an `Interface`. Axis legend: B batch · N vectors · T horizon · A action.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import conventions as c
from palmar.models.base import Batch
from palmar.models.generative import DenoiserConfig, Diffusion, ExpertConfig, Flow, MLPConfig
from palmar.models.layers import mean_where
from palmar.models.transformer import Transformer, TransformerConfig, causal

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer
    from palmar.types import Array

Parts = dict[str, Tensor]


def over_chunk(error: Tensor, batch: Batch, importance: Tensor | None = None) -> Tensor:
    """Mean of an error [B, T, A] over the real steps of a batch, weighted by float[A] (`Batch.importance`)."""
    return over_steps(error, batch.pad, batch.importance if importance is None else importance, batch.each("steps"))


def over_steps(error: Tensor, pad: Tensor, importance: Tensor, each: float | None = None) -> Tensor:
    """As `over_chunk`, of some steps. pad: bool[B, T], True after the end. each: see `layers.divided`."""
    mean = (error * (importance / importance.sum().clamp(min=1e-6))).sum(-1)  # no matrix product: bf16 would round it
    return mean_where(mean, ~pad, each)


class Head(nn.Module):
    """The two verbs."""

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """As `Model.fit`."""

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        raise NotImplementedError

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """As `Model.masks`: what its loss takes means over beside the rows and the real steps."""
        return {}

    def act(self, context: Tensor) -> Tensor:
        raise NotImplementedError


def heads_in(modules: nn.ModuleList) -> list[Head]:
    """As what they are."""
    return [m for m in modules if isinstance(m, Head)]


class Regression(Head):
    """A head whose `forward` is its answer: trained with L1 (OpenVLA-OFT, arXiv 2502.19645)."""

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        error = (self(context).float() - batch.actions).abs()
        loss = over_chunk(error, batch)
        return loss, {"action": loss}

    def act(self, context: Tensor) -> Tensor:
        return self(context).float()


# ------------------------------------------------------------------------------------------------ regression


@dataclass(frozen=True)
class ChunkConfig:
    """per_step: the context holds one vector for every step of the chunk (ACT), not one for all."""

    per_step: bool = False

    def build(self, width: int, interface: Interface) -> Head:
        return (StepHead if self.per_step else ChunkHead)(width, interface.horizon, len(interface.action_names))


class ChunkHead(Regression):
    """All T actions at once from one vector: [B, N, D] → [B, T, A]."""

    def __init__(self, width: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.shape = (horizon, actions)
        self.out = nn.Linear(width, horizon * actions)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, context: Tensor) -> Tensor:
        return self.out(context.mean(1)).unflatten(-1, self.shape)


class StepHead(Regression):
    """Each of T vectors becomes one action: [B, T, D] → [B, T, A]. Source: ACT, arXiv 2304.13705."""

    def __init__(self, width: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.horizon, self.out = horizon, nn.Linear(width, actions)

    def forward(self, context: Tensor) -> Tensor:
        if context.shape[1] != self.horizon:
            raise BadValue(f"{context.shape[1]} vectors for a chunk of {self.horizon}; expected one a step")
        return self.out(context)


@dataclass(frozen=True)
class JointPositionConfig:
    """Joint targets inside limits, and no faster than a velocity.

    low, high: limits; one number for all or one an action [rad or m]; empty: the range of the training actions and MARGIN
    of it on either side. max_velocity [rad/s or m/s] between the steps of a chunk, 0 for none; displacements of an
    `ee_delta` interface and the gripper are not held to it. Before `fit` the units are the normalised ones, the limits
    of an empty range ±5.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    max_velocity: float = 0.0
    hidden: int = 256

    def build(self, width: int, interface: Interface) -> Head:
        return JointPositionHead(self, width, interface)


class JointPositionHead(Regression):
    """tanh scaled to the limits; later steps of a velocity-limited joint are the first plus bounded increments."""

    def __init__(self, config: JointPositionConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.low: Tensor
        self.high: Tensor
        self.step: Tensor
        actions = len(interface.action_names)
        self.shape = (interface.horizon, actions)
        self.out = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, interface.horizon * actions)
        )
        low, high = (
            per_action(config.low or (-5.0,), actions, "limits"),
            per_action(config.high or (5.0,), actions, "limits"),
        )
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise BadValue(f"limits from {config.low} to {config.high}; expected low < high")
        self.config, self.dt, self.names = config, interface.dt, interface.action_names
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))
        self.register_buffer("step", torch.full((actions,), config.max_velocity * interface.dt))
        self.limited = [config.max_velocity > 0 and n not in UNLIMITED for n in interface.action_names]

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Limits in the units that the normaliser makes of the robot's; a constant dimension stays 0. Raises `BadValue` for
        data beyond them."""
        config = self.config
        low, high = limits_of(actions, config.low, config.high, self.names)
        self.low.copy_(torch.from_numpy(normalizer.forward(low)))
        self.high.copy_(torch.from_numpy(normalizer.forward(high)))
        step = config.max_velocity * self.dt / np.where(normalizer.constant, np.inf, normalizer.scale)
        self.step.copy_(torch.from_numpy(step))

    def forward(self, context: Tensor) -> Tensor:
        raw = self.out(context.mean(1)).unflatten(-1, self.shape).float().tanh()
        inside = (self.high + self.low) / 2 + (self.high - self.low) / 2 * raw
        if not any(self.limited) or self.shape[0] == 1:
            return inside
        moves = torch.cat([inside[:, :1], self.step * raw[:, 1:]], 1)
        slow = moves.cumsum(1)
        slow = torch.minimum(torch.maximum(slow, self.low), self.high)  # clipping never makes a step longer
        return torch.where(torch.tensor(self.limited, device=raw.device), slow, inside)


MARGIN = 0.05
UNLIMITED = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")  # actions that are no joint positions


def limits_of(actions: Array, low: Sequence[float], high: Sequence[float], names: Sequence[str]) -> tuple[Array, Array]:
    """Lowest and highest answer, float[A]: as given, or (empty) the range of training actions [n, A] and MARGIN of it on
    either side. Raises `BadValue` for training actions that lie further than that outside what is given."""
    least, most = actions.min(0).astype(float), actions.max(0).astype(float)
    margin = MARGIN * (most - least)
    lowest = np.ones_like(least) * low if low else least - margin
    highest = np.ones_like(most) * high if high else most + margin
    beyond = np.flatnonzero((least < lowest - margin - 1e-6) | (most > highest + margin + 1e-6))
    if len(beyond):
        i = int(beyond[0])
        raise BadValue(
            f"the head answers {lowest[i]:g} … {highest[i]:g} for action '{names[i]}', and the data reach from {least[i]:g} to "
            f"{most[i]:g}: it could never do what was shown. Next: wider limits, or none (the range of the data is taken)"
        )
    return lowest, highest


def per_action(values: Sequence[float], actions: int, what: str) -> list[float]:
    """A numbers from one for all or one each."""
    if len(values) not in (1, actions):
        raise BadValue(f"{len(values)} {what} for {actions} actions; expected 1 or {actions}")
    return [*values] * (actions // len(values))


@dataclass(frozen=True)
class JointVelocityConfig:
    """max_velocity: one for all or one an action [rad/s or m/s]; empty: the range of the training actions and MARGIN of it on
    either side. Before `fit` the units are the normalised ones, and an empty limit is 5."""

    max_velocity: tuple[float, ...] = ()
    hidden: int = 256

    def build(self, width: int, interface: Interface) -> Head:
        return JointVelocityHead(self, width, interface)


class JointVelocityHead(Regression):
    """tanh scaled to the lowest and highest velocity."""

    def __init__(self, config: JointVelocityConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.low: Tensor
        self.high: Tensor
        actions = len(interface.action_names)
        most = per_action(config.max_velocity or (5.0,), actions, "velocities")
        if min(most) <= 0:
            raise BadValue(f"largest velocities {config.max_velocity}; expected numbers above 0")
        self.config, self.names, self.shape = config, interface.action_names, (interface.horizon, actions)
        self.register_buffer("low", -torch.tensor(most))
        self.register_buffer("high", torch.tensor(most))
        self.out = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, interface.horizon * actions)
        )

    def forward(self, context: Tensor) -> Tensor:
        raw = self.out(context.mean(1)).unflatten(-1, self.shape).float().tanh()
        return (self.high + self.low) / 2 + (self.high - self.low) / 2 * raw

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Limits in the units that the normaliser makes of the robot's. Raises `BadValue` for data beyond them."""
        most = self.config.max_velocity
        low, high = limits_of(actions, tuple(-v for v in most), most, self.names)
        self.low.copy_(torch.from_numpy(normalizer.forward(low)))
        self.high.copy_(torch.from_numpy(normalizer.forward(high)))


@dataclass(frozen=True)
class PoseConfig:
    """rotation, gripper: how much they count beside the L1 of the position."""

    rotation: float = 0.5
    gripper: float = 0.1
    hidden: int = 256

    def build(self, width: int, interface: Interface) -> Head:
        return PoseHead(self, width, interface)


class PoseHead(Head):
    """End-effector poses: 8 actions x, y, z, qw, qx, qy, qz, gripper 0 … 1. The quaternion and the gripper must come as
    they are (their normaliser the identity); the position may be normalised. Padding counts for nothing."""

    def __init__(self, config: PoseConfig, width: int, interface: Interface) -> None:
        super().__init__()
        if (n := len(interface.action_names)) != 8:
            raise BadValue(f"a pose head for {n} actions; expected 8: x, y, z, qw, qx, qy, qz, gripper")
        self.config, self.shape = config, (interface.horizon, 8)
        self.out = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, interface.horizon * 8)
        )

    def raw(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position, turn, grip = self.out(context.mean(1)).unflatten(-1, self.shape).float().split([3, 4, 1], -1)
        return position, c.unit_quaternion(turn + turn.new_tensor([1.0, 0, 0, 0])), grip

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        position, turn, grip = self.raw(context)
        where, how, opening = batch.actions.split([3, 4, 1], -1)
        lengths = how.norm(dim=-1)[~batch.pad]
        if len(lengths) and not torch.allclose(lengths, torch.ones_like(lengths), atol=1e-2):
            raise BadValue(
                f"quaternions of length {float(lengths.min()):.3f} … {float(lengths.max()):.3f}; expected 1. Next: keep "
                "the normaliser off qw, qx, qy, qz and the gripper"
            )
        grips = opening[~batch.pad]
        if len(grips) and not (grips.min() >= -1e-3 and grips.max() <= 1 + 1e-3):
            raise BadValue(
                f"gripper openings of {float(grips.min()):.3g} … {float(grips.max()):.3g}; expected 0 … 1. Next: keep the "
                "normaliser off the gripper, and give it in the unit 'opening' (palmar.data.mapped.MappedData converts)"
            )
        angle = c.rotation_between(turn, c.unit_quaternion(how))[..., None]
        shut = F.binary_cross_entropy_with_logits(grip, opening.clamp(0, 1), reduction="none")
        parts = [
            over_chunk(e, batch, torch.ones(e.shape[-1], device=e.device))
            for e in ((position - where).abs(), angle, shut)
        ]
        loss = parts[0] + self.config.rotation * parts[1] + self.config.gripper * parts[2]
        said = torch.cat([position, turn, grip.sigmoid()], -1)
        close = torch.cat([where, c.unit_quaternion(how), opening], -1)
        action = over_chunk((said - close).abs(), batch)
        return loss, {"action": action, "position": parts[0], "rotation": parts[1], "gripper": parts[2]}

    def act(self, context: Tensor) -> Tensor:
        position, turn, grip = self.raw(context)
        return torch.cat([position, turn, grip.sigmoid()], -1)


@dataclass(frozen=True)
class GRUConfig:
    """A recurrent trajectory: each action is fed back to make the next."""

    recurrent: int = 128

    def build(self, width: int, interface: Interface) -> Head:
        return GRUHead(self, width, interface)


class GRUHead(Regression):
    """Trained as it acts, on its own previous actions, so that it learns to correct them."""

    def __init__(self, config: GRUConfig, width: int, interface: Interface) -> None:
        super().__init__()
        actions = len(interface.action_names)
        self.horizon, self.actions = interface.horizon, actions
        self.begin = nn.Linear(width, config.recurrent)
        self.cell = nn.GRUCell(actions, config.recurrent)
        self.out = nn.Linear(config.recurrent, actions)

    def forward(self, context: Tensor) -> Tensor:
        state = torch.tanh(self.begin(context.mean(1)))
        action, steps = state.new_zeros(len(state), self.actions), []
        for _ in range(self.horizon):
            state = self.cell(action, state)
            action = action + self.out(state)
            steps.append(action)
        return torch.stack(steps, 1)


RegressionConfig = ChunkConfig | JointPositionConfig | JointVelocityConfig | GRUConfig


# ------------------------------------------------------------------------------------------------ discrete tokens


@dataclass(frozen=True)
class TokenConfig:
    """bins a dimension, equally wide from low to high (normalised); `TokenHead.fit` suits them to the data. decoder:
    over the context and the tokens. parallel: all tokens at once instead of one after the other."""

    decoder: TransformerConfig = field(default_factory=TransformerConfig)
    bins: int = 256
    low: float = -5.0
    high: float = 5.0
    parallel: bool = False
    label_smoothing: float = 0.0

    def build(self, width: int, interface: Interface) -> Head:
        return TokenHead(self, width, interface)


class TokenHead(Head):
    """Every action dimension of every step is a token (RT-1, arXiv 2212.06817): a decoder-only transformer reads the
    context, then T·A tokens, step by step and within a step dimension by dimension. The likeliest is taken."""

    def __init__(self, config: TokenConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.edges: Tensor
        self.config, self.shape = config, (interface.horizon, actions := len(interface.action_names))
        self.length, inner = interface.horizon * actions, config.decoder.width
        self.enter = nn.Linear(width, inner)
        self.decoder = Transformer(config.decoder)
        self.embed = nn.Embedding(config.bins + 1, inner)  # the last one: begin
        self.places = nn.Parameter(torch.randn(self.length, inner) * 0.02)
        self.logits = nn.Linear(inner, config.bins)
        self.register_buffer("edges", c.uniform_edges(config.low, config.high, config.bins, actions))

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Bins from the least to the largest action, narrow where there are many and nowhere wide
        (`conventions.covering_edges`)."""
        self.edges.copy_(c.covering_edges(torch.from_numpy(normalizer.forward(actions)), self.config.bins))

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        truth = c.to_bins(batch.actions, self.edges)
        logits = self.teach(self.enter(context), truth.flatten(1)).float()
        wrong = F.cross_entropy(
            logits.transpose(1, 2), truth.flatten(1), reduction="none", label_smoothing=self.config.label_smoothing
        )
        loss = over_chunk(wrong.view_as(truth), batch)
        said = logits.detach().argmax(-1).view_as(truth)
        action = over_chunk((c.from_bins(said, self.edges) - batch.actions).abs(), batch)
        right = over_chunk((said == truth).float(), batch)
        return loss, {"action": action, "tokens": loss, "accuracy": right}

    def teach(self, context: Tensor, tokens: Tensor) -> Tensor:
        """Logits [B, T·A, bins] of every token, given the true ones before it."""
        if self.config.parallel:
            begun = torch.full_like(tokens, self.config.bins)
            return self.logits(self.run(context, begun, None))
        before = torch.cat([torch.full_like(tokens[:, :1], self.config.bins), tokens[:, :-1]], 1)
        return self.logits(self.run(context, before, causal(context.shape[1], self.length, context.device)))

    def run(self, context: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        x = torch.cat([context, self.embed(tokens) + self.places[: tokens.shape[1]]], 1)
        return self.decoder(x, mask)[:, context.shape[1] :]

    def act(self, context: Tensor, cached: bool = True) -> Tensor:
        """cached: keep the keys and values of what was read, instead of reading all again for every token."""
        return c.from_bins(self.tokens(context, cached), self.edges)

    def said(self, context: Tensor) -> Tensor:
        """Logits [B, T, A, bins] of every token of its answer, given those that it said before."""
        return self.teach(self.enter(context), self.tokens(context).flatten(1)).float().unflatten(1, self.shape)

    def tokens(self, context: Tensor, cached: bool = True) -> Tensor:
        """The likeliest, int64[B, T, A]."""
        context = self.enter(context)
        begin = torch.full((len(context), 1), self.config.bins, device=context.device)
        if self.config.parallel:
            tokens = self.teach(context, begin.expand(-1, self.length)).argmax(-1)
        else:
            tokens = self.decode(context, begin) if cached else self.decode_again(context, begin)
        return tokens.unflatten(-1, self.shape)

    def decode(self, context: Tensor, begin: Tensor) -> Tensor:
        """Tokens int64[B, T·A], each read once."""
        prefix = context.shape[1]
        caches = self.decoder.caches(prefix + self.length)
        x = torch.cat([context, self.embed(begin) + self.places[:1]], 1)
        mask: Tensor | None = causal(prefix, 1, context.device)
        tokens = []
        for i in range(self.length):
            out = self.decoder(x, mask, caches=caches)[:, -1:]
            tokens.append(self.logits(out).argmax(-1))
            if i + 1 < self.length:
                x, mask = self.embed(tokens[-1]) + self.places[i + 1], None
        return torch.cat(tokens, 1)

    def decode_again(self, context: Tensor, begin: Tensor) -> Tensor:
        """The same tokens, reading everything before for each."""
        tokens = begin
        for i in range(self.length):
            out = self.run(context, tokens, causal(context.shape[1], i + 1, context.device))[:, -1:]
            tokens = torch.cat([tokens, self.logits(out).argmax(-1)], 1)
        return tokens[:, 1:]


# ------------------------------------------------------------------------------------------------ generative


@dataclass(frozen=True)
class DiffusionConfig:
    """A chunk cleaned from noise in a few steps."""

    denoiser: DenoiserConfig = field(default_factory=MLPConfig)
    diffusion: Diffusion = field(default_factory=Diffusion)

    def build(self, width: int, interface: Interface) -> Head:
        return GenerativeHead(self.denoiser, self.diffusion, width, interface)


@dataclass(frozen=True)
class FlowConfig:
    """A chunk carried from noise along a learned velocity."""

    denoiser: DenoiserConfig = field(default_factory=ExpertConfig)
    flow: Flow = field(default_factory=Flow)

    def build(self, width: int, interface: Interface) -> Head:
        return GenerativeHead(self.denoiser, self.flow, width, interface)


class GenerativeHead(Head):
    """Diffusion or flow matching over the whole chunk. The noise comes from torch's generator: seed it to repeat."""

    def __init__(self, denoiser: DenoiserConfig, way: Diffusion | Flow, width: int, interface: Interface) -> None:
        super().__init__()
        self.way, self.shape = way, (interface.horizon, actions := len(interface.action_names))
        self.net = denoiser.build(width, *self.shape)
        self.low: Tensor
        self.high: Tensor
        if isinstance(way, Diffusion):
            self.register_buffer("low", torch.full((actions,), -way.clip))
            self.register_buffer("high", torch.full((actions,), way.clip))

    @torch.no_grad()
    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        """Diffusion samples within what the data reach, also rarely and far from the mean: a gripper that seldom closes."""
        if isinstance(self.way, Diffusion):
            low, high = self.way.limits(torch.from_numpy(normalizer.forward(actions)))
            self.low.copy_(low)
            self.high.copy_(high)

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        if isinstance(self.way, Diffusion):
            wrong, action = self.way.guess(self.net, context, batch.actions, (self.low, self.high))
        else:
            wrong, action = self.way.guess(self.net, context, batch.actions)
        loss = over_chunk(wrong, batch)
        return loss, {"action": over_chunk(action, batch), "denoise": loss}

    def act(self, context: Tensor) -> Tensor:
        noise = torch.randn(len(context), *self.shape, device=context.device)
        if isinstance(self.way, Diffusion):
            return self.way.sample(self.net, context, noise, (self.low, self.high))
        return self.way.sample(self.net, context, noise)


# ------------------------------------------------------------------------------------------------ one head a task


TASK_WORDS = {
    "pick": ("pick", "grasp", "grab", "lift", "take", "fetch", "raise"),
    "place": ("place", "put", "set", "drop", "lay", "deposit", "stow", "stack"),
    "push": ("push", "slide", "shove", "nudge", "sweep"),
    "pull": ("pull", "drag", "tug", "draw"),
    "open": ("open", "unlatch"),
    "close": ("close", "shut"),
}


def task_of(text: str, tasks: Sequence[str]) -> int:
    """Which of `tasks` an instruction names by its first telling word; -100 (nothing to learn from) for none."""
    for word in re.findall(r"[a-z]+", text.lower()):
        for i, task in enumerate(tasks):
            if word in TASK_WORDS.get(task, (task,)):
                return i
    return -100


@dataclass(frozen=True)
class TaskHeadsConfig:
    """tasks: names; those of `TASK_WORDS` are known by several words, another by its own. head: what each task has."""

    head: RegressionConfig = field(default_factory=ChunkConfig)
    tasks: tuple[str, ...] = tuple(TASK_WORDS)
    classify: float = 0.1

    def build(self, width: int, interface: Interface) -> Head:
        return TaskHeads(self, width, interface)


class TaskHeads(Head):
    """A classifier of the task and a regression head for each; the likeliest task acts.

    Trained with every head weighted by the true task, or by the classifier where the words name none; the classifier with
    cross-entropy on the tasks that the words name.
    """

    def __init__(self, config: TaskHeadsConfig, width: int, interface: Interface) -> None:
        super().__init__()
        self.config = config
        self.classifier = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, len(config.tasks)))
        self.heads = nn.ModuleList(config.head.build(width, interface) for _ in config.tasks)

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        for head in heads_in(self.heads):
            head.fit(actions, normalizer)

    def answers(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] of the tasks, and what each head says [B, K, T, A]."""
        said = torch.stack([head(context).float() for head in self.heads], 1)
        return self.classifier(context.mean(1)).float(), said

    def named(self, batch: Batch) -> Tensor:
        """int64[B]: the task that the words of each row name, -100 for none."""
        if len(batch.texts) != len(batch.state):
            return torch.full((len(batch.state),), -100, device=batch.state.device)
        return torch.tensor([task_of(t, self.config.tasks) for t in batch.texts], device=batch.state.device)

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        return {"named": self.named(batch) >= 0}

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        logits, said = self.answers(context)
        task = self.named(batch)
        named = task >= 0
        chosen = torch.where(named[:, None], F.one_hot(task.clamp(min=0), logits.shape[1]).float(), logits.softmax(-1))
        error = (chosen[:, :, None, None] * (said - batch.actions[:, None]).abs()).sum(1)
        action = over_chunk(error, batch)
        each = batch.each("named")
        wrong = mean_where(F.cross_entropy(logits, task, ignore_index=-100, reduction="none"), named, each)
        right = mean_where((logits.argmax(-1) == task).float(), named, each)
        return action + self.config.classify * wrong, {"action": action, "task": wrong, "task_accuracy": right}

    def act(self, context: Tensor) -> Tensor:
        logits, said = self.answers(context)
        return said[torch.arange(len(said), device=said.device), logits.argmax(-1)]


# ------------------------------------------------------------------------------------------------ one head many times


@dataclass(frozen=True)
class EnsembleConfig:
    """members: how many heads over one body, alike but for the numbers they begin with (deep ensembles, Lakshminarayanan
    et al. 2017, arXiv 1612.01474, of the last layers only). head: with a hidden layer, or they all learn the same; a
    regression, since the mean of quaternions, or of chunks that go left and right around a thing, is no answer."""

    head: RegressionConfig = field(default_factory=JointPositionConfig)
    members: int = 5

    def build(self, width: int, interface: Interface) -> Head:
        return EnsembleHead(self, width, interface)


class EnsembleHead(Head):
    """The loss is the mean of the members' losses, the answer the mean of their answers; where they have not been taught
    they differ (`models.uncertainty.Ensemble`)."""

    def __init__(self, config: EnsembleConfig, width: int, interface: Interface) -> None:
        super().__init__()
        if config.members < 2:
            raise BadValue(f"an ensemble of {config.members}; expected 2 members or more")
        self.members = nn.ModuleList(config.head.build(width, interface) for _ in range(config.members))

    def fit(self, actions: Array, normalizer: Normalizer) -> None:
        for head in heads_in(self.members):
            head.fit(actions, normalizer)

    def loss(self, context: Tensor, batch: Batch) -> tuple[Tensor, Parts]:
        losses, parts = zip(*(head.loss(context, batch) for head in heads_in(self.members)), strict=True)
        return torch.stack(losses).mean(), {k: torch.stack([p[k] for p in parts]).mean() for k in parts[0]}

    def answers(self, context: Tensor) -> Tensor:
        """[K, B, T, A], of each member."""
        return torch.stack([head.act(context) for head in heads_in(self.members)])

    def act(self, context: Tensor) -> Tensor:
        return self.answers(context).mean(0)


HeadConfig = (
    ChunkConfig
    | JointPositionConfig
    | JointVelocityConfig
    | PoseConfig
    | GRUConfig
    | TokenConfig
    | DiffusionConfig
    | FlowConfig
    | TaskHeadsConfig
    | EnsembleConfig
)


class DoneHead(nn.Module):
    """Is the instruction fulfilled? [B, D] → logit [B]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x).squeeze(-1)

    @staticmethod
    def loss(logit: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in which the few frames after success weigh as much as the others (at most ten times)."""
        done, each = batch.done.to(logit.dtype), batch.each("done")
        share = (done.mean() if each is None else done.new_tensor(each)).clamp(1e-6, 1)
        weight = 1 + done * (((1 - share) / share).clamp(1, 10) - 1)
        return nn.functional.binary_cross_entropy_with_logits(logit, done, weight)
