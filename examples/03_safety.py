"""Ask for nonsense, and see what is sent to the robot instead, and why.

The safety layer is on by default and knows the robot's limits from its description. Whatever a policy asks for, the command
that leaves it is one the robot can follow and stop from; each change says which quantity met which bound.

    python examples/03_safety.py
"""

import numpy as np

from palmar.robots.arm7 import arm7
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety

robot = arm7()
home, chain = robot.home, robot.frame().chain
lunge = home.copy()
lunge[:2] += 1.5
low = np.append(chain.solve(home[:7], np.array([0.5, 0, -0.2]), np.diag([1.0, -1.0, -1.0]), home[:7]), 1.0)
NONSENSE = {
    "all is well": home,
    "not a number": home * np.nan,
    "infinitely far": home + np.inf,
    "a leap of 1.5 rad": lunge,
    "through the table": low,
    "gripper at 700 %": np.append(home[:7], 7.0),
}

for name, target in NONSENSE.items():
    body, safety = MockBody(robot), Safety(robot)
    safety.reset(home)
    obs, reasons, stop = body.reset(), {}, False
    for tick in range(100):  # two seconds of asking for the same
        verdict = safety.check(target, obs, tick / robot.control_rate)
        reasons |= {r.guard: str(r) for r in verdict.reasons}
        stop |= verdict.stop
        body.apply(verdict.command)
        obs = body.observe(images=False)
    position, _ = chain.forward(verdict.command[:-1])
    speed = np.abs(np.diff([home, *body.commands], axis=0)[:, :-1]).max() * robot.control_rate
    print(f"\n{name}: {'stops and waits for a person' if stop else 'goes on'}; fastest joint {speed:.2f} rad/s")
    print(f"  ends with the gripper at {position.round(3)} m, opening {verdict.command[-1]:.2f}")
    for reason in reasons.values():
        print(f"  · {reason}")

print("\nA stale camera counts too: an observation one second old")
safety = Safety(robot)
safety.reset(home)
print(f"  · {safety.check(home, MockBody(robot).reset(), now=1.0).reasons}")
