"""ROS 2 bags (MCAP) and data sets, both ways: joint states, commands, pictures and instructions by topic.

    /joint_states, CAMERA's topic   what frame i saw, at the time of frame i
    /joint_commands                 its action, at the same time
    /task_instruction               begins an episode; an empty one ends it

Times are those at which messages were recorded, of one clock. Joints are in ROS's units by the names of the robot file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data.progress import counting
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, brief, need
from palmar.runtime.ros2.merged import Merged
from palmar.runtime.ros2.messages import CommandWriter, JointReader, picture
from palmar.runtime.ros2.topics import INSTRUCTION, Topics
from palmar.types import Array, Episode, Observation, Step

BEGIN = 1_000_000_000_000_000_000
"""Time of the first frame of a bag that is written, nanoseconds since 1970: data sets do not say when they were recorded."""
PAUSE = 1.0
"""Between two episodes [s]."""
STALE = 0.5
"""Age of a sensor's newest message at which an episode is left out [s]."""
SECOND = 10**9
STATE, IMAGE, TEXT = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Image", "std_msgs/msg/String"


@dataclass(frozen=True, slots=True)
class Bag:
    """What was written. root: folder of the bag."""

    root: Path
    episodes: int
    frames: int
    messages: int
    topics: tuple[str, ...]


def is_bag(path: str | Path) -> bool:
    """Whether this is a ROS 2 bag: its folder, or one MCAP file."""
    path = Path(path)
    return path.suffix == ".mcap" or (path.is_dir() and (path / "metadata.yaml").is_file())


# -------------------------------------------------------------------------------------------------- a data set becomes a bag


