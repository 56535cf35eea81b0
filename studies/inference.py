"""Does a policy lose success when it is computed in bf16 or int8, and how much faster is it?

One policy, trained on demonstrations of *reach*; its arms differ only in what computes the network, and meet the same tables.
Latency is of one thread, in turns with the original on the same observations, as CPU time; it depends on the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from making import NANO, Lab
from study import Row, Rows, Size, Study, compared, outcomes, points, rates, verdict

from palmar.lab.bench import Latency, timed
from palmar.lab.recorded import driven, simulated
from palmar.lab.suite import EvalConfig
from palmar.models import checkpoint
from palmar.models.form_names import EAGER
from palmar.models.forms import in_form
from palmar.models.parity import parity

if TYPE_CHECKING:
    from palmar.models.acting import NeuralPolicy

TASKS = ("reach",)
ARMS = (EAGER, "eager-bf16", "onnx-fp32", "onnx-int8-dynamic", "onnx-int8-static")
EPISODES, SEED, TABLES, CHUNKS = 300, 740_000, 4000, 400


def original(lab: Lab) -> NeuralPolicy:
    torch.set_num_threads(1)
    return checkpoint.load(lab.trained("reach", [lab.demos("inference", EPISODES, TASKS, SEED)]))


def measure(lab: Lab, arm: str) -> Row:
    policy = original(lab)
    count = max(8, round(100 * lab.size.data))
    seen = simulated(policy, count, TASKS)
    form = in_form(policy, arm, seen, lab.out / "forms" / arm)
    away = parity(policy, form, seen)
    times: dict[int, tuple[list[float], list[float]]] = {0: ([], []), 1: ([], [])}
    each = max(4, round(CHUNKS * lab.size.data / 5))
    for turn in range(5):
        for i, one in enumerate((policy, form)):
            timed(one, seen, each, turn * each, *times[i])
    base, own = (Latency.of(*times[i]) for i in (0, 1))
    results = driven(form, EvalConfig(arm, lab.size.trials, TASKS, seed=TABLES, timeout=10.0))
    return {
        "success": results.rate(), "seconds": results.to_dict()["seconds_median"] or float("nan"),
        "CPU ms p50": own.cpu_p50, "CPU ms p99": own.cpu_p99, "times faster": base.cpu_p50 / own.cpu_p50,
        "mean difference [σ]": away.mean, "largest [σ]": away.largest, "_outcomes": outcomes(results),
    }  # fmt: skip


def answer(rows: Rows) -> str:
    said = []
    for arm in ARMS[1:]:
        p = compared(rows[EAGER]["_outcomes"], rows[arm]["_outcomes"])
        said.append(f"{arm} {verdict(p)} eager ({points(p)}), {rows[arm]['times faster']:.1f} times as fast")
    return "; ".join(said) + "."


def figure(rows: Rows) -> str:
    from palmar.eval import plots

    return plots.trend(
        {"success": [(float(i), r) for i, r in enumerate(rates(rows, "success").values())]},
        "Success by form", "form of the network", {float(i): arm for i, arm in enumerate(rows)},
    )  # fmt: skip


STUDY = Study(
    question="Does a policy lose success when it is computed in bf16 or int8, and how much faster is it?",
    arms=ARMS,
    expectation="No form that passes the parity check loses success; ONNX Runtime is twice as fast, int8 gains little more.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=200, steps=1200),
    quick=Size(trials=2, steps=24, data=0.05),
    settings={"preset": NANO, "episodes": EPISODES, "seeds": [SEED, TABLES], "chunks": CHUNKS},
    page="docs/speed.md",
)
