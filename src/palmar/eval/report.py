"""Everything that was done and found, on one page that needs nothing else: words, numbers, films, figures, settings.

A section appears when its data is there. The page fetches nothing (its own content policy forbids it), and says nothing
about the machine but its processor: paths are cut to their last part.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from palmar.choices import WHERE
from palmar.errors import BadFile, need
from palmar.eval import plots
from palmar.eval.plots import Identified
from palmar.eval.recovery import Recovery
from palmar.eval.results import Film, Results, shared
from palmar.eval.rows import read_rows
from palmar.eval.stats import Paired, Rate, paired, points, trials_to_tell
from palmar.files import write_text
from palmar.runtime.pool import cores

LIMIT = 8.0  # size of the page [MB]; films beyond it are named, not shown
WORLDS = {**WHERE, "robot": "robot"}
SPLITS = {
    "seen": "training tables",
    "layout": "new tables",
    "pair": "new colour-object pairs",
    "wording": "new sentences",
    "free": "free words",
}
PACKAGES = ("palmar", "numpy", "mujoco", "torch", "transformers", "av", "pyarrow", "matplotlib")


@dataclass(frozen=True)
class Number:
    """A number for the top of the page. rate: shown with its interval and its trials, whatever `value` says."""

    label: str
    value: str = ""
    rate: Rate | None = None
    note: str = ""

    @property
    def big(self) -> str:
        return self.value if self.rate is None else f"{100 * self.rate.value:.0f} %" if self.rate.n else "–"

    @property
    def small(self) -> str:
        return self.note if self.rate is None else f"{interval(self.rate)}, {self.rate.successes} of {self.rate.n}"


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same tables: names of `ReportData.results`."""

    a: str
    b: str
    label: str = ""


@dataclass(frozen=True)
class Deployment:
    """One run in real time: what `runtime.deploy.deploy` reported, and what the simulator or a person says of it.

    done: the policy itself said so. timing: `Timing.report` [ms]. guards: {guard: commands it changed}. commands: sent.
    """

    instruction: str
    success: bool | None
    done: bool
    seconds: float
    timing: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, int] = field(default_factory=dict)
    commands: int = 0
    mode: str = "RUN"
    reason: str = ""
    world: str = "sim"
    film: Film | None = None


@dataclass(frozen=True)
class Machine:
    """What it ran on. No names and no paths."""

    cpu: str
    cores: int
    memory_gb: float | None
    system: str
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Machine:
        versions = {"python": platform.python_version()}
        for name in PACKAGES:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return cls(_cpu(), cores(), _memory(), f"{platform.system()} {platform.machine()}", versions)


@dataclass(frozen=True)
class ReportData:
    """What a report is made of; all but the title may be left out.

    summary: paragraphs in plain words. numbers: for the top; taken from `results` when empty. results: {arm, such as
    "reality, plain": its trials}. swap: {arm: trials asked for another object than the seed's own}. training: {name of a
    run: its metrics.jsonl or rows}. data: {name: `data.inspect.summary`}. settings: anything JSON holds. commands:
    (command, what it does). seconds: {step: how long it took}. budget: a control period [ms]. recovery: what a reality
    takes, and which step wins it back.
    """

    title: str = "palmar report"
    subtitle: str = ""
    summary: Sequence[str] = ()
    numbers: Sequence[Number] = ()
    films: Sequence[Film] = ()
    results: Mapping[str, Results] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    swap: Mapping[str, Results] = field(default_factory=dict)
    training: Mapping[str, str | Path | Sequence[Mapping[str, float | None]]] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    identified: Sequence[Identified] = ()
    deployments: Sequence[Deployment] = ()
    budget: float | None = 20.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[tuple[str, str]] = ()
    machine: Machine | None = None
    recovery: Recovery | None = None