def write_bag(
    source: str | Path,
    out: str | Path,
    robot: Embodiment,
    topics: Topics | None = None,
    episodes: Sequence[int] = (),
    quiet: bool = False,
) -> Bag:
    """Write episodes of a data set (none named: all) as one bag, one after the other with a pause between.

    robot: whose state and actions the set holds, by names and units. topics: where they go. Pictures are rgb8 as decoded. Raises
    `BadValue` for a set of another robot, or whose actions are no joint commands (`ee_delta`), `BadFile` when `out` is there.
    """
    need("rosbags", "ros")
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    topics = topics or Topics()
    topics.check(robot)
    dataset, out = Dataset(source, cache=False), Path(out)
    _check_set(dataset, robot)
    chosen = tuple(episodes) or tuple(range(len(dataset.episodes)))
    if bad := [e for e in chosen if not 0 <= e < len(dataset.episodes)]:
        raise BadValue(f"episode is {bad[0]}; expected 0 … {len(dataset.episodes) - 1}. Next: an episode of the set")
    if out.exists():
        raise BadFile(f"'{out}' is there already; expected a new folder. Next: choose another for the bag")
    store = get_typestore(Stores.ROS2_JAZZY)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.resolve().with_name(f".{out.resolve().name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    count = frames = 0
    try:
        with Writer(aside, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            made = _Messages(store, robot)
            kinds = {topics.joint_states: STATE, topics.joint_commands: STATE, INSTRUCTION: TEXT}
            kinds |= {topics.camera(cam, robot): IMAGE for cam in dataset.cameras}
            links = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
            began = BEGIN
            with counting("writing episodes", len(chosen), quiet) as progress:
                for e in chosen:
                    episode = dataset.episodes[e]
                    for i in range(episode.length):
                        k, now = episode.start + i, began + _ticks(i, dataset.fps)
                        sent = [(INSTRUCTION, made.text(episode.instruction))] if not i else []
                        sent.append((topics.joint_states, made.joints(dataset.states[k], now)))
                        for cam in dataset.cameras:
                            sent.append((topics.camera(cam, robot), made.image(dataset.picture(cam, k), cam, now)))
                        sent.append((topics.joint_commands, made.command(dataset.actions[k], now)))
                        for topic, message in sent:
                            writer.write(links[topic], now, store.serialize_cdr(message, kinds[topic]))
                        count, frames = count + len(sent), frames + 1
                    writer.write(links[INSTRUCTION], now + SECOND // 1000, store.serialize_cdr(made.text(""), TEXT))
                    count += 1
                    began = now + round(PAUSE * SECOND)
                    progress(1)
        aside.rename(out.resolve())
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return Bag(out, len(chosen), frames, count, tuple(kinds))


class _Messages:
    """Values of one robot as messages of a type store."""

    def __init__(self, store: Any, robot: Embodiment) -> None:
        self.types, self.robot, self.writer = store.types, robot, CommandWriter(robot)
        self._scale = self.writer.rates

    def _header(self, now: int, frame: str = "") -> Any:
        time = self.types["builtin_interfaces/msg/Time"](sec=now // SECOND, nanosec=now % SECOND)
        return self.types["std_msgs/msg/Header"](stamp=time, frame_id=frame)

    def text(self, words: str) -> Any:
        return self.types[TEXT](data=words)

    def joints(self, state: Array, now: int) -> Any:
        robot, speeds = self.robot, self.robot.speeds
        at, rate = robot.measured(state), robot.measured(state, "velocity")
        fields = self.writer.write(np.where(speeds, np.nan, at))
        velocity = np.where(speeds, at, rate) * self._scale
        effort = robot.measured(state, "effort") if robot.measures("effort") else np.zeros(0)
        return self._joint_state(now, fields.name, fields.position, velocity, effort)

    def command(self, action: Array, now: int) -> Any:
        fields = self.writer.write(np.asarray(action, float))
        return self._joint_state(now, fields.name, fields.position, fields.velocity, [])

    def _joint_state(self, now: int, names: Sequence[str], position: Any, velocity: Any, effort: Any) -> Any:
        return self.types[STATE](
            header=self._header(now), name=list(names), position=np.array(position, float), velocity=np.array(velocity, float),
            effort=np.array(effort, float),
        )  # fmt: skip

    def image(self, pixels: Array, camera: str, now: int) -> Any:
        height, width, _ = pixels.shape
        return self.types[IMAGE](
            header=self._header(now, camera), height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width,
            data=np.ascontiguousarray(pixels).reshape(-1),
        )  # fmt: skip


def _check_set(dataset: Dataset, robot: Embodiment) -> None:
    for what, theirs, ours in (
        ("state", dataset.state_names, robot.state_names), ("actions", dataset.action_names, robot.channel_names),
    ):  # fmt: skip
        if tuple(theirs) != tuple(ours):
            raise BadValue(
                f"the set's {what} are {', '.join(theirs)[:300]}; {robot.name} has {', '.join(ours)[:300]}. Next: the robot "
                "file of this set, with actions that are commands of its channels"
            )
    units = [*zip(dataset.state_names, dataset.state_units, (m.unit for m in robot.state), strict=False)]
    units += zip(dataset.action_names, dataset.action_units, (c.unit for c in robot.channels), strict=False)
    for name, there, here in units:
        if there and here and there != here:
            raise BadValue(f"'{name}' is in '{there}' in the set, {robot.name}'s is in '{here}'. Next: the set's unit")


def _ticks(i: int, fps: float) -> int:
    return round(i * SECOND / fps)


# -------------------------------------------------------------------------------------------------- a bag becomes a data set


@dataclass(frozen=True, slots=True)
class ImportedBag:
    """root: of the new set. notes: what was left out, in sentences."""

    root: Path
    episodes: int
    frames: int
    notes: tuple[str, ...]


def import_bag(
    source: str | Path,
    out: str | Path,
    robot: Embodiment,
    topics: Topics | None = None,
    instruction: str = "",
) -> ImportedBag:
    """Write what a bag holds as a LeRobot v3 set at `robot.policy_rate` frames a second.

    A frame holds the newest joint states and pictures at its time, and as action the first command from then on, within the frame;
    the last one before where there is none. An episode begins with an instruction, when every sensor has told something, and ends
    with its last command or the next instruction. instruction: for a bag that holds none, which is one episode. Episodes in
    which a sensor is silent for `STALE` are left out, and told. Raises `BadFile` for what is no bag, or lacks a topic, `BadValue`
    for joints and pictures that are not the robot's, and for an instruction where the bag holds some.
    """
    need("rosbags", "ros")
    topics, notes, out = topics or Topics(), list[str](), Path(out)
    topics.check(robot)
    robot = robot.with_action_space("channels")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadFile(f"'{out}' is there already; expected a new folder. Next: choose another for the imported set")
    aside = out.resolve().with_name(f".{out.resolve().name}.importing")
    shutil.rmtree(aside, ignore_errors=True)  # of an import that was killed
    frames = kept = 0
    try:
        with DatasetWriter(aside, robot, robot.policy_rate) as writer:
            for k, take in enumerate(_takes(Path(source), robot, topics, instruction)):
                if take.lost:
                    notes.append(f"episode {k} is left out: {take.lost}")
                elif steps := take.steps(robot.policy_rate):
                    seconds = len(steps) / robot.policy_rate
                    writer.add(Episode(take.instruction, take.instruction, 0, "rosbag", steps, duration=seconds))
                    kept, frames = kept + 1, frames + len(steps)
                else:
                    notes.append(f"episode {k} is left out: it holds no command")
            if not kept:
                why = "; ".join(notes) or "no instruction"
                raise BadFile(
                    f"'{source}' holds no episode that can be imported: {why[:400]}. Next: record commands and sensors together"
                )
        aside.rename(out.resolve())
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return ImportedBag(out, kept, frames, tuple(notes))


@dataclass
class _Take:
    """One episode under way: what was seen at the time of each frame, and the commands [ns]. lost: why it is left out."""

    instruction: str
    frames: list[tuple[int, Observation]] = field(default_factory=list)
    commands: list[tuple[int, Array]] = field(default_factory=list)
    lost: str = ""

    def steps(self, fps: float) -> list[Step]:
        if not self.commands:
            return []
        times, step = np.array([t for t, _ in self.commands]), round(SECOND / fps)
        out = []
        for now, obs in self.frames:
            k = int(np.searchsorted(times, now))
            if k == len(times) or times[k] - now >= step:
                k -= 1
            if k >= 0:
                action = self.commands[k][1].astype(np.float32)
                out.append(Step(obs, action, action))
        return out


def _takes(source: Path, robot: Embodiment, topics: Topics, instruction: str) -> Iterator[_Take]:
    """The episodes of a bag, pictures in memory for one at a time where the caller lets them go."""
    cameras = {topics.camera(c.name, robot): c for c in robot.cameras}
    wanted = {topics.joint_states: STATE, topics.joint_commands: STATE, INSTRUCTION: TEXT} | dict.fromkeys(
        cameras, IMAGE
    )
    reader, writer, joints = JointReader(robot), CommandWriter(robot), Merged(robot)
    pictures: dict[str, tuple[int, Array]] = {}
    step, take, due = SECOND / robot.policy_rate, None, 0
    if instruction:
        take = _Take(instruction)
    begun: int | None = None  # of the frames of this take

    def look(until: int) -> None:
        """Take the frames that are due before this time."""
        nonlocal due, begun
        while take is not None and not take.lost and (at := _due(begun, due, step)) is not None and at < until:
            newest = [round(float(joints.captured.min()) * SECOND), *(t for t, _ in pictures.values())]
            if at - min(newest) > STALE * SECOND:
                take.lost = (
                    f"a sensor says nothing for {(at - min(newest)) / SECOND:.2f} s at {(at - begun) / SECOND:.2f} s"  # type: ignore[operator]
                )
                return
            images = {c.name: pictures[topic][1] for topic, c in cameras.items()}
            take.frames.append((at, Observation(images, joints.state(), take.instruction, due / robot.policy_rate)))
            due += 1

    for topic, now, message in bag_messages(source, wanted, instruction):
        look(now)
        if topic == INSTRUCTION:
            if take is not None:
                yield _cut(take)
            take, due, begun = (_Take(message.data) if message.data.strip() else None), 0, None
        elif topic == topics.joint_states:
            joints.take(reader.read(message), now / SECOND)
        elif topic == topics.joint_commands:
            if take is not None:
                take.commands.append((now, writer.read(message)))
        else:
            pictures[topic] = now, picture(message, cameras[topic])
        if take is not None and begun is None and np.isfinite(joints.captured).all() and len(pictures) == len(cameras):
            begun = now
    if take is not None:
        if take.commands:
            look(take.commands[-1][0] + 1)
        yield _cut(take)


def _due(begun: int | None, due: int, step: float) -> int | None:
    return None if begun is None else begun + round(due * step)


def _cut(take: _Take) -> _Take:
    """Without the frames after its last command: nobody drives there."""
    if take.commands:
        take.frames = [f for f in take.frames if f[0] <= take.commands[-1][0]]
    return take


def bag_messages(source: Path, wanted: dict[str, str], instruction: str) -> Iterator[tuple[str, int, Any]]:
    """(topic, time it was recorded at [ns], message) of the wanted topics, in order. Raises `BadFile`."""
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    if not source.exists():
        raise BadFile(f"there is no '{source}'. Next: check the path")
    try:
        with AnyReader([source], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as bag:
            there = {c.topic: c.msgtype for c in bag.connections}
            if instruction and any(c.topic == INSTRUCTION and c.msgcount for c in bag.connections):
                raise BadValue(
                    f"'{source}' has instructions on {INSTRUCTION}, and the instruction given is '{instruction}'; expected one "
                    "of the two. Next: leave --instruction out"
                )
            for topic, kind in wanted.items():
                if there.get(topic) == kind or (topic == INSTRUCTION and topic not in there and instruction):
                    continue
                found = (
                    f"is {there[topic]}"
                    if topic in there
                    else f"is not there; it holds {', '.join(sorted(there)) or 'nothing'}"
                )
                hint = "--instruction TEXT" if topic == INSTRUCTION else "--topics ros2:WHAT=TOPIC"
                raise BadFile(f"'{source}': {topic} {found}; expected {kind}. Next: {hint}")
            links = [c for c in bag.connections if c.topic in wanted and not (instruction and c.topic == INSTRUCTION)]
            for link, now, raw in bag.messages(links):
                yield link.topic, now, bag.deserialize(raw, link.msgtype)
    except AnyReaderError as error:
        raise BadFile(f"'{source}' is no ROS 2 bag that can be read ({brief(error)}). Next: record it anew") from error
