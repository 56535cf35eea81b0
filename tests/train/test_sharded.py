"""Weights cut over the processes, as far as one process shows it."""

import pytest
import torch
from torch import nn

from palmar.models.vla import VLA
from palmar.train import sharded


class Counting(nn.Module):
    """A root that says what went through it."""

    def forward(self, verb, *args):
        return "gathered", verb(*args)

    def reshard(self):
        pass


@pytest.mark.parametrize("verb", ["loss", "act", "imagine", "locate"])
def test_verbs_that_read_weights_gather_them(verb, monkeypatch):
    assert callable(getattr(VLA, verb))
    model = nn.Module()
    monkeypatch.setattr(model, verb, lambda x: x + 1, raising=False)
    with torch.no_grad():
        assert getattr(sharded.Gathering(Counting(), model), verb)(1) == ("gathered", 2)
