"""Low-rank adapters beside frozen linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685), by `peft`; and back into them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from palmar.errors import BadValue, UnknownName, need
from palmar.train.groups import groups
from palmar.train.sharded import local_part, part_of

A, B, BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer."


@dataclass(frozen=True)
class Lora:
    """rank and alpha: the update of a layer is alpha / rank · B A. targets: patterns over names of linear layers, or the
    beginning of a name. The defaults are OpenVLA's (rank 32, every linear layer; arXiv 2406.09246)."""

    rank: int = 32
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise BadValue(
                f"{self}; expected rank ≥ 1, alpha > 0 and dropout 0 … 1. Next: leave them out for the defaults"
            )


def inject(model: nn.Module, lora: Lora) -> list[str]:
    """Put adapters beside the linear layers that match, in place; their names. They change nothing until trained.

    Draws from torch's generator of the CPU. Layers that torch reads around their `forward` (the projections of
    `nn.MultiheadAttention`) are left alone: an adapter there would never be asked.
    """
    need("peft", "learn")
    from peft import LoraConfig, inject_adapter_in_model

    layers = [n for n, m in model.named_modules() if type(m) is nn.Linear]
    for pattern in lora.targets:
        if not any(_matches(n, pattern) for n in layers):
            raise UnknownName(
                "linear layer", pattern, [g for g in groups(model) if any(_matches(n, g) for n in layers)]
            )
    chosen = [n for n in layers if any(_matches(n, p) for p in lora.targets)]
    wanted = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,  # type: ignore[arg-type]
        target_modules="|".join(re.escape(n) for n in chosen),
    )  # fmt: skip
    inject_adapter_in_model(wanted, model)
    return chosen


def layers(model: nn.Module) -> dict[str, Any]:
    """The layers that have adapters, by name."""
    return {n: m for n, m in model.named_modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")}


def merge(model: nn.Module) -> None:
    """Add every adapter to its layer and take it out, in place."""
    for name, layer in layers(model).items():
        base = layer.base_layer
        _add(layer)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, base)


def merged(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """What `merge` would make of `tensors`, which are named as in `model` with its adapters; the model stays as it is."""
    out = {n.replace(BASE, "."): t for n, t in tensors.items() if ".lora_" not in n}
    for name, layer in layers(model).items():
        delta = tensors[name + B].float() @ tensors[name + A].float() * layer.scaling["default"]
        weight = out[f"{name}.weight"]
        out[f"{name}.weight"] = (weight + delta.to(weight.dtype)).detach()
    return out


class Folded:
    """Within it the adapters are part of their layers, for code that reads `weight` itself; afterwards as before, bit for bit."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = layers(model).values()

    def __enter__(self) -> None:
        self.before = [local_part(layer.base_layer.weight).detach().clone() for layer in self.layers]
        for layer in self.layers:
            _add(layer)
            layer.merged_adapters.append("default")  # so that `peft` does not add them again

    def __exit__(self, *_: object) -> None:
        for layer, weight in zip(self.layers, self.before, strict=True):
            layer.merged_adapters.clear()
            with torch.no_grad():
                local_part(layer.base_layer.weight).copy_(weight)


@torch.no_grad()
def _add(layer: Any) -> None:
    """An adapter's update to the weight of its layer, of which a process may hold some rows only."""
    weight = layer.base_layer.weight
    local_part(weight).add_(part_of(layer.get_delta_weight("default").to(weight.dtype), weight))


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)
