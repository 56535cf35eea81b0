"""The fit of the arm's parameters to a free motion.

Factors are searched in their logarithm: a servo of a quarter of the gain is as far away as one of four times. Where the search
begins is scanned, because a descent from nominal ends in a wrong valley when the servos are much stiffer than described.

Three things keep the intervals honest. The commands' noise drives the arm, so residuals are correlated from tick to tick: they
pass a whitening filter fitted to themselves. Stiff servos saturate under that noise, and a saturated servo is a softer one:
predictions are means over draws of the noise. And what is left of correlation widens the intervals by a sum over blocks of time
(Newey and West 1987 in block form).

The search solves J' r = 0 for the whitened residuals r, with the derivatives J of the motion without noise as instruments: they
hold none of the noise of r, whose chance would otherwise bias the gain. How the mean motion answers, D, comes from draws of its
own and enters by J' D alone (instrumental variables: Soderstrom and Stoica 2002, "Instrumental variable methods for system
identification").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from palmar.embodiments import Embodiment
from palmar.sim.params import SPACE
from palmar.transfer.diagnose import REST, Motion
from palmar.transfer.identification import Estimate
from palmar.transfer.search import GRAVITY, Bounds, half_range, judge, scaled, touched, unknown, unscaled
from palmar.transfer.solver import t95
from palmar.transfer.whitening import whiten, whitening
from palmar.types import Array

LAGS = 4  # of the whitening filter [ticks]
BLOCK = 0.5  # over which what correlation is left is summed [s]
DRAWS = 8  # of command noise for the prediction, each with its mirror image: only what is not linear is left to chance
SLOPES = 3  # the same, for derivatives
# Of central differences, in half ranges: motors that just saturate make the simulation jump, and short steps take the jumps
# for sensitivity (measured: intervals three times too narrow at 0.05, right from 0.5 on).
STEP = 0.8
DELAY_STEP = 0.45  # [ticks]
STRONG = slice(0, 4)  # joints that answer noise almost linearly
GAINS = 9  # gains that the scan tries, evenly in their logarithm
SIGMAS = (0.001, 0.004, 0.008, 0.016)  # noise of commands that it tries [rad]
SCAN = 4.0  # of the motion that is scanned [s]
LEAP = 0.5  # longest step of the search, in the logarithm of a factor or in ticks
QUICK, TURNS = 3, 6  # steps by the motion without noise, and all steps; before each a look at the noise
SETTLED = 0.1  # standard deviations; a step as short ends the search


class ArmFit:
    """Fit of the arm's parameters to a free motion: scanned, then steps of Gauss and Newton between looks at the noise."""

    def __init__(
        self, robot: Embodiment, motion: Motion, names: Sequence[str], seed: int, bounds: Mapping[str, Bounds]
    ) -> None:
        self.robot, self.motion, self.names = robot, motion, list(names)
        self.skip = round(0.5 * REST * robot.control_rate)  # the start pose is known through noise only: let it fade
        T, J = motion.position.shape
        draws = np.random.default_rng([41, seed]).normal(size=(DRAWS + SLOPES, T, J))
        self.draws, self.others = (np.concatenate([d, -d]) for d in np.split(draws, [DRAWS]))
        self.sigma = 0.0
        self.bounds, self.columns = bounds, [*names, GRAVITY]
        self.steps = np.array([DELAY_STEP if n == "action_delay" else STEP * half_range(n) for n in self.columns])
        self.low, self.high = (np.array([scaled(n, bounds[n][side]) for n in self.columns]) for side in (0, 1))
        self.at = np.clip(
            [scaled(n, SPACE[n].nominal if n in SPACE else 1.0) for n in self.columns], self.low, self.high
        )

    @property
    def values(self) -> dict[str, float]:
        """{parameter: where the search is}, in the parameter's unit."""
        return self._named(self.at)

    def _named(self, x: Array) -> dict[str, float]:
        return {n: unscaled(n, float(v)) for n, v in zip(self.columns, x, strict=True)}

    def fit(self, say: Callable[[str], None]) -> None:
        say("gain, delay and noise")
        self._scan()
        for _ in range(2):
            self._look_at_noise()
        for turn in range(TURNS):
            say(f"arm, step {turn + 1} of at most {TURNS}")
            self._look_at_noise()
            self._slope(noisy=turn >= QUICK)
            if self._step() < SETTLED and turn >= QUICK:
                break
        self._look_at_noise(refilter=False)
        self._slope(noisy=True)

    def _scan(self) -> None:
        """Begin at the best of a grid: delays by the strong joints without noise, then gains and noise by how likely they make
        the speeds of all joints. Stiff servos that saturate shake as soft ones do under more noise, but not in every joint."""
        ticks = round(SCAN * self.robot.control_rate)
        low, high = self.bounds["action_delay"]
        delays = np.arange(low + 0.25, high + 0.1) if "action_delay" in self.names and high - low > 0.25 else None
        gains = [self.at]
        if "gain" in self.names:
            k = self.columns.index("gain")
            tries = np.linspace(self.low[k], self.high[k], GAINS + 2)[1:-1]
            gains = [np.where(np.arange(len(self.at)) == k, g, self.at) for g in tries]
        if delays is not None:
            d = self.columns.index("action_delay")
            rows = np.repeat(gains, len(delays), axis=0)
            rows[:, d] = np.tile(delays, len(gains))
            error = self.errors([self._named(x) for x in rows], None, ticks)[0][:, 0, :, STRONG] / [0.007, 0.1]
            cost = (error**2).sum((1, 2, 3)).reshape(len(gains), -1)
            gains = [rows[i * len(delays) + int(c.argmin())] for i, c in enumerate(cost)]
        draws = np.concatenate([self.draws[:2], self.draws[DRAWS : DRAWS + 2]])
        best = np.inf
        for sigma in SIGMAS:
            error, simulated = self.errors([self._named(x) for x in gains], sigma * draws[:, :ticks], ticks)
            spread = (simulated[..., 1] - simulated[..., 1].mean(1, keepdims=True)) ** 2
            variance = spread.mean((1, 2)) + 1e-5
            unlikely = (np.log(variance) + (error[..., 1].mean(1) ** 2).mean(1) / variance).sum(1)
            if unlikely.min() < best:
                best, self.sigma, self.at = float(unlikely.min()), sigma, gains[int(unlikely.argmin())]

    def errors(
        self, candidates: Sequence[Mapping[str, float]], draws: Array | None, ticks: int | None = None
    ) -> tuple[Array, Array]:
        """Measured minus simulated, [K, R, T', J, 2]: angle [rad] and velocity [rad/s]; and the simulated alone. ticks: of the
        motion, from its start; all where not given."""
        from palmar.transfer.replay import simulate_arm

        m = self.motion
        q, v = simulate_arm(self.robot, candidates, m.command[:ticks], m.start, draws)
        simulated = np.stack([q, v], axis=-1)[:, :, self.skip :]
        measured = np.stack([m.position[:ticks], m.velocity[:ticks]], axis=-1)[self.skip :]
        return measured - simulated, simulated

    def _white(self, rows: Array) -> Array:
        """[..., T', J, 2] as whitened [..., M]."""
        out = np.stack([whiten(rows[..., j, :], *f) for j, f in enumerate(self.filters)], axis=-2)
        return out.reshape(*out.shape[:-3], -1)

    def _look_at_noise(self, refilter: bool = True) -> None:
        """Noise of commands and sensors from the residuals' spread, block by block; then the filters that whiten them."""
        sigma = self.sigma
        error, simulated = self.errors([self.values], sigma * self.draws)
        self.error = error.mean(axis=1)[0]
        mean, unit = self.error[:, STRONG], self._unit(simulated, sigma)[0]
        n = round(BLOCK * self.robot.control_rate)
        blocks = np.array([(b**2).mean(axis=(0, 1)) for b in np.split(mean, range(n, len(mean), n)) if len(b) == n])
        action = blocks[:, 1] / unit[1]
        self.variance = {"action_noise": action, "proprio_noise": blocks[:, 0] - unit[0] * action}
        self.sigma = max(float(np.sqrt(action.mean())), 1e-5)
        if refilter:
            self.filters = [whitening(self.error[:, j], LAGS) for j in range(self.error.shape[1])]

    @staticmethod
    def _unit(simulated: Array, sigma: float) -> Array:
        """Variance [K, 2] of the strong joints' angles and velocities under noise of variance 1."""
        spread = (simulated - simulated.mean(1, keepdims=True))[:, :, :, STRONG]
        return np.asarray((spread**2).mean(axis=(1, 2, 3)) / sigma**2)

    def _slope(self, noisy: bool) -> None:
        """Derivatives [M, P] of the whitened motion without noise; noisy: and of the mean motion under noise, and [P] of the
        logarithm of how much noise shows."""
        up, down = (np.clip(self.at + s * np.diag(self.steps), self.low, self.high) for s in (1, -1))
        P, width, both = len(self.columns), np.diag(up - down)[:, None], [self._named(x) for x in (*up, *down)]
        still = self._white(self.errors(both, None)[1][:, 0])
        self.jac = self.moves = ((still[:P] - still[P:]) / width).T
        if noisy:
            simulated = self.errors(both, self.sigma * self.others)[1]
            mean, unit = self._white(simulated.mean(axis=1)), np.log(self._unit(simulated, self.sigma)[:, 1] + 1e-300)
            self.moves, self.answer = ((mean[:P] - mean[P:]) / width).T, (unit[:P] - unit[P:]) / width[:, 0]

    def _step(self) -> float:
        """One step; returns its length, the longest of any parameter in standard deviations."""
        P = len(self.columns)
        H, slope = self.jac.T @ self.moves + np.eye(P), self.jac.T @ self._white(self.error)  # a belief of e-fold each
        free = np.ones(P, bool)
        for _ in range(P):  # what is at its bound and would go beyond stays there
            step = np.zeros(P)
            step[free] = np.linalg.solve(H[np.ix_(free, free)], slope[free])
            out = free & (((self.at >= self.high) & (step > 0)) | ((self.at <= self.low) & (step < 0)))
            if not out.any():
                break
            free &= ~out
        step *= min(1.0, LEAP / max(float(np.abs(step).max()), 1e-12))
        before, self.at = self.at, np.clip(self.at + step, self.low, self.high)
        spread = np.linalg.inv(self.jac.T @ self.jac + np.eye(P))
        return float((np.abs(self.at - before) / np.sqrt(np.diag(spread))).max())

    def covariance(self) -> tuple[Array, Array]:
        """Covariance [P, P] of white residuals, and 95 % half-widths [P], the wider of theirs and of block sums', both in the
        scale of the search."""
        r, jac, P = self._white(self.error), self.jac, len(self.columns)
        if not np.any(jac):
            return np.diag(np.full(P, np.inf)), np.full(P, np.inf)
        inverse = np.linalg.pinv(jac.T @ self.moves, rcond=1e-13)
        white = inverse @ (jac.T @ jac) @ inverse.T * float(np.mean(r**2))
        n = round(BLOCK * self.robot.control_rate) * self.motion.position.shape[1] * 2
        cuts = range(n, len(r), n)
        sums = np.array([a.T @ b for a, b in zip(np.split(jac, cuts), np.split(r, cuts), strict=True)])
        spare = max(len(sums) - P, 1)
        cov = inverse @ (sums.T @ sums) @ inverse.T * len(sums) / spare
        half = t95(spare) * np.sqrt(np.maximum(np.maximum(np.diag(cov), np.diag(white)), 0))
        return white, np.where(np.linalg.norm(jac, axis=0) > 0, half, np.inf)

    def at_bounds(self) -> dict[str, float]:
        """{parameter or nuisance whose value ended at a bound of its search: that bound}."""
        edges = {n: touched(v, v, v, self.bounds[n], n) for n, v in self.values.items()}
        return {n: b for n, b in edges.items() if b is not None}

    def estimates(self) -> dict[str, Estimate]:
        """Of every parameter. When one ends at its bound, the others make up for what it cannot explain, by more than their
        intervals say (measured: a delay of 2 ticks as 1.96 ± 0.03 beside a gain that is twice its bound): none is claimed."""
        half, edges, out = self.covariance()[1], self.at_bounds(), {}
        for n, x, h in zip(self.columns, self.at.tolist(), half.tolist(), strict=True):
            if n not in SPACE:
                continue
            others = [o for o in edges if o != n]
            value, low, high = (unscaled(n, v) for v in (x, x - h, x + h))
            out[n] = judge(n, value, low, high, bounds=self.bounds[n])
            if out[n].identified and others:
                text = f"{value:.4g} [{low:.4g}, {high:.4g}] was fitted together with {others[0]}, which ended"
                out[n] = unknown(n, f"{text} at the bound of its search, {edges[others[0]]:.3g}. Next: mend that first")
        return out

    def noise(self, name: str) -> Estimate:
        """A standard deviation from its variance in blocks of time, and for the commands' from how the arm answers."""
        v = self.variance[name]
        mean, half = float(v.mean()), t95(len(v) - 1) * float(v.std(ddof=1)) / np.sqrt(len(v))
        if name == "action_noise":
            cov = self.covariance()[0]
            unsure = float(self.answer @ cov @ self.answer) if np.isfinite(cov).all() else np.inf
            half = float(np.hypot(half, 1.96 * mean * np.sqrt(max(unsure, 0.0)))) if mean > 0 else half
        low, high = np.sqrt(max(mean - half, 0.0)), np.sqrt(max(mean + half, 0.0))
        return judge(name, float(np.sqrt(max(mean, 0.0))), float(low), float(high), "from the spread of the residuals")

    def sensitivity(self) -> dict[str, float]:
        norms = np.linalg.norm(self.jac, axis=0)
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
        jac = self.jac * [half_range(n) for n in self.columns]
        c = float(np.linalg.cond(jac)) ** 2 if np.any(jac) else np.inf
        return c if np.isfinite(c) else 1e300  # JSON has no infinity
