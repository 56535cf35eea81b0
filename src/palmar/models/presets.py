"""Presets are functions that return instances: what you see is what is built."""

from __future__ import annotations

from collections.abc import Callable

from palmar.errors import UnknownName
from palmar.models.encoders import LanguageConfig, VisionConfig
from palmar.models.fusion import FusionConfig
from palmar.models.vla import VLAConfig


def palmar_tiny() -> VLAConfig:
    """1.2 M trained parameters for two cameras: trains in minutes on two cores, acts in milliseconds on one."""
    return VLAConfig(VisionConfig(), LanguageConfig(), FusionConfig(), preset="palmar-tiny")


def palmar_nano() -> VLAConfig:
    """For tests and for the very small."""
    return VLAConfig(
        VisionConfig(stem=12, fine=24, deep=32, out=24, blocks=1),
        LanguageConfig(width=64, layers=1, heads=2),
        FusionConfig(hidden=96, blocks=1, narrow=16, state=32),
        preset="palmar-nano",
    )


PRESETS: dict[str, Callable[[], VLAConfig]] = {"palmar-tiny": palmar_tiny, "palmar-nano": palmar_nano}


def preset(name: str) -> VLAConfig:
    """The configuration called `name`. Raises `UnknownName`."""
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]()
