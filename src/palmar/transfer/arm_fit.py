"""The fit of the arm's parameters to a free motion.

Factors are searched in their logarithm: a servo of a quarter of the gain is as far away as one of four times. Where the search
begins is scanned, because a descent from nominal ends in a wrong valley when the servos are much stiffer than described.

Servos of more than twice the gain saturate and shake, by noise and by themselves. The mean motion then hardly answers the gain
any more; how much each joint shakes does, and tells gain and noise apart, because each joint begins to shake at a gain of its
own. So the residuals have three channels: angle, velocity, and shaking (squared second differences of the velocity).

Predictions are means over draws of the commands' noise. The search solves J' r = 0 for the whitened residuals r (instruments J:
`instruments.py`). J are the derivatives of a smooth motion, without noise and without limits of torque where stiff servos
saturate, times the share by which the mean motion under noise answers in that joint: they hold none of the noise of r, whose
chance would otherwise bias the gain. The whitening filters are fitted to what a step leaves of the residuals. Fitted to the
residuals before the step, they take its signal for noise, and steps are half as long as they should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from palmar.embodiments import Embodiment
from palmar.sim.params import SPACE
from palmar.transfer.diagnose import REST, Motion
from palmar.transfer.identification import Estimate
from palmar.transfer.instruments import step_inside, uncertainty
from palmar.transfer.replay import NONE, simulate_arm
from palmar.transfer.scan import best_start
from palmar.transfer.search import GRAVITY, Bounds, half_range, judge, scaled, touched, unknown, unscaled
from palmar.transfer.solver import t95
from palmar.transfer.whitening import whiten, whitening
from palmar.types import Array

LAGS = 4  # of the whitening filter [ticks]
BLOCK = 0.5  # over which what correlation is left is summed [s]
DRAWS = 8  # of command noise for the prediction, each with its mirror image: only what is not linear is left to chance
SLOPES = 4  # the same, for derivatives
# Of central differences, in half ranges: motors that just saturate make the simulation jump, and short steps take the jumps
# for sensitivity (measured: intervals three times too narrow at 0.05, right from 0.5 on).
STEP = 0.8
DELAY_STEP = 0.45  # [ticks]
NOISE = "action_noise"  # searched with the others: it and the gain make the joints shake, each in its own way
NOISE_STEP, NOISE_BOUNDS = 0.3, (2e-5, 0.05)  # in its logarithm; [rad]
STRONG = slice(0, 4)  # joints that answer noise almost linearly
SCAN = 4.0  # of the motion that is scanned [s]
LEAP = 0.5  # longest step of the search, in the logarithm of a factor or in ticks
QUICK, TURNS = 3, 12  # steps by the smooth motion alone, and all steps
REFILTERS = 3  # solutions of a step, each with filters by the one before
# Noise of commands [rad], and speed that the mean does not explain [rad/s], under which the mean motion tells all.
QUIET, STILL = 4e-4, 0.03
SETTLED = 0.25  # standard deviations; a step as short ends the search


class ArmFit:
    """Fit of the arm's parameters to a free motion: scanned, then steps of Gauss and Newton between looks at the noise."""

    def __init__(
        self, robot: Embodiment, motion: Motion, names: Sequence[str], seed: int, bounds: Mapping[str, Bounds]
    ) -> None:
        self.robot, self.motion, self.names = robot, motion, list(names)
        # The start pose is known through noise only, and stiff servos that shook before shake on until they move: let it fade.
        self.skip = round((REST + 0.4) * robot.control_rate)
        T, J = motion.position.shape
        draws = np.random.default_rng([41, seed]).normal(size=(DRAWS + SLOPES, T, J))
        self.draws, self.others = (np.concatenate([d, -d]) for d in np.split(draws, [DRAWS]))
        self.bounds, self.shown = {**bounds, NOISE: NOISE_BOUNDS}, [*names, GRAVITY]
        self.columns = [*self.shown, NOISE]
        step = {"action_delay": DELAY_STEP, NOISE: NOISE_STEP}
        self.steps = np.array([step.get(n) or STEP * half_range(n) for n in self.columns])
        self.low, self.high = (np.array([scaled(n, self.bounds[n][side]) for n in self.columns]) for side in (0, 1))
        self.at = np.clip(
            [scaled(n, SPACE[n].nominal if n in SPACE else 1.0) for n in self.columns], self.low, self.high
        )

    @property
    def values(self) -> dict[str, float]:
        """{parameter: where the search is}, in the parameter's unit."""
        return self._named(self.at)

    @property
    def sigma(self) -> float:
        """Noise of commands where the search is [rad]."""
        return float(np.exp(self.at[-1]))

    @sigma.setter
    def sigma(self, value: float) -> None:
        self.at[-1] = np.clip(np.log(value), self.low[-1], self.high[-1])

    def _named(self, x: Array) -> dict[str, float]:
        return {n: unscaled(n, float(v)) for n, v in zip(self.columns, x, strict=True)}

    def fit(self, say: Callable[[str], None]) -> None:
        say("gain, delay and noise")
        draws = np.concatenate([self.draws[:2], self.draws[DRAWS : DRAWS + 2]])
        ticks = round(SCAN * self.robot.control_rate)
        self.at = best_start(
            self.at, self.columns, (self.low, self.high), draws[:, :ticks],
            lambda rows, noise: self.errors([self._named(x) for x in rows], noise, ticks),
        )  # fmt: skip
        self.listens = False
        for _ in range(2):
            self.sigma = self._look_at_noise()
        for turn in range(TURNS):
            say(f"arm, step {turn + 1} of at most {TURNS}")
            spread, before = self._look_at_noise(), self.listens
            loud = float(np.sqrt((self.error[:, STRONG, 1] ** 2).mean()))
            self.listens = turn >= QUICK and (spread > QUIET or loud > STILL)
            lower = spread < 0.8 * self.sigma  # what the model does not explain can only add to it
            if lower or not self.listens:
                self.sigma = spread
            if self.listens and (lower or not before):
                self._look_at_noise()
            self._slope(noisy=turn >= QUICK)
            if self._step() < SETTLED and turn >= QUICK:
                break
        self._look_at_noise(refilter=False)
        self._slope(noisy=True)

    def errors(
        self,
        candidates: Sequence[Mapping[str, float]],
        draws: Array | None,
        ticks: int | None = None,
        unlimited: slice = NONE,
    ) -> tuple[Array, Array]:
        """Measured minus simulated, [K, R, T', J, 2]: angle [rad] and velocity [rad/s]; and the simulated alone. ticks: of the
        motion, from its start; all where not given. unlimited: as of `simulate_arm`."""
        m = self.motion
        q, v = simulate_arm(self.robot, candidates, m.command[:ticks], m.start, draws, unlimited)
        simulated = np.stack([q, v], axis=-1)[:, :, self.skip :]
        measured = np.stack([m.position[:ticks], m.velocity[:ticks]], axis=-1)[self.skip :]
        return measured - simulated, simulated

    def _white(self, rows: Array) -> Array:
        """[..., T', J, 3] as whitened [..., M]."""
        out = np.stack([whiten(rows[..., j, :], *f) for j, f in enumerate(self.filters)], axis=-2)
        return out.reshape(*out.shape[:-3], -1)

    def _shaking(self, velocity: Array) -> Array:
        """How much joints shake, [..., T', J], in units of what is expected: squared second differences of velocities
        [..., T', J] beside the smooth motion's."""
        u = np.diff(velocity - self.smooth, 2, axis=-2)
        return np.concatenate([u[..., :1, :], u[..., :1, :], u], axis=-2) ** 2 / self.expected

    def _look_at_noise(self, refilter: bool = True) -> float:
        """Residuals of angles, velocities and shaking; noise of commands and sensors by the residuals' spread, block by block;
        the filters that whiten them. Returns noise of the commands by that spread [rad]."""
        sigma = self.sigma
        error, simulated = self.errors([self.values], sigma * self.draws)
        self.smooth = self.errors([self.values], None, unlimited=STRONG)[1][0, 0, :, :, 1]
        self.expected: Array = np.ones(self.smooth.shape[1])
        self.expected = self._shaking(simulated[0, ..., 1]).mean(axis=(0, 1)) + 1e-9
        expected = self._shaking(simulated[0, ..., 1]).mean(axis=0)
        more = self._shaking((error + simulated)[0, 0, ..., 1]) - expected
        ratio = 1 + np.maximum(more.mean(axis=0), 1e-9 - 1)
        more += np.log(ratio) - more.mean(axis=0)  # the same root, and almost linear in the logarithm of noise and gain
        self.error = np.concatenate([error.mean(axis=1)[0], self.listens * more[..., None]], axis=-1)
        mean, unit = self.error[:, STRONG, :2], self._unit(simulated, sigma)[0]
        weights = unit[:, 1] ** -2 / (unit[:, 1] ** -2).sum()
        n = round(BLOCK * self.robot.control_rate)
        blocks = np.array([(b**2).mean(axis=0) for b in np.split(mean, range(n, len(mean), n)) if len(b) == n])
        action = blocks[..., 1] / unit[:, 1] @ weights
        known = sigma**2 if self.listens else action[:, None]
        self.variance = {NOISE: action, "proprio_noise": (blocks[..., 0] - unit[:, 0] * known) @ weights}
        if refilter:
            self.filters = [whitening(self.error[:, j], LAGS) for j in range(self.error.shape[1])]
        return max(float(np.sqrt(action.mean())), NOISE_BOUNDS[0])

    @staticmethod
    def _unit(simulated: Array, sigma: float) -> Array:
        """Variance [K, 4, 2] of the strong joints' angles and velocities under noise of variance 1."""
        spread = (simulated - simulated.mean(1, keepdims=True))[:, :, :, STRONG]
        return np.asarray((spread**2).mean(axis=(1, 2)) / sigma**2 + 1e-300)

    def _slope(self, noisy: bool) -> None:
        """How the whitened mean motion answers, D [M, P], and instruments J [M, P]: derivatives of the smooth motion, as much of
        them as each joint answers by. noisy: without, D = J is taken."""
        up, down = (np.clip(self.at + s * np.diag(self.steps), self.low, self.high) for s in (1, -1))
        P, J, both = len(self.columns), self.motion.position.shape[1], [self._named(x) for x in (*up, *down)]

        def slopes(angles: Array, shaking: Array) -> Array:
            shaking = np.broadcast_to(self.listens * shaking[:, None, :, None], (2 * P, *angles.shape[1:3], 1))
            rows = np.concatenate([angles, shaking], axis=-1)
            return np.asarray((rows[:P] - rows[P:]) / np.diag(up - down)[:, None, None, None])

        smooth = self.errors(both, None, unlimited=STRONG)[1][:, 0]
        self.slopes = (slopes(smooth, np.zeros((2 * P, J))),) * 2
        if noisy:
            sigma = np.exp([x[-1] for x in (*up, *down)])
            runs = self.errors(both, sigma[:, None, None, None] * self.others)[1]
            shaking = self._shaking(runs[..., 1]).mean(axis=(1, 2))
            self.slopes = slopes(smooth, shaking), slopes(runs.mean(axis=1), shaking)
            if not self.listens:
                self.slopes[1][-1] = 0
        self._whiten_slopes()

    def _whiten_slopes(self) -> None:
        jac, moves = (
            np.moveaxis(self._white(rows), 0, -1).reshape(-1, *rows.shape[2:], len(self.columns))
            for rows in self.slopes
        )
        share = (jac[:, :, :2] * moves[:, :, :2]).sum((0, 2)) / ((jac[:, :, :2] ** 2).sum((0, 2)) + 1e-300)
        jac[:, :, :2] *= np.clip(share, 0, 1)[:, None]
        self.jac, self.moves = (m.reshape(-1, m.shape[-1]) for m in (jac, moves))

    def _step(self) -> float:
        """One step; returns its length, the longest of any parameter in standard deviations. The filters are fitted to what the
        step leaves: fitted to what it explains, they would hide it."""
        for _ in range(REFILTERS):
            step = self._solve()
            left = self.error - np.tensordot(step, self.slopes[1], axes=1)
            self.filters = [whitening(left[:, j], LAGS) for j in range(left.shape[1])]
            self._whiten_slopes()
        step = self._solve()
        step *= min(1.0, LEAP / max(float(np.abs(step[:-1]).max()), abs(float(step[-1])) / 3, 1e-12))
        P = len(self.columns)
        before, self.at = self.at, np.clip(self.at + step, self.low, self.high)
        spread = np.linalg.inv(self.jac.T @ self.jac + np.eye(P))
        self.moved = np.abs(self.at - before)
        return float((self.moved / np.sqrt(np.diag(spread))).max())

    def _solve(self) -> Array:
        H, slope = self.jac.T @ self.moves, self.jac.T @ self._white(self.error)
        return step_inside(H, slope, self.at, self.low, self.high)

    def covariance(self) -> tuple[Array, Array]:
        """Covariance [P, P] of white residuals, and 95 % half-widths [P], both in the scale of the search. A search that has not
        settled is the less sure, by twice its last step."""
        n = round(BLOCK * self.robot.control_rate) * self.motion.position.shape[1] * 3
        white, half = uncertainty(self.jac, self.moves, self._white(self.error), n)
        return white, np.hypot(half, 2 * self.moved)

    def at_bounds(self) -> dict[str, float]:
        """{parameter or nuisance whose value ended at a bound of its search: that bound}."""
        edges = {n: touched(v, v, v, self.bounds[n], n) for n, v in self.values.items() if n != NOISE}
        return {n: b for n, b in edges.items() if b is not None}

    def estimates(self) -> dict[str, Estimate]:
        """Of every parameter. When one ends at its bound, the others make up for what it cannot explain, by more than their
        intervals say (measured: a delay of 2 ticks as 1.96 ± 0.03 beside a gain that is twice its bound): none is claimed."""
        half, edges, out = self.covariance()[1], self.at_bounds(), {}
        for n, x, h in zip(self.columns, self.at.tolist(), half.tolist(), strict=True):
            if n not in SPACE or n == NOISE:
                continue
            others = [o for o in edges if o != n]
            value, low, high = (unscaled(n, v) for v in (x, x - h, x + h))
            out[n] = judge(n, value, low, high, bounds=self.bounds[n])
            if out[n].identified and others:
                text = f"{value:.4g} [{low:.4g}, {high:.4g}] was fitted together with {others[0]}, which ended"
                out[n] = unknown(n, f"{text} at the bound of its search, {edges[others[0]]:.3g}. Next: mend that first")
        return out

    def noise(self, name: str) -> Estimate:
        """A standard deviation from its variance: the sensors' from blocks of time, the commands' from the search."""
        v = self.variance[name]
        mean, half = float(v.mean()), t95(len(v) - 1) * float(v.std(ddof=1)) / np.sqrt(len(v))
        if name == NOISE and self.listens:
            mean = self.sigma**2
            half = 2 * mean * float(self.covariance()[1][-1])
        low, high = np.sqrt(max(mean - half, 0.0)), np.sqrt(max(mean + half, 0.0))
        return judge(name, float(np.sqrt(max(mean, 0.0))), float(low), float(high), "from the spread of the residuals")

    def sensitivity(self) -> dict[str, float]:
        norms = np.linalg.norm(self.jac, axis=0)
        return {n: float(norm * half_range(n)) for n, norm in zip(self.columns, norms, strict=True) if n != NOISE}

    def correlation(self) -> dict[str, dict[str, float]]:
        cov, _ = self.covariance()
        d = np.sqrt(np.diag(cov))
        if not (np.isfinite(d).all() and (d > 0).all()):
            return {}
        rho = cov / np.outer(d, d)
        return {a: {b: float(rho[i, k]) for k, b in enumerate(self.shown)} for i, a in enumerate(self.shown)}

    def condition(self) -> float:
        """Of JᵀJ, each column in units of half its parameter's range."""
        jac = self.jac[:, :-1] * [half_range(n) for n in self.shown]
        c = float(np.linalg.cond(jac)) ** 2 if np.any(jac) else np.inf
        return c if np.isfinite(c) else 1e300  # JSON has no infinity
