"""Does simulation put policies in the order that reality does, and does the real rate lie where simulation predicts it?

Nine policies are the shipped one with known faults (`pretended`), so that no training is needed and they differ widely.
Simulation: eight worlds drawn from the ranges at strength 1, nothing identified. Reality: twins 0 to 3 in turn. No table is in
both.
"""

from __future__ import annotations

from dataclasses import replace

from making import Lab
from pretended import Pretended
from study import Row, Rows, Size, Study

from palmar.eval import ranking_plot
from palmar.eval.ranking import Ranking, Scored, ranking
from palmar.eval.stats import Rate
from palmar.lab.suite import EvalConfig, run
from palmar.runtime.pool import spread
from palmar.sim.params import Randomization
from palmar.transfer.predict import PredictConfig, Predicted, jobs, predicted

SEED, REAL, TWINS, WORLDS, TASKS, TIMEOUT = 610_000, 615_000, 4, 8, ("reach", "pick"), 6.0
POLICIES = {
    "shipped": {"policy": "shipped"},
    "shakes 5 mm": {"policy": "shipped+shake=0.005"},
    "shakes 10 mm": {"policy": "shipped+shake=0.01"},
    "shakes 20 mm": {"policy": "shipped+shake=0.02"},
    "moves by 0.6": {"policy": "shipped+gain=0.6"},
    "dark pictures": {"policy": "shipped+dim=0.4"},
    "16 of each chunk": {"policy": "shipped", "execute": 16},
    "averaged chunks": {"policy": "shipped", "ensemble": True},
    "0.4 s late": {"policy": "shipped", "latency": 0.4},
}


def measure(lab: Lab, arm: str) -> Row:
    """trials of the size: tables of each task, in simulation and in reality; the first are shared out among the worlds."""
    config = EvalConfig(**{"timeout": TIMEOUT, "tasks": TASKS} | POLICIES[arm])  # type: ignore[arg-type]
    there = jobs(config, Randomization(1.0), PredictConfig(WORLDS, max(1, lab.size.trials // WORLDS), SEED))
    done = [[t.success for t in spread(run, Pretended, world, lab.processes)] for world in there]
    found = predicted(done)
    real = replace(config, world=f"twins:{TWINS}", seed=REAL, episodes=lab.size.trials)
    trials = list(
        spread(
            run,
            Pretended,
            [(real, k, "layout", REAL + i) for i in range(real.episodes) for k in real.tasks],
            lab.processes,
        )
    )
    twins = [[t.success for t in trials if t.world == f"twin:{k}"] for k in range(TWINS)]
    return {
        "simulation": found.simulated,
        "twins 0 … 3": Rate(sum(t.success for t in trials), len(trials)),
        "predicted for one twin": str(found),
        "_worlds": [list(w) for w in found.worlds],
        "_twins": [Rate(sum(t), len(t)) for t in twins if t],
    }


def ranked(rows: Rows) -> Ranking:
    return ranking([Scored(arm, row["simulation"], row["twins 0 … 3"]) for arm, row in rows.items()])


def held(rows: Rows) -> Rate:
    """Policies and twins whose observed rate lies in the predicted interval for as many trials."""
    checks = [Predicted(tuple(map(tuple, r["_worlds"]))).holds(t) for r in rows.values() for t in r["_twins"]]  # type: ignore[arg-type]
    return Rate(sum(checks), len(checks))


def answer(rows: Rows) -> str:
    r = ranked(rows)
    last = min(rows, key=lambda arm: rows[arm]["twins 0 … 3"].value)
    rest = ranked({arm: row for arm, row in rows.items() if arm != last})
    return (
        f"Pearson r {r.pearson}, Spearman ρ {r.spearman}, MMRV {r.mmrv} over {len(rows)} policies; without the worst ({last}) "
        f"r {rest.pearson}, MMRV {rest.mmrv}. A perfect simulator would show "
        f"r {r.perfect['pearson']} and MMRV {r.perfect['mmrv']} with as many trials. What was observed lies in its predicted "
        f"interval in {held(rows)} of policy and twin."
    )


STUDY = Study(
    question="Does simulation put policies in the order that reality does?",
    arms=tuple(POLICIES),
    expectation="It does for faults of this size; dark pictures may differ, since the twins' lights do.",
    measure=measure,
    answer=answer,
    figure=lambda rows: ranking_plot.scatter(ranked(rows)),
    full=Size(trials=16),
    quick=Size(trials=1),
    settings={
        "seeds": [SEED, REAL],
        "twins": TWINS,
        "worlds": WORLDS,
        "tasks": TASKS,
        "timeout": TIMEOUT,
        "strength": 1.0,
        "policies": POLICIES,
    },
    page="docs/transfer.md",
)
