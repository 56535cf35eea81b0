"""The joint fit of a camera on, or beside, a robot: lens, camera, board and joint zero offsets over all reprojection errors.

Each view's joint readings are wrong by something of their own (noise, play, gravity), which moves all corners of that view
together. Taking the corners for independent would make the intervals several times too narrow, so the covariance of a view is
noise² · I + joints² · D Dᵀ with D the slope of its corners along its own joint readings, and both variances are estimated from
the residuals (restricted maximum likelihood; Patterson and Thompson 1971).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palmar.kinematics import Chain
from palmar.transfer.board_views import STEP, BoardViews, FreeFit, lens_columns, lens_prior
from palmar.transfer.pinhole import PinholeLens, project
from palmar.transfer.starts import hand_eye, inverse, posed, turns
from palmar.types import Array

OFFSET_SPREAD = np.deg2rad(3.0)
"""Standard deviation that zero offsets are believed to have before anything is seen: joints are zeroed by eye, or better [rad]."""
GAUGE = 1e-3  # share of a joint's slope that no other unknown can imitate, under which its offset cannot be told at all
JOINTS = np.concatenate([[0.0], np.geomspace(1e-5, 0.1, 33)])  # standard deviations of readings that are tried [rad]
SETTLED = 1e-4  # of a sum of squares in standard deviations: a step that gains less is the last
UNDAMPED = 1e-6  # share of the diagonal (Levenberg and Marquardt) under which a step counts as a whole one
POSE = ("turn_x", "turn_y", "turn_z", "x", "y", "z")


@dataclass
class JointFit:
    """columns: names of the unknowns: of the lens, camera.*, board.*, and offset.0 … of the joints that are free. covariance:
    float64 [P, P] of them. camera, board: float64[4, 4], axes of computer vision. offsets: float64[J] to be added to a reading
    [rad]. noise [px], joints [rad]: standard deviations. error: float64[V, N, 2] [px]. gauge: joints whose offsets cannot be
    told."""

    lens: PinholeLens
    camera: Array
    board: Array
    offsets: Array
    columns: tuple[str, ...]
    covariance: Array
    noise: float
    joints: float
    error: Array
    gauge: tuple[int, ...]

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the intervals: six numbers a view are its own where joint readings are noisy."""
        each = 2 * np.isfinite(self.error[..., 0]).sum(1)
        return int(max((np.minimum(each, 6) if self.joints > 0 else each).sum() - len(self.columns), 1))


