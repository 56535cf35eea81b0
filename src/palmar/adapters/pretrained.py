"""Published weights as a beginning: the configuration that fits them, and the weights in it.

config = like(preset("openvla-paper"), folder)
train(TrainRequest(config, data, TrainConfig(minutes=20), pretrained=folder), out)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from palmar.errors import BadFile, BadValue, regular_file
from palmar.models.base import Model, ModelConfig
from palmar.models.speaking import SpeakingConfig
from palmar.models.transplant import is_checkpoint, transplant


def like(config: ModelConfig, folder: str | Path) -> ModelConfig:
    """The configuration as the weights in `folder` need it: it reads words by the folder's tokenizer, if there is one; of a
    published OpenVLA it has the very sizes; with a palmar checkpoint it stays as it is.

    Raises `BadValue` for a system that takes no published weights, `BadFile`.
    """
    if is_checkpoint(folder):
        return config
    if not isinstance(config, SpeakingConfig):
        raise BadValue(
            f"'{getattr(config, 'preset', config)}' stands on no vision-language model, so there are no weights to begin from. "
            "Next: a system that does (rt2, openvla, pi0, smolvla, palme), or a palmar checkpoint"
        )
    folder = Path(folder)
    if not folder.is_dir():
        raise BadFile(f"no weights at '{folder}'. Next: give the local folder that holds config.json and *.safetensors")
    about = _about(folder)
    if about.get("model_type") == "openvla":
        from palmar.adapters import openvla
        from palmar.models.token_vla import TokenVLAConfig

        if not isinstance(config, TokenVLAConfig) or not config.preset.startswith("openvla"):
            preset = getattr(config, "preset", config)
            raise BadValue(
                f"'{folder}' is an OpenVLA, asked for '{preset}'. Next: palmar train openvla-paper --pretrained {folder}"
            )
        theirs = openvla.published(folder)
        # palmar normalises by mean and deviation and answers a chunk; theirs is one action scaled to -1 … 1 by quantiles
        return replace(theirs, tokens=replace(config.tokens, bins=theirs.tokens.bins), preset=config.preset)
    if not (folder / "tokenizer.json").exists() or not _has_vocabulary(about):
        return config
    speaking: Any = config
    vlm = speaking.vlm
    return replace(speaking, vlm=replace(vlm, decoder=replace(vlm.decoder, tokenizer=str(folder))))


def begin_from(model: Model, folder: str | Path) -> list[str]:
    """Put the weights of `folder` into a model whose configuration is `like` them; what was taken, by name. Raises `BadValue`,
    `BadFile`."""
    if is_checkpoint(folder):
        return transplant(model, folder)
    take: Callable[[str | Path], list[str]] | None = getattr(model, "weights_from", None)
    if take is None:
        raise BadValue(f"a {type(model).__name__} takes no published weights. Next: a palmar checkpoint (--init)")
    if _about(Path(folder)).get("model_type") == "openvla":
        from palmar.adapters import openvla

        openvla.fill(model, Path(folder))
        return ["everything but when it is done"]
    return take(folder)


def _about(folder: Path) -> dict[str, Any]:
    """Its config.json; nothing when there is none, which whoever reads the weights will say."""
    try:
        about = json.loads(regular_file(folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _has_vocabulary(about: dict[str, Any]) -> bool:
    """Whether there is a language model whose words are those of the tokenizer beside it, and not a vision tower alone."""
    pairs = str(about.get("model_type", "")).startswith(("siglip", "clip"))
    return not pairs and ("vocab_size" in about or "text_config" in about)
