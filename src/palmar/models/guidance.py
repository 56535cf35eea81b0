"""Real-time chunking: a new chunk that fits on to the one that is running while it is computed.

Flow and diffusion heads are guided while they denoise (`integrate`): Black, Galliker, Levine 2025, arXiv 2506.07339, algorithm 1,
with the weights and constants of the authors' code. Heads that cannot be guided answer with the committed actions and fade from
the rest of the running chunk into their own (`blended`), which is no conditioning: the network does not see the prefix.

Flow time t is that of `conventions`: 0 is noise, 1 the actions. Axis legend: B batch · n prefix steps · T horizon · A action.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models.base import PriorChunk

Schedule = Literal["linear", "exp", "ones", "zeros"]
Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Guidance:
    """How a denoised chunk is pulled towards the running one. jacobian: "true" takes the vector-Jacobian product of the
    denoised actions, as published; "identity" puts the identity in the place of that Jacobian: no backward pass through the
    network, and not the published algorithm (LeRobot's implementation does this). beta: largest guidance weight.
    schedule: of the weights between the committed steps and the end of the running chunk."""

    jacobian: Literal["true", "identity"] = "true"
    schedule: Schedule = "exp"
    beta: float = 5.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise BadValue(f"beta is {self.beta}; expected > 0. Next: 5, as published")


def prefix_weights(committed: int, end: int, horizon: int, schedule: Schedule = "exp") -> Tensor:
    """float32[T] in 0 … 1: 1 for the committed steps, 0 from `end` on, falling between."""
    start = max(0, min(committed, end, horizon))
    end = max(start, min(end, horizon))
    fall = torch.linspace(1.0, 0.0, end - start + 2)[1:-1]
    if schedule == "exp":
        fall = fall * fall.expm1() / (math.e - 1)
    elif schedule in ("ones", "zeros"):
        fall = torch.full_like(fall, float(schedule == "ones"))
    return torch.cat([torch.ones(start), fall, torch.zeros(horizon - end)])


def padded(actions: Tensor, horizon: int) -> Tensor:
    """[B, n, A] → [B, T, A]: cut, or filled up with the last action. Never with zeros, which are actions too."""
    lacking = horizon - actions.shape[1]
    return actions[:, :horizon] if lacking <= 0 else torch.cat([actions, actions[:, -1:].expand(-1, lacking, -1)], 1)


def target(prior: PriorChunk, like: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """The running chunk as long as `like` [B, T, A], and its weights [1, T, 1]."""
    horizon = like.shape[1]
    weights = prefix_weights(prior.committed, prior.actions.shape[1], horizon, schedule)
    return padded(prior.actions, horizon).to(like), weights.to(like)[None, :, None]


def blended(actions: Tensor, prior: PriorChunk | None) -> Tensor:
    """[B, T, A] → [B, T, A]: the committed actions as they are, then a linear fade from the running chunk to `actions`."""
    if prior is None:
        return actions
    running, weights = target(prior, actions, "linear")
    return weights * running + (1 - weights) * actions


def pull(
    x: Tensor, clean: Callable[[Tensor], Tensor], t: float, prior: PriorChunk, how: Guidance
) -> tuple[Tensor, Tensor]:
    """(denoised actions at x and t, what guidance adds to the velocity there), both [B, T, A].

    clean: from x to the denoised actions; called once.
    """
    running, weights = target(prior, x, how.schedule)
    if how.jacobian == "true":
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            reached = clean(x)
            error = (running - reached.detach()) * weights
            (step,) = torch.autograd.grad(reached, x, error)
        reached = reached.detach()
    else:
        reached = clean(x)
        step = (running - reached) * weights
    return reached, guidance_weight(t, how.beta) * step


def guidance_weight(t: float, beta: float) -> float:
    """min(β, (1 − t) / (t · r²)), r² = (1 − t)² / (t² + (1 − t)²); β at t = 0 and t = 1."""
    if t <= 0 or t >= 1:
        return beta
    return min(beta, (1 - t) / t * (t**2 + (1 - t) ** 2) / (1 - t) ** 2)


def integrate(
    velocity: Velocity, noise: Tensor, steps: int, prior: PriorChunk | None = None, how: Guidance | None = None
) -> Tensor:
    """Euler's way from noise to actions [B, T, A] along velocity(x [B, T, A], t [B]); guided where there is a prior."""
    x, step = noise, 1.0 / steps
    for i in range(steps):
        at = i * step
        t = torch.full((len(x),), at, device=x.device, dtype=x.dtype)
        if prior is None:
            x = x + step * velocity(x, t).float()
            continue

        def clean_at(y: Tensor, t: Tensor = t, at: float = at) -> Tensor:
            return y + (1 - at) * velocity(y, t).float()

        clean, more = pull(x, clean_at, at, prior, how or Guidance())
        x = x + step * ((clean - x) / (1 - at) + more)
    return x


def with_guidance(model: nn.Module, how: Guidance) -> int:
    """Set how the heads of a model are guided; how many there are that can be."""
    found = [m for m in model.modules() if hasattr(m, "guidance")]
    for m in found:
        m.guidance = how  # type: ignore[assignment]
    return len(found)
