"""An SO-101 as LeRobot calibrates it (-100 … 100, 30 Hz, two cameras of 480×640): a mock of it as a body of one's own.

Its robot file is made from a recorded data set, and a policy trained on that set drives it. Two discs lie on a board; the
instruction says which one to touch. Put the calls of your bus and cameras in place of the mock, and the walk is the same:

    palmar inspect data/so101 --quality
    palmar robot make data/so101 --out so101.toml        then read the file; kinematics and other sources can be added
    palmar train bcz-tiny --data data/so101 --out runs/so101 --minutes 9
    palmar eval --data data/so101 --policy runs/so101
    palmar run --replay data/so101 --robot so101.toml
    cd examples && palmar check-body --robot ../so101.toml --body 08_so101:SO101
    palmar run --robot ../so101.toml --body 08_so101:SO101 --policy ../runs/so101 "touch the red disc"
    cd .. && python examples/08_so101.py so101.toml runs/so101      how often it gets there, of 50

`tests/conformance/make_so101.py` records such a set with the `lerobot` package.
"""

import sys

import numpy as np

JOINTS = (
    "shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos", "gripper.pos",
)  # fmt: skip
COLOURS = {"red": (200, 50, 40), "blue": (50, 80, 200)}
REST = np.array([0.0, -20.0, 0.0, 10.0, 0.0, 30.0])  # where the joints that nothing depends on go
HEIGHT, WIDTH = 480, 640


def lay(rng):
    """Places {colour: (u, v) in 0 … 1 of the front picture} of two discs that do not touch, and the colour that is asked for."""
    while True:
        red, blue = rng.uniform(0.12, 0.88, 2), rng.uniform(0.12, 0.88, 2)
        if np.abs(red - blue).max() > 0.25:
            return {"red": red, "blue": blue}, str(rng.choice(["red", "blue"]))


def target(discs, colour):
    """The joints [6] that touch a disc: pan by its place across, elbow by its height."""
    u, v = discs[colour]
    goal = REST.copy()
    goal[0], goal[2] = 160 * (u - 0.5), 160 * (v - 0.5)
    return goal


def board(discs):
    """What does not move: the board with its discs, uint8[480, 640, 3]."""
    picture = np.full((HEIGHT, WIDTH, 3), (150, 140, 125), np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for name, (u, v) in discs.items():
        picture[(x - WIDTH * u) ** 2 + (y - HEIGHT * v) ** 2 < 40**2] = COLOURS[name]
    return picture


def look(q, still):
    """Front and wrist pictures uint8[480, 640, 3] for joints [6] over a board. The front shows the board and a cross where the
    arm points; the wrist looks at what lies under it, twice as large. About 1 ms: a camera has 33 ms."""
    front = still.copy()
    u, v = WIDTH * (q[0] / 160 + 0.5), HEIGHT * (q[2] / 160 + 0.5)
    for across, down in ((5, 24), (24, 5)):
        front[near(v, down), near(u, across)] = (20, 20, 20)
    rows = np.clip((v + np.arange(-HEIGHT // 4, HEIGHT // 4)).astype(int), 0, HEIGHT - 1)
    columns = np.clip((u + np.arange(-WIDTH // 4, WIDTH // 4)).astype(int), 0, WIDTH - 1)
    wrist = np.take(front[rows], np.repeat(columns, 2), axis=1)
    return front, np.repeat(wrist, 2, axis=0)


def near(middle, distance):
    """The pixels that are less than `distance` from the middle, as a slice."""
    return slice(max(int(np.floor(middle - distance)) + 1, 0), max(int(np.ceil(middle + distance)), 0))


class SO101:
    """The body: five joints and a gripper that follow their commands with a lag."""

    def __init__(self, robot):
        self.embodiment = robot
        # The noise of a camera, without which a view of an empty board would look frozen: -2 … 2, modulo 256.
        self.grain = np.random.default_rng(0).integers(-2, 3, (8, HEIGHT, WIDTH, 3), np.int8).view(np.uint8)

    def reset(self, seed=None):
        rng = np.random.default_rng(seed)
        self.discs, self.colour = lay(rng)
        self.board = board(self.discs)
        self.at, self.ticks = (
            np.clip(rng.uniform(-60, 60, len(JOINTS)), self.embodiment.lower, self.embodiment.upper),
            0,
        )
        return self.observe()

    def observe(self, images=True):
        from palmar.types import Observation  # late: the scene is recorded where palmar need not be installed

        pictures = {}
        if images:
            noise = self.grain[self.ticks % len(self.grain)]
            pictures = {c: x + noise for c, x in zip(("front", "wrist"), look(self.at, self.board), strict=True)}
        time = self.ticks / self.embodiment.control_rate
        return Observation(pictures, self.at.astype(np.float32), f"touch the {self.colour} disc", time)

    def apply(self, command):
        self.at = self.at + 0.8 * (command - self.at)
        self.ticks += 1

    def close(self):
        """Let go of the bus and the cameras."""

    @property
    def there(self):
        """Within a disc's radius (10 units) of the middle of the one that was asked for."""
        return bool(np.linalg.norm((self.at - target(self.discs, self.colour))[[0, 2]]) < 10)


def trials(robot_file, policy, number="50"):
    """On discs that lie where no demonstration had them, behind the safety layer."""
    from palmar.embodiments import Embodiment
    from palmar.policy import load_policy
    from palmar.runtime.chunks import ChunkBuffer
    from palmar.runtime.loop import rollout

    body, policy, wins = SO101(Embodiment.from_file(robot_file)), load_policy(policy), 0
    for seed in range(int(number)):
        policy.reset()
        rollout(body, policy, body.reset(10_000 + seed), chunks=ChunkBuffer(execute=12), timeout=4.0).check()
        wins += body.there
    print(f"touches the disc that was asked for in {wins} of {number} trials")


if __name__ == "__main__":
    trials(*sys.argv[1:])
