"""What a training run works with and does not change: data robot by robot, the model's configuration, the questions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import nn

from palmar.adapters.pretrained import begin_from, like
from palmar.data.language import Paraphrases, Wordings
from palmar.data.mapped import interface_of
from palmar.data.normalize import Normalizer
from palmar.data.split import OTHERS, said_episodes
from palmar.data.trained_tasks import said_tasks
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.assets import without_names
from palmar.models.base import Model, ModelConfig, skip_pretrained
from palmar.train import sharded
from palmar.train.begin import in_order, start_from
from palmar.train.checks import check_video, check_web, smoothed
from palmar.train.feed import Feed, Source, rng_of
from palmar.train.losses import Objective, own_loss
from palmar.train.request import TrainRequest
from palmar.train.resume import digest, fingerprint
from palmar.train.robot_data import RobotData, named, names_of, robot_data_of
from palmar.train.run import Run
from palmar.train.world import World, seed

if TYPE_CHECKING:
    from palmar.data.webdata import WebData

# may differ when a run is resumed
HARMLESS = ("threads", "checkpoint_minutes", "validate", "log_every", "device", "shard")


@dataclass
class Job:
    """Everything a run needs that does not change, and the run. normalizers: as a checkpoint holds them, those of robots
    that --init knew and that are not trained now among them. root: what gathers sharded weights. notes: what was
    done that a person should know, in words. trained_on: digests of the episodes seen, those of --init among them
    (`data.split`). trained_tasks: names of the tasks, likewise (`data.trained_tasks`)."""

    robots_data: tuple[RobotData, ...]
    run: Run
    model_config: ModelConfig
    interface: Interface
    normalizers: dict[str, Normalizer]
    about: dict[str, Any]
    web: WebData | None = None
    objective: Objective = own_loss
    world: World = field(default_factory=World)
    root: nn.Module | None = None
    notes: Sequence[str] = ()
    trained_on: Sequence[str] = ()
    trained_tasks: Sequence[str] = ()

    @classmethod
    def start(cls, request: TrainRequest, folder: Path | None = None) -> Job:
        """folder: of the run to go on with, whose weights are about to come from its own file."""
        config, recipe = request.config, request.recipe
        init = None if request.init is None else Path(request.init)
        if init is not None:
            checkpoint.check(init)
        going_on = folder is not None
        begun_from = init if init is not None else folder
        before = None if begun_from is None else interface_at(begun_from)
        sets = in_order(request.sets, before)
        order = before if before is not None or not len(sets[0]) else interface_of(sets[0])
        others = {
            robot: in_order(more, robot_interface(order, request.model, robot))
            for robot, more in request.others.items()
        }
        model_config = request.model if request.pretrained is None else like(request.model, request.pretrained)
        texts = wordings([*sets, *(s for more in others.values() for s in more)], request.paraphrases)
        model_config, notes = read_whole(model_config, texts)

        def feed_of(given: Sequence[Source]) -> Feed:
            return Feed(
                given, config.horizon, seed=config.seed, validation=config.validation, paraphrases=request.paraphrases,
                max_tokens=model_config.max_tokens, augment=config.augment, success_only=config.success_only,
                offsets=model_config.offsets,
            )  # fmt: skip

        feed = feed_of(sets)
        step_time = request.dt if request.dt is not None else 1.0 / float(getattr(sets[0], "fps", 10.0))
        interface = feed.interface(config.horizon, step_time)
        if request.embodiment:
            interface = replace(interface, embodiment=request.embodiment)
        if config.smoothing:
            model_config = smoothed(model_config, config.smoothing)
        seed(config.seed)
        if init is None and not going_on:
            model = model_config.build(interface)
        else:
            with skip_pretrained():
                model = model_config.build(interface)
        if request.pretrained is not None and not going_on:
            took = begin_from(model, request.pretrained)
            notes += [f"published weights: {', '.join(took)}; the rest begins anew"] if took else []
        kept = {} if init is None else start_from(model, init, texts)
        if request.normalizer == "new":
            notes.append(f"the normaliser of '{init}' is not kept: it is fitted to these data anew (--normalizer new)")
        used = {} if request.normalizer == "new" else kept
        wanted = (used, str(init), request.normalizer == "keep")
        robots_data = [robot_data_of("", feed, model, *wanted)]
        for robot, more in others.items():
            robots_data.append(robot_data_of(robot, feed_of(more), model.as_robot(robot), *wanted))
        misfits = [text for robot_data in robots_data for text in robot_data.misfits]
        notes += [f"the normaliser of '{init}' is kept (--normalizer keep): {text}" for text in misfits]
        for robot_data in robots_data:
            if not used.keys() & named(robot_data).keys():  # a head that is new, or one whose numbers are
                robot_data.view(model).fit(robot_data.feed.moves, robot_data.action)
        check_web(model, recipe, request.web)
        check_video(model_config, recipe)
        for stage in recipe.stages:
            if stage.data is not None:
                stage.data.probabilities(feed.groups)
                stage.data.trained_robots(names_of(robots_data, interface))
        root = sharded.shard(model, config.device) if config.shard else None
        if root is None:
            model.to(config.device)
        normalizers = kept | {k: n for robot_data in robots_data for k, n in named(robot_data).items()}
        about = {k: v for k, v in asdict(config).items() if k not in HARMLESS} | {
            "augment": config.augment.settings() if config.augment is not None else None,
            "model": without_names(model_config),
            "recipe": asdict(recipe),
            "interface": asdict(interface),
            "order of cameras": list(interface.cameras),
            "normalization (init=)": digest(json.dumps({k: n.to_dict() for k, n in normalizers.items()})),
            "wording": digest("\n".join(t for robot_data in robots_data for t in robot_data.feed.wordings.texts)),
            "frames": sum(len(robot_data.feed.training) for robot_data in robots_data),
            "data": {str(i): fingerprint(s) for i, s in enumerate(s for robot_data in robots_data for s in robot_data.feed.sets)},
        }  # fmt: skip
        info = None if init is None else checkpoint.read_config(init)[3]
        seen = () if info is None else said_episodes(info)
        seen = (OTHERS,) if seen is None else seen
        earlier = () if info is None else said_tasks(info)
        bind = getattr(request.objective, "bound", None)  # a teacher's chunk is compared in the student's scale
        objective: Objective = request.objective if bind is None else bind(robots_data[0].action)
        return cls(
            tuple(robots_data), Run(model, config, recipe), model_config, interface, normalizers, about, request.web,
            objective, root=root, notes=notes,
            trained_on=list(dict.fromkeys([*seen, *(d for robot_data in robots_data for d in robot_data.feed.trained_on)])),
            trained_tasks=sorted({*earlier, *(t for robot_data in robots_data for t in robot_data.feed.trained_tasks)}),
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Of the robots, robot by robot: what a mixture's `robots` and the log call them."""
        return names_of(self.robots_data, self.interface)

    def view(self, robot_data: RobotData) -> Model:
        """The model as a robot's robot sees it, to compute with."""
        seen = robot_data.view(cast(Model, self.run.model))
        return seen if self.root is None else cast(Model, sharded.Gathering(self.root, seen))

    def trained(self) -> list[int]:
        """The robots_data that the present stage trains."""
        mixture = self.run.now.data
        return list(range(len(self.robots_data))) if mixture is None else mixture.trained_robots(self.names)

    def robot_of(self, step: int) -> int:
        """Which robot a step trains: p ∝ frames^(1/T) over those of the stage's mixture, T the mixture's or 1."""
        chosen, mixture = self.trained(), self.run.now.data
        if len(chosen) == 1:
            return chosen[0]
        frames = np.array([len(self.robots_data[i].feed.training) for i in chosen], float)
        p = frames ** (1 / (mixture.temperature if mixture is not None else 1.0))
        return chosen[int(rng_of(self.run.config.seed, step, 6).choice(len(p), p=p / p.sum()))]


