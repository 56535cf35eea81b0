"""A student with eyes from a teacher without: cloning and distance to the teacher's chunk, on the states the student visits.

    teacher drives `demos` episodes, pictures recorded
    repeat `rounds` times:  train the student on all of it  →  it drives `episodes`, the teacher labels every step

The loss of each training is `train.distill.Distill`, the rounds are `train.dagger`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from palmar.choices import Scale
from palmar.data.language import Paraphrases
from palmar.errors import BadValue
from palmar.models.base import ModelConfig
from palmar.models.privileged import Privileged
from palmar.policy import load_policy
from palmar.ranges import BATCH, COUNT, RATE, SHARE, STRENGTH, Count, Processes, Range, Seed, check_ranges
from palmar.sim import tasks as known
from palmar.train.dagger import Dagger, Gather, Round, begun, dagger
from palmar.train.distill import Distance, Distill, PrivilegedTeacher
from palmar.train.request import TrainRequest
from palmar.train.run import TrainConfig


@dataclass(frozen=True)
class StudentTraining:
    """preset: of the student. tasks, robot: of the tables, all that fit when ("all",). demos: that the teacher drives before the
    first training; then `rounds` rounds of `episodes` that the student drives (a share `beta`^round of them the scripted expert)
    and the teacher labels. steps: of each training, batches of `batch_size`. weight, distance, sigma: of `Distill`. horizon: of the
    student's chunk. strength: of the randomised worlds. scratch: each round trains anew; else it goes on from the round before,
    with the `normalizer` of `Dagger`."""

    preset: str = "palmar-tiny"
    tasks: tuple[str, ...] = known.ALL
    robot: str = "arm7"
    demos: Count = 100
    rounds: Annotated[int, Range(1, 1000)] = 3
    episodes: Count = 50
    beta: Annotated[float, SHARE] = 0.0
    steps: Annotated[int, COUNT] = 2000
    batch_size: Annotated[int, BATCH] = 64
    lr: Annotated[float, RATE] = 1e-3
    horizon: Annotated[int, Range(1, 1024)] = 16
    weight: Annotated[float, SHARE] = 0.5
    distance: Distance = "kl"
    sigma: Annotated[float, Range(0, 100, above=True)] = 0.5
    strength: Annotated[float, STRENGTH] = 0.7
    image_size: Annotated[int, Range(16, 8192, unit="px")] = 96
    validation: Annotated[float, Range(0, 1, below=True)] = 0.03
    seed: Seed = 650_000
    scratch: bool = True
    normalizer: Scale = "check"
    paraphrases: Paraphrases | None = field(default=None)

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "tasks", known.chosen(self.tasks, self.robot))


def teacher_of(where: str) -> Privileged:
    """The teacher in a checkpoint. Raises `BadValue` for a policy that reads no simulator truth."""
    policy = load_policy(where)
    if not isinstance(policy, Privileged):
        raise BadValue(
            f"'{where}' reads no simulator truth; expected a teacher. Next: palmar teacher --out FOLDER, or palmar.train.distill "
            "for another kind"
        )
    return policy


def student(
    teacher: str, training: StudentTraining, out: str | Path, *, model: ModelConfig | None = None, processes: Processes = None,
    progress: bool = True, gather: Gather | None = None, watch: Callable[[Round], None] | None = None,
) -> Path:  # fmt: skip
    """The checkpoint of the last round, below `out`. teacher: a checkpoint folder. model: instead of the preset. gather: how
    episodes are made; in simulation when not given. Interrupted, the same call goes on where it stopped.

    Raises `BadValue` for a policy that is no teacher, and where its actions are not the student's; `BadFile` where `out` was begun
    with other settings.
    """
    from palmar.models.checkpoint import fingerprint
    from palmar.models.presets import preset

    root, guide = Path(out), teacher_of(teacher)
    chosen = model or preset(training.preset)  # before anything is collected
    names = ("tasks", "robot", "lr", "horizon", "weight", "distance", "strength", "seed")
    told = {"the teacher of fingerprint": fingerprint(teacher), "preset": chosen.preset}
    begun(root, told | {n: getattr(training, n) for n in names})
    make = gather or pictured(teacher, training, processes)
    data = make(root / "demos", Path(teacher), 1.0, training.seed, training.demos)
    objective = Distill(
        PrivilegedTeacher(guide, data.privileged_names), None, training.weight, training.distance, training.sigma
    )
    config = TrainConfig(
        steps=training.steps, batch_size=training.batch_size, lr=training.lr, horizon=training.horizon, seed=training.seed,
        validation=training.validation, ema=min(0.999, 1 - 10 / training.steps) if training.steps > 10 else 0.0,
    )  # fmt: skip
    request = TrainRequest(
        chosen, data, config, objective=objective, embodiment=training.robot,
        paraphrases=training.paraphrases,
    )  # fmt: skip
    plan = Dagger(
        training.rounds, training.episodes, beta=training.beta, seed=training.seed + 10 * training.demos,
        fall="exponential" if training.beta else "none", scratch=training.scratch, normalizer=training.normalizer,
    )  # fmt: skip
    return dagger(request, root, plan, make, progress=progress, watch=watch)[-1].checkpoint


def pictured(teacher: str, training: StudentTraining, processes: Processes = None) -> Gather:
    """Collects episodes with pictures and physics that the teacher labels. The driver is the teacher, or else the student and, a
    share `beta`, the scripted expert."""

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Any:
        from palmar.data.reader import Dataset
        from palmar.lab.collect import CollectConfig, collect
        from palmar.sim.params import Randomization

        share = 0.0 if str(driver) == str(Path(teacher)) else beta
        config = CollectConfig(
            episodes, training.tasks, seed, Randomization(training.strength), driver=str(driver), beta=share,
            robot=training.robot, physics=True, labeler=teacher,
        )  # fmt: skip
        collect(out, config, processes, resume=True, progress=False)
        return Dataset(out, image_size=training.image_size)

    return gather
