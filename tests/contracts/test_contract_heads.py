"""What every action head keeps: two verbs, a gradient everywhere it trains, padding that counts for nothing, and it learns.

A new head is one row of `HEADS`; the rest follows.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models import conventions as c
from palmar.models import heads as h
from palmar.models.base import Batch, PriorChunk
from palmar.models.config import from_dict, to_dict
from palmar.models.generative import Diffusion, ExpertConfig, MLPConfig, UNetConfig
from palmar.models.transformer import TransformerConfig

SMALL = TransformerConfig(width=32, layers=2, heads=2, hidden=64, dropout=0.0)
HEADS = {
    "chunk": h.ChunkConfig(),
    "chunk, one vector a step": h.ChunkConfig(per_step=True),
    "joint position": h.JointPositionConfig(low=(-3.0,), high=(3.0,)),
    "joint velocity": h.JointVelocityConfig(max_velocity=(3.0,)),
    "pose": h.PoseConfig(),
    "GRU": h.GRUConfig(recurrent=64),
    "tokens": h.TokenConfig(SMALL, bins=64),
    "tokens, neighbours": h.TokenConfig(SMALL, bins=64, parallel=True, neighbours=2.0),
    "tokens, parallel": h.TokenConfig(SMALL, bins=64, parallel=True),
    "diffusion, MLP": h.DiffusionConfig(MLPConfig(width=64, blocks=1), Diffusion(steps=20, samples=5)),
    "diffusion, clean actions": h.DiffusionConfig(
        MLPConfig(width=64, blocks=1), Diffusion(steps=20, samples=5, predicts="actions")
    ),
    "diffusion, U-Net": h.DiffusionConfig(UNetConfig(down=(16, 32), step=32), Diffusion(steps=20, samples=5)),
    "flow": h.FlowConfig(ExpertConfig(SMALL)),
    "task heads": h.TaskHeadsConfig(),
    "ensemble": h.EnsembleConfig(h.JointPositionConfig((-3.0,), (3.0,), hidden=64), members=3),
}
WIDTH, HORIZON, ROWS = 24, 5, 8


def made(name):
    config = HEADS[name]
    actions = ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper") if name == "pose" else ("dx", "dy", "gripper")
    face = Interface({"front": (16, 16)}, ("s",), actions, HORIZON)
    torch.manual_seed(0)
    return config.build(WIDTH, face), face


def given(face, seed=0):
    draw = torch.Generator().manual_seed(seed)
    actions = torch.randn(ROWS, HORIZON, len(face.action_names), generator=draw).clamp(-2, 2)
    if "qw" in face.action_names:
        actions[..., 3:7] = c.unit_quaternion(actions[..., 3:7])
        actions[..., 7] = (actions[..., 7] > 0).float()
    pad = torch.zeros(ROWS, HORIZON, dtype=torch.bool)
    pad[0, 3:] = True
    texts = tuple(("pick up the cube", "push the ball", "wave at me")[i % 3] for i in range(ROWS))
    empty = torch.zeros(ROWS, 0)
    batch = Batch(
        {}, empty, empty, empty.bool(), texts, actions=actions, pad=pad, done=pad[:, 0],
        importance=torch.ones(actions.shape[-1]),
    )  # fmt: skip
    return torch.randn(ROWS, HORIZON, WIDTH, generator=draw), batch


def seeded(work, seed=0):
    torch.manual_seed(seed)
    return work()


@pytest.mark.parametrize("name", HEADS)
def test_the_two_verbs(name):
    head, face = made(name)
    context, batch = given(face)
    context.requires_grad_(True)
    loss, parts = head.loss(context, batch)
    assert loss.ndim == 0 and torch.isfinite(loss) and "action" in parts and parts["action"] >= 0
    loss.backward()
    assert context.grad.abs().sum() > 0
    assert all(p.grad is not None for p in head.parameters() if p.requires_grad)
    with torch.no_grad():
        actions = head.eval().act(context)
    assert actions.shape == (ROWS, HORIZON, len(face.action_names)) and actions.dtype == torch.float32
    assert torch.isfinite(actions).all()
    assert from_dict(type(HEADS[name]), to_dict(HEADS[name])) == HEADS[name]


@pytest.mark.parametrize("name", HEADS)
def test_a_running_chunk_is_taken_into_account(name):
    """Committed actions come first: flow gets near them (how near, and diffusion, in tests/models/test_guidance.py), tokens
    within a bin. A prior that says what the head would say changes nothing where nothing is denoised."""
    head, face = made(name)
    context, batch = given(face)
    head.eval()
    with torch.no_grad():
        plain = seeded(lambda: head.act(context))
        prior = PriorChunk(batch.actions[:, :3], 2)
        got = seeded(lambda: head.act(context, prior))
        none = seeded(lambda: head.act(context, None))
        same = seeded(lambda: head.act(context, PriorChunk(plain, 2)))
    torch.testing.assert_close(none, plain)
    assert got.shape == plain.shape and not got.requires_grad
    off, before = (float((x - batch.actions)[:, :2].abs().mean()) for x in (got, plain))
    denoised, tokens = isinstance(HEADS[name], h.DiffusionConfig | h.FlowConfig), name == "tokens"
    assert isinstance(HEADS[name], h.DiffusionConfig) or off < (0.8 * before if denoised else 0.1 if tokens else 1e-5)
    if not denoised:
        torch.testing.assert_close(same, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", HEADS)
def test_padding_counts_for_nothing(name):
    head, face = made(name)
    context, batch = given(face)
    other = batch.actions.clone()
    other[0, 3:, :3] += 1.5
    head.eval()
    with torch.no_grad():
        one = seeded(lambda: head.loss(context, batch)[0])
        two = seeded(lambda: head.loss(context, replace(batch, actions=other))[0])
        whole = seeded(lambda: head.loss(context, replace(batch, actions=other, pad=torch.zeros_like(batch.pad)))[0])
        none = head.loss(context, replace(batch, pad=torch.ones_like(batch.pad)))[1]["action"]
    if name in ("diffusion, MLP", "diffusion, clean actions", "diffusion, U-Net", "flow"):
        return  # what is noised is the whole chunk: the padded steps are input to the others
    assert float(one) == pytest.approx(float(two), rel=1e-5)
    assert abs(float(whole) - float(one)) > 1e-4
    assert float(none) == 0.0


@pytest.mark.parametrize("name", HEADS)
def test_it_learns_eight_chunks_by_heart(name):
    head, face = made(name)
    context, batch = given(face)
    many = 8 if isinstance(HEADS[name], h.DiffusionConfig | h.FlowConfig) else 1  # so many draws of noise a step
    batch = replace(batch, pad=torch.zeros_like(batch.pad))
    taught = replace(batch, actions=batch.actions.repeat(many, 1, 1), pad=batch.pad.repeat(many, 1))
    shown = context.repeat(many, 1, 1)
    with torch.no_grad():
        untrained = seeded(lambda: float((head.act(context) - batch.actions).abs().mean()))
    optimizer = torch.optim.AdamW([p for p in head.parameters() if p.requires_grad], 5e-3, weight_decay=0.0)
    torch.manual_seed(0)
    for _ in range(150):
        head.loss(shown, taught)[0].backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        trained = seeded(lambda: float((head.eval().act(context) - batch.actions).abs().mean()))
    assert trained < 0.6 * untrained, f"{untrained:.3f} → {trained:.3f}"


RARE = np.repeat([[0.3, -0.01, 0.0], [-0.2, 0.02, 100.0]], [98, 2], axis=0) + 1e-3 * np.sin(np.arange(300)).reshape(
    100, 3
)


@pytest.mark.parametrize("name", [n for n in HEADS if n != "pose"])
def test_what_the_data_reach_rarely_is_within_reach(name):
    """A gripper (0 … 100) that closes in 2 % of the frames lies at 7 σ: every head can answer it."""
    config = HEADS[name]
    if isinstance(config, h.JointPositionConfig | h.EnsembleConfig):
        config = h.JointPositionConfig() if name == "joint position" else h.EnsembleConfig(h.JointPositionConfig())
    if isinstance(config, h.JointVelocityConfig):
        config = h.JointVelocityConfig()
    head = config.build(WIDTH, made("chunk")[1])
    norm = Normalizer.fit(RARE)
    head.fit(RARE, norm)
    wanted = torch.from_numpy(norm.forward(RARE))
    assert wanted[-1, 2] > 6.5
    for part in [head, *getattr(head, "members", ()), *getattr(head, "heads", ())]:
        if hasattr(part, "low"):
            assert (part.low <= wanted.amin(0)).all() and (part.high >= wanted.amax(0)).all()
    if hasattr(head, "edges"):
        said = norm.inverse(c.from_bins(c.to_bins(wanted, head.edges), head.edges).numpy())
        spans = RARE.max(0) - RARE.min(0)
        np.testing.assert_array_less(np.abs(said - RARE), np.broadcast_to(1.1 / 64 * spans, RARE.shape))
    if isinstance(getattr(head, "way", None), Diffusion):
        goal = wanted[-1].expand(4, HORIZON, -1)
        signal = c.cosine_signal(head.way.steps)

        def net(x, t, _):
            if head.way.predicts == "actions":
                return goal
            at = signal[(t[0] * head.way.steps).round().long()]
            return (x - at.sqrt() * goal) / (1 - at).sqrt()

        trained, head.net = head.net, Said(net)
        actions = norm.inverse(seeded(lambda: head.act(torch.zeros(4, HORIZON, WIDTH))).numpy())
        head.net = trained
        np.testing.assert_allclose(actions, np.broadcast_to(RARE[-1], actions.shape), atol=0.1)
    again = config.build(WIDTH, made("chunk")[1])
    again.load_state_dict(head.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.buffers(), head.buffers(), strict=True))  # with the weights


class Said(torch.nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, *given):
        return self.answer(*given)


def test_limits_that_the_data_exceed_are_refused_by_name():
    _, face = made("chunk")
    norm, actions = Normalizer(np.zeros(3), np.ones(3)), np.array([[0.0, 0.0, 0.0], [1.0, 3.0, 1.0]])
    for config in (h.JointPositionConfig((-2.0,), (2.0,)), h.JointVelocityConfig((2.0,))):
        with pytest.raises(
            BadValue, match=r"-2 … 2 for action 'dy', and the data reach from 0 to 3.*Next: wider limits"
        ):
            config.build(WIDTH, face).fit(actions, norm)


# ------------------------------------------------------------------------------------------------ each on its own


def test_cached_decoding_gives_the_same_tokens():
    head, face = made("tokens")
    context, _ = given(face)
    with torch.no_grad():
        torch.nn.init.normal_(head.logits.weight)  # answers that differ from token to token
        one, two = head.eval().act(context, cached=True), head.act(context, cached=False)
    assert torch.equal(one, two) and one.unique().numel() > 10


def test_what_the_cache_answers_is_what_was_taught():
    """Teacher forcing on its own answer must give the same likeliest tokens: both read with the same mask."""
    head, face = made("tokens")
    context, _ = given(face)
    with torch.no_grad():
        torch.nn.init.normal_(head.logits.weight)
        tokens = c.to_bins(head.eval().act(context), head.edges).flatten(1)
        again = head.teach(head.enter(context), tokens).argmax(-1)
    assert torch.equal(tokens, again)


def test_quantile_bins_are_saved_with_the_head():
    head, _ = made("tokens")
    unit = Normalizer(np.zeros(3), np.ones(3))
    head.fit(np.random.default_rng(0).normal(size=(1000, 3)) * np.array([1.0, 0.01, 5.0]), unit)
    assert "edges" in head.state_dict() and not head.edges.requires_grad
    width = head.edges[:, -1] - head.edges[:, 0]
    assert width[1] < 0.1 < width[0] < width[2]


def test_joint_targets_keep_limits_and_velocity_in_natural_units():
    names = ("joint1", "joint2", "gripper")
    face = Interface({"front": (16, 16)}, ("s",), names, 6, 0.1)
    norm = Normalizer(np.array([0.2, -1.0, 0.5]), np.array([0.5, 2.0, 0.3]))
    config = h.JointPositionConfig((-0.4, -2.0, 0.0), (0.6, 2.0, 1.0), max_velocity=0.5)
    head = config.build(WIDTH, face)
    head.fit(np.zeros((2, 3)), norm)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in head.parameters():
            p.normal_(0, 3)  # saturated: the limits must bind
        actions = norm.inverse(head.act(torch.randn(64, 1, WIDTH)).numpy())
    low, high = np.array(config.low), np.array(config.high)
    assert (actions >= low - 1e-5).all() and (actions <= high + 1e-5).all()
    assert (actions.min((0, 1)) < low + 0.01).all() and (actions.max((0, 1)) > high - 0.01).all()
    speed = np.abs(np.diff(actions, axis=1)).max((0, 1)) / face.dt
    assert (speed[:2] <= 0.5 + 1e-4).all() and speed[:2].max() > 0.45 and speed[2] > 0.5  # a gripper snaps


def test_joint_velocity_is_bounded():
    head = h.JointVelocityConfig((0.5, 1.0, 2.0)).build(WIDTH, made("chunk")[1])
    with torch.no_grad():
        for p in head.parameters():
            p.normal_(0, 3)
        most = head.act(torch.randn(64, 1, WIDTH)).abs().amax((0, 1))
    assert torch.allclose(most, torch.tensor([0.5, 1.0, 2.0]), atol=1e-3)


def test_a_pose_is_a_pose_and_a_normalised_quaternion_is_refused():
    head, face = made("pose")
    context, batch = given(face)
    pose = head.act(context)
    assert torch.allclose(pose[..., 3:7].norm(dim=-1), torch.ones(ROWS, HORIZON), atol=1e-5)
    assert (pose[..., 3] >= 0).all() and ((pose[..., 7] >= 0) & (pose[..., 7] <= 1)).all()
    with pytest.raises(BadValue, match=r"quaternions of length .* expected 1\. Next: keep the normaliser off"):
        head.loss(context, replace(batch, actions=batch.actions * 2))
    open_wide = batch.actions.clone()
    open_wide[..., 7] *= 100
    with pytest.raises(BadValue, match=r"gripper openings of 0 … 100; expected 0 … 1\. Next: keep the normaliser off"):
        head.loss(context, replace(batch, actions=open_wide))
    with pytest.raises(BadValue, match="3 actions; expected 8"):
        h.PoseConfig().build(WIDTH, made("chunk")[1])


def test_words_name_tasks_and_the_named_head_learns():
    tasks = tuple(h.TASK_WORDS)
    assert [tasks[h.task_of(t, tasks)] for t in ("Grasp the cube", "put it on the plate", "please open the door")] == [
        "pick", "place", "open",
    ]  # fmt: skip
    assert h.task_of("wave at me", tasks) == -100
    head, face = made("task heads")
    context, batch = given(face)
    head.loss(context, replace(batch, texts=("pick up the cube",) * ROWS))[0].backward()
    grads = [x.out.weight.grad.abs().sum() for x in head.heads]
    assert grads[0] > 0 and all(g == 0 for g in grads[1:])


def test_an_ensemble_answers_with_the_mean_of_members_that_began_apart():
    head, face = made("ensemble")
    context, batch = given(face)
    with torch.no_grad():
        said = head.eval().answers(context)
        losses = [member.loss(context, batch)[0] for member in head.members]
        torch.testing.assert_close(head.act(context), said.mean(0))
        torch.testing.assert_close(head.loss(context, batch)[0], torch.stack(losses).mean())
    assert said.shape == (3, ROWS, HORIZON, 3) and (said.std(0) > 1e-3).all()
    with pytest.raises(BadValue, match="an ensemble of 1; expected 2 members or more"):
        h.EnsembleConfig(members=1).build(WIDTH, face)


@pytest.mark.parametrize("many", [h.EnsembleConfig, h.TaskHeadsConfig])
def test_heads_inside_a_head_learn_the_limits_of_the_data(many):
    """Whatever is asked of them, they answer within."""
    head = many(head=h.JointPositionConfig()).build(WIDTH, made("chunk")[1])
    actions = np.random.default_rng(0).uniform([-0.2, 1.0, 0.0], [0.4, 3.0, 1.0], (200, 3))
    norm = Normalizer(np.array([0.1, 2.0, 0.5]), np.array([0.3, 1.0, 0.5]))
    head.fit(actions, norm)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in head.parameters():
            p.normal_(0, 3)
        said = norm.inverse(head.act(torch.randn(64, 1, WIDTH)).numpy())
    assert (said > actions.min(0) - 0.15).all() and (said < actions.max(0) + 0.15).all()


def test_what_a_token_head_said_is_read_back_from_its_logits():
    for name in ("tokens", "tokens, parallel"):
        head, face = made(name)
        context, _ = given(face)
        with torch.no_grad():
            torch.nn.init.normal_(head.logits.weight)
            said = head.eval().said(context)
            assert said.shape == (ROWS, HORIZON, 3, 64) and torch.equal(said.argmax(-1), head.tokens(context))
            assert torch.equal(c.from_bins(head.tokens(context), head.edges), head.act(context))


def test_the_same_noise_gives_the_same_chunk():
    for name in ("diffusion, MLP", "diffusion, clean actions", "diffusion, U-Net", "flow"):
        head, face = made(name)
        context, _ = given(face)
        with torch.no_grad():
            first, again, other = (seeded(lambda: head.eval().act(context), s) for s in (1, 1, 2))  # noqa: B023
        assert torch.equal(first, again) and not torch.equal(first, other)
