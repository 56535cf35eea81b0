"""`--env.type=palmar`: a task at a simulated robot of palmar."""

from dataclasses import dataclass, field
from typing import Any

from gymnasium.envs.registration import register, registry
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from palmar.choices import SPLITS
from palmar.errors import BadValue, UnknownName
from palmar.ranges import DAY, STRENGTH
from palmar.robots import robot as robot_named
from palmar.sim import tasks

GYM_ID = "palmar/LeRobotTable-v0"

if GYM_ID not in registry:  # no wrapper around it: LeRobot 0.4 looks for the task's words on the environment itself
    register(
        id=GYM_ID,
        entry_point="lerobot_env_palmar.environment:LeRobotTable",
        order_enforce=False,
        disable_env_checker=True,
    )


@EnvConfig.register_subclass("palmar")
@dataclass
class PalmarEnvConfig(EnvConfig):
    """task, robot: of palmar (docs/robots.md). split: seen, layout (tables that no training has), pair, wording. strength: how far
    the worlds differ from the nominal one, 0 … 2. timeout: [s] of an episode. action_space: of the robot, "" for its own.

    The seed of an episode is the number of its table, so that `--seed=S --env.split=layout` plays the tables that
    `palmar eval --split layout --seed S` plays.
    """

    task: str | None = "reach"
    robot: str = "arm7"
    split: str = "layout"
    strength: float = 0.0
    timeout: float = 15.0
    action_space: str = ""
    fps: int = 10
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        body = robot_named(self.robot)
        if self.action_space:
            if self.action_space not in body.action_spaces:
                raise UnknownName(f"action space of {self.robot}", self.action_space, body.action_spaces)
            body = body.with_action_space(self.action_space)  # type: ignore[arg-type]
        if not self.task or "," in self.task or self.task == "all":
            raise BadValue(
                f"task is '{self.task or ''}'; expected one task. Next: --env.task=reach, and a run for each task"
            )
        tasks.chosen((self.task,), self.robot)
        if self.split not in SPLITS:
            raise UnknownName("split", self.split, SPLITS)
        for name, value, limits in (("strength", self.strength, STRENGTH), ("timeout", self.timeout, DAY)):
            if value not in limits:
                raise BadValue(f"{name} is {value}; expected {limits}. Next: --env.{name} within it")
        self.fps = round(body.policy_rate)
        shapes = {ACTION: (FeatureType.ACTION, (len(body.action_names),), ACTION),
                  "agent_pos": (FeatureType.STATE, (len(body.state_names),), OBS_STATE)}  # fmt: skip
        for camera in body.cameras:
            key = f"{OBS_IMAGES}.{camera.name}"
            shapes[f"pixels/{camera.name}"] = (FeatureType.VISUAL, (camera.height, camera.width, 3), key)
        self.features = {name: PolicyFeature(type=kind, shape=shape) for name, (kind, shape, _) in shapes.items()}
        self.features_map = {name: key for name, (_, _, key) in shapes.items()}

    @property
    def package_name(self) -> str:
        return "lerobot_env_palmar"

    @property
    def gym_id(self) -> str:
        return GYM_ID

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return {
            "task": self.task, "robot": self.robot, "split": self.split, "strength": self.strength, "timeout": self.timeout,
            "action_space": self.action_space, "render_mode": "rgb_array",
        }  # fmt: skip
