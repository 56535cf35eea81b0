"""A model as two functions of tensors, and back as a model that acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_sights import observation, policy

from palmar.errors import BadValue, UnknownName
from palmar.models.acting import NeuralPolicy
from palmar.models.form_names import BF16, FORMS
from palmar.models.forms import in_form
from palmar.models.graph import Traced, TracedConfig, by_name, fed, feeds, traces
from palmar.models.parity import Bound, measured, parity
from palmar.models.presets import preset
from palmar.types import Prefix

PRESETS = ("palmar-nano", "rt1-tiny", "octo-tiny", "diffusion-tiny", "act-tiny", "bcz-tiny", "gr2-tiny")


def traced(one, obs):
    """Computed by the very modules that a runtime would be given."""
    with one.drawing(obs):
        both = traces(one.model, one.inputs(obs))
        one.reset()
    run, words = by_name(both.policy, both.policy), by_name(both.words, both.words)
    model = Traced(TracedConfig.of(one.model), one.model.interface, run, words)
    return NeuralPolicy(model, one.normalizers["state"], one.normalizers["action"])


@pytest.mark.parametrize("name", PRESETS)
def test_a_traced_model_is_the_same_policy(name):
    one = policy(name)
    seen = [observation(i, 0.1 * i, pictures=i) for i in range(3)]
    other = traced(one, seen[0])
    assert other.interface == one.interface
    found = parity(one, other, seen)
    assert found.observations == 3 and found.largest < 1e-4 and found.done < 1e-4
    one.reset()
    other.reset()
    a, b = one.act(seen[0]), other.act(seen[0])
    assert (a.attention or {}).keys() == (b.attention or {}).keys()
    assert (a.confidence is None) == (b.confidence is None)
    assert a.features is not None and np.allclose(a.features, b.features, atol=1e-3)


def test_feeds_and_back():
    one, obs = policy("octo-tiny"), observation(0)
    inputs = replace(one.inputs(obs), noise=torch.ones(1, 4, 3))
    back = fed(feeds(inputs))
    assert all(torch.equal(back.images[c], x) for c, x in inputs.images.items())
    assert all(torch.equal(a, b) for a, b in zip(back.language, inputs.language, strict=True))
    assert torch.equal(back.noise, inputs.noise) and torch.equal(back.state, inputs.state)


def test_a_running_chunk_is_carried_on():
    one = policy("palmar-nano")
    other, obs = traced(one, observation(0)), observation(1)
    running = Prefix(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32), 2)
    a, b = one.act(obs, running).actions, other.act(obs, running).actions
    assert np.array_equal(b[:2], running.actions[:2]) and np.abs(a - b).max() < 1e-5


def test_what_is_no_function_of_tensors_is_refused():
    config = preset("rt1-tiny")
    one = policy(replace(config, head=replace(config.head, parallel=False)))
    with pytest.raises(BadValue, match=r"rt1-tiny.*one token after the other.*Next: "):
        traces(one.model, one.inputs(observation(0)))


def test_bf16_is_near(tmp_path):
    one, seen = policy("palmar-nano"), [observation(i, 0.1 * i, pictures=i) for i in range(3)]
    other = in_form(one, BF16, seen, tmp_path / "no")
    assert parity(one, other, seen).within(Bound(0.1, 0.5)) and not (tmp_path / "no").exists()


def test_unknown_forms_and_learning_are_refused(tmp_path):
    one, obs = policy("palmar-nano"), observation(0)
    with pytest.raises(UnknownName, match=r"form 'onnx-fp23'.*'onnx-fp32'.*Known: eager, "):
        in_form(one, "onnx-fp23", [obs], tmp_path)
    assert len(set(FORMS)) == len(FORMS)
    with pytest.raises(BadValue, match=r"no loss.*Next: "):
        traced(one, obs).model.loss(None)


def test_differences_in_sigma_and_in_units():
    actions = np.zeros((2, 1, 3))
    others = np.array([[[0.2, 1.0, 0.0]], [[0.0, 3.0, 0.0]]])
    found = measured(actions, others, np.array([0.1, 2.0, 0.0]), ("x", "y", "still"), np.array([0.0, -0.5]))
    assert found.mean == pytest.approx((2 + 0.5 + 0 + 1.5) / 4) and found.largest == pytest.approx(2.0)
    assert found.units == {"x": (0.1, 0.2), "y": (2.0, 3.0), "still": (0.0, 0.0)} and found.done == 0.5
    assert found.within(Bound(1.0, 2.0)) and not found.within(Bound(1.0, 1.9)) and not found.within(Bound(0.9, 2.0))


def test_parity_needs_observations():
    with pytest.raises(BadValue, match=r"no observations.*Next: --data"):
        parity(policy("palmar-nano"), policy("palmar-nano"), [])
