"""`palmar run` as a process of its own, with a policy that needs no checkpoint: python driven.py POLICY [options of palmar run].

POLICY: waves, or process for one that computes in a second process.
"""

import struct
import subprocess
import sys

import numpy as np
from faulty_bodies import gadget

from palmar.cli import attended
from palmar.cli.main import main
from palmar.runtime.supervision import hosted
from palmar.types import ActionChunk


class Waves:
    """The shoulder goes to and fro, the wheel turns."""

    interface = gadget().interface(8)

    def act(self, obs, prefix=None):
        t = obs.time + 0.1 * np.arange(1, 9)
        actions = np.stack([0.5 * np.sin(t), 0.5 + 0 * t, 100 + 0 * t, 0.3 + 0 * t], axis=1)
        return ActionChunk(actions.astype(np.float32), 0.1, obs.time, done=0.0)

    def reset(self):
        pass


class Process(Waves):
    """Asks another process for every chunk."""

    def __init__(self):
        self.other = subprocess.Popen(
            [sys.executable, __file__, "policy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        print("policy", self.other.pid, flush=True)

    def act(self, obs, prefix=None):
        self.other.stdin.write(struct.pack("<d", obs.time))
        self.other.stdin.flush()
        answer = self.other.stdout.read(8 * 4 * 4)
        if len(answer) < 128:
            raise ConnectionError("the policy's process is gone")
        return ActionChunk(np.frombuffer(answer, np.float32).reshape(8, 4), 0.1, obs.time, done=0.0)


def policy_process():
    waves = Waves()
    while question := sys.stdin.buffer.read(8):
        (t,) = struct.unpack("<d", question)
        sys.stdout.buffer.write(waves.act(type("Seen", (), {"time": t})).actions.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1] == "policy":
        policy_process()
    else:
        policy = Process() if sys.argv[1] == "process" else Waves()
        attended.load_policy = lambda where: policy
        hosted.require_checked = lambda *_: None
        sys.exit(main(["run", *sys.argv[2:]]))
