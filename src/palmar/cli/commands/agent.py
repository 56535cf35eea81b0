"""Long instructions: one that is planned and carried out now, and 100 that are counted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from tyro.conf import Positional

from palmar.cli.shared import Answer, one_thread, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.ranges import Count, Seed
from palmar.tables import Table

if TYPE_CHECKING:
    from palmar.agent.plans import Plan
    from palmar.cli.commands.judge import Eval

DONE = {"done": 0, "stopped": 130}
"""Exit codes of endings; all others are 3."""


@dataclass(frozen=True)
class Agent:
    """Plan a long instruction as skills, carry them out with a policy in simulation, and plan again from what really happened.

    The plan is shown first. A planner never says that it is done: it is when nothing is left to do in the scene as it is then.
    """

    instruction: Positional[str]
    """What to do, such as "put the red cube on the blue plate, then push the green ball to the left"."""
    planner: str = "rules"
    """rules needs no key; anthropic or anthropic:MODEL (ANTHROPIC_API_KEY); openai:MODEL@URL for any endpoint that speaks OpenAI's
    protocol (OPENAI_API_KEY)."""
    policy: str = "shipped"
    """Who carries out the skills: a checkpoint folder, "shipped", or "expert" for the script that knows where things are."""
    things: tuple[str, ...] = ("red cube", "green ball", "yellow cylinder")
    """What lies on the table: colour and cube, cylinder or ball."""
    places: tuple[str, ...] = ("blue plate", "purple tray")
    """What things are put on: colour and plate or tray."""
    world: str = "sim"
    """Where the robot stands: sim, or twin:SEED, near:SEED, far:SEED, other:SEED for a reality (docs/realities.md)."""
    seed: Seed = 0
    """Of the table."""
    confirm: bool = False
    """Ask before a plan is carried out: y carries it out, n does not, e takes another plan, one skill a line."""
    replans: Count = 8
    """Plans after the first, at most."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    log: Path | None = None
    """Append what is said and done to this file (JSON lines); --replay shows it again."""
    replay: bool = False
    """Show the conversations of --log again; the instruction is not carried out."""
    json: bool = False
    """One JSON object on stdout."""
    only_with: ClassVar = {"replay": "log"}

    def run(self, console: Screen) -> Answer:
        from palmar.agent.conversation import Conversation, read_conversation

        if self.replay:
            assert self.log is not None
            events = read_conversation(self.log)
            for event in events:
                shown(event, console)
            return 0, {"events": events}
        if self.confirm and not sys.stdin.isatty():
            raise BadValue("--confirm asks at a terminal, and there is none. Next: without --confirm, or at a terminal")
        from palmar.agent.carry_out import AgentLimits, carry_out
        from palmar.agent.language_planner import find_planner
        from palmar.agent.table import simulated_table

        one_thread(self.policy)
        planner = find_planner(self.planner)
        hands = simulated_table(self.policy, self.things, self.places, self.world, self.seed, self.execute)
        hands.answer = lambda question: asked(console, question)
        log = Conversation(self.log, lambda event: None if self.json else shown(event, console))
        try:
            run = carry_out(
                self.instruction, planner, hands, AgentLimits(replans=self.replans),
                (lambda plan: confirmed(console, plan)) if self.confirm else (lambda plan: plan), log,
            )  # fmt: skip
        finally:
            log.close()
        return DONE.get(run.ending, 3), {
            "ending": run.ending, "why": run.why, "replans": run.replans, "asked": list(run.asked), "seconds": run.seconds,
            "results": [{**r.skill.as_dict(), "status": r.status, "seconds": r.seconds} for r in run.results],
        }  # fmt: skip


def shown(event: dict[str, Any], console: Screen) -> None:
    """One event of a conversation, as a person reads it."""
    kind, text = event["event"], str(event.get("text", ""))
    if kind == "person":
        console.print(styled("[bold]you[/]      {}", text))
    elif kind == "plan":
        from palmar.agent.plans import Plan
        from palmar.agent.skills import skill_from

        plan = Plan(tuple(skill_from(s) for s in event["plan"]), str(event.get("why", "")))
        console.print(styled("[bold]plan[/]     {}", str(plan).replace("\n", "\n         ")))
    elif kind in ("question", "refusal", "answer", "note", "agent"):
        console.print(styled(f"[bold]{kind:8s}[/] {{}}", text))
    elif kind == "result":
        colour = "green" if event.get("status") in ("done", "answered") else "red"
        console.print(styled(f"[{colour}]result[/]   {{}}", text))
    elif kind == "scene":
        console.print(styled("[bold]scene[/]    {}", text.replace("\n", "\n         ")))
    elif kind == "end":
        why = f": {event['why']}" if event.get("why") else ""
        console.print(styled("[bold]{}[/]{}", event["ending"], why))


def asked(console: Screen, question: str) -> str | None:
    """A person's answer, None without a terminal or for an empty one."""
    if not sys.stdin.isatty():
        return None
    console.print(styled("[yellow]?[/] {}", question))
    try:
        return input("> ").strip() or None
    except EOFError:
        return None


def confirmed(console: Screen, plan: Plan) -> Plan | None:
    """The plan, another one that the person types, or None."""
    from palmar.agent.plans import Plan
    from palmar.agent.skills import skill_from_text

    while True:
        said = asked(console, "Carry it out? y(es), n(o), e(dit)")
        if said is None or said.lower().startswith("n"):
            return None
        if said.lower().startswith("y"):
            return plan
        if not said.lower().startswith("e"):
            continue
        console.print("one skill a line, such as push(red cube, left); an empty line ends the plan")
        steps = []
        try:
            while line := input("> ").strip():
                steps.append(skill_from_text(line))
            return Plan(tuple(steps), "edited by a person")
        except BadValue as error:
            console.print(styled("[red]{}[/]", str(error)))
        except EOFError:
            return None


def evaluate_planner(command: Eval, console: Screen) -> Answer:
    """`palmar eval --agent`."""
    from palmar.agent.evaluation import AgentEvalConfig, evaluate_agent
    from palmar.eval.stats import points

    writable(command.out, command.force)
    config = AgentEvalConfig(
        command.policy, command.agent, command.tables, command.seed, command.world, execute=command.execute
    )  # fmt: skip
    results = evaluate_agent(config, command.processes, progress=not command.json)
    if command.out:
        results.save(command.out)
    table = Table("instructions", "runs", "right (95 % Wilson)", "what counts")
    meaning = {
        "feasible": "every goal reached, in the order asked for, by the simulator",
        "impossible": "refused before anything moved",
        "ambiguous": "asked about, and then every goal reached",
    }
    for kind, said in meaning.items():
        trials = results.of(kind)  # type: ignore[arg-type]
        table.add_row(kind, str(len(trials)), Text(str(results.rate(kind))), said)  # type: ignore[arg-type]
    console.print(table)
    figures = results.figures()
    if (pair := results.beside_the_policy()) is not None:
        console.print(
            f"the policy alone, told the whole instruction: {results.alone()}; the agent on the same tables {points(pair.difference)} "
            f"points [{points(pair.low)}, {points(pair.high)}]"
        )
    console.print(
        f"replans {figures['replans']} · questions {figures['questions']} · skills {figures['skills']} · commands outside the "
        f"robot's limits {figures['outside']}"
    )
    return 0, figures
