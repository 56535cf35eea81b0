"""Data sets of others: versions, keys, pictures in parquet, odd timestamps and rates, and what is refused by name."""

import os
from pathlib import Path

import numpy as np
import pytest
from foreign import V2_VIDEO, camera, content, edit, make, pictures, values, vector, write
from rich.console import Console

from palmar.data import video
from palmar.data.inspect import print_summary, summary
from palmar.data.page import write_html
from palmar.data.quality import assess
from palmar.data.reader import Dataset
from palmar.errors import BadFile, UnknownName

SHARED = Path(os.environ.get("PALMAR_SHARED", Path(__file__).resolve().parents[2].parent / "shared/data"))
TWO = {
    "observation.state": vector(3, ["a", "b", "c"]), "action": vector(2, [["x", "y"]]),
    "observation.images.front": camera(), "observation.images.wrist": camera((32, 40)),
}  # fmt: skip


def check(ds, features, state="observation.state", action="action", images=None, near=4.0):
    """What the reader answers is what was recorded, with the cache and without."""
    n = len(ds)
    np.testing.assert_array_equal(ds.states, values(state, features[state], 0, n))
    for t in range(3):
        batch = ds.batch(np.arange(n), 4)
        ends = np.array([e.stop for e in ds.episodes])[ds.episode_of]
        at = np.minimum(np.arange(n) + t, ends - 1)
        np.testing.assert_array_equal(batch["actions"][:, t], values(action, features[action], 0, n)[at])
    for cam, key in (images or {c: k for c, k in ds.roles.images.items()}).items():
        wrong = np.abs(batch["images"][cam].astype(int) - np.stack(pictures(key, features[key], 0, n)))
        assert wrong.mean((1, 2, 3)).max() < near, cam


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
@pytest.mark.parametrize("cache", [True, False])
def test_every_version_is_read(tmp_path, version, cache):
    root = make(tmp_path / "set", TWO, version=version, tasks=("pick", "place"))
    before = content(root)
    ds = Dataset(root, cache=cache)
    check(ds, TWO)
    assert (ds.version, ds.fps, ds.robot_type, len(ds)) == (version, 10, "other", 15)
    assert ds.state_names == ("a", "b", "c") and ds.action_names == ("x", "y") and ds.cameras == ("front", "wrist")
    assert [(e.start, e.stop, e.instruction, e.success) for e in ds.episodes] == [
        (0, 5, "pick", None), (5, 9, "place", None), (9, 15, "pick", None)
    ]  # fmt: skip
    assert ds.frame(6)["task"] == "place" and ds.irregular is None
    assert {k: v for k, v in content(root).items() if not k.startswith(".cache")} == before


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_other_keys_are_found_said_and_read(tmp_path, version):
    features = {
        "state": vector(4, {"motors": ["a", "b", "c", "d"]}), "actions": vector(2), "image": camera(),
        "images.side": camera((32, 40)), "effort": vector(4), "note": vector(1, dtype="string"),
    }  # fmt: skip
    ds = Dataset(make(tmp_path / "set", features, version=version))
    check(ds, features, "state", "actions")
    assert ds.state_names == ("a", "b", "c", "d") and ds.action_names == ("0", "1") and ds.cameras == ("image", "side")
    np.testing.assert_array_equal(ds.column("effort"), values("effort", features["effort"], 0, 15))
    np.testing.assert_array_equal(ds.column("actions"), ds.column("action"))
    with pytest.raises(UnknownName, match=r"unknown feature 'efort'. Did you mean 'effort'"):
        ds.column("efort")
    out = Console(file=open(os.devnull, "w"), record=True, width=200)  # noqa: PTH123, SIM115
    print_summary(ds, out)
    text = out.export_text()
    for said in ("action is feature 'actions'", "camera 'side' is feature 'images.side'", f"LeRobotDataset {version}",
                 "ignored: effort (neither state, action nor camera); note"):  # fmt: skip
        assert said in text, said
    assert summary(ds)["keys"] == {
        "state": "state",
        "action": "actions",
        "images": {"image": "image", "side": "images.side"},
    }
    assert "camera &#x27;side&#x27;" in write_html(ds, tmp_path / "page.html").read_text()
    assert len(assess(ds).kept) + len(assess(ds).dropped) == 3


