import json

import numpy as np
import pytest
from scenes import TABLE

from palmar.agent.carry_out import AgentLimits, carry_out
from palmar.agent.conversation import Conversation, read_conversation
from palmar.agent.performing import Performer
from palmar.agent.plans import Plan, Question, Refusal
from palmar.agent.rules.planner import RulePlanner
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import Skill, SkillResult
from palmar.cli.talking import exit_code
from palmar.errors import BadFile, BadValue, ModelUnreachable, RobotFault
from palmar.mapping import Interface
from palmar.robots.arm7 import arm7
from palmar.runtime.loop import Outcome, Tick
from palmar.types import ActionChunk, Observation, Reason, Verdict

PUT = Skill("place_on", object="red cube", destination="blue plate")
PUSH = Skill("push", object="blue ball", direction="left")


class FakePerformer:
    """A performer of a made-up table: skills have their effect, unless `fails` says otherwise."""

    def __init__(self, fails=(), answers=(), scene=TABLE):
        self.scene, self.fails, self.said = scene, list(fails), list(answers)
        self.done = []

    def describe(self):
        return self.scene

    def answer(self, question):
        return self.said.pop(0) if self.said else None

    def perform(self, skill):
        self.done.append(str(skill))
        if (why := skill.not_possible(self.scene)) is not None:
            return SkillResult(skill, why[0], said=why[1])
        if self.fails and self.fails[0] == skill.name:
            self.fails.pop(0)
            return SkillResult(skill, "stalled", 15.0, left=0.1)
        self.scene = skill.after(self.scene)
        return SkillResult(skill, "done", 3.0)


class Says:
    """A planner that gives these decisions, and the last for ever."""

    name = "scripted"

    def __init__(self, *decisions):
        self.decisions, self.requests = list(decisions), []

    def decide(self, request):
        self.requests.append(request)
        said = self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]
        if isinstance(said, Exception):
            raise said
        return said


def test_a_plan_is_carried_out_and_is_done_when_nothing_is_left():
    performer = FakePerformer()
    run = carry_out("put the cube on the plate, then push the ball left", RulePlanner(), performer)
    assert (run.ending, run.replans, run.seconds) == ("done", 0, 6.0)
    assert performer.done == [str(PUT), str(PUSH)]


def test_a_skill_that_fails_is_planned_anew_from_what_happened():
    performer = FakePerformer(fails=["place_on"])
    run = carry_out("put the cube on the plate, then push the ball left", RulePlanner(), performer)
    assert run.ending == "done" and run.replans == 1
    assert performer.done == [str(PUT), "home()", str(PUT), str(PUSH)]


def test_it_gives_up_within_its_bounds():
    run = carry_out("push the ball left", RulePlanner(), FakePerformer(fails=["push"] * 99))
    assert run.ending == "failed" and run.replans == 2 and "has failed 3 times" in run.why
    again = Plan((Skill("look"), PUSH))
    run = carry_out("x", Says(again), FakePerformer(fails=["push"] * 99), AgentLimits(replans=2))
    assert (run.ending, run.replans, run.why) == ("failed", 2, "2 new plans were tried, and it is not done")
    assert len(run.results) == 6  # of the first plan and of two more
    assert carry_out("x", Says(again), FakePerformer(fails=["push"] * 99), AgentLimits(replans=1)).replans == 1
    run = carry_out("x", Says(Plan((Skill("look"), Skill("home")) * 5)), FakePerformer(), AgentLimits(steps=7))
    assert run.ending == "failed" and len(run.results) == 7


def test_a_plan_that_cannot_hold_is_handed_back_and_never_begun():
    planner = Says(Plan((PUT, Skill("grasp", object="banana"))), Refusal("no banana"))
    performer = FakePerformer()
    run = carry_out("x", planner, performer)
    assert run.ending == "refused" and not run.moved and performer.done == []
    assert "step 2, grasp(banana): no such object" in planner.requests[1].refused


