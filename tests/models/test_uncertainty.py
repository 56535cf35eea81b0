"""Uncertainty means something: each method is larger where it should be, and says nothing about models it does not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import heads as h
from palmar.models import uncertainty as u
from palmar.models.acting import NeuralPolicy
from palmar.models.base import Batch, Model, Prediction
from palmar.models.generative import Diffusion, Flow, MLPConfig
from palmar.models.presets import preset
from palmar.models.sequence import PooledConfig, SelfAttentionConfig
from palmar.models.text import WordsConfig
from palmar.models.transformer import TransformerConfig
from palmar.models.vision import SmallConvConfig
from palmar.models.vla import StateConfig, VLAConfig
from palmar.types import ActionChunk, Observation, Prefix

DRY = TransformerConfig(width=32, layers=1, heads=2, hidden=64, dropout=0.0)
WET = replace(DRY, dropout=0.2)
FACE = Interface({"front": (16, 16)}, ("a", "b"), ("dx", "dy"), 2)
HEADS = {
    "ensemble": (h.EnsembleConfig(), u.Ensemble()),
    "diffusion": (h.DiffusionConfig(MLPConfig(64, 1), Diffusion(20, 10)), u.Disagreement()),
    "flow": (h.FlowConfig(MLPConfig(64, 1), Flow(5)), u.Disagreement()),
    "tokens": (h.TokenConfig(DRY, bins=32, low=-2, high=2), u.TokenEntropy()),
}


def composed(head, fusion=None):
    vision = SmallConvConfig(channels=(8, 8, 8), out=8)
    state = StateConfig(64, noise=0.0)
    return VLAConfig(
        vision, WordsConfig(replace(DRY, width=8)), fusion or PooledConfig(32), head, state=state, done=0.0
    )


def asked(state, actions):
    """A black picture, no words: all there is to know is the state."""
    n = len(state)
    nothing = torch.zeros(n, 0, 384)
    return Batch(
        {"front": torch.zeros(n, 3, 16, 16)}, state, nothing, torch.zeros(n, 0, dtype=torch.bool), ("go",) * n,
        actions=actions[:, None].expand(-1, 2, -1), pad=torch.zeros(n, 2, dtype=torch.bool),
        done=torch.zeros(n, dtype=torch.bool), importance=torch.ones(2),
    )  # fmt: skip


def smooth(state):
    """One right answer everywhere."""
    return torch.stack([torch.sin(2 * state[:, 0]), state[:, 1]], -1)


def forked(state):
    """Where a > 0 the demonstrations went left or right as they liked."""
    coin = (torch.rand(len(state), 1) < 0.5).float() * 2 - 1
    return torch.where(state[:, :1] > 0, coin, torch.full_like(coin, 0.5)).expand(-1, 2)


def trained(model, teacher, steps=120):
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(steps):
        state = 2 * torch.rand(32, 2) - 1
        model.loss(asked(state, teacher(state)))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def auroc(high, low):
    """How often a number of the first is the larger: 0.5 by chance."""
    above = (high[:, None] > low[None]).float() + 0.5 * (high[:, None] == low[None]).float()
    return float(above.mean())


def told(method, model, state):
    with torch.inference_mode():
        return method(model, asked(state, smooth(state))).unsure.mean((1, 2))


def near_and_far(count=200):
    """Inside of what was trained on, and two to five times as far out."""
    far = torch.randn(count, 2)
    far = far / far.norm(dim=-1, keepdim=True) * (2.5 + 2 * torch.rand(count, 1))
    return 2 * torch.rand(count, 2) - 1, far


# ------------------------------------------------------------------------------------------------ it means something


def test_members_disagree_about_what_they_were_not_taught():
    torch.manual_seed(0)
    model = trained(composed(h.EnsembleConfig()).build(FACE), smooth)
    near, far = (told(u.Ensemble(), model, x) for x in near_and_far())
    assert auroc(far, near) > 0.9


class Net(Model):
    """A plain network with dropout."""

    def __init__(self):
        super().__init__()
        self.config, self.interface, self.calls = composed(h.ChunkConfig()), FACE, 0
        layers = [nn.Linear(2, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(64, 4))

    def loss(self, batch):
        return (self.act(batch).actions - batch.actions).square().mean(), {}

    def act(self, inputs, prefix=None):
        self.calls += 1
        return Prediction(self.net(inputs.state).unflatten(-1, (2, 2)))


def test_dropped_units_matter_more_far_from_what_was_taught():
    torch.manual_seed(0)
    model = trained(Net(), smooth, 300)
    model.calls = 0
    near, far = (told(u.MCDropout(), model, x) for x in near_and_far())
    assert auroc(far, near) > 0.9
    assert model.calls == 2 and not any(m.training for m in model.modules())  # sixteen passes in one batch; off again


@pytest.mark.parametrize("name", ["diffusion", "flow", "tokens"])
def test_samples_and_tokens_are_spread_where_demonstrations_fork(name):
    head, method = HEADS[name]
    torch.manual_seed(0)
    model = trained(composed(head).build(FACE), forked, 200)
    state, _ = near_and_far()
    unsure, fork = told(method, model, state), state[:, 0] > 0
    assert auroc(unsure[fork], unsure[~fork]) > 0.85


# ------------------------------------------------------------------------------------------------ the numbers


def test_entropy_is_of_the_whole_distribution():
    alike, one = torch.zeros(3, 256), torch.zeros(3, 256)
    one[:, 7] = 100.0
    assert u.entropy(alike).tolist() == pytest.approx([np.log(256)] * 3) and u.entropy(one).abs().max() < 1e-6
    assert u.surprise(alike).tolist() == pytest.approx([1.0] * 3)
    coin = torch.log(torch.tensor([0.5, 0.0, 0.5, 0.0]).clamp(min=1e-30))
    assert u.entropy(coin) == pytest.approx(np.log(2)) and u.surprise(coin) == pytest.approx(0.5)
    assert u.deviation(coin, torch.tensor([-1.0, 0.0, 3.0, 9.0])) == pytest.approx(2.0)


def test_a_token_head_that_knows_nothing_has_the_largest_entropy():
    model = composed(h.TokenConfig(DRY, bins=256)).build(FACE).eval()
    nn.init.zeros_(model.head.logits.weight)
    nn.init.zeros_(model.head.logits.bias)
    with torch.inference_mode():
        doubt = u.TokenEntropy()(model, asked(torch.zeros(3, 2), torch.zeros(3, 2)))
    assert doubt.unsure.shape == (3, 2, 2) and doubt.unsure.numpy() == pytest.approx(1.0)
    assert doubt.spread.numpy() == pytest.approx(10 / np.sqrt(12), rel=1e-3)  # evenly over ±5


def test_disagreement_is_the_standard_deviation():
    said = torch.randn(50, 2, 3, 4, dtype=torch.float64) * torch.tensor([0.1, 1.0, 3.0, 0.0])
    doubt = u.disagreement(said)
    assert doubt.spread.numpy() == pytest.approx(said.numpy().std(0, ddof=1), rel=1e-5, abs=1e-7)
    assert doubt.unsure[..., 3].abs().max() == 0 and 0.7 < doubt.unsure[..., 2].min() < doubt.unsure.max() < 1


@pytest.mark.parametrize("name", ["ensemble", "diffusion"])
def test_what_is_perceived_is_perceived_once(name, monkeypatch):
    head, method = HEADS[name]
    model = composed(head).build(FACE).eval()
    rows = []
    encoder = model.cameras.encoder("front")
    encoder.register_forward_hook(lambda _, given, out: rows.append(len(out)))
    torch.manual_seed(0)
    doubt = told(method, model, torch.zeros(3, 2))
    assert rows == [3] and doubt.shape == (3,) and (doubt > 0).all()


def test_frozen_towers_and_layers_without_a_rate_do_not_drop():
    class Frozen(nn.Dropout):
        def train(self, mode=True):
            return super().train(False)

    torch.manual_seed(0)
    model = composed(h.ChunkConfig(), SelfAttentionConfig(WET)).build(FACE).eval()
    assert {type(m).__name__ for m in u.droppers(model)} == {"Attention", "Dropout"}
    still = composed(h.ChunkConfig(), SelfAttentionConfig(DRY)).build(FACE).eval()
    still.frozen = Frozen(0.5).eval()
    assert u.droppers(still) == [] and not any(m.training for m in still.modules())
    with pytest.raises(ZeroDivisionError), u.dropping(model):
        assert sum(m.training for m in model.modules()) == len(u.droppers(model)) > 0 and not model.fusion.training
        raise ZeroDivisionError
    assert not any(m.training for m in model.modules())


def test_what_a_speaking_model_says_is_read_back_from_its_logits():
    """The likeliest words' probabilities are those it spoke with."""
    model = preset("rt2-tiny").build(replace(FACE, cameras={"front": (32, 32)})).eval()
    given = asked(torch.zeros(2, 2), torch.zeros(2, 2))
    given = replace(given, images={"front": torch.randn(2, 3, 32, 32)}, texts=("pick up the cube", "go"))
    with torch.inference_mode():
        said = model.act(given)
        logits, values = u.spoken(model, given)
        doubt = u.TokenEntropy()(model, given)
    assert logits.shape == (2, 2, 2, 256) and values.shape == (2, 256)
    likeliest = logits.log_softmax(-1).max(-1)
    torch.testing.assert_close(likeliest.values.mean((1, 2)).exp(), said.confidence, rtol=1e-3, atol=1e-5)
    of_each = torch.stack([values[i][likeliest.indices[..., i]] for i in range(2)], -1)
    torch.testing.assert_close(of_each, said.actions)
    assert doubt.unsure.shape == said.actions.shape and ((doubt.unsure > 0) & (doubt.unsure <= 1)).all()


