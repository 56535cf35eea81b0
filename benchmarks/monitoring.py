"""Does the drop alarm keep its promise, how soon does it tell a drop, and what do log, metrics and MCAP cost the loop?

    OMP_NUM_THREADS=1 python benchmarks/monitoring.py                # all of it, about two minutes
    OMP_NUM_THREADS=1 python benchmarks/monitoring.py --seconds 60   # of real time for each row of the cost

The alarm: simulated lives of a version at exactly its baseline, and with a drop from 95 to 75 % of success; seeds are fixed. The
cost: the control loop at 50 Hz in real time on a body without physics with two cameras of 96 × 96 px, a policy that costs nothing,
and each kind of record. "own" is the time the record takes of a tick on the loop's thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.eval.drop import drop_of
from palmar.eval.shift import shifts
from palmar.robots.arm7 import arm7
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.mock import MockBody
from palmar.runtime.records.mcap_file import McapRecorder
from palmar.runtime.records.operations import OperationsLog
from palmar.runtime.supervision.controller import Controller
from palmar.serve.run_metrics import RunMetrics, scraped
from palmar.types import ActionChunk, Array, Observation

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "eval"))
from test_drop import alarms

ROBOT = arm7("channels")


class Waves:
    interface = ROBOT.interface(8)

    def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
        t = obs.time + 0.1 * np.arange(1, 9)
        at = ROBOT.home[:7] + 0.1 * (1 - np.cos(2 * t))[:, None]
        return ActionChunk(np.concatenate([at, np.ones((8, 1))], axis=1).astype(np.float32), 0.1, obs.time, 0.8)

    def reset(self) -> None:
        """Nothing to forget."""


class Timed(Subscriber):
    """The time that another subscriber takes of each tick [s]."""

    def __init__(self, inner: Subscriber) -> None:
        self.inner, self.wants_frames = inner, inner.wants_frames
        self.took: list[float] = []
        self._frame = 0.0

    def on_start(self, obs: Observation, body: Body) -> None:
        self.inner.on_start(obs, body)

    def on_frame(self, obs: Observation, action: Array) -> None:
        began = time.perf_counter()
        self.inner.on_frame(obs, action)
        self._frame = time.perf_counter() - began

    def on_tick(self, tick: Tick) -> None:
        began = time.perf_counter()
        self.inner.on_tick(tick)
        self.took.append(time.perf_counter() - began + self._frame)
        self._frame = 0.0

    def on_end(self, reason: str) -> None:
        self.inner.on_end(reason)


class Looks(Subscriber):
    """Nothing but pictures at each policy step: what a film, a recording or an MCAP file asks for."""

    wants_frames = True


def promise(console: Console) -> None:
    table = Table(
        "baseline 95 %",
        "alpha",
        "false alarms in 2000 runs",
        "drop to 75 % after",
        "told within (median)",
        "90 %",
        title="Drop alarm",
    )
    for alpha in (0.05, 0.01):
        false = (alarms(0.95, alpha, np.random.default_rng(0).random((4000, 2000)) < 0.95) > 0).mean()
        for good in (0, 50, 200, 1000):
            rng = np.random.default_rng(1 + good)
            lives = np.concatenate([rng.random((1000, good)) < 0.95, rng.random((1000, 800)) < 0.75], axis=1)
            at = alarms(0.95, alpha, lives)
            after = at[at > good] - good
            half, most = np.percentile(after, [50, 90])
            told = f"{100 * false:.2f} % of 4000 lives" if not good else ""
            table.add_row("given", f"{alpha:g}", told, f"{good} runs", f"{half:.0f} runs", f"{most:.0f} runs")
    for reference in (50, 100, 200):
        rng = np.random.default_rng(reference)
        false_, after_ = 0, []
        for i in range(200):
            first = (rng.random(reference) < 0.95).tolist()
            same = drop_of([*first, *(rng.random(400) < 0.95).tolist()], 0.05, None, reference) if i < 100 else None
            false_ += same is not None and same.at is not None
            fell = drop_of([*first, *(rng.random(2000) < 0.75).tolist()], 0.05, None, reference)
            after_.append(2000 if fell is None or fell.at is None else fell.at)
        half, most = np.percentile(after_, [50, 90])
        told = f"{false_} of 100 lives of 400"
        table.add_row(f"of {reference} runs", "0.05", told, "0 runs", f"{half:.0f} runs", f"{most:.0f} runs")
    console.print(table)


def moved(console: Console) -> None:
    """Seven channels; 50 runs of reference, then 100 runs in which the mean of one channel has moved, or none has."""
    names = [f"joint{i}" for i in range(1, 8)]
    table = Table("one channel moves by", "alarms", "told within (median)", title="Shift of actions, alpha 0.05")
    for far, lives in ((0.0, 500), (1.0, 200), (1.5, 200), (2.0, 200)):
        rng, at = np.random.default_rng(7), []
        for _ in range(lives):
            values = rng.normal(size=(150, 14))
            values[50:, 3] += far
            at.append(next((s.last - 49 for s in shifts(values, names, 0.05) if s.alarm), 0))
        told = [a for a in at if a]
        half = f"{np.median(told):.0f} runs" if far else ""
        table.add_row(f"{far:g} σ of its runs", f"{100 * len(told) / lives:.1f} % of {lives} lives", half)
    console.print(table)


def drive(seconds: float, *subscribers: Subscriber, controller: Controller) -> dict[str, float]:
    body = MockBody(ROBOT, noise=True)
    obs = body.reset(0)
    return deploy(body, Waves(), "wave", obs, timeout=seconds, controller=controller, subscribers=subscribers).timing


def cost(console: Console, seconds: float) -> None:
    table = Table(
        "record", "own p50 [µs]", "own p99 [µs]", "tick p50 [ms]", "tick p99 [ms]", "ratio to none", "late ticks", "MB/min",
        title=f"Cost at 50 Hz, {seconds:g} s each",
    )  # fmt: skip
    kinds = ["none", "pictures alone", "log", "metrics, scraped each second", "mcap", "all"]
    if find_spec("mcap") is None:
        console.print("mcap is not installed: its rows are left out. Next: pip install 'palmar[mcap]'")
        kinds = kinds[:4]
    base = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            with ExitStack() as stack:
                controller = Controller()
                log = OperationsLog(Path(folder) / f"{kind}.jsonl", {"policy": "waves"}, controller)
                mcap = McapRecorder(Path(folder) / f"{kind}.mcap", {}, controller) if "mcap" in kinds else None
                metrics = RunMetrics({"policy": "waves"})
                metrics.watch(controller)
                metrics.go_on()
                chosen: dict[str, list[Subscriber]] = {
                    "none": [], "pictures alone": [Looks()], "log": [log], kinds[3]: [metrics],
                    "mcap": [mcap] if mcap else [], "all": [log, metrics, *([mcap] if mcap else [])],
                }  # fmt: skip
                timed = [Timed(s) for s in chosen[kind]]
                if kind in (kinds[3], "all"):
                    _scrape(stack, stack.enter_context(scraped(metrics, 0)), seconds)
                timing = drive(seconds, *timed, controller=controller)
                log.close()
                if mcap is not None:
                    mcap.close()
                own = 1e6 * np.sum([t.took for t in timed], axis=0) if timed else np.zeros(1)
                whole = timing["took_p50"] + 1e-3 * float(np.median(own))
                base = base or whole
                size = sum(p.stat().st_size for p in Path(folder).glob(f"{kind}.*")) / 1e6 * 60 / seconds
                p50, p99 = np.percentile(own, [50, 99])
                late = f"{timing['late_ticks']:.0f} of {timing['ticks']:.0f}"
                table.add_row(
                    kind, f"{p50:.0f}", f"{p99:.0f}", f"{whole:.2f}", f"{timing['took_p99'] + 1e-3 * p99:.2f}",
                    f"{whole / base:.2f}", late, f"{size:.2f}",
                )  # fmt: skip
    console.print(table)


def _scrape(stack: ExitStack, address: str, seconds: float) -> None:
    """Read the metrics once a second, as a process would."""
    import subprocess

    code = f"""
import time, urllib.request
while True:
    urllib.request.urlopen({address!r}, timeout=5).read()
    time.sleep(1.0)
"""
    assert urllib.request.urlopen(address, timeout=5).read()
    reader = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    stack.callback(reader.wait)
    stack.callback(reader.terminate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    console, arguments = Console(width=150), parser.parse_args()
    promise(console)
    moved(console)
    cost(console, arguments.seconds)
