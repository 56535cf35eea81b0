"""A camera's lens as numbers, and the two ways to name its axes.

Computer vision counts x to the right, y down and z into the picture; MuJoCo, and `links.Mount`, count x to the right, y up and z
backwards. `FLIP` turns one into the other. Pixels: the centre of the upper left one is (0, 0), as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmar.errors import BadValue
from palmar.robot_parts import Camera
from palmar.types import Array

FLIP = np.diag([1.0, -1.0, -1.0])
"""Rotation between the axes of computer vision and those of MuJoCo, both ways."""
NUMBERS = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3")
NEAREST = 1e-3  # depth under which nothing is projected [m]


@dataclass(frozen=True)
class PinholeLens:
    """Focal lengths fx, fy and principal point cx, cy [px] of pictures of width × height [px], and distortion.

    k1, k2, k3: radial, p1, p2: tangential, without unit. Source: Brown 1966, "Decentering distortion of lenses", in the order and
    signs of OpenCV. Raises `BadValue` for focal lengths that are not above 0 and numbers that are not finite.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.numbers).all() or min(self.fx, self.fy) <= 0 or min(self.width, self.height) < 1:
            raise BadValue(
                f"lens has {dict(zip(NUMBERS, self.numbers.tolist(), strict=True))} for pictures of {self.width}×{self.height} px; "
                "expected finite numbers and focal lengths above 0. Next: calibrate again, from more views"
            )

    @classmethod
    def of(cls, camera: Camera) -> PinholeLens:
        """The lens of a simulated camera: square pixels, the principal point in the middle, no distortion."""
        f = 0.5 * camera.height / np.tan(np.deg2rad(camera.fov) / 2)
        return cls(camera.width, camera.height, f, f, (camera.width - 1) / 2, (camera.height - 1) / 2)

    @property
    def numbers(self) -> Array:
        """float64[9] in the order of `NUMBERS`."""
        return np.array([getattr(self, n) for n in NUMBERS], float)

    @property
    def fov(self) -> float:
        """Vertical field of view about the middle of the picture [deg], as if there were no distortion."""
        return float(np.rad2deg(2 * np.arctan(0.5 * self.height / self.fy)))

    def matrix(self) -> Array:
        """float64[3, 3]: the camera matrix of OpenCV."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def project(self, points: Array) -> Array:
        """Pixels [..., 2] of points [..., 3] [m] in the camera's frame, axes of computer vision. Points less than 1 mm before the
        lens are projected as if they were there."""
        return project(points, self.numbers)

    def rays(self, pixels: Array, iterations: int = 12) -> Array:
        """Directions [..., 3] with z = 1 that pixels [..., 2] see: `project` undone by fixed-point iteration."""
        numbers = self.numbers
        at = (np.asarray(pixels, float) - numbers[2:4]) / numbers[:2]
        plain = at.copy()
        for _ in range(iterations if numbers[4:].any() else 0):
            plain = plain - (_distorted(plain, numbers) - at)
        return np.concatenate([plain, np.ones((*plain.shape[:-1], 1))], -1)

    def scaled(self, height: int, width: int) -> PinholeLens:
        """The lens of the same pictures in another size."""
        y, x = height / self.height, width / self.width
        distortion = (self.k1, self.k2, self.p1, self.p2, self.k3)
        centre = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return PinholeLens(width, height, self.fx * x, self.fy * y, *centre, *distortion)


def project(points: Array, numbers: Array) -> Array:
    """Pixels [..., 2] of points [..., 3] [m], z forward, under lenses [..., 9] (`NUMBERS`) that broadcast."""
    depth = np.maximum(points[..., 2:], NEAREST)
    return _distorted(points[..., :2] / depth, numbers) * numbers[..., :2] + numbers[..., 2:4]


def _distorted(at: Array, numbers: Array) -> Array:
    if not np.any(numbers[..., 4:]):
        return at
    k1, k2, p1, p2, k3 = (numbers[..., i] for i in range(4, 9))
    x, y = at[..., 0], at[..., 1]
    r2 = np.minimum(x * x + y * y, 25.0)  # far outside of any picture the polynomial would run away
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )


def camera_pose(rotation: Array) -> Array:
    """float64[3, 3]: a rotation of MuJoCo's camera axes (`Mount.rotation`) for those of computer vision, and back."""
    return np.asarray(rotation, float) @ FLIP
