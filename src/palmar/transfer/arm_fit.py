"""The fit of the arm's parameters to a free motion.

Three things keep the intervals honest. The commands' noise drives the arm, so residuals are correlated from tick to tick: they
pass a whitening filter fitted to themselves. The weak motors saturate under that noise, which shifts the mean: predictions carry
the mean shift over many draws of it. And what is left of correlation widens the intervals by a sum over blocks of time (Newey
and West 1987 in block form).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.sim.params import SPACE
from palmar.transfer.diagnose import REST, Motion
from palmar.transfer.identification import Estimate
from palmar.transfer.search import GRAVITY, Bounds, half_range, judge, touched, unknown
from palmar.transfer.solver import SOLVER, t95
from palmar.transfer.whitening import whiten, whitening
from palmar.types import Array

LAGS = 4  # of the whitening filter [ticks]
BLOCK = 0.5  # over which what correlation is left is summed [s]
DRAWS = 16  # of command noise, each with its mirror image, so that only what is not linear is left to chance
# Of central differences, in half ranges: motors that just saturate make the simulation jump, and short steps take the jumps
# for sensitivity (measured: intervals three times too narrow at 0.05, right from 0.5 on).
STEP = 0.8
DELAY_STEP = 0.45  # [ticks]


class ArmFit:
    """Fit of the arm's parameters to a free motion: rough, then whitened with noise, then once more."""

    def __init__(
        self,
        sysid: Any,
        robot: Embodiment,
        motion: Motion,
        names: Sequence[str],
        seed: int,
        bounds: Mapping[str, Bounds],
    ) -> None:
        self.sysid, self.robot, self.motion, self.names = sysid, robot, motion, list(names)
        self.skip = round(0.5 * REST * robot.control_rate)  # the start pose is known through noise only: let it fade
        T, J = motion.position.shape
        draws = np.random.default_rng([41, seed]).normal(size=(DRAWS, T, J))
        self.draws = np.concatenate([draws, -draws])
        self.sigma = 0.0
        self.shift: Array | float = 0.0  # of the mean motion under noise against the motion without [T', J, 2]
        self.filters: list[tuple[Array, Array]] | None = None
        self.params = sysid.ParameterDict()
        self.bounds = bounds
        self.columns = [*names, GRAVITY]
        for n in self.columns:
            start = SPACE[n].nominal if n in SPACE else 1.0
            self.params.add(sysid.Parameter(n, float(np.clip(start, *bounds[n])), *bounds[n]))
        self.values = {n: float(self.params[n].value[0]) for n in self.columns}

    def fit(self, say: Callable[[str], None]) -> None:
        say("delay")
        if "action_delay" in self.names:
            low, high = self.bounds["action_delay"]
            tries = np.arange(low + 0.25, high + 0.1, 0.5) if high - low > 0.25 else np.array([low])
            cost = (self.residuals(np.array([[*self._x({"action_delay": d})] for d in tries]).T) ** 2).sum(0)
            self.params["action_delay"].update_from_vector(tries[[int(np.argmin(cost))]])
        say("arm, first fit")
        self._optimize()
        for turn in ("second", "third", "fourth"):
            self._look_at_noise()
            say(f"arm, {turn} fit")
            self._optimize()
        self._look_at_noise(refilter=False)

    def _x(self, change: Mapping[str, float]) -> list[float]:
        return [change.get(n, float(self.params[n].value[0])) for n in self.columns]

    def _optimize(self) -> None:
        f = lambda x, params: ([self.residuals(x)], None, None)  # noqa: E731
        self.params, self.result = self.sysid.optimize(self.params, f, verbose=False, jacobian=self.jacobian, **SOLVER)
        self.values = {n: float(self.params[n].value[0]) for n in self.columns}

    def errors(self, candidates: Sequence[Mapping[str, float]], draws: Array | None) -> tuple[Array, Array]:
        """Measured minus simulated, [K, R, T', J, 2]: angle [rad] and velocity [rad/s]; and the simulated alone."""
        from palmar.transfer.replay import simulate_arm

        q, v = simulate_arm(self.robot, candidates, self.motion.command, self.motion.start, draws)
        simulated = np.stack([q, v], axis=-1)[:, :, self.skip :]
        measured = np.stack([self.motion.position, self.motion.velocity], axis=-1)[self.skip :]
        return measured - simulated, simulated

    def residuals(self, x: Array) -> Array:
        """Residuals [M] at x [P], or [M, K] at K columns x [P, K], in standard deviations once the filters are known."""
        columns = x.reshape(len(self.columns), -1)
        candidates = [dict(zip(self.columns, c, strict=True)) for c in columns.T.tolist()]
        error = self.errors(candidates, None)[0][:, 0] - self.shift
        if self.filters is None:
            rows = error / [0.007, 0.1]
        else:
            rows = np.stack([whiten(error[:, :, j], *f) for j, f in enumerate(self.filters)], axis=2)
        flat = rows.reshape(len(candidates), -1).T
        return flat[:, 0] if x.ndim == 1 else flat

    def jacobian(self, x: Array, r: Array) -> Array:
        """Central differences [M, P] of the residuals at x [P, 1]."""
        steps = np.array([DELAY_STEP if n == "action_delay" else STEP * half_range(n) for n in self.columns])
        low, high = (b[:, None] for b in self.params.get_bounds())
        forward, backward = np.minimum(x + np.diag(steps), high), np.maximum(x - np.diag(steps), low)
        rows = self.residuals(np.concatenate([forward, backward], axis=1))
        P = len(self.columns)
        return (rows[:, :P] - rows[:, P:]) / np.diag(forward - backward)

    def _look_at_noise(self, refilter: bool = True) -> None:
        """Noise of commands and sensors from the residuals' spread, block by block; then the filters that whiten them."""
        sigma = self.sigma or 0.004
        error, simulated = self.errors([self.values], sigma * self.draws)
        mean = error.mean(axis=1)[0, :, :4]  # the strong joints: they answer noise linearly
        quiet = self.errors([self.values], None)[1][0, 0]
        self.shift = (
            simulated[0].mean(axis=0) - quiet
        )  # held while fitting: drawn anew, its own noise would bias the gain
        unit = ((simulated[0] - simulated[0].mean(0))[:, :, :4] ** 2).mean(axis=(0, 1, 2)) / sigma**2
        n = round(BLOCK * self.robot.control_rate)
        blocks = np.array([(b**2).mean(axis=(0, 1)) for b in np.split(mean, range(n, len(mean), n)) if len(b) == n])
        action = blocks[:, 1] / unit[1]
        self.variance = {"action_noise": action, "proprio_noise": blocks[:, 0] - unit[0] * action}
        self.sigma = float(np.sqrt(action.mean()))
        if refilter:
            whole = error.mean(axis=1)[0]
            self.filters = [whitening(whole[:, j], LAGS) for j in range(whole.shape[1])]

    def covariance(self) -> tuple[Array, Array]:
        """Covariance [P, P], and 95 % half-widths [P]: the wider of white residuals' and of block sums'."""
        r, jac = self.residuals(np.asarray(self.result.x).ravel()), np.asarray(self.result.jac)
        scale = np.array([half_range(n) for n in self.columns])
        scaled = jac * scale
        if not np.any(scaled):
            return np.diag(np.full(len(scale), np.inf)), np.full(len(scale), np.inf)
        _, white = self.sysid.calculate_intervals([r], scaled)
        J = self.motion.position.shape[1]
        n = round(BLOCK * self.robot.control_rate) * J * 2
        cuts = range(n, len(r), n)
        sums = np.array([a.T @ b for a, b in zip(np.split(scaled, cuts), np.split(r, cuts), strict=True)])
        inverse = np.linalg.pinv(scaled.T @ scaled, rcond=1e-13, hermitian=True)
        spare = max(len(sums) - len(scale), 1)
        cov = inverse @ (sums.T @ sums) @ inverse * len(sums) / spare
        wide = np.maximum(np.nan_to_num(white, nan=np.inf), t95(spare) * np.sqrt(np.maximum(np.diag(cov), 0)))
        return inverse * np.outer(scale, scale), wide * scale

    def at_bounds(self) -> dict[str, float]:
        """{parameter or nuisance whose value ended at a bound of its search: that bound}."""
        edges = {n: touched(v, v, v, self.bounds[n]) for n, v in self.values.items()}
        return {n: b for n, b in edges.items() if b is not None}

    def estimates(self) -> dict[str, Estimate]:
        """Of every parameter. When one ends at its bound, the others make up for what it cannot explain, by more than their
        intervals say (measured: a delay of 2 ticks as 1.96 ± 0.03 beside a gain that is twice its bound): none is claimed."""
        _, wide = self.covariance()
        edges, out = self.at_bounds(), {}
        for n, w in zip(self.columns, wide.tolist(), strict=True):
            if n not in SPACE:
                continue
            value, others = self.values[n], [o for o in edges if o != n]
            out[n] = judge(n, value, value - w, value + w, bounds=self.bounds[n])
            if out[n].identified and others:
                text = (
                    f"{value:.4g} [{value - w:.4g}, {value + w:.4g}] was fitted together with {others[0]}, which ended"
                )
                out[n] = unknown(n, f"{text} at the bound of its search, {edges[others[0]]:.3g}. Next: mend that first")
        return out

    def noise(self, name: str) -> Estimate:
        """A standard deviation from its variance in blocks of time."""
        v = self.variance[name]
        mean, half = float(v.mean()), t95(len(v) - 1) * float(v.std(ddof=1)) / np.sqrt(len(v))
        low, high = np.sqrt(max(mean - half, 0.0)), np.sqrt(max(mean + half, 0.0))
        return judge(name, float(np.sqrt(max(mean, 0.0))), float(low), float(high), "from the spread of the residuals")

    def sensitivity(self) -> dict[str, float]:
        norms = np.linalg.norm(np.asarray(self.result.jac), axis=0)
        return {n: float(norm * half_range(n)) for n, norm in zip(self.columns, norms, strict=True)}

    def correlation(self) -> dict[str, dict[str, float]]:
        cov, _ = self.covariance()
        d = np.sqrt(np.diag(cov))
        if not (np.isfinite(d).all() and (d > 0).all()):
            return {}
        rho = cov / np.outer(d, d)
        return {a: {b: float(rho[i, k]) for k, b in enumerate(self.columns)} for i, a in enumerate(self.columns)}

    def condition(self) -> float:
        """Of JᵀJ, each column in units of half its parameter's range."""
        jac = np.asarray(self.result.jac) * [half_range(n) for n in self.columns]
        c = float(np.linalg.cond(jac)) ** 2 if np.any(jac) else np.inf
        return c if np.isfinite(c) else 1e300  # JSON has no infinity
