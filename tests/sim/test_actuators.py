"""How wide a gripper opens is told by the robot's description: by the way of fingers that slide, else by its servo."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.robots import mechanics, robot
from palmar.sim import tasks
from palmar.sim.actuators import Actuators
from palmar.sim.world import World


def loaded(name):
    world = World(robot(name), images=False)
    world.load(tasks.sample(tasks.names(name)[0], "seen", 0))
    return world


@pytest.mark.parametrize(("name", "channel", "wide"), [("arm7", "gripper", 0.08), ("bimanual14", "left_gripper", None)])
def test_fingers_that_slide_open_as_wide_as_they_travel(name, channel, wide):
    world = loaded(name)
    servo = next(s for s in mechanics(world.embodiment).servos if s.channel == channel)
    assert world.grip_width == pytest.approx(2 * servo.travel[1]) and wide in (None, pytest.approx(world.grip_width))
    world.close()


def test_a_jaw_that_turns_opens_as_wide_as_its_tip_moves():
    world = loaded("so101")
    tips = []
    for opening in (0.0, 100.0):
        world.pose(np.append(world.embodiment.home[:5], opening), {})
        jaw = next(s for link in mechanics(world.embodiment).links if link.name == "jaw" for s in link.shapes)
        body = world.data.body("jaw")
        tips.append(body.xpos + body.xmat.reshape(3, 3) @ np.array(jaw.end))
    assert world.grip_width == pytest.approx(np.linalg.norm(tips[1] - tips[0]), abs=1e-6)
    assert 0.05 < world.grip_width < 0.15
    world.close()


def test_a_width_that_is_not_known_is_told():
    world, made = loaded("so101"), mechanics(robot("so101"))
    bare = replace(made, servos=tuple(replace(s, width=None) for s in made.servos))
    with pytest.raises(BadValue, match=r"how wide gripper 'gripper.pos' of so101 opens is not known.*Servo\(…, width"):
        Actuators(world.embodiment, bare, world.model).width("gripper.pos")
    world.close()
