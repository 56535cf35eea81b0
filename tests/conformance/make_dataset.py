"""Write a data set and what palmar's reader says of it, for lerobot to compare: make_dataset.py FOLDER PIX_FMT."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from synthetic import episode

from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.robots.arm7 import arm7

NAMES = ("cube.x", "cube.y", "cube.z")

if __name__ == "__main__":
    root = Path(sys.argv[1])
    with DatasetWriter(root / "set", arm7(), fps=10, privileged_names=NAMES, pix_fmt=sys.argv[2]) as writer:
        for i in range(6):
            text = ("pick up the red cube", "push the block")[i % 2]
            writer.add(episode(18 + i, seed=i, instruction=text, success=i % 3 > 0, privileged=3))
    ds = Dataset(root / "set")
    batch = ds.batch(np.arange(len(ds)), horizon=8)
    images = {f"images/{cam}": value for cam, value in batch.pop("images").items()}
    texts = np.array([ds.tasks[t] for t in batch.pop("task")])
    np.savez(root / "expected.npz", **batch, **images, task=texts, success=[e.success for e in ds.episodes])
    print(f"palmar wrote {ds!r}")
