"""Performance: latency, the quantised form, memory and CPU, and what happens when the policy fails."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from typing import Any

import numpy as np

from palmar.certify.item import Case, Check, Found
from palmar.certify.moving import Sway, at_rest, driven
from palmar.errors import PolicyUnreachable
from palmar.lab.bench import Bench, BenchConfig, Row
from palmar.lab.recorded import simulated
from palmar.models.form_names import EAGER
from palmar.runtime.adaptation.certificate import sha256
from palmar.runtime.deploy import deploy
from palmar.runtime.mock import MockBody
from palmar.runtime.pool import cores
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.types import ActionChunk, Observation, Prefix

BUDGET = 50.0
"""Of a chunk, 99th percentile on one thread [ms]."""
INT8 = ("onnx-int8-dynamic", "onnx-int8-static", "openvino-int8-static")
OBSERVATIONS = 60
WATCHDOG = 1.0
"""Of the controller in the trials of fallbacks [s]."""


def _measured(case: Case) -> dict[str, Any]:
    """Rows of `palmar bench` on the form that acts and the quantised ones: {form: row}, and the load of the machine meanwhile."""

    def measure() -> dict[str, Any]:
        case.say("latency and memory")
        seen = simulated(case.neural, OBSERVATIONS // 6 if case.config.quick else OBSERVATIONS)
        repeats = 30 if case.config.quick else 300
        before = _load()
        config = BenchConfig(case.config.policy, INT8, case.folder / "forms", repeats, robot=case.robot.name)
        rows = Bench(config, seen, case.say).run()
        return {
            "rows": {r.form: r for r in rows},
            "load": max(before, _load()),
            "chunks": repeats,
            "observations": len(seen),
        }

    found: dict[str, Any] = case.once("bench", measure)
    return found


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _around(found: dict[str, Any]) -> dict[str, Any]:
    return {"chunks": found["chunks"], "threads": 1, "load": round(found["load"], 1), "cores": cores()}


def _busy(found: dict[str, Any]) -> str:
    """What to say when others used the machine as well."""
    if not found["load"] > cores():
        return ""
    return f"; measured under a load of {found['load']:.1f} on {cores()} cores, which lengthens it"


def latency(case: Case) -> Found:
    found = _measured(case)
    at = found["rows"][EAGER].latency
    step = 1000.0 / case.robot.policy_rate
    evidence = asdict(at) | {"budget [ms]": BUDGET, "policy step [ms]": step} | _around(found)
    said = (
        f"p50 {at.p50:.1f}, p99 {at.p99:.1f} ms on the wall clock; p99 {at.cpu_p99:.1f} ms of computing{_busy(found)}"
    )
    return Found(bool(at.p99 < BUDGET), said, evidence)


def quantised(case: Case) -> Found:
    found = _measured(case)
    rows: dict[str, Row] = found["rows"]
    evidence: dict[str, Any] = {}
    for form in INT8:
        row = rows[form]
        if row.why or row.latency is None:
            evidence[form] = row.why.partition(". Next")[0]
            continue
        faster = rows[EAGER].latency.cpu_p50 / row.latency.cpu_p50  # type: ignore[union-attr]
        files = {p.name: sha256(p) for p in sorted((case.folder / "forms" / form).iterdir()) if p.is_file()}
        evidence[form] = {
            "within its bound": row.kept,
            "differs by": str(row.parity),
            "files [MB]": row.megabytes,
            "faster (CPU time)": round(faster, 2),
            "p50 [ms]": round(row.latency.p50, 2),
            "sha256": files,
        }
    good = [f for f in INT8 if isinstance(evidence[f], dict) and evidence[f]["within its bound"]]
    if not good:
        return Found(False, "no quantised form could be made within its bound", evidence)
    best = max(good, key=lambda f: float(evidence[f]["faster (CPU time)"]))
    times = evidence[best]["faster (CPU time)"]
    said = f"{', '.join(good)} within the bound of the actions; {best} takes 1/{times:.1f} of the CPU time"
    return Found(True, said, evidence)


def profile(case: Case) -> Found:
    """Memory and CPU of every form there is."""
    found = _measured(case)
    every = 4 / case.robot.policy_rate  # four actions of a chunk are carried out before the next is asked for
    evidence: dict[str, Any] = {}
    for form, row in found["rows"].items():
        if row.latency is not None and row.memory is not None:
            share = row.latency.cpu_p50 / (1000 * every)
            evidence[form] = {
                "memory [MB]": round(row.memory, 1),
                "CPU p50 [ms]": round(row.latency.cpu_p50, 2),
                "share of a core": round(share, 4),
            }
    base = evidence.get(EAGER)
    if base is None or not np.isfinite(base["memory [MB]"]):
        return Found(False, "memory could not be measured on this system", evidence | _around(found))
    share = 100 * base["share of a core"]
    said = f"{base['memory [MB]']:.0f} MB beside torch, {base['CPU p50 [ms]']:.1f} ms of CPU a chunk, {share:.1f} % of a core"
    return Found(True, said, evidence | _around(found))


class Broken(Sway):
    """Answers twice, then raises this."""

    error: Exception = RuntimeError("the policy broke")

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self.calls >= 2:
            self.calls += 1
            raise self.error
        return super().act(obs, prefix)


class Lost(Broken):
    """Its server is lost."""

    error = PolicyUnreachable("the policy server was lost")


class Hanging(Sway):
    """Answers twice, then does not come back before `over` is set."""

    over: threading.Event

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self.calls >= 2:
            self.over.wait(30.0)
        return super().act(obs, prefix)


class Nothing(Sway):
    """Answers twice, then no numbers."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        chunk = super().act(obs, prefix)
        if self.calls > 2:
            chunk = ActionChunk(np.full_like(chunk.actions, np.nan), chunk.dt, chunk.t0)
        return chunk


