"""A conversation with an agent at the terminal: what it shows, asks and answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import TextIOWrapper, UnsupportedOperation
from typing import TYPE_CHECKING, Any

from palmar.cli.shared import Answer
from palmar.console import Screen, asked_line, keyboard, styled
from palmar.errors import UserError

if TYPE_CHECKING:
    from palmar.agent.carry_out import AgentRun
    from palmar.agent.plans import Plan

THINGS = ("red cube", "green ball", "yellow cylinder")
PLACES = ("blue plate", "purple tray")
"""On a simulated table where nothing else is said."""


def typed(prompt: str) -> str:
    """The next line of standard input, in which bytes that are no UTF-8 are replaced. Raises EOFError at its end, and
    without one."""
    if sys.stdin is None:
        raise EOFError
    if isinstance(sys.stdin, TextIOWrapper) and sys.stdin.errors == "strict":
        with suppress(UnsupportedOperation):  # something was read from it before
            sys.stdin.reconfigure(errors="replace")
    return asked_line(prompt).encode("utf-8", "replace").decode()


def lines() -> Iterator[str]:
    """What a person types, until an empty line, the end of the input or Ctrl-C at the prompt."""
    while True:
        try:
            text = typed("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not text:
            return
        yield text


def shown(event: dict[str, Any], console: Screen) -> None:
    """One event of a conversation, as a person reads it."""
    kind, text = event["event"], str(event.get("text", ""))
    if kind in ("person", "model"):
        console.print(styled("[bold]{}[/]{}", "you      " if kind == "person" else "model    ", text))
    elif kind == "plan":
        from palmar.agent.plans import Plan
        from palmar.agent.skills import skill_from

        plan = Plan(tuple(skill_from(s) for s in event["plan"]), str(event.get("why", "")))
        console.print(styled("[bold]plan[/]     {}", str(plan).replace("\n", "\n         ")))
    elif kind in ("question", "answer", "note", "agent"):
        console.print(styled("[bold]{}[/] {}", f"{kind:8s}", text))
    elif kind == "result" and event.get("status") in ("done", "answered"):
        console.print(styled("[green]result[/]   {}", text))
    elif kind == "result":
        console.print(styled("[red]result[/]   {}", text))
    elif kind == "scene":
        console.print(styled("[bold]scene[/]    {}", text.replace("\n", "\n         ")))
    elif kind == "end":
        why = f": {event['why']}" if event.get("why") else ""
        console.print(styled("[bold]{}[/]{}", event["ending"], why))


def live(console: Screen, hidden: Sequence[str] = ()) -> Callable[[dict[str, Any]], None]:
    """Shows the events of a conversation as they come, but for kinds that are hidden, and an end that is raised: it is told as an
    error."""

    def show(event: dict[str, Any]) -> None:
        if event["event"] not in hidden and not event.get("raised"):
            shown(event, console)

    return show


def asked(console: Screen, question: str) -> str | None:
    """A person's answer, None without a terminal or for an empty one."""
    if keyboard() is None:
        return None
    console.print(styled("[yellow]?[/] {}", question))
    try:
        return typed("> ").strip() or None
    except EOFError:
        return None


def confirmed(console: Screen, plan: Plan) -> Plan | None:
    """The plan, another one that the person types, or None."""
    from palmar.agent.plans import Plan
    from palmar.agent.skills import skill_from_text

    while True:
        said = asked(console, "Carry it out? y(es), n(o), e(dit)")
        if said is None or said.lower() in ("n", "no"):
            return None
        if said.lower() in ("y", "yes"):
            return plan
        if said.lower() not in ("e", "edit"):
            console.print(styled("[yellow]{}[/]", f"'{said}' is none of y, n and e"))
            continue
        console.print("one skill a line, such as push(red cube, left); an empty line ends the plan")
        steps = []
        try:
            while line := typed("> ").strip():
                steps.append(skill_from_text(line))
            return Plan(tuple(steps), "edited by a person")
        except UserError as error:
            console.print(styled("[red]{}[/]", str(error)))
        except EOFError:
            return None


def exit_code(run: AgentRun) -> int:
    """0 it was done, 3 the robot failed or was stopped, 1 it was not done, or there was nothing to do."""
    if run.ending == "done":
        return 0
    return 3 if run.ending == "stopped" or any(r.status == "fault" for r in run.results) else 1


def answer_of(run: AgentRun, console: Screen | None) -> Answer:
    """Exit code and figures of an instruction; a run that is not done shows its next step. console: None to show nothing."""
    from palmar.agent.explaining import next_step

    step = next_step(run)
    if step and console is not None:
        console.print(step)
    return exit_code(run), {
        "ending": run.ending, "why": run.why, "next": step.removeprefix("Next: "), "replans": run.replans,
        "asked": list(run.asked), "seconds": run.seconds,
        "results": [{**r.skill.as_dict(), "status": r.status, "seconds": r.seconds} for r in run.results],
    }  # fmt: skip
