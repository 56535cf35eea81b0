"""A small robot of one's own, and the ways in which a body of it can be wrong."""

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robot_parts import Camera, Channel
from palmar.types import Observation


def gadget() -> Embodiment:
    """Two joints, a gripper and a wheel; a camera of 32 × 24 px."""
    return Embodiment(
        "gadget",
        (
            Channel("shoulder", "revolute", "rad", -1.5, 1.5, 2.0, 10.0, 200.0, tolerance=0.4),
            Channel("elbow", "revolute", "rad", -0.2, 2.0, 2.0, 10.0, 200.0, home=0.5, tolerance=0.4),
            Channel("jaw", "opening", "range_0_100", 0.0, 100.0, 200.0, home=100.0),
            Channel("wheel", "velocity", "m/s", -0.5, 0.5, 0.5, 1.0, 10.0),
        ),
        cameras=(Camera("top", 24, 32),),
        control_rate=50.0,
        policy_rate=10.0,
    )


class Good:
    """Follows commands within a few ticks; its picture is noise."""

    def __init__(self, robot: Embodiment) -> None:
        self.embodiment = robot
        self.rng = np.random.default_rng(0)
        self.reset()

    def reset(self, seed: int | None = None) -> Observation:
        self.at = self.embodiment.home.copy()
        self.before, self.ticks = self.at.copy(), 0
        return self.observe()

    def observe(self, images: bool = True) -> Observation:
        measured, rate = self.measure(self.at), self.measure(self.at) - self.measure(self.before)
        state = self.embodiment.state_from(measured, rate * self.embodiment.control_rate).astype(np.float32)
        return Observation(
            {"top": self.picture()} if images else {}, state, "", self.ticks / self.embodiment.control_rate
        )

    def apply(self, command: np.ndarray) -> None:
        self.before = self.at.copy()
        self.at = self.at + 0.6 * (self.obey(np.asarray(command)) - self.at)
        self.ticks += 1

    def picture(self) -> np.ndarray:
        return self.rng.integers(0, 256, (24, 32, 3), np.uint8)

    def measure(self, at: np.ndarray) -> np.ndarray:
        return at

    def obey(self, command: np.ndarray) -> np.ndarray:
        return command

    def close(self) -> None:
        pass


class Swapped(Good):
    def obey(self, command):
        return command[[1, 0, 2, 3]]

    def reset(self, seed=None):
        self.at = np.array([0.5, 0.5, 100.0, 0.0])
        self.before, self.ticks = self.at.copy(), 0
        return self.observe()


class Inverted(Good):
    def measure(self, at):
        return at * [-1, 1, 1, 1]


class Degrees(Good):
    def measure(self, at):
        return at * [180 / np.pi, 1, 1, 1]


class DegreesFromTheStart(Good):
    def measure(self, at):
        return at * [1, 180 / np.pi, 1, 1]


class TakesDegrees(Good):
    def obey(self, command):
        return command * [np.pi / 180, 1, 1, 1]


class Percent(Good):
    def measure(self, at):
        return at * [1, 1, 0.01, 1]


class WheelBackwards(Good):
    def obey(self, command):
        return command * [1, 1, 1, -1]


class Frozen(Good):
    def picture(self):
        return np.full((24, 32, 3), 7, np.uint8)


class ClockStands(Good):
    def apply(self, command):
        super().apply(command)
        self.ticks = 0


class Milliseconds(Good):
    def apply(self, command):
        super().apply(command)
        self.ticks += 999


class Wide(Good):
    def observe(self, images=True):
        obs = super().observe(images)
        return Observation(obs.images, np.append(obs.state, 0.0).astype(np.float32), "", obs.time)


class Large(Good):
    def picture(self):
        return np.zeros((48, 64, 3), np.uint8)


class Raises(Good):
    def apply(self, command):
        if self.ticks == 40:
            raise OSError("the bus does not answer")
        super().apply(command)


class Sleeps(Good):
    """Takes 50 ms of the clock of a test to look."""

    clock = None

    def observe(self, images=True):
        if self.clock is not None:
            self.clock.wait_until(self.clock.now() + 0.05)
        return super().observe(images)


class Sags(Good):
    def observe(self, images=True):
        self.at = self.at - [0.03, 0, 0, 0]
        return super().observe(images)


class RollsOn(Good):
    """Its wheel turns when nobody says how fast."""

    silent = 0

    def observe(self, images=True):
        self.silent += 1
        if self.silent > 4:
            self.at = self.at * [1, 1, 1, 0] + [0, 0, 0, 0.3]
        return super().observe(images)

    def apply(self, command):
        self.silent = 0
        super().apply(command)


class NoNumber(Good):
    def measure(self, at):
        return at * [1, np.nan, 1, 1]


class SpeedsInDegrees(Good):
    def observe(self, images=True):
        obs = super().observe(images)
        state = obs.state.copy()
        state[[m.name == "elbow.vel" for m in self.embodiment.state]] *= 180 / np.pi
        return Observation(obs.images, state, "", obs.time)


class DoesNotClose(Good):
    def close(self):
        raise OSError("gone")


class NoApply:
    def __init__(self, robot):
        self.embodiment = robot

    def observe(self, images=True):
        return None

    def reset(self, seed=None):
        return None

    def close(self):
        pass


class OtherNames(Good):
    def __init__(self):
        other = gadget()
        channels = (Channel("hip", "revolute", "rad", -1.5, 1.5, 2.0), *other.channels[1:])
        super().__init__(Embodiment("other", channels, cameras=other.cameras))


class CannotConnect(Good):
    def __init__(self, robot):
        raise ConnectionError("no robot at 192.168.0.7")


class TakesTwo(Good):
    def __init__(self, robot, port):
        super().__init__(robot)


class Monotonic(Good):
    """Right, and stamps with a clock that began long ago."""

    def observe(self, images=True):
        obs = super().observe(images)
        return Observation(obs.images, obs.state, "", obs.time + 98_765.4)


class Alone(Good):
    """Needs no robot: it knows its own."""

    def __init__(self):
        super().__init__(gadget())
