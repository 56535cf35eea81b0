"""Does identification find what realities hide, and do its intervals hold?

    OMP_NUM_THREADS=1 nice python benchmarks/sysid.py --points 50 --out points.jsonl  # goes on where it stopped
    OMP_NUM_THREADS=1 nice python benchmarks/sysid.py --points 1 --first 7
    OMP_NUM_THREADS=1 nice python benchmarks/sysid.py --twins 10  # those that palmar comes with

Point SEED is a reality of its own: servo gain 0.25 … 4 × (log-uniform), delay 0 … 6 whole ticks, every other parameter that
identification looks for uniform over its range widened by half to either side, within its physical bounds; all else as in plain
simulation. The body is met through its verbs and its tracker alone; what it hides is read here, to compare. A parameter that is
not claimed counts as neither right nor wrong: how many were is a column.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.embodiments import Embodiment
from palmar.eval.stats import Rate
from palmar.sim.params import SPACE, WorldParams, uniform
from palmar.sim.reality import Reality, twin
from palmar.sim.world import World
from palmar.transfer.diagnose import diagnose, table
from palmar.transfer.search import PARAMETERS, SEARCHED, bounds_of, touched
from palmar.transfer.sysid import identify
from palmar.types import Array, Observation

GAIN, DELAY = (0.25, 4.0), 6
BEYOND = 0.5  # of a range, added to either side of it


def point(seed: int) -> Reality:
    """The reality of a point."""
    values = {}
    for name in PARAMETERS:
        p, u = SPACE[name], uniform(seed, f"point {name}")
        wide = BEYOND * (p.high - p.low)
        low, high = max(p.low - wide, p.least), min(p.high + wide, p.most)
        values[name] = low + u * (high - low)
    values["gain"] = float(GAIN[0] * (GAIN[1] / GAIN[0]) ** uniform(seed, "point gain"))
    values["action_delay"] = float(int(uniform(seed, "point action_delay") * (DELAY + 1)))
    return Reality(f"point:{seed}", WorldParams(values))


class Watched:
    """A body that counts its ticks, with a tracker and nothing else of the world."""

    def __init__(self, world: World) -> None:
        self.embodiment: Embodiment = world.embodiment
        self.ticks = 0
        self._verbs = world.reset, world.observe, world.apply, world.item

    def reset(self, seed: int | None = None) -> Observation:
        return self._verbs[0](seed)

    def observe(self, images: bool = True) -> Observation:
        return self._verbs[1](images)

    def apply(self, command: Array) -> None:
        self.ticks += 1
        self._verbs[2](command)

    def item(self, i: int) -> Array:
        return self._verbs[3](i)


def study(reality: Reality, seed: int) -> dict[str, Any]:
    """One line of the file: what was hidden, what was found, and how long the body moved [s]."""
    world = World(images=False, reality=reality)
    world.load(table(), seed=seed)
    body = Watched(world)
    found = identify(diagnose(body), progress=False)
    hidden = reality.hidden or WorldParams()
    rows = {
        n: {"truth": hidden[n], "value": e.value, "low": e.low, "high": e.high, "claimed": e.identified, "note": e.note}
        for n, e in found.estimates.items()
    }
    return {
        "seed": seed, "reality": reality.name, "seconds": body.ticks / body.embodiment.control_rate, "estimates": rows,
        "before": found.residual_before, "after": found.residual_after, "notes": found.notes,
    }  # fmt: skip


def at_bound(name: str, e: dict[str, Any]) -> bool:
    """Whether a claimed estimate is at a bound of its search."""
    return (
        e["claimed"]
        and name in SEARCHED
        and touched(e["low"], e["value"], e["high"], bounds_of()[name], name) is not None
    )


def report(rows: Sequence[dict[str, Any]], console: Console) -> None:
    shown = Table(
        "parameter", "claimed", "median error", "within 5 %", "95 % interval holds (Wilson)", "at a bound",
        title=f"{len(rows)} realities",
    )  # fmt: skip
    held = []
    for name in PARAMETERS:
        all_of = [r["estimates"][name] for r in rows]
        mine = [e for e in all_of if e["claimed"]]
        error = np.array([abs(e["value"] - e["truth"]) for e in mine])
        truth = np.array([e["truth"] for e in mine])
        inside = [e["low"] <= e["truth"] <= e["high"] for e in mine]
        held += inside
        if name == "action_delay":
            median = f"{np.median(error):.3f} ticks, most {error.max():.2f}" if len(error) else "–"
            close = Rate(int((error <= 1).sum()), len(error)) if len(error) else "–"
            close = f"within 1 tick {close}"
        else:
            share = error / np.maximum(truth, 1e-12)
            median = f"{100 * np.median(share):.1f} %" if len(share) else "–"
            close = str(Rate(int((share <= 0.05).sum()), len(share)))
        bounds = sum(at_bound(name, e) for e in mine)
        cells = (f"{len(mine)} of {len(rows)}", median, close, str(Rate(sum(inside), len(inside))), str(bounds))
        shown.add_row(name, *(c.replace("[", r"\[") for c in cells))
    console.print(shown)
    console.print(f"all claimed: 95 % intervals hold {Rate(sum(held), len(held))}".replace("[", r"\["))
    motion = [r["seconds"] for r in rows]
    worse = sum(r["after"] > r["before"] for r in rows)
    console.print(
        f"motion: median {np.median(motion):.1f} s, longest {max(motion):.1f} s; held-out motion worse than nominal: {worse}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=0, help="random hidden points")
    parser.add_argument("--twins", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--out", type=Path, help="a line of JSON each; what is there already is not done again")
    args = parser.parse_args()
    count, make = (args.twins, twin) if args.twins else (args.points or 3, point)
    console, rows = Console(width=150), {}
    if args.out and args.out.exists():
        rows = {r["reality"]: r for r in map(json.loads, args.out.read_text("utf-8").splitlines())}
    wanted = [make(seed) for seed in range(args.first, args.first + count)]
    for seed, reality in enumerate(wanted, args.first):
        if reality.name in rows:
            continue
        row = rows[reality.name] = study(reality, seed)
        if args.out:
            with args.out.open("a", encoding="utf-8") as f:
                f.write(json.dumps(row) + "\n")
        told = ", ".join(
            f"{n} {e['value']:.3g} ({e['truth']:.3g})" if e["claimed"] else f"{n} – ({e['truth']:.3g})"
            for n, e in row["estimates"].items()
        )
        console.print(f"{reality.name}, {row['seconds']:.0f} s: {told}", highlight=False)
    report([rows[r.name] for r in wanted], console)


if __name__ == "__main__":
    main()
