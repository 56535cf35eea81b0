"""What metadata may hold: every refusal names the file, the field, the value and what was expected."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic import ROBOT, episode

from palmar.data import format as fmt
from palmar.data import paths, schema
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile


@pytest.fixture
def root(tmp_path):
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        for i in range(2):
            writer.add(episode(4, seed=i))
    return tmp_path / "set"


def change(root, **fields):
    info = json.loads((root / fmt.INFO).read_text())
    (root / fmt.INFO).write_text(json.dumps(info | fields))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.DATA_PATH, "data/chunk-001/file-023.parquet"),
        (fmt.VIDEO_PATH, "videos/observation.images.front/chunk-001/file-023.mp4"),
        ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet", "data/chunk-004/episode_004321.parquet"),
        ("{video_key}/{file_index}.mp4", "observation.images.front/23.mp4"),
    ],
)
def test_templates_of_all_versions(text, expected):
    values = {"chunk_index": 1, "file_index": 23, "episode_chunk": 4, "episode_index": 4321}
    assert paths.parse(text).name(values | {"video_key": "observation.images.front"}) == expected


@pytest.mark.parametrize(
    "text",
    ["", None, 7, "/etc/passwd", "../x", "data/../../x", "data//x", "./x", "{chunk_index:1000000000}", "{chunk_index:07d}",
     "{chunk_index:3d}", "{chunk_index!r}", "{chunk_index.__class__}", "{0}", "{}", "{", "}", "{{chunk_index}}", "a\\b", "C:\\x",
     "a\0b", "a\nb", "\ud800", "x" * 600, "{unknown}", ".git/{file_index}", "{video_key:03d}"],
)  # fmt: skip
def test_templates_that_are_refused(root, text):
    with pytest.raises(paths.BadTemplate):
        paths.parse(text)
    change(root, data_path=text)
    with pytest.raises(BadFile, match=r"info.json': data_path is .*; expected a template of a path inside the set"):
        Dataset(root)


@pytest.mark.parametrize("value", ["../x", "/etc", "..", "", "a/../b", -1, 10**9, True, 1.5, None])
def test_a_value_that_makes_no_name_is_refused(value):
    with pytest.raises(paths.BadTemplate):
        paths.parse("{video_key}/{file_index}.mp4").name({"video_key": value, "file_index": value})


@pytest.mark.parametrize("way", ["file", "folder"])
def test_a_link_that_leads_outside_is_refused(root, way, tmp_path):
    inside = root / "data/chunk-000" if way == "folder" else root / "data/chunk-000/file-000.parquet"
    inside.rename(tmp_path / "outside")
    inside.symlink_to(tmp_path / "outside")
    with pytest.raises(BadFile, match=r"is a link to .*outside the data set; expected a file inside"):
        Dataset(root)
    inside.unlink()
    (tmp_path / "outside").rename(root / "data/kept")
    inside.symlink_to(root / "data/kept")
    assert len(Dataset(root)) == 8


def test_a_snapshot_of_the_hub_cache_is_read_and_other_links_of_it_are_refused(root, tmp_path):
    """Files of a snapshot are links to blobs beside it; a link into blobs of another repository, or elsewhere, is none."""
    repository = tmp_path / "hub/datasets--someone--set"
    snapshot, blobs = repository / "snapshots/0123abc", repository / "blobs"
    blobs.mkdir(parents=True)
    for i, path in enumerate(sorted(p for p in root.rglob("*") if p.is_file())):
        link = snapshot / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blobs / f"{i:040x}")
        link.symlink_to(Path(*[".."] * (len(link.relative_to(repository).parts) - 1), "blobs", f"{i:040x}"))
    data = Dataset(snapshot, cache=False)
    assert len(data) == 8 and data.batch([0], 1)["images"]
    (tmp_path / "link").symlink_to(snapshot)
    assert len(Dataset(tmp_path / "link", cache=False)) == 8

    link = snapshot / "data/chunk-000/file-000.parquet"
    target = link.resolve()
    for elsewhere in (
        tmp_path / "secret", tmp_path / "hub/datasets--other--set/blobs/1", repository / "snapshots/4567def/1",
        blobs / "deeper/1", repository / "refs/1",
    ):  # fmt: skip
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        elsewhere.write_bytes(target.read_bytes())
        link.unlink()
        link.symlink_to(elsewhere)
        with pytest.raises(
            BadFile, match=r"is a link to .*outside the data set; expected a file inside .*blobs'. Next: "
        ):
            Dataset(snapshot)
    repository.rename(tmp_path / "hub/plain")  # no repository of the hub
    with pytest.raises(BadFile, match="outside the data set"):
        Dataset(tmp_path / "hub/plain/snapshots/0123abc")


def test_a_pipe_in_place_of_a_file_is_refused(root):
    for name in (fmt.INFO, fmt.TASKS, "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"):
        data = (root / name).read_bytes()
        (root / name).unlink()
        os.mkfifo(root / name)
        with pytest.raises(BadFile, match="pipe"):
            Dataset(root)
        (root / name).unlink()
        (root / name).write_bytes(data)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("fps", 0, "above 0"), ("fps", float("nan"), "above 0"), ("fps", "10", "above 0"), ("fps", True, "above 0"),
        ("fps", 10**400, "above 0"), ("total_episodes", 10**12 * 8, "whole number"), ("total_frames", 7, "8, the frames"),
        ("total_episodes", 10**12, "lacks episode 2 of 1000000000000"), ("features", {}, "a table of"),
        ("chunks_size", 0, "1 …"), ("robot_type", 7, "a text"), ("splits", [1], "a table of texts"),
        ("video_path", "videos/{file_index}.mp4", r"placeholder \{video_key\}"),
    ],
)  # fmt: skip
def test_a_field_of_info_out_of_bounds(root, field, value, expected):
    change(root, **{field: value})
    with pytest.raises(BadFile, match=rf"(?s)(info.json|episodes).*{expected}.*Next: "):
        Dataset(root)


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("action", {"shape": [10**6, 10**6]}, "numbers in all"),
        ("action", {"shape": [8], "units": None}, r"56 values in 8 rows; expected 8 a row"),
        ("action", {"dtype": "int64"}, "of type"), ("action", {"dtype": "object"}, "expected one of float16"),
        ("action", {"names": 7}, "a list of names"), ("index", {"dtype": "float32"}, "int64"),
        ("action", {"units": "m"}, "or a list of units: rad, deg"),
        ("action", {"units": ["m"] * 6}, "a unit for each of its 7 numbers"),
        ("action", {"units": ["m"] * 6 + ["furlong"]}, "or a list of units: rad, deg"),
        ("observation.images.front", {"shape": [10**6, 10**6, 3]}, "1 … 16384"),
        ("observation.images.front", {"shape": [9600, 9600, 3]}, "96×96 px"),
    ],
)  # fmt: skip
def test_a_feature_that_is_not_what_the_files_hold(root, name, wrong, expected):
    features = json.loads((root / fmt.INFO).read_text())["features"]
    features[name] |= wrong
    change(root, features=features)
    with pytest.raises(BadFile, match=rf"{name}.*{expected}.*Next: "):
        Dataset(root)


def test_rates_that_are_no_whole_number_stay_as_written():
    info = fmt.empty_info("r", 29.97, {"action": {"dtype": "float32", "shape": [1], "names": None}})
    assert schema.check_info("x", info)["fps"] == 29.97
    assert type(schema.check_info("x", info | {"fps": 30.0})["fps"]) is int


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [({"mean": [0.0] * 6}, "7 finite numbers"), ({"std": [-1.0] * 7}, "std"), ({"mean": [1e9] * 7}, "within min and max"),
     ({"count": [0]}, "1 or more frames"), ({"min": "x"}, "finite numbers"), 
     ({"q50": [[1], [2, 3], [4, 5, 6, 7]]}, "finite numbers")],
)  # fmt: skip
def test_statistics_out_of_bounds(root, wrong, expected):
    stats = json.loads((root / fmt.STATS).read_text())
    stats["action"] |= wrong
    (root / fmt.STATS).write_text(json.dumps(stats))
    with pytest.raises(BadFile, match=rf"stats.json': action.*{expected}"):
        Dataset(root).stats  # noqa: B018


def test_frames_of_another_episode_than_the_metadata_say(root):
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    episode = table["episode_index"].to_numpy().copy()
    episode[3] = 1
    at = table.column_names.index("episode_index")
    pq.write_table(table.set_column(at, "episode_index", [episode.astype(np.int64)]), path)
    with pytest.raises(BadFile, match=r"frame 3 .*says episode_index 1; expected 0"):
        Dataset(root)
