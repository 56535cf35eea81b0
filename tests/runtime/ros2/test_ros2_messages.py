"""ROS messages and palmar's values, both ways, without ROS: plain objects stand in for messages."""

from dataclasses import replace
from types import SimpleNamespace as Message

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, MissingPackage, UnknownName
from palmar.robot_parts import Camera, Channel, Measurement, state_of
from palmar.runtime.bodies.find import find_body
from palmar.runtime.ros2.merged import Merged
from palmar.runtime.ros2.messages import CommandWriter, JointReader, check_ros_robot, picture, seconds
from palmar.runtime.ros2.stamps import Stamps
from palmar.runtime.ros2.topics import Topics, topics_of

ROBOT = Embodiment(
    "rosarm",
    (
        Channel("shoulder", "revolute", "rad", -1.5, 1.5, 2.0),
        Channel("elbow", "revolute", "deg", -10.0, 115.0, 120.0, home=30.0, joint="elbow_joint"),
        Channel("lift", "prismatic", "mm", 0.0, 400.0, 100.0),
        Channel("jaw", "opening", "range_0_100", 0.0, 100.0, 200.0, home=100.0, span=(0.0, 0.04)),
        Channel("wheel", "velocity", "deg/s", -90.0, 90.0, 90.0),
    ),
    cameras=(Camera("top", 4, 6),),
)
NAMES = ("shoulder", "elbow_joint", "lift", "jaw", "wheel")


def states(names=NAMES, position=(), velocity=(), effort=()):
    return Message(name=list(names), position=list(position), velocity=list(velocity), effort=list(effort))


def test_joint_states_are_found_by_name_and_converted_by_value():
    names = ("wheel", "other", "jaw", "shoulder", "elbow_joint", "lift")
    message = states(names, [0.0, 9.0, 0.01, 0.5, np.pi / 2, 0.25], [np.pi / 4, 9, 0.004, 0.1, np.pi, 0.01])
    joints = JointReader(ROBOT).read(message)
    np.testing.assert_array_equal(joints.channels, range(5))
    np.testing.assert_allclose(joints.position, [0.5, 90.0, 250.0, 25.0, 45.0])
    np.testing.assert_allclose(joints.velocity, [0.1, 180.0, 10.0, 10.0, np.nan])
    assert np.isnan(joints.effort).all()


def test_a_command_is_in_ros_units_and_reads_back():
    writer = CommandWriter(ROBOT)
    sent = writer.write(np.array([0.5, 90.0, 250.0, 25.0, 45.0]))
    assert sent.name == NAMES
    np.testing.assert_allclose(sent.position, [0.5, np.pi / 2, 0.25, 0.01, np.nan])
    np.testing.assert_allclose(sent.velocity, [*[np.nan] * 4, np.pi / 4])
    np.testing.assert_allclose(writer.read(sent), [0.5, 90.0, 250.0, 25.0, 45.0])
    still = replace(ROBOT, channels=ROBOT.channels[:2], state=())
    assert CommandWriter(still).write(np.zeros(2)).velocity == []


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.permutations(range(5)))
def test_what_is_commanded_is_measured_in_any_order(shares, order):
    command = ROBOT.lower + np.array(shares) * (ROBOT.upper - ROBOT.lower)
    sent = CommandWriter(ROBOT).write(command)
    speed = np.nan_to_num(sent.velocity)
    message = states([NAMES[i] for i in order], np.nan_to_num(sent.position)[list(order)], speed[list(order)])
    joints = JointReader(ROBOT).read(message)
    measured = np.empty(5)
    measured[joints.channels] = joints.position
    np.testing.assert_allclose(measured, command, atol=1e-9 * ROBOT.widths.max())


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (states((*NAMES, "wheel"), [0.0] * 6), "name 'wheel' twice"),
        (states(position=[0.0] * 4), "hold 4 of position for 5 names"),
        (states(position=[0.0] * 5, effort=[0.0]), "hold 1 of effort for 5 names"),
    ],
)
def test_damaged_joint_states_are_refused(message, said):
    with pytest.raises(BadValue, match=said):
        JointReader(ROBOT).read(message)


