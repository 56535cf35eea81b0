"""Improvement: corrections are recorded and learned from, versions are compared, and none acts without its gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.certify.item import Case, Check, Found
from palmar.data.corrections import Corrections
from palmar.data.reader import Dataset
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.errors import BadValue
from palmar.policy import checkpoint_of
from palmar.runtime.adaptation.ab import ABConfig
from palmar.runtime.adaptation.ab_log import ABLog
from palmar.runtime.adaptation.intervening import ByHand, Intervening
from palmar.runtime.adaptation.versions import Versions
from palmar.runtime.clock import SimClock
from palmar.runtime.confidence.judge import Judge, JudgeConfig, Level
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.train.adapt_config import AdaptConfig
from palmar.train.adapting import AdaptRequest, adapted_version
from palmar.types import ActionChunk, Observation, Policy, Prefix

SECONDS = 3.0
TAKES, GIVES = 2, 12
"""Questions to the policy after which the person takes over, and gives back."""


class Still:
    """Stays where it is: whoever drives in these trials moves nothing that matters. A policy's own answers have its interface."""

    def __init__(self, like: Policy) -> None:
        self.interface = like.interface
        self._held = np.zeros((like.interface.horizon, len(like.interface.action_names)), np.float32)

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return ActionChunk(self._held.copy(), self.interface.dt, obs.time)

    def reset(self) -> None:
        """Nothing is kept of an episode."""


@dataclass(frozen=True)
class RecordedRun:
    """dataset: two episodes of the policy on a mock, the first a success; in each a person took over once. drove: frames of each
    that a person drove. takeovers: as the run counted them."""

    dataset: Dataset
    drove: tuple[int, ...]
    takeovers: int


def recorded_run(case: Case) -> RecordedRun:
    """The policy on a mock of the robot with pictures of noise, a person who takes over and gives back, recorded."""

    def make() -> RecordedRun:
        policy, folder = case.policy, case.scratch / "corrections"
        robot = case.robot.fitting(policy.interface.action_names)
        drove, takeovers = [], 0
        with DatasetWriter(folder, robot, robot.policy_rate, interventions=True) as writer:
            for k, success in enumerate((True, False)):
                body = MockBody(robot, "certify", noise=True)
                asked = _Counted()
                both = Intervening(policy, Still(policy), ByHand(asked.take, asked.give))
                recorder = EpisodeRecorder()
                both.reset()
                rollout(
                    body, both, body.reset(k), clock=SimClock(), subscribers=(recorder, both), timeout=SECONDS
                ).check()
                drove.append(sum(s.intervention for s in recorder.steps))
                takeovers += both.takeovers
                writer.add(recorder.episode("certify", k, "corrected", success, duration=SECONDS))
        size = policy.interface.cameras or None
        return RecordedRun(Dataset(folder, cache=False, image_size=size), tuple(drove), takeovers)

    found: RecordedRun = case.once("recorded run", make)
    return found


class _Counted:
    """A person who takes over at the `TAKES`th question and gives back at the `GIVES`th."""

    def __init__(self) -> None:
        self.asked = -1  # `ByHand.reset` asks once

    def take(self) -> bool:
        self.asked += 1
        return self.asked == TAKES

    def give(self) -> bool:
        return self.asked == GIVES


def data_collection(case: Case) -> Found:
    run = recorded_run(case)
    frames, read = len(run.dataset), Corrections(run.dataset)
    evidence = {
        "episodes": len(run.dataset.episodes),
        "frames": frames,
        "frames a person drove": list(run.drove),
        "frames read back as corrections": read.frames,
        "format": "LeRobotDataset v3.0, column intervention",
    }
    met = frames > 0 and len(run.dataset.episodes) == 2 and read.says_who and read.frames == sum(run.drove) > 0
    return Found(
        met,
        f"{len(run.dataset.episodes)} episodes, {frames} frames recorded and read back, {read.frames} of them as corrections",
        evidence,
    )


