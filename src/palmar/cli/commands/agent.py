"""Long instructions: one that is planned and carried out now, and 100 that are counted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from tyro.conf import Positional

from palmar.cli.shared import Answer, one_thread, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue, UserError
from palmar.ranges import Count, Seed
from palmar.tables import Table

if TYPE_CHECKING:
    from palmar.agent.carry_out import AgentRun
    from palmar.agent.plans import Plan
    from palmar.agent.retrieval import Index
    from palmar.cli.commands.judge import Eval


def exit_code(run: AgentRun) -> int:
    """0 it was done, 3 the robot failed or was stopped, 1 it was not done."""
    if run.ending == "done":
        return 0
    return 3 if run.ending == "stopped" or any(r.status == "fault" for r in run.results) else 1


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
    perceive: bool = False
    """The scene is what the policy itself finds in its pictures, and not what the simulator knows; places are told by --places."""
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
        hands = simulated_table(
            self.policy, self.things, self.places, self.world, self.seed, self.execute, perceive=self.perceive
        )  # fmt: skip
        hands.answer = lambda question: asked(console, question)
        log = Conversation(self.log, lambda event: None if self.json else shown(event, console))
        try:
            run = carry_out(
                self.instruction, planner, hands, AgentLimits(replans=self.replans),
                (lambda plan: confirmed(console, plan)) if self.confirm else (lambda plan: plan), log,
            )  # fmt: skip
        finally:
            log.close()
        return exit_code(run), {
            "ending": run.ending, "why": run.why, "replans": run.replans, "asked": list(run.asked), "seconds": run.seconds,
            "results": [{**r.skill.as_dict(), "status": r.status, "seconds": r.seconds} for r in run.results],
        }  # fmt: skip


@dataclass(frozen=True)
class Chat:
    """Talk with the robot: questions are answered from the docs, your logs and your reports with file and line; tasks are planned,
    confirmed by you, carried out in simulation, and told as the success check saw them. An empty line or Ctrl-D ends it.
    """

    search: tuple[Path, ...] = ()
    """Files and folders of your own that answers may come from, beside palmar's docs: logs, reports, black boxes."""
    planner: str = "rules"
    """As of palmar agent; with a language model it also talks."""
    policy: str = "shipped"
    """Who carries out skills; "" for a conversation without a robot."""
    things: tuple[str, ...] = Agent.things
    """What lies on the table: colour and cube, cylinder or ball."""
    places: tuple[str, ...] = Agent.places
    """What things are put on: colour and plate or tray."""
    world: str = "sim"
    """As of palmar agent."""
    seed: Seed = 0
    """Of the table."""
    yes: bool = False
    """Carry out plans without asking first."""
    log: Path | None = None
    """Append the conversation to this file (JSON lines); palmar agent --log FILE --replay shows it again."""
    cache: Path | None = None
    """Folder for what was read; the user's cache folder when not given."""
    json: bool = False
    """One JSON object with the whole conversation on stdout, at its end."""

    def run(self, console: Screen) -> Answer:
        from palmar.agent.chat import Talk
        from palmar.agent.conversation import Conversation
        from palmar.agent.kept import cache_folder
        from palmar.agent.language_model import find_model
        from palmar.agent.language_planner import find_planner
        from palmar.agent.retrieval import Index
        from palmar.agent.sources import documentation

        one_thread(self.policy or "expert")
        planner = find_planner(self.planner)
        model = None if self.planner == "rules" else find_model(self.planner)

        def index() -> Index:
            """Made at the first question: the first time, reading the docs takes a minute."""
            made = Index((*documentation(), *self.search), self.cache or cache_folder(), quiet=self.json)
            for note in (*made.notes, *(f"{u.path}: {u.why}" for u in made.unread), made.without_meaning):
                if note:
                    console.print(styled("[yellow]{}[/]", note))
            return made

        hands = None
        if self.policy:
            from palmar.agent.table import simulated_table

            hands = simulated_table(self.policy, self.things, self.places, self.world, self.seed)
            hands.answer = lambda question: asked(console, question)
        log = Conversation(
            self.log, lambda event: None if event["event"] in ("person", "agent") else shown(event, console)
        )
        confirm = (lambda plan: plan) if self.yes else (lambda plan: confirmed(console, plan))
        chat = Talk(index, planner, hands, model, confirm, log)
        said = 0
        try:
            for text in lines():
                said += 1
                try:
                    console.print(styled("[bold]agent[/]    {}", chat.say(text)))
                except UserError as error:
                    console.print(styled("[red]{}[/]", str(error)))
        finally:
            log.close()
        return 0, {"said": said, "events": log.events}


def lines() -> Iterator[str]:
    """What a person types, until an empty line, the end of the input or Ctrl-C at the prompt."""
    while True:
        try:
            text = input("you> ").strip()
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
        except UserError as error:
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
            f"the policy alone, told the whole instruction: {results.alone()}; the agent on the same tables "
            f"{points(pair.difference)} points [{points(pair.low)}, {points(pair.high)}]"
        )
    console.print(
        f"replans {figures['replans']} · questions {figures['questions']} · skills {figures['skills']} · commands outside the "
        f"robot's limits {figures['outside']}"
    )
    return 0, figures
