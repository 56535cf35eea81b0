"""What a camera makes of light: lens, exposure, colour, noise, and the shadow of a person who walks by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from palmar.sim.params import WorldParams
from palmar.types import Array

GAMMA = 2.2  # of pictures: light = value ** GAMMA
READ = (
    "lens_k1",
    "lens_k2",
    "vignetting",
    "exposure",
    "white_balance",
    "brightness",
    "contrast",
    "hue",
    "image_noise",
    "people",
)
PACE = 0.35  # of a person who walks by: pictures a second


def develop(image: Array, params: WorldParams, rng: np.random.Generator, fov: float = 60.0, time: float = 0.0) -> Array:
    """uint8[H, W, 3] in and out, the same array where no parameter of the camera differs from plain simulation.

    In the order of a camera: a person's shadow in the scene at `time` [s], distortion (`fov`: vertical field of view [deg])
    and vignetting of the lens, exposure and white balance (of light), then contrast, brightness, hue and noise (of values).
    """
    p = {name: params[name] for name in READ}
    if (
        not any(v for n, v in p.items() if n not in ("brightness", "contrast"))
        and p["brightness"] == p["contrast"] == 1.0
    ):
        return image
    height, width = image.shape[:2]
    x = image.astype(np.float32) / 255.0
    if p["people"]:
        x *= passing(height, width, p["people"], time)[..., None]
    if p["lens_k1"] or p["lens_k2"]:
        x = resampled(x, *bent(height, width, fov, p["lens_k1"], p["lens_k2"]))
    if p["vignetting"]:
        x *= corners(height, width, p["vignetting"])[..., None]
    if p["exposure"] or p["white_balance"]:
        light = np.array([1 + p["white_balance"], 1.0, 1 - p["white_balance"]]) * 2.0 ** p["exposure"]
        x *= (light ** (1 / GAMMA)).astype(np.float32)
        np.minimum(x, 1.0, out=x)  # the sensor is full
    if p["hue"]:
        x = x @ _hue_matrix(p["hue"]).T
    x = (x - 0.5) * p["contrast"] + 0.5
    x *= p["brightness"]
    if p["image_noise"]:
        x += rng.standard_normal(x.shape, dtype=np.float32) * p["image_noise"]
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def distort(x: Array, y: Array, k1: float, k2: float) -> tuple[Array, Array]:
    """Where a lens shows a ray at x, y (over the distance; any shape): x · (1 + k1 r² + k2 r⁴), y alike (Brown 1966)."""
    r2 = x * x + y * y
    factor = 1 + k1 * r2 + k2 * r2 * r2
    return x * factor, y * factor


@lru_cache(16)
def bent(height: int, width: int, fov: float, k1: float, k2: float) -> tuple[Array, Array]:
    """Row and column float64[H, W] of the straight picture that each pixel of the bent one shows; beyond the edge, the edge.

    Inverts `distort` by a fixed-point iteration.
    """
    f = 0.5 * height / np.tan(np.deg2rad(fov) / 2)
    v, u = np.mgrid[0:height, 0:width].astype(float)
    seen_x, seen_y = (u + 0.5 - width / 2) / f, (v + 0.5 - height / 2) / f
    x, y = seen_x, seen_y
    for _ in range(20):
        r2 = x * x + y * y
        factor = np.maximum(1 + k1 * r2 + k2 * r2 * r2, 0.2)
        x, y = seen_x / factor, seen_y / factor
    return np.clip(y * f + height / 2 - 0.5, 0, height - 1), np.clip(x * f + width / 2 - 0.5, 0, width - 1)


def resampled(image: Array, row: Array, column: Array) -> Array:
    """float32[H, W, C] at rows and columns between its pixels, bilinear."""
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    bottom, right = np.minimum(top + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    a, b = (row - top)[..., None].astype(np.float32), (column - left)[..., None].astype(np.float32)
    upper = image[top, left] * (1 - b) + image[top, right] * b
    lower = image[bottom, left] * (1 - b) + image[bottom, right] * b
    return np.asarray(upper * (1 - a) + lower * a, np.float32)


@lru_cache(16)
def corners(height: int, width: int, loss: float) -> Array:
    """float32[H, W]: the share of the light that a lens lets through, 1 in the middle, 1 - loss in the corners."""
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.maximum(1 - loss * (u**2 + v**2) / 2, 0).astype(np.float32)


def passing(height: int, width: int, depth: float, time: float) -> Array:
    """float32[H, W]: light that a soft slanted shadow leaves, which crosses the picture every few seconds."""
    v, u = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    across = u + 0.3 * v - 0.15
    at = (PACE * time + 0.3) % 2.0 - 0.5  # half of the time outside
    return (1 - depth * np.exp(-(((across - at) / 0.25) ** 4))).astype(np.float32)


def _hue_matrix(turn: float) -> Array:
    """Rotation [3, 3] of RGB about the grey axis by `turn` of a full turn: a hue shift that keeps the mean of R, G, B."""
    c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    k = 1 / 3
    K = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * np.sqrt(k)
    return (c * np.eye(3) + (1 - c) * k * np.ones((3, 3)) + s * K).astype(np.float32)
