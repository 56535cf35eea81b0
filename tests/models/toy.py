"""A small interface, and batches of noise that fit it, for any model."""

import torch

from palmar.mapping import Interface
from palmar.models.base import GROUNDED, Batch, Inputs, Labels, pixels
from palmar.models.encoders import TOKEN_WIDTH

STATE = ("tcp.x", "tcp.y", "tcp.z", "joint1.vel")
ACTIONS = ("dx", "dy", "gripper")
TEXTS = ("pick up the red cube", "push the blue ball left")


def face(config, horizon=4):
    cameras = {"front": (48, 48), "wrist": (32, 32)}
    return Interface(cameras, STATE, ACTIONS, horizon, 0.1, "toy", offsets=config.offsets)


def batch(interface, count=8, seed=0):
    """Fixed noise to be learned by heart: half the rows one task, half the other."""
    draw = torch.Generator().manual_seed(seed)
    times = len(interface.offsets)
    images = {}
    for camera, (h, w) in interface.cameras.items():
        shape = (count, h, w, 3) if times == 1 else (count, times, h, w, 3)
        images[camera] = pixels(torch.randint(0, 255, shape, generator=draw, dtype=torch.uint8))
    horizon, width = interface.horizon, len(interface.action_names)
    pad = torch.zeros(count, horizon, dtype=torch.bool)
    pad[0, horizon // 2 :] = True
    mask = torch.ones(count, 5, dtype=torch.bool)
    mask[::2, 4] = False
    return Batch(
        images,
        torch.randn(count, len(interface.state_names), generator=draw),
        torch.randn(count, 5, TOKEN_WIDTH, generator=draw).half(),
        mask,
        tuple(TEXTS[i % 2] for i in range(count)),
        actions=torch.randn(count, 1, width, generator=draw).repeat(1, horizon, 1).clamp(-2, 2),
        pad=pad,
        done=torch.arange(count) % 4 == 0,
        importance=torch.ones(width),
    )


def past(given, interface):
    """What is there when acting: no pictures from the future."""
    count = len(interface.past)
    images = {c: x[:, :count] if x.ndim == 5 else x for c, x in given.images.items()}
    return Inputs(images, given.state, given.tokens, given.mask, given.texts)


def labels_of(interface, count=8, seed=0):
    """Everything known of both objects, which lie anywhere."""
    draw = torch.Generator().manual_seed(seed)
    each = (count, len(interface.cameras), len(GROUNDED))
    there, known = torch.ones(each), torch.ones(count, len(GROUNDED), dtype=torch.bool)
    turn = 6.28 * torch.rand(count, len(GROUNDED), generator=draw)
    return Labels(
        points=torch.rand(*each, 2, generator=draw), visible=there, placed=there.bool(),
        relative=torch.randn(count, len(GROUNDED), 3, generator=draw), known=known,
        boxes=0.2 + 0.4 * torch.rand(*each, 4, generator=draw), boxed=there.bool(),
        turns=torch.stack([turn.cos(), turn.sin()], -1), turned=known,
    )  # fmt: skip
