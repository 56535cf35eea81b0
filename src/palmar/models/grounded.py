"""The `palmar` model: slots read from the instruction look for their objects, and an MLP acts on what they found.

instruction → frozen MiniLM tokens → slots ─┬─ FiLM → one trunk a camera → feature map
                                            └─ heatmap over the map → where (u, v) and what (features)
where, what, state → target and goal relative to the gripper [m] → fusion → action chunk, done
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import GROUNDED, Batch, Inputs, Model, Prediction, PriorChunk, check_pictures
from palmar.models.encoders import STRIDE, LanguageConfig, SlotReader, VisionConfig, VisionTrunk, enough_tokens
from palmar.models.fusion import Fusion, FusionConfig, GroundedAttention, Looked, StateEncoder
from palmar.models.guidance import blended
from palmar.models.heads import ChunkHead, DoneHead, over_chunk
from palmar.models.layers import gaussian_cells, mean_where


@dataclass(frozen=True)
class Weights:
    """How much each loss counts beside the L1 of the actions."""

    heat: float = 0.4
    visible: float = 0.05
    relative: float = 0.5
    done: float = 0.1


@dataclass(frozen=True)
class GroundedConfig:
    """velocities: whether joint velocities are an input (off: they tempt a policy to copy its own past)."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    weights: Weights = field(default_factory=Weights)
    velocities: bool = False
    preset: str = "palmar"

    @property
    def max_tokens(self) -> int:
        return self.language.max_tokens

    @property
    def offsets(self) -> tuple[int, ...]:
        return (0,)

    def for_texts(self, texts: Sequence[str]) -> GroundedConfig:
        """See `ModelConfig`."""
        most = enough_tokens(texts, self.language.max_tokens)
        return replace(self, language=replace(self.language, max_tokens=most))

    def build(self, interface: Interface) -> Grounded:
        return Grounded(self, interface)


@dataclass(frozen=True)
class Output:
    """actions: [B, T, A] normalised. done: logit [B]. looked: one a camera. visible: logits [B, C, G].
    relative: [B, G, 3] [dm]. fused: [B, D], what the action head is given."""

    actions: Tensor
    done: Tensor
    looked: Sequence[Looked]
    visible: Tensor
    relative: Tensor
    fused: Tensor


