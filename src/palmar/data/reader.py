"""Read LeRobotDataset v3.0, ours or lerobot's own: frames, and windows of future actions, as numpy."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from palmar.console import warn
from palmar.data import format as fmt
from palmar.data import stats as st
from palmar.data import video
from palmar.data.cache import Clip, Footage, Stored, source_bytes
from palmar.data.cache import frames as cached_frames
from palmar.data.durable import NEW, OLD, WriterLock
from palmar.data.repair import finish_swap, load_rows
from palmar.errors import BadFile, BadValue, UnknownName, regular_file
from palmar.pictures import ImageSize, Resizer, sizes_for
from palmar.types import Array


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """Frames start … stop-1 of the data set. task: name of the task (the instruction where the set names none).

    success: None when the data set does not say. source: who drove; seed: of the reset; both empty for foreign sets.
    """

    index: int
    start: int
    stop: int
    instruction: str
    task: str
    success: bool | None
    source: str = ""
    seed: int | None = None
    reason: str = ""

    @property
    def length(self) -> int:
        return self.stop - self.start


class Dataset:
    """A LeRobotDataset v3.0 folder. Vectors are in memory; pictures come from a cache of decoded frames, or by seeking.

    cache: decode every picture once into `.cache/` (memory-mapped). False, too little disk, or a cache out of proportion to
    the set (`cache.TIMES`): seek in the videos. image_size: resize the pictures as they are decoded (`pictures.Resizer`,
    "stretch"): the short side [px], (height, width), or that by camera; None for pictures as recorded. recorded_sizes,
    image_sizes: {camera: (height, width)} before and after.
    Raises `BadFile` with the file and the next step when something is missing or damaged.
    """

    def __init__(self, root: str | Path, cache: bool = True, image_size: ImageSize | None = None) -> None:
        self.root, self.cache = Path(root), cache
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "does not exist"
            raise BadFile(
                f"there is no data set at '{self.root}': it {what}; expected a folder. Next: record one, or check the path"
            )
        fmt.check_there(self.root)
        _settle(self.root)
        self.info = fmt.read_json(self.root / fmt.INFO)
        fmt.check_version(self.root, self.info)
        self.fps = int(self.info["fps"])
        self.features: dict[str, fmt.Feature] = self.info["features"]
        self.robot_type: str = self.info.get("robot_type") or ""
        self.camera_keys = {fmt.camera_name(k): k for k, f in self.features.items() if f["dtype"] in ("video", "image")}
        self.cameras = tuple(self.camera_keys)
        self.recorded_sizes: dict[str, tuple[int, int]] = {
            cam: (int(self.features[key]["shape"][0]), int(self.features[key]["shape"][1]))
            for cam, key in self.camera_keys.items()
        }
        self.image_sizes = sizes_for(self.recorded_sizes, image_size)
        self._resizers = {cam: Resizer(*self.recorded_sizes[cam], *size) for cam, size in self.image_sizes.items()}
        self.state_names, self.action_names, self.privileged_names = (
            fmt.names_of(self.features[k]) if k in self.features else ()
            for k in (fmt.STATE, fmt.ACTION, fmt.PRIVILEGED)
        )
        self._rows = load_rows(self.root, self.info, stats=False)
        self.tasks: list[str] = fmt.read_tasks(self.root) if self._rows else []
        self._columns = self._load_columns()
        self.episodes = self._load_episodes()
        self._start = np.array([e.start for e in self.episodes], np.int64)
        self._stop = np.array([e.stop for e in self.episodes], np.int64)
        self._seeker = video.FrameReader()

    def __len__(self) -> int:
        return int(self._stop[-1]) if len(self._stop) else 0

    def __repr__(self) -> str:
        cameras = ", ".join(self.cameras)
        return f"Dataset({str(self.root)!r}: {len(self.episodes)} episodes, {len(self)} frames, cameras {cameras})"

    def close(self) -> None:
        """Let go of open videos and mapped frames; the data set can still be used."""
        self._seeker.close()
        self.__dict__.pop("_decoded", None)

    # ------------------------------------------------------------------------------------------------ vectors

    def column(self, name: str) -> Array:
        """A whole feature: [frames] or [frames, width], read-only. Raises `UnknownName`."""
        if name not in self._columns:
            raise UnknownName("feature", name, self._columns)
        return self._columns[name]

    @property
    def states(self) -> Array:
        """float32[frames, S]."""
        return self._columns[fmt.STATE]

    @property
    def actions(self) -> Array:
        """float32[frames, A]."""
        return self._columns[fmt.ACTION]

    @cached_property
    def stats(self) -> dict[str, st.Stats]:
        """{feature: {min max mean std count q01 q10 q50 q90 q99: array}}; from the episodes when stats.json is lost."""
        if (self.root / fmt.STATS).exists():
            return st.from_lists(fmt.read_json(self.root / fmt.STATS))
        return {k: st.of_vectors(v) for k, v in self._columns.items() if len(v) and v.dtype.kind in "fib"}

    @cached_property
    def episode_of(self) -> Array:
        """int64[frames]: the episode each frame belongs to."""
        return np.repeat(np.arange(len(self.episodes)), self._stop - self._start)

    # ------------------------------------------------------------------------------------------------ items

    def frame(self, i: int) -> dict[str, Any]:
        """One frame: images {cam: uint8[H, W, 3]}, state, action, task (text), episode, frame, timestamp [s], done."""
        i = range(len(self))[i]
        episode = int(self.episode_of[i])
        out = {
            "images": {cam: self._images(cam, np.array([i]))[0] for cam in self.cameras},
            "state": self.states[i], "action": self.actions[i], "task": self.tasks[self._columns["task_index"][i]],
            "episode": episode, "frame": i - int(self._start[episode]),
            "timestamp": float(self._columns["timestamp"][i]), "done": bool(self._done[i]),
        }  # fmt: skip
        return out | ({"privileged": self._columns[fmt.PRIVILEGED][i]} if self.privileged_names else {})

    def batch(
        self, indices: Array, horizon: int, images: bool = True, offsets: tuple[int, ...] = (0,)
    ) -> dict[str, Any]:
        """Frames `indices` int64[B] with their next T = `horizon` actions.

        images {cam: uint8[B, H, W, 3]} · state float32[B, S] · actions float32[B, T, A] of frames i … i+T-1, past the
        end of the episode the last one repeated · pad bool[B, T] True where repeated · task int64[B] · done bool[B] the
        frame's next.success · privileged float32[B, P] when the set has it. offsets: which pictures, in frames from each
        index, kept inside its episode; more than one gives uint8[B, K, H, W, 3]. Raises `BadValue` for a bad index.
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise BadValue(f"indices reach from {indices.min()} to {indices.max()}; expected 0 … {len(self) - 1}")
        episode = self.episode_of[indices]
        start, stop = self._start[episode][:, None], self._stop[episode][:, None]
        window = indices[:, None] + np.arange(horizon)
        seen = np.clip(indices[:, None] + np.array(offsets), start, stop - 1)
        seen = seen[:, 0] if len(offsets) == 1 else seen
        out: dict[str, Any] = {
            "images": {
                cam: self._images(cam, seen.ravel()).reshape(*seen.shape, *self._shape(cam)) for cam in self.cameras
            }
            if images
            else {},
            "state": self.states[indices],
            "actions": self.actions[np.minimum(window, stop - 1)],
            "pad": window >= stop,
            "task": self._columns["task_index"][indices],
            "done": self._done[indices],
        }
        return out | ({"privileged": self._columns[fmt.PRIVILEGED][indices]} if self.privileged_names else {})

    @cached_property
    def _done(self) -> Array:
        done = self._columns.get(fmt.SUCCESS)
        return np.zeros(len(self), bool) if done is None else done.astype(bool)

    # ------------------------------------------------------------------------------------------------ pictures

    def _shape(self, cam: str) -> tuple[int, ...]:
        return (*self.image_sizes[cam], 3)

    def _images(self, cam: str, indices: Array) -> Array:
        if self.cache and cam in self._decoded:
            return self._decoded[cam][indices]
        out = np.empty((len(indices), *self._shape(cam)), np.uint8)
        for at in np.argsort(indices):  # neighbours share a decode
            out[at] = self._resizers[cam](self._seek(cam, int(indices[at])))
        return out

    @cached_property
    def _decoded(self) -> dict[str, Stored]:
        footage = {
            cam: Footage(self._clips(cam), self.recorded_sizes[cam], self.image_sizes[cam]) for cam in self.cameras
        }
        try:
            return cached_frames(self.root, footage, self._decode)
        except OSError as error:
            smaller = "" if self.image_sizes != self.recorded_sizes else ", or resize them (image_size, --image-size)"
            source = f"{source_bytes(footage.values()) / 1e6:.0f} MB"
            warn("[yellow]no cache: {}. Pictures come by seeking in {} of files{}", error, source, smaller)
            self.cache = False
            return {}

    def _clips(self, cam: str) -> list[Clip]:
        """Where each episode's pictures are."""
        key = self.camera_keys[cam]
        prefix, template = (
            (f"videos/{key}", self.info["video_path"])
            if self.features[key]["dtype"] == "video"
            else ("data", self.info["data_path"])
        )
        return [
            Clip(
                self.root / template.format(
                    video_key=key, chunk_index=row[f"{prefix}/chunk_index"], file_index=row[f"{prefix}/file_index"]
                ),
                float(row.get(f"{prefix}/from_timestamp", 0.0)), e.start, e.stop,
            )
            for row, e in zip(self._rows, self.episodes, strict=True)
        ]  # fmt: skip

    def _decode(self, cam: str, clip: Clip) -> Iterator[tuple[int, Array]]:
        if clip.path.suffix == ".mp4":
            yield from video.decode(clip.path, clip.at, clip.stop - clip.start, self.fps)
        else:
            for i in range(clip.start, clip.stop):
                yield i - clip.start, self._still(cam, i)

    def _seek(self, cam: str, i: int) -> Array:
        if self.features[self.camera_keys[cam]]["dtype"] == "image":
            return self._still(cam, i)
        episode = int(self.episode_of[i])
        clip = self._clip_table[cam][episode]
        return self._seeker.read(clip.path, clip.at + (i - clip.start) / self.fps, self.fps)

    @cached_property
    def _clip_table(self) -> dict[str, list[Clip]]:
        return {cam: self._clips(cam) for cam in self.cameras}

    def _still(self, cam: str, i: int) -> Array:
        """A picture kept as PNG bytes in the parquet column of an `image` feature."""
        from PIL import Image

        cell = self._stills[self.camera_keys[cam]][i].as_py()
        data = cell["bytes"] if cell["bytes"] is not None else regular_file(self.root / cell["path"]).read_bytes()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    # ------------------------------------------------------------------------------------------------ loading

    def _load_columns(self) -> dict[str, Array]:
        import pyarrow as pa

        template = self.info["data_path"]
        places = dict.fromkeys((row["data/chunk_index"], row["data/file_index"]) for row in self._rows)
        tables = [fmt.read_parquet(self.root / template.format(chunk_index=c, file_index=f)) for c, f in places]
        vectors = [k for k, f in self.features.items() if f["dtype"] not in ("video", "image", "string", "language")]
        self._stills: dict[str, Any] = {}
        if not tables:
            return {k: np.empty((0, *_tail(self.features[k])), self.features[k]["dtype"]) for k in vectors}
        table = pa.concat_tables(tables, promote_options="permissive")
        if lacking := [k for k in vectors if k not in table.column_names]:
            raise BadFile(f"the data files of '{self.root}' lack the columns {lacking} of info.json. {fmt.NEXT}")
        index = table["index"].to_numpy()
        keep = np.isin(table["episode_index"].to_numpy(), np.arange(len(self._rows)))
        order = np.flatnonzero(keep)[np.argsort(index[keep], kind="stable")]
        if not np.array_equal(index[order], np.arange(self.info["total_frames"])):
            raise BadFile(
                f"the data files of '{self.root}' hold {len(order)} frames where info.json counts "
                f"{self.info['total_frames']}, or in another order. {fmt.NEXT}"
            )
        if not np.array_equal(order, np.arange(len(table))):
            table = table.take(order)
        self._stills = {k: table[k] for k, f in self.features.items() if f["dtype"] == "image"}
        return {k: _numpy(table[k], self.features[k]) for k in vectors}

    def _load_episodes(self) -> tuple[EpisodeInfo, ...]:
        extras = fmt.read_extras(self.root)
        success = self._columns.get(fmt.SUCCESS)
        out = []
        for i, row in enumerate(self._rows):
            start, stop, extra = int(row["dataset_from_index"]), int(row["dataset_to_index"]), extras.get(i, {})
            text = self.tasks[int(self._columns["task_index"][start])]
            won = None if success is None else bool(success[start:stop].any())
            source, reason, name = (str(extra.get(k) or "") for k in ("source", "reason", "task"))
            out.append(EpisodeInfo(i, start, stop, text, name or text, won, source, extra.get("seed"), reason))
        return tuple(out)


