"""Scripted experts: reactive, privileged, and stateless, so they can label any state a learner gets into (DAgger).

An expert looks at the true positions and answers with one `ee_delta` action. Every decision is a function of the present
state, with smooth funnels instead of timed phases: what a policy sees is enough to imitate it.
"""

from __future__ import annotations

import numpy as np

from palmar.robots.arm7 import GRIPPER_WIDTH
from palmar.runtime.actions import shorten
from palmar.sim import tasks
from palmar.sim.world import World
from palmar.types import ActionChunk, Array, Observation

GAIN = 0.4  # share of the remaining way asked for in one action: the servos lag by about half an action
OPEN, CLOSED = 1.0, 0.0
SAFE_HEIGHT = 0.10  # sideways motion happens this far over the grasp [m]


class Expert:
    """Does whatever the world's scenario asks. noise: standard deviation of what is added to its motion [m] (DART)."""

    def __init__(self, world: World, noise: float = 0.0, seed: int = 0) -> None:
        self.world, self.noise = world, noise
        self._rng = np.random.default_rng([13, seed])
        self.interface = world.embodiment.with_action_space("ee_delta").interface(horizon=1)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Array | None = None) -> ActionChunk:
        goal, opening, speed = PLANS[self.world.scenario.task](self.world)
        move = shorten(GAIN * (goal - self.world.tcp), speed)
        if self.noise:  # less of it close to the goal, where it would only undo the grasp
            share = min(1.0, 0.3 + float(np.linalg.norm(goal - self.world.tcp)) / 0.05)
            move = move + share * self._rng.normal(0, self.noise, 3)
        action = np.array([*move, 0.0, 0.0, 0.0, opening], np.float32)
        return ActionChunk(action[None], 1.0 / self.world.embodiment.policy_rate, obs.time)


Plan = tuple[Array, float, float]
"""Where the TCP should go [m], the gripper opening, and the largest step of one action [m]."""


def reach(w: World) -> Plan:
    return tasks.goal_point(w), OPEN, 0.035


def pick(w: World) -> Plan:
    i = w.scenario.target
    if holds(w, i):
        return np.array([*w.tcp[:2], w.table + 0.17]), CLOSED, 0.03
    return grasp(w, i)


def place(w: World) -> Plan:
    i, g = w.scenario.target, w.scenario.goal
    assert g is not None
    item, spot = w.item(i), w.item(g)
    thing, base = w.scenario.items[i], w.scenario.items[g]
    over = item - spot
    rest = thing.rest_height * w.params["object_scale"] + base.rest_height
    delivered = np.linalg.norm(over[:2]) < 0.045 and over[2] < rest + 0.018
    if delivered and (not holds(w, i) or np.linalg.norm(over[:2]) < 0.02):
        if w.opening < 0.85 and np.linalg.norm(w.tcp - item) < 0.06:
            return w.tcp + [0, 0, 0.012], OPEN, 0.02  # a little up: pads that press on the plate open slowly
        return np.array([*w.tcp[:2], w.table + 0.17]), OPEN, 0.03
    if not holds(w, i):
        return grasp(w, i)
    grip = w.tcp - item  # carry the object, not the hand, to the spot
    aside = float(np.linalg.norm(over[:2]))
    height = rest + 0.008 + np.clip(3.0 * (aside - 0.012), 0.0, 0.09)
    return spot + [0, 0, height] + grip, CLOSED, 0.03


def push(w: World) -> Plan:
    i, d = w.scenario.target, w.scenario.direction or "left"
    item, along = w.item(i), np.array(tasks.DIRECTIONS[d])
    half = w.scenario.items[i].width / 2 * w.params["object_scale"]
    low = w.table + 0.024
    if tasks.SUCCESS["push"](w):  # done: back off and up
        return np.array([*(w.tcp[:2] - 0.02 * along), w.table + 0.12]), CLOSED, 0.03
    pad = 0.013 + half
    rel = w.tcp[:2] - item[:2]
    behind, aside = float(-rel @ along), rel - (rel @ along) * along
    off = float(np.linalg.norm(aside))
    start = item[:2] - (pad + 0.03) * along
    if behind > pad - 0.012 and off < 0.014 and w.tcp[2] < low + 0.015:
        goal = tasks.goal_point(w)[:2]
        ahead = (
            w.tcp[:2] + 0.05 * along
        )  # steady forward, centred behind the object (a little over-corrected: it drifts)
        ahead = ahead - 1.4 * aside
        return np.array([*ahead, low]), CLOSED, 0.022 if float((goal - item[:2]) @ along) > 0.02 else 0.015
    away = float(np.linalg.norm(w.tcp[:2] - start))
    clear = behind > pad + 0.008
    height = low + np.clip((2.5 if clear else 8.0) * (away - 0.010), 0.0, SAFE_HEIGHT)
    return np.array([*start, height]), CLOSED, 0.035


PLANS = {"reach": reach, "pick": pick, "place": place, "push": push}


def grasp(w: World, i: int) -> Plan:
    """Come down on an object through a funnel: high while far aside, at the object when over it; then close."""
    item = w.item(i)
    target = np.array([item[0], item[1], max(item[2], w.table + 0.018)])
    off = target - w.tcp
    aside = float(np.linalg.norm(off[:2]))
    at_grasp = aside < 0.012 and abs(off[2]) < 0.012
    if at_grasp or (w.opening < 0.8 and aside < 0.02 and abs(off[2]) < 0.015 and w.opening > _gripped(w, i) - 0.25):
        return target, CLOSED, 0.02
    height = np.clip(3.0 * (aside - 0.008), 0.0, SAFE_HEIGHT)
    return target + [0, 0, height], OPEN, 0.035


def holds(w: World, i: int) -> bool:
    """The object is between the pads and the pads have closed on it."""
    near = np.linalg.norm(w.item(i) - w.tcp) < 0.028
    return bool(near and _gripped(w, i) - 0.2 < w.opening < _gripped(w, i) + 0.18)


def _gripped(w: World, i: int) -> float:
    """Opening at which the pads touch both sides of an object."""
    return w.scenario.items[i].width * w.params["object_scale"] / GRIPPER_WIDTH
