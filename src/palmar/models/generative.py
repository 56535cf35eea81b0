"""Networks that clean a noisy chunk, and two ways to train and sample them: diffusion and flow matching.

A denoiser is called as net(x [B, T, A], t [B] in 0 … 1, context [B, N, D]) → [B, T, A]. What it predicts is its caller's
convention (`conventions`): the noise for diffusion, the velocity for flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models import conventions as c
from palmar.models.base import PriorChunk
from palmar.models.guidance import Guidance, integrate, pull
from palmar.models.layers import Residual
from palmar.models.transformer import Transformer, TransformerConfig, time_features

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]


# ------------------------------------------------------------------------------------------------ denoisers


@dataclass(frozen=True)
class MLPConfig:
    """A residual MLP over the flattened chunk: the head of Octo (3 blocks of width 256, arXiv 2405.12213)."""

    width: int = 256
    blocks: int = 3

    def build(self, context: int, horizon: int, actions: int) -> nn.Module:
        return MLPDenoiser(self, context, horizon, actions)


class MLPDenoiser(nn.Module):
    """The context is taken as the mean of its tokens."""

    TIME = 32

    def __init__(self, config: MLPConfig, context: int, horizon: int, actions: int) -> None:
        super().__init__()
        self.shape = (horizon, actions)
        self.time = nn.Sequential(nn.Linear(self.TIME, 64), nn.SiLU(), nn.Linear(64, 32))
        self.enter = nn.Linear(horizon * actions + context + 32, config.width)
        self.blocks = nn.Sequential(*(Residual(config.width, 4 * config.width) for _ in range(config.blocks)))
        self.leave = nn.Linear(config.width, horizon * actions)

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        time = self.time(time_features(t, self.TIME))
        h = self.enter(torch.cat([x.flatten(1), context.mean(1), time], -1))
        return self.leave(F.relu(self.blocks(h))).unflatten(-1, self.shape)


@dataclass(frozen=True)
class UNetConfig:
    """down: channels of each level, half as many steps each. step: width of the noise level's embedding."""

    down: tuple[int, ...] = (256, 512, 1024)
    kernel: int = 5
    step: int = 256

    def build(self, context: int, horizon: int, actions: int) -> nn.Module:
        return UNet(self, context, actions)


