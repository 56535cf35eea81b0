import pytest

from palmar.agent.rules.commands import base_form, command_of, is_command


@pytest.mark.parametrize(
    ("word", "base"),
    [
        ("putting", "put"),
        ("pushes", "push"),
        ("placed", "place"),
        ("lifting", "lift"),
        ("cubes", "cubes"),
        ("red", "red"),
    ],
)
def test_a_command_is_found_by_its_base_form(word, base):
    assert base_form(word) == base


@pytest.mark.parametrize(
    ("text", "verb"),
    [("please push the ball left", "push"), ("give the can a shove", "shove"), ("the ball on the plate", ""),
     ("go ahead and lift it", "lift")],
)  # fmt: skip
def test_the_command_of_a_clause(text, verb):
    assert command_of(text.split()) == verb


def test_a_noun_is_no_command():
    assert not is_command(["put", "it", "in", "your", "hand"], 4)
    assert is_command(["push", "it"], 0)
