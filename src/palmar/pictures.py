"""Pictures in another size: one rule, used alike when a data set is cached for training and when a policy acts.

Area averaging where a side shrinks, bilinear interpolation where it grows. The weights are multiples of 1/256 and every sum is
a whole number below 2²⁴, which float32 holds exactly: the result is the same bit for bit on every machine, one picture at a
time or many.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from palmar.choices import FIT, FITS, Fit
from palmar.errors import BadValue, UnknownName
from palmar.types import Array

ImageSize = int | tuple[int, int] | Mapping[str, tuple[int, int]]
"""The short side [px], (height, width) of every camera, or {camera: (height, width)}."""
ONE = 256  # the weights of an output pixel add up to it


def fit(images: Array, height: int, width: int, how: Fit = FIT) -> Array:
    """uint8[..., H, W, 3] → uint8[..., height, width, 3]; the array itself where it has that size already.

    how: "stretch" scales each side on its own, so the whole picture stays and its proportions may change; "crop" keeps the
    proportions, covers the new size and cuts both ends of the longer side alike; "pad" keeps them too, shows everything and
    adds black. Raises `BadValue` for another type or shape and for a size below 1, `UnknownName` for another `how`.
    """
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3 or 0 in images.shape[-3:]:
        raise BadValue(
            f"pictures are {images.dtype}{list(images.shape)}; expected uint8[..., H, W, 3]. Next: RGB, 8 bits a channel"
        )
    if images.shape[-3:-1] == (height, width) and how in FITS:
        return images
    return Resizer(images.shape[-3], images.shape[-2], height, width, how)(images)


class Resizer:
    """`fit` for pictures of one size, its weights worked out once. Call it with uint8[..., H, W, 3]."""

    def __init__(self, height: int, width: int, to_height: int, to_width: int, how: Fit = FIT) -> None:
        if how not in FITS:
            raise UnknownName("way to fit a picture", how, FITS)
        if min(to_height, to_width) < 1:
            raise BadValue(f"picture size {to_height}×{to_width} px; expected 1 or more each. Next: HEIGHT WIDTH")
        self.before, self.after = (height, width), (to_height, to_width)
        scaled = scaled_size(self.before, self.after, how)
        self._rows, self._columns = _Along(height, scaled[0]), _Along(width, scaled[1])
        self._scaled = scaled

    def __call__(self, images: Array) -> Array:
        """The array itself where nothing changes."""
        if images.shape[-3:] != (*self.before, 3):
            got = "×".join(map(str, images.shape[-3:-1]))
            raise BadValue(
                f"a picture of {got} px; expected {self.before[0]}×{self.before[1]}. Next: one camera, one picture size"
            )
        if self.before == self.after:
            return images
        out = np.zeros((*images.shape[:-3], *self.after, 3), np.uint8)
        many = out.reshape(-1, *self.after, 3)
        (cut_y, put_y), (cut_x, put_x) = (_middle(s, a) for s, a in zip(self._scaled, self.after, strict=True))
        for i, image in enumerate(images.reshape(-1, *self.before, 3)):
            many[i, put_y, put_x] = self._one(image)[cut_y, cut_x]
        return out

    def _one(self, image: Array) -> Array:
        """uint8[H, W, 3] → uint8[h, w, 3] in the scaled size: rows, then columns, both as sums over the first axis."""
        height, width = self._scaled
        lines = self._rows(image.reshape(len(image), -1))  # [h, W·3]
        lines = self._columns(np.ascontiguousarray(lines.T).reshape(self.before[1], -1))  # [w, 3·h]
        whole = lines.reshape(width * 3, height).T
        scale = ONE * ONE
        return ((whole + scale / 2) * np.float32(1 / scale)).astype(np.uint8).reshape(height, width, 3)


def scaled_size(before: tuple[int, int], after: tuple[int, int], how: Fit) -> tuple[int, int]:
    """(height, width) to which a picture is scaled before anything is cut off or added."""
    if how == "stretch":
        return after
    ratios = [a / b for a, b in zip(after, before, strict=True)]
    by = (max if how == "crop" else min)(ratios)
    sides = [max(1, round(b * by)) for b in before]
    return sides[0], sides[1]


def size_for(before: tuple[int, int], short: int, multiple: int = 16) -> tuple[int, int]:
    """(height, width) with a short side of `short` [px], or as near to it as a multiple of `multiple` comes, and about the
    proportions of `before`; never larger than before where its own size will do (multiples of 8). Raises `BadValue`."""
    if short < 16:
        raise BadValue(f"a short side of {short} px; expected 16 or more. Next: 96 suits the tiny presets")
    if min(before) <= short and not any(side % 8 for side in before):
        return before
    by = min(short, min(before)) / min(before)
    sides = [max(multiple, multiple * round(side * by / multiple)) for side in before]
    return sides[0], sides[1]


def sizes_for(recorded: Mapping[str, tuple[int, int]], wanted: ImageSize | None) -> dict[str, tuple[int, int]]:
    """{camera: (height, width)} after resizing; as recorded with None, or for a camera that `wanted` does not name.
    Raises `BadValue` for a size below 1."""
    if wanted is None:
        return dict(recorded)
    if isinstance(wanted, int):
        return {camera: size_for(size, wanted) for camera, size in recorded.items()}
    given = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(recorded, tuple(wanted))
    sizes = {}
    for camera, size in recorded.items():
        chosen = tuple(given.get(camera, size))
        if len(chosen) != 2 or min(chosen) < 1:
            raise BadValue(
                f"picture size {chosen} of camera '{camera}'; expected (height, width) in pixels. "
                "Next: such as (240, 320)"
            )
        sizes[camera] = (int(chosen[0]), int(chosen[1]))
    return sizes


def _middle(scaled: int, after: int) -> tuple[slice, slice]:
    """What of a scaled side is kept, and where it is put in the new one."""
    side = min(scaled, after)
    cut, put = (scaled - side) // 2, (after - side) // 2
    return slice(cut, cut + side), slice(put, put + side)


class _Along:
    """Turns [before, L] into float32[after, L], `ONE` times its weighted means along the first axis."""

    def __init__(self, before: int, after: int) -> None:
        self.start, self.weights = _windows(before, after)
        count, self.taps = self.weights.shape
        self.touching = np.array_equal(self.start, np.arange(count) * self.taps) and count * self.taps == before

    def __call__(self, x: Array) -> Array:
        x, weights = x.astype(np.float32), self.weights
        if self.touching:
            return np.asarray(np.matmul(weights[:, None], x.reshape(len(weights), self.taps, -1))[:, 0])
        out: Array = weights[:, :1] * x[self.start]
        for k in range(1, self.taps):
            out += weights[:, k : k + 1] * x[self.start + k]
        return out


def _windows(before: int, after: int) -> tuple[Array, Array]:
    """For each pixel of the new side: where its window begins in the old one, int[after], and float32[after, taps] whole
    numbers that add up to `ONE`."""
    ratio = before / after
    at = np.arange(after)
    if after > before:  # bilinear, between pixel centres
        centre = np.clip((at + 0.5) * ratio - 0.5, 0, before - 1)
        start = np.minimum(np.floor(centre).astype(int), max(0, before - 2))
        second = np.round(ONE * (centre - start))
        return start, np.stack([ONE - second, second], 1).astype(np.float32)[:, : min(2, before)]
    low, high = at * before / after, (at + 1) * before / after
    taps = min(before, int((np.ceil(high) - np.floor(low)).max()))
    start = np.minimum(np.floor(low).astype(int), before - taps)
    edges = start[:, None] + np.arange(taps + 1)
    share = (np.clip(edges, low[:, None], high[:, None]) - low[:, None]) / ratio
    return start, np.diff(np.round(ONE * share), axis=1).astype(np.float32)
