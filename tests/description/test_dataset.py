"""A robot from what was demonstrated, and joined with a description."""
# ruff: noqa: E501 - robot descriptions in long lines

from types import SimpleNamespace

import numpy as np
import pytest

from palmar.description import from_dataset, joined, with_data
from palmar.description.dataset import guess_units
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.robot_parts import Channel

FPS = 30


def recorded(columns, state=None, episodes=4, **more):
    """A set in which each action is a function of time [s], the state follows it."""
    t = np.arange(300) / FPS
    once = np.stack([f(t) for f in columns.values()], 1)
    actions = np.tile(once, (episodes, 1)).astype(np.float32)
    names = tuple(columns) if state is None else state
    values = {
        "cameras": ("top",), "camera_keys": {"top": "observation.images.top"},
        "features": {"observation.images.top": {"shape": [480, 640, 3]}}, "action_names": tuple(columns),
        "state_names": names, "actions": actions, "states": actions[:, : len(names)].copy(), "fps": FPS,
        "robot_type": "mine", "episodes": [SimpleNamespace(start=i * 300, stop=(i + 1) * 300) for i in range(episodes)],
    }  # fmt: skip
    return SimpleNamespace(**(values | more))


def wave(amplitude, frequency=0.5, centre=0.0):
    return lambda t: centre + amplitude * np.sin(2 * np.pi * frequency * t)


def test_limits_from_what_was_demonstrated():
    robot = from_dataset(recorded({"pan": wave(1.0), "lift": wave(0.5, centre=0.3)}))
    pan = robot.channels[0]
    w = 2 * np.pi * 0.5
    assert (pan.lower, pan.upper) == pytest.approx((-1.1, 1.1), rel=1e-3)
    assert pan.velocity == pytest.approx(1.5 * w, rel=0.02)
    assert pan.acceleration == pytest.approx(1.5 * w**2, rel=0.03)
    assert pan.jerk == pytest.approx(1.5 * w**3, rel=0.1)
    assert (
        pan.sources == dict.fromkeys(("position", "velocity", "acceleration", "jerk"), "data") and not robot.guesses()
    )
    assert robot.control_rate == robot.policy_rate == FPS and robot.name == "mine" and not robot.frames
    assert [(c.name, c.height, c.width) for c in robot.cameras] == [("top", 480, 640)]
    assert "rad for pan, lift" in robot.notes and robot.action_names == ("pan", "lift")


def test_the_end_of_an_episode_is_no_jump():
    robot = from_dataset(recorded({"pan": lambda t: t / 10}))
    assert robot.channels[0].velocity == pytest.approx(0.15, rel=0.01)


def test_a_channel_that_never_moves_is_a_guess():
    robot = from_dataset(recorded({"pan": wave(1.0), "finger": lambda t: 0 * t + 0.7}))
    assert robot.guesses() == [f"finger {q}" for q in ("position", "velocity", "acceleration", "jerk")]
    assert "Never move" in robot.notes and robot.channels[1].lower < 0.7 < robot.channels[1].upper


def test_a_gripper_that_closes_once_is_as_fast_as_it_was():
    robot = from_dataset(recorded({"gripper": lambda t: (t > 5).astype(float)}, episodes=1))
    c = robot.channels[0]
    assert (c.kind, c.unit, c.lower, c.upper, c.velocity) == ("opening", "opening", 0.0, 1.0, 45.0)


