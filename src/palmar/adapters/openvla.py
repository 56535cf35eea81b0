"""OpenVLA checkpoints (`openvla:FOLDER`), without timm or remote code: their tensors in palmar's own `TokenVLA`.

The folder is the published one: config.json, model*.safetensors, preprocessor_config.json and the tokenizer. Vision
towers are named as in timm, the language model as in transformers. Source: github.com/openvla/openvla, arXiv 2406.09246.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palmar.adapters.naming import steps
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models.action_tokens import ActionTokens
from palmar.models.base import Inputs, Model, pixels
from palmar.models.published import checkpoint_folder, read_json, read_weights
from palmar.models.token_vla import TokenVLA, TokenVLAConfig
from palmar.models.vlm import VLM, DecoderConfig, TowerConfig, VLMConfig
from palmar.types import ActionChunk, Array, Observation, Prefix

HEADS = 16  # of both published towers: DINOv2 ViT-L/14 and SigLIP SO400M/14
EMPTY = 29871  # Llama's empty token, which every published prompt ends with
CAMERA = "image"


def load(
    where: str | Path, dataset: str | None = None, rate: float = 5.0, device: str = "cpu", dtype: str = "float32"
) -> OpenVlaPolicy:
    """dataset: whose action statistics to use (`unnorm_key`); may be left out when there is one. rate: actions a second it was
    trained at [Hz]. dtype: bfloat16 halves the memory.

    Its interface: one camera, `image`, of the size of its vision towers (224×224 px as published, stretched); no state; one
    action, seven end-effector steps with the units of the data set where they are known (`naming.steps`)."""
    folder, config = _opened(where)
    name, stats = statistics(folder, config, dataset)
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise UnknownName("dtype", dtype, ("float32", "bfloat16", "float16"))
    weights = read_weights(folder)
    built = shape(config, read_json(folder / "preprocessor_config.json"), weights, folder)
    count = len(stats["q01"])
    names, units = steps(count, name)
    side = built.vlm.towers[0].image
    interface = Interface({CAMERA: (side, side)}, (), names, 1, 1 / rate, action_units=units)
    with torch.device("meta"):  # seven billion random numbers would be drawn only to be thrown away
        model = TokenVLA(built, interface)
    renamed = rename(weights, built, folder)
    renamed |= {f"finished.{k}": torch.zeros_like(v, device="cpu") for k, v in model.finished.state_dict().items()}
    renamed["reach"] = torch.full((count,), built.tokens.limit)
    missing = sorted(set(model.state_dict()) ^ set(renamed))
    if missing:
        raise BadFile(
            f"'{folder}' does not fit its config.json: {missing[0]} and {len(missing) - 1} more differ. "
            "Next: download the checkpoint again, whole"
        )
    try:
        model.load_state_dict({k: v.to(kind) for k, v in renamed.items()}, assign=True)
    except RuntimeError as e:
        raise BadFile(
            f"'{folder}' does not fit its config.json: {str(e).splitlines()[-1].strip()}. "
            "Next: download the checkpoint again, whole"
        ) from e
    refill_buffers(model)
    return OpenVlaPolicy(model.to(device).eval(), stats, kind)


def published(where: str | Path) -> TokenVLAConfig:
    """The configuration of the checkpoint in a folder, to be trained further."""
    folder, config = _opened(where)
    return shape(config, read_json(folder / "preprocessor_config.json"), read_weights(folder), folder)


def fill(model: Model, where: str | Path) -> None:
    """Put the tensors of a published folder into a model of its sizes; "done", which OpenVLA does not say, and the limits of
    the actions, which come from the data, stay as they are."""
    folder, _ = _opened(where)
    if not isinstance(model, TokenVLA):
        raise BadValue(
            f"'{folder}' is an OpenVLA checkpoint; a {type(model).__name__} cannot take its weights. "
            "Next: a model of the class OpenVLA"
        )
    renamed, mine = rename(read_weights(folder), model.config, folder), model.state_dict()
    for name in sorted(
        (set(mine) ^ set(renamed)) | {n for n in mine if n in renamed and mine[n].shape != renamed[n].shape}
    ):
        if not name.startswith(("finished.", "reach")):
            raise BadFile(f"'{folder}' does not fit this model: '{name}' differs. Next: like(config, folder) first")
    model.load_state_dict(renamed, strict=False)


def _opened(where: str | Path) -> tuple[Path, dict[str, Any]]:
    """(folder, config.json)."""
    wanted = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
    folder = checkpoint_folder(where, "OpenVLA checkpoint", wanted)
    config = read_json(folder / "config.json")
    if config.get("model_type") != "openvla":
        raise BadFile(
            f"'{folder}' is a '{config.get('model_type')}'; expected an OpenVLA checkpoint (model_type openvla). "
            "Next: the folder of an OpenVLA checkpoint"
        )
    return folder, config


class OpenVlaPolicy:
    """One action at a time, end-effector displacements as its data set has them (the gripper: 1 is open)."""

    def __init__(self, model: TokenVLA, stats: Mapping[str, Array], dtype: torch.dtype) -> None:
        self.model, self.stats, self.dtype = model, stats, dtype
        self.interface = model.interface

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        """Raises `BadValue` when the observation does not fit `interface`."""
        self.interface.check(obs)
        device = next(self.model.parameters()).device
        image = pixels(torch.from_numpy(np.ascontiguousarray(obs.images[CAMERA]))[None]).to(device)
        nothing = torch.zeros(1, 0, device=device)
        asked = " ".join(obs.instruction.lower().split())
        with torch.inference_mode(), torch.autocast(device.type, self.dtype, self.dtype != torch.float32):
            inputs = Inputs({CAMERA: image}, nothing, nothing[..., None], nothing.bool(), (asked,))
            out = self.model.act(inputs)
        sure = None if out.confidence is None else float(out.confidence[0])
        return ActionChunk(self.unnormalised(out.actions[0].float().cpu().numpy()), self.interface.dt, obs.time, sure)

    def unnormalised(self, actions: Array) -> Array:
        """-1 … 1 → between the 1st and 99th percentile of the training data, where its mask says so."""
        low, high = self.stats["q01"], self.stats["q99"]
        moved: Array = np.where(self.stats["mask"], 0.5 * (actions + 1) * (high - low) + low, actions)
        return moved.astype(np.float32)

    def reset(self) -> None:
        """Nothing: it remembers nothing."""


def statistics(folder: Path, config: Mapping[str, Any], dataset: str | None) -> tuple[str, dict[str, Array]]:
    """Name of the data set; q01, q99 and mask of its actions, from dataset_statistics.json (fine-tuned) or config.json."""
    path = folder / "dataset_statistics.json"
    known = read_json(path) if path.exists() else config.get("norm_stats") or {}
    if dataset is None:
        if len(known) != 1:
            raise BadValue(
                f"'{folder}' has statistics of {len(known)} data sets; name one as dataset=: {', '.join(known) or 'none'}. "
                "Next: dataset= one of them"
            )
        dataset = next(iter(known))
    if dataset not in known:
        raise UnknownName("data set", dataset, known)
    try:
        action = known[dataset]["action"]
        low, high = (np.asarray(action[q], np.float64) for q in ("q01", "q99"))
        return dataset, {"q01": low, "q99": high, "mask": np.asarray(action.get("mask", [True] * len(low)), bool)}
    except (KeyError, TypeError, ValueError) as e:
        raise BadFile(
            f"the action statistics of '{dataset}' in '{folder}' lack or misspell {e}. Next: download the checkpoint again, whole"
        ) from e


def shape(
    config: Mapping[str, Any], pictures: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path
) -> TokenVLAConfig:
    """The configuration that fits; widths and depths are read from the tensors."""
    LlamaConfig = import_module("transformers").LlamaConfig
    if (how := pictures.get("image_resize_strategy", "resize-naive")) != "resize-naive":
        raise BadFile(
            f"'{folder}' resizes pictures by '{how}'; this adapter knows resize-naive only. "
            "Next: a checkpoint that resizes so"
        )
    ids = config.get("timm_model_ids") or []
    text = LlamaConfig(**{k: v for k, v in (config.get("text_config") or {}).items() if k != "model_type"})
    towers = []
    for i, (name, size) in enumerate(zip(ids, config.get("image_sizes") or [], strict=False)):
        at = "vision_backbone." + ("featurizer." if i == 0 else "fused_featurizer.")
        try:
            width, _, patch, _ = weights[at + "patch_embed.proj.weight"].shape
            hidden = weights[at + "blocks.0.mlp.fc1.weight"].shape[0]
        except KeyError as e:
            raise BadFile(
                f"'{folder}' has no tensor {e}; expected the towers of {', '.join(ids)}. "
                "Next: download the checkpoint again, whole"
            ) from e
        layers = len({k.split("blocks.")[1].split(".")[0] for k in weights if k.startswith(at + "blocks.")})
        dino = "dino" in name
        towers.append(
            TowerConfig(
                "dinov2" if dino else "siglip",
                width,
                layers - 1,
                HEADS,
                hidden,
                int(size),
                patch,
                tuple(pictures["means"][i]),
                tuple(pictures["stds"][i]),
                normed=False,
                activation="gelu",
                registers=weights[at + "reg_token"].shape[1] if at + "reg_token" in weights else 0,
            )
        )
    if not towers:
        raise BadFile(
            f"'{folder / 'config.json'}' names no vision towers (timm_model_ids, image_sizes). "
            "Next: download the checkpoint again, whole"
        )
    decoder = DecoderConfig(
        "llama", text.hidden_size, text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads,
        text.head_dim or text.hidden_size // text.num_attention_heads, text.intermediate_size, text.vocab_size,
        int(config.get("pad_to_multiple_of", 64)), False, float((text.rope_parameters or {}).get("rope_theta", 10000.0)),
        text.rms_norm_eps, str(folder),
    )  # fmt: skip
    vlm = VLMConfig(
        tuple(towers), decoder, "fused" if len(towers) > 1 else "mlp", bidirectional=False, start_first=True,
        suffix=(EMPTY,) if text.vocab_size > EMPTY else (),
    )  # fmt: skip
    prompt = "In: What action should the robot take to {instruction}?\nOut:"
    return TokenVLAConfig(vlm, ActionTokens(int(config.get("n_action_bins", 256))), prompt, "openvla")


def rename(weights: Mapping[str, Tensor], config: TokenVLAConfig, folder: Path) -> dict[str, Tensor]:
    """Published names → those of `TokenVLA`; timm's joint query-key-value maps are cut in three."""
    out: dict[str, Tensor] = {}
    for name, x in weights.items():
        part, _, rest = name.partition(".")
        if part == "language_model":
            rest = rest.removeprefix("model.")
            if not rest.endswith("rotary_emb.inv_freq"):
                out["vlm.head.weight" if rest == "lm_head.weight" else f"vlm.language.{rest}"] = x
        elif part == "projector":
            layer, _, what = rest.partition(".")
            out[f"vlm.projector.{2 * (int(layer.removeprefix('fc')) - 1)}.{what}"] = x
        elif part == "vision_backbone":
            which, _, rest = rest.partition(".")
            i = 0 if which == "featurizer" else 1
            tower = config.vlm.towers[i]
            named = _dinov2(rest, x, tower) if tower.kind == "dinov2" else _siglip(rest, x, tower)
            out |= {f"vlm.towers.{i}.{k}": v for k, v in named.items()}
        else:
            raise BadFile(
                f"'{folder}' holds the tensor '{name}', which no OpenVLA has. "
                "Next: download the checkpoint again, whole"
            )
    return out


