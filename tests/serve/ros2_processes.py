"""The processes of the ROS 2 tests and benchmark: a player, the safety monitor, the policy node, each in a Python that has rclpy.

That Python is PALMAR_ROS_PYTHON, or `.venv-ros` of this checkout (`make ros`), or this one where it has rclpy.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robot_parts import Camera, Channel
from palmar.types import ActionChunk

ROOT = Path(__file__).parents[2]
SWING, OMEGA = 0.3, 1.0
"""Of the shoulder [rad], [rad/s]."""
WHEEL = 0.1  # [m/s]


def ros_python() -> str:
    """The Python that has rclpy, "" where there is none."""
    own = ROOT / ".venv-ros" / "bin" / "python"
    here = sys.executable if importlib.util.find_spec("rclpy") else ""
    return os.environ.get("PALMAR_ROS_PYTHON", "") or (str(own) if own.exists() else here)


def robot() -> Embodiment:
    """Two joints, one of them in degrees, a gripper and a wheel; a camera of 32 × 24 px."""
    return Embodiment(
        "rosarm",
        (
            Channel("shoulder", "revolute", "rad", -1.5, 1.5, 2.0, 10.0, 200.0, tolerance=0.4),
            Channel("elbow", "revolute", "deg", -10.0, 115.0, 120.0, 600.0, 12000.0, home=30.0, tolerance=25.0),
            Channel("jaw", "opening", "range_0_100", 0.0, 100.0, 200.0, home=100.0),
            Channel("wheel", "velocity", "m/s", -0.5, 0.5, 0.5, 1.0, 10.0),
        ),
        cameras=(Camera("top", 24, 32),),
    )


class Sweep:
    """Swings the shoulder towards the middle and back to where it is first seen, and turns the wheel; the others stay."""

    def __init__(self) -> None:
        self.interface = robot().interface(8)
        self.reset()

    def session(self) -> Sweep:
        return self

    def reset(self) -> None:
        self.start: tuple[float, float] | None = None

    def act(self, obs, prefix=None) -> ActionChunk:
        began, first = self.start = self.start or (obs.time, float(obs.state[0]))
        actions = np.tile(np.array([first, 30.0, 100.0, WHEEL]), (8, 1))
        actions[:, 0] += (SWING if first < 0.3 else -SWING) * (
            1 - np.cos(OMEGA * (obs.time - began + 0.1 * np.arange(8)))
        )
        return ActionChunk(actions.astype(np.float32), 0.1, obs.time)


class Process:
    """python WORDS, with its output in a file. environment: beside that of this process."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = "-".join(Path(w).stem for w in words if not w.startswith("-"))[:60]
        self.out = folder / f"{self.name}-{time.monotonic_ns()}.txt"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [ros_python(), *words], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True,
                env=os.environ | environment,
            )  # fmt: skip
        self._read = 0

    def said(self) -> str:
        return self.out.read_text()

    def until(self, words: str, seconds: float = 30.0) -> str:
        """What it has said, once these words are among it."""
        end = time.monotonic() + seconds
        while words not in (said := self.said()):
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{said}"
            assert time.monotonic() < end, f"{self.name} has not said '{words}' within {seconds} s:\n{said}"
            time.sleep(0.02)
        return said

    def ask(self, request: str) -> dict:
        """One request to the player, and its answer."""
        before = self.said().count("\n")
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        end = time.monotonic() + 20
        while (said := self.said()).count("\n") <= before:
            assert self.process.poll() is None and time.monotonic() < end, f"{request}: no answer:\n{said[-2000:]}"
            time.sleep(0.002)
        return json.loads(said.splitlines()[before])

    def end(self, seconds: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.stdin.close()
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()


def environment(folder: Path) -> dict[str, str]:
    """Traffic on loopback, in a domain of this process's own; a state folder of its own."""
    return {
        "ROS_DOMAIN_ID": str(os.getpid() % 50 + 1), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_LOG_DIR": str(folder),
        "PYTHONPATH": str(ROOT / "src"), "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "200", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
