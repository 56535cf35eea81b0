"""Faults of a whole data set that its values show: each named, with the channels, the number seen, what was expected and
what to do next. What is wrong with single episodes is in `quality`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmar.data.channels import correlation, openings, partners, some
from palmar.data.quality import LEAVE_OUT, bad_number
from palmar.data.stats import finite_rows
from palmar.types import STILL, Array

DEGREES = 180 / np.pi
LOOKED_AT = (5, 6)  # episodes, and pictures of each, that are decoded to judge the cameras
DARK, PLAIN, SAME = 6.0, 2.0, 0.5
"""Levels of 255: mean of a black picture, spread within a picture of one colour, mean change between frozen pictures."""


@dataclass(frozen=True)
class Finding:
    """name: of the fault. channels: where; features or cameras for faults that are theirs. found: what was seen, with its
    number. expected: what a good set has. next: what to do."""

    name: str
    channels: tuple[str, ...]
    found: str
    expected: str
    next: str

    def __str__(self) -> str:
        where = f" ({some(self.channels)})" if self.channels else ""
        return f"{self.name}{where}: {self.found}; expected {self.expected}. Next: {self.next}"


OFF_RATE = 0.03
"""Share by which the time between frames may differ from 1 / fps."""


def examine(source: Any, pictures: bool = True) -> list[Finding]:
    """Every fault found in a set. pictures: also decode up to 30 pictures a camera.

    source: `Dataset`, or what has its states, actions, names, episodes and `batch`. Frames that hold a number that is not finite
    are named once (`not_finite`) and left out of everything else.
    """
    out = [f for f in (not_finite(source), all_failed(source), stats_keys(source), frame_rate(source)) if f is not None]
    acted = [e for e in source.episodes if getattr(e, "source", "") != STILL and e.stop > e.start]
    if not acted:
        return out
    values = _Values.of(source, acted)
    for look in (copied, idle_runs, repeated, degrees, inverted, quaternions):
        out += look(values)
    return out + (list(cameras(source, acted, values)) if pictures else [])


@dataclass(frozen=True)
class _Values:
    """Finite float64 states and actions of the episodes, [frames, width]; bounds: [episodes + 1], where each begins.
    pairs: {action column: state column} of one name. moving: bool[A], action channels that change."""

    states: Array
    actions: Array
    bounds: Array
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    pairs: dict[int, int]
    moving: Array
    fps: float

    @classmethod
    def of(cls, source: Any, episodes: Sequence[Any]) -> _Values:
        states, actions, lengths = [], [], []
        for e in episodes:
            s, a = (np.asarray(x[int(e.start) : int(e.stop)], np.float64) for x in (source.states, source.actions))
            sound = finite_rows(s, a)
            states.append(s[sound])
            actions.append(a[sound])
            lengths.append(int(sound.sum()))
        s, a = np.concatenate(states), np.concatenate(actions)
        names = tuple(source.state_names), tuple(source.action_names)
        pairs = partners(names[1], names[0], a, s) if len(a) else {}
        moving = np.ptp(a, axis=0) > 1e-6 if len(a) else np.zeros(a.shape[1], bool)
        bounds = np.cumsum([0, *lengths])
        return cls(s, a, bounds, names[0], names[1], pairs, moving, float(getattr(source, "fps", 0) or 0))

    def split(self, values: Array) -> list[Array]:
        return [values[a:b] for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True) if b > a]


# ------------------------------------------------------------------------------------------------ of the whole set


def not_finite(source: Any) -> Finding | None:
    """The first NaN or infinity of the states or actions."""
    if (where := bad_number(source)) is None:
        return None
    return Finding("not finite", (), where, "finite numbers", LEAVE_OUT)


def all_failed(source: Any) -> Finding | None:
    judged = [e for e in source.episodes if e.success is not None and getattr(e, "source", "") != STILL]
    if not judged or any(e.success for e in judged) or len(judged) < len(source.episodes):
        return None
    return Finding(
        "all episodes failed", ("next.success",), f"0 of {len(judged)} episodes succeeded", "demonstrations that succeed",
        "record others; if next.success was never filled in, remove that feature from the set",
    )  # fmt: skip


def stats_keys(source: Any) -> Finding | None:
    """Statistics under names that no feature has, or of another width."""
    features, stats = getattr(source, "features", None), getattr(source, "stats", None)
    if not features or stats is None:
        return None
    lost = [*getattr(source, "stray_stats", ()), *(k for k in stats if k not in features)]
    narrow = []
    for k, s in stats.items():
        width = int(np.prod(features[k]["shape"])) if k in features else 0
        if k in features and features[k]["dtype"] not in ("video", "image") and "mean" in s:
            narrow += [k] if np.size(s["mean"]) != width else []
    if not lost and not narrow:
        return None
    what = f"{some(lost)}, which no feature is called" if lost else f"{some(narrow)} of another width"
    return Finding(
        "statistics without a feature", tuple(lost or narrow), f"statistics of {what}",
        f"the names of the features: {some(list(features), 8)}",
        "palmar repair FOLDER, which counts the statistics again",
    )  # fmt: skip


def _steps(source: Any) -> Array:
    """float64[…]: time from frame to frame within episodes [s], what is not finite left out; empty where no time is known."""
    try:
        times = np.asarray(source.column("timestamp"), np.float64)
    except (AttributeError, ValueError, KeyError):
        return np.empty(0)
    steps = [np.diff(times[int(e.start) : int(e.stop)]) for e in source.episodes]
    every = np.concatenate([s for s in steps if len(s)] or [np.empty(0)])
    return every[np.isfinite(every)]


def at_another_rate(source: Any) -> bool:
    """Whether most frames are further apart, or nearer, than the fps of info.json says, by more than `OFF_RATE`."""
    every, fps = _steps(source), float(getattr(source, "fps", 0) or 0)
    typical = float(np.median(every)) if len(every) else 0.0
    return bool(fps and typical > 0 and (every > 0).all() and abs(typical * fps - 1) > OFF_RATE)


def frame_rate(source: Any) -> Finding | None:
    """Time between frames against the fps of info.json: as a whole, and frames that are missing."""
    every, fps = _steps(source), float(getattr(source, "fps", 0) or 0)
    if not len(every) or not fps:
        return None
    typical, late = float(np.median(every)), float((every > 1.5 / fps).mean())
    back = float((every <= 0).mean())
    expected = f"{1 / fps:.4g} s, for {fps:g} fps"
    if back or typical <= 0:
        found = f"{100 * back:.2g} % of the timestamps do not rise"
    elif at_another_rate(source):
        found = f"frames are {typical:.4g} s apart, which is {1 / typical:.4g} fps"
    elif late > 0.01:
        found = f"{100 * late:.2g} % of the steps between frames are longer than {1.5 / fps:.3g} s: frames are missing"
    else:
        return None
    return Finding(
        "frame rate", ("timestamp",), found, expected,
        "write the true rate as fps of meta/info.json, or record again at a steady rate",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ of states and actions


def copied(v: _Values) -> Iterator[Finding]:
    """Actions that are the state of the same frame."""
    pairs = {i: j for i, j in v.pairs.items() if v.moving[i]}
    off = {i: np.abs(v.actions[:, i] - v.states[:, j]).max() for i, j in pairs.items()}
    same = [i for i, most in off.items() if most <= 1e-6 * np.ptp(v.actions[:, i])]
    if not same or len(same) < 0.5 * len(pairs):
        return
    yield Finding(
        "action is a copy of the state", tuple(v.action_names[i] for i in same),
        f"{len(same)} of {len(pairs)} channels equal their state in all {len(v.actions)} frames",
        "the command, which is ahead of what is measured",
        "record the commands sent to the robot (the leader arm), or take the state some frames later as the action",
    )  # fmt: skip


def idle_runs(v: _Values, longest: float = 0.4) -> Iterator[Finding]:
    """Episodes of which a large piece without a break has no motion, of state or action."""
    spans = np.concatenate([_spans(v.states), _spans(v.actions)])
    shares, where = [], []
    for states, actions in zip(v.split(v.states), v.split(v.actions), strict=True):
        both = np.concatenate([states, actions], 1)
        still: Array = np.all(np.abs(np.diff(both, axis=0)) <= 1e-3 * spans, axis=1)
        start, length = _longest(still)
        shares.append(length / max(1, len(still)))
        where.append((start + length / 2) / max(1, len(still)))
    share = np.array(shares)
    count = int((share >= longest).sum())
    if count < max(1, 0.25 * len(share)):
        return
    place = float(np.median(np.array(where)[share >= longest]))
    part = "beginning" if place < 0.4 else "end" if place > 0.6 else "middle"
    yield Finding(
        "idle halves", (),
        f"{count} of {len(share)} episodes stand still for {100 * np.median(share[share >= longest]):.0f} % of their frames "
        f"without a break, most at their {part}",
        f"less than {100 * longest:.0f} %",
        "cut the idle frames away when recording (stop when the task is done); a policy learns to stand still from them",
    )  # fmt: skip


def repeated(v: _Values) -> Iterator[Finding]:
    """Action rows that come several times in a row while the state moves: commands slower than the frames."""
    runs, shown, steps = [], 0, 0
    least = 1e-3 * _spans(v.states)
    for states, actions in zip(v.split(v.states), v.split(v.actions), strict=True):
        moves = (np.abs(np.diff(states, axis=0)) > least).any(1)
        equal = (np.diff(actions, axis=0) == 0).all(1)
        shown += int((equal & moves).sum())
        steps += int(moves.sum())
        edges = np.flatnonzero(np.concatenate([[True], ~equal, [True]]))
        lengths = np.diff(edges)
        runs += [n for n in lengths if n <= max(2, v.fps or 30)]  # longer ones are pauses
    if steps < 10 or shown < 0.4 * steps or not runs:
        return
    typical = float(np.median(np.repeat(runs, runs)))  # the run that a frame lies in
    yield Finding(
        "identical action rows", (),
        f"{100 * shown / steps:.0f} % of the actions equal the one before while the robot moves; a row comes {typical:.0f} times"
        + (f", as commands at {v.fps / typical:.3g} Hz in {v.fps:g} fps" if v.fps else ""),
        "one new action a frame",
        "record at the rate of the commands, or give every frame its own: interpolate, or keep one frame in "
        f"{max(2, round(typical))}",
    )  # fmt: skip


def degrees(v: _Values) -> Iterator[Finding]:
    """Commands 57.3 times (or 1/57.3) what is measured under the same name."""
    ratios = {}
    for i, j in v.pairs.items():
        a, s = v.actions[:, i], v.states[:, j]
        if v.moving[i] and abs(correlation(a, s)) > 0.7 and s.std() > 0:
            ratios[i] = a.std() / s.std()
    for factor, where, unit in ((DEGREES, "actions", "state"), (1 / DEGREES, "state", "actions")):
        hit = [i for i, r in ratios.items() if abs(r / factor - 1) < 0.15]
        if hit and len(hit) >= 0.5 * len(ratios):
            seen = float(np.median([ratios[i] for i in hit]))
            yield Finding(
                "degrees and radians", tuple(v.action_names[i] for i in hit),
                f"the actions are {seen:.3g} times the state: degrees in the {where}, radians in the {unit}",
                "one unit for both (a ratio of about 1)", f"convert the {where} to radians (times π/180)",
            )  # fmt: skip


def inverted(v: _Values) -> Iterator[Finding]:
    """Commands that go down when what is measured goes up."""
    found = openings(v.action_names, v.actions) if len(v.actions) else {}
    for grip in (True, False):
        hit = []
        for i, j in v.pairs.items():
            if (v.action_names[i] in found) == grip and v.moving[i]:
                c = correlation(v.actions[:, i], v.states[:, j])
                if c < -0.7:
                    hit.append((v.action_names[i], c))
        if hit:
            yield Finding(
                "inverted gripper" if grip else "inverted channel", tuple(n for n, _ in hit),
                f"correlation of action and state is {min(c for _, c in hit):.2f}", "about +1",
                "turn the " + ("gripper's command round (1 - x, or 100 - x)" if grip else "sign of the action or of the state")
                + ", so that both say the same",
            )  # fmt: skip


def quaternions(v: _Values) -> Iterator[Finding]:
    """Four channels of norm 1 whose largest component is the last: w, as in xyzw, where names or palmar expect it first."""
    for what, names, values in (("state", v.state_names, v.states), ("action", v.action_names, v.actions)):
        i = 0
        while i + 4 <= len(names):
            block = values[:, i : i + 4] if len(values) else np.zeros((1, 4))
            typical = np.abs(block).mean(0)
            unit = np.abs(np.linalg.norm(block, axis=1) - 1).max() <= 2e-3
            if not unit or typical.max() > 1 - 1e-6:  # a constant 1 beside three constant 0 tells nothing
                i += 1
                continue
            letters = "".join(n.lower()[-1] for n in names[i : i + 4])
            if typical.argmax() == 3 and typical[3] > 0.7 and letters != "xyzw":
                named = f"called {', '.join(names[i : i + 4])}" if letters == "wxyz" else "without names that tell"
                yield Finding(
                    "quaternion order", tuple(names[i : i + 4]),
                    f"a unit quaternion of the {what}, {named}, with its largest part last ({typical[3]:.2f} on average): "
                    "it looks like xyzw",
                    "wxyz, with w first (about 1 for small turns)",
                    "put the last of the four first; if the tool really is turned by about 180° about z, leave it",
                )  # fmt: skip
            i += 4


# ------------------------------------------------------------------------------------------------ of the cameras


def cameras(source: Any, episodes: Sequence[Any], v: _Values) -> Iterator[Finding]:
    """Pictures that are black, of one colour, or the same while the state moves."""
    some_episodes = [episodes[i] for i in np.unique(np.linspace(0, len(episodes) - 1, LOOKED_AT[0]).astype(int))]
    spread = v.states.std(0) if len(v.states) else np.zeros(len(v.state_names))
    spread = np.where(spread > 1e-9, spread, np.inf)
    levels: dict[str, list[float]] = {}
    frozen: dict[str, list[str]] = {}
    changes: dict[str, list[float]] = {}
    plain: dict[str, list[float]] = {}
    looked = 0
    for e in some_episodes:
        at = np.unique(np.linspace(int(e.start), int(e.stop) - 1, LOOKED_AT[1]).astype(np.int64))
        there = np.asarray(source.states[at], np.float64)
        there = there[finite_rows(there)]
        moved = float((np.ptp(there, axis=0) / spread).max(initial=0.0)) if len(there) else 0.0
        looked += 1
        for camera, x in source.batch(at, 1)["images"].items():
            shots = np.asarray(x, np.float32)
            levels.setdefault(camera, []).append(float(shots.mean()))
            plain.setdefault(camera, []).append(float(shots.std(axis=(1, 2)).mean()))
            if len(shots) > 1 and moved > 0.5:
                change = float(np.abs(shots[1:] - shots[:-1]).mean(axis=(1, 2, 3)).max())
                if change < SAME:
                    frozen.setdefault(camera, []).append(str(getattr(e, "index", "")))
                    changes.setdefault(camera, []).append(change)
    for camera, level in levels.items():
        if max(level) < DARK:
            yield Finding(
                "black camera", (camera,), f"mean level {np.mean(level):.1f} of 255 in {looked} episodes", "a lit picture",
                "check the camera, its cap and its exposure; or leave the camera out of the set",
            )  # fmt: skip
        elif max(plain[camera]) < PLAIN:
            yield Finding(
                "camera of one colour", (camera,), f"levels differ by {np.mean(plain[camera]):.1f} within a picture",
                "a picture of something", "check the camera and the key of its pictures",
            )  # fmt: skip
        elif camera in frozen:
            yield Finding(
                "frozen camera", (camera,),
                f"in {len(frozen[camera])} of {looked} episodes looked at (first: {frozen[camera][0]}) pictures change by "
                f"{max(changes[camera]):.2f} levels of 255 while the state moves",
                f"more than {SAME:g}", "leave these episodes out, and check that the camera's driver delivers new pictures",
            )  # fmt: skip


def _spans(x: Array) -> Array:
    """[width]: range of each channel, infinite for one that does not change (it then never counts as moving)."""
    span = np.ptp(x, axis=0) if len(x) else np.zeros(x.shape[1])
    return np.where(span > 1e-9, span, np.inf)


def _longest(flags: Array) -> tuple[int, int]:
    """(start, length) of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    i = int((stops - starts).argmax())
    return int(starts[i]), int(stops[i] - starts[i])
