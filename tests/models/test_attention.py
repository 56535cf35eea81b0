"""One attention: what training computes is what acting computes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from palmar.models.transformer import Attention, TransformerConfig

CONFIG = TransformerConfig(width=32, heads=4, dropout=1e-9)  # drops nothing, and goes the way of training with dropout
NOWHERE = torch.tensor([[True, True, False], [False, True, True], [False, False, False]])


def read(attention: Attention, x: torch.Tensor, *others: torch.Tensor | None) -> list[torch.Tensor]:
    """Of a training and of an evaluating attention: the output and the gradient of x."""
    found = []
    for training in (True, False):
        seen = x.clone().requires_grad_()
        out = attention.train(training)(seen, *others)
        out.square().sum().backward()
        assert seen.grad is not None
        found += [out.detach(), seen.grad]
    return found


@pytest.mark.parametrize("mask", [None, NOWHERE], ids=["no mask", "a mask, with a query that may look nowhere"])
@pytest.mark.parametrize("across", [False, True], ids=["itself", "memory"])
def test_training_with_dropout_reads_what_acting_reads(across, mask):
    torch.manual_seed(0)
    attention = Attention(CONFIG, memory=16 if across else 0)
    x, memory = torch.randn(2, 3, 32), torch.randn(2, 3, 16)
    out, grad, plain, plain_grad = read(attention, x, memory if across else None, mask)
    torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grad, plain_grad, rtol=1e-4, atol=1e-5)


def test_weights_are_what_is_read_by():
    torch.manual_seed(0)
    attention = Attention(CONFIG).eval()
    out, weights = attention.looked(torch.randn(2, 3, 32), None, NOWHERE)
    assert torch.equal(weights == 0, ~NOWHERE.expand_as(weights))
    torch.testing.assert_close(weights.sum(-1)[:, :, :2], torch.ones(2, 4, 2))
    assert torch.isfinite(out).all()


def test_dropout_drops_in_training_only():
    torch.manual_seed(0)
    attention, x = Attention(replace(CONFIG, dropout=0.5)), torch.randn(2, 8, 32)
    assert not torch.equal(attention.train()(x), attention(x))
    assert torch.equal(attention.eval()(x), attention(x))
    query, key, value = attention.project(x, None)
    plain = attention.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), plain)
