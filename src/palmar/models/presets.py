"""Presets are functions that return instances: what you see is what is built.

Each system has a `tiny` size, which trains in minutes on two cores, and a `paper` size, as large as what was published. The tiny
sizes also locate the objects that the instruction names (`objects`), which no paper does: a system that begins from random weights
and a few hundred demonstrations hardly learns what the words refer to otherwise (docs/models.md). `without_objects` removes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models.auxiliary import LatentConfig, VideoConfig
from palmar.models.base import ModelConfig
from palmar.models.compress import TokenLearnerConfig
from palmar.models.encoders import LanguageConfig, VisionConfig
from palmar.models.fusion import FusionConfig
from palmar.models.generative import Diffusion, MLPConfig, UNetConfig
from palmar.models.grounded import GroundedConfig
from palmar.models.heads import ChunkConfig, DiffusionConfig, JointPositionConfig, TokenConfig
from palmar.models.imagenet import ImagenetConfig
from palmar.models.objects import ObjectsConfig
from palmar.models.sequence import EncoderDecoderConfig, PassConfig, PooledConfig, SelfAttentionConfig
from palmar.models.teacher import TeacherConfig
from palmar.models.transformer import TransformerConfig
from palmar.models.vision import EfficientNetConfig, ResNetConfig, SmallConvConfig, ViTConfig
from palmar.models.vla import GoalConfig, Robot, VLAConfig
from palmar.models.vlm_presets import VLM_KINDS, VLM_PRESETS, VLM_PUBLISHED
from palmar.robots.arm7 import arm7

SIX = (-5, -4, -3, -2, -1, 0)


def palmar_tiny() -> GroundedConfig:
    """1.4 M trained parameters for two cameras: trains in minutes on two cores, acts in milliseconds on one."""
    return GroundedConfig(VisionConfig(), LanguageConfig(), FusionConfig(), preset="palmar-tiny")


def palmar_small() -> GroundedConfig:
    """22 M trained parameters, of the same build: about an hour on two cores, and large enough for int8 to pay."""
    return GroundedConfig(
        VisionConfig(stem=24, fine=64, deep=192, out=64),
        LanguageConfig(width=384, layers=4, heads=6),
        FusionConfig(hidden=1536, blocks=3, narrow=64, state=128),
        preset="palmar-small",
    )


def palmar_nano() -> GroundedConfig:
    """For tests and for the very small."""
    return GroundedConfig(
        VisionConfig(stem=12, fine=24, deep=32, out=24, details=0, blocks=1),
        LanguageConfig(width=64, layers=1, heads=2),
        FusionConfig(hidden=96, blocks=1, narrow=16, state=32),
        preset="palmar-nano",
    )


# ------------------------------------------------------------------------------------------------ RT-1, arXiv 2212.06817


def rt1_paper() -> VLAConfig:
    """EfficientNet-B3 with FiLM, 8 tokens a picture, 6 pictures, 8 layers over them, 256 bins a dimension.

    Departs from RT-1: a chunk of actions instead of one; MiniLM instead of the Universal Sentence Encoder."""
    return VLAConfig(
        vision=EfficientNetConfig(wide=1.2, deep=1.4, out=512),
        compress=TokenLearnerConfig(tokens=8),
        history=SIX,
        condition=512,
        fusion=PassConfig(width=512),
        head=TokenConfig(TransformerConfig(width=512, layers=8, heads=8, hidden=256, head_width=128), parallel=True),
        preset="rt1-paper",
    )


def rt1_tiny() -> VLAConfig:
    """Departs from RT-1: three of EfficientNet's seven stages at half width and a stem of stride 4, from random weights; a
    chunk of actions instead of one; it locates objects."""
    return VLAConfig(
        vision=EfficientNetConfig(wide=0.5, deep=1.0, out=64, stages=3, stem=4),
        compress=TokenLearnerConfig(tokens=8, hidden=32),
        history=SIX,
        fusion=PassConfig(width=96),
        head=TokenConfig(TransformerConfig(width=96, layers=3, heads=4, hidden=192), parallel=True),
        objects=ObjectsConfig(),
        preset="rt1-tiny",
    )


# ------------------------------------------------------------------------------------------------ Octo, arXiv 2405.12213


def octo_sized(transformer: TransformerConfig, preset: str) -> VLAConfig:
    """Two pictures in time, a tokenizer each camera, words or goal picture, one readout token, diffusion in 20 steps."""
    return VLAConfig(
        vision=SmallConvConfig(channels=(32, 96, 192, 384), out=512),
        per_camera=True,
        history=(-1, 0),
        goal=GoalConfig(),
        fusion=SelfAttentionConfig(transformer),
        head=DiffusionConfig(MLPConfig(width=256, blocks=3), Diffusion(steps=20, samples=20)),
        preset=preset,
    )


def octo_paper() -> VLAConfig:
    """Octo-Base: the transformer is as large as ViT-B. Departs from Octo: MiniLM instead of T5."""
    return octo_sized(TransformerConfig(width=768, layers=12, heads=12, hidden=3072), "octo-paper")


def octo_small() -> VLAConfig:
    """Octo-Small: the transformer is as large as ViT-S. Departs from Octo: MiniLM instead of T5."""
    return octo_sized(TransformerConfig(width=384, layers=12, heads=6, hidden=1536), "octo-small")


def octo_tiny() -> VLAConfig:
    """Departs from Octo: four small convolutions and four layers, from random weights; 10 sampling steps of 20; it locates
    objects."""
    return VLAConfig(
        vision=SmallConvConfig(channels=(16, 32, 64, 96), out=96),
        per_camera=True,
        history=(-1, 0),
        goal=GoalConfig(),
        fusion=SelfAttentionConfig(TransformerConfig(width=128, layers=4, heads=4, hidden=384)),
        head=DiffusionConfig(MLPConfig(width=256, blocks=2), Diffusion(steps=20, samples=10)),
        objects=ObjectsConfig(),
        preset="octo-tiny",
    )


# ------------------------------------------------------------------------------------------------ GR-2, arXiv 2410.06158


def gr2_paper() -> VLAConfig:
    """Patches and words in one transformer that predicts pictures to come and a chunk of actions with a latent.

    Departs from GR-2: without its frozen image tokenizer, patches are embedded and predicted as pixels, as in GR-1."""
    return VLAConfig(
        vision=ViTConfig(TransformerConfig(width=768, layers=0, heads=12, hidden=3072)),
        history=(-1, 0),
        fusion=SelfAttentionConfig(TransformerConfig(width=768, layers=12, heads=12, hidden=3072), readouts=0),
        head=ChunkConfig(per_step=True),
        video=VideoConfig(offsets=(4,), transformer=TransformerConfig(width=384, layers=2, heads=6, hidden=1536)),
        latent=LatentConfig(size=32, weight=1.0, transformer=TransformerConfig(256, 2, 4, 1024)),
        preset="gr2-paper",
    )


def gr2_tiny() -> VLAConfig:
    """Departs from GR-2: pixels of patches are predicted, and no tokens of a frozen image tokenizer; no video of people
    before the robot's (`--recipe video` trains on pictures first); it locates objects."""
    return VLAConfig(
        vision=ViTConfig(TransformerConfig(width=128, layers=0, heads=4, hidden=384)),
        history=(-1, 0),
        fusion=SelfAttentionConfig(TransformerConfig(width=128, layers=4, heads=4, hidden=384), readouts=0),
        head=ChunkConfig(per_step=True),
        video=VideoConfig(offsets=(4,), transformer=TransformerConfig(width=64, layers=1, heads=4, hidden=128)),
        latent=LatentConfig(size=8, weight=1.0, transformer=TransformerConfig(64, 1, 4, 128)),
        objects=ObjectsConfig(),
        preset="gr2-tiny",
    )


