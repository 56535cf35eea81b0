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
Y, X = np.mgrid[:480, :640]


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


def look(q, discs):
    """Front and wrist pictures uint8[480, 640, 3]. The front shows the discs and a cross where the arm points; the wrist looks
    at what lies under it."""
    front = np.full((480, 640, 3), (150, 140, 125), np.uint8)
    for name, (u, v) in discs.items():
        front[(X - 640 * u) ** 2 + (Y - 480 * v) ** 2 < 40**2] = COLOURS[name]
    u, v = 640 * (q[0] / 160 + 0.5), 480 * (q[2] / 160 + 0.5)
    front[((abs(X - u) < 5) & (abs(Y - v) < 24)) | ((abs(Y - v) < 5) & (abs(X - u) < 24))] = (20, 20, 20)
    rows = np.clip((v + (np.arange(480) - 240) // 2).astype(int), 0, 479)
    columns = np.clip((u + (np.arange(640) - 320) // 2).astype(int), 0, 639)
    return front, front[rows][:, columns]


class SO101:
    """The body: five joints and a gripper that follow their commands with a lag."""

    def __init__(self, robot):
        self.embodiment = robot

    def reset(self, seed=None):
        rng = np.random.default_rng(seed)
        self.discs, self.colour = lay(rng)
        self.at, self.ticks = (
            np.clip(rng.uniform(-60, 60, len(JOINTS)), self.embodiment.lower, self.embodiment.upper),
            0,
        )
        return self.observe()

    def observe(self, images=True):
        from palmar.types import Observation  # late: the scene is recorded where palmar need not be installed

        pictures = (
            {c: self.grain(x) for c, x in zip(("front", "wrist"), look(self.at, self.discs), strict=True)}
            if images
            else {}
        )
        time = self.ticks / self.embodiment.control_rate
        return Observation(pictures, self.at.astype(np.float32), f"touch the {self.colour} disc", time)

    def grain(self, picture):
        """The noise of a camera, without which a view of an empty board would look frozen."""
        noise = np.random.default_rng(self.ticks).integers(-2, 3, picture.shape, np.int8)
        return np.clip(picture.astype(np.int16) + noise, 0, 255).astype(np.uint8)

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