def test_keys_choose(tmp_path):
    features = TWO | {"observation.qpos": vector(5)}
    root = make(tmp_path / "set", features)
    ds = Dataset(root, keys={"state": "observation.qpos", "images": {"eye": "observation.images.wrist"}})
    check(ds, features, "observation.qpos")
    assert ds.cameras == ("eye",) and ds.roles.ignored["observation.images.front"] == "not named in keys"
    with pytest.raises(
        BadFile, match=r"has no action: .* It holds observation.state float32\[3\].*--keys action=FEATURE"
    ):
        Dataset(make(tmp_path / "bare", {"observation.state": vector(3), "command": vector(2)}))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_pictures_in_parquet_are_each_cameras_own(tmp_path, cache, version):
    """Of one size and of two, channel-last and channel-first."""
    features = TWO | {
        "observation.images.front": camera(dtype="image"), "observation.images.wrist": camera((32, 40), "image"),
        "observation.images.top": {"dtype": "image", "shape": [3, 48, 64], "names": ["channels", "height", "width"]},
    }  # fmt: skip
    ds = Dataset(make(tmp_path / "set", features, version=version), cache=cache)
    assert ds.recorded_sizes == {"front": (48, 64), "wrist": (32, 40), "top": (48, 64)}
    check(ds, features, near=1e-9)


def test_a_picture_of_another_size_is_named(tmp_path):
    root = make(tmp_path / "set", {**TWO, "observation.images.front": camera(dtype="image")})
    small = TWO | {"observation.images.front": camera((24, 32), "image"), "observation.images.wrist": camera((16, 20))}
    edit(root, features=Dataset(root).info["features"] | small)
    for cam, sizes in (("front", r"48×64.* 24×32"), ("wrist", r"32×40")):
        with pytest.raises(BadFile, match=rf"{cam}.*{sizes}.*Next: |{sizes}.*{cam}.*Next: "):
            ds = Dataset(root, cache=False, keys={"images": {cam: f"observation.images.{cam}"}})
            ds.batch(np.arange(2), 1)


def test_no_state_is_width_0(tmp_path):
    features = {k: f for k, f in TWO.items() if k != "observation.state"}
    ds = Dataset(make(tmp_path / "set", features))
    batch = ds.batch(np.arange(3), 2)
    assert ds.states.shape == (15, 0) and ds.state_names == () and batch["state"].shape == (3, 0)
    print_summary(ds, Console(file=open(os.devnull, "w")))  # noqa: PTH123, SIM115
    assert "no state" in write_html(ds, tmp_path / "page.html").read_text()
    assert summary(ds)["state"] == [] and len(assess(ds).kept) + len(assess(ds).dropped) == 3


def test_vectors_of_one_number(tmp_path):
    features = {"observation.state": vector(1, ["a"]), "action": vector(1, dtype="float64")}
    ds = Dataset(make(tmp_path / "set", features))
    assert ds.states.shape == (15, 1) and ds.batch(np.arange(4), 3)["actions"].shape == (4, 3, 1)
    assert ds.actions.dtype == np.float32 and ds.cameras == () and ds.batch(np.arange(2), 1)["images"] == {}


def test_depth_is_never_a_colour_camera(tmp_path):
    features = TWO | {"observation.images.depth": camera(info={"video.is_depth_map": True})}
    ds = Dataset(make(tmp_path / "set", features))
    assert ds.cameras == ("front", "wrist") and ds.roles.ignored == {
        "observation.images.depth": "depth, not a colour camera"
    }


def test_eight_cameras(tmp_path):
    features = {"state": vector(2), "action": vector(2)} | {f"images.c{i}": camera((16, 16)) for i in range(8)}
    ds = Dataset(make(tmp_path / "set", features, lengths=(3, 2)))
    check(ds, features, "state")
    assert ds.cameras == tuple(f"c{i}" for i in range(8))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_camera_missing_in_an_episode_is_named(tmp_path, version):
    root = make(tmp_path / "set", TWO, version=version)
    key = "observation.images.wrist"
    name = f"videos/{key}/chunk-000/file-001.mp4"
    if version == "v2.1":
        name = V2_VIDEO.format(episode_chunk=0, video_key=key, episode_index=1)
    (root / name).rename(root / "lost")
    with pytest.raises(
        BadFile, match=rf"camera '{key}' has no video of episode 1: '{name}' is missing\. Next: .*--keys"
    ):
        Dataset(root)
    assert Dataset(root, keys={"images": {"front": "observation.images.front"}}).cameras == ("front",)
    elsewhere = root / "videos/old" / key / Path(name).name
    elsewhere.parent.mkdir(parents=True)
    (root / "lost").rename(elsewhere)
    with pytest.raises(BadFile, match=rf"is missing; 'videos/old/{key}/.*mp4' is there"):
        Dataset(root)


