import pytest
from scenes import TABLE, TWO_CUBES

from palmar.agent.plans import Question, Refusal
from palmar.agent.rules.clauses import words_of
from palmar.agent.rules.references import Mentions, meant, mentioned, not_understood, without_excluded


def named(text, scene=TABLE):
    found = mentioned(words_of(text), scene, (), lambda question: None)
    assert isinstance(found, Mentions), found
    return [t.name for t in found.objects], [t.name for t in found.places]


@pytest.mark.parametrize(
    ("text", "kept", "left_out"),
    [
        ("push the cube left instead of the ball", "push the cube left", {"blue ball"}),
        ("instead of the blue ball push the cube left", "push the cube left", {"blue ball"}),
        ("put the cube instead of the ball on the plate", "put the cube on the plate", {"blue ball"}),
        ("push the cube left", "push the cube left", set()),
    ],
)
def test_instead_of_leaves_out_the_thing_after_it(text, kept, left_out):
    assert without_excluded(words_of(text), TABLE) == (kept.split(), left_out)


@pytest.mark.parametrize(
    "text",
    [
        "push the cube left instead of the ball and the can",
        "push the cube left instead of pushing the ball",
        "push the cube left instead of the ball on the plate",
        "push the cube left instead of the banana",
        "push the cube left instead of",
    ],
)
def test_instead_of_more_than_one_thing_is_not_read(text):
    assert without_excluded(words_of(text), TABLE) is None


def test_a_number_of_things_is_that_many():
    assert named("push the two cubes left", TWO_CUBES)[0] == ["red cube", "yellow cube"]
    assert named("push 3 things left")[0] == ["red cube", "green cylinder", "blue ball"]
    for text in (
        "push two balls left",
        "push 2 balls left",
        "push both balls left",
        "push the balls left",
        "push four things left",
    ):
        assert isinstance(mentioned(words_of(text), TABLE, (), lambda question: None), Refusal), text
    assert isinstance(mentioned(words_of("lift one cube"), TWO_CUBES, (), lambda question: None), Question)


def test_a_number_that_counts_nothing_here_is_not_understood():
    assert not_understood(words_of("push the cube two lines to the left"), TABLE) == "two"
    assert not_understood(words_of("push the cube left 3"), TABLE) == "3"
    assert not_understood(words_of("push the two red cubes left"), TABLE) is None
    assert not_understood(words_of("5 push the ball left and the cube right"), TABLE) == "5"
    assert not_understood(words_of("put the cube and 5 on the plate"), TABLE) == "5"
    assert not_understood(words_of("put two of it on the plate"), TABLE) == "two"
    assert not_understood(words_of("push the ball left and the other two right"), TABLE) is None


def test_a_possessive_of_anything_but_the_robot_is_not_understood():
    for owner in ("person's", "cube's", "neighbour's"):
        assert not_understood(words_of(f"push the ball to the {owner} left"), TABLE) == owner
    assert not_understood(words_of("push the ball to the robot's left"), TABLE) is None
    assert not_understood(words_of("that's it, push the ball left"), TABLE) is None


@pytest.mark.parametrize("place", ["next the plate", "out the plate", "of the plate", "cube the plate"])
def test_a_place_without_on_or_in_is_told_apart(place):
    found = mentioned(words_of(f"put the cube {place.removeprefix('cube ')}"), TABLE, (), lambda question: None)
    assert isinstance(found, Mentions) and found.loose == place


def test_all_and_both_mean_what_was_named():
    assert named("push the ball all the way left")[0] == ["blue ball"]
    assert named("push the cube and the ball both left")[0] == ["red cube", "blue ball"]
    them = mentioned(words_of("push them all left"), TABLE, ["red cube", "blue ball"], lambda question: None)
    assert isinstance(them, Mentions) and [t.name for t in them.objects] == ["red cube", "blue ball"]
    refusal = mentioned(words_of("push the cube all left"), TABLE, (), lambda question: None)
    assert isinstance(refusal, Refusal) and "'all' behind 'cube'" in refusal.why
    found = mentioned(words_of("push everything else left"), TABLE, (), lambda question: None, ["red cube"])
    assert isinstance(found, Mentions) and [t.name for t in found.objects] == ["green cylinder", "blue ball"]


@pytest.mark.parametrize("before", ["over", "above", "across", "through", "along", "towards", "by way of"])
def test_a_thing_that_another_goes_by_is_told_apart(before):
    found = mentioned(words_of(f"push the cube left {before} the ball"), TABLE, (), lambda question: None)
    assert isinstance(found, Mentions) and found.beside is not None


@pytest.mark.parametrize("text", ["push both left", "push two things left", "push the two left", "push 2 things left"])
def test_which_two_of_three_are_meant_is_asked(text):
    question = mentioned(words_of(text), TABLE, (), lambda question: None)
    assert isinstance(question, Question) and question.text.startswith("Which two do you mean")
    assert question.choices[1] == "red cube and blue ball"
    for answer in (question.choices[1], "the cube and the sphere"):
        found = mentioned(words_of(text), TABLE, (), lambda question, answer=answer: answer)
        assert isinstance(found, Mentions) and [t.name for t in found.objects] == ["red cube", "blue ball"]
    for answer in ("the ball", "all", "not the ball and the cube"):
        assert mentioned(words_of(text), TABLE, (), lambda question, answer=answer: answer) == question


def test_a_name_that_is_not_here_is_guessed_where_one_is_close():
    def why(text):
        refusal = mentioned(words_of(text), TABLE, (), lambda question: None)
        assert isinstance(refusal, Refusal)
        return refusal.why

    assert why("push the gren ball left") == "there is no gren here; did you mean 'green'?"
    assert why("put the cube on the plat") == "there is no plat here; did you mean 'plate'?"
    assert why("push the banana left") == "there is no banana here"
    assert "'first' is not read as a name" in why("push the first object left")
    assert "'last' is not read as a name" in why("push the last one left")
    assert meant("more", {"move"}) == "" == meant("push", {"push"})


def test_a_place_in_the_order_is_told_of_its_thing():
    found = mentioned(words_of("push the cube and the ball left , the ball first"), TABLE, (), lambda question: None)
    assert isinstance(found, Mentions) and found.orders == {"blue ball": 1}
