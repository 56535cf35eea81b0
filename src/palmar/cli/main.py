"""From the words on the command line to one function call each; errors become a message and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from rich.console import Console

from palmar.cli import commands as c
from palmar.errors import PalmarError

NEXT = """[bold]palmar[/] takes a robot policy from demonstrations to a safe deployment.

  [bold]palmar run "pick up the red cube"[/]     the policy that ships with palmar, in real time, behind the safety layer
  [bold]palmar demo[/]                           the whole life in ten minutes: collect, train, evaluate, identify, deploy, report
  [bold]palmar collect --out data/mine[/]        demonstrations → a LeRobot v3 data set
  [bold]palmar inspect data/mine[/]              what is in a data set
  [bold]palmar models[/]                         the systems it can build
  [bold]palmar train --data data/mine[/]         a policy from it
  [bold]palmar eval --policy runs/mine[/]        success with intervals, on tables it has never seen
  [bold]palmar sysid[/]                          what the robot's dynamics really are

Each explains itself with --help. First time? Try [bold]palmar run "put the blue ball on the red plate"[/]."""

Command = (
    Annotated[c.Run, tyro.conf.subcommand("run")]
    | Annotated[c.Demo, tyro.conf.subcommand("demo")]
    | Annotated[c.Collect, tyro.conf.subcommand("collect")]
    | Annotated[c.Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[c.Models, tyro.conf.subcommand("models")]
    | Annotated[c.Train, tyro.conf.subcommand("train")]
    | Annotated[c.Eval, tyro.conf.subcommand("eval")]
    | Annotated[c.Ground, tyro.conf.subcommand("ground")]
    | Annotated[c.Compare, tyro.conf.subcommand("compare")]
    | Annotated[c.SysId, tyro.conf.subcommand("sysid")]
    | Annotated[c.Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[c.Preflight, tyro.conf.subcommand("preflight")]
)


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 well, 2 the caller's mistake, 3 the robot's fault, 130 Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        Console().print(NEXT)
        return 0
    command: Any = tyro.cli(Command, args=argv, prog="palmar", description="The whole life of a robot policy.")
    return guarded(command.run, as_json=command.json)


def guarded(work: Callable[[Console], tuple[int, dict[str, Any]]], as_json: bool = False) -> int:
    """Run a command; with as_json its figures are the only thing on stdout, and people's words go to stderr."""
    console = Console(stderr=as_json, soft_wrap=False)
    try:
        code, figures = work(console)
    except PalmarError as error:
        return _fail(error, getattr(error, "exit_code", 1), as_json)
    except KeyboardInterrupt:
        Console(stderr=True).print("\n[yellow]Stopped by Ctrl-C.[/] What was finished is kept.")
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno is None or error.filename is None:
            raise
        return _fail(error, 2, as_json)
    if as_json:
        print(json.dumps(figures))
    return code


def _fail(error: Exception, code: int, as_json: bool) -> int:
    Console(stderr=True, soft_wrap=True).print("[bold red]palmar:[/]", str(error), markup=True, highlight=False)
    if as_json:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}))
    return code