def test_units_are_guessed_from_ranges():
    wide = {"a.pos": (-98.0, 99.0), "b.pos": (-40.0, 100.0), "gripper.pos": (2.0, 98.0)}
    assert guess_units(wide, "so101_follower") == {
        "a.pos": "range_m100_100", "b.pos": "range_m100_100", "gripper.pos": "range_0_100",
    }  # fmt: skip
    assert guess_units(wide)["a.pos"] == "deg"
    assert guess_units({"a": (-170.0, 20.0)}, "so101")["a"] == "deg"
    assert guess_units({"a": (-3.0, 2.0), "gripper": (0.0, 1.0)}) == {"a": "rad", "gripper": "opening"}
    hand = {"kLeftHandPinky": (0.3, 0.8), "kLeftElbow": (-1.0, 1.0), "left_hand_yaw": (0.0, 1.0)}
    assert guess_units(hand) == {"kLeftHandPinky": "opening", "kLeftElbow": "rad", "left_hand_yaw": "rad"}
    assert guess_units(hand | {"kLeftHandThumb": (-0.1, 1.0)})["kLeftHandPinky"] == "rad"
    base = {"x.vel": (-0.3, 0.3), "theta.vel": (-90.0, 90.0), "a": (-1.0, 1.0)}
    assert guess_units(base) == {"x.vel": "m/s", "theta.vel": "deg/s", "a": "rad"}


def test_units_of_the_user_come_before_guesses():
    data = recorded({"a": wave(1.0), "b": wave(0.5)})
    robot = from_dataset(data, units={"*": "m", "b": "deg"})
    assert [(c.unit, c.kind) for c in robot.channels] == [("m", "prismatic"), ("deg", "revolute")]
    assert "guessed" not in robot.notes
    assert "looks like another one: a in m (rad), b in deg (rad)" in robot.notes
    assert "another one" not in from_dataset(data, units={"a": "rad"}).notes
    with pytest.raises(
        BadValue, match=r"'a' is 'opening', 0 … 1; in the data it is -1 … 1. Next: another unit, such as rad"
    ):
        from_dataset(data, units={"a": "opening"})
    with pytest.raises(UnknownName, match="'degrees'"):
        from_dataset(data, units={"a": "degrees"})
    with pytest.raises(UnknownName, match="channel of the data set 'c'"):
        from_dataset(data, units={"c": "deg"})


def test_the_state_is_told_by_name():
    robot = from_dataset(recorded({"a.pos": wave(1.0), "b.pos": wave(1.0)}, state=("a.pos", "a.vel")))
    assert [(m.name, m.quantity, m.of) for m in robot.state] == [
        ("a.pos", "position", "a.pos"), ("a.vel", "velocity", "a.pos"),
    ]  # fmt: skip
    other = from_dataset(recorded({"a": wave(1.0), "b": wave(1.0)}, state=("tactile",)))
    assert other.state[0].quantity == "other"


def test_a_mobile_base_is_commanded_by_its_speed():
    c = from_dataset(recorded({"x.vel": wave(0.3)})).channels[0]
    assert (c.kind, c.unit) == ("velocity", "m/s") and c.velocity == pytest.approx(0.33, rel=1e-3)
    assert c.acceleration == pytest.approx(1.5 * 0.3 * np.pi, rel=0.02)


def test_names_come_from_the_state_where_the_actions_have_none():
    data = recorded({"a": wave(1.0), "b": wave(1.0)}, action_names=())
    assert from_dataset(data).channel_names == ("a", "b")


def test_sets_a_robot_cannot_be_made_of():
    with pytest.raises(BadValue, match="steps of an end effector"):
        from_dataset(recorded({n: wave(0.01) for n in ("dx", "dy", "dz", "gripper")}))
    with pytest.raises(BadValue, match="expected \\[frames"):
        from_dataset(recorded({"a": wave(1.0)}, actions=np.zeros((0, 1))))
    with pytest.raises(BadValue, match="action 'a' of the data set is not finite"):
        from_dataset(recorded({"a": lambda t: np.where(t > 5, np.nan, t)}))


URDF = """<robot name="r"><link name="root"/><link name="a"/><link name="b"/><link name="c"/>
<joint name="pan_joint" type="revolute"><parent link="root"/><child link="a"/><axis xyz="0 0 1"/><limit lower="-2" upper="2" velocity="3" effort="5"/></joint>
<joint name="lift_joint" type="revolute"><parent link="a"/><child link="b"/><origin xyz="0 0 1"/><axis xyz="0 1 0"/><limit lower="-1" upper="2" velocity="-1"/></joint>
<joint name="leg" type="revolute"><parent link="root"/><child link="c"/><axis xyz="0 1 0"/><limit lower="-1" upper="2" velocity="-1"/></joint>
</robot>"""


