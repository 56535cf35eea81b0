"""From the words on the command line to one function call each; errors become a message and an exit code."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

import rich
import tyro

from palmar.cli.commands import COMMANDS
from palmar.cli.shared import Answer, Command, check_only_with
from palmar.console import Screen, printable, styled
from palmar.errors import FULL, BadFile, BadValue, PalmarError, unusable
from palmar.ranges import check_ranges

NEXT = """[bold]palmar[/] takes a robot policy from demonstrations to a safe deployment.

  [bold]palmar run "pick up the red cube"[/]     the policy that ships with palmar, in real time, behind the safety layer
  [bold]palmar demo[/]                           the whole life in ten minutes: collect, train, evaluate, identify, deploy, report
  [bold]palmar collect --out data/mine[/]        demonstrations → a LeRobot v3 data set
  [bold]palmar inspect data/mine[/]              what is in a data set
  [bold]palmar models[/]                         the systems it can build
  [bold]palmar train --data data/mine[/]         a policy from it
  [bold]palmar eval --policy runs/mine[/]        success with intervals, on tables it has never seen
  [bold]palmar check-body[/]                     does a robot of your own do what its description says?
  [bold]palmar sysid[/]                          what the robot's dynamics really are

Each explains itself with --help. First time? Try [bold]palmar run "put the blue ball on the red plate"[/]."""

ABOUT = """The whole life of a robot policy.

Exit codes: 0 it went well; 1 it ran, and the answer is no (not fulfilled, not healthy, does not fit, fewer than asked for);
2 a mistake in what was asked; 3 the robot or a server failed; 130 Ctrl-C."""


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit code (`ABOUT`)."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # before a command runs: one that runs says what is kept
        return 130


def _main(argv: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):  # a terminal that has no "…" shows \u2026
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not argv:
        Screen().print(styled(NEXT))
        return 0
    # an emergency stop is pressed whatever its reason holds
    if argv[0] != "estop" and (mistake := unreadable(argv)):
        return _fail(BadValue(mistake), 2, "--json" in argv)
    try:
        command = _parsed(argv)
    except BrokenPipeError:  # its help is read by something that has read enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 0

    def work(console: Screen) -> Answer:
        check_ranges(command, "--", f"palmar {argv[0]} --help")
        check_only_with(command)
        return command.run(console)

    return guarded(work, as_json=command.json)


def _parsed(argv: list[str]) -> Command:
    """The command that the words mean. Ends the process for --help, and for words that mean none."""
    command: Command
    if argv[0] in COMMANDS:  # told by its name, so that what is said about a wrong option is about this command
        try:
            command = tyro.cli(COMMANDS[argv[0]], args=argv[1:], prog=f"palmar {argv[0]}")
        except SystemExit as ended:
            if ended.code and (sentence := unquoted(argv)):
                Screen(stderr=True).print(f'Next: an instruction in quotes: palmar {argv[0]} "{sentence}"')
            raise
    else:
        command = tyro.extras.subcommand_cli_from_dict(COMMANDS, args=argv, prog="palmar", description=ABOUT)
    return command


def guarded(work: Callable[[Screen], Answer], as_json: bool = False) -> int:
    """Run a command; with as_json its figures are the only thing on stdout, and people's words go to stderr."""
    rich.reconfigure(stderr=as_json)  # what shows its progress without being given a console
    try:
        return _guarded(work, as_json)
    finally:
        rich.reconfigure(stderr=False)


def _guarded(work: Callable[[Screen], Answer], as_json: bool) -> int:
    console = Screen(stderr=as_json)
    try:
        code, figures = work(console)
    except PalmarError as error:
        return _fail(error, getattr(error, "exit_code", 1), as_json)
    except KeyboardInterrupt as error:
        by = str(error) or "Ctrl-C"  # `undisturbed.Ended` says which signal
        Screen(stderr=True).print(styled("\n[yellow]Stopped by {}.[/] Files that were whole by then are kept.", by))
        return 128 + int(getattr(error, "number", 2))
    except BrokenPipeError:
        return 0
    except MemoryError as error:
        said = f"this does not fit in memory ({error}); expected less. Next: a smaller --batch-size, or fewer at a time"
        return _fail(BadValue(said), 2, as_json)
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            said = "the disk is full: what was being written is not whole. Next: free space, or another place"
            return _fail(BadFile(said), 2, as_json)
        if error.errno is None or error.filename is None:
            raise
        return _fail(unusable(error), 2, as_json)
    if as_json:
        print(json.dumps(_finite(figures), allow_nan=False))
    return code


def unquoted(argv: list[str]) -> str:
    """The instruction whose words were given one by one, "" where they were not, or the command takes none."""
    words = list(itertools.takewhile(lambda w: not w.startswith("-"), argv[1:]))
    takes = "instruction" in inspect.signature(COMMANDS[argv[0]]).parameters
    return " ".join(words) if takes and len(words) > 1 else ""


def unreadable(argv: list[str]) -> str | None:
    """What is wrong with a word before any command reads it: it is empty, or a name whose bytes are no UTF-8, which
    neither safetensors nor Parquet files can be opened by, or an option is given twice, of which the parser would take the
    last in silence. None when nothing is."""
    if empty := empty_option(argv):
        return f"{empty} is empty; expected a value. Next: is a variable of your shell unset?"
    options = [name for name, _, _ in (word.partition("=") for word in argv) if name.startswith("--") and len(name) > 2]
    for name in options:
        if options.count(name) > 1:
            said = f"{printable(name)} is given {options.count(name)} times; expected once"
            return f"{said}. Next: where it takes several values, they follow one name: {printable(name)} A B"
    for word in argv:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            return f"'{printable(word)}' holds bytes that are no UTF-8; expected a name in UTF-8. Next: rename the file or folder"
    return None


def empty_option(argv: list[str]) -> str | None:
    """Which option, or which argument, was given an empty word: as a path it would silently be the current folder. An empty
    instruction is answered by whoever reads it."""
    option = before = ""
    for word in argv[1:]:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            option = name
            if equals and not value.strip():
                return option
        elif not word.strip() and (before.startswith("--") or argv[0] != "run"):
            return option or f"an argument of palmar {argv[0]}"
        before = word
    return None


def _finite(value: Any) -> Any:
    """None for a number that JSON does not know."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fail(error: Exception, code: int, as_json: bool) -> int:
    Screen(stderr=True).print(styled("[bold red]palmar:[/] {}", error))
    for note in getattr(error, "__notes__", ()):
        Screen(stderr=True).print(styled("[yellow]{}", note))
    if as_json:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}))
    return code