def test_questions_are_put_to_the_person_and_bounded():
    performer = FakePerformer(answers=["the ball"])
    run = carry_out("x", Says(Question("Which?", ("a", "b")), Plan((PUSH,)), Plan(())), performer)
    assert run.ending == "done" and run.asked == ("Which?",)
    assert carry_out("x", Says(Question("Which?")), FakePerformer()).ending == "not answered"
    run = carry_out("x", Says(Question("Which?")), FakePerformer(answers=["well"] * 99))
    assert run.ending == "not answered" and len(run.asked) == AgentLimits().questions


def test_nothing_moves_before_the_person_confirms_and_an_edited_plan_is_checked():
    performer = FakePerformer()
    assert carry_out("x", Says(Plan((PUSH,))), performer, confirm=lambda plan: None).ending == "not confirmed"
    assert performer.done == []
    run = carry_out("x", Says(Plan((PUSH,)), Plan(())), performer, confirm=lambda plan: Plan((PUT,)))
    assert run.ending == "done" and performer.done == [str(PUT)]
    run = carry_out(
        "x", Says(Plan((PUSH,))), FakePerformer(), confirm=lambda plan: Plan((Skill("grasp", object="banana"),))
    )
    assert run.ending == "not confirmed" and "banana" in run.why


def test_the_scene_may_change_while_it_is_planned_and_carried_out():
    performer = FakePerformer()

    class Takes(Says):
        def decide(self, request):
            performer.scene = performer.scene.with_thing(SeenObject("red cube", confidence=0.2))
            return super().decide(request)

    run = carry_out("x", Takes(Plan((PUT,)), Refusal("the cube is hardly seen")), performer)
    assert run.ending == "failed" and run.results[0].status == "low confidence"


def test_a_planner_that_breaks_off_is_an_error_before_and_a_failure_after_something_moved():
    with pytest.raises(ModelUnreachable):
        carry_out("x", Says(ModelUnreachable("gone. Next: again")), FakePerformer())
    run = carry_out("x", Says(Plan((PUSH,)), ModelUnreachable("gone. Next: again")), FakePerformer())
    assert run.ending == "failed" and "gone" in run.why


def test_what_was_picked_up_and_let_go_for_the_next_thing_is_not_taken_again():
    for text, expected in (
        ("pick up the cube, then open the gripper", ["grasp(red cube)", "open_gripper()"]),
        ("pick up the cube and then push the ball left", ["grasp(red cube)", "open_gripper()", str(PUSH)]),
        ("pick up the cube, then reach for the ball", ["grasp(red cube)", "open_gripper()", "move_to(blue ball)"]),
        ("put the cube on the plate, then in the tray", [str(PUT), "place_on(red cube, yellow tray)"]),
    ):
        performer = FakePerformer()
        run = carry_out(text, RulePlanner(), performer)
        assert (run.ending, performer.done) == ("done", expected)


def test_a_planner_alone_cannot_say_that_it_is_done():
    run = carry_out("x", Says(Plan((PUSH,)), Plan(())), FakePerformer(fails=["push"]))
    assert run.ending == "failed" and "stalled" in run.why
    assert carry_out("show me the cube", RulePlanner(), FakePerformer()).ending == "refused"
    asks = Plan((Skill("ask", question="Which?"),))
    for decisions in ((Plan(()),), (asks, Plan(())), (Question("Which?"), Plan(()))):
        run = carry_out("fly to the moon", Says(*decisions), FakePerformer(answers=["the far one"]))
        assert run.ending == "nothing to do" and "nothing was carried out" in run.why and exit_code(run) == 1
    run = carry_out("look", Says(Plan((Skill("look"),)), Plan(())), FakePerformer())
    assert run.ending == "done" and exit_code(run) == 0


