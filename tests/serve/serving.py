"""A policy server for tests: on a thread of this process, or as a process that can be killed (python serving.py PORT)."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.serve.server import PolicyServer, ServeConfig
from palmar.types import ActionChunk, Observation, Prefix

ROBOT = arm7()
FACE = replace(ROBOT.interface(8), cameras={"front": (24, 32), "wrist": (16, 16)})


class Counting:
    """Answers how often this session was asked since its last reset. Slow, failing or refusing when it is told so."""

    interface = FACE

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked, self.seconds = 0, seconds
        self.seen: list[tuple[Observation, Prefix | None]] = []

    def session(self) -> Counting:
        return type(self)(self.seconds)

    def reset(self) -> None:
        self.asked = 0

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        self.asked += 1
        self.seen.append((obs, prefix))
        if "break" in obs.instruction:
            raise RuntimeError("secret: /root/weights")
        if "refuse" in obs.instruction:
            raise BadValue("not that. Next: this")
        time.sleep(30.0 if "hang" in obs.instruction else self.seconds)
        actions = np.zeros((8, 7), np.float32)
        actions[:, 6] = 1.0
        return ActionChunk(
            actions, 0.1, obs.time, 0.5, self.asked / 100, {"front.target": np.ones((6, 8), np.float32)},
            features=np.full(3, self.asked, np.float32),
        )  # fmt: skip


class Alone(Counting):
    """Has one memory."""

    session = property()  # type: ignore[assignment]


def seen(time: float = 0.0, instruction: str = "reach") -> Observation:
    rng = np.random.default_rng(round(time * 1000))
    images = {c: rng.integers(0, 256, (*size, 3), np.uint8) for c, size in FACE.cameras.items()}
    return Observation(images, rng.normal(size=len(FACE.state_names)).astype(np.float32), instruction, time)


@contextmanager
def serving(policy=None, config: ServeConfig | None = None, name: str = "counting", fingerprint: str = "abc"):
    """Yields the server, whose `address` is set."""
    server = PolicyServer(policy or Counting(), config or ServeConfig(port=0), name, fingerprint)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(server.run(lambda address: ready.set()))
        server.stop = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    if failed:
        raise failed[0]
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)


if __name__ == "__main__":
    where = PolicyServer(Counting(0.02), ServeConfig(port=int(sys.argv[1])), "counting", "abc")
    asyncio.run(where.run(lambda address: print(address, flush=True)))