def _block(name: str, tower: TowerConfig) -> tuple[int, str] | None:
    """("blocks.3.attn.qkv.weight") → (3, "attn.qkv.weight"); None for the last layer, which is not used."""
    _, number, rest = name.split(".", 2)
    return (int(number), rest) if int(number) < tower.layers else None


def _three(x: Tensor, what: str) -> dict[str, Tensor]:
    return dict(zip((f"q_proj.{what}", f"k_proj.{what}", f"v_proj.{what}"), x.chunk(3), strict=True))


def _siglip(name: str, x: Tensor, tower: TowerConfig) -> dict[str, Tensor]:
    if name == "pos_embed":
        return {"embeddings.position_embedding.weight": x[0]}
    if name.startswith("patch_embed.proj."):
        return {name.replace("patch_embed.proj", "embeddings.patch_embedding"): x}
    if not name.startswith("blocks.") or (block := _block(name, tower)) is None:
        return {}  # the last layer, its norm, and attention pooling
    at, rest = f"encoder.layers.{block[0]}.", block[1]
    if rest.startswith("attn.qkv."):
        return {f"{at}self_attn.{k}": v for k, v in _three(x, rest.rsplit(".", 1)[1]).items()}
    for theirs, ours in (("attn.proj", "self_attn.out_proj"), ("norm1", "layer_norm1"), ("norm2", "layer_norm2")):
        rest = rest.replace(theirs, ours)
    return {at + rest: x}


