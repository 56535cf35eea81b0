"""What a run is asked for, and what it came to."""

from __future__ import annotations

import signal
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmar.choices import GRADES
from palmar.errors import BadValue, UnknownName
from palmar.pictures import FIT, Fit
from palmar.ranges import Count, MetricsPort, Period, Seconds, Seed, Share, check_ranges
from palmar.runtime.monitor import SURE
from palmar.runtime.supervision.controller import Mode
from palmar.runtime.supervision.hosted import PERIOD

if TYPE_CHECKING:
    from palmar.eval.results import Film

BUSY = 0.1  # share of late ticks from which a run may have failed for want of time


@dataclass(frozen=True)
class RunConfig:
    """What to do, where, and with which policy.

    policy: as `load_policy` takes it. world: sim, or GRADE:SEED of a reality, where no body is given. robot: name of a robot that
    comes with palmar, or a robot file; "" for the table's, or the body's own. body: `module:Class`, `mock:`, or sim: and
    GRADE:SEED as --world. seed: of the table, or of the body's reset. timeout: [s]. done: probability at which the
    policy's own "fulfilled" is believed. execute: actions carried out of each chunk.
    realtime: real-time chunking (`ChunkBuffer.realtime`). names, cameras: POLICY=ROBOT where
    the two are called differently. hold: NAME=VALUE of a channel that the policy does not command. fit: how pictures of
    another size are made to fit. video: where the film goes (.mp4), None for no film. blackbox: folder for the last
    seconds before each fault. watchdog: its period [s], None: the body lives in this process and nothing stops it when this
    process dies; for bodies of one's own alone. deadman: a switch that has to be held, "" for none.
    detector: file of a failure detector; the robot slows down, rests, asks and is handed over by its confidence. correct: "keys"
    for a person who may take over (`adaptation.teleop`). record: folder of a data set that the episode is added to, with who
    drove. ab: a second policy; which of the two drives is drawn from ab_log, a file that each episode is added to.
    log: operations log that the run is added to. mcap: file that it is recorded in, which replaces what is there. metrics: port
    that they are served at (`observing`). certified: a certificate without which nothing moves.
    """

    instruction: str = ""
    policy: str = "shipped"
    world: str = "sim"
    robot: str = ""
    body: str = ""
    seed: Seed = 0
    timeout: Seconds = 20.0
    done: Share = SURE
    execute: Count = 4
    realtime: bool = False
    slowing: bool = True
    names: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    fit: Fit = FIT
    video: Path | None = Path("palmar-run.mp4")
    blackbox: Path | None = None
    watchdog: Period = PERIOD
    deadman: str = ""
    detector: Path | None = None
    correct: str = ""
    record: Path | None = None
    ab: str = ""
    ab_log: Path = Path("palmar-ab.jsonl")
    log: Path | None = None
    mcap: Path | None = None
    metrics: MetricsPort = None
    certified: Path | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.correct not in ("", "keys"):
            raise UnknownName("who corrects", self.correct, ["keys"])
        if self.correct and self.deadman == "keys":
            raise BadValue(
                "correct and deadman are both 'keys'; expected one of them. Next: --deadman udp:PORT or a file"
            )
        if self.ab and self.ab == self.policy:
            raise BadValue(
                f"ab and policy are both '{self.ab}'; expected two policies. Next: the other one, --ab FOLDER"
            )
        if self.body and self.world != "sim":
            raise BadValue(
                f"body is '{self.body}' and world is '{self.world}'; expected one of them. Next: leave one out"
            )
        if self.table is not None:
            from palmar.sim.reality import check_world

            check_world(self.table)
        if self.video is not None and self.video.suffix != ".mp4":
            raise BadValue(
                f"video is '{self.video}'; expected a file name that ends in .mp4. "
                "Next: --video palmar-run.mp4, or --video None for none"
            )

    @property
    def table(self) -> str | None:
        """The simulated world to run in; None for a body of one's own."""
        kind, colon, _ = self.body.partition(":")
        if not self.body:
            return self.world
        return self.body.removesuffix(":") if colon and kind in ("sim", *GRADES) else None


@dataclass(frozen=True)
class RunResult:
    """done: the policy said the instruction is fulfilled. success: so says the simulator, or a person who was asked; None where
    nobody does. by: who says whether it succeeded: simulator, person, or policy, by its "done".

    off: what the safety layer does not guard on this robot, and why. notes: what else a person should know.
    """

    instruction: str
    done: bool
    success: bool | None
    seconds: float
    mode: str
    reason: str
    timing: dict[str, float]
    safety: dict[str, int]
    film: Film | None = None
    off: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ended_by: str = ""
    by: str = "simulator"

    @property
    def exit_code(self) -> int:
        """0 done · 1 not done in time · 3 the controller stopped the robot · 130 Ctrl-C · 143 SIGTERM · 129 SIGHUP."""
        if self.ended_by:
            return 128 + getattr(signal, self.ended_by)
        if self.reason == "stopped":
            return 130
        if self.mode != Mode.RUN.name:
            return 3
        return 0 if self.done and self.success is not False else 1

    @property
    def busy(self) -> str | None:
        """What to say when the machine, rather than the policy, may be why it took so long; None when it kept time."""
        share = self.timing["late_ticks"] / max(self.timing["ticks"], 1)
        if share <= BUSY:
            return None
        return f"the machine was busy: {100 * share:.0f} % of ticks late. Next: end other work, or a longer --timeout"

    def to_dict(self) -> dict[str, Any]:
        """For `--json` and the demo's figures."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "film"}
        return rest | {
            "video": str(self.film.path) if self.film else None,
            "busy": self.busy,
            "exit_code": self.exit_code,
        }
