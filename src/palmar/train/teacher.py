"""A teacher by cloning: DAgger from the scripted expert, on numbers alone (state and simulator truth), without pictures.

    clone(TeacherTraining(tasks=("reach",)), "runs/teacher")  →  a checkpoint that `models.privileged` drives with

By trial, from a reward, it is learned in `train.reinforce`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from palmar.models.teacher import TeacherConfig
from palmar.ranges import BATCH, RATE, STRENGTH, Count, Processes, Range, Seed, check_ranges
from palmar.sim import tasks as known
from palmar.train.dagger import Dagger, Round, begun, dagger
from palmar.train.request import TrainRequest
from palmar.train.run import TrainConfig


@dataclass(frozen=True)
class TeacherTraining:
    """tasks, robot: of the demonstrations, all that fit when ("all",). demos: of the expert in the first round; then `rounds`
    rounds of `episodes` that the teacher drives and the expert labels. steps: of training in each round, batches of
    `batch_size`. horizon: actions of a chunk. strength: of the randomised worlds. seed: of the first table; each round draws its
    own."""

    tasks: tuple[str, ...] = known.ALL
    robot: str = "arm7"
    demos: Count = 100
    rounds: Count = 3
    episodes: Count = 50
    steps: Count = 2000
    batch_size: Annotated[int, BATCH] = 256
    lr: Annotated[float, RATE] = 1e-3
    horizon: Annotated[int, Range(1, 1024)] = 4
    strength: Annotated[float, STRENGTH] = 1.0
    seed: Seed = 600_000
    model: TeacherConfig = field(default_factory=TeacherConfig)

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "tasks", known.chosen(self.tasks, self.robot))


def clone(
    training: TeacherTraining, out: str | Path, processes: Processes = None, progress: bool = True,
    watch: Callable[[Round], None] | None = None,
) -> Path:  # fmt: skip
    """Demonstrations, rounds and trainings in folders of `out`; the checkpoint of the last round. Interrupted, the same call goes
    on where it stopped. Each round trains anew on all data: what did not move before, such as a contact, has no scale to keep.

    Raises `BadFile` where `out` was begun with other tasks, robot, learning rate, horizon, strength or seed.
    """
    root = Path(out)
    begun(
        root,
        {"by": "dagger"} | {n: getattr(training, n) for n in ("tasks", "robot", "lr", "horizon", "strength", "seed")},
    )
    demos = gathered(root / "demos", training, "expert", 0.0, training.seed, training.demos, processes)

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Any:
        return gathered(out, training, str(driver), beta, seed, episodes, processes)

    config = TrainConfig(
        steps=training.steps, batch_size=training.batch_size, lr=training.lr, horizon=training.horizon, augment=None,
        seed=training.seed, ema=min(0.999, 1 - 10 / training.steps) if training.steps > 10 else 0.0,
    )  # fmt: skip
    plan = Dagger(training.rounds, training.episodes, seed=training.seed + 10 * training.demos, scratch=True)
    request = TrainRequest(training.model, demos, config, embodiment=training.robot)
    return dagger(request, root, plan, gather, progress=progress, watch=watch)[-1].checkpoint


def gathered(
    folder: Path, training: TeacherTraining, driver: str, beta: float, seed: int, episodes: int, processes: Processes
) -> Any:
    """A set of episodes without pictures, as a teacher reads it."""
    from palmar.data.privileged import PrivilegedData
    from palmar.data.reader import Dataset
    from palmar.lab.collect import CollectConfig, collect
    from palmar.sim.params import Randomization

    config = CollectConfig(
        episodes, training.tasks, seed, Randomization(training.strength), driver=driver, beta=beta, robot=training.robot,
        physics=True, images=False,
    )  # fmt: skip
    collect(folder, config, processes, resume=True, progress=False)
    return PrivilegedData(Dataset(folder, cache=False))
