import io

from palmar.console import Screen
from palmar.data.progress import counting


def test_lines_at_every_tenth_where_there_is_no_terminal():
    out = Screen(file=io.StringIO(), width=20)
    with counting("decoding frames", 30, console=out) as count:
        for _ in range(15):
            count(2)
    said = out.file.getvalue().splitlines()
    assert (
        len(said) == 10
        and said[0] == "decoding frames 4 of 30 (13 %)"
        and said[-1] == "decoding frames 30 of 30 (100 %)"
    )


def test_a_bar_on_a_terminal_and_nothing_when_quiet():
    out = Screen(file=io.StringIO(), force_terminal=True, width=80)
    with counting("decoding frames", 2, console=out) as count:
        count(2)
    assert "decoding frames" in out.file.getvalue()
    quiet = Screen(file=io.StringIO())
    with counting("decoding frames", 2, quiet=True, console=quiet) as count:
        count(2)
    assert not quiet.file.getvalue()