def _tail(feature: fmt.Feature) -> tuple[int, ...]:
    """Axes after the frame axis: shape [1] is a scalar column."""
    shape = tuple(feature["shape"])
    return () if shape == (1,) else shape


def _numpy(column: Any, feature: fmt.Feature) -> Array:
    """An arrow column (scalar, fixed-size or plain list, nested or not) as [n, …] of the feature's dtype."""
    chunks = column.combine_chunks()
    n = len(chunks)
    while hasattr(chunks, "storage"):
        chunks = chunks.storage
    while str(chunks.type).startswith(("list", "fixed_size_list", "large_list")):
        chunks = chunks.flatten()
    array = chunks.to_numpy(zero_copy_only=False).astype(feature["dtype"], copy=False)
    return np.ascontiguousarray(array.reshape(n, *_tail(feature)))


def _settle(root: Path) -> None:
    """Finish a consolidation that a kill cut short, unless its writer still lives and is about to."""
    import time

    for _ in range(100):
        if not (root / NEW).exists() and not (root / OLD).exists():
            return
        lock = WriterLock(root)
        if lock.take():
            try:
                finish_swap(root)
            finally:
                lock.release()
            return
        time.sleep(0.05)
    raise BadFile(f"'{root}' is being consolidated by another process. Next: wait until the recorder has closed")