# ------------------------------------------------------------------------------------------------ BC-Z, arXiv 2202.02005


def other_robots() -> tuple[Robot, ...]:
    """Beside the robot of the interface: the 7-joint arm commanded by joint positions, as another action space."""
    joints = arm7("channels")
    return (Robot("arm7-joints", joints.state_names, joints.action_names, ChunkConfig()),)


def bcz_paper() -> VLAConfig:
    """ResNet-18 with FiLM, one vector a camera, a head for each robot.

    Departs from BC-Z: where each channel is strongest (keypoints) instead of a mean over the picture; MiniLM instead of its
    sentence encoder."""
    return VLAConfig(
        vision=ResNetConfig(film=True),
        condition=512,
        fusion=PooledConfig(width=512, blocks=2, pool="keypoints"),
        head=ChunkConfig(),
        robots=other_robots(),
        preset="bcz-paper",
    )


def bcz_tiny() -> VLAConfig:
    """Departs from BC-Z: three narrow stages from random weights; where each channel is strongest (keypoints) instead of a
    mean over the picture; MiniLM instead of its sentence encoder; it locates objects."""
    return VLAConfig(
        vision=ResNetConfig(widths=(24, 48, 96), blocks=(1, 1, 2), film=True),
        fusion=PooledConfig(width=192, blocks=2, pool="keypoints"),
        head=ChunkConfig(),
        robots=other_robots(),
        objects=ObjectsConfig(),
        preset="bcz-tiny",
    )


