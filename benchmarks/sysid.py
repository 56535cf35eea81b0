"""Does identification find the parameters of reality twins it has never seen, and do its intervals hold?

    OMP_NUM_THREADS=1 python benchmarks/sysid.py --twins 10

Each twin is diagnosed and identified through its sensors only; its hidden parameters are read here, to compare. A claimed
parameter counts when the truth is inside the 95 % interval, or within 10 % of the estimate.
"""

from __future__ import annotations

import argparse
import time

from rich.console import Console
from rich.table import Table

from palmar.sim.reality import hidden, twin
from palmar.sim.world import World
from palmar.transfer.diagnose import diagnose, table
from palmar.transfer.identification import Identification
from palmar.transfer.search import PARAMETERS
from palmar.transfer.sysid import identify


def study(seed: int) -> tuple[Identification, float, float]:
    """The twin's identification, wall seconds to diagnose, CPU seconds to identify."""
    world = World(images=False, reality=twin(seed))
    world.load(table())
    began = time.perf_counter()
    recordings = diagnose(world)
    diagnosed, cpu = time.perf_counter() - began, time.process_time()
    return identify(recordings), diagnosed, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    console = Console(width=140)
    shown = Table("twin", *PARAMETERS, "held-out [mrad]", "cpu [s]", title="estimate ± half-width (truth); ! outside")
    inside = {n: 0 for n in PARAMETERS}
    near, claimed = dict(inside), dict(inside)
    for seed in range(args.first, args.first + args.twins):
        found, _, cpu = study(seed)
        truth, cells = hidden(seed), []
        for n, e in found.estimates.items():
            if not e.identified:
                cells.append(f"- ({truth[n]:.3g})")
                continue
            within = e.low <= truth[n] <= e.high
            close = abs(e.value - truth[n]) <= 0.1 * abs(truth[n])
            claimed[n] += 1
            inside[n] += within
            near[n] += within or close
            cells.append(f"{e.value:.3g}±{(e.high - e.low) / 2:.2g} ({truth[n]:.3g}){'' if within else '!'}")
        shown.add_row(str(seed), *cells, f"{found.residual_before:.1f} → {found.residual_after:.1f}", f"{cpu:.0f}")
    shown.add_section()
    shown.add_row("in 95 %", *(f"{inside[n]}/{claimed[n]}" for n in PARAMETERS))
    shown.add_row("or 10 %", *(f"{near[n]}/{claimed[n]}" for n in PARAMETERS))
    console.print(shown)
    n = sum(claimed.values())
    console.print(
        f"claimed {n}: inside the interval {sum(inside.values()) / n:.0%}, or within 10 % {sum(near.values()) / n:.0%}"
    )


if __name__ == "__main__":
    main()
