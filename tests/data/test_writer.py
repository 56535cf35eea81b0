import errno
import json
import subprocess
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic import ROBOT, episode

from palmar.data import durable
from palmar.data import format as fmt
from palmar.data.consolidate import consolidate
from palmar.data.durable import Staging
from palmar.data.reader import Dataset
from palmar.data.repair import repair
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue

NAMES = ("cube.x", "cube.y", "cube.z")


def record(root, lengths, **options):
    with DatasetWriter(root, ROBOT, 10, **options) as writer:
        for i, n in enumerate(lengths):
            width = len(options.get("privileged_names", ()))
            writer.add(episode(n, seed=i, instruction=f"task {i % 2}", success=i % 2 == 0, privileged=width))
    return root


def test_schema_is_the_golden_one(tmp_path):
    root = record(tmp_path / "set", [5, 6, 7], privileged_names=NAMES)
    info = json.loads((root / "meta/info.json").read_text())
    assert {k: info[k] for k in info if k != "features"} == {
        "codebase_version": "v3.0", "robot_type": "arm7", "total_episodes": 3, "total_frames": 18, "total_tasks": 2,
        "chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": 10,
        "splits": {"train": "0:3"}, "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    assert list(info["features"]) == [
        "observation.state", "action", "observation.environment_state", "observation.images.front",
        "observation.images.wrist", "next.reward", "next.done", "next.success", "timestamp", "frame_index",
        "episode_index", "index", "task_index",
    ]  # fmt: skip
    front = info["features"]["observation.images.front"]
    assert front["shape"] == [96, 96, 3] and front["names"] == ["height", "width", "channels"]
    assert front["info"]["video.codec"] == "h264" and front["info"]["video.fps"] == 10
    assert info["features"]["observation.environment_state"]["names"] == list(NAMES)
    assert info["features"]["action"]["units"] == ["m", "m", "m", "rad", "rad", "rad", "opening"]
    assert info["features"]["observation.state"]["units"] == [m.unit for m in ROBOT.state]
    assert Dataset(root).action_units == ROBOT.action_units

    files = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    assert files == [
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/info.json",
        "meta/palmar_episodes.jsonl", "meta/stats.json", "meta/tasks.parquet",
        "videos/observation.images.front/chunk-000/file-000.mp4",
        "videos/observation.images.wrist/chunk-000/file-000.mp4",
    ]  # fmt: skip
    data = pq.ParquetFile(root / "data/chunk-000/file-000.parquet")
    assert data.num_row_groups == 3 and data.metadata.row_group(0).column(0).compression == "SNAPPY"
    kinds = {f.name: str(f.type) for f in data.schema_arrow}
    assert kinds["action"] == "fixed_size_list<element: float>[7]" and kinds["next.done"] == "bool"
    assert kinds["timestamp"] == "float" and kinds["index"] == "int64" and "observation.images.front" not in kinds

    episodes = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet")
    kinds = {f.name: str(f.type) for f in episodes.schema}
    for name, feature in info["features"].items():
        for stat in fmt.STAT_NAMES:
            kind = kinds[f"stats/{name}/{stat}"]
            if stat == "count":
                assert kind == "list<element: int64>"
            elif feature["dtype"] == "video":
                assert kind == "list<element: list<element: list<element: double>>>"
            elif stat in ("min", "max") and feature["dtype"] in ("bool", "int64"):
                assert kind == f"list<element: {feature['dtype']}>"
            else:
                assert kind == "list<element: double>"
    row = episodes.to_pylist()[1]
    assert (row["dataset_from_index"], row["dataset_to_index"], row["length"], row["tasks"]) == (5, 11, 6, ["task 1"])
    key = "videos/observation.images.front/"
    assert row[key + "from_timestamp"] == 0.5 and row[key + "to_timestamp"] == 1.1 and row[key + "file_index"] == 0
    assert row["meta/episodes/chunk_index"] == 0 and row["data/file_index"] == 0
    assert np.shape(row["stats/observation.images.front/mean"]) == (3, 1, 1)

    tasks = pq.read_table(root / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["task 0", "task 1"]}