# ------------------------------------------------------------------------------------------------ the humanoid


def humanoid_paper() -> VLAConfig:
    """A ViT-S for all 8 cameras, 8 tokens each, fused by 4 layers; 40 joint targets by tanh, at most 0.5 rad/s apart."""
    return VLAConfig(
        vision=ViTConfig(TransformerConfig(width=384, layers=12, heads=6, hidden=1536)),
        compress=TokenLearnerConfig(tokens=8),
        fusion=SelfAttentionConfig(TransformerConfig(width=512, layers=4, heads=8, hidden=2048)),
        head=JointPositionConfig(max_velocity=0.5, hidden=512),
        preset="humanoid-paper",
    )


def humanoid_tiny() -> VLAConfig:
    """As humanoid-paper, with a ViT of two layers from random weights; it locates objects."""
    return VLAConfig(
        vision=ViTConfig(TransformerConfig(width=96, layers=2, heads=4, hidden=192)),
        compress=TokenLearnerConfig(tokens=8, hidden=32),
        fusion=SelfAttentionConfig(TransformerConfig(width=128, layers=4, heads=4, hidden=384)),
        head=JointPositionConfig(max_velocity=0.5),
        objects=ObjectsConfig(),
        preset="humanoid-tiny",
    )


# ------------------------------------------------------------------------------------------------ ACT, arXiv 2304.13705


def act_paper() -> VLAConfig:
    """ResNet-18, 4 encoder and 7 decoder layers of width 512, a latent of 32, temporal ensembling.

    Departs from ACT: the instruction, which ACT has not, comes in as tokens; group instead of frozen batch normalisation."""
    wide = TransformerConfig(width=512, layers=4, heads=8, hidden=3200)
    return VLAConfig(
        vision=ResNetConfig(),
        fusion=EncoderDecoderConfig(wide, TransformerConfig(width=512, layers=7, heads=8, hidden=3200)),
        head=ChunkConfig(per_step=True),
        latent=LatentConfig(size=32, weight=10.0, transformer=wide),
        ensemble=0.01,
        preset="act-paper",
    )


def act_tiny() -> VLAConfig:
    """Departs from ACT: three narrow stages from random weights instead of ResNet-18 of ImageNet; the instruction, which ACT
    has not, comes in as tokens and by FiLM; it locates objects. No temporal ensembling, which made another tiny policy worse
    (docs/decisions.md); `palmar eval --ensemble` tries it."""
    small = TransformerConfig(width=128, layers=2, heads=4, hidden=384)
    return VLAConfig(
        vision=ResNetConfig(widths=(24, 48, 96), blocks=(1, 1, 2), film=True, most=320),
        fusion=EncoderDecoderConfig(small, small),
        head=ChunkConfig(per_step=True),
        latent=LatentConfig(size=16, weight=10.0, transformer=TransformerConfig(64, 2, 4, 128)),
        objects=ObjectsConfig(),
        preset="act-tiny",
    )


