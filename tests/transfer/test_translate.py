"""Reality's pictures in simulation's style: the colours of a heap, a small network, a policy behind it, and a data set."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palmar import load_policy
from palmar.cli import main
from palmar.data.format import read_parquet
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.models.translation import (
    ColourMap,
    PictureNet,
    PictureNetConfig,
    Translated,
    is_translated,
    load,
    read,
    save,
)
from palmar.policy import check_policy
from palmar.robots.arm7 import arm7
from palmar.transfer.cycle import CycleConfig, train_cycle
from palmar.transfer.translate import colour_distance, colour_map, fit_translation, pictures_of, translate_dataset
from palmar.types import ActionChunk, Episode, Observation, Step


def scenes(count: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Pictures of bright blocks on a brownish ground."""
    rng = np.random.default_rng(seed)
    out = np.full((count, side, side, 3), (150, 120, 90), np.uint8)
    out += rng.integers(0, 12, out.shape, np.uint8)
    for picture in out:
        for colour in ((220, 40, 40), (40, 60, 220), (40, 200, 60)):
            y, x = rng.integers(0, side - 8, 2)
            picture[y : y + 8, x : x + 8] = colour
    return out


def through_a_lens(pictures: np.ndarray) -> np.ndarray:
    """Another light, less contrast, and dark corners."""
    y, x = np.mgrid[-1 : 1 : pictures.shape[1] * 1j, -1 : 1 : pictures.shape[2] * 1j]
    light = np.array([0.75, 0.6, 0.5]) * (1 - 0.35 * (x**2 + y**2) / 2)[..., None]
    return (pictures * light + 25).clip(0, 255).astype(np.uint8)


def test_colours_get_the_mean_and_covariance_of_the_others() -> None:
    real, sim = through_a_lens(scenes(20)), scenes(20, 1)
    mapped = np.stack([colour_map(real, sim)(p) for p in real])
    assert colour_distance(mapped, sim) < 3 < 20 < colour_distance(real, sim)
    assert np.allclose(colour_map(sim, sim).matrix, np.eye(3), atol=1e-6)
    grey = np.full((4, 8, 8, 3), 100, np.uint8)
    assert np.isfinite(colour_map(grey, sim).matrix).all()  # one colour has no covariance


def test_a_network_learns_what_no_colour_map_can() -> None:
    """The left half of each picture lies in the shadow."""
    true, sim = scenes(40), scenes(40, 1)
    real = true.copy()
    real[:, :, :16] = (0.3 * real[:, :, :16]).astype(np.uint8)
    colours = colour_map(real, sim)
    there = np.stack([colours(p) for p in real])
    config = CycleConfig(PictureNetConfig(8, 0), critic=8, steps=150, crop=32, lr=2e-3)
    net, figures = train_cycle(there[:30], sim, config)
    net.colours = colours
    off = [
        [np.abs(t(p).astype(int) - w.astype(int)).mean() for t in (colours, net)]
        for p, w in zip(real, true, strict=True)
    ]
    better = np.array(off) @ [1, -1]
    assert figures["parameters"] < 1_000_000 and figures["steps"] == 150
    assert better.mean() - 2 * better.std() / np.sqrt(len(better)) > 1.0


class Looks:
    """A policy that answers the mean of its picture."""

    interface = arm7().interface(2)

    def reset(self) -> None: ...

    def act(self, obs: Observation, prefix: object = None) -> ActionChunk:
        level = np.mean(obs.images["front"]) / 255
        return ActionChunk(np.full((2, 7), level, np.float32), 0.1, obs.time)


def test_a_policy_sees_the_translated_picture_and_the_others_as_they_are() -> None:
    dark = ColourMap(np.eye(3) * 0.5, np.zeros(3))
    picture = np.full((8, 8, 3), 200, np.uint8)
    obs = Observation({"front": picture, "wrist": picture}, np.zeros(4, np.float32), "reach", 3.0)
    policy = Translated(Looks(), {"front": dark})
    assert policy.act(obs).actions[0, 0] == pytest.approx(100 / 255) and policy.interface is Looks.interface
    assert (obs.images["front"] == 200).all()


def test_a_translated_policy_is_a_policy_like_any_other(tmp_path: Path) -> None:
    net = PictureNet(PictureNetConfig(4, 1), ColourMap(np.eye(3), np.full(3, 0.1)))
    for translators in ({"front": ColourMap(np.eye(3) * 0.9, np.zeros(3))}, {"front": net}):
        folder = save(tmp_path / str(len(list(tmp_path.iterdir()))), translators, "shipped", {})
        assert is_translated(folder)
        check_policy(str(folder))
        policy = load_policy(str(folder))
        assert isinstance(policy, Translated)
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 256, (96, 96, 3), np.uint8)
        assert np.array_equal(policy.translators["front"](picture), translators["front"](picture))
        obs = Observation(
            {"front": picture, "wrist": picture},
            np.zeros(len(policy.interface.state_names), np.float32),
            "pick up the red cube",
        )
        assert np.isfinite(policy.act(obs).actions).all()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"}, {"version": 9}, {"cameras": {"front": {"kind": "colour"}}}, {"cameras": 3},
        {"cameras": {"front": {"kind": "colour", "matrix": [[1]], "offset": [0, 0, 0]}}},
        {"cameras": {"front": {"kind": "network", "width": 16, "blocks": 3}}},
    ],
)  # fmt: skip
def test_a_damaged_translation_is_refused(tmp_path: Path, change: dict) -> None:
    save(tmp_path, {"front": ColourMap(np.eye(3), np.zeros(3))}, "shipped", {})
    file = tmp_path / "translation.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadFile, match="Next: "):
        read(tmp_path)
    with pytest.raises(BadFile, match="there is no translation"):
        read(tmp_path / "none")


