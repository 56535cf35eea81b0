"""Operations: records that play again, success over time, attention of the policy, and a page for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from palmar.certify.improvement import recorded_run
from palmar.certify.item import Case, Check, Found
from palmar.certify.moving import Sway, at_rest, driven
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, brief
from palmar.eval.monitoring import MonitorConfig, monitored
from palmar.eval.stats import Rate
from palmar.lab.recorded import simulated
from palmar.runtime.adaptation.certificate import sha256
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import Report, deploy
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.blackbox import BlackBox, read_dump
from palmar.runtime.records.operations import OperationsLog
from palmar.runtime.records.rerun import rerun
from palmar.runtime.records.runs import read_log
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.timing import Timing
from palmar.runtime.worker import Inline
from palmar.serve.page.config import PageConfig
from palmar.serve.page.run import RunPage

LOGGED, DROPS, BLOCK = 24, 12, 6
"""Runs of the log, those after which none succeeds any more, and runs of a row of success over time."""
PROMISED = 0.95
"""Success rate that the log is held to."""
PATIENCE = 30.0
"""Longest time for a page to answer [s]."""
STOPPED = 2.0
"""Longest time from a stop that is posted to a page until the controller stops the robot [s]."""


def logging(case: Case) -> Found:
    """A run with a fault is written, and plays again bit for bit."""
    robot, folder = case.robot.with_action_space("channels"), case.scratch / "blackbox"
    controller = Controller()
    body, safety = MockBody(robot), Safety(robot, guards=(*GUARDS, controller))
    box = BlackBox(folder, safety=safety)
    rollout(
        body,
        Inline(Sway(robot)),
        body.reset(),
        clock=SimClock(),
        control=Control(robot, safety),
        subscribers=(box, controller),
        timeout=2.0,
    )
    file = box.dump(folder / "run.jsonl")
    dump = read_dump(file)
    again = rerun(dump)
    different = int(np.count_nonzero(again.different))
    same = bool(len(dump.ticks)) and not different
    offered = case.config.commands
    log = "log" in offered.get("run", ())
    evidence = {
        "ticks written": len(dump.ticks),
        "commands that differ when played again": different,
        "sha256": {file.name: sha256(file)},
        "palmar run --blackbox": "blackbox" in offered.get("run", ()),
        "palmar run --log": log,
        "palmar replay": "replay" in offered,
    }
    met = same and "blackbox" in offered.get("run", ()) and "replay" in offered
    return Found(met, f"{len(dump.ticks)} ticks written and played again, {different} commands differ", evidence)


def success_tracking(case: Case) -> Found:
    """Episodes keep whether they succeeded; and a log of runs, the second half of which fails, is read as `palmar monitor` does."""
    kept = [bool(e.success) for e in recorded_run(case).dataset.episodes]
    robot, path = case.robot.with_action_space("channels"), case.scratch / "operations.jsonl"
    config, expected = MonitorConfig(PROMISED, block=BLOCK), [k < DROPS for k in range(LOGGED)]
    path.unlink(missing_ok=True)
    said: list[bool] = []
    rows: list[int] = []
    alarms: list[list[str]] = []
    for after in (DROPS, LOGGED):
        for success in expected[len(said) : after]:
            _logged(robot, path, success)
            said.append(success)
        found = monitored(read_log(path), config)
        (version,) = found.versions
        rows = [r.successes for *_, r in version.windows]
        alarms.append([str(a) for _, a in found.alarms if a.guard == "drop"])
    right = kept == [True, False] and rows == [sum(expected[k : k + BLOCK]) for k in range(0, LOGGED, BLOCK)]
    met = right and version.rate.n == LOGGED and not alarms[0] and bool(alarms[1])
    commands = case.config.commands
    there = {"palmar monitor": "monitor" in commands, "palmar run --log": "log" in commands.get("run", ())}
    evidence = {
        "episodes recorded": len(kept),
        "success as recorded": str(Rate(sum(kept), len(kept))),
        "runs logged": version.runs,
        "success as logged": str(version.rate),
        f"success of {BLOCK} runs each": rows,
        f"alarms after {DROPS} runs that succeeded": alarms[0],
        f"alarms after {LOGGED - DROPS} more that did not": alarms[1],
        "promised": PROMISED,
        "body": "mock; simulated time",
        **there,
    }
    words = (
        f"success of {len(kept)} recorded episodes and {version.runs} logged runs is kept{'' if right else ' wrongly'}"
    )
    alarm = alarms[1][0] if alarms[1] else "no alarm"
    words += f"; before a drop: {alarms[0][0] if alarms[0] else 'no alarm'}; after it: {alarm}"
    if not all(there.values()):
        words += f"; this palmar has no {' and no '.join(n for n, so in there.items() if not so)}"
    return Found(met and all(there.values()), words, evidence)


def _logged(robot: Embodiment, path: Path, success: bool) -> None:
    """One short run on a mock, added to the log as `palmar run --log` does."""
    controller, timing = Controller(), Timing()
    about = {"policy": "certify", "body": "mock:", "instruction": "certify", "timeout": 0.2}
    log = OperationsLog(path, about, controller)
    _, outcome = driven(robot, Sway(robot), controller, 0.2, (log, timing))
    log.ended(success, "policy", Report(outcome, controller.mode, controller.reason, timing.report(), {}))
    log.close()
    if log.lost:
        raise BadValue(f"the log of a run could not be written: {log.lost}. Next: room on the disk")


def attention(case: Case) -> Found:
    """What the policy itself gives with its chunks, for every camera."""
    seen = simulated(case.neural, 4)[-1]
    maps = dict(case.policy.act(seen).attention or {})
    cameras = list(case.policy.interface.cameras)
    sums = {name: float(np.asarray(m, float).sum()) for name, m in maps.items()}
    good = [c for c in cameras if any(n.partition(".")[0] == c for n in maps)]
    whole = all(abs(s - 1.0) < 1e-2 and np.isfinite(s) for s in sums.values())
    evidence: dict[str, Any] = {
        "maps": {n: list(np.shape(m)) for n, m in maps.items()},
        "sum of each": {n: round(s, 4) for n, s in sums.items()},
        "cameras with a map": good,
        "drawn in": "films of palmar run and palmar eval",
    }
    if not maps:
        return Found(False, "the policy gives no attention maps", evidence)
    return Found(
        bool(cameras) and good == cameras and whole,
        f"{len(maps)} maps with each chunk, for {len(good)} of {len(cameras)} cameras",
        evidence,
    )


def dashboard(case: Case) -> Found:
    """A run on a mock in real time with its page: the page answers, and a stop that is posted to it stops the robot."""
    robot, controller = case.robot.with_action_space("channels"), Controller()
    body = MockBody(robot)
    page = RunPage(PageConfig(port=0), {"policy": "certify", "robot": robot.name, "world": "mock"})
    with closing(page), ThreadPoolExecutor(1) as pool:
        page.began("certify", controller)
        browser = pool.submit(_stopped_there, page, controller)
        report = deploy(
            body, Sway(robot), "certify", body.reset(), timeout=3 * PATIENCE, controller=controller, subscribers=(page,)
        )  # fmt: skip
        seen = browser.result()
    there = "page" in case.config.commands.get("run", ())
    stopped = report.mode is Mode.ESTOP and "stopped from the page" in report.reason
    rests = at_rest(robot, np.array(body.commands))
    evidence = seen | {
        "mode": report.mode.name,
        "reason": report.reason.partition(" (")[0],
        "braked to rest within the limits": rests,
        "body": "mock, real time",
        "palmar run --page": there,
    }
    said = f"/healthz answered {seen['GET /healthz']}; a stop from the page: {report.mode.name}"
    said += f" after {seen['stopped after [s]']:.2f} s" if stopped else ", the robot was not stopped by it"
    if not there:
        said += "; this palmar has no palmar run --page"
    return Found(there and seen["GET /healthz"] == 200 and stopped and rests, said, evidence)


def _stopped_there(page: RunPage, controller: Controller) -> dict[str, Any]:
    """What a browser does that watches a run and stops it. The run is over afterwards, also where the page did not stop it."""
    try:
        _until(lambda: page.ticks > 3, PATIENCE)
        healthy, _ = _asked(page.address, "GET", "/healthz")
        began = time.monotonic()
        status, answer = _asked(page.address, "POST", "/stop", {"name": "certify"})
        _until(lambda: controller.mode is Mode.ESTOP, STOPPED)
        took = round(time.monotonic() - began, 2)
        return {"GET /healthz": healthy, "POST /stop": status, "answer": answer.strip(), "stopped after [s]": took}
    finally:
        controller.finish()


def _until(what: Callable[[], bool], seconds: float) -> None:
    """Wait until it is true, for so many seconds at most."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.01)


def _asked(address: str, method: str, path: str, said: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and text. Raises `BadValue` where nothing answers."""
    where = urlsplit(address)
    connection = HTTPConnection(str(where.hostname), where.port, timeout=PATIENCE)
    try:
        connection.request(method, path, None if said is None else json.dumps(said))
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except OSError as error:
        raise BadValue(
            f"the page at {address} does not answer ({brief(error)}). Next: pip install 'palmar[page]'"
        ) from error
    finally:
        connection.close()


CHECKS = (
    Check("logging", "A run is written, and plays again as it was", "palmar run --blackbox, palmar replay", logging),
    Check(
        "success-tracking",
        "Success is recorded with every episode and run, and shown over time with an alarm",
        "palmar run --log, palmar monitor",
        success_tracking,
    ),
    Check(
        "attention",
        "The policy shows what it looks at, in every camera",
        "a preset with grounding (palmar models)",
        attention,
    ),
    Check(
        "dashboard",
        "A run can be watched on a page, and stopped there",
        "pip install 'palmar[page]', palmar run --page",
        dashboard,
    ),
)