# ------------------------------------------------------------------------------------------------ eyes that have seen ImageNet


def imagenet_tiny() -> VLAConfig:
    """Five stages of EfficientNet-Lite0 with ImageNet's weights, frozen, and a small transformer that learns: for few
    demonstrations (`--frozen-features` looks at every frame once). A system of palmar's own; it locates objects."""
    return VLAConfig(
        vision=ImagenetConfig(stages=5),
        fusion=SelfAttentionConfig(TransformerConfig(width=128, layers=3, heads=4, hidden=384)),
        head=ChunkConfig(),
        objects=ObjectsConfig(),
        preset="imagenet-tiny",
    )


# ------------------------------------------------------------------------------------------------ diffusion policy, 2303.04137


def diffusion_paper() -> VLAConfig:
    """ResNet-18 with spatial softmax, two pictures in time, the convolutional U-Net.

    Departs from the diffusion policy: language, which it has not, by FiLM."""
    return VLAConfig(
        vision=ResNetConfig(film=True),
        history=(-1, 0),
        fusion=PooledConfig(width=1024, blocks=0, pool="keypoints"),
        head=DiffusionConfig(UNetConfig(down=(256, 512, 1024)), Diffusion(steps=100, samples=10)),
        preset="diffusion-paper",
    )


def diffusion_tiny() -> VLAConfig:
    """Departs from the diffusion policy: language by FiLM; three narrow stages from random weights, two levels of the U-Net,
    50 noise levels; it locates objects."""
    return VLAConfig(
        vision=ResNetConfig(widths=(24, 48, 96), blocks=(1, 1, 2), film=True),
        history=(-1, 0),
        fusion=PooledConfig(width=192, blocks=1, pool="keypoints"),
        head=DiffusionConfig(UNetConfig(down=(64, 128), step=64), Diffusion(steps=50, samples=10)),
        objects=ObjectsConfig(),
        preset="diffusion-tiny",
    )


PRESETS: dict[str, Callable[[], ModelConfig]] = {
    "palmar-tiny": palmar_tiny,
    "palmar-small": palmar_small,
    "palmar-nano": palmar_nano,
    "rt1-tiny": rt1_tiny,
    "rt1-paper": rt1_paper,
    "octo-tiny": octo_tiny,
    "octo-small": octo_small,
    "octo-paper": octo_paper,
    "gr2-tiny": gr2_tiny,
    "gr2-paper": gr2_paper,
    "bcz-tiny": bcz_tiny,
    "bcz-paper": bcz_paper,
    "humanoid-tiny": humanoid_tiny,
    "humanoid-paper": humanoid_paper,
    "act-tiny": act_tiny,
    "act-paper": act_paper,
    "imagenet-tiny": imagenet_tiny,
    "diffusion-tiny": diffusion_tiny,
    "diffusion-paper": diffusion_paper,
    **VLM_PRESETS,
}


KINDS: dict[str, type] = {
    "GroundedConfig": GroundedConfig, "VLAConfig": VLAConfig, "TeacherConfig": TeacherConfig, **VLM_KINDS,
}  # fmt: skip
"""What a checkpoint's config.json may hold."""


def preset(name: str) -> ModelConfig:
    """The configuration called `name`. Raises `UnknownName`."""
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS, where="palmar models")
    return PRESETS[name]()


def locates_objects(config: ModelConfig) -> bool:
    """Whether it is a composed system that locates objects, which can be removed. (`palmar` cannot do without.)"""
    return getattr(config, "objects", None) is not None


def without_objects(config: ModelConfig) -> ModelConfig:
    """The same system without them. Raises `BadValue` when it has none."""
    if not locates_objects(config):
        raise BadValue(
            f"preset '{config.preset}' locates no objects that could be left out. Next: one of "
            f"{', '.join(n for n in PRESETS if locates_objects(PRESETS[n]()))}"
        )
    made: Any = config
    return cast(ModelConfig, replace(made, objects=None))


