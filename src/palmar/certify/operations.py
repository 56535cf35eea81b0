"""Operations: records that play again, success over time, attention of the policy, and a page for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from palmar.certify.improvement import recorded_run
from palmar.certify.item import Case, Check, Found
from palmar.certify.moving import Sway
from palmar.eval.stats import Rate
from palmar.lab.recorded import simulated
from palmar.runtime.adaptation.certificate import sha256
from palmar.runtime.clock import SimClock
from palmar.runtime.control.path import Control
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records.blackbox import BlackBox, read_dump
from palmar.runtime.records.rerun import rerun
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline


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
    """Episodes keep whether they succeeded, and the command line shows it over time with an alarm."""
    dataset = recorded_run(case).dataset
    kept = [bool(e.success) for e in dataset.episodes]
    shows = "monitor" in case.config.commands
    evidence = {
        "episodes recorded": len(kept),
        "success as recorded": str(Rate(sum(kept), len(kept))),
        "palmar monitor": shows,
    }
    right = kept == [True, False]
    said = f"success of {len(kept)} recorded episodes is kept{'' if right else ' wrongly'}; over time with an alarm: "
    return Found(right and shows, said + ("palmar monitor" if shows else "this palmar has no command for it"), evidence)


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
    there = "page" in case.config.commands.get("run", ())
    said = "palmar run --page shows a run in a browser" if there else "this palmar has no page of a run"
    return Found(there, said, {"palmar run --page": there})


CHECKS = (
    Check("logging", "A run is written, and plays again as it was", "palmar run --blackbox, palmar replay", logging),
    Check(
        "success-tracking",
        "Success is recorded with every episode, and shown over time with an alarm",
        "a palmar with palmar monitor",
        success_tracking,
    ),
    Check(
        "attention",
        "The policy shows what it looks at, in every camera",
        "a preset with grounding (palmar models)",
        attention,
    ),
    Check("dashboard", "A run can be watched on a page", "a palmar with palmar run --page", dashboard),
)
