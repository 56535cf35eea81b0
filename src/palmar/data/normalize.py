"""Vectors to unit scale and back. The only place for it, so that what is learned is never un-scaled differently.

    mean_std   (x - mean) / std
    quantile   (x - middle of q01, q99) / half their distance: most in -1 … 1, none clipped

A dimension that hardly moves (std below 1e-4, or no range) would be noise blown up: it is mapped to 0, and comes back
as exactly the constant. `constant` names them, because a policy that cannot see a channel should be no surprise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from palmar.errors import BadValue, UnknownName
from palmar.types import Array

Mode = Literal["mean_std", "quantile"]
STILL = 1e-4  # a standard deviation below this is no signal


@dataclass(frozen=True)
class Normalizer:
    """offset, scale: float64[width]; forward is (x - offset) / scale, with scale 0 for the constant dimensions."""

    offset: Array
    scale: Array
    mode: Mode = "mean_std"
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UnknownName("normalisation mode", self.mode, get_args(Mode))
        if self.offset.shape != self.scale.shape or self.offset.ndim != 1:
            raise BadValue(
                f"offset {list(self.offset.shape)} and scale {list(self.scale.shape)}; expected two [width]. "
                "Next: two arrays of one length"
            )
        if not (np.isfinite(self.offset).all() and np.isfinite(self.scale).all() and (self.scale >= 0).all()):
            raise BadValue("statistics hold NaN, infinity or a negative scale. Next: find the frames (palmar inspect)")

    @classmethod
    def fit(cls, values: Array, mode: Mode = "mean_std", names: Sequence[str] = ()) -> Normalizer:
        """From data [n, width] (n ≥ 1). Raises `BadValue` when empty or not finite."""
        if values.ndim != 2 or len(values) == 0 or not np.isfinite(values).all():
            raise BadValue(
                f"cannot fit on {values.dtype}{list(values.shape)}; expected finite numbers [n, width], n ≥ 1. "
                "Next: look for NaN in the data: palmar inspect SET --quality"
            )
        wide = values.astype(np.float64)
        q01, q99 = np.quantile(wide, [0.01, 0.99], axis=0)
        return cls.from_stats(
            {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0), "q01": q01, "q99": q99},
            mode, names,
        )  # fmt: skip

    @classmethod
    def from_stats(cls, stats: Mapping[str, Array], mode: Mode = "mean_std", names: Sequence[str] = ()) -> Normalizer:
        """From a data set's statistics (`Dataset.stats[feature]`)."""
        s = {name: np.asarray(stats[name], np.float64).reshape(-1) for name in ("min", "max", "mean", "std")}
        if mode == "quantile":
            low, high = (np.asarray(stats[q], np.float64).reshape(-1) for q in ("q01", "q99"))
            rare = high - low < 2 * STILL  # quantiles meet, as for a gripper that seldom closes: take the whole range
            low, high = np.where(rare, s["min"], low), np.where(rare, s["max"], high)
            offset, scale = (low + high) / 2, (high - low) / 2
        else:
            offset, scale = s["mean"], s["std"]
        still = (s["std"] < STILL) | (s["max"] - s["min"] <= 0)
        exact = np.where(
            s["max"] == s["min"], s["min"], s["mean"]
        )  # the mean of equal numbers may be off by a rounding
        return cls(np.where(still, exact, offset), np.where(still, 0.0, scale), mode, tuple(names))

    @property
    def constant(self) -> Array:
        """bool[width]: dimensions that are mapped to 0."""
        still: Array = self.scale == 0
        return still

    @property
    def constant_names(self) -> tuple[str, ...]:
        names = self.names or tuple(str(i) for i in range(len(self.scale)))
        return tuple(name for name, still in zip(names, self.constant, strict=True) if still)

    def forward(self, x: Array) -> Array:
        """[..., width] in natural units → float32[..., width] at unit scale; constant dimensions are 0."""
        inverse_scale = np.where(self.constant, 0.0, 1.0 / np.where(self.constant, 1.0, self.scale))
        out: Array = ((np.asarray(x, np.float64) - self.offset) * inverse_scale).astype(np.float32)
        return out

    def inverse(self, y: Array) -> Array:
        """[..., width] at unit scale → float32[..., width] in natural units; constant dimensions are their constant."""
        out: Array = (np.asarray(y, np.float64) * self.scale + self.offset).astype(np.float32)
        return out

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` gives an equal one back, to the last bit."""
        return {
            "mode": self.mode,
            "names": list(self.names),
            "offset": self.offset.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Normalizer:
        offset, scale = np.array(value["offset"], np.float64), np.array(value["scale"], np.float64)
        return cls(offset, scale, value.get("mode", "mean_std"), tuple(value.get("names", ())))
