"""How far the figures of `palmar transfer` may be believed: simulated experiments with known truth.

    OMP_NUM_THREADS=1 python benchmarks/gate.py

Go / no-go: 2000 lives of 1000 trials at each real success rate. Prediction: 300 synthetic policies a row, whose success is
a logistic function of four parameters that are identified with an error of half their spread. Order: 200 measurements of N policies
a row, and how often the 95 % interval holds the figure that such measurements have on average. Seeds are fixed; 50 s of one core.
"""

from __future__ import annotations

import numpy as np
from rich.table import Table

from palmar.console import Screen
from palmar.eval.ranking import FIGURES, Scored, ranking
from palmar.eval.sequential import GoConfig, log_capital
from palmar.eval.stats import Rate
from palmar.transfer.predict import Predicted
from palmar.types import Array


def logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def go_table(c: GoConfig) -> Table:
    table = Table("real success", "ever go", "ever no-go", "first is go", "trials to the verdict, median", "90 %")
    for rate in (0.6, 0.8, 0.9, 0.95, 0.99):
        tried = np.random.default_rng([1, round(100 * rate)]).uniform(size=(2000, 1000)) < rate
        s, f = np.cumsum(tried, 1), np.cumsum(~tried, 1)
        limit = np.log(1 / c.risk)
        go, no = log_capital(c.need, c.want, s, f) >= limit, log_capital(c.want, c.need, s, f) >= limit
        when = [np.where(hit.any(1), hit.argmax(1) + 1, 1001) for hit in (go, no)]
        end = np.minimum(*when)
        shares = (go.any(1).mean(), no.any(1).mean(), (when[0] < when[1]).mean())
        median, most = np.quantile(end, [0.5, 0.9], method="inverted_cdf")
        table.add_row(f"{100 * rate:.0f} %", *(f"{100 * x:.1f} %" for x in shares), f"{median:.0f}", f"{most:.0f}")
    return table


def prediction_table() -> Table:
    table = Table("worlds × trials", "slope", "true rate held", "observed rate held", "mean width")
    rng = np.random.default_rng(1)
    for worlds, trials in ((10, 8), (6, 4)):
        for spread in (0.0, 0.5, 1.5, 3.0):
            held, observed, width = [], [], []
            for k in range(300):
                base, slope = rng.normal(1.0, 1.5), rng.normal(0, spread, 4)
                truth = rng.normal(0, 1, 4)
                found = truth + rng.normal(0, 0.5, 4)
                rates = logistic(base + (found + rng.normal(0, 0.5, (worlds, 4))) @ slope)
                real = float(logistic(base + truth @ slope))
                p = Predicted(tuple((int(rng.binomial(trials, r)), trials) for r in rates), k)
                low, high = p.interval
                held.append(low <= real <= high)
                width.append(high - low)
                observed.append(p.holds(Rate(int(rng.binomial(30, real)), 30)))
            shares = (Rate(sum(held), 300), Rate(sum(observed), 300))
            table.add_row(
                f"{worlds} × {trials}", f"{spread:g}", *map(str, shares), f"{100 * np.mean(width):.0f} points"
            )
    return table


def order_table() -> Table:
    table = Table("policies", "trials", "gap", "r, usual", "held", "ρ, usual", "held", "MMRV, usual", "held")
    rng = np.random.default_rng(2)
    for policies, trials, gap in ((5, 30, 0.3), (8, 30, 0.3), (8, 30, 1.0), (8, 100, 0.3), (12, 30, 0.3)):

        def measured(n: int = trials, k: int = policies, gap: float = gap) -> tuple[Array, Array]:
            z = rng.normal(0, 1.6, k)
            return rng.binomial(n, logistic(z + rng.normal(0, gap, k))), rng.binomial(n, logistic(z + 0.3))

        many = [measured() for _ in range(2000)]
        usual = {name: float(np.nanmean([of(a / trials, b / trials) for a, b in many])) for name, of in FIGURES.items()}
        held = dict.fromkeys(usual, 0)
        for a, b in many[:200]:
            pairs = enumerate(zip(a.tolist(), b.tolist(), strict=True))
            found = ranking([Scored(str(i), Rate(x, trials), Rate(y, trials)) for i, (x, y) in pairs])
            for name, value in usual.items():
                e = getattr(found, name)
                held[name] += e.value is not None and e.low <= value <= e.high
        cells = [text for name in usual for text in (f"{usual[name]:.3f}", f"{held[name] / 2:.0f} %")]
        table.add_row(str(policies), str(trials), f"{gap:g}", *cells)
    return table


if __name__ == "__main__":
    screen = Screen(width=130)
    screen.print(go_table(GoConfig()))
    screen.print(prediction_table())
    screen.print(order_table())
