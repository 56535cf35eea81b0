"""Which words fit a picture? A CLIP-style choice among descriptions of objects that a policy makes without being taught to: by
how sure it is of the thing when asked to reach for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from palmar.errors import BadValue
from palmar.eval.stats import Rate
from palmar.lab.grounding import Box, GroundingConfig, check_heatmap, laid
from palmar.lab.heatmaps import heatmap
from palmar.lab.worlds import Loaded
from palmar.policy import Policy, check_policy
from palmar.ranges import Processes
from palmar.runtime.pool import spread
from palmar.sim.things import COLOURS, SHAPES
from palmar.types import ActionChunk, Array, Observation

NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)


def describe(
    policy: Policy, obs: Observation, descriptions: Sequence[str], box: Box | None = None, camera: str = "front"
) -> list[float]:
    """How well each description of an object fits the picture; the largest is the choice. Nothing is labelled or trained.

    The policy is asked to reach for each in turn, and the score is its confidence: whether it sees the thing, and looks at
    one place (`Grounded.act`). box: where the thing is, for "what is this?" instead of "what is there?"; the score is
    then multiplied by the share of the heatmap inside. Raises `BadValue` for a policy without confidence or heatmap.
    """
    return [fit(chunk, box, camera) for chunk in answers(policy, obs, descriptions)]


def answers(policy: Policy, obs: Observation, descriptions: Sequence[str]) -> Iterator[ActionChunk]:
    """What the policy would do when asked to reach for each."""
    for words in descriptions:
        policy.reset()
        yield policy.act(replace(obs, instruction=f"reach the {words}"))


def fit(chunk: ActionChunk, box: Box | None, camera: str) -> float:
    """The score of `describe`."""
    if chunk.confidence is None:
        raise BadValue("the policy says no confidence to choose by. Next: a `palmar` preset")
    return chunk.confidence * (1.0 if box is None else share_inside(heatmap(chunk, camera), box))


@dataclass(frozen=True)
class Described:
    """What is there: a true name scores above all names of nothing on the table. What is this: the true name scores above
    all others, given the thing's box. guess: how often chance would be right, of each."""

    there: Rate
    this: Rate
    guess: tuple[float, float]


def described(config: GroundingConfig, processes: Processes = None) -> Described:
    """`describe` for every object of every table, among the names of all objects there could be."""
    check_policy(config.policy)
    check_heatmap(config)
    jobs = ((config, config.seed + i) for i in range(config.tables))
    rows = [row for rows in spread(name_all, Loaded, jobs, processes) for row in rows]
    there, this, wrong = zip(*rows, strict=True)
    guess = sum(1 / (1 + n) for n in wrong) / len(rows), 1 / len(NAMES)
    return Described(Rate(sum(there), len(rows)), Rate(sum(this), len(rows)), guess)


def name_all(loaded: Loaded, job: tuple[GroundingConfig, int]) -> list[tuple[bool, bool, int]]:
    """For each object of one table: right among the absent, right given its box, how many names are absent."""
    config, seed = job
    world, policy, obs = laid(loaded, config, seed)
    camera = next(c for c in world.embodiment.cameras if c.name == config.camera)
    things = {it.name: i for i, it in enumerate(world.scenario.items) if it.shape in SHAPES}
    absent = [n for n in NAMES if n not in things]
    said = dict(zip(NAMES, answers(policy, obs, NAMES), strict=True))
    score = {n: fit(chunk, None, config.camera) for n, chunk in said.items()}
    rows = []
    for name, i in things.items():
        box = world.box(camera, i)
        best = max(NAMES, key=lambda n: fit(said[n], box, config.camera))
        rows.append((score[name] > max(score[n] for n in absent), best == name, len(absent)))
    return rows


def share_inside(heat: Array, box: Box) -> float:
    """Share of a heatmap [h, w] inside a box, grown by half a cell."""
    (height, width), (left, top, right, bottom) = heat.shape, box
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    inside = ((rows > top - 0.5 / height) & (rows < bottom + 0.5 / height))[:, None] & (
        (columns > left - 0.5 / width) & (columns < right + 0.5 / width)
    )
    return float(heat[inside].sum() / heat.sum())
