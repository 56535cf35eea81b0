"""What is known of all joints, from messages that may each tell some of them."""

from __future__ import annotations

import numpy as np

from palmar.embodiments import Embodiment
from palmar.runtime.ros2.messages import Joints
from palmar.types import Array


class Merged:
    """The newest position, velocity and effort of every channel, float64[N] in its unit, NaN where nothing told it; captured: when
    [s], -inf where not yet. A velocity that no message holds is the change since the last one."""

    def __init__(self, robot: Embodiment) -> None:
        self.robot = robot
        n = len(robot.channels)
        self.position, self.velocity, self.effort = (np.full(n, np.nan) for _ in range(3))
        self.captured = np.full(n, -np.inf)

    def take(self, joints: Joints, captured: float) -> bool:
        """What a message says that was captured then [s]; False for one that is not newer than what is known."""
        here = joints.channels
        passed = captured - self.captured[here]
        if not (passed > 0).all():
            return False
        now = self.position.copy()
        now[here] = joints.position
        moves = np.isnan(joints.velocity) & ~self.robot.speeds[here] & np.isfinite(passed)
        rate = self.robot.difference(now, self.position)[here] / passed
        self.velocity[here] = np.where(moves, rate, joints.velocity)
        self.position, self.captured[here] = now, captured
        self.effort[here] = joints.effort
        return True

    def state(self) -> Array:
        """float32[S], with the poses of the frames by the robot's own kinematics; a velocity that is not known is 0."""
        velocity = np.where(np.isnan(self.velocity), 0.0, self.velocity)
        return self.robot.state_from(self.position, velocity, self.effort).astype(np.float32)
