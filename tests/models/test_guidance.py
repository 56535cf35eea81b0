"""Real-time chunking: weights and constants of the published code, the true Jacobian beside the identity."""

import pytest
import torch

from palmar.errors import BadValue
from palmar.models import conventions as c
from palmar.models.base import PriorChunk
from palmar.models.generative import Diffusion, Flow
from palmar.models.guidance import Guidance, blended, guidance_weight, integrate, padded, prefix_weights, pull


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [1, 1, 1, 0.833, 0.667, 0.5, 0.333, 0.167, 0, 0, 0, 0]),
        ("exp", [1, 1, 1, 0.631, 0.368, 0.189, 0.077, 0.018, 0, 0, 0, 0]),
        ("ones", [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]),
        ("zeros", [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_weights_of_the_published_code(schedule, expected):
    torch.testing.assert_close(prefix_weights(3, 8, 12, schedule), torch.tensor(expected).float(), atol=5e-4, rtol=0)


def test_weights_stay_within_the_chunk():
    assert prefix_weights(0, 0, 4).tolist() == [0, 0, 0, 0]
    assert prefix_weights(9, 2, 4).tolist() == [1, 1, 0, 0]
    assert prefix_weights(2, 99, 4).tolist()[:2] == [1, 1] and len(prefix_weights(2, 99, 4)) == 4


def test_the_weight_of_the_guidance():
    assert guidance_weight(0.0, 5.0) == 5.0
    assert guidance_weight(0.1, 5.0) == 5.0  # 9 · 0.82 / 0.81 is more
    assert guidance_weight(0.5, 5.0) == pytest.approx(2.0)
    assert guidance_weight(0.4, 9.0) == pytest.approx(1.5 * 0.52 / 0.36)
    with pytest.raises(BadValue, match="beta is 0"):
        Guidance(beta=0.0)


def test_a_short_prefix_is_filled_up_with_its_last_action_never_with_zero():
    actions = torch.tensor([[[1.0], [2.0]]])
    assert padded(actions, 4)[0, :, 0].tolist() == [1, 2, 2, 2]
    assert padded(actions, 1)[0, :, 0].tolist() == [1]


MIX = torch.tensor([[1.0, 0.7, 0.0], [0.0, 1.0, -0.5], [0.3, 0.0, 1.0]])


def test_the_true_product_is_that_of_the_denoised_actions_and_the_identity_is_not():
    """clean(x) = x · Mᵀ mixes the steps of a chunk, so a row of the Jacobian is a row of M."""
    x, prior = torch.randn(2, 3, 1), PriorChunk(torch.randn(2, 3, 1), 1)

    def clean(y):
        return torch.einsum("ij,bja->bia", MIX, y)

    reached, true = pull(x, clean, 0.5, prior, Guidance("true"))
    also, identity = pull(x, clean, 0.5, prior, Guidance("identity"))
    torch.testing.assert_close(reached, clean(x))
    torch.testing.assert_close(also, reached)
    error = (prior.actions - reached) * prefix_weights(1, 3, 3)[None, :, None]
    torch.testing.assert_close(identity, 2.0 * error)
    torch.testing.assert_close(true, 2.0 * torch.einsum("ji,bja->bia", MIX, error))
    assert (true - identity).abs().max() > 0.1


def test_guidance_without_a_difference_changes_nothing_and_leads_to_the_prefix():
    noise, action = torch.randn(3, 6, 2), torch.randn(3, 6, 2)
    plain = integrate(lambda x, t: action - noise, noise, 10)
    torch.testing.assert_close(plain, action)
    same = integrate(lambda x, t: action - noise, noise, 10, PriorChunk(action, 2), Guidance("identity"))
    torch.testing.assert_close(same, action, atol=1e-5, rtol=0)
    # towards another chunk: the field x → (a − x) / (1 − t) goes wherever it is pulled
    other, way = action + 1.0, Guidance("identity", "zeros")
    guided = integrate(lambda x, t: (action - x) / (1 - t)[:, None, None], noise, 10, PriorChunk(other, 2), way)
    assert (guided[:, :2] - other[:, :2]).abs().max() < 0.9
    torch.testing.assert_close(guided[:, 2:], action[:, 2:], atol=1e-5, rtol=0)


STEPS = torch.arange(6.0)
ALIKE = torch.exp(-((STEPS[:, None] - STEPS) ** 2) / 8)  # covariance of smooth chunks of 6 steps
LEVELS = c.cosine_signal(20)


def denoised(x, signal, noise):
    """The mean of smooth chunks [B, 6, 1], given signal · chunk + noise · (white noise)."""
    gain = signal * ALIKE @ torch.linalg.inv(signal**2 * ALIKE + noise**2 * torch.eye(6))
    return torch.einsum("ij,bja->bia", gain, x)


def flow_net(x, t, context):
    at = float(t[0])
    return (denoised(x, at, 1 - at) - x) / (1 - at)


def noise_net(x, t, context):
    level = LEVELS[round(float(t[0]) * 20)]
    return (x - level.sqrt() * denoised(x, level.sqrt(), (1 - level).sqrt())) / (1 - level).sqrt()


WAYS = [(Flow(euler=20), flow_net), (Diffusion(steps=20, samples=20), noise_net)]


@pytest.mark.parametrize(("way", "net"), WAYS)
def test_both_ways_of_denoising_fit_the_prefix_and_the_true_product_takes_the_free_steps_along(way, net):
    torch.manual_seed(0)
    noise, prior = torch.randn(64, 6, 1), PriorChunk(torch.ones(64, 3, 1), 3)
    with torch.no_grad():
        plain = way.sample(net, torch.zeros(64, 1, 1), noise)
        true = way.sample(net, torch.zeros(64, 1, 1), noise, prior=prior, how=Guidance("true"))
        identity = way.sample(net, torch.zeros(64, 1, 1), noise, prior=prior, how=Guidance("identity"))
    off = {name: (x[:, :3] - 1).abs().mean() for name, x in (("plain", plain), ("true", true), ("identity", identity))}
    assert off["true"] < 0.3 * off["plain"] and off["identity"] < 0.3 * off["plain"]
    follows = ALIKE[3:, :3] @ torch.linalg.inv(ALIKE[:3, :3] + 1e-3 * torch.eye(3)) @ torch.ones(3)
    assert (true[:, 3, 0].mean() - follows[0]).abs() < 0.35 < (plain[:, 3, 0].mean() - follows[0]).abs()
    assert not true.requires_grad and (true - identity).abs().max() > 1e-2


def test_a_blend_begins_with_the_committed_actions_and_ends_with_its_own():
    actions, prior = torch.zeros(1, 5, 1), PriorChunk(torch.ones(1, 3, 1), 2)
    assert blended(actions, None) is actions
    assert blended(actions, prior)[0, :, 0].tolist() == [1, 1, 0.5, 0, 0]
