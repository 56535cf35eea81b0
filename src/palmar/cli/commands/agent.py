"""A long instruction that is planned and carried out now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional

from palmar.choices import FIT, Fit
from palmar.cli.shared import Answer, one_thread, writable_folder
from palmar.cli.talking import PLACES, THINGS, answer_of, asked, confirmed, live, shown
from palmar.console import Screen, keyboard
from palmar.errors import BadValue
from palmar.ranges import SLOWER, Count, Period, Seed


@dataclass(frozen=True)
class Agent:
    """Plan a long instruction as skills, carry them out with a policy, and plan again from what really happened.

    In simulation, or with --body on a robot of your own that has passed palmar check-body. The plan is shown first. It
    is done when nothing is left to do in the scene as it is then and every skill that was tried is done by the success
    check.
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
        performer = simulated_table(
            self.policy, self.things or THINGS, self.places or PLACES, self.world, self.seed, self.execute,
            perceive=self.perceive, blackbox=self.blackbox,
        )  # fmt: skip
        performer.answer = lambda question: asked(console, question)
        log = Conversation(self.log, (lambda event: None) if self.json else live(console))
        try:
            run = carry_out(
                self.instruction, planner, performer, AgentLimits(replans=self.replans),
                (lambda plan: confirmed(console, plan)) if self.confirm else (lambda plan: plan), log,
            )  # fmt: skip
        finally:
            log.close()
        return answer_of(run, None if self.json else console)
