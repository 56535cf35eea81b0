"""A training run as a value: stages in order, each with what it trains on, what it trains, how fast and how long.

`stages` of a named recipe are a place to start from: `replace(three_stage(), stages=...)` changes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from typing import Any

from palmar.data.mixture import Mixture
from palmar.errors import BadValue, UnknownName
from palmar.train.lora import Lora
from palmar.train.schedule import Schedule


@dataclass(frozen=True)
class Stage:
    """One stretch of a run. It begins from the averaged weights of the stage before, with a new optimiser.

    share: of the run's steps or minutes, relative to the other stages'. lr: peak; None for the run's own.
    train, freeze: patterns of parameters (`train.groups`); train None: what the model itself trains, with `lora` the
    adapters alone. lora: adapters for this stage, merged at its end. data: None for every frame once an epoch.
    losses: (name, weight) of the auxiliary losses that the model's configuration weighs. schedule: None for the run's own.
    actions: whether they are shown; a model that predicts pictures learns without them (`video`).
    """

    name: str = "all"
    share: float = 1.0
    lr: float | None = None
    train: tuple[str, ...] | None = None
    freeze: tuple[str, ...] = ()
    lora: Lora | None = None
    data: Mixture | None = None
    losses: tuple[tuple[str, float], ...] = ()
    schedule: Schedule | None = None
    actions: bool = True

    def __post_init__(self) -> None:
        if not self.share > 0 or (self.lr is not None and not self.lr > 0):
            raise BadValue(
                f"stage '{self.name}' has share {self.share}, lr {self.lr}; expected both > 0. "
                "Next: shares and rates above 0"
            )


@dataclass(frozen=True)
class Recipe:
    """Stages, one after the other. epochs: how long the recipe is meant to be, for a run that does not say."""

    name: str = "one-stage"
    stages: tuple[Stage, ...] = field(default_factory=lambda: (Stage(),))
    epochs: float | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise BadValue(f"recipe '{self.name}' has no stage; expected at least one. Next: add one")

    @property
    def shares(self) -> tuple[float, ...]:
        total = sum(s.share for s in self.stages)
        return tuple(s.share / total for s in self.stages)

    def lengths(self, steps: int) -> tuple[int, ...]:
        """Steps of each stage, `steps` together. Raises `BadValue` when a stage would get none."""
        lengths = self._split(steps)
        for stage, length in zip(self.stages, lengths, strict=True):
            if length < 1:
                least = max(steps, int(0.5 / min(self.shares)))  # a stage gets one from half a step on
                enough = next(n for n in count(least) if min(self._split(n)) >= 1)
                raise BadValue(
                    f"stage '{stage.name}' of recipe '{self.name}' gets none of {steps} steps. Next: --steps {enough} or more"
                )
        return lengths

    def _split(self, steps: int) -> tuple[int, ...]:
        edges = [0, *(round(steps * sum(self.shares[: i + 1])) for i in range(len(self.stages)))]
        return tuple(b - a for a, b in pairwise(edges))


def one_stage() -> Recipe:
    """All parameters, all the time."""
    return Recipe()


def three_stage(
    web: float = 0.0, target: tuple[float, ...] = (), lora: Lora | None = None, robots: tuple[str, ...] = ()
) -> Recipe:
    """Align (vision and language frozen, 1e-3, 5 %), co-fine-tune (everything, robot and web, 2e-5, 80 %), specialise
    (the target robot only, 1e-5 or LoRA, 15 %).

    web: share of questions about pictures in the second stage (0.5 as in RT-2), when the run is given web data.
    target: weights of the data sets in the last stage, such as (0, 1) for the second only. robots: those that the last
    stage trains, of a model that several share; all when empty.
    """
    specialise = Mixture(sources=target, robots=robots)
    return Recipe(
        "three-stage",
        (
            Stage("align", 0.05, 1e-3, ("*",), freeze=("@vision", "@language")),
            Stage("co-fine-tune", 0.80, 2e-5, ("*",), data=Mixture(web=web)),
            Stage("specialise", 0.15, 1e-5, None if lora else ("*",), lora=lora, data=specialise),
        ),
    )


def unfreeze() -> Recipe:
    """For a pretrained model: the head for 5 epochs at 1e-3, the top two layers with it for 10 at 1e-4, all for 20 at 1e-5."""
    return Recipe(
        "unfreeze",
        (
            Stage("head", 5, 1e-3, ("@head",)),
            Stage("top", 10, 1e-4, ("@head", "@top2")),
            Stage("all", 20, 1e-5, ("*",)),
        ),
        epochs=35,
    )


def head_only() -> Recipe:
    """All but the action head stays as it is."""
    return Recipe("head", (Stage("head", train=("@head",)),))


def lora(rank: int = 32) -> Recipe:
    """Adapters beside every linear layer, and the head; merged at the end."""
    return Recipe("lora", (Stage("lora", lora=Lora(rank, float(rank)), train=("@lora", "@head")),))


def co_train(web: float = 0.5) -> Recipe:
    """Robot frames and questions about pictures in every batch, all parameters (RT-2, arXiv 2307.15818)."""
    return Recipe("co-train", (Stage("co-train", data=Mixture(web=web)),))


def video() -> Recipe:
    """Predict the pictures to come, without actions, then pictures and actions together (GR-1, arXiv 2312.13139; GR-2,
    arXiv 2410.06158). The shares are ours; they pre-train on other videos, and far longer."""
    return Recipe("video", (Stage("watch", 0.3, actions=False), Stage("act", 0.7)))


RECIPES: dict[str, Callable[[], Recipe]] = {
    "one-stage": one_stage, "three-stage": three_stage, "unfreeze": unfreeze, "head": head_only, "lora": lora,
    "co-train": co_train, "video": video,
}  # fmt: skip


def recipe(name: str, web: float | None = None) -> Recipe:
    """The recipe called `name`. web: share of questions in the stages that learn from the robot and the web alike: the
    second of three-stage, all of the others. Raises `UnknownName`."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    made = RECIPES[name]()
    return made if web is None else three_stage(web) if name == "three-stage" else with_data(made, web=web)


def with_data(plan: Recipe, **changes: Any) -> Recipe:
    """The recipe with these fields of every stage's `Mixture` changed; a stage without one draws frames evenly."""
    even = Mixture(temperature=1.0)
    stages = tuple(replace(s, data=replace(s.data or even, **changes)) for s in plan.stages)
    return replace(plan, stages=stages)
