import pytest

from palmar.agent import clauses, references, refusals
from palmar.agent.clauses import clauses_of, words_of

NOUNS = ("cube", "ball", "can", "plate")


def said(text: str) -> list[tuple[str, str]]:
    return [(c.verb, c.text) for c in clauses_of(words_of(text), NOUNS, ("plate",))]


LISTS = [
    (m, n) for m in (clauses, references, refusals) for n, v in vars(m).items() if isinstance(v, tuple) and n.isupper()
]


@pytest.mark.parametrize(("module", "name"), LISTS, ids=[f"{m.__name__.split('.')[-1]}.{n}" for m, n in LISTS])
def test_a_list_of_words_has_each_word_once(module, name):
    words = getattr(module, name)
    assert [w for w in words if words.count(w) > 1] == []


def test_a_part_that_asks_for_more_is_a_clause_and_one_that_is_polite_is_none():
    assert said("push the ball left and back again") == [("push", "push the ball left"), ("", "back again")]
    assert said("push the ball left, please") == [("push", "push the ball left")]
    assert said("last of all, push the ball left") == [("push", "push the ball left")]


def test_things_before_one_command_are_one_clause():
    assert said("the cube and the ball have to go to the left") == [
        ("go", "the cube and the ball have to go to the left")
    ]


def test_what_is_to_be_possible_afterwards_is_no_clause():
    assert said("push the ball left so that I can reach the cube") == [("push", "push the ball left")]
    assert said("push the ball left so I can reach the cube") == [("push", "push the ball left")]
