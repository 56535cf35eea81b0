"""Reality's pictures in simulation's style: pictures of both, a translation between them, and how far apart they still are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from palmar.errors import BadFile, BadValue, UnknownName, need, regular_file
from palmar.files import write_bytes, write_text
from palmar.models.translation import ColourMap, PictureNet, Translator
from palmar.pictures import fit
from palmar.transfer.cycle import CycleConfig, train_cycle
from palmar.types import Array

Kind = Literal["colour", "network"]
KINDS: tuple[Kind, ...] = ("colour", "network")
SUFFIXES = (".png", ".jpg", ".jpeg")
LEAST = 8  # pictures of either kind
JITTER = 1e-6  # added to covariances of colours, of 1: a heap of one grey has none


def pictures_of(source: str | Path, camera: str, size: tuple[int, int] | None = None, count: int = 400) -> Array:
    """uint8[n, H, W, 3], n ≤ count: every so-manieth picture of a LeRobot data set's camera, or of a folder (FOLDER/CAMERA where
    there is such a folder). size: (height, width) they are fitted to. Raises `BadFile`, `BadValue`, `UnknownName`."""
    root = Path(source)
    if (root / "meta").is_dir():
        from palmar.data.reader import Dataset

        dataset = Dataset(root, cache=False)
        if camera not in dataset.cameras:
            raise UnknownName(f"camera of '{root}'", camera, dataset.cameras)
        rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
        found = [dataset.picture(camera, int(i)) for i in rows]
        dataset.close()
    else:
        found = _of_folder(root / camera if (root / camera).is_dir() else root, count)
    if len(found) < LEAST:
        raise BadValue(
            f"'{root}' has {len(found)} pictures of '{camera}'; expected {LEAST} or more, better 200. Next: record more"
        )
    height, width = size or found[0].shape[:2]
    return np.stack([fit(p, height, width) for p in found])


def _of_folder(folder: Path, count: int) -> list[Array]:
    need("PIL", "data")
    from PIL import Image, UnidentifiedImageError

    if not folder.is_dir():
        raise BadFile(f"there is no '{folder}'. Next: a LeRobot data set, or a folder of pictures")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    chosen = (
        [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(int))]
        if files
        else []
    )
    out = []
    for file in chosen:
        try:
            with Image.open(regular_file(file)) as opened:
                out.append(np.asarray(opened.convert("RGB")))
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise BadFile(f"'{file}' is no picture ({str(error)[:120]}). Next: remove it, or save it again") from error
    return out


def colour_statistics(pictures: Array) -> tuple[Array, Array]:
    """(mean [3], covariance [3, 3]) of RGB, of 1, over pictures uint8[..., 3]."""
    rgb = pictures.reshape(-1, 3).astype(float) / 255.0
    return rgb.mean(0), np.cov(rgb.T) + JITTER * np.eye(3)


def colour_map(real: Array, sim: Array) -> ColourMap:
    """The affine map of RGB that gives `real` the mean and covariance of `sim` and moves colours least: A = R⁻½ (R½ S R½)½ R⁻½.

    Source: Pitié and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer".
    """
    (m, R), (n, S) = colour_statistics(real), colour_statistics(sim)
    root = _power(R, 0.5)
    back = _power(R, -0.5)
    A = back @ _power(root @ S @ root, 0.5) @ back
    return ColourMap(A, n - A @ m)


def colour_distance(a: Array, b: Array) -> float:
    """How far the colours of two heaps of pictures are apart, 0 … 255: the Wasserstein distance of the normal distributions with
    their means and covariances (Dowson and Landau 1982)."""
    (m, R), (n, S) = colour_statistics(a), colour_statistics(b)
    root = _power(R, 0.5)
    square = ((m - n) ** 2).sum() + np.trace(R + S - 2 * _power(root @ S @ root, 0.5))
    return float(255 * np.sqrt(max(square, 0.0)))


def _power(matrix: Array, exponent: float) -> Array:
    """Of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray(vectors * np.maximum(values, 1e-12) ** exponent @ vectors.T)


