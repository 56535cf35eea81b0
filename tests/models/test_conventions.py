"""The numerical conventions, asserted at their end points."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.errors import BadValue
from palmar.kinematics import quat_to_matrix
from palmar.models import conventions as c
from palmar.models.generative import Diffusion, Flow


def test_flow_goes_from_noise_at_0_to_data_at_1():
    noise, data = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.equal(c.flow_point(noise, data, torch.zeros(4, 1)), noise)
    assert torch.allclose(c.flow_point(noise, data, torch.ones(4, 1)), data)
    step = c.flow_point(noise, data, torch.full((4, 1), 0.51)) - c.flow_point(noise, data, torch.full((4, 1), 0.5))
    assert torch.allclose(step / 0.01, c.flow_velocity(noise, data), atol=1e-4)


def test_flow_times_lean_to_the_noise():
    torch.manual_seed(0)
    t = c.flow_times(20000, torch.zeros(1))
    assert t.min() >= 0 and t.max() <= 0.999
    assert float(t.mean()) == pytest.approx(0.999 * (1 - 1.5 / 2.5), abs=0.01)  # the mean of Beta(1.5, 1) is 0.6


def test_the_diffusion_schedule_ends_in_data_and_in_noise():
    signal = c.cosine_signal(100)
    assert signal.shape == (100,) and (signal.diff() < 0).all()
    assert signal[0] > 0.999 and 0 <= signal[-1] < 1e-4
    data, noise = torch.randn(5), torch.randn(5)
    assert torch.allclose(c.noised(data, noise, signal[0]), data, atol=0.1)
    assert torch.allclose(c.noised(data, noise, signal[-1]), noise, atol=0.01)
    assert torch.allclose(c.denoised(c.noised(data, noise, signal[50]), noise, signal[50]), data, atol=1e-5)
    assert (
        c.ddim_steps(100, 10)[0] == 99
        and c.ddim_steps(100, 10)[-1] == 0
        and c.ddim_steps(20, 20) == [*range(19, -1, -1)]
    )
    with pytest.raises(BadValue, match="30 sampling steps of 20"):
        c.ddim_steps(20, 30)


def test_sampling_with_the_true_network_ends_at_the_data():
    """A network that knows the one true chunk: both samplers must arrive there from any noise."""
    data = torch.tensor([[[0.5, -1.0], [2.0, 0.1]]])
    noise, context = torch.randn(1, 2, 2), torch.zeros(1, 1, 1)
    diffusion = Diffusion(steps=50, samples=10)
    signal = c.cosine_signal(50)

    def says_noise(x, t, _):
        at = signal[(t[0] * 50).round().long()]
        return (x - at.sqrt() * data) / (1 - at).sqrt()

    assert torch.allclose(diffusion.sample(says_noise, context, noise), data, atol=1e-3)
    assert torch.allclose(diffusion.guess(says_noise, context, data)[1], torch.zeros(1, 2, 2), atol=1e-2)

    def says_velocity(x, t, _):
        return (data - x) / (1 - t[0])

    assert torch.allclose(Flow(euler=7).sample(says_velocity, context, noise), data, atol=1e-5)


def test_bins_at_the_ends():
    edges = c.uniform_edges(-1, 1, 256, 1)
    x = torch.tensor([[-9.0], [-1.0], [-1 + 1 / 128 + 1e-6], [0.0], [1.0], [9.0]])
    assert c.to_bins(x, edges)[:, 0].tolist() == [0, 0, 1, 128, 255, 255]
    assert c.from_bins(torch.tensor([[0], [255]]), edges)[:, 0].tolist() == pytest.approx([-1 + 1 / 256, 1 - 1 / 256])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_a_bin_answers_within_half_its_width(values):
    edges = c.uniform_edges(-1, 1, 256, 2)
    x = torch.tensor(values)[:, None].expand(-1, 2)
    assert ((c.from_bins(c.to_bins(x, edges), edges) - x).abs() <= 1 / 256 + 1e-6).all()


def test_quantile_bins_hold_equally_many():
    torch.manual_seed(0)
    values = torch.stack([torch.randn(6400), torch.rand(6400) ** 2, torch.ones(6400)], -1)
    edges = c.quantile_edges(values, 64)
    assert (edges.diff(dim=-1) > 0).all()
    counts = [torch.bincount(c.to_bins(values, edges)[:, i], minlength=64) for i in (0, 1)]
    assert all(n.min() >= 80 and n.max() <= 120 for n in counts)
    assert torch.allclose(c.from_bins(c.to_bins(values, edges), edges)[:, 2], torch.ones(6400), atol=1e-3)
    with pytest.raises(BadValue, match="finite"):
        c.quantile_edges(values * float("nan"), 64)


@pytest.mark.parametrize("share", [0.2, 0.02, 0.002])
def test_covering_bins_keep_a_rare_level_apart_from_noise(share):
    """A gripper that closes in few frames, with a little noise on it: no bin joins the two levels."""
    torch.manual_seed(0)
    level = (torch.arange(20000) % round(1 / share) == 0).float()
    values = torch.stack([level, level + 0.02 * torch.randn(20000), torch.randn(20000)], -1)
    edges = c.covering_edges(values, 256)
    widths, spans = edges.diff(dim=-1), values.amax(0) - values.amin(0)
    assert (widths > 0).all() and (widths.amax(1) <= 2.02 / 256 * spans).all()
    assert ((c.from_bins(c.to_bins(values, edges), edges) - values).abs() <= 1.02 / 256 * spans).all()
    counts = torch.bincount(c.to_bins(values, edges)[:, 2], minlength=256)
    assert counts.max() <= 2.2 / 256 * 20000  # and what is dense is finely cut


def test_quaternions_are_wxyz_as_everywhere_in_palmar():
    quarter = torch.tensor([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)])  # 90° about z
    assert torch.allclose(
        c.quaternion_matrix(quarter) @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6
    )
    some = c.unit_quaternion(torch.randn(10, 4))
    for q in some:
        assert np.allclose(c.quaternion_matrix(q).numpy(), quat_to_matrix(q.numpy().astype(float)), atol=1e-5)
    assert (some[:, 0] >= 0).all() and torch.allclose(c.unit_quaternion(-some), some)
    assert c.unit_quaternion(torch.zeros(4)).tolist() == [1, 0, 0, 0]


def test_the_angle_between_rotations():
    none = torch.tensor([1.0, 0, 0, 0])
    for angle in (0.0, 0.1, math.pi / 2, math.pi):
        q = torch.tensor([math.cos(angle / 2), math.sin(angle / 2), 0, 0], requires_grad=True)
        between = c.rotation_between(none, q)
        assert between.item() == pytest.approx(angle, abs=1e-3)
        between.backward()
        assert torch.isfinite(q.grad).all()
    assert float(c.rotation_between(none, -none)) == pytest.approx(0, abs=1e-6)


def test_ddim_steps_are_those_of_linspace():
    for steps in range(1, 60):
        for samples in range(1, steps + 1):
            expected = [round(k) for k in torch.linspace(steps - 1, 0, samples).tolist()]
            assert c.ddim_steps(steps, samples) == expected
