"""How unsure a policy is of its actions, by what its model has:

    Ensemble       heads that began with other numbers disagree where they were not taught
    Disagreement   chunks made from other noise differ: diffusion and flow matching
    TokenEntropy   the probability is spread over many bins
    MCDropout      answers differ with the units that are dropped

The first and the last tell that a situation is new (epistemic); noise and tokens tell foremost that the demonstrations
did several things in it (aleatoric), and need not see that it is new. None is calibrated: a threshold comes from data.

Axis legend: N samples or members · B batch · T horizon · A action.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from palmar.errors import BadValue
from palmar.models.acting import NeuralPolicy
from palmar.models.base import Inputs, Model, PriorChunk
from palmar.models.flow_vla import FlowVLA
from palmar.models.heads import EnsembleHead, GenerativeHead, Head, TokenHead
from palmar.models.token_vla import TokenVLA
from palmar.models.transformer import Attention
from palmar.models.vla import VLA
from palmar.policy import Policy
from palmar.types import ActionChunk, Observation, Prefix


@dataclass(frozen=True)
class Doubt:
    """spread: [B, T, A], standard deviation of each action, normalised: 1 is that of the training data. unsure: [B, T, A]
    in 0 … 1, none and all."""

    spread: Tensor
    unsure: Tensor


class Method(Protocol):
    """One of the four. A model must have what it `needs`."""

    @property
    def needs(self) -> str: ...
    def fits(self, model: Model) -> bool: ...
    def __call__(self, model: Model, inputs: Inputs, prior: PriorChunk | None = None) -> Doubt: ...


# ------------------------------------------------------------------------------------------------ the four


def at_least_two(samples: int) -> None:
    if samples < 2:
        raise BadValue(f"samples is {samples}; expected 2 or more, or there is nothing to disagree")


@dataclass(frozen=True)
class Ensemble:
    """Spread of the members of an `heads.EnsembleConfig` head; what is perceived is perceived once. Source: Lakshminarayanan
    et al. 2017, arXiv 1612.01474."""

    needs = "an ensemble of heads"

    def fits(self, model: Model) -> bool:
        return isinstance(head_of(model), EnsembleHead)

    def __call__(self, model: Model, inputs: Inputs, prior: PriorChunk | None = None) -> Doubt:
        assert isinstance(model, VLA) and isinstance(model.head, EnsembleHead)
        return disagreement(model.head.answers(model.perceive(inputs)[0].context))


@dataclass(frozen=True)
class Disagreement:
    """Spread of `samples` chunks from as much noise, made in one batch."""

    samples: int = 16
    needs = "a head that samples (diffusion or flow matching)"

    def __post_init__(self) -> None:
        at_least_two(self.samples)

    def fits(self, model: Model) -> bool:
        return isinstance(model, FlowVLA) or isinstance(head_of(model), GenerativeHead)

    def __call__(self, model: Model, inputs: Inputs, prior: PriorChunk | None = None) -> Doubt:
        if not isinstance(model, VLA):
            return disagreement(answers(model, inputs, self.samples, prior))
        context = model.perceive(inputs)[0].context.repeat_interleave(self.samples, 0)
        running = None if prior is None else replace(prior, actions=prior.actions.repeat_interleave(self.samples, 0))
        return disagreement(model.head.act(context, running).unflatten(0, (-1, self.samples)).transpose(0, 1))


@dataclass(frozen=True)
class TokenEntropy:
    """Entropy of each token's distribution, given the tokens said before it: a share of the largest, which all bins alike
    would have. Spread: the standard deviation of that distribution."""

    needs = "a head of action tokens"

    def fits(self, model: Model) -> bool:
        return isinstance(model, TokenVLA) or isinstance(head_of(model), TokenHead)

    def __call__(self, model: Model, inputs: Inputs, prior: PriorChunk | None = None) -> Doubt:
        if isinstance(model, TokenVLA):
            logits, values = spoken(model, inputs)
            fill = model.config.tokens.fill  # from the actions that are spoken to all
            horizon = model.interface.horizon
            return Doubt(fill(deviation(logits, values), horizon), fill(surprise(logits), horizon))
        assert isinstance(model, VLA) and isinstance(model.head, TokenHead)
        head = model.head
        logits = head.said(model.perceive(inputs)[0].context)
        middles = (head.edges[:, 1:] + head.edges[:, :-1]) / 2
        return Doubt(deviation(logits, middles), surprise(logits))


@dataclass(frozen=True)
class MCDropout:
    """Spread of `samples` answers with units dropped as in training, made in one batch; all else acts as it does. Where the
    head samples too, its noise is in the spread. Source: Gal & Ghahramani 2016, arXiv 1506.02142."""

    samples: int = 16
    needs = "dropout"

    def __post_init__(self) -> None:
        at_least_two(self.samples)

    def fits(self, model: Model) -> bool:
        return bool(droppers(model))

    def __call__(self, model: Model, inputs: Inputs, prior: PriorChunk | None = None) -> Doubt:
        with dropping(model):
            return disagreement(answers(model, inputs, self.samples, prior))


METHODS: tuple[Method, ...] = (Ensemble(), Disagreement(), TokenEntropy(), MCDropout())
"""The first that fits is a model's own."""


# ------------------------------------------------------------------------------------------------ what they stand on


def disagreement(said: Tensor) -> Doubt:
    """Of answers [N, B, T, A]. Unsure is σ² / (1 + σ²): the share that disagreement has in all that varies, the data's own
    variance being 1."""
    spread = said.float().std(0)
    return Doubt(spread, spread.square() / (1 + spread.square()))


