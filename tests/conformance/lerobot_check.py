"""Does lerobot read, window, resume and aggregate what palmar wrote? Runs inside the venv that run.sh makes.

    lerobot_check.py DATASET EXPECTED.npz FOLDER [imported]

EXPECTED.npz holds what palmar's own reader says of DATASET (`make_dataset.py`). In FOLDER lerobot resumes a copy,
aggregates, and records a set of its own, for palmar to read (`read_back.py`); not of an imported one.
"""

import shutil
import sys
from pathlib import Path

import lerobot_shim  # noqa: F401
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def check_read(root: Path, expected: dict) -> None:
    n = len(expected["state"])
    cams = [k.removeprefix("images/") for k in expected if k.startswith("images/")]
    windows = {"action": [i / 10 for i in range(expected["actions"].shape[1])]}
    ds = LeRobotDataset("palmar/check", root=root, delta_timestamps=windows, video_backend="torchcodec")
    assert len(ds) == n and ds.num_episodes == len(expected["success"]), (len(ds), ds.num_episodes)
    worst = 0
    for i in range(n):
        item = ds[i]
        np.testing.assert_array_equal(item["observation.state"].numpy(), expected["state"][i])
        np.testing.assert_array_equal(item["action"].numpy(), expected["actions"][i])
        np.testing.assert_array_equal(item["action_is_pad"].numpy(), expected["pad"][i])
        assert item["task"] == str(expected["task"][i]), (item["task"], expected["task"][i])
        assert bool(item.get("next.success", False)) == bool(expected["done"][i])
        for cam in cams:
            ours = expected[f"images/{cam}"][i]
            theirs = (item[f"observation.images.{cam}"].numpy().transpose(1, 2, 0) * 255).round().astype(int)
            worst = max(worst, int(np.abs(theirs - ours.astype(int)).max()))
            assert np.abs(theirs - ours.astype(int)).mean() < 2.0, f"frame {i} of {cam} is another picture"
    print(
        f"read: {n} frames × {len(cams)} cameras, states, windows, tasks equal; largest pixel difference {worst} of 255"
    )
    for feature, stats in ds.meta.stats.items():
        assert set(stats) == {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}, feature
    print(f"stats: {len(ds.meta.stats)} features × 10")


def record(ds: LeRobotDataset, episodes: int, task: str) -> None:
    rng = np.random.default_rng(7)
    for e in range(episodes):
        for i in range(12 + e):
            frame = {"task": task}
            for name, feature in ds.features.items():
                if name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
                    continue
                shape = tuple(feature["shape"])
                if feature["dtype"] in ("video", "image"):
                    frame[name] = np.full(shape, (40 * e + 5 * i) % 256, np.uint8)
                elif feature["dtype"] == "bool":
                    frame[name] = np.array([i == 11 + e])
                else:
                    frame[name] = rng.normal(size=shape).astype(feature["dtype"])
            ds.add_frame(frame)
        ds.save_episode()
    ds.finalize()


def check_resume(root: Path, copy: Path) -> None:
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".cache"))
    before = LeRobotDataset("palmar/check", root=copy).num_frames
    ds = LeRobotDataset("palmar/check", root=copy, vcodec="h264")
    record(ds, 2, "a task lerobot added")
    after = LeRobotDataset("palmar/check", root=copy, video_backend="torchcodec")
    assert len(after) == before + 25, (len(after), before)
    assert after[before]["task"] == "a task lerobot added" and after[len(after) - 1]["observation.state"].shape[0] > 0
    subset = LeRobotDataset("palmar/check", root=copy, episodes=[1], video_backend="torchcodec")
    assert subset[0]["episode_index"] == 1
    print(f"resume: lerobot added 2 episodes to our {before} frames and reads all {len(after)}; episode filter works")


def check_aggregate(root: Path, other: Path, out: Path) -> None:
    from lerobot.datasets.aggregate import aggregate_datasets

    aggregate_datasets(["a/a", "b/b"], "c/c", roots=[root, other], aggr_root=out)
    ds = LeRobotDataset("c/c", root=out, video_backend="torchcodec")
    print(f"aggregate: {ds.num_episodes} episodes, {len(ds)} frames; last item is of task '{ds[len(ds) - 1]['task']}'")


def write_own(root: Path) -> None:
    features = {
        "observation.state": {"dtype": "float32", "shape": (7,), "names": [f"j{i}" for i in range(7)]},
        "observation.images.front": {"dtype": "video", "shape": (96, 96, 3), "names": ["height", "width", "channels"]},
        "observation.images.wrist": {"dtype": "image", "shape": (48, 48, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (7,), "names": [f"j{i}" for i in range(7)]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }
    record(
        LeRobotDataset.create("palmar/own", 10, features, root=root, robot_type="panda_sim"), 3, "lerobot wrote this"
    )
    ds = LeRobotDataset("palmar/own", root=root, video_backend="torchcodec")
    items = [ds[i] for i in range(len(ds))]
    np.savez(
        root / "expected.npz",
        state=np.stack([x["observation.state"].numpy() for x in items]),
        action=np.stack([x["action"].numpy() for x in items]),
        front=np.stack([x["observation.images.front"].numpy() for x in items]),
        wrist=np.stack([x["observation.images.wrist"].numpy() for x in items]),
        task=np.array([x["task"] for x in items]),
    )
    print(f"wrote: {len(ds)} frames by lerobot, for palmar to read")


if __name__ == "__main__":
    root, expected, own = Path(sys.argv[1]), dict(np.load(sys.argv[2])), Path(sys.argv[3])
    check_read(root, expected)
    check_resume(root, own / "resumed")
    check_aggregate(root, root, own / "aggregated")
    if sys.argv[4:] != ["imported"]:
        write_own(own / "fresh")
    print("lerobot: all checks passed")