class JointProblem:
    """positions of `views` are those of `chain`'s joints. in_hand: the camera moves with the hand and the board stands still;
    False: the other way round. zeros: whether joint zero offsets are unknowns too."""

    def __init__(self, views: BoardViews, chain: Chain, in_hand: bool, free: FreeFit, zeros: bool = True) -> None:
        assert views.positions is not None
        self.views, self.chain, self.in_hand, self.free = views, chain, in_hand, free
        self.names = free.names
        self.J = views.positions.shape[1]
        self.joints: tuple[int, ...] = tuple(range(self.J)) if zeros else ()
        self.slopes = lens_columns(free.names, free.lens.numbers)
        self.lens = free.lens.numbers
        self.offsets = np.zeros(self.J)
        self.noise, self.ratio = max(free.noise, 1e-4), 0.0  # ratio: joints²/noise² [rad²/px²]
        self.camera, self.board = hand_eye(self.hand(self.offsets), free.poses)

    def hand(self, offsets: Array) -> Array:
        """Poses [..., V, 4, 4]: of the hand in the base, or of the base in the hand where the camera is in the hand."""
        assert self.views.positions is not None
        position, rotation = self.chain.forward(self.views.positions + offsets[..., None, :])
        pose = posed(rotation, position)
        return inverse(pose) if self.in_hand else pose

    def at(self, lens: Array, camera: Array, board: Array, hand: Array) -> Array:
        """Error [..., V, N, 2] [px], NaN where nothing was seen."""
        pose = inverse(camera)[..., None, :, :] @ hand @ board[..., None, :, :]
        points = self.views.points @ np.swapaxes(pose[..., :3, :3], -1, -2) + pose[..., None, :3, 3]
        return project(points, lens[..., None, None, :]) - self.views.pixels

    def residual(self, state: tuple[Array, Array, Array, Array]) -> Array:
        lens, camera, board, offsets = state
        return self.at(lens, camera, board, self.hand(offsets))

    def moved(self, state: tuple[Array, Array, Array, Array], steps: Array) -> tuple[Array, Array, Array, Array]:
        """The state after a step float64[..., P] of the unknowns."""
        lens, camera, board, offsets = state
        n = len(self.names)
        zeros = np.zeros((*steps.shape[:-1], self.J))
        zeros[..., list(self.joints)] = steps[..., n + 12 :]
        return (
            lens + steps[..., :n] @ self.slopes, _turned(camera, steps[..., n : n + 6]),
            _turned(board, steps[..., n + 6 : n + 12]), offsets + zeros,
        )  # fmt: skip

    @property
    def columns(self) -> tuple[str, ...]:
        poses = [f"{of}.{p}" for of in ("camera", "board") for p in POSE]
        return (*self.names, *poses, *(f"offset.{j}" for j in self.joints))

    def linear(self, state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Error [V, M], slope along the unknowns [V, M, P] and along each joint's reading [V, M, J]; 0 where nothing was seen."""
        P = len(self.names) + 12
        lens, camera, board, offsets = state
        hand = self.hand(offsets)
        sides = []
        for sign in (STEP, -STEP):  # the joints' slopes need the hand anew, the others do not
            plain = self.at(*self.moved(state, sign * np.eye(P, P + len(self.joints)))[:3], hand)
            sides.append(
                np.concatenate([plain, self.at(lens, camera, board, self.hand(offsets + sign * np.eye(self.J)))])
            )
        slope = (sides[0] - sides[1]) / (2 * STEP)
        mask, V = self.free.seen[..., None], len(self.views.pixels)
        clean = lambda e: np.where(mask, e, 0.0).reshape(*e.shape[:-3], V, -1)  # noqa: E731
        X = np.moveaxis(clean(slope), 0, -1)
        kept = [*range(P), *(P + j for j in self.joints)]
        return clean(self.residual(state)), X[..., kept], X[..., P:]

    def prior(self, state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        """(information [P], distance from what is believed [P])."""
        info, off = lens_prior(self.names, state[0], self.views.width, self.views.height)
        each = np.full(len(self.joints), OFFSET_SPREAD**-2)
        return np.concatenate([info, np.zeros(12), each]), np.concatenate(
            [off, np.zeros(12), state[3][list(self.joints)]]
        )

    def solve(self) -> JointFit:
        """The fit, from the closed form on. Joints whose offset nothing can tell from a turn of camera or board are left out
        first."""
        state = (self.lens, self.camera, self.board, self.offsets)
        gauge: tuple[int, ...] = ()
        if self.joints:
            gauge = self._gauge(state)
            self.joints = tuple(j for j in self.joints if j not in gauge)
        for _ in range(4):
            state = self._minimise(state)
            before = self.ratio
            self._variances(state)
            if abs(np.sqrt(self.ratio) - np.sqrt(before)) <= 0.02 * np.sqrt(max(self.ratio, 1e-30)):
                break
        state = self._minimise(state)
        e, X, D = self.linear(state)
        H = weighted(e, X, Shared.of(D), self.ratio)[0] / self.noise**2 + np.diag(self.prior(state)[0])
        scale = 1 / np.sqrt(np.maximum(np.diag(H), 1e-300))
        covariance = np.linalg.pinv(H * scale[:, None] * scale, rcond=1e-15, hermitian=True) * scale[:, None] * scale
        lens, camera, board, offsets = state
        v = self.views
        return JointFit(
            PinholeLens(v.width, v.height, *lens.tolist()), camera, board, offsets, self.columns, covariance, self.noise,
            self.noise * float(np.sqrt(self.ratio)), np.where(self.free.seen[..., None], self.residual(state), np.nan), gauge,
        )  # fmt: skip

    def _gauge(self, state: tuple[Array, Array, Array, Array]) -> tuple[int, ...]:
        """Joints whose slope the others imitate: one after another, those beside camera and board first."""
        _, X, _ = self.linear(state)
        n = len(self.names)
        basis, found = X[..., : n + 12].reshape(-1, n + 12), []
        basis = basis / np.maximum(np.linalg.norm(basis, axis=0), 1e-300)
        for j in self.joints:
            column = X[..., n + 12 + j].reshape(-1)
            length = float(np.linalg.norm(column))
            left = column - basis @ np.linalg.lstsq(basis, column, rcond=1e-12)[0]
            if length == 0 or float(np.linalg.norm(left)) < GAUGE * length:
                found.append(j)
        return tuple(found)

    def _minimise(self, state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        damping = 10 * UNDAMPED
        noise2 = self.noise**2
        shared = Shared.of(self.linear(state)[2])

        def total(at: tuple[Array, Array, Array, Array]) -> float:
            mask, V = self.free.seen[..., None], len(self.views.pixels)
            e = np.where(mask, self.residual(at), 0.0).reshape(V, -1)
            info, off = self.prior(at)
            return float((shared.white(e[..., None], self.ratio) ** 2).sum()) / noise2 + float((info * off**2).sum())

        for _ in range(40):
            e, X, D = self.linear(state)
            shared = Shared.of(D)
            H, g, _ = weighted(e, X, shared, self.ratio)
            info, off = self.prior(state)
            H, g = H / noise2 + np.diag(info), g / noise2 + info * off
            cost = total(state)
            for _ in range(8):
                A = H + damping * np.diag(np.diag(H)) + 1e-12 * np.eye(len(H))
                scale = 1 / np.sqrt(np.diag(A))
                step = -scale * np.linalg.solve(A * scale[:, None] * scale, scale * g)
                trial = self.moved(state, step)
                new = total(trial) if trial[0][:2].min() > 1 else np.inf
                if new < cost:
                    break
                damping *= 10
            else:
                return state
            state, damping = trial, damping / 10
            if (
                cost - new < SETTLED and damping < UNDAMPED
            ):  # damped, a direction that is hardly told moves little at a time
                return state
        return state

    def _variances(self, state: tuple[Array, Array, Array, Array]) -> None:
        """Noise of corners and of joint readings by restricted maximum likelihood at a linearised optimum."""
        e, X, D = self.linear(state)
        info, off = self.prior(state)
        shared, count = Shared.of(D), 2 * int(self.free.seen.sum()) - X.shape[-1]
        best = np.inf
        prior = np.diag(info) * self.noise**2
        for joints in JOINTS:
            ratio = (joints / max(self.free.noise, 1e-4)) ** 2
            H, g, q = weighted(e, X, shared, ratio)
            H, g, q = H + prior, g + prior @ off, q + float(off @ prior @ off)
            scale = 1 / np.sqrt(np.maximum(np.diag(H), 1e-300))
            S = H * scale[:, None] * scale
            q = max(q - float((scale * g) @ np.linalg.lstsq(S, scale * g, rcond=1e-13)[0]), 1e-12)
            value = (
                count * np.log(q) + shared.log_determinant(ratio) + np.linalg.slogdet(S)[1] - 2 * np.log(scale).sum()
            )
            if value < best:
                best, self.ratio, noise = value, ratio, np.sqrt(q / max(count, 1))
        self.noise = max(float(noise), 1e-6)


@dataclass(frozen=True)
class Shared:
    """What corners of a view share: D = U diag(s) Vᵀ, of each view. U: float64[V, M, J], s: float64[V, J]."""

    U: Array
    s: Array

    @classmethod
    def of(cls, slopes: Array) -> Shared:
        """slopes: float64[V, M, J] along the joints' readings."""
        U, s, _ = np.linalg.svd(slopes, full_matrices=False)
        return cls(U, s)

    def white(self, x: Array, ratio: float) -> Array:
        """x [V, M, P] times a square root of the inverse of I + ratio · D Dᵀ."""
        if ratio <= 0:
            return x
        less = 1 - 1 / np.sqrt(1 + ratio * self.s**2)
        return np.asarray(x - self.U @ (less[..., None] * (np.swapaxes(self.U, 1, 2) @ x)))

    def log_determinant(self, ratio: float) -> float:
        return float(np.log1p(ratio * self.s**2).sum())


def weighted(e: Array, X: Array, shared: Shared, ratio: float) -> tuple[Array, Array, float]:
    """(XᵀWX, XᵀWe, eᵀWe) summed over the views, W the inverse of I + ratio · D Dᵀ."""
    both = shared.white(np.concatenate([X, e[..., None]], -1), ratio)
    every = np.einsum("vmp,vmq->pq", both, both)
    return every[:-1, :-1], every[:-1, -1], float(every[-1, -1])


def without(free: FreeFit, which: Array) -> FreeFit:
    """The free fit of some of the views: bool[V] or indices."""
    return replace(free, poses=free.poses[which], seen=free.seen[which])


def _turned(pose: Array, steps: Array) -> Array:
    """A pose [4, 4] turned about its own axes and moved along those of its parent, by steps [..., 6]."""
    out = np.broadcast_to(pose, (*steps.shape[:-1], 4, 4)).copy()
    out[..., :3, :3] = out[..., :3, :3] @ turns(steps[..., :3])
    out[..., :3, 3] += steps[..., 3:]
    return out
