"""A policy before and after a change on the same held-out tables, and whether the change may be kept (`eval.gate`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from palmar.choices import GRADES
from palmar.errors import BadValue
from palmar.eval.gate import Change, GateConfig, GateVerdict, change, gate
from palmar.eval.results import Results, shared
from palmar.lab.suite import EvalConfig, evaluate
from palmar.ranges import Processes
from palmar.sim import tasks
from palmar.sim.draws import Worlds
from palmar.sim.params import NO_RANDOMIZATION, SPACE, Randomization, WorldParams
from palmar.sim.reality import check_world
from palmar.sim.space import LISTED


@dataclass(frozen=True)
class Tables:
    """Held-out tables in one condition. world, randomization: as of `EvalConfig`. trials: of all tasks together."""

    trials: int
    world: str = "sim"
    randomization: Worlds = NO_RANDOMIZATION
    tasks: tuple[str, ...] = tasks.ALL
    seed: int = 500_000
    timeout: float = 10.0
    execute: int = 4
    robot: str = "arm7"

    def config(self, policy: str) -> EvalConfig:
        chosen = tasks.chosen(self.tasks, self.robot)
        each = -(-self.trials // len(chosen))
        return EvalConfig(
            policy, each, chosen, world=self.world, seed=self.seed, randomization=self.randomization, timeout=self.timeout,
            execute=self.execute, robot=self.robot,
        )  # fmt: skip


def condition(words: Sequence[str]) -> tuple[str, Randomization]:
    """(world, randomization) of sim, GRADE:SEED, or of parameters that differ from nominal: camera_yaw=20 light=0.2.

    Raises `BadValue` or `UnknownName`.
    """
    if len(words) == 1 and words[0].partition(":")[0] in ("sim", *GRADES):
        check_world(words[0])
        return words[0], NO_RANDOMIZATION
    values: dict[str, float] = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise BadValue(
                f"condition has '{word}'; expected sim, {':SEED, '.join(GRADES)}:SEED, or NAME=VALUE "
                f"of one of {len(SPACE)} world parameters ({LISTED} lists them). Next: camera_yaw=20"
            )
    return "sim", replace(NO_RANDOMIZATION, centre=WorldParams(values))


def compared(before: str, after: str, tables: Tables | None, level: float, processes: Processes = None,
             progress: bool = True, note: str = "gate", kept: Results | None = None) -> Change:  # fmt: skip
    """Both policies on the same tables. tables: None for none, of which nothing is known. kept: results of `before`."""
    if tables is None:
        return change([], [], level)
    first = kept or evaluate(tables.config(before), processes, progress, f"{note} before")
    second = evaluate(tables.config(after), processes, progress, f"{note} after")
    return change(*shared(first, second), level)


def judge(
    before: str, after: str, old: Tables | None, new: Tables | None, config: GateConfig | None = None,
    processes: Processes = None, progress: bool = True,
) -> GateVerdict:  # fmt: skip
    """Run both policies on the old and the new tables, and judge. None for tables there are not: then the answer is no, and
    nothing is run."""
    config = config or GateConfig()
    if old is None or new is None:
        return gate(change([], [], config.level), change([], [], config.level), config)
    found = [compared(before, after, t, config.level, processes, progress, n) for t, n in ((old, "old"), (new, "new"))]
    return gate(found[0], found[1], config)
