"""Training a picture translation from two heaps of pictures that do not correspond (CycleGAN, small, on a CPU in minutes)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from palmar.errors import BadValue, need
from palmar.models.translation import PictureNet, PictureNetConfig
from palmar.ranges import COUNT, RATE, SEED, Range, check_ranges
from palmar.types import Array

KEPT = 50  # made pictures that the critics are shown again (Shrivastava et al. 2017)


@dataclass(frozen=True)
class CycleConfig:
    """net: of the generators. critic: width of the critics. steps: of the optimiser, fewer when `minutes` are over. batch: crops of
    `crop` px a side. lr: of Adam. cycle, identity: weights of the picture that comes back, and of the picture that is of the right
    style already, beside the critics' 1."""

    net: PictureNetConfig = field(default_factory=PictureNetConfig)
    critic: Annotated[int, Range(4, 64)] = 16
    steps: Annotated[int, COUNT] = 1500
    minutes: Annotated[float, Range(0, 600, above=True)] = 5.0
    batch: Annotated[int, Range(1, 64)] = 2
    crop: Annotated[int, Range(16, 256)] = 64
    lr: Annotated[float, RATE] = 4e-4
    cycle: float = 10.0
    identity: float = 5.0
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        check_ranges(self)


def train_cycle(
    real: Array, sim: Array, config: CycleConfig | None = None, say: Callable[[str], None] = lambda _: None
) -> tuple[PictureNet, dict[str, float]]:
    """(translator from `real` to `sim`, figures of the training) from pictures uint8[n, H, W, 3] and uint8[m, H, W, 3] of one size.

    Raises `BadValue` for pictures of different sizes, `MissingPackage` without torch.
    """
    need("torch", "learn")
    import torch
    import torch.nn.functional as F

    from palmar.models.picture_net import Critic, places, signed

    config = config or CycleConfig()
    if real.shape[1:] != sim.shape[1:] or min(len(real), len(sim)) < 2:
        raise BadValue(
            f"pictures are {list(real.shape)} and {list(sim.shape)}; expected two or more of one size each. Next: pictures of "
            "one camera"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        rng = np.random.default_rng([59, config.seed])
        to_sim, to_real = config.net.build(), config.net.build()
        judge_sim, judge_real = Critic(config.critic), Critic(config.critic)
        made_by = torch.optim.Adam([*to_sim.net.parameters(), *to_real.net.parameters()], config.lr, (0.5, 0.999))
        judged_by = torch.optim.Adam([*judge_sim.parameters(), *judge_real.parameters()], config.lr, (0.5, 0.999))
        height, width = real.shape[1:3]
        side = (min(config.crop, height), min(config.crop, width))
        everywhere = places(1, height, width)
        kept: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"sim": [], "real": []}

        def some(pictures: Array) -> tuple[torch.Tensor, torch.Tensor]:
            rows = rng.integers(len(pictures), size=config.batch)
            top, left = rng.integers(height - side[0] + 1), rng.integers(width - side[1] + 1)
            cut = np.s_[top : top + side[0], left : left + side[1]]
            return signed(pictures[rows][:, cut[0], cut[1]]), everywhere[:, :, cut[0], cut[1]].expand(
                config.batch, -1, -1, -1
            )

        def again(which: str, fake: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """A made picture, half of the time an older one."""
            pool = kept[which]
            if len(pool) < KEPT:
                pool.append((fake, at))
                return fake, at
            if rng.uniform() < 0.5:
                i = int(rng.integers(KEPT))
                old, pool[i] = pool[i], (fake, at)
                return old
            return fake, at

        began, step, figures = time.perf_counter(), 0, {}
        for step in range(1, config.steps + 1):
            (a, at_a), (b, at_b) = some(real), some(sim)
            fake_b, fake_a = to_sim.net(a, at_a), to_real.net(b, at_b)
            score_b, score_a = judge_sim(fake_b, at_a), judge_real(fake_a, at_b)
            back = F.l1_loss(to_real.net(fake_b, at_a), a) + F.l1_loss(to_sim.net(fake_a, at_b), b)
            same = F.l1_loss(to_sim.net(b, at_b), b) + F.l1_loss(to_real.net(a, at_a), a)
            loss = (
                ((score_b - 1) ** 2).mean() + ((score_a - 1) ** 2).mean() + config.cycle * back + config.identity * same
            )
            made_by.zero_grad()
            loss.backward()
            made_by.step()
            told = torch.zeros(())
            for judge, true, at, (fake, at_fake) in (
                (judge_sim, b, at_b, again("sim", fake_b.detach(), at_a)),
                (judge_real, a, at_a, again("real", fake_a.detach(), at_b)),
            ):  # fmt: skip
                told = told + ((judge(true, at) - 1) ** 2).mean() + (judge(fake, at_fake) ** 2).mean()
            judged_by.zero_grad()
            told.backward()
            judged_by.step()
            if step % 100 == 0:
                say(
                    f"step {step}: back {float(back.detach()):.3f}, same {float(same.detach()):.3f}, critics "
                    f"{float(told.detach()):.2f}"
                )
            figures = {"back": float(back.detach()), "same": float(same.detach()), "critics": float(told.detach())}
            if time.perf_counter() - began > 60 * config.minutes:
                break
    to_sim.net.eval()
    for p in to_sim.net.parameters():
        p.requires_grad_(False)
    parameters = sum(p.numel() for net in (to_sim.net, to_real.net, judge_sim, judge_real) for p in net.parameters())
    return to_sim, {**figures, "steps": step, "seconds": time.perf_counter() - began, "parameters": parameters}