class Report:
    """`Report(data).save("report.html")`. The same data gives the same page."""

    def __init__(self, data: ReportData, limit_mb: float = LIMIT) -> None:
        self.data, self.limit = data, limit_mb

    def html(self) -> str:
        """The whole page. Raises `MissingPackage` without jinja2 or matplotlib, `BadFile` for damaged metrics."""
        need("jinja2", "report")
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        environment.filters |= {"interval": interval, "percent": percent, "points": points, "number": number}
        d = self.data
        budget = _Budget(int(self.limit * 1e6 * 0.72))  # base64 is a third longer, and the rest wants room too
        return environment.get_template("report.html").render(
            d=d, numbers=self.numbers, rows=_side_by_side(d.films, budget), table=self.table, compared=self.compared,
            success=plots.success(self.figure) if self.figure else "", swaps=self.swaps, training=self.training,
            facts=[(name, _facts(s)) for name, s in d.data.items()], hits=[r for r in d.identified if r.hit is not None],
            identified=plots.identified(d.identified) if d.identified else "", runs=[_shown(r, budget) for r in d.deployments],
            timing=self.timing, guards=self.guards, paths=_paths(d.films), settings=json.dumps(plain(d.settings), indent=2),
            commands=[(plain(c), what) for c, what in d.commands], today=date.today().isoformat(), left_out=budget.left_out,
            splits=SPLITS, left=[i for i in _sections(d)], waterfall=self.waterfall,
        )  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write the page; a reader finds the old one or the new one, never half of one."""
        return write_text(path, self.html())

    def to_markdown(self) -> str:
        """The same in short: summary, numbers, success, differences, parameters, commands."""
        d = self.data
        out = [f"# {d.title}", *d.summary]
        if self.numbers:
            out.append(
                "\n".join(
                    f"- **{n.big}** {n.label} ({n.small})" if n.small else f"- **{n.big}** {n.label}"
                    for n in self.numbers
                )
            )
        if self.table:
            rows = [f"| {r.arm} | {r.split} | {r.task} | {r.rate} |" for r in self.table]
            out.append("\n".join(["| arm | split | task | success (95 % Wilson) |", "|---|---|---|---|", *rows]))
        out += [f"**{c.label}**: {c.sentence}" for c in self.compared]
        if d.recovery:
            out.append("\n".join(f"- **{what}**: {says}" for what, says in d.recovery.sentences))
        out += [f"Language swap, {s.arm}: went to the object asked for in {s.rate}." for s in self.swaps]
        if d.identified:
            rows = [
                f"| {r.name} | {number(r.value)} | {number(r.low)} … {number(r.high)} | {number(r.truth)} | {r.unit} |"
                for r in d.identified if r.identified
            ]  # fmt: skip
            out.append(
                "\n".join(["| parameter | estimate | 95 % interval | truth | unit |", "|---|---|---|---|---|", *rows])
            )
        for r in d.deployments:
            says = {True: "success", False: "failed", None: "not judged"}[r.success]
            out.append(
                f"- “{r.instruction}”: {says} after {r.seconds:.1f} s; {sum(r.guards.values())} changes by the safety layer"
            )
        if d.commands:
            out.append("\n".join(["```sh", *(plain(c) for c, _ in d.commands), "```"]))
        return "\n\n".join(out) + "\n"

    @cached_property
    def numbers(self) -> list[Number]:
        """At most five. Those given, else the rate of each arm."""
        if self.data.numbers:
            return list(self.data.numbers)[:5]
        return [Number(arm, rate=r.rate()) for arm, r in list(self.data.results.items())[:5] if r.trials]

    @cached_property
    def table(self) -> list[_Row]:
        rows = []
        for arm, r in self.data.results.items():
            for split in dict.fromkeys(t.split for t in r.trials):
                names = dict.fromkeys(t.task for t in r.select(split=split))
                rows.append(_Row(arm, split, "all", r.rate(split=split), r.approach(split=split)))
                if len(names) > 1:
                    rows += [
                        _Row(arm, split, k, r.rate(split=split, task=k), r.approach(split=split, task=k)) for k in names
                    ]
        return rows

    @cached_property
    def figure(self) -> dict[str, dict[str, Rate]]:
        """{series: {task: rate}}, a series for each arm and split."""
        out: dict[str, dict[str, Rate]] = {}
        for row in self.table:
            several = len({r.split for r in self.table if r.arm == row.arm}) > 1
            series = f"{row.arm}, {SPLITS.get(row.split, row.split)}" if several else row.arm
            out.setdefault(series, {})[row.task] = row.rate
        return out

    @cached_property
    def compared(self) -> list[_Compared]:
        out = []
        for c in self.data.comparisons:
            if c.a in self.data.results and c.b in self.data.results:
                found = _compare(c, self.data.results[c.a], self.data.results[c.b])
                out += [found] if found else []
        return out

    @cached_property
    def waterfall(self) -> str:
        """SVG of what was lost and won back; "" without a recovery."""
        from palmar.eval.recovery_plot import waterfall

        return waterfall(self.data.recovery) if self.data.recovery else ""

    @cached_property
    def swaps(self) -> list[_Row]:
        return [_Row(arm, "", "all", r.approach(), r.rate()) for arm, r in self.data.swap.items() if r.trials]

    @cached_property
    def training(self) -> list[tuple[str, dict[str, str], str]]:
        """(name of the run, {curve: SVG}, what it came to)."""
        out = []
        for name, rows in self.data.training.items():
            if isinstance(rows, (str, Path)):
                rows = read_rows(Path(rows))
            if drawn := plots.curves(rows):
                out.append((name, drawn, _training_sentence(rows)))
        return out

    @cached_property
    def timing(self) -> tuple[str, str]:
        """Instruction and SVG of the first run that kept time; two empty texts when none did."""
        kept = [r for r in self.data.deployments if "latency_p50" in r.timing]
        return (kept[0].instruction, plots.timing(kept[0].timing, self.data.budget)) if kept else ("", "")

    @cached_property
    def guards(self) -> str:
        """All runs together; "" when nothing was changed."""
        counts: dict[str, int] = {}
        for r in self.data.deployments:
            for guard, n in r.guards.items():
                counts[guard] = counts.get(guard, 0) + n
        checked = sum(r.commands for r in self.data.deployments)
        return plots.guards(counts, checked or None) if any(counts.values()) else ""


def interval(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * low:.0f}–{100 * high:.0f} %"


def percent(x: float | None) -> str:
    return "–" if x is None or x != x else f"{100 * x:.0f} %"


def number(x: float | None) -> str:
    if x is None or x != x:
        return "–"
    return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}".replace("-", "−")


def plain(value: Any) -> Any:
    """JSON of anything, with every path cut to its last part."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    return re.sub(r"(?<![\w./:~])~?(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])*([^\s/\\'\"]+)", r"\1", str(value))


@dataclass(frozen=True)
class _Row:
    arm: str
    split: str
    task: str
    rate: Rate
    approach: Rate


@dataclass(frozen=True)
class _Compared:
    label: str
    a: str
    b: str
    rates: tuple[Rate, Rate]
    paired: Paired
    needed: int | None

    @property
    def sentence(self) -> str:
        p = self.paired
        what = f"{points(p.difference)} points [{points(p.low)}, {points(p.high)}], McNemar p = {p.p:.2g}, n = {p.n}"
        if p.told:
            return f"{self.b if p.difference > 0 else self.a} is better: {what}."
        more = f" About {self.needed} trials of each would tell a difference of this size." if self.needed else ""
        return f"Too few trials to tell: {what}.{more}"


def _compare(c: Comparison, a: Results, b: Results) -> _Compared | None:
    """On the task, split and seed that both have; None when there is none."""
    left, right = shared(a, b)
    if not left:
        return None
    ra, rb = Rate(sum(left), len(left)), Rate(sum(right), len(right))
    found = paired(left, right)
    needed = trials_to_tell(found, ra.value, rb.value)
    return _Compared(c.label or f"{c.a} against {c.b}", c.a, c.b, (ra, rb), found, needed)


class _Budget:
    """How many bytes of film the page may still take."""

    def __init__(self, left: int) -> None:
        self.left, self.left_out = left, 0

    def embed(self, film: Film) -> _Shown:
        video, poster = _data_uri(film.path, "video/mp4"), _data_uri(film.poster, "image/jpeg")
        size = (len(video) + len(poster)) * 3 // 4
        if size > self.left:
            self.left_out += 1
            return _Shown(film, "", "")
        self.left -= size
        return _Shown(film, video, poster)


@dataclass(frozen=True)
class _Shown:
    film: Film
    video: str
    poster: str

    @property
    def where(self) -> str:
        world = WORLDS.get(self.film.world, self.film.world)
        return f"{world}, {self.film.arm}" if self.film.arm and self.film.arm not in world else world

    @property
    def outcome(self) -> str:
        return {True: "success", False: "failed", None: "not judged"}[self.film.success]

    @property
    def alt(self) -> str:
        note = f" ({self.film.note})" if self.film.note else ""
        return f"Film of the robot asked to “{self.film.instruction}” in {self.where}: {self.outcome}{note}"


def _side_by_side(films: Sequence[Film], budget: _Budget) -> list[list[_Shown]]:
    """The films of one table in one row, simulation first."""
    rows: dict[tuple[Any, ...], list[Film]] = {}
    for i, f in enumerate(films):
        rows.setdefault((f.task, f.split, f.seed, f.instruction) if f.seed is not None else (i,), []).append(f)
    order = list(WORLDS)
    rank = lambda f: order.index(f.world) if f.world in order else len(order)  # noqa: E731
    return [[budget.embed(f) for f in sorted(row, key=rank)] for row in rows.values()]


def _shown(run: Deployment, budget: _Budget) -> tuple[Deployment, _Shown | None]:
    return run, None if run.film is None else budget.embed(run.film)


def _data_uri(path: Path, kind: str) -> str:
    try:
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise BadFile(
            f"film '{path}' cannot be read ({error.strerror}). Next: film it again, or leave it out"
        ) from error


def _paths(films: Sequence[Film]) -> str:
    drawn = [(f.tcp, f.success) for f in films if len(f.tcp)]
    return plots.trajectories(drawn) if drawn else ""


def _facts(s: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(number, what it counts) of a `data.inspect.summary`, or of any flat mapping."""
    known = {
        "episodes": lambda v: (f"{v:,}".replace(",", " "), "demonstrations"),
        "frames": lambda v: (f"{v:,}".replace(",", " "), f"frames at {s['fps']} Hz" if "fps" in s else "frames"),
        "seconds": lambda v: (f"{v / 60:.0f} min", "recorded"),
        "megabytes": lambda v: (f"{v} MB", "on disk"),
        "tasks": lambda v: (str(len(v)), "tasks") if isinstance(v, (list, tuple)) else (str(v), "tasks"),
        "success": lambda v: (percent(v), "of the demonstrations succeeded"),
    }
    if known.keys() & s.keys():
        return [make(s[k]) for k, make in known.items() if s.get(k) is not None]
    return [(str(plain(v)), str(k)) for k, v in s.items() if isinstance(v, (str, int, float))]


def _training_sentence(rows: Sequence[Mapping[str, float | None]]) -> str:
    last: dict[str, float] = {}
    for r in rows:
        last |= {k: v for k, v in r.items() if v is not None}
    said = [
        f"{last['step']:.0f} steps" if "step" in last else "",
        f"{number(last['minutes'])} minutes" if "minutes" in last else "",
    ]
    if "samples_per_s" in last:
        said.append(f"{last['samples_per_s']:.0f} samples a second")
    if "loader_share" in last:
        said.append(f"waiting for data {percent(last['loader_share'])} of the time")
    if "val_action" in last:
        said.append(f"held-out action error {number(last['val_action'])}")
    return " · ".join(s for s in said if s)


def _sections(d: ReportData) -> list[tuple[str, str]]:
    """(anchor, title) of the sections that are there."""
    have = {
        "steps": ("What wins it back", d.recovery is not None), "films": ("Films", bool(d.films)),
        "success": ("Success", bool(d.results)), "language": ("Language", bool(d.swap)),
        "twin": ("What was measured", bool(d.identified)), "deployment": ("Deployment", bool(d.deployments)),
        "training": ("Training", bool(d.training)), "data": ("Data", bool(d.data)),
        "again": ("Do it again", bool(d.commands or d.settings or d.machine)),
    }  # fmt: skip
    return [(anchor, title) for anchor, (title, there) in have.items() if there]


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return " ".join(found[1].split()) if found else platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