def test_commands_of_others_are_read_only_under_the_robots_names():
    with pytest.raises(BadValue, match="commands name a; rosarm has shoulder, elbow_joint"):
        CommandWriter(ROBOT).read(states(["a"], [0.0]))
    with pytest.raises(BadValue, match="2 positions and 5 velocities for 5 joints"):
        CommandWriter(ROBOT).read(states(position=[0.0] * 2))


def test_partial_joint_states_are_merged_and_velocities_filled_in():
    reader, merged = JointReader(ROBOT), Merged(ROBOT)
    assert merged.take(reader.read(states(["jaw"], [0.02])), 1.0)
    assert merged.captured[0] == -np.inf
    assert merged.take(
        reader.read(states(["shoulder", "elbow_joint", "lift", "wheel"], [0.1, 0, 0, 0], [np.nan, 0, 0, 0.5])), 2.0
    )
    assert merged.take(reader.read(states(["shoulder"], [0.2])), 2.5)
    assert not merged.take(reader.read(states(["shoulder"], [0.9])), 2.4)
    np.testing.assert_allclose(merged.position, [0.2, 0, 0, 50.0, np.rad2deg(0.5)])
    assert merged.velocity[0] == pytest.approx(0.2)
    np.testing.assert_allclose(merged.captured, [2.5, 2.0, 2.0, 1.0, 2.0])
    state = dict(zip(ROBOT.state_names, merged.state(), strict=True))
    assert state["shoulder.vel"] == pytest.approx(0.2) and state["wheel.vel"] == pytest.approx(np.rad2deg(0.5))


def test_robots_that_joint_states_cannot_tell_are_refused():
    force = (*state_of(ROBOT.channels), Measurement("force", "N"))
    with pytest.raises(BadValue, match="rosarm measures force"):
        check_ros_robot(replace(ROBOT, state=force))
    twins = tuple(replace(c, joint="one") for c in ROBOT.channels[:2])
    with pytest.raises(BadValue, match="two channels are joint 'one'"):
        check_ros_robot(replace(ROBOT, channels=twins, state=()))
    unknown = (replace(ROBOT.channels[0], unit=""),)
    with pytest.raises(BadValue, match="unit of rosarm's shoulder is not stated"):
        check_ros_robot(replace(ROBOT, channels=unknown, state=()))
    percent = (replace(ROBOT.channels[0], unit="%", lower=0, upper=100, velocity=50),)
    with pytest.raises(BadValue, match="converts to 'rad' only where"):
        check_ros_robot(replace(ROBOT, channels=percent, state=()))


PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def image(pixels, encoding, pad=0):
    rows = np.zeros((4, 6 * pixels.shape[2] + pad), np.uint8)
    rows[:, : 6 * pixels.shape[2]] = pixels.reshape(4, -1)
    return Message(height=4, width=6, encoding=encoding, step=rows.shape[1], data=rows.tobytes())


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_pictures_are_rgb_whatever_their_encoding_and_padding(encoding, pad):
    sent = PIXELS if encoding.startswith("rgb") else PIXELS[:, :, ::-1]
    if encoding.endswith("a8"):
        sent = np.concatenate([sent, np.full((4, 6, 1), 255, np.uint8)], axis=2)
    found = picture(image(sent, encoding, pad), ROBOT.cameras[0])
    np.testing.assert_array_equal(found, PIXELS)


def test_a_grey_picture_is_the_same_in_all_colours():
    found = picture(image(PIXELS[:, :, :1], "mono8", 2), ROBOT.cameras[0])
    np.testing.assert_array_equal(found, PIXELS[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"encoding": "16UC1"}, "sends encoding '16UC1'; expected rgb8, bgr8, mono8"),
        ({"height": 5}, "sends 6 × 5 px; the robot file says 6 × 4"),
        ({"step": 17}, "in rows of 17; 6 × 4 px of rgb8 need rows of 18 bytes or more, 4 of them"),
        ({"data": b"123"}, "sends 3 bytes"),
    ],
)
def test_pictures_that_are_not_what_they_say_are_refused(other, said):
    with pytest.raises(BadValue, match=said):
        picture(Message(**vars(image(PIXELS, "rgb8")) | other), ROBOT.cameras[0])


