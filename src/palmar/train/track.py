"""Trackers: where the rows that training logs go as well (`train(watch=...)`). metrics.jsonl is written in any case.

A row has its `step`; names become train/NAME and val/NAME, so that a curve and its validation lie together. What is not finite
is left out.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from palmar.errors import UnknownName, need

METRICS = "metrics.jsonl"
Watch = Callable[[dict[str, float]], None]
EXTRA = "track"


def tensorboard(folder: str | Path) -> Watch:
    """Event files in `folder`; look at them with `tensorboard --logdir FOLDER`. Raises `MissingPackage`."""
    need("tensorboard", EXTRA)
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def watch(row: dict[str, float]) -> None:
        for name, value in scalars(row).items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return watch


def wandb(project: str, **options: Any) -> Watch:
    """A Weights & Biases run; options: of `wandb.init` (name, mode="offline", resume, …). Raises `MissingPackage`."""
    return _logged("wandb", project, options)


def trackio(project: str, **options: Any) -> Watch:
    """A Trackio run, which is kept on this machine; options: of `trackio.init`. Raises `MissingPackage`."""
    return _logged("trackio", project, options)


def _logged(package: str, project: str, options: Mapping[str, Any]) -> Watch:
    need(package, EXTRA)
    run = importlib.import_module(package).init(project=project, **options)

    def watch(row: dict[str, float]) -> None:
        run.log(scalars(row), step=int(row["step"]))

    return watch


Tracker = Literal["tensorboard", "wandb", "trackio"]
TRACKERS: dict[str, Callable[[Path], Watch]] = {
    "tensorboard": lambda out: tensorboard(out / "tensorboard"),
    "wandb": lambda out: wandb("palmar", name=out.name),
    "trackio": lambda out: trackio("palmar", name=out.name),
}


def tracker(name: str, out: str | Path) -> Watch:
    """The tracker called `name` for a run in the folder `out`. Raises `UnknownName`, `MissingPackage`."""
    if name not in TRACKERS:
        raise UnknownName("tracker", name, TRACKERS)
    return TRACKERS[name](Path(out))


def lazily(names: Sequence[str], out: str | Path) -> Watch:
    """The trackers of these names, opened with the first row: only by a run that began, and by the process that logs."""
    opened: list[Watch] = []

    def watch(row: dict[str, float]) -> None:
        if not opened:
            opened.extend(tracker(name, out) for name in names)
        together(*opened)(row)

    return watch


def together(*watches: Watch) -> Watch:
    """All of them hear each row, in this order."""

    def watch(row: dict[str, float]) -> None:
        for one in watches:
            one(row)

    return watch


def scalars(row: Mapping[str, float]) -> dict[str, float]:
    """{"loss": 1, "val_loss": 2, "step": 20} → {"train/loss": 1, "val/loss": 2}."""
    return {
        f"val/{k.removeprefix('val_')}" if k.startswith("val_") else f"train/{k}": float(v)
        for k, v in row.items()
        if k != "step" and math.isfinite(v)
    }
