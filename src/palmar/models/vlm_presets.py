"""The systems that stand on a vision-language model, at a size for two cores and at the published one.

`tiny` starts from nothing: it is there to be trained and compared, not for its language. `paper` is built to the
published sizes; give it the published parts with `weights_from`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from palmar.models.action_tokens import ActionTokens
from palmar.models.base import ModelConfig
from palmar.models.expert import ExpertConfig
from palmar.models.flow_vla import FlowVLAConfig
from palmar.models.objects import ObjectsConfig
from palmar.models.palme import PalmEConfig
from palmar.models.token_vla import TokenVLAConfig
from palmar.models.vlm import IMAGENET_MEAN, IMAGENET_STD, DecoderConfig, TowerConfig, VLMConfig

_TOWER = TowerConfig()
_SMALL_DINO = replace(
    _TOWER, kind="dinov2", width=32, hidden=128, mean=IMAGENET_MEAN, std=IMAGENET_STD, activation="gelu"
)
# Actions are normalised by mean and deviation and come in chunks; the published models answer one, scaled to -1 … 1.
_WORDS = ActionTokens(limit=10.0, compand=True, anchors=4)

SO400M = TowerConfig(width=1152, layers=27, heads=16, hidden=4304, image=224, patch=14)
"""SigLIP SO400M/14 at 224 px."""


def rt2_tiny() -> TokenVLAConfig:
    """Departs from RT-2: a small model from random weights, with no language of its own; four actions of a chunk are spoken
    and those between interpolated; bins equally wide in asinh; it locates objects."""
    return TokenVLAConfig(
        VLMConfig(), _WORDS, "What should the robot do to {instruction}?", "rt2-tiny", objects=ObjectsConfig()
    )


def rt2_paper() -> TokenVLAConfig:
    """RT-2-PaLM-E-12B: an 8 B language model and a 4 B ViT. (The other variant, RT-2-PaLI-X, has 55 B.)

    Departs from RT-2: four actions of a chunk are spoken and those between interpolated; bins equally wide in asinh."""
    prompt = "Q: What should the robot do to {instruction}? A:"
    return TokenVLAConfig(_palme_12b(), _WORDS, prompt, "rt2-paper")


def openvla_tiny() -> TokenVLAConfig:
    """Departs from OpenVLA: a small model from random weights, with no language of its own; four actions of a chunk are
    spoken and those between interpolated; bins equally wide in asinh; it locates objects."""
    vlm = VLMConfig((_SMALL_DINO, _TOWER), projector="fused", bidirectional=False)
    return TokenVLAConfig(vlm, _WORDS, preset="openvla-tiny", objects=ObjectsConfig())


def openvla_paper() -> TokenVLAConfig:
    """Prismatic 7B: DINOv2 L/14 and SigLIP SO400M/14, features of the second-to-last layer; Llama 2 7B.

    Departs from OpenVLA: four actions of a chunk are spoken and those between interpolated; bins equally wide in asinh."""
    return TokenVLAConfig(
        VLMConfig(
            (
                TowerConfig(
                    "dinov2", 1024, 23, 16, 4096, 224, 14, IMAGENET_MEAN, IMAGENET_STD, normed=False, activation="gelu"
                ),
                replace(SO400M, layers=26, normed=False, activation="gelu"),
            ),
            DecoderConfig("llama", 4096, 32, 32, 32, 128, 11008, vocab=32064, spare=64, tied=False, epsilon=1e-5),
            "fused",
            bidirectional=False,
            start_first=True,
            suffix=(29871,),
        ),
        _WORDS,
        "In: What action should the robot take to {instruction}?\nOut:",
        "openvla-paper",
    )


def pi0_tiny() -> FlowVLAConfig:
    """Departs from π₀: a small VLM and expert from random weights, trained together; it locates objects."""
    return FlowVLAConfig(
        VLMConfig(decoder=DecoderConfig("gemma", kv_heads=1)),
        ExpertConfig(),
        preset="pi0-tiny",
        objects=ObjectsConfig(),
    )


def pi0_paper() -> FlowVLAConfig:
    """PaliGemma 3B (SigLIP SO400M/14 and Gemma 2B) and an expert of 0.3 B; chunks of 50."""
    gemma = DecoderConfig("gemma", 2048, 18, 8, 1, 256, 16384, vocab=257152)
    return FlowVLAConfig(
        VLMConfig((SO400M,), gemma), ExpertConfig(1024, 4096), prompt="{instruction}\n", preset="pi0-paper"
    )


def smolvla_tiny() -> FlowVLAConfig:
    """Departs from SmolVLA: a small VLM and expert from random weights, trained together; it locates objects."""
    vlm = VLMConfig((replace(_TOWER, image=96, patch=8),), DecoderConfig(layers=4), "shuffle", merge=2)
    return FlowVLAConfig(
        vlm, ExpertConfig(cross_every=2, causal=True), "vlm", preset="smolvla-tiny", objects=ObjectsConfig()
    )


def smolvla_paper() -> FlowVLAConfig:
    """SmolVLM2-500M with the first 16 of its 32 layers, and an expert of three quarters of its width."""
    tower = TowerConfig("siglip", 768, 12, 12, 3072, 512, 16)
    smollm = DecoderConfig("llama", 960, 16, 15, 5, 64, 2560, vocab=49280, tied=False, theta=100000.0, epsilon=1e-5)
    return FlowVLAConfig(
        VLMConfig((tower,), smollm, "shuffle", merge=4),
        ExpertConfig(720, 2048, cross_every=2, causal=True),
        "vlm",
        prompt="{instruction}\n",
        preset="smolvla-paper",
    )


def palme_tiny() -> PalmEConfig:
    """Departs from PaLM-E: a small model from random weights; its skills are one head that reads what the first skill of the
    plan means; it locates objects."""
    return PalmEConfig(preset="palme-tiny", objects=ObjectsConfig())


def palme_paper() -> PalmEConfig:
    """PaLM-E-12B: PaLM 8B and ViT-4B (ViT-e).

    Departs from PaLM-E: Llama's blocks in PaLM's sizes and SigLIP's in ViT-e's; its skills are one head that reads what the
    first skill of the plan means, instead of separate policies."""
    prompt = "Given <img>. Q: How would you {instruction}? A:"
    return PalmEConfig(_palme_12b(), hidden=2048, longest=128, prompt=prompt, preset="palme-paper")


def _palme_12b() -> VLMConfig:
    """PaLM 8B (arXiv 2204.02311, table 1: 32 layers, width 4096, 16 heads of 256, one key-value head, SwiGLU of 16384, 256 k
    words) as a Llama, and ViT-e (arXiv 2209.06794: 56 layers, width 1792, MLP 15360) as a SigLIP tower."""
    tower = TowerConfig("siglip", 1792, 56, 16, 15360, 224, 14)
    return VLMConfig((tower,), DecoderConfig("llama", 4096, 32, 16, 1, 256, 16384, vocab=256000))


VLM_PRESETS: dict[str, Callable[[], ModelConfig]] = {
    "rt2-tiny": rt2_tiny,
    "rt2-paper": rt2_paper,
    "openvla-tiny": openvla_tiny,
    "openvla-paper": openvla_paper,
    "pi0-tiny": pi0_tiny,
    "pi0-paper": pi0_paper,
    "smolvla-tiny": smolvla_tiny,
    "smolvla-paper": smolvla_paper,
    "palme-tiny": palme_tiny,
    "palme-paper": palme_paper,
}

VLM_KINDS: dict[str, type] = {k.__name__: k for k in (TokenVLAConfig, FlowVLAConfig, PalmEConfig)}
"""What a checkpoint's config.json may hold."""


@dataclass(frozen=True)
class Published:
    """A system as its paper has it. parameters: all of them, frozen ones too."""

    parameters: float
    cameras: int
    head: str
    recipe: str
    source: str


VLM_PUBLISHED: dict[str, Published] = {
    "rt2": Published(
        12e9, 1, "256-bin words of the text vocabulary", "co-fine-tune on web and robot data, half and half",
        "RT-2-PaLM-E-12B, arXiv 2307.15818",
    ),
    "openvla": Published(
        7.5e9, 1, "256-bin words of the text vocabulary", "LoRA, rank 32, on every linear layer", "arXiv 2406.09246"
    ),
    "pi0": Published(
        3.3e9, 3, "flow matching, chunk 50", "freeze the VLM and train the expert, then all", "arXiv 2410.24164"
    ),
    "smolvla": Published(
        0.45e9, 3, "flow matching, chunk 50", "freeze the VLM and train the expert", "arXiv 2506.01844"
    ),
    "palme": Published(
        12e9, 1, "a plan in words; its next skill steers a chunk head", "robot, VQA and captions together",
        "PaLM-E-12B, arXiv 2303.03378",
    ),
}  # fmt: skip
