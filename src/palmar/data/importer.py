"""Any LeRobotDataset that palmar can read, written anew as v3.0 under the standard names. Videos are copied byte for byte.

The new set is made in a hidden folder beside its place and renamed into it when it is whole; the source is only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmar.data import format as fmt
from palmar.data import stats as st
from palmar.data import video
from palmar.data.consolidate import MB, consolidate, write_episodes
from palmar.data.durable import WriterLock, explain_full_disk, sync_folder, write_bytes
from palmar.data.layout import check_films
from palmar.data.progress import counting
from palmar.data.reader import Dataset
from palmar.data.roles import PICTURES, Keys, picture_size
from palmar.errors import BadFile
from palmar.types import Array


@dataclass(frozen=True, slots=True)
class Imported:
    """root: of the new set. version: of the source. notes: what was changed beside the format, in sentences."""

    root: Path
    version: str
    episodes: int
    frames: int
    notes: tuple[str, ...]


def import_set(
    source: str | Path, out: str | Path, keys: Keys | None = None, join: bool = False, quiet: bool = False
) -> Imported:
    """Write the set at `source` (v2.0, v2.1 or v3.x) to `out` as v3.0, with statistics of every episode and of the whole.

    keys: as of `Dataset`. join: put the videos of many episodes into few files, by copying packets; else each file is copied
    as it is. Features without a role are kept under their own names. Timestamps become frame / fps. quiet: show no progress.
    Raises `BadFile` when `out` holds anything, a file is missing or damaged, or the disk is full; `out` is untouched then.
    """
    out = Path(out)
    dataset = Dataset(source, cache=False, keys=keys)
    if not dataset.episodes:
        raise BadFile(f"'{source}' holds no episode; nothing was imported. Next: record some first (palmar collect)")
    check_films(dataset.layout, fmt.video_keys(dict(dataset.layout.features)))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadFile(f"'{out}' is there already; expected a new folder. Next: choose another for the imported set")
    if dataset.root.resolve() in (out.resolve(), *out.resolve().parents):
        raise BadFile(f"'{out}' lies inside '{dataset.root}'; expected a folder elsewhere. Next: choose another --out")
    aside = out.resolve().with_name(f".{out.resolve().name}.importing")
    aside.mkdir(parents=True, exist_ok=True)
    with (
        explain_full_disk(aside, f"'{dataset.root}' is as it was, and nothing was written to '{out}'."),
        WriterLock(aside),
    ):
        try:
            for stale in aside.iterdir():  # of an import that was killed
                if stale.is_dir():
                    shutil.rmtree(stale)
            notes = _Import(dataset, aside).write(quiet)
            if join:
                consolidate(aside)
            for folder in [aside, *(p for p in aside.rglob("*") if p.is_dir())]:
                sync_folder(folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    aside.rename(out.resolve())
    sync_folder(out.resolve().parent)
    return Imported(out, dataset.version, len(dataset.episodes), len(dataset), notes)


class _Import:
    """One import under way."""

    def __init__(self, dataset: Dataset, root: Path) -> None:
        self.dataset, self.root, self.layout = dataset, root, dataset.layout
        self.names = {key: _name(key, dataset.roles.standard) for key in self.layout.features}
        self.features = {
            self.names[key]: _feature(key, feature, key in dataset.roles.images.values())
            for key, feature in self.layout.features.items()
        }
        for name, dtype in fmt.DEFAULTS.items():
            self.features[name] = {"dtype": dtype, "shape": [1], "names": None}
        self.copied: dict[tuple[str, Path], tuple[tuple[int, int], float, int]] = {}

    def write(self, quiet: bool) -> tuple[str, ...]:
        """Data, videos, tasks, episodes, statistics, and info.json last."""
        dataset, info = self.dataset, fmt.empty_info(self.layout.robot_type, int(self.layout.fps), self.features)
        rows: list[fmt.Row] = []
        sets: list[dict[str, st.Stats]] = []
        data = _DataFiles(self.root, fmt.DATA_MB * MB)
        try:
            with counting("importing episodes", len(dataset.episodes), quiet) as count:
                for e, files in zip(dataset.episodes, self.layout.episodes, strict=True):
                    row: fmt.Row = {
                        "episode_index": e.index,
                        "tasks": list(files.tasks) or [e.instruction],
                        "length": e.length,
                    }
                    row |= _place("data", data.add(self._table(e.start, e.stop)))
                    row |= {"dataset_from_index": e.start, "dataset_to_index": e.stop}
                    for key, film in files.films.items():
                        row |= self._film(key, film.path, film.at, e.index, e.length)
                    sets.append(self._stats(e.start, e.stop))
                    row |= {f"stats/{f}/{n}": v for f, s in st.to_lists(sets[-1]).items() for n, v in s.items()}
                    rows.append(row)
                    count(1)
        finally:
            data.close()
        n = len(rows)
        info |= {
            "robot_type": self.layout.info.get("robot_type"), "fps": self.layout.fps, "total_episodes": n,
            "total_frames": len(dataset), "total_tasks": len(dataset.tasks), "splits": {"train": f"0:{n}"} if n else {},
        }  # fmt: skip
        if n:
            write_bytes(self.root / fmt.TASKS, fmt.parquet_bytes(fmt.tasks_table(dataset.tasks)))
            write_episodes(self.root, rows, info)
            merged = st.merge_all(sets)
            write_bytes(self.root / fmt.STATS, fmt.json_bytes(st.to_lists(merged)))
        if (dataset.root / fmt.EXTRA).exists():
            write_bytes(self.root / fmt.EXTRA, (dataset.root / fmt.EXTRA).read_bytes())
        write_bytes(self.root / fmt.INFO, fmt.json_bytes(info))
        notes = [f"feature '{key}' is called '{name}' now" for key, name in self.names.items() if key != name]
        if dataset.irregular is not None:
            notes.append(f"{dataset.irregular}; the new set has frame / fps")
        return tuple(notes)

    def _table(self, start: int, stop: int) -> Any:
        """An episode's rows as an arrow table under the new names, the five counters written anew."""
        import pyarrow as pa

        keep = [k for k, f in self.layout.features.items() if f["dtype"] != "video" and k not in fmt.DEFAULTS]
        part = self.dataset.rows_of(start, stop, keep)
        counted = {k: self.dataset.column(k)[start:stop] for k in fmt.DEFAULTS}
        counted["timestamp"] = (np.arange(stop - start) / self.layout.fps).astype(np.float32)
        columns = {self.names[k]: part[k].combine_chunks() for k in keep}
        columns |= {k: pa.array(counted[k].astype(dtype)) for k, dtype in fmt.DEFAULTS.items()}
        return pa.table({name: columns[name] for name in self.features if name in columns})

    def _film(self, key: str, path: Path, at: float, episode: int, length: int) -> fmt.Row:
        """Copy a video file the first time it is met. Returns the columns of meta/episodes about it."""
        name = self.names[key]
        if (key, path) not in self.copied:
            used = [place for (k, _), (place, _, _) in self.copied.items() if k == key]
            place = fmt.following(*used[-1]) if used else (0, 0)
            target = self.root / fmt.VIDEO_PATH.format(video_key=name, chunk_index=place[0], file_index=place[1])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            self.copied[key, path] = place, video.begins(path), video.count_frames(path)
        place, begins, frames = self.copied[key, path]
        at = max(at, begins)
        if round((at - begins) * self.layout.fps) + length > frames:
            raise BadFile(
                f"'{path}' holds {frames} frames; episode {episode} needs {length} from {at:.2f} s on. Next: copy the file "
                "again from its source"
            )
        row = _place(f"videos/{name}", place)
        return row | {f"videos/{name}/from_timestamp": at, f"videos/{name}/to_timestamp": at + length / self.layout.fps}

    def _stats(self, start: int, stop: int) -> dict[str, st.Stats]:
        """Of every number and every camera."""
        out = {}
        for key, feature in self.layout.features.items():
            if feature["dtype"] in PICTURES or key in fmt.DEFAULTS:
                continue
            if feature["dtype"] not in ("string", "language"):
                out[self.names[key]] = st.of_vectors(self.dataset.column(key)[start:stop])
        times = {"timestamp": np.arange(stop - start) / self.layout.fps}
        out |= {k: st.of_vectors(times.get(k, self.dataset.column(k)[start:stop])) for k in fmt.DEFAULTS}
        for cam, key in self.dataset.roles.images.items():
            out[self.names[key]] = st.of_images(_Frames(self.dataset, cam, start, stop))
        return out


