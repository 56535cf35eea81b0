"""What is written and served of a run while it runs: its operations log, an MCAP file, and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from palmar.console import say
from palmar.embodiments import Embodiment
from palmar.errors import MissingPackage, need
from palmar.policy import Policy, checkpoint_of
from palmar.runtime.deploy import Report
from palmar.runtime.loop import Subscriber
from palmar.runtime.records.mcap_file import McapRecorder
from palmar.runtime.records.operations import OperationsLog, check_log
from palmar.runtime.records.runs import Run, read_log
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.worker import remote_of
from palmar.serve.run_metrics import RunMetrics, scraped

if TYPE_CHECKING:
    from palmar.cli.runs import RunConfig


class Observers:
    """Made before anything moves; `of` gives what watches, once policy and robot are known, `ended` says how the run went."""

    def __init__(self, config: RunConfig, stack: ExitStack, metrics: RunMetrics | None = None) -> None:
        self.config = config
        self.log: OperationsLog | None = None
        self.mcap: McapRecorder | None = None
        self.metrics = metrics
        self.over = False
        if config.log is not None:
            check_log(config.log)
        if config.mcap is not None:
            need("mcap", "mcap")
            need("PIL", "mcap")
        if metrics is None:
            self.metrics = stack.enter_context(served_metrics(config))

    def of(self, name: str, policy: Policy, robot: Embodiment, controller: Controller) -> tuple[Subscriber, ...]:
        """name: of the policy that drives."""
        c = self.config
        if not (c.log or c.mcap or self.metrics):
            return ()
        where = {"world": c.table} if c.table is not None else {"body": c.body}
        about = {"policy": name, "fingerprint": fingerprint_of(name, policy)} | where
        run = about | {"instruction": c.instruction, "seed": c.seed, "timeout": c.timeout, "execute": c.execute}
        if c.log is not None:
            self.log = OperationsLog(c.log, run | ({"ab": str(c.ab_log)} if c.ab else {}), controller)
        if c.mcap is not None:
            self.mcap = McapRecorder(c.mcap, run, controller)
        if self.metrics is not None:
            self.metrics.about = about | {"robot": robot.name}
            self.metrics.watch(controller)
            if not self.metrics.went_on:  # the first run of this process
                self.metrics.go_on(_earlier(c.log, robot.name))
        return tuple(s for s in (self.log, self.mcap, self.metrics) if s is not None)

    def ended(self, success: bool, by: str, report: Report) -> tuple[str, ...]:
        """The run is over; what a person should know. by: who says whether it succeeded: simulator, person or policy."""
        if self.log is not None:
            self.log.ended(success, by, report)
        if self.metrics is not None:
            self.metrics.ended(report.outcome.reason, success)
        return self.close()

    def close(self, error: BaseException | None = None) -> tuple[str, ...]:
        """The files are whole, or it is said what is missing. error: what ended a run that has not `ended`."""
        if self.over:
            return ()
        self.over = True
        kept = [f for f in (self.log, self.mcap) if f is not None]
        if self.metrics is not None and self.metrics.begun:
            self.metrics.ended("fault", False)
        if self.log is not None:
            self.log.close(error)
        if self.mcap is not None:
            self.mcap.close()
        return tuple(f.lost for f in kept if f.lost)


@contextmanager
def served_metrics(config: RunConfig) -> Iterator[RunMetrics | None]:
    """Metrics of all runs while the block runs; None where none are asked for."""
    if config.metrics is None:
        yield None
        return
    need("prometheus_client", "serve")
    metrics = RunMetrics()
    with scraped(metrics, config.metrics) as address:
        say("metrics are served at {}", address)
        yield metrics


@contextmanager
def observed(config: RunConfig, metrics: RunMetrics | None = None) -> Iterator[Observers]:
    """metrics: of a session, to count on in; None for this run's own. What an error ends is logged and counted as a run that
    failed.

    Raises `BadFile` for files that cannot be written, `BadValue` for a port that is taken, and `MissingPackage`, before anything
    moves.
    """
    with ExitStack() as stack:
        seen = Observers(config, stack, metrics)
        try:
            yield seen
        except BaseException as error:
            for note in seen.close(error):
                error.add_note(note)
            raise
        seen.close()


def fingerprint_of(name: str, policy: Policy) -> str:
    """Of a checkpoint's weights, or what a server says of its own; "" where nothing is known."""
    served = getattr(remote_of(policy), "served", None)
    if served is not None:
        return str(served.fingerprint)
    try:
        need("torch", "learn")
    except MissingPackage:
        return ""
    from palmar.models.checkpoint import fingerprint

    return fingerprint(name) if checkpoint_of(name).exists() else ""


def _earlier(log: Path | None, robot: str) -> list[Run]:
    """Runs of the robot that the log holds."""
    return [] if log is None or not log.exists() else [r for r in read_log(log).runs if r.robot == robot]
