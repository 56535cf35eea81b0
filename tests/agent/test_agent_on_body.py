"""Skills on a body, each through `deploy`: who says that they were done, and what ends an instruction."""

from __future__ import annotations

from contextlib import contextmanager

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.agent.carry_out import carry_out
from palmar.agent.on_body import SaidCheck, ToldScene, by_policy, performer
from palmar.agent.rules.planner import RulePlanner
from palmar.agent.skills import Skill, SkillResult
from palmar.errors import RobotFault
from palmar.runtime.clock import SimClock
from palmar.runtime.loop import Subscriber
from palmar.runtime.mock import MockBody
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk

THINGS, PLACES = ("red cube", "green ball"), ("blue plate",)
PUT = Skill("place_on", object="red cube", destination="blue plate")
PUSH = Skill("push", object="green ball", direction="left")
ROBOT = bodies.gadget()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A clock that does not wait, and a policy that computes on the loop's thread."""
    monkeypatch.setattr("palmar.runtime.deploy.WallClock", SimClock)
    monkeypatch.setattr("palmar.runtime.deploy.Threaded", Inline)


class Reaches:
    """Moves the shoulder and closes the jaw, and says that it is done from its third chunk on. told: instructions."""

    interface = ROBOT.interface(8)

    def __init__(self, done=0.9, fails_after=10**9):
        self.done, self.fails_after, self.told, self.calls = done, fails_after, [], 0

    def act(self, obs, prefix=None):
        self.told.append(obs.instruction)
        self.calls += 1
        if self.calls > self.fails_after:
            raise OSError("the network is gone")
        actions = np.tile(np.float32([0.5, 0.5, 20.0, 0.0]), (8, 1))
        return ActionChunk(actions, 0.1, obs.time, done=self.done if self.calls >= 3 else 0.1)

    def reset(self):
        self.calls = 0


class Beside(Subscriber):
    """What happens during a skill: {tick: what is done}. skills: how many were begun."""

    def __init__(self, **happens):
        self.happens, self.skills, self.controllers = happens, 0, []

    @contextmanager
    def __call__(self, policy, instruction, controller):
        self.skills += 1
        self.controllers.append(controller)
        yield policy, (self,)

    def on_tick(self, tick):
        if (what := self.happens.get(f"at_{tick.index}")) is not None:
            what(self.controllers[-1])


def hands_of(body, policy, says=by_policy, beside=None, **more):
    told = ToldScene(THINGS, PLACES)
    hands = performer(body, {"": policy}, told, SaidCheck(says), attend=beside or Beside(), **more)
    hands.after = told.after
    return hands


def at_rest(body):
    """Commands came, were within the limits, and the last two are the same."""
    sent = np.array(body.commands)
    assert len(sent) > 2 and np.allclose(sent[-1], sent[-2])
    assert (sent >= [c.lower - 1e-9 for c in ROBOT.channels]).all()
    assert (sent <= [c.upper + 1e-9 for c in ROBOT.channels]).all()
    return True


def test_every_skill_is_one_deployment_on_the_same_body_and_the_robot_rests_between():
    body, policy, beside = MockBody(ROBOT), Reaches(), Beside()
    hands = hands_of(body, policy, beside=beside)
    assert hands.perform(PUT).status == "done" and at_rest(body)
    assert set(policy.told) == {"put the red cube on the blue plate"}
    before = len(body.commands)
    assert hands.perform(Skill("open_gripper")).status == "done" and at_rest(body)
    assert body.commands[before - 1][2] < 30 and body.commands[-1][2] > 80  # jaw, 0 … 100
    assert hands.perform(Skill("close_gripper")).status == "done" and body.commands[-1][2] < 5
    assert hands.perform(Skill("home")).status == "done" and at_rest(body)
    assert abs(body.commands[-1][0] - ROBOT.home[0]) < 0.1 < body.commands[before - 1][0]
    assert beside.skills == len(set(map(id, beside.controllers))) == 4  # a controller of its own each


def test_the_person_says_whether_it_was_done_and_is_told_what_the_policy_says():
    asked, answers = [], [False, True]

    def says(skill, done):
        asked.append((str(skill), done))
        return answers.pop(0)

    hands = hands_of(MockBody(ROBOT), Reaches(), says)
    result = hands.perform(PUSH)
    assert result.status == "stalled" and "the check at rest says that it is not" in result.said
    assert hands.perform(PUSH).status == "done" and asked == [(str(PUSH), True)] * 2
    answers.append(True)
    slow = hands_of(MockBody(ROBOT), Reaches(done=0.2), says, slow=0.2)  # it never says so itself
    result = slow.perform(PUSH)
    assert result.status == "done" and result.seconds == pytest.approx(3.0) and asked[-1] == (str(PUSH), False)
    assert hands_of(MockBody(ROBOT), Reaches(done=0.2), slow=0.2).perform(PUSH).status == "stalled"


