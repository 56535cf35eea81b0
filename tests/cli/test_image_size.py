"""`palmar train --image-size`: the pixels of training are those of acting on pictures as recorded."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from palmar.cli.main import main
from palmar.data.reader import Dataset
from palmar.errors import BadValue
from palmar.lab.collect import CollectConfig, collect
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.base import pixels
from palmar.models.presets import picture_side
from palmar.pictures import fit
from palmar.train.feed import recorded_sizes
from palmar.types import Observation


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sizes") / "data"
    collect(folder, CollectConfig(episodes=3, tasks=("reach",)), processes=1, progress=False)
    return str(folder)


@pytest.fixture(scope="module")
def trained(data: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("sizes") / "run"
    told = ["train", "palmar-nano", "--data", data, "--image-size", "48", "64", "--out", str(out)]
    assert main([*told, "--steps", "2", "--batch-size", "8"]) == 0
    return str(out)


def test_acting_sees_the_pixels_of_training(data, trained):
    policy = checkpoint.load(trained)
    assert policy.interface.cameras == {"front": (48, 64), "wrist": (48, 64)}
    assert policy.interface.recorded == {"front": ((96, 96),), "wrist": ((96, 96),)}
    learned = Dataset(data, image_size=(48, 64)).batch(np.arange(5), 4)
    recorded = Dataset(data, cache=False)
    for i in range(5):
        frame = recorded.frame(i)
        obs = Observation(frame["images"], frame["state"], frame["task"], 0.1 * i)
        for camera, seen in policy.inputs(obs).images.items():
            assert torch.equal(seen[0], pixels(torch.from_numpy(learned["images"][camera][i])))
        small = dataclasses.replace(obs, images={c: learned["images"][c][i] for c in obs.images})
        np.testing.assert_array_equal(policy.act(obs).actions, policy.act(small).actions)  # both sizes are known


def test_pictures_of_another_size_are_refused(trained):
    policy = checkpoint.load(trained)
    odd = {c: np.zeros((100, 100, 3), np.uint8) for c in policy.interface.cameras}
    with pytest.raises(BadValue, match="gives 100×100 px; this policy was trained on 48×64, resized from 96×96"):
        policy.act(Observation(odd, np.zeros(len(policy.interface.state_names), np.float32), "reach"))


def test_a_finer_start_keeps_the_size_of_its_checkpoint(data, trained, tmp_path, capsys):
    told = ["train", "--data", data, "--init", trained, "--out", str(tmp_path / "more")]
    assert main([*told, "--steps", "1", "--batch-size", "4"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "camera front: pictures of 96×96 px are resized to 48×64" in said and "validation took" in said
    assert checkpoint.load(tmp_path / "more").interface.cameras["front"] == (48, 64)
    assert main(["train", "--data", data, "--init", trained, "--image-size", "32", "--out", str(tmp_path / "x")]) == 2
    assert "has cameras" in capsys.readouterr().err


def test_pictures_as_small_as_the_preset_wants_stay_as_they_are(data, tmp_path, capsys):
    told = ["train", "palmar-nano", "--data", data, "--out", str(tmp_path / "run"), "--steps", "1", "--json"]
    assert main([*told, "--batch-size", "4"]) == 0
    said, err = capsys.readouterr()
    assert "resized" not in err and 0 < json.loads(said)["validation_share"] < 1
    face = checkpoint.load(tmp_path / "run").interface
    assert face.cameras["front"] == (96, 96) and not face.recorded


@pytest.mark.parametrize("size", [["8"], ["96", "8"], ["96", "96", "96"], ["9999"]])
def test_a_size_that_is_none_is_refused(data, tmp_path, capsys, size):
    assert main(["train", "--data", data, "--out", str(tmp_path / "run"), "--steps", "1", "--image-size", *size]) == 2
    said = capsys.readouterr().err
    assert "image-size" in said or "image_size" in said
    assert "expected" in said


def test_what_suits_a_preset():
    assert [picture_side(n) for n in ("act-tiny", "palmar-tiny", "act-paper", "octo-small", "")] == [
        96,
        96,
        480,
        256,
        96,
    ]


def test_every_recorded_size_of_several_sets_is_known():
    class Set:
        def __init__(self, **sizes: tuple[int, int]) -> None:
            self.recorded_sizes = sizes

    sets = [Set(front=(480, 640)), Set(front=(96, 128)), Set(front=(720, 960)), object()]
    assert recorded_sizes(sets, {"front": (96, 128)}) == {"front": ((480, 640), (720, 960))}  # type: ignore[list-item]


def test_the_interface_resizes_what_it_was_recorded_in():
    face = Interface({"front": (48, 64)}, ("s",), ("a",), recorded={"front": ((96, 128),)})
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    obs = Observation({"front": image}, np.zeros(1, np.float32))
    face.check(obs)
    np.testing.assert_array_equal(face.seen(obs)["front"], fit(image, 48, 64, "stretch"))
