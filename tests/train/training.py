"""`palmar.train.loop.train` in one line: what is requested, and how it is run, told apart by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palmar.train import loop
from palmar.train.request import TrainRequest


def train(model, data, out, config, *, resume=False, progress=True, watch=None, **requested: Any) -> Path:
    return loop.train(
        TrainRequest(model, data, config, **requested), out, resume=resume, progress=progress, watch=watch
    )
