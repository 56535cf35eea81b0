"""How many questions about pictures should a mixture hold, for action accuracy and for what is kept of language?

rt2-tiny, from a model that mostly answered questions, goes on with three mixtures. Retention: held-out questions answered;
guessing answers `chance` of them. Success is not asked for: no arm drives well after so few steps.
"""

from __future__ import annotations

from making import Lab, curve
from study import Row, Rows, Size, Study, rates, slug

from palmar.data.mixture import Mixture
from palmar.eval import plots
from palmar.eval.stats import Rate
from palmar.train.recipe import Recipe, Stage

MODEL, BEGIN = "rt2-tiny", "where they begin"
SHARES = {"robot only": 0.0, "robot and web 80/20": 0.2, "robot and web 50/50": 0.5}


def mixed(share: float) -> Recipe:
    return Recipe(f"web {share:g}", (Stage("mix", data=Mixture(temperature=1.0, web=share)),))


def measure(lab: Lab, arm: str) -> Row:
    web, data = lab.web(), [lab.demos("reach", 240, ("reach",), 710_000)]
    steps = max(8, lab.size.steps // 8)
    policy = lab.trained("base", data, MODEL, 4 * steps, recipe=mixed(0.9), web=web)
    if arm != BEGIN:
        policy = lab.trained(slug(arm), data, MODEL, steps, recipe=mixed(SHARES[arm]), web=web, init=policy)
    asked = min(128, len(web.held_out))
    return {
        "held-out error": curve(policy, "val_action")[-1], "chance": web.chance,
        "retention": Rate(round(asked * curve(policy, "val_language")[-1]), asked),
    }  # fmt: skip


def answer(rows: Rows) -> str:
    alone, most = rows["robot only"]["retention"], max((rows[a] for a in SHARES), key=lambda r: r["retention"].value)
    apart = most["retention"].interval[0] > alone.interval[1]
    return (
        f"Robot frames alone keep {alone}, the best mixture {most['retention']}, of the questions that "
        f"{rows[BEGIN]['retention']} were answered of before: "
        + ("the mixture keeps more." if apart else "the intervals overlap, so it cannot be told.")
    )


STUDY = Study(
    question="How many questions about pictures should a mixture hold?",
    arms=(BEGIN, *SHARES),
    expectation="Robot frames alone cost the most language; a fifth of questions costs no action accuracy.",
    measure=measure,
    answer=answer,
    figure=lambda rows: plots.success({"answered": rates(rows, "retention")}, "Held-out questions answered"),
    full=Size(trials=100, steps=800),
    quick=Size(trials=2, steps=24, data=0.05),
    settings={"preset": MODEL, "reach": [240, 710_000], "begin": 0.9, "shares": SHARES},
)