# ------------------------------------------------------------------------------------------------ what was published


@dataclass(frozen=True)
class Published:
    """One system as its authors describe it. parameters: None when not published. cameras: (height, width)
    of each [px], multiples of 8. head, recipe: in a few words. source: of the number. sizes: state, actions, horizon."""

    parameters: float | None
    cameras: tuple[tuple[int, int], ...]
    head: str
    recipe: str
    source: str
    sizes: tuple[int, int, int] = (8, 7, 16)

    def interface(self, config: ModelConfig) -> Interface:
        """What the system was built for, to count its parameters."""
        state, actions, horizon = self.sizes
        return Interface(
            {f"camera{i}": size for i, size in enumerate(self.cameras)},
            tuple(f"s{i}.pos" for i in range(state)),
            tuple(f"joint{i}" for i in range(actions)),
            horizon,
            offsets=config.offsets,
        )


PUBLISHED: dict[str, Published] = {
    "palmar-tiny": Published(
        None, ((96, 96), (96, 96)), "chunk, L1", "behaviour cloning with grounding, DAgger, stills", "ours", (22, 7, 16)
    ),
    "palmar-small": Published(
        None, ((96, 96), (96, 96)), "chunk, L1", "behaviour cloning with grounding, DAgger, stills", "ours", (22, 7, 16)
    ),
    "rt1-paper": Published(
        35e6, ((304, 304),), "256 bins a dimension", "behaviour cloning, cross-entropy", "arXiv 2212.06817, §5.1",
        (8, 11, 1),
    ),
    "octo-small": Published(
        27e6, ((256, 256), (128, 128)), "diffusion, 20 steps", "goal or words, each hidden at random",
        "arXiv 2405.12213, Octo-Small; the frozen T5 is not counted", (8, 7, 4),
    ),
    "octo-paper": Published(
        93e6, ((256, 256), (128, 128)), "diffusion, 20 steps", "goal or words, each hidden at random",
        "arXiv 2405.12213, Octo-Base; the frozen T5 is not counted", (8, 7, 4),
    ),
    "gr2-paper": Published(
        95e6, ((224, 224), (224, 224)), "chunk with a latent", "video prediction, then video and actions",
        "arXiv 2410.06158: 230 M with the frozen text encoder and image tokenizer, 95 M trained", (8, 7, 16),
    ),
    "bcz-paper": Published(
        None, ((104, 104),), "chunk, L1, one head a robot", "behaviour cloning, several robots",
        "arXiv 2202.02005; not published", (8, 7, 10),
    ),
    "humanoid-paper": Published(
        None, ((224, 224),) * 8, "40 joint targets, tanh, ≤ 0.5 rad/s", "behaviour cloning", "not published", (80, 40, 16)
    ),
    "act-paper": Published(
        84e6, ((480, 640),) * 4, "chunk of 100, L1", "behaviour cloning with a latent, temporal ensembling",
        "84 M as counted in the CoRP table, about 80 M in arXiv 2304.13705, §V", (14, 14, 100),
    ),
    "diffusion-paper": Published(
        100e6, ((96, 96),), "diffusion, 100 steps, 10 sampled", "behaviour cloning, noise prediction",
        "about 0.1 B in the Meta-World table of arXiv 2506.01844; U-Net variant of arXiv 2303.04137", (2, 2, 16),
    ),
    **{
        f"{name}-paper": Published(row.parameters, ((224, 224),) * row.cameras, row.head, row.recipe, row.source)
        for name, row in VLM_PUBLISHED.items()
    },
}  # fmt: skip
"""By preset."""

TINY_SIDE = 96  # [px]


def picture_side(name: str) -> int:
    """The short side [px] to which pictures are resized for a preset where nobody says otherwise: of the system as it was
    published, 96 for the tiny sizes and for what is no preset."""
    return min(PUBLISHED[name].cameras[0]) if name in PUBLISHED else TINY_SIDE
