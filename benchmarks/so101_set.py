"""A data set as a person with an SO-101 makes it with lerobot (0.4.4), without the robot: runs in a venv with lerobot.

    VENV/bin/python benchmarks/so101_set.py FOLDER [--episodes 10] [--frames 150] [--height 480] [--width 640]

Six joints with lerobot's names and units (-100 … 100, the gripper 0 … 100), 30 frames a second, two cameras. A disc lies
somewhere on a textured table, and the joints move smoothly to where it lies; a second disc in the picture moves with them. A
little camera noise is added.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/conformance"))
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = [f"{joint}.pos" for joint in JOINTS]
CAMERAS = ("front", "wrist")
FPS = 30


def scene(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """uint8[height, width, 3]: a table with a soft texture."""
    coarse = rng.integers(90, 170, (height // 40 + 1, width // 40 + 1, 3)).astype(np.float32)
    fine = coarse.repeat(40, 0).repeat(40, 1)[:height, :width]
    return np.asarray((fine + rng.normal(0, 1, fine.shape)).clip(0, 255), np.uint8)


def disc(picture: np.ndarray, y: float, x: float, radius: float, colour: tuple[int, int, int]) -> None:
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    picture[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = colour


def episode(rng: np.random.Generator, frames: int, height: int, width: int):  # type: ignore[no-untyped-def]
    """(state, action, {camera: picture}) frame by frame."""
    begin, goal = rng.uniform(-40, 40, 6), rng.uniform(-60, 60, 6)
    begin[5], goal[5] = 80, 20
    tables = {c: scene(rng, height, width) for c in CAMERAS}
    for i in range(frames):
        s, ahead = (0.5 - 0.5 * np.cos(np.pi * min(1.0, (i + k) / (0.8 * frames))) for k in (0, 3))
        state, action = begin + s * (goal - begin), begin + ahead * (goal - begin)
        pictures = {}
        for camera in CAMERAS:
            picture = tables[camera].copy()
            disc(picture, height * (0.5 + goal[1] / 150), width * (0.5 + goal[0] / 150), height / 14, (200, 40, 30))
            disc(picture, height * (0.5 + state[1] / 150), width * (0.5 + state[0] / 150), height / 20, (30, 60, 200))
            noisy = picture.astype(np.int16) + rng.integers(-1, 2, (height, width, 1))
            pictures[camera] = noisy.clip(0, 255).astype(np.uint8)
        yield state.astype(np.float32), action.astype(np.float32), pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    args = parser.parse_args()

    os.environ.setdefault("SVT_LOG", "1")
    import lerobot_shim  # noqa: F401
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    vector = {"dtype": "float32", "shape": (6,), "names": NAMES}
    picture = {"dtype": "video", "shape": (args.height, args.width, 3), "names": ["height", "width", "channels"]}
    features = {"action": vector, "observation.state": vector} | {f"observation.images.{c}": picture for c in CAMERAS}
    data = LeRobotDataset.create(
        "local/so101", fps=FPS, features=features, root=args.folder, robot_type="so101_follower", use_videos=True,
        image_writer_threads=2,
    )  # fmt: skip
    for i in range(args.episodes):
        for state, action, pictures in episode(np.random.default_rng(i), args.frames, args.height, args.width):
            seen = {f"observation.images.{c}": p for c, p in pictures.items()}
            data.add_frame({"observation.state": state, "action": action, "task": "reach the red disc"} | seen)
        data.save_episode()
    data.finalize()


if __name__ == "__main__":
    main()
