"""What a person or a program may hand to the command line by mistake: numbers without end, names that are no names, files
that are none. Each ends in a message and exit code 2: no traceback, no wait."""

import io
import json
import sys
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from palmar.cli.commands import COMMANDS
from palmar.cli.main import main
from palmar.ranges import numbers_in, ranges

VALUES = ("nan", "inf", "-inf", "-1", "1e308", str(2**70), "9" * 300)
TAKEN = {("train", "temperature", value) for value in VALUES if float(value) > 0}
"""An infinite temperature is every task alike."""


def numeric(command: str) -> list[str]:
    kind: Any = COMMANDS[command]
    hints = get_type_hints(kind, include_extras=True)
    return [f.name for f in fields(kind) if numbers_in(hints[f.name])]


OPTIONS = [(command, name) for command in COMMANDS for name in numeric(command)]


def test_every_number_of_every_command_has_a_range() -> None:
    assert len(OPTIONS) > 25
    for command in COMMANDS:
        assert {name for name, _, _ in ranges(COMMANDS[command])} == set(numeric(command)), command  # type: ignore[arg-type]


@pytest.mark.parametrize(("command", "name"), OPTIONS)
@pytest.mark.usefixtures("wide")
def test_a_number_without_sense_is_told_by_its_value(command: str, name: str, monkeypatch, capsys) -> None:
    """At the door: no command begins to work."""
    ran: list[Any] = []
    kind: Any = COMMANDS[command]
    monkeypatch.setattr(kind, "run", lambda self, console: (ran.append(getattr(self, name)), (0, {}))[1])
    needed = {"run": ["reach"], "train": ["--data", "x"], "collect": ["--out", "x"], "questions": ["--out", "x"],
              "doctor": ["x"], "preflight": ["--data", "x"]}  # fmt: skip
    whole = {n: w for n, _, w in ranges(kind)}[name]
    for value in VALUES:
        words = [command, *needed.get(command, []), f"--{name.replace('_', '-')}", value]
        try:
            code = main(words)
        except SystemExit as end:  # the parser's own message
            code = int(str(end.code))
        out, err = capsys.readouterr()
        if (command, name, value) in TAKEN:
            assert code == 0 and ran.pop()
            continue
        assert code == 2 and not ran, (words, code)
        shown = value if whole else str(float(value))
        assert shown[:20] in out + err, (words, out + err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "--policy", "expert", "--world", f"twin:{2**70}"], f"world is 'twin:{2**70}'; expected sim, twin"),
        (["eval", "--policy", "expert", "--world", f"twins:{'9' * 5000}"], "world is 'twins:999"),
        (["ground", "--world", "twin:1e308"], "world is 'twin:1e308'; expected sim, twin or twin:SEED"),
        (["run", "reach", "--world", "twin:-1"], "world is 'twin:-1'; expected sim, twin or twin:SEED"),
        (["eval", "--policy", "openpi://x:99999999"], "is no address; expected openpi://HOST:PORT"),
        (["eval", "--policy", "openpi://x:-1"], "is no address; expected openpi://HOST:PORT"),
    ],
)
def test_a_number_inside_a_name_is_bounded_too(words: list[str], message: str, capsys) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_more_digits_than_python_reads_are_no_traceback() -> None:
    with pytest.raises(SystemExit) as end:
        main(["eval", "--seed", "9" * 5000])
    assert end.value.code == 2


def test_a_name_that_is_no_text_is_told_before_it_is_used(capsys) -> None:
    for words in (["inspect", "bad\udcff"], ["run", "pick up \udcff"], ["eval", "--out", "\udcff.json", "--json"]):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert r"\udcff" in err and "holds bytes that are no UTF-8; expected a name in UTF-8. Next: rename" in err
        assert bool(out) is ("--json" in words) and (not out or json.loads(out)["kind"] == "BadValue")


def test_a_terminal_without_our_characters_shows_their_codes(monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main([]) == 0
    sys.stdout.flush()
    assert rb"demonstrations \u2192 a LeRobot" in raw.getvalue()
