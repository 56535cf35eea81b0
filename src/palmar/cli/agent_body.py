"""`palmar agent --body`: an instruction planned, confirmed and carried out on a robot of one's own, skill by skill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from palmar.agent.carry_out import AgentLimits, AgentRun, carry_out
from palmar.agent.conversation import Conversation
from palmar.agent.language_planner import find_planner
from palmar.agent.on_body import Attend, SaidCheck, ToldScene, by_policy, performer
from palmar.agent.performing import Performer
from palmar.agent.seen import SceneDescription
from palmar.agent.skills import Skill
from palmar.cli.attended import Drawn, attended, person_says
from palmar.cli.opened import ON_PAGE, OpenedBody, held_switch, ready_body
from palmar.cli.runs import RunConfig
from palmar.cli.shared import Answer, configured
from palmar.cli.talking import answer_of, asked, confirmed, live
from palmar.cli.terminal import viewed
from palmar.console import Screen, keyboard, styled
from palmar.errors import BadValue
from palmar.policy import Policy
from palmar.runtime.fitting import check_fits
from palmar.runtime.loop import Subscriber
from palmar.runtime.safety.filter import Safety
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.undisturbed import ended_by_signals
from palmar.types import Observation

if TYPE_CHECKING:
    from palmar.cli.commands.agent import Agent

RESET = "The robot goes to where it begins: the reset of the body may move it. Go on? [y/n] "


def run_on_body(command: Agent, console: Screen) -> Answer:
    """The body is opened once, for the whole instruction, and closed however that ends.

    Raises `UserError` before anything moves for what does not fit, `RobotFault` when the body fails outside a skill; a
    fault in a skill is the ending.
    """
    config = configured(RunConfig, command, log=None, video=None)
    _check(command, config)
    planner = find_planner(command.planner)
    log = Conversation(command.log, live(console))  # with --json on standard error
    try:
        ready, drawn = ready_body(config), Drawn(config)
        with ended_by_signals(), ready.opened(drawn.policy) as opened:
            check_fits(opened.fit.policy.interface, opened.fit.robot, config.execute)
            for note in (*opened.fit.notes, *(f"not guarded: {off}" for off in Safety(opened.fit.robot).off)):
                console.print(styled("[yellow]{}", note))
            if not command.yes and not person_says(RESET):
                log.add("end", ending="not confirmed")
                return answer_of(AgentRun(config.instruction, "not confirmed"), None)
            with held_switch(config):
                _check_done(command, opened.fit.policy, opened.body.reset(config.seed))
            agent = _performer(command, config, drawn.policy, opened, console)
            agent.describe()  # an error now, and not in the middle
            log.add("note", text=f"the {command.done_by} says whether a skill was done")
            run = carry_out(
                config.instruction, planner, agent, AgentLimits(replans=command.replans),
                (lambda plan: plan) if command.yes else (lambda plan: confirmed(console, plan)), log,
            )  # fmt: skip
    finally:
        log.close()
    return answer_of(run, None if command.json else console)


def _performer(command: Agent, config: RunConfig, policy: Policy, opened: OpenedBody, console: Screen) -> Performer:
    """The performer of the skills. policy: as it was loaded, before it was fitted to the robot."""
    told = ToldScene(command.things, command.places) if command.things else None
    made = performer(
        opened.body, {"": opened.fit.policy}, told or _perceived(command, policy, opened),
        SaidCheck(by_policy if command.done_by == "policy" else _by_person), latch=opened.latch,
        attend=_attend(config, opened, console), execute=config.execute, realtime=config.realtime,
        blackbox=config.blackbox, slow=command.slow,
    )  # fmt: skip
    made.answer = lambda question: asked(console, question)
    if told is not None:
        made.after = told.after
    return made


def _check(command: Agent, config: RunConfig) -> None:
    """Raise `BadValue` for what cannot be done on a body, and where nobody is at a terminal to be asked."""
    if config.table is not None:
        raise BadValue(
            f"--body {command.body} is a simulated table; expected a robot of your own. Next: --world, without --body"
        )
    if command.policy == "expert":
        raise BadValue(
            "--policy expert knows where things are in simulation alone. Next: a checkpoint folder, or leave it out"
        )
    if command.deadman in ("keys", ON_PAGE):
        raise BadValue(
            f"--deadman {command.deadman}: the terminal is for the questions of the agent, and there is no page. Next: "
            "--deadman udp:PORT or a file"
        )
    if keyboard() is not None:
        return
    if not command.yes:
        raise BadValue(
            "with --body a person confirms the plan at a terminal, and there is none. Next: a terminal, or --yes"
        )
    if command.done_by == "person":
        raise BadValue(
            "with --body a person says at a terminal whether a skill was done, and there is none. Next: a terminal, or "
            "--done-by policy to take the policy's own word"
        )


def _by_person(skill: Skill, done: bool) -> bool | None:
    return person_says(f"Was {skill} done? [y/n] (the policy says {'yes' if done else 'no'}) ")


def _check_done(command: Agent, policy: Policy, obs: Observation) -> None:
    """Let the policy read the instruction once, not on the robot's time. Raises `BadValue` where it is to say whether a
    skill was done, and does not tell."""
    policy.reset()
    chunk = policy.act(replace(obs, instruction=command.instruction))
    if command.done_by == "policy" and chunk.done is None:
        raise BadValue(
            "--done-by policy: this policy does not tell whether an instruction is fulfilled. Next: --done-by person"
        )


def _perceived(command: Agent, policy: Policy, opened: OpenedBody) -> Callable[[], SceneDescription]:
    """The scene as the policy's grounded heads find it. policy: as it was loaded; heatmaps go by its cameras."""
    from palmar.agent.perceived import GroundedPerception

    cameras = tuple(policy.interface.cameras)
    camera = "front" if "front" in cameras or not cameras else cameras[0]
    perception = GroundedPerception(opened.fit.policy, command.places, camera=camera)

    def look() -> SceneDescription:
        try:
            return perception(opened.body.observe())
        except BadValue as error:
            why = str(error).partition(". Next: ")[0]
            raise BadValue(
                f"the policy does not find what lies on the table ({why}). Next: say it, such as "
                '--things "red cube" "green ball" --places "blue plate"'
            ) from error

    return look


def _attend(config: RunConfig, opened: OpenedBody, console: Screen) -> Attend:
    """As of `on_body.Attend`: the deadman switch, the keys and the view of `palmar run`, for each skill anew."""

    @contextmanager
    def skill(
        policy: Policy, instruction: str, controller: Controller
    ) -> Iterator[tuple[Policy, Sequence[Subscriber]]]:
        with held_switch(config) as deadman:
            controller.deadman = deadman
            with (
                attended(config, replace(opened.fit, policy=policy), controller) as (driver, watchers),
                viewed(instruction or "a motion without a policy", controller, console) as view,
            ):
                yield driver, (*watchers, *view)

    return skill
