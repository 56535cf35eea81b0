"""What is wrong with a run, from the numbers it logged: the symptom, the number, and the fix.

Every rule looks at one figure of metrics.jsonl (`train.validation.validate`, `train.losses.Judged`) and one threshold. A rule that
has too little to go by says nothing; `too_short` says when that is most of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, regular_file
from palmar.eval.rows import read_rows
from palmar.train.track import METRICS
from palmar.types import Array

Row = Mapping[str, Any]
CONFIG = "config.json"
ROWS, VALIDATIONS = 5, 4
"""What the hungriest rules need to say anything (`explosion`, `overfitting`)."""


@dataclass(frozen=True)
class Thresholds:
    """spread, jitter: see `train.losses.Judged`. explosion: gradient norm over its median. diverged: loss over its best.
    forgot: points of language accuracy lost. overfit: validation error over its best. imbalance: a task's error over the
    median task's. faint: a normaliser's scale that is noise, as a share of the median scale.
    """

    spread: float = 0.1
    jitter: float = 3.0
    explosion: float = 50.0
    diverged: float = 3.0
    forgot: float = 0.1
    overfit: float = 1.2
    imbalance: float = 2.5
    faint: float = 1e-3


@dataclass(frozen=True)
class Finding:
    """symptom: its name. value, limit: what was seen and what would have been well. fix: what to do."""

    symptom: str
    said: str
    value: float
    limit: float
    fix: str

    def __str__(self) -> str:
        return f"{self.symptom}: {self.said}. Fix: {self.fix}"


def examine(run: str | Path, thresholds: Thresholds | None = None) -> list[Finding]:
    """Findings about a training folder, worst kind first; none for a healthy one, or one that is `too_short`.

    Raises `BadFile` without metrics, or when a file is damaged.
    """
    folder = Path(run)
    return diagnose(read_rows(folder / METRICS), read_normalizers(folder / CONFIG), thresholds)


def too_short(rows: Sequence[Row]) -> str | None:
    """What a run lacks to be called healthy, and the next step; None when there is enough for every rule."""
    steps, _ = series(rows, "step")
    logged = sum("loss" in r for r in rows)
    validated = sum(any(k.startswith("val_") for k in r) for r in rows)
    if logged >= ROWS and validated >= VALIDATIONS:
        return None
    return (
        f"{steps.max(initial=0):g} steps, with {logged} rows (of {ROWS} that are needed) and {validated} validations (of "
        f"{VALIDATIONS}). Next: train longer (it logs every 20 steps and validates 12 times a run), and record enough "
        "episodes that some are held out"
    )


def diagnose(
    rows: Sequence[Row], normalizers: Mapping[str, Any] | None = None, thresholds: Thresholds | None = None
) -> list[Finding]:
    """rows: of metrics.jsonl. normalizers: of config.json."""
    limits = thresholds or Thresholds()
    found = [f for rule in RULES for f in rule(rows, limits)]
    return found + list(normalisation(normalizers or {}, limits))


def read_normalizers(path: Path) -> dict[str, Any]:
    """The normalisers in a checkpoint's config.json; none before there is a checkpoint. Raises `BadFile`."""
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(regular_file(path).read_text("utf-8"))["normalizers"]
        for one in found.values():
            Normalizer.from_dict(one)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(
            f"'{path}' is damaged ({type(error).__name__}: {error}). Next: copy the checkpoint again, or train anew"
        ) from error
    return found


def series(rows: Sequence[Row], name: str) -> tuple[Array, Array]:
    """(steps, values) where `name` was logged and finite."""
    pairs = [(r["step"], r[name]) for r in rows if isinstance(r.get(name), int | float) and math.isfinite(r[name])]
    return np.array([s for s, _ in pairs], float), np.array([v for _, v in pairs], float)


# ---------------------------------------------------------------------------------------------- symptoms


