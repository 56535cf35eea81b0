"""What a person and a second policy add to a run: who drives, what is recorded, and how a comparison goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmar.cli.certified import require_for_run
from palmar.cli.shared import writable_folder
from palmar.console import asked_line, keyboard, say, warn
from palmar.data.recorder import EpisodeRecorder
from palmar.embodiments import Embodiment
from palmar.errors import BadValue
from palmar.policy import Policy, checkpoint_of, load_policy, split_robot
from palmar.runtime.adaptation.ab_log import ABLog
from palmar.runtime.adaptation.intervening import ByHand, Intervening
from palmar.runtime.adaptation.teleop import GIVE, TAKE, Keyboard, Keys, Teleop, bindings
from palmar.runtime.adaptation.versions import Version, Versions, is_history
from palmar.runtime.confidence.conduct import Judged
from palmar.runtime.confidence.confident import Confident
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.judge import Judge, JudgeConfig
from palmar.runtime.deploy import Report
from palmar.runtime.fitting import Fitted
from palmar.runtime.loop import Body, Subscriber, Tick
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.worker import remote_of
from palmar.types import Observation

if TYPE_CHECKING:
    from palmar.cli.runs import RunConfig
    from palmar.data.writer import DatasetWriter
    from palmar.serve.page.run import RunPage

RESUME = "c"
"""The key that lets a held robot go on."""
KEY_EVERY = 0.1
"""How long the policy is waited for before the keyboard is looked at again [s]."""


class Drawn(Subscriber):
    """The policy of this episode: that of the configuration, or with `ab` the one of the two that is drawn.

    began: the robot was given to it. corrected: a person took over from it; the episode then is not its success.
    """

    def __init__(self, config: RunConfig) -> None:
        names = {name: exact(name) for name in (config.policy, config.ab) if name}
        both = {name: load_policy(own) for name, own in names.items()}  # before the log: both are there
        for own in names.values():  # hashed before by `live.run`; now of what was loaded
            require_for_run(config, own)
        self.log = ABLog(config.ab_log, names[config.policy], names[config.ab]) if config.ab else None
        self.name = config.ab if self.log is not None and self.log.arm == "b" else config.policy
        self.policy: Policy = both[self.name]
        self.began = self.corrected = False

    def on_start(self, obs: Observation, body: Body) -> None:
        self.began = True

    def on_tick(self, tick: Tick) -> None:
        self.corrected = self.corrected or (tick.chunk is not None and tick.chunk.intervention)

    @contextmanager
    def episode(self) -> Iterator[None]:
        """An episode that an error ends has not succeeded, and counts: leaving it out would favour who breaks off."""
        try:
            yield
        except BaseException as error:
            if self.log is not None and self.began:
                try:
                    error.add_note(f"a/b: {self.name} drove, and did not succeed. {self.log.ended(False)}")
                except OSError as another:
                    error.add_note(f"a/b: the episode could not be counted ({another})")
            raise

    def ended(self, success: bool, report: Report) -> tuple[str, ...]:
        """Count the episode; what a person should know."""
        if self.log is None:
            return ()
        fault = f"E-STOP: {report.reason}" if report.mode is Mode.ESTOP else ""
        person = " until a person took over" if self.corrected else ""
        return (f"a/b: {self.name} drove{person}. {self.log.ended(success and not self.corrected, fault)}",)


def exact(policy: str) -> str:
    """The name of a policy, and of a folder of versions the one that acts: after another does, it is another policy."""
    folder, robot = split_robot(policy)
    if not is_history(folder):
        return policy
    return str(checkpoint_of(folder)) + (f"@{robot}" if robot else "")


def _fingerprint(name: str, policy: Policy | None = None) -> str:
    """Of a policy by its name; of one on a server what that says of itself."""
    from palmar.models.checkpoint import fingerprint

    served = getattr(remote_of(policy), "served", None)
    return fingerprint(name) if served is None else str(served.fingerprint)


class Resuming(Subscriber):
    """Lets a robot that is held (`Controller.hold`) go on when a person types the key for it: they have looked."""

    def __init__(self, controller: Controller, keys: Keys) -> None:
        self.controller, self.keys = controller, keys

    def on_start(self, obs: Observation, body: Body) -> None:
        self.keys.typed(RESUME)

    def on_tick(self, tick: Tick) -> None:
        if self.keys.typed(RESUME) and self.controller.mode is Mode.HOLD:
            self.controller.resume()


class Telling(Subscriber):
    """Says at once that the robot is held, and why, where nobody looks at a table of it. On a thread of its own: who reads it may
    be slow, or gone."""

    def __init__(self, controller: Controller) -> None:
        self.controller, self._mode = controller, Mode.RUN

    def on_tick(self, tick: Tick) -> None:
        mode = self.controller.mode
        if mode is not self._mode:
            said = (
                "the robot goes on" if mode is Mode.RUN else f"{mode.name}, the robot rests: {self.controller.reason}"
            )
            threading.Thread(target=warn, args=("{}: {}", f"{tick.time:.1f} s", said), daemon=True).start()
        self._mode = mode


def acting(drawn: Drawn) -> dict[str, Any]:
    """What can be said of versions and of a comparison: of each version its name, whether it acts, its gate, when it was made."""
    said: dict[str, Any] = {"ab": "" if drawn.log is None else str(drawn.log.decision), "versions": None}
    folder, _ = split_robot(drawn.name)
    if is_history(folder):
        history = Versions(folder)
        versions = [history.version(name) for name in history.names()]
        said["versions"] = [
            {"name": v.name, "acts": v.name == history.current, "made": v.made, "gate": _gate(v)} for v in versions
        ]
    return said


def _gate(version: Version) -> str:
    return "none" if version.gate is None else "passed" if version.passed else "not passed"


@contextmanager
def attended(
    config: RunConfig, fit: Fitted, controller: Controller, page: RunPage | None = None
) -> Iterator[tuple[Policy, tuple[Subscriber, ...]]]:
    """The fitted policy with a detector, and with a person who may take over, where they are asked for; and what watches for the
    keys that they type in a terminal, or on a page.

    Raises what recording into `record` would, before anything moves.
    """
    policy, judge = fit.policy, Judge(JudgeConfig(execute=config.execute))
    if config.record is not None:
        _check_record(config.record, fit.robot)
    if config.detector is not None:
        detector = Detector.load(config.detector)
        own = _fingerprint(config.policy, policy)
        other = _fingerprint(config.ab) if config.ab else own
        if detector.policy and own != other:  # whichever of the two is drawn today
            raise BadValue(
                f"--detector '{config.detector}' was fitted to one policy, and with --ab two drive in turn. Next: leave out one of "
                "the two options"
            )
        detector.check_policy(own, config.policy)
        detector.check_every(config.execute * policy.interface.dt)
        known = detector.policy and own
        sure = "fitted to this policy" if known else "whether it was fitted to this policy is not known"
        say(
            "detector '{}' ({}): the robot slows down, rests and asks when its confidence is low", config.detector, sure
        )
        policy = Confident(policy, detector)
    watched = (config.detector is not None or config.table is None) and config.deadman != "keys"
    terminal = Keyboard() if config.correct or (watched and keyboard() is not None) else None
    try:
        watchers: tuple[Subscriber, ...] = () if terminal is None else (Resuming(controller, terminal),)
        watchers += () if page is None else (page,)
        keys = _driving_keys(terminal if config.correct else None, fit.robot, page)
        if terminal is not None and config.correct:
            say(
                "tab takes over, b gives back; c lets the robot go on when it is held; w s a d r f move, u o i k j l turn, "
                "g opens and closes"
            )
        elif terminal is not None:
            say("c lets the robot go on when it is held")
        if keys is None:
            yield policy, watchers
            return
        typed = (lambda key: False) if terminal is None or not config.correct else terminal.typed
        take = (lambda: typed(TAKE)) if page is None else (lambda: page.take(typed(TAKE)))
        give = (lambda: typed(GIVE)) if page is None else (lambda: page.give(typed(GIVE)))
        every = config.execute * policy.interface.dt
        driven = Intervening(policy, Teleop(fit.robot, keys), ByHand(take, give), KEY_EVERY, every)
        try:
            yield Judged(driven, judge) if config.detector is not None else driven, watchers
        finally:
            driven.close()
    finally:
        if terminal is not None:
            terminal.close()


def _driving_keys(terminal: Keyboard | None, robot: Embodiment, page: RunPage | None) -> Keys | None:
    """What a person drives the robot by, once they have taken over; None where nobody can. A page says why it cannot."""
    if page is None:
        return terminal
    from palmar.serve.page.keys import EitherKeys

    try:
        bindings(robot)
    except BadValue as error:
        page.drivable(str(error))
        return terminal
    page.drivable()
    return page.keys if terminal is None else EitherKeys(terminal, page.keys)


def succeeded(done: bool, page: RunPage | None = None) -> tuple[bool, str, tuple[str, ...]]:
    """Whether the episode on a real body succeeded, who says so, and what a person should know: a person says, and where nobody can
    be asked, the policy does, which is told.

    done: what the policy says. page: where they are asked, if there is one.
    """
    word = f"success: {'yes' if done else 'no'} by the policy's own word"
    if page is not None:
        try:
            said = page.ask(f"Did it succeed? The policy says {'yes' if done else 'no'}.")
        except KeyboardInterrupt:  # the episode counts and is kept; then the session ends
            said = None
            page.end()
        if said is None:
            return done, "policy", (f"{word}; nobody answered on the page",)
        return said, "person", ()
    if keyboard() is None:
        return done, "policy", (f"{word}; nobody was there to say (no terminal)",)
    answer = person_says(f"Did it succeed? [y/n] (the policy says {'yes' if done else 'no'}) ")
    if answer is None:  # the episode counts and is kept: leaving it out would favour who breaks off
        return False, "person", ("success: no; the question was broken off",)
    return answer, "person", ()


def person_says(question: str) -> bool | None:
    """Yes or no of the person at the terminal, who is asked until it is one of them; None where the question is broken off."""
    while True:
        try:
            answer = asked_line(question).strip().lower()
        except (KeyboardInterrupt, EOFError):
            return None
        if answer in ("y", "yes", "n", "no"):
            return answer[0] == "y"


@contextmanager
def kept(config: RunConfig, recorder: EpisodeRecorder | None, robot: Embodiment) -> Iterator[None]:
    """What was recorded before the body failed is kept, as an episode that has not succeeded; the error says so."""
    try:
        yield
    except Exception as error:
        try:
            for note in recorded(config, recorder, robot, "", False, 0.0):
                error.add_note(note)
        except Exception as another:  # the first error is the one to raise
            error.add_note(f"what was recorded could not be kept: {another}")
        raise


def recorded(
    config: RunConfig, recorder: EpisodeRecorder | None, robot: Embodiment, task: str, success: bool, seconds: float
) -> tuple[str, ...]:
    """Add the episode of so many seconds to the data set of `record`; what a person should know."""
    if recorder is None or config.record is None:
        return ()
    if not recorder.steps:
        return ("nothing was recorded: the episode has no steps",)
    drove = sum(s.intervention for s in recorder.steps)
    made = recorder.episode(
        task or config.instruction,
        config.seed,
        "corrected" if drove else "policy",
        success,
        duration=seconds or len(recorder.steps) / robot.policy_rate,
    )
    made.instruction = config.instruction  # what the policy was told; a body of one's own knows of none
    with _writer(config.record, robot) as writer:
        index = writer.add(made)
    return (f"recorded: episode {index} of {config.record}, {len(made.steps)} frames, a person drove {drove} of them",)


def _writer(record: Path, robot: Embodiment) -> DatasetWriter:
    from palmar.data.writer import DatasetWriter

    return DatasetWriter(record, robot, robot.policy_rate, resume=record.exists(), interventions=True)


def _check_record(record: Path, robot: Embodiment) -> None:
    """Raise `BadFile` when an episode of the robot cannot be added to a data set: after the episode is too late."""
    if record.is_dir() and any(record.iterdir()):
        _writer(record, robot).close(consolidate=False)
    else:
        writable_folder(record)
