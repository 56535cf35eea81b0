"""A recorded episode through the control path, with nobody acting: what would the guards have changed?

    recorded action → action space → guards → command, beside the same path without guards

What was measured when the episode was recorded is what the guards see, so one also learns whether the robot was where it
was told to be. Without recorded positions the robot is taken to follow perfectly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from palmar.embodiments import LITTLE, Embodiment
from palmar.errors import BadValue
from palmar.robot_parts import Measurement
from palmar.runtime.bodies.outside import outside
from palmar.runtime.control.actions import action_space, resting
from palmar.runtime.control.path import Control
from palmar.runtime.loop import resting_command
from palmar.types import Array, Observation


@dataclass(frozen=True)
class Replayed:
    """One episode. K control ticks of N channels.

    time: float64[K] [s]. asked: float64[K, N], commands of the same actions without guards. sent: float64[K, N].
    start: float64[N]. reasons: {guard: {what it looked at: commands}}. changed: bool[K, N], commands changed by more than
    `LITTLE`. stopped: when the controller would have stopped the robot [s] and why, None: never. outside: commands
    sent that break a limit, by quantity; all 0 unless palmar is wrong.
    """

    time: Array
    asked: Array
    sent: Array
    start: Array
    reasons: Mapping[str, Mapping[str, int]]
    changed: Array
    stopped: tuple[float, str] | None
    outside: Mapping[str, int]

    @property
    def largest(self) -> Array:
        """float64[N]: largest difference of what was sent and what was asked, in each channel's unit."""
        return np.abs(self.sent - self.asked).max(axis=0)


def replay(robot: Embodiment, actions: Array, states: Array | None, dt: float) -> Replayed:
    """Play one episode.

    robot: in the action space of the actions. actions: float[T, A]. states: float[T, S] in the order of `robot.state`, None
    for a robot that follows perfectly. dt: how long an action lasts [s].

    Raises `BadValue` for other shapes, fewer than one action, or a first state outside the robot's limits.
    """
    actions = np.asarray(actions, float)
    if actions.ndim != 2 or not len(actions) or actions.shape[1] != len(robot.action_names):
        raise BadValue(
            f"actions are {list(actions.shape)}; expected [T, {len(robot.action_names)}] with T ≥ 1. "
            "Next: the actions of one episode in the robot's action space"
        )
    if states is not None and np.shape(states) != (len(actions), len(robot.state)):
        raise BadValue(
            f"states are {list(np.shape(states))}; expected [{len(actions)}, {len(robot.state)}]. "
            "Next: the states of the same episode"
        )
    if not (np.isfinite(dt) and dt > 0):
        raise BadValue(f"dt is {dt}; expected seconds > 0. Next: 1 / fps of the recording")
    perfect = states is None
    if perfect:
        robot = replace(
            robot, state=tuple(Measurement(f"{c.name}.pos", c.unit, "position", c.name) for c in robot.channels)
        )
    tick = 1.0 / robot.control_rate
    control, free = Control(robot), action_space(robot)
    start = _start(robot, actions, states)
    control.reset(start)
    start = control.command
    free.reset(start)
    now_command = start
    count = max(round(len(actions) * dt / tick), 1)
    asked, sent = np.empty((count, len(start))), np.empty((count, len(start)))
    changed = np.zeros(asked.shape, bool)
    reasons: dict[str, Counter[str]] = {}
    stopped: tuple[float, str] | None = None
    for k in range(count):
        now = k * tick
        i = min(int(now / dt + 1e-6), len(actions) - 1)
        sampled, share = (actions[i], min(now / dt - i, 1.0)), tick / dt
        seen = robot.state_from(control.command, np.zeros(len(start))) if states is None else states[i]
        target, verdict = control.step(sampled, share, Observation({}, np.asarray(seen, float), "", now), now)
        unguarded = free.target(sampled[0], share, sampled[1] + share, now_command)
        asked[k] = now_command = np.where(np.isfinite(unguarded), unguarded, now_command)
        sent[k] = verdict.command
        changed[k] = ~(np.abs(verdict.command - target) <= LITTLE * robot.widths)
        for r in verdict.reasons:
            reasons.setdefault(r.guard, Counter())[r.quantity or "command"] += 1
        if verdict.stop and stopped is None:
            stopped = now, str(verdict.fault)
    counts = {g: dict(c.most_common()) for g, c in reasons.items()}
    return Replayed(
        np.arange(count) * tick, asked, sent, start, counts, changed, stopped, outside(robot, start, sent)
    )  # fmt: skip


def _start(robot: Embodiment, actions: Array, states: Array | None) -> Array:
    """Where the robot rests before the first action, float64[N]: where it was measured; else where the action wants it."""
    start = robot.home.copy()
    if robot.action_space == "channels":
        start = np.clip(np.where(np.isfinite(actions[0]), actions[0], start), robot.lower, robot.upper)
    if states is not None:
        measured = resting_command(robot, Observation({}, np.asarray(states[0], float)))
        known = np.isfinite(robot.measured(np.zeros(len(robot.state))))
        start = np.where(known, measured, start)
    return resting(robot, start)


def summary(robot: Embodiment, episodes: Mapping[int, Replayed]) -> dict[str, Any]:
    """Figures of several episodes, for `--json` and a table.

    commands, changed (by more than `LITTLE`), outside; guards: {guard: {what it looked at: commands}}; channels: {name: unit,
    changed, largest (and the episode and time [s] of it)}; stopped: {episode: [time, reason]}.
    """
    guards: dict[str, Counter[str]] = {}
    for r in episodes.values():
        for guard, counts in r.reasons.items():
            guards.setdefault(guard, Counter()).update(counts)
    channels = {}
    for i, c in enumerate(robot.channels):
        worst = max(episodes, key=lambda e: episodes[e].largest[i])
        r = episodes[worst]
        k = int(np.abs(r.sent[:, i] - r.asked[:, i]).argmax())
        channels[c.name] = {
            "unit": c.unit, "changed": int(sum(e.changed[:, i].sum() for e in episodes.values())),
            "largest": float(r.largest[i]) if r.largest[i] > 1e-9 else 0.0, "episode": worst, "time": float(r.time[k]),
        }  # fmt: skip
    return {
        "episodes": list(episodes),
        "commands": sum(len(r.time) for r in episodes.values()),
        "changed": int(sum(r.changed.any(1).sum() for r in episodes.values())),
        "outside": sum(sum(r.outside.values()) for r in episodes.values()),
        "guards": {g: dict(c.most_common()) for g, c in guards.items()},
        "channels": channels,
        "stopped": {str(e): list(r.stopped) for e, r in episodes.items() if r.stopped is not None},
    }
