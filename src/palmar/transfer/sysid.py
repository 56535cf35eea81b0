"""System identification: which parameters make the simulator move as the body in the recordings did.

Least squares on the recorded signals with `mujoco.sysid` (box-constrained Gauss-Newton). Three things keep the intervals
honest. The commands' noise drives the arm, so residuals are correlated from tick to tick: they pass a whitening filter
fitted to themselves (generalised least squares; Ljung 1999, "System Identification", ch. 7). The weak motors saturate under that
noise, which shifts the mean: predictions carry the mean shift over many draws of it. And what is left of correlation widens the
intervals by a sum over blocks of time (Newey and West 1987 in block form).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from palmar.console import Screen
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, MissingPackage, UnknownName, regular_file
from palmar.robots.arm7 import arm7
from palmar.sim.params import GROUPS, SPACE, Group, Randomization, WorldParams
from palmar.transfer.diagnose import REST, Motion, Recordings, Slide
from palmar.types import Array

ARM_PARAMETERS = ("gain", "damping", "link_mass", "action_delay")
NOISES = ("action_noise", "proprio_noise")
PARAMETERS = (*ARM_PARAMETERS, "friction", "mass", *NOISES)
GRAVITY_BOUNDS = (0.8, 1.2)
LAGS = 4  # of the whitening filter [ticks]
BLOCK = 0.5  # over which what correlation is left is summed [s]
DRAWS = 16  # of command noise, each with its mirror image, so that only what is not linear is left to chance
FREE = 0.06  # share of the gripper's opening beyond the grip from which on the cube counts as let go
LANDED = 2e-3  # over its resting height the cube counts as on the table [m]
KEPT = 0.75  # share of the slides the model must be able to follow before friction is claimed
TIPS, TIPPING = 1.1, 0.12  # from this friction on the cube rocks as it slides, which costs this share of accuracy
STEP = (
    0.8  # of central differences, in half ranges: motors that just saturate make the simulation jump, and short steps
)
# take the jumps for sensitivity (measured: intervals three times too narrow at 0.05, right from 0.5 on)
DELAY_STEP = 0.45  # [ticks]
SOLVER: dict[str, Any] = {
    "optimizer": "mujoco",
    "max_iters": 6,
    "xtol": 1e-3,
    "mu_factor": 10.0,
    "mu_max": 1e5,
    "output": StringIO(),
}
MOST = 0.5  # of its range an interval may span for a parameter to count as identified


@dataclass(frozen=True)
class Estimate:
    """One parameter: value and 95 % interval. Not identified: value is nominal, and the interval is its whole range."""

    value: float
    low: float
    high: float
    unit: str
    identified: bool
    note: str = ""


@dataclass(frozen=True)
class Identification:
    """What the recordings say about the body's parameters.

    residual_before, residual_after: RMS error of the joint angles on the held-out motion with nominal and with identified
    parameters [mrad]; the sensor's noise is part of both. sensitivity: {name: how many standard deviations of noise the
    recordings move when the parameter moves by half its range}; correlation: {name: {name: …}} of the arm's estimates;
    condition: of their scaled normal matrix. nuisance: {name: value} estimated so that it does not bias the rest.
    """

    robot: str
    estimates: dict[str, Estimate]
    residual_before: float
    residual_after: float
    sensitivity: dict[str, float] = field(default_factory=dict)
    correlation: dict[str, dict[str, float]] = field(default_factory=dict)
    condition: float = 0.0
    nuisance: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def params(self) -> WorldParams:
        """The identified parameters at their estimates, the rest nominal."""
        return WorldParams({n: e.value for n, e in self.estimates.items() if e.identified})

    def randomization(self, strength: float = 1.0, groups: Sequence[Group] = GROUPS) -> Randomization:
        """Randomisation that draws what is identified from its interval, and everything else as it would have."""
        ranges = {n: (e.low, e.high) for n, e in self.estimates.items() if e.identified}
        return Randomization(strength, tuple(groups), self.params(), ranges)

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """(name, value, low, high, unit, remark) for a table."""
        return [
            (n, f"{e.value:.4g}", f"{e.low:.4g}", f"{e.high:.4g}", e.unit,
             e.note if e.identified else f"not identified. {e.note}".strip())
            for n, e in self.estimates.items()
        ]  # fmt: skip

    def to_json(self) -> str:
        return json.dumps({"format": "palmar identification 1", **asdict(self)}, indent=1)

    @classmethod
    def load(cls, path: str | Path) -> Identification:
        """Read a file that `palmar sysid --out` wrote. Raises `BadFile`."""
        try:
            return cls.from_json(regular_file(path).read_text())
        except FileNotFoundError:
            raise BadFile(f"no identification at '{path}'. Next: palmar sysid --out {path}") from None

    @classmethod
    def from_json(cls, text: str) -> Identification:
        """Read what `to_json` wrote. Raises `BadFile`."""
        try:
            row = json.loads(text)
            if row.pop("format") != "palmar identification 1":
                raise ValueError("another format")
            row["estimates"] = {n: Estimate(**e) for n, e in row["estimates"].items()}
            row["notes"] = tuple(row["notes"])
            found = cls(**row)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise BadFile(
                f"not an identification ({e}); expected the JSON that `Identification.to_json` wrote"
            ) from None
        for name in found.estimates:
            if name not in SPACE:
                raise UnknownName("world parameter", name, SPACE)
        return found


def identify(
    recordings: Recordings,
    robot: Embodiment | None = None,
    *,
    parameters: Sequence[str] = PARAMETERS,
    progress: bool = True,
    seed: int = 0,
) -> Identification:
    """Estimate `parameters` from diagnostic recordings; the others stay nominal. About 15 s on one core.

    Raises `MissingPackage` without `mujoco[sysid]`, `BadValue` on recordings too short or of another robot.
    """
    began = time.perf_counter()
    sysid = _sysid()
    robot = robot or arm7()
    if recordings.robot != robot.name or recordings.free.position.shape[1] != len(robot.frame().joints):
        raise BadValue(f"the recordings are of '{recordings.robot}'; expected '{robot.name}'. Pass its embodiment")
    if abs(recordings.dt * robot.control_rate - 1) > 1e-6:
        raise BadValue(f"the recordings tick every {recordings.dt} s; {robot.name} every {1 / robot.control_rate} s")
    if len(recordings.free.position) * recordings.dt < 2.0:
        raise BadValue(
            f"the free motion lasts {len(recordings.free.position) * recordings.dt:.2f} s; expected at least 2 s"
        )
    for name in parameters:
        if name not in PARAMETERS:
            raise UnknownName("identifiable parameter", name, PARAMETERS)
    with _Progress(progress) as say:
        arm = _Arm(sysid, robot, recordings.free, [p for p in ARM_PARAMETERS if p in parameters], seed)
        arm.fit(say)
        estimates, sensitivity = arm.estimates(), arm.sensitivity()
        notes = list(recordings.notes)
        if "friction" in parameters:
            say("sliding cube")
            estimates["friction"], sensitivity["friction"] = _friction(sysid, recordings)
        if "mass" in parameters:
            estimates["mass"] = _mass(robot)
        for name in NOISES:
            if name in parameters:
                estimates[name] = arm.noise(name)
        say("held-out motion")
        before = _held_out(robot, {}, recordings.held_out)
        after = _held_out(robot, arm.values, recordings.held_out)
    estimates = {n: estimates[n] for n in PARAMETERS if n in estimates}
    if after > before:
        notes.append(f"the held-out motion fits worse than nominal ({after:.2f} > {before:.2f} mrad): do not use this")
    return Identification(
        recordings.robot, estimates, before, after, sensitivity, arm.correlation(), arm.condition(),
        {arm.nuisance: arm.values[arm.nuisance]}, time.perf_counter() - began, tuple(notes),
    )  # fmt: skip


class _Arm:
    """Fit of the arm's parameters to a free motion: rough, then whitened with noise, then once more."""

    def __init__(self, sysid: Any, robot: Embodiment, motion: Motion, names: Sequence[str], seed: int) -> None:
        from palmar.transfer.replay import GRAVITY

        self.sysid, self.robot, self.motion, self.names, self.nuisance = sysid, robot, motion, list(names), GRAVITY
        self.skip = round(0.5 * REST * robot.control_rate)  # the start pose is known through noise only: let it fade
        T, J = motion.position.shape
        draws = np.random.default_rng([41, seed]).normal(size=(DRAWS, T, J))
        self.draws = np.concatenate([draws, -draws])
        self.sigma = 0.0
        self.shift: Array | float = 0.0  # of the mean motion under noise against the motion without [T', J, 2]
        self.filters: list[tuple[Array, Array]] | None = None
        self.params = sysid.ParameterDict()
        for n in names:
            p = SPACE[n]
            low = p.low if p.low == p.nominal else 2 * p.low - p.nominal
            self.params.add(sysid.Parameter(n, p.nominal, low, 2 * p.high - p.nominal))
        self.params.add(sysid.Parameter(GRAVITY, 1.0, *GRAVITY_BOUNDS))
        self.columns = [*names, GRAVITY]
        self.values = {n: float(self.params[n].value[0]) for n in self.columns}

    def fit(self, say: Callable[[str], None]) -> None:
        say("delay")
        if "action_delay" in self.names:
            tries = np.arange(0.25, 6.1, 0.5)
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
        steps = np.array([DELAY_STEP if n == "action_delay" else STEP * _half(n) for n in self.columns])
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
        scale = np.array([_half(n) for n in self.columns])
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
        wide = np.maximum(np.nan_to_num(white, nan=np.inf), _t95(spare) * np.sqrt(np.maximum(np.diag(cov), 0)))
        return inverse * np.outer(scale, scale), wide * scale

    def estimates(self) -> dict[str, Estimate]:
        _, wide = self.covariance()
        return {
            n: _estimate(n, self.values[n], float(w)) for n, w in zip(self.columns, wide, strict=True) if n in SPACE
        }

    def noise(self, name: str) -> Estimate:
        """A standard deviation from its variance in blocks of time."""
        v = self.variance[name]
        mean, half = float(v.mean()), _t95(len(v) - 1) * float(v.std(ddof=1)) / np.sqrt(len(v))
        low, high = np.sqrt(max(mean - half, 0.0)), np.sqrt(max(mean + half, 0.0))
        return _interval(
            name, float(np.sqrt(max(mean, 0.0))), float(low), float(high), "from the spread of the residuals"
        )

    def sensitivity(self) -> dict[str, float]:
        norms = np.linalg.norm(np.asarray(self.result.jac), axis=0)
        return {n: float(norm * _half(n)) for n, norm in zip(self.columns, norms, strict=True)}

    def correlation(self) -> dict[str, dict[str, float]]:
        cov, _ = self.covariance()
        d = np.sqrt(np.diag(cov))
        if not (np.isfinite(d).all() and (d > 0).all()):
            return {}
        rho = cov / np.outer(d, d)
        return {a: {b: float(rho[i, k]) for k, b in enumerate(self.columns)} for i, a in enumerate(self.columns)}

    def condition(self) -> float:
        """Of JᵀJ, each column in units of half its parameter's range."""
        jac = np.asarray(self.result.jac) * [_half(n) for n in self.columns]
        c = float(np.linalg.cond(jac)) ** 2 if np.any(jac) else np.inf
        return c if np.isfinite(c) else 1e300  # JSON has no infinity


