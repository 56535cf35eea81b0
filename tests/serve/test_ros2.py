"""The policy node and the safety monitor with the real rclpy: processes that speak ROS 2 over loopback."""

import json
import time

import numpy as np
import pytest
from ros2_processes import ROOT, WHEEL, Process, Sweep, environment, robot, ros_python
from serving import serving

from palmar.description.write import write_robot

pytestmark = pytest.mark.skipif(not ros_python(), reason="no Python with rclpy: make ros (or PALMAR_ROS_PYTHON)")
LONG = ["--silence", "5"]
"""A test on a busy machine is no dead process."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ros2")
    write_robot(robot(), folder / "rosarm.toml")
    return folder


@pytest.fixture(scope="module")
def started(place):
    """Start `palmar …` or another program in the ROS Python; all are ended."""
    running = []

    def start(*words, ready=""):
        process = Process([str(w) for w in words], place, environment(place))
        running.append(process)
        if ready:
            process.until(ready)
        return process

    yield start
    for process in reversed(running):
        process.end()


@pytest.fixture(scope="module")
def player(started, place):
    # joint states on a clock that is a day ahead: nothing here may compare it with this machine's
    return started(ROOT / "tests" / "serve" / "ros2_player.py", place / "rosarm.toml", 200, 86400, ready="ready")


@pytest.fixture(scope="module")
def checked(player, started, place):
    """`palmar check-body` on the player: what it says."""
    check = started("-m", "palmar.cli", "check-body", "--robot", place / "rosarm.toml", "--body", "ros2:", "--json")
    check.process.wait(90)
    return check


@pytest.fixture(scope="module")
def monitor(started, place):
    return started("-m", "palmar.cli", "ros2-monitor", "--robot", place / "rosarm.toml", *LONG, ready="is watched")


@pytest.fixture(scope="module")
def policy():
    with serving(Sweep()) as server:
        yield server.address


@pytest.fixture(scope="module")
def nodes():
    """The policy nodes so far; the last one goes on while it lives."""
    return []


@pytest.fixture
def node(nodes, checked, monitor, player, policy, started, place):
    """The policy node, which is idle and finds nothing stopped; afterwards all sensors tell again."""
    if not nodes or nodes[-1].process.poll() is not None:
        words = ["--robot", place / "rosarm.toml", "--policy", policy, "--watchdog", "5", *LONG]
        nodes.append(started("-m", "palmar.cli", "ros2", *words, ready="drives"))
    assert player.ask("release")["success"]
    player.ask("clear")
    yield nodes[-1]
    for request in ("unmute joints", "unmute stamps", "unmute camera", "inside"):
        player.ask(request)
    if nodes[-1].process.poll() is None:
        player.ask("say")
        until(player, lambda r: r["status"].get("state", "running") != "running")


def until(player, holds, seconds=30.0):
    """What the player reports once `holds` is true of it."""
    end = time.monotonic() + seconds
    while not holds(report := player.ask("report")):
        assert time.monotonic() < end, {k: v[-3:] if isinstance(v, list) else v for k, v in report.items()}
        time.sleep(0.05)
    return report


def driven(player, commands=4, way=0.004):
    """What the player reports once its shoulder swings and its wheel turns at the speed that was asked for, and so many commands
    came, over at least this way [rad]. On a machine that is busier than the robot's sensors may be late it is stopped meanwhile, as
    it should be; then it begins again."""

    said = 0.0

    def steady(report):
        nonlocal said
        stopped = bool(report["states"]) and report["states"][-1][1]["stopped"]
        if (report["status"].get("state") != "running" or stopped) and time.monotonic() - said > 3.0:
            for request in ("release", "clear", "say sweep"):
                player.ask(request)
            said = time.monotonic()
            return False
        path = np.array([x for *_, x in report["log"]]).reshape(-1, 4)
        turns, swings = np.abs(path[-4:, 3] - WHEEL) < 0.02, np.abs(np.diff(path[-4:, 0])) > 0.004
        return len(path) >= max(commands, 4) and bool(turns.all() and swings.any()) and np.ptp(path[:, 0]) > way

    player.ask("clear")
    return until(player, steady, 60.0)


def test_the_check_of_a_body_passes_over_ros(checked):
    assert checked.process.returncode == 0, checked.said()
    found = json.loads(checked.said().strip().splitlines()[-1])
    # whether a busy machine keeps the control rate is no question here
    assert found["passed"] and {"shoulder", "elbow", "jaw", "wheel", "clock"} <= {c["name"] for c in found["checks"]}


def test_commands_answer_the_newest_joint_states_one_after_the_other(node, player):
    """How often and how soon is measured by benchmarks/ros2.py."""
    log = driven(player, commands=15, way=0.2)["log"]
    received, stamps = np.array([row[:2] for row in log]).T
    # on the player's clock: a command bears the stamp of joint states that came before it, and none goes back
    assert (stamps < received).all() and (np.diff(stamps) >= 0).all() and len(set(stamps)) > len(stamps) / 2
    elbow = np.array([x[1] for *_, x in log])
    assert elbow == pytest.approx(np.deg2rad(30.0), abs=1e-3)  # its degrees are rad here


def test_stop_brakes_to_rest_and_release_lets_it_be_driven_again(node, player):
    driven(player)
    player.ask("clear")
    called = player.ask("stop")
    assert called["success"]
    report = until(player, lambda r: r["status"].get("state") == "idle")
    assert report["status"]["mode"] == "ESTOP" and "monitor" in report["status"]["reason"]
    path = np.array([x for t, _, x in report["log"] if t - 86400.0 > called["called"]])
    assert path[-1][3] == pytest.approx(0.0, abs=1e-6)
    assert path[:, 3].max() < 1.3 * WHEEL
    assert np.ptp(path[-3:, 0]) < 1e-4

    player.ask("say sweep")
    refused = until(player, lambda r: r["status"].get("state") == "refused")
    assert "E-STOP is latched" in refused["status"]["reason"]
    assert until(player, lambda r: r["states"] and r["states"][-1][1]["stopped"])
    assert player.ask("release")["success"]
    driven(player)
    player.ask("say")  # an empty instruction ends it
    ended = until(player, lambda r: r["status"].get("state") == "idle")
    assert ended["status"]["mode"] == "RUN" and ended["status"]["reason"] == "new instruction"
    assert not ended["states"][-1][1]["stopped"]


@pytest.mark.parametrize("what", ["joints", "stamps", "camera"])
def test_a_stale_sensor_stops_it(node, player, what):
    """No message, the same stamp again and again, no picture."""
    driven(player)
    asked = player.ask(f"mute {what}")["now"]
    until(player, lambda r: any(abs(x[3]) < 1e-6 for t, _, x in r["log"] if t - 86400.0 > asked))
    if what == "camera":
        until(player, lambda r: "stale" in r["status"].get("reason", ""))
    else:  # the monitor sees it too
        until(player, lambda r: r["states"][-1][1]["stopped"] or "stale" in r["status"].get("reason", ""))
        assert (
            "fresh"
            not in until(player, lambda r: "stale" in r["states"][-1][1]["joint_states"])["states"][-1][1].values()
        )


def test_a_command_outside_the_limits_stops_it(node, player):
    """Sent by another node, past palmar's guards."""
    player.ask("clear")
    player.ask("outside")
    report = until(player, lambda r: r["states"] and r["states"][-1][1]["stopped"])
    assert "command position shoulder 9 > 1.5 rad" in report["states"][-1][1]["reason"]
    player.ask("release")
    player.ask("say sweep")
    fault = until(player, lambda r: r["status"].get("state") == "fault")
    assert "another node sends commands on /joint_commands: stranger" in fault["status"]["reason"]


