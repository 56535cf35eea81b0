"""Observations to compare policies on, and the same trials driven by a policy that is at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palmar.errors import BadValue
from palmar.eval.results import Results
from palmar.lab.suite import EvalConfig, as_json, run
from palmar.lab.worlds import Loaded
from palmar.policy import Policy
from palmar.robots import robots
from palmar.types import ActionChunk, Observation, Prefix

TABLES = 900_000  # first seed of the tables on which observations are recorded


class Given(Loaded):
    """Worlds, and one policy that is there already, whatever it is called."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.given = policy

    def policy(self, where: str) -> Policy:
        return self.given


class Watched:
    """The inner policy; what it is asked is kept."""

    def __init__(self, inner: Policy) -> None:
        self.inner, self.interface = inner, inner.interface
        self.ensembles = getattr(inner, "ensembles", False)
        self.asked: list[Observation] = []

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        images = {c: x.copy() for c, x in obs.images.items()}
        self.asked.append(replace(obs, images=images, privileged=None))
        return self.inner.act(obs, prefix)

    def reset(self) -> None:
        self.inner.reset()


def robot_of(policy: Policy) -> str:
    """The robot that palmar can simulate for it. Raises `BadValue` when there is none."""
    name = policy.interface.embodiment
    if name not in robots():
        raise BadValue(
            f"the policy is for '{name or 'a robot without a name'}', which palmar cannot simulate; it can: "
            f"{', '.join(robots())}. Next: recorded episodes of it, --data FOLDER"
        )
    return name


def simulated(policy: Policy, count: int, tasks: tuple[str, ...] = ("all",), seed: int = TABLES) -> list[Observation]:
    """What the policy sees while it drives its robot in simulation: `count` observations, evenly over all that it was asked."""
    watched, given = Watched(policy), count
    config = EvalConfig("given", 1, tasks, seed=seed, robot=robot_of(policy), timeout=8.0)
    loaded = Given(watched)
    table = 0
    while len(watched.asked) < given:
        for task in config.tasks:
            run(loaded, (config, task, config.splits[0], seed + table))
        table += 1
    return chosen(watched.asked, count)


def chosen(asked: list[Observation], count: int) -> list[Observation]:
    """`count` of them in their order, evenly; all when there are fewer."""
    rows = np.unique(np.linspace(0, len(asked) - 1, min(count, len(asked))).round().astype(int))
    return [asked[i] for i in rows]


def driven(policy: Policy, config: EvalConfig) -> Results:
    """The trials of a configuration, in this process, driven by this policy. config.policy is how the results call it."""
    loaded = Given(policy)
    jobs = [
        (config, k, s, config.seed + i) for s in config.splits for i in range(config.episodes) for k in config.tasks
    ]
    return Results(as_json(config), tuple(run(loaded, job) for job in jobs))