@pytest.mark.parametrize("offset", [0.0, 1.8e9, -3600.0])
def test_age_is_told_whatever_the_senders_clock_says(offset):
    stamps, ages = Stamps(), []
    for i in range(300):
        captured = 50.0 + i / 100
        delay = 0.002 + 0.001 * (i % 3) + (0.2 if i == 200 else 0.0)
        ages.append(captured + delay - stamps.captured(captured + offset, captured + delay))
    ages = np.array(ages)
    assert (ages >= 0).all() and ages[200] == pytest.approx(0.2 + 0.002, abs=0.002)
    assert np.delete(ages, 200).max() < 0.004


def test_a_stamp_that_stands_grows_old_although_it_arrives():
    stamps = Stamps()
    for i in range(100):
        stamps.captured(5.0 + i / 100, 50.0 + i / 100)
    assert [50.99 + d - stamps.captured(5.99, 50.99 + d) for d in (0.1, 0.5, 1.0)] == pytest.approx([0.1, 0.5, 1.0])


def test_a_senders_clock_that_is_set_is_followed_forward_at_once_and_back_after_the_window():
    stamps = Stamps()
    stamps.captured(5.0, 50.0)
    assert stamps.captured(3605.01, 50.01) == pytest.approx(50.01)
    assert 50.02 - stamps.captured(5.02, 50.02) == pytest.approx(3600.0)
    for i in range(1300):
        age = 51.0 + i / 100 - stamps.captured(6.0 + i / 100, 51.0 + i / 100)
    assert age == pytest.approx(0.0, abs=1e-6)


def test_no_stamp_is_the_arrival():
    assert Stamps().captured(0.0, 12.5) == 12.5
    assert seconds(Message(sec=3, nanosec=250_000_000)) == 3.25


def test_topics_are_read_and_written_alike():
    usual = topics_of("ros2:")
    assert (usual, usual.where) == (Topics(), "ros2:")
    where = "ros2:joint_states=/arm/states,stopped=/halt,top=/cam/image_raw,rate=10.0,silence=0.5"
    topics = topics_of(where)
    assert topics.where == where and topics.robot.where == "ros2:joint_states=/arm/states,top=/cam/image_raw"
    assert topics.camera("top", ROBOT) == "/cam/image_raw" and topics.every(ROBOT) == 5
    assert usual.camera("top", ROBOT) == "/camera/image_raw"
    two = replace(ROBOT, cameras=(*ROBOT.cameras, Camera("wrist", 4, 6)))
    assert usual.camera("wrist", two) == "/wrist/image_raw"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("ros2:joint_states", "has 'joint_states'; expected WHAT=TOPIC"),
        ("ros2:top=/a,top=/b", "has 'top' twice"),
        ("ros2:top=/a b", "topic of top is '/a b'"),
        ("ros2:top=/1a", "topic of top is '/1a'"),
        ("ros2:rate=fast", "has rate 'fast'"),
        ("ros2:rate=-1", "has rate '-1'"),
        ("ros2:silence=yes", "has silence 'yes'; expected a number of seconds above 0"),
    ],
)
def test_settings_that_are_none_are_refused(where, said):
    with pytest.raises(BadValue, match=said):
        find_body(where)


def test_settings_that_do_not_fit_the_robot_are_refused():
    with pytest.raises(UnknownName, match=r"unknown setting of ros2: for rosarm 'tops'.*Did you mean 'top'"):
        topics_of("ros2:tops=/a").check(ROBOT)
    with pytest.raises(BadValue, match=r"rate is 15 Hz; rosarm is commanded at 50 Hz.*Next: rate=16.6667"):
        topics_of("ros2:rate=15").check(ROBOT)
    with pytest.raises(BadValue, match="two of its topics are '/joint_states'"):
        topics_of("ros2:top=/joint_states").check(ROBOT)


def test_a_check_holds_for_every_rate_of_the_same_robot():
    found = [find_body(w) for w in ("ros2:", "ros2:rate=10", "ros2:stopped=/x,rate=25", "ros2:joint_states=/other")]
    assert len({(f.where, f.digest) for f in found[:3]}) == 1 and found[0].digest
    assert found[3].digest != found[0].digest


def test_where_there_is_no_ros_it_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"'rclpy' is not to be found.*source /opt/ros"):
        find_body("ros2:").connect(ROBOT)
