import pytest
from scenes import TABLE

from palmar.agent.rules.clauses import words_of
from palmar.agent.rules.references import nouns_of
from palmar.agent.rules.refusals import LONGEST, asks, refused


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
        ("push the ball left ❌", "'❌' is no letter"),
        ("push the ball left 👎🏽", "'👎' is no letter"),
        ("push the ball left\u200b", "'\\u200b' is no letter"),
        ("push the ball & the cube left", "'&' is no letter"),
        ("push the ball left; rm -rf /", "'/' is no letter"),
        ("push the ball slowly left", "'slowly': how fast"),
        ("Gently push the ball left", "'gently': how fast"),
        ("push the ball left a bit", "'a bit': how fast"),
        ("push the ball a little left", "'a little': how fast"),
        ("push the ball left, carefully", "'carefully': how fast"),
        ("push the ball as far left as you can", "'far': how fast"),
        ("push the ball left a step", "'a step': how fast"),
        ("lift the ball high", "'high': how fast"),
        ("take the ball out of the tray", "'out of the tray' says where a thing is taken from"),
        ("take the ball off the plate", "'off the plate' says where a thing is taken from"),
        ("take the ball from the blue plate", "'from the blue plate' says where a thing is taken from"),
        ("the robot pushes the ball left", "tells what is"),
        ("the ball rolls left", "tells what is"),
        ("pushes the ball left", "'pushes the ball left' tells what is"),
        ("the balls roll left", "tells what is"),
        ("push the can left, the ball rolls right", "tells what is"),
        ("do it again", "about an earlier instruction"),
        ("the same once more, please", "about an earlier instruction"),
        ("in a minute push the ball left", "'in a minute' says when"),
        ("like: push the ball left", "'like' gives an example"),
        ("as in push the ball left", "'as in' gives an example"),
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
        "push the little ball left",
        "push the ball all the way left",
        "once the ball is safely in the tray, push the cube left",
        "pick the ball up off the table",
        "slide the cube left, then the ball slides right",
        "the ball goes left",
        "do push the ball left",
        "push the ball left again",
        "would you like to push the ball left",
        "put the “cube” on the plate (please) – thanks…",
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
        ("do it", None),
        ("please do", None),
        ("do you push the ball", "do"),
    ],
)
def test_a_question_is_told_by_its_first_word_or_its_mark(text, word):
    assert asks(words_of(text)) == word
