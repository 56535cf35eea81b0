"""What fits, found by trying: the try must need as much memory as a step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from palmar.models.base import Batch
from palmar.train.losses import Asked, Descent
from palmar.train.memory import too_big
from palmar.train.web import Questions


class Full(nn.Module):
    """Out of memory by what it is asked to do: `most` samples fit in float32, twice as many in bfloat16."""

    def __init__(self, most: int, speaking: int = 1000) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.most, self.speaking, self.rows = most, speaking, 0

    def loss(self, batch):
        self.rows = len(batch.state)
        if self.rows > self.most * (2 if torch.is_autocast_enabled("cpu") else 1):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.weight.sum(), {}

    def language_loss(self, images, prompts, answers):
        if self.rows + len(prompts) > self.speaking:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.weight.expand(len(prompts))


def said(model, questions=None, bf16=False):
    zeros = torch.zeros(16, 4, 3)
    batch = Batch(
        images={}, state=zeros[:, 0], tokens=torch.zeros(16, 1), mask=torch.ones(16, 1), texts=("x",) * 16, actions=zeros,
        pad=torch.zeros(16, 4), done=torch.zeros(16), importance=torch.ones(3),
    )  # fmt: skip
    config = SimpleNamespace(shard=False, device="cpu", batch_size=16, accumulate=1)
    run = SimpleNamespace(config=config, forget=model.zero_grad)
    job = SimpleNamespace(run=run, world=SimpleNamespace(size=1), robots_data=[None], view=lambda robot_data: model)
    given = Asked({"robot": 0, "family": np.zeros(16, int)}, questions)
    return str(too_big(job, batch, given, Descent(bf16=bf16), torch.OutOfMemoryError("full")))


@pytest.mark.parametrize("bf16, fit", [(False, 4), (True, 8)])
def test_the_try_computes_in_the_precision_of_the_step(bf16, fit):
    assert f"; {fit} fit. Next: --batch-size {fit}, or --accumulate {16 // fit}" in said(Full(4), bf16=bf16)


def test_the_try_answers_the_questions_too():
    asked = Questions({}, ("?",) * 10, ("!",) * 10)
    assert "; 2 fit." in said(Full(8, speaking=12), asked)
    assert "even with one sample and its 10 questions" in said(Full(8, speaking=10), asked)
