import pytest

from palmar.agent.rules.clauses import clauses_of, words_of

NOUNS = ("cube", "ball", "can", "plate")


def said(text: str) -> list[tuple[str, str]]:
    return [(c.verb, c.text) for c in clauses_of(words_of(text), NOUNS, ("plate",))]


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


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("last push the ball left, first put the cube on the plate", "last"),
        ("secondly push the ball left; firstly put the cube on the plate", "firstly"),
        ("push the ball left. first put the cube on the plate", "first"),
        ("push the ball left, put the cube on the plate first", "first"),
        ("second: push the ball left. first: put the cube on the plate", "first"),
        ("as the last thing push the ball left, then put the cube on the plate", "last"),
        ("at the end push the ball left, first put the cube on the plate", "last"),
        ("third push the ball left, second lift the cube", "second"),
        ("finally push the ball left. then put the cube on the plate", "finally"),
    ],
)
def test_a_word_that_contradicts_the_written_order_is_told(text, word):
    found = clauses_of(words_of(text), NOUNS, ("plate",))
    assert word in [c.misplaced for c in found]


@pytest.mark.parametrize(
    ("text", "in_order"),
    [
        ("first push the ball left, second put the cube on the plate",
         ["first push the ball left", "second put the cube on the plate"]),
        ("first, push the ball left; second, lift the cube", ["push the ball left", "lift the cube"]),
        ("push the ball left, but first lift the cube", ["lift the cube", "push the ball left"]),
        ("last of all push the ball left; first lift the cube", ["first lift the cube", "push the ball left"]),
        ("push the last ball left, then lift the first cube", ["push the last ball left", "lift the first cube"]),
        ("first lift the cube, last push the ball left. After that push the can left.",
         ["first lift the cube", "last push the ball left", "push the can left"]),
        ("finally push the ball left, and lift the cube", ["push the ball left", "lift the cube"]),
    ],
)  # fmt: skip
def test_a_word_that_fits_the_order_is_read(text, in_order):
    found = clauses_of(words_of(text), NOUNS, ("plate",))
    done = [c.text for c in sorted(found, key=lambda c: c.rank) if c.text not in ("first", "second")]
    assert done == in_order and not any(c.misplaced for c in found)


@pytest.mark.parametrize(
    "text",
    ["before pushing the ball left", "after pushing the ball left", "lift the can. After pushing the ball left."],
)
def test_a_sentence_that_tells_when_alone_hangs(text):
    assert clauses_of(words_of(text), NOUNS, ("plate",))[-1].hanging


@pytest.mark.parametrize(
    "text",
    ["after pushing the ball left, lift the cube", "lift the cube before pushing the ball left",
     "before everything else lift the cube"],
)  # fmt: skip
def test_a_part_that_tells_when_beside_a_command_does_not_hang(text):
    assert not any(c.hanging for c in clauses_of(words_of(text), NOUNS, ("plate",)))


def test_a_place_alone_is_a_second_act_only_after_then():
    assert said("put the cube on the plate, on the plate") == [
        ("put", "put the cube on the plate"),
        ("", "on the plate"),
    ]
    assert said("lift the cube, then onto the plate")[1] == ("put", "put it onto the plate")
