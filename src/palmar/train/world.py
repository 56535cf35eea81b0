"""One process or many: which rows of a batch are mine, and how gradients and decisions are shared.

Every process draws the same global batch and takes every n-th row, so that the batches of a run do not depend on how many
processes there are. Start with `torchrun --nproc-per-node N -m palmar.cli train …` or `accelerate launch`: both set RANK,
LOCAL_RANK, WORLD_SIZE and MASTER_ADDR, which is all that is read. Gloo on a CPU; NCCL on GPUs, one for each process.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from palmar.errors import BadValue


def check_device(device: str) -> None:
    """Raise `BadValue` unless this machine has the device: cpu, cuda or cuda:N."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = torch.device("meta")
    if wanted.type not in ("cpu", "cuda"):
        raise BadValue(f"device is '{device}'; expected cpu, cuda or cuda:N. Next: --device cpu")
    if wanted.type == "cuda" and (wanted.index or 0) >= (there := torch.cuda.device_count()):
        raise BadValue(
            f"device is '{device}', and torch finds {there} GPUs here. Next: --device cpu, or mend the driver"
        )


def forked(device: str) -> AbstractContextManager[None]:
    """Within it torch's generators of the CPU and of the device may be seeded; afterwards they are as before."""
    return torch.random.fork_rng(devices=[torch.device(device)] if device.startswith("cuda") else [])


def seed(value: int, device: str = "cpu") -> None:
    """Seed the generators of the CPU and of `device`. `torch.manual_seed` would seed those of every GPU."""
    torch.default_generator.manual_seed(value)
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)


@dataclass(frozen=True)
class World:
    """rank of size processes; rank 0 writes and decides."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str = "cpu", shard: bool = False) -> World:
        """The group that the environment describes; a world of one without it. shard: whether weights are to be cut over it.

        Raises `BadValue` for a device that is not here, for one GPU named to many processes, and for weights cut over one."""
        check_device(device)
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if not dist.is_available() or size == 1:
            if shard:
                raise BadValue(
                    "--shard (shard=True) cuts the weights over several processes, and this is the only one. "
                    "Next: torchrun --nproc-per-node N -m palmar.cli train …, or without it"
                )
            return cls()
        if device.startswith("cuda"):
            mine = int(os.environ.get("LOCAL_RANK", "0"))
            if device != "cuda":
                raise BadValue(
                    f"device is '{device}' for {size} processes; expected cuda, of which each takes its own GPU. "
                    "Next: --device cuda, or one process"
                )
            check_device(f"cuda:{mine}")
            torch.cuda.set_device(mine)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
            atexit.register(_leave)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def check(self, batch_size: int) -> None:
        if batch_size % self.size:
            raise BadValue(
                f"batch size {batch_size} over {self.size} processes; expected a multiple of {self.size}. "
                "Next: another --batch-size, or another number of processes"
            )

    def mean(self, gradients: Iterable[Tensor | None]) -> None:
        """Average tensors over the processes, in place, in one message."""
        there = [g for g in gradients if g is not None]
        if self.size == 1 or not there:
            return
        flat = torch.cat([g.reshape(-1) for g in there])
        dist.all_reduce(flat)
        flat /= self.size
        at = 0
        for g in there:
            g.copy_(flat[at : at + g.numel()].view_as(g))
            at += g.numel()

    def means(self, values: dict[str, float], device: str) -> dict[str, float]:
        """Numbers of the same names, averaged over the processes."""
        if self.size == 1 or not values:
            return values
        flat = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
        dist.all_reduce(flat)
        return dict(zip(values, (flat / self.size).tolist(), strict=True))

    def agree(self, value: float, device: str) -> float:
        """What rank 0 says."""
        if self.size == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(said, 0)
        return float(said)


def _leave() -> None:
    """Take the group down while the interpreter is whole: its threads otherwise outlive what they use, and may crash it."""
    if dist.is_initialized():
        dist.destroy_process_group()
