"""LeRobot's ACT at work: a network with the names and the arithmetic of its checkpoints, without the lerobot package.

The CVAE encoder is left out: it only serves training, and its latent is zero when acting.
Source: Zhao et al. 2023, arXiv 2304.13705. Axis legend: B batch · N encoder tokens · T chunk · D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.adapters.resnet import ResNet
from palmar.errors import BadFile

STATE, WORLD, ACTION = "observation.state", "observation.environment_state", "action"
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "glu": F.glu}


@dataclass(frozen=True)
class ActShape:
    """The part of a checkpoint's config.json that shapes the network. widths: of `STATE`, `WORLD` and `ACTION`."""

    widths: Mapping[str, int]
    cameras: tuple[str, ...]
    chunk: int
    backbone: str
    width: int
    heads: int
    hidden: int
    activation: str
    encoders: int
    decoders: int
    latent: int
    before: bool  # LayerNorm before the attention

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ActShape:
        """From config.json. Raises `BadFile` for what this adapter cannot run."""
        try:
            features = {**config["input_features"], **config["output_features"]}
            if config.get("replace_final_stride_with_dilation"):
                raise BadFile(
                    "this ACT uses a dilated backbone (replace_final_stride_with_dilation); not supported. "
                    "Next: a checkpoint without it"
                )
            return cls(
                {k: int(f["shape"][0]) for k, f in features.items() if k in (STATE, WORLD, ACTION)},
                tuple(k for k, f in features.items() if f["type"] == "VISUAL"),
                config["chunk_size"], config["vision_backbone"], config["dim_model"], config["n_heads"],
                config["dim_feedforward"], config["feedforward_activation"], config["n_encoder_layers"],
                config["n_decoder_layers"], config["latent_dim"], config["pre_norm"],
            )  # fmt: skip
        except (KeyError, TypeError, IndexError) as e:
            raise BadFile(f"config.json of an ACT checkpoint lacks or misspells {e}. Next: copy it again") from e


class Layer(nn.Module):
    """A transformer layer in which positions are added to queries and keys, never to values; cross: reads a memory too."""

    def __init__(self, shape: ActShape, cross: bool) -> None:
        super().__init__()
        self.before, self.cross, self.activation = shape.before, cross, shape.activation
        self.self_attn = nn.MultiheadAttention(shape.width, shape.heads)
        if cross:
            self.multihead_attn = nn.MultiheadAttention(shape.width, shape.heads)
        self.linear1 = nn.Linear(shape.width, shape.hidden)
        self.linear2 = nn.Linear(shape.hidden // 2 if shape.activation == "glu" else shape.hidden, shape.width)
        for i in range(3 if cross else 2):
            self.add_module(f"norm{i + 1}", nn.LayerNorm(shape.width))

    def forward(self, x: Tensor, places: Tensor, memory: Tensor | None = None, there: Tensor | None = None) -> Tensor:
        """x: [N, B, D]; places: [N, 1, D] of x; memory: [M, B, D] with its places `there`."""

        def look(h: Tensor) -> Tensor:
            at = h + places
            return self.self_attn(at, at, h, need_weights=False)[0]

        def read(h: Tensor) -> Tensor:
            assert memory is not None and there is not None
            return self.multihead_attn(h + places, memory + there, memory, need_weights=False)[0]

        def think(h: Tensor) -> Tensor:
            return self.linear2(ACTIVATIONS[self.activation](self.linear1(h)))

        for i, part in enumerate([look, read, think] if self.cross else [look, think], 1):
            norm = getattr(self, f"norm{i}")
            x = x + part(norm(x)) if self.before else norm(x + part(x))
        return x


class Stack(nn.Module):
    """Layers, and a last LayerNorm where a checkpoint has one."""

    def __init__(self, shape: ActShape, count: int, cross: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape, cross) for _ in range(count))
        self.norm = nn.LayerNorm(shape.width) if cross or shape.before else nn.Identity()

    def forward(self, x: Tensor, places: Tensor, memory: Tensor | None = None, there: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, places, memory, there)
        return self.norm(x)


class Act(nn.Module):
    """Normalised observations → chunk [B, T, A], normalised."""

    def __init__(self, shape: ActShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        if shape.cameras:
            self.backbone = ResNet(shape.backbone)
            self.encoder_img_feat_input_proj = nn.Conv2d(self.backbone.channels, width, 1)
        self.encoder, self.decoder = Stack(shape, shape.encoders, False), Stack(shape, shape.decoders, True)
        self.encoder_latent_input_proj = nn.Linear(shape.latent, width)
        if STATE in shape.widths:
            self.encoder_robot_state_input_proj = nn.Linear(shape.widths[STATE], width)
        if WORLD in shape.widths:
            self.encoder_env_state_input_proj = nn.Linear(shape.widths[WORLD], width)
        self.encoder_1d_feature_pos_embed = nn.Embedding(1 + (STATE in shape.widths) + (WORLD in shape.widths), width)
        self.decoder_pos_embed = nn.Embedding(shape.chunk, width)
        self.action_head = nn.Linear(width, shape.widths[ACTION])

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        shape = self.shape
        like = next(iter(given.values()))
        tokens = [self.encoder_latent_input_proj(like.new_zeros(len(like), shape.latent))]
        if STATE in shape.widths:
            tokens.append(self.encoder_robot_state_input_proj(given[STATE]))
        if WORLD in shape.widths:
            tokens.append(self.encoder_env_state_input_proj(given[WORLD]))
        x, places = [torch.stack(tokens)], [self.encoder_1d_feature_pos_embed.weight[:, None]]
        for camera in shape.cameras:
            features = self.backbone(given[camera])
            x.append(self.encoder_img_feat_input_proj(features).flatten(2).permute(2, 0, 1))
            places.append(waves(features.shape[2], features.shape[3], shape.width).to(features))
        where = torch.cat(places)
        memory = self.encoder(torch.cat(x), where)
        queries = self.decoder_pos_embed.weight[:, None]
        out = self.decoder(memory.new_zeros(shape.chunk, len(like), shape.width), queries, memory, where)
        return self.action_head(out.transpose(0, 1))


def waves(height: int, width: int, channels: int) -> Tensor:
    """[h·w, 1, channels] sines and cosines of row, then of column, each counted from 1 to the last as up to 2π (DETR's)."""
    half = channels // 2
    periods = 10000 ** (2 * (torch.arange(half) // 2) / half)

    def along(n: int) -> Tensor:
        angle = (torch.arange(1, n + 1) / (n + 1e-6) * 2 * math.pi)[:, None] / periods
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1)

    rows, columns = along(height)[:, None].expand(-1, width, -1), along(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)[:, None]


def build(config: Mapping[str, Any], weights: Mapping[str, Tensor], where: Sequence[str] = ("model.",)) -> Act:
    """The network with the tensors of a checkpoint. Raises `BadFile` when they do not fit."""
    shape = ActShape.of(config)
    if shape.activation not in ACTIVATIONS:
        raise BadFile(
            f"feedforward_activation is '{shape.activation}'; expected {', '.join(ACTIVATIONS)}. "
            "Next: another checkpoint"
        )
    model = Act(shape)
    kept = {k.removeprefix(where[0]): v for k, v in weights.items() if k.startswith(where[0])}
    kept = {k: v for k, v in kept.items() if not k.startswith("vae_encoder")}
    try:
        model.load_state_dict(kept)
    except RuntimeError as e:
        raise BadFile(
            f"model.safetensors does not fit its config.json: {str(e).splitlines()[-1].strip()}. "
            "Next: download the checkpoint again, whole"
        ) from e
    return model.eval()
