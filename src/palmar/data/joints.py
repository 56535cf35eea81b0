"""Demonstrations in joint space: the action of a frame is where the joints were a frame later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.types import Array


class InJoints:
    """A data set of another action space (such as `ee_delta`) as one of joint targets [rad] and the gripper command, 0 … 1.

    What the arm did is what is imitated, as is usual where no leader arm was recorded. The last frame of an episode holds
    its position. Raises `BadValue` when the state has no `JOINT.pos` of the robot, or the actions no gripper.
    """

    def __init__(self, source: Any, robot: Embodiment) -> None:
        self.source = source
        self.action_names = robot.channel_names
        wanted = [f"{j}.pos" for j in robot.frame().joints]
        states, actions = list(source.state_names), list(source.action_names)
        if lacking := [n for n in wanted if n not in states]:
            raise BadValue(
                f"the states of {_name(source)} have no {', '.join(lacking)} (they have {', '.join(states)}), so no targets can "
                f"be made. Next: data of {robot.name} with its joint positions, or without this set (palmar train --others)"
            )
        if "gripper" not in actions:
            raise BadValue(
                f"the actions of {_name(source)} have no gripper (they have {', '.join(actions)}), so no targets can be made. "
                f"Next: data of {robot.name} with its gripper command, or without this set (palmar train --others)"
            )
        for name in ("cameras", "state_names", "privileged_names", "tasks", "episodes", "states"):
            setattr(self, name, getattr(source, name))
        self.fps = getattr(source, "fps", 10.0)
        self.robot_type = getattr(source, "robot_type", "")
        joints = np.asarray(source.states)[:, [states.index(n) for n in wanted]]
        later = np.concatenate([joints[1:], joints[-1:]])
        ends = np.array([int(e.stop) - 1 for e in source.episodes], np.int64)
        later[ends] = joints[ends]
        grip = np.asarray(source.actions)[:, [actions.index("gripper")]]
        self.actions: Array = np.concatenate([later, grip], 1).astype(np.float32)
        self._end = np.zeros(len(joints), np.int64)
        for e in source.episodes:
            self._end[int(e.start) : int(e.stop)] = int(e.stop) - 1

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, indices: Array, horizon: int, **more: Any) -> Mapping[str, Any]:
        """As `Dataset.batch`, with joint targets."""
        at = np.minimum(np.asarray(indices)[:, None] + np.arange(horizon), self._end[indices][:, None])
        return dict(self.source.batch(indices, horizon, **more)) | {"actions": self.actions[at]}


def _name(source: Any) -> str:
    """Whose states they are."""
    return f"'{source.root}'" if getattr(source, "root", None) is not None else "the data set"
