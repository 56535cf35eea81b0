"""Repair mends metadata from the files, costs only what a damaged file held, deletes nothing, and can be taken back."""

import hashlib
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import ROBOT, episode

from palmar.data import format as fmt
from palmar.data import journal, video
from palmar.data.reader import Dataset
from palmar.data.repair import repair, undo
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile

FRONT, WRIST = "observation.images.front", "observation.images.wrist"


def record(root, count=4, length=5, shared=True, first=0, **options):
    writer = DatasetWriter(root, ROBOT, 10, **options)
    for i in range(first, first + count):
        writer.add(episode(length, seed=i, instruction=f"task {i % 2}"))
    writer.close(consolidate=shared)
    return root


@pytest.fixture(scope="module", params=[True, False], ids=["shared files", "a file each"])
def source(request, tmp_path_factory):
    return record(tmp_path_factory.mktemp("source") / "set", shared=request.param)


@pytest.fixture
def root(source, tmp_path):
    return shutil.copytree(source, tmp_path / "set")


def files(root):
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def payload(root):
    """Digests of all data files and videos, in the set or kept aside."""
    return {
        hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*") if p.is_file() and p.suffix in (".mp4", ".parquet") and "meta" not in p.parts
    }  # fmt: skip


def info_of(root):
    return json.loads((root / fmt.INFO).read_text())


def change(root, **fields):
    (root / fmt.INFO).write_bytes(fmt.json_bytes(info_of(root) | fields))


def seeds(root):
    """What was recorded, told from the pictures and the actions: the seed of every episode."""
    ds = Dataset(root, cache=False)
    out = []
    for e in ds.episodes:
        made = next(
            s for s in range(20)
            if np.array_equal([x.action for x in episode(e.length, seed=s).steps], ds.actions[e.start : e.stop])
        )  # fmt: skip
        steps = episode(e.length, seed=made).steps
        for cam, pictures in ds.batch(np.arange(e.start, e.stop), 1)["images"].items():
            wanted = np.stack([s.observation.images[cam] for s in steps])
            assert np.abs(pictures.astype(int) - wanted).mean() < 4, f"episode {e.index} has other pictures"
        out.append(made)
    return out


def test_a_sound_set_is_left_as_it_is(root):
    before = files(root)
    done = repair(root)
    assert not (done.moved or done.rebuilt or done.dropped or done.why or done.left or done.kept)
    assert files(root) == before


@pytest.mark.parametrize(
    "field",
    ["data_path", "video_path", "fps", "features", "total_episodes", "total_frames", "total_tasks", "chunks_size",
     "robot_type", "splits", "codebase_version", "data_files_size_in_mb", "video_files_size_in_mb"],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, -1, "../../{chunk_index}", {"a": 1}, "missing"])
def test_a_damaged_field_of_info_is_rebuilt_from_the_files(root, field, value):
    right, before = info_of(root), payload(root)
    wrong = {k: v for k, v in right.items() if k != field} if value == "missing" else right | {field: value}
    (root / fmt.INFO).write_bytes(fmt.json_bytes(wrong))
    kept = files(root)
    done = repair(root)
    assert done.moved == [] and done.dropped == [] and not done.left and payload(root) == before
    now = info_of(root)
    lost = {"robot_type", "features"} if field in ("robot_type", "features") else set()
    assert {k: v for k, v in now.items() if k not in lost} == {k: v for k, v in right.items() if k not in lost}
    assert {k: (f["dtype"], f["shape"]) for k, f in now["features"].items()} == {
        k: (f["dtype"], f["shape"]) for k, f in right["features"].items()
    }
    assert seeds(root) == [0, 1, 2, 3]
    if done.kept:
        undo(root)
    assert files(root) == kept


@pytest.mark.parametrize("name", ["action", "observation.state", "timestamp", "next.done", FRONT])
@pytest.mark.parametrize("way", ["missing", "dtype", "shape", "renamed", "number"])
def test_a_damaged_feature_row_is_rebuilt_from_the_files(root, name, way):
    right, before = info_of(root), payload(root)
    features = json.loads(json.dumps(right["features"]))
    if way == "missing":
        del features[name]
    elif way == "renamed":
        features = {f"{k}x" if k == name else k: f for k, f in features.items()}
    elif way == "number":
        features[name] = 7
    else:
        features[name] |= (
            {"dtype": "video" if name != FRONT else "float32"} if way == "dtype" else {"shape": [10**6] * 2}
        )
    change(root, features=features)
    done = repair(root)
    now = info_of(root)["features"]
    assert done.moved == [] and not done.left and payload(root) == before
    assert (now[name]["dtype"], now[name]["shape"]) == (
        right["features"][name]["dtype"],
        right["features"][name]["shape"],
    )
    if way in ("dtype", "shape", "renamed"):
        assert now[name]["names"] == right["features"][name]["names"]
    assert seeds(root) == [0, 1, 2, 3]


