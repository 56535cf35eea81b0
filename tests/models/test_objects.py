"""Boxes and poses: a tiny model learns them from pictures, and what is not known teaches nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import batch as noise

from palmar.errors import BadValue
from palmar.models.auxiliary import ObjectsConfig, giou
from palmar.models.base import DECIMETRE, Interface, Labels, pixels
from palmar.models.compress import TokenLearnerConfig
from palmar.models.config import from_dict, to_dict
from palmar.models.sequence import (
    CrossAttentionConfig,
    EncoderDecoderConfig,
    PassConfig,
    PooledConfig,
    SelfAttentionConfig,
)
from palmar.models.transformer import TransformerConfig
from palmar.models.vision import SmallConvConfig
from palmar.models.vla import GoalConfig, VLAConfig

SMALL = TransformerConfig(width=32, layers=1, heads=4, hidden=64, dropout=0.0)
CONFIG = VLAConfig(
    vision=SmallConvConfig(channels=(16, 32), out=32),
    fusion=SelfAttentionConfig(SMALL),
    objects=ObjectsConfig(box=1.0, position=1.0, turn=1.0, transformer=SMALL),
)
FACE = Interface({"front": (24, 24), "wrist": (16, 16)}, ("tcp.x", "tcp.y", "tcp.z"), ("dx", "dy", "gripper"), 2, 0.1)


def drawn(count, seed, interface=FACE):
    """A bright rectangle on each picture is the target; its hue is its yaw, its place in the first picture its position."""
    rng = np.random.default_rng(seed)
    places, sides = rng.uniform(0.25, 0.75, (count, 2, 2)), rng.uniform(0.15, 0.45, (count, 2, 2))
    yaw = rng.uniform(-np.pi / 4, np.pi / 4, count)
    images = {}
    for view, (camera, (h, w)) in enumerate(interface.cameras.items()):
        picture = rng.integers(40, 80, (count, h, w, 3))
        rows, columns = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w
        for i in range(count):
            (u, v), (a, b) = places[i, view], sides[i, view] / 2
            inside = (abs(rows - v) < b)[:, None] & (abs(columns - u) < a)
            picture[i, inside] = 150 + 100 * np.array([np.cos(4 * yaw[i]), np.sin(4 * yaw[i]), 1])
        images[camera] = pixels(torch.from_numpy(picture.astype(np.uint8)))
    target = torch.zeros(count, 2, 2, dtype=torch.bool)
    target[..., 0] = True  # there is no goal

    def with_goal(x):
        x = torch.from_numpy(np.asarray(x, np.float32))
        return torch.stack([x, torch.zeros_like(x)], -2)

    labels = Labels(
        points=with_goal(places), visible=target.float(), placed=torch.ones_like(target),
        relative=with_goal(np.concatenate([4 * places[:, 0] - 2, yaw[:, None] * 0], -1)), known=target[:, 0],
        boxes=with_goal(np.concatenate([places, sides], -1)), boxed=target,
        turns=with_goal(np.stack([np.cos(4 * yaw), np.sin(4 * yaw)], -1)), turned=target[:, 0],
    )  # fmt: skip
    return replace(noise(interface, count, seed), images=images, labels=labels), yaw


def errors(model, given, yaw):
    """1 - GIoU of the boxes, position [m] and yaw [rad] of the targets."""
    with torch.no_grad():
        said = model.eval().locate(given)
    away = (said.positions - given.labels.relative * DECIMETRE)[:, 0].norm(dim=-1).mean()
    turned = (said.yaws[:, 0] - torch.from_numpy(yaw) + np.pi / 4) % (np.pi / 2) - np.pi / 4
    boxes = 1 - giou(said.boxes[:, :, 0], given.labels.boxes[:, :, 0])
    return torch.stack([boxes.mean(), away, turned.abs().mean()]).numpy()


def test_boxes_and_poses_are_learned_from_pictures():
    torch.manual_seed(0)
    model, held = CONFIG.build(FACE), drawn(64, 999)
    data = [drawn(32, seed)[0] for seed in range(16)]
    before = errors(model, *held)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for step in range(100):
        loss, parts = model.loss(data[step % len(data)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    after = errors(model, *held)
    assert {"heat", "box", "visible", "position", "turn"} <= set(parts)
    assert (after < [0.5, 0.04, 0.2]).all() and (after < 0.6 * before).all(), f"{before} → {after}"
    with torch.no_grad():
        shown = model.act(held[0]).attention
    assert set(shown) == {f"{c}.{g}" for c in FACE.cameras for g in ("target", "goal")}
    heat, (u, v) = shown["front.target"], held[0].labels.points[:, 0, 0].T
    best = heat.flatten(1).argmax(1)
    off = torch.stack([best % heat.shape[2] + 0.5, best // heat.shape[2] + 0.5], -1) / heat.shape[1]
    assert (off - torch.stack([u, v], -1)).abs().mean() < 0.1


@pytest.mark.parametrize(
    "fusion",
    [PassConfig(32), PooledConfig(32), SelfAttentionConfig(SMALL), CrossAttentionConfig(SMALL), EncoderDecoderConfig(SMALL, SMALL)],
)  # fmt: skip
def test_what_is_not_known_adds_nothing(fusion):
    torch.manual_seed(0)
    given, _ = drawn(4, 0)
    model = replace(CONFIG, fusion=fusion).build(FACE).eval()
    labels = given.labels
    off = {k: torch.zeros_like(getattr(labels, k)) for k in ("visible", "placed", "known", "boxed", "turned")}
    without, parts = model.loss(replace(given, labels=None))
    assert not {"heat", "box", "position", "turn"} & set(parts)
    silent, parts = model.loss(replace(given, labels=replace(labels, **off)))
    torch.testing.assert_close(silent, without)
    assert all(parts[k] == 0 for k in ("heat", "box", "position", "turn", "visible"))
    silent.backward()
    assert not any(p.grad.any() for p in model.objects.parameters() if p.grad is not None)
    older = replace(labels, boxes=None, boxed=None, turns=None, turned=None)
    total, parts = model.loss(replace(given, labels=older))
    assert not {"box", "turn"} & set(parts) and total > without


def test_pictures_of_the_past_and_of_the_goal_are_not_looked_over():
    config = replace(CONFIG, history=(-1, 0), goal=GoalConfig(offset=4))
    interface = replace(FACE, offsets=config.offsets)
    model = config.build(interface)
    given = noise(interface, 3)
    assert model.loss(replace(given, labels=drawn(3, 0)[0].labels))[1]["box"].isfinite()
    said = model.eval().locate(given)
    assert said.boxes.shape == (3, 2, 2, 4) and said.positions.shape == (3, 2, 3) and said.yaws.shape == (3, 2)
    assert [x.shape for x in said.heat.values()] == [(3, 2, h * w) for h, w in model.cameras.grids.values()]


def test_generalised_iou():
    a = torch.tensor([0.5, 0.5, 0.2, 0.4])
    moved = a + torch.tensor([0.1, 0.0, 0.0, 0.0])  # half of it lies on the other
    apart = torch.tensor([[0.1, 0.5, 0.2, 0.2], [0.7, 0.5, 0.2, 0.2]])
    assert giou(a, a) == pytest.approx(1) and giou(a, moved) == pytest.approx(1 / 3)
    assert giou(*apart) == pytest.approx(-(0.16 - 0.08) / 0.16)


def test_a_model_without_objects_says_so_and_an_older_file_has_none():
    plain = replace(CONFIG, objects=None)
    with pytest.raises(BadValue, match="does not locate things"):
        plain.build(FACE).locate(drawn(1, 0)[0])
    with pytest.raises(BadValue, match="compressed tokens"):
        replace(CONFIG, compress=TokenLearnerConfig(tokens=4)).build(FACE)
    assert from_dict(VLAConfig, to_dict(CONFIG)) == CONFIG
    older = {k: v for k, v in to_dict(plain).items() if k != "objects"}
    assert from_dict(VLAConfig, older) == plain
