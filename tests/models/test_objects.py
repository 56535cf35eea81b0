"""Boxes, poses and relations: a tiny model learns them from pictures, and what is not known teaches nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import batch as noise

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import DECIMETRE, Labels, pixels
from palmar.models.compress import TokenLearnerConfig
from palmar.models.config import from_dict, to_dict
from palmar.models.heads import PoseConfig
from palmar.models.objects import RELATIONS, ObjectsConfig, giou, related, relation_labels
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
from palmar.sim import tasks, truth
from palmar.sim.world import World

SMALL = TransformerConfig(width=32, layers=1, heads=4, hidden=64, dropout=0.0)
CONFIG = VLAConfig(
    vision=SmallConvConfig(channels=(16, 32), out=32),
    fusion=SelfAttentionConfig(SMALL),
    objects=ObjectsConfig(box=1.0, relative=1.0, turn=1.0, transformer=SMALL),
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
    assert {"heat", "box", "visible", "relative", "turn", "relation"} <= set(parts)
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
    assert not {"heat", "box", "relative", "turn", "relation"} & set(parts)
    silent, parts = model.loss(replace(given, labels=replace(labels, **off)))
    torch.testing.assert_close(silent, without)
    assert all(parts[k] == 0 for k in ("heat", "box", "relative", "turn", "visible", "relation"))
    silent.backward()
    assert not any(p.grad.any() for p in model.objects.relate.parameters() if p.grad is not None)
    assert not any(c[2].weight.grad[:4].any() for c in model.objects.box)  # the fifth goes to the fusion
    older = replace(labels, boxes=None, boxed=None, turns=None, turned=None)
    total, parts = model.loss(replace(given, labels=older))
    assert not {"box", "turn"} & set(parts) and total > without


@pytest.mark.parametrize("compress", [None, TokenLearnerConfig(tokens=4)])
def test_located_objects_change_the_actions(compress):
    """Also where the pictures' own tokens are compressed, and have no place any more."""
    torch.manual_seed(0)
    model = replace(CONFIG, compress=compress).build(FACE).eval()
    given, _ = drawn(4, 0)
    with torch.no_grad():
        before, found = model.act(given).actions, model.locate(given)
        model.objects.project[2].weight.zero_()
        after, same = model.act(given).actions, model.locate(given)
    assert (before - after).abs().max() > 1e-4
    torch.testing.assert_close(found.boxes, same.boxes)


def test_pictures_of_the_past_and_of_the_goal_are_not_looked_over():
    config = replace(CONFIG, history=(-1, 0), goal=GoalConfig(offset=4))
    interface = replace(FACE, offsets=config.offsets)
    model = config.build(interface)
    given = noise(interface, 3)
    assert model.loss(replace(given, labels=drawn(3, 0)[0].labels))[1]["box"].isfinite()
    said = model.eval().locate(given)
    assert said.boxes.shape == (3, 2, 2, 4) and said.positions.shape == (3, 2, 3) and said.yaws.shape == (3, 2)
    assert [x.shape for x in said.heat.values()] == [(3, 2, h * w) for h, w in model.cameras.grids.values()]


def two(count, seed):
    """A white square is the target and a dark one the goal, seen from above; the picture's middle is the TCP, and 3 dm wide.
    Half of the targets are at the gripper, half of the goals under the target."""
    rng = np.random.default_rng(seed)
    metres = rng.uniform(-0.12, 0.12, (count, 2, 3))
    at_hand, under = rng.uniform(size=(2, count)) < 0.5
    metres[at_hand, 0] = rng.uniform(-0.014, 0.014, (at_hand.sum(), 3))
    metres[:, 1, 2] = metres[:, 0, 2]
    metres[under, 1] = metres[under, 0] + rng.uniform([-0.03, -0.03, -0.04], [0.03, 0.03, -0.02], (under.sum(), 3))
    picture = rng.integers(90, 110, (count, 24, 24, 3))
    cells = (np.arange(24) + 0.5) / 24
    places = 0.5 - metres[..., [1, 0]] / 0.3  # left of the robot is left in the picture, far is up
    for i in range(count):
        for k, (half, paint) in ((1, (0.16, 20)), (0, (0.09, 250))):
            u, v = places[i, k]
            picture[i, (abs(cells - v) < half)[:, None] & (abs(cells - u) < half)] = paint
            picture[i, int(23 * (0.5 + metres[i, 0, 2] / 0.3)), :2] = 250  # a scale for the height
    face = Interface({"front": (24, 24)}, FACE.state_names, FACE.action_names, 2, 0.1)
    there = torch.ones(count, 1, 2)
    labels = Labels(
        points=torch.from_numpy(places[:, None].astype(np.float32)), visible=there, placed=there.bool(),
        relative=torch.from_numpy(metres.astype(np.float32)) / DECIMETRE, known=there[:, 0].bool(),
    )  # fmt: skip
    given = noise(face, count, seed)
    return replace(given, images={"front": pixels(torch.from_numpy(picture.astype(np.uint8)))}, labels=labels), face


