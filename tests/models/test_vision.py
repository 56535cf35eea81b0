import dataclasses

import pytest
import torch

from palmar.errors import BadValue
from palmar.models.vision import ResNetConfig, norm


def test_a_large_picture_gives_no_more_tokens_than_asked_for():
    config = ResNetConfig(widths=(8, 16, 24), blocks=(1, 1, 1), most=20)
    encoder = config.build(0)
    for size, grid in (((96, 128), (3, 4)), ((64, 64), (4, 4)), ((72, 88), (3, 3))):
        assert encoder.grid(*size) == grid
        assert encoder(torch.zeros(1, 3, *size)).shape == (1, grid[0] * grid[1], 24)
    assert dataclasses.replace(config, most=0).build(0).grid(96, 128) == (6, 8)


def test_group_norms_compute_in_float32():
    layer = norm(16)
    x = torch.randn(2, 16, 6, 6)
    exact = layer(x)
    assert torch.equal(exact, torch.nn.functional.group_norm(x, 8, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x.bfloat16())
    assert rounded.dtype == torch.bfloat16 and (rounded.float() - exact).abs().max() < 0.05


def test_a_negative_bound_of_tokens_is_refused():
    with pytest.raises(BadValue, match="most is -320 tokens; expected 0 or more"):
        ResNetConfig(most=-320)
