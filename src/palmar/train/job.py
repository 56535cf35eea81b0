"""What a training run works with and does not change: data lane by lane, the model's configuration, the questions.

A lane is one robot's data. A run has one, of the robot that its interface describes, or more for a model that several
robots share: every step trains the head of one of them and the body of all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from torch import nn

from palmar.adapters.pretrained import begin_from, like
from palmar.data.language import Paraphrases
from palmar.data.mixture import Mixture
from palmar.data.normalize import Normalizer
from palmar.data.split import OTHERS, TRAINED_ON
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.assets import nameless
from palmar.models.base import Batch, Model, ModelConfig, blank
from palmar.train import sharded
from palmar.train.feed import Feed, Source, rng_of
from palmar.train.losses import Objective, jiggled, mixed, own_loss
from palmar.train.recipe import Recipe
from palmar.train.resume import digest, fingerprint
from palmar.train.run import Run, TrainConfig
from palmar.train.web import speaker
from palmar.train.world import World, seed
from palmar.types import Array

if TYPE_CHECKING:
    from palmar.data.webdata import WebData

# may differ when a run is resumed
HARMLESS = ("threads", "checkpoint_minutes", "validate", "log_every", "device", "shard")
FAINT = 2e-3  # [m] or [rad] a step
C = TypeVar("C")


@dataclass(frozen=True)
class Lane:
    """One robot's frames and how its numbers are normalised. robot: its name in the model, "" for the interface's own."""

    robot: str
    feed: Feed
    state: Normalizer
    action: Normalizer
    importance: Array

    def view(self, model: Model) -> Model:
        """The model as this robot sees it: the same weights."""
        return model.as_robot(self.robot) if self.robot else model

    def mixture(self, given: Mixture | None) -> Mixture | None:
        """Weights of sources, tasks and losses, and the curriculum, are the first lane's; the others share its temperature."""
        return given if given is None or not self.robot else Mixture(given.temperature)

    def batch(self, raw: Mapping[str, Any], config: TrainConfig, step: int) -> Batch:
        """Tensors of a training step on the device, changed as the augmentation says."""
        augment = config.augment
        batch = self.feed.tensors(raw, self.state, self.action, self.importance, augment, config.device)
        if augment is not None and augment.mixup:
            batch = mixed(batch, augment.mixup, raw["family"], rng_of(config.seed, step, 9))
        if augment is not None and augment.action_noise:
            batch = jiggled(batch, augment.action_noise)
        return batch