def _dinov2(name: str, x: Tensor, tower: TowerConfig) -> dict[str, Tensor]:
    if name == "pos_embed":  # of patches only: the class token has no place, so it gets a zero
        return {"embeddings.position_embeddings": torch.cat([torch.zeros_like(x[:, :1]), x[:, -tower.cells :]], 1)}
    if name in ("cls_token", "reg_token"):
        return {"embeddings." + ("cls_token" if name == "cls_token" else "register_tokens"): x}
    if name.startswith("patch_embed.proj."):
        return {name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection"): x}
    if not name.startswith("blocks.") or (block := _block(name, tower)) is None:
        return {}
    at, rest = f"encoder.layer.{block[0]}.", block[1]
    if rest.startswith("attn.qkv."):
        return {f"{at}attention.{k}": v for k, v in _three(x, rest.rsplit(".", 1)[1]).items()}
    for i in (1, 2):
        for gamma in ("gamma", "scale_factor"):  # timm's name, and what OpenVLA renames it to
            rest = rest.replace(f"ls{i}.{gamma}", f"layer_scale{i}.lambda1")
    return {at + rest.replace("attn.proj", "attention.o_proj"): x}


def refill_buffers(model: TokenVLA) -> None:
    """What a model built without memory has not computed: rotary frequencies and position numbers, never saved."""
    config = model.config.vlm
    small = VLMConfig(
        tuple(_shallow(t) for t in config.towers), _shallow(config.decoder), config.projector, config.merge,
        config.bidirectional, config.start_first, config.suffix,
    )  # fmt: skip
    filled = dict(VLM(small).named_buffers())
    for name, buffer in list(model.vlm.named_buffers()):
        if buffer.is_meta:
            owner, _, last = name.rpartition(".")
            model.vlm.get_submodule(owner).register_buffer(last, filled[name].clone(), persistent=False)


def _shallow(part: Any) -> Any:
    return replace(part, layers=1, **({"vocab": 8, "spare": 0} if isinstance(part, DecoderConfig) else {}))
