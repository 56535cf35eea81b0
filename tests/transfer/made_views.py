"""Views of a board by pure projection: an arm, a camera beside it or on its hand, and what is wrong with both."""

import numpy as np

from palmar.links import looking
from palmar.robots.arm7 import arm7
from palmar.transfer.board_views import BoardViews
from palmar.transfer.pinhole import FLIP, PinholeLens, camera_pose
from palmar.transfer.starts import inverse, posed, turns

ROBOT = arm7()
CHAIN = ROBOT.frame().chain
SIDE = 480
_GRID = np.stack(np.meshgrid(np.arange(6), np.arange(4)), -1).reshape(-1, 2) * 0.03
POINTS = np.c_[_GRID - _GRID.mean(0), 0 * _GRID[:, :1]]
DOWN = np.diag([1.0, -1.0, -1.0])


class Made:
    """views, and the truth: lens, camera, board, zeros [rad]."""

    def __init__(
        self, seed: int, count: int = 25, pixel: float = 0.2, joint: float = 5e-4, zeros: float = 1.5, in_hand: bool = False,
        turning: float = 1.0,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng([71, seed])
        f = rng.uniform(380, 460)
        middle = (SIDE - 1) / 2 + rng.normal(0, 4, 2)
        self.lens = PinholeLens(SIDE, SIDE, f, f, *middle, rng.normal(0, 0.1), rng.normal(0, 0.05))
        self.zeros = np.zeros(7)
        self.zeros[1:6] = np.deg2rad(rng.normal(0, zeros, 5))
        home = ROBOT.positions(ROBOT.frame(), ROBOT.home)
        home = CHAIN.solve(home, np.array([0.5, 0, 0.35]), DOWN, home)
        if in_hand:
            tip = turns(np.array([0, np.deg2rad(22), 0])) @ FLIP @ turns(np.array([0, 0, np.pi / 2]))
            self.camera = posed(
                camera_pose(tip) @ turns(rng.normal(0, 0.05, 3)), [-0.07, 0, -0.09] + rng.normal(0, 0.01, 3)
            )
            self.board = posed(turns(np.array([0, 0, rng.uniform(-3, 3)])) @ FLIP, np.array([0.5, 0, 0.0]))
        else:
            eye = np.array([0.88, 0, 0.4]) + rng.normal(0, 0.03, 3)
            at = np.array([0.51, 0, 0.25]) + rng.normal(0, 0.03, 3)
            self.camera = posed(camera_pose(looking(tuple(eye), tuple(at))), eye)
            place = np.array([0.5, 0, 0.27])
            z = (place - eye) / np.linalg.norm(place - eye)
            x = np.cross([0, 0, 1.0], z)
            x /= np.linalg.norm(x)
            facing = posed(np.stack([x, np.cross(z, x), z], 1), place)
            self.board = (
                inverse(posed(DOWN, np.array([0.5, 0, 0.35])))
                @ facing
                @ posed(turns(rng.normal(0, 0.1, 3)), rng.normal(0, 0.01, 3))
            )
        rows, pixels = [], []
        spread = turning * np.array([0.3, 0.3, 0.3, 0.3, 0.6, 0.6, 0.8])
        while len(rows) < count:
            q = home + rng.uniform(-1, 1, 7) * spread
            position, rotation = CHAIN.forward(q + self.zeros)
            hand = posed(rotation, position)
            pose = inverse(self.camera) @ (inverse(hand) if in_hand else hand) @ self.board
            seen = POINTS @ pose[:3, :3].T + pose[:3, 3]
            facing_it = pose[:3, 2] @ pose[:3, 3] / np.linalg.norm(pose[:3, 3])
            u = self.lens.project(seen)
            if seen[:, 2].min() > 0.1 and facing_it > 0.4 and (u > 4).all() and (u < SIDE - 5).all():
                rows.append(q)
                pixels.append(u)
        noisy = np.array(pixels) + rng.normal(0, pixel, (count, len(POINTS), 2))
        self.views = BoardViews(POINTS, noisy, SIDE, SIDE, np.array(rows) + rng.normal(0, joint, (count, 7)))
