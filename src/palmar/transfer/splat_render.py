"""Pictures of Gaussian splats in numpy: projected as 2D Gaussians (EWA), sorted by depth, composited front to back in small tiles.

Good enough for the pictures that policies look at, 96 to 240 px. Source: Zwicker, Pfister, van Baar, Gross 2001, "EWA splatting";
the numbers (0.3 px² of blur, alpha 1/255 … 0.99) are those of 3D Gaussian splatting, so that a scan looks as it was learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.transfer.pinhole import PinholeLens
from palmar.transfer.splats import Splats
from palmar.types import Array

NEAR = 0.05  # depth under which a splat is not drawn [m]
BLUR = 0.3  # px², of a pixel
LEAST, MOST = 1 / 255, 0.99  # of alpha
CUT = 3.0  # standard deviations
BESIDE = 1.3  # slopes are taken at most so far outside of the picture
TILE = 8  # px
AT_ONCE = 256  # splats
OPAQUE = 1e-3  # transmittance under which nothing behind is seen


@dataclass(frozen=True)
class SplatPicture:
    """colour: float32[H, W, 3], 0 … 1, of the splats alone, not divided by their cover. through: float32[H, W], the share of
    what lies behind that is still seen. depth: float32[H, W], mean depth of what is seen of the splats [m], inf where nothing
    is."""

    colour: Array
    through: Array
    depth: Array

    def over(self, behind: Array) -> Array:
        """uint8[H, W, 3]: before a picture uint8[H, W, 3]."""
        out = self.colour + self.through[..., None] * (behind.astype(np.float32) / 255)
        return np.asarray((np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8))


@dataclass(frozen=True)
class Projected:
    """Splats in a picture, nearest first: at: float[n, 2] centre [px]; covariance: float[n, 2, 2] [px²]; depth: float[n] [m];
    index: int[n] which splats they are."""

    at: Array
    covariance: Array
    depth: Array
    index: Array


def project_splats(splats: Splats, lens: PinholeLens, camera: Array) -> Projected:
    """camera: float64[4, 4], its pose in the splats' frame, axes of computer vision. Distortion is left out: a wide Gaussian has no
    straight slope under it."""
    R, eye = camera[:3, :3], camera[:3, 3]
    seen = (splats.positions - eye) @ R
    index = np.flatnonzero(seen[:, 2] > NEAR)
    index = index[np.argsort(seen[index, 2], kind="stable")]
    x, y, z = seen[index].T
    at = np.stack([lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy], 1)
    wide, high = BESIDE * lens.width / 2 / lens.fx, BESIDE * lens.height / 2 / lens.fy
    u, v = np.clip(x / z, -wide, wide), np.clip(y / z, -high, high)
    J = np.zeros((len(index), 2, 3))
    J[:, 0, 0], J[:, 0, 2] = lens.fx / z, -lens.fx * u / z
    J[:, 1, 1], J[:, 1, 2] = lens.fy / z, -lens.fy * v / z
    M = J @ R.T
    covariance = M @ splats.covariances()[index] @ np.swapaxes(M, 1, 2) + BLUR * np.eye(2)
    return Projected(at, covariance, z, index)


def draw(splats: Splats, lens: PinholeLens, camera: Array, until: Array | None = None) -> SplatPicture:
    """A picture of `lens.height` × `lens.width`. until: float[H, W], depth behind which splats do not count in each pixel [m]."""
    p = project_splats(splats, lens, camera)
    H, W = lens.height, lens.width
    inverse = np.linalg.inv(p.covariance)
    reach = CUT * np.sqrt(np.stack([p.covariance[:, 0, 0], p.covariance[:, 1, 1]], 1))
    low, high = p.at - reach, p.at + reach
    strength = splats.opacity[p.index]
    inside = (high >= 0).all(1) & (low <= [W - 1, H - 1]).all(1) & (strength > LEAST)
    shade = splats.colours(camera[:3, 3])[p.index]
    colour, through, weighted = (
        np.zeros((H, W, 3), np.float32),
        np.ones((H, W), np.float32),
        np.zeros((H, W), np.float32),
    )
    for top in range(0, H, TILE):
        row = inside & (high[:, 1] >= top) & (low[:, 1] <= top + TILE - 1)
        for left in range(0, W, TILE):
            mine = np.flatnonzero(row & (high[:, 0] >= left) & (low[:, 0] <= left + TILE - 1))
            if not len(mine):
                continue
            cut = np.s_[top : min(top + TILE, H), left : min(left + TILE, W)]
            y, x = np.mgrid[cut]
            pixels = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
            end = None if until is None else until[cut].ravel()
            T, C, D = np.ones(len(pixels)), np.zeros((len(pixels), 3)), np.zeros(len(pixels))
            for first in range(0, len(mine), AT_ONCE):
                some = mine[first : first + AT_ONCE]
                d = pixels[None] - p.at[some][:, None]
                A = inverse[some]
                power = (
                    A[:, None, 0, 0] * d[..., 0] ** 2
                    + 2 * A[:, None, 0, 1] * d[..., 0] * d[..., 1]
                    + A[:, None, 1, 1] * d[..., 1] ** 2
                )
                alpha = np.minimum(strength[some][:, None] * np.exp(-0.5 * power), MOST)
                alpha[(alpha < LEAST) | (power > CUT**2)] = 0.0
                if end is not None:
                    alpha[p.depth[some][:, None] >= end] = 0.0
                left_over = T * np.cumprod(1 - alpha, 0)
                weight = alpha * np.concatenate([T[None], left_over[:-1]])
                C += np.einsum("np,nc->pc", weight, shade[some])
                D += weight.T @ p.depth[some]
                T = left_over[-1]
                if T.max() < OPAQUE:
                    break
            shape = y.shape
            colour[cut], through[cut], weighted[cut] = C.reshape(*shape, 3), T.reshape(shape), D.reshape(shape)
    cover = 1 - through
    depth = np.where(cover > 0.01, weighted / np.maximum(cover, 1e-6), np.inf)
    return SplatPicture(colour, through, depth.astype(np.float32))
