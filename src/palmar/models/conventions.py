"""Numerical conventions, decided here and nowhere else.

flow        t = 0 is noise and t = 1 is data; velocity = data - noise (π₀, arXiv 2410.24164; its released code counts backwards)
diffusion   step k = 0 has the least noise and k = N - 1 the most; signal(k) is ᾱ, falling from about 1 to about 0
bins        bin i covers edges[i] ≤ x < edges[i + 1] and answers with its middle; what lies outside goes to the end bins
rotations   unit quaternions (w, x, y, z) with w ≥ 0, as MuJoCo and `palmar.kinematics` have them
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from palmar.errors import BadValue


def flow_point(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """Where a straight path from noise (t = 0) to data (t = 1) is at `t`, which must broadcast."""
    return noise + t * (data - noise)


def flow_velocity(noise: Tensor, data: Tensor) -> Tensor:
    """d flow_point / dt: what the network learns."""
    return data - noise


def flow_times(count: int, like: Tensor) -> Tensor:
    """float32[count] in 0 … 0.999, more of them near the noise: 0.999 (1 - Beta(1.5, 1)). Source: π₀, appendix B."""
    # Beta(1.5, 1) has the distribution function x^1.5, so a uniform number to the power of 2/3 is a draw of it
    return 0.999 * (1 - torch.rand(count, device=like.device) ** (2 / 3))


def cosine_signal(steps: int) -> Tensor:
    """ᾱ[k], float32[steps]: share of the signal's variance left at step k. Each β is at most 0.999.

    Source: Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17; the schedule of Diffusion Policy and Octo.
    """
    if steps < 1:
        raise BadValue(f"diffusion has {steps} steps; expected 1 or more")
    at = np.arange(steps + 1) / steps  # in numpy: a model that is traced must not compute its constants as tensors
    left = np.cos((at + 0.008) / 1.008 * math.pi / 2) ** 2
    beta = np.minimum(1 - left[1:] / left[:-1], 0.999)
    return torch.tensor(np.cumprod(1 - beta).tolist(), dtype=torch.float32)


def noised(data: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """√ᾱ data + √(1 - ᾱ) noise."""
    return signal.sqrt() * data + (1 - signal).sqrt() * noise


def denoised(noisy: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """The data that `noised` made `noisy` from, if `noise` was its noise."""
    return (noisy - (1 - signal).sqrt() * noise) / signal.sqrt()


def ddim_steps(steps: int, samples: int) -> list[int]:
    """The noise levels that DDIM visits, from the noisiest: `samples` of 0 … steps - 1, both ends among them.

    The numbers are those of `torch.linspace`, made in numpy: a model that is traced must not compute its steps as tensors.
    """
    if not 1 <= samples <= steps:
        raise BadValue(f"{samples} sampling steps of {steps} diffusion steps; expected 1 … {steps}")
    noisiest = np.float32(steps - 1)
    step, half = noisiest / np.float32(max(samples - 1, 1)), samples // 2
    first = [noisiest - step * np.float32(i) for i in range(half)]
    last = [step * np.float32(samples - 1 - i) for i in range(half, samples)] if samples > 1 else [noisiest]
    return [round(float(k)) for k in (*first, *last)]


def uniform_edges(low: float, high: float, bins: int, actions: int) -> Tensor:
    """float32[actions, bins + 1] of equal width from `low` to `high`."""
    if bins < 2 or not low < high:
        raise BadValue(f"{bins} bins from {low} to {high}; expected 2 or more, and low < high")
    return torch.linspace(low, high, bins + 1).expand(actions, -1).clone()


def quantile_edges(values: Tensor, bins: int) -> Tensor:
    """float32[A, bins + 1] with about as many of `values` [n, A] in each bin; ends at their minimum and maximum."""
    if values.ndim != 2 or len(values) < 2 or not torch.isfinite(values).all():
        raise BadValue(f"cannot take quantiles of {list(values.shape)} values; expected finite [n, actions] with n ≥ 2")
    ordered = values.double().sort(0).values
    at = torch.linspace(0, len(values) - 1, bins + 1, dtype=torch.float64, device=values.device)
    below = at.floor().long()
    share = (at - below)[:, None]
    edges = torch.lerp(ordered[below], ordered[(below + 1).clamp(max=len(values) - 1)], share).T
    # equal values make bins of no width, which no number would fall into: give each a little
    least = 1e-6 * (edges[:, -1:] - edges[:, :1]).clamp(min=1.0)
    ramp = least * torch.arange(bins + 1, dtype=torch.float64, device=values.device)
    return ((edges - ramp).cummax(1).values + ramp).float()


def covering_edges(values: Tensor, bins: int) -> Tensor:
    """float32[A, bins + 1] from the minimum to the maximum of `values` [n, A]. Half of the bins hold about as many values each
    (`quantile_edges`), the others are equally wide, and all edges are sorted: no bin is wider than 2 / bins of the range or
    holds more than 2 / bins of the values. A rare extreme, as of a gripper that seldom closes, is answered to within
    1 / bins of the range, where bins of quantiles alone may join it with what is common."""
    count = bins // 2
    many = quantile_edges(values, count).double()
    wide = torch.linspace(0, 1, bins - count + 2, dtype=torch.float64, device=values.device)[1:-1]
    low, high = many[:, :1], many[:, -1:]
    edges = torch.cat([many, low + (high - low) * wide], 1).sort(1).values
    least = 1e-6 * (high - low).clamp(min=1.0)
    ramp = least * torch.arange(bins + 1, dtype=torch.float64, device=values.device)
    return ((edges - ramp).cummax(1).values + ramp).float()


def to_bins(x: Tensor, edges: Tensor) -> Tensor:
    """Bin numbers int64[..., A] of x [..., A]; edges [A, bins + 1]."""
    inner = edges[:, 1:-1].contiguous()
    columns = x.to(edges.dtype).flatten(0, -2).T.contiguous()
    return torch.searchsorted(inner, columns, right=True).T.reshape(x.shape)


def from_bins(bins: Tensor, edges: Tensor) -> Tensor:
    """The middles of the bins [..., A]."""
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    return middles[torch.arange(len(edges), device=edges.device), bins]


def unit_quaternion(x: Tensor) -> Tensor:
    """Any [..., 4] → the unit quaternion wxyz of the same rotation with w ≥ 0; of a zero, no rotation."""
    one = x.new_tensor([1.0, 0.0, 0.0, 0.0])
    length = x.norm(dim=-1, keepdim=True)
    unit = torch.where(length > 1e-8, x / length.clamp(min=1e-8), one)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def rotation_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle between two unit quaternions wxyz [rad], 0 … π; b and -b are the same rotation."""
    # by the chord, not acos of the product: its gradient is finite where the two agree
    chord = torch.minimum((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    return 4 * torch.asin((chord / 2).clamp(max=2**-0.5))


def quaternion_matrix(q: Tensor) -> Tensor:
    """[..., 3, 3] of unit quaternions wxyz: turns column vectors."""
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
