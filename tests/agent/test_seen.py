import pytest

from palmar.agent.on_body import ToldScene
from palmar.agent.plans import PlanRequest
from palmar.agent.rules.planner import RulePlanner
from palmar.agent.seen import LONGEST, SeenObject
from palmar.errors import BadValue

WRONG = {
    "": "colour and noun",
    " ": "colour and noun",
    "\n": "colour and noun",
    "cube, red": "','",
    "red cube)": "'\\)'",
    "cube (red)": "'\\('",
    "cube [2]": "'\\['",
    "cube {2}": "'{'",
    "<cube>": "'<'",
    "red\ncube": "line feed",
    "red\u2028cube": "line feed",
    "red \x1b[2Jcube": "bracket",
    " red cube": "'red cube'",
    "red  cube": "'red cube'",
    "x" * (LONGEST + 1): f"{LONGEST} at most",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_a_written_skill_cannot_hold_is_refused(name):
    with pytest.raises(BadValue, match=WRONG[name]) as error:
        SeenObject(name)
    assert "Next: " in str(error.value)


@pytest.mark.parametrize("name", ["", " ", "cube, red"])
def test_what_a_person_says_lies_there_is_refused_before_anything_is_planned(name):
    with pytest.raises(BadValue, match="name of a thing"):
        RulePlanner().decide(PlanRequest("push the green ball left", ToldScene((name, "green ball"))()))


def test_usual_names_are_names():
    for name in ("red cube", "red cube 2", "Schrägbank", "x" * LONGEST, "half-open box"):
        assert SeenObject(name).name == name
