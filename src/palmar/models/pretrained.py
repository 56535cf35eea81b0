"""Published weights as a beginning: the configuration that fits them, and the weights in it.

config = like(preset("openvla-paper"), folder)
train(config, data, out, pretrained=folder)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, BadValue
from palmar.models.base import Model, ModelConfig
from palmar.models.speaking import SpeakingConfig


def like(config: ModelConfig, folder: str | Path) -> ModelConfig:
    """The configuration as the weights in `folder` need it: it reads words by the folder's tokenizer, if there is one; of a
    published OpenVLA it has the very sizes. Raises `BadValue` for a system that takes no published weights, `BadFile`."""
    if not isinstance(config, SpeakingConfig):
        raise BadValue(
            f"'{getattr(config, 'preset', config)}' stands on no vision-language model, so there are no weights to begin from. "
            "Next: a system that does (rt2, openvla, pi0, smolvla, palme), or a palmar checkpoint (--init)"
        )
    folder = Path(folder)
    if not folder.is_dir():
        raise BadFile(f"no weights at '{folder}'. Next: give the local folder that holds config.json and *.safetensors")
    if _kind(folder) == "openvla":
        from palmar.models.adapters import openvla

        return replace(openvla.published(folder), preset=getattr(config, "preset", "openvla"))
    if not (folder / "tokenizer.json").exists():
        return config
    vlm: Any = config.vlm  # type: ignore[attr-defined]
    return replace(config, vlm=replace(vlm, decoder=replace(vlm.decoder, tokenizer=str(folder))))  # type: ignore[type-var]


def begin_from(model: Model, folder: str | Path) -> None:
    """Put the weights of `folder` into a model whose configuration is `like` them. Raises `BadValue`, `BadFile`."""
    take: Callable[[str | Path], None] | None = getattr(model, "weights_from", None)
    if take is None:
        raise BadValue(f"a {type(model).__name__} takes no published weights. Next: a palmar checkpoint (--init)")
    if _kind(Path(folder)) == "openvla":
        from palmar.models.adapters import openvla

        openvla.fill(model, Path(folder))
    else:
        take(folder)


def _kind(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text()).get("model_type", ""))
    except (OSError, ValueError, AttributeError):
        return ""
