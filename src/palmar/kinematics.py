"""Rotations and serial-chain kinematics in numpy: the same numbers on a robot without MuJoCo and in the simulator.

Conventions, decided here and nowhere else: quaternions are unit, wxyz, with w ≥ 0; a rotation vector is axis · angle [rad];
`R` maps tool axes into the base frame; positions are metres in the base frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from palmar.types import Array


def quat_to_matrix(quat: Array) -> Array:
    """Rotation matrix [..., 3, 3] of wxyz quaternions [..., 4] (normalised here)."""
    q = np.asarray(quat, float)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(r, -1) for r in rows], -2)


def matrix_to_quat(R: Array) -> Array:
    """wxyz quaternion [4], w ≥ 0, of a rotation matrix [3, 3] (Shepperd's method: divides by the largest component)."""
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    candidates = np.array([trace, R[0, 0], R[1, 1], R[2, 2]])
    k = int(np.argmax(candidates))
    if k == 0:
        q = np.array([1 + trace, R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    else:
        i, j, m = k - 1, k % 3, (k + 1) % 3
        q = np.empty(4)
        q[0] = R[m, j] - R[j, m]
        q[1 + i] = 1 + R[i, i] - R[j, j] - R[m, m]
        q[1 + j] = R[j, i] + R[i, j]
        q[1 + m] = R[m, i] + R[i, m]
    q /= np.linalg.norm(q)
    return q if q[0] >= 0 else -q


def steady_quat(R: Array) -> Array:
    """wxyz quaternion [4] of a rotation matrix with its largest component positive.

    For observations: near w = 0 (a gripper pointing down) the sign of `matrix_to_quat` flips with the last digit.
    """
    q = matrix_to_quat(R)
    return q if q[np.argmax(np.abs(q))] >= 0 else -q


def rotvec_to_matrix(v: Array) -> Array:
    """Rotation matrix [3, 3] of a rotation vector [3] (Rodrigues)."""
    angle = float(np.linalg.norm(v))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = np.asarray(v, float) / angle
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


def matrix_to_rotvec(R: Array) -> Array:
    """Rotation vector [3] of a rotation matrix [3, 3], angle in [0, π]."""
    q = matrix_to_quat(R)
    s = float(np.linalg.norm(q[1:]))
    return np.zeros(3) if s < 1e-12 else q[1:] / s * (2 * np.arctan2(s, q[0]))


@dataclass(frozen=True)
class Chain:
    """A serial chain of joints, each turning about (or, where prismatic, sliding along) the z axis of its own frame.

    offsets: float[J, 3] position of each joint frame in its parent [m]; quats: float[J, 4] its fixed orientation (wxyz).
    tool_offset, tool_quat: the tool centre point (TCP, midway between the finger pads) in the last joint's frame.
    prismatic: bool[J], empty when all joints turn.
    """

    offsets: Array
    quats: Array
    tool_offset: Array
    tool_quat: Array
    prismatic: tuple[bool, ...] = ()

    @classmethod
    def aligned(cls, offsets: Sequence[Array], axes: Sequence[Array], tool_offset: Array, tool: Array) -> Chain:
        """A chain of turning joints stated with all frames parallel to the base frame in the zero pose.

        offsets: [3] from each joint's predecessor (or the base) [m]; axes: unit vector [3] each turns about; tool_offset:
        from the last joint to the TCP [m]; tool: float[3, 3] orientation of the tool. All in the base frame, zero pose.
        """
        frames = [_onto(np.asarray(a, float)) for a in axes]
        before = [np.eye(3), *frames[:-1]]
        return cls(
            np.array([R.T @ np.asarray(o, float) for R, o in zip(before, offsets, strict=True)]),
            np.array([matrix_to_quat(R.T @ S) for R, S in zip(before, frames, strict=True)]),
            frames[-1].T @ np.asarray(tool_offset, float),
            matrix_to_quat(frames[-1].T @ np.asarray(tool, float)),
        )

    @cached_property
    def _steps(self) -> tuple[Array, Array, Array, Array | None]:
        """float[J, 4, 4] each: from one joint's frame to the next is one + cos(q)·cos + sin(q)·sin + q·along."""
        fixed = np.zeros((len(self.quats), 4, 4))
        fixed[:, :3, :3], fixed[:, :3, 3], fixed[:, 3, 3] = quat_to_matrix(self.quats), self.offsets, 1.0
        one, cos, sin, along = fixed.copy(), np.zeros_like(fixed), np.zeros_like(fixed), np.zeros_like(fixed)
        sliding = np.array(self.slides, bool)
        cos[~sliding, :, :2] = fixed[~sliding, :, :2]
        sin[~sliding, :, 0], sin[~sliding, :, 1] = fixed[~sliding, :, 1], -fixed[~sliding, :, 0]
        one[~sliding, :, :2] = 0.0
        along[sliding, :, 3] = fixed[sliding, :, 2]
        return one, cos, sin, along if sliding.any() else None

    @cached_property
    def _tool(self) -> Array:
        return quat_to_matrix(self.tool_quat)

    @property
    def slides(self) -> tuple[bool, ...]:
        """bool[J]: which joints slide."""
        return self.prismatic or (False,) * len(self.quats)

    def frames(self, q: Array) -> Array:
        """Where each joint's frame is in the base frame, float[..., J, 4, 4], for joint positions q [..., J] [rad] or [m]."""
        q = np.asarray(q, float)[..., None, None]
        one, cos, sin, along = self._steps
        steps = np.cos(q) * cos + np.sin(q) * sin + one
        if along is not None:
            steps += q * along
        out = np.empty_like(steps)
        out[..., 0, :, :] = steps[..., 0, :, :]
        for i in range(1, len(one)):
            np.matmul(out[..., i - 1, :, :], steps[..., i, :, :], out=out[..., i, :, :])
        return out

    def tcp(self, frames: Array) -> Array:
        """The TCP's position [..., 3] [m] of `frames`."""
        last = frames[..., -1, :3, :]
        return np.asarray(last[..., :3] @ self.tool_offset + last[..., 3])

    def forward(self, q: Array) -> tuple[Array, Array]:
        """TCP position [..., 3] [m] and rotation [..., 3, 3] for joint positions q [..., J] [rad] or [m]; batched over
        leading axes."""
        frames = self.frames(q)
        return self.tcp(frames), frames[..., -1, :3, :3] @ self._tool

    def jacobian(self, q: Array) -> tuple[Array, Array, Array]:
        """TCP position [3], rotation [3, 3] and geometric Jacobian [6, J] (linear rows first, base frame) at q [J]."""
        frames = self.frames(q)
        p, axes = self.tcp(frames), frames[:, :3, 2]
        linear, angular = _cross(axes, p - frames[:, :3, 3]), axes
        if any(self.slides):
            sliding = np.array(self.slides, bool)[:, None]
            linear, angular = np.where(sliding, axes, linear), np.where(sliding, 0.0, axes)
        return p, frames[-1, :3, :3] @ self._tool, np.concatenate([linear, angular], axis=1).T

    def step_towards(
        self,
        q: Array,
        position: Array,
        rotation: Array | None,
        posture: Array,
        damping: float = 0.02,
        pull: float = 0.02,
    ) -> Array:
        """Joint positions [J] one damped-least-squares step from q towards a TCP pose [m], [3, 3]; None: any rotation.

        The null space drifts to `posture` by the fraction `pull` a step. Source: Wampler 1986, damped least squares;
        Liégeois 1977, null-space posture.
        """
        p, R, J = self.jacobian(q)
        if rotation is None:
            J, error = J[:3], position - p
        else:
            error = np.concatenate([position - p, matrix_to_rotvec(rotation @ R.T)])
        inverse = J.T @ np.linalg.inv(J @ J.T + damping**2 * np.eye(len(J)))
        back = posture - q
        return q + inverse @ error + pull * (back - inverse @ (J @ back))

    def solve(self, q: Array, position: Array, rotation: Array | None, posture: Array, iterations: int = 50) -> Array:
        """Joint angles [J] whose TCP pose is the given one to 1e-4 m, or the nearest found in `iterations` steps."""
        for _ in range(iterations):
            q = self.step_towards(q, position, rotation, posture)
            if np.linalg.norm(position - self.forward(q)[0]) < 1e-4:
                break
        return q


def _onto(axis: Array) -> Array:
    """A rotation [3, 3] that takes z to a unit vector."""
    if axis[2] < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    v = np.cross([0.0, 0.0, 1.0], axis)
    K = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + K + K @ K / (1.0 + axis[2])


def _cross(a: Array, b: Array) -> Array:
    """a × b of rows [n, 3]: what `np.cross` answers, in a fraction of its time for a few rows."""
    (x, y, z), (u, v, w) = a.T, b.T
    out = np.empty_like(a)
    out[:, 0], out[:, 1], out[:, 2] = y * w - z * v, z * u - x * w, x * v - y * u
    return out
