from hypothesis import given
from hypothesis import strategies as st

from palmar.agent.seen import SeenObject
from palmar.agent.skills import Skill, skill_from_text
from palmar.errors import BadValue
from palmar.sim import vocabulary


@given(st.text(max_size=20), st.sampled_from(vocabulary.DIRECTIONS))
def test_a_skill_with_the_name_of_a_thing_can_be_written_out_and_read_again(name, direction):
    try:
        thing = SeenObject(name)
    except BadValue:
        return
    for skill in (
        Skill("push", object=thing.name, direction=direction),
        Skill("place_on", object=thing.name, destination=thing.name),
        Skill("grasp", object=thing.name),
    ):
        assert skill_from_text(str(skill)) == skill


def test_every_direction_of_the_simulator_is_one_that_things_are_pushed():
    for direction in vocabulary.DIRECTIONS:
        assert Skill("push", object="red cube", direction=direction).direction == direction
