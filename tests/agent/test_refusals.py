import pytest
from scenes import TABLE

from palmar.agent.clauses import words_of
from palmar.agent.references import nouns_of
from palmar.agent.refusals import LONGEST, asks, refused


def why(text):
    return refused(text, words_of(text), nouns_of(TABLE))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keep off the ball", "what not to touch"),
        ("keep your hands clear of the ball", "what not to touch"),
        ("let the ball be", "'let'"),
        ("leave the ball where it is", "'leave'"),
        ("I pushed the ball left", "'i pushed'"),
        ("you have pushed the ball left", "'you have'"),
        ("I want to push the ball left", "'i want'"),
        ("you should have pushed the ball left", "'should have pushed'"),
        ("the cube is on the plate", "'the cube is on the plate' tells what is"),
        ("push the can left, the cube is on the plate", "tells what is"),
        ("push the ball left so that the cube is free", "'so'"),
        ("the ball on the plate?", "asks"),
        ("push the cube left rather than the ball", "'rather than'"),
        ("push the ball left in case the cube is red", "'in case' makes it depend"),
        ("push everything left, only the ball", "'only ball' leaves something out"),
        ("push the cube and the ball left, the ball only", "'ball only' leaves something out"),
        ("the ball can go left", "'the ball could go left' tells what is"),
        ("pushed the ball left", "'pushed the ball left' tells what is"),
        ("can the ball go left", "asks"),
        ("push the ball left, is that ok", "'is …' asks"),
        ("push the ball left?", "'push …' asks"),
        ("x" * (LONGEST + 1), f"{LONGEST} at most"),
    ],
)
def test_what_is_no_command_is_refused_with_its_words(text, said):
    assert said in (why(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "when the cube and the ball are across, lift the can",
        "once you have pushed the ball left, lift the can",
        "push the ball left so that I can see it",
        "I want the ball pushed left and the cube moved right",
        "put the cube that is on the plate in the tray",
        "the ball is to go in the tray",
        "there are two balls here: push the blue one left",
        "let go",
        "push the ball left, only then the cube right",
        "only push the ball left",
        "put the cube on the plate only",
    ],
)
def test_what_tells_when_or_which_is_no_statement(text):
    assert why(text) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("could you push the ball left?", None),
        ("ok robot, can you push the ball left?", None),
        ("put the cube on the plate. Would you then push the ball left?", None),
        ("when the ball is there, push the cube left", None),
        ("push the ball left", None),
        ("?", None),
        ("push the ball left?", "push"),
        ("would pushing the ball left break it", "would"),
        ("could the robot push the ball left", "could"),
        ("must the ball go left", "must"),
        ("put the cube on the plate. Is it there", "is"),
    ],
)
def test_a_question_is_told_by_its_first_word_or_its_mark(text, word):
    assert asks(words_of(text)) == word
