"""Long instructions: one that is planned and carried out now, and 100 that are counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from rich.text import Text
from tyro.conf import Positional

from palmar.choices import FIT, Fit
from palmar.cli.shared import Answer, one_thread, writable, writable_folder
from palmar.cli.talking import answer_of, asked, confirmed, lines, shown
from palmar.console import Screen, keyboard, styled
from palmar.errors import BadValue, UserError
from palmar.ranges import SLOWER, Count, Period, Seed
from palmar.tables import Table

if TYPE_CHECKING:
    from palmar.agent.retrieval import Index
    from palmar.cli.commands.judge import Eval


THINGS = ("red cube", "green ball", "yellow cylinder")
PLACES = ("blue plate", "purple tray")
"""On a simulated table where nothing else is said."""


@dataclass(frozen=True)
class Agent:
    """Plan a long instruction as skills, carry them out with a policy, and plan again from what really happened.

    In simulation, or with --body on a robot of your own that has passed palmar check-body. The plan is shown first. A planner
    never says that it is done: it is when nothing is left to do in the scene as it is then.
    """

    instruction: Positional[str]
    """What to do, such as "put the red cube on the blue plate, then push the green ball to the left"."""
    planner: str = "rules"
    """rules needs no key; anthropic or anthropic:MODEL (ANTHROPIC_API_KEY); openai:MODEL@URL for any endpoint that speaks OpenAI's
    protocol (OPENAI_API_KEY)."""
    policy: str = "shipped"
    """Who carries out the skills: a checkpoint folder, "shipped", or "expert" for the script that knows where things are."""
    things: tuple[str, ...] = ()
    """What lies on the table: colour and cube, cylinder or ball. When not given: in simulation a red cube, a green ball and a
    yellow cylinder; on a body what the policy finds in its pictures."""
    places: tuple[str, ...] = ()
    """What things are put on: colour and plate or tray. When not given: in simulation a blue plate and a purple tray; on a
    body nothing."""
    world: str = "sim"
    """Where the robot stands: sim, or twin:SEED, near:SEED, far:SEED, other:SEED for a reality (docs/realities.md)."""
    seed: Seed = 0
    """Of the table."""
    perceive: bool = False
    """The scene is what the policy itself finds in its pictures, and not what the simulator knows; places are told by --places."""
    confirm: bool = False
    """Ask before a plan is carried out: y carries it out, n does not, e takes another plan, one skill a line. With --body it is
    always asked, unless --yes is given."""
    replans: Count = 8
    """Plans after the first, at most."""
    execute: Count = 4
    """Actions carried out of each chunk."""
    log: Path | None = None
    """Append what is said and done to this file (JSON lines); --replay shows it again."""
    replay: bool = False
    """Show the conversations of --log again; the instruction is not carried out."""
    body: str = ""
    """A robot of your own, as of palmar run: module:Class, "lerobot:TYPE?NAME=VALUE&…", gym:ENV, ros2:, tcp://HOST:PORT, or
    mock: for one that only tracks commands. Each skill is one run of palmar run. The simulated world when not given."""
    robot: str = ""
    """With --body: name of a robot that comes with palmar, or a robot file (.toml). The body's own when not given."""
    done_by: Literal["person", "policy"] = "person"
    """With --body: who says whether a skill was done: the person at the terminal, asked after each, or the policy itself."""
    yes: bool = False
    """With --body: carry out plans without asking first."""
    slow: Annotated[float, SLOWER] = 1.0
    """With --body: factor on the longest time of a skill (15 s, 6 s to go home, 3 s for the gripper)."""
    names: tuple[str, ...] = ()
    """With --body: POLICY=ROBOT … for channels that the two call differently."""
    cameras: tuple[str, ...] = ()
    """With --body: POLICY=ROBOT … for cameras that the two call differently."""
    hold: tuple[str, ...] = ()
    """With --body: CHANNEL=VALUE … for channels of the robot that the policy does not command."""
    fit: Fit = FIT
    """With --body: how pictures of another size than the policy's are made to fit."""
    realtime: bool = False
    """With --body: real-time chunking, for policies that take long."""
    watchdog: Period = 0.2
    """With --body: longest time without a command before the watchdog, a process of its own, brakes the robot [s]. None for no
    watchdog."""
    deadman: str = ""
    """With --body: a switch that a person holds while the robot may move: udp:PORT, or a file that something writes to."""
    blackbox: Path | None = None
    """Folder for the last seconds of each skill that was not done, and before each fault; palmar replay plays them again."""
    json: bool = False
    """One JSON object on stdout."""
    only_with: ClassVar = {"replay": "log"} | {
        name: "body"
        for name in (
            "robot", "done_by", "yes", "slow", "names", "cameras", "hold", "fit", "realtime", "watchdog", "deadman",
        )
    }  # fmt: skip
    only_without: ClassVar = {
        "body": ("replay",), "world": ("body",), "seed": ("body",), "perceive": ("body",), "confirm": ("yes",),
    }  # fmt: skip

    def run(self, console: Screen) -> Answer:
        from palmar.agent.conversation import Conversation, read_conversation

        if self.replay:
            assert self.log is not None
            events = read_conversation(self.log)
            for event in events:
                shown(event, console)
            return 0, {"events": events}
        writable_folder(self.blackbox)
        if self.body:
            from palmar.cli.agent_body import run_on_body

            one_thread(self.policy)
            return run_on_body(self, console)
        if self.confirm and keyboard() is None:
            raise BadValue("--confirm asks at a terminal, and there is none. Next: without --confirm, or at a terminal")
        from palmar.agent.carry_out import AgentLimits, carry_out
        from palmar.agent.language_planner import find_planner
        from palmar.agent.table import simulated_table

        one_thread(self.policy)
        planner = find_planner(self.planner)
        hands = simulated_table(
            self.policy, self.things or THINGS, self.places or PLACES, self.world, self.seed, self.execute,
            perceive=self.perceive, blackbox=self.blackbox,
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
        return answer_of(run)


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
    things: tuple[str, ...] = THINGS
    """What lies on the table: colour and cube, cylinder or ball."""
    places: tuple[str, ...] = PLACES
    """What things are put on: colour and plate or tray."""
    world: str = "sim"
    """As of palmar agent."""
    seed: Seed = 0
    """Of the table."""
    yes: bool = False
    """Carry out plans without asking first."""
    blackbox: Path | None = Path("runs/blackbox")
    """Folder for the last seconds of each skill that was not done: "why" is answered from them. None for none."""
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

            writable_folder(self.blackbox)
            hands = simulated_table(
                self.policy, self.things, self.places, self.world, self.seed, blackbox=self.blackbox
            )
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
