"""A small arm with known inertias and friction, and logs of it: the truth is drawn about its description."""

from dataclasses import replace

import numpy as np

from palmar.kinematics import Chain, matrix_to_quat
from palmar.transfer.excitation import FourierMotion
from palmar.transfer.friction import FrictionModel, friction_torque
from palmar.transfer.inertia import link_parameters, parameters_of, pseudo_inertia
from palmar.transfer.rigid_body import regressor
from palmar.transfer.serial_arm import SerialArm
from palmar.transfer.torque_log import TorqueLog


def small_arm(slides: tuple[bool, ...] = ()) -> SerialArm:
    """Three joints: about z, then two about y; the description states what each carries."""
    down = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    quats = np.stack([[1.0, 0, 0, 0], matrix_to_quat(down), [1.0, 0, 0, 0]])
    chain = Chain(
        np.array([[0, 0, 0.3], [0, 0, 0.1], [0.4, 0, 0]]),
        quats,
        np.array([0.3, 0, 0]),
        np.array([1.0, 0, 0, 0]),
        slides,
    )
    inertia = np.stack(
        [
            link_parameters(4.0, (0.0, 0.02, 0.0), (0.03, 0.02, 0.025)),
            link_parameters(3.0, (0.2, 0.01, 0.03), (0.01, 0.05, 0.05)),
            link_parameters(1.5, (0.15, -0.01, 0.02), (0.004, 0.015, 0.014)),
        ]
    )
    wide = np.ones(3)
    return SerialArm(
        "small", ("a", "b", "c"), chain, inertia, 0.05 * wide, -2.5 * wide, 2.5 * wide, 2.0 * wide, 8.0 * wide,
        np.array([60.0, 60.0, 30.0]), True,
    )  # fmt: skip


def truth(arm: SerialArm, seed: int, spread: float = 0.3) -> np.ndarray:
    """float[J, 10] about the description: P = L exp(noise) exp(noise)ᵀ Lᵀ of each pseudo-inertia, so that a body can have them."""
    rng, out = np.random.default_rng(seed), []
    for row in arm.inertia:
        L = np.linalg.cholesky(pseudo_inertia(row))
        E = rng.normal(0, spread / 2, (4, 4))
        M = L @ (np.eye(4) + E + E.T)
        out.append(parameters_of(M @ M.T))
    return np.array(out)


FRICTION = ((1.2, 0.8, 0.1), (0.9, 0.6, -0.1), (0.4, 0.3, 0.05))


def recorded(
    arm: SerialArm,
    inertia: np.ndarray,
    seed: int = 0,
    seconds: float = 10.0,
    rate: float = 200.0,
    noise: float = 0.2,
    model: FrictionModel | None = None,
    coefficients: tuple[tuple[float, ...], ...] = FRICTION,
    scale: float = 1.0,
) -> TorqueLog:
    """A log of a random Fourier motion; noise [N·m] of each torque sample, part of it slow."""
    rng = np.random.default_rng(seed)
    J = len(arm.joints)
    waves = rng.normal(0, 0.35, (2, J, 5)) / np.arange(1, 6)
    t, q, dq, ddq = FourierMotion(np.zeros(J), scale * waves[0], scale * waves[1], seconds).at(rate)
    Y = regressor(arm.chain, q, dq, ddq).reshape(len(t), J, -1)
    torque, load = Y @ inertia.ravel(), Y @ arm.inertia.ravel()
    for j in range(J):
        torque[:, j] += friction_torque(
            model or FrictionModel("viscous"), coefficients[j], q[:, j], dq[:, j], load[:, j]
        )
    white = rng.normal(0, noise, torque.shape)
    slow = np.zeros_like(white)
    for k in range(1, len(t)):
        slow[k] = 0.95 * slow[k - 1] + 0.1 * white[k]
    return TorqueLog(
        t,
        q + rng.normal(0, 2e-5, q.shape),
        torque + white + slow,
        arm.joints,
        dq + rng.normal(0, 1e-3, q.shape),
        "made",
    )


def other(arm: SerialArm, **fields: object) -> SerialArm:
    return replace(arm, **fields)  # type: ignore[arg-type]


URDF = """<robot name="two"><link name="base"/><link name="one"><inertial><origin xyz="0.1 0 0.02" rpy="0.3 0 0"/><mass value="2"/>
<inertia ixx="0.01" iyy="0.02" izz="0.025" ixy="0" ixz="0" iyz="0"/></inertial></link><link name="two"><inertial><mass value="1"/>
<inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link><link name="flange"><inertial><mass
value="0.5"/>
<inertia ixx="0.001" iyy="0.001" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="j1" type="revolute"><parent link="base"/><child link="one"/><origin xyz="0 0 0.2" rpy="0 0 0.4"/><axis xyz="0 1 0"/>
<limit lower="-2" upper="2" velocity="2" effort="50"/></joint>
<joint name="j2" type="revolute"><parent link="one"/><child link="two"/><origin xyz="0.3 0 0" rpy="0.2 0 0"/><axis xyz="1 0 0"/>
<limit lower="-2" upper="2" velocity="2" effort="20"/></joint>
<joint name="f" type="fixed"><parent link="two"/><child link="flange"/><origin xyz="0.1 0 0"/></joint></robot>"""
