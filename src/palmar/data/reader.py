"""Read a LeRobotDataset, v2.0 to v3.x, ours or lerobot's own: frames, and windows of future actions, as numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from palmar.data.columns import Stills, read_columns, read_rows
from palmar.data.consistency import Irregular, irregular
from palmar.data.durable import NEW, OLD, WriterLock
from palmar.data.layout import Film, check_films, check_sizes, read_layout, read_stats, stray_stats
from palmar.data.repair import finish_swap
from palmar.data.roles import PICTURES, Keys, find, picture_size
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.pictures import ImageSize, Resizer, sizes_for
from palmar.types import Array

EXTRAS = (fmt.PRIVILEGED, fmt.SUCCESS)  # read beside state, action and counters; other features when asked for
NO_NUMBERS = (*PICTURES, "string", "language")


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
    """A LeRobotDataset folder. Vectors are in memory; pictures come from a cache of decoded frames, or by seeking.

    cache: decode every picture once into `.cache/` (memory-mapped). False, too little disk, or a cache out of proportion to
    the set (`cache.TIMES`): seek in the videos. image_size: resize the pictures as they are decoded (`pictures.Resizer`,
    "stretch"): the short side [px], (height, width), or that by camera; None for pictures as recorded. recorded_sizes,
    image_sizes: {camera: (height, width)} before and after. keys: which features are the state, the action and the cameras,
    where the rules of `roles` are not to choose: {"state": …, "action": …, "images": {camera: …}}.

    features: by LeRobot's standard names, whatever the set calls them; `roles` has the set's own names, what was ignored
    and why. fps: frames a second, 29.97 where it is that. version: of the format, such as v2.1.
    Raises `BadFile` with the file and the next step when something is missing, damaged or ambiguous.
    """

    def __init__(
        self,
        root: str | Path,
        cache: bool = True,
        image_size: ImageSize | None = None,
        keys: Keys | None = None,
    ) -> None:
        self.root, self.cache = Path(root), cache
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "does not exist"
            raise BadFile(
                f"there is no data set at '{self.root}': it {what}; expected a folder. Next: record one, or check the path"
            )
        fmt.check_there(self.root)
        _settle(self.root)
        self.layout = read_layout(self.root)
        self.version, self.fps, self.robot_type = self.layout.version, self.layout.fps, self.layout.robot_type
        self.info = dict(self.layout.info)
        self.roles = find(self.layout.features, keys, f"'{self.root}'")
        self._standard = {key: self.roles.standard.get(key, key) for key in self.layout.features}
        self._original = {name: key for key, name in self._standard.items()}
        self.features: dict[str, fmt.Feature] = {
            self._standard[key]: feature
            for key, feature in self.layout.features.items()
            if key not in self.roles.ignored or feature["dtype"] not in PICTURES
        }
        self.camera_keys = {cam: fmt.IMAGES + cam for cam in self.roles.images}
        self.cameras = tuple(self.camera_keys)
        self._sizes = {cam: picture_size(key, self.layout.features[key]) for cam, key in self.roles.images.items()}
        self.recorded_sizes: dict[str, tuple[int, int]] = {cam: size[:2] for cam, size in self._sizes.items()}
        self.image_sizes = sizes_for(self.recorded_sizes, image_size)
        self._resizers = {cam: Resizer(*self.recorded_sizes[cam], *size) for cam, size in self.image_sizes.items()}
        self.state_names, self.action_names, self.privileged_names = (
            fmt.names_of(self.features[k]) if k in self.features else ()
            for k in (fmt.STATE, fmt.ACTION, fmt.PRIVILEGED)
        )
        self.state_units, self.action_units = (
            fmt.units_of(self.features[k]) if k in self.features else () for k in (fmt.STATE, fmt.ACTION)
        )
        self._videos = {cam for cam, key in self.camera_keys.items() if self.features[key]["dtype"] == "video"}
        check_films(self.layout, [self.roles.images[cam] for cam in self.cameras if cam in self._videos])
        check_sizes(self.layout, {self.roles.images[cam]: self.recorded_sizes[cam] for cam in self._videos})
        self.tasks: list[str] = list(self.layout.tasks)
        self._load()
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
            name = self._standard.get(name, name)
            known = [k for k, f in self.features.items() if f["dtype"] not in NO_NUMBERS]
            if name not in self._columns and name not in known:
                raise UnknownName("feature", name, known)
            if name not in self._columns:
                self._columns[name] = read_columns(self.layout, [self._original[name]])[0][self._original[name]]
        return self._columns[name]

    def rows_of(self, start: int, stop: int, keys: Sequence[str]) -> Any:
        """Frames start … stop-1 as an arrow table with the columns `keys`, by the set's own names; pictures that lie
        in files of their own are in it too."""
        import pyarrow as pa

        table = read_rows(self._rows, start, stop, keys)
        for key in keys:
            column = table[key].combine_chunks()
            if not pa.types.is_struct(column.type) or not column.field("bytes").null_count:
                continue
            cells = [{"bytes": self._stills.encoded(key, i), "path": None} for i in range(start, stop)]
            table = table.set_column(table.column_names.index(key), key, pa.array(cells, column.type))
        return table

    @property
    def states(self) -> Array:
        """float32[frames, S]; S is 0 where the set has no state."""
        return self._states

    @property
    def actions(self) -> Array:
        """float32[frames, A]."""
        return self._actions

    @cached_property
    def stats(self) -> dict[str, st.Stats]:
        """{feature: {min max mean std count q01 q10 q50 q90 q99: array}}; counted anew where the set has no stats.json."""
        if found := read_stats(self.layout):
            named = {self._standard.get(k, k): s for k, s in found.items()}
            return {k: s for k, s in named.items() if k in self.features or k not in self.layout.features}
        numbers = {k: st.of_vectors(v) for k, v in self._columns.items() if len(v) and v.dtype.kind in "fib"}
        return {k: s for k, s in numbers.items() if s}

    @cached_property
    def stray_stats(self) -> tuple[str, ...]:
        """Names in stats.json that no feature has; their numbers are left out of `stats`."""
        return stray_stats(self.layout)

    @cached_property
    def irregular(self) -> Irregular | None:
        """The first frame whose timestamp is not that of its number and `fps`; None where all are. Frames go by number."""
        return irregular(self._columns["timestamp"], self._start, self._stop, self.fps)

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
            raise BadValue(
                f"indices reach from {indices.min()} to {indices.max()}; expected 0 … {len(self) - 1}. "
                "Next: indices within the set"
            )
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

    def pictures_key(self, cam: str) -> str:
        """Changes with the files that a camera's pictures are in (`cache.Footage.key`), where they lie, and their size."""
        return Footage(self._clips(cam), self.recorded_sizes[cam], self.image_sizes[cam]).key()

    def _clips(self, cam: str) -> list[Clip]:
        """Where each episode's pictures are."""
        key, films = self.roles.images[cam], cam in self._videos
        out = []
        for files, e in zip(self.layout.episodes, self.episodes, strict=True):
            film = files.films[key] if films else Film(files.data)
            out.append(Clip(film.path, film.at, e.start, e.stop))
        return out

    def _decode(self, cam: str, clip: Clip) -> Iterator[tuple[int, Array]]:
        if cam in self._videos:
            for i, frame in video.decode(clip.path, clip.at, clip.stop - clip.start, self.fps):
                yield i, self._fitting(cam, frame, clip.path)
        else:
            for i in range(clip.start, clip.stop):
                yield i - clip.start, self._stills.read(self.roles.images[cam], i, self.recorded_sizes[cam])

    def picture(self, cam: str, i: int) -> Array:
        """uint8[H, W, 3] of frame i as recorded, past the cache and in no other size."""
        return self._seek(cam, i)

    def _seek(self, cam: str, i: int) -> Array:
        if cam not in self._videos:
            return self._stills.read(self.roles.images[cam], i, self.recorded_sizes[cam])
        clip = self._clip_table[cam][int(self.episode_of[i])]
        return self._fitting(cam, self._seeker.read(clip.path, clip.at, i - clip.start, self.fps), clip.path)

    def _fitting(self, cam: str, frame: Array, path: Path) -> Array:
        if frame.shape[:2] != self.recorded_sizes[cam]:
            said = "×".join(map(str, self.recorded_sizes[cam]))
            raise BadFile(
                f"'{path}' has pictures of {frame.shape[0]}×{frame.shape[1]} px; info.json says {said} of camera '{cam}'. "
                "Next: correct the shape in meta/info.json"
            )
        return frame

    @cached_property
    def _clip_table(self) -> dict[str, list[Clip]]:
        return {cam: self._clips(cam) for cam in self.cameras}

    # ------------------------------------------------------------------------------------------------ loading

    def _load(self) -> None:
        """Read the numbers that every use needs; `column` reads others when asked."""
        wanted = [k for k in (fmt.STATE, fmt.ACTION, *EXTRAS, *fmt.DEFAULTS) if k in self.features]
        found, rows = read_columns(self.layout, [self._original[k] for k in wanted])
        self._columns = {self._standard[key]: values for key, values in found.items()}
        self._rows, self._stills = rows, Stills(self.root, rows)
        n, lengths = self.layout.frames, [e.length for e in self.layout.episodes]
        frame = np.concatenate([np.arange(k) for k in lengths] or [np.empty(0, np.int64)])
        counted = {
            "index": np.arange(n), "frame_index": frame, "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        }  # fmt: skip
        self._columns |= counted
        self._columns.setdefault("timestamp", (frame / self.fps).astype(np.float32))
        if "task_index" not in self._columns:
            first = [self.tasks.index(e.tasks[0]) if e.tasks else 0 for e in self.layout.episodes]
            self._columns["task_index"] = np.repeat(np.array(first, np.int64), lengths)
        if n and not self.tasks:
            self.tasks = [""]
        task = self._columns["task_index"]
        if len(task) and not 0 <= task.min() <= task.max() < len(self.tasks):
            raise BadFile(
                f"the frames of '{self.root}' name tasks {task.min()} … {task.max()}; its table of tasks has "
                f"{len(self.tasks)}. {fmt.NEXT}"
            )
        empty = np.empty((n, 0), np.float32)
        self._states, self._actions = (
            self._columns.get(k, empty).reshape(n, self._width(k)).astype(np.float32, copy=False)
            for k in (fmt.STATE, fmt.ACTION)
        )

    def _width(self, name: str) -> int:
        return int(np.prod(self.features[name]["shape"])) if name in self.features else 0

    def _load_episodes(self) -> tuple[EpisodeInfo, ...]:
        extras = fmt.read_extras(self.root)
        success = self._columns.get(fmt.SUCCESS)
        out, start = [], 0
        for i, files in enumerate(self.layout.episodes):
            stop, extra = start + files.length, extras.get(i, {})
            text = self.tasks[int(self._columns["task_index"][start])]
            won = None if success is None else bool(success[start:stop].any())
            source, reason, name = (str(extra.get(k) or "") for k in ("source", "reason", "task"))
            out.append(EpisodeInfo(i, start, stop, text, name or text, won, source, extra.get("seed"), reason))
            start = stop
        return tuple(out)


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
