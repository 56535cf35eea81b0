"""Data sets as ROS 2 bags and back: what goes in comes out, by value; and bags as others record them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palmar.cli.main import main
from palmar.data.bags import import_bag, is_bag, write_bag
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.description.write import write_robot
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue
from palmar.robot_parts import Camera, Channel
from palmar.robots.arm7 import arm7
from palmar.runtime.ros2.topics import topics_of
from palmar.types import Episode, Observation, Step

pytest.importorskip("rosbags")

ARM = Embodiment(
    "rosarm",
    (
        Channel("shoulder", "revolute", "rad", -1.5, 1.5, 2.0),
        Channel("elbow", "revolute", "deg", -10.0, 115.0, 120.0, home=30.0, joint="elbow_joint"),
        Channel("jaw", "opening", "range_0_100", 0.0, 100.0, 200.0, home=100.0, span=(0.0, 0.04)),
        Channel("wheel", "velocity", "m/s", -0.5, 0.5, 0.5),
    ),
    cameras=(Camera("top", 48, 64), Camera("wrist", 32, 32)),
)
ONE = replace(ARM, cameras=ARM.cameras[:1])


def recorded(root: Path, robot: Embodiment, lengths=(7, 5)) -> Dataset:
    """Smooth random motions, pictures of gradients; frame poses are the robot's own."""
    rng = np.random.default_rng(0)
    with DatasetWriter(root, robot, robot.policy_rate) as writer:
        for e, n in enumerate(lengths):
            steps = []
            at = robot.home + (rng.uniform(-0.1, 0.1, (n, len(robot.channels))) * robot.widths).cumsum(0) * 0.2
            for i in range(n):
                state = robot.state_from(at[i], rng.normal(size=len(at[i]))).astype(np.float32)
                images = {
                    c.name: np.full((c.height, c.width, 3), 20 * i + 60 * e + 10 * k, np.uint8)
                    for k, c in enumerate(robot.cameras)
                }
                action = rng.uniform(robot.lower, robot.upper).astype(np.float32)
                steps.append(Step(Observation(images, state, f"task {e}", i / 10), action, action))
            writer.add(Episode(f"task {e}", f"task {e}", e, "expert", steps, True))
    return Dataset(root, cache=False)


@pytest.mark.parametrize("robot", [ARM, arm7().with_action_space("channels")], ids=lambda r: r.name)
def test_what_goes_in_comes_out(tmp_path, robot):
    before = recorded(tmp_path / "set", robot)
    bag = write_bag(tmp_path / "set", tmp_path / "bag", robot, quiet=True)
    assert (bag.episodes, bag.frames) == (2, 12) and is_bag(bag.root) and not is_bag(tmp_path / "set")
    assert bag.messages == 12 * (2 + len(robot.cameras)) + 2 * 2
    done = import_bag(bag.root, tmp_path / "new", robot)
    after = Dataset(tmp_path / "new", cache=False)
    assert (done.episodes, done.frames, done.notes) == (2, 12, ())
    assert [(e.start, e.stop, e.instruction) for e in after.episodes] == [(0, 7, "task 0"), (7, 12, "task 1")]
    np.testing.assert_allclose(after.states, before.states, rtol=1e-6, atol=2e-6 * robot.widths.max())
    np.testing.assert_allclose(after.actions, before.actions, rtol=1e-6, atol=1e-6 * robot.widths.max())
    for cam in before.cameras:
        for i in range(12):  # encoded twice
            away = before.picture(cam, i).astype(int) - after.picture(cam, i)
            assert np.abs(away).max() <= 4


