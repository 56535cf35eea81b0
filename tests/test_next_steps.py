"""Every error that a user can mend ends with a next step: `Next: …`, or the list of what exists (`UnknownName`)."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import palmar
from palmar.description.file import parse_robot
from palmar.errors import BadFile

HOME = Path(palmar.__file__).parent
KINDS = ("BadValue", "BadFile", "MissingPackage", "RobotFault")
PARTS = ("models/", "eval/plots.py", "eval/stats.py", "adapters/wire.py")
"""Parts for who writes a model or a plot in Python: what was expected is all that there is to say of a wrong argument. A
file or a package that they refuse has a next step as elsewhere."""


def raised() -> Iterator[tuple[str, ast.Call]]:
    """(file:line, the call) of every error of these kinds that the package makes."""
    for path in sorted(HOME.rglob("*.py")):
        name = path.relative_to(HOME).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS):
                continue
            if not (node.func.id == "BadValue" and name.startswith(PARTS)):
                yield f"{name}:{node.lineno}", node


def says_what_next(place: str, call: ast.Call) -> bool:
    """Whether the text has a next step: in its words, in a constant, or in an error or text that it ends with."""
    if not call.args or not isinstance(message := call.args[0], ast.JoinedStr | ast.Constant | ast.BinOp):
        return True  # made elsewhere, by a function or in a variable
    if "Next: " in ast.unparse(message) or "Next, " in ast.unparse(message):
        return True
    last = message.values[-1] if isinstance(message, ast.JoinedStr) else None
    if isinstance(last, ast.FormattedValue) and ast.unparse(last.value) in ("error", "first"):
        return True
    return any(
        "Next: " in constant(place, node) for node in ast.walk(message) if isinstance(node, ast.Name | ast.Attribute)
    )


def constant(place: str, node: ast.Name | ast.Attribute) -> str:
    """The value of a constant that a message holds, such as NEXT or fmt.NEXT."""
    if not (node.attr if isinstance(node, ast.Attribute) else node.id).isupper():
        return ""
    value: object = importlib.import_module("palmar." + place.partition(".py")[0].replace("/", "."))
    for name in ast.unparse(node).split("."):
        value = getattr(value, name, "")
    return value if isinstance(value, str) else ""


def test_every_error_says_what_to_do_next() -> None:
    places = list(raised())
    assert len(places) > 500
    assert [place for place, call in places if not says_what_next(place, call)] == []


CHANNEL = """[[channel]]
name = "a"
kind = "revolute"
unit = "rad"
position = { lower = -1, upper = 1 }
velocity = { value = 1 }
"""
ROBOT = f'name = "r"\n{CHANNEL}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "r"', "no channels"),
        ('name = 3\n[[channel]]\nname = "a"', "name is 3"),
        (ROBOT.replace("lower = -1", "lower = 2"), "expected lower < upper"),
        (ROBOT.replace("velocity = { value = 1 }", ""), "velocity is missing"),
        (ROBOT.replace("velocity = { value = 1 }", "velocity = { value = -1 }"), "expected > 0"),
        (ROBOT + CHANNEL, "two channels are called 'a'"),
        ("control_rate = 7\n" + ROBOT, "whole number of control ticks"),
        ("control_rate = 0\n" + ROBOT, "expected 0.001 … 100000"),
        (ROBOT.replace('"rad"', '"m"'), "expected one of"),
        (ROBOT.replace('"rad"', '"furlong"'), "Known: "),
        (ROBOT + "colour = 3\n", "Known: "),
        ("channel = 3\n" + 'name = "r"', "a list of tables"),
        ("name = ", "is no TOML"),
    ],
)
def test_a_robot_file_that_is_refused_says_what_to_do_next(text: str, said: str) -> None:
    with pytest.raises(BadFile) as error:
        parse_robot(text, "arm.toml")
    message = str(error.value)
    assert message.startswith("'arm.toml'") and said in message
    assert "Next: " in message or "Known: " in message
