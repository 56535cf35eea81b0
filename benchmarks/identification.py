"""Inertias and friction from torques: our convex fit against `scipy.optimize.least_squares` on the same residual.

    OMP_NUM_THREADS=1 python benchmarks/identification.py [--data LOG --without-tool --fit 0.5:8]
    OMP_NUM_THREADS=1 python benchmarks/identification.py --hidden 10     do intervals hold the truth of so many simulated arms?

Both minimise one cost: weighted torque errors, divergence of the inertias from the description, friction about zero. scipy's
parameters are log-Cholesky (Rucker, Wensing 2022, "Smooth Parameterization of Rigid-Body Inertia"), so that its inertias stay
physically consistent too; a link's divergence is Σ λ - 1 - ln λ over the eigenvalues λ of description⁻¹ · link, and its residual
holds
the signed square roots of those terms. Its Jacobian is by finite differences, as a user would call it. Without --data the log is
a simulated one
of arm7 with hidden inertias.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import least_squares

from palmar.eval.stats import Rate
from palmar.transfer.excitation import FourierMotion
from palmar.transfer.friction import MODELS
from palmar.transfer.identify_log import MOTION, TorqueFitConfig, identify_torques
from palmar.transfer.inertia import parameters_of, pseudo_inertia
from palmar.transfer.log_files import read_log
from palmar.transfer.rigid_body import NAMES, regressor, structural_base
from palmar.transfer.serial_arm import SerialArm, serial_arm
from palmar.transfer.torque_choice import weights_of
from palmar.transfer.torque_fit import Stretch, normal, prior_of, solve
from palmar.transfer.torque_log import TorqueLog, check_log, sampled

SPREAD, CUTOFF = 0.8, 8.0
LOWER = [(1, 0), (2, 1), (2, 0), (3, 0), (3, 1), (3, 2)]


def simulated(arm: SerialArm, seed: int) -> tuple[TorqueLog, np.ndarray]:
    """10 s of arm7 with hidden inertias, Coulomb and viscous friction and noise; and the hidden inertias [J, 10]."""
    rng = np.random.default_rng(seed)
    J = len(arm.joints)
    middle = np.clip((arm.lower + arm.upper) / 2, -2, 2)
    waves = rng.normal(0, 0.25, (2, J, 4)) / np.arange(1, 5)
    t, q, dq, ddq = FourierMotion(middle, waves[0], waves[1]).at(250.0)
    hidden = []
    for row in arm.inertia:
        L = np.linalg.cholesky(pseudo_inertia(row)) @ (np.eye(4) + 0.1 * rng.normal(size=(4, 4)))
        hidden.append(parameters_of(L @ L.T))
    torque = regressor(arm.chain, q, dq, ddq).reshape(len(t), J, -1) @ np.concatenate(hidden)
    torque += arm.torque * (0.004 * np.tanh(dq / 0.02) + 0.002 * dq + rng.normal(0, 0.003, q.shape))
    return TorqueLog(t, q, torque, arm.joints, dq, f"simulated {seed}"), np.array(hidden)


def log_cholesky(parameters: np.ndarray) -> np.ndarray:
    """float[10] of inertial parameters [10]: logarithms of the diagonal of L, then what is below it."""
    L = np.linalg.cholesky(pseudo_inertia(parameters))
    return np.array([*np.log(np.diag(L)), *(L[i, j] for i, j in LOWER)])


def from_log_cholesky(x: np.ndarray) -> np.ndarray:
    L = np.diag(np.exp(np.clip(x[:4], -30, 30)))
    for value, (i, j) in zip(x[4:], LOWER, strict=True):
        L[i, j] = value
    return parameters_of(L @ L.T)


def hidden(arm: SerialArm, count: int) -> None:
    """Identify so many simulated arms from 8 s each, predict 2 s, and count the intervals that hold the truth."""
    base, inside, errors = structural_base(arm.chain), dict.fromkeys(("base", "told", "all", "coulomb"), (0, 0)), []
    config = TorqueFitConfig(models=MODELS[:1], next_motion=False)

    def counted(what: str, held: list[bool]) -> None:
        inside[what] = inside[what][0] + sum(held), inside[what][1] + len(held)

    for seed in range(count):
        log, truth = simulated(arm, seed)
        found = identify_torques(log, arm, (0.0, 8.0), (8.0, 10.0), config)
        own = [found.estimates[f"{j}.{n}"] for j in arm.joints for n in NAMES]
        held = [e.low <= v <= e.high for e, v in zip(own, truth.ravel(), strict=True)]
        counted("base", [b.low <= v <= b.high for b, v in zip(found.base, base.values(truth.ravel()), strict=True)])
        counted("all", held)
        counted("told", [h for h, e in zip(held, own, strict=True) if e.identified])
        rough = [found.estimates[f"{j}.coulomb"] for j in arm.joints]
        counted("coulomb", [e.low <= 0.004 * t <= e.high for e, t in zip(rough, arm.torque, strict=True)])
        errors.append(np.array(found.rms_test) / np.array(found.rms_described))
    table = Table(
        "95 % intervals of", "hold the truth", "95 % Wilson", title=f"{count} hidden arms, seeds 0 … {count - 1}"
    )
    for what, (held, n) in inside.items():
        table.add_row(what, f"{held} of {n}", str(Rate(held, n)))
    Console(width=140).print(
        table, f"RMS torque error on the test seconds over the description's: median {np.median(errors):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a log; simulated without")
    parser.add_argument("--without-tool", action="store_true")
    parser.add_argument("--fit", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=0)
    args = parser.parse_args()
    if args.hidden:
        return hidden(serial_arm("arm7", without_tool=True), args.hidden)
    arm = serial_arm("arm7", without_tool=args.without_tool)
    log = check_log(read_log(args.data, arm.joints) if args.data else simulated(arm, args.seed)[0], arm, CUTOFF)
    if args.fit:
        log = log.cut(*map(float, args.fit.split(":")))
    stretch = Stretch.of(arm, sampled(log, MOTION * CUTOFF, 0.5 / CUTOFF), CUTOFF)
    choice = (MODELS[0],) * len(arm.joints)
    X, y, prior, J = stretch.design(choice), stretch.torque, prior_of(stretch, choice, SPREAD), len(arm.joints)
    weights = weights_of(stretch, choice, SPREAD)
    root, inverses = np.sqrt(weights), np.linalg.inv(pseudo_inertia(arm.inertia))

    def cost(theta: np.ndarray) -> float:
        return 0.5 * float((weights * (y - X @ theta) ** 2).sum()) + prior.terms(theta)[0]

    def theta_of(x: np.ndarray) -> np.ndarray:
        inertia = [from_log_cholesky(x[10 * j : 10 * j + 10]) for j in range(J)]
        return np.concatenate([*inertia, x[10 * J :]])

    def residual(x: np.ndarray) -> np.ndarray:
        theta = theta_of(x)
        ratios = np.linalg.eigvals(inverses @ pseudo_inertia(theta[: 10 * J].reshape(J, 10))).real
        terms = (
            np.sign(ratios - 1)
            * np.sqrt(np.maximum(2 * (ratios - 1 - np.log(np.maximum(ratios, 1e-9))), 0))
            / prior.spread[:, None]
        )
        return np.concatenate([((y - X @ theta) * root).ravel(), terms.ravel(), theta[10 * J :] / prior.friction])

    ours, theta = [], prior.mean
    for _ in range(args.repeats):
        began = time.process_time()
        theta = solve(*normal(X, y, weights), prior)
        ours.append(time.process_time() - began)
    began = time.process_time()
    start = np.concatenate([*(log_cholesky(row) for row in arm.inertia), np.zeros(X.shape[2] - 10 * J)])
    peer = least_squares(residual, start, method="trf", x_scale="jac", xtol=1e-8, ftol=1e-8, gtol=1e-8, max_nfev=200)
    theirs, found = time.process_time() - began, theta_of(peer.x)
    table = Table(
        "",
        "CPU seconds",
        "cost",
        "RMS of the torque by joint [N·m]",
        title=f"{log.source}: {X.shape[0]} × {J} equations, {X.shape[2]} parameters",
    )
    for name, seconds, one in (("palmar", float(np.median(ours)), theta), ("scipy", theirs, found)):
        rms = np.sqrt(((y - X @ one) ** 2).mean(0))
        table.add_row(name, f"{seconds:.3f}", f"{cost(one):.6g}", " ".join(f"{v:.3f}" for v in rms))
    table.add_row(
        "ratio",
        f"{theirs / np.median(ours):.1f} ×",
        f"{cost(found) / cost(theta):.4f}",
        f"scipy: {peer.nfev} evaluations, {peer.message}",
    )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
