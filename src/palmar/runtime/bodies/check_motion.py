"""What the motions of a check say: one channel at a time, and what shows only while something moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from palmar.checks import Check
from palmar.embodiments import Embodiment
from palmar.robot_parts import Channel
from palmar.runtime.bodies.probe import Motion, Probe
from palmar.types import Array
from palmar.units import RATES

NEAR = 0.3  # of the commanded way: how far off a measured way may be
STILL = 0.35  # of its step: how far a channel may be moved that is not commanded to
ORIENTATION = 0.99  # smallest |dot product| of two quaternions that are one orientation, 16°
PLACE = 0.02  # [m] between a measured and a computed frame


def judged(robot: Embodiment, motion: Motion, steps: Array) -> Check:
    """One channel's motion in words, with the likeliest cause where it is not as commanded."""
    i = motion.channel
    c, sent, seen = robot.channels[i], motion.commanded[i], motion.measured[i]
    found = f"{way(c, sent)} commanded, {way(c, seen)} measured"
    if np.isnan(seen):
        return Check(c.name, True, f"{way(c, sent)} commanded; not measured, so only you have seen whether it moved")
    ratio = seen / sent
    others = np.abs(motion.measured - motion.commanded) / steps
    others[i] = np.nan
    along = [k for k in np.flatnonzero(~np.isnan(others)) if others[k] > STILL]
    if abs(ratio) < 1 - NEAR and along:
        k = max(along, key=lambda k: others[k])
        other = robot.channels[k]
        return Check(
            c.name, False, f"{found}; {other.name} moved {way(other, motion.measured[k])} instead",
            f"swapped? put '{c.name}' and '{other.name}' in the robot's order, in commands and in the state",
        )  # fmt: skip
    if not 1 - NEAR <= ratio <= 1 + NEAR:
        return Check(c.name, False, f"{found} (ratio {ratio:.3g})", _cause(c, ratio))
    if along:
        moved = ", ".join(f"{robot.channels[k].name} {way(robot.channels[k], motion.measured[k])}" for k in along)
        return Check(
            c.name, False, f"{found}; with it moved {moved}", "one command, one channel: is the gearing coupled?"
        )
    if abs(motion.left[i]) > STILL * steps[i]:
        return Check(
            c.name, False, f"{found}; then did not come back, by {way(c, motion.left[i])}", "is it blocked or weak?"
        )
    return Check(c.name, True, f"{found} (ratio {ratio:.2f})")


def _cause(c: Channel, ratio: float) -> str:
    near = {
        -1.0: "inverted sign: negate it in commands or in the state",
        180 / np.pi: f"the body measures degrees where the robot has {c.unit}, or takes them: convert",
        np.pi / 180: f"the body measures or takes radians where the robot has {c.unit}: convert",
        100.0: f"the body measures percent where the robot has {c.unit}: divide by 100",
        0.01: f"the body measures a share where the robot has {c.unit}: multiply by 100",
        1000.0: f"the body measures thousandths where the robot has {c.unit}: convert",
        0.001: f"the body takes thousandths where the robot has {c.unit}: convert",
    }
    for value, words in near.items():
        if abs(ratio / value - 1) < NEAR:
            return words
        if value > 0 and abs(-ratio / value - 1) < NEAR:
            return f"{words}; and inverted sign"
    if abs(ratio) < 0.1:
        return "it does not move, or its sensor does not: is it powered, and is this its sensor?"
    return "another scale: gear ratio, or the span of its calibration?"


def shown_by_motion(probe: Probe, motions: Sequence[Motion]) -> Iterator[Check]:
    """What shows only while something moves: cameras, velocities, poses, and how long a tick takes."""
    for name in (c.name for c in probe.robot.cameras):
        seen = probe.pictures.get(name, [])
        twins = [o for o, p in probe.pictures.items() if o < name and p == seen and len(set(seen)) > 1]
        new = 1 + sum(a != b for a, b in pairwise(seen)) if seen else 0
        found = f"{new} of {len(seen)} pictures are new" if not twins else f"the same pictures as '{twins[0]}'"
        ok = len(set(seen)) > 1 and not twins
        yield Check(f"camera {name}", ok, found, "a frozen camera: read a new picture for each observation" if not twins else
                    "two names of one camera: open each by its serial number")  # fmt: skip
    for m in (m for m in probe.robot.state if m.quantity == "velocity"):
        c = probe.robot.channels[i := probe.robot.index(m.of)]
        motion = next((x for x in motions if x.channel == i and not x.early), None)
        if motion is None or m.unit != RATES.get(c.unit, m.unit) or not abs(motion.measured[i]) > NEAR * probe.steps[i]:
            continue
        ratio = motion.travelled[i] / motion.measured[i]
        found = f"adds up to {way(c, motion.travelled[i])} over a way of {way(c, motion.measured[i])}"
        yield Check(
            m.name,
            0.5 <= ratio <= 1.5,
            found,
            f"measure the speed of '{c.name}' in {m.unit or 'its unit'}, with its sign",
        )
    yield from _poses(probe)
    for pictured, what in ((False, "rate"), (True, "rate with pictures")):
        took = np.array([r.took for r in probe.rows if r.pictures == pictured])
        if len(took):
            p50, p99 = np.percentile(took, [50, 99]) * 1e3
            found = f"observe and apply take p50 {p50:.1f}, p99 {p99:.1f} ms of {1e3 * probe.tick_time:.1f} ms"
            yield Check(
                what, bool(p99 <= 1e3 * probe.tick_time), found,
                "read sensors on a thread of their own and answer the newest, or a lower control_rate in the robot file",
            )  # fmt: skip


def _poses(probe: Probe) -> Iterator[Check]:
    """Measured frames against those that the measured joints make."""
    robot = probe.robot
    for f in robot.frames:
        at = [i for i, m in enumerate(robot.state) if m.quantity == "pose" and m.of == f.name]
        rows = [r for r in probe.rows if np.isfinite(r.measured[robot.path(f)]).all()][:: max(len(probe.rows) // 20, 1)]
        if not at or not rows:
            continue
        place = turn = 0.0
        for r in rows:
            made = robot.state_from(
                np.where(np.isfinite(r.measured), r.measured, robot.home), np.zeros(len(robot.channels))
            )
            xyz = [i for i in at if robot.state[i].component < 3]
            quat = [i for i in at if robot.state[i].component >= 3]
            place = max(place, float(np.abs(made[xyz] - r.state[xyz]).max(initial=0.0)))
            if len(quat) == 4:
                turn = max(turn, 1.0 - abs(float(made[quat] @ r.state[quat])))
        found = f"{1e3 * place:.1f} mm from where the joints put it, quaternions agree by {1 - turn:.3f}"
        yield Check(
            f"frame {f.name}", place <= PLACE and turn <= 1 - ORIENTATION, found,
            "metres in the base frame, quaternion w x y z; or the frame of the robot file is another",
        )  # fmt: skip


def way(c: Channel, value: float) -> str:
    """Such as +0.174 rad (+10.0°)."""
    angle = f" ({np.rad2deg(value):+.1f}°)" if c.unit == "rad" and abs(value) < 100 else ""
    return f"{value:+.3g} {c.unit}{angle}"