@dataclass
class Job:
    """Everything a run needs that does not change, and the run. normalizers: as a checkpoint holds them, those of robots
    that --init knew and that are not trained now among them. root: what gathers sharded weights. took: parts that
    have published weights. trained_on: digests of the episodes seen, those of --init among them (`data.split`)."""

    lanes: tuple[Lane, ...]
    run: Run
    model_config: ModelConfig
    interface: Interface
    normalizers: dict[str, Normalizer]
    about: dict[str, Any]
    web: WebData | None = None
    objective: Objective = own_loss
    world: World = field(default_factory=World)
    root: nn.Module | None = None
    took: Sequence[str] = ()
    trained_on: Sequence[str] = ()

    @classmethod
    def start(
        cls,
        model_config: ModelConfig,
        sets: Sequence[Source],
        config: TrainConfig,
        recipe: Recipe,
        *,
        web: WebData | None = None,
        others: Mapping[str, Sequence[Source]] | None = None,
        dt: float | None = None,
        embodiment: str = "",
        paraphrases: Paraphrases | None = None,
        init: str | Path | None = None,
        pretrained: str | Path | None = None,
        going_on: bool = False,
    ) -> Job:
        """As `train`, which says what is what. going_on: the weights are about to come from the run's own file."""
        if pretrained is not None:
            model_config = like(model_config, pretrained)

        def feed_of(given: Sequence[Source]) -> Feed:
            return Feed(
                given, config.horizon, seed=config.seed, validation=config.validation, paraphrases=paraphrases,
                max_tokens=model_config.max_tokens, augment=config.augment, success_only=config.success_only,
                offsets=model_config.offsets,
            )  # fmt: skip

        feed = feed_of(sets)
        step_time = dt if dt is not None else 1.0 / float(getattr(sets[0], "fps", 10.0))
        interface = feed.interface(config.horizon, step_time)
        if embodiment:
            interface = replace(interface, embodiment=embodiment)
        if config.smoothing:
            model_config = smoothed(model_config, config.smoothing)
        seed(config.seed)
        if init is None and not going_on:
            model = model_config.build(interface)
        else:
            with blank():
                model = model_config.build(interface)
        took = begin_from(model, pretrained) if pretrained is not None and not going_on else []
        kept = {} if init is None else start_from(model, init)
        lanes = [lane_of("", feed, model, kept)]
        for robot, more in (others or {}).items():
            lanes.append(lane_of(robot, feed_of(more), model.as_robot(robot), kept))
        for lane in lanes:
            if not kept.keys() & named(lane).keys():  # a head that is new
                lane.view(model).fit(lane.feed.moves, lane.action)
        check_web(model, recipe, web)
        check_video(model_config, recipe)
        for stage in recipe.stages:
            if stage.data is not None:
                stage.data.probabilities(feed.groups)
                stage.data.lanes(names_of(lanes, interface))
        root = sharded.shard(model, config.device) if config.shard else None
        if root is None:
            model.to(config.device)
        normalizers = kept | {k: n for lane in lanes for k, n in named(lane).items()}
        about = {k: v for k, v in asdict(config).items() if k not in HARMLESS} | {
            "augment": config.augment.settings() if config.augment is not None else None,
            "model": nameless(model_config),
            "recipe": asdict(recipe),
            "interface": asdict(interface),
            "normalization (init=)": digest(json.dumps({k: n.to_dict() for k, n in normalizers.items()})),
            "wording": digest("\n".join(t for lane in lanes for t in lane.feed.wordings.texts)),
            "frames": sum(len(lane.feed.training) for lane in lanes),
            "data": {str(i): fingerprint(s) for i, s in enumerate(s for lane in lanes for s in lane.feed.sets)},
        }  # fmt: skip
        run = Run(model, config, recipe)
        before = () if init is None else checkpoint.read_config(init)[3].get(TRAINED_ON, (OTHERS,))
        trained_on = list(dict.fromkeys([*before, *(d for lane in lanes for d in lane.feed.trained_on)]))
        return cls(
            tuple(lanes),
            run,
            model_config,
            interface,
            normalizers,
            about,
            web,
            root=root,
            took=took,
            trained_on=trained_on,
        )

    @property
    def names(self) -> list[str]:
        """Of the robots, lane by lane: what a mixture's `robots` and the log call them."""
        return names_of(self.lanes, self.interface)

    def view(self, lane: Lane) -> Model:
        """The model as a lane's robot sees it, to compute with."""
        seen = lane.view(cast(Model, self.run.model))
        return seen if self.root is None else cast(Model, sharded.Gathering(self.root, seen))

    def trained(self) -> list[int]:
        """The lanes that the present stage trains."""
        mixture = self.run.now.data
        return list(range(len(self.lanes))) if mixture is None else mixture.lanes(self.names)

    def lane(self, step: int) -> int:
        """Which robot a step trains: p ∝ frames^(1/T) over those of the stage's mixture, T the mixture's or 1."""
        chosen, mixture = self.trained(), self.run.now.data
        if len(chosen) == 1:
            return chosen[0]
        frames = np.array([len(self.lanes[i].feed.training) for i in chosen], float)
        p = frames ** (1 / (mixture.temperature if mixture is not None else 1.0))
        return chosen[int(rng_of(self.run.config.seed, step, 6).choice(len(p), p=p / p.sum()))]


def names_of(lanes: Sequence[Lane], interface: Interface) -> list[str]:
    """The robot of the interface is called as its embodiment, or "own" where that is not known."""
    return [lane.robot or interface.embodiment or "own" for lane in lanes]


def named(lane: Lane) -> dict[str, Normalizer]:
    """`state` and `action`, of another robot `state:ROBOT` and `action:ROBOT`."""
    end = f":{lane.robot}" if lane.robot else ""
    return {f"state{end}": lane.state, f"action{end}": lane.action}


def lane_of(robot: str, feed: Feed, view: Model, kept: Mapping[str, Normalizer]) -> Lane:
    """With the normalisers of the checkpoint that it starts from. Raises `BadValue` when the data are not what the robot
    speaks: names, picture sizes, rate."""
    face, fps = view.interface, float(getattr(feed.sets[0], "fps", 0.0))
    ours = feed.interface(face.horizon, face.dt)
    for what in ("cameras", "state_names", "action_names"):
        if (mine := getattr(ours, what)) != (theirs := getattr(face, what)):
            raise BadValue(
                f"data for robot '{robot}' has {what} {mine}; the model expects {theirs}. Next: data recorded for that robot, "
                "or made alike (palmar.data.mapped.MappedData)"
            )
    if robot and fps and abs(fps * face.dt - 1) > 0.01:
        raise BadValue(
            f"data for robot '{robot}' was recorded at {fps:g} Hz, the first at {1 / face.dt:g}. Next: one rate for all"
        )
    lane = Lane(robot, feed, *fit_normalizers(feed))
    state, action = (kept.get(name, mine) for name, mine in named(lane).items())
    return replace(lane, state=state, action=action)


