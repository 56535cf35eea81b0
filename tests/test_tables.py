"""Tables at any width: every value can be read, and no number is broken."""

import io
import re

import pytest
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from palmar.console import Screen, styled

NUMBERS = ("0.123 [0.101, 0.150]", "-12.5", "+3.25e-05", "+12 % (-3 to +25)", "0 … 359")
NAMES = ("left_shoulder_pitch_joint.pos", "gripper", "wrist_3")


def table(framed: bool = True) -> Table:
    made = Table(
        Column("channel", overflow="fold"), "first action", "whole chunk", "σ", "hold still at 1 s [σ]", "what it means",
        **({} if framed else {"box": SIMPLE_HEAD, "title": "errors"}),
    )  # fmt: skip
    for name in NAMES:
        made.add_row(
            name, NUMBERS[0], NUMBERS[3], styled("[red]{}", NUMBERS[1]), NUMBERS[2], "uses its cameras: the error rises"
        )
    made.add_row("", NUMBERS[4], "", "", "", "", end_section=True)
    made.add_row("last", "1", "2", "3", "4", "5")
    return made


def shown(made: Table, width: int) -> str:
    screen = Screen(file=io.StringIO(), width=width)
    screen.print(made)
    return screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 200])
def test_no_value_is_lost_and_no_number_broken(width: int, framed: bool) -> None:
    text = shown(table(framed), width)
    assert text.count("…") == 1, "the one of a value; nothing was cut off"
    if width >= 40:
        assert max(map(len, text.splitlines())) <= width
    words = re.split(r"[\s│┃]+", text)
    for number in NUMBERS:
        for word in number.split():
            assert word in words or width < 20, f"'{word}' is broken at {width} columns"
    letters = re.sub(r"[\s│┃├┼┤─━╇┡┩└┴┘┏┳┓]", "", text)
    for word in ("gripper", "wrist_3", "last", "cameras"):
        assert word in letters or width < 80
    if width in (40, 80):
        assert all(text.count(n.split()[0]) >= 3 for n in NUMBERS[:4])


def test_a_table_that_fits_is_as_it_was_made() -> None:
    plain = Screen(file=io.StringIO(), width=200)
    super(Screen, plain).print(table())
    assert shown(table(), 200) == plain.file.getvalue()  # type: ignore[attr-defined]


def test_a_narrow_terminal_reads_one_value_a_line() -> None:
    text = shown(table(), 40)
    assert "gripper\n  first action: 0.123 [0.101, 0.150]\n  whole chunk: +12 % (-3 to +25)\n  σ: -12.5\n" in text
    assert "0 … 359\n\nlast\n" in text


def test_the_table_that_is_given_is_not_changed() -> None:
    made = table()
    shown(made, 40), shown(made, 80)
    assert all(c.width is None for c in made.columns) and made.box is not SIMPLE_HEAD


def test_markup_and_control_characters_in_cells_are_printed_as_they_are() -> None:
    made = Table("name", "number")
    made.add_row("[/red] \x1b[31m", "1")
    for width in (8, 40):
        assert "\x1b" not in shown(made, width)
