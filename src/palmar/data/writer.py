"""Record episodes as LeRobotDataset v3.0. An episode is on the disk when `add` returns; a kill loses only the next.

While recording, every episode has files of its own; `close` joins them into the few large files the format is made for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import paths, schema, video
from palmar.data import stats as st
from palmar.data.durable import HIDDEN, Staging, WriterLock, explain_full_disk
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, regular_file
from palmar.types import Array, Episode

EXTRAS = ("task", "seed", "source", "success", "reason", "duration", "metrics")


class DatasetWriter:
    """Writes episodes of one robot to the folder `root`.

    fps: policy steps a second, such as 10 or 29.97. privileged_names: names of `Observation.privileged`, when it shall be kept.
    resume: go on with a data set that is there (what a crash left is mended first). codec: a PyAV encoder name.
    pix_fmt: yuv420p as everybody, or yuv444p for full colour (+5 dB on small pictures, hardly more bytes).
    interventions: with LeRobot's column `intervention`, true of frames during which a person drove.
    Raises `BadFile` when the folder is not empty (without resume), holds another robot's data, or is being written.
    """

    def __init__(
        self,
        root: str | Path,
        robot: Embodiment,
        fps: float,
        privileged_names: Sequence[str] = (),
        resume: bool = False,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        interventions: bool = False,
    ) -> None:
        if not schema.RULES["fps"].holds(fps):
            raise BadValue(
                f"fps is {fps!r}; expected {schema.RULES['fps'].expected}. Next: the rate the episode was recorded at"
            )
        self.root, self.robot, self.codec, self.pix_fmt = Path(root), robot, codec, pix_fmt
        features = fmt.features_of(
            robot, fps, privileged_names, video.CANONICAL.get(codec, codec), pix_fmt, interventions
        )
        there = self.root.exists() and any(p.name not in HIDDEN for p in self.root.iterdir())
        if there and not resume:
            raise BadFile(
                f"'{self.root}' is not empty. Next: choose another folder, or --resume (in Python resume=True) to add to "
                "what is there"
            )
        self._began, self._made = not there, not self.root.exists()
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(self.root)
        self._lock.__enter__()
        try:
            self._start(features, fps) if not there else self._resume(features, fps)
        except BaseException:
            self._lock.release()
            raise

    def _start(self, features: dict[str, fmt.Feature], fps: float) -> None:
        self.info = fmt.empty_info(self.robot.name, fps, features)
        self.tasks: list[str] = []
        self.stats: dict[str, st.Stats] = {}
        self._next = {"data": (0, 0), "meta/episodes": (0, 0)} | {k: (0, 0) for k in fmt.video_keys(features)}
        with explain_full_disk(self.root, "Nothing was written."):
            staging = Staging(self.root)
            staging.put(fmt.INFO, fmt.json_bytes(self.info))
            staging.commit()

    def _resume(self, features: dict[str, fmt.Feature], fps: float) -> None:
        from palmar.data.repair import mend
        from palmar.data.rows import load_rows

        fmt.check_there(self.root)
        mend(self.root)
        self.info = schema.check_info(self.root / fmt.INFO, fmt.read_json(self.root / fmt.INFO))
        self._check_same(features, fps)
        rows = load_rows(self.root, self.info)
        self.tasks = fmt.read_tasks(self.root) if rows else []
        self.stats = self._stats() if rows else {}
        self._next = {}
        for place in ("data", "meta/episodes", *fmt.video_keys(self.info["features"])):
            prefix = place if place in ("data", "meta/episodes") else f"videos/{place}"
            used = [self._place(r, prefix) for r in rows]
            self._next[place] = fmt.following(*max(used)) if used else (0, 0)

    def _place(self, row: fmt.Row, prefix: str) -> tuple[int, int]:
        """Which file an episode lies in. Raises `BadFile`: readers do without some of these columns."""
        chunk, file = f"{prefix}/chunk_index", f"{prefix}/file_index"
        for column in (chunk, file):
            if not schema.whole(row.get(column)):
                found = row.get(column, "missing")
                raise BadFile(
                    f"'{self.root / 'meta/episodes'}': {column} is {found!s:.100}; expected a whole number, 0 or more. {fmt.NEXT}"
                )
        return int(row[chunk]), int(row[file])

    def _stats(self) -> dict[str, st.Stats]:
        path = self.root / fmt.STATS
        found = fmt.read_json(path)
        for problem in schema.stats_problems(found, self.info["features"]):
            raise problem.error(path)
        return st.from_lists({k: v for k, v in found.items() if k in self.info["features"]})

    def _check_same(self, features: dict[str, fmt.Feature], fps: float) -> None:
        """Recording must go on with the same robot, rate and features."""
        old = self.info["features"]
        wrong = [f"{k} missing in one" for k in sorted(set(old) ^ set(features))]
        for k in sorted(set(old) & set(features)):
            a, b = old[k], features[k]
            if (a["dtype"], list(a["shape"]), fmt.names_of(a)) != (b["dtype"], list(b["shape"]), fmt.names_of(b)):
                wrong.append(f"{k} is {a['dtype']}{list(a['shape'])} on disk and {b['dtype']}{list(b['shape'])} here")
            for n, old_unit, new_unit in zip(fmt.names_of(a), fmt.units_of(a), fmt.units_of(b), strict=False):
                if old_unit and new_unit and old_unit != new_unit:
                    wrong.append(f"{k} '{n}' is in '{old_unit}' on disk and in '{new_unit}' here")
        if self.info["fps"] != fps:
            wrong.append(f"fps is {self.info['fps']} on disk and {fps} here")
        if self.info.get("robot_type") not in (None, self.robot.name):
            wrong.append(f"robot is {self.info['robot_type']} on disk and {self.robot.name} here")
        for field, usual in (("data_path", fmt.DATA_PATH), ("video_path", fmt.VIDEO_PATH)):
            if self.info.get(field) not in (usual, None):
                wrong.append(f"{field} is {self.info[field]!r:.100} on disk and '{usual}' here")
        if wrong:
            raise BadFile(f"cannot go on with '{self.root}': {'; '.join(wrong)}. Next: record into a new folder")

    def __len__(self) -> int:
        return int(self.info["total_episodes"])

    def add(self, episode: Episode) -> int:
        """Write one episode; it is durable when this returns. Returns its index.

        Raises `BadValue` when steps do not fit the robot, `BadFile` when the disk is full (all earlier episodes stay).
        """
        if self._lock is None:
            raise BadValue("the writer is closed. Next: open a new one with resume=True")
        index, n = len(self), len(episode.steps)
        columns, frames = _stack(episode, self.info["features"])
        text = episode.instruction
        tasks = self.tasks if text in self.tasks else [*self.tasks, text]
        start = int(self.info["total_frames"])
        success = np.array([s.done for s in episode.steps], bool)
        success[-1] |= episode.success
        columns |= {
            fmt.REWARD: success.astype(np.float32), fmt.SUCCESS: success, fmt.DONE: np.arange(n) == n - 1,
            "timestamp": (np.arange(n) / self.info["fps"]).astype(np.float32), "frame_index": np.arange(n),
            "episode_index": np.full(n, index), "index": np.arange(start, start + n),
            "task_index": np.full(n, tasks.index(text)),
            fmt.INTERVENTION: np.array([s.intervention for s in episode.steps], bool),
        }  # fmt: skip
        features = self.info["features"]
        stats = {k: st.of_images(frames[k]) if k in frames else st.of_vectors(columns[k]) for k in features}
        with explain_full_disk(self.root, f"The {index} episodes before this one are safe."):
            staging = Staging(self.root)
            try:
                info, merged = self._stage(staging, episode, columns, frames, stats, tasks)
                staging.commit()
            except BaseException:
                staging.discard()
                raise
        self.info, self.tasks, self.stats = info, tasks, merged
        self._next = {k: fmt.following(*v) for k, v in self._next.items()}
        return index

    def _stage(
        self,
        staging: Staging,
        episode: Episode,
        columns: dict[str, Array],
        frames: dict[str, list[Array]],
        stats: dict[str, st.Stats],
        tasks: list[str],
    ) -> tuple[dict[str, Any], dict[str, st.Stats]]:
        """Write an episode's files aside, info.json last. Returns the info and statistics valid after the commit."""
        info, index, n = self.info, len(self), len(episode.steps)
        start, fps, features = int(info["total_frames"]), info["fps"], info["features"]
        row: fmt.Row = {"episode_index": index, "tasks": [episode.instruction], "length": n}
        row |= _place("data", self._next["data"]) | {"dataset_from_index": start, "dataset_to_index": start + n}
        for key, mp4 in _encode_all(frames, fps, self.codec, self.pix_fmt).items():
            staging.put(_name(fmt.VIDEO_PATH, self._next[key], key), mp4)
            row |= _place(f"videos/{key}", self._next[key])
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": n / fps}
        row |= {f"stats/{f}/{name}": value for f, s in st.to_lists(stats).items() for name, value in s.items()}
        row |= _place("meta/episodes", self._next["meta/episodes"])
        staging.put(_name(fmt.DATA_PATH, self._next["data"]), fmt.parquet_bytes(fmt.data_table(columns, features)))
        if tasks != self.tasks:
            staging.put(fmt.TASKS, fmt.parquet_bytes(fmt.tasks_table(tasks)))
        staging.put(
            _name(fmt.EPISODES_PATH, self._next["meta/episodes"]),
            fmt.parquet_bytes(fmt.episodes_table([row], features)),
        )
        merged = st.merge_all([self.stats, stats]) if self.stats else stats
        staging.put(fmt.STATS, fmt.json_bytes(st.to_lists(merged)))
        new = info | {
            "total_episodes": index + 1, "total_frames": start + n, "total_tasks": len(tasks),
            "splits": {"train": f"0:{index + 1}"},
        }  # fmt: skip
        staging.put(fmt.INFO, fmt.json_bytes(new))
        _append_line(self.root / fmt.EXTRA, {"episode_index": index} | {k: getattr(episode, k) for k in EXTRAS})
        return new, merged

    def close(self, consolidate: bool = True) -> None:
        """Join the small files into large ones and let go of the folder. Safe to kill, safe to call twice."""
        if self._lock is None:
            return
        try:
            if consolidate and len(self):
                from palmar.data.consolidate import consolidate as join

                with explain_full_disk(self.root, "All episodes are safe and readable, but still in small files."):
                    join(self.root)
        finally:
            self._lock.release()
            self._lock = None  # type: ignore[assignment]

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        refused = kind is not None and self._lock is not None and self._began and self._nothing_yet()
        if refused:  # before its first episode: the next try finds the folder as this one did
            (self.root / fmt.INFO).unlink()
        self.close(consolidate=kind is None)
        if refused:
            with suppress(OSError):  # where somebody else has put a file beside
                (self.root / fmt.INFO).parent.rmdir()
                if self._made:
                    self.root.rmdir()

    def _nothing_yet(self) -> bool:
        """Whether the disk holds what `_start` wrote and nothing else: what memory says may be an episode late."""
        files = [p for p in self.root.rglob("*") if not p.is_dir() and p.relative_to(self.root).parts[0] not in HIDDEN]
        try:
            return files == [self.root / fmt.INFO] and fmt.read_json(files[0])["total_episodes"] == 0
        except (BadFile, KeyError, TypeError):
            return False


