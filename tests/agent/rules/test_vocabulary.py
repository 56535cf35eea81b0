import pytest

from palmar.agent.rules import vocabulary
from palmar.agent.rules.vocabulary import ADVERBS, ASKING_NOTHING, IDLE, MANNER, POLITE

LISTS = [n for n, v in vars(vocabulary).items() if isinstance(v, tuple) and n.isupper()]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_words_has_each_word_once(name):
    words = getattr(vocabulary, name)
    assert [w for w in words if words.count(w) > 1] == []


def test_what_says_how_fast_or_far_is_not_taken_for_polite():
    assert not {*MANNER} & {*POLITE, *IDLE, *ADVERBS, *ASKING_NOTHING}
