"""Options that count only with another one: `only_with` of a command, and its help text, which begins "With --OTHER:"."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palmar.cli.commands import COMMANDS
from palmar.cli.main import main
from palmar.cli.shared import check_only_with
from palmar.errors import BadValue


def declared() -> list[tuple[str, str, str]]:
    return [(c, a, b) for c, kind in COMMANDS.items() for a, b in getattr(kind, "only_with", {}).items()]


def given(command: str, rule: str, **values: object) -> Any:
    """A command with these options, unchecked, and the others as they are when not given. rule: the only one that it has."""
    kind: Any = COMMANDS[command]
    Given = type("Given", (SimpleNamespace,), {n: getattr(kind, n) for n in ("__dataclass_fields__", rule)})
    return Given(**{f.name: f.default for f in fields(kind)} | values)


def said(kind: type) -> Iterator[tuple[str, str]]:
    """(option, other) of the help texts of a command."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    for line, after in zip(node.body, node.body[1:], strict=False):
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        if isinstance(line, ast.AnnAssign) and (other := re.match(r"With --([a-z-]+(?: [a-z]+)?):", str(text))):
            yield line.target.id, other[1].replace("-", "_").replace(" ", "=")  # type: ignore[union-attr]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_what_the_help_says_is_held(command: str) -> None:
    held = {(a, b) for c, a, b in declared() if c == command}
    assert set(said(COMMANDS[command])) <= held  # type: ignore[arg-type]


def test_there_are_such_options() -> None:
    assert len(declared()) > 20
    for command, *pair in declared():
        assert {n.partition("=")[0] for n in pair} <= {f.name for f in fields(COMMANDS[command])}, (command, pair)  # type: ignore[arg-type]


@pytest.mark.parametrize(("command", "name", "other"), declared())
def test_it_is_refused_alone_and_taken_with_the_other(command: str, name: str, other: str) -> None:
    other, _, value = other.partition("=")
    alone = given(command, "only_with", **{name: "given", other: None})
    with pytest.raises(
        BadValue, match=f"--{name.replace('_', '-')} .* counts only with --{other.replace('_', '-')} ?{value}"
    ):
        check_only_with(alone)
    setattr(alone, other, value or "there")
    check_only_with(alone)


def excluded() -> list[tuple[str, str, str]]:
    found = [
        (c, a, b) for c, kind in COMMANDS.items() for a, many in getattr(kind, "only_without", {}).items() for b in many
    ]
    assert len(found) > 15
    return found


@pytest.mark.parametrize(("command", "name", "others"), excluded())
def test_it_is_refused_beside_what_makes_it_say_nothing(command: str, name: str, others: str) -> None:
    said = " and ".join(f"--{n}" for n in others.split("+"))
    beside = given(command, "only_without", **{name: "given"} | dict.fromkeys(others.split("+"), "there"))
    with pytest.raises(BadValue, match=f"--{name.replace('_', '-')} given counts only without {said}. Next: "):
        check_only_with(beside)
    usual = vars(given(command, "only_without"))
    for n in others.split("+"):
        check_only_with(given(command, "only_without", **vars(beside) | {n: usual[n]}))


@pytest.mark.parametrize(
    ("words", "said_so"),
    [
        (["collect", "--out", "x", "--patience", "3"], "--patience 3.0 counts only with --correct"),
        (["bench", "--tasks", "reach"], "--tasks reach counts only with --closed-loop"),
        (["teacher", "--by", "ppo", "--rounds", "2"], "--rounds 2 counts only with --by dagger"),
        (["calibrate", "--board", "b.png", "--lens", "full"], "--lens full counts only without --board"),
        (["calibrate", "--board", "b.png", "--no-zeros"], "--no-zeros counts only without --board"),
        (["calibrate", "--images", ".", "--in-hand"], "--in-hand counts only with --robot: without one the lens alone"),
        (
            ["transfer", "shipped", "--body", "twin:0", "--sim", "a.json", "--strength", "0.5"],
            "counts only without --sim",
        ),
        (["collect", "--out", "x", "--stills", "--world", "twin:0"], "--world twin:0 counts only without --stills"),
        (["collect", "--out", "x", "--beta", "0.5"], "--beta 0.5 counts only with --driver"),
        (["train", "--data", "x", "--web-share", "0.3"], "--web-share 0.3 counts only with --web"),
        (["train", "--data", "x", "--correction", "y", "--good-only"], "--good-only counts only without --correction"),
        (["adapt", "shipped", "--corrections", "x", "--trials", "200"], "--trials 200 counts only with --new"),
        (["adapt", "x", "--promote", "v1", "--steps", "9"], "--steps 9 counts only without --promote"),
        (["preflight", "--robot", "arm7", "--execute", "2"], "--execute 2 counts only with --policy"),
        (["run", "--replay", "x", "--video", "y.mp4"], "--video y.mp4 counts not with --replay"),
        (
            ["sysid", "--data", "x.csv", "--known", "y", "--cutoff", "4"],
            "--cutoff goes with a fit, and --known fits nothing",
        ),
        (["progress", "--real", "x", "--demos", "60"], "--demos 60 counts only without --real"),
        (["certify", "--verify", "c.json", "--episodes", "99"], "--episodes 99 counts only without --verify"),
        (["run", "x", "--mcap", "run.txt"], "--mcap is 'run.txt'; expected a name that ends in .mcap"),
    ],
)
@pytest.mark.usefixtures("wide")
def test_at_the_door(words: list[str], said_so: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2 and said_so in capsys.readouterr().err and not list(tmp_path.iterdir())