@pytest.fixture
def urdf(tmp_path):
    path = tmp_path / "r.urdf"
    path.write_text(URDF)
    return path


def named(robot: Embodiment, **joints: str) -> Embodiment:
    from dataclasses import replace

    return replace(robot, channels=tuple(replace(c, joint=joints.get(c.name, "")) for c in robot.channels))


def test_joined_by_the_joint_a_person_wrote(urdf):
    data = from_dataset(recorded({"Pan": wave(1.0), "Lift": wave(0.5), "Hand": wave(0.1)}))
    with pytest.raises(BadValue, match='joint = "…"'):
        joined(data, urdf)
    robot = joined(named(data, Pan="pan_joint", Lift="lift_joint"), urdf, frames=["b"])
    pan, lift, hand = robot.channels
    assert (pan.lower, pan.upper, pan.velocity, pan.effort) == (-2.0, 2.0, 3.0, 5.0)
    assert pan.sources["velocity"] == "description file" and pan.sources["acceleration"] == "data"
    assert lift.sources["velocity"] == "data" and lift.velocity == data.channels[1].velocity
    assert hand == data.channels[2]
    assert robot.frames[0].joints == ("Pan", "Lift") and not robot.guesses()
    assert "leg" in robot.notes and "Hand" in robot.notes
    with pytest.raises(UnknownName, match="pan_jiont"):
        joined(named(data, Pan="pan_jiont"), urdf)
    with pytest.raises(BadValue, match="two channels are joint 'pan_joint'"):
        joined(named(data, Pan="pan_joint", Lift="pan_joint"), urdf)


def test_all_names_must_match_when_a_set_is_joined_at_once(urdf):
    data = from_dataset(recorded({"pan_joint": wave(1.0), "Lift": wave(0.5)}))
    with pytest.raises(BadValue, match="Lift of mine is no joint"):
        joined(data, urdf, every=True)
    assert joined(data, urdf).frames == ()


def test_degrees_and_percent_convert(urdf):
    degrees = from_dataset(recorded({"pan_joint": wave(90.0), "lift_joint": wave(30.0)}))
    pan = joined(degrees, urdf).channels[0]
    assert (
        pan.unit == "deg" and pan.upper == pytest.approx(np.degrees(2)) and pan.velocity == pytest.approx(np.degrees(3))
    )
    percent = from_dataset(recorded({"pan_joint": wave(90.0), "lift_joint": wave(30.0)}), units={"*": "range_m100_100"})
    robot = joined(percent, urdf, frames=["b"])
    pan = robot.channels[0]
    assert (
        pan.span == (-2.0, 2.0) and pan.upper == pytest.approx(99.0, abs=0.1) and pan.velocity == pytest.approx(150.0)
    )
    assert "check span" in robot.notes
    np.testing.assert_allclose(robot.positions(robot.frames[0], np.array([50.0, 0.0])), [1.0, 0.5])
    slide = Embodiment("r", (Channel("pan_joint", "prismatic", "m", 0.0, 1.0, 1.0),))
    with pytest.raises(BadValue, match="'pan_joint' is joint 'pan_joint'"):
        joined(slide, urdf)


def test_data_in_place_of_guesses(urdf):
    from palmar.description import from_urdf

    guessed = from_urdf(urdf, guess=True)
    robot = with_data(guessed, from_dataset(recorded({"lift_joint": wave(0.5)})))
    lift = robot.channels[1]
    assert lift.sources["velocity"] == lift.sources["jerk"] == "data" and lift.upper == 2.0
    assert robot.channels[0] == guessed.channels[0] and [c.name for c in robot.cameras] == ["top"]
    with pytest.raises(BadValue, match="Lift of the data set is no channel"):
        with_data(guessed, from_dataset(recorded({"Lift": wave(0.5)})))