def fallbacks(case: Case) -> Found:
    """A policy that raises, whose server is lost, that answers no numbers, or that hangs: the robot is held at rest."""
    robot = case.robot.with_action_space("channels")
    evidence: dict[str, Any] = {"body": "mock; simulated time, the one that hangs in real time"}
    good = []
    for name, kind in (("raises", Broken), ("server lost", Lost), ("no numbers", Nothing)):
        controller, policy = Controller(watchdog=WATCHDOG), kind(robot)
        commands, _ = driven(robot, policy, controller, 4.0)
        good.append(_held(evidence, name, controller, at_rest(robot, commands)) and policy.calls > 2)
    hangs, body, controller = Hanging(robot), MockBody(robot), Controller(watchdog=WATCHDOG)
    hangs.over = threading.Event()
    report = deploy(body, hangs, "certify", body.reset(), timeout=4.0, controller=controller)
    hangs.over.set()
    good.append(
        _held(evidence, "hangs", controller, at_rest(robot, np.array(body.commands))) and report.mode is Mode.HOLD
    )
    held = [n for n, ok in zip(("raises", "server lost", "no numbers", "hangs"), good, strict=True) if ok]
    return Found(all(good), f"held at rest within its limits when the policy: {', '.join(held) or 'never'}", evidence)


def _held(evidence: dict[str, Any], name: str, controller: Controller, rests: bool) -> bool:
    evidence[name] = {"mode": controller.mode.name, "reason": controller.reason, "at rest within the limits": rests}
    return controller.mode is Mode.HOLD and rests


CHECKS = (
    Check(
        "latency",
        f"A chunk takes less than {BUDGET:g} ms (99th percentile, wall clock, one thread)",
        "palmar export, a smaller preset, or an idle machine",
        latency,
    ),
    Check(
        "quantised",
        "An INT8 form is there whose actions stay within its bound",
        "pip install 'palmar[export]', then palmar bench",
        quantised,
    ),
    Check("profile", "Memory and CPU of a chunk are measured", "palmar bench on Linux", profile),
    Check(
        "fallbacks",
        "A policy that raises, hangs, is lost or answers nonsense leaves the robot held at rest",
        "Controller and its watchdog around the policy (palmar.runtime.deploy)",
        fallbacks,
    ),
)
