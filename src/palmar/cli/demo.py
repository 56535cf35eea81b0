"""The main job: demonstrations → a policy → evaluation → the gap to a reality twin, measured and narrowed → deployment → a report.

Each step is one call into the room that does it; this page is the documentation of the whole run.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.text import Text

from palmar.console import Screen, keyboard, styled
from palmar.errors import BadFile
from palmar.files import write_text

TWIN = "twin:0"
INSTRUCTIONS = ("pick up the red cube", "put the green ball on the blue plate", "push the yellow cylinder to the left")


@dataclass(frozen=True)
class DemoConfig:
    """How much of everything. The defaults take about seven minutes on two cores; from_scratch trains for 40 minutes more, after
    collecting for about as long.

    episodes, adapt_episodes: demonstrations collected first, and in the identified simulator. scratch_stills: tables that are
    only photographed (`data.stills`). minutes, adapt_minutes: of
    fine-tuning on each. trials: test tables per task in simulation and in the twin.
    """

    out: Path = Path("demo")
    from_scratch: bool = False
    instructions: tuple[str, ...] = ()
    force: bool = False
    episodes: int = 80
    minutes: float = 1.0
    trials: int = 25
    wording_trials: int = 8
    adapt_episodes: int = 60
    adapt_minutes: float = 1.0
    scratch_episodes: int = 1500
    scratch_stills: int = 4800
    scratch_minutes: float = 40.0
    quick: bool = False

    def sized(self) -> DemoConfig:
        """A tenth of everything when quick."""
        if not self.quick:
            return self
        return replace(
            self, episodes=12, minutes=0.15, trials=2, wording_trials=1, adapt_episodes=8, adapt_minutes=0.15,
            scratch_episodes=16, scratch_stills=16, scratch_minutes=0.4,
        )  # fmt: skip


@dataclass
class Story:
    """What happened so far: seconds of each step, and the figures that go into the report."""

    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Found:
    """What the steps hand on: checkpoints (best: the one deployed), results, the identification and the deployments."""

    policy: Path
    adapted: Path
    best: Path
    sim: Any
    words: Any
    before: Any
    after: Any
    identified: Any
    runs: list[Any]


def demo(config: DemoConfig, console: Screen) -> tuple[int, dict[str, Any]]:
    """Run it all. Returns the exit code and every figure. Raises `BadFile` when `out` is taken and not to be replaced."""
    config = config.sized()
    _clear(config)
    story, began = Story(), time.perf_counter()

    with step(console, story, "Collect demonstrations", "a scripted expert in randomised simulation"):
        data = collect_demos(config)
    with step(
        console, story, "Train", "from scratch" if config.from_scratch else "start from the shipped weights, fine-tune"
    ):
        policy = train_policy(config, data)
    with step(console, story, "Evaluate in simulation", "tables and sentences it has never seen"):
        sim, words = evaluate_sim(config, policy)
    with step(console, story, "Meet reality", "the same tables in a twin with hidden parameters"):
        before = evaluate_twin(config, policy, "before")
    with step(console, story, "Identify the twin", "diagnostic motions, least squares, intervals"):
        identified = identify_twin(config)
    with step(console, story, "Narrow the gap", "practise in the identified simulator"):
        adapted = adapt(config, policy, identified)
        after = evaluate_twin(config, adapted, "after")
    best = adapted if _wins(after) >= _wins(before) else policy
    with step(console, story, "Deploy", "in real time, behind the safety layer"):
        runs = deploy_typed(config, best, console)
    with step(console, story, "Report", "one page with everything"):
        found = Found(policy, adapted, best, sim, words, before, after, identified, runs)
        story.figures = figures_of(config, story, found)
        page = write_report(config, story, found)
    story.figures["seconds_total"] = time.perf_counter() - began
    write_text(config.out / "figures.json", json.dumps(story.figures, indent=1))
    console.print(closing(config, story, found, page, best))
    return 0, story.figures


def collect_demos(config: DemoConfig) -> list[Path]:
    """The demonstrations; from scratch also stills, because a thousand tables are too few to tell a ball from a cylinder."""
    from palmar.lab.collect import CollectConfig, collect
    from palmar.lab.stills import StillsConfig, collect_stills

    n = config.scratch_episodes if config.from_scratch else config.episodes
    data = [collect(config.out / "data", CollectConfig(episodes=n, seed=500_000)).root]
    if config.from_scratch:
        data.append(collect_stills(config.out / "stills", StillsConfig(config.scratch_stills, seed=550_000)).root)
    return data


def train_policy(config: DemoConfig, data: list[Path]) -> Path:
    if config.from_scratch:
        return _train(config.out / "policy", data, config.scratch_minutes, None, lr=1e-3)
    from palmar.policy import shipped

    return _train(config.out / "policy", data, config.minutes, shipped(), lr=1e-4)


def evaluate_sim(config: DemoConfig, policy: Path) -> tuple[Any, Any]:
    from palmar.lab.suite import EvalConfig, evaluate

    sim = evaluate(EvalConfig(str(policy), config.trials), note="new tables")
    words = evaluate(
        EvalConfig(str(policy), config.wording_trials, splits=("wording", "pair")), note="new words, new pairs"
    )
    return sim, words


def evaluate_twin(config: DemoConfig, policy: Path, when: str) -> Any:
    from palmar.lab.suite import EvalConfig, evaluate

    return evaluate(EvalConfig(str(policy), config.trials, world=TWIN), note=f"twin, {when}")


def identify_twin(config: DemoConfig) -> Any:
    from palmar.sim.reality import twin as reality_twin
    from palmar.sim.world import World
    from palmar.transfer.diagnose import diagnose, table
    from palmar.transfer.sysid import identify

    twin = World(images=False, reality=reality_twin(0))
    twin.load(table())
    found = identify(diagnose(twin))
    write_text(config.out / "identified.json", found.to_json())
    return found


def adapt(config: DemoConfig, policy: Path, identified: Any) -> Path:
    """Practise where the identified dynamics hold and everything else is still randomised; keep the first demonstrations."""
    from palmar.lab.collect import CollectConfig, collect

    practice = CollectConfig(config.adapt_episodes, seed=600_000, randomization=identified.randomization(0.7))
    data = collect(config.out / "data-identified", practice).root
    return _train(config.out / "policy-adapted", [config.out / "data", data], config.adapt_minutes, policy, lr=1e-4)


def deploy_typed(config: DemoConfig, policy: Path, console: Screen) -> list[Any]:
    from palmar.cli.live import run
    from palmar.cli.runs import RunConfig
    from palmar.errors import UserError

    runs = []
    for i, text in enumerate(_wanted(config, console)):
        try:
            runs.append(run(RunConfig(text, str(policy), seed=i, video=config.out / f"run-{i}.mp4"), console))
        except UserError as error:
            console.print(styled("[yellow]{}", error))
    return runs


def figures_of(config: DemoConfig, story: Story, found: Found) -> dict[str, Any]:
    from palmar.eval.stats import paired

    gap = paired([t.success for t in found.before.trials], [t.success for t in found.after.trials])
    return {
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "sim": found.sim.to_dict(), "words": found.words.to_dict(),
        "twin_before": found.before.to_dict(), "twin_after": found.after.to_dict(), "twin_change": asdict(gap),
        "identified": json.loads(found.identified.to_json()), "runs": [r.to_dict() for r in found.runs],
        "seconds": story.seconds,
    }  # fmt: skip


def write_report(config: DemoConfig, story: Story, found: Found) -> Path:
    """One page with everything, films included."""
    from palmar.data.inspect import summary
    from palmar.data.reader import Dataset
    from palmar.eval.plots import Identified
    from palmar.eval.report import Comparison, Deployment, Machine, Number, Report, ReportData
    from palmar.lab.film import side_by_side, telling
    from palmar.lab.suite import EvalConfig
    from palmar.sim.params import SPACE
    from palmar.sim.reality import hidden

    films = side_by_side({"": EvalConfig(str(found.policy))}, telling(found.sim, 4), config.out / "films")
    arms = {"before": EvalConfig(str(found.policy), world=TWIN), "after": EvalConfig(str(found.adapted), world=TWIN)}
    films += side_by_side(arms, telling(found.before, 2), config.out / "films")
    truth = hidden(0)
    identified = [
        Identified(
            n,
            e.value,
            e.low,
            e.high,
            e.unit,
            e.identified,
            truth[n],
            SPACE[n].nominal,
            (SPACE[n].low, SPACE[n].high),
            e.note,
        )
        for n, e in found.identified.estimates.items()
    ]
    runs = [
        Deployment(
            r.instruction,
            r.success,
            r.done,
            r.seconds,
            r.timing,
            r.safety,
            round(r.timing["ticks"]),
            r.mode,
            r.reason,
            film=r.film,
        )
        for r in found.runs
    ]
    data = ReportData(
        title="palmar demo",
        subtitle="demonstrations → training → a reality twin → identification → deployment",
        summary=(
            *BEGINNING[config.from_scratch],
            "Then it met a reality twin: the same tables in a simulator with other light, camera, colours, friction, delays "
            "and noise than it was told of, plus effects its own simulator does not model. "
            "Diagnostic motions identified the twin's dynamics, it practised some more with these, and met the twin again "
            f"on the same tables: that {_verdict(story)}. There is no control arm here: practice without the identified "
            "parameters might have done the same. And it is one twin: the intervals are over tables, not over realities.",
            f"Last the policy from {'after' if found.best == found.adapted else 'before'} that practice, which won more of the "
            "twin's tables, did what was typed, in real time: the controller ticks at 50 Hz whatever the policy does, and every "
            "command passes the safety layer.",
        ),
        numbers=(
            Number("new tables, simulation", rate=found.sim.rate()),
            Number("new sentences", rate=found.words.rate(split="wording")),
            Number("new colour-object pairs", rate=found.words.rate(split="pair")),
            Number("reality twin, before", rate=found.before.rate()),
            Number("reality twin, after", rate=found.after.rate()),
        ),
        films=films,
        results={
            "simulation": found.sim,
            "new words": found.words,
            "twin, before": found.before,
            "twin, after": found.after,
        },
        comparisons=(Comparison("twin, before", "twin, after", "practice in the identified simulator"),),
        training={"policy": found.policy / "metrics.jsonl", "adapted": found.adapted / "metrics.jsonl"},
        data={"demonstrations": summary(Dataset(config.out / "data", cache=False))},
        identified=identified,
        deployments=runs,
        seconds=story.seconds,
        settings=story.figures["config"],
        commands=(
            ("make demo", "this page again"),
            (f"palmar eval --policy {found.policy} --episodes 50", "more trials"),
            (f'palmar run "pick up the red cube" --policy {found.policy}', "another instruction"),
        ),
        machine=Machine.here(),
    )
    return Report(data).save(config.out / "report.html")


BEGINNING = {
    False: (
        "A scripted expert showed four tasks on randomised tables; the weights that ship with palmar were fine-tuned on that "
        "and evaluated on tables, sentences and colour-object pairs that are in no training set.",
    ),
    True: (
        "A scripted expert showed four tasks on randomised tables; a policy was trained on that from nothing and evaluated on "
        "tables, sentences and colour-object pairs that are in no training set.",
    ),
}


def closing(config: DemoConfig, story: Story, found: Found, page: Path, policy: Path) -> Panel:
    rates = {
        "New tables in simulation": found.sim.rate(),
        "New sentences": found.words.rate(split="wording"),
        "New colour-object pairs": found.words.rate(split="pair"),
        "In the reality twin": found.before.rate(),
        "… after identification": found.after.rate(),
    }
    lines = [
        *(styled("{}[bold]{}[/]", f"{what:<28}", rate) for what, rate in rates.items()),
        f"Practice in the identified simulator {_verdict(story)}.",
        "",
        f"Report   {page}",
        f'Policy   {policy}    again: palmar run "pick up the red cube" --policy {policy}',
        f"Data     {config.out / 'data'}    look: palmar inspect {config.out / 'data'}",
        f"Took {story.figures['seconds_total'] / 60:.1f} minutes.",
    ]
    return Panel(Text("\n").join(styled("{}", line) for line in lines), title="palmar demo", expand=False)


def _verdict(story: Story) -> str:
    change = story.figures["twin_change"]
    if change["p"] >= 0.05:
        return f"made no difference that {change['n']} paired trials can tell (p = {change['p']:.2f})"
    better = change["difference"] > 0
    return f"{'helped' if better else 'made it worse'} (p = {change['p']:.3f})"


@contextmanager
def step(console: Screen, story: Story, title: str, what: str) -> Iterator[None]:
    console.print(styled("\n[bold]{}. {}[/] [dim]{}[/]", len(story.seconds) + 1, title, what))
    began = time.perf_counter()
    yield
    story.seconds[title] = time.perf_counter() - began
    console.print(styled("[dim]   {} s[/]", f"{story.seconds[title]:.0f}"))


def _train(out: Path, data: list[Path], minutes: float, init: Path | None, lr: float) -> Path:
    from palmar.data.reader import Dataset
    from palmar.models.presets import palmar_tiny
    from palmar.sim.instructions import paraphrases
    from palmar.train.loop import TrainConfig, TrainRequest, train

    sets = [Dataset(d) for d in data]
    config = TrainConfig(minutes=minutes, lr=lr, batch_size=64)
    robot = sets[0].robot_type or ""
    return train(TrainRequest(palmar_tiny(), sets, config, embodiment=robot, paraphrases=paraphrases, init=init), out)


def _wanted(config: DemoConfig, console: Screen) -> tuple[str, ...]:
    """What the user typed; the three examples when nobody is at a keyboard."""
    if config.instructions:
        return config.instructions
    if keyboard() is None or not console.is_terminal:
        return INSTRUCTIONS
    console.print(
        "Type what the robot shall do, one instruction a line; an empty line goes on (alone: three examples)."
    )
    typed: list[str] = []
    while (text := console.input("› ").strip()) and len(typed) < 5:
        typed.append(text)
    return tuple(typed) or INSTRUCTIONS


def _wins(results: Any) -> int:
    return sum(t.success for t in results.trials)


def _clear(config: DemoConfig) -> None:
    if config.out.exists() and any(config.out.iterdir()):
        demo = (config.out / ".palmar-demo").exists()
        if not (config.force and demo):
            what, way = ("holds a demo", ", or --force to replace it") if demo else ("is not empty, and no demo's", "")
            raise BadFile(f"'{config.out}' {what}. Next: --out elsewhere{way}")
        shutil.rmtree(config.out)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / ".palmar-demo").touch()
