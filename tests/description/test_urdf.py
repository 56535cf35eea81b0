"""URDF strings of our own for every case: what is read, what is asked for, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from palmar.description import check_deployable, from_urdf
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, UnknownName, UserError

LIMIT = '<limit lower="-1.5" upper="1.5" velocity="2" effort="10"/>'


def joint(name, parent, child, kind="revolute", limit=LIMIT, more="", axis="0 0 1", origin="0 0 0.1"):
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{origin}" rpy="0.1 -0.2 0.3"/><axis xyz="{axis}"/>{limit}{more}</joint>'
    )


def urdf(*joints, links=(), head=""):
    found = {part for j in joints for part in j.split('link="')[1:]}
    names = dict.fromkeys([*links, *(p.split('"')[0] for p in sorted(found))])
    return f'<robot name="mine">{head}' + "".join(f'<link name="{n}"/>' for n in names) + "".join(joints) + "</robot>"


def made(tmp_path: Path, text: str, **options) -> Embodiment:
    path = tmp_path / "mine.urdf"
    path.write_text(text)
    return from_urdf(path, **options)


ARM = (
    joint("base", "root", "a", axis="0 0 1"),
    joint("shoulder", "a", "b", axis="0 1 0"),
    joint("elbow", "b", "c", axis="0.6 0 -0.8"),
    joint("flange", "c", "tool0", "fixed", limit=""),
)


def test_limits_and_their_sources(tmp_path):
    robot = made(tmp_path, urdf(*ARM))
    assert robot.name == "mine" and robot.channel_names == ("base", "shoulder", "elbow")
    c = robot.channels[1]
    assert (c.kind, c.unit, c.lower, c.upper, c.velocity, c.effort) == ("revolute", "rad", -1.5, 1.5, 2.0, 10.0)
    assert (c.acceleration, c.jerk) == (8.0, 80.0)
    assert c.sources == {
        "position": "description file", "velocity": "description file", "effort": "description file",
        "acceleration": "guess", "jerk": "guess",
    }  # fmt: skip
    assert [f.name for f in robot.frames] == ["tool0"] and robot.frames[0].joints == robot.channel_names
    assert {c.coupling for c in robot.channels} == {"tool0"}
    with pytest.raises(BadValue, match=r"base \(acceleration, jerk\).*Next"):
        check_deployable(robot)


def test_doubts_about_the_limits_of_the_user_are_told(tmp_path):
    limits = {"rad": {"velocity": 1.0}, "elbow": {"lower": -90.0, "upper": 90.0}}
    robot = made(tmp_path, urdf(*ARM), limits=limits)
    assert "expected rad: elbow." in robot.notes and "rad=VALUE was taken by no joint" in robot.notes
    assert "taken by no joint" not in made(tmp_path, urdf(*ARM), limits={"rad": {"velocity": 1.0, "jerk": 20.0}}).notes
    with pytest.raises(BadValue, match="limit of 'elbow': jerk is nan; expected a finite number above 0"):
        made(tmp_path, urdf(*ARM), limits={"elbow": {"jerk": float("nan")}})


def test_limits_of_the_user_replace_those_of_the_file_and_guesses(tmp_path):
    of_all = {"velocity": 1.0, "acceleration": 4.0, "jerk": 20.0}
    robot = made(tmp_path, urdf(*ARM), limits={"elbow": {"velocity": 0.5, "lower": -1.0}, "rad": of_all})
    elbow, base = robot.channels[2], robot.channels[0]
    assert (elbow.velocity, elbow.lower, elbow.upper) == (0.5, -1.0, 1.5)
    assert elbow.sources["velocity"] == elbow.sources["position"] == "user"
    assert base.velocity == 2.0 and base.acceleration == 4.0, "those for all are for what the file lacks"
    check_deployable(robot)


@pytest.mark.parametrize("stated", ['velocity="-1"', 'velocity="0"', ""])
def test_a_velocity_nobody_states_is_asked_for(tmp_path, stated):
    text = urdf(*ARM[:2], joint("elbow", "b", "c", limit=f'<limit lower="-1" upper="1" {stated}/>'))
    with pytest.raises(BadValue, match=r"velocity limit of elbow .*--velocity elbow=VALUE.*--guess"):
        made(tmp_path, text)
    guessed = made(tmp_path, text, guess=True).channels[2]
    assert guessed.velocity == 1.0 and guessed.sources["velocity"] == "guess"
    given = made(tmp_path, text, limits={"rad": {"velocity": 3.0}}).channels[2]
    assert given.velocity == 3.0 and given.sources["velocity"] == "user"


@pytest.mark.parametrize(
    "limit",
    [
        "",
        '<limit velocity="1"/>',
        '<limit lower="0" upper="0" velocity="1"/>',
        '<limit lower="2" upper="1" velocity="1"/>',
    ],
)
def test_a_range_nobody_states_is_asked_for(tmp_path, limit):
    text = urdf(*ARM[:2], joint("elbow", "b", "c", limit=limit))
    with pytest.raises(BadValue, match=r"position limit of elbow.*--position elbow=LOWER:UPPER"):
        made(tmp_path, text)
    guessed = made(tmp_path, text, guess=True).channels[2]
    assert (guessed.lower, guessed.upper) == (-np.pi, np.pi) and guessed.sources["position"] == "guess"
    given = made(tmp_path, text, limits={"elbow": {"lower": -0.5, "upper": 0.5, "velocity": 1}}).channels[2]
    assert (given.lower, given.upper) == (-0.5, 0.5) and given.sources["position"] == "user"


def test_a_sliding_joint_without_a_range_is_not_guessed(tmp_path):
    with pytest.raises(BadValue, match="position limit of lift"):
        made(tmp_path, urdf(joint("lift", "a", "b", "prismatic", '<limit velocity="1"/>')), guess=True)


def test_one_end_of_a_range_that_is_missing_is_zero(tmp_path):
    lift = made(tmp_path, urdf(joint("lift", "a", "b", "prismatic", '<limit upper="0.4" velocity="0.2"/>'))).channels[0]
    assert (lift.kind, lift.unit, lift.lower, lift.upper) == ("prismatic", "m", 0.0, 0.4)


def test_a_continuous_joint_keeps_its_velocity_limit_and_has_no_range(tmp_path):
    wheel = joint("wheel", "a", "b", "continuous", '<limit velocity="7" effort="3"/>')
    c = made(tmp_path, urdf(wheel)).channels[0]
    assert (c.kind, c.lower, c.upper, c.velocity) == (
        "continuous",
        -np.inf,
        np.inf,
        7.0,
    ) and "position" not in c.sources
    with pytest.raises(BadValue, match="velocity limit of wheel"):
        made(tmp_path, urdf(joint("wheel", "a", "b", "continuous", "")))


def test_soft_limits_narrow_the_range(tmp_path):
    soft = '<safety_controller soft_lower_limit="-1.2" soft_upper_limit="9" k_velocity="1"/>'
    c = made(tmp_path, urdf(joint("j", "a", "b", more=soft))).channels[0]
    assert (c.lower, c.upper) == (-1.2, 1.5)


def test_a_mimic_joint_is_no_channel_and_bears_no_frame(tmp_path):
    follower = joint("second", "a", "c", more='<mimic joint="first" multiplier="-1"/>')
    text = urdf(joint("first", "a", "b"), follower)
    robot = made(tmp_path, text)
    assert robot.channel_names == ("first",) and "second" in robot.notes
    with pytest.raises(BadValue, match="'second', which follows joint 'first'"):
        made(tmp_path, text, frames=["c"])
    with pytest.raises(BadFile, match="mimics 'nobody'"):
        made(tmp_path, urdf(joint("second", "a", "c", more='<mimic joint="nobody"/>')))


def test_meshes_need_not_be_there(tmp_path):
    mesh = '<geometry><mesh filename="package://nowhere/a.stl"/></geometry>'
    text = urdf(*ARM).replace(
        '<link name="a"/>', f'<link name="a"><visual>{mesh}</visual><collision>{mesh}</collision></link>'
    )
    assert made(tmp_path, text).channel_names == ("base", "shoulder", "elbow")


def test_inertias_that_are_not_physical_do_not_matter(tmp_path):
    bad = '<inertial><mass value="-1"/><inertia ixx="1" iyy="9" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    assert made(tmp_path, urdf(*ARM).replace('<link name="a"/>', f'<link name="a">{bad}</link>'))


def test_a_free_base_is_held_and_said(tmp_path):
    text = urdf(joint("root_joint", "world", "root", "floating", ""), *ARM)
    robot = made(tmp_path, text)
    assert robot.channel_names == ("base", "shoulder", "elbow") and "root_joint" in robot.notes


def test_a_tree_has_a_frame_for_each_limb_and_fingers_have_none(tmp_path):
    limbs = []
    for side in "lr":
        parent = "torso"
        for k in range(3):
            limbs.append(joint(f"{side}_joint{k}", parent, f"{side}{k}", axis="0 1 0"))
            parent = f"{side}{k}"
        limbs.append(joint(f"{side}_hand", parent, f"{side}_palm", "fixed", ""))
        limbs.append(joint(f"{side}_gripper", f"{side}_palm", f"{side}_claw"))
    robot = made(tmp_path, urdf(joint("waist", "root", "torso"), *limbs))
    assert {f.name: f.joints for f in robot.frames} == {
        "l_palm": ("waist", "l_joint0", "l_joint1", "l_joint2"),
        "r_palm": ("waist", "r_joint0", "r_joint1", "r_joint2"),
    }
    kinds = {c.name: c.kind for c in robot.channels}
    assert kinds["l_gripper"] == kinds["r_gripper"] == "opening" and kinds["waist"] == "revolute"
    coupled = {c.name: c.coupling for c in robot.channels}
    assert coupled["waist"] == "" and coupled["l_joint1"] == "l_palm" and coupled["r_gripper"] == ""
    only = made(tmp_path, urdf(joint("waist", "root", "torso"), *limbs), frames=["torso"])
    assert [f.name for f in only.frames] == ["torso"]
    with pytest.raises(UnknownName, match=r"l_plam.*Did you mean 'l_palm'"):
        made(tmp_path, urdf(*limbs), frames=["l_plam"])


def test_openings_are_named_by_the_user_or_by_their_name(tmp_path):
    robot = made(tmp_path, urdf(joint("hand_close", "a", "b")), openings=["hand_close"])
    assert robot.channels[0].kind == "opening" and robot.channels[0].unit == "rad"
    with pytest.raises(UnknownName, match="joint"):
        made(tmp_path, urdf(*ARM), openings=["hand_close"])
    assert made(tmp_path, urdf(joint("gripper_yaw", "a", "b"))).channels[0].kind == "revolute", "it turns the wrist"


def test_home_is_zero_or_the_middle_of_the_range(tmp_path):
    text = urdf(joint("j", "a", "b", limit='<limit lower="-3" upper="-1" velocity="1"/>'))
    assert made(tmp_path, text).channels[0].home == -2.0


REFUSED = {
    "spherical": (urdf(joint("ball", "a", "b", "spherical")), "'ball' is a ball joint"),
    "type": (urdf(joint("odd", "a", "b", "screw")), "'odd' is of type 'screw'; expected one of revolute"),
    "link": (urdf(joint("j", "a", "b")).replace('<link name="b"/>', ""), "child link 'b'"),
    "two of a name": (urdf(joint("j", "a", "b"), joint("j", "b", "c")), "two joints are called 'j'"),
    "loop": (urdf(joint("j", "a", "b"), joint("k", "b", "a")), "one root"),
    "two parents": (urdf(joint("j", "a", "b"), joint("k", "c", "b")), "'b' has two parents"),
    "two roots": (urdf(joint("j", "a", "b"), links=["c"]), "one root"),
    "nothing moves": (urdf(joint("j", "a", "b", "fixed")), "no joint that moves"),
    "axis": (urdf(joint("j", "a", "b", axis="0 0 0")), "axis 0 0 0"),
    "number": (urdf(joint("j", "a", "b", origin="0 0 nan")), "3 finite numbers"),
    "huge": (urdf(joint("j", "a", "b", origin="0 0 1e400")), "3 finite numbers"),
    "limit": (urdf(joint("j", "a", "b", limit='<limit lower="low" upper="1"/>')), "finite number"),
    "xacro": (urdf(joint("j", "a", "b"), head='<xacro:include xmlns:xacro="x" filename="y"/>'), "xacro"),
    "empty": ("", "no XML"),
    "cut": (urdf(*ARM)[:200], "no XML"),
    "mjcf": ("<mujoco/>", "begins with <mujoco>"),
    "other": ("<sdf/>", "begins with <sdf>"),
    "entities": ('<!DOCTYPE r [<!ENTITY a "b">]><robot name="&a;"/>', "document type"),
    "deep": ("<robot>" + "<a>" * 5000 + "</a>" * 5000 + "</robot>", "nested"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_fact_named(tmp_path, case):
    text, fact = REFUSED[case]
    with pytest.raises(BadFile, match=fact):
        made(tmp_path, text)


def test_paths_that_are_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "no.urdf", "a\0b", "x" * 5000):
        with pytest.raises(UserError):
            from_urdf(path)
    with pytest.raises(BadFile, match="no XML"):
        (tmp_path / "bytes.urdf").write_bytes(bytes(range(256)))
        from_urdf(tmp_path / "bytes.urdf")


def test_limits_for_joints_that_are_not_there(tmp_path):
    with pytest.raises(UnknownName, match="elbwo"):
        made(tmp_path, urdf(*ARM), limits={"elbwo": {"velocity": 1.0}})
    with pytest.raises(UnknownName, match="speed"):
        made(tmp_path, urdf(*ARM), limits={"elbow": {"speed": 1.0}})
    with pytest.raises(BadValue, match=r"elbow.*velocity is -1"):
        made(tmp_path, urdf(*ARM), limits={"elbow": {"velocity": -1.0}})