def test_info_that_is_lost_is_rebuilt_but_for_the_names(root):
    right = info_of(root)
    (root / fmt.INFO).unlink()
    done = repair(root)
    now = info_of(root)
    assert not done.left and seeds(root) == [0, 1, 2, 3]
    assert {k: now[k] for k in right if k not in ("features", "robot_type")} == {
        k: right[k] for k in right if k not in ("features", "robot_type")
    }


def test_a_damaged_file_costs_only_what_it_held(tmp_path):
    root = record(tmp_path / "set", shared=False)
    bad = root / f"videos/{WRIST}/chunk-000/file-002.mp4"
    bad.write_bytes(b"not a video")
    before, all_before = payload(root), files(root)
    with pytest.raises(BadFile, match=r"episode 2: .*file-002.mp4.*drops 1 of 4 episodes. Next: .*--drop"):
        repair(root)
    assert files(root) == all_before
    planned = repair(root, drop=True, dry_run=True)
    assert files(root) == all_before and len(planned.dropped) == 1
    done = repair(root, drop=True)
    assert done.episodes == 3 and "file-002.mp4" in done.dropped[0] and not done.left
    assert (done.moved, done.rebuilt, done.dropped) == (planned.moved, planned.rebuilt, planned.dropped)
    assert seeds(root) == [0, 1, 3] and before <= payload(root)
    assert [e.seed for e in Dataset(root).episodes] == [0, 1, 3]
    assert Dataset(root).stats["action"]["count"].tolist() == [15]
    assert not repair(root).why
    undo(root)
    assert files(root) == all_before


@pytest.mark.parametrize("shared", [True, False], ids=["shared files", "a file each"])
def test_recording_goes_on_after_a_drop_and_nothing_new_is_lost(tmp_path, shared):
    root = record(tmp_path / "set", shared=shared)
    path = sorted(root.glob("data/*/*.parquet"))[0 if shared else 1]
    table = pq.read_table(path)
    table = table.filter(pa.compute.not_equal(table["episode_index"], 1)) if shared else table[:2]
    pq.write_table(table, path)
    repair(root, drop=True)
    assert seeds(root) == [0, 2, 3]
    record(root, 2, first=4, shared=shared, resume=True)
    assert seeds(root) == [0, 2, 3, 4, 5]
    done = repair(root)
    assert not (done.moved or done.dropped or done.left)
    assert seeds(root) == [0, 2, 3, 4, 5]


def test_rows_of_episodes_that_are_lost_are_made_anew(root):
    paths = sorted(root.glob("meta/episodes/*/*.parquet"))
    if len(paths) == 1:
        pq.write_table(pq.read_table(paths[0])[:2], paths[0])
    else:
        for path in paths[2:]:
            path.unlink()
    before = payload(root)
    done = repair(root)
    assert done.episodes == 4 and not done.dropped and not done.left and payload(root) == before
    assert seeds(root) == [0, 1, 2, 3] and Dataset(root).stats["action"]["count"].tolist() == [20]
    with DatasetWriter(root, ROBOT, 10, resume=True) as writer:
        assert writer.add(episode(5, seed=4)) == 4
    assert seeds(root) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", ["missing", "damaged"])
def test_all_rows_lost(root, way):
    for path in root.glob("meta/episodes/*/*.parquet"):
        path.write_bytes(b"no parquet") if way == "damaged" else path.unlink()
    done = repair(root)
    assert not done.left and seeds(root) == [0, 1, 2, 3]


