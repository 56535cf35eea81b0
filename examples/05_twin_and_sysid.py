"""How far is the robot from its simulation, and which number of the simulation is wrong?

The reality twin stands in for your robot: its parameters are hidden, and it does things the simulator does not model. A few
diagnostic motions are recorded on it; the parameters that explain them come out with intervals, and the ones the motions say
nothing about are named as such. Training then randomises inside the intervals instead of everywhere.

    python examples/05_twin_and_sysid.py           twin 0, about half a minute
    python examples/05_twin_and_sysid.py 3         another robot
"""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from palmar.sim.reality import twin
from palmar.sim.world import World
from palmar.transfer.diagnose import diagnose, table
from palmar.transfer.sysid import identify

robot = World(images=False, reality=twin(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
robot.load(table())
found = identify(diagnose(robot))

rows = Table("parameter", "estimate", "95 % interval", "hidden truth")  # on your robot, nobody knows the last column
for name, e in found.estimates.items():
    interval = f"{e.low:.4g} … {e.high:.4g} {e.unit}" if e.identified else "the motions do not show it"
    rows.add_row(name, f"{e.value:.4g}", interval, f"{robot.hidden[name]:.4g}")
Console().print(rows)
print(f"a motion it was not fitted to: {found.residual_before:.1f} → {found.residual_after:.1f} mrad")

world = found.randomization().sample(np.random.default_rng(0))
print(
    f"one world to train in: gain {world['gain']:.2f}, damping {world['damping']:.2f}, friction {world['friction']:.2f}"
)
