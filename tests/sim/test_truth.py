"""Where things and the gripper are, as networks learn it: from the truth, and of older rows by the frame that the state tells."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.robot_parts import state_of
from palmar.robots import robot
from palmar.robots.arm7 import arm7
from palmar.sim import tasks, truth
from palmar.sim.params import NOMINAL
from palmar.sim.world import World


def renamed(name):
    """arm7 with its frame called otherwise."""
    made = arm7()
    frame = replace(made.frame(), name=name)
    return replace(made, frames=(frame,), state=state_of(made.channels, (frame,)))


def older(made):
    """Names of a row that does not tell where the tool is."""
    return tuple(n for n in truth.names(made) if not n.startswith("tool."))


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


def test_the_tool_is_where_it_truly_is():
    """Zero errors move what the state tells: the labels do not go by it."""
    world = World()
    try:
        scene, robot = tasks.sample("pick", "layout", 3), world.embodiment
        made = truth.decoder(world.truth_names, [c.name for c in robot.cameras], robot.state_names)
        wrong = []
        for params in (NOMINAL, NOMINAL.replace(**{f"zero_{k}": 2.0 for k in range(1, 8)})):
            obs = world.load(scene, params, 5)
            labels = made(obs.privileged[None], obs.state[None])
            away = world.item(scene.target) - world.tcp
            assert labels["relative"][0, 0] == pytest.approx(away / truth.DECIMETRE, abs=1e-4)
            wrong.append(abs(obs.state[robot.state_names.index("tcp.x")] - world.tcp[0]))
        assert wrong[1] > 0.005 > wrong[0]
    finally:
        world.close()
