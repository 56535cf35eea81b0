"""A person takes over and gives back: who drives is exact to the frame, and recorded in LeRobot's column."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palmar.data.corrections import Corrections, check_same_robot
from palmar.data.reader import Dataset
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.robots.so101 import so101
from palmar.runtime.adaptation import intervening
from palmar.runtime.adaptation.intervening import After, ByHand, Intervening, OnAlarm
from palmar.runtime.confidence.judge import Judge, JudgeConfig
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.monitor import Finished
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.worker import Inline, Threaded
from palmar.types import ActionChunk, Observation, Prefix

ROBOT = arm7()


class Constant:
    def __init__(self, value: float, horizon: int = 8, confidence=lambda t: None, robot=ROBOT) -> None:
        self.value, self.confidence = value, confidence
        self.interface = robot.interface(horizon)
        self.prefixes: list[Prefix | None] = []

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        self.prefixes.append(prefix)
        actions = np.full((self.interface.horizon, len(self.interface.action_names)), self.value, np.float32)
        return ActionChunk(actions, self.interface.dt, obs.time, self.confidence(obs.time))


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch):
    """No thread of a policy outlives its test."""
    workers: list[Threaded] = []

    class Kept(Threaded):
        def __init__(self, policy) -> None:
            super().__init__(policy)
            workers.append(self)

    monkeypatch.setattr(intervening, "Threaded", Kept)
    yield
    for worker in workers:
        assert worker.wait(10)
        worker.close()


def recorded(policy: Intervening, seconds: float = 4.0) -> EpisodeRecorder:
    body, recorder = MockBody(ROBOT, "reach"), EpisodeRecorder()
    policy.reset()
    rollout(body, Inline(policy), body.observe(), subscribers=[recorder], timeout=seconds).check()
    return recorder


def marks(recorder: EpisodeRecorder) -> list[bool]:
    return [s.intervention for s in recorder.steps]


def test_after_its_time_the_person_drives_to_the_end_without_a_gap() -> None:
    policy = Intervening(Constant(0.0), Constant(0.001, horizon=1), After(1.2))
    seen = recorded(policy)
    assert marks(seen) == [False] * 12 + [True] * 28
    assert [float(s.executed[0]) > 0 for s in seen.steps] == marks(seen)
    assert policy.takeovers == 1 and policy.seconds == pytest.approx(2.7)


def test_on_an_alarm_it_hands_over_and_takes_back_by_itself() -> None:
    def confidence(t: float) -> float:
        return 0.01 if 0.8 <= t < 2.0 else 0.9

    judge = Judge(JudgeConfig(alpha=0.1, pause=2))
    policy = Intervening(Constant(0.0, confidence=confidence), Constant(0.001, 1), OnAlarm(judge, calm=3, least=0.5))
    seen = marks(recorded(policy))
    first, last = seen.index(True), len(seen) - seen[::-1].index(True)
    assert first == 12  # asked every 4 actions: alarms at 0.8 and 1.2 s
    assert last == 22 and all(seen[first:last])  # calm at 2.0, 2.1 and 2.2 s: the policy's again from then on
    assert policy.takeovers == 1 and not policy.driving


def test_a_policy_that_is_not_finite_is_taken_over() -> None:
    policy = Intervening(Constant(np.nan), Constant(0.001, 1), OnAlarm(Judge(JudgeConfig(pause=1))))
    assert all(marks(recorded(policy, 1.0)))


class Failing(Constant):
    """Raises from its second answer on."""

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self.prefixes:
            raise RuntimeError("no answer")
        return super().act(obs, prefix)


def test_a_policy_that_raises_does_not_take_the_robot_from_the_person() -> None:
    taken = iter([False, False, True] + [False] * 99)  # the first at the reset
    policy = Intervening(Failing(0.0), Constant(0.001, 1), ByHand(lambda: next(taken), lambda: False))
    assert marks(recorded(policy, 2.0)) == [False] * 4 + [True] * 16
    alone = Intervening(Failing(0.0), Constant(0.001, 1), ByHand(lambda: False, lambda: False))
    with pytest.raises(RuntimeError, match="no answer"):
        recorded(alone, 2.0)


def test_without_confidence_nobody_takes_over() -> None:
    assert not any(marks(recorded(Intervening(Constant(0.0), Constant(0.001, 1), OnAlarm()), 1.0)))


def test_a_key_switches_over_and_back() -> None:
    taken, given = iter([False, False, True] + [False] * 99), iter([False] * 4 + [True] + [False] * 99)
    policy = Intervening(Constant(0.0), Constant(0.001, 1), ByHand(lambda: next(taken), lambda: next(given)))
    assert marks(recorded(policy, 2.0)) == [False] * 4 + [True] * 2 + [False] * 14


def test_the_persons_actions_are_never_a_prefix_of_the_policys() -> None:
    inner = Constant(0.0)
    policy = Intervening(inner, Constant(0.001, 1), After(0.0))
    policy.driving = True
    policy.act(MockBody(ROBOT).observe(), Prefix(np.zeros((2, 7), np.float32), 1))
    assert inner.prefixes == [None]


def test_only_somebody_in_the_policys_action_space() -> None:
    with pytest.raises(BadValue, match="action space"):
        Intervening(Constant(0.0), Constant(0.0, robot=so101()), After(1.0))
    degrees = Constant(0.0)
    degrees.interface = replace(degrees.interface, action_units=("m",) * 3 + ("deg",) * 3 + ("opening",))
    with pytest.raises(BadValue, match="'drx' in 'deg'; the policy commands it in 'rad'"):
        Intervening(Constant(0.0), degrees, After(1.0))
    with pytest.raises(BadValue, match="calm"):
        OnAlarm(calm=0)


def test_the_column_and_what_may_be_learned_from_it(tmp_path: Path) -> None:
    policy = Intervening(Constant(0.0), Constant(0.001, 1), After(0.8))
    episode = recorded(policy, 2.0).episode("reach", 3, "corrected", True)
    with DatasetWriter(tmp_path / "set", ROBOT, 10, interventions=True) as writer:
        writer.add(episode)
        writer.add(episode)
    data = Dataset(tmp_path / "set")
    assert data.features["intervention"] == {"dtype": "bool", "shape": [1], "names": None}
    assert data.column("intervention").tolist() == ([False] * 8 + [True] * 12) * 2
    part = Corrections(data)
    assert [(e.start, e.stop) for e in part.episodes] == [(8, 20), (28, 40)]
    assert part.frames == 24 and part.seconds == 2.4 and len(part) == 40
    batch = part.batch(np.array([12, 18]), 4)
    assert batch["pad"].tolist() == [[False] * 4, [False, False, True, True]]
    with DatasetWriter(tmp_path / "set", ROBOT, 10, resume=True, interventions=True) as writer:
        assert writer.add(episode) == 2


def test_what_a_person_commands_while_the_robot_is_held_is_no_correction() -> None:
    class Holding(Subscriber):
        def on_tick(self, tick: Tick) -> None:
            if tick.index == 49:
                controller.hold("test")

    controller, recorder, body = Controller(), EpisodeRecorder(), MockBody(ROBOT, "reach")
    policy = Intervening(Constant(0.0), Constant(0.001, 1), After(0.4))
    control = Control(ROBOT, Safety(ROBOT, guards=(*GUARDS, controller)))
    rollout(
        body,
        Inline(policy),
        body.observe(),
        control=control,
        subscribers=[controller, recorder, Holding()],
        timeout=2.0,
    )
    assert marks(recorder) == [False] * 4 + [True] * 6 + [False] * 10


def test_demonstrations_are_kept_whole(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        writer.add(
            recorded(Intervening(Constant(0.0), Constant(0.0, 1), After(9)), 1.0).episode("reach", 3, "expert", True)
        )
    data = Dataset(tmp_path / "set")
    assert "intervention" not in data.features and Corrections(data).frames == len(data) == 10


def test_corrections_of_another_robot_are_refused_by_name(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", ROBOT, 10) as writer:
        writer.add(
            recorded(Intervening(Constant(0.0), Constant(0.0, 1), After(9)), 1.0).episode("reach", 3, "expert", True)
        )
    data = Dataset(tmp_path / "set")
    with pytest.raises(BadValue, match="recorded on 'arm7'; the policy drives 'so101'"):
        check_same_robot(data, so101().interface(8), "set", "--corrections")
    other = ROBOT.with_action_space("channels").interface(8)
    with pytest.raises(BadValue, match="lacks actions joint1"):
        check_same_robot(data, other, "set", "--corrections")


class Hanging(Constant):
    """Answers once; from then on not before it is let go."""

    def __init__(self, value: float) -> None:
        super().__init__(value)
        self.free = threading.Event()

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if self.prefixes:
            self.free.wait(20)
        return super().act(obs, prefix)


def test_a_person_takes_over_from_a_policy_that_hangs_and_gives_back_when_it_answers() -> None:
    inner, asked = Hanging(0.0), 0

    def taken() -> bool:
        nonlocal asked
        asked += 1
        if asked == 20:
            inner.free.set()
        return asked == 4  # 1 is of the reset, 2 of the answer, 3 and 4 of the policy that is silent

    policy = Intervening(inner, Constant(0.001, 1), ByHand(taken, lambda: asked == 30), patience=0.02)
    seen = marks(recorded(policy, 4.0))
    assert seen[:4] == [False] * 4 and seen[4:20] == [True] * 16 and not any(seen[-8:])
    assert policy.takeovers == 1


def test_what_hung_is_not_handed_over_for_a_later_question() -> None:
    inner, drives = Hanging(0.0), iter([False, True, False])
    policy = Intervening(inner, Constant(0.001, 1), ByHand(lambda: False, lambda: False), patience=5.0)
    policy.rule = lambda obs, chunk, driving: next(drives)
    body = MockBody(ROBOT)
    first, second, third = (replace(body.observe(), time=t) for t in (0.0, 1.0, 2.0))
    policy._patience = 0.05
    assert policy.act(first).t0 == 0.0
    assert policy.act(second).intervention  # the policy is silent
    inner.free.set()
    policy._patience = 5.0
    while policy._worker.busy:
        time.sleep(0.001)
    assert policy.act(third).t0 == 2.0 and not policy.driving


def test_a_policy_that_raises_on_its_own_thread_raises_here() -> None:
    policy = Intervening(Failing(0.0), Constant(0.001, 1), ByHand(lambda: False, lambda: False), patience=5.0)
    with pytest.raises(RuntimeError, match="no answer"):
        recorded(policy, 2.0)


def test_no_patience_is_refused() -> None:
    with pytest.raises(BadValue, match="patience is 0 s; expected above 0"):
        Intervening(Constant(0.0), Constant(0.001, 1), After(1.0), patience=0)


class Slow(Constant):
    """Answers `late` seconds after it was asked, and counts what it remembers."""

    def __init__(self, late: float, sure: float) -> None:
        super().__init__(0.0, confidence=lambda t: sure)
        self.late, self.memory = late, 0

    def reset(self) -> None:
        self.memory = 0

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        time.sleep(self.late)
        self.memory += 1
        return super().act(obs, prefix)


def test_a_slow_policy_is_heard_while_the_person_drives() -> None:
    """It is no doubt that an answer has not come yet, and the confidence of those that come late counts."""
    policy = Intervening(Slow(0.06, 0.9), Constant(0.001, 1), OnAlarm(Judge(JudgeConfig(pause=1))), patience=0.02)
    body = MockBody(ROBOT)
    assert not policy.act(body.observe()).intervention and policy.takeovers == 0
    policy.driving = True
    heard = []
    for i in range(40):
        if not (chunk := policy.act(replace(body.observe(), time=0.1 * i))).intervention:
            break
        heard.append(chunk.confidence)
        time.sleep(0.01)
    assert not policy.driving and heard[-1] == 0.9 and 0.0 not in heard


def test_what_a_slow_policy_said_once_counts_once() -> None:
    """Its "done", and its calm, are of one answer, however often the person is asked until the next."""
    judge = Judge(JudgeConfig(pause=1))
    inner = Slow(0.5, 0.9)
    policy = Intervening(inner, Constant(0.001, 1), OnAlarm(judge, calm=3, least=0.0), patience=0.01)
    body = MockBody(ROBOT)
    policy.driving, policy._heard = (
        True,
        replace(ActionChunk(np.zeros((8, 7), np.float32), 0.1, 0.0), confidence=0.9, done=0.9),
    )
    said = [policy.act(replace(body.observe(), time=0.1 * i)) for i in range(1, 8)]
    assert [c.done for c in said] == [0.9] + [None] * 6 and all(c.intervention for c in said)
    finished = Finished()
    assert not any(finished(body.observe(), c) for c in said)
    policy.close()


def test_while_a_person_drives_the_policy_is_asked_as_often_as_while_it_drives() -> None:
    inner = Constant(0.0, confidence=lambda t: 0.0)
    policy = Intervening(inner, Constant(0.001, 1), OnAlarm(Judge(JudgeConfig(pause=1))), every=0.4)
    seen = marks(recorded(policy, 4.0))
    assert all(seen[4:]) and 9 <= len(inner.prefixes) <= 11
    with pytest.raises(BadValue, match="every is -1"):
        Intervening(inner, Constant(0.001, 1), After(1.0), every=-1)


def test_a_policy_that_computes_at_the_end_of_an_episode_begins_the_next_without_memory() -> None:
    inner = Slow(0.1, 0.9)
    policy = Intervening(inner, Constant(0.001, 1), After(0.0), patience=0.01)
    policy.driving = True
    policy.act(MockBody(ROBOT).observe())
    policy.reset()  # it computes still
    policy.rule = After(9.0)
    policy.act(replace(MockBody(ROBOT).observe(), time=1.0))
    assert inner.memory == 1


def test_closing_ends_the_wait_for_a_policy_that_hangs() -> None:
    inner = Hanging(0.0)
    policy = Intervening(inner, Constant(0.001, 1), ByHand(lambda: False, lambda: False), patience=0.02)
    body, raised = MockBody(ROBOT), []
    assert policy.act(body.observe()).t0 == 0.0

    def waits() -> None:
        try:
            policy.act(body.observe())
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=waits)
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    policy.reset()
    thread.join(timeout=10)
    inner.free.set()
    policy.close()
    assert raised == ["the episode ended before the policy answered"]


def test_a_person_moves_a_robot_that_is_held_because_its_policy_hangs() -> None:
    inner, body = Hanging(0.0), MockBody(ROBOT)
    controller, where = Controller(watchdog=0.5), []

    class Seen(Subscriber):
        def on_tick(self, tick: Tick) -> None:
            where.append((controller.mode, float(tick.verdict.command[0])))

    policy = Intervening(inner, Constant(0.003, 1), ByHand(lambda: len(where) > 60, lambda: False), patience=0.02)
    deploy(body, policy, "reach", body.reset(), controller=controller, subscribers=(Seen(),), timeout=4.0)
    inner.free.set()
    held = [k for k, (mode, _) in enumerate(where) if mode is Mode.HOLD]
    assert held and where[-1][0] is Mode.RUN and where[-1][1] != where[held[-1]][1]
    assert any("released" in why for _, _, why in controller.history)
