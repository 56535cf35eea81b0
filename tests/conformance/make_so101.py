"""An SO-101 data set as the `lerobot` package (0.4.4) writes it: 6 joints in -100 … 100, 2 cameras of 480×640, 30 fps.

    python tests/conformance/make_so101.py OUT [EPISODES]       in the environment of run.sh

A disc in the front picture shows where to go: its place across is the shoulder's pan, its height the elbow, and "red" or
"blue" says which of two discs is meant. The scene is that of examples/08_so101.py.
"""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import lerobot_shim  # noqa: E402, F401
import numpy as np  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

spec = importlib.util.spec_from_file_location("scene", HERE.parents[1] / "examples" / "08_so101.py")
scene = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scene)

JOINTS = scene.JOINTS
FPS = 30


def main() -> None:
    out, episodes = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40
    vector = {"dtype": "float32", "shape": (6,), "names": list(JOINTS)}
    picture = {"dtype": "video", "shape": (480, 640, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        "local/so101", FPS, {"observation.state": vector, "action": vector, "observation.images.front": picture,
                             "observation.images.wrist": picture},
        root=out, robot_type="so101_follower", use_videos=True,
    )  # fmt: skip
    for episode in range(episodes):
        rng = np.random.default_rng([7, episode])
        discs, colour = scene.lay(rng)
        goal, still = scene.target(discs, colour), scene.board(discs)
        q = rng.uniform(-70, 70, 6)
        q[5] = rng.uniform(0, 100)
        for _ in range(int(rng.integers(75, 90))):
            step = np.clip(0.15 * (goal - q), -2.5, 2.5)  # at most 75 units a second
            action = q + step + rng.normal(0, 0.25, 6)
            front, wrist = scene.look(q, still)
            dataset.add_frame({"observation.state": q.astype(np.float32), "action": action.astype(np.float32),
                               "observation.images.front": front, "observation.images.wrist": wrist,
                               "task": f"touch the {colour} disc"})  # fmt: skip
            q = q + step
        dataset.save_episode()
    dataset.finalize()
    print(f"{episodes} episodes in {out}")


if __name__ == "__main__":
    main()
