"""Friction from cubes that slide to rest: the way along each slide, and one fit of all slides at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from palmar.sim.params import SPACE
from palmar.transfer.diagnose import Recordings, Slide
from palmar.transfer.identification import Estimate
from palmar.transfer.search import NEAR, Bounds, half_range, judge, unknown
from palmar.transfer.solver import SOLVER, t95
from palmar.types import Array

FREE = 0.06  # share of the gripper's opening beyond the grip from which on the cube counts as let go
LANDED = 2e-3  # over its resting height the cube counts as on the table [m]
KEPT = 0.75  # share of the slides the model must be able to follow before friction is claimed
TIPS, TIPPING = 1.1, 0.12  # from this friction on the cube rocks as it slides, which costs this share of accuracy
SPEEDS = (0.0, 2.0)  # the search of the speed a slide begins with [m/s]


def slide_way(slide: Slide, dt: float) -> Array | None:
    """Way [T] [m] of the cube along its slide, from the first tick it is surely free until it rests; None if too short."""
    gone = np.flatnonzero(slide.opening > slide.opening[0] + FREE)
    if not len(gone):
        return None
    height = slide.item[:, 2] - np.median(slide.item[-10:, 2])
    landed = np.flatnonzero(height[gone[0] :] < LANDED)
    if not len(landed):
        return None
    track = slide.item[gone[0] + landed[0] :, :2]
    far = int(np.argmax(np.linalg.norm(track - track[0], axis=1)))
    along = track[far] - track[0]
    length = float(np.linalg.norm(along))
    way = (track - track[0]) @ (along / max(length, 1e-9))
    end = int(np.argmax(way > length - 1.5e-3)) + 3  # a cube that tipped rocks back afterwards
    return way[:end] if length > 5e-3 and 5 <= end <= round(0.4 / dt) else None


def fit_friction(sysid: Any, recordings: Recordings, bounds: Bounds) -> tuple[Estimate, float]:
    """Friction from all slides at once; a slide the model cannot follow (the cube tumbled, a finger caught it) is left out."""
    ways = [w for s in recordings.slides if (w := slide_way(s, recordings.dt)) is not None]
    sigma, seen = recordings.tracker_noise, len(recordings.slides)
    least = max(3, int(np.ceil(KEPT * seen)))
    value, half, shift, left = SPACE["friction"].nominal, np.inf, 0.0, np.inf
    while len(ways) >= least:
        value, half, shift, rms = _fit_slides(sysid, ways, sigma, recordings.dt, bounds)
        left = float(np.sqrt(np.mean(rms**2)) * sigma)
        worst = int(np.argmax(rms))
        if rms[worst] < 2.0:
            break
        del ways[worst]
    if len(ways) < least:  # fewer agree with each other only because the rest was left out
        return unknown("friction", f"{len(ways)} of {seen} slides can be used; needs at least {least}"), 0.0
    note = f"{len(ways)} of {seen} slides; tracker noise {sigma * 1e3:.2g} mm, left {left * 1e3:.2g} mm"
    if value > TIPS:
        half, note = float(np.hypot(half, TIPPING * value)), f"{note}; the cube rocks at such friction"
    return judge("friction", value, value - half, value + half, note, bounds), shift


def _fit_slides(
    sysid: Any, ways: Sequence[Array], sigma: float, dt: float, bounds: Bounds
) -> tuple[float, float, float, Array]:
    """Friction, its 95 % half-width, its sensitivity, and what each slide leaves [S], in standard deviations.

    Speed and place each slide begins with are nuisances of its own.
    """
    from palmar.transfer.replay import simulate_slide

    n, longest = len(ways), max(len(w) for w in ways)
    params = sysid.ParameterDict()
    params.add(sysid.Parameter("friction", float(np.clip(1.0, *bounds)), *bounds))
    for i, w in enumerate(ways):
        params.add(sysid.Parameter(f"speed{i}", float(np.clip((w[3] - w[0]) / (3 * dt) * 1.2, 0.1, 1.8)), *SPEEDS))

    def residuals(x: Array) -> Array:
        columns = x.reshape(n + 1, -1)
        simulated = simulate_slide(np.tile(columns[0], n), columns[1:].ravel(), longest, dt)
        rows = []
        for w, s in zip(ways, simulated.reshape(n, columns.shape[1], -1), strict=True):
            error = (w - s[:, : len(w)]) / sigma
            rows.append((error - error.mean(axis=1, keepdims=True)).T)  # where it begins is free
        flat = np.concatenate(rows)
        return flat[:, 0] if x.ndim == 1 else flat

    def jacobian(x: Array, _: Array) -> Array:
        steps = np.diag([0.05, *[0.02] * n])
        rows = residuals(np.concatenate([x + steps, np.maximum(x - steps, 0.01)], axis=1))
        return (rows[:, : n + 1] - rows[:, n + 1 :]) / np.diag(x + steps - np.maximum(x - steps, 0.01))

    f = lambda x, _: ([residuals(x)], None, None)  # noqa: E731
    params, result = sysid.optimize(params, f, verbose=False, jacobian=jacobian, **{**SOLVER, "max_iters": 12})
    x = np.asarray(result.x).ravel()
    r, jac = residuals(x), jacobian(x[:, None], x)
    white = float(sysid.calculate_intervals([r], jac)[1][0])
    # What each slide alone would change, to first order: their spread holds whatever the model lacks.
    cuts = np.cumsum([len(w) for w in ways])[:-1]
    alone, weight = np.empty(n), np.empty(n)
    for i, (a, b) in enumerate(zip(np.split(jac, cuts), np.split(r, cuts), strict=True)):
        pair = a[:, [0, i + 1]]
        alone[i] = -np.linalg.lstsq(pair, b, rcond=None)[0][0]
        weight[i] = 1.0 / max(np.linalg.pinv(pair.T @ pair)[0, 0], 1e-12)
    share = weight / weight.sum()
    spread = t95(n - 1) * float(np.sqrt(np.sum(share**2 * alone**2) * n / (n - 1)))
    rms = np.array([np.sqrt(np.mean(b**2)) for b in np.split(r, cuts)])
    rms[x[1:] >= SPEEDS[1] - NEAR * (SPEEDS[1] - SPEEDS[0])] = (
        np.inf
    )  # faster than the search: friction would make up for it
    return float(x[0]), max(white, spread), float(np.linalg.norm(jac[:, 0]) * half_range("friction")), rms