def test_a_rate_of_29_97_stays_so(tmp_path):
    ds = Dataset(make(tmp_path / "set", TWO, fps=29.97))
    assert ds.fps == 29.97 and ds.irregular is None and summary(ds)["fps"] == 29.97
    check(ds, TWO)
    for bad in (0, -1, "30", True, float("nan")):
        edit(ds.root, fps=bad)
        with pytest.raises(BadFile, match=r"info.json': fps is .*; expected a number of frames a second, above 0"):
            Dataset(ds.root)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_irregular_timestamps_are_named_and_frames_go_by_number(tmp_path, version, cache):
    times = np.concatenate([np.arange(5), [0, 1, 3, 4], np.arange(6)]) / 10
    root = make(tmp_path / "set", TWO, version=version, timestamps=times)
    ds = Dataset(root, cache=cache)
    assert (ds.irregular.episode, ds.irregular.frame, ds.irregular.frames) == (1, 2, 2)
    check(ds, TWO)
    assert "in episode 1, frame 2 has 0.3000 s; expected 0.2000 s" in summary(ds)["warnings"][0]
    assert "irregular" in write_html(ds, tmp_path / "page.html").read_text()


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("rate", [10.0, 7.0, 30.0, "gap", "late"])
def test_videos_of_another_rate_are_read_by_number(tmp_path, cache, rate):
    """As recorded at the rate of info.json, at another, with a pause, and from a second after zero."""
    root = make(tmp_path / "set", TWO, version="v2.1")
    frames = pictures("observation.images.front", TWO["observation.images.front"], 5, 9)
    times = np.arange(4) / 10
    times = (
        {"gap": times + (np.arange(4) > 1) * 0.7, "late": times + 1.0}[rate]
        if isinstance(rate, str)
        else np.arange(4) / rate
    )
    path = root / V2_VIDEO.format(episode_chunk=0, video_key="observation.images.front", episode_index=1)
    write(path, timed(frames, times))
    check(Dataset(root, cache=cache), TWO)
    write(path, timed(frames[:3], times[:3]))
    with pytest.raises(BadFile, match=r"episode_000001.mp4' (holds 3 of 4 frames|has (3 frames|no frame 3))"):
        Dataset(root, cache=cache).batch(np.arange(15), 1)


def timed(frames, times):
    """An MP4 file whose frames are shown at `times` [s]."""
    import io
    from fractions import Fraction

    import av

    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10, options=video.OPTIONS["libx264"])
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for array, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(array, "rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return sink.getvalue()


def test_units_that_change_half_way_are_warned_of(tmp_path):
    features = {"observation.state": vector(2, ["elbow", "wrist"]), "action": vector(2)}
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (30, 2))
    states[10:, 0] *= 180 / np.pi
    ds = Dataset(
        make(tmp_path / "set", features, lengths=(10, 10, 10), given={"observation.state": states.astype(np.float32)})
    )
    (said,) = summary(ds)["warnings"]
    assert "state 'elbow' changes its unit: from episode 1 on" in said and "degrees and radians" in said


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"data_path": "/etc/passwd"}, "/etc/passwd"), ({"data_path": "../{episode_index}"}, r"\.\./"),
     ({"data_path": "{episode_index:1000000000}"}, "episode_index:1000000000"), ({"data_path": "{root}/x"}, "root"),
     ({"data_path": None}, "data_path"), ({"video_path": 3}, "video_path"), ({"total_episodes": 10**12}, "info.json"),
     ({"total_episodes": 2**70}, "total_episodes"), ({"features": {}}, "features"), ({"chunks_size": 0}, "chunks_size"),
     ({"features": {"action": {"dtype": "float32", "shape": [-1]}}}, "shape")],
)  # fmt: skip
def test_metadata_are_checked(tmp_path, fields, why):
    root = make(tmp_path / "set", TWO, version="v2.1")
    edit(root, **fields)
    with pytest.raises(BadFile, match=why + ".*Next: "):
        Dataset(root)


@pytest.mark.parametrize("name", ["meta/episodes.jsonl", "meta/tasks.jsonl", "data/chunk-000/episode_000001.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "noise"])
def test_a_damaged_file_of_v2_is_named(tmp_path, name, damage):
    path = make(tmp_path / "set", TWO, version="v2.1") / name
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"\xff\x00" * (len(data) // 2))
    if name == "meta/tasks.jsonl" and damage == "missing":
        assert Dataset(tmp_path / "set").tasks == ["pick"]  # the episodes name them too
        return
    with pytest.raises(BadFile, match=rf"{Path(name).name}.*Next: "):
        Dataset(tmp_path / "set")


@pytest.mark.skipif(not (SHARED / "g1_v21").is_dir(), reason="the real set ../shared/data/g1_v21 is not there")
def test_a_real_g1_set():
    ds = Dataset(SHARED / "g1_v21", cache=False)
    assert (ds.version, ds.fps, len(ds.episodes), len(ds)) == ("v2.1", 30, 12, 3319)
    assert len(ds.state_names) == len(ds.action_names) == 26 and ds.action_names[0] == "kLeftShoulderPitch"
    assert ds.irregular is None and summary(ds)["warnings"] == []
    batch = ds.batch(np.array([0, 289, 290, 3318]), 30)
    assert batch["images"]["cam_high"].shape == (4, 480, 640, 3) and batch["images"]["cam_high"].std() > 10
    np.testing.assert_array_equal(batch["pad"].sum(1), [0, 29, 0, 29])