def test_success_and_reward_are_on_the_last_frame_of_a_good_episode(tmp_path):
    ds = Dataset(record(tmp_path / "set", [4, 5]))
    assert ds.column("next.success").tolist() == [False] * 3 + [True] + [False] * 5
    assert ds.column("next.done").tolist() == [False] * 3 + [True] + [False] * 4 + [True]
    assert ds.column("next.reward").sum() == 1
    assert [(e.success, e.task, e.instruction, e.source, e.seed) for e in ds.episodes] == [
        (True, "pick", "task 0", "expert", 0),
        (False, "pick", "task 1", "expert", 1),
    ]


def test_steps_seen_after_success_are_marked(tmp_path):
    made = episode(6)
    made.steps = [replace(s, done=i >= 3) for i, s in enumerate(made.steps)]
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        writer.add(made)
    ds = Dataset(tmp_path / "set")
    assert ds.batch(np.arange(6), 1)["done"].tolist() == [False] * 3 + [True] * 3


def test_full_colour_is_nearer_to_what_was_seen(tmp_path):
    errors = {}
    for pix_fmt in ("yuv420p", "yuv444p"):
        with DatasetWriter(tmp_path / pix_fmt, ROBOT, 10, pix_fmt=pix_fmt) as writer:
            writer.add(episode(6, seed=4))
        ds = Dataset(tmp_path / pix_fmt)
        assert ds.features["observation.images.front"]["info"]["video.pix_fmt"] == pix_fmt
        seen = np.stack([s.observation.images["front"] for s in episode(6, seed=4).steps]).astype(int)
        errors[pix_fmt] = np.abs(ds.batch(np.arange(6), 1)["images"]["front"] - seen).mean()
    assert errors["yuv444p"] < errors["yuv420p"] < 4


def test_every_episode_can_be_read_before_and_after_close(tmp_path):
    root, writer = tmp_path / "set", DatasetWriter(tmp_path / "set", ROBOT, 10)
    for i in range(3):
        assert writer.add(episode(4 + i, seed=i)) == i
        live = Dataset(root, cache=False)
        assert len(live.episodes) == i + 1 and len(live) == sum(4 + k for k in range(i + 1))
    before = live.batch(np.arange(len(live)), 3)
    writer.close()
    writer.close()
    after = Dataset(root).batch(np.arange(len(live)), 3)
    for cam in before["images"]:
        np.testing.assert_array_equal(before["images"][cam], after["images"][cam])
    np.testing.assert_array_equal(before["actions"], after["actions"])


def test_small_limits_make_several_files(tmp_path):
    root, writer = tmp_path / "set", DatasetWriter(tmp_path / "set", ROBOT, 10)
    for i in range(6):
        writer.add(episode(8, seed=i))
    before = Dataset(root, cache=False).batch(np.arange(48), 2)
    writer.close(consolidate=False)

    def two_and_a_half(path):
        return 2.5 * (root / path).stat().st_size / 2**20

    info = fmt.read_json(root / fmt.INFO)
    info["data_files_size_in_mb"] = two_and_a_half("data/chunk-000/file-000.parquet")
    info["video_files_size_in_mb"] = two_and_a_half("videos/observation.images.front/chunk-000/file-000.mp4")
    (root / fmt.INFO).write_bytes(fmt.json_bytes(info))
    consolidate(root)
    assert 1 < len(list(root.glob("videos/observation.images.front/*/*.mp4"))) < 6
    assert 1 < len(list(root.glob("data/*/*.parquet"))) < 6
    after = Dataset(root).batch(np.arange(48), 2)
    for cam in before["images"]:
        np.testing.assert_array_equal(before["images"][cam], after["images"][cam])
    np.testing.assert_array_equal(before["state"], after["state"])


def test_resume_goes_on_where_it_stopped(tmp_path):
    root = record(tmp_path / "set", [4, 5])
    old = Dataset(root).batch(np.arange(9), 2)
    with DatasetWriter(root, ROBOT, 10, resume=True) as writer:
        assert len(writer) == 2
        assert writer.add(episode(6, seed=9, instruction="a new task")) == 2
    ds = Dataset(root)
    assert ds.tasks == ["task 0", "task 1", "a new task"] and len(ds) == 15
    assert ds.stats["action"]["count"].tolist() == [15] == ds.stats["index"]["count"].tolist()
    np.testing.assert_allclose(ds.stats["action"]["std"], ds.actions.astype(float).std(0), rtol=1e-6)
    np.testing.assert_array_equal(ds.batch(np.arange(9), 2)["images"]["wrist"], old["images"]["wrist"])


