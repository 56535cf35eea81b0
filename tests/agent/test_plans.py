import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import EMPTY, TABLE

from palmar.agent.plans import AGAIN, LONGEST, Plan, Question, Refusal, check_plan, decision_from
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import SKILLS, Skill, SkillResult, skill_from
from palmar.errors import BadValue, PalmarError, UnknownName
from palmar.types import Reason

PUT = Skill("place_on", object="red cube", destination="blue plate")
PUSH = Skill("push", object="blue ball", direction="left")


def test_a_plan_is_checked_in_the_scene_that_the_steps_before_should_leave():
    assert check_plan(Plan((PUT, PUSH)), TABLE) is None
    fault = check_plan(Plan((PUT, Skill("place_on", object="blue ball", destination="blue plate"))), TABLE)
    assert fault is not None and fault.step == 2 and "'red cube' lies on 'blue plate' already" in str(fault)
    fault = check_plan(Plan((Skill("grasp", object="red cube"), PUSH)), TABLE)
    assert fault is not None and "the gripper holds 'red cube'" in str(fault)
    assert check_plan(Plan((Skill("grasp", object="red cube"), Skill("open_gripper"), PUSH)), TABLE) is None
    put = Skill("place_on", object="blue ball", destination="yellow tray")
    assert "lies on 'yellow tray', and is not pushed" in str(check_plan(Plan((put, PUSH)), TABLE))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan((Skill("grasp", object="purple cube"),)), "no such object: 'purple cube' is not here: red cube"),
        (Plan((PUT, PUT)), "twice in a row"),
        (Plan((Skill("look"), Skill("home")) * LONGEST), "expected 20 at most"),
        (Plan((Skill("place_on", object="red cube", destination="blue ball"),)), "nothing is put on 'blue ball'"),
        (Plan((Skill("push", object="blue plate", direction="left"),)), "'blue plate' stands fast"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_with_the_step(plan, said):
    fault = check_plan(plan, TABLE)
    assert fault is not None and said in str(fault)


def test_what_is_hardly_seen_is_not_acted_upon():
    dim = TABLE.with_thing(SeenObject("red cube", confidence=0.4))
    fault = check_plan(Plan((PUT,)), dim)
    assert fault is not None and "low confidence: 'red cube' is seen with confidence 0.40 < 0.6" in str(fault)


def test_what_has_failed_often_is_not_tried_again():
    failed = [SkillResult(PUSH, "stalled", 15.0)] * AGAIN
    assert check_plan(Plan((PUSH,)), TABLE, failed[1:]) is None
    assert "failed 3 times" in str(check_plan(Plan((PUSH,)), TABLE, failed))


def test_a_result_tells_what_really_happened():
    reason = Reason("workspace", "x", 0.72, 0.68, "m")
    said = str(SkillResult(PUSH, "stalled", 15.0, (reason,), 0.04, 0.31))
    assert (
        said
        == "push(blue ball, left): stalled after 15.0 s, 0.04 m left, confidence 0.31; clipped: workspace x 0.72 > 0.68 m"
    )


def test_skills_are_read_as_they_are_kept():
    for skill in (PUT, PUSH, Skill("home"), Skill("ask", question="Which?")):
        assert skill_from(json.loads(json.dumps(skill.as_dict()))) == skill


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"skill": "fly"}, UnknownName, "fly"),
        ({"skill": "push", "object": "red cube"}, BadValue, "expected arguments: object, direction"),
        ({"skill": "push", "object": "red cube", "direction": "up"}, UnknownName, "left"),
        ({"skill": "home", "object": "red cube"}, BadValue, "expected arguments: none"),
        ({"skill": "grasp", "object": "x" * 600}, BadValue, "500 characters"),
        ({"skill": "grasp", "object": ["red cube"]}, BadValue, "500 characters"),
        ({"skill": "grasp", "object": "red cube", "speed": "9"}, BadValue, "has 'speed'"),
        ("grasp", BadValue, "expected"),
        (None, BadValue, "expected"),
    ],
)
def test_what_is_no_skill_is_refused_by_name(said, error, words):
    with pytest.raises(error, match=re.escape(words)):
        skill_from(said)


def test_decisions_are_plans_questions_or_refusals():
    assert decision_from({"plan": [PUT.as_dict()], "why": "asked"}) == Plan((PUT,), "asked")
    assert decision_from({"question": "Which?", "choices": ["a", "b"]}) == Question("Which?", ("a", "b"))
    assert decision_from({"refusal": "no"}) == Refusal("no")
    for wrong in ({}, {"plan": [], "refusal": "x"}, {"plan": "all"}, [], {"question": "a", "choices": "b"}):
        with pytest.raises(BadValue):
            decision_from(wrong)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"plan": [{"skill": "home", "object": "", "speed": None}]}, "a step has 'speed'"),
        ({"plan": [{"skill": "home", "limits": ""}]}, "a step has 'limits'"),
        ({"plan": [{"skill": "home", 3: None}]}, "a step has '3'"),
        ({"plan": [], "why": {"a": [1]}}, "why is {'a': [1]}"),
        ({"question": ["which?"]}, "question is ['which?']"),
        ({"question": "which?", "choices": ["a", {"x": 1}]}, "a choice is {'x': 1}"),
        ({"question": "which?", "choices": [None]}, "a choice is None"),
        ({"refusal": 3}, "refusal is 3"),
    ],
)
def test_a_decision_is_read_strictly(said, words):
    with pytest.raises(BadValue, match=re.escape(words)):
        decision_from(said)


def test_arguments_that_a_skill_does_not_have_may_be_left_empty():
    assert decision_from({"plan": [{"skill": "home", "object": "", "direction": None}], "why": None}).steps


KEYS = st.sampled_from(["plan", "skill", "object", "why", "question", "x"])
json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.sampled_from(sorted(SKILLS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(json_like)
def test_whatever_a_model_writes_is_a_decision_or_an_error_with_words(said):
    try:
        decision = decision_from(said)
    except PalmarError as error:
        assert "Next: " in str(error) or "expected" in str(error)
    else:
        assert isinstance(decision, Plan | Question | Refusal)


def test_a_scene_names_each_thing_once():
    with pytest.raises(BadValue, match="more than once"):
        SceneDescription((SeenObject("red cube"), SeenObject("red cube")))
    with pytest.raises(BadValue, match="which the scene lacks"):
        SceneDescription((SeenObject("red cube"),), holding="blue ball")
    assert check_plan(Plan((PUT,)), EMPTY) is not None
