"""Out of memory: how it is known, and what to say of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from palmar.errors import BadValue
from palmar.models.base import Batch
from palmar.train.losses import Asked, Descent, take, take_raw
from palmar.train.world import World

if TYPE_CHECKING:
    from palmar.train.job import Job


def out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "not enough memory" in text
        or "can't allocate" in text
    )


def too_big(job: Job, batch: Batch, given: Asked, descent: Descent, error: BaseException) -> BadValue:
    """What to say: the largest half, quarter, … of a backward pass that fits, found by trying: in the step's own
    precision, and with all its questions, which `accumulate` does not cut. With sharded weights a try needs all processes, of
    which perhaps one alone is out of memory, so nothing is tried."""
    run = job.run
    size = math.ceil(len(batch.state) / descent.pieces)
    said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    error.__traceback__ = None  # it holds the activations of the step that failed
    if run.config.shard:
        return BadValue(
            f"out of memory with {size} samples at once in each of {job.world.size} processes ({said}). Next: a smaller "
            f"--batch-size, --accumulate {2 * run.config.accumulate}, or more processes"
        )
    rows = size // 2
    while rows >= 1:
        run.forget()
        if run.config.device.startswith("cuda"):
            torch.cuda.empty_cache()
        try:
            picked = np.arange(rows)
            view = job.view(job.robots_data[given.raw["robot"]])
            alone = replace(descent, pieces=1, world=World())  # the other processes may not be out of memory
            alone(view, take(batch, picked), Asked(take_raw(given.raw, picked), given.questions))
            break
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as again:
            if not out_of_memory(again):
                raise
            again.__traceback__ = None
            rows //= 2
    run.forget()
    if rows < 1:
        more = f" and its {len(given.questions.prompts)} questions" if given.questions is not None else ""
        fewer = "fewer questions (--batch-size, or the recipe's web), " if more else ""
        return BadValue(
            f"out of memory ({said}) even with one sample{more}. Next: {fewer}a smaller preset or a larger device"
        )
    total = run.config.batch_size
    return BadValue(
        f"out of memory with {size} samples at once ({said}); {rows * job.world.size} fit. Next: --batch-size "
        f"{rows * job.world.size}, or --accumulate {math.ceil(len(batch.state) / rows)} to keep batches of {total}"
    )
