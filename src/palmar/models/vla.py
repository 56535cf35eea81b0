"""The `palmar` model: slots read from the instruction look for their objects, and an MLP acts on what they found.

instruction → frozen MiniLM tokens → slots ─┬─ FiLM → one trunk a camera → feature map
                                            └─ heatmap over the map → where (u, v) and what (features)
where, what, state → target and goal relative to the gripper [m] → fusion → action chunk, done
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models.encoders import STRIDE, LanguageConfig, SentenceTokens, SlotReader, VisionConfig, VisionTrunk
from palmar.models.fusion import Fusion, FusionConfig, GroundedAttention, Looked, StateEncoder
from palmar.models.heads import ChunkHead, DoneHead
from palmar.models.layers import gaussian_cells
from palmar.types import ActionChunk, Array, Observation

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer

GROUNDED = ("target", "goal")  # the slots that simulator truth teaches where to look
DECIMETRE = 0.1  # [m]: relative positions are predicted in this unit, so that they are about 1


@dataclass(frozen=True)
class Interface:
    """What a policy was built for; an observation that does not fit is refused.

    cameras: {name: (height, width)} [px]. dt: seconds an action lasts. horizon: T.
    """

    cameras: Mapping[str, tuple[int, int]]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    horizon: int = 16
    dt: float = 0.1
    embodiment: str = ""

    def __post_init__(self) -> None:
        if not self.cameras:
            raise BadValue("no cameras; expected at least one {name: (height, width)}")
        for name, (height, width) in self.cameras.items():
            if height % (2 * STRIDE) or width % (2 * STRIDE) or min(height, width) < 4 * STRIDE:
                raise BadValue(
                    f"camera '{name}' is {height}×{width}; expected multiples of {2 * STRIDE} px, 16 or more"
                )
        if self.horizon < 1 or not self.dt > 0:
            raise BadValue(f"horizon {self.horizon}, dt {self.dt}; expected horizon ≥ 1 and dt > 0 s")

    def check(self, obs: Observation) -> None:
        """Raise `BadValue` naming the first thing that differs."""
        for name, size in self.cameras.items():
            if name not in obs.images:
                have = ", ".join(obs.images) or "none"
                raise BadValue(f"camera '{name}' is missing (given: {have}). Next: rename or add the camera")
            if obs.images[name].shape[:2] != tuple(size):
                got = "×".join(map(str, obs.images[name].shape[:2]))
                raise BadValue(f"camera '{name}' gives {got} px; this policy was trained on {size[0]}×{size[1]}")
        if len(obs.state) != len(self.state_names):
            raise BadValue(
                f"state has {len(obs.state)} values; this policy was trained on {len(self.state_names)}: "
                f"{', '.join(self.state_names)}"
            )
        if not np.isfinite(obs.state).all():
            bad = [n for n, x in zip(self.state_names, obs.state, strict=True) if not np.isfinite(x)]
            raise BadValue(f"state is not finite at {', '.join(bad)}. Next: check the sensor")


@dataclass(frozen=True)
class Weights:
    """How much each loss counts beside the L1 of the actions."""

    heat: float = 0.4
    visible: float = 0.05
    relative: float = 0.5
    done: float = 0.1


@dataclass(frozen=True)
class VLAConfig:
    """velocities: whether joint velocities are an input (off: they tempt a policy to copy its own past)."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    weights: Weights = field(default_factory=Weights)
    velocities: bool = False
    preset: str = "palmar"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> VLAConfig:
        language = dict(d["language"])
        language["slots"] = tuple(language["slots"])
        return cls(
            VisionConfig(**d["vision"]), LanguageConfig(**language), FusionConfig(**d["fusion"]),
            Weights(**d["weights"]), d["velocities"], d["preset"],
        )  # fmt: skip


@dataclass(frozen=True)
class Labels:
    """Simulator truth for the grounded slots G (target, goal); never an input.

    points: [B, C, G, 2] (u, v). visible: [B, C, G] 0/1. placed: bool[B, C, G], there is something to label.
    relative: [B, G, 3] position in the base frame minus the TCP's, in decimetres. known: bool[B, G].
    """

    points: Tensor
    visible: Tensor
    placed: Tensor
    relative: Tensor
    known: Tensor


@dataclass(frozen=True)
class Batch:
    """Ready for the model. images: {camera: float32[B, 3, H, W]} from `pixels`. state [B, S] and actions [B, T, A] are
    normalised; pad: bool[B, T], True after the end of the episode;
    importance: float32[A], how much each action dimension counts."""

    images: Mapping[str, Tensor]
    state: Tensor
    tokens: Tensor
    mask: Tensor
    actions: Tensor
    pad: Tensor
    done: Tensor
    importance: Tensor
    labels: Labels | None = None


@dataclass(frozen=True)
class Output:
    """actions: [B, T, A] normalised. done: logit [B]. looked: one a camera. visible: logits [B, C, G].
    relative: [B, G, 3] [dm]."""

    actions: Tensor
    done: Tensor
    looked: Sequence[Looked]
    visible: Tensor
    relative: Tensor


