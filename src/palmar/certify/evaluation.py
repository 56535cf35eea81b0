"""Evaluation: success, objects, light, failure modes, and whether the confidence is calibrated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from palmar.certify.item import Case, Check, Found
from palmar.errors import BadValue
from palmar.eval.detection import equal_time_auc
from palmar.eval.results import Results, Trial
from palmar.eval.stats import Rate, exact_upper
from palmar.files import replace_file
from palmar.lab.histories import Conditions, familiar_features, histories
from palmar.lab.suite import EvalConfig, evaluate
from palmar.models.checkpoint import fingerprint
from palmar.robots import robots
from palmar.runtime.adaptation.certificate import sha256
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.confidence.recorded import CHUNK_SIGNALS
from palmar.sim import tasks
from palmar.sim.params import NO_RANDOMIZATION, SPACE, Randomization
from palmar.sim.scenario import Split

SUCCESS = 0.9
"""The lower end of the 95 % Wilson interval of the success rate has to be above it; the rate by itself is not enough."""
OBJECTS = 8
"""Different things, by colour and shape, that the trials of new tables and new pairs have to ask for."""
LIGHTS = ("light", "light_x", "temperature")
"""World parameters of the light: each is drawn from its whole range, all others stay nominal."""
LEAST = 100
"""Fewest trials in which failure modes are looked for."""
LEVELS = (0.05, 0.1, 0.2, 0.3)
"""Rates of false alarms at which the confidence is held to what it promises."""
RANKS = 0.6
"""Least ROC-AUC at equal time of a confidence that says something about failure; 0.5 is chance."""
FIT, CHECK = 530_000, 560_000
"""First seeds of the tables that the detector is fitted on, and of those that its calibration is tested on."""


def trials(case: Case, split: Split, light: bool = False) -> tuple[Results, Path]:
    """Of one split, and the file they are in. Raises `BadValue` for a robot that is not simulated."""
    c = case.config
    if c.robot not in robots():
        raise BadValue(
            f"'{c.robot}' has no simulated scene; there are {', '.join(robots())}. Next: a shipped robot, whose name is given"
        )
    ranges = {name: (SPACE[name].low, SPACE[name].high) for name in LIGHTS}
    drawn = Randomization(0.0, ranges=ranges) if light else NO_RANDOMIZATION
    config = EvalConfig(c.policy, c.tables, splits=(split,), seed=c.seed, randomization=drawn, robot=c.robot)
    name = f"trials-{'light' if light else split}-{c.seed}-{c.tables}.json"
    note = f"success, {'light' if light else split}"
    path = case.kept(name, lambda p: evaluate(config, c.processes, case.progress, note).save(p))
    return case.once(name, lambda: Results.load(path)), path


def success(case: Case) -> Found:
    found, path = trials(case, "layout")
    by_task = {k: str(found.rate(task=k)) for k in found.config["tasks"]}
    return _rated(found, path, {"by task": by_task, "success it knew of": str(found.said_done())})


def objects(case: Case) -> Found:
    """Colour-object pairs that were never trained on, and how many different things all trials ask for."""
    (found, path), (known, _) = trials(case, "pair"), trials(case, "layout")
    both = (*found.trials, *known.trials)
    asked = Counter(_target(t) for t in both)
    good = Counter(_target(t) for t in both if t.success)
    rates = {name: f"{good[name]} of {n}" for name, n in sorted(asked.items())}
    never = sorted({_target(t) for t in found.trials})
    made = _rated(found, path, {"things asked for": rates, "pairs never trained on": never})
    if len(asked) >= OBJECTS:
        return Found(made.met, f"{made.finding}; {len(asked)} different things in all", made.evidence)
    return Found(False, f"{made.finding}; only {len(asked)} different things, and {OBJECTS} are needed", made.evidence)


def light(case: Case) -> Found:
    found, path = trials(case, "layout", light=True)
    drawn = Randomization(0.0, ranges={name: (SPACE[name].low, SPACE[name].high) for name in LIGHTS})
    levels = np.array([drawn.sample(np.random.default_rng([29, t.seed]))["light"] for t in found.trials])
    ends = np.linspace(SPACE["light"].low, SPACE["light"].high, 4)
    thirds = {}
    for low, high in pairwise(ends):
        inside = [t.success for t, x in zip(found.trials, levels, strict=True) if low <= x < high]
        thirds[f"{low:.1f} … {high:.1f} ×"] = str(Rate(sum(inside), len(inside)))
    ranges = {name: f"{SPACE[name].low:g} … {SPACE[name].high:g} {SPACE[name].unit}" for name in LIGHTS}
    return _rated(found, path, {"drawn from": ranges, "by intensity": thirds})


def _rated(found: Results, path: Path, more: Mapping[str, Any]) -> Found:
    rate = found.rate()
    low = rate.interval[0]
    met = low > SUCCESS
    said = f"success {rate}: the lower end is {'above' if met else 'not above'} {100 * SUCCESS:.0f} %"
    if not met and rate.value > SUCCESS:
        said += "; the rate by itself is, which is not enough"
    seed, each = found.config["seed"], found.config["episodes"]
    evidence = rate.to_dict() | {
        "bound": SUCCESS,
        "seeds": f"{seed} … {seed + each - 1}",
        **more,
        "file": path.name,
        "sha256": sha256(path),
    }
    return Found(met, said, evidence)


def _target(trial: Trial) -> str:
    scenario = tasks.sample(trial.task, trial.split, trial.seed)  # type: ignore[arg-type]
    return scenario.items[scenario.target].name


def mode_of(trial: Trial) -> str:
    """Why a trial that failed did, as far as its record tells."""
    if not trial.approached:
        return "went to another object than the one asked for"
    if trial.done_seen:
        return "said that it was done, and was not"
    if trial.changed > 0.1 * trial.commands:
        return "went to the object; the safety layer changed more than a tenth of its commands"
    return "went to the object, and did not finish in time"


def failure_modes(case: Case) -> Found:
    """Every failed trial of the three test sets, by its mode."""
    sets = {
        "new tables": trials(case, "layout"),
        "new pairs": trials(case, "pair"),
        "light": trials(case, "layout", light=True),
    }
    failed = [(name, t) for name, (found, _) in sets.items() for t in found.trials if not t.success]
    n = sum(len(found.trials) for found, _ in sets.values())
    modes = Counter(mode_of(t) for _, t in failed)
    listed = [
        {
            "set": name,
            "task": t.task,
            "seed": t.seed,
            "instruction": t.instruction,
            "mode": mode_of(t),
            "nearest": t.nearest,
        }
        for name, t in failed
    ]
    shares = {
        m: f"{k} of {n} trials, at most {100 * exact_upper(k, n):.1f} % (one-sided 95 %)"
        for m, k in modes.most_common()
    }
    evidence = {
        "trials": n,
        "failures": len(failed),
        "modes": shares,
        "failed": listed,
        "a mode that was not seen": f"at most {100 * exact_upper(0, n):.1f} % of trials (one-sided 95 %)",
        "sha256": {path.name: sha256(path) for _, path in sets.values()},
    }
    if n < LEAST:
        return Found(False, f"{n} trials; {LEAST} are needed to look for failure modes", evidence)
    said = "; ".join(f"{m}: {k}" for m, k in modes.most_common()) or "none was seen"
    return Found(True, f"{len(failed)} failures in {n} trials: {said}", evidence)


def calibration(case: Case) -> Found:
    """A failure detector of this policy, on tables it was not fitted on, in the conditions it was calibrated in."""
    c = case.config
    detector_file = case.kept("detector.json", lambda p: fit_detector(case, p))
    detector = Detector.load(detector_file)
    detector.check_policy(fingerprint(c.policy), c.policy)
    each = 1 if c.quick else 3
    rollouts_file = case.kept(f"calibration-{each}.npz", lambda p: _play(case, detector, each, p))
    r = _read(rollouts_file)
    if detector.band is None:
        return Found(False, "the detector has no band: its confidence is not calibrated", {})
    residuals = detector.band.residuals(detector.scores(r))
    inside = np.arange(residuals.shape[1]) < r.lengths[:, None]
    worst = np.where(inside, residuals, -np.inf).max(1)
    good, bad = worst[~r.failed], worst[r.failed]
    alarms = {a: Rate(int((good > detector.band.threshold(a)).sum()), len(good)) for a in LEVELS}
    caught = {a: Rate(int((bad > detector.band.threshold(a)).sum()), len(bad)) for a in LEVELS}
    auc = equal_time_auc(detector.scores(r), r.lengths, r.failed)
    over = [a for a, rate in alarms.items() if rate.interval[0] > a]
    evidence = {
        "false alarms on successes": {f"promised {100 * a:.0f} %": str(x) for a, x in alarms.items()},
        "failures with an alarm": {f"at {100 * a:.0f} %": str(x) for a, x in caught.items()},
        "ROC-AUC at equal time": None if np.isnan(auc) else round(auc, 3),
        "episodes": len(r),
        "failures": int(r.failed.sum()),
        "calibrated on": f"{len(detector.band.worst)} successes",
        "seeds": f"fit {FIT} …, test {CHECK} … {CHECK + each - 1}",
        "sha256": {p.name: sha256(p) for p in (detector_file, rollouts_file)},
    }
    at = alarms[0.1]
    if len(good) < 20 or len(bad) < 5:
        return Found(False, f"{len(good)} successes and {len(bad)} failures; 20 and 5 are needed to tell", evidence)
    said = f"false alarms {at} where 10 % are promised; ROC-AUC at equal time {auc:.3f}"
    if over:
        return Found(False, f"{said}: more than promised at {', '.join(f'{100 * a:.0f} %' for a in over)}", evidence)
    return Found(bool(auc >= RANKS), f"{said} (at least {RANKS} is needed)", evidence)


def fit_detector(case: Case, path: Path) -> None:
    """As `palmar detect` does, on fewer tables. Raises `BadValue` where too few episodes fail or succeed."""
    c = case.config
    drawn = Conditions(10, 1.3, 1 if c.quick else 4, FIT)
    chosen = tasks.chosen(("all",), c.robot)
    jobs, groups = drawn.jobs(c.policy, chosen, 10.0, c.robot)
    familiar = familiar_features(
        c.policy, chosen, 10.0, c.robot, tables=3 if c.quick else 15, processes=c.processes, progress=case.progress
    )
    r = histories(jobs, groups, (*CHUNK_SIGNALS, "doubt"), c.processes, case.progress, familiar)
    every = 4 / case.robot.policy_rate
    Detector.fit(r, seed=FIT, familiar=familiar, policy=fingerprint(c.policy), every=every).save(path)


def _play(case: Case, detector: Detector, each: int, path: Path) -> None:
    c = case.config
    drawn = Conditions(10, 1.3, each, CHECK)
    jobs, groups = drawn.jobs(c.policy, tasks.chosen(("all",), c.robot), 10.0, c.robot)
    r = histories(jobs, groups, (*CHUNK_SIGNALS, "doubt"), c.processes, case.progress, detector.familiar).only(
        detector.names
    )
    arrays: dict[str, Any] = {
        "names": np.array(r.names), "values": r.values, "lengths": r.lengths, "failed": r.failed, "tasks": np.asarray(r.tasks),
    }  # fmt: skip

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.savez(file, **arrays)

    replace_file(path, write)


def _read(path: Path) -> Rollouts:
    with np.load(path, allow_pickle=False) as f:
        return Rollouts(tuple(map(str, f["names"])), f["values"], f["lengths"], f["failed"], f["tasks"])


BOUND = f"the lower end of the 95 % Wilson interval above {100 * SUCCESS:.0f} %"
CHECKS = (
    Check(
        "success",
        f"Success on tables that nobody trained on: {BOUND}",
        "palmar train for longer, or more --episodes where the rate by itself is above",
        success,
    ),
    Check(
        "objects",
        f"{OBJECTS} or more different things are asked for; success with colour-object pairs never seen: {BOUND}",
        "demonstrations of more objects (palmar collect), then palmar train",
        objects,
    ),
    Check(
        "light",
        f"Success with intensity, place and colour of the light drawn from their whole ranges: {BOUND}",
        "demonstrations in more light (palmar collect --strength), then palmar train",
        light,
    ),
    Check(
        "failure-modes",
        f"Every failure in the trials above is listed with its mode, in {LEAST} or more of them",
        "more --episodes",
        failure_modes,
    ),
    Check(
        "calibration",
        "The confidence raises no more false alarms than it promises, and ranks failures",
        "palmar detect POLICY with more --conditions and --episodes",
        calibration,
    ),
)