def test_an_outside_reader_finds_the_values_in_ros_units(tmp_path):
    mcap_ros2 = pytest.importorskip("mcap_ros2.reader")
    before = recorded(tmp_path / "set", ARM, (3,))
    bag = write_bag(tmp_path / "set", tmp_path / "bag", ARM, quiet=True)
    found = {}
    for message in mcap_ros2.read_ros2_messages(str(next(bag.root.glob("*.mcap")))):
        found.setdefault(message.channel.topic, []).append(message)
    assert set(found) == {"/joint_states", "/joint_commands", "/task_instruction", "/top/image_raw", "/wrist/image_raw"}
    assert [m.ros_msg.data for m in found["/task_instruction"]] == ["task 0", ""]
    names = ["shoulder", "elbow_joint", "jaw", "wheel"]
    for i, message in enumerate(found["/joint_states"]):
        said, state = message.ros_msg, dict(zip(before.state_names, before.states[i].astype(float), strict=True))
        assert list(said.name) == names
        wanted = [state["shoulder.pos"], np.deg2rad(state["elbow.pos"]), 0.0004 * state["jaw.pos"]]
        np.testing.assert_allclose(list(said.position)[:3], wanted, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(said.velocity[1], np.deg2rad(state["elbow.vel"]), rtol=1e-6)
        np.testing.assert_allclose(said.velocity[3], state["wheel.vel"], rtol=1e-6)
        assert message.log_time_ns == said.header.stamp.sec * 10**9 + said.header.stamp.nanosec
    image = found["/top/image_raw"][2].ros_msg
    assert (image.encoding, image.height, image.width, image.step) == ("rgb8", 48, 64, 192)
    np.testing.assert_array_equal(np.frombuffer(image.data, np.uint8).reshape(48, 64, 3), before.picture("top", 2))
    np.testing.assert_allclose(np.diff([m.log_time_ns for m in found["/top/image_raw"]]), 1e8)


def live(path, robot=ARM, hertz=50.0, seconds=2.0, instruct=True, gap=None, names=None):
    """A bag as `ros2 bag record` makes one of a robot that moves at 0.1 a second: sensors at their own rates, commands at 10 Hz a
    little after, and no velocities of joints. instruct: None for the topic without a message. gap: when the camera is silent [s].
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    t = store.types

    def header(ns):
        return t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](ns // 10**9 + 777, ns % 10**9), "")

    def joints(ns, positions, speeds):
        full = names or ["shoulder", "elbow_joint", "jaw", "wheel"]
        return t["sensor_msgs/msg/JointState"](
            header(ns), full, np.array(positions, float), np.array(speeds, float), np.zeros(0)
        )

    events = []
    if instruct:
        events += [(round(0.1e9), "/task_instruction", "std_msgs/msg/String", t["std_msgs/msg/String"]("wave"))]
    for k in range(round(seconds * hertz)):
        ns = round(k * 1e9 / hertz)
        at = 0.1 * ns / 1e9
        events.append(
            (ns, "/joint_states", "sensor_msgs/msg/JointState", joints(ns, [at, 0.5, 0.02, 0.0], [np.nan] * 3 + [0.2]))
        )
    for k in range(round(seconds * 30)):
        ns = round(k * 1e9 / 30)
        for topic, c in (("/top/image_raw", robot.cameras[0]), ("/wrist/image_raw", robot.cameras[1])):
            if gap is None or not gap[0] < ns / 1e9 < gap[1]:
                data = np.full(c.height * (3 * c.width + 8), k, np.uint8)
                image = t["sensor_msgs/msg/Image"](header(ns), c.height, c.width, "bgr8", 0, 3 * c.width + 8, data)
                events.append((ns, topic, "sensor_msgs/msg/Image", image))
    for k in range(2, round(seconds * 10) - 2):
        ns = round(k * 1e8 + 4e6)
        command = joints(ns, [k / 100, 0.6, 0.01, np.nan], [np.nan, np.nan, np.nan, 0.3])
        events.append((ns, "/joint_commands", "sensor_msgs/msg/JointState", command))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {topic: kind for _, topic, kind, _ in events}
        if instruct is None:
            kinds["/task_instruction"] = "std_msgs/msg/String"
        links = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
        for ns, topic, kind, message in sorted(events, key=lambda e: e[0]):
            writer.write(links[topic], ns + 10**18, store.serialize_cdr(message, kind))
    return path


def test_a_recorded_session_is_sampled_at_the_policys_rate(tmp_path):
    done = import_bag(live(tmp_path / "bag"), tmp_path / "set", ARM)
    found = Dataset(tmp_path / "set", cache=False)
    assert done.notes == () and found.fps == 10 and [e.instruction for e in found.episodes] == ["wave"]
    # instructed at 0.1 s, commanded from 0.204 s to 1.704 s: no command is there for the frame at 0.1 s, and it is left out
    assert len(found) == 16
    state = dict(zip(found.state_names, found.states.T, strict=True))
    np.testing.assert_allclose(state["shoulder.pos"], 0.1 * (0.2 + 0.1 * np.arange(16)), atol=0.1 / 50 + 1e-6)
    np.testing.assert_allclose(state["elbow.pos"], np.rad2deg(0.5), rtol=1e-6)
    np.testing.assert_allclose(state["jaw.pos"], 50.0, rtol=1e-6)
    np.testing.assert_allclose(state["wheel.vel"], 0.2, rtol=1e-6)
    np.testing.assert_allclose(state["shoulder.vel"], 0.1, rtol=1e-3)  # no message says it
    action = dict(zip(found.action_names, found.actions.T, strict=True))
    np.testing.assert_allclose(action["shoulder"], (2 + np.arange(16)) / 100, atol=1e-6)
    np.testing.assert_allclose(action["elbow"], np.rad2deg(0.6), rtol=1e-6)
    np.testing.assert_allclose(action["wheel"], 0.3, rtol=1e-6)
    middle = found.picture("top", 5).mean()
    assert abs(middle - 30 * (0.2 + 0.1 * 5)) < 4


def test_a_bag_without_instructions_needs_one(tmp_path):
    bag = live(tmp_path / "bag", instruct=False)
    with pytest.raises(BadFile, match=r"/task_instruction is not there.*Next: --instruction TEXT"):
        import_bag(bag, tmp_path / "set", ARM)
    assert not (tmp_path / "set").exists()
    done = import_bag(next(bag.glob("*.mcap")), tmp_path / "set", ARM, instruction="wave")
    assert (done.episodes, Dataset(tmp_path / "set", cache=False).tasks) == (1, ["wave"])


def test_an_instruction_for_a_bag_that_has_its_own_is_refused(tmp_path):
    bag = live(tmp_path / "bag")
    for source in (bag, next(bag.glob("*.mcap"))):
        with pytest.raises(
            BadValue, match=r"instructions on /task_instruction.* is 'lift'; .*Next: leave --instruction out"
        ):
            import_bag(source, tmp_path / "set", ARM, instruction="lift")
        assert not (tmp_path / "set").exists()


def test_a_topic_on_which_nobody_instructed_is_as_none(tmp_path):
    bag = live(tmp_path / "bag", instruct=None)
    done = import_bag(bag, tmp_path / "set", ARM, instruction="wave")
    assert (done.episodes, Dataset(tmp_path / "set", cache=False).tasks) == (1, ["wave"])


@pytest.mark.parametrize(
    ("how", "robot", "topics", "said"),
    [
        ({"gap": (0.5, 1.2)}, ARM, "ros2:", "a sensor says nothing for 0.6"),
        ({"names": ["a", "b", "c", "d"]}, ARM, "ros2:", "commands name a, b, c, d"),
        ({}, replace(ARM, cameras=(Camera("top", 24, 24), ARM.cameras[1])), "ros2:", "sends 64 × 48 px"),
        ({}, ARM, "ros2:joint_states=/arm/states", "/arm/states is not there; it holds /joint_commands"),
        ({}, ONE, "ros2:top=/top/image_raw,joint_states=/wrist/image_raw", "is sensor_msgs/msg/Image; expected sensor_msgs/"),
        ({}, ARM, "ros2:joint_states=/top/image_raw", "two of its topics are '/top/image_raw'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_and_leaves_nothing(tmp_path, how, robot, topics, said):
    bag = live(tmp_path / "bag", **how)
    with pytest.raises((BadFile, BadValue), match=said):
        import_bag(bag, tmp_path / "set", robot, topics_of(topics))
    assert not (tmp_path / "set").exists()


def test_a_damaged_bag_is_no_bag(tmp_path):
    bag = live(tmp_path / "bag")
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(BadFile, match="is no ROS 2 bag that can be read"):
        import_bag(bag, tmp_path / "set", ARM)
    (tmp_path / "text.mcap").write_text("no bag")
    with pytest.raises(BadFile, match="is no ROS 2 bag that can be read"):
        import_bag(tmp_path / "text.mcap", tmp_path / "set", ARM)
    with pytest.raises(BadFile, match="there is no"):
        import_bag(tmp_path / "none.mcap", tmp_path / "set", ARM)


def test_a_set_of_another_robot_is_not_written(tmp_path):
    recorded(tmp_path / "set", ARM, (2,))
    with pytest.raises(BadValue, match="the set's state are"):
        write_bag(tmp_path / "set", tmp_path / "bag", arm7())
    in_rad = replace(
        ARM, channels=tuple(replace(c, unit="rad") if c.name == "elbow" else c for c in ARM.channels), state=()
    )
    with pytest.raises(BadValue, match=r"'elbow\.pos' is in 'deg' in the set"):
        write_bag(tmp_path / "set", tmp_path / "bag", in_rad)
    with pytest.raises(BadValue, match="episode is 7"):
        write_bag(tmp_path / "set", tmp_path / "bag", ARM, episodes=(7,))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "set", ARM)
    write_robot(ARM, tmp_path / "rosarm.toml")
    assert main(["bag", "set", "--out", "bag", "--robot", "rosarm.toml", "--episode", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["episodes"], figures["frames"]) == (1, 5)
    assert main(["import", "bag", "--out", "new"]) == 2
    assert "is a ROS 2 bag, and no robot is named" in capsys.readouterr().err
    assert main(["import", "bag", "--out", "new", "--robot", "rosarm.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 5
    assert main(["import", "set", "--out", "again", "--robot", "rosarm.toml"]) == 2
    assert "counts only for a ROS 2 bag" in capsys.readouterr().err
    assert main(["bag", "set", "--out", "bag", "--robot", "rosarm.toml"]) == 2
