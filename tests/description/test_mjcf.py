"""MJCF strings of our own: actuators, couplings, tendons, includes, what is refused."""
# ruff: noqa: E501 - robot descriptions in long lines

import numpy as np
import pytest

from palmar.description import from_description, from_mjcf
from palmar.errors import BadFile, BadValue

ARM = """<mujoco model="arm"><compiler angle="radian"/>
<asset><mesh name="m" file="not_there.stl"/><texture name="t" type="2d" file="no.png"/><material name="mat" texture="t"/></asset>
<worldbody><geom type="plane" size="1 1 1"/><light pos="0 0 3"/>
 <body name="a"><geom type="mesh" mesh="m" material="mat"/><joint name="j1" axis="0 0 1" range="-2 2" actuatorfrcrange="-5 5"/>
  <body name="b" pos="0 0 .3"><joint name="j2" axis="0 1 0" range="-1 1"/>
   <body name="c" pos=".2 0 0"><joint name="j3" axis="1 0 0"/><site name="tcp" pos=".1 0 0" material="mat"/>
    <body name="f1"><joint name="f1" type="slide" axis="0 1 0" range="0 .04"/></body>
    <body name="f2"><joint name="f2" type="slide" axis="0 -1 0" range="0 .04"/></body>
 </body></body></body></worldbody>{more}</mujoco>"""
SPEED = {"rad": {"velocity": 1.0}, "m": {"velocity": 0.1}}


def made(tmp_path, text, **options):
    path = tmp_path / "arm.xml"
    path.write_text(text)
    return from_mjcf(path, **({"limits": SPEED} | options))


def test_all_joints_when_there_are_no_actuators_and_no_velocity_is_stated(tmp_path):
    text = ARM.format(more="")
    with pytest.raises(BadValue, match="velocity limit of j1, j2, j3, f1, f2"):
        made(tmp_path, text, limits=None)
    robot = made(tmp_path, text)
    assert robot.channel_names == ("j1", "j2", "j3", "f1", "f2")
    assert [c.kind for c in robot.channels] == ["revolute", "revolute", "continuous", "prismatic", "prismatic"]
    assert robot.channels[0].effort == 5.0
    assert made(tmp_path, text.replace('"f1"', '"finger1"').replace('"f2"', '"finger2"')).frames[0].name == "tcp"


def test_actuators_choose_the_channels_their_order_and_ranges(tmp_path):
    more = """<actuator><position joint="j2" ctrlrange="-.5 2" kp="10"/><position joint="j1" kp="10" forcerange="-3 3"/>
    <velocity joint="j3" kv="1" ctrlrange="-4 4"/></actuator>"""
    robot = made(tmp_path, ARM.format(more=more))
    assert robot.channel_names == ("j2", "j1", "j3")
    j2, j1, j3 = robot.channels
    assert (j2.lower, j2.upper) == (-0.5, 1.0) and (j1.lower, j1.upper, j1.effort) == (-2.0, 2.0, 3.0)
    assert (j3.kind, j3.unit, j3.lower, j3.upper, j3.velocity) == ("velocity", "rad/s", -4.0, 4.0, 4.0)
    assert "f1, f2" in robot.notes and not robot.frames
    with pytest.raises(BadValue, match="'j3', which is commanded by its speed"):
        made(tmp_path, ARM.format(more=more), frames=["tcp"])


def test_a_tendon_that_one_actuator_pulls_is_one_channel(tmp_path):
    tendon = '<tendon><fixed name="grip"><joint joint="f1" coef=".5"/><joint joint="f2" coef=".5"/></fixed></tendon>'
    arm = '<position joint="j1" kp="1"/><position joint="j2" kp="1"/><position joint="j3" kp="1"/>'
    direct = f'{tendon}<actuator>{arm}<position name="hand" tendon="grip" kp="1" ctrlrange="0 .04"/></actuator>'
    hand = made(tmp_path, ARM.format(more=direct)).channels[3]
    assert (hand.name, hand.kind, hand.unit, hand.upper) == ("hand", "opening", "m", 0.04)
    general = (
        '<general name="hand" tendon="grip" biastype="affine" gainprm=".015" biasprm="0 -100 -10" ctrlrange="0 255"/>'
    )
    own = ARM.format(more=f"{tendon}<actuator>{arm}{general}</actuator>")
    robot = made(tmp_path, own, limits=SPEED | {"hand": {"velocity": 500.0}})
    assert (robot.channels[3].unit, robot.channels[3].upper) == ("", 255.0) and "unit of hand" in robot.notes
    assert [f.name for f in robot.frames] == ["tcp"]


