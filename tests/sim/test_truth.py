"""Where things and the gripper are, as networks learn it: from the truth, and of older rows by the frame that the state tells."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.robot_parts import state_of
from palmar.robots import robot
from palmar.robots.arm7 import arm7
from palmar.sim import camera, tasks, truth
from palmar.sim.params import NOMINAL
from palmar.sim.world import World


def renamed(name):
    """arm7 with its frame called otherwise."""
    made = arm7()
    frame = replace(made.frame(), name=name)
    return replace(made, frames=(frame,), state=state_of(made.channels, (frame,)))


def older(made):
    """Names of a row that does not tell where the tool is."""
    return tuple(n for n in truth.names(made) if truth.TOOL not in n)


@pytest.mark.parametrize("name", ["tcp", "hand.tip"])
def test_the_tool_is_the_frame_of_the_state(name):
    made = renamed(name)
    order = older(made)
    values = {n: 0.0 for n in order} | {"target.x": 0.5, "target.y": 0.1, "target.z": 0.2}
    state = made.state_from(made.home, np.zeros(8))
    tool = made.pose(made.frame(), made.home)[0]
    labels = truth.decoder(order, ["front", "wrist"], made.state_names)(truth.encode(order, values)[None], state[None])
    assert labels["known"].all()
    assert labels["relative"][0, 0] == pytest.approx((np.array([0.5, 0.1, 0.2]) - tool) / truth.DECIMETRE, abs=1e-5)


def test_a_state_without_a_pose_or_with_several_tells_no_tool():
    made = arm7()
    order = older(made)
    row = truth.encode(order, dict.fromkeys(order, 0.0))[None]
    for names in (("joint1.pos",), (*made.state_names, *(n.replace("tcp.", "other.") for n in made.state_names[-7:]))):
        labels = truth.decoder(order, ["front"], names)(row, np.zeros((1, len(names))))
        assert not labels["known"].any()


def test_a_robot_of_several_frames_is_told_by_its_row():
    made = robot("bimanual14")
    order = truth.names(made)
    row = truth.encode(order, {n: 0.3 if n.startswith("tool.") else 0.5 for n in order})[None]
    labels = truth.decoder(order, [made.cameras[0].name], made.state_names)(row, np.zeros((1, len(made.state))))
    assert labels["known"].all() and labels["relative"] == pytest.approx(np.full((1, 2, 3), 2.0), abs=1e-5)


def test_the_tool_is_where_it_truly_is_and_where_the_camera_shows_it():
    """Zero errors move what the state tells, a turned camera what the picture shows: the labels go by neither."""
    off = NOMINAL.replace(**{f"zero_{k}": 2.0 for k in range(1, 8)}, camera_yaw=5.0)
    world = World()
    try:
        scene, cameras = tasks.sample("pick", "layout", 3), list(world.embodiment.cameras)
        made = truth.decoder(world.truth_names, [c.name for c in cameras], world.embodiment.state_names)
        seen = []
        for params in (NOMINAL, off):
            obs = world.load(scene, params, 5)
            labels = made(obs.privileged[None], obs.state[None])
            away = world.item(scene.target) - world.tcp
            assert labels["relative"][0, 0] == pytest.approx(away / truth.DECIMETRE, abs=1e-4)
            u, v, _ = camera.project(world.data, world.model, cameras[0], world.tcp, (0.0, 0.0))
            assert labels["points"][0, 0, -1] == pytest.approx([u, v], abs=1e-5)
            assert labels["visible"][0, 0].tolist()[-1] == 1.0
            told = obs.state[world.embodiment.state_names.index("tcp.x")]
            seen.append((labels["points"][0, 0, -1], abs(told - world.tcp[0])))
        assert np.linalg.norm(seen[1][0] - seen[0][0]) > 0.03
        assert seen[1][1] > 0.005 > seen[0][1]
    finally:
        world.close()


def test_the_tool_is_not_seen_outside_the_picture():
    world = World()
    try:
        world.load(tasks.sample("pick", "layout", 3))
        front = world.embodiment.cameras[0]
        world.model.cam_fovy[world.model.camera(front.name).id] = 2.0
        seen = dict(zip(world.truth_names, world.privileged(), strict=True))
        assert seen["front.tool.visible"] == 0.0
    finally:
        world.close()
