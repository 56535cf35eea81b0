"""What runs came to: the operations log read, with alarms a job of the night can act on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from tyro.conf import Positional

from palmar.cli.shared import Answer, configured, writable
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.files import write_text
from palmar.ranges import LATENCY, SHARE, Count, Share

if TYPE_CHECKING:
    from palmar.eval.monitoring import Monitored, Version

SHOWN = 8
"""Rows of a table at most, the newest."""


@dataclass(frozen=True)
class Monitor:
    """Success over time, drop and shift alarms, latency, interventions and causes from an operations log (palmar run --log).

    Exit code 1: an alarm of a version that drove one of the last 20 runs.
    """

    log: Positional[Path]
    """The file of palmar run --log."""
    baseline: Annotated[float | None, SHARE] = None
    """Success rate that was promised, such as 0.95. When not given the first --reference runs of a version say it."""
    alpha: Annotated[float, SHARE] = 0.05
    """Chance of ever a false alarm of a version, of the drop and of the shift each, however often it is looked at."""
    reference: Count = 50
    """Runs of a version that later ones are compared with."""
    block: Count = 20
    """Runs that are compared at a time, and that a row of success over time is of."""
    budget: Annotated[float, LATENCY] = 0.05
    """Longest time that a chunk of the policy may take [s]."""
    share: Share = 0.01
    """Share of chunks, and of ticks, that may be late."""
    policy: str = ""
    """Only versions with this in their name."""
    data: Path | None = None
    """Data set whose episodes the actions are compared with, instead of the reference."""
    html: Path | None = None
    """Write a self-contained page with plots."""
    force: bool = False
    """Replace the file of --html when it is there."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.eval.monitoring import MonitorConfig, monitored, training_of
        from palmar.runtime.records.runs import read_log

        if self.html is not None and self.html.resolve() == self.log.resolve():
            raise BadValue(f"--html is '{self.html}', the log itself. Next: another name")
        writable(self.html, self.force)
        config = configured(MonitorConfig, self)
        training = None
        if self.data is not None:
            from palmar.data.reader import Dataset

            training = training_of(Dataset(self.data))
        found = monitored(read_log(self.log), config, self.policy, training)
        _print(console, found)
        figures = found.to_dict()
        if self.html is not None:
            from palmar.eval.monitor_page import page

            write_text(self.html, page(found), "backslashreplace")
            console.print(f"page: {self.html}")
            figures["html"] = str(self.html)
        return int(bool(found.alarms)), figures


def _print(console: Screen, m: Monitored) -> None:
    from palmar.eval.monitoring import bound_words

    if not m.log.runs:
        console.print("the log holds no runs yet")
    for version in m.versions:
        _print_version(console, version)
    if m.log.damaged:
        console.print(styled("[yellow]{} damaged lines were left out", m.log.damaged))
    for name, reason in m.alarms:
        console.print(styled("[bold red]ALARM[/] {}: {}", name, str(reason)))
    if m.log.runs and not m.alarms:
        console.print(styled("[green]no alarm[/]: {}", bound_words(m.config)))


def _print_version(console: Screen, v: Version) -> None:
    from palmar.eval.monitoring import success_words
    from palmar.eval.stats import Rate

    console.print(styled("[bold]{}[/]: {}", v.name, success_words(v)))
    table = Table("runs", "from", "success", title="over time", title_justify="left")
    for first, last, at, rate in v.windows[-SHOWN:]:
        table.add_row(f"{first + 1} … {last + 1}", f"{at:%Y-%m-%d %H:%M}", str(rate))
    if v.windows:
        console.print(table)
    table = Table("", "n", "late", "p50 [ms]", "p99 [ms]")
    for what, x in (("chunks", v.chunks), ("ticks", v.ticks)):
        share = f"{x.over} ({100 * x.over / max(x.n, 1):.2f} %)"
        table.add_row(what, str(x.n), share, f"{1e3 * x.p50:.3g}", f"{1e3 * x.p99:.3g}")
    console.print(table)
    console.print(
        f"a person took over in {v.taken} of the runs, {v.takeovers} times, {v.driven:.0f} s of {3600 * v.hours:.0f} s"
    )
    if v.causes:
        table = Table("why it did not succeed", "runs", "share of runs")
        for cause, n in sorted(v.causes.items(), key=lambda kv: (-kv[1], kv[0]))[:SHOWN]:
            table.add_row(cause, str(n), str(Rate(n, v.runs)))
        console.print(table)
    if v.shifts:
        table = Table("runs", "moved most", "reference", "these runs", "p", "level")
        for s in v.shifts[-SHOWN:]:
            top = s.moved[0]
            about = f"{top.what} of {top.channel}"
            runs = f"{s.first + 1} … {s.last + 1}"
            table.add_row(runs, about, f"{top.before:.3g}", f"{top.after:.3g}", f"{s.p:.2g}", f"{s.level:.2g}")
        console.print(table)
    for note in v.notes:
        console.print(styled("[yellow]{}", note))