def entropy(logits: Tensor) -> Tensor:
    """[..., bins] → [...] in nats: 0 when sure of one bin, log(bins) when all are alike."""
    log = logits.float().log_softmax(-1)
    return -(log.exp() * log).sum(-1)


def surprise(logits: Tensor) -> Tensor:
    """The entropy as a share of the largest there could be, 0 … 1."""
    return (entropy(logits) / math.log(logits.shape[-1])).clamp(0, 1)


def deviation(logits: Tensor, values: Tensor) -> Tensor:
    """Standard deviation [...] of a number that has `values` [bins], or [A, bins], with the probabilities of logits [..., A,
    bins]."""
    chance = logits.float().softmax(-1)
    mean = (chance * values).sum(-1, keepdim=True)
    return (chance * (values - mean).square()).sum(-1).sqrt()


def spoken(model: TokenVLA, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Logits [B, anchors, A, bins] of the words that the model says, each given those before it, and the action that each
    bin stands for [A, bins]."""
    bins, vocab = model.config.tokens, model.vocab
    rows, steps = bins.rows(vocab), bins.steps(model.interface.horizon)
    words = bins.words(model.act(inputs).actions[:, steps], vocab, model.reach).flatten(1)
    logits = model.told(inputs, words)[0].unflatten(1, (len(steps), -1))
    each = torch.arange(rows.start, rows.stop, device=logits.device)[:, None].expand(-1, len(model.reach))
    return logits, bins.actions(each, vocab, model.reach).T


def answers(model: Model, inputs: Inputs, count: int, prior: PriorChunk | None = None) -> Tensor:
    """As many answers to the same question [count, B, T, A], in one batch."""

    def again(x: Tensor) -> Tensor:
        return x.repeat_interleave(count, 0)

    texts: Sequence[str] = tuple(t for t in inputs.texts for _ in range(count))
    images = {c: again(x) for c, x in inputs.images.items()}
    asked = Inputs(images, again(inputs.state), again(inputs.tokens), again(inputs.mask), texts)
    running = None if prior is None else replace(prior, actions=again(prior.actions))
    said = model.act(asked, running).actions
    return said.unflatten(0, (-1, count)).transpose(0, 1)


def droppers(model: nn.Module) -> list[nn.Module]:
    """The layers that drop units in training; those of frozen towers never do."""
    before = {m: m.training for m in model.modules()}
    model.train()
    try:
        return [m for m in before if m.training and _rate(m) > 0]
    finally:
        for m, training in before.items():
            m.training = training


def _rate(layer: nn.Module) -> float:
    if isinstance(layer, Attention):  # drops weights itself
        return layer.dropout
    return layer.p if isinstance(layer, nn.modules.dropout._DropoutNd) else 0.0


@contextmanager
def dropping(model: nn.Module) -> Iterator[None]:
    """Units are dropped inside, as in training; everything else is as it was."""
    layers = droppers(model)
    before = [m.training for m in layers]
    try:
        for m in layers:
            m.training = True
        yield
    finally:
        for m, training in zip(layers, before, strict=True):
            m.training = training


def head_of(model: Model) -> Head | None:
    """The action head of a composed model."""
    return model.head if isinstance(model, VLA) else None


# ------------------------------------------------------------------------------------------------ a policy that says so


class Uncertain:
    """The inner policy, whose chunks also say how unsure it is of them: `spread` in the units of the actions, and for
    `confidence` 1 less the mean of `Doubt.unsure`, whatever the inner policy says of it. Actions that never move do not
    count. What is drawn at random is drawn from the observation.
    """

    def __init__(self, inner: Policy, method: Method) -> None:
        self.inner, self.method, self.interface = inner, method, inner.interface
        self.neural = neural(inner)
        if not method.fits(self.neural.model):
            raise BadValue(_lacking(self.neural.model, method.needs))

    def reset(self) -> None:
        self.inner.reset()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        chunk, policy = self.inner.act(obs, prefix), self.neural
        with policy.drawing(obs):
            doubt = self.method(policy.model, policy.inputs(obs), policy.normal(prefix))
        scale = policy.normalizers["action"]
        unsure = doubt.unsure[0].float().cpu().numpy()[:, ~scale.constant]
        spread = (doubt.spread[0].float().cpu().numpy() * scale.scale).astype(np.float32)
        if prefix is not None:
            spread[: prefix.committed] = 0.0  # what is decided is not doubted
        return replace(chunk, confidence=1.0 - float(unsure.mean()) if unsure.size else 1.0, spread=spread)


def uncertainty(policy: Policy) -> Uncertain:
    """The policy with the method that suits its model: of `METHODS` the first that does. Raises `BadValue` when none does."""
    model = neural(policy).model
    method = next((m for m in METHODS if m.fits(model)), None)
    if method is None:
        raise BadValue(_lacking(model, ", ".join(m.needs for m in METHODS)))
    return Uncertain(policy, method)


def neural(policy: object) -> NeuralPolicy:
    """The network at the bottom of wrappers."""
    while not isinstance(policy, NeuralPolicy) and hasattr(policy, "inner"):
        policy = policy.inner
    if not isinstance(policy, NeuralPolicy):
        raise BadValue(
            f"a {type(policy).__name__} does not show its network; expected a policy from a palmar checkpoint"
        )
    return policy


def _lacking(model: Model, needs: str) -> str:
    has = [f"{m.needs} → {type(m).__name__}()" for m in METHODS if m.fits(model)]
    end = f"Next: {' or '.join(has)}" if has else "Next: train it with head=EnsembleConfig(…)"
    return f"preset '{model.config.preset}' lacks {needs}. It has {', '.join(has) or 'none of the others'}. {end}"