def test_refusals_say_the_next_step(tmp_path):
    root = record(tmp_path / "set", [4])
    with pytest.raises(BadFile, match=r"is not empty. Next: .*resume=True"):
        DatasetWriter(root, ROBOT, 10)
    with pytest.raises(BadFile, match=r"fps is 10 on disk and 20 here.*Next"):
        DatasetWriter(root, ROBOT, 20, resume=True)
    with pytest.raises(BadFile, match="environment_state missing"):
        DatasetWriter(root, ROBOT, 10, privileged_names=NAMES, resume=True)
    channels = tuple(replace(c, unit="%") if c.name == "gripper" else c for c in ROBOT.channels)
    with pytest.raises(BadFile, match="action 'gripper' is in 'opening' on disk and in '%' here"):
        DatasetWriter(root, replace(ROBOT, channels=channels), 10, resume=True)
    with pytest.raises(BadFile, match="action is"):
        DatasetWriter(root, ROBOT.with_action_space("channels"), 10, resume=True)
    with DatasetWriter(tmp_path / "other", ROBOT, 10) as writer:
        with pytest.raises(BadFile, match="written by another process"):
            DatasetWriter(tmp_path / "other", ROBOT, 10, resume=True)
        with pytest.raises(BadValue, match="no steps"):
            writer.add(episode(0))
        short = episode(3)
        short.steps[1].observation.images["front"] = np.zeros((8, 8, 3), np.uint8)
        with pytest.raises(
            BadValue, match=r"step 1: camera 'front' gave uint8\[8, 8, 3\]; expected uint8\[96, 96, 3\]"
        ):
            writer.add(short)
        broken = episode(3)
        broken.steps[2].action[0] = np.nan
        with pytest.raises(BadValue, match=r"step 2: action is .*expected 7 finite numbers"):
            writer.add(broken)
        writer.add(episode(3))
    with pytest.raises(BadValue, match="closed"):
        writer.add(episode(3))


def test_what_is_refused_before_its_first_episode_leaves_no_set(tmp_path):
    """Else the next try is told that the folder is not empty. What was there before stays."""
    for there in (None, ".palmar"):
        root = tmp_path / str(there)
        if there is not None:
            (root / there).mkdir(parents=True)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), DatasetWriter(root, ROBOT, 10):
                raise ZeroDivisionError
            assert (not root.exists()) if there is None else [p.name for p in root.iterdir()] == [there]
    with pytest.raises(ZeroDivisionError), DatasetWriter(tmp_path / "kept", ROBOT, 10) as writer:
        writer.add(episode(3))
        raise ZeroDivisionError
    assert len(Dataset(tmp_path / "kept").episodes) == 1
    with pytest.raises(ZeroDivisionError), DatasetWriter(tmp_path / "kept", ROBOT, 10, resume=True):
        raise ZeroDivisionError
    assert len(Dataset(tmp_path / "kept").episodes) == 1


