"""Demonstrations in joint space: the action of a frame is where the joints were a frame later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.types import Array


class JointTargets:
    """A data set of another action space (such as `ee_delta`) as one of absolute commands of a robot's channels.

    What the robot did is what is imitated, as is usual where no leader arm was recorded: a joint channel is commanded to
    where it was measured a frame later, the last frame of an episode holds its position; other channels (openings, speeds)
    keep the command of their name. Raises `BadValue` when the state lacks the position of a joint, or the actions another
    channel. source: the set inside.
    """

    def __init__(self, source: Any, robot: Embodiment) -> None:
        self.source = source
        self.action_names = robot.channel_names
        measured = {m.of: m.name for m in robot.state if m.quantity == "position"}
        states, actions = list(source.state_names), list(source.action_names)
        columns: list[tuple[bool, int]] = []
        for c in robot.channels:
            name = measured.get(c.name, c.name) if c.moves_joint else c.name
            there = states if c.moves_joint else actions
            if name not in there:
                what = "states" if c.moves_joint else "actions"
                raise BadValue(
                    f"the {what} of {_name(source)} have no {name} (they have {', '.join(there)}), so no targets can be made. "
                    f"Next: data of {robot.name} with it, or without this set (palmar train --others)"
                )
            columns.append((c.moves_joint, there.index(name)))
        for name in ("cameras", "state_names", "privileged_names", "tasks", "episodes", "states"):
            setattr(self, name, getattr(source, name))
        self.fps = getattr(source, "fps", 10.0)
        self.robot_type = getattr(source, "robot_type", "")
        now, asked = np.asarray(source.states), np.asarray(source.actions)
        later = np.concatenate([now[1:], now[-1:]])
        ends = np.array([int(e.stop) - 1 for e in source.episodes], np.int64)
        later[ends] = now[ends]
        made = [later[:, i] if joint else asked[:, i] for joint, i in columns]
        self.actions: Array = np.stack(made, 1).astype(np.float32)
        self._end = np.zeros(len(now), np.int64)
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
