"""A robot of lerobot as a body, against a package with lerobot's published interface: names, units, pictures, every fault."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lerobot_stand_in import FOLLOWER, FRONT, ROBOT, SEEING, standing_in

from palmar.checks import Check
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, MissingPackage, RobotFault, UnknownName
from palmar.robot_parts import Camera, Channel, Measurement
from palmar.runtime.bodies import lerobot_body
from palmar.runtime.bodies.approval import require_checked, write_result
from palmar.runtime.bodies.check_body import check_body
from palmar.runtime.bodies.find import find_body
from palmar.runtime.bodies.lerobot_robot import robot_of
from palmar.runtime.bodies.remote import RemoteBody
from palmar.runtime.clock import SimClock
from palmar.runtime.deploy import deploy
from palmar.runtime.supervision.hosted import HostedBody
from palmar.serve.bodies import BodyConfig, BodyServer
from palmar.types import ActionChunk

DEGREES = "lerobot:so101_follower?port=follower"


@pytest.fixture(autouse=True)
def lerobot(monkeypatch):
    with standing_in(monkeypatch) as simulated:
        yield simulated


def in_unit(unit: str, lower: float, upper: float, span=None) -> Embodiment:
    """The arm with its five joints in another unit."""
    channels = tuple(
        Channel(c.name, c.kind, unit, lower, upper, velocity=upper - lower, span=span) if c.kind == "revolute" else c
        for c in ROBOT.channels
    )
    state = tuple(Measurement(c.name, c.unit, "position", c.name) for c in channels)
    return Embodiment("arm", channels, state=state, control_rate=30.0, policy_rate=30.0)


def test_motors_are_channels_and_cameras_are_cameras(lerobot) -> None:
    body = find_body(FOLLOWER + FRONT).connect(SEEING)
    port = lerobot.PORTS["follower"]
    port.at |= {"shoulder_pan": -20.0, "gripper": 70.0}
    obs = body.observe()
    assert obs.state.tolist() == [-20, 10, 10, 10, 10, 70] and obs.images["front"].shape == (48, 64, 3)
    assert not body.observe(images=False).images and body.observe().time > obs.time
    body.apply(np.array([1.0, 2, 3, 4, 5, 6]))
    assert port.sent == [{f"{m}.pos": i + 1.0 for i, m in enumerate(lerobot.JOINTS)}]
    assert body.reset(3).state.tolist() == [1, 2, 3, 4, 5, 6]
    body.close()
    assert not port.connected and not port.torque


def test_units_are_converted_both_ways(lerobot) -> None:
    """Degrees to radians, and shares of a range whose ends the robot file states."""
    body = find_body(DEGREES).connect(in_unit("rad", -1.7, 1.7))
    assert body.observe().state == pytest.approx([*[np.deg2rad(10)] * 5, 10])
    body.apply(np.array([0.5, 0, 0, 0, -0.5, 20]))
    sent = lerobot.PORTS["follower"].sent[-1]
    assert sent["shoulder_pan.pos"] == pytest.approx(np.rad2deg(0.5)) and sent["gripper.pos"] == 20
    body = find_body(FOLLOWER).connect(in_unit("rad", -1.0, 2.0, span=(-1.0, 2.0)))
    body.apply(np.array([0.5, -1, 2, 0.5, 0.5, 20]))
    assert list(lerobot.PORTS["follower"].sent[-1].values()) == pytest.approx([0, -100, 100, 0, 0, 20])
    assert body.observe().state == pytest.approx([0.5, -1, 2, 0.5, 0.5, 20])


def test_a_channel_is_found_by_the_joint_it_moves(lerobot) -> None:
    channels = tuple(
        replace(c, name=f"a{i}", joint=m) for i, (c, m) in enumerate(zip(ROBOT.channels, lerobot.JOINTS, strict=True))
    )
    state = tuple(Measurement(c.name, c.unit, "position", c.name) for c in channels[::-1])
    body = find_body(FOLLOWER).connect(Embodiment("arm", channels, state=state))
    body.apply(np.arange(6.0))
    assert lerobot.PORTS["follower"].at == dict(zip(lerobot.JOINTS, np.arange(6.0), strict=True))
    assert body.observe().state.tolist() == [5, 4, 3, 2, 1, 0]


BASE = (("x.vel", "m/s"), ("y.vel", "m/s"), ("theta.vel", "deg/s"))


def base(unit: str = "rad/s") -> Embodiment:
    units = ("m/s", "m/s", unit)
    channels = tuple(Channel(n, "velocity", u, -1, 1, 1) for (n, _), u in zip(BASE, units, strict=True))
    state = (*(Measurement(c.name, c.unit, "position", c.name) for c in channels), Measurement("battery", "1"))
    return Embodiment("base", channels, state=state)


def test_units_that_lerobot_does_not_tell_are_stated_by_a_person() -> None:
    stated = "units={x.vel: m/s, y.vel: m/s, theta.vel: deg/s, battery: 1}".replace("1}", "'1'}")
    body = find_body(f"lerobot:base?{stated}").connect(base())
    body.apply(np.array([0.1, 0.2, 0.5]))
    assert body.inner.device.at["theta.vel"] == pytest.approx(np.rad2deg(0.5))
    assert body.observe().state == pytest.approx([0.1, 0.2, 0.5, 0.5])
    for units, said in (
        ("", "does not tell in which unit 'lerobot:base' gives 'x.vel'"),
        (
            "?units={x.vel: m/s, y.vel: m/s, theta.vel: deg/s}",
            "does not tell in which unit 'lerobot:base' gives 'battery'",
        ),
        ("?units=m", "unit 'm' (length) does not convert to 'm/s'"),
    ):
        with pytest.raises(BadValue) as error:
            find_body(f"lerobot:base{units}").connect(base())
        assert said in str(error.value) and "Next: " in str(error.value)


@pytest.mark.parametrize(
    ("where", "robot", "kind", "said"),
    [
        ("lerobot:", ROBOT, BadValue, "names no type of lerobot"),
        ("lerobot:../x?port=a", ROBOT, BadValue, "names no type of lerobot"),
        ("lerobot:so101_follower", ROBOT, BadValue, "lacks port. Next: 'lerobot:so101_follower?port=VALUE'"),
        ("lerobot:so101_follower?port", ROBOT, BadValue, "setting 'port'; expected NAME=VALUE"),
        ("lerobot:so101_follower?port=a&port=b", ROBOT, BadValue, "has 'port' twice"),
        ("lerobot:so101_folower?port=a", ROBOT, UnknownName, "Did you mean 'so101_follower'?"),
        ("lerobot:so101_follower?prt=a", ROBOT, UnknownName, "unknown setting of 'lerobot:so101_follower' 'prt'"),
        ("lerobot:so101_follower?port=a&use_degrees=no", ROBOT, BadValue, "Couldn't parse 'no' into a bool"),
        ("lerobot:odd", ROBOT, MissingPackage, "'odd' of lerobot needs 'its_sdk'"),
        ("lerobot:base?units=m/q", ROBOT, UnknownName, "unknown unit 'm/q'"),
        ("lerobot:base?units=[m/s]", ROBOT, BadValue, "expected a unit, or {NAME: UNIT, …}"),
        ("lerobot:base?units={z.vel: m/s}", base(), UnknownName, "unknown name in units of 'lerobot:base' 'z.vel'"),
        (f"{FOLLOWER}&units={{gripper.pos: rad}}", ROBOT, BadValue, "states rad for 'gripper.pos'; lerobot gives it in range_0"),
        (DEGREES, ROBOT, BadValue, "'shoulder_pan.pos' in deg; 'shoulder_pan.pos' is in range_m100_100"),
        (FOLLOWER, in_unit("rad", -1.7, 1.7), BadValue, "converts to 'rad' only where both ends of the range are known"),
        (FOLLOWER, in_unit("", -1.7, 1.7), BadValue, "the robot file states no unit for 'shoulder_pan.pos'"),
        (FOLLOWER, base(), BadValue, "Not in both: shoulder_pan.pos"),
        ("lerobot:base?units=m/s", ROBOT, BadValue, "Not in both: x.vel"),
        (FOLLOWER, SEEING, BadValue, "so101 has a camera 'front', which 'lerobot:so101_follower at follower' has not"),
        (FOLLOWER + FRONT, ROBOT, BadValue, "has a camera 'front' of 48×64 px; so101 has no such camera"),
        (FOLLOWER + FRONT, replace(ROBOT, cameras=(Camera("front"),)), BadValue, "48×64 px; so101 has 96×96 px"),
        (f"{FOLLOWER}&cameras={{front: {{type: fak}}}}", SEEING, UnknownName, "Did you mean 'fake'?"),
        (f"{FOLLOWER}&cameras={{front: {{type: fake", SEEING, BadValue, "cameras cannot be read"),
        (FOLLOWER + FRONT.replace("fps: 30", "fps: 30, color_mode: bgr"), SEEING, BadValue, "gives bgr; expected rgb"),
        (f"{FOLLOWER}&cameras=front", SEEING, BadValue, "has cameras=front; expected {NAME:"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_name(where, robot, kind, said) -> None:
    with pytest.raises(kind) as error:
        find_body(where).connect(robot)
    assert said in str(error.value), error.value
    assert kind is UnknownName or "Next: " in str(error.value)


def test_a_state_that_lerobot_does_not_observe_is_refused() -> None:
    odd = replace(ROBOT, state=(*ROBOT.state, Measurement("tcp.x", "m")))
    with pytest.raises(
        BadValue, match=r"the state of so101 has 'tcp.x'; 'lerobot:so101_follower at follower' observes"
    ):
        find_body(FOLLOWER).connect(odd)


def test_without_lerobot_the_message_says_what_to_install(monkeypatch) -> None:
    from palmar.runtime.bodies import lerobot_device

    monkeypatch.setattr(lerobot_device.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"'lerobot' is not installed.*pip install lerobot"):
        find_body(FOLLOWER)


# ------------------------------------------------------------------------------------------------ calibration


def test_a_robot_that_is_not_calibrated_is_let_go_of(lerobot) -> None:
    lerobot.port("follower").calibrated = False
    with pytest.raises(
        BadValue, match=r"not calibrated as '/calibration/left.json' says.*lerobot-calibrate --robot.type=so101_f"
    ):
        find_body(f"{FOLLOWER}&id=left").connect(ROBOT)
    assert not lerobot.PORTS["follower"].connected


def test_another_calibration_wants_another_check(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HF_LEROBOT_CALIBRATION", str(tmp_path))
    (tmp_path / "robots/so_follower").mkdir(parents=True)
    where, file = f"{FOLLOWER}&id=left", tmp_path / "robots/so_follower/left.json"
    digests = [find_body(where).digest]
    for text in ("one", "two"):
        file.write_text(text)
        digests.append(find_body(where).digest)
    digests.append(find_body(f"{where}&calibration_dir={tmp_path}").digest)
    assert len(set(digests)) == 4
    with pytest.raises(BadValue, match="has not passed its check as robot 'so101'"):
        require_checked(ROBOT, find_body(where), "so101")


# ------------------------------------------------------------------------------------------------ faults


def test_a_missed_answer_is_asked_for_again_once(lerobot) -> None:
    body, missed = find_body(FOLLOWER).connect(ROBOT), []
    read = body.inner.device.get_observation

    def now_and_then():
        missed.append(len(missed) % 2 == 0)
        if missed[-1]:
            raise ConnectionError("There is no status packet!")
        return read()

    body.inner.device.get_observation = now_and_then
    assert body.observe().state[0] == 10 and missed == [True, False]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ConnectionError("There is no status packet!"), "'lerobot:so101_follower at follower' does not answer: ConnectionError"),
        (OSError(5, "Input/output error"), "does not answer: OSError: [Errno 5] Input/output error"),
        (RuntimeError("broken"), "does not answer: RuntimeError: broken"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["observe", "apply", "reset"])
def test_a_pulled_cable_is_a_fault_of_the_robot_by_its_name(lerobot, fault, said, verb) -> None:
    body = find_body(FOLLOWER).connect(ROBOT)
    lerobot.PORTS["follower"].fault = fault
    with pytest.raises(RobotFault) as error:
        body.apply(ROBOT.home) if verb == "apply" else getattr(body, verb)()
    assert said in str(error.value) and "Next: its cable" in str(error.value)
    body.close()  # what cannot be let go of any more has been told


def test_a_device_that_is_not_connected_any_more_is_one(lerobot) -> None:
    body = find_body(FOLLOWER).connect(ROBOT)
    lerobot.PORTS["follower"].connected = False
    with pytest.raises(RobotFault, match="does not answer: DeviceNotConnectedError"):
        body.observe()


def test_a_camera_that_vanishes_is_named_and_the_motors_are_let_go_of(lerobot) -> None:
    body = find_body(FOLLOWER + FRONT).connect(SEEING)
    lerobot.port("camera0").dark = True
    with pytest.raises(
        RobotFault, match=r"camera 'front' of 'lerobot:so101_follower at follower' gives no picture: TimeoutError"
    ):
        body.observe()
    body.inner.device.cameras["front"].is_connected = False  # lerobot's own disconnect refuses then
    body.close()
    assert not lerobot.PORTS["follower"].torque


def test_a_picture_of_another_size_is_a_fault() -> None:
    body = find_body(FOLLOWER + FRONT.replace("fps: 30", "fps: 30, wrong: size"))
    with pytest.raises(RobotFault, match=r"camera 'front' .* gives uint8\[24, 64, 3\]; expected uint8\[48, 64, 3\]"):
        body.connect(SEEING).observe()


def test_a_motor_that_reads_nothing_is_named(lerobot) -> None:
    body = find_body(FOLLOWER).connect(ROBOT)
    lerobot.PORTS["follower"].at["elbow_flex"] = float("nan")
    with pytest.raises(RobotFault, match=r"gives nan for 'elbow_flex.pos'"):
        body.observe()
    del lerobot.PORTS["follower"].at["elbow_flex"]
    with pytest.raises(RobotFault, match=r"gives no 'elbow_flex.pos'"):
        body.observe()


def test_a_robot_that_cannot_be_connected_is_a_fault(lerobot) -> None:
    lerobot.port("follower").fault = ConnectionError("Could not connect on port 'follower'.")
    with pytest.raises(RobotFault, match=r"cannot be connected: ConnectionError: Could not.*lerobot-find-port"):
        find_body(FOLLOWER).connect(ROBOT)


def test_a_missed_answer_while_it_connects_is_no_end(lerobot, monkeypatch) -> None:
    tries, use = [], lerobot.Port.use

    def missed(self) -> None:
        tries.append(self)
        if len(tries) == 1:
            raise ConnectionError("There is no status packet!")
        use(self)

    monkeypatch.setattr(lerobot.Port, "use", missed)
    assert find_body(FOLLOWER).connect(ROBOT).observe().state[0] == 10 and len(tries) == 3


def test_motors_that_may_still_hold_are_told(lerobot) -> None:
    body = find_body(FOLLOWER).connect(ROBOT)
    lerobot.PORTS["follower"].fault = ConnectionError("Failed to write 'Torque_Enable'")
    with pytest.raises(RobotFault, match=r"cannot be let go of: ConnectionError.*switch its power off"):
        body.close()


class Nod:
    interface = ROBOT.with_action_space("channels").interface(8)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs, prefix=None):
        return ActionChunk(np.tile(obs.state, (8, 1)), 1 / 30, obs.time)


def test_a_run_ends_with_the_fault(lerobot) -> None:
    robot = ROBOT.with_action_space("channels")
    body = find_body(FOLLOWER).connect(robot)
    port = lerobot.PORTS["follower"]
    port.fault, port.after = OSError(5, "Input/output error"), port.used + 20
    with pytest.raises(RobotFault, match="'lerobot:so101_follower at follower' does not answer"):
        deploy(body, Nod(), "nod", body.reset(), timeout=30)
    assert 5 < len(port.sent) <= 20


# ------------------------------------------------------------------------------------------------ as any body


def test_it_passes_its_check(monkeypatch) -> None:
    clock = SimClock()
    monkeypatch.setattr(lerobot_body, "time", SimpleNamespace(monotonic=clock.now))
    checks = check_body(find_body(FOLLOWER + FRONT).connect(SEEING, strict=False), clock=clock)
    assert [c.name for c in checks if not c.ok] == [] and len(checks) > 15


def test_it_lives_in_the_process_of_the_watchdog() -> None:
    with HostedBody(FOLLOWER + FRONT, SEEING) as body:
        assert body.reset().images["front"].shape == (48, 64, 3)
        body.apply(np.full(6, 11.0))
        assert body.observe().state.tolist() == [11.0] * 6


def test_it_is_served_to_another_computer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found, ready = find_body(FOLLOWER + FRONT), threading.Event()
    body = found.connect(SEEING)
    write_result(body, [Check("all", True, "")])
    body.close()
    server = BodyServer(found, SEEING, BodyConfig(port=0, period=2.0))
    thread = threading.Thread(target=server.run, args=(lambda _: ready.set(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        far = RemoteBody(server.address)
        assert far.embodiment.cameras == SEEING.cameras and far.reset().images["front"].shape == (48, 64, 3)
        far.apply(np.full(6, 12.0))
        assert far.observe().state.tolist() == [12.0] * 6
        far.close()
    finally:
        server.stop()
        thread.join(30)


def test_palmar_brings_nothing_heavy_to_it() -> None:
    code = (
        "import sys; from palmar.runtime.bodies.find import find_body; from palmar.robots.so101 import so101\n"
        "from dataclasses import replace\n"
        f"find_body({FOLLOWER!r}).connect(replace(so101(), cameras=())).observe()\n"
        "print([m for m in ('torch', 'mujoco', 'pyarrow', 'av', 'PIL') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], capture_output=True, text=True
    )
    assert ran.stdout.strip() == "[]", ran.stderr


# ------------------------------------------------------------------------------------------------ a robot file of it


def test_a_robot_file_is_made_of_what_lerobot_says() -> None:
    known = robot_of(FOLLOWER + FRONT)
    assert known.channels == ROBOT.channels and known.frames[0].name == "tcp" and known.collision == ROBOT.collision
    assert known.cameras == (Camera("front", 48, 64),) and not known.guesses()
    made = robot_of(DEGREES + FRONT + "&id=left")
    assert [c.unit for c in made.channels] == ["deg"] * 5 + ["range_0_100"] and made.channels[5].kind == "opening"
    assert made.cameras == known.cameras and made.name == "so101_follower_left"
    assert {"shoulder_pan.pos velocity", "shoulder_pan.pos position", "gripper.pos velocity"} <= set(made.guesses())
    find_body(DEGREES + FRONT).connect(made).observe()
    driven = robot_of("lerobot:base?units={x.vel: m/s, y.vel: m/s, theta.vel: deg/s}")
    assert [c.kind for c in driven.channels] == ["velocity"] * 3 and "x.vel velocity" in driven.guesses()
    with pytest.raises(BadValue, match=r"does not tell in which unit 'lerobot:base' gives x.vel"):
        robot_of("lerobot:base")
