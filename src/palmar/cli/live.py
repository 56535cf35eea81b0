"""A policy in real time: on the simulated table that is laid for the instruction, or on a body of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from palmar.choices import WHERE
from palmar.cli.attended import Drawn as _Drawn
from palmar.cli.attended import acting, attended
from palmar.cli.attended import exact as _exact
from palmar.cli.attended import kept as _kept
from palmar.cli.attended import recorded as _recorded
from palmar.cli.attended import succeeded as _succeeded
from palmar.cli.certified import require_for_run
from palmar.cli.observing import Observers, observed
from palmar.cli.opened import HELD, ready_body
from palmar.cli.opened import fitted_to as _fitted
from palmar.cli.opened import held_switch as _switch
from palmar.cli.runs import RunConfig, RunResult
from palmar.cli.terminal import viewed
from palmar.console import Screen
from palmar.data.recorder import EpisodeRecorder
from palmar.embodiments import Embodiment
from palmar.errors import BadValue, RobotFault
from palmar.policy import Policy
from palmar.runtime.deploy import Report, deploy
from palmar.runtime.fitting import Fitted
from palmar.runtime.loop import Body, Subscriber
from palmar.runtime.monitor import Finished
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.deadman import wait_until_held
from palmar.runtime.supervision.estop import Latch
from palmar.types import Observation

if TYPE_CHECKING:
    from palmar.eval.results import Film
    from palmar.lab.film import Filmmaker
    from palmar.serve.page.run import RunPage
    from palmar.serve.run_metrics import RunMetrics

FILMING = {"mujoco": "sim", "av": "data", "PIL": "data"}  # what a film needs


def run(
    config: RunConfig, console: Screen | None = None, page: RunPage | None = None, metrics: RunMetrics | None = None
) -> RunResult:
    """Deploy a policy in real time: in a simulated world, or on a body that has passed its check.

    console: shows what the robot does while it does it, where it is a terminal. page: shows it in a browser, and says what people
    there want. metrics: of the session that this is one run of. Raises `UserError` for what does not exist
    or does not fit, `RobotFault` when the body fails.
    """
    require_for_run(config, _exact(config.policy))
    with observed(config, metrics) as seen:
        if config.table is not None:
            return _on_table(config, config.table, console, seen, page)
        return _on_body(config, console, seen, page)


def _on_table(
    config: RunConfig, world_name: str, console: Screen | None, seen: Observers, page: RunPage | None
) -> RunResult:
    """Lay a table for the instruction, and judge by the simulator whether it is fulfilled."""
    from palmar.lab.film import Filmmaker
    from palmar.lab.worlds import world_named
    from palmar.robots import robot as robot_named
    from palmar.robots import robots
    from palmar.sim import instructions, tasks

    if not config.instruction.strip():
        raise BadValue('the instruction is empty; expected what to do. Next: palmar run "pick up the red cube"')
    name = config.robot or instructions.ROBOT
    if name not in robots():
        raise BadValue(
            f"robot is '{name}'; there are scenes for {', '.join(robots())}. Next: --body module:Class, or --body mock:"
        )
    scenario = instructions.scenario_of(config.instruction, name, config.seed)
    drawn = _Drawn(config)
    fit = _fitted(config, drawn.policy, robot_named(name))
    world, kind = world_named(world_name, robot=fit.robot), world_name.partition(":")[0]
    try:
        obs = world.load(scenario, seed=config.seed)
        fit.policy.act(obs)  # the first call reads the sentence and warms the caches: not on the robot's time
        label = WHERE[kind]
        camera = Filmmaker(world, config.instruction, label) if config.video else None
        with _switch(config, page) as deadman:
            controller = Controller(deadman=deadman)
            with attended(config, fit, controller, page) as (driver, watchers), drawn.episode():
                _tell(page, config, fit, controller, drawn, world=label)
                recorder = EpisodeRecorder(done=world.success) if config.record else None
                watchers += seen.of(drawn.name, drawn.policy, fit.robot, controller)
                report = _deploy(config, world, driver, obs, console, controller, camera, recorder, drawn, *watchers)
        success = world.success()
        notes = drawn.ended(success, report) + seen.ended(success, "simulator", report)
        if tasks.task(scenario.task).extra:
            notes += (f"no policy that ships was trained on {scenario.task}",)
        filmed = camera if report.outcome.ticks else None  # stopped before it began
        film = filmed.save(config.video, success, kind, task=scenario.task) if filmed and config.video else None
        notes += _saved(config, recorder, fit.robot, scenario.task, success, report)
    finally:
        world.close()
    return _result(config, report, success, film, (*fit.notes, *notes))


def _on_body(config: RunConfig, console: Screen | None, seen: Observers, page: RunPage | None) -> RunResult:
    """On a body that has passed `check_body` as this robot."""
    if not config.instruction.strip():
        raise BadValue(
            'the instruction is empty; expected what to do. Next: palmar run --body … "pick up the red cube"'
        )
    ready, drawn = ready_body(config), _Drawn(config)
    with ready.opened(drawn.policy) as opened:
        body, fit, latch = opened.body, opened.fit, opened.latch
        with _switch(config, page) as deadman:  # before the body's reset, which may move it
            controller = Controller(deadman=deadman)
            with attended(config, fit, controller, page) as (driver, watchers):
                _tell(page, config, fit, controller, drawn, world=config.body, latch=fit.robot.name)
                fit.policy.act(replace(body.reset(config.seed), instruction=config.instruction))
                camera, note = _camera(config, body)
                if deadman is not None:
                    wait_until_held(deadman, HELD)
                with drawn.episode():
                    recorder = EpisodeRecorder() if config.record else None
                    watchers += seen.of(drawn.name, drawn.policy, fit.robot, controller)
                    with _kept(config, recorder, fit.robot):
                        report = _deploy(
                            config, body, driver, body.observe(), console, controller, camera, recorder, drawn, *watchers,
                            latch=latch,
                        )  # fmt: skip
        done = report.outcome.reason == "done"
        by = "policy"
        if config.record or config.ab or config.log or page is not None:
            done, by, said = _succeeded(done, page)
            note += said
        note += drawn.ended(done, report) + seen.ended(done, by, report)
        note += (f"the E-STOP could not be latched: {report.unlatched}",) if report.unlatched else ()
        filmed = camera if report.outcome.ticks else None
        film = filmed.save(config.video, None, fit.robot.name) if filmed and config.video else None
        note += _saved(config, recorder, fit.robot, "", done, report)
    return _result(config, report, done if by == "person" else None, film, (*fit.notes, *note), by)


def _saved(
    config: RunConfig, recorder: EpisodeRecorder | None, robot: Embodiment, task: str, success: bool, report: Report
) -> tuple[str, ...]:
    """The episode is recorded, last of all: where that fails, the run itself has been counted, and the error says how it went."""
    try:
        return _recorded(config, recorder, robot, task, success, report.outcome.duration)
    except Exception as error:
        how = f"{report.outcome.reason} after {report.outcome.duration:.1f} s, {'a' if success else 'no'} success"
        error.add_note(f"the run itself: {how}; it was not recorded")
        raise


def _tell(
    page: RunPage | None, config: RunConfig, fit: Fitted, controller: Controller, drawn: _Drawn, **about: Any
) -> None:
    """The page what it can say before anything moves."""
    if page is not None:
        from palmar.runtime.safety.filter import Safety

        about |= {"policy": drawn.name, "robot": fit.robot.name, "off": Safety(fit.robot).off, **acting(drawn)}
        page.began(config.instruction, controller, **about)
        if controller.mode is Mode.ESTOP:
            raise RobotFault(f"{controller.reason}, before the run began. Next: look at the robot, then ask again")


def _camera(config: RunConfig, body: Body) -> tuple[Filmmaker | None, tuple[str, ...]]:
    """Who films a body by its own cameras, or why nobody does."""
    from importlib.util import find_spec

    if config.video is None:
        return None, ()
    if not body.embodiment.cameras:
        return None, ("no film: the robot has no cameras",)
    if lacking := [p for p in FILMING if find_spec(p) is None]:
        return None, (f"no film: {lacking[0]} is not installed. Next: pip install 'palmar[{FILMING[lacking[0]]}]'",)
    from palmar.lab.film import Filmmaker

    return Filmmaker(body, config.instruction, body.embodiment.name), ()


def _deploy(
    config: RunConfig,
    body: Body,
    policy: Policy,
    obs: Observation,
    console: Screen | None,
    controller: Controller,
    *subscribers: Subscriber | None,
    latch: Latch | None = None,
) -> Report:
    with viewed(config.instruction, controller, console) as view:
        watchers: Sequence[Subscriber] = [*(s for s in subscribers if s is not None), *view]
        return deploy(
            body, policy, config.instruction, obs, timeout=config.timeout, execute=config.execute, realtime=config.realtime,
            controller=controller, until=Finished(config.done), subscribers=watchers, blackbox=config.blackbox,
            slowing=config.slowing, latch=latch,
        )  # fmt: skip


def _result(
    config: RunConfig,
    report: Report,
    success: bool | None,
    film: Film | None,
    notes: tuple[str, ...],
    by: str = "simulator",
) -> RunResult:
    reason = report.reason or report.outcome.reason
    if report.mode is Mode.HOLD and not report.ended_by:
        notes = (
            *notes,
            "it was held to the end, and nobody let it go on. Next: mend what held it; where the machine was busy, end other "
            "work, or a larger --execute",
        )
    return RunResult(
        config.instruction, report.outcome.reason == "done", success, report.outcome.duration, report.mode.name, reason,
        report.timing, report.counts, film, report.off, notes, report.ended_by, by,
    )  # fmt: skip