def whitening(z: Array, lags: int) -> tuple[Array, Array]:
    """A vector autoregression of z [T, C] as (coefficients [lags·C, C], L [C, C]): innovations e = z_t - past @ coefficients
    have covariance L Lᵀ."""
    past = _past(z, lags)
    coefficients = np.linalg.lstsq(past, z[lags:], rcond=None)[0]
    e = z[lags:] - past @ coefficients
    floor = 1e-12 * np.eye(z.shape[1])
    return coefficients, np.linalg.cholesky(e.T @ e / len(e) + floor)


def whiten(z: Array, coefficients: Array, L: Array) -> Array:
    """Unit-variance innovations [..., T - lags, C] of z [..., T, C] under `whitening`'s model."""
    lags = len(coefficients) // z.shape[-1]
    e = z[..., lags:, :] - _past(z, lags) @ coefficients
    return np.linalg.solve(L, np.swapaxes(e, -1, -2)).swapaxes(-1, -2)


def _past(z: Array, lags: int) -> Array:
    T = z.shape[-2]
    return np.concatenate([z[..., lags - k : T - k, :] for k in range(1, lags + 1)], axis=-1)


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


def _friction(sysid: Any, recordings: Recordings) -> tuple[Estimate, float]:
    """Friction from all slides at once; a slide the model cannot follow (the cube tumbled, a finger caught it) is left out."""
    ways = [w for s in recordings.slides if (w := slide_way(s, recordings.dt)) is not None]
    sigma, seen = recordings.tracker_noise, len(recordings.slides)
    least = max(3, int(np.ceil(KEPT * seen)))
    value, half, shift, left = SPACE["friction"].nominal, np.inf, 0.0, np.inf
    while len(ways) >= least:
        value, half, shift, rms = _fit_slides(sysid, ways, sigma, recordings.dt)
        left = float(np.sqrt(np.mean(rms**2)) * sigma)
        worst = int(np.argmax(rms))
        if rms[worst] < 2.0:
            break
        del ways[worst]
    if len(ways) < least:  # fewer agree with each other only because the rest was left out
        return _unknown("friction", f"{len(ways)} of {seen} slides can be used; needs at least {least}"), 0.0
    note = f"{len(ways)} of {seen} slides; tracker noise {sigma * 1e3:.2g} mm, left {left * 1e3:.2g} mm"
    if value > TIPS:
        half, note = float(np.hypot(half, TIPPING * value)), f"{note}; the cube rocks at such friction"
    return _estimate("friction", value, half, note), shift


