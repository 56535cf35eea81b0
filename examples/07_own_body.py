"""A body of your own: a class with `observe`, `apply`, `reset` and `close`, checked, recorded, trained for, and driven.

This one is a mock of a small pan-and-tilt arm whose camera shows a red square where it should point. Put your bus and your
camera in place of the two lines that say so, and the rest is the same for a real robot.

    python examples/07_own_body.py                       checks the body, then drives it with a policy that looks
    python examples/07_own_body.py record data/pointer   demonstrations of that policy, as a LeRobot data set

    cd examples                                          # palmar finds 07_own_body.py in the folder it is started in
    palmar train act-tiny --data ../data/pointer --out ../runs/pointer --minutes 4
    palmar check-body --body 07_own_body:Pointer
    palmar run --body 07_own_body:Pointer --policy ../runs/pointer --timeout 8 "point at the red square"
    python 07_own_body.py trial ../runs/pointer          how often it gets there, of 50
"""

import sys

import numpy as np

from palmar.embodiments import Embodiment
from palmar.robot_parts import Camera, Channel, state_of
from palmar.types import ActionChunk, Observation

CHANNELS = (
    Channel("pan", "revolute", "rad", -1.0, 1.0, velocity=2.0, acceleration=8.0, tolerance=0.5),
    Channel("tilt", "revolute", "rad", -1.0, 1.0, velocity=2.0, acceleration=8.0, tolerance=0.5),
    Channel("grip", "opening", "opening", 0.0, 1.0, velocity=4.0, home=1.0),
)
POINTER = Embodiment("pointer", CHANNELS, cameras=(Camera("top", 64, 64),), state=state_of(CHANNELS, velocities=False))


class Pointer:
    """The body. Its time is that of a clock that starts at 0; a robot of yours would stamp with `time.monotonic()`."""

    embodiment = POINTER

    def reset(self, seed=None):
        rng = np.random.default_rng(seed)
        self.goal, self.at, self.ticks = rng.uniform(-0.8, 0.8, 2), POINTER.home.copy(), 0
        return self.observe()

    def observe(self, images=True):
        state = self.at.astype(np.float32)  # your motors' positions
        pictures = {"top": self.picture()} if images else {}  # your camera's newest picture
        return Observation(pictures, state, "point at the red square", self.ticks / POINTER.control_rate)

    def apply(self, command):
        self.at = self.at + 0.5 * (command - self.at)  # your motors' targets
        self.ticks += 1

    def close(self):
        """Let go of the bus and the camera."""

    def picture(self):
        image = np.full((64, 64, 3), 40, np.uint8)
        for (x, y), colour in ((self.goal, (230, 40, 40)), (self.at[:2], (240, 240, 240))):
            u, v = round(32 + 28 * x), round(32 + 28 * y)
            image[max(v - 3, 0) : v + 4, max(u - 3, 0) : u + 4] = colour
        return image

    @property
    def there(self):
        return bool(np.abs(self.at[:2] - self.goal).max() < 0.1)


class LookAndPoint:
    """A policy without a network: it finds the red square and goes there in a second."""

    interface = POINTER.interface(horizon=16)

    def reset(self):
        self.goal = None

    def act(self, obs, prefix=None):
        rows, columns = np.nonzero(obs.images["top"][..., 0] > obs.images["top"][..., 1] + 60.0)
        if len(rows) > 30 or self.goal is None:  # else it is hidden under the arm's own square
            self.goal = (np.array([columns.mean(), rows.mean()]) - 32) / 28
        way = np.linspace(0, 1, 11)[1:, None] * (self.goal - obs.state[:2])
        actions = np.column_stack([obs.state[:2] + way, np.ones(10)])
        return ActionChunk(np.vstack([actions, actions[[-1] * 6]]).astype(np.float32), 0.1, obs.time)


def drive(policy, seed, recorder=None):
    """One rollout on a clock that does not wait; whether the arm points at the square."""
    from palmar.runtime.loop import rollout

    body = Pointer()
    policy.reset()
    watchers = () if recorder is None else (recorder(body),)
    outcome = rollout(body, policy, body.reset(seed), subscribers=watchers, timeout=3.0).check()
    return body.there, outcome, watchers


def record(folder, episodes=200):
    from palmar.data.recorder import EpisodeRecorder
    from palmar.data.writer import DatasetWriter

    with DatasetWriter(folder, POINTER, fps=10) as writer:
        for seed in range(episodes):
            ok, end, (seen,) = drive(LookAndPoint(), seed, lambda body: EpisodeRecorder(done=lambda: body.there))
            writer.add(seen.episode("point", seed, "expert", ok, duration=end.duration))
    print(f"{episodes} episodes in {folder}")


def main(what="", where="", number="50"):
    from palmar.checks import failed
    from palmar.policy import load_policy
    from palmar.runtime.bodies.check_body import check_body
    from palmar.runtime.clock import SimClock

    if what == "record":
        return record(where)
    if not what:
        checks = check_body(Pointer(), clock=SimClock())
        for check in failed(checks):
            print(f"{check.name}: {check.found}. Next: {check.next}")
        print(f"{len(checks) - len(failed(checks))} of {len(checks)} checks passed")
    policy = load_policy(where) if what == "trial" else LookAndPoint()
    wins = sum(drive(policy, 10_000 + seed)[0] for seed in range(int(number)))
    print(f"points at the square in {wins} of {number} trials")


if __name__ == "__main__":
    main(*sys.argv[1:])
