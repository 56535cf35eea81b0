"""Progressive transfer: simple simulation → realistic simulation → simulation and reality → fine-tuning in reality → deployed.

Each level trains from the checkpoint of the one before, on a mixture of simulated and real frames, and has a gate: a success rate
that has to be shown by trials (`eval.shown`). A level that misses its gate is trained on and tried again; after `tries` the
transfer stops there and says so. What is done lies in OUT/progress.json after every step, so that the same call goes on.

How a level is trained and tried are functions, so that the reality may be a robot, a data set, or a simulated one
(`transfer.progress_run`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from palmar.errors import BadFile, BadValue, regular_file
from palmar.eval.shown import Shown, fewest, shown
from palmar.files import replace_file
from palmar.policy import CURRENT
from palmar.ranges import BATCH, RATE, SHARE, STRENGTH, Count, Range, Seed, check_ranges

STATE = "progress.json"
Where = Literal["sim", "real"]


@dataclass(frozen=True)
class Level:
    """sim: share of simulated frames in a batch. strength: of the randomised worlds they come from. where: its trials are made.
    least: success rate that its gate wants shown. steps: of training, batches of the run. lr: peak."""

    name: str
    sim: Annotated[float, SHARE]
    strength: Annotated[float, STRENGTH]
    where: Where
    least: Annotated[float, Range(0, 1, above=True, below=True)]
    steps: Count = 2000
    lr: Annotated[float, RATE] = 1e-3

    def __post_init__(self) -> None:
        check_ranges(self)


LEVELS = (
    Level("simple sim", 1.0, 0.5, "sim", 0.8),
    Level("realistic sim", 1.0, 1.0, "sim", 0.7, lr=5e-4),
    Level("sim and real", 0.7, 0.8, "real", 0.6, lr=3e-4),
    Level("real fine-tune", 0.2, 0.3, "real", 0.8, steps=1000, lr=1e-4),
)


@dataclass(frozen=True)
class ProgressConfig:
    """levels: in order. batch: trials between two looks at a gate; most: after which it has not been passed. alpha: chance that a
    policy below its bound passes a level, over its looks and tries. tries: trainings of a level. seed: of the first trial; the
    trials of each try are new ones."""

    levels: tuple[Level, ...] = LEVELS
    batch: Annotated[int, BATCH] = 10
    most: Annotated[int, BATCH] = 60
    alpha: Annotated[float, Range(0, 1, above=True, below=True)] = 0.05
    tries: Annotated[int, Range(1, 100)] = 2
    seed: Seed = 5000

    def __post_init__(self) -> None:
        check_ranges(self)
        names = [level.name for level in self.levels]
        if not names or len(set(names)) < len(names):
            raise BadValue(f"levels are {names}; expected one or more with different names. Next: name them")
        if self.most % self.batch:
            raise BadValue(
                f"most is {self.most} trials in batches of {self.batch}; expected a multiple. Next: --most {6 * self.batch}"
            )
        for level in self.levels:
            if (needs := fewest(level.least, self.looks * self.tries, self.alpha)) > self.most:
                raise BadValue(
                    f"level '{level.name}' wants {100 * level.least:g} % shown, for which {needs} trials without a failure are "
                    f"needed, and it gets {self.most}. Next: --most {-(-needs // self.batch) * self.batch}, or a lower bound"
                )

    @property
    def looks(self) -> int:
        """At a gate."""
        return self.most // self.batch


@dataclass(frozen=True)
class Tried:
    """One training of a level and what its trials said so far. checkpoint: "" while it trains."""

    level: str
    number: int
    checkpoint: str = ""
    outcomes: tuple[bool, ...] = ()

    @property
    def folder(self) -> str:
        """Of the training, below OUT."""
        return f"{self.level.replace(' ', '-')}-{self.number}"


@dataclass(frozen=True)
class Progress:
    """tried: oldest first. deployed: the checkpoint that passed all gates, below OUT, "" for none. reason: why it stopped."""

    tried: tuple[Tried, ...] = ()
    deployed: str = ""
    reason: str = ""


class NoTrials(Exception):
    """A `Try` cannot make the trials now, as where a person has to; the transfer waits, and the text says for what."""


Fit = Callable[[Level, Path, "Path | None"], Path]
"""(level, folder to train in, checkpoint to go on from) → the checkpoint."""
Try = Callable[[Level, Path, int, int], Sequence[bool]]
"""(level, checkpoint, number of the first trial, how many) → their outcomes. May raise `NoTrials`."""


def progress(
    config: ProgressConfig,
    out: str | Path,
    fit: Fit,
    attempt: Try,
    watch: Callable[[Level, Tried, Shown], None] | None = None,
) -> Progress:
    """Go through the levels from where OUT stands. watch: told after each look at a gate.

    Raises `BadValue` when OUT was begun with another config, `BadFile` when its state cannot be read.
    """
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    tried = list(read(root, config).tried)
    looks = config.looks * config.tries
    before: Path | None = None
    for n, level in enumerate(config.levels):
        for number in range(1, config.tries + 1):
            at = next((i for i, t in enumerate(tried) if (t.level, t.number) == (level.name, number)), len(tried))
            now = tried[at] if at < len(tried) else Tried(level.name, number)
            if not now.checkpoint:
                made = fit(level, root / now.folder, before)
                now = Tried(level.name, number, str(made.relative_to(root)))
                tried[at:] = [now]
                write(root, config, Progress(tuple(tried)))
            verdict = shown(now.outcomes, level.least, looks, config.alpha)
            while verdict.passed is None and len(now.outcomes) < config.most:
                first = config.seed + (n * config.tries + number - 1) * config.most + len(now.outcomes)
                try:
                    fresh = attempt(level, root / now.checkpoint, first, config.batch)
                except NoTrials as wait:
                    return write(root, config, Progress(tuple(tried), reason=str(wait)))
                if len(fresh) != config.batch:
                    raise BadValue(
                        f"{len(fresh)} trials were made; expected {config.batch}. Next: as many as the batch"
                    )
                now = Tried(level.name, number, now.checkpoint, (*now.outcomes, *map(bool, fresh)))
                tried[at:] = [now]
                write(root, config, Progress(tuple(tried)))
                verdict = shown(now.outcomes, level.least, looks, config.alpha)
                if watch is not None:
                    watch(level, now, verdict)
            before = root / now.checkpoint
            if verdict.passed:
                break
        else:
            said = f"level '{level.name}' did not pass its gate in {config.tries} trainings: {verdict}"
            return write(root, config, Progress(tuple(tried), reason=said))
    replace_file(root / CURRENT, lambda p: p.write_text(json.dumps({"version": tried[-1].checkpoint})))
    return write(root, config, Progress(tuple(tried), tried[-1].checkpoint))


def write(root: Path, config: ProgressConfig, now: Progress) -> Progress:
    """Replace the state in one step."""
    about = {"config": asdict(config), **asdict(now)}
    replace_file(root / STATE, lambda p: p.write_text(json.dumps(about, indent=1)))
    return now


def read(root: Path, config: ProgressConfig) -> Progress:
    """What was done in this folder; nothing where it is new. Raises `BadFile`, and `BadValue` for another config."""
    file = root / STATE
    if not file.exists():
        return Progress()
    try:
        found: dict[str, Any] = json.loads(regular_file(file).read_text("utf-8"))
        before = found["config"]
        tried = tuple(
            Tried(str(t["level"]), int(t["number"]), str(t["checkpoint"]), tuple(map(bool, t["outcomes"])))
            for t in found["tried"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"'{file}' is no state of a transfer ({error}). Next: another --out") from error
    now = json.loads(json.dumps(asdict(config)))
    if before != now:
        differ = sorted(k for k in now if not isinstance(before, dict) or before.get(k) != now[k])
        raise BadValue(
            f"'{root}' was begun with other {', '.join(differ)}; expected the same, or its gates would say nothing. "
            "Next: another --out"
        )
    for t in tried:
        if t.checkpoint and (Path(t.checkpoint).is_absolute() or ".." in Path(t.checkpoint).parts):
            raise BadFile(f"'{file}' names a checkpoint outside its folder: '{t.checkpoint[:80]}'. Next: another --out")
    return Progress(tried, str(found.get("deployed", "")), str(found.get("reason", "")))