def _fit_slides(sysid: Any, ways: Sequence[Array], sigma: float, dt: float) -> tuple[float, float, float, Array]:
    """Friction, its 95 % half-width, its sensitivity, and what each slide leaves [S], in standard deviations.

    Speed and place each slide begins with are nuisances of its own.
    """
    from palmar.transfer.replay import simulate_slide

    n, longest = len(ways), max(len(w) for w in ways)
    params = sysid.ParameterDict()
    params.add(sysid.Parameter("friction", 1.0, 0.2, 2.5))
    for i, w in enumerate(ways):
        params.add(sysid.Parameter(f"speed{i}", float(np.clip((w[3] - w[0]) / (3 * dt) * 1.2, 0.1, 1.8)), 0.0, 2.0))

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
    spread = _t95(n - 1) * float(np.sqrt(np.sum(share**2 * alone**2) * n / (n - 1)))
    rms = np.array([np.sqrt(np.mean(b**2)) for b in np.split(r, cuts)])
    return float(x[0]), max(white, spread), float(np.linalg.norm(jac[:, 0]) * _half("friction")), rms


def _mass(robot: Embodiment) -> Estimate:
    """The object's mass shows in none of the motions; say how little a held one would bend the arm."""
    from palmar.sim.bodies import STIFFNESS
    from palmar.sim.tasks import Item

    change = _half("mass") * Item("cube", "red", 0, 0).mass * 9.81 * 0.5 / STIFFNESS[1] * 1e3
    return _unknown(
        "mass",
        f"a slide does not depend on it; held at 0.5 m, half its range bends {robot.frame().joints[1]} by {change:.3f} mrad",
    )