def interface_at(path: Path) -> Interface | None:
    """Of a checkpoint, or of a run that has saved one; None of a run that has not."""
    if path.is_dir() and not (path / checkpoint.CONFIG).exists():
        return None
    return checkpoint.read_interface(path)


def robot_interface(before: Interface | None, config: ModelConfig, robot: str) -> Interface | None:
    """The order in which another robot that shares the model wants its data: cameras as the first, names as in the model."""
    named = next((r for r in getattr(config, "robots", ()) if r.name == robot), None)
    if named is None or before is None:
        return None
    return replace(
        before, state_names=named.state_names, action_names=named.action_names, state_units=(), action_units=()
    )


def wordings(sets: Sequence[Source], paraphrases: Paraphrases | None) -> tuple[str, ...]:
    """Every instruction that training may use."""
    return Wordings.of(list(dict.fromkeys(t for s in sets for t in s.tasks)), paraphrases).texts


def read_whole(config: ModelConfig, texts: Sequence[str]) -> tuple[ModelConfig, list[str]]:
    """The configuration that reads every instruction whole, and what was changed for it, in words."""
    able = config.for_texts(texts)
    if able == config:
        return config, []
    was, now = flat(without_names(config)), flat(without_names(able))
    changed = ", ".join(f"{name} is {now[name]} instead of {was[name]}" for name in now if now[name] != was.get(name))
    return able, [f"some instructions are longer than '{config.preset}' reads, and none is cut: {changed}"]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested dictionaries."""
    if not isinstance(value, Mapping):
        return {path: value}
    return {k: v for name, part in value.items() for k, v in flat(part, f"{path}.{name}" if path else name).items()}
