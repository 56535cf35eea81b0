"""Does the three-stage recipe beat one stage?

Three-stage's rates (1e-3, 2e-5, 1e-5) are made for a pretrained model; so both begin from nothing and from a policy that learned
two other tasks. Stability: how far the held-out error rose above its lowest by the end, in percent.
"""

from __future__ import annotations

from making import NANO, Lab, curve
from study import Row, Rows, Size, Study, compared, outcomes, points, rates, slug, verdict

from palmar.eval import plots
from palmar.train.recipe import one_stage, three_stage

ARMS = (
    "one-stage, from nothing",
    "three-stage, from nothing",
    "one-stage, from other tasks",
    "three-stage, from other tasks",
)


def measure(lab: Lab, arm: str) -> Row:
    recipe = one_stage() if arm.startswith("one-stage") else three_stage()
    others = lab.demos("pick-push", 200, ("pick", "push"), 720_000)
    data = [lab.demos("reach", 240, ("reach",), 710_000)]
    base = lab.trained("base", [others])
    policy = lab.trained(slug(arm), data, recipe=recipe, init=base if arm.endswith("other tasks") else None)
    held, jitter = curve(policy, "val_action"), curve(policy, "val_jitter")
    results = lab.tested(policy, ("reach",))
    return {
        "success": results.rate(), "held-out error": held[-1], "its rise above the lowest, %": 100 * (held[-1] / min(held) - 1),
        "jitter": jitter[-1], "_outcomes": outcomes(results),
    }  # fmt: skip


def answer(rows: Rows) -> str:
    said = []
    for begin in ("from nothing", "from other tasks"):
        p = compared(rows[f"one-stage, {begin}"]["_outcomes"], rows[f"three-stage, {begin}"]["_outcomes"])
        said.append(f"{begin} three-stage {verdict(p)} one stage ({points(p)})")
    text = "; ".join(said)
    return text[0].upper() + text[1:] + "."


STUDY = Study(
    question="Does the three-stage recipe beat one stage?",
    arms=ARMS,
    expectation="Three stages are better from a policy that knows other tasks, and no worse from nothing.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success({"reach": rates(rows, "success")}, "Success by recipe"),
    full=Size(trials=100, steps=800),
    quick=Size(trials=2, steps=24, data=0.05),
    settings={"preset": NANO, "reach": [240, 710_000], "pick and push": [200, 720_000], "tables": 4000},
)
