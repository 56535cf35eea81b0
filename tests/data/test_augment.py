"""Pictures change, and what they are answered with changes with them."""

import numpy as np
import pytest
import torch

from palmar.data.augment import (
    Augment,
    blurred,
    draw_warp,
    punched,
    recoloured,
    strong,
    warp_actions,
    warp_labels,
    warped,
)
from palmar.errors import BadValue, UnknownName


def spot(u: float, v: float, height: int = 64, width: int = 96) -> torch.Tensor:
    """float32[1, 3, H, W]: a soft spot at (u, v)."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    near = torch.exp(-(((x - u) * width) ** 2 + ((y - v) * height) ** 2) / 8)
    return near.expand(1, 3, -1, -1).contiguous()


def found(x: torch.Tensor) -> np.ndarray:
    """(u, v) of the middle of what is bright."""
    weight = x[0, 0] / x[0, 0].sum()
    height, width = weight.shape
    u = float((weight.sum(0) * (torch.arange(width) + 0.5)).sum() / width)
    v = float((weight.sum(1) * (torch.arange(height) + 0.5)).sum() / height)
    return np.array([u, v])


@pytest.mark.parametrize("angle", [0.0, 10.0, -7.0])
@pytest.mark.parametrize("scale", [1.0, 1.1, 0.9])
def test_pictures_labels_and_actions_turn_together(angle: float, scale: float) -> None:
    """From a hand at the middle, one action that goes to a spot still goes to it after the picture was warped."""
    u, v, (height, width) = 0.7, 0.4, (64, 96)
    warp = np.array([[np.deg2rad(angle), scale]], np.float32)
    seen = found(warped(spot(u, v), torch.from_numpy(warp)))
    labels = {
        "points": np.array([[[[u, v]]]], np.float32),
        "visible": np.ones((1, 1, 1), np.float32),
        "known": np.ones((1, 1), bool),
    }
    told = warp_labels(labels, warp, [(height, width)])
    np.testing.assert_allclose(told["points"][0, 0, 0], seen, atol=0.004)
    assert not told["known"].any()
    # the robot's y points left in the picture, its x up: right is -dy, down is -dx
    way = (np.array([u, v]) - 0.5) * [width, height]
    action = np.array([[[-way[1], -way[0], 5.0]]], np.float32)
    turned = warp_actions(action, warp, ("dx", "dy", "dz"), Augment(rotate=10, scale=0.1, moves=("-dy", "-dx")))
    np.testing.assert_allclose([-turned[0, 0, 1], -turned[0, 0, 0]], (seen - 0.5) * [width, height], atol=0.4)
    assert turned[0, 0, 2] == 5.0


def test_a_turn_does_not_stretch_rotations() -> None:
    a = Augment(rotate=10, scale=0.1, moves=("dx", "dy"), turns=("drx", "dry"))
    warp = np.array([[np.pi / 2, 1.1]], np.float32)
    out = warp_actions(np.array([[[1.0, 0.0, 0.2, 0.0]]], np.float32), warp, ("dx", "dy", "drx", "dry"), a)
    np.testing.assert_allclose(out[0, 0], [0.0, 1.1, 0.0, 0.2], atol=1e-6)
    with pytest.raises(UnknownName, match=r"unknown action 'dx'. Known: j1, j2"):
        warp_actions(np.zeros((1, 1, 2), np.float32), warp, ("j1", "j2"), Augment(rotate=1, moves=("dx", "dy")))


def test_a_warp_must_say_what_turns_with_it() -> None:
    with pytest.raises(BadValue, match=r"Next: moves=\(RIGHT, DOWN\)"):
        Augment(rotate=10)
    with pytest.raises(BadValue, match="holes=-1"):
        Augment(holes=-1)
    assert strong().rotate == 0 and strong(("dx", "dy")).rotate == 10


def test_warps_stay_in_their_range_and_the_identity_is_one() -> None:
    a = Augment(rotate=10, scale=0.1, moves=("dx", "dy"))
    drawn = draw_warp(a, 1000, np.random.default_rng(0))
    assert np.abs(np.rad2deg(drawn[:, 0])).max() <= 10 and drawn[:, 1].min() >= 0.9 and drawn[:, 1].max() <= 1.1
    assert drawn[:, 0].std() > 0.05
    x = torch.randn(2, 3, 16, 24)
    torch.testing.assert_close(warped(x, torch.tensor([[0.0, 1.0]] * 2)), x, atol=1e-4, rtol=0)
    video = torch.randn(2, 4, 3, 16, 16)
    same = warped(video, torch.tensor([[0.1, 1.05]] * 2))
    torch.testing.assert_close(same[1, 2], warped(video[1:, 2], torch.tensor([[0.1, 1.05]]))[0])


def test_holes_blur_and_their_sizes() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 3, 56, 56)
    out = punched(x, 8, 0.143)
    gone = (out == 0).float().mean((1, 2, 3))
    assert 0.02 < gone.mean() < 0.163 and gone.max() <= 8 * 0.143**2 * 1.3 and gone.min() == 0
    flat = torch.full((2, 3, 16, 16), 3.0)
    torch.testing.assert_close(blurred(flat, 1.5), flat)
    noise = torch.randn(2, 3, 32, 32)
    assert blurred(noise, 1.0).std() < 0.5 * noise.std() and torch.equal(blurred(noise, 0.0), noise)


def test_what_is_off_draws_nothing() -> None:
    """The stream of random numbers, and with it every shipped run, is what it was."""
    x = torch.randn(4, 3, 16, 16)
    torch.manual_seed(3)
    recoloured(x.clone(), Augment())
    after = torch.rand(())
    torch.manual_seed(3)
    recoloured(x.clone(), Augment(mixup=0.2, action_noise=0.01))
    assert torch.equal(after, torch.rand(()))
    assert set(Augment().settings()) == {"shift", "brightness", "contrast", "colour", "noise"}
    assert Augment(holes=2).settings()["hole"] == 0.143
