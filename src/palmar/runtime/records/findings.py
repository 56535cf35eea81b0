"""What a black box shows, in words, each with the lines of the file that say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmar.runtime.records.blackbox import Dump, read_dump
from palmar.types import Array

LATELY = 2.0
"""How long before the end a robot is looked at for whether it still moved [s]."""
STILL = 0.005
"""Share of a channel's range within which it stands still: more than what a sensor's noise and a servo's sag make."""


def findings(path: Path) -> tuple[str, ...]:
    """What the guards changed, what the policy raised, how sure it was, and whether the robot still moved at the end.

    Raises `BadFile` for what is no black box.
    """
    dump = read_dump(path)
    ticks, last = dump.ticks, dump.ticks[-1]
    places = {t.index: i + 2 for i, t in enumerate(ticks)}  # line 1 is about the run

    def cited(first: int, end: int | None = None) -> str:
        """The lines of the ticks with these indices."""
        return f"{path}:{places[first]}" + ("" if end is None or end == first else f"-{places[end]}")

    said = [f"its last {last.time - ticks[0].time:.1f} s: {len(ticks)} ticks ({cited(ticks[0].index, last.index)})"]
    for t in ticks:
        if t.stop:
            said.append(f"stopped at {t.time:.2f} s: {'; '.join(t.words)} ({cited(t.index)})")
            break
    for guard in dict.fromkeys(g for t in ticks for g in t.guards):
        changed = [t for t in ticks if guard in t.guards]
        words = changed[0].words[changed[0].guards.index(guard)]
        said.append(
            f"{guard} changed {len(changed)} of {len(ticks)} commands, first at {changed[0].time:.2f} s: {words} "
            f"({cited(changed[0].index)})"
        )
    if not any(t.guards for t in ticks):
        said.append("no guard changed a command: what was commanded is what was asked for")
    if failed := [t for t in ticks if t.failure]:
        said.append(f"the policy failed at {failed[0].time:.2f} s: {failed[0].failure} ({cited(failed[0].index)})")
    sure = [t for t in ticks if np.isfinite(t.confidence)]
    if sure:
        least = min(sure, key=lambda t: t.confidence)
        said.append(
            f"the policy's confidence was {sure[0].confidence:.2f} at first, {least.confidence:.2f} at least (at "
            f"{least.time:.2f} s, {cited(least.index)}) and {sure[-1].confidence:.2f} at the end"
        )
    late = [t for t in ticks if last.time - t.time <= LATELY]
    return (*said, f"{_motion(dump, len(late))} ({cited(late[0].index, last.index)})")


def _motion(dump: Dump, n: int) -> str:
    """How the robot moved in the last n ticks."""
    robot, ticks = dump.robot, dump.ticks[-n:]
    measured = np.array([robot.measured(t.state) for t in ticks])
    commands = np.array([t.command for t in ticks])
    span = f"in the last {ticks[-1].time - ticks[0].time:.1f} s"
    moved, asked = _travel(dump, measured), _travel(dump, commands)
    share = np.nan_to_num(moved / robot.widths)
    i = int(np.argmax(share))
    channel = robot.channels[i]
    if share[i] > STILL:
        return f"{span} it still moved, {channel.name} most, by {moved[i]:.3g} {channel.unit}".rstrip()
    if (asked / robot.widths > 2 * STILL).any():
        k = int(np.argmax(asked / robot.widths))
        other = robot.channels[k]
        return (
            f"{span} it stood still although {other.name} was commanded to move by {asked[k]:.3g} {other.unit}".rstrip()
        )
    return f"{span} it stood still, and was not commanded to move"


def _travel(dump: Dump, values: Array) -> Array:
    """float64[N]: how far each channel was from where it was at first, at most; NaN where it is not measured."""
    away = np.abs(np.array([dump.robot.difference(v, values[0]) for v in values]))
    known = np.isfinite(away).any(axis=0)
    return np.where(known, np.nanmax(np.where(known, away, 0.0), axis=0), np.nan)