def test_an_episode_that_is_on_the_disk_is_never_forgotten(tmp_path, monkeypatch):
    """Ctrl-C between the commit and the counting of it, or a disk that is full within the commit: what lies there stays."""

    def cut(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / "cut", ROBOT, 10) as writer:
        monkeypatch.setattr(Staging, "commit", lambda self, commit=Staging.commit: (commit(self), cut()))
        writer.add(episode(3))
    monkeypatch.undo()
    assert len(Dataset(tmp_path / "cut").episodes) == 1
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / "half", ROBOT, 10) as writer:
        (tmp_path / "half" / "data").mkdir()
        (tmp_path / "half" / "data" / "file.parquet").write_bytes(b"x")
        raise KeyboardInterrupt
    assert (tmp_path / "half" / "meta/info.json").exists()


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    root, writer = tmp_path / "set", DatasetWriter(tmp_path / "set", ROBOT, 10)
    for i in range(2):
        writer.add(episode(5, seed=i))
    real, room = durable.write_bytes, [0]

    def full(path, data):
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        room[0] -= 1
        real(path, data)

    for files in range(7):  # the disk runs full at every file of an episode in turn
        room[0] = files
        monkeypatch.setattr(durable, "write_bytes", full)
        with pytest.raises(
            BadFile, match=r"disk .* is full .*The 2 episodes before this one are safe.*Next: free space"
        ):
            writer.add(episode(5, seed=2, instruction="never written"))
        monkeypatch.setattr(durable, "write_bytes", real)
        assert len(Dataset(root, cache=False)) == 10 and not (root / ".staging").exists()
    assert writer.add(episode(5, seed=2)) == 2  # the same writer goes on once there is room
    writer.close()
    ds = Dataset(root)
    assert len(ds) == 15 and ds.tasks == ["pick up the red cube"] and ds.batch(np.arange(15), 1)["images"]


def test_a_really_full_disk(tmp_path):
    """A tmpfs of 1 MB, where this machine lets one be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        writer, saved = DatasetWriter(disk / "set", ROBOT, 10), 0
        with pytest.raises(BadFile, match=r"full .*The \d+ episodes before this one are safe"):
            for i in range(100):
                saved = 1 + writer.add(episode(8, seed=i))
        assert saved >= 3
        with pytest.raises(BadFile, match="small files"):
            writer.close()
        ds = Dataset(disk / "set", cache=False)
        assert len(ds.episodes) == saved and len(ds.batch(np.arange(len(ds)), 1)["state"]) == 8 * saved
        ds.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_while_consolidating_leaves_small_files(tmp_path, monkeypatch):
    root, writer = tmp_path / "set", DatasetWriter(tmp_path / "set", ROBOT, 10)
    for i in range(3):
        writer.add(episode(5, seed=i))

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("palmar.data.consolidate.write_bytes", full)
    with pytest.raises(BadFile, match="All episodes are safe and readable, but still in small files"):
        writer.close()
    monkeypatch.undo()
    assert len(Dataset(root)) == 15 and len(list(root.glob("data/*/*.parquet"))) == 3
    DatasetWriter(root, ROBOT, 10, resume=True).close()
    assert len(Dataset(root)) == 15 and len(list(root.glob("data/*/*.parquet"))) == 1


def test_statistics_equal_numpys(tmp_path):
    ds = Dataset(record(tmp_path / "set", [12, 15, 9]))
    wide = ds.states.astype(np.float64)
    stats = ds.stats["observation.state"]
    np.testing.assert_allclose(stats["mean"], wide.mean(0), atol=1e-12)
    np.testing.assert_allclose(stats["std"], wide.std(0), atol=1e-12)
    np.testing.assert_array_equal(stats["min"], wide.min(0))
    pixels = ds.batch(np.arange(36), 1)["images"]["front"] / 255.0
    seen = ds.stats["observation.images.front"]
    np.testing.assert_allclose(seen["mean"].ravel(), pixels.mean((0, 1, 2)), atol=0.01)  # the codec is lossy
    assert seen["count"].tolist() == [36] and (seen["q99"] <= seen["max"]).all() and seen["max"].max() <= 1


@pytest.mark.parametrize("column", ["meta/episodes/file_index", "meta/episodes/chunk_index"])
def test_recording_goes_on_only_where_the_next_file_is_known(tmp_path, column):
    """No reader needs these columns; a recorder that guessed would overwrite a file."""
    root = tmp_path / "set"
    with DatasetWriter(root, ROBOT, 10) as writer:
        writer.add(episode(4))
    (path,) = root.glob("meta/episodes/*/*.parquet")
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    assert len(Dataset(root, cache=False).episodes) == 1
    with pytest.raises(BadFile, match=f"{column} is missing; expected a whole number, 0 or more.*palmar repair"):
        DatasetWriter(root, ROBOT, 10, resume=True)
    repair(root)
    with DatasetWriter(root, ROBOT, 10, resume=True) as writer:
        writer.add(episode(4, seed=1))
    assert len(Dataset(root, cache=False).episodes) == 2
