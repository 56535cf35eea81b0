"""Confidence acts on the robot: careful is half as fast, an alarm rests it, and who is asked too often is handed the robot."""

import numpy as np
import pytest

from palmar.robots.arm7 import arm7
from palmar.robots.mobile3 import mobile3
from palmar.runtime import deploy as deploying
from palmar.runtime.adaptation.intervening import After, Intervening
from palmar.runtime.clock import SimClock
from palmar.runtime.confidence.conduct import Conduct, Judged, judged, judged_of, slowed
from palmar.runtime.confidence.confident import Confident
from palmar.runtime.confidence.judge import Advice, Judge, JudgeConfig, Level
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Observation, Prefix

ROBOT = arm7()


class Sideways:
    """Drives the TCP sideways at 5 cm/s; as sure as `confidence` says at a time."""

    def __init__(self, confidence=lambda t: 0.9) -> None:
        self.confidence, self.interface = confidence, ROBOT.interface(8)
        self.prefixes: list[Prefix | None] = []

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        self.prefixes.append(prefix)
        actions = np.tile(np.array([0, 0.005, 0, 0, 0, 0, 1], np.float32), (8, 1))
        return ActionChunk(actions, 0.1, obs.time, self.confidence(obs.time))


class Modes(Subscriber):
    def __init__(self, controller: Controller, at=None) -> None:
        self.controller, self.at, self.seen = controller, at or {}, []

    def on_tick(self, tick: Tick) -> None:
        self.seen.append(self.controller.mode)
        if tick.index in self.at:
            self.at[tick.index]()


def driven(policy: Judged, timeout: float = 3.0, at=None, **options):
    controller = Controller()
    modes = Modes(controller, at(controller) if at else None)
    body, safety = MockBody(ROBOT), Safety(ROBOT, guards=(*GUARDS, controller))
    policy.reset()
    rollout(
        body, Inline(policy), body.observe(), clock=SimClock(), control=Control(ROBOT, safety), timeout=timeout,
        subscribers=(controller, Conduct(controller, policy), modes), stop=controller.over, **options,
    )  # fmt: skip
    return np.array(body.commands), controller, modes.seen


def moved(commands: np.ndarray) -> float:
    places = [ROBOT.pose(ROBOT.frames[0], c)[0] for c in (commands[0], commands[-1])]
    return float(np.linalg.norm(places[1] - places[0]))


def test_careful_is_half_as_fast_on_the_same_path_and_asks_as_often() -> None:
    sure, unsure = Judged(Sideways()), Judged(Sideways(lambda t: 0.2))
    fast, slow = driven(sure)[0], driven(unsure)[0]
    assert moved(slow) == pytest.approx(moved(fast) / 2, rel=0.1)
    assert unsure.advice.level is Level.CAREFUL
    assert len(unsure.inner.prefixes) == pytest.approx(len(sure.inner.prefixes), abs=1)
    off = [abs(ROBOT.pose(ROBOT.frames[0], c)[0][2] - ROBOT.pose(ROBOT.frames[0], slow[0])[0][2]) for c in slow]
    assert max(off) < 2e-3


def test_speeds_become_smaller_and_displacements_last_longer() -> None:
    units = mobile3().interface(4).action_units
    assert any(u.endswith("/s") for u in units)
    chunk = ActionChunk(np.ones((4, 3), np.float32), 0.1, 0.0)
    made = slowed(chunk, Advice(Level.CAREFUL, 0.5, 2), speeds=(0, 2))
    assert made.actions[0].tolist() == [0.5, 1.0, 0.5] and made.dt == 0.2 and chunk.actions[0, 0] == 1


def test_an_alarm_pauses_and_the_robot_goes_on_by_itself() -> None:
    policy = Judged(Sideways(lambda t: 0.05 if 0.8 <= t < 1.6 else 0.9), Judge(JudgeConfig(pause=9)))
    commands, watched, modes = driven(policy)
    held = [i for i, m in enumerate(modes) if m is Mode.HOLD]
    assert held and modes[-1] is Mode.RUN and held[-1] < 100
    still = np.abs(np.diff(commands[held[0] + 8 : held[-1]], axis=0)).max()
    assert still < 1e-9 and "confidence" in watched.history[0][2]
    assert [m for _, m, _ in watched.history] == [Mode.HOLD, Mode.RUN]