def test_a_joint_that_an_equality_constraint_couples_follows(tmp_path):
    robot = made(tmp_path, ARM.format(more='<equality><joint joint1="f2" joint2="f1"/></equality>'))
    assert robot.channel_names == ("j1", "j2", "j3", "f1") and "f2" in robot.notes
    off = made(tmp_path, ARM.format(more='<equality><joint joint1="f2" joint2="f1" active="false"/></equality>'))
    assert "f2" in off.channel_names


def test_free_bodies_are_held_and_ball_joints_refused(tmp_path):
    box = '<worldbody><body name="box" pos="1 0 0"><freejoint/><geom size=".1"/></body></worldbody>'
    robot = made(tmp_path, ARM.format(more=box))
    assert len(robot.channels) == 5 and "box" in robot.notes
    ball = '<worldbody><body><joint name="hip" type="ball"/><geom size=".1"/></body></worldbody>'
    with pytest.raises(BadFile, match="hip is a ball joint"):
        made(tmp_path, ARM.format(more=ball))


def test_a_keyframe_is_home_within_the_range(tmp_path):
    key = '<keyframe><key name="rest" qpos="0 0 0 0 0"/><key name="home" qpos="1 3 -.5 .01 0" ctrl="1"/></keyframe>'
    robot = made(tmp_path, ARM.format(more=key.replace(' ctrl="1"', "")))
    np.testing.assert_allclose(robot.home, [1, 1, -0.5, 0.01, 0])


def test_includes_from_the_folder_alone(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "more.xml").write_text(
        '<mujocoinclude><body name="d"><joint name="k" range="-10 10"/></body></mujocoinclude>'
    )
    (tmp_path.parent / "secret.xml").write_text("<mujocoinclude/>")
    text = '<mujoco><worldbody><body name="a"><joint name="j" range="-90 90"/>{}</body></worldbody></mujoco>'
    robot = made(tmp_path, text.format('<include file="parts/more.xml"/>'))
    assert robot.channel_names == ("j", "k") and robot.channels[0].upper == pytest.approx(np.pi / 2), (
        "degrees by default"
    )
    for file, fact in {
        "../secret.xml": "expected a file in", "/etc/passwd": "expected a file in", "gone.xml": "there is no", "": "expected a file",
        "arm.xml": "twice", "parts": "no file",
    }.items():  # fmt: skip
        with pytest.raises(BadFile, match=fact):
            made(tmp_path, text.format(f'<include file="{file}"/>'))


def test_several_joints_of_one_body_and_joints_without_a_name(tmp_path):
    body = '<body name="base"><joint type="slide" axis="1 0 0" range="-1 1"/><joint name="yaw" range="-90 90"/></body>'
    robot = made(tmp_path, f"<mujoco><worldbody>{body}</worldbody></mujoco>", frames=["base"])
    assert robot.channel_names == ("base.joint0", "yaw") and robot.frames[0].chain.slides == (True, False)


REFUSED = {
    "nothing": ("<mujoco/>", "no joint that can be commanded"),
    "urdf": ("<robot/>", "expected <mujoco>"),
    "part": ("<mujocoinclude/>", "expected <mujoco>"),
    "attach": ('<mujoco><worldbody><attach model="x"/></worldbody></mujoco>', "attaches another model"),
    "copies": ('<mujoco><worldbody><replicate count="999999999"><body/></replicate></worldbody></mujoco>', "replicates"),
    "class": ('<mujoco><worldbody><body><joint class="none"/></body></worldbody></mujoco>', "MuJoCo says"),
    "nan": ('<mujoco><worldbody><body pos="0 NaN 0"><joint/></body></worldbody></mujoco>', "expected finite numbers"),
    "number": ('<mujoco><worldbody><body pos="0 a 0"><joint/></body></worldbody></mujoco>', "MuJoCo says"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_fact_named(tmp_path, case):
    text, fact = REFUSED[case]
    with pytest.raises(BadFile, match=fact):
        made(tmp_path, text)


def test_the_first_element_tells_the_format(tmp_path):
    (tmp_path / "arm.urdf").write_text(ARM.format(more=""))
    assert from_description(tmp_path / "arm.urdf", limits=SPEED).name == "arm"
