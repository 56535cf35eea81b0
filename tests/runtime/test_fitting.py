"""A policy is made to fit a robot by names, units and picture sizes, or refused by name."""

from dataclasses import replace

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.embodiments import Embodiment
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface, MappedPolicy
from palmar.robot_parts import Camera, Channel, state_of
from palmar.robots.arm7 import arm7
from palmar.runtime.fitting import fitted
from palmar.types import ActionChunk, Observation


class Recording:
    """Answers the same action; keeps what it was shown."""

    def __init__(self, interface, action=None):
        self.interface, self.action, self.seen = interface, action, []

    def act(self, obs, prefix=None):
        self.seen.append(obs)
        return ActionChunk(np.tile(np.float32(self.action), (8, 1)), self.interface.dt, obs.time)

    def reset(self):
        pass


def own():
    return bodies.gadget().interface(8)


def test_a_policy_of_the_same_interface_is_left_as_it_is():
    policy = Recording(own())
    assert fitted(policy, bodies.gadget()).policy is policy
    arm = Recording(arm7("channels").interface(8))
    assert fitted(arm, arm7()).robot.action_space == "channels"


def test_names_units_and_pictures_are_converted_both_ways():
    robot = bodies.gadget()
    theirs = replace(
        own(), cameras={"front": (12, 16)}, action_names=("j1", "elbow", "jaw", "wheel"),
        action_units=("deg", "rad", "opening", "m/s"), state_names=("j1.pos",), state_units=("deg",),
    )  # fmt: skip
    policy = Recording(theirs, [90.0, 0.5, 0.25, 0.1])
    fit = fitted(policy, robot, {"j1": "shoulder", "j1.pos": "shoulder.pos"}, {"front": "top"})
    assert isinstance(fit.policy, MappedPolicy) and any("does not use" in n for n in fit.notes)
    obs = bodies.Good(robot).observe()
    obs.state[0] = np.pi / 4
    chunk = fit.policy.act(obs)
    assert chunk.actions[0] == pytest.approx([np.pi / 2, 0.5, 25.0, 0.1], abs=1e-5)
    assert policy.seen[0].images["front"].shape == (12, 16, 3)
    assert policy.seen[0].state == pytest.approx([45.0], abs=1e-4)


def test_joints_of_the_description_are_known_by_their_name():
    channels = (Channel("pan", "revolute", "rad", -1, 1, 1.0, joint="Rotation"), bodies.gadget().channels[2])
    robot = Embodiment("arm", channels, cameras=(Camera("top", 24, 32),), state=state_of(channels, velocities=False))
    theirs = Interface({"top": (24, 32)}, ("Rotation.pos",), ("Rotation", "jaw"), 8)
    fit = fitted(Recording(theirs, [0.1, 50.0]), robot)
    assert fit.policy.act(
        Observation({"top": np.zeros((24, 32, 3), np.uint8)}, np.zeros(2, np.float32))
    ).actions.shape == (8, 2)
    assert "unit not stated" in fit.notes[0]


@pytest.mark.parametrize(
    ("changes", "options", "error", "said"),
    [
        ({"action_names": ("hip", "elbow", "jaw", "wheel")}, {}, BadValue, "action channel 'hip' is missing.*--names"),
        (
            {"action_names": ("elbow", "jaw", "wheel"), "action_units": ()},
            {},
            BadValue,
            "nobody commands action 'shoulder'",
        ),
        ({"cameras": {"wrist": (8, 8)}}, {}, BadValue, "camera 'wrist' is missing"),
        ({"action_units": ("m", "rad", "range_0_100", "m/s")}, {}, BadValue, "does not convert"),
        ({"dt": 1 / 30}, {}, BadValue, "at 10 Hz, the policy at 30 Hz"),
        ({"dt": 1 / 30, "cameras": {"wrist": (8, 8)}}, {}, BadValue, "camera 'wrist' is missing"),  # names before rates
        (
            {"dt": 1 / 30, "action_names": ("hip", "elbow", "jaw", "wheel")},
            {},
            BadValue,
            "action channel 'hip' is missing",
        ),
        ({}, {"names": {"x": "y"}}, UnknownName, "unknown channel of the policy in --names 'x'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, options, error, said):
    policy = Recording(replace(own(), **changes))
    with pytest.raises((error, BadValue), match=said):
        fitted(policy, bodies.gadget(), **options)


def test_a_channel_that_the_policy_lacks_can_be_held():
    theirs = replace(own(), action_names=("shoulder", "elbow", "jaw"), action_units=())
    fit = fitted(Recording(theirs, [0.1, 0.5, 50.0]), bodies.gadget(), held={"wheel": 0.0})
    assert fit.policy.act(bodies.Good(bodies.gadget()).observe()).actions[0] == pytest.approx([0.1, 0.5, 50.0, 0.0])
