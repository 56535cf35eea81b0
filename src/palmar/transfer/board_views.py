"""Views of a board as arrays, and the fit of one camera to them alone: the lens, and where the board is in each view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palmar.errors import BadValue
from palmar.transfer.pinhole import NUMBERS, PinholeLens, project
from palmar.transfer.starts import board_pose, focal_length, homography, mirrored, turns
from palmar.types import Array

LEAST_CORNERS = 6  # in a view: eight unknowns of a homography, and something over
LEAST_VIEWS = 3
STEP = 1e-6  # of central differences, in each unknown's own unit
LENSES: dict[str, tuple[str, ...]] = {
    "simulated": ("f",),
    "plain": ("f", "cx", "cy", "k1", "k2"),
    "full": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3"),
}
"""Which numbers of a lens are fitted: square pixels and no distortion; with it; everything. "f" moves fx and fy together."""
SPREAD = {"k1": 0.5, "k2": 0.5, "k3": 0.5, "p1": 0.02, "p2": 0.02}
"""Standard deviation about 0 that distortion is believed to have before anything is seen; that of cx and cy is `CENTRE` of a
side."""
CENTRE = 0.03
GROSS = 5.0  # a corner this many standard deviations off is no corner of the board
LEAST_GROSS = 0.75  # and at least so far off [px]


@dataclass(frozen=True)
class BoardViews:
    """points: float64[N, 3] corners of the board in its own frame, z = 0 [m]. pixels: float64[V, N, 2], NaN where a corner was not
    seen. positions: float64[V, J] joint positions [rad], [m] that were read in each view; None where no robot is in play.

    Raises `BadValue` for other shapes, fewer than three views, and views of fewer than six corners.
    """

    points: Array
    pixels: Array
    width: int
    height: int
    positions: Array | None = None

    def __post_init__(self) -> None:
        N, V = len(self.points), len(self.pixels)
        q = self.positions
        if self.points.shape != (N, 3) or self.pixels.shape != (V, N, 2) or (q is not None and q.shape[:1] != (V,)):
            raise BadValue(
                f"views have points {list(self.points.shape)}, pixels {list(self.pixels.shape)}, positions "
                f"{None if q is None else list(q.shape)}; expected [N, 3], [V, N, 2], [V, J]. Next: one row of positions a picture"
            )
        if V < LEAST_VIEWS:
            raise BadValue(
                f"{V} views of the board; expected {LEAST_VIEWS} or more, better 20. Next: more pictures with the whole board "
                "in them"
            )
        if (few := int(self.seen.sum(1).min())) < LEAST_CORNERS:
            raise BadValue(
                f"a view has {few} corners; expected {LEAST_CORNERS} or more in each. Next: leave it out, or nearer to the board"
            )
        if q is not None and not np.isfinite(q).all():
            raise BadValue(
                "joint positions are not finite; expected a number of each joint. Next: mend or leave out that view"
            )

    @property
    def seen(self) -> Array:
        """bool[V, N]"""
        return np.asarray(np.isfinite(self.pixels).all(-1))

    def of(self, which: Array) -> BoardViews:
        """Some of the views: bool[V] or indices."""
        return replace(
            self, pixels=self.pixels[which], positions=None if self.positions is None else self.positions[which]
        )


@dataclass
class FreeFit:
    """poses: float64[V, 4, 4] of the board in the camera. noise: standard deviation of a corner [px]. seen: bool[V, N] without
    those that were taken for no corners. information: float64[P, P] of the lens numbers `names`, the poses eliminated."""

    lens: PinholeLens
    poses: Array
    noise: float
    seen: Array
    names: tuple[str, ...]
    information: Array


def lens_columns(names: tuple[str, ...], lens: Array) -> Array:
    """float64[P, 9]: how far each number of a lens moves with each unknown."""
    out = np.zeros((len(names), len(NUMBERS)))
    for row, name in zip(out, names, strict=True):
        if name == "f":
            row[:2] = 1.0, lens[1] / lens[0]
        else:
            row[NUMBERS.index(name)] = 1.0
    return out


def lens_prior(names: tuple[str, ...], lens: Array, width: int, height: int) -> tuple[Array, Array]:
    """(information [P], distance from what is believed [P]) of the unknowns before anything is seen."""
    spread = {**SPREAD, "cx": CENTRE * width, "cy": CENTRE * height}
    middle = {"cx": (width - 1) / 2, "cy": (height - 1) / 2}
    info = np.array([1 / spread[n] ** 2 if n in spread else 0.0 for n in names])
    off = np.array([0.0 if n == "f" else lens[NUMBERS.index(n)] - middle.get(n, 0.0) for n in names])
    return info, off


def fit_free(views: BoardViews, names: tuple[str, ...], fov: float | None = None) -> FreeFit:
    """Least squares over all corners: the lens, and a pose of the board for each view. fov: vertical [deg], where to begin when the
    views tell no focal length by themselves; 60 when not given."""
    seen = views.seen
    H = np.array([homography(views.points[s, :2], p[s]) for p, s in zip(views.pixels, seen, strict=True)])
    middle = np.array([(views.width - 1) / 2, (views.height - 1) / 2])
    f = focal_length(H, middle)
    usual = 0.5 * views.height / np.tan(np.deg2rad(fov or 60.0) / 2)
    if f is None or not usual / 4 < f < usual * 6:
        f = usual
    lens = PinholeLens(views.width, views.height, f, f, middle[0], middle[1])
    poses = np.array([board_pose(h, lens.matrix()) for h in H])
    problem = _Free(views, names, lens.numbers)
    found = problem.solve(lens.numbers, poses, seen)
    for _ in range(4):  # the mirrored pose where it fits better, then without gross errors
        numbers, poses, noise, info = found
        other = np.array([mirrored(p) for p in poses])
        tried = problem.poses_only(numbers, other, seen)
        better = problem.cost(numbers, tried, seen) < problem.cost(numbers, poses, seen)
        poses = np.where(better[:, None, None], tried, poses)
        error = np.linalg.norm(problem.error(numbers, poses), axis=-1)
        usual = 1.4826 * float(np.median(error[seen])) / 1.1774  # the median of a Rayleigh distribution is 1.1774 sigma
        own = np.nanmedian(
            np.where(seen, error, np.nan), axis=1, keepdims=True
        )  # a view that is bent loses its worst first
        close = views.seen & (error < np.maximum(max(GROSS * usual, LEAST_GROSS), 2 * own))
        seen = np.where((close.sum(1) >= LEAST_CORNERS)[:, None], close, views.seen)
        found = problem.solve(numbers, poses, seen)
    numbers, poses, noise, info = found
    return FreeFit(PinholeLens(views.width, views.height, *numbers.tolist()), poses, noise, seen, names, info)


class _Free:
    """Levenberg and Marquardt, the poses eliminated block by block (Schur complement)."""

    def __init__(self, views: BoardViews, names: tuple[str, ...], lens: Array) -> None:
        self.views, self.names = views, names
        self.columns = lens_columns(names, lens)

    def error(self, numbers: Array, poses: Array) -> Array:
        """float64[..., V, N, 2] [px], numbers [..., 9], poses [..., V, 4, 4]; NaN where nothing was seen."""
        points = self.views.points @ np.swapaxes(poses[..., :3, :3], -1, -2) + poses[..., None, :3, 3]
        return project(points, numbers[..., None, None, :]) - self.views.pixels

    def cost(self, numbers: Array, poses: Array, seen: Array) -> Array:
        """float64[V]: sum of squares [px²]."""
        return np.where(seen, (self.error(numbers, poses) ** 2).sum(-1), 0.0).sum(-1)

    def _moved(self, poses: Array, steps: Array) -> Array:
        """poses [V, 4, 4] turned and moved by steps [..., 6] in the camera's frame."""
        out = np.broadcast_to(poses, (*steps.shape[:-1], 4, 4)).copy() if steps.ndim > 1 else poses.copy()
        out[..., :3, :3] = turns(steps[..., :3]) @ out[..., :3, :3]
        out[..., :3, 3] += steps[..., 3:]
        return out

    def _slopes(self, numbers: Array, poses: Array, seen: Array) -> tuple[Array, Array, Array]:
        """Error [V, M], its slope along the lens [V, M, P] and along the poses [V, M, 6]; 0 where nothing was seen."""
        V = len(poses)
        mask = seen[..., None]
        clean = lambda e: np.where(mask, e, 0.0).reshape(*e.shape[:-3], V, -1)  # noqa: E731
        lens = [
            (self.error(numbers + STEP * c, poses) - self.error(numbers - STEP * c, poses)) / (2 * STEP)
            for c in self.columns
        ]
        pose = []
        for k in range(6):
            step = np.zeros((V, 6))
            step[:, k] = STEP
            pose.append(
                (self.error(numbers, self._moved(poses, step)) - self.error(numbers, self._moved(poses, -step)))
                / (2 * STEP)
            )
        return (
            clean(self.error(numbers, poses)), np.stack([clean(x) for x in lens], -1), np.stack([clean(x) for x in pose], -1),
        )  # fmt: skip

    def poses_only(self, numbers: Array, poses: Array, seen: Array) -> Array:
        """The poses nearest to these that fit best, the lens as it is."""
        damping = np.full(len(poses), 1e-3)
        cost = self.cost(numbers, poses, seen)
        for _ in range(15):
            e, _, P = self._slopes(numbers, poses, seen)
            A = np.swapaxes(P, 1, 2) @ P
            D = np.einsum("vii->vi", A)[:, :, None] * np.eye(6)
            step = -np.linalg.solve(
                A + damping[:, None, None] * D + 1e-12 * np.eye(6), np.swapaxes(P, 1, 2) @ e[..., None]
            )
            trial = self._moved(poses, step[..., 0])
            new = self.cost(numbers, trial, seen)
            ok = new < cost
            poses = np.where(ok[:, None, None], trial, poses)
            cost, damping = np.where(ok, new, cost), np.where(ok, damping / 10, damping * 10)
        return poses

    def solve(self, numbers: Array, poses: Array, seen: Array) -> tuple[Array, Array, float, Array]:
        """(lens numbers, poses, noise [px], information of the lens)."""
        v = self.views
        freedom = max(2 * int(seen.sum()) - 6 * len(poses) - len(self.names), 1)
        damping, noise = 1e-3, 1.0

        def total(n: Array, p: Array) -> float:
            info, off = lens_prior(self.names, n, v.width, v.height)
            return float(self.cost(n, p, seen).sum() / noise**2 + (info * off**2).sum())

        schur = np.zeros((len(self.names),) * 2)
        for turn in range(2):
            if turn:
                noise = max(float(np.sqrt(self.cost(numbers, poses, seen).sum() / freedom)), 1e-4)
            cost = total(numbers, poses)
            for _ in range(40):
                e, L, P = self._slopes(numbers, poses, seen)
                info, off = lens_prior(self.names, numbers, v.width, v.height)
                A = np.einsum("vmp,vmq->pq", L, L) / noise**2 + np.diag(info)
                W = np.swapaxes(L, 1, 2) @ P / noise**2
                B = np.swapaxes(P, 1, 2) @ P / noise**2
                a = np.einsum("vmp,vm->p", L, e) / noise**2 + info * off
                b = (np.swapaxes(P, 1, 2) @ e[..., None])[..., 0] / noise**2
                schur = A - np.einsum("vpi,vij,vqj->pq", W, np.linalg.pinv(B), W)
                B = B + damping * np.einsum("vii->vi", B)[:, :, None] * np.eye(6) + 1e-9 * np.eye(6)
                Bi = np.linalg.inv(B)
                S = A + damping * np.diag(np.diag(A)) - np.einsum("vpi,vij,vqj->pq", W, Bi, W)
                lens_step = -np.linalg.lstsq(S, a - np.einsum("vpi,vij,vj->p", W, Bi, b), rcond=1e-14)[0]
                pose_step = -(Bi @ (b + np.einsum("vpi,p->vi", W, lens_step))[..., None])[..., 0]
                trial = numbers + lens_step @ self.columns, self._moved(poses, pose_step)
                new = total(*trial) if trial[0][:2].min() > 1 else np.inf
                if new < cost:
                    done = cost - new < 1e-9 * max(cost, 1.0)
                    (numbers, poses), cost, damping = trial, new, damping / 10
                    if done:
                        break
                else:
                    damping *= 10
                    if damping > 1e8:
                        break
        noise = max(float(np.sqrt(self.cost(numbers, poses, seen).sum() / freedom)), 1e-6)
        return numbers, poses, noise, schur