def test_a_plan_without_steps_is_not_confirmed():
    asked = []
    performer, log = FakePerformer(), Conversation()
    run = carry_out(
        "push", Says(Plan((PUSH,))), performer, confirm=lambda plan: asked.append(plan) or Plan(()), log=log
    )
    assert (run.ending, run.why) == ("not confirmed", "the edited plan has no steps")
    assert len(asked) == 1 and performer.done == [] and log.events[-1]["ending"] == "not confirmed"


def test_what_a_person_struck_out_is_not_planned_again():
    asked = []

    def shortened(plan):
        asked.append(plan)
        return Plan((PUT,), "edited by a person")

    text = "put the cube on the plate, then push the ball left"
    performer = FakePerformer()
    run = carry_out(text, RulePlanner(), performer, confirm=shortened)
    assert run.ending == "done" and performer.done == [str(PUT)] and len(asked) == 1
    performer = FakePerformer(fails=["place_on"])  # not carried out whole: it is planned again, and asked again
    run = carry_out(text, RulePlanner(), performer, confirm=shortened)
    assert run.ending == "done" and performer.done == [str(PUT)] * 2 and len(asked) == 3
    planner = Says(Plan((PUSH,)), Plan((PUT,)), Plan(()))  # the same steps again are no edit
    run = carry_out("x", planner, FakePerformer(), confirm=lambda plan: Plan(plan.steps, "yes"))
    assert run.ending == "done" and len(run.results) == 2
    only_asks = Plan((Skill("ask", question="Which?"),))
    run = carry_out("x", Says(Plan((PUSH,))), FakePerformer(answers=["well"]), confirm=lambda plan: only_asks)
    assert run.ending == "nothing to do"


class Unperceived(FakePerformer):
    """Its scene does not tell what is held, nor what lies on what. unseen: names that it does not find."""

    unseen = ()

    def describe(self):
        things = tuple(SeenObject(t.name, t.fixed) for t in self.scene.things if t.name not in self.unseen)
        return SceneDescription(things, placements=False)


def test_what_was_grasped_last_is_held_where_the_scene_does_not_tell():
    performer = Unperceived(fails=["open_gripper"])
    run = carry_out("pick up the cube, then push the ball left", RulePlanner(), performer)
    assert run.ending == "done" and performer.scene.holding == ""
    assert performer.done == ["grasp(red cube)", "open_gripper()", "home()", "open_gripper()", str(PUSH)]
    grasp, put = Skill("grasp", object="red cube"), Plan((Skill("look"), PUT))
    planner = Says(Plan((grasp, Skill("home"))), put, Plan(()))
    performer = Unperceived()
    performer.unseen = ("red cube",)  # not in the gripper; before it is grasped it is
    performer.perform = lambda skill: (performer.done.append(str(skill)), SkillResult(skill, "done", 1.0))[1]
    first = performer.describe
    performer.describe = lambda: first() if performer.done else performer.scene
    carry_out("x", planner, performer)
    assert [r.scene.held for r in planner.requests] == ["nothing", "red cube", "unknown"]
    assert "red cube" in planner.requests[1].scene.names and "red cube" not in planner.requests[2].scene.names
    planner = Says(Plan((grasp,)), Plan(()))
    performer = Unperceived(fails=["grasp"])
    carry_out("x", planner, performer)
    assert planner.requests[1].scene.held == "unknown"


class Breaks(FakePerformer):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def perform(self, skill):
        self.done.append(str(skill))
        if isinstance(self.how, BaseException):
            raise self.how
        return SkillResult(skill, self.how, 1.0, said="emergency stop pressed")


def test_after_a_fault_nothing_moves_until_a_person_has_looked():
    for how, ending in (("fault", "failed"), ("stopped", "stopped")):
        performer = Breaks(how)
        run = carry_out("push the ball left", RulePlanner(), performer)
        assert run.ending == ending and len(performer.done) == 1 and "emergency stop pressed" in run.why
    run = carry_out("push the ball left", RulePlanner(), Breaks(BadValue("no such task. Next: another")))
    assert run.ending == "failed" and "no such task" in run.why


