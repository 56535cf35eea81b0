"""One table, one instruction, one robot.

Everything in palmar is this loop: a body that is looked at and moved, a policy that answers what it sees with actions, and a
safety layer between them. Here the policy is a scripted expert, so nothing has to be trained first.

    python examples/00_hello.py
    python examples/00_hello.py "put the yellow can in the blue box"
"""

import sys

from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.worker import Inline
from palmar.sim import instructions
from palmar.sim.experts import Expert
from palmar.sim.world import World

instruction = sys.argv[1] if len(sys.argv) > 1 else "pick up the red cube"
world = World(images=False)  # the expert knows where things are; a policy of yours would look
obs = world.load(instructions.scenario_for(instructions.parse(instruction), seed=1))
end = rollout(world, Inline(Expert(world)), obs, chunks=ChunkBuffer(execute=1), until=lambda *_: world.success())

print(
    f"“{instruction}”: {'success' if world.success() else 'no success'} after {end.duration:.1f} s and {end.ticks} commands"
)
