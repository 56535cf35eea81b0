"""Is a frozen encoder that has seen ImageNet worth more than learning to see, when there are 50 demonstrations?

All arms have the same fusion, head, demonstrations and number of steps. The encoders:

    frozen          five stages of EfficientNet-Lite0 with ImageNet's weights, kept: its features are computed once
    fine-tuned      the same weights, trained with the rest
    from scratch    the small ResNet of the tiny presets, from random weights

Features that are computed once allow no augmentation, so these three have none; `from scratch, augmented` is what one would do
without a pretrained encoder. Each arm is trained with several seeds; all are tested on the same tables.
"""

from __future__ import annotations

import time
from dataclasses import replace

from making import Lab
from study import Row, Rows, Size, Study, compared, outcomes, points, rates, slug, verdict

from palmar.eval import plots
from palmar.eval.stats import Rate
from palmar.models.imagenet import ImagenetConfig
from palmar.models.presets import imagenet_tiny
from palmar.models.vision import ResNetConfig
from palmar.models.vla import VLAConfig
from palmar.sim.instructions import paraphrases
from palmar.train.features import with_features
from palmar.train.loop import TrainConfig, TrainRequest, train

FROZEN, TUNED, SCRATCH, AUGMENTED = "frozen", "fine-tuned", "from scratch", "from scratch, augmented"
TASKS, DEMOS, FIRST, SEEDS = ("reach",), 50, 780_000, (0, 1, 2)


def model(arm: str) -> VLAConfig:
    """The arm's model: only the encoder differs."""
    base = imagenet_tiny()
    if arm == FROZEN:
        return base
    if arm == TUNED:
        return replace(base, vision=ImagenetConfig(stages=5, frozen=False))
    return replace(base, vision=ResNetConfig(widths=(24, 48, 96), blocks=(1, 1, 2)))


def measure(lab: Lab, arm: str) -> Row:
    """Every seed of an arm: trained and tested."""
    data = lab.demos("representations", DEMOS, TASKS, FIRST)
    found: dict[str, bool] = {}
    each, seconds = [], 0.0
    for seed in seeds(lab):
        config = TrainConfig(
            steps=lab.size.steps, batch_size=32, seed=seed, validation=0.0, ema=0.99,
            **({} if arm == AUGMENTED else {"augment": None}),
        )  # fmt: skip
        began = time.perf_counter()
        request = TrainRequest(model(arm), [data], config, embodiment="arm7", paraphrases=paraphrases)
        request = with_features(request) if arm == FROZEN else request
        policy = train(request, lab.out / f"{slug(arm)}-{seed}", resume=True)
        seconds += time.perf_counter() - began
        results = lab.tested(policy, TASKS)
        each.append(str(results.rate().successes))
        found |= {f"{seed}/{table}": good for table, good in outcomes(results).items()}
    return {
        "success": Rate(sum(found.values()), len(found)), "successes by seed": " ".join(each), "training [s]": seconds / len(each),
        "_outcomes": found,
    }  # fmt: skip


def seeds(lab: Lab) -> tuple[int, ...]:
    """Of the trainings: all of them in full."""
    return SEEDS if lab.size.data == 1 else SEEDS[:1]


def answer(rows: Rows) -> str:
    told = []
    for arm in (TUNED, SCRATCH, AUGMENTED):
        p = compared(rows[arm]["_outcomes"], rows[FROZEN]["_outcomes"])
        told.append(f"{verdict(p)} '{arm}' ({points(p)})")
    said = f"With {DEMOS} demonstrations a frozen pretrained encoder {'; '.join(told)}"
    return f"{said}. The intervals are over tables, not trainings."


def figure(rows: Rows) -> str:
    return plots.success({"reach": rates(rows, "success")}, f"Success after {DEMOS} demonstrations")


STUDY = Study(
    question="Is a frozen pretrained encoder worth more than learning to see, with 50 demonstrations?",
    arms=(FROZEN, TUNED, SCRATCH, AUGMENTED),
    expectation="The frozen encoder beats learning from scratch; fine-tuning it is no better than keeping it.",
    measure=measure,
    answer=answer,
    figure=figure,
    full=Size(trials=100, steps=1500),
    quick=Size(trials=2, steps=3, data=0.05),
    settings={"tasks": TASKS, "demonstrations": DEMOS, "first": FIRST, "seeds": SEEDS, "batch": 32, "tables": 4000},
)
