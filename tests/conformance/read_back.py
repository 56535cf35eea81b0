"""palmar reads what lerobot wrote, extended and aggregated: read_back.py FOLDER (after lerobot_check.py)."""

import sys
from pathlib import Path

import numpy as np

from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.robots.arm7 import arm7

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from synthetic import episode

if __name__ == "__main__":
    root = Path(sys.argv[1])
    for cache in (True, False):
        ds, said = Dataset(root / "fresh", cache=cache), np.load(root / "fresh" / "expected.npz")
        batch = ds.batch(np.arange(len(ds)), horizon=4)
        np.testing.assert_array_equal(batch["state"], said["state"])
        np.testing.assert_array_equal(batch["actions"][:, 0], said["action"])
        assert [ds.tasks[t] for t in batch["task"]] == said["task"].tolist()
        assert [e.success for e in ds.episodes] == [True] * 3 and ds.robot_type == "panda_sim"
        for cam in ("front", "wrist"):
            theirs = (said[cam].transpose(0, 2, 3, 1) * 255).round().astype(int)
            worst = np.abs(theirs - batch["images"][cam].astype(int)).max()
            assert worst <= 3, (cam, worst)
            print(
                f"palmar reads lerobot's {cam}, cache={cache}: {len(theirs)} frames, largest pixel difference {worst}"
            )
    for name in ("resumed", "aggregated"):
        ds = Dataset(root / name)
        ds.batch(np.arange(len(ds)), horizon=4)
        print(f"palmar reads {name}: {ds!r}")
    before = Dataset(root / "resumed").batch(np.arange(20, 140), horizon=1)
    names = ("cube.x", "cube.y", "cube.z")
    with DatasetWriter(root / "resumed", arm7(), fps=10, privileged_names=names, resume=True) as writer:
        writer.add(episode(9, seed=3, privileged=3))
    ds = Dataset(root / "resumed")
    after = ds.batch(np.arange(20, 140), horizon=1)
    for cam in ds.cameras:
        np.testing.assert_array_equal(before["images"][cam], after["images"][cam])
    print(f"palmar resumed what lerobot had resumed: {ds!r}, the old frames unchanged")
