"""palmar import: any set as v3.0. What goes in comes out, the source stays as it is, and half of it is never there."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign import V2_DATA, V2_VIDEO, camera, content, edit, make, values, vector, write
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import ROBOT

from palmar.cli.main import main
from palmar.data import format as fmt
from palmar.data import importer, video
from palmar.data.findings import examine, not_finite
from palmar.data.importer import import_set
from palmar.data.reader import Dataset
from palmar.data.repair import repair
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile

FEATURES = {
    "qpos": vector(3, [["a", "b", "c"]]), "actions": vector(2), "images/front": camera(),
    "image": camera((32, 40), "image"), "extra/effort": vector(3), "images/depth": camera((16, 16)),
    "note": vector(1, dtype="string"),
}  # fmt: skip


def same(a, b, columns=()):
    """Equal frames, actions, states, tasks and pictures, bit for bit."""
    assert (len(a), a.tasks, a.fps, a.cameras) == (len(b), b.tasks, b.fps, b.cameras)
    assert (a.state_names, a.action_names, a.robot_type) == (b.state_names, b.action_names, b.robot_type)
    assert a.episodes == b.episodes
    left, right = (ds.batch(np.arange(len(ds)), 3) for ds in (a, b))
    for cam in a.cameras:
        np.testing.assert_array_equal(left["images"][cam], right["images"][cam])
    for k in ("state", "actions", "pad", "task", "done"):
        np.testing.assert_array_equal(left[k], right[k])
    for old, new in columns:
        np.testing.assert_array_equal(a.column(old), b.column(new))


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_what_goes_in_comes_out(tmp_path, version, join):
    root = make(tmp_path / "set", FEATURES, version=version, tasks=("pick", "place"))
    before = content(root)
    done = import_set(root, tmp_path / "new", join=join, quiet=True)
    assert content(root) == before and (done.version, done.episodes, done.frames) == (version, 3, 15)
    assert "feature 'qpos' is called 'observation.state' now" in done.notes
    old, new = Dataset(root, cache=False), Dataset(tmp_path / "new", cache=False)
    same(old, new, [("extra/effort", "extra.effort")])
    assert new.version == "v3.0" and new.roles.notes == () and new.cameras == ("front", "image")
    assert set(new.roles.ignored) == {"extra.effort", "images.depth", "note"}
    info = json.loads((new.root / fmt.INFO).read_text())
    assert info["features"][fmt.STATE]["names"] == ["a", "b", "c"] and info["splits"] == {"train": "0:3"}
    for feature in ("observation.state", "action", "observation.images.front", "observation.images.image", "timestamp"):
        assert set(new.stats[feature]) == set(fmt.STAT_NAMES), feature
    np.testing.assert_allclose(new.stats["action"]["mean"], new.actions.mean(0), atol=1e-6)
    films = sorted((new.root / "videos/observation.images.front").rglob("*.mp4"))
    source = sorted(p for p in root.rglob("*.mp4") if "front" in str(p))
    if join:
        assert len(films) == 1 and video.count_frames(films[0]) == 15
    else:
        assert [p.read_bytes() for p in films] == [p.read_bytes() for p in source]
    assert not repair(new.root).moved and [p.name for p in tmp_path.iterdir() if "importing" in p.name] == []
    import_set(new.root, tmp_path / "again", quiet=True)  # a v3 set with shared files
    same(new, Dataset(tmp_path / "again", cache=False))


def test_pictures_in_files_of_their_own_move_into_the_data(tmp_path):
    root = make(tmp_path / "set", FEATURES, version="v2.0", loose=True)
    assert len(list(root.rglob("*.png"))) == 15
    import_set(root, tmp_path / "new", quiet=True)
    assert not list((tmp_path / "new").rglob("*.png"))
    same(Dataset(root, cache=False), Dataset(tmp_path / "new", cache=False))
    next(root.rglob("frame_000003.png")).unlink()
    with pytest.raises(BadFile):
        import_set(root, tmp_path / "other", quiet=True)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    version=st.sampled_from(["v2.0", "v2.1", "v3.0"]),
    fps=st.sampled_from([5, 30, 29.97, 50]),
    state=st.sampled_from([None, "state", "observation.state", "robot/qpos"]),
    action=st.sampled_from(["action", "actions", "robot.actions"]),
    cameras=st.lists(st.sampled_from(["image", "images.a", "observation.images.b", "observation/c"]), unique=True),
    width=st.integers(1, 4),
)
def test_any_set_is_the_same_when_imported(lengths, version, fps, state, action, cameras, width):
    features = {action: vector(width)} | {c: camera((8, 12), "image") for c in cameras}
    features |= {} if state is None else {state: vector(3, [["x"], ["y", "z"]])}
    with TemporaryDirectory() as folder:
        root = make(Path(folder) / "set", features, lengths, version, fps, tasks=("pick", "place")[: len(lengths)])
        before = content(root)
        import_set(root, Path(folder) / "new", quiet=True)
        old, new = (Dataset(Path(folder) / name, cache=False) for name in ("set", "new"))
        same(old, new)
        assert content(root) == before and [e.length for e in new.episodes] == lengths
        assert len(new.state_names) == (0 if state is None else 3) and len(new.cameras) == len(cameras)
        np.testing.assert_array_equal(new.actions, values(action, features[action], 0, sum(lengths)))


def test_irregular_timestamps_become_regular_and_that_is_said(tmp_path):
    root = make(tmp_path / "set", FEATURES, timestamps=np.arange(15) / 10)
    done = import_set(root, tmp_path / "new", quiet=True)
    assert "timestamps are irregular: in episode 1, frame 0" in done.notes[-1]
    assert Dataset(tmp_path / "new").irregular is None


def test_nothing_is_overwritten_or_left(tmp_path):
    root = make(tmp_path / "set", FEATURES, version="v2.1")
    write(tmp_path / "there/mine.txt", b"mine")
    for out, why in (
        (tmp_path / "there", "is there already"),
        (root, "is there already"),
        (root / "new", "lies inside"),
    ):
        with pytest.raises(BadFile, match=f"{why}.*Next: "):
            import_set(root, out, quiet=True)
    assert (tmp_path / "there/mine.txt").read_bytes() == b"mine" and not (root / "new").exists()
    path = root / V2_VIDEO.format(episode_chunk=0, video_key="images/front", episode_index=2)
    path.write_bytes((root / V2_VIDEO.format(episode_chunk=0, video_key="images/front", episode_index=1)).read_bytes())
    with pytest.raises(BadFile, match="holds 4 frames; episode 2 needs 6"):
        import_set(root, tmp_path / "new", quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "there"]


def test_a_killed_import_leaves_nothing_that_looks_complete(tmp_path):
    root = make(tmp_path / "set", FEATURES, version="v2.1")
    code = "import sys, time\nfrom palmar.data import importer\nimporter._Import._stats = lambda *a: time.sleep(60)\n"
    code += "importer.import_set(sys.argv[1], sys.argv[2], quiet=True)"
    process = subprocess.Popen([sys.executable, "-c", code, str(root), str(tmp_path / "new")])
    aside = tmp_path / ".new.importing"
    for _ in range(600):
        if list(aside.glob("videos/*/*/*.mp4")):
            break
        time.sleep(0.05)
    with pytest.raises(BadFile, match="being written by another process"):
        import_set(root, tmp_path / "new", quiet=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert aside.is_dir() and not (tmp_path / "new").exists()
    with pytest.raises(BadFile):
        Dataset(aside)
    import_set(root, tmp_path / "new", quiet=True)
    same(Dataset(root, cache=False), Dataset(tmp_path / "new", cache=False))
    assert not aside.exists()


def test_data_files_are_closed_when_full(tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "MB", 1)
    root = make(tmp_path / "set", FEATURES, version="v2.1")
    import_set(root, tmp_path / "new", quiet=True)
    assert len(list((tmp_path / "new/data").rglob("*.parquet"))) == 3
    same(Dataset(root, cache=False), Dataset(tmp_path / "new", cache=False))


def test_the_commands(tmp_path, capsys):
    root = make(tmp_path / "set", {**FEATURES, "state": vector(3)}, version="v2.1")
    assert main(["inspect", str(root)]) == 2
    assert "may be the state: qpos, state" in capsys.readouterr().err.replace("\n", " ")
    keys = ["--keys", "state=state", "action=actions", "images.eye=image"]
    assert main(["import", str(root), "--out", str(tmp_path / "new"), *keys, "--json"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["frames"] == 15 and "importing episodes 3 of 3 (100 %)" in out.err
    assert main(["inspect", str(root), *keys, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["keys"]["images"] == {"eye": "image"} and figures["version"] == "v2.1"
    assert Dataset(tmp_path / "new").cameras == ("front", "eye")  # kept under its own name
    assert main(["import", str(root), "--out", str(tmp_path / "new"), *keys]) == 2
    assert main(["preflight", "--data", str(root), *keys, "--robot", "arm7", "--json"]) == 1  # another robot
    assert main(["inspect", str(root), "--keys", "state"]) == 2


SHARED = Path(os.environ.get("PALMAR_SHARED", Path(__file__).resolve().parents[2].parent / "shared/data"))


@pytest.mark.skipif(not (SHARED / "g1_v21").is_dir(), reason="the real set ../shared/data/g1_v21 is not there")
def test_a_real_g1_set(tmp_path):
    """Two of its episodes: AV1 videos, joined without decoding."""
    root, names = tmp_path / "set", ["meta/info.json", "meta/episodes.jsonl", "meta/tasks.jsonl"]
    for e in range(2):
        names.append(V2_DATA.format(episode_chunk=0, episode_index=e))
        names.append(V2_VIDEO.format(episode_chunk=0, video_key="observation.images.cam_high", episode_index=e))
    for name in names:
        data = (SHARED / "g1_v21" / name).read_bytes()
        write(root / name, b"".join(data.splitlines(True)[:2]) if name == "meta/episodes.jsonl" else data)
    edit(root, total_episodes=2, total_frames=587)
    import_set(root, tmp_path / "g1", join=True, quiet=True)
    old, new = Dataset(root, cache=False), Dataset(tmp_path / "g1", cache=False)
    np.testing.assert_array_equal(old.actions, new.actions)
    np.testing.assert_array_equal(old.states, new.states)
    at = np.array([0, 1, 150, 289, 290, 291, 586])
    left, right = (ds.batch(at, 1)["images"]["cam_high"] for ds in (old, new))
    np.testing.assert_array_equal(left, right)
    assert len(list((tmp_path / "g1/videos").rglob("*.mp4"))) == 1 and new.action_names[0] == "kLeftShoulderPitch"


def test_a_set_with_nan_is_imported_with_finite_statistics_and_its_places_are_named(tmp_path, capsys):
    """Statistics are of the other rows, so that what is written can be read; one episode has no sound row at all."""
    root = make(tmp_path / "set", FEATURES, version="v3.0", tasks=("pick", "place"))
    for path, broken in zip(sorted(root.glob("data/*/*.parquet")), (slice(1, 2), slice(None)), strict=False):
        table = pq.read_table(path)
        at = table.column_names.index("actions")
        rows = table.column(at).to_pylist()
        rows[broken] = [[float("nan"), float("inf")]] * len(rows[broken])
        pq.write_table(table.set_column(at, table.field(at), pa.array(rows, table.field(at).type)), path)
    import_set(root, tmp_path / "new", quiet=True)
    new = Dataset(tmp_path / "new", cache=False)
    sound = new.actions[np.isfinite(new.actions).all(1)]
    n = len(sound)
    assert n == len(new) - 1 - new.episodes[1].length and int(new.stats[fmt.ACTION]["count"][0]) == n
    np.testing.assert_allclose(new.stats[fmt.ACTION]["mean"], sound.mean(0), rtol=1e-6)
    assert "is nan in episode 0, frame 1" in str(not_finite(new)) and not_finite(new) in examine(new)
    for _ in range(2):
        done = repair(tmp_path / "new")
        assert (done.why, done.rebuilt, done.moved, done.left) == ([], [], [], "")
        assert done.not_finite == [f"action holds NaN or infinity in {15 - n} of 15 rows"]
    assert main(["repair", str(tmp_path / "new")]) == 0
    assert "of 15 rows; repair changes no recorded number" in " ".join(capsys.readouterr().out.split())
    stats = tmp_path / "new" / fmt.STATS
    written = json.loads(stats.read_text())
    stats.write_text(json.dumps(written | {fmt.ACTION: written[fmt.ACTION] | {"mean": [float("nan")] * 2}}))
    assert repair(tmp_path / "new").rebuilt == [fmt.STATS]
    np.testing.assert_allclose(
        Dataset(tmp_path / "new", cache=False).stats[fmt.ACTION]["mean"], sound.mean(0), rtol=1e-6
    )
    for broken in ({"count": [999]}, None):
        now = json.loads(stats.read_text())
        other = {k: v for k, v in now.items() if k != fmt.ACTION}
        stats.write_text(json.dumps(other if broken is None else other | {fmt.ACTION: now[fmt.ACTION] | broken}))
        assert repair(tmp_path / "new").rebuilt == [fmt.STATS]
        assert int(Dataset(tmp_path / "new", cache=False).stats[fmt.ACTION]["count"][0]) == n
    rows = tmp_path / "new" / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(rows)
    at = table.column_names.index("stats/action/mean")
    means = table.column(at).to_pylist()
    means[0] = [float("nan"), 0.0]
    pq.write_table(table.set_column(at, table.field(at), pa.array(means, table.field(at).type)), rows)
    stats.unlink()
    robot = replace(ROBOT, name="other")
    with pytest.raises(BadFile, match="cannot go on"):  # it is another robot's; what is mended first is read again
        DatasetWriter(tmp_path / "new", robot, 10, resume=True)
    np.testing.assert_allclose(
        Dataset(tmp_path / "new", cache=False).stats[fmt.ACTION]["mean"], sound.mean(0), rtol=1e-6
    )


def test_a_set_without_episodes_is_not_imported(tmp_path):
    DatasetWriter(tmp_path / "set", ROBOT, 10).close()
    with pytest.raises(BadFile, match="holds no episode; nothing was imported"):
        import_set(tmp_path / "set", tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()
