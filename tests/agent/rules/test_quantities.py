import pytest
from scenes import TABLE

from palmar.agent.rules.quantities import count_before, counts_something
from palmar.agent.rules.references import nouns_of


@pytest.mark.parametrize(
    ("text", "count"),
    [("push the two red cubes", 2), ("push 3 cubes", 3), ("push the cubes", 0), ("two lines for the cubes", 0)],
)
def test_a_number_counts_the_name_after_it(text, count):
    words = text.split()
    assert count_before(words, len(words) - 1) == count


@pytest.mark.parametrize(
    ("text", "counts"),
    [("two cubes", True), ("two jobs", True), ("two lines to the left", False), ("two of it", False)],
)
def test_a_number_counts_things_or_jobs(text, counts):
    assert counts_something(text.split(), 0, nouns_of(TABLE)) is counts