def pixels(images: Tensor) -> Tensor:
    """uint8[B, H, W, 3] → float32[B, 3, H, W] about 0, channels-last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).sub_(115.0).div_(64.0)


class VLA(nn.Module):
    """Everything that is trained. The frozen sentence encoder stays outside."""

    def __init__(self, config: VLAConfig, interface: Interface) -> None:
        super().__init__()
        self.config, self.interface = config, interface
        self.kept: Tensor
        language, vision, fusion = config.language, config.vision, config.fusion
        unknown = [g for g in GROUNDED if g not in language.slots]
        if unknown or "task" not in language.slots:
            raise BadValue(f"slots are {', '.join(language.slots)}; expected target, goal and task among them")
        cameras, slots, narrow = interface.cameras, len(language.slots), fusion.narrow
        keep = [i for i, n in enumerate(interface.state_names) if config.velocities or not n.endswith(".vel")]
        self.register_buffer("kept", torch.tensor(keep), persistent=False)
        self.grounded = [language.slots.index(g) for g in GROUNDED]
        self.task = language.slots.index("task")

        self.reader = SlotReader(language)
        self.trunks = nn.ModuleDict({c: VisionTrunk(vision, language.width) for c in cameras})
        self.look = nn.ModuleDict(
            {
                c: GroundedAttention(language.width, vision.out, (h // STRIDE, w // STRIDE))
                for c, (h, w) in cameras.items()
            }
        )
        self.what = nn.ModuleDict({c: nn.Linear(vision.out, narrow) for c in cameras})
        self.context = nn.ModuleDict({c: nn.Linear(vision.deep, narrow) for c in cameras})
        self.seen = nn.ModuleDict({c: nn.Linear(narrow + 6, 1) for c in cameras})
        self.words = nn.Linear(language.width, narrow)
        self.state = StateEncoder(len(keep), fusion)
        found = narrow + len(cameras) * (narrow + 6 + 1)
        self.place = nn.Sequential(
            nn.Linear(found + fusion.state, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3)
        )
        inputs = slots * narrow + len(cameras) * (slots * (narrow + 6 + 1) + narrow) + fusion.state + 3 * len(GROUNDED)
        self.fusion = Fusion(inputs, fusion)
        self.act = ChunkHead(fusion.hidden, interface.horizon, len(interface.action_names))
        self.done = DoneHead(fusion.hidden)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Mapping[str, Tensor], state: Tensor, tokens: Tensor, mask: Tensor) -> Output:
        """images: {camera: [B, 3, H, W]} from `pixels`; state: [B, S] normalised; tokens, mask: `SentenceTokens`."""
        slots = self.reader(tokens, mask)
        body = self.state(state[:, self.kept])
        looked, found, contexts = [], [], []
        for camera in self.interface.cameras:
            features, context = self.trunks[camera](images[camera], slots[:, self.task])
            look = self.look[camera](slots, features)
            what = torch.cat([F.relu(self.what[camera](look.features)), 2 * look.points - 1, look.facts], -1)
            found.append(torch.cat([what, self.seen[camera](what)], -1))  # [B, K, narrow + 7]
            contexts.append(F.relu(self.context[camera](context)))
            looked.append(look)
        views = torch.cat(found, -1)  # [B, K, cameras · (narrow + 7)]
        words = self.words(slots)
        grounded = torch.cat([words, views], -1)[:, self.grounded]  # a goal may be words only: "to the left"
        relative = self.place(torch.cat([grounded, body[:, None].expand(-1, len(GROUNDED), -1)], -1))
        fused = self.fusion([words.flatten(1), views.flatten(1), *contexts, body, relative.flatten(1)])
        visible = torch.stack([f[:, self.grounded, -1] for f in found], 1)
        return Output(self.act(fused), self.done(fused), looked, visible, relative)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts by name (detached)."""
        _, parts = self.evaluate(batch)
        return parts["loss"], {k: v.detach() for k, v in parts.items()}

    def evaluate(self, batch: Batch) -> tuple[Output, dict[str, Tensor]]:
        """The output and every loss by name: action, done, heat, visible, relative [dm], pixel [px], loss (all)."""
        out = self(batch.images, batch.state, batch.tokens, batch.mask)
        weights = self.config.weights
        action = ChunkHead.loss(out.actions, batch.actions, batch.pad, batch.importance)
        done = DoneHead.loss(out.done, batch.done)
        total = action + weights.done * done
        parts = {"action": action, "done": done, "pixel": pixel_error(out, batch, self)}
        if batch.labels is not None:
            heat, visible, relative = self.grounding_loss(out, batch.labels)
            total = total + weights.heat * heat + weights.visible * visible + weights.relative * relative
            parts |= {"heat": heat, "visible": visible, "relative": relative}
        return out, parts | {"loss": total}

    def grounding_loss(self, out: Output, labels: Labels) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy of the heatmaps where visible, of the visibility, and L1 of the relative positions [dm]."""
        heat = out.actions.new_zeros(())
        for i, (look, (height, width)) in enumerate(zip(out.looked, self.interface.cameras.values(), strict=True)):
            target = gaussian_cells(labels.points[:, i], height // STRIDE, width // STRIDE)
            log = look.logits[:, self.grounded].float().log_softmax(-1)
            heat = heat + mean_where(-(target * log).sum(-1), labels.visible[:, i] > 0.5)
        visible = mean_where(
            F.binary_cross_entropy_with_logits(out.visible.float(), labels.visible, reduction="none"), labels.placed
        )
        relative = mean_where((out.relative - labels.relative).abs().mean(-1), labels.known)
        return heat / len(out.looked), visible, relative


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the true entries, 0 when there are none."""
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def pixel_error(out: Output, batch: Batch, model: VLA) -> Tensor:
    """Mean distance between the target's heatmap and its true place in the first camera [px]; NaN without labels."""
    if batch.labels is None:
        return out.actions.new_tensor(float("nan"))
    height, width = next(iter(model.interface.cameras.values()))
    there = out.looked[0].points[:, model.grounded[0], 2:]
    away = ((there - batch.labels.points[:, 0, 0]) * there.new_tensor([width, height])).norm(dim=-1)
    return mean_where(away, batch.labels.visible[:, 0, 0] > 0.5)


