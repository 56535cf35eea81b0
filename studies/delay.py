"""What does delay cost, and which way of running chunks keeps most?

One frozen flow policy with chunks of 48 actions at 50 Hz stays on a target that turns without warning (`pursuit`). Its answers come
a number of steps late; every arm meets the same targets. No arm but the correction sees anything newer than what the policy saw.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pursuit import DT, HORIZON, Demonstrations, Pursuit, StateConfig, cloned
from study import Row, Rows, Size, Study, compared, points, verdict

from palmar.eval.stats import Rate
from palmar.models import correction
from palmar.models.acting import NeuralPolicy
from palmar.models.guidance import Guidance, Schedule, with_guidance
from palmar.runtime.chunks import Averaged, ChunkBuffer
from palmar.runtime.delay import Delay
from palmar.runtime.loop import rollout
from palmar.runtime.worker import Inline

if TYPE_CHECKING:
    from making import Lab

DELAYS = (0, 5, 10, 15, 20)  # steps
OFTEN, SELDOM = 8, HORIZON // 2  # actions carried out before the policy is asked again, at least the delay
SECONDS, SETTLED = 2.5, 1.0  # of a trial; from when on the tool has to stay on the target
LOST = 0.06  # mean distance from which on the tool has lost the target [m]
EPISODES, SEED, TABLES = 600, 1, 50_000
ARMS = (
    "naive",
    "recycling",
    "ensembling",
    "RTC",
    "RTC, identity",
    "RTC, committed only",
    "correction",
    "RTC and correction",
)


@cache
def policy(folder: Path, share: float) -> NeuralPolicy:
    torch.set_num_threads(1)
    config = StateConfig(steps=max(50, round(share * StateConfig().steps)))
    return cloned(Demonstrations(max(20, round(share * EPISODES)), SEED), folder, config)


def corrected(lab: Lab, inner: object) -> correction.Corrected:
    """The policy with a correction that is trained on the policy's own demonstrations."""
    folder = lab.out / "correction"
    if not correction.is_correction(folder):
        from palmar.train.correct import CorrectConfig, train_correction

        data = Demonstrations(max(20, round(lab.size.data * EPISODES)), SEED)
        config = CorrectConfig(frames=max(200, round(4000 * lab.size.data)), steps=max(50, round(2000 * lab.size.data)))
        told = train_correction(policy(lab.out, lab.size.data), "pursuit", [data], folder, config)
        print(f"correction: held-out error {told['before']:.3f} → {told['after']:.3f}")
    stored = correction.read(folder)
    return correction.Corrected(inner, stored.correction, stored.state, stored.action)  # type: ignore[arg-type]


def trial(arm: str, lab: Lab, delay: int, seed: int, known: Delay) -> float:
    """Mean distance to the target once the tool had time to reach it [m]."""
    base = policy(lab.out, lab.size.data)
    schedule: Schedule = "zeros" if "committed" in arm else "exp"
    with_guidance(base.model, Guidance("identity" if "identity" in arm else "true", schedule))
    driver = Averaged(base) if arm == "ensembling" else corrected(lab, base) if "correction" in arm else base
    driver.reset()
    body = Pursuit(SECONDS)
    chunks = ChunkBuffer(max(SELDOM if arm == "naive" else OFTEN, delay), realtime="RTC" in arm, delay=known)
    rollout(
        body, Inline(driver, delay * DT), body.reset(TABLES + seed), chunks=chunks, timeout=SECONDS
    ).check()  # fmt: skip
    return float(np.mean(body.gaps[round(SETTLED / DT) :]))


def measure(lab: Lab, arm: str) -> Row:
    row: Row = {}
    for delay in DELAYS:
        known = Delay(first=delay)
        gaps = {str(seed): trial(arm, lab, delay, seed, known) for seed in range(lab.size.trials)}
        kept = {seed: gap < LOST for seed, gap in gaps.items()}
        row[f"{delay} steps"] = Rate(sum(kept.values()), len(kept))
        row[f"_{delay}"], row[f"_gaps {delay}"] = kept, gaps
    row["gap at 20 [mm]"] = 1000 * float(np.mean(list(row["_gaps 20"].values())))
    return row


def answer(rows: Rows) -> str:
    best = max(ARMS[1:], key=lambda arm: rows[arm]["10 steps"].value)
    lost = {arm: points(compared(rows[arm]["_0"], rows[arm]["_10"])) for arm in ("naive", "recycling", best)}
    alone = [arm for arm in ARMS if arm.startswith("RTC") and "correction" not in arm]
    rival = max(alone, key=lambda arm: rows[arm]["20 steps"].value)
    far, all_ways = (compared(rows[arm]["_20"], rows[best]["_20"]) for arm in (rival, "recycling"))
    true = compared(rows["RTC, identity"]["_0"], rows["RTC"]["_0"])
    return (
        f"From 0 to 10 steps of delay: naive {lost['naive']}, recycling {lost['recycling']}, {best} {lost[best]}. "
        f"At 20 steps {best} {verdict(far)} the best RTC without correction, '{rival}' ({points(far)}), "
        f"and {verdict(all_ways)} recycling ({points(all_ways)}). "
        f"RTC with the true Jacobian {verdict(true)} its identity approximation without delay ({points(true)})."
    )


def figure(rows: Rows) -> str:
    from palmar.eval import plots

    series = {arm: [(float(d), rows[arm][f"{d} steps"]) for d in DELAYS] for arm in rows}
    return plots.trend(series, "Success by delay", "steps of delay")


STUDY = Study(
    question="What does delay cost, and which way of running chunks keeps most?",
    arms=ARMS,
    expectation="RTC keeps more than naive chunks, and the residual correction more than RTC, the more the longer the delay.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=200),
    quick=Size(trials=2, data=0.05),
    settings={
        "delays": DELAYS, "execute": [OFTEN, SELDOM], "seconds": [SECONDS, SETTLED], "lost": LOST, "episodes": EPISODES,
        "seeds": [SEED, TABLES],
    },
)  # fmt: skip
