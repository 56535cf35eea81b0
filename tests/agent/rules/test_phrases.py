import pytest

from palmar.agent.rules.phrases import (
    ends_with_a_way,
    goes_back,
    on_the_table,
    only_stands_there,
    says_held,
    way_before_place,
    where_it_lies,
)
from palmar.agent.rules.references import Mentions


@pytest.mark.parametrize(
    ("text", "way"),
    [("move the ball left to the plate", "left"), ("move the ball to the left plate", ""),
     ("move the ball to the plate on the left", "")],
)  # fmt: skip
def test_a_way_before_a_place_is_told_from_a_place_at_a_side(text, way):
    assert way_before_place(text.split(), Mentions()) == way


@pytest.mark.parametrize(
    ("text", "way"),
    [("lift the ball left", "left"), ("lift the ball to the right", "right"), ("lift the ball on the left", ""),
     ("lift the left ball", "")],
)  # fmt: skip
def test_a_way_at_the_end_is_told_from_where_a_thing_is(text, way):
    assert ends_with_a_way(text.split()) == way


def test_what_a_clause_says_beside_its_things():
    assert goes_back(["pull", "the", "cube", "back"], False) and not goes_back(
        ["put", "it", "back", "on", "the", "plate"], True
    )
    assert on_the_table(["keep", "it", "on", "the", "table"]) and not on_the_table(
        ["lift", "it", "off", "the", "table"]
    )
    assert says_held(["keep", "it", "in", "the", "air"]) and not says_held(["keep", "it", "there"])
    assert only_stands_there(["left", "of", "the", "can"], 0) and not only_stands_there(["push", "it", "left"], 2)
    assert where_it_lies(["lift", "the", "cube", "on", "the", "plate"]) and not where_it_lies(
        ["lift", "it", "onto", "the", "plate"]
    )
