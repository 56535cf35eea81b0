"""Write a v2.1 set with keys of its own, import it, and write what palmar says of the source: make_imported.py FOLDER."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from foreign import camera, make, vector

from palmar.data.importer import import_set
from palmar.data.reader import Dataset

FEATURES = {
    "qpos": vector(3, [["a", "b", "c"]]), "actions": vector(2, {"motors": ["x", "y"]}), "images/front": camera(),
    "image": camera((32, 40), "image"), "effort": vector(3),
}  # fmt: skip

if __name__ == "__main__":
    root = Path(sys.argv[1])
    make(root / "v21", FEATURES, (20, 25, 22), "v2.1", tasks=("pick", "place"))
    for name in ("files", "joined"):
        import_set(root / "v21", root / name, join=name == "joined", quiet=True)
    ds = Dataset(root / "v21", cache=False)
    batch = ds.batch(np.arange(len(ds)), horizon=8)
    images = {f"images/{cam}": value for cam, value in batch.pop("images").items()}
    texts = np.array([ds.tasks[t] for t in batch.pop("task")])
    np.savez(root / "expected.npz", **batch, **images, task=texts, success=[e.success is True for e in ds.episodes])
    print(f"palmar imported {ds!r}")
