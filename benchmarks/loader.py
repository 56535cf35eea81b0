"""What share of a training step is spent waiting for data, with palmar's loading and with the plain way, in one run?

    OMP_NUM_THREADS=1 python benchmarks/loader.py [--data SET] [--batch 64] [--image-size 96] [--presets palmar-tiny act-tiny]

The share is `loader_share` of metrics.jsonl: seconds the loop waited for its next batch, of all seconds. palmar decodes a
data set once, maps the pictures, and makes batches on a thread that is ahead; the plain way seeks in the videos and makes
each batch when it is asked for. The ways take turns, each turn a short training of its own whose first row is not counted
(it warms up); medians over the turns.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Generator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table

from palmar.data.reader import Dataset
from palmar.lab.collect import CollectConfig, collect
from palmar.models.presets import preset
from palmar.train.loop import TrainRequest, train
from palmar.train.run import TrainConfig

WAYS = {"cached, a thread ahead": (True, True), "seeking, a thread ahead": (False, True), "seeking": (False, False)}
"""Name: (pictures decoded once?, batches made ahead?)."""


def one_by_one(make: Callable[[int], Any], start: int, stop: int | None) -> Generator[Any]:
    """`feed.ahead` without its thread."""
    yield from map(make, itertools.count(start) if stop is None else range(start, stop))


def turn(name: str, root: Path, way: str, batch: int, steps: int, side: int | None) -> dict[str, float]:
    """The last row of a short training: `steps` to warm up, `steps` that count."""
    cached, thread = WAYS[way]
    config = TrainConfig(
        steps=2 * steps, batch_size=batch, log_every=steps, validation=0.0, checkpoint_minutes=1e9, threads=1
    )
    rows: list[dict[str, float]] = []
    source = Dataset(root, cache=cached, image_size=side)
    plain = nullcontext() if thread else mock.patch("palmar.train.loop.ahead", one_by_one)
    with plain, tempfile.TemporaryDirectory() as out:
        train(TrainRequest(preset(name), source, config), out, progress=False, watch=rows.append)
    source.close()
    return rows[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a LeRobotDataset v3; by default some episodes are collected")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--presets", nargs="+", default=["palmar-tiny", "act-tiny"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image-size", type=int, help="short side [px]; as recorded without")
    parser.add_argument("--steps", type=int, default=6, help="that count in a turn")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = args.data
        if root is None:
            root = Path(folder) / "set"
            collect(root, CollectConfig(episodes=args.episodes), progress=False)
        found: dict[tuple[str, str], list[dict[str, float]]] = {k: [] for k in itertools.product(args.presets, WAYS)}
        for _ in range(args.turns):
            for (name, way), rows in found.items():
                rows.append(turn(name, root, way, args.batch, args.steps, args.image_size))
        frames = len(Dataset(root))
    title = f"{args.turns} turns of {args.steps} batches of {args.batch}, {frames} frames, one compute thread"
    table = Table("model", "loading", "waits for data", "smallest … largest", "samples/s", "ratio", title=title)
    for name in args.presets:
        table.add_section()
        speed = {way: statistics.median(r["samples_per_s"] for r in found[name, way]) for way in WAYS}
        for way in WAYS:
            shares = [r["loader_share"] for r in found[name, way]]
            table.add_row(
                name, way, f"{statistics.median(shares):.1%}", f"{min(shares):.1%} … {max(shares):.1%}",
                f"{speed[way]:.0f}", f"{speed[way] / speed['seeking']:.2f}×",
            )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