def test_relations_are_learned_from_pictures():
    held, face = two(200, 999)
    true, known = relation_labels(held.labels)
    assert known.all() and (true.float().mean(0) > 0.1).all()
    torch.manual_seed(0)
    model = replace(CONFIG, objects=ObjectsConfig(relative=1.0, relation=1.0, transformer=SMALL)).build(face)
    data = [two(32, seed)[0] for seed in range(48)]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for step in range(150):
        model.loss(data[step % len(data)])[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found = model.eval().locate(held)
    right = ((found.relations > 0) == true).float().mean(0)
    guess = torch.maximum(true.float().mean(0), 1 - true.float().mean(0))
    assert found.relations.shape == (200, len(RELATIONS)) and right.mean() > 0.87, right
    assert (1 - right < 0.6 * (1 - guess)).all(), f"{guess} → {right}"
    said = found.holding()
    assert [[n in row for n in RELATIONS] for row in said] == (found.relations > 0).tolist()


def test_what_relations_mean():
    """In the robot's frame, whose left is +y and whose front is +x."""
    hand_off = [1.0, 1.0, 1.0]  # the target's place, far from the gripper

    def names(target, goal):
        held = related(torch.tensor([target, goal]))
        return {n for n, x in zip(RELATIONS, held.tolist(), strict=True) if x}

    def away(x, y, z):
        return [a - b for a, b in zip(hand_off, (x, y, z), strict=True)]

    assert names(hand_off, away(0.0, 0.1, 0.0)) == {"left of the goal"}
    assert names(hand_off, away(-0.1, -0.1, 0.0)) == {"right of the goal", "in front of the goal"}
    assert names(hand_off, away(0.1, 0.0, 0.0)) == {"behind the goal"}
    assert names(hand_off, away(0.01, -0.01, 0.025)) == {"on the goal"}
    assert names(hand_off, away(0.01, -0.01, 0.0)) == set()
    assert names([0.0, 0.02, 0.0], [0.0, 0.1, 0.0]) == {"right of the goal", "in the gripper"}


def test_the_simulators_truth_says_what_holds():
    world = World(images=False)
    robot = world.embodiment
    make = truth.decoder(world.truth_names, [c.name for c in robot.cameras], robot.state_names)

    def holding():
        seen = world.observe(images=False)
        rows = make(world.privileged()[None], seen.state[None])
        true, known = relation_labels(Labels(**{k: torch.from_numpy(v) for k, v in rows.items()}))
        assert known.all()
        return {n for n, x in zip(RELATIONS, true[0].tolist(), strict=True) if x}

    for seed in range(6):
        scenario = tasks.sample("place", "seen", seed)
        world.load(scenario)
        target, goal = scenario.target, scenario.goal
        dx, dy, _ = world.item(target) - world.item(goal)
        said = holding()
        assert ("left of the goal" in said, "right of the goal" in said) == (dy > 0.02, dy < -0.02)
        assert ("behind the goal" in said, "in front of the goal" in said) == (dx > 0.02, dx < -0.02)
        assert not {"on the goal", "in the gripper"} & said
        joints = world.data.qpos[:7].copy()
        world.pose(np.append(joints, 0.4), {target: world.tcp})
        assert "in the gripper" in holding()
        item = scenario.items[target]
        on = tasks.task("place").goal(world) + [0.01, -0.01, item.rest_height]
        world.pose(np.append(joints, 1.0), {target: on})
        assert holding() == {"on the goal"}
    world.close()


def test_no_two_losses_share_a_name():
    actions = ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper")
    face = Interface(FACE.cameras, FACE.state_names, actions, 2, 0.1)
    given = replace(noise(face, 4), labels=drawn(4, 0)[0].labels)
    given.actions[..., 3:7] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    given.actions[..., 7] = 1.0
    model = replace(CONFIG, head=PoseConfig()).build(face).eval()
    of_head = model.head.loss(model.perceive(given, given)[0].context, given)[1]
    of_objects = model.objects.loss(model.perceive(given, given)[0].found, given)[1]
    assert not set(of_head) & set(of_objects)
    assert set(model.loss(given)[1]) == {*of_head, *of_objects, "done", "loss"}


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
    assert from_dict(VLAConfig, to_dict(CONFIG)) == CONFIG
    older = {k: v for k, v in to_dict(plain).items() if k != "objects"}
    assert from_dict(VLAConfig, older) == plain