# ------------------------------------------------------------------------------------------------ as a policy


def policy_of(config, face=FACE):
    torch.manual_seed(0)
    face = replace(face, offsets=config.offsets)
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(50, len(face.action_names))) * np.array([0.01, 0.0])
    return NeuralPolicy(
        config.build(face), Normalizer.fit(rng.normal(size=(50, len(face.state_names)))), Normalizer.fit(actions + 0.25)
    )


def seen(seed=0, time=1.0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    return Observation({"front": image}, rng.normal(size=2).astype(np.float32), "go", time)


@pytest.mark.parametrize("name", HEADS)
def test_the_chunk_is_the_inner_policys_and_says_how_unsure_it_is(name):
    head, method = HEADS[name]
    policy = policy_of(replace(composed(head), history=(-1, 0)))
    unsure = u.uncertainty(policy)
    assert unsure.method == method
    unsure.reset()
    torch.manual_seed(3)
    after = torch.rand(1)
    torch.manual_seed(3)
    chunk, again, other = unsure.act(seen()), unsure.act(seen()), unsure.act(seen(1, 1.1))
    assert torch.equal(torch.rand(1), after)
    policy.reset()
    plain = [policy.act(seen()), policy.act(seen(1, 1.1))]  # pictures are remembered as without the wrapper
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip((chunk, other), plain, strict=True))
    assert 0 < chunk.confidence < 1 and (chunk.confidence, chunk.done) == (again.confidence, plain[0].done)
    assert np.array_equal(chunk.spread, again.spread) and chunk.spread.dtype == np.float32
    assert (chunk.spread[:, 0] > 0).all() and chunk.spread[:, 0].max() < 0.1  # the action's own units
    assert (chunk.spread[:, 1] == 0).all()  # it never moves
    assert plain[0].spread is None and plain[0].confidence is None