def fit_translation(
    real: str | Path, sim: str | Path, cameras: Mapping[str, tuple[int, int]], kind: Kind = "colour",
    config: CycleConfig | None = None, count: int = 400, say: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, ColourMap | PictureNet], dict[str, dict[str, float]]]:  # fmt: skip
    """({camera: translator}, {camera: figures}) from reality's pictures to simulation's. real, sim: as `pictures_of`.

    cameras: {name: (height, width)} as the policy sees them. The last fifth of either is kept aside; `before` and `after` among
    the figures are the `colour_distance` there. Raises as `pictures_of`, and `UnknownName` for another kind.
    """
    if kind not in KINDS:
        raise UnknownName("kind of translation", kind, KINDS)
    translators: dict[str, ColourMap | PictureNet] = {}
    figures: dict[str, dict[str, float]] = {}
    for camera, size in cameras.items():
        a, b = (pictures_of(s, camera, size, count) for s in (real, sim))
        cut_a, cut_b = len(a) - max(2, len(a) // 5), len(b) - max(2, len(b) // 5)
        told: dict[str, float] = {}
        colours = colour_map(a[:cut_a], b[:cut_b])
        translators[camera] = colours
        if kind == "network":
            there = np.stack([colours(p) for p in a[:cut_a]])
            net, told = train_cycle(there, b[:cut_b], config, lambda text, c=camera: say(f"{c}: {text}"))  # type: ignore[misc]
            net.colours = colours
            translators[camera] = net
        after = np.stack([translators[camera](p) for p in a[cut_a:]])
        figures[camera] = {
            "before": colour_distance(a[cut_a:], b[cut_b:]), "after": colour_distance(after, b[cut_b:]),
            "pictures": float(len(a)), **told,
        }  # fmt: skip
    return translators, figures


def translate_dataset(source: str | Path, out: str | Path, translators: Mapping[str, Translator]) -> int:
    """A copy of a LeRobot data set with the pictures of these cameras translated; how many. Numbers and words stay as they are.

    Raises `BadFile` where `out` is there already and for pictures that are not in videos, `UnknownName` for a camera it has not.
    """
    from palmar.data import stats as st
    from palmar.data import video
    from palmar.data.reader import Dataset

    root, target = Path(source), Path(out)
    if target.exists():
        raise BadFile(f"'{target}' is there already. Next: another name")
    dataset = Dataset(root, cache=False)
    for camera in translators:
        if camera not in dataset.cameras:
            raise UnknownName(f"camera of '{root}'", camera, dataset.cameras)
        if dataset.features[dataset.camera_keys[camera]]["dtype"] != "video":
            raise BadFile(
                f"the pictures of '{camera}' in '{root}' are not in videos. Next: palmar import, then this again"
            )
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(root, part, ignore=shutil.ignore_patterns(".cache"))
    count = 0
    new: dict[str, list[st.Stats]] = {}  # of each episode
    for camera, translator in translators.items():
        key = dataset.roles.images[camera]
        of: dict[int, st.Stats] = {}
        for path in dict.fromkeys(files.films[key].path for files in dataset.layout.episodes):
            frames = [translator(f) for _, f in video.decode(path, 0.0, video.count_frames(path), dataset.fps)]
            (part / path.relative_to(root)).write_bytes(video.encode(frames, dataset.fps))
            for i, files in enumerate(dataset.layout.episodes):
                if files.films[key].path == path:
                    first = round(files.films[key].at * dataset.fps)
                    of[i] = st.of_images(frames[first : first + files.length])
            count += len(frames)
        new[key] = [of[i] for i in sorted(of)]
    _restate(part, new)
    part.replace(target)
    return count


def _restate(root: Path, new: Mapping[str, Sequence[Mapping[str, Array]]]) -> None:
    """The statistics of the pictures that changed, of each episode and of the set, where it keeps some. new: by feature, of every
    episode in their order."""
    import json

    from palmar.data import format as fmt
    from palmar.data import stats as st

    file = root / fmt.STATS
    if file.exists():
        told = json.loads(file.read_text("utf-8"))
        told |= {k: st.to_lists({k: st.merge(v)})[k] for k, v in new.items() if k in told and v}
        write_text(file, json.dumps(told))
    for file in sorted((root / "meta" / "episodes").rglob("*.parquet")):
        _restate_rows(file, new)
    file = root / "meta" / "episodes_stats.jsonl"  # of LeRobotDataset v2.1
    if file.exists():
        rows = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line.strip()]
        for row in rows:
            there = row.get("stats", {})
            at = int(row["episode_index"])
            there |= {k: st.to_lists({k: v[at]})[k] for k, v in new.items() if k in there}
        write_text(file, "".join(json.dumps(row) + "\n" for row in rows))


def _restate_rows(file: Path, new: Mapping[str, Sequence[Mapping[str, Array]]]) -> None:
    """In a file of meta/episodes: its columns stats/FEATURE/STATISTIC, in their types."""
    import pyarrow as pa

    from palmar.data import format as fmt
    from palmar.data import stats as st

    table = fmt.read_parquet(file)
    episodes = table.column("episode_index").to_pylist()
    for at, column in enumerate(table.column_names):
        feature, stat = st.stat_of(column) or ("", "")
        if feature in new and all(stat in new[feature][i] for i in episodes):
            values = [np.asarray(new[feature][i][stat]).tolist() for i in episodes]
            table = table.set_column(at, column, pa.array(values, table.schema.field(at).type))
    write_bytes(file, fmt.parquet_bytes(table))
