"""What is kept apart lies where the simulator draws it."""

import numpy as np
import pytest

from palmar.description.distances import shape_model
from palmar.description.gl import import_mujoco
from palmar.robots import mechanics, robot
from palmar.sim.params import WorldParams
from palmar.sim.scenes import add_robot, new_spec

mujoco = import_mujoco()


@pytest.mark.parametrize("name", ["arm7", "so101", "bimanual14"])
def test_shapes_of_links_lie_where_the_simulator_has_them(name):
    body, mechanical = robot(name), mechanics(robot(name))
    spec = new_spec()
    add_robot(spec, body, mechanical, WorldParams())
    drawn, kept = spec.compile(), shape_model(body)
    theirs, ours = mujoco.MjData(drawn), mujoco.MjData(kept)
    rng = np.random.default_rng(0)
    single = [link for link in mechanical.links if len(link.shapes) == 1 and body_of(body, link)]
    assert len(single) >= 5 or name == "so101"
    for _ in range(5):
        command = rng.uniform(body.lower, body.upper)
        for channel in body.joint_places:
            i = body.index(channel)
            scale, offset = body.channels[i].to_si
            q = command[i] * scale + offset
            theirs.joint(body.channels[i].described).qpos[0] = q
            ours.joint(channel).qpos[0] = q
        mujoco.mj_kinematics(drawn, theirs)
        mujoco.mj_kinematics(kept, ours)
        for link in single:
            g = int(drawn.body_geomadr[drawn.body(link.name).id])
            mine = ours.geom(link.name)
            assert np.abs(mine.xpos - theirs.geom_xpos[g]).max() < 1e-6, link.name
            ends = [m.reshape(3, 3)[:, 2] for m in (mine.xmat, theirs.geom_xmat[g])]
            assert abs(abs(ends[0] @ ends[1]) - 1) < 1e-6 or link.shapes[0].kind == "sphere", link.name
            assert np.allclose(
                kept.geom(link.name).size[: len(link.shapes[0].size)], drawn.geom_size[g][: len(link.shapes[0].size)]
            )


def body_of(body, link):
    """Whether a link is moved by the joints of frames alone: a finger is taken with its travel."""
    channels = {body.channels[body.index(n)].described for n in body.joint_places}
    return all(j.name in channels for j in link.joints)
