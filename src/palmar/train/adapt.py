"""Learning from corrections: a short fine-tuning on what a person showed, mixed with what the policy knew before.

Replay of old data in every batch is what keeps the old tasks (experience replay, Rolnick et al. 2019, arXiv 1811.11682). The
normalisers of the checkpoint are kept; the averaged weights are the ones that come out. Labels of the simulator are used of
old data alone: corrections made on a robot have none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from palmar.data.corrections import Corrections, check_same_robot
from palmar.data.held import InMemory
from palmar.data.language import Paraphrases
from palmar.data.mixture import Mixture
from palmar.data.view import View
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.ranges import COUNT, check_ranges
from palmar.train.adapt_config import AdaptConfig
from palmar.train.loop import TrainConfig, TrainRequest, train
from palmar.train.lora import Lora
from palmar.train.recipe import Recipe, Stage
from palmar.train.resume import STATE
from palmar.types import STILL


def recipe_of(config: AdaptConfig, mixture: Mixture) -> Recipe:
    """One stage that trains the part, of frames drawn as the mixture says."""
    if config.part == "lora":
        stage = Stage("adapt", lora=Lora(config.rank, float(config.rank)), train=("@lora", "@head"), data=mixture)
    else:
        stage = Stage("adapt", train=("@head",) if config.part == "head" else ("*",), data=mixture)
    return Recipe(f"adapt {config.part}", (stage,))


@dataclass(frozen=True)
class Adapted:
    """checkpoint: the new one. seconds: of the training, reading included. corrected, replayed: frames there were to draw from.
    person: seconds of corrections that a person drove; None where a set does not say who drove."""

    checkpoint: Path
    seconds: float
    corrected: int
    replayed: int
    person: float | None


def adapt(
    init: str | Path,
    corrections: Sequence[Any],
    replay: Sequence[Any],
    out: str | Path,
    config: AdaptConfig | None = None,
    paraphrases: Paraphrases | None = None,
) -> Adapted:
    """A checkpoint in the folder `out`, adapted from the one in `init`.

    corrections: data sets of which what a person drove is learned (`data.corrections`). replay: of what the policy knew before;
    where the set says who drove, what the policy did before a person took over and episodes of its own that failed are left out.
    Raises `BadValue` for sets of another robot, by name, for no corrections, and for no replay where the batch has some.
    """
    config = config or AdaptConfig()
    began = time.perf_counter()
    model, interface, *_ = checkpoint.check(init)
    corrected = checked(interface, corrections, replay, config)
    known = [c for s in replay if (c := Corrections(s, own="successes")).frames] if config.replay else []
    old = [InMemory(c, -(-config.replayed // len(known)), config.seed) for c in known]
    used: list[Any] = [*old, *(InMemory(c) for c in corrected if c.frames)]
    split = len(used) - sum(bool(c.frames) for c in corrected)
    labels = next((tuple(s.privileged_names) for s in used[:split] if s.privileged_names), ())
    used = [
        s if tuple(s.privileged_names) == labels and i < split else Unlabelled(s, labels) for i, s in enumerate(used)
    ]
    frames = [_frames(s) for s in used]
    weights = shares(frames[:split], config.replay) + shares(frames[split:], config.corrections)
    request = TrainRequest(
        model, used,
        TrainConfig(
            steps=config.steps, horizon=interface.horizon, batch_size=config.corrections + config.replay * bool(split),
            lr=config.lr, ema=0.98, seed=config.seed, validation=0.0, threads=config.threads, checkpoint_minutes=1e5,
            warmup=0.05,
        ),
        recipe_of(config, Mixture(temperature=1.0, sources=weights)),
        embodiment=interface.embodiment, paraphrases=paraphrases, init=Path(init),
    )  # fmt: skip
    folder = train(request, out, progress=False)
    (folder / STATE).unlink(missing_ok=True)  # to go on with it nobody needs
    person = sum(c.seconds for c in corrected) if all(c.says_who for c in corrected) else None
    return Adapted(folder, time.perf_counter() - began, sum(frames[split:]), sum(frames[:split]), person)


def checked(
    interface: Interface, corrections: Sequence[Any], replay: Sequence[Any], config: AdaptConfig
) -> list[Corrections]:
    """The corrections, of which something can be learned for a policy. Raises `BadValue` as `adapt`."""
    for option, sets in (("--corrections", corrections), ("--replay", replay)):
        for source in sets:
            check_same_robot(source, interface, str(getattr(source, "root", "set")), option)
    corrected = [Corrections(s) for s in corrections]
    if not sum(c.frames for c in corrected):
        raise BadValue(
            f"{len(corrections)} sets of corrections hold no frame that a person drove; expected some whose 'intervention' is "
            "true. Next: palmar run --correct, or palmar collect --correct expert"
        )
    if config.replay and not replay:
        raise BadValue(
            f"no old data to replay, and a batch has {config.replay} frames of it. Next: --replay SET, or --replay-frames 0 to "
            "forget what is not corrected"
        )
    if config.replay and not any(Corrections(s, own="successes").frames for s in replay):
        raise BadValue(
            f"{len(replay)} sets of --replay hold no frame to replay; expected demonstrations, or runs that succeeded. "
            "Next: --replay SET of palmar collect, or --replay-frames 0 to forget what is not corrected"
        )
    return corrected


def shares(frames: Sequence[int], wanted: float) -> tuple[float, ...]:
    """A weight for each data set such that a mixture of temperature 1 draws `wanted` frames of them together, from each in
    proportion to its frames."""
    total = sum(frames)
    return tuple(wanted / total if n else 0.0 for n in frames)


def _frames(source: Any) -> int:
    """Frames with actions, and stills, as the feed draws them."""
    return int(sum(e.stop - e.start for e in source.episodes))


class Unlabelled(View):
    """A data set whose labels of the simulator are unknown (NaN): what a robot records has none. names: of those labels."""

    def __init__(self, source: Any, names: Sequence[str]) -> None:
        self.source, self.privileged_names = source, tuple(names)

    def batch(self, indices: Any, horizon: int, **more: Any) -> dict[str, Any]:
        out = {k: v for k, v in self.source.batch(indices, horizon, **more).items() if k != "privileged"}
        unknown = np.full((len(indices), len(self.privileged_names)), np.nan, np.float32)
        return out | ({"privileged": unknown} if self.privileged_names else {})


@dataclass(frozen=True)
class Successes:
    """When to learn from the policy's own successes: at every `every` new episodes, of which at least `least` succeeded; the newest
    `most` episodes are kept."""

    every: Annotated[int, COUNT] = 100
    least: Annotated[int, COUNT] = 50
    most: Annotated[int, COUNT] = 10_000

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.least > self.every:
            raise BadValue(f"least is {self.least} of every {self.every} episodes; expected no more. Next: 50 of 100")

    def kept(self, source: Any) -> list[int]:
        """Places of the newest successes in `source.episodes`, no more than the buffer holds."""
        return [i for i, e in enumerate(source.episodes) if e.success and e.source != STILL][-self.most :]

    def due(self, source: Any, seen: int) -> list[int]:
        """The successes to train on now; empty when it is too early. seen: how many episodes there were at the last training."""
        new = [e for e in source.episodes[seen:] if e.source != STILL]
        if len(new) < self.every or sum(bool(e.success) for e in new) < self.least:
            return []
        return self.kept(source)


def from_successes(
    init: str | Path, own: Any, replay: Sequence[Any], out: str | Path, plan: Successes | None = None,
    config: AdaptConfig | None = None, seen: int = 0,
) -> Adapted | None:  # fmt: skip
    """Adapt to the policy's own successes when the plan says that it is time, else None. own: a data set of what it did.
    seen: how many of its episodes there were at the last training. The result has to pass a gate as any other."""
    from palmar.data.quality import Kept

    plan = plan or Successes()
    places = plan.due(own, seen)
    return adapt(init, [_Whole(Kept(own, places))], replay, out, config) if places else None


class _Whole(View):
    """A data set all of whose frames are good, whoever drove."""

    def __init__(self, source: Any) -> None:
        super().__init__(source)
        self.features: dict[str, Any] = {}
