"""Weights cut over the processes (FSDP2, `torch.distributed.fsdp.fully_shard`), for models that one GPU does not hold.

Of every parameter a process keeps its part of the rows, with their gradient, their average and their moments. A layer's rows
are gathered when it is used and dropped after. What is on disk is what a run without it writes: whole tensors, gathered one at
a time, so that nobody holds more than one whole tensor beside its parts (rank 0 beside what it writes as the checkpoint).

`weight` is a parameter (a `DTensor` when it is cut, any tensor when not) and `part` what this process holds of a tensor of its
shape. Every function here is the identity for a parameter that is not cut, such as LoRA's adapters, which stay whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch import distributed as dist

from palmar.errors import BadFile, regular_file
from palmar.files import replace_file
from palmar.models.base import Model

VERBS = ("loss", "act", "language_loss", "locate", "imagine")  # what reads weights
KINDS = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
Entry = tuple[Tensor, Tensor]
"""A part and its weight: what a whole tensor is gathered from."""


# ------------------------------------------------------------------------------------------------ models


class Root(nn.Module):
    """The module that FSDP takes for the outermost: it runs any verb of the model in it, `root(model.loss, batch)`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, verb: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return verb(*args, **more)


class Gathering:
    """A model (or one robot's view of it) whose `VERBS` go through its root, which gathers the weights for them."""

    def __init__(self, root: nn.Module, model: Model) -> None:
        self._root, self._model = root, model

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._model, name)
        if name not in VERBS:
            return found

        def verb(*args: Any, **more: Any) -> Any:
            try:
                return self._root(found, *args, **more)
            finally:
                if not torch.is_grad_enabled():  # no backward comes to drop the outermost weights, which may change
                    cast(Any, self._root).reshard()

        return verb


def shard(model: nn.Module, device: str) -> nn.Module:
    """Cut every parameter over the processes, in place, each layer moved to its device by itself; the root to go through."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))
    scalars = {p for p in model.parameters() if p.ndim == 0}  # which have no rows
    for p in model.parameters():
        p.data = p.data.to(device) if p in scalars else p.data.contiguous()
    for layer in stacked(model):
        fully_shard(layer, mesh=mesh, ignored_params=scalars)
    return cast(nn.Module, fully_shard(Root(model), mesh=mesh, ignored_params=scalars))


def stacked(model: nn.Module) -> list[nn.Module]:
    """The layers to gather one by one: items of lists of modules that compute by `forward`, the innermost of them."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    layers = dict.fromkeys(m for stack in lists for m in stack if type(m).forward is not nn.Module.forward)
    inner = [m for m in layers if not any(part in layers for part in m.modules() if part is not m)]
    return [m for m in inner if any(True for _ in m.parameters())]


# ------------------------------------------------------------------------------------------------ tensors


def is_sharded(weight: Tensor) -> bool:
    return hasattr(weight, "full_tensor")


def part_of(whole: Tensor, weight: Tensor) -> Tensor:
    """The rows of a whole tensor that this process holds of `weight`."""
    if not is_sharded(weight):
        return whole
    from torch.distributed.tensor import distribute_tensor

    w = cast(Any, weight)
    there = whole.detach().to(w.device)
    cut: Any = distribute_tensor(there, w.device_mesh, w.placements, src_data_rank=None)
    return cast(Tensor, cut.to_local())


def local_part(weight: Tensor) -> Tensor:
    """The part of a parameter that lies here, in the same memory; one that is not cut is returned itself."""
    return cast(Tensor, cast(Any, weight.detach()).to_local()) if is_sharded(weight) else weight


def whole(part: Tensor, weight: Tensor) -> Tensor:
    """All of a tensor from every process's part. All processes must call it, in the same order."""
    if not is_sharded(weight):
        return part
    from torch.distributed.tensor import DTensor

    w = cast(Any, weight)
    cut = DTensor.from_local(
        part.detach(), w.device_mesh, w.placements, run_check=False, shape=w.shape, stride=w.stride()
    )
    return cut.full_tensor()


def clip(weights: Sequence[Tensor], parts: Sequence[Tensor], limit: float) -> Tensor:
    """`clip_grad_norm_` over all processes: scales the gradients of the parts, and gives their norm before."""
    cut, plain = (
        [p.grad for w, p in zip(weights, parts, strict=True) if p.grad is not None and is_sharded(w) == which]
        for which in (True, False)
    )
    squares = [torch.nn.utils.get_total_norm(g).square() if g else parts[0].new_zeros(()) for g in (cut, plain)]
    dist.all_reduce(squares[0])
    norm = (squares[0] + squares[1]).sqrt()
    if torch.isfinite(norm):
        torch._foreach_mul_([*cut, *plain], (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


# ------------------------------------------------------------------------------------------------ files


def write(path: Path, entries: Mapping[str, Entry], meta: Mapping[str, str], leads: bool) -> None:
    """An atomic safetensors file of whole tensors, each gathered as it is written. All processes call it, rank 0 writes."""
    named = sorted(entries.items(), key=lambda e: (-e[1][0].element_size(), e[0]))  # as its readers like it: aligned
    if not leads:
        for _, entry in named:
            whole(*entry)
        return
    header, at = {"__metadata__": dict(meta)} if meta else {}, 0
    for name, (part, weight) in named:
        shape = list((weight if is_sharded(weight) else part).shape)
        size = part.element_size() * math.prod(shape)
        header[name] = {"dtype": KINDS[part.dtype], "shape": shape, "data_offsets": [at, at + size]}  # type: ignore[dict-item]
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def stream(temporary: Path) -> None:
        with temporary.open("wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            for _, entry in named:
                tensor = whole(*entry).detach().cpu().contiguous()
                f.write(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())

    replace_file(path, stream)


class Stored:
    """A safetensors file read tensor by tensor. Raises `BadFile` as `models.tensors.read_tensors` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = safe_open(str(regular_file(path)), framework="pt")
            self.meta: dict[str, str] = self.file.metadata() or {}
        except (SafetensorError, OSError, ValueError) as e:
            raise BadFile(f"'{path}' is missing or damaged ({e}). Next: copy it again") from e
        self.names = set(self.file.keys())

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Tensor:
        with suppress(SafetensorError, OSError):
            tensor: Tensor = self.file.get_tensor(name)
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise BadFile(f"'{self.path}' holds NaN or infinity in {name}. Next: take an earlier checkpoint")
            return tensor
        raise BadFile(f"'{self.path}' is damaged at {name}. Next: copy it again")
