"""Read a torque log: a Parquet or CSV table, a LeRobot data set, or a ROS 2 bag (MCAP) with joint states.

Columns are found by what they are called: time (`time`, `t`, `timestamp`, `stamp`) in seconds; positions, velocities and torques
of a
joint by a word (`QUANTITIES`) before or after its name or its number, such as `q1`, `tau_3`, `joint2.vel`, `effort.joint1`. Numbers
begin at 1, or at 0 where a column has number 0.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from palmar.errors import BadFile, BadValue, brief, need, regular_file
from palmar.transfer.torque_log import AngleUnit, TorqueLog
from palmar.types import Array

TIMES = ("time", "t", "timestamp", "stamp", "time_s", "timestamp_s", "sec", "seconds")
QUANTITIES = {
    "q": ("q", "pos", "position", "positions", "joint_position", "joint_positions", "angle", "measured_q"),
    "dq": ("dq", "qd", "vel", "velocity", "velocities", "joint_velocity", "joint_velocities", "speed"),
    "torque": (
        "tau",
        "tau_j",
        "torque",
        "torques",
        "effort",
        "efforts",
        "joint_torque",
        "joint_effort",
        "joint_efforts",
    ),
}
WORD = {word: quantity for quantity, words in QUANTITIES.items() for word in words}
SPLIT = re.compile(r"[\s./:\[\]_-]+")


def read_log(
    path: str | Path, joints: Sequence[str], units: AngleUnit = "rad", episode: int = 0, topic: str = "/joint_states"
) -> TorqueLog:
    """A log of these joints. units: of its positions and velocities. episode: of a data set. topic: of a bag.

    Raises `BadFile` for a file that is none of these, `BadValue` for columns that are missing or named twice.
    """
    path = Path(path)
    if not path.exists():
        raise BadFile(f"there is no '{path}'. Next: check the path")
    if path.is_dir() and (path / "meta" / "info.json").is_file():
        time, columns = _dataset(path, episode)
    elif path.suffix == ".mcap" or (path / "metadata.yaml").is_file():
        return _in_si(_bag(path, joints, topic), units)
    elif regular_file(path).suffix == ".parquet":
        time, columns = _timed(_parquet(path), path)
    elif path.suffix in (".csv", ".tsv", ".txt"):
        time, columns = _timed(_csv(path), path)
    else:
        raise BadFile(
            f"'{path}' is no torque log; expected a .parquet or .csv table, a LeRobot data set or a ROS 2 bag (.mcap). "
            "Next: write one row a sample as CSV"
        )
    return _in_si(log_of_columns(time, columns, joints, str(path)), units)


def log_of_columns(time: Array, columns: Mapping[str, Array], joints: Sequence[str], source: str = "") -> TorqueLog:
    """A log of named columns float[T]. Raises `BadValue` where a joint's position or torque is missing, or two columns are one."""
    found: dict[tuple[str, str], Array] = {}
    first = (
        0 if any(_place(c, joints, 0) == ("q", joints[0]) and re.search(r"(?<!\d)0(?!\d)", c) for c in columns) else 1
    )
    for name, values in columns.items():
        place = _place(name, joints, first)
        if place is None:
            continue
        if place in found:
            raise BadValue(
                f"'{source}': '{name}' is a second {place[0]} of {place[1]}; expected one. Next: leave one column out"
            )
        found[place] = values
    lacking = [f"{q} of {j}" for q in ("q", "torque") for j in joints if (q, j) not in found]
    if lacking:
        numbers = {int(m) for c in columns if (m := re.sub(r"\D", "", c)) and len(m) < 4}
        counted = f" (numbers {min(numbers)} … {max(numbers)})" if numbers else ""
        raise BadValue(
            f"'{source}' has no column for {', '.join(lacking[:4])}{' …' if len(lacking) > 4 else ''}; it has "
            f"{', '.join(columns)[:200]}{counted}; expected positions and torques of {', '.join(joints)}. "
            "Next: name columns q1, dq1, tau1 … or joint1.pos, joint1.vel, joint1.effort"
        )
    stray = sorted({c for c in columns if _stray(c, joints, first)})
    if stray:
        raise BadValue(
            f"'{source}' has columns of more joints ({', '.join(stray[:6])}) than {', '.join(joints)}. Next: the "
            "robot of the log, or a "
            "table of these joints alone"
        )
    rows = {q: [found[q, j] for j in joints] for q in ("q", "torque")}
    speeds = [found[("dq", j)] for j in joints if ("dq", j) in found]
    if speeds and len(speeds) < len(joints):
        raise BadValue(
            f"'{source}' has velocities of {len(speeds)} of {len(joints)} joints; expected all or none. Next: leave them out"
        )
    dq = np.stack(speeds, 1) if speeds else None
    return TorqueLog(
        np.asarray(time, float), np.stack(rows["q"], 1), np.stack(rows["torque"], 1), tuple(joints), dq, source
    )


def _place(column: str, joints: Sequence[str], first: int) -> tuple[str, str] | None:
    """(quantity, joint) that a column's name says; None for another column."""
    name = column.lower()
    for joint in sorted(joints, key=len, reverse=True):
        rest, found = re.subn(rf"(?<![a-z0-9]){re.escape(joint.lower())}(?![a-z0-9])", " ", name, count=1)
        word = _word(rest) or ("q" if not rest.strip() else None)  # a joint's name alone is its position
        if found and word:
            return word, joint
    match = re.fullmatch(r"(.*?)[\s._\[/-]*(\d{1,3})\]?", name)
    if match and (word := _word(match[1])) and 0 <= int(match[2]) - first < len(joints):
        return word, joints[int(match[2]) - first]
    return None


