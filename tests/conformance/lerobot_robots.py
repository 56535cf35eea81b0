"""lerobot's own SO-101 classes behind palmar, end to end, on the simulated bus of so101_bus.py: recorded by teleoperation, read by
lerobot, trained, served, and driven; then a cable is pulled, and a camera's.

    python lerobot_robots.py LEROBOT_PYTHON       in palmar's environment; LEROBOT_PYTHON has lerobot[feetech] and palmar's base
"""

import json
import os
import pty
import select
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"
MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
RANGES = [(900, 3200)] * 4 + [(0, 4095), (2000, 3400)]
EPISODES, SECONDS = 3, 5.0
DOING = "wave"
FFMPEG = {"LD_LIBRARY_PATH": os.environ.pop("LD_LIBRARY_PATH", "")}
"""Where torchcodec finds FFmpeg (run.sh): for lerobot alone, PyAV has its own."""
READ = """
import sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
ds = LeRobotDataset("local/set", root=sys.argv[1], video_backend="torchcodec")
first, last = ds[0], ds[len(ds) - 1]
assert tuple(first["action"].shape) == tuple(first["observation.state"].shape) == (6,)
assert tuple(last["observation.images.front"].shape) == (3, 96, 96), last["observation.images.front"].shape
assert first["task"] == "wave" and ds.meta.robot_type == "so101", (first["task"], ds.meta.robot_type)
print(f"{ds.num_episodes} episodes, {ds.num_frames} frames, {ds.fps} fps, features {', '.join(sorted(ds.features))}")
"""


def unshared() -> None:
    """The computer of a robot does nothing else: where this is allowed, its processes come first."""
    with suppress(OSError):
        os.nice(-10)


