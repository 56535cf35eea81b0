import pickle
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import ROBOT, episode, picture

from palmar.data import format as fmt
from palmar.data import video
from palmar.data.mapped import interface_of
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.pictures import fit

LENGTHS = (7, 1, 12, 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "set"
    episodes = [episode(n, seed=i, instruction=f"task {i % 2}", privileged=3) for i, n in enumerate(LENGTHS)]
    with DatasetWriter(root, ROBOT, 10, privileged_names=("a", "b", "c")) as writer:
        for e in episodes:
            writer.add(e)
    return Dataset(root), episodes


@pytest.fixture
def fresh(tmp_path):
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        for i in range(3):
            writer.add(episode(6, seed=i))
    return tmp_path / "set"


@settings(max_examples=60, deadline=None)
@given(
    indices=st.lists(st.integers(0, sum(LENGTHS) - 1), min_size=1, max_size=20),
    horizon=st.integers(1, 20),
    seek=st.booleans(),
)
def test_a_batch_is_what_was_recorded(made, indices, horizon, seek):
    ds, episodes = made
    ds = Dataset(ds.root, cache=False) if seek else ds
    batch = ds.batch(np.array(indices), horizon)
    steps = [(e, k) for e in episodes for k in range(len(e.steps))]
    for b, i in enumerate(indices):
        e, k = steps[i]
        for t in range(horizon):
            last = min(k + t, len(e.steps) - 1)
            np.testing.assert_array_equal(batch["actions"][b, t], e.steps[last].action)
            assert batch["pad"][b, t] == (k + t >= len(e.steps))
        obs = e.steps[k].observation
        np.testing.assert_array_equal(batch["state"][b], obs.state)
        np.testing.assert_array_equal(batch["privileged"][b], obs.privileged)
        assert ds.tasks[batch["task"][b]] == e.instruction
        assert batch["done"][b] == (k == len(e.steps) - 1)
        for n, cam in enumerate(ds.cameras):
            wrong = np.abs(batch["images"][cam][b].astype(int) - picture(k, e.seed, n).astype(int)).mean()
            assert wrong < 4, f"frame {i} of {cam} is another picture"


def test_shapes_types_and_names(made):
    ds, _ = made
    batch = ds.batch(np.arange(4), 5)
    kinds = {k: (v.dtype.str, v.shape) for k, v in batch.items() if k != "images"}
    assert kinds == {
        "state": ("<f4", (4, 22)), "actions": ("<f4", (4, 5, 7)), "pad": ("|b1", (4, 5)), "task": ("<i8", (4,)),
        "done": ("|b1", (4,)), "privileged": ("<f4", (4, 3)),
    }  # fmt: skip
    assert {c: (v.dtype.str, v.shape) for c, v in batch["images"].items()} == {
        "front": ("|u1", (4, 96, 96, 3)),
        "wrist": ("|u1", (4, 96, 96, 3)),
    }
    assert ds.cameras == ("front", "wrist") and ds.robot_type == "arm7" and ds.fps == 10 and len(ds) == 25
    assert ds.state_names == ROBOT.state_names and ds.action_names == ROBOT.action_names
    assert ds.privileged_names == ("a", "b", "c")
    frame = ds.frame(8)
    assert (frame["episode"], frame["frame"], frame["task"], frame["timestamp"]) == (2, 0, "task 0", 0.0)
    assert ds.frame(-1)["done"] and ds.batch(np.array([0]), 1, images=False)["images"] == {}
    assert len(ds.batch(np.array([], int), 3)["state"]) == 0


def test_wrong_questions_are_answered(made, tmp_path):
    ds, _ = made
    with pytest.raises(BadValue, match=r"indices reach from 3 to 25; expected 0 … 24"):
        ds.batch(np.array([3, 25]), 2)
    with pytest.raises(UnknownName, match=r"unknown feature 'actoin'. Did you mean 'action'"):
        ds.column("actoin")
    with pytest.raises(BadFile, match=r"there is no data set at .*Next"):
        Dataset(tmp_path / "nothing")
    (tmp_path / "meta").mkdir()
    with pytest.raises(BadFile, match=r"is no data set; a LeRobot v3 data set holds meta/info.json"):
        Dataset(tmp_path)
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v1.6"}')
    with pytest.raises(BadFile, match=r"says version v1.6; expected v2.0, v2.1 or v3.x. Next: convert"):
        Dataset(tmp_path)
    (tmp_path / "meta/info.json").write_text('{"codebase')
    with pytest.raises(BadFile, match="is not JSON"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["data/chunk-000/file-000.parquet", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet",
     "videos/observation.images.front/chunk-000/file-000.mp4"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["missing", "truncated", "noise"])
@pytest.mark.parametrize("cache", [True, False])
def test_a_bad_file_is_named_with_the_next_step(fresh, name, damage, cache):
    path = fresh / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"\0" * len(data))
    with pytest.raises(BadFile) as caught:
        Dataset(fresh, cache=cache).batch(np.arange(18), 2)
    assert "Next: " in str(caught.value)
    if "meta/episodes" not in name or damage != "missing":
        assert path.name in str(caught.value)


def test_the_cache_is_used_and_follows_the_content(fresh):
    ds = Dataset(fresh)
    first = ds.batch(np.arange(18), 1)["images"]["front"]
    files = sorted((fresh / ".cache").glob("*.frames"))
    assert len(files) == 2 and all(0 < f.stat().st_size < 18 * (96 * 96 * 3 + 16) for f in files)
    stamps = [f.stat().st_mtime_ns for f in files]
    np.testing.assert_array_equal(Dataset(fresh).batch(np.arange(18), 1)["images"]["front"], first)
    assert [f.stat().st_mtime_ns for f in files] == stamps
    with DatasetWriter(fresh, ROBOT, 10, resume=True) as writer:
        writer.add(episode(4, seed=5))
    again = Dataset(fresh).batch(np.arange(22), 1)["images"]["front"]
    np.testing.assert_array_equal(again[:18], first)
    assert len(list((fresh / ".cache").glob("*.frames"))) == 2  # the old ones are gone


def test_no_room_for_the_cache_falls_back_to_seeking(fresh, monkeypatch, capsys):
    monkeypatch.setattr("palmar.data.cache.shutil.disk_usage", lambda p: type("Usage", (), {"free": 1000})())
    ds = Dataset(fresh)
    assert ds.batch(np.arange(3), 1)["images"]["front"].shape == (3, 96, 96, 3)
    said = capsys.readouterr().err
    assert not ds.cache and "no cache: decoded pictures need up to 1.0 MB in" in said and "are free" in said


def test_no_cache_out_of_proportion_to_the_set(fresh, monkeypatch, capsys):
    monkeypatch.setattr("palmar.data.cache.SMALL", 0)
    large = Dataset(fresh)
    large.batch(np.arange(3), 1)
    assert not large.cache and not list(fresh.glob(".cache/*.frames"))
    assert "times the" in (said := capsys.readouterr().err) and "--image-size" in said
    small = Dataset(fresh, image_size=16)
    small.batch(np.arange(3), 1)
    assert small.cache and not capsys.readouterr().err
    of_set = sum(p.stat().st_size for p in fresh.rglob("*.mp4"))
    assert sum(p.stat().st_size for p in fresh.glob(".cache/*.frames")) <= 10 * of_set


@pytest.mark.parametrize("size", [48, (32, 48), {"front": (48, 48), "wrist": (24, 40)}])
def test_pictures_are_resized_alike_by_cache_and_seeking_and_as_an_acting_policy_resizes(fresh, size):
    plain = Dataset(fresh, cache=False).batch(np.arange(18), 2)["images"]
    cached, seeking = Dataset(fresh, image_size=size), Dataset(fresh, cache=False, image_size=size)
    a, b = (ds.batch(np.arange(18), 2)["images"] for ds in (cached, seeking))
    assert cached.recorded_sizes == {"front": (96, 96), "wrist": (96, 96)}
    assert interface_of(seeking).cameras == {c: a[c].shape[1:3] for c in a}  # as told, and as they are
    for cam, (height, width) in cached.image_sizes.items():
        assert a[cam].shape == (18, height, width, 3)
        np.testing.assert_array_equal(a[cam], b[cam])
        np.testing.assert_array_equal(a[cam], fit(plain[cam], height, width, "stretch"))
    assert seeking.frame(4)["images"]["front"].shape[:2] == cached.image_sizes["front"]
    assert len(list(fresh.glob(".cache/*.frames"))) == 2


def test_layouts_lerobot_writes(fresh):
    """Plain lists, the old name of the task column, images as PNG in the parquet, columns and info keys of others."""
    import io

    from PIL import Image

    expected = Dataset(fresh, cache=False).batch(np.arange(18), 2)
    path = fresh / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    plain = table["action"].combine_chunks()
    plain = pa.ListArray.from_arrays(pa.array(np.arange(0, 18 * 7 + 1, 7), pa.int32()), plain.flatten())
    table = table.set_column(table.column_names.index("action"), "action", plain)
    stills = []
    for i in range(18):
        sink = io.BytesIO()
        Image.fromarray(np.full((48, 48, 3), i * 10, np.uint8)).save(sink, "png")
        stills.append({"bytes": sink.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = table.append_column("observation.images.still", pa.array(stills, kind))
    pq.write_table(table, path)
    tasks = pq.read_table(fresh / fmt.TASKS).rename_columns(["task_index", "__index_level_0__"])
    pq.write_table(tasks, fresh / fmt.TASKS)
    info = fmt.read_json(fresh / fmt.INFO)
    info["features"]["observation.images.still"] = {"dtype": "image", "shape": [48, 48, 3], "names": None}
    info["features"]["action"]["names"] = {"motors": [f"m{i}" for i in range(7)]}
    info["tools"] = ["unknown key"]
    (fresh / fmt.INFO).write_bytes(fmt.json_bytes(info))
    (fresh / fmt.EXTRA).unlink()
    (fresh / fmt.STATS).unlink()
    for cache in (True, False):
        ds = Dataset(fresh, cache=cache)
        batch = ds.batch(np.arange(18), 2)
        np.testing.assert_array_equal(batch["actions"], expected["actions"])
        np.testing.assert_array_equal(batch["images"]["front"], expected["images"]["front"])
        assert batch["images"]["still"][:, 0, 0, 0].tolist() == [i * 10 for i in range(18)]
        assert ds.tasks == ["pick up the red cube"] and ds.action_names[0] == "m0"
        assert ds.episodes[0].task == "pick up the red cube" and ds.episodes[0].success
        np.testing.assert_allclose(ds.stats["action"]["mean"], ds.actions.mean(0), atol=1e-6)


def test_threads_that_seek_take_turns(made, monkeypatch):
    """Validation reads on the main thread while the feed thread reads on."""
    inside, together = [], []
    true = video._Seeker.read

    def slow(self, wanted):
        inside.append(1)
        sleep(0.002)  # lets the other thread in, if it can come in
        together.append(len(inside))
        out = true(self, wanted)
        inside.pop()
        return out

    monkeypatch.setattr(video._Seeker, "read", slow)
    ds, right = Dataset(made[0].root, cache=False), made[0]
    picks = [np.random.default_rng(i).integers(0, len(ds), 12) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda p: ds.batch(p, 1), picks))
    assert max(together) == 1
    for pick, batch in zip(picks, batches, strict=True):
        for cam in ds.cameras:
            np.testing.assert_array_equal(batch["images"][cam], right.batch(pick, 1)["images"][cam])


def test_a_data_set_can_be_sent_to_another_process(made):
    ds = Dataset(made[0].root, cache=False)
    there = pickle.loads(pickle.dumps(ds))  # noqa: S301
    np.testing.assert_array_equal(there.frame(3)["images"]["front"], ds.frame(3)["images"]["front"])


def test_a_line_separator_inside_an_extra_value_ends_no_line(fresh):
    """U+2028 and U+0085 end a line for Python and not for JSON lines."""
    path = fresh / fmt.EXTRA
    row = '{"episode_index": 1, "seed": 7, "note": "one\u2028two\u0085three"}'
    path.write_text((path.read_text("utf-8") if path.exists() else "") + row + "\n", "utf-8")
    assert fmt.read_extras(fresh)[1]["note"] == "one\u2028two\u0085three"