def _stack(episode: Episode, features: dict[str, fmt.Feature]) -> tuple[dict[str, Array], dict[str, list[Array]]]:
    """Vectors [n, width] and lists of frames by feature, checked against the features."""
    if not episode.steps:
        raise BadValue("the episode has no steps; there is nothing to write. Next: record at least one step before add")
    columns = {fmt.STATE: [s.observation.state for s in episode.steps], fmt.ACTION: [s.action for s in episode.steps]}
    if fmt.PRIVILEGED in features:
        truth = [s.observation.privileged for s in episode.steps]
        if (missing := next((i for i, p in enumerate(truth) if p is None), None)) is not None:
            raise BadValue(
                f"step {missing} has no privileged truth, but the data set keeps {fmt.PRIVILEGED}. "
                "Next: give every step its truth, or make the set without"
            )
        columns[fmt.PRIVILEGED] = [p for p in truth if p is not None]
    stacked: dict[str, Array] = {}
    for name, values in columns.items():
        width = features[name]["shape"][0]
        for i, value in enumerate(values):
            if value.shape != (width,) or not np.isfinite(value).all():
                shown = np.array2string(value, max_line_width=1000, precision=3)
                raise BadValue(
                    f"step {i}: {name} is {shown}; expected {width} finite numbers. "
                    "Next: look for what made it, and record it again"
                )
        stacked[name] = np.stack(values).astype(np.float32)
    frames: dict[str, list[Array]] = {}
    for key in fmt.video_keys(features):
        cam, shape = fmt.camera_name(key), tuple(features[key]["shape"])
        for i, step in enumerate(episode.steps):
            image = step.observation.images.get(cam)
            if image is None or image.shape != shape:
                found = "no image" if image is None else f"uint8{list(image.shape)}"
                raise BadValue(
                    f"step {i}: camera '{cam}' gave {found}; expected uint8{list(shape)}. "
                    "Next: resize the picture, or make the set with this size"
                )
            frames.setdefault(key, []).append(image)
    return stacked, frames


def _encode_all(frames: dict[str, list[Array]], fps: float, codec: str, pix_fmt: str) -> dict[str, bytes]:
    with ThreadPoolExecutor(max(1, min(len(frames), os.cpu_count() or 1))) as pool:
        return dict(zip(frames, pool.map(lambda f: video.encode(f, fps, codec, pix_fmt), frames.values()), strict=True))


def _place(prefix: str, where: tuple[int, int]) -> fmt.Row:
    return {f"{prefix}/chunk_index": where[0], f"{prefix}/file_index": where[1]}


def _name(template: str, where: tuple[int, int], key: str = "") -> str:
    return paths.parse(template).name({"video_key": key, "chunk_index": where[0], "file_index": where[1]})


def _append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON line durably, or leave the file as it was. Readers take an episode's last line."""
    before = regular_file(path).stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(json.dumps(value, ensure_ascii=False, default=float).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        if path.exists():
            os.truncate(path, before)
        raise