class Arms:
    """A pair of arms on the simulated bus, calibrated, and the words that name them."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, python
        self.env = os.environ | {
            "PYTHONPATH": f"{SOURCE}:{HERE}:{HERE / 'site'}", "XDG_STATE_HOME": str(folder / "states"), "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "COLUMNS": "120",
        }  # fmt: skip
        calibration = {
            name: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": low, "range_max": high}
            for i, (name, (low, high)) in enumerate(zip(MOTORS, RANGES, strict=True), 1)
        }
        for name in ("left", "lead"):
            (folder / f"{name}.json").write_text(json.dumps(calibration))
        camera = f"type: drawn, folder: {folder}, width: 96, height: 96, fps: 30"
        common = f"calibration_dir={folder}&use_degrees=false"
        self.body = (
            f"lerobot:so101_follower?port={folder}/follower&id=left&{common}&"
            f"cameras={{front: {{{camera}}}, wrist: {{{camera}, motor: 2}}}}"
        )
        self.leader = f"lerobot:so101_leader?port={folder}/leader&id=lead&{common}"
        self.robot = folder / "so101.toml"

    @contextmanager
    def powered(self):
        for name in ("unplug", "dark"):
            (self.folder / name).unlink(missing_ok=True)
        bus = subprocess.Popen(
            [sys.executable, str(HERE / "so101_bus.py"), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert bus.stdout.readline() == "ready\n"
            yield
        finally:
            bus.communicate("end\n")

    def palmar(self, *words: object) -> list[str]:
        return [self.python, "-m", "palmar.cli", *map(str, words)]

    def done(self, *words: object, code: int = 0) -> str:
        """What the command says, which ends with this code."""
        ran = subprocess.run(
            self.palmar(*words), env=self.env, preexec_fn=unshared, capture_output=True, text=True, timeout=180
        )
        assert ran.returncode == code, (words[0], ran.returncode, ran.stdout[-2000:], ran.stderr[-2000:])
        return ran.stdout

    def at_keyboard(self, words: list[str], script: list[tuple[str, str, float]]) -> tuple[int, str, float]:
        """Run a command in a terminal: for each (text, key, seconds), type the key so long after the text is shown. Its code,
        all it said, and how long it went on after the last key [s]."""
        main, child = pty.openpty()
        process = subprocess.Popen(
            words, env=self.env, preexec_fn=unshared, stdin=child, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, seen, began = "", 0, time.monotonic()
        for text, key, seconds in [*script, ("", "", 0.0)]:
            while text not in said[seen:] or (not text and process.poll() is None):
                assert time.monotonic() - began < 240, said
                if select.select([process.stdout], [], [], 0.1)[0]:
                    if not (piece := os.read(process.stdout.fileno(), 65536).decode()):
                        break
                    said += piece
            assert text in said[seen:], said
            seen = len(said)
            if text:
                time.sleep(seconds)
                os.write(main, key.encode())
                last = time.monotonic()
        code = process.wait(30)
        os.close(main)
        os.close(child)
        return code, said, time.monotonic() - last


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        arms = Arms(folder, sys.argv[1])
        with arms.powered():
            arms.done("robot", "make", arms.body, "--out", arms.robot)
            checked(arms)
            recorded(arms)
            trained(arms)
            driven(arms)
        with arms.powered():
            fault(arms, "dark", "camera 'front' of 'lerobot:so101_follower at")
        with arms.powered():
            fault(arms, "unplug", f"'lerobot:so101_follower at {folder}/follower' does not answer")
    print("conformance with lerobot's robots: passed")


def checked(arms: Arms) -> None:
    """As often as thrice: on a machine that is busy with other work the rate may not be kept."""
    for _ in range(3):
        ran = subprocess.run(
            arms.palmar("check-body", "--body", arms.body, "--robot", arms.robot, "--json"),
            env=arms.env, preexec_fn=unshared, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        checks = json.loads(ran.stdout)["checks"]
        bad = [f"{c['name']}: {c['found']}" for c in checks if not c["ok"]]
        if not bad:
            break
        assert all(b.startswith("rate") for b in bad), bad
    assert ran.returncode == 0, bad
    print(f"check-body: {len(checks)} checks passed")


def recorded(arms: Arms) -> None:
    """Episodes by the leader: one is not kept, one is a failure."""
    words = arms.palmar(
        "collect", "--out", arms.folder / "set", "--body", arms.body, "--robot", arms.robot, "--teleop", arms.leader,
        "--instruction", DOING, "--episodes", EPISODES, "--longest", SECONDS,
    )  # fmt: skip
    rests, ended = "the robot rests; space begins", "it ended"
    script = [
        (rests, " ", 0.2),
        (ended, "y", 0.2),
        (rests, " ", 0.2),
        (ended, "x", 0.2),
        (rests, " ", 0.2),
        (ended, "n", 0.2),
    ]
    code, said, _ = arms.at_keyboard(words, [*script, (rests, " ", 0.2), (ended, "y", 0.2)])
    assert code == 0 and "3 episodes" in said and "1 not kept" in said and "1 of them failures" in said, said
    ran = subprocess.run(
        [arms.python, "-c", READ, str(arms.folder / "set")], env=arms.env | FFMPEG, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    read = ran.stdout
    print(f"lerobot reads what was recorded by teleoperation: {read.strip()}", flush=True)
    assert read.startswith("3 episodes")


def trained(arms: Arms) -> None:
    steps, folder = 8, arms.folder
    words = [
        "train",
        "act-tiny",
        "--data",
        folder / "set",
        "--out",
        folder / "run",
        "--steps",
        steps,
        "--batch-size",
        8,
        "--json",
    ]
    env = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "palmar.cli", *map(str, words)], env=env, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    print(f"act-tiny is trained for {steps} steps on it", flush=True)


def driven(arms: Arms) -> None:
    """The policy is served from palmar's environment, and drives the robot in lerobot's."""
    env = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "palmar.cli", "serve", str(arms.folder / "run"), "--port", "0", "--patience", "60", "--json"],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = next(line.split()[-1] for line in server.stderr if " is served at " in line)
        said = arms.done(
            "run", DOING, "--policy", address, "--body", arms.body, "--robot", arms.robot, "--timeout", 8, "--video", "None",
            "--json", code=1,
        )  # fmt: skip
    finally:
        server.terminate()
        server.communicate()
    result = json.loads(said)
    assert result["mode"] == "RUN" and result["reason"] in ("timeout", "done"), result
    t = result["timing"]
    print(
        f"driven over {address.partition(':')[0]}: for {result['seconds']:.1f} s, {t['ticks']:.0f} ticks, {t['late_ticks']:.0f} "
        f"late, policy p50 {t['latency_p50']:.0f} ms; the safety layer changed {result['safety']}"
    )


def fault(arms: Arms, what: str, told: str) -> None:
    """What is pulled ends the session with its name and exit code 3; the frames before it are kept."""
    folder = arms.folder / f"set_{what}"
    words = arms.palmar(
        "collect", "--out", folder, "--body", arms.body, "--robot", arms.robot, "--teleop", arms.leader, "--instruction", DOING,
    )  # fmt: skip
    main, child = pty.openpty()
    process = subprocess.Popen(
        words,
        env=arms.env,
        preexec_fn=unshared,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    next(line for line in process.stdout if "the robot rests" in line)
    os.write(main, b" ")
    time.sleep(3.0)
    (arms.folder / what).touch()
    pulled = time.monotonic()
    said = process.communicate(timeout=60)[0]
    took = time.monotonic() - pulled
    os.close(main)
    os.close(child)
    assert process.returncode == 3 and told in said and "as a failure" in said, (process.returncode, said)
    arms.done("estop", "--release", "so101")
    kept = json.loads(arms.done("inspect", folder, "--json"))
    line = next(line for line in said.splitlines() if told in line)
    print(f"{what}: ended after {took:.1f} s with code 3, {kept['frames']} frames kept: {line[:160]}")


if __name__ == "__main__":
    main()
