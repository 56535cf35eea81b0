"""A conversation: questions with file and line, tasks after asking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palmar.cli.shared import Answer, one_thread, writable_folder
from palmar.cli.talking import PLACES, THINGS, asked, confirmed, lines, live
from palmar.console import Screen, keyboard, styled
from palmar.errors import BadFile, UserError, regular_file
from palmar.ranges import Seed

if TYPE_CHECKING:
    from palmar.agent.plans import Plan
    from palmar.agent.retrieval import Index


@dataclass(frozen=True)
class Chat:
    """Talk with the robot: questions are answered from the docs, your logs and your reports with file and line; tasks are planned,
    confirmed by you, carried out in simulation, and told as the success check saw them. An empty line or Ctrl-D ends it.
    """

    search: tuple[Path, ...] = ()
    """Files and folders of your own that answers may come from, beside palmar's docs: logs, reports, black boxes."""
    planner: str = "rules"
    """As of palmar agent; with a language model it also talks."""
    policy: str | None = "shipped"
    """Who carries out skills, as of palmar agent; None for a conversation without a robot."""
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
        from palmar.agent.language_planner import LanguagePlanner, find_planner
        from palmar.agent.retrieval import Index
        from palmar.agent.sources import documentation

        for path in self.search:
            if not path.is_dir() and not regular_file(path).exists():
                raise BadFile(f"--search: there is no '{path}'; expected a file or folder. Next: check the path")
        if self.policy is not None:
            one_thread(self.policy)
        planner = find_planner(self.planner)
        model = planner.model if isinstance(planner, LanguagePlanner) else None

        def index() -> Index:
            """Made at the first question: the first time, reading the docs takes a minute."""
            made = Index((*documentation(), *self.search), self.cache or cache_folder(), quiet=self.json)
            for note in (*made.notes, *(f"{u.path}: {u.why}" for u in made.unread), made.without_meaning):
                if note:
                    console.print(styled("[yellow]{}[/]", note))
            return made

        performer = None
        if self.policy is not None:
            from palmar.agent.table import simulated_table

            writable_folder(self.blackbox)
            performer = simulated_table(
                self.policy, self.things, self.places, self.world, self.seed, blackbox=self.blackbox
            )
            performer.answer = lambda question: asked(console, question)
        log = Conversation(self.log, live(console, hidden=("person", "agent")))

        def confirm(plan: Plan) -> Plan | None:
            if self.yes:
                return plan
            if keyboard() is None:
                console.print(
                    styled("[yellow]{}[/]", "a plan is confirmed at a terminal, and there is none. Next: --yes")
                )
            return confirmed(console, plan)

        chat = Talk(index, planner, performer, model, confirm, log)
        said = 0
        try:
            for text in lines():
                said += 1
                try:
                    console.print(styled("[bold]agent[/]    {}", chat.say(text)))
                except UserError as error:
                    console.print(styled("[red]{}[/]", str(error)))
                except KeyboardInterrupt:  # at the prompt it ends the conversation
                    console.print(
                        styled("[bold]agent[/]    {}", "stopped by Ctrl-C; an empty line ends the conversation")
                    )
        finally:
            log.close()
        return 0, {"said": said, "events": log.events}
