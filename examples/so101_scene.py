"""What a mock SO-101 sees: two discs on a board, and its own pose. Its joints are in LeRobot's calibrated -100 … 100."""

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