def test_a_policy_node_that_is_killed_is_braked_and_told(node, player):
    driven(player)
    player.ask("clear")
    node.kill()
    report = until(player, lambda r: r["states"] and r["states"][-1][1]["stopped"])
    assert "control loop's process ended" in report["states"][-1][1]["reason"]
    report = until(player, lambda r: r["log"] and abs(r["log"][-1][2][3]) < 1e-6)
    assert "silent" in until(player, lambda r: "silent" in r["states"][-1][1]["policy"])["states"][-1][1]["policy"]


def test_joints_of_other_names_are_refused(checked, monitor, started, place, policy, tmp_path):
    other = environment(tmp_path) | {"ROS_DOMAIN_ID": str(int(environment(place)["ROS_DOMAIN_ID"]) % 50 + 51)}
    player = Process([str(ROOT / "tests" / "serve" / "ros2_player.py"), str(place / "rosarm.toml")], tmp_path, other)
    words = ["-m", "palmar.cli", "check-body", "--robot", str(place / "rosarm.toml"), "--body", "ros2:rate=50"]
    try:
        player.until("ready")
        player.ask("rename shoulder_joint elbow jaw wheel")
        check = Process(words, tmp_path, other)
        assert check.process.wait(60) == 1
        assert "no joint states of shoulder on /joint_states" in check.said().replace("\n", " ")
    finally:
        check.end()
        player.end()


def test_a_single_run_needs_no_node_and_sends_every_command(player, monitor, checked, policy, nodes, started, place):
    for node in nodes:  # one drives a robot at a time
        node.end()
    assert player.ask("release")["success"]
    player.ask("clear")
    words = [
        "--robot",
        place / "rosarm.toml",
        "--body",
        "ros2:",
        "--policy",
        policy,
        "--timeout",
        "2",
        "--watchdog",
        "5",
    ]
    run = started("-m", "palmar.cli", "run", "sweep", *words, "--video", "None", "--json")
    assert run.process.wait(60) in (1, 3), run.said()  # the policy is never done; 3 where a busy machine held the robot
    figures = json.loads(run.said().strip().splitlines()[-1])
    log = player.ask("report")["log"]
    assert figures["timing"]["ticks"] > 20 and len(log) > 0.8 * figures["timing"]["ticks"]


def test_without_a_monitor_nothing_is_driven(player, monitor, checked, policy, started, place):
    assert player.ask("release")["success"]
    words = ["--robot", place / "rosarm.toml", "--policy", policy, "--body", "ros2:stopped=/nobody/stopped"]
    words += ["--instruction", "/alone/instruction", "--status", "/alone/status"]
    node = started("-m", "palmar.cli", "ros2", *words, ready="drives")
    player.ask("tell /alone/instruction sweep")
    node.until("the safety monitor is not heard")
    assert node.end() == 0