def test_actions_that_never_move_do_not_make_it_surer():
    policy = policy_of(composed(h.EnsembleConfig()))
    both = u.uncertainty(policy).act(seen())
    with policy.drawing(seen()):
        doubt = u.Ensemble()(policy.model, policy.inputs(seen()))
    assert both.confidence == pytest.approx(1 - float(doubt.unsure[0, :, 0].mean()))
    np.testing.assert_allclose(
        both.spread[:, 0], doubt.spread[0, :, 0] * policy.normalizers["action"].scale[0], rtol=1e-5
    )


DEFAULTS = {
    "act-tiny": u.MCDropout, "humanoid-tiny": u.MCDropout, "gr2-tiny": u.MCDropout, "rt1-tiny": u.TokenEntropy,
    "octo-tiny": u.Disagreement, "diffusion-tiny": u.Disagreement, "pi0-tiny": u.Disagreement,
    "openvla-tiny": u.TokenEntropy, "palmar-tiny": None, "bcz-tiny": None, "palme-tiny": None,
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_system_has_the_method_that_suits_it(name):
    config = preset(name)
    face = Interface({"front": (64, 64)}, ("s",), ("dx", "dy"), 4, offsets=config.offsets)
    with torch.device("meta"):
        model = config.build(face)
    policy = NeuralPolicy.__new__(NeuralPolicy)
    policy.model, policy.interface = model, face
    if DEFAULTS[name] is not None:
        assert type(u.uncertainty(policy).method) is DEFAULTS[name]
        return
    with pytest.raises(
        BadValue, match=f"preset '{name}' lacks an ensemble of heads, .*Next: train it with head=Ensemble"
    ):
        u.uncertainty(policy)


def test_a_flow_expert_beside_a_vlm_is_sampled():
    policy = policy_of(preset("smolvla-tiny"), replace(FACE, cameras={"front": (32, 32)}))
    obs = replace(seen(), images={"front": np.zeros((32, 32, 3), np.uint8)})
    chunk = u.Uncertain(policy, u.Disagreement(3)).act(obs, Prefix(np.zeros((1, 2), np.float32), 1))
    assert 0 < chunk.confidence < 1 and chunk.spread[1, 0] > 1e-4  # what is decided is not doubted
    assert chunk.spread[0, 0] == pytest.approx(0, abs=1e-6)


def test_what_does_not_fit_is_refused_with_what_does():
    sampled = policy_of(composed(HEADS["flow"][0]))
    with pytest.raises(BadValue, match=r"lacks dropout\. It has a head that samples .* Next: .*Disagreement\(\)"):
        u.Uncertain(sampled, u.MCDropout())
    plain = policy_of(composed(h.ChunkConfig()))
    for method in u.METHODS:
        with pytest.raises(BadValue, match=r"It has none of the others\. Next: train it with head=EnsembleConfig"):
            u.Uncertain(plain, method)
    for method in (u.Disagreement, u.MCDropout):
        with pytest.raises(BadValue, match="samples is 1; expected 2 or more"):
            method(1)
    with pytest.raises(BadValue, match="spread has shape"):
        ActionChunk(np.zeros((2, 3), np.float32), 0.1, 0.0, spread=np.zeros(3))

    class Person:
        interface = sampled.interface

        def act(self, obs, prefix=None): ...
        def reset(self): ...

    with pytest.raises(BadValue, match="a Person does not show its network"):
        u.uncertainty(Person())
    wrapped = u.uncertainty(u.uncertainty(sampled))
    assert wrapped.neural is sampled