class ConvBlock1d(nn.Module):
    """Two convolutions in time; the condition scales and shifts between them; a shortcut."""

    def __init__(self, inside: int, out: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(inside, out, kernel, padding=kernel // 2), nn.GroupNorm(8, out), nn.Mish())
        self.second = nn.Sequential(nn.Conv1d(out, out, kernel, padding=kernel // 2), nn.GroupNorm(8, out), nn.Mish())
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * out))
        self.shortcut = nn.Conv1d(inside, out, 1) if inside != out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[..., None].chunk(2, 1)
        return self.second(scale * self.first(x) + shift) + self.shortcut(x)


def through(blocks: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
    """One conditioned block after the other."""
    for block in blocks.children():
        x = block(x, condition)
    return x


class UNet(nn.Module):
    """The conditional 1-D U-Net of Diffusion Policy (arXiv 2303.04137, §IV-A, the CNN variant).

    The context is taken as the mean of its tokens. Horizons that the levels do not divide are filled up inside.
    """

    def __init__(self, config: UNetConfig, context: int, actions: int) -> None:
        super().__init__()
        if any(d % 8 for d in config.down) or config.kernel % 2 == 0:
            raise BadValue(f"U-Net of {config.down}, kernel {config.kernel}; expected multiples of 8 and an odd kernel")
        self.step, self.multiple = config.step, 2 ** (len(config.down) - 1)
        self.time = nn.Sequential(
            nn.Linear(config.step, 4 * config.step), nn.Mish(), nn.Linear(4 * config.step, config.step)
        )
        condition, kernel = config.step + context, config.kernel
        ends = list(zip((actions, *config.down), config.down, strict=False))

        def pair(inside: int, out: int) -> nn.ModuleList:
            return nn.ModuleList(
                [ConvBlock1d(inside, out, condition, kernel), ConvBlock1d(out, out, condition, kernel)]
            )

        self.down = nn.ModuleList(pair(a, b) for a, b in ends)
        self.shrink = nn.ModuleList(nn.Conv1d(b, b, 3, 2, 1) for _, b in ends[:-1])
        self.middle = pair(config.down[-1], config.down[-1])
        self.up = nn.ModuleList(pair(2 * b, a) for a, b in reversed(ends[1:]))
        self.grow = nn.ModuleList(nn.ConvTranspose1d(a, a, 4, 2, 1) for a, _ in reversed(ends[1:]))
        first = config.down[0]
        self.leave = nn.Sequential(
            nn.Conv1d(first, first, kernel, padding=kernel // 2), nn.GroupNorm(8, first), nn.Mish(),
            nn.Conv1d(first, actions, 1),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        condition = torch.cat([self.time(time_features(t, self.step)), context.mean(1)], -1)
        horizon = x.shape[1]
        x = F.pad(x.transpose(1, 2), (0, -horizon % self.multiple), mode="replicate")
        kept: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            x = through(blocks, x, condition)
            kept.append(x)
            x = self.shrink[level](x) if level < len(self.shrink) else x
        x = through(self.middle, x, condition)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x = grow(through(blocks, torch.cat([x, kept.pop()], 1), condition))
        return self.leave(x)[..., :horizon].transpose(1, 2)


@dataclass(frozen=True)
class ExpertConfig:
    """An action expert: a transformer over the steps of the chunk that reads the context."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    def build(self, context: int, horizon: int, actions: int) -> nn.Module:
        return Expert(self, context, horizon, actions)


class Expert(nn.Module):
    """One token a step, bidirectional, with cross-attention to every context token; the time is added to all."""

    def __init__(self, config: ExpertConfig, context: int, horizon: int, actions: int) -> None:
        super().__init__()
        width = config.transformer.width
        self.width = width
        self.enter = nn.Linear(actions, width)
        self.positions = nn.Parameter(torch.randn(horizon, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.decoder = Transformer(config.transformer, context)
        self.leave = nn.Linear(width, actions)

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        time = self.time(time_features(t, self.width))[:, None]
        return self.leave(self.decoder(self.enter(x) + self.positions + time, memory=context))


DenoiserConfig = MLPConfig | UNetConfig | ExpertConfig


# ------------------------------------------------------------------------------------------------ two ways to use them


@dataclass(frozen=True)
class Diffusion:
    """Denoising diffusion: trained on `steps` noise levels, sampled in `samples` of them (DDIM, no noise added).

    clip: largest normalised action while sampling, where a channel's data do not reach further. predicts: what the network says
    and is trained on: the noise, or the clean actions. Sources: DDPM, Ho et al. 2020, arXiv 2006.11239, eq. 14; DDIM, Song et
    al. 2020, arXiv 2010.02502, eq. 12 with σ = 0; clean actions: Salimans and Ho 2022, arXiv 2202.00512, §4.
    """

    steps: int = 100
    samples: int = 10
    clip: float = 5.0
    predicts: Literal["noise", "actions"] = "noise"

    def limits(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """float[A] lowest and highest action while sampling, for normalised training actions [n, A]: ±clip, or the range of
        the data and a twentieth of it on either side, whichever is further out."""
        low, high = actions.amin(0), actions.amax(0)
        margin = 0.05 * (high - low)
        return (low - margin).clamp(max=-self.clip), (high + margin).clamp(min=self.clip)

    def guess(
        self, net: Denoise, context: Tensor, actions: Tensor, limits: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """One noise level a row: (squared error of what is predicted, absolute error of the implied actions), both [B, T, A].
        limits: as the method of that name; ±clip when not given."""
        signal = c.cosine_signal(self.steps).to(actions.device)
        k = torch.randint(0, self.steps, (len(actions),), device=actions.device)
        at = signal[k][:, None, None]
        noise = torch.randn_like(actions)
        noisy = c.noised(actions, noise, at)
        said = net(noisy, k / self.steps, context).float()
        clean = self.clean(noisy, said.detach(), at).clamp(*(limits or (-self.clip, self.clip)))
        return (said - (noise if self.predicts == "noise" else actions)).square(), (clean - actions).abs()

    def clean(self, noisy: Tensor, said: Tensor, at: Tensor) -> Tensor:
        """The clean actions that an answer of the network means. at: ᾱ of its noise level."""
        return c.denoised(noisy, said, at) if self.predicts == "noise" else said

    def sample(
        self,
        net: Denoise,
        context: Tensor,
        noise: Tensor,
        limits: tuple[Tensor, Tensor] | None = None,
        prior: PriorChunk | None = None,
        how: Guidance | None = None,
    ) -> Tensor:
        """Actions [B, T, A] from noise of the same shape; the same noise gives the same actions. limits: see `guess`.

        With a prior it is guided as a flow is: divided by √ᾱ + √(1 − ᾱ), a noisy chunk lies on the straight way from noise to
        actions at flow time √ᾱ / (√ᾱ + √(1 − ᾱ)), and a DDIM step is Euler's step along it.
        """
        low, high = limits or (torch.tensor(-self.clip), torch.tensor(self.clip))
        signal = c.cosine_signal(self.steps).to(noise.device)
        visited = c.ddim_steps(self.steps, self.samples)
        x = noise
        for k, following in zip(visited, [*visited[1:], -1], strict=True):
            t = torch.full((len(x),), k / self.steps, device=x.device)

            scale = 1.0 if prior is None else float(signal[k].sqrt() + (1 - signal[k]).sqrt())

            def clean_at(y: Tensor, t: Tensor = t, k: int = k, scale: float = scale) -> Tensor:
                return self.clean(y * scale, net(y * scale, t, context).float(), signal[k]).clamp(low, high)

            clean = clean_at(x) if prior is None else x
            if prior is not None:
                at = float(signal[k].sqrt()) / scale
                clean, more = pull(x / scale, clean_at, at, prior, how or Guidance())
                clean = clean + (1 - at) * more  # the actions that the guided velocity leads to
            if following < 0:
                return clean.clamp(low, high)
            left = (x - signal[k].sqrt() * clean) / (
                1 - signal[k]
            ).sqrt()  # the noise that belongs to the clipped actions
            x = c.noised(clean, left, signal[following])
        return x


@dataclass(frozen=True)
class Flow:
    """Flow matching along straight paths, sampled by Euler steps from noise to data. Source: π₀, arXiv 2410.24164, §IV."""

    euler: int = 10

    def guess(self, net: Denoise, context: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """One time a row: (squared error of the velocity, absolute error of the implied actions), both [B, T, A]."""
        t = c.flow_times(len(actions), actions)
        at = t[:, None, None]
        noise = torch.randn_like(actions)
        here = c.flow_point(noise, actions, at)
        said = net(here, t, context).float()
        clean = here + (1 - at) * said.detach()
        return (said - c.flow_velocity(noise, actions)).square(), (clean - actions).abs()

    def sample(
        self, net: Denoise, context: Tensor, noise: Tensor, prior: PriorChunk | None = None, how: Guidance | None = None
    ) -> Tensor:
        """Actions [B, T, A] from noise of the same shape; the same noise gives the same actions."""
        return integrate(lambda x, t: net(x, t, context), noise, self.euler, prior, how)