def _held_out(robot: Embodiment, values: Mapping[str, float], motion: Motion) -> float:
    """RMS error of the joint angles [mrad]."""
    from palmar.transfer.replay import simulate_arm

    q, _ = simulate_arm(robot, [values], motion.command, motion.start)
    skip = round(0.5 * REST * robot.control_rate)
    return float(np.sqrt(np.mean((q[0, 0] - motion.position)[skip:] ** 2)) * 1e3)


def plot(identification: Identification, recordings: Recordings, path: str | Path, joint: int = 1) -> None:
    """Measured, nominal and identified: one joint of the held-out motion, and a slide. Writes a picture file."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackage("'matplotlib' is not installed. Next: pip install 'palmar[report]'") from None
    from palmar.transfer.replay import simulate_arm, simulate_slide

    robot, motion, dt = arm7(), recordings.held_out, recordings.dt
    values = {n: e.value for n, e in identification.estimates.items() if e.identified} | identification.nuisance
    q, _ = simulate_arm(robot, [{}, values], motion.command, motion.start)
    t = np.arange(1, len(motion.position) + 1) * dt
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    top, low, slide = figure.subplot_mosaic([["top", "slide"], ["low", "slide"]], width_ratios=[2, 1]).values()
    top.plot(t, motion.position[:, joint], ".", ms=2, color="0.5", label="measured")
    for k, (name, colour) in enumerate((("nominal", "tab:orange"), ("identified", "tab:blue"))):
        top.plot(t, q[k, 0, :, joint], color=colour, lw=1, label=name)
        low.plot(t, 1e3 * (motion.position - q[k, 0])[:, joint], color=colour, lw=0.8, label=name)
    top.set(ylabel=f"{robot.frame().joints[joint]} [rad]", title="held-out motion")
    low.set(ylabel="error [mrad]", xlabel="time [s]")
    ways = [w for s in recordings.slides if (w := slide_way(s, dt)) is not None]
    if ways:
        w = ways[0]
        slide.plot(np.arange(len(w)) * dt * 1e3, w * 1e3, "o", ms=4, color="0.5", label="measured")
        for name, colour, mu in (
            ("nominal", "tab:orange", 1.0), ("identified", "tab:blue", values.get("friction", 1.0)),
        ):  # fmt: skip
            speeds = np.linspace(0.05, 1.5, 59)  # each friction with the speed that suits it best
            ways_k = simulate_slide(np.full(59, mu), speeds, len(w), dt)
            best = ways_k[int(np.argmin(((ways_k - w) - (ways_k - w).mean(1, keepdims=True)).std(1)))]
            slide.plot(np.arange(len(w)) * dt * 1e3, (best + (w - best).mean()) * 1e3, color=colour, label=name)
    slide.set(xlabel="time [ms]", ylabel="way [mm]", title="cube after release")
    top.legend(loc="upper right", fontsize=8)
    figure.savefig(path, dpi=120)


def _estimate(name: str, value: float, half: float, note: str = "") -> Estimate:
    return _interval(name, value, value - half, value + half, note)


def _interval(name: str, value: float, low: float, high: float, note: str = "") -> Estimate:
    """Claimed when the interval spans less than `MOST` of the range; limits that have physical minima keep them."""
    p = SPACE[name]
    if not np.isfinite([value, low, high]).all() or high - low > MOST * (p.high - p.low):
        return _unknown(
            name, f"interval {low:.3g} … {high:.3g} spans more than {MOST:.0%} of its range. {note}".strip()
        )
    floor = 0.0 if p.low >= 0 else -np.inf
    return Estimate(max(value, floor), max(low, floor), max(high, floor), p.unit, True, note)


def _unknown(name: str, note: str) -> Estimate:
    p = SPACE[name]
    return Estimate(p.nominal, p.low, p.high, p.unit, False, note)


def _half(name: str) -> float:
    """Half the width of a parameter's range."""
    if name in SPACE:
        return (SPACE[name].high - SPACE[name].low) / 2
    return (GRAVITY_BOUNDS[1] - GRAVITY_BOUNDS[0]) / 2


def _t95(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), 0.975))


def _sysid() -> Any:
    """`mujoco.sysid`; without its extra the module is there but empty."""
    try:
        from mujoco import sysid

        sysid.optimize  # noqa: B018
    except (ImportError, AttributeError):
        raise MissingPackage(
            "'mujoco.sysid' is not installed; this needs it. Next: pip install 'palmar[sysid]'"
        ) from None
    return sysid


class _Progress:
    """What is being fitted, on standard error, from two seconds on."""

    def __init__(self, show: bool) -> None:
        self.show, self.began, self.status = show, time.perf_counter(), None

    def __enter__(self) -> Callable[[str], None]:
        return self.say

    def say(self, what: str) -> None:
        if not self.show or time.perf_counter() - self.began < 2.0:
            return
        if self.status is None:
            self.status = Screen(stderr=True).status(what)  # type: ignore[assignment]
            self.status.start()  # type: ignore[attr-defined]
        self.status.update(f"identifying: {what}")  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        if self.status is not None:
            self.status.stop()
