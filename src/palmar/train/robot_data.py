"""One robot's data in a run, and how its numbers are normalised.

A run has one robot_data, of the robot that its interface describes, or more for a model that several robots share: every step
trains the head of one of them and the body of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.data.mixture import Mixture
from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Batch, Model
from palmar.train.feed import Feed, rng_of
from palmar.train.losses import jiggled, mixed
from palmar.train.run import TrainConfig
from palmar.train.scale import misfit
from palmar.types import Array


@dataclass(frozen=True)
class RobotData:
    """One robot's frames and how its numbers are normalised. robot: its name in the model, "" for the interface's own.
    misfits: which of its numbers are of another scale than the normaliser that was kept, in words."""

    robot: str
    feed: Feed
    state: Normalizer
    action: Normalizer
    importance: Array
    misfits: tuple[str, ...] = ()

    def view(self, model: Model) -> Model:
        """The model as this robot sees it: the same weights."""
        return model.as_robot(self.robot) if self.robot else model

    def mixture(self, given: Mixture | None) -> Mixture | None:
        """Weights of sources, tasks and losses, and the curriculum, are the first robot's; the others share its temperature."""
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


def names_of(robots_data: Sequence[RobotData], interface: Interface) -> list[str]:
    """The robot of the interface is called as its embodiment, or "own" where that is not known."""
    return [robot_data.robot or interface.embodiment or "own" for robot_data in robots_data]


def named(robot_data: RobotData) -> dict[str, Normalizer]:
    """`state` and `action`, of another robot `state:ROBOT` and `action:ROBOT`."""
    end = f":{robot_data.robot}" if robot_data.robot else ""
    return {f"state{end}": robot_data.state, f"action{end}": robot_data.action}


def robot_data_of(
    robot: str, feed: Feed, view: Model, kept: Mapping[str, Normalizer], begun_from: str = "", misfit_ok: bool = False
) -> RobotData:
    """With the normalisers of the checkpoint `begun_from` where `kept` holds them. misfit_ok: also where the data are of another
    scale, which `RobotData.misfits` then says.

    Raises `BadValue` when the data are not what the robot's interface says (names in their order, picture sizes, rate), and
    when they are of another scale and that is not `misfit_ok`.
    """
    wanted, fps = view.interface, float(getattr(feed.sets[0], "fps", 0.0))
    ours = feed.interface(wanted.horizon, wanted.dt)
    for what, mine, theirs in (
        ("cameras", [*ours.cameras.items()], [*wanted.cameras.items()]),
        ("state_names", ours.state_names, wanted.state_names),
        ("action_names", ours.action_names, wanted.action_names),
    ):
        if mine != theirs:
            raise BadValue(
                f"data for robot '{robot}' has {what} {mine}; the model expects {theirs}. Next: data recorded for that robot, "
                "or made alike (palmar.data.mapped.MappedData)"
            )
    if robot and fps and abs(fps * wanted.dt - 1) > 0.01:
        raise BadValue(
            f"data for robot '{robot}' was recorded at {fps:g} Hz, the first at {1 / wanted.dt:g}. Next: one rate for all"
        )
    state, action, importance = fit_normalizers(feed)
    fitted = RobotData(robot, feed, state, action, importance)
    chosen: dict[str, Normalizer] = {}
    misfits: tuple[str, ...] = ()
    for (name, mine_fitted), names, values in zip(
        named(fitted).items(), (ours.state_names, ours.action_names), (feed.seen_states, feed.moves), strict=True
    ):
        chosen[name] = kept.get(name, mine_fitted)
        if name in kept and (wrong := misfit(names, kept[name].offset, kept[name].scale, values)):
            misfits += (f"{name}: {wrong}",)
            if misfit_ok:
                continue
            raise BadValue(
                f"the data are of another scale than checkpoint '{begun_from}' was trained on, whose normaliser is kept: "
                f"{name}: {wrong}. Next: convert the data where their units differ; where they do not, --normalizer keep for data "
                "that wander further, or --normalizer new to fit it to these data"
            )
    state, action = chosen.values()
    return RobotData(robot, feed, state, action, importance, misfits)


def fit_normalizers(feed: Feed) -> tuple[Normalizer, Normalizer, Array]:
    """State and action normalisers from the training frames, and float32[A], how much each action dimension counts: 0 for one
    that never moves, 1 for the others, whatever their unit and however small their numbers are."""
    state = Normalizer.fit(feed.seen_states, names=feed.sets[0].state_names)
    action = Normalizer.fit(feed.moves, names=feed.sets[0].action_names)
    importance = np.where(action.constant, 0.0, 1.0).astype(np.float32)
    return state, action, importance if importance.any() else np.ones_like(importance)
