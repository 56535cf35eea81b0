"""Random-access frames a second: palmar's reader, cached and seeking, beside the lerobot reader on the same files.

    OMP_NUM_THREADS=1 python benchmarks/reader.py [--episodes 20] [--lerobot .venv-lerobot]

A frame is all cameras, the state and the next 8 actions; batches of 32 random frames. Like for like is seeking: both
decode the asked frames. Cached is what training sees once all is decoded (that time is printed apart).
lerobot gives float32 tensors an item, palmar one uint8 batch: each as its own training loop takes it. One process each.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peer import REPO, VENV, Peer, answer

HORIZON, BATCH = 8, 32


def measure(read: Callable[[np.ndarray], object], frames: int, seconds: float) -> float:
    """Frames a second, after one batch to warm up."""
    rng = np.random.default_rng(0)
    read(rng.integers(frames, size=BATCH))
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        read(rng.integers(frames, size=BATCH))
        done += BATCH
    return done / (time.perf_counter() - began)


def as_lerobot(root: str, seconds: float) -> None:
    """Runs inside the lerobot venv, as a second process."""
    import lerobot_shim  # noqa: F401
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    out = {}
    windows = {"action": [i / 10 for i in range(HORIZON)]}
    ds = LeRobotDataset("bench/bench", root=root, delta_timestamps=windows, video_backend="torchcodec")
    out["lerobot 0.4.4, torchcodec"] = measure(lambda idx: [ds[int(i)] for i in idx], len(ds), seconds)
    answer(out)


def lerobot(venv: Path, root: Path, seconds: float) -> dict[str, float]:
    if not (venv / "bin/python").exists():
        print(f"no lerobot at {venv}: make it with tests/conformance/run.sh (about 2 GB), or give --lerobot FOLDER")
        return {}
    with Peer(venv, [__file__, "--as-lerobot", root / "set", "--seconds", str(seconds)], root / "hf") as peer:
        return dict(peer.ask())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--lerobot", type=Path, default=VENV, help="folder of a venv with lerobot")
    parser.add_argument("--as-lerobot", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_lerobot:
        return as_lerobot(args.as_lerobot, args.seconds)

    from rich.console import Console
    from rich.table import Table

    from palmar.data.reader import Dataset
    from palmar.data.writer import DatasetWriter

    sys.path.insert(0, str(REPO / "tests/data"))
    from synthetic import ROBOT, episode

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spent = 0.0
        with DatasetWriter(root / "set", ROBOT, 10) as writer:
            for i in range(args.episodes):
                made = episode(80, seed=i)
                began = time.perf_counter()
                writer.add(made)
                spent += time.perf_counter() - began
        print(f"written: {args.episodes} episodes of 80 frames × 2 cameras, {spent / args.episodes * 1e3:.0f} ms each")
        cached, seeking = Dataset(root / "set"), Dataset(root / "set", cache=False)
        began = time.perf_counter()
        cached.batch(np.arange(BATCH), HORIZON)
        print(f"decoded once: {len(cached)} frames × 2 cameras in {time.perf_counter() - began:.1f} s")
        speeds = {
            "palmar, cached": measure(lambda idx: cached.batch(idx, HORIZON), len(cached), args.seconds),
            "palmar, seeking": measure(lambda idx: seeking.batch(idx, HORIZON), len(seeking), args.seconds),
        } | lerobot(args.lerobot, root, args.seconds)
    peer = next((v for k, v in speeds.items() if k.startswith("lerobot")), None)
    table = Table("reader", "frames/s", "ratio to lerobot", title="random access, 2 cameras 96×96, 8 actions")
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:,.0f}", "" if peer is None else f"{speed / peer:.1f}×")
    Console().print(table)


if __name__ == "__main__":
    main()