def test_ctrl_c_in_a_skill_goes_on_to_the_caller_and_the_log_has_its_end():
    log = Conversation()
    with pytest.raises(KeyboardInterrupt):
        carry_out("push the ball left", RulePlanner(), Breaks(KeyboardInterrupt()), log=log)
    assert log.events[-1]["ending"] == "stopped"


def raises(error):
    def now(*_):
        raise error

    return now


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), RuntimeError("CUDA out of memory")])
@pytest.mark.parametrize("where", ["decide", "answer", "confirm", "perform", "describe", "describe again"])
def test_the_log_has_its_end_wherever_something_is_raised(where, error):
    performer, log = FakePerformer(), Conversation()
    planner = Says(Question("Which?") if where == "answer" else Plan((PUSH,)))
    confirm = raises(error) if where == "confirm" else lambda plan: plan
    if where == "describe again":
        looks, describe = [], performer.describe
        performer.describe = lambda: looks.append(1) or (describe() if len(looks) == 1 else raises(error)())
    elif where != "confirm":
        setattr(planner if where == "decide" else performer, where, raises(error))
    with pytest.raises(type(error)):
        carry_out("push the ball left", planner, performer, confirm=confirm, log=log)
    last = log.events[-1]
    assert last["event"] == "end" and last["ending"] == ("failed" if isinstance(error, RuntimeError) else "stopped")
    assert [e["event"] for e in log.events].count("end") == 1
    assert last["why"] == ("Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error))


def test_questions_within_a_plan_count_too():
    asks = Plan(tuple(Skill("ask", question=f"{i}?") for i in range(9)))
    run = carry_out("x", Says(asks), FakePerformer(answers=["well"] * 99))
    assert run.ending == "not answered" and len(run.asked) == AgentLimits().questions


def test_every_conversation_is_kept_and_read_again(tmp_path):
    file = tmp_path / "logs" / "talk.jsonl"
    log = Conversation(file)
    carry_out("put the cube on the plate", RulePlanner(), FakePerformer(fails=["place_on"]), log=log)
    log.close()
    events = read_conversation(file)
    assert events == log.events
    kinds = "person scene plan step result plan step result step result plan end"
    assert [e["event"] for e in events] == kinds.split()
    file.write_bytes(file.read_bytes() + b'{"time": 1, "eve')  # cut off
    assert read_conversation(file) == events
    file.write_bytes(b'{"event": "nonsense"}\n' + file.read_bytes())
    with pytest.raises(BadFile, match="line 1"):
        read_conversation(file)
    with pytest.raises(BadFile, match="Next: "):
        read_conversation(tmp_path / "none.jsonl")
    with pytest.raises(BadValue, match="unknown"):
        log.add("nonsense")
    for wrong in ('{"event": "plan"}', '{"event": "end"}', '{"event": "plan", "plan": 3}'):
        file.write_text(wrong + "\n")
        with pytest.raises(BadFile, match="line 1"):
            read_conversation(file)
    odd = Conversation(tmp_path / "odd.jsonl")
    odd.add("person", text="\udcff")
    odd.close()
    assert len(read_conversation(tmp_path / "odd.jsonl")) == 1


# ---------------------------------------------------------------------------------------------- the performer


class Checked:
    """over: it ends by itself. done: who is asked says so."""

    def __init__(self, over, done):
        self._over, self._done = over, done

    def begin(self, skill):
        self.skill = skill

    def over(self, obs, chunk):
        return self._over

    def done(self, outcome):
        return self._done

    def left(self):
        return 0.04


class Still:
    interface = Interface({}, ("x",), ("a",), 1, 0.1)

    def act(self, obs, prefix=None):
        return ActionChunk(np.zeros((1, 1), np.float32), 0.1, obs.time)

    def reset(self):
        pass


def performing(check, outcome="timeout", error=None, ticks=()):
    def drive(policy, instruction, until, timeout, subscribers):
        if error is not None:
            raise error
        obs = Observation({}, np.zeros(1, np.float32))
        for tick in ticks:
            for s in subscribers:
                s.on_tick(tick)
        ended = "done" if until(obs, None) else outcome
        return Outcome(ended, 2.0, len(ticks))

    return Performer(arm7(), {"": Still()}, lambda: TABLE, drive, check)


def test_a_result_is_what_the_check_saw_and_what_the_guards_changed():
    reasons = tuple(Reason("workspace", f"x{i}", 0.72, 0.68, "m") for i in range(20))
    chunk = ActionChunk(np.zeros((1, 1), np.float32), 0.1, 0.0, confidence=0.3)
    obs, still = Observation({}, np.zeros(1, np.float32)), np.zeros(1)
    tick = Tick(0, 0.5, obs, still, Verdict(still, reasons), chunk=chunk, new_chunk=True)
    result = performing(Checked(True, True), ticks=[tick, tick]).perform(PUSH)
    assert result.status == "done" and len(result.clipped) == 8 and result.confidence == pytest.approx(0.3)
    result = performing(Checked(False, False)).perform(PUSH)
    assert (result.status, result.left, result.said) == ("stalled", 0.04, "")
    assert performing(Checked(False, True)).perform(PUSH).status == "done"  # out of time, and done all the same
    result = performing(Checked(True, False)).perform(PUSH)
    assert result.status == "stalled" and "it ended as done, and the check at rest says that it is not" in str(result)
    result = performing(Checked(True, None)).perform(PUSH)
    assert result.status == "stopped" and "nobody says" in str(result)
    assert performing(Checked(False, True), "stopped").perform(PUSH).status == "stopped"
    result = performing(Checked(False, True), error=RobotFault("stale sensor")).perform(PUSH)
    assert result.status == "fault" and "stale sensor" in result.said


def test_what_cannot_begin_is_not_tried():
    performer = performing(Checked(True, True))
    assert performer.perform(Skill("grasp", object="banana")).status == "no such object"
    assert performer.perform(Skill("push", object="blue plate", direction="left")).status == "not possible"
    assert performer.perform(Skill("ask", question="Which?")).status == "not answered"
    performer.answer = lambda question: "the red one"
    assert performer.perform(Skill("ask", question="Which?")).said == "the red one"
    performer.policies = {"push": Still()}
    with pytest.raises(BadValue, match="no policy carries out grasp"):
        performer.perform(Skill("grasp", object="red cube"))


def test_a_scene_that_cannot_be_looked_at_is_a_result():
    told = []
    performer = performing(Checked(True, True))
    performer.describe, performer.after = raises(RobotFault("the camera is gone. Next: its cable")), told.append
    for skill in (PUSH, Skill("look"), Skill("ask", question="Which?")):
        result = performer.perform(skill)
        assert result.status == "fault" and "the camera is gone" in result.said and told[-1] == result


def test_a_black_box_that_cannot_be_written_is_part_of_the_result(tmp_path):
    class Driven:
        def __call__(self, policy, instruction, until, timeout, subscribers):
            obs, still = Observation({}, np.zeros(len(arm7().state), np.float32)), arm7().home
            body = type("B", (), {"embodiment": arm7()})()
            for s in subscribers:
                s.on_start(obs, body)
                s.on_tick(Tick(0, 0.5, obs, still, Verdict(still, stop=self.stops)))
                s.on_end("timeout")
            return Outcome("timeout", 2.0, 1)

    (tmp_path / "file").write_text("")
    performer = performing(Checked(False, False))
    performer.blackbox, performer.drive = tmp_path / "file" / "boxes", Driven()
    for stops, status in ((False, "stalled"), (True, "fault")):
        performer.drive.stops = stops
        result = performer.perform(PUSH)
        assert result.status == status and result.record is None and result.said.count("expected a folder") == 1


def test_results_are_plain_values_for_logs():
    json.dumps([PUT.as_dict(), str(SkillResult(PUT, "done", 1.0))])