COLUMNS = {
    "length": 9, "dataset_from_index": 77, "dataset_to_index": -3, "data/file_index": 5, "data/chunk_index": 2,
    "episode_index": 10**12, f"videos/{FRONT}/file_index": 9, f"videos/{FRONT}/from_timestamp": 0.7,
    f"videos/{FRONT}/to_timestamp": -1.0, "stats/action/mean": [1e9] * 7, "tasks": ["other"],
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_a_wrong_value_in_a_row_is_put_right(root, column):
    path = sorted(root.glob("meta/episodes/*/*.parquet"))[-1]
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[-1] = COLUMNS[column]
    kind = table.schema.field(column).type
    table = table.set_column(table.column_names.index(column), column, pa.array(values, kind))
    pq.write_table(table, path)
    before = payload(root)
    done = repair(root)
    assert not done.dropped and not done.left and done.episodes == 4 and payload(root) == before
    assert seeds(root) == [0, 1, 2, 3]


@pytest.mark.parametrize("column", ["episode_index", "frame_index", "index", "timestamp"])
def test_a_wrong_counter_in_the_data_is_put_right(root, column):
    path = sorted(root.glob("data/*/*.parquet"))[-1]
    table = pq.read_table(path)
    values = table[column].to_numpy().copy()
    values[-2] = 999
    table = table.set_column(
        table.column_names.index(column), column, pa.array(values, table.schema.field(column).type)
    )
    pq.write_table(table, path)
    before = payload(root)
    done = repair(root)
    assert not done.dropped and not done.left and before <= payload(root)
    ds = Dataset(root)
    np.testing.assert_allclose(ds.column("timestamp")[-5:], np.arange(5) / 10, atol=1e-6)
    assert seeds(root) == [0, 1, 2, 3]
    undo(root)
    assert payload(root) == before


@pytest.mark.parametrize("name", [fmt.STATS, fmt.TASKS])
@pytest.mark.parametrize("way", ["missing", "damaged"])
def test_statistics_and_tasks_are_made_anew(root, name, way):
    stats, tasks = Dataset(root).stats, Dataset(root).tasks
    (root / name).write_bytes(b"x") if way == "damaged" else (root / name).unlink()
    done = repair(root)
    assert not done.left and Dataset(root).tasks == tasks
    np.testing.assert_allclose(Dataset(root).stats["action"]["mean"], stats["action"]["mean"])


def test_spare_files_are_moved_and_can_be_put_back(root):
    path = sorted(root.glob("data/*/*.parquet"))[0]
    spare = path.with_name("file-900.parquet")
    shutil.copy(path, spare)
    before = files(root)
    done = repair(root)
    assert (
        done.moved == ["data/chunk-000/file-900.parquet"] and not spare.exists() and before.keys() - files(root).keys()
    )
    assert undo(root) == done.moved and files(root) == before
    with pytest.raises(BadFile, match="nothing to undo"):
        undo(root)


def test_undo_refuses_to_lose_what_came_later(root):
    change(root, total_frames=3)
    repair(root)
    change(root, robot_type="other")
    with pytest.raises(BadFile, match=r"has changed since it was repaired"):
        undo(root)
    assert info_of(root)["robot_type"] == "other"


RENAME = Path.rename


class Cut(BaseException):
    """As good as a kill."""


def test_a_repair_cut_at_every_rename_is_taken_back(tmp_path, monkeypatch):
    source = record(tmp_path / "source", shared=False)
    (source / f"videos/{WRIST}/chunk-000/file-001.mp4").write_bytes(b"x")
    expected = files(source)
    for step in range(60):
        root = shutil.copytree(source, tmp_path / f"cut{step}")
        left = [step]

        def rename(self, target, real=RENAME, left=left):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return real(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            try:
                repair(root, drop=True)
                break
            except Cut:
                pass
        journal.recover(root)
        assert files(root) == expected
    assert 5 < step < 59 and seeds(root) == [0, 2, 3]


def mangled(source, target, ticks):
    """A copy of a video with other times: ticks of frame i, in thousandths of a frame."""
    from fractions import Fraction

    with av.open(str(source)) as inp, av.open(str(target), "w", format="mp4") as out:
        stream = inp.streams.video[0]
        made = out.add_stream_from_template(stream)
        made.time_base = Fraction(1, 10_000)
        for i, packet in enumerate(p for p in inp.demux(stream) if p.size):
            packet.time_base, packet.stream = Fraction(1, 10_000), made
            packet.pts = packet.dts = ticks(i)
            out.mux(packet)


def repeated(source, target):
    """A copy of a video whose third frame is shown, and decoded, at the time of its second: no muxer writes such a file, cameras
    and other programs do. The table of times in the file is changed by hand."""
    mangled(source, target, lambda i: i * 1000 - 300 * (i == 2))
    data = bytearray(target.read_bytes())
    at = data.index(b"stts") + 8
    entries = [at + 4 + 8 * i for i in range(int.from_bytes(data[at : at + 4], "big"))]
    steps = [int.from_bytes(data[e + 4 : e + 8], "big") for e in entries]
    short = steps.index(min(steps))
    assert steps[short] < steps[short - 1] < steps[short + 1]
    for entry, step in ((entries[short], 0), (entries[short + 1], steps[short] + steps[short + 1])):
        assert int.from_bytes(data[entry : entry + 4], "big") == 1
        data[entry + 4 : entry + 8] = step.to_bytes(4, "big")
    target.write_bytes(data)


def test_times_that_repeat_get_regular_ones(root):
    path = sorted(root.glob(f"videos/{FRONT}/*/*.mp4"))[-1]
    repeated(path, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)
    times = video.about(path)["times"]
    assert (np.diff(times) == 0).any() and not video.about(path)["even"]
    assert seeds(root) == [0, 1, 2, 3]  # read by number before it is mended
    before = payload(root)
    done = repair(root)
    assert not done.left and not done.dropped and before <= payload(root)
    assert video.about(path)["even"] and video.about(path)["fps"] == 10 and seeds(root) == [0, 1, 2, 3]
    with DatasetWriter(root, ROBOT, 10, resume=True) as writer:
        writer.add(episode(5, seed=4))
    assert seeds(root) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "ticks", [lambda i: i * 1000 + 400 * (i % 2), lambda i: i * 700], ids=["jitter", "another rate"]
)
def test_irregular_videos_get_regular_times(root, ticks):
    path = sorted(root.glob(f"videos/{FRONT}/*/*.mp4"))[-1]
    mangled(path, path.with_suffix(".tmp"), ticks)
    path.with_suffix(".tmp").replace(path)
    assert not video.about(path)["even"] or video.about(path)["fps"] != 10
    if len(list(root.glob("data/*/*.parquet"))) == 1 and ticks(1) == 700:
        pytest.skip("where the times of a shared video are wrong by a factor, nobody knows where its episodes begin")
    before = payload(root)
    done = repair(root)
    assert not done.left and not done.dropped and before <= payload(root)
    assert video.about(path)["even"] and video.about(path)["fps"] == 10 and seeds(root) == [0, 1, 2, 3]


def test_a_rate_that_is_no_whole_number_is_kept(tmp_path):
    root = tmp_path / "set"
    with DatasetWriter(root, ROBOT, 29.97) as writer:
        for i in range(2):
            writer.add(episode(40, seed=i))
    assert Dataset(root).fps == 29.97 and seeds(root) == [0, 1]
    change(root, fps=30)
    repair(root)
    assert info_of(root)["fps"] == 29.97 and seeds(root) == [0, 1]


@pytest.mark.parametrize("name", [".old", ".new"])
def test_a_folder_that_is_no_data_set_is_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("mine")
    for look in (Dataset, repair):
        with pytest.raises(BadFile):
            look(tmp_path)
    assert (tmp_path / name / "mine.txt").read_text() == "mine"


def test_nothing_is_touched_where_no_data_can_be_read(root):
    for path in root.glob("data/*/*.parquet"):
        path.write_bytes(b"no parquet")
    before = files(root)
    for drop in (False, True):
        with pytest.raises(BadFile, match="nothing would be left, so nothing was touched"):
            repair(root, drop)
    assert files(root) == before


def test_units_that_are_damaged_are_left_out(tmp_path: Path) -> None:
    root = record(tmp_path / "set", 2)
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["action"]["units"] = ["furlong"] * 7
    (root / "meta/info.json").write_text(json.dumps(info))
    repair(root)
    assert Dataset(root).action_units == () and Dataset(root).state_units == tuple(m.unit for m in ROBOT.state)


def test_a_task_whose_index_is_far_beyond_the_others_is_left_out(root):
    """No frame names it; a table that long would be of empty texts alone."""
    path = root / "meta/tasks.parquet"
    table = pq.read_table(path)
    texts = table.to_pydict()
    column = next(c for c in texts if c != "task_index")
    before = Dataset(root, cache=False).tasks
    texts[column].append("a task of nobody")
    texts["task_index"].append(1_000_000)
    pq.write_table(pa.table(texts, schema=table.schema), path)
    done = repair(root)
    assert not done.left
    assert Dataset(root, cache=False).tasks == before
