"""The chain of every frame against MuJoCo's own kinematics of the original file."""
# ruff: noqa: E501 - robot descriptions in long lines

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.description import from_description
from palmar.description.build import read_description
from palmar.description.gl import import_mujoco
from palmar.description.tree import chain_to, words

mujoco = import_mujoco()

SPEED = {"rad": {"velocity": 1.0}, "m": {"velocity": 0.1}}
unit = st.floats(-1, 1).map(lambda x: round(x, 3))
vector = st.tuples(unit, unit, unit)
axis = vector.filter(lambda v: sum(x * x for x in v) > 0.01) | st.sampled_from(
    [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -1, 0)]
)


def text(values):
    return " ".join(map(str, values))


def compare(model, robot, said, seed=0):
    """Largest error of position and rotation over all bodies and sites that channels move."""
    rng, data, worst, seen = np.random.default_rng(seed), mujoco.MjData(model), 0.0, 0
    channel_of = {c.described: c.name for c in robot.channels}
    for point in said.tree.points:
        body = said.tree.points[point][0]
        if not any(j in channel_of for j in said.tree.above[body]) or set(said.tree.above[body]) & set(said.following):
            continue
        joints, chain = chain_to(said.tree, point, channel_of, said.following)
        for _ in range(3):
            q = rng.uniform(-2, 2, len(joints))
            mujoco.mj_resetData(model, data)
            for name, value in zip(joints, q, strict=True):
                data.qpos[model.jnt_qposadr[model.joint(name).id]] = value
            mujoco.mj_kinematics(model, data)
            p, R = chain.forward(q)
            at = data.site(point) if point in said.tree.sites else data.body(point)
            worst = max(worst, abs(p - at.xpos).max(), abs(R.ravel() - at.xmat).max())
            seen += 1
    return worst, seen


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), axis, vector, vector, vector, st.floats(-1, 1)), min_size=1, max_size=7),
    st.integers(0, 9),
)
def test_slanted_axes_anchors_and_references(tmp_path_factory, links, seed):
    inner = f'<site name="tip" pos="{text(links[0][2])}" euler="{text(links[0][3])}"/>'
    for k, (slides, axis, anchor, pos, euler, ref) in reversed(list(enumerate(links))):
        joint = f'<joint name="j{k}" type="{"slide" if slides else "hinge"}" axis="{text(axis)}" pos="{text(anchor)}" ref="{ref}" range="-3 3"/>'
        extra = f'<joint name="x{k}" axis="{text(axis[::-1])}" pos="{text(pos)}" range="-3 3"/>' if k % 3 == 1 else ""
        inner = (
            f'<body name="b{k}" pos="{text(pos)}" euler="{text(euler)}">{joint}{extra}<geom size=".1"/>{inner}</body>'
        )
    path = tmp_path_factory.mktemp("chain") / "arm.xml"
    path.write_text(f'<mujoco><compiler angle="radian"/><worldbody>{inner}</worldbody></mujoco>')
    robot, said = from_description(path, limits=SPEED), read_description(path)
    worst, seen = compare(mujoco.MjModel.from_xml_path(str(path)), robot, said, seed)
    assert seen >= 3 and worst < 1e-9


def test_a_urdf_tree_with_two_tips(tmp_path):
    parts = ['<robot name="r"><link name="root"/>']
    for side in "lr":
        parent = "root"
        for k, (kind, axis) in enumerate(
            [("revolute", "0.3 -0.5 0.8"), ("prismatic", "0 1 1"), ("revolute", "0 0 -1")]
        ):
            name = f"{side}{k}"
            parts.append(
                f'<link name="{name}"/><joint name="j{name}" type="{kind}"><parent link="{parent}"/><child link="{name}"/>'
                f'<origin xyz="0.1 {0.2 if side == "l" else -0.2} 0.3" rpy="0.4 -1.2 {k}"/><axis xyz="{axis}"/>'
                '<limit lower="-2" upper="2" velocity="1"/></joint>'
            )
            parent = name
        parts.append(
            f'<link name="{side}_tcp"/><joint name="{side}_end" type="fixed"><parent link="{parent}"/><child link="{side}_tcp"/>'
            '<origin xyz="0 0.05 0.1" rpy="0 0.5 0"/></joint>'
        )
    path = tmp_path / "two.urdf"
    path.write_text("".join(parts) + "</robot>")
    robot = from_description(path)
    assert [f.name for f in robot.frames] == ["l_tcp", "r_tcp"] and [len(f.joints) for f in robot.frames] == [3, 3]
    inertial = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    original = (
        "".join(parts)
        .replace('"/><joint', f'">{inertial}</link><joint')
        .replace('<robot name="r">', '<robot name="r"><mujoco><compiler fusestatic="false"/></mujoco>')
    )
    model = mujoco.MjModel.from_xml_string(original + "</robot>")
    worst, seen = compare(model, robot, read_description(path))
    assert seen >= 24 and worst < 1e-9


def test_a_free_base_stays_where_the_file_puts_it(tmp_path):
    path = tmp_path / "free.xml"
    path.write_text(
        '<mujoco><worldbody><body name="base" pos="1 2 3" euler="10 20 30"><freejoint/><geom size=".1"/>'
        '<body name="arm" pos="0 0 1"><joint name="j" axis="1 1 0" range="-90 90"/><geom size=".1"/></body></body></worldbody></mujoco>'
    )
    robot = from_description(path, limits=SPEED, frames=["arm"])
    worst, seen = compare(mujoco.MjModel.from_xml_path(str(path)), robot, read_description(path))
    assert seen and worst < 1e-9


@pytest.mark.parametrize(
    ("name", "expected"),
    {"L_FingerJoint2": {"l", "finger", "joint"}, "LTCPLink": {"ltcp", "link"}, "moving_jaw": {"moving", "jaw"}}.items(),
)
def test_words(name, expected):
    assert words(name) == expected
