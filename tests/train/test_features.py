"""A frozen tower looks at every frame once; training on what it saw is training on the pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from squares import Squares

from palmar.errors import BadValue
from palmar.models.base import pixels
from palmar.models.imagenet import ImagenetConfig
from palmar.models.presets import imagenet_tiny, palmar_nano
from palmar.models.vision import PretrainedVisionConfig
from palmar.train.features import FeatureData, frozen_tower, with_features
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig
from palmar.train.prepare import TrainSettings, checked
from palmar.train.request import TrainRequest
from palmar.train.robot_data import fit_normalizers

SMALL = replace(imagenet_tiny(), vision=ImagenetConfig(stages=2))


class Told(Squares):
    """As a recorded set: pictures only where they are asked for. root: where features are kept."""

    looked, film = 0, "a"

    def pictures_key(self, camera):
        return f"{camera} {self.film}"

    def batch(self, indices, horizon, images=True, offsets=(0,)):
        raw = super().batch(indices, horizon)
        self.looked += len(raw["state"]) * images
        return raw if images else raw | {"images": {}}


def test_features_are_computed_once_and_kept_beside_the_set(tmp_path):
    data = Told(40)
    data.root = tmp_path
    tower = SMALL.vision.build(0).eval()
    FeatureData(data, tower)
    seen = data.looked
    made = FeatureData(data, tower)
    assert data.looked - seen <= 1 and len(list((tmp_path / ".cache").glob("features-front-*.npy"))) == 1
    rows = np.array([3, 17])
    kept = made.batch(rows, 2)["images"]["front"]
    with torch.no_grad():
        fresh = tower(pixels(torch.from_numpy(data.images[rows])))
    np.testing.assert_allclose(kept.reshape(2, tower.width, -1).swapaxes(1, 2), fresh, atol=2e-2, rtol=2e-2)
    with torch.no_grad():
        tower.stem.bias.add_(1.0)
    FeatureData(data, tower)  # of other weights
    assert len(list((tmp_path / ".cache").glob("features-front-*.npy"))) == 2
    data.film = "b"  # the same numbers beside other pictures
    FeatureData(data, tower)
    assert len(list((tmp_path / ".cache").glob("features-front-*.npy"))) == 3


def test_pictures_of_a_set_without_files_are_told_apart(tmp_path):
    tower = SMALL.vision.build(0).eval()
    for turned in (False, True):
        data = Squares(40)
        data.root = tmp_path
        data.images = data.images[:, ::-1].copy() if turned else data.images
        FeatureData(data, tower)
    assert len(list((tmp_path / ".cache").glob("features-front-*.npy"))) == 2


def test_the_loss_is_that_of_the_pictures():
    data = Told(60)
    plain = Feed([data], 4)
    state, action, importance = fit_normalizers(plain)
    torch.manual_seed(0)
    model = SMALL.build(plain.interface(4, 0.1)).eval()
    fed = Feed([FeatureData(data, model.cameras.encoder("front"))], 4)
    with torch.no_grad():
        losses = [
            float(model.loss(feed.tensors(feed.plain(np.arange(8)), state, action, importance))[0])
            for feed in (plain, fed)
        ]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_only_a_frozen_tower_has_features_to_keep():
    config = TrainConfig(steps=1)
    request = with_features(TrainRequest(SMALL, Told(20), config))
    assert isinstance(request.sets[0], FeatureData) and request.config.augment is None
    for model in (palmar_nano(), replace(SMALL, vision=ImagenetConfig(2, frozen=False))):
        with pytest.raises(BadValue, match=r"has no frozen vision tower.*Next: imagenet-tiny"):
            frozen_tower(model)
    random = replace(SMALL, vision=PretrainedVisionConfig("vit", size=32, width=16, layers=1, heads=2))
    with pytest.raises(BadValue, match=r"has random weights.*Next: imagenet-tiny"):
        with_features(TrainRequest(random, Told(20), config))
    with pytest.raises(BadValue, match=r"features are kept of single pictures of one\. Next"):
        with_features(TrainRequest(replace(SMALL, history=(-1, 0)), Told(20), config))


def test_freeze_holds_in_every_stage_of_a_recipe(tmp_path):
    plan, _ = checked(TrainSettings(data=(tmp_path,), recipe="three-stage", freeze=("@language",)))
    assert [s.freeze for s in plan.stages] == [("@vision", "@language", "@language"), ("@language",), ("@language",)]
