"""A run with a page for tests: a mock body in real time, driven by a policy that waves, on a thread of this process."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import replace

import numpy as np
from websockets.sync.client import connect

from palmar.robot_parts import Camera
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.intervening import ByHand, Intervening
from palmar.runtime.adaptation.teleop import Teleop
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.controller import Controller
from palmar.serve.page.config import PageConfig
from palmar.serve.page.run import RunPage
from palmar.types import ActionChunk

PATIENCE = 60.0
"""Longest time for anything to happen [s]: a busy machine is no failure."""


class Waves:
    """Moves up and down for ever. busy: seconds of computing for each answer."""

    def __init__(self, robot, busy=0.0):
        self.interface, self.busy, self.asked = robot.interface(8), busy, 0

    def reset(self):
        """Has no memory."""

    def act(self, obs, prefix=None):
        self.asked += 1
        until = time.perf_counter() + self.busy
        while time.perf_counter() < until:
            np.random.default_rng(0).normal(size=(200, 200)) @ np.ones((200, 200))
        actions = np.zeros((8, len(self.interface.action_names)), np.float32)
        actions[:, 2] = 0.004 * np.sign(np.sin(obs.time))
        attention = {f"{c}.target": np.eye(4, dtype=np.float32) for c in obs.images}
        return ActionChunk(actions, self.interface.dt, obs.time, 0.9, 0.0, attention)


class Brakes(Subscriber):
    """When the first command was sent that the controller brakes [s, wall clock and monotonic]."""

    def __init__(self):
        self.wall = self.when = 0.0

    def on_tick(self, tick):
        if not self.when and any(r.guard == "controller" for r in tick.verdict.reasons):
            self.wall, self.when = time.time(), time.monotonic()


def robot(height=48, width=64, cameras=2):
    return replace(arm7(), cameras=tuple(Camera(name, height, width) for name in ("front", "wrist")[:cameras]))


class Operated:
    """page: the `RunPage`. `run` begins a run; `over` waits for its end and returns the report of `deploy`."""

    def __init__(self, config=None, body=None, **about):
        self.body = body or MockBody(robot(), noise=True)
        about = {"policy": "waves", "robot": "mock", "world": "tests", "off": []} | about
        self.page = RunPage(config or PageConfig(port=0), about)
        self.page.drivable()

    @property
    def address(self):
        return self.page.address

    def run(self, policy=None, teleop=True, timeout=600.0, instruction="wave"):
        self.stop()  # what a test before this one left
        self.brakes, self.report, self.failed = Brakes(), None, None
        self.policy = policy or Waves(self.body.embodiment)
        self.controller = Controller(watchdog=30.0)
        driven = self.policy
        if teleop:
            by_hand = ByHand(self.page.take, self.page.give)
            driven = Intervening(driven, Teleop(self.body.embodiment, self.page.keys), by_hand, 0.1)
        self.page._heard({"t": "instruct", "text": instruction})
        self.page.began(self.page.instruction(), self.controller)

        def work():
            try:
                self.report = deploy(
                    self.body, driven, instruction, self.body.reset(), timeout=timeout, controller=self.controller,
                    subscribers=(self.brakes, self.page),
                )  # fmt: skip
            except BaseException as error:
                self.failed = error
            finally:
                if driven is not self.policy:
                    driven.close()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        until(lambda: self.failed or self.page.ticks > 3, "the run did not begin")
        return self

    def stop(self):
        if controller := self.page.controller:
            controller.finish()
            self.thread.join(PATIENCE)

    def over(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the run does not end"
        if self.failed:
            raise self.failed
        self.page.ended({"instruction": "wave", "success": True, "seconds": 1.0, "reason": ""})
        return self.report


@contextlib.contextmanager
def operated(config=None, body=None, **about):
    made = Operated(config, body, **about)
    try:
        yield made
    finally:
        made.stop()
        made.page.close()


def until(what, why, seconds=PATIENCE):
    """Wait until `what()` is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, why
        time.sleep(0.01)
    return found


class Browser:
    """What a browser does, without one: /live and /hand. `state` is the newest; `pictures` counts them by camera."""

    def __init__(self, address, key="", name="test", **options):
        where = address.replace("http", "ws", 1)
        self._lines = contextlib.ExitStack()
        self.hand = self._lines.enter_context(connect(where + "/hand", max_size=None, **options))
        self.hand.send(json.dumps({"key": key, "name": name}))
        self.live = self._lines.enter_context(connect(where + "/live", max_size=None, **options))
        self.live.send(json.dumps({"key": key, "name": name}))
        self.state, self.about, self.pictures, self.told, self.heads = {}, {}, {}, [], {}
        self.closed, self.beat = threading.Event(), 0
        for work in (self._look, self._listen):
            threading.Thread(target=work, daemon=True).start()

    def _look(self):
        with contextlib.suppress(Exception):
            for message in self.live:
                if isinstance(message, bytes):
                    head = json.loads(message[4 : 4 + int.from_bytes(message[:4], "big")])
                    self.heads[head["camera"]] = head
                    self.pictures[head["camera"]] = self.pictures.get(head["camera"], 0) + 1
                    self.jpeg = message[4 + int.from_bytes(message[:4], "big") :]
                    continue
                said = json.loads(message)
                if said["t"] == "round":
                    self.live.send(json.dumps({"seen": said["n"]}))
                elif said["t"] == "state":
                    self.state = said
                elif said["t"] == "about":
                    self.about = said
        self.closed.set()

    def _listen(self):
        with contextlib.suppress(Exception):
            for message in self.hand:
                said = json.loads(message)
                if said["t"] == "beat":
                    self.beat = said["n"]
                else:
                    self.told.append(said)

    def say(self, kind, **more):
        self.hand.send(json.dumps({"t": kind} | ({"beat": self.beat} if kind == "keys" else {}) | more))

    def heard(self, kind):
        """The newest message of a kind, waited for."""
        return until(lambda: next((m for m in reversed(self.told) if m["t"] == kind), None), f"no {kind}: {self.told}")

    def close(self):
        self._lines.close()
