"""Data sets as others write them: LeRobotDataset v2.0, v2.1 and v3.0, any keys, pictures as video or PNG, built by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from palmar.data import format as fmt
from palmar.data import video

V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
COUNTERS = {"timestamp": "float32"} | dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")


def vector(width, names=None, dtype="float32"):
    return {"dtype": dtype, "shape": [width], "names": names}


def camera(size=(48, 64), dtype="video", **more):
    return {"dtype": dtype, "shape": [*size, 3], "names": ["height", "width", "channels"]} | more


def values(key, feature, start, stop):
    """Numbers that tell feature, frame and dimension apart: float[stop - start, width]."""
    seed = sum(map(ord, key)) % 97
    width = int(np.prod(feature["shape"]))
    return np.sin(np.arange(start, stop)[:, None] * 0.1 + np.arange(width) + seed).astype(feature["dtype"])


def pictures(key, feature, start, stop):
    """uint8[H, W, 3] by frame: a gradient, and one channel whose level tells frames and keys apart."""
    h, w = (n for n in feature["shape"] if n not in (1, 3))
    y, x = np.mgrid[:h, :w]
    level = np.arange(start, stop) * 67 + sum(map(ord, key)) * 29
    return [np.stack([2 * x, np.full((h, w), n % 200 + 20), 2 * y], -1).astype(np.uint8) for n in level]


def png(array):
    sink = io.BytesIO()
    Image.fromarray(array).save(sink, "png")
    return sink.getvalue()


def make(
    root: Path,
    features,
    lengths=(5, 4, 6),
    version="v3.0",
    fps=10,
    tasks=("pick",),
    timestamps=None,
    given=None,
    counters=COUNTERS,
    loose=False,
):
    """Write a set. given: {feature: float[frames, width]} in place of `values`. timestamps: [frames] in place of frame / fps.
    loose: PNG pictures in files of their own, named by the data files."""
    given = given or {}
    table = dict(features) | {k: {"dtype": d, "shape": [1], "names": None} for k, d in counters.items()}
    rows, start = [], 0
    for e, n in enumerate(lengths):
        stop, columns = start + n, {}
        counted = {
            "timestamp": np.arange(n) / fps if timestamps is None else timestamps[start:stop], "frame_index": np.arange(n),
            "episode_index": np.full(n, e), "index": np.arange(start, stop), "task_index": np.full(n, e % len(tasks)),
        }  # fmt: skip
        row = {"episode_index": e, "tasks": [tasks[e % len(tasks)]], "length": n}
        row |= {"data/chunk_index": 0, "data/file_index": e, "dataset_from_index": start, "dataset_to_index": stop}
        for key, feature in table.items():
            if key in counted:
                columns[key] = pa.array(counted[key].astype(feature["dtype"]))
            elif feature["dtype"] == "video":
                path = f"videos/{key}/chunk-000/file-{e:03d}.mp4"
                if version != "v3.0":
                    path = V2_VIDEO.format(episode_chunk=0, video_key=key, episode_index=e)
                write(root / path, video.encode(pictures(key, feature, start, stop), round(fps)))
                row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": e}
                row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": n / fps}
            elif feature["dtype"] == "image":
                cells = [{"bytes": png(p), "path": None} for p in pictures(key, feature, start, stop)]
                for i, cell in enumerate(cells if loose else []):
                    name = f"images/{key}/episode_{e:06d}/frame_{i:06d}.png"
                    write(root / name, cell["bytes"])
                    cell |= {"bytes": None, "path": name}
                columns[key] = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
            elif feature["dtype"] == "string":
                columns[key] = pa.array(["text"] * n)
            else:
                data = given[key][start:stop] if key in given else values(key, feature, start, stop)
                columns[key] = pa.array(list(data) if data.shape[-1] > 1 else data.reshape(-1))
        path = f"data/chunk-000/file-{e:03d}.parquet"
        if version != "v3.0":
            path = V2_DATA.format(episode_chunk=0, episode_index=e)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), root / path)
        rows.append(row)
        start = stop
    info = fmt.empty_info("other", 10, table) | {
        "codebase_version": version, "fps": fps, "total_episodes": len(lengths), "total_frames": start,
        "total_tasks": len(tasks),
    }  # fmt: skip
    if version == "v3.0":
        write(
            root / fmt.EPISODES_PATH.format(chunk_index=0, file_index=0), fmt.parquet_bytes(pa.Table.from_pylist(rows))
        )
        write(root / fmt.TASKS, fmt.parquet_bytes(fmt.tasks_table(tasks)))
    else:
        info |= {"data_path": V2_DATA, "video_path": V2_VIDEO}
        lines = [{k: r[k] for k in ("episode_index", "tasks", "length")} for r in rows]
        write(root / "meta/episodes.jsonl", "".join(json.dumps(r) + "\n" for r in lines).encode())
        texts = [{"task_index": i, "task": t} for i, t in enumerate(tasks)]
        write(root / "meta/tasks.jsonl", "".join(json.dumps(r) + "\n" for r in texts).encode())
    write(root / fmt.INFO, fmt.json_bytes(info))
    return root


def edit(root, **fields):
    """Change fields of info.json."""
    info = json.loads((root / fmt.INFO).read_text())
    write(root / fmt.INFO, fmt.json_bytes(info | fields))


def write(path: Path, data: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def content(root: Path):
    """{name: bytes} of every file."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
