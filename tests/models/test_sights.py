"""Words are encoded once an instruction and unchanged pictures not again, and no answer changes by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import face

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.models.acting import NeuralPolicy
from palmar.models.presets import preset
from palmar.models.sights import Sights
from palmar.types import Observation

PRESETS = ("palmar-nano", "bcz-tiny", "diffusion-tiny", "act-tiny")
WORDS = ("pick up the red cube", "push the blue ball left")


def policy(name, still=0.0):
    """name: of a preset, or its configuration."""
    torch.manual_seed(0)
    config = preset(name) if isinstance(name, str) else name
    model = config.build(face(config))
    unit = (Normalizer(np.zeros(n), np.ones(n)) for n in (4, 3))
    return NeuralPolicy(model, *unit, still=still)


def observation(seed, time=0.0, words=WORDS[0], pictures=0):
    rng = np.random.default_rng(pictures)
    images = {c: rng.integers(0, 255, (*s, 3)).astype(np.uint8) for c, s in (("front", (48, 48)), ("wrist", (32, 32)))}
    return Observation(images, np.random.default_rng(seed).normal(size=4).astype(np.float32), words, time)


def plain(one, obs):
    """The answer of the network with nothing kept from before."""
    with one.drawing(obs):
        return one.model.act(replace(one.inputs(obs), language=(), sights=None)).actions[0]


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_kept_changes_no_bit(name):
    kept, fresh = policy(name), policy(name)
    for i, (words, pictures) in enumerate([(0, 0), (0, 0), (1, 0), (0, 0), (0, 1), (0, 1)]):
        obs = observation(i, 0.1 * i, WORDS[words], pictures)
        with kept.drawing(obs):
            got = kept.model.act(kept.inputs(obs)).actions[0]
        assert torch.equal(got, plain(fresh, obs))


def test_an_unchanged_picture_is_encoded_once():
    one = policy("palmar-nano")
    for i in range(4):
        one.act(observation(i, 0.1 * i))
    assert (one.sights.encoded, one.sights.spared) == (2, 6)  # two cameras
    one.act(observation(9, 0.5, pictures=1))
    assert one.sights.encoded == 4
    one.act(observation(9, 0.6, WORDS[1], pictures=1))  # other words look for other things
    assert one.sights.encoded == 6
    one.reset()
    one.act(observation(9, 0.6, WORDS[1], pictures=1))
    assert one.sights.encoded == 8


def test_a_camera_may_write_into_the_same_memory():
    one, obs = policy("palmar-nano"), observation(0)
    before = one.act(obs).actions
    obs.images["front"][:] = 255 - obs.images["front"]
    after = one.act(obs).actions
    assert not np.array_equal(before, after)
    assert np.array_equal(after, policy("palmar-nano").act(obs).actions)


def test_within_the_bound_is_unchanged_and_small_changes_do_not_add_up():
    one, obs = policy("palmar-nano", still=2.0), observation(0)
    base = np.zeros((48, 48, 3), np.uint8)
    for level, encoded in ((100, 2), (102, 2), (98, 2), (103, 3), (104, 3), (106, 4)):
        one.act(replace(obs, images=obs.images | {"front": np.full_like(base, level)}))
        assert one.sights.encoded == encoded


def test_training_takes_nothing_that_was_kept():
    one, obs = policy("palmar-nano"), observation(0)
    inputs = one.inputs(obs)
    one.model.train()
    wrong = tuple(torch.full_like(t, float("nan")) for t in inputs.language)
    assert torch.isfinite(one.model(replace(inputs, language=wrong)).actions).all()


@pytest.mark.parametrize("bound", [-1.0, 256.0, float("nan")])
def test_a_bound_out_of_range_is_refused(bound):
    with pytest.raises(BadValue, match=r"bound is .*expected 0 … 255 .*Next: "):
        Sights(bound)
