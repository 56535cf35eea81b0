"""What travels between the loop and the watchdog comes out as it went in; anything else is refused."""

import socket
import struct

import numpy as np
import pytest
from faulty_bodies import gadget

from palmar.errors import RobotFault
from palmar.robots.arm7 import arm7
from palmar.runtime.supervision.link import HEADER, LONGEST, MAGIC, Ended, Kind, observation, observed, receive, send
from palmar.types import Observation

ROBOT = arm7()
CAMERAS = [c.name for c in ROBOT.cameras]


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    yield a, b
    a.close()
    b.close()


@pytest.mark.parametrize("cameras", [[], ["front"], ["front", "wrist"], ["wrist"]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_observation_is_the_same_bit_for_bit(cameras, dtype, pair):
    rng = np.random.default_rng(0)
    images = {c: rng.integers(0, 256, (20 + i, 30, 3), np.uint8) for i, c in enumerate(cameras)}
    state = rng.normal(size=len(ROBOT.state)).astype(dtype)
    state[:3] = np.nan, np.inf, -0.0
    obs = Observation({c: i[:, ::-1] for c, i in images.items()}, state, "räume den Tisch auf", 12.3456789012345)
    send(pair[0], Kind.SEEN, *observed(obs, CAMERAS))
    kind, payload = receive(pair[1])
    back = observation(payload, ROBOT)
    assert kind is Kind.SEEN and (back.time, back.instruction) == (obs.time, obs.instruction)
    assert back.state.dtype == dtype and back.state.tobytes() == state.tobytes()
    assert list(back.images) == cameras
    for c in cameras:
        np.testing.assert_array_equal(back.images[c], obs.images[c])


def test_a_camera_of_no_robot_is_refused():
    obs = Observation({"other": np.zeros((2, 2, 3), np.uint8)}, np.zeros(len(ROBOT.state), np.float32))
    with pytest.raises(RobotFault, match="camera 'other'; its robot has front, wrist"):
        observed(obs, CAMERAS)


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\n", HEADER.pack(b"pb", 99, 0), HEADER.pack(MAGIC, Kind.SEEN, LONGEST + 1)]
)
def test_other_words_are_refused(raw, pair):
    pair[0].sendall(raw)
    with pytest.raises(RobotFault, match="a message begins"):
        receive(pair[1])


def test_a_message_that_is_cut_off_is_an_end(pair):
    pair[0].sendall(HEADER.pack(MAGIC, Kind.SEEN, 100) + b"half")
    pair[0].close()
    with pytest.raises(Ended):
        receive(pair[1])
    with pytest.raises(Ended):
        send(pair[1], Kind.CLOSE)


@pytest.mark.parametrize("payload", [b"", b"short", struct.pack("<dBIH", 0.0, 0, 3, 9), bytes(200)])
def test_an_observation_of_another_robot_is_refused(payload):
    short = struct.pack("<dBIH", 0.0, 0, 1, 0) + bytes(4 * len(gadget().state)) + struct.pack("<II", 999, 999)
    for data in (payload[:10], short):
        with pytest.raises(RobotFault, match="does not fit gadget"):
            observation(memoryview(data), gadget())