def fit_normalizers(feed: Feed) -> tuple[Normalizer, Normalizer, Array]:
    """State and action normalisers from the training frames, and float32[A], how much each action dimension counts.

    A dimension that never moves counts nothing. One that hardly does (std below FAINT: the expert's tiny corrections of
    a rotation that is otherwise constant) counts a tenth: at unit scale its noise would weigh as much as the way to go.
    """
    states, actions = np.concatenate([s.states for s in feed.sets])[feed.training], feed.moves
    state = Normalizer.fit(states, names=feed.sets[0].state_names)
    action = Normalizer.fit(actions, names=feed.sets[0].action_names)
    importance = np.where(actions.std(0) < FAINT, 0.1, 1.0).astype(np.float32)
    importance[action.constant] = 0.0
    return state, action, importance if importance.any() else np.ones_like(importance)


def start_from(model: Model, init: str | Path) -> dict[str, Normalizer]:
    """Copy the weights of a checkpoint into `model`; its normalisers, by name. Raises `BadValue` when they differ."""
    policy = checkpoint.load(init)
    for what in ("cameras", "state_names", "action_names", "horizon", "offsets"):
        theirs, ours = getattr(policy.interface, what), getattr(model.interface, what)
        if theirs != ours:
            raise BadValue(f"checkpoint '{init}' has {what} {theirs}, the data has {ours}. Next: train without --init")
    its, mine = (nameless(c) | {"weights": 0} for c in (policy.model.config, model.config))  # losses may weigh anew
    if its != mine:
        theirs, ours = policy.model.config.preset, model.config.preset
        differs = "the same preset with other settings" if theirs == ours else f"a '{theirs}', asked for '{ours}'"
        raise BadValue(f"checkpoint '{init}' is {differs}. Next: palmar train {theirs} --init {init}")
    model.load_state_dict(policy.model.state_dict())
    return {k: Normalizer.from_dict(n) for k, n in checkpoint.read_config(init)[2].items()}


def check_web(model: Model, recipe: Recipe, web: WebData | None) -> None:
    """Raises `BadValue` when a stage wants questions and there are none, or the model cannot answer them."""
    wants = next((s for s in recipe.stages if s.data is not None and s.data.web > 0), None)
    if wants is not None and wants.data is not None and web is None:
        raise BadValue(
            f"stage '{wants.name}' of recipe '{recipe.name}' takes {100 * wants.data.web:g} % of its batches from web data "
            "and none is given. Next: palmar questions --out FOLDER, then --web FOLDER"
        )
    if web is not None:
        speaker(model)


def check_shard(recipe: Recipe, own_loss: bool) -> None:
    """Raise `BadValue` for what would have the processes pass through the model unequally often, and wait for ever."""
    weighed = next((s.name for s in recipe.stages if s.data is not None and s.data.losses), None)
    if weighed is not None:
        raise BadValue(
            f"stage '{weighed}' weighs the losses of tasks, which sharded weights cannot do: each process would pass through "
            "the model as often as its rows have weights. Next: Mixture(tasks=...) to draw them more often, or without --shard"
        )
    if not own_loss:
        raise BadValue(
            "sharded weights learn from the model's own loss only, and another objective is given. Next: without --shard"
        )


def check_video(config: ModelConfig, recipe: Recipe) -> None:
    """Raises `BadValue` when a stage hides the actions from a model that has nothing else to learn from pictures."""
    hides = next((s for s in recipe.stages if not s.actions), None)
    if hides is not None and getattr(config, "video", None) is None:
        raise BadValue(
            f"stage '{hides.name}' of recipe '{recipe.name}' shows no actions, and '{getattr(config, 'preset', config)}' "
            "predicts no pictures to learn from. Next: gr2, or a VLAConfig with video="
        )


def smoothed(config: C, value: float) -> C:
    """The configuration with every field called label_smoothing at `value`. Raises `BadValue` when there is none."""

    def inside(part: Any) -> tuple[Any, int]:
        if not is_dataclass(part) or isinstance(part, type):
            return part, 0
        changed: dict[str, Any] = {}
        found = 0
        for f in fields(part):
            if f.name == "label_smoothing":
                changed[f.name], found = value, found + 1
            else:
                new, n = inside(getattr(part, f.name))
                if n:
                    changed[f.name], found = new, found + n
        return replace(part, **changed) if changed else part, found

    out, found = inside(config)
    if not found:
        raise BadValue(
            f"'{getattr(config, 'preset', config)}' has no head that classifies; smoothing has nothing to smooth"
        )
    return out
