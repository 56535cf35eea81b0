from scenes import TABLE

from palmar.agent.rules.references import nouns_of
from palmar.agent.rules.spatial import extreme, named_at, placed_so

NOUNS = nouns_of(TABLE)


def test_the_leftmost_is_the_one_with_the_largest_y():
    assert [t.name for t in extreme(["the", "leftmost"], list(TABLE.free))] == ["red cube"]
    assert [t.name for t in extreme(["the", "rightmost"], list(TABLE.free))] == ["green cylinder"]
    assert extreme(["the"], list(TABLE.free)) == list(TABLE.free)


def test_a_thing_beside_another_is_told_by_its_side():
    words = ["thing", "left", "of", "the", "ball"]
    fits, taken, _ = placed_so(words, 1, list(TABLE.free), NOUNS, "thing", taken=1)
    assert [t.name for t in fits] == ["red cube"] and taken == len(words)


def test_a_name_that_fits_one_thing_is_that_thing():
    assert named_at(["blue", "ball"], 0, NOUNS) == (TABLE.find("blue ball"), 2)
    assert named_at(["banana"], 0, NOUNS) is None