class Grounded(Model):
    """Everything that is trained. The frozen sentence encoder stays outside."""

    def __init__(self, config: GroundedConfig, interface: Interface) -> None:
        super().__init__()
        check_pictures(interface, modules=True)
        self.config: GroundedConfig = config
        self.interface = interface
        self.kept: Tensor
        language, vision, fusion = config.language, config.vision, config.fusion
        unknown = [g for g in GROUNDED if g not in language.slots]
        if unknown or "task" not in language.slots:
            raise BadValue(f"slots are {', '.join(language.slots)}; expected target, goal and task among them")
        if not interface.state_names:
            raise BadValue(
                f"the data have no state, and '{config.preset}' needs one. Next: a preset that does without, such as act-tiny, or "
                "name the state of the data set: --keys state=FEATURE"
            )
        cameras, slots, narrow = interface.cameras, len(language.slots), fusion.narrow
        keep = [i for i, n in enumerate(interface.state_names) if config.velocities or not n.endswith(".vel")]
        self.register_buffer("kept", torch.tensor(keep, dtype=torch.long), persistent=False)
        self.grounded = [language.slots.index(g) for g in GROUNDED]
        self.conditions = [*self.grounded, language.slots.index("task")]  # what a trunk is told to look out for

        self.reader = SlotReader(language)
        self.trunks = nn.ModuleDict({c: VisionTrunk(vision, len(self.conditions) * language.width) for c in cameras})
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
        self.head = ChunkHead(fusion.hidden, interface.horizon, len(interface.action_names))
        self.finished = DoneHead(fusion.hidden)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode_language(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """(slots [B, K, width], words [B, K, narrow], then each camera's films): see `Model`."""
        slots = self.reader(inputs.tokens, inputs.mask)
        asked = slots[:, self.conditions].flatten(1)
        films = [film for camera in self.interface.cameras for film in self.trunks[camera].films(asked)]  # type: ignore[operator]
        return slots, self.words(slots), *films

    def view(
        self, camera: str, picture: Tensor, slots: Tensor, films: Sequence[Tensor]
    ) -> tuple[Looked, Tensor, Tensor]:
        """One camera's picture [B, 3, H, W]: (what the slots found, as numbers [B, K, narrow + 7], context [B, narrow])."""
        features, context = self.trunks[camera](picture, films)
        look = self.look[camera](slots, features)
        what = torch.cat([F.relu(self.what[camera](look.features)), 2 * look.points - 1, look.facts], -1)
        return look, torch.cat([what, self.seen[camera](what)], -1), F.relu(self.context[camera](context))

    def forward(self, inputs: Inputs) -> Output:
        kept = inputs.language if not self.training else ()
        language = kept or self.encode_language(inputs)
        slots, words, films = language[0], language[1], language[2:]
        each = len(films) // len(self.interface.cameras)
        body = self.state(inputs.state[:, self.kept])
        looked, found, contexts = [], [], []
        for i, camera in enumerate(self.interface.cameras):
            picture, mine = inputs.images[camera], films[i * each : (i + 1) * each]
            make = partial(self.view, camera, picture, slots, mine)
            use = inputs.sights if kept else None
            look, what, context = make() if use is None else use.recall(camera, picture, language, make)
            looked.append(look)
            found.append(what)
            contexts.append(context)
        views = torch.cat(found, -1)  # [B, K, cameras · (narrow + 7)]
        grounded = torch.cat([words, views], -1)[:, self.grounded]  # a goal may be words only: "to the left"
        relative = self.place(torch.cat([grounded, body[:, None].expand(-1, len(GROUNDED), -1)], -1))
        fused = self.fusion([words.flatten(1), views.flatten(1), *contexts, body, relative.flatten(1)])
        visible = torch.stack([f[:, self.grounded, -1] for f in found], 1)
        return Output(self.head(fused[:, None]), self.finished(fused), looked, visible, relative, fused)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts: action, done, heat, visible, relative [dm], pixel [px], loss (all)."""
        out = self(batch)
        weights = self.config.weights
        action = over_chunk((out.actions - batch.actions).abs(), batch)
        done = DoneHead.loss(out.done, batch)
        total = action + weights.done * done
        parts = {"action": action, "done": done, "pixel": pixel_error(out, batch, self)}
        if batch.labels is not None:
            heat, visible, relative = self.grounding_loss(out, batch)
            total = total + weights.heat * heat + weights.visible * visible + weights.relative * relative
            parts |= {"heat": heat, "visible": visible, "relative": relative}
        return total, {k: v.detach() for k, v in (parts | {"loss": total}).items()}

    def act(self, inputs: Inputs, prior: PriorChunk | None = None) -> Prediction:
        """confidence: largest over cameras of P(target visible) × the heatmap's mass within one cell of its peak. It falls
        when the object is hidden, or when two objects answer to the words. Memoryless; blended with a running chunk
        (`guidance.blended`)."""
        out = self(inputs)
        attention: dict[str, Tensor] = {}
        peaks = []
        for (camera, (height, width)), look in zip(self.interface.cameras.items(), out.looked, strict=True):
            heat = look.heat.float().unflatten(-1, (height // STRIDE, width // STRIDE))
            attention |= {f"{camera}.{name}": heat[:, i] for name, i in zip(GROUNDED, self.grounded, strict=True)}
            peaks.append(peak_mass(heat[:, self.grounded[0]]))
        sure = out.visible[:, :, 0].float().sigmoid() * torch.stack(peaks, 1)
        return Prediction(
            blended(out.actions, prior), out.done, sure.amax(1).clamp(max=1.0), attention, features=out.fused
        )

    def grounding_loss(self, out: Output, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of a batch that has labels: cross-entropy of the heatmaps where visible, of the visibility, and L1 of the relative
        positions [dm]."""
        assert batch.labels is not None
        labels = batch.labels
        heat = out.actions.new_zeros(())
        for i, (look, (height, width)) in enumerate(zip(out.looked, self.interface.cameras.values(), strict=True)):
            target = gaussian_cells(labels.points[:, i], height // STRIDE, width // STRIDE)
            log = look.logits[:, self.grounded].float().log_softmax(-1)
            heat = heat + mean_where(-(target * log).sum(-1), labels.visible[:, i] > 0.5, batch.each(f"seen.{i}"))
        visible = mean_where(
            F.binary_cross_entropy_with_logits(out.visible.float(), labels.visible, reduction="none"), labels.placed,
            batch.each("placed"),
        )  # fmt: skip
        relative = mean_where((out.relative - labels.relative).abs().mean(-1), labels.known, batch.each("known"))
        return heat / len(out.looked), visible, relative


def pixel_error(out: Output, batch: Batch, model: Grounded) -> Tensor:
    """Mean distance between the target's heatmap and its true place in the first camera [px]; NaN without labels."""
    if batch.labels is None:
        return out.actions.new_tensor(float("nan"))
    height, width = next(iter(model.interface.cameras.values()))
    there = out.looked[0].points[:, model.grounded[0], 2:]
    away = ((there - batch.labels.points[:, 0, 0]) * there.new_tensor([width, height])).norm(dim=-1)
    return mean_where(away, batch.labels.visible[:, 0, 0] > 0.5, batch.each("seen.0.target"))


def peak_mass(heat: Tensor) -> Tensor:
    """Share of heatmaps [B, h, w] within one cell of their largest value: [B]."""
    padded = F.pad(heat, (1, 1, 1, 1))
    near = sum(padded[:, i : i + heat.shape[1], j : j + heat.shape[2]] for i in range(3) for j in range(3))
    assert isinstance(near, Tensor)
    best = heat.flatten(1).argmax(1, keepdim=True)
    return near.flatten(1).gather(1, best).squeeze(1)
