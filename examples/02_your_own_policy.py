"""A policy of your own: a class with `act` and `reset`, tried on tables it has never seen.

No base class, no registry. This one learns nothing: it reads the colour in the sentence, looks for it in the wrist camera
and moves until it sees it where it should be. That is enough to reach for most things, and a floor for what you train.

    python examples/02_your_own_policy.py          8 tables
    python examples/02_your_own_policy.py 40       more of them: see the interval shrink
"""

import sys

import numpy as np

from palmar.eval.stats import Rate
from palmar.robots import robot
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.worker import Inline
from palmar.sim import tasks
from palmar.sim.world import World
from palmar.types import ActionChunk

PAINT = {"red": (1, -1, -1), "yellow": (1, 1, -2), "green": (-1, 1, -0.5), "blue": (-1, -0.3, 1), "purple": (1, -2, 1)}


class FollowTheColour:
    interface = robot("arm7").interface(horizon=1)  # what it takes and answers: here whatever the robot does

    def reset(self):
        pass

    def act(self, obs, prefix=None):
        score = obs.images["wrist"].astype(float) @ next(PAINT[c] for c in PAINT if c in obs.instruction)
        rows, columns = np.nonzero(score > max(0.6 * score.max(), 20.0))
        above = obs.state[-5] - 0.024  # height of the gripper over the middle of a thing [m]
        if len(rows):
            # Where the wrist camera shows a thing straight under the gripper (of 1): measured once at three heights.
            under = np.array([0.5, np.interp(above, [0.05, 0.1, 0.2], [0.546, 0.476, 0.402])])
            right, down = np.array([columns.mean(), rows.mean()]) / 96 - under
            lower = 0.3 * (0.05 - above) if np.hypot(right, down) < 0.15 else 0.0
            move = np.array(
                [0.15 * down, 0.15 * right, lower]
            )  # down in the picture is forward, right is the robot's left
        else:
            move = np.array(
                [0.0, -0.02 * np.sign(obs.state[-6]), 0.4 * (0.3 - above)]
            )  # go up and to the middle, to see more
        action = np.array([*np.clip(move, -0.03, 0.03), 0, 0, 0, 1.0], np.float32)  # no turn, gripper open
        return ActionChunk(action[None], dt=0.1, t0=obs.time)


def main():
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    world, policy, wins = World(), FollowTheColour(), 0
    for seed in range(trials):
        obs = world.load(tasks.sample("reach", "layout", seed))  # a split that training never draws from
        policy.reset()
        rollout(
            world, Inline(policy), obs, chunks=ChunkBuffer(execute=1), until=lambda *_: world.success(), timeout=6.0
        )  # fmt: skip
        wins += world.success()
        print(f"{'✓' if world.success() else '✗'} {obs.instruction}")
    print(f"success: {Rate(wins, trials)}")


if __name__ == "__main__":
    main()
