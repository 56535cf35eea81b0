"""How soon does the ROS 2 node command, and how soon does it brake?

    make ros
    OMP_NUM_THREADS=1 python benchmarks/ros2.py                  # a minute of commands, twenty stops of each kind
    OMP_NUM_THREADS=1 python benchmarks/ros2.py --seconds 600

Five processes over loopback: a robot (camera 30 Hz, joint states 190 Hz), the node, its watchdog with the body, the safety
monitor, and a policy server here. Latency is from the stamp of the joint states that a command answers until the robot has the
command, on the robot's clock: two hops of DDS and the loop's tick without inference. Beside it a bare rclpy node that answers every
twentieth joint state at once. Stops: from the call of the service, or the last joint states, until the first command that brakes is
with the robot.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.description.write import write_robot

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "serve"))
from ros2_processes import ROOT, WHEEL, Process, Sweep, environment, robot, ros_python
from serving import serving

RELAY = """
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
rclpy.init()
node, seen = rclpy.create_node("relay"), []
out = node.create_publisher(JointState, "/joint_commands", 1)
def heard(message):
    seen.append(1)
    if len(seen) % 20 == 0:
        out.publish(message)
node.create_subscription(JointState, "/joint_states", heard, qos_profile_sensor_data)
print("relays", flush=True)
rclpy.spin(node)
"""


def latencies(player: Process, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Times at which commands came [s], and their latencies [ms]."""
    player.ask("clear")
    time.sleep(seconds)
    log = player.ask("report")["log"]
    times, stamps = np.array([row[:2] for row in log]).T
    return times, 1e3 * (times - stamps)


def driven(player: Process, refusals: list[str]) -> None:
    """It drives steadily. It is asked again when it refused, or was stopped: the reasons go to `refusals`."""
    player.ask("clear")
    player.ask("say sweep")
    end, ran = time.monotonic() + 60, False
    while True:
        report = player.ask("report")
        log = report["log"][-4:]
        if len(log) == 4 and all(abs(x[3] - WHEEL) < 1e-3 for *_, x in log):
            return
        state = report["status"].get("state")
        ran = ran or state == "running"
        if state in ("refused", "fault") or (ran and state == "idle"):
            refusals.append(report["status"].get("reason", ""))
            player.ask("release")
            time.sleep(0.2)
            player.ask("say sweep")
            time.sleep(0.2)
            ran = False
        assert time.monotonic() < end, (report["status"], log)
        time.sleep(0.05)


def brakes(player: Process, since: float) -> float:
    """When the first command after `since` came from which on it only brakes, to rest [ms from there]. A command that is slower,
    with a quicker one after it, is no such one: a busy machine is late for a tick, and goes on."""
    end = time.monotonic() + 20
    while True:
        report = player.ask("report")
        after = [(t, x) for t, _, x in report["log"] if t > since]
        if report["status"].get("state") != "running" or (after and abs(after[-1][1][3]) < 1e-6):
            wheel = [WHEEL, *(x[3] for _, x in after)]
            quick = max(i for i, w in enumerate(wheel) if w > WHEEL - 2e-3 or (i and w > wheel[i - 1] + 1e-6))
            return 1e3 * (after[quick][0] - since)
        assert time.monotonic() < end, report["status"]
        time.sleep(0.05)


def idle(player: Process) -> None:
    player.ask("unmute joints")
    player.ask("say")
    while player.ask("report")["status"].get("state") == "running":
        time.sleep(0.02)
    assert player.ask("release")["success"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--watchdog", default="0.2")
    given = parser.parse_args()
    if not ros_python():
        raise SystemExit("no Python with rclpy: make ros (or PALMAR_ROS_PYTHON)")
    with TemporaryDirectory() as name, serving(Sweep()) as server:
        folder, processes = Path(name), []
        write_robot(robot(), folder / "rosarm.toml")

        def start(*words: str, ready: str = "") -> Process:
            processes.append(Process(list(words), folder, environment(folder)))
            if ready:
                processes[-1].until(ready)
            return processes[-1]

        named = ["--robot", str(folder / "rosarm.toml")]
        try:
            player = start(str(ROOT / "tests" / "serve" / "ros2_player.py"), named[1], "190", "0", ready="ready")
            relay = start("-c", RELAY, ready="relays")
            time.sleep(1.0)
            _, bare = latencies(player, min(given.seconds, 20.0))
            relay.end()
            assert start("-m", "palmar.cli", "check-body", *named, "--body", "ros2:").process.wait(90) == 0
            start("-m", "palmar.cli", "ros2-monitor", *named, ready="is watched")
            words = ["ros2", *named, "--policy", server.address, "--watchdog", given.watchdog, "--timeout", "3600"]
            start("-m", "palmar.cli", *words, ready="drives")
            refusals: list[str] = []
            driven(player, refusals)
            times, taken = latencies(player, given.seconds)
            idle(player)
            stops, stale = [], []
            for _ in range(given.stops):
                driven(player, refusals)
                player.ask("clear")
                stops.append(brakes(player, player.ask("stop")["called"]))
                idle(player)
            for _ in range(given.stops):
                driven(player, refusals)
                player.ask("clear")
                player.ask("mute joints")
                stale.append(brakes(player, player.ask("report")["last_states"]))
                idle(player)
        finally:
            for process in reversed(processes):
                process.end()
    table = Table("figure, ms", "least", "median", "p99", "largest", "aim")
    rate = (len(times) - 1) / (times[-1] - times[0])
    gaps = 1e3 * np.diff(times)
    more = f"palmar takes {np.median(taken) - np.median(bare):.2f} ms more"
    rows = (
        (f"period of {len(times)} commands", gaps, f"10 Hz; it is {rate:.3f}"),
        ("joint states → command, palmar", taken, "median ≤ 5"),
        ("joint states → command, bare rclpy", bare, more),
        (f"stop service → braking command, {given.stops} times", np.array(stops), "≤ 50"),
        (f"last joint states → braking command, {given.stops} times", np.array(stale), "300, and a tick"),
    )
    for said, values, aim in rows:
        table.add_row(
            said, *(f"{v:.2f}" for v in (values.min(), np.median(values), np.percentile(values, 99), values.max())), aim
        )
    Console().print(table)
    for reason in refusals:
        Console().print(f"asked again, because: {reason}", markup=False)


if __name__ == "__main__":
    main()
