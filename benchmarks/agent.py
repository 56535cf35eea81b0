"""How often does an agent come back from what goes wrong, and does any answer move the robot outside its limits?

    OMP_NUM_THREADS=1 python benchmarks/agent.py                        # 60 runs: a thing removed, knocked away, dropped
    OMP_NUM_THREADS=1 python benchmarks/agent.py --right-plans          # long instructions by a stand-in model that knows the plans
    OMP_NUM_THREADS=1 python benchmarks/agent.py --hostile 1000         # answers made to harm, from a stand-in server

Needs palmar[agent,sim]; --policy shipped needs palmar[learn]. The stand-in servers speak the published protocols on this computer.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from palmar.agent.carry_out import AgentLimits, carry_out
from palmar.agent.plans import Decision, Plan, PlanRequest
from palmar.agent.rules import RulePlanner, between, remaining
from palmar.agent.simulated import performer
from palmar.agent.skills import Skill
from palmar.agent.table import driver_in
from palmar.eval.stats import Rate
from palmar.lab.worlds import Loaded
from palmar.runtime.loop import Subscriber, Tick
from palmar.sim.goals import Goal, GoalWatch, table_for
from palmar.sim.world import World

WHEN, EVERY = 0.8, 1.5  # seconds into the first skill from which it is disturbed, and between two strikes
FASTER = 0.6  # speed that a strike adds [m/s]
OUT = (0.12, 0.45)  # on the table, and out of reach [m]
TEXTS = (
    ("put the red cube on the blue plate", (Goal("place", "red cube", "blue plate"),)),
    ("push the green ball to the left", (Goal("push", "green ball", "", "left"),)),
    (
        "put the red cube on the blue plate, then push the green ball to the left",
        (Goal("place", "red cube", "blue plate"), Goal("push", "green ball", "", "left")),
    ),
    (
        "push the yellow can to the right, then put the red cube in the purple tray",
        (Goal("push", "yellow cylinder", "", "right"), Goal("place", "red cube", "purple tray")),
    ),
)
THINGS, PLACES = ("red cube", "green ball", "yellow cylinder"), ("blue plate", "purple tray")


class Disturbed(Subscriber):
    """The first skill is made to fail, from `WHEN` seconds on: the thing it is about is taken out of reach and put back when the
    skill is over ("removed"), struck every `EVERY` seconds ("knocked away"), or falls out of the gripper whenever it is lifted
    ("weak gripper"). happened: it was disturbed."""

    def __init__(self, world: World, how: str, seed: int) -> None:
        self.world, self.how, self.rng = world, how, np.random.default_rng(seed)
        self.happened = False
        self._skills, self._thing, self._last = 0, 0, 0.0

    def on_start(self, obs: Any, body: Any) -> None:
        self._skills += 1
        self._began = self._last = obs.time
        if self._skills == 1:
            self._thing = self.world.scenario.target
        elif self._skills == 2 and self.happened and self.how == "removed":
            self._put(self._free_spot())

    def on_tick(self, tick: Tick) -> None:
        world, i = self.world, self._thing
        if self._skills > 1 or tick.time - self._began < WHEN:
            return
        rest = world.table + world.scenario.items[i].rest_height
        if self.how == "removed" and not self.happened:
            self._put(np.array([*OUT, rest]))
        elif self.how == "weak gripper" and world.item(i)[2] > rest + 0.03:
            self._put(self._free_spot())
        elif self.how == "knocked away" and tick.time - self._last > EVERY:
            angle, dof = self.rng.uniform(0, 2 * np.pi), world.model.joint(f"item{i}").dofadr[0]
            world.data.qvel[dof : dof + 2] += FASTER * np.array([np.cos(angle), np.sin(angle)])
            self._last = tick.time
        else:
            return
        self.happened = True

    def _put(self, where: np.ndarray) -> None:
        joint = self.world.model.joint(f"item{self._thing}")
        self.world.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 3] = where
        self.world.data.qvel[joint.dofadr[0] : joint.dofadr[0] + 6] = 0.0

    def _free_spot(self) -> np.ndarray:
        """Where the thing has room, and the gripper is not."""
        world, items = self.world, self.world.scenario.items
        spot = np.zeros(3)
        for _ in range(1000):
            spot = np.array([*self.rng.uniform((0.42, -0.08), (0.55, 0.08)), world.table + items[self._thing].rest_height])
            away = [np.linalg.norm(world.item(k)[:2] - spot[:2]) for k in range(len(items)) if k != self._thing]
            if min(away) > 0.11 and np.linalg.norm(world.tcp[:2] - spot[:2]) > 0.08:
                break
        return spot


def recovered(policy: str, runs: int, console: Console) -> None:
    """Of runs in which the thing was disturbed, in how many every goal was reached in the end."""
    loaded, tally = Loaded(), {how: Counter() for how in ("removed", "knocked away", "weak gripper")}
    most = 0
    for n in track(range(runs), "disturbed runs"):
        how = list(tally)[n % len(tally)]
        text, goals = TEXTS[(n // len(tally)) % len(TEXTS)]
        driver, world = driver_in(loaded, policy, "sim")
        world.load(table_for(THINGS, PLACES, goals, 7000 + n, text), seed=n)
        watch, disturbed = GoalWatch(world, goals, True), Disturbed(world, how, n)
        hands = performer(world, {"": driver}, 1 if policy == "expert" else 4, (watch, disturbed))
        run = carry_out(text, RulePlanner(), hands)
        watch.look()
        tally[how]["all"] += 1
        tally[how]["happened"] += disturbed.happened
        tally[how]["planned anew"] += disturbed.happened and run.replans > 0
        tally[how]["recovered"] += disturbed.happened and watch.fulfilled
        tally[how]["recovered by planning anew"] += disturbed.happened and run.replans > 0 and watch.fulfilled
        most = max(most, run.replans)
    for how, found in (*tally.items(), ("all", sum(tally.values(), Counter()))):
        rate = Rate(found["recovered"], found["happened"])
        again = Rate(found["recovered by planning anew"], found["planned anew"])
        console.print(f"{how}: happened in {found['happened']} of {found['all']}; goals reached {rate}; where it was planned anew {again}")
    console.print(f"most plans after the first: {most} (bound {AgentLimits().replans})")


class RightPlans:
    """A planner behind a stand-in server of Anthropic's protocol, which answers the right plan for what is left."""

    name = "right plans"

    def __init__(self) -> None:
        sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "agent"))
        import model_stand_ins as stand_ins

        self.goals: list[Skill] = []
        self.request: PlanRequest | None = None
        self.server, self.planner = stand_ins.planner_answering(self._answer)

    def decide(self, request: PlanRequest) -> Decision:
        self.request = request
        return self.planner.decide(request)

    def _answer(self) -> dict[str, Any]:
        assert self.request is not None
        steps = between(remaining(self.goals, self.request), self.request.scene)
        if self.request.tried and not self.request.tried[-1].done and steps:
            steps = [Skill("home"), *steps]
        return Plan(tuple(steps)).as_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="shipped")
    parser.add_argument("--runs", type=int, default=60)
    args = parser.parse_args()
    recovered(args.policy, args.runs, Console(width=130))


if __name__ == "__main__":
    main()
