"""Where do automatic ranges arrive in a hundred iterations, and is training in them worth more than in the hand-tuned ones?

    plain        rounds of demonstrations in the plain simulator
    hand-tuned   rounds in the ranges of the parameter space
    ADR          rounds in the ranges that automatic domain randomisation has reached (`transfer.adr`)

All arms begin from the same policy and go on after every tenth iteration, with as many new demonstrations of the same tables, steps
and seeds: they differ in the ranges alone. ADR's boundary episodes only move the ranges; no arm trains on them. Seven parameters
move, so that each end is judged some seventeen times; with all of the space it would be once or twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
from making import NANO, Lab
from study import Row, Rows, Size, Study, points, verdict
from trainings import APART, SEEDS, by_training, gain, over, seeds, total, tried

from palmar.eval.crossed import student
from palmar.eval.span_plot import spans
from palmar.lab.suite import EvalConfig, evaluated
from palmar.sim.params import NO_RANDOMIZATION, SPACE, Randomization
from palmar.train.loop import TrainConfig
from palmar.transfer.adr import AdrConfig, AdrState, Train, adr, start
from palmar.transfer.adr_history import AdrHistory
from palmar.transfer.adr_run import Rounds, Trials, in_simulation, training

PLAIN, HAND, ADR = "plain", "hand-tuned", "ADR"
PARAMETERS = ("light", "camera_pitch", "camera_yaw", "zero_1", "gain", "action_delay", "image_latency")
TASKS, FIRST, TABLES, TIMEOUT = ("reach",), 720_000, 2000, 8.0
BEGIN = {"demonstrations": 100, "steps": 600}
PLAN = {"iterations": 100, "every": 10, "episodes": 20, "buffer": 10, "demonstrations": 40}
BRIEF = {"iterations": 4, "every": 2, "episodes": 4, "buffer": 2, "demonstrations": 2}
WITHIN, TWICE = "in the hand-tuned ranges", "in ranges twice as wide"
WHERE = {
    "in plain simulation": NO_RANDOMIZATION,
    WITHIN: Randomization(1.0, names=PARAMETERS),
    TWICE: Randomization(2.0, names=PARAMETERS),
}
SETTLED = 0.05
"""Of its width, by which the mean width may change in the last quarter of the iterations to be called settled."""


def plan(lab: Lab) -> dict[str, int]:
    return PLAN if lab.size.data == 1 else BRIEF


def config(lab: Lab, arm: str, seed: int) -> AdrConfig:
    """Of ADR; for the other arms the parameters that their ranges are of."""
    brief = plan(lab)
    return AdrConfig(PARAMETERS, episodes=brief["episodes"], buffer=brief["buffer"], seed=seed)


def measure(lab: Lab, arm: str) -> Row:
    found: dict[str, dict[int, object]] = {where: {} for where in WHERE}
    history: dict[str, list[dict[str, list[float]]]] = {}
    for seed in seeds(lab):
        begun = first_policy(lab, seed)
        policy, ranges = went_on(lab, arm, seed, begun)
        history[str(seed)] = [{n: list(s) for n, s in r.items()} for r in ranges]
        for where, worlds in WHERE.items():
            tested = EvalConfig(str(policy), lab.size.trials, TASKS, randomization=worlds, seed=TABLES, timeout=TIMEOUT)
            kept = lab.out / f"{arm}-{seed}-{where.replace(' ', '-')}.json"
            found[where][seed] = evaluated(tested, kept, f"{arm}, {where}", lab.processes)
    row: Row = {"_ranges": history}
    for where, results in found.items():
        row |= {where: total(tried(results)), f"_{where}": tried(results)}  # type: ignore[arg-type]
    return row


def first_policy(lab: Lab, seed: int) -> Path:
    """That all arms of a seed begin from, trained in the plain simulator."""
    data = lab.demos(f"adr-first-{seed}", BEGIN["demonstrations"], TASKS, FIRST + APART * seed, NO_RANDOMIZATION)
    steps = max(4, round(lab.size.steps * BEGIN["steps"] / STUDY.full.steps))
    ema = max(0.0, min(0.999, 1 - 10 / steps))
    return lab.trained(
        f"first-{seed}", [data], config=TrainConfig(steps=steps, batch_size=64, seed=seed, validation=0.0, ema=ema)
    )


def went_on(lab: Lab, arm: str, seed: int, begun: Path) -> tuple[str, list[dict[str, tuple[float, float]]]]:
    """(the last policy of an arm, its ranges after each iteration)."""
    brief, about, trials = plan(lab), config(lab, arm, seed), Trials(tasks=TASKS, timeout=TIMEOUT)
    rounds = Rounds(
        lab.out / f"rounds-{arm}-{seed}", brief["demonstrations"], lab.size.steps * brief["every"] // brief["iterations"],
        seed=FIRST + APART * seed + 10 * BEGIN["demonstrations"],
    )  # fmt: skip
    train = training(rounds, about, trials, lab.processes)
    if arm == ADR:
        return automatic(lab, about, trials, train, begun, seed)
    fixed = {n: (SPACE[n].low, SPACE[n].high) if arm == HAND else (SPACE[n].nominal,) * 2 for n in PARAMETERS}
    state = replace(start(about, str(begun)), ranges=fixed)
    for iteration in range(brief["every"], brief["iterations"] + 1, brief["every"]):
        state = replace(state, iteration=iteration)
        state = replace(state, policy=train(state))
    return state.policy, [fixed]


def automatic(
    lab: Lab, about: AdrConfig, trials: Trials, train: Train, begun: Path, seed: int
) -> tuple[str, list[dict[str, tuple[float, float]]]]:
    """The same of ADR, whose history is kept after every iteration."""
    file = lab.out / f"adr-{seed}.json"
    of = {"policy": str(begun)} | trials.to_dict()
    history = AdrHistory.resume(file, about, of) if file.exists() else AdrHistory.begin(file, about, of)
    brief = plan(lab)
    end = adr(
        about, in_simulation(trials, lab.processes), brief["iterations"], history.state, train, brief["every"],
        watch=lambda state, outcomes, moved: history.add(state, outcomes, moved),
    )  # fmt: skip
    return end.policy, [dict(AdrState.from_dict(row).ranges) for row in history.rows]


def widths(rows: Rows, seed: str) -> dict[str, list[float]]:
    """{parameter: width of ADR's range after each iteration, as a share of the hand-tuned one}."""
    each = rows[ADR]["_ranges"][seed]
    return {n: [(r[n][1] - r[n][0]) / (SPACE[n].high - SPACE[n].low) for r in each] for n in PARAMETERS}


def share(rows: Rows, at: float) -> list[float]:
    """Mean width over the parameters after a share of the iterations, of each training."""
    out = []
    for seed in rows[ADR]["_ranges"]:
        each = list(widths(rows, seed).values())
        out.append(float(np.mean([w[round(at * (len(w) - 1))] for w in each])))
    return out


def interval(values: Sequence[float]) -> str:
    """ "1.32 [1.10, 1.54]": mean with its 95 % interval over trainings (Student's t)."""
    mean, n = float(np.mean(values)), len(values)
    half = student(n - 1) * float(np.std(values, ddof=1)) / sqrt(n) if n > 1 else float("inf")
    return f"{mean:.2f} [{mean - half:.2f}, {mean + half:.2f}]"


def last(rows: Rows, arm: str, name: str) -> tuple[float, float]:
    """The last range of a parameter, mean of the trainings."""
    low, high = np.mean([each[-1][name] for each in rows[arm]["_ranges"].values()], axis=0)
    return float(low), float(high)


def lines(rows: Rows) -> list[Row]:
    out = []
    for arm, row in rows.items():
        line: Row = {"ranges": arm}
        for where in WHERE:
            line[where] = over(rows, f"_{where}")[arm]
        line["by training"] = by_training(row, f"_{TWICE}")
        for name in PARAMETERS:
            low, high = last(rows, arm, name)
            unit = f" [{SPACE[name].unit}]" if SPACE[name].unit else ""
            line[name + unit] = f"{low:.3g} … {high:.3g}"
        out.append(line)
    return out


def answer(rows: Rows) -> str:
    seeds = list(rows[ADR]["_ranges"])
    final = {n: interval([widths(rows, s)[n][-1] for s in seeds]) for n in PARAMETERS}
    late, end = np.mean(share(rows, 0.75)), np.mean(share(rows, 1.0))
    moved = (end - late) / late
    word = "they have settled" if abs(moved) <= SETTLED else f"they still {'widen' if moved > 0 else 'narrow'}"
    count = len(rows[ADR]["_ranges"][seeds[0]]) - 1
    said = [
        f"After {count} iterations the ranges are {interval(share(rows, 1.0))} times as wide as the hand-tuned ones, from "
        f"{np.mean(share(rows, 0.0)):.2f}; in the last quarter {100 * moved:+.0f} %: {word}.",
        f"By parameter: {', '.join(f'{n} {w}' for n, w in final.items())}.",
    ]
    for where in WHERE:
        p, q = gain(rows, HAND, ADR, f"_{where}"), gain(rows, PLAIN, ADR, f"_{where}")
        said.append(
            f"Training in them {verdict(p)} the hand-tuned ones {where} ({points(p)}); it {verdict(q)} plain ({points(q)})."
        )
    return " ".join(said)


def figure(rows: Rows) -> str:
    """Mean of the trainings after each iteration."""
    each = rows[ADR]["_ranges"].values()
    drawn = {
        n: [(float(low), float(high)) for low, high in np.mean([[r[n] for r in run] for run in each], axis=0)]
        for n in PARAMETERS
    }
    return spans(drawn, {n: (SPACE[n].low, SPACE[n].high) for n in PARAMETERS}, "Ranges of ADR over the iterations")


STUDY = Study(
    question="Where do automatic ranges arrive, and is training in them worth more than in the hand-tuned ones?",
    arms=(PLAIN, HAND, ADR),
    expectation="Camera and delay end near the hand-tuned ranges, light and gain beyond; within them ADR is as good.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=1500),
    quick=Size(trials=2, steps=10, data=4 / BEGIN["demonstrations"]),
    settings={
        "seeds": SEEDS, "tasks": TASKS, "preset": NANO, "tables": TABLES, "first": FIRST, "timeout": TIMEOUT,
        "parameters": PARAMETERS, "begin": BEGIN, "plan": PLAN, "brief": BRIEF,
    },
    table=lines,
)  # fmt: skip