def test_an_alarm_that_goes_on_asks_and_then_hands_over() -> None:
    """Asked at the third chunk of alarm; a person resumes; asked again; resumes; then the robot is handed over."""
    policy = Judged(Sideways(lambda t: 0.01), Judge(JudgeConfig(pause=3, asks=2)))
    _, watched, modes = driven(policy, 9.0, at=lambda c: {100: c.resume, 200: c.resume})
    assert watched.mode is Mode.HANDOFF and "hand over" in watched.reason
    assert modes[99] is Mode.HOLD and modes[199] is Mode.HOLD
    asked = [r for _, _m, r in watched.history if "ask a person" in r]
    assert len(asked) == 2 and "confidence" in asked[0]


def test_a_pause_does_not_undo_what_is_latched() -> None:
    c = Controller()
    c.pause("not sure")
    assert c.mode is Mode.HOLD and c.reason == "not sure"
    c.hold("deadman released")
    c.go_on()
    assert c.mode is Mode.HOLD and c.reason == "deadman released"
    c.resume()
    c.go_on()
    assert c.mode is Mode.RUN
    c.pause("again")
    c.emergency_stop("collision")
    c.go_on()
    assert c.mode is Mode.ESTOP
    c.reset()
    assert c.mode is Mode.RUN and c.reason == ""


def test_who_takes_over_takes_back_the_question_and_nothing_else() -> None:
    c = Controller()
    c.hold("ask a person", "confidence")
    c.hold("deadman released", "deadman")
    c.hold("deadman still released", "deadman")
    assert c.reason == "ask a person" and len(c.history) == 2
    c.release("confidence")
    assert c.mode is Mode.HOLD and c.reason == "deadman released"
    c.release("deadman")
    assert c.mode is Mode.RUN and c.history[-1][1:] == (Mode.RUN, "released")
    c.hold("ask a person", "confidence")
    c.handoff("held for too long")
    c.release("confidence")
    assert c.mode is Mode.HANDOFF


class Said(Confident):
    """Confident without a detector: says what its inner policy says."""

    def __init__(self, inner: Sideways) -> None:
        self.inner, self.interface = inner, inner.interface

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        return self.inner.act(obs, prefix)


def test_deploying_a_confident_policy_judges_it_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "Threaded", Inline)  # an answer does not depend on how busy the machine is
    report = deploy(
        MockBody(ROBOT), Said(Sideways(lambda t: 0.01)), "move", MockBody(ROBOT).observe(), timeout=6.0, clock=SimClock(),
        controller=Controller(patience=0.5),
    )  # fmt: skip
    assert report.mode is Mode.HANDOFF and "confidence" in report.reason


def test_who_is_judged() -> None:
    plain, sure = Sideways(), Said(Sideways())
    assert judged(plain) is plain and judged_of(plain) is None
    one = judged(sure)
    assert isinstance(one, Judged) and judged(one) is one and judged_of(one) is one
    by_rule = Intervening(sure, Sideways(), After(1.0))
    assert judged(by_rule) is by_rule


def test_a_slowed_chunk_is_no_prefix_and_a_person_is_not_judged() -> None:
    policy = Judged(Sideways(lambda t: 0.2))
    prefix = Prefix(np.zeros((2, 7), np.float32), 1)
    obs = MockBody(ROBOT).observe()
    policy.act(obs, prefix)
    policy.act(obs, prefix)
    assert policy.inner.prefixes[0] is prefix and policy.inner.prefixes[1] is None
    person = Judged(Intervening(Sideways(lambda t: 0.0), Sideways(), After(0.0)))
    assert person.act(obs).intervention and person.advice.level is Level.GO