def not_a_number(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    for name in ("loss", "gradient", "action"):
        bad = [r["step"] for r in rows if name in r and not _finite(r[name])]
        if bad:
            yield Finding(
                "NaN", f"{name} is not a number at step {bad[0]:g} ({len(bad)} rows)", float(len(bad)), 0.0,
                "lower --lr by 3 (in Python also precision='fp32'); look at the data with palmar inspect",
            )  # fmt: skip
            return


def explosion(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    steps, norm = series(rows, "gradient")
    if len(norm) >= 5:
        usual = float(np.median(norm))
        worst = int(norm.argmax())
        if usual > 0 and norm[worst] > limits.explosion * usual:
            yield Finding(
                "gradient explosion", f"gradient norm {norm[worst]:.3g} at step {steps[worst]:g}, {usual:.3g} as a rule",
                float(norm[worst] / usual), limits.explosion, "lower --lr (in Python also a longer warmup, clip at 1.0 or less)",
            )  # fmt: skip
            return
    for stage_steps, loss in _stages(rows, "loss"):
        best = int(loss.argmin()) if len(loss) else 0
        later = loss[best:]
        if (
            len(loss) >= 5
            and loss[best] > 0
            and len(later) >= 3
            and np.median(later[-3:]) > limits.diverged * loss[best]
        ):
            now = float(np.median(later[-3:]))
            yield Finding(
                "divergence", f"loss {now:.3g} after {loss[best]:.3g} at step {stage_steps[best]:g}",
                now / float(loss[best]), limits.diverged, "lower --lr by 3 and start from the last good checkpoint (--init)",
            )  # fmt: skip


def collapse(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    steps, spread = series(rows, "val_spread")
    if len(spread) >= 3 and spread[-1] < limits.spread:  # early on every model answers with the mean
        yield Finding(
            "mode collapse",
            f"predictions spread {100 * spread[-1]:.2g} % as much as the labels at step {steps[-1]:g}: nearly one answer to "
            "everything",
            float(spread[-1]), limits.spread, "lower --lr, see that pictures differ (in Python also Augment(action_noise=0.01))",
        )  # fmt: skip


def forgetting(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    steps, score = series(rows, "val_language")
    if len(score) >= 2:
        best = int(score.argmax())
        lost = float(score[best] - score[-1])
        if lost > limits.forgot:
            yield Finding(
                "catastrophic forgetting",
                f"{100 * score[-1]:.0f} % of held-out questions answered, {100 * score[best]:.0f} % at step {steps[best]:g}",
                lost, limits.forgot,
                "keep web data in every stage (--web, --web-share 0.5), or train adapters only (--recipe lora)",
            )  # fmt: skip


def jitter(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    steps, value = series(rows, "val_jitter")
    if len(value) >= 3 and value[-1] > limits.jitter:
        yield Finding(
            "action jitter", f"predicted chunks bend {value[-1]:.2g} times as much as demonstrated ones at step {steps[-1]:g}",
            float(value[-1]), limits.jitter,
                "smoother data (inspect --quality names jerky episodes), a longer --horizon, or train longer",
        )  # fmt: skip


def overfitting(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    steps, held = series(rows, "val_action")
    train_steps, train = series(rows, "action")
    if len(held) >= 4 and len(train) >= 2:
        best = int(held.argmin())
        now = float(np.median(held[-2:]))
        since = train[train_steps <= steps[best]]
        if best <= len(held) - 3 and now > limits.overfit * held[best] and len(since) and train[-1] < since[-1]:
            yield Finding(
                "overfitting",
                f"held-out action error {now:.3g}, {held[best]:.3g} at step {steps[best]:g}, while the training error went "
                f"from {since[-1]:.3g} to {train[-1]:.3g}",
                now / float(held[best]), limits.overfit, "more demonstrations, --patience 3, a smaller preset",
            )  # fmt: skip


def imbalance(rows: Sequence[Row], limits: Thresholds) -> Iterator[Finding]:
    last = next((r for r in reversed(rows) if any(k.startswith("val_error/") for k in r)), {})
    errors = {k.removeprefix("val_error/"): v for k, v in last.items() if k.startswith("val_error/") and _finite(v)}
    if len(errors) >= 2:
        worst = max(errors, key=lambda k: errors[k])
        others = float(np.median([v for k, v in errors.items() if k != worst]))
        if others > 0 and errors[worst] > limits.imbalance * others:
            yield Finding(
                "task imbalance", f"held-out error of '{worst}' is {errors[worst]:.3g}, of the other tasks {others:.3g}",
                errors[worst] / others, limits.imbalance,
                f"--temperature 5, or more of its data (in Python also Mixture(losses=(('{worst}', 2.0),)))",
            )  # fmt: skip


def normalisation(normalizers: Mapping[str, Any], limits: Thresholds) -> Iterator[Finding]:
    """A dimension with scale 0 is constant, mapped to 0, and no trouble; one that hardly moves is noise at full size."""
    for which, n in normalizers.items():
        offset, scale = np.array(n["offset"], float), np.array(n["scale"], float)
        names = list(n.get("names") or range(len(scale)))
        if len(scale) and (scale == 1).all() and (offset == 0).all():
            yield Finding(
                "normaliser inactive", f"every {which} dimension has offset 0 and scale 1", 1.0, 0.0,
                "fit it on the data (palmar train does), or the largest unit rules the loss",
            )  # fmt: skip
            continue
        live = scale[scale > 0]
        usual = float(np.median(live)) if len(live) else 1.0
        faint = [(str(a), float(s)) for a, s in zip(names, scale, strict=True) if 0 < s < limits.faint * usual]
        if faint:
            shown = ", ".join(f"{a} ({s:.2g})" for a, s in faint[:4])
            yield Finding(
                "near-constant dimension", f"{which} {shown} hardly move, against {usual:.2g} as a rule: noise at full size",
                faint[0][1] / usual, limits.faint, "leave them out of the data set, or make them exactly constant",
            )  # fmt: skip


def from_predictions(predicted: Array, labels: Array, thresholds: Thresholds | None = None) -> list[Finding]:
    """The same from arrays, where there is no run: predicted, labels [N, T, A] in normalised units."""
    limits = thresholds or Thresholds()
    if not np.isfinite(predicted).all():
        bad = int(np.argwhere(~np.isfinite(predicted))[0][0])
        return [Finding("NaN", f"prediction {bad} is not finite", 1.0, 0.0, "lower lr, precision='fp32'")]
    active = labels.reshape(-1, labels.shape[-1]).std(0) > 1e-6
    spread = float((predicted[:, 0, active].std(0) / labels[:, 0, active].std(0).clip(1e-3)).mean())
    rows: list[Row] = [{"step": i, "val_spread": spread} for i in range(3)]
    if predicted.shape[1] > 2:
        bends = [float(np.sqrt((np.diff(x[..., active], n=2, axis=1) ** 2).mean())) for x in (predicted, labels)]
        rows = [dict(r) | {"val_jitter": bends[0] / (bends[1] + 0.1)} for r in rows]
    return diagnose(rows, None, limits)


RULES: tuple[Callable[[Sequence[Row], Thresholds], Iterator[Finding]], ...] = (
    not_a_number, explosion, collapse, forgetting, jitter, overfitting, imbalance,
)  # fmt: skip


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _stages(rows: Sequence[Row], name: str) -> Iterator[tuple[Array, Array]]:
    """A series, cut where a new stage (another loss, another learning rate) began."""
    for stage in sorted({r.get("stage", 0.0) for r in rows if name in r}):
        yield series([r for r in rows if r.get("stage", 0.0) == stage], name)