class _Frames(Sequence[Array]):
    """The pictures of one camera in one episode, decoded one at a time."""

    def __init__(self, dataset: Dataset, cam: str, start: int, stop: int) -> None:
        self.dataset, self.cam, self.start, self.stop = dataset, cam, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, i: Any) -> Any:
        return self.dataset.picture(self.cam, self.start + range(len(self))[i])


class _DataFiles:
    """Parquet files of many episodes, a row group each; a new file when one is full."""

    def __init__(self, root: Path, limit: float) -> None:
        self.root, self.limit, self.place = root, limit, (0, 0)
        self._sink: Any = None
        self._writer: Any = None

    def add(self, table: Any) -> tuple[int, int]:
        """Write one episode. Returns the chunk and file it is in."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is not None and self._sink.tell() > self.limit:
            self.close()
            self.place = fmt.following(*self.place)
        if self._writer is None:
            path = self.root / fmt.DATA_PATH.format(chunk_index=self.place[0], file_index=self.place[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = path.open("wb")
            self.schema = table.schema
            self._writer = pq.ParquetWriter(self._sink, self.schema, compression="snappy")
        try:
            self._writer.write_table(table.cast(self.schema), row_group_size=len(table))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise BadFile(
                f"the data files have columns of different types: {str(error).splitlines()[0][:200]}. Next: copy them again "
                "from their source"
            ) from error
        return self.place

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None


def _name(key: str, standard: Mapping[str, str]) -> str:
    """LeRobot's name of a feature: the standard one where it has a role, else its own, which may hold no '/'."""
    return standard.get(key, key.replace("/", "."))


def _feature(key: str, feature: fmt.Feature, camera: bool) -> fmt.Feature:
    """A row of the features of info.json, in the form v3 has."""
    new = dict(feature)
    if camera:
        height, width, _ = picture_size(key, feature)
        return new | {"shape": [height, width, 3], "names": ["height", "width", "channels"]}
    if feature["dtype"] not in PICTURES and len(feature["shape"]) == 1:
        given = feature.get("names")
        new["names"] = list(fmt.names_of(feature)) if given else None
    return new | {"shape": list(feature["shape"])}


def _place(prefix: str, where: tuple[int, int]) -> fmt.Row:
    return {f"{prefix}/chunk_index": where[0], f"{prefix}/file_index": where[1]}
