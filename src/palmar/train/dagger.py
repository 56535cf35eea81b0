"""DAgger: the learner drives, the expert says what it would have done, and the next learner trains on all of it.

Source: Ross, Gordon & Bagnell 2011, arXiv 1011.0686. Round 0 is plain behaviour cloning on what is there; in round i the
expert drives a share β_i of the episodes itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from palmar.choices import Scale
from palmar.errors import BadFile, BadValue, UnknownName, regular_file
from palmar.files import write_text
from palmar.ranges import Processes
from palmar.train.loop import train
from palmar.train.request import TrainRequest

SEEDS_APART = 1_000_003
"""Of the trainings of two rounds: so that no round is drawn as one of a run whose seed is the next."""
Fall = Literal["exponential", "linear", "none"]


@dataclass(frozen=True)
class Dagger:
    """rounds: of collecting and training, after the first training. episodes: collected in each. beta: β of round 1, then
    exponential (β^i), linear (to 0 in the last round) or none (0 always). seed: of the first table; round i begins
    `episodes` · 10 further on. scratch: train every round from nothing instead of from the round before. normalizer: of a round
    that goes on, as of `TrainRequest`: that of the round before, or fitted to all its data anew."""

    rounds: int = 10
    episodes: int = 100
    beta: float = 0.5
    fall: Fall = "exponential"
    seed: int = 300_000
    scratch: bool = False
    normalizer: Scale = "check"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.episodes < 1 or not 0 <= self.beta <= 1:
            raise BadValue(
                f"{self}; expected rounds and episodes ≥ 1, beta 0 … 1. Next: leave them out for the defaults"
            )
        if self.fall not in get_args(Fall):
            raise UnknownName("beta schedule", self.fall, get_args(Fall))

    def share(self, i: int) -> float:
        """Share of round i's episodes (i from 1) that the expert drives."""
        if self.fall == "none":
            return 0.0
        if self.fall == "linear":
            return self.beta * (1 - (i - 1) / max(1, self.rounds - 1))
        return self.beta**i

    def first_seed(self, i: int) -> int:
        return self.seed + (i - 1) * 10 * self.episodes

    @staticmethod
    def tables(demos: int, rounds: int, episodes: int) -> int:
        """How many seeds of tables a run takes: ten an episode, for those that fail."""
        return 10 * (demos + rounds * episodes)


class Gather(Protocol):
    """Makes a round's data: episodes driven by the checkpoint `driver` (or, a share `beta`, by the expert), all labelled."""

    def __call__(self, out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Any:
        """A training `Source`. Called again after an interruption, it goes on with what is in `out`."""
        ...


@dataclass(frozen=True)
class Round:
    """What round i left: its checkpoint, its data (None in round 0), and β."""

    number: int
    checkpoint: Path
    data: Path | None
    beta: float
    frames: int


def dagger(
    request: TrainRequest,
    out: str | Path,
    plan: Dagger,
    gather: Gather,
    *,
    progress: bool = True,
    watch: Callable[[Round], None] | None = None,
) -> list[Round]:
    """Train, then `plan.rounds` times: collect with the newest checkpoint, add, train. Folders out/round-00 … and out/data-01 ….

    Interrupted, the same call goes on where it stopped. watch: called after each round. request: of the first training; its
    `objective` must not hold a normaliser of another round (`Distill(action=None)` takes each round's own).
    """
    root, sets, done = Path(out), list(request.sets), list[Round]()
    for i in range(plan.rounds + 1):
        where, folder, beta = root / f"round-{i:02d}", None, 1.0
        if i > 0:
            folder, beta = root / f"data-{i:02d}", plan.share(i)
            sets.append(gather(folder, done[-1].checkpoint, beta, plan.first_seed(i), plan.episodes))
        config = replace(request.config, seed=request.config.seed + SEEDS_APART * i)
        this = replace(request, data=tuple(sets), config=config)
        if i > 0 and not plan.scratch:
            this = replace(this, init=done[-1].checkpoint, normalizer=plan.normalizer, pretrained=None)
        train(this, where, resume=True, progress=progress)
        done.append(Round(i, where, folder, beta, sum(len(s) for s in sets)))
        if watch is not None:
            watch(done[-1])
    return done


def in_simulation(tasks: tuple[str, ...] | None = None, processes: Processes = None, **more: Any) -> Gather:
    """Collects with `palmar.lab.collect`: scripted experts as labellers in randomised worlds. more: for `CollectConfig`."""

    def gather(out: Path, driver: Path, beta: float, seed: int, episodes: int) -> Any:
        from palmar.data.reader import Dataset
        from palmar.lab.collect import CollectConfig, collect

        chosen = {} if tasks is None else {"tasks": tasks}
        config = CollectConfig(episodes, seed=seed, driver=str(driver), beta=beta, **chosen, **more)  # type: ignore[arg-type]
        collect(out, config, processes, resume=True, progress=False)
        return Dataset(out)

    return gather


SETTINGS = "settings.json"


def begun(root: str | Path, settings: Mapping[str, Any]) -> None:
    """Keep in `root` what a training was begun with, or compare with what is kept there, so that a folder that is finished is not
    taken for the result of other settings. Raises `BadFile` where they differ, and for a file that is none."""
    file = Path(root) / SETTINGS
    mine = json.loads(json.dumps(settings))
    try:
        theirs = json.loads(regular_file(file).read_text("utf-8"))
        if not isinstance(theirs, dict):
            raise ValueError("no object")
    except FileNotFoundError:
        write_text(file, json.dumps(mine, indent=1))
        return
    except ValueError as error:
        raise BadFile(
            f"'{file}' is no JSON ({error}); expected the settings of '{root}'. Next: another folder"
        ) from error
    for name, value in mine.items():
        if name in theirs and theirs[name] != value:
            raise BadFile(
                f"'{root}' was begun with {name} {_said(theirs[name])}, and {_said(value)} is asked for; expected the same. Next: "
                "another --out, or the settings it was begun with"
            )


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
