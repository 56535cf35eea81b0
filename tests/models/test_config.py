"""Configurations survive JSON, and an acting policy sees the past its interface asks for."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from palmar.data.normalize import Normalizer
from palmar.mapping import Interface
from palmar.models.acting import NeuralPolicy
from palmar.models.base import Inputs, Model, Prediction
from palmar.models.config import from_dict, to_dict
from palmar.models.grounded import GroundedConfig
from palmar.models.presets import palmar_nano
from palmar.types import Observation, Prefix


def test_a_configuration_survives_json():
    config = palmar_nano()
    assert from_dict(GroundedConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(("change", "error"), [({"colour": 1}, TypeError), ({"fusion": None}, KeyError)])
def test_what_is_missing_or_too_much_is_named(change, error):
    value = to_dict(palmar_nano()) | change
    value = {k: v for k, v in value.items() if v is not None}
    with pytest.raises(error, match=next(iter(change))):
        from_dict(GroundedConfig, value)


def test_past_pictures_are_the_nearest_in_time_and_end_with_the_episode():
    @dataclass(frozen=True)
    class Config:
        preset: str = "spy"
        max_tokens: int = 0
        offsets: tuple[int, ...] = (-2, -1, 0, 4)

    class Spy(Model):
        def act(self, inputs: Inputs, prior=None):
            seen.append(((inputs.images["front"][0, :, 0, 0, 0] * 64 + 115).round().tolist(), prior))
            return Prediction(torch.zeros(1, 2, 1))

    face = Interface({"front": (16, 16)}, ("x",), ("dx",), 2, 0.1, offsets=Config().offsets)
    spy = Spy()
    spy.config, spy.interface, seen = Config(), face, []
    unit = Normalizer(np.zeros(1), np.full(1, 2.0))
    policy = NeuralPolicy(spy, unit, unit)

    def act(i, prefix=None):
        image = np.full((16, 16, 3), i, np.uint8)
        policy.act(Observation({"front": image}, np.zeros(1, np.float32), "go", i * 0.05, None), prefix)

    for i in range(7):  # twice as often as the policy's own steps
        act(i)
    assert [s[0] for s in seen] == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 6]]
    policy.reset()
    act(9, Prefix(np.ones((1, 1), np.float32), 1))
    assert seen[-1][0] == [9, 9, 9]
    assert seen[-1][1].actions.tolist() == [[[0.5]]]
