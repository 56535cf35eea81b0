import pytest

from palmar.agent.rules.answers import chosen, chosen_several

THINGS = ("red cube", "yellow cube", "blue ball")


@pytest.mark.parametrize(
    ("said", "meant"),
    [("the red one", "red cube"), ("Sphere!", "blue ball"), ("cube", None), ("not the red one", None), ("", None)],
)
def test_an_answer_means_the_choice_of_which_it_has_a_word(said, meant):
    assert chosen(said, THINGS) == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("the red one and the ball", ["red cube", "blue ball"]),
        ("yellow, red", ["red cube", "yellow cube"]),
        ("cube", []),
        ("red, but not the ball", []),
    ],
)
def test_an_answer_may_mean_several(said, meant):
    assert chosen_several(said, THINGS) == meant
