"""Put a model together from parts, and watch it act before it has learned anything.

A model is a frozen value: a vision encoder, a text encoder, a fusion, a head, each with settings of its own. What is
chosen here exists nowhere as a preset: an encoder that has seen ImageNet (from a Python package, no download), words
that ask and pictures that answer, and a flow-matching head. docs/models.md lists the parts.

    python examples/06_build_a_model.py
"""

import numpy as np
import torch

from palmar.data.normalize import Normalizer
from palmar.mapping import Interface
from palmar.models.acting import NeuralPolicy
from palmar.models.generative import MLPConfig
from palmar.models.heads import FlowConfig
from palmar.models.imagenet import ImagenetConfig
from palmar.models.sequence import CrossAttentionConfig
from palmar.models.transformer import TransformerConfig
from palmar.models.vla import VLAConfig
from palmar.robots.arm7 import arm7
from palmar.sim import tasks
from palmar.sim.world import World

robot = arm7()
config = VLAConfig(
    vision=ImagenetConfig(stages=4, frozen=True),
    fusion=CrossAttentionConfig(TransformerConfig(width=96, layers=2, heads=4, hidden=256)),
    head=FlowConfig(MLPConfig(width=256)),
    preset="mine",
)

# The interface is what a data set says: cameras, names, how many actions at once. `train` takes it from yours.
world = World(robot)
obs = world.load(tasks.sample("pick", "layout", seed=1))
face = Interface({c: x.shape[:2] for c, x in obs.images.items()}, robot.state_names, robot.action_names)
torch.manual_seed(0)
model = config.build(face)
counts = [p.numel() for p in model.parameters()]
learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
print(f"{sum(counts)} parameters, {learned} of them learn")

# Normalisers are fitted to demonstrations; these change nothing.
state, actions = (Normalizer(np.zeros(n), np.ones(n)) for n in (len(robot.state_names), len(robot.action_names)))
policy = NeuralPolicy(model, state, actions)
chunk = policy.act(obs)
print(f"'{obs.instruction}': {len(chunk.actions)} actions of {chunk.actions.shape[1]} numbers, {chunk.dt} s each")
print(
    "to train it: palmar.train.loop.train(TrainRequest(config, Dataset('data/mine'), TrainConfig(minutes=20)), 'runs/mine')"
)
