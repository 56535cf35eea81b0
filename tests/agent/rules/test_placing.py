from scenes import TABLE, TWO_CUBES

from palmar.agent.plans import Refusal
from palmar.agent.rules.placing import by_colour, cleared, put, spread
from palmar.agent.rules.references import Mentions

CUBE, CAN, BALL = TABLE.free
PLATE, TRAY = TABLE.fixed


def test_each_thing_goes_to_the_nearest_place_that_is_left():
    assert [str(s) for s in spread([CUBE, CAN], [PLATE, TRAY])] == [
        "place_on(red cube, blue plate)",
        "place_on(green cylinder, yellow tray)",
    ]


def test_two_things_do_not_go_on_one_place():
    refusal = put(Mentions([CUBE, BALL], [PLATE]), "both on the plate", TABLE)
    assert isinstance(refusal, Refusal) and "2 things on the blue plate" in refusal.why


def test_a_thing_goes_to_the_place_of_its_colour():
    goals = by_colour([BALL], TABLE)
    assert isinstance(goals, list) and [str(s) for s in goals] == ["place_on(blue ball, blue plate)"]
    assert isinstance(by_colour([CUBE], TABLE), Refusal)


def test_a_table_with_more_things_than_places_is_not_cleared():
    assert isinstance(cleared(TWO_CUBES), Refusal)
