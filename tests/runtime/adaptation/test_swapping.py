"""Hot swap: between two chunks, whole chunks, back on the first alarm, and only to a policy that means the same."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.swapping import RollBack, Swappable
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.deploy import deploy
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Observation, Prefix, Reason

ROBOT = arm7()


class Constant:
    """Answers one number in every action."""

    def __init__(self, value: float, confidence: float | None = None, robot=ROBOT) -> None:
        self.value, self.confidence = value, confidence
        self.interface = robot.interface(8)
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        if np.isinf(self.value):
            raise RuntimeError("no answer")
        actions = np.full((8, len(ROBOT.action_names)), self.value, np.float32)
        return ActionChunk(actions, self.interface.dt, obs.time, self.confidence)


class Values(Subscriber):
    """The first number of the chunk that runs, tick by tick; does something at one of them."""

    def __init__(self, at: int, what) -> None:
        self.at, self.what, self.seen = at, what, []

    def on_tick(self, tick: Tick) -> None:
        if tick.chunk is not None:
            assert len(np.unique(tick.chunk.actions)) == 1
            self.seen.append(float(tick.chunk.actions[0, 0]))
        if tick.index == self.at:
            self.what()


def driven(policy: Swappable, *subscribers: Subscriber, timeout: float = 2.0):
    body = MockBody(ROBOT)
    return rollout(body, Inline(policy), body.observe(), subscribers=subscribers, timeout=timeout)


def test_the_next_chunk_is_the_new_policys() -> None:
    old, new = Constant(0.0), Constant(0.001)
    policy = Swappable(old, "v000")
    seen = Values(30, lambda: policy.swap(new, "v001"))
    assert driven(policy, seen).reason == "timeout"
    changes = int(np.sum(np.diff(seen.seen) != 0))
    assert changes == 1 and seen.seen[31] == 0.0 and seen.seen[-1] == pytest.approx(0.001)
    assert policy.version == "v001" and new.resets == 1


@pytest.mark.parametrize(
    ("bad", "alpha", "said"),
    [
        (Constant(np.inf), 0.0, "RuntimeError"),
        (Constant(0.001, 0.02), 0.1, "confidence"),
        (Constant(np.nan), 0.0, "nan"),
    ],
)
def test_the_first_alarm_leads_back(bad: Constant, alpha: float, said: str) -> None:
    policy, told = Swappable(Constant(0.0, 0.9), "v000"), []
    back = RollBack(policy, alpha, told.append)
    seen = Values(30, lambda: policy.swap(bad, "v001"))
    driven(policy, seen, back)
    assert policy.version == "v000" and not policy.on_trial and seen.seen[-1] == 0.0
    assert len(told) == 1 and said in str(told[0])
    assert [s.version for s in policy.history] == ["v001", "v000"]


class Waits:
    """A worker that gets no answer of one version."""

    latency = 0.0

    def __init__(self, policy: Swappable, version: str) -> None:
        self.policy, self.version = policy, version
        self.forget()

    def request(self, obs: Observation, now: float, prefix: Prefix | None = None) -> None:
        self.job = obs

    def poll(self, now: float) -> ActionChunk | None:
        if self.job is None or self.policy.version == self.version:
            return None
        obs, self.job = self.job, None
        return self.policy.act(obs)

    def forget(self) -> None:
        self.job: Observation | None = None

    @property
    def busy(self) -> bool:
        return self.job is not None

    def close(self) -> None:
        """Nothing to end."""


def test_a_version_that_does_not_answer_leads_back() -> None:
    policy, told = Swappable(Constant(0.0), "v000"), []
    back, seen = RollBack(policy, told=told.append), Values(30, lambda: policy.swap(Constant(0.001), "v001"))
    body = MockBody(ROBOT)
    rollout(body, Waits(policy, "v001"), body.observe(), subscribers=(seen, back), timeout=4.0).check()
    assert policy.version == "v000" and not policy.on_trial and 0.001 not in seen.seen
    assert len(told) == 1 and "without a chunk in time" in str(told[0])


def test_a_version_that_answers_seldom_enough_for_the_watchdog_does_not_lead_back() -> None:
    policy = Swappable(Constant(0.0), "v000")
    seen = Values(30, lambda: policy.swap(Constant(0.001), "v001"))
    body = MockBody(ROBOT)
    chunks = ChunkBuffer(8)
    rollout(body, policy, body.observe(), chunks=chunks, subscribers=(seen, RollBack(policy)), timeout=4.0).check()
    assert policy.version == "v001"


def test_what_has_been_kept_does_not_go_back() -> None:
    policy = Swappable(Constant(0.0), "v000")
    policy.swap(Constant(0.001), "v001")
    policy.keep()
    assert not policy.roll_back(Reason("test")) and policy.version == "v001"


def test_who_goes_back_to_a_policy_on_trial_can_go_back_further() -> None:
    policy, told = Swappable(Constant(0.0), "v000"), []
    back = RollBack(policy, 0.1, told.append)
    policy.swap(Constant(0.001, 0.02), "v001")
    policy.swap(Constant(0.002, 0.02), "v002")
    driven(policy, back)
    assert [s.version for s in policy.history] == ["v001", "v002", "v001", "v000"]
    assert policy.version == "v000" and not policy.on_trial and len(told) == 2


def test_a_chunk_of_a_withdrawn_policy_is_not_handed_on() -> None:
    begun, go = threading.Event(), threading.Event()

    class Slow(Constant):
        def act(self, obs, prefix=None):
            if not begun.is_set():
                begun.set()
                go.wait(5)
            return super().act(obs, prefix)

    policy = Swappable(Constant(0.0), "v000")
    policy.swap(Slow(0.5), "v001")
    answers: list[ActionChunk] = []
    thread = threading.Thread(target=lambda: answers.append(policy.act(MockBody(ROBOT).observe())))
    thread.start()
    assert begun.wait(5)
    assert policy.roll_back(Reason("test"))
    go.set()
    thread.join(5)
    assert float(answers[0].actions[0, 0]) == 0.0


def test_swapping_under_load_never_mixes() -> None:
    policy = Swappable(Constant(0.0), "a")
    obs, stop, wrong = MockBody(ROBOT).observe(), threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            if len(np.unique(policy.act(obs).actions)) != 1:
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for t in threads:
        t.start()
    for i in range(200):
        policy.swap(Constant(float(i)), str(i))
    stop.set()
    for t in threads:
        t.join()
    assert not wrong and policy.version == "199"


def test_only_a_policy_that_means_the_same() -> None:
    from palmar.robots.so101 import so101

    policy = Swappable(Constant(0.0), "v000")
    with pytest.raises(BadValue, match="other state_names"):
        policy.swap(Constant(0.0, robot=so101()), "other")
    twin, short = Constant(0.0), Constant(0.0)
    twin.interface = replace(ROBOT.interface(8), embodiment="arm7-with-other-zeros")
    with pytest.raises(BadValue, match="drives arm7-with-other-zeros; the policy that runs drives arm7"):
        policy.swap(twin, "twin")
    short.interface = ROBOT.interface(2)
    with pytest.raises(BadValue, match="2 actions at once"):
        policy.swap(short, "short")
    correcting = Constant(0.0)
    correcting.correct = lambda obs, action, position: action
    with pytest.raises(BadValue, match="between"):
        policy.swap(correcting, "corrected")
    assert policy.version == "v000" and not policy.on_trial


def test_a_robot_that_does_not_move_leads_back_once() -> None:
    policy, told, stall = Swappable(Constant(0.0), "v000"), [], []
    back = RollBack(policy, told=told.append, stalled=lambda: stall[-1] if stall else "")
    seen = Values(30, lambda: [policy.swap(Constant(0.001), v) for v in ("v001", "v002")])
    driven(policy, seen, Values(60, lambda: stall.append("stalled joint1")), back)
    assert policy.version == "v001" and [str(r) for r in told] == ["swap stalled joint1"]


def test_a_chunk_that_was_finished_before_the_way_back_is_not_carried_out() -> None:
    """It is computed at the tick of the alarm, and would be polled at a later one."""
    old, new = Constant(0.0), Constant(0.001)
    policy, body = Swappable(old, "v000"), MockBody(ROBOT)
    worker = Inline(policy, delay=0.2)
    stall: list[str] = []
    back = RollBack(policy, stalled=lambda: stall[-1] if stall else "", forget=worker.forget)
    policy.swap(new, "v001")
    seen = Values(19, lambda: setattr(new, "value", 0.002))
    stalls = Values(23, lambda: stall.append("stalled"))  # within the delay of the second answer of v001
    rollout(body, worker, body.observe(), subscribers=(seen, stalls, back), timeout=2.0).check()
    assert policy.version == "v000" and 0.002 not in np.round(seen.seen, 6)


class Slow(Constant):
    """Computes until it is told to be done."""

    def __init__(self, value: float, confidence: float) -> None:
        super().__init__(value, confidence)
        self.begun, self.go, self.while_computing = threading.Event(), threading.Event(), []

    def reset(self) -> None:
        self.while_computing.append(self.begun.is_set() and not self.go.is_set())

    def act(self, obs: Observation, prefix: Prefix | None = None) -> ActionChunk:
        self.begun.set()
        assert self.go.wait(10)
        return super().act(obs, prefix)


def test_what_the_version_before_did_is_not_charged_to_the_new_one() -> None:
    """It was asked before the swap, and its doubt arrives after it; the new one is judged by what it says itself."""
    policy, body, told = Swappable(Constant(0.0, 0.02), "v000"), MockBody(ROBOT), []
    worker = Inline(policy, delay=0.2)
    back = RollBack(policy, alpha=0.1, told=told.append)
    swap = Values(21, lambda: policy.swap(Constant(0.001, 0.9), "v001"))  # what was asked at 20 arrives at 30
    rollout(body, worker, body.observe(), subscribers=(swap, back), timeout=2.0).check()
    assert policy.version == "v001" and not told
    policy.swap(Constant(0.002, 0.02), "v002")
    rollout(body, worker, body.observe(), subscribers=(back,), timeout=1.0).check()
    assert policy.version == "v001" and len(told) == 1


def test_a_policy_that_computes_is_reset_when_it_acts_next() -> None:
    old = Slow(0.0, 0.9)
    policy = Swappable(old, "v000")
    asking = threading.Thread(target=lambda: policy.act(MockBody(ROBOT).observe()))
    asking.start()
    assert old.begun.wait(10)
    policy.swap(Constant(0.001), "v001")
    assert policy.roll_back(Reason("swap", over=None)) and policy.version == "v000"
    assert not old.while_computing
    old.go.set()
    asking.join(10)
    policy.act(MockBody(ROBOT).observe())
    assert old.while_computing == [False]


def test_a_stall_that_began_before_the_swap_is_not_the_new_versions() -> None:
    policy, told = Swappable(Constant(0.0), "v000"), []
    back = RollBack(policy, told=told.append, stalled=lambda: "stalled joint1")
    driven(policy, Values(30, lambda: policy.swap(Constant(0.001), "v001")), back)
    assert policy.version == "v001" and not told


def test_deploy_tells_it_of_stalls_and_what_to_forget() -> None:
    policy, body = Swappable(Constant(0.0), "v000"), MockBody(ROBOT)
    back, controller = RollBack(policy), Controller()
    deploy(body, policy, "reach", body.reset(), controller=controller, subscribers=(back,), timeout=0.2)
    assert back.stalled == controller.stalled_by and back.forget is not None