def test_a_camera_that_the_policy_has_not_is_refused(tmp_path: Path) -> None:
    save(tmp_path, {"side": ColourMap(np.eye(3), np.zeros(3))}, "shipped", {})
    with pytest.raises(BadFile, match="is for camera 'side'; the policy 'shipped' has front, wrist"):
        load(tmp_path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("set") / "real"
    robot = arm7()
    pictures = through_a_lens(scenes(24, side=96))
    with DatasetWriter(root, robot, 10) as writer:
        for seed in range(2):
            steps = []
            for i in range(12):
                images = {c.name: pictures[12 * seed + i] for c in robot.cameras}
                state, action = (
                    np.zeros(len(robot.state_names), np.float32),
                    np.zeros(len(robot.action_names), np.float32),
                )
                steps.append(Step(Observation(images, state, "reach", i / 10), action, action))
            writer.add(Episode("reach", "reach", seed, "expert", steps, True, "done", 1.2, {}))
    return root


@pytest.fixture(scope="module")
def pictured(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sim")
    for camera in ("front", "wrist"):
        (root / camera).mkdir()
        for i, picture in enumerate(scenes(20, 1, 96)):
            Image.fromarray(picture).save(root / camera / f"{i:02}.png")
    return root


def test_the_command_translates_from_a_data_set_to_a_folder(
    recorded: Path, pictured: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "translated"
    words = ["translate", "--real", str(recorded), "--sim", str(pictured), "--out", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cameras"]["front"]["after"] < 0.4 * told["cameras"]["front"]["before"]
    assert main(words) == 2 and "--force to replace it" in capsys.readouterr().err
    assert set(load(out).translators) == {"front", "wrist"}
    new = tmp_path / "new"
    assert main(["translate", "--data", str(recorded), "--by", str(out), "--out", str(new)]) == 0
    before, after = Dataset(recorded, cache=False), Dataset(new, cache=False)
    sim = pictures_of(pictured, "front")
    assert len(after) == len(before) == 24 and np.array_equal(after.states, before.states)
    assert colour_distance(pictures_of(new, "front"), sim) < 0.4 * colour_distance(pictures_of(recorded, "front"), sim)
    assert not np.allclose(
        after.stats["observation.images.front"]["mean"], before.stats["observation.images.front"]["mean"]
    )
    key, shown = "observation.images.front", pictures_of(new, "front") / 255
    rows = read_parquet(next((new / "meta/episodes").rglob("*.parquet"))).to_pylist()
    for row, episode in zip(rows, after.episodes, strict=True):
        mine = shown[episode.start : episode.stop].mean((0, 1, 2))
        assert np.allclose(np.ravel(row[f"stats/{key}/mean"]), mine, atol=0.02)
        assert np.ravel(row[f"stats/{key}/count"]) == [episode.stop - episode.start]
    with pytest.raises(BadFile, match="is there already"):
        translate_dataset(recorded, new, {})
    with pytest.raises(UnknownName, match="side"):
        translate_dataset(recorded, tmp_path / "other", {"side": ColourMap(np.eye(3), np.zeros(3))})


def test_pictures_that_cannot_be_used_are_refused(recorded: Path, pictured: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="camera of"):
        pictures_of(recorded, "side")
    with pytest.raises(BadFile, match="there is no"):
        pictures_of(tmp_path / "none", "front")
    with pytest.raises(BadValue, match="has 0 pictures of 'front'; expected 8"):
        pictures_of(tmp_path, "front")
    with pytest.raises(UnknownName, match="kind of translation 'magic'"):
        fit_translation(recorded, pictured, {"front": (96, 96)}, "magic")  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="two or more of one size"):
        train_cycle(scenes(4), scenes(4, side=48))
    both = ["--real", str(recorded), "--sim", str(pictured)]
    told = ["--data", str(recorded), "--by", "z", "--steps", "9"]
    for words in (
        [],
        ["--out", "x"],
        ["--out", "x", "--data", "y"],
        ["--out", "x", *told],
        ["--out", "x", *both, "--steps", "9"],
    ):
        assert main(["translate", *words]) == 2


def test_a_translation_does_not_stand_in_front_of_itself(
    recorded: Path, pictured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, first, second = ["--real", str(recorded), "--sim", str(pictured)], str(tmp_path / "a"), str(tmp_path / "b")
    save(first, {"front": ColourMap(np.eye(3), np.zeros(3))}, "shipped", {})
    save(second, {"front": ColourMap(np.eye(3), np.zeros(3))}, first, {})
    before = (tmp_path / "a" / "translation.json").read_bytes()
    for policy in (first, second):
        assert main(["translate", *both, "--policy", policy, "--out", first, "--force"]) == 2
        assert "is the policy itself, or one that it is made of" in capsys.readouterr().err
    assert (tmp_path / "a" / "translation.json").read_bytes() == before