def retraining(case: Case) -> Found:
    """Two steps of `palmar adapt`: a candidate is made, does not act without its gate, and can be gone back from."""
    case.neural  # noqa: B018 - says what else it is
    run, folder = recorded_run(case), case.scratch / "versions"
    config = AdaptConfig("head", 2, 4, 0, threads=1)
    request = AdaptRequest(str(checkpoint_of(case.config.policy)), [run.dataset.root], [], folder, config)
    made = adapted_version(request, None, say=case.say)
    versions = Versions(folder)
    refused = ""
    try:
        versions.promote(made.name)
    except BadValue as error:
        refused = str(error)
    stays = versions.current == made.parent and not made.promoted
    versions.add(made.name, made.parent, {}, {"passed": True, "reasons": []})
    versions.promote(made.name)
    promoted = versions.current == made.name
    back = versions.roll_back("certify") == made.parent == versions.current
    evidence = {
        "frames learned from": made.adapted.corrected,
        "training [s]": round(made.adapted.seconds, 1),
        "steps": config.steps,
        "refused without a gate": bool(refused),
        "acts after its gate": promoted,
        "rolled back": back,
    }
    met = bool(refused) and stays and promoted and back
    return Found(
        met,
        f"a version learned from {made.adapted.corrected} frames of corrections; without a gate it was "
        f"{'refused' if refused else 'not refused'}, after one it acted, and was rolled back",
        evidence,
    )


def ab(case: Case) -> Found:
    """Three comparisons in files: a B that is better, one that is worse, and one that does what must not happen."""
    rates = {"better": (0.2, 0.9), "worse": (0.9, 0.2)}
    evidence: dict[str, Any] = {"alpha": ABConfig().alpha}
    expected = {"better": "promote", "worse": "roll back", "an E-STOP of B": "roll back"}
    for name, (a, b) in rates.items():
        rng = np.random.default_rng(7)
        path = case.scratch / f"ab-{name}.jsonl"
        log = ABLog(path, "A", "B", ABConfig(seed=3))
        while log.decision.what == "go on":
            log.ended(bool(rng.random() < (b if log.arm == "b" else a)))
        again = ABLog(path, "A", "B")  # as the next run reads it
        evidence[name] = {
            "success of A, B": [a, b],
            "decision": again.decision.what,
            "episodes": 2 * again.decision.n,
            "B − A": str(again.decision.interval),
        }
    log = ABLog(case.scratch / "ab-fault.jsonl", "A", "B", ABConfig(seed=3))
    while log.arm != "b":
        log.ended(True)
    log.ended(True, "E-STOP: certify")
    evidence["an E-STOP of B"] = {"decision": log.decision.what}
    right = [n for n, what in expected.items() if evidence[n]["decision"] == what]
    return Found(
        len(right) == len(expected),
        f"{len(right)} of {len(expected)} comparisons were decided as they should be",
        evidence,
    )


def feedback(case: Case) -> Found:
    """A person takes over and gives back; they are asked when the confidence is low, and their answer lets it go on."""
    run = recorded_run(case)
    judge, levels = Judge(JudgeConfig()), []
    for _ in range(judge.config.pause):
        levels.append(judge(0.01).level)
    asked = levels[-1] is Level.ASK and judge(0.9).level is Level.ASK
    judge.answered()
    goes_on = judge(0.9).level is Level.GO
    correct = {n: n in case.config.commands.get("run", ()) for n in ("correct", "record", "detector")}
    evidence: dict[str, Any] = {
        "takeovers": run.takeovers,
        "frames a person drove": list(run.drove),
        "asked after chunks of alarm": judge.config.pause,
        "stays until answered": asked,
        "goes on when answered": goes_on,
        **{f"palmar run --{n}": there for n, there in correct.items()},
    }
    right = run.takeovers == 2 and all(0 < n < len(run.dataset) for n in run.drove)
    met = right and asked and goes_on and all(correct.values())
    return Found(
        met,
        f"a person took over and gave back in {run.takeovers} episodes; after {judge.config.pause} alarms they were asked, and "
        "an answer let it go on",
        evidence,
    )


CHECKS = (
    Check(
        "data-collection",
        "Episodes, and who drove each frame, are recorded and read back",
        "palmar run --record",
        data_collection,
    ),
    Check(
        "retraining",
        "A version is learned from corrections, acts only behind a gate, and can be rolled back",
        "palmar adapt",
        retraining,
    ),
    Check("ab", "Two policies are compared, and the comparison is decided by its test", "palmar run --ab", ab),
    Check(
        "feedback",
        "A person may correct the robot, and is asked when it is not sure",
        "palmar run --correct keys --detector FILE",
        feedback,
    ),
)