def _word(text: str) -> str | None:
    parts = [
        p for p in SPLIT.split(text) if p and p not in ("observation", "obs", "state", "joint", "joints", "measured")
    ]
    return WORD.get("_".join(parts)) or (WORD.get(parts[-1]) or WORD.get(parts[0]) if parts else None)


def _stray(column: str, joints: Sequence[str], first: int) -> bool:
    """Whether a column is a position or torque of a joint with a number beyond the robot's."""
    match = re.fullmatch(r"(.*?)[\s._\[/-]*(\d{1,3})\]?", column.lower())
    return bool(
        match and _word(match[1]) and int(match[2]) - first >= len(joints) and _place(column, joints, first) is None
    )


def _in_si(log: TorqueLog, units: AngleUnit) -> TorqueLog:
    if units == "rad":
        return log
    return replace(log, units=units, q=np.deg2rad(log.q), dq=None if log.dq is None else np.deg2rad(log.dq))


def _timed(columns: dict[str, Array], path: Path) -> tuple[Array, dict[str, Array]]:
    named = [c for c in columns if c.lower() in TIMES]
    if len(named) != 1:
        what = f"the time columns {', '.join(named)}" if named else "no time column"
        raise BadValue(
            f"'{path}' has {what} (columns: "
            f"{', '.join(columns)[:200]}); expected one of {', '.join(TIMES)} in seconds. Next: name it time"
        )
    return columns.pop(named[0]), columns


def _parquet(path: Path) -> dict[str, Array]:
    need("pyarrow", "data")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadFile(f"'{path}' is no Parquet table that can be read ({brief(error)}). Next: write it anew") from error
    numeric = [
        n
        for n, t in zip(table.column_names, table.schema.types, strict=True)
        if pa.types.is_integer(t) or pa.types.is_floating(t)
    ]
    return {n: table[n].to_numpy(zero_copy_only=False).astype(float) for n in numeric}


def _csv(path: Path) -> dict[str, Array]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(f"'{path}' is no UTF-8 text; expected a table. Next: save it as UTF-8") from error
    lines = text.splitlines()
    if len(lines) < 3:
        raise BadFile(
            f"'{path}' has {len(lines)} line(s); expected names of columns and two rows or more. Next: a longer log"
        )
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    names = [n.strip() for n in rows[0]]
    values = np.full((len(rows) - 1, len(names)), np.nan)
    for i, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise BadFile(
                f"'{path}' has {len(row)} values in line {i + 2}; expected {len(names)}. Next: mend or leave out that line"
            )
        try:
            values[i] = [float(v) if v.strip() else np.nan for v in row]
        except ValueError as error:
            raise BadFile(
                f"'{path}' has a value that is no number in line {i + 2} ({error}). Next: mend that line"
            ) from error
    return {n: values[:, k] for k, n in enumerate(names)}


def _dataset(path: Path, episode: int) -> tuple[Array, dict[str, Array]]:
    """One episode of a LeRobot data set: its state, and other numeric features of a joint each."""
    from palmar.data.reader import Dataset

    data = Dataset(path, cache=False)
    if not 0 <= episode < len(data.episodes):
        raise BadValue(f"episode is {episode}; expected 0 … {len(data.episodes) - 1}. Next: an episode of the set")
    at = slice(data.episodes[episode].start, data.episodes[episode].stop)
    columns = {n: np.asarray(data.states[at, k], float) for k, n in enumerate(data.state_names)}
    for key, feature in data.features.items():
        names = feature.get("names")
        if (
            not isinstance(names, list)
            or not key.startswith("observation.")
            or feature["dtype"] not in ("float32", "float64")
        ):
            continue
        kind = key.rsplit(".", 1)[-1]
        if kind in WORD:
            values = np.asarray(data.column(key)[at], float).reshape(at.stop - at.start, -1)
            columns |= {f"{kind}.{n}": values[:, k] for k, n in enumerate(names)}
    time = np.asarray(data.column("timestamp")[at], float).reshape(-1)
    return time, columns


def _bag(path: Path, joints: Sequence[str], topic: str) -> TorqueLog:
    """The joint states of a bag, by their own stamps."""
    need("rosbags", "ros")
    from palmar.data.bags import STATE, bag_messages
    from palmar.runtime.ros2.messages import seconds

    time, rows = [], []
    for _, now, message in bag_messages(path, {topic: STATE}, ""):
        names = list(message.name)
        if not set(joints) <= set(names):
            continue
        if len(message.position) != len(names) or len(message.effort) != len(names):
            raise BadValue(
                f"'{path}': a message of {topic} has {len(message.position)} positions and {len(message.effort)} "
                f"efforts of {len(names)} "
                "joints; expected as many. Next: record joint states with efforts"
            )
        at = [names.index(j) for j in joints]
        speeds = np.asarray(message.velocity)[at] if len(message.velocity) == len(names) else np.full(len(at), np.nan)
        stamp = seconds(message.header.stamp)
        time.append(stamp if stamp > 0 else now / 1e9)
        rows.append((np.asarray(message.position)[at], speeds, np.asarray(message.effort)[at]))
    if len(rows) < 2:
        raise BadFile(
            f"'{path}' has {len(rows)} messages on {topic} with {', '.join(joints)}; expected joint states. Next: --topic"
        )
    q, dq, torque = (np.stack(x) for x in zip(*rows, strict=True))
    start = np.array(time) - time[0]
    return TorqueLog(start, q, torque, tuple(joints), None if np.isnan(dq).any() else dq, str(path))
