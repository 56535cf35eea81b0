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


@pytest.mark.parametrize(
    "part",
    [
        "twice",
        "nah",
        "forget it",
        "max 5 n",
        "is that safe",
        "two",
        "a second time",
        "next time",
        "to me",
        "from behind",
    ],
)
def test_a_part_that_nothing_reads_is_a_clause_and_not_dropped(part):
    assert len(said(f"push the ball left, {part}")) == 2
    assert len(said(f"{part}: push the ball left")) == 2


@pytest.mark.parametrize(
    "part",
    ["in this order", "wherever they fit", "thank you", "one after the other", "in a moment", "when that is done"],
)
def test_a_part_of_plain_words_alone_is_none(part):
    assert said(f"push the ball left, {part}") == [("push", "push the ball left")]


def test_a_part_that_tells_when_and_not_where_a_thing_goes_is_told_apart():
    def when(text):
        return [(c.text, c.when) for c in clauses_of(words_of(text), NOUNS, ("plate",))]

    assert when("once the cube is there push the ball left") == [
        ("the cube is there", True),
        ("push the ball left", False),
    ]
    assert when("once the cube is on the plate push the ball left") == [
        ("the cube is on the plate", False),
        ("push the ball left", False),
    ]
    assert when("push the cube left; when the cube is across, lift it") == [
        ("push the cube left", False),
        ("lift it", False),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("can you push it", "could you push it"),
        ("the ball can go left", "the ball could go left"),
        ("the can can be pushed", "the can could be pushed"),
        ("put the ball. Can you see it", "put the ball . could you see it"),
        ("push the can left", "push the can left"),
        ("ball and can go left", "ball and can go left"),
        ("can in the tray", "can in the tray"),
    ],
)
def test_a_can_that_is_no_thing_is_written_could(text, words):
    assert words_of(text) == words.split()


def test_things_before_one_command_are_one_clause():
    assert said("the cube and the ball have to go to the left") == [
        ("go", "the cube and the ball have to go to the left")
    ]


def test_what_is_to_be_possible_afterwards_is_no_clause():
    assert said("push the ball left so that I can reach the cube") == [("push", "push the ball left")]
    assert said("push the ball left so I can reach the cube") == [("push", "push the ball left")]
