"""Demonstrations of a person on a body: the one loop with a teleoperator as the policy, behind the safety layer, recorded.

Between episodes the robot rests. Keys of the terminal begin an episode and say what became of it (`KEYS`); each that is kept is on
the disk before the next can begin.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from palmar.choices import GRADES
from palmar.cli.attended import Resuming, Telling
from palmar.cli.shared import pairs
from palmar.cli.terminal import Terminal, shown
from palmar.console import Screen, say, styled
from palmar.data.recorder import EpisodeRecorder
from palmar.data.writer import DatasetWriter
from palmar.description.find import find_robot
from palmar.description.guesses import check_deployable
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.ranges import Count, Period, Seconds, Seed, check_ranges
from palmar.runtime.adaptation.leader import Leader
from palmar.runtime.adaptation.teleop import Keyboard, Keys, Teleop
from palmar.runtime.bodies.approval import require_checked
from palmar.runtime.bodies.find import Attached, find_body
from palmar.runtime.bodies.lerobot_device import LEROBOT, asked
from palmar.runtime.deploy import Report, deploy
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.hosted import PERIOD, HostedBody, require_ready
from palmar.runtime.undisturbed import ended_by_signals
from palmar.types import ActionChunk, Observation

BEGIN, SUCCESS, FAILURE, DISCARD, STOP = " ", "y", "n", "x", "q"
VERDICTS = SUCCESS + FAILURE + DISCARD + STOP
KEYS = "space begins an episode; y ends it as a success, n as a failure, x without keeping it, q ends the session"
TYPED = 0.05
"""How often the keyboard is looked at while the robot rests [s]."""
HUMAN = "human"
"""Source of an episode that a person drove."""


@dataclass(frozen=True)
class TeleopConfig:
    """What to record, where, and with what.

    out: folder of the data set. body: as `find_body` takes it. teleop: "keys" (`adaptation.teleop`) or `lerobot:TYPE?…`
    (`adaptation.leader`). robot: name of a robot that comes with palmar, or a robot file; "" for the body's own. instruction: what
    is done. episodes: to keep, at most. timeout: longest episode [s]; its pictures are in memory until it ends. names:
    LEADER=ROBOT where the two are called differently. watchdog: its period [s], None for none. seed: of the first reset. blackbox:
    folder for the last seconds before each fault. resume: go on with a set that is there.
    """

    out: Path
    body: str
    teleop: str
    robot: str = ""
    instruction: str = ""
    episodes: Count = 100
    timeout: Seconds = 60.0
    names: tuple[str, ...] = ()
    watchdog: Period = PERIOD
    seed: Seed = 0
    blackbox: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.instruction.strip():
            raise BadValue(
                'the instruction is empty; expected what is done. Next: --instruction "pick up the red cube"'
            )
        if self.teleop.startswith(LEROBOT):
            asked(self.teleop)
        elif self.teleop != "keys":
            raise BadValue(
                f"teleop is '{self.teleop}'; expected keys, or {LEROBOT}TYPE for a teleoperator of lerobot. Next: --teleop "
                f"'{LEROBOT}so101_leader?port=/dev/ttyACM1&id=left'"
            )
        elif self.names:
            raise BadValue("--names joins a leader's names, and keys have none. Next: leave it out")
        if self.body.partition(":")[0] in ("sim", *GRADES):
            raise BadValue(
                f"body is '{self.body}'; a person drives a body of their own. Next: --body module:Class, or mock:"
            )


@dataclass(frozen=True)
class Demonstrated:
    """What came of it. saved: episodes added, `failures` of them no successes; discarded: those that were not kept. there: what a
    resumed set held before. frames: of the episodes added. reason: why the session ended."""

    root: Path
    saved: int
    failures: int
    discarded: int
    frames: int
    there: int
    reason: str
    exit_code: int = 0


class Said:
    """What the person says of the episode while it goes on: its key, "" for nothing. As `until` of the loop it ends the episode,
    and so does a leader that is lost."""

    def __init__(self, keys: Keys, driver: Leader | Teleop) -> None:
        self.keys, self.driver, self.key = keys, driver, ""

    def __call__(self, obs: Observation, chunk: ActionChunk | None) -> bool:
        verdicts = "" if chunk is None else SUCCESS + FAILURE  # nothing is recorded before the first action
        self.key = self.key or _typed(self.keys, verdicts + DISCARD + STOP)
        return bool(self.key) or getattr(self.driver, "lost", None) is not None


def teleoperate(config: TeleopConfig, console: Screen | None = None, keys: Keys | None = None) -> Demonstrated:
    """Record until `config.episodes` are kept, or the person ends it. keys: the terminal's when not given.

    Raises what `palmar run` does on a body before anything moves; a body or a leader that fails ends the session with its
    `RobotFault`, after what was recorded of that episode is kept as a failure.
    """
    found = find_body(config.body)
    robot = find_robot(config.robot) if config.robot else None
    if robot is not None:
        require_ready(found, robot, config.robot, config.watchdog)
    typed = keys or Keyboard(option="--teleop")
    try:
        with ended_by_signals():
            here = config.watchdog is None or found.remote
            body: HostedBody | Attached = (
                found.connect(robot) if here else HostedBody(config.body, robot, config.watchdog)  # type: ignore[arg-type]
            )
            try:
                check_deployable(body.embodiment)
                require_checked(body.embodiment, found, config.robot)
                latch = Latch(body.embodiment.name)
                latch.require_released()
                latch.prepare()
                with _driver(config, body.embodiment, typed) as driver:
                    body.embodiment = driver.robot
                    rate = driver.robot.policy_rate
                    with DatasetWriter(config.out, driver.robot, rate, resume=config.resume) as writer:
                        return Session(config, body, driver, typed, latch, writer, console).run()
            finally:
                body.close()
    finally:
        if isinstance(typed, Keyboard) and keys is None:
            typed.close()


@contextmanager
def _driver(config: TeleopConfig, robot: Embodiment, keys: Keys) -> Iterator[Leader | Teleop]:
    if config.teleop == "keys":
        spaces = robot.action_spaces
        yield Teleop(robot.with_action_space("ee_delta" if "ee_delta" in spaces else "channels"), keys)
        return
    leader = Leader(config.teleop, robot, pairs("--names", config.names))
    try:
        yield leader
    finally:
        leader.close()


@dataclass
class Session:
    """A person, a body that rests, and a data set: `run` until all is recorded or the person ends it."""

    config: TeleopConfig
    body: HostedBody | Attached
    driver: Leader | Teleop
    keys: Keys
    latch: Latch
    writer: DatasetWriter
    console: Screen | None = None
    saved: int = 0
    failures: int = 0
    discarded: int = 0
    frames: int = 0

    def run(self) -> Demonstrated:
        there, reason, code = len(self.writer), "all episodes are recorded", 0
        say("{}", KEYS)
        while self.saved < self.config.episodes and not code:
            words = styled("episode {}: the robot rests; space begins, q ends the session", len(self.writer))
            if _asked(self.keys, BEGIN + STOP, words) == STOP:
                reason = "ended by the person"
                break
            recorder, said = EpisodeRecorder(), Said(self.keys, self.driver)
            report = self._episode(recorder, said)
            if report.mode >= Mode.HANDOFF or report.outcome.reason == "stopped":
                verdict, reason = FAILURE, report.reason or "stopped"
                code = 3 if report.mode >= Mode.HANDOFF else 130
            elif not (verdict := said.key):
                why = report.reason or "its longest time"
                words = styled("it ended: {}. y: a success, n: a failure, x: do not keep it", why)
                verdict = _asked(self.keys, VERDICTS, words)
            self._judged(recorder, verdict, report.outcome.duration)
            if verdict == STOP:
                reason = "ended by the person"
                break
        counts = (self.saved, self.failures, self.discarded, self.frames)
        return Demonstrated(self.config.out, *counts, there, reason, code)

    def _episode(self, recorder: EpisodeRecorder, said: Said) -> Report:
        """One episode through the loop, braked to rest at its end. A leader gives no path that could be followed more slowly.

        What was recorded before a fault is kept, as a failure; the error says so.
        """
        config = self.config
        obs = self.body.reset(config.seed + len(self.writer) + self.discarded)
        _typed(self.keys)  # what was typed before counts for nothing
        say("it begins: y a success, n a failure, x do not keep it")
        controller = Controller()
        view = Terminal(config.instruction, controller)
        told = [] if self.console is not None and self.console.is_terminal else [Telling(controller)]
        try:
            with shown(view, self.console):
                report = deploy(
                    self.body, self.driver, config.instruction, obs, timeout=config.timeout, execute=1, controller=controller,
                    until=said, subscribers=(recorder, Resuming(controller, self.keys), view, *told), blackbox=config.blackbox,
                    slowing=not isinstance(self.driver, Leader), latch=self.latch,
                )  # fmt: skip
            if (lost := getattr(self.driver, "lost", None)) is not None:
                raise lost
        except Exception as error:
            try:
                if recorder.steps:
                    index = self._keep(recorder, False, 0.0)
                    error.add_note(f"the {len(recorder.steps)} frames before it are episode {index}, as a failure")
            except Exception as another:  # the first error is the one to raise
                error.add_note(f"what was recorded could not be kept: {another}")
            raise
        return report

    def _judged(self, recorder: EpisodeRecorder, verdict: str, seconds: float) -> None:
        """Keep an episode, or not, as the person says."""
        if verdict in (DISCARD, STOP) or not recorder.steps:
            self.discarded += 1
            say("not kept")
            return
        n, success = len(recorder.steps), verdict == SUCCESS
        index = self._keep(recorder, success, seconds)
        self.saved, self.frames, self.failures = self.saved + 1, self.frames + n, self.failures + (not success)
        say("episode {}: {}, {} frames", index, "a success" if success else "a failure", n)

    def _keep(self, recorder: EpisodeRecorder, success: bool, seconds: float) -> int:
        """Add the episode to the data set; its index."""
        text, seed = self.config.instruction, self.config.seed + len(self.writer) + self.discarded
        seconds = seconds or len(recorder.steps) / self.writer.robot.policy_rate
        made = recorder.episode(text, seed, HUMAN, success, duration=seconds)
        made.instruction = text  # a body of one's own knows of none
        return self.writer.add(made)


def _typed(keys: Keys, wanted: str = BEGIN + VERDICTS) -> str:
    """The first of these keys that has been typed, "" for none; all of them count as looked at."""
    arrived = [key for key in wanted if keys.typed(key)]
    return arrived[0] if arrived else ""


def _asked(keys: Keys, wanted: str, words: Text) -> str:
    """Say something, and wait until one of these keys is typed; what was typed before counts for nothing."""
    _typed(keys)
    say("{}", words)
    while not (key := _typed(keys, wanted)):
        time.sleep(TYPED)
    return key
