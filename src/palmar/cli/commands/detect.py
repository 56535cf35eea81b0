"""Fitting a failure detector to a policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from palmar.cli.shared import Answer, one_thread, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import COUNT, Count, Processes, Range, Seconds, Seed

NEEDED = 10
"""Failures, and successes, that a detector is fitted on at least."""


@dataclass(frozen=True)
class Detect:
    """Fit a detector of failures to a policy: played in conditions it was not trained for, which chunks tell that it will fail?

    The conditions are drawn once each; how well it ranks failures at equal time is told of conditions that took no part in the
    fit. What comes out is a file for `palmar run --detector`.
    """

    policy: Positional[str] = "shipped"
    """Checkpoint folder, or "shipped"."""
    out: Path = Path("detector.json")
    """The file."""
    conditions: Annotated[int, Range(2, 1000)] = 10
    """Worlds that differ from the nominal one."""
    strength: Annotated[float, Range(0, 2)] = 1.3
    """How far they differ, as a share of each parameter's range."""
    episodes: Annotated[int, COUNT] = 6
    """Tables of each task in each condition."""
    tasks: tuple[str, ...] = ("all",)
    """Tasks to play."""
    robot: str = "arm7"
    """One of the robots that can be simulated."""
    seed: Seed = 530_000
    """Of the first table."""
    execute: Count = 4
    """Actions carried out of each chunk before the next is asked for; `palmar run` must be told the same."""
    timeout: Seconds = 10.0
    """Of an episode [s]."""
    processes: Processes = None
    """One a core when not given."""
    force: bool = False
    """Replace the file when it is there."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        import numpy as np

        from palmar.eval.detection import equal_time_auc
        from palmar.lab.histories import Conditions, familiar_features, histories
        from palmar.models.checkpoint import fingerprint
        from palmar.policy import check_policy
        from palmar.robots import robot as robot_named
        from palmar.runtime.confidence.detector import Detector
        from palmar.runtime.confidence.recorded import CHUNK_SIGNALS
        from palmar.sim.tasks import chosen

        writable(self.out, self.force)
        check_policy(self.policy)
        one_thread(self.policy)
        drawn = Conditions(self.conditions, self.strength, self.episodes, self.seed)
        tasks = chosen(self.tasks, self.robot)
        if (most := self.conditions * self.episodes * len(tasks)) < 2 * NEEDED:
            raise BadValue(
                f"--conditions {self.conditions} × --episodes {self.episodes} × {len(tasks)} tasks are {most} episodes; expected "
                f"{2 * NEEDED} or more, of which {NEEDED} fail and {NEEDED} succeed. Next: more --episodes"
            )
        jobs, groups = drawn.jobs(self.policy, tasks, self.timeout, self.robot, self.execute)
        shown = not self.json
        familiar = familiar_features(
            self.policy, tasks, self.timeout, self.robot, processes=self.processes, progress=shown
        )
        r = histories(jobs, groups, (*CHUNK_SIGNALS, "doubt"), self.processes, shown, familiar)
        failures, successes = int(r.failed.sum()), int((~r.failed).sum())
        console.print(f"{len(r)} episodes in {self.conditions} conditions: {successes} succeeded, {failures} failed")
        counts: dict[str, Any] = {"episodes": len(r), "failures": failures, "conditions": self.conditions}
        if min(failures, successes) < NEEDED:
            other = "larger" if failures < NEEDED else "smaller"
            console.print(
                styled("[yellow]No detector: expected {} or more of each.[/] Next: a {} --strength, or more --episodes",
                       NEEDED, other)
            )  # fmt: skip
            return 1, counts | {"auc_equal_time": None, "out": None, "signals": []}
        ranked = []
        for half in (r.tasks % 2 == 0, r.tasks % 2 == 1):
            if all(
                0 < r.failed[part].sum() < part.sum() for part in (half, ~half)
            ):  # both kinds to fit on, and to rank
                scores = Detector.learned(r.take(half)).scores(r)[~half]
                ranked.append(equal_time_auc(scores, r.lengths[~half], r.failed[~half]))
        every = self.execute / robot_named(self.robot).policy_rate
        detector = Detector.fit(r, seed=self.seed, familiar=familiar, policy=fingerprint(self.policy), every=every)
        detector.save(self.out)
        auc = float(np.mean(ranked)) if ranked else None
        if auc is None:
            console.print(
                styled("[yellow]How well it ranks is not known: in a half of the conditions all succeeded, or all failed.[/] Next: "
                       "more --conditions or --episodes")
            )  # fmt: skip
        else:
            console.print(
                f"ROC-AUC at equal time in conditions that took no part in the fit: {auc:.3f} (0.5 is chance)"
            )
        if auc is not None and auc < 0.6:
            console.print(styled("[yellow]That is little: its alarms will say little.[/]"))
        console.print(styled("written: {}  (palmar run --detector {})", self.out, self.out))
        return 0, counts | {"auc_equal_time": auc, "out": str(self.out), "signals": list(detector.names)}