class NeuralPolicy:
    """A trained model as a `Policy`. Memoryless: every chunk follows from one observation.

    `prefix` is accepted and not used: the splicing of chunks happens in the runtime.
    """

    def __init__(
        self,
        model: VLA,
        state: Normalizer,
        actions: Normalizer,
        info: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.model = model.to(device).eval()
        self.interface = model.interface
        self.normalizers = {"state": state, "action": actions}
        self.info = dict(info or {})
        self.device = device
        self.sentences = SentenceTokens(model.config.language.max_tokens)
        self._words: tuple[str, Tensor, Tensor] | None = None

    def reset(self) -> None:
        """Nothing to forget: only word vectors are remembered, and they do not change."""

    def act(self, obs: Observation, prefix: Array | None = None) -> ActionChunk:
        """The next T actions, un-normalised, with where the target and the goal were seen.

        confidence: largest over cameras of P(target visible) × the heatmap's mass within one cell of its peak. It falls
        when the object is hidden, or when two objects answer to the words. done: P(instruction fulfilled).
        Raises `BadValue` when the observation does not fit `interface`.
        """
        self.interface.check(obs)
        with torch.inference_mode():
            out = self.model(
                {c: self._pixels(obs.images[c]) for c in self.interface.cameras},
                torch.from_numpy(self._state(obs.state)).to(self.device),
                *self._read(obs.instruction),
            )
            actions = self.normalizers["action"].inverse(out.actions[0].float().cpu().numpy()).astype(np.float32)
            heats = self._heatmaps(out)
            visible = out.visible[0, :, 0].float().sigmoid().cpu().tolist()
            done = float(out.done[0].sigmoid())
        peaks = [peak_mass(heats[f"{c}.{GROUNDED[0]}"]) for c in self.interface.cameras]
        confidence = max(v * p for v, p in zip(visible, peaks, strict=True))
        if "gripper" in self.interface.action_names:
            i = self.interface.action_names.index("gripper")
            actions[:, i] = actions[:, i].clip(0.0, 1.0)
        return ActionChunk(actions, self.interface.dt, obs.time, min(1.0, confidence), done, heats)

    def _pixels(self, image: Array) -> Tensor:
        return pixels(torch.from_numpy(np.ascontiguousarray(image))[None].to(self.device))

    def _state(self, state: Array) -> Array:
        return np.asarray(self.normalizers["state"].forward(state[None]), np.float32)

    def _read(self, instruction: str) -> tuple[Tensor, Tensor]:
        """Only the first call with an instruction pays for the sentence encoder."""
        if self._words is None or self._words[0] != instruction:
            if len(self.sentences.cache) > 4096:  # a long-lived server must not grow without end
                self.sentences.cache.clear()
            tokens, mask = self.sentences([instruction])
            self._words = (instruction, tokens.to(self.device), mask.to(self.device))
        return self._words[1:]

    def _heatmaps(self, out: Output) -> dict[str, Array]:
        """{"front.target": float32[h, w] summing to 1, …}"""
        maps = {}
        for (camera, (height, width)), look in zip(self.interface.cameras.items(), out.looked, strict=True):
            heat = look.logits[0].float().softmax(-1).unflatten(-1, (height // STRIDE, width // STRIDE)).cpu().numpy()
            for name, index in zip(GROUNDED, self.model.grounded, strict=True):
                maps[f"{camera}.{name}"] = heat[index]
        return maps


def peak_mass(heat: Array) -> float:
    """Share of a heatmap [h, w] within one cell of its largest value."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return float(heat[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].sum())
