"""Episodes out of thin air: cheap, different from one another, and every frame can be told apart."""

from functools import lru_cache

import numpy as np

from palmar.robots.arm7 import arm7
from palmar.types import Episode, Observation, Step

ROBOT = arm7()


def picture(frame: int, seed: int, camera: int, size: int = 96) -> np.ndarray:
    """uint8[size, size, 3]: a smooth gradient that moves with the frame, coloured by seed and camera."""
    return _drawn(frame, seed, camera, size).copy()


@lru_cache(1024)  # 28 kB each; most are asked for many times, to be compared with what was recorded
def _drawn(frame: int, seed: int, camera: int, size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    flat = np.full((size, size), (seed * 37 + camera * 80) % 256)
    return np.stack([(x + frame * 4) % 200, (y + seed * 9) % 200, flat], -1).astype(np.uint8)


def episode(
    length: int = 12,
    seed: int = 0,
    instruction: str = "pick up the red cube",
    success: bool = True,
    privileged: int = 0,
) -> Episode:
    rng = np.random.default_rng(seed)
    steps = []
    for i in range(length):
        images = {cam.name: picture(i, seed, k) for k, cam in enumerate(ROBOT.cameras)}
        truth = rng.normal(size=privileged).astype(np.float32) if privileged else None
        state = rng.normal(size=len(ROBOT.state_names)).astype(np.float32)
        action = rng.normal(size=len(ROBOT.action_names)).astype(np.float32)
        steps.append(Step(Observation(images, state, instruction, i / 10, truth), action, action))
    return Episode(instruction, "pick", seed, "expert", steps, success, "done", length / 10, {"score": 0.5})