def test_where_nobody_answers_the_instruction_ends():
    beside = Beside()
    run = carry_out(
        "push the green ball left", RulePlanner(), hands_of(MockBody(ROBOT), Reaches(), lambda *_: None, beside)
    )
    assert run.ending == "stopped" and beside.skills == 1 and "nobody says" in run.why


def test_what_the_person_told_is_changed_by_what_was_done():
    told = ToldScene(THINGS, PLACES)
    assert told().names == (*THINGS, *PLACES) and [t.name for t in told().fixed] == list(PLACES)
    told.after(SkillResult(PUT, "stalled"))
    assert told().find("red cube").on == "" and not told().placements
    told.after(SkillResult(PUT, "done"))
    told.after(SkillResult(Skill("grasp", object="green ball"), "done"))
    assert told().find("red cube").on == "blue plate" and told().holding == "green ball"
    told.after(SkillResult(Skill("open_gripper"), "done"))
    assert told().holding == ""


def moved_after(body, n):
    """Largest change of a command after the n-th [unit of the channel]."""
    return np.abs(np.diff(np.array(body.commands)[n:], axis=0)).max()


@pytest.mark.parametrize("mode", ["E-STOP", "HANDOFF"])
def test_a_stop_in_a_skill_ends_the_instruction_with_the_robot_at_rest(tmp_path, mode):
    latch, asked = Latch("gadget", tmp_path), []
    stop = {
        "E-STOP": lambda controller: latch.press("a hand is in the way"),
        "HANDOFF": lambda controller: controller.handoff("a hand is in the way"),
    }[mode]
    body, policy, beside = MockBody(ROBOT, noise=True), Reaches(done=0.2), Beside(at_10=stop)
    hands = hands_of(body, policy, lambda *a: asked.append(a) or True, beside, latch=latch)
    run = carry_out("put the red cube on the blue plate, then push the green ball left", RulePlanner(), hands)
    assert run.ending == "failed" and run.results[-1].status == "fault"
    assert "a hand is in the way" in run.why and ("ESTOP" if mode == "E-STOP" else mode) in run.why
    assert beside.skills == 1 and not asked  # nobody is asked about it, and nothing else is begun
    assert at_rest(body) and moved_after(body, 0) > 1e-3 > moved_after(body, len(body.commands) - 3)
    sent = len(body.commands)
    if mode == "E-STOP":  # nothing is commanded while it is latched, by whatever instruction
        result = hands.perform(Skill("home"))
        assert result.status == "fault" and "palmar estop --release gadget" in result.said
        assert len(body.commands) == sent and beside.skills == 1


def test_a_robot_that_is_still_held_when_its_time_is_over_is_not_driven_on():
    body, beside = MockBody(ROBOT), Beside()
    hands = hands_of(body, Reaches(fails_after=2), lambda *_: True, beside)
    run = carry_out("put the red cube on the blue plate, then push the green ball left", RulePlanner(), hands)
    assert run.ending == "failed" and run.results[-1].status == "fault" and beside.skills == 1
    assert "HOLD: watchdog" in run.why and "the network is gone" in run.why and at_rest(body)


def test_a_body_that_fails_ends_the_instruction_and_is_not_looked_at_any_more():
    class Breaks(MockBody):
        broken = False

        def apply(self, command):
            if self.broken or (len(self.commands) >= 10):
                self.broken = True
                raise RobotFault("the cable is out. Next: plug it in")
            super().apply(command)

        def observe(self, images=True):
            if getattr(self, "broken", False):
                raise RobotFault("nothing answers. Next: plug it in")
            return super().observe(images)

    body = Breaks(ROBOT)
    hands = hands_of(body, Reaches(), lambda *_: True)
    hands.describe = lambda: (body.observe(), ToldScene(THINGS, PLACES)())[1]
    run = carry_out("put the red cube on the blue plate, then push the green ball left", RulePlanner(), hands)
    assert run.ending == "failed" and [r.status for r in run.results] == ["fault"] and "the cable is out" in run.why
    assert len(body.commands) == 10


def test_a_scene_that_cannot_be_looked_at_any_more_is_a_fault_of_the_robot():
    hands = hands_of(MockBody(ROBOT), Reaches(), lambda *_: True)
    describe = hands.describe
    hands.after = lambda result: setattr(hands, "describe", broken)

    def broken():
        raise RobotFault("the camera is gone. Next: its cable")

    assert describe().names
    with pytest.raises(RobotFault, match="the camera is gone"):
        carry_out("push the green ball left", RulePlanner(), hands)
