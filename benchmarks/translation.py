"""Does a translation of reality's pictures win back success of the shipped policy? Twins, and a camera that is dark and flat.

    python benchmarks/translation.py FOLDER [--network]

For each reality: 12 demonstrations there and 24 in plain simulation give the pictures (palmar collect), then the shipped policy
with and without the translation on the same 20 tables of pick and place (seeds from 77000).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from palmar.eval.results import shared
from palmar.eval.stats import paired
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.suite import EvalConfig, evaluated
from palmar.models import translation
from palmar.sim.params import NO_RANDOMIZATION, Randomization, WorldParams
from palmar.transfer.cycle import CycleConfig
from palmar.transfer.translate import fit_translation

TASKS = ("pick", "place")
CAMERAS = {"front": (96, 96), "wrist": (96, 96)}
DARK = replace(NO_RANDOMIZATION, centre=WorldParams({"brightness": 0.45, "contrast": 0.5, "temperature": 2500.0}))
REALITIES: dict[str, tuple[str, Randomization]] = {f"twin{i}": (f"twin:{i}", NO_RANDOMIZATION) for i in range(4)}
REALITIES["dark"] = ("sim", DARK)


def recorded(root: Path, world: str, worlds: Randomization, episodes: int, seed: int) -> Path:
    if not root.exists():
        collect(
            root, CollectConfig(episodes, tasks=TASKS, seed=seed, world=world, randomization=worlds), 1, progress=False
        )
    return root


def main(folder: Path, kind: str) -> None:
    sim = recorded(folder / "sim", "sim", NO_RANDOMIZATION, 24, 6000)
    for name, (world, worlds) in REALITIES.items():
        real = recorded(folder / name, world, worlds, 12, 5000)
        out = folder / f"{kind}-{name}"
        if not translation.is_translated(out):
            made, _ = fit_translation(real, sim, CAMERAS, kind, CycleConfig(steps=300), 200)  # type: ignore[arg-type]
            translation.save(out, made, "shipped", {})
        plain, other = (
            evaluated(
                EvalConfig(p, 10, TASKS, world=world, seed=77_000, randomization=worlds),
                folder / f"{name}-{Path(p).name}.json",
            )
            for p in ("shipped", str(out))
        )
        a, b = shared(plain, other)
        found = paired(a, b)
        points = f"{100 * found.difference:+.0f} points [{100 * found.low:+.0f}, {100 * found.high:+.0f}]"
        print(f"{name:6} plain {sum(a)} of {len(a)}, {kind} {sum(b)}: {points}, p = {found.p:.3g}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "network" if "--network" in sys.argv else "colour")
