import pytest
from scenes import TABLE

from palmar.agent.clauses import words_of
from palmar.agent.references import nouns_of
from palmar.agent.refusals import LONGEST, refused


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
    ],
)
def test_what_tells_when_or_which_is_no_statement(text):
    assert why(text) is None
