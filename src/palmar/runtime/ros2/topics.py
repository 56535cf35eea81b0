"""Which topics a body of ROS 2 is on: `ros2:` with commas between `WHAT=TOPIC` and `rate=HZ`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName

ROS2 = "ros2:"
JOINT_STATES, JOINT_COMMANDS = "/joint_states", "/joint_commands"
INSTRUCTION, CAMERA = "/task_instruction", "/camera/image_raw"
MONITOR = "safety_monitor"
STOPPED = f"/{MONITOR}/stopped"
BY_MONITOR = "the safety monitor stopped it"
"""Reason of an E-STOP that the monitor's topic `stopped` told of."""
STATUS = "/palmar/status"
NODE_RATE = 10.0
"""Commands a second that `palmar ros2` sends [Hz]."""
SILENCE = 1.0
"""Longest time that the policy node and the monitor may be without a word of the other while the robot is driven [s]."""
_NAME = re.compile(r"/?([A-Za-z_][A-Za-z0-9_]*)(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Topics:
    """joint_states, joint_commands, stopped: topics. cameras: {camera of the robot: topic} where it is not the usual one.
    rate: commands a second that are sent, 0 for every one of the loop's [Hz]. silence: longest time without the safety monitor on
    `stopped`, without which nothing moves [s]; 0: there need be none."""

    joint_states: str = JOINT_STATES
    joint_commands: str = JOINT_COMMANDS
    stopped: str = STOPPED
    cameras: Mapping[str, str] = field(default_factory=dict)
    rate: float = 0.0
    silence: float = 0.0

    def camera(self, name: str, robot: Embodiment) -> str:
        """The topic of a camera: `/camera/image_raw` for the only one, `/NAME/image_raw` where there are several."""
        return self.cameras.get(name, CAMERA if len(robot.cameras) == 1 else f"/{name}/image_raw")

    def every(self, robot: Embodiment) -> int:
        """Each so many commands of the loop one is sent. Raises `BadValue` for a rate that does not divide the loop's."""
        if not self.rate:
            return 1
        every = round(robot.control_rate / self.rate)
        if every < 1 or abs(every * self.rate / robot.control_rate - 1) > 1e-6:
            raise BadValue(
                f"rate is {self.rate:g} Hz; {robot.name} is commanded at {robot.control_rate:g} Hz, expected that or a whole "
                f"part of it. Next: rate={robot.control_rate / max(every, 1):g}"
            )
        return every

    def check(self, robot: Embodiment) -> None:
        """Raise `UnknownName` for a camera that the robot lacks, `BadValue` for one topic in two places, and as `every`."""
        known = [c.name for c in robot.cameras]
        for name in self.cameras:
            if name not in known:
                said = [*SETTINGS, *known]
                raise UnknownName(f"setting of {ROS2} for {robot.name}", name, said)
        used = [self.joint_states, self.joint_commands, *(self.camera(c, robot) for c in known)]
        if twice := sorted(t for t, times in Counter(used).items() if times > 1):
            raise BadValue(
                f"'{self.where}': two of its topics are '{twice[0]}'; expected different ones. Next: name one"
            )
        self.every(robot)

    @property
    def where(self) -> str:
        """As `topics_of` reads it."""
        usual = Topics()
        words = [f"{n}={getattr(self, n)}" for n in SETTINGS[:3] if getattr(self, n) != getattr(usual, n)]
        words += [f"{n}={t}" for n, t in self.cameras.items()]
        words += [f"rate={self.rate!r}"] if self.rate else []
        return ROS2 + ",".join([*words, *([f"silence={self.silence!r}"] if self.silence else [])])

    @property
    def watched(self) -> dict[str, str]:
        """{what: topic} that the safety monitor and the policy node must have in common."""
        return {"joint_states": self.joint_states, "joint_commands": self.joint_commands}

    @property
    def robot(self) -> Topics:
        """Where the robot is, whatever the rate and the monitor."""
        return replace(self, rate=0.0, stopped=STOPPED, silence=0.0)

    def at(self, rate: float, silence: float) -> Topics:
        return replace(self, rate=rate, silence=silence)


SETTINGS = ("joint_states", "joint_commands", "stopped", "rate", "silence")


def topics_of(where: str) -> Topics:
    """The topics that `where` means. Raises `BadValue` for what is no setting, no name of a topic, or given twice."""
    given: dict[str, str] = {}
    for word in filter(None, where.removeprefix(ROS2).split(",")):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name or not value:
            raise BadValue(
                f"body '{where}' has '{word}'; expected WHAT=TOPIC with WHAT among {', '.join(SETTINGS)} and the robot's cameras. "
                f"Next: {ROS2}joint_states=/my/joint_states"
            )
        if name in given:
            raise BadValue(f"body '{where}' has '{name}' twice; expected it once. Next: leave one out")
        given[name] = value
    rate = _number(given.pop("rate", "0"), "rate", 1e5, "Hz", where)
    silence = _number(given.pop("silence", "0"), "silence", 3600, "seconds", where)
    for name, topic in given.items():
        check_topic(topic, name)
    named = {n: given.pop(n) for n in SETTINGS if n in given}
    return Topics(**named, cameras=given, rate=rate, silence=silence)


def check_topic(topic: str, what: str) -> None:
    """Raise `BadValue` unless `topic` can be a topic's name."""
    if not _NAME.fullmatch(topic):
        raise BadValue(
            f"topic of {what} is '{topic}'; expected a name of a ROS 2 topic, letters, digits and _ between slashes. "
            f"Next: such as {JOINT_STATES}"
        )


def _number(text: str, name: str, most: float, unit: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise BadValue(f"body '{where}' has {name} '{text}'; expected a number of {unit} above 0. Next: {name}=1")
    return number
