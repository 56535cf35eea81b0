"""Latency of systems of several sizes in each form, on random weights: which size runs at what rate on one core.

    OMP_NUM_THREADS=1 python benchmarks/inference.py [--presets palmar-tiny act-tiny octo-small] [--forms eager onnx-fp32 …]

The forms of a preset take turns on the same observations; two cameras of 96×96 px. Random weights answer nothing
sensible: the figures are time and size. Parity is printed too, but what counts is that of a trained policy
(`palmar bench CHECKPOINT`).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from palmar.cli.commands.speed import table_of
from palmar.console import Screen
from palmar.data.normalize import Normalizer
from palmar.lab.bench import Bench, BenchConfig
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.base import parameters
from palmar.models.catalogue import fitted
from palmar.models.form_names import FORMS
from palmar.models.presets import preset
from palmar.types import Observation

PRESETS = ("palmar-tiny", "act-tiny", "octo-tiny", "octo-small")


def random_checkpoint(name: str, folder: Path) -> tuple[Interface, int]:
    """A checkpoint of a preset that has learned nothing: its interface and its number of parameters."""
    config = preset(name)
    face = fitted(config)
    torch.manual_seed(0)
    model = config.build(face)
    widths = {"state": len(face.state_names), "action": len(face.action_names)}
    scales = {what: Normalizer(np.zeros(n), np.ones(n)) for what, n in widths.items()}
    checkpoint.save(folder, model.state_dict(), config, face, scales)
    return face, parameters(model)


def observations(face: Interface, count: int) -> list[Observation]:
    rng = np.random.default_rng(0)
    return [
        Observation(
            {c: rng.integers(0, 255, (*size, 3)).astype(np.uint8) for c, size in face.cameras.items()},
            rng.normal(size=len(face.state_names)).astype(np.float32), "put the red cube on the blue plate", i * face.dt,
        )
        for i in range(count)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--forms", nargs="+", default=FORMS)
    parser.add_argument("--repeats", type=int, default=200)
    args, screen = parser.parse_args(), Screen()
    torch.set_num_threads(1)
    for name in args.presets:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            face, size = random_checkpoint(name, folder / "random")
            config = BenchConfig(
                str(folder / "random"), tuple(args.forms), folder / "forms", args.repeats, memory=False
            )
            rows = Bench(config, observations(face, 16)).run()
        screen.print(f"{name}: {size / 1e6:.1f} M parameters")
        screen.print(table_of(rows))
        for row in rows:
            if row.why:
                screen.print(f"{row.form}: {row.why}")


if __name__ == "__main__":
    main()
