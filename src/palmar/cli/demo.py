"""The main job: demonstrations → a policy → evaluation → what a reality takes, measured and won back → deployment → a report.

Each step is one call into the room that does it; this page is the documentation of the whole run.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmar.choices import Scale
from palmar.cli.demo_gap import BATCH, RATE, REALITY, Measured, measure, practices, practise
from palmar.cli.demo_page import closing, write_report
from palmar.console import Screen, keyboard, styled
from palmar.errors import BadFile
from palmar.files import write_text

if TYPE_CHECKING:
    from palmar.train.loop import TrainConfig

INSTRUCTIONS = ("pick up the red cube", "put the green ball on the blue plate", "push the yellow cylinder to the left")

MOST = 5
"""Instructions that are asked for at the keyboard."""


@dataclass(frozen=True)
class DemoConfig:
    """How much of everything. The defaults take less than ten minutes on two cores; from_scratch trains for 40 minutes more, after
    collecting for about as long.

    episodes, adapt_episodes: demonstrations collected first, and for each arm that practises. scratch_stills: tables that are
    only photographed (`data.stills`). steps, adapt_steps: of fine-tuning on each, so that neither a slow nor a busy machine
    changes a figure; scratch_minutes: of training instead, from scratch. trials: test tables per task, in simulation
    and for every arm in the reality; timeout: of a trial [s]. views: of the marker board. films: of trials, in simulation and in
    the reality. examples: how many of the example instructions are tried where nobody types any.
    """

    out: Path = Path("demo")
    from_scratch: bool = False
    instructions: tuple[str, ...] = ()
    force: bool = False
    episodes: int = 48
    steps: int = 100
    trials: int = 15
    wording_trials: int = 5
    adapt_episodes: int = 32
    adapt_steps: int = 120
    timeout: float = 10.0
    views: int = 15
    films: int = 3
    examples: int = 3
    scratch_episodes: int = 1500
    scratch_stills: int = 4800
    scratch_minutes: float = 40.0
    quick: bool = False

    def sized(self) -> DemoConfig:
        """A tenth of everything when quick."""
        if not self.quick:
            return self
        return replace(
            self, episodes=12, steps=20, trials=1, wording_trials=1, adapt_episodes=5, adapt_steps=20, views=10,
            films=1, examples=1, scratch_episodes=16, scratch_stills=16, scratch_minutes=0.4,
        )  # fmt: skip


@dataclass
class Story:
    """What happened so far: seconds of each step, and the figures that go into the report."""

    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Found:
    """What the steps hand on: the plain policy and those that practised, results, what was measured, what it came to, and the
    deployments of the best, whose step is `name`."""

    policy: Path
    practised: dict[str, Path]
    sim: Any
    words: Any
    measured: Measured
    recovery: Any
    best: Path
    name: str
    runs: list[Any] = field(default_factory=list)


def demo(config: DemoConfig, console: Screen) -> tuple[int, dict[str, Any]]:
    """Run it all. Returns the exit code and every figure. Raises `BadFile` when `out` is taken and not to be replaced."""
    from palmar.eval.recovery import Arm, Recovery

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
    with step(console, story, "Meet reality", f"the same tables in {REALITY}, whose parameters are hidden"):
        arms = [Arm("plain policy, reality", evaluate_reality(config, policy, "plain"))]
    with step(
        console, story, "Measure", "diagnostic motions for the dynamics, a marker board for camera and joint zeros"
    ):
        measured = measure(config)
    with step(
        console, story, "Practise", "in simulation with what was measured, beside a control with nothing measured"
    ):
        practised = practise(config, policy, measured, partial(_train, normalizer="new"))
    with step(console, story, "Meet reality again", "every arm on the same tables"):
        for arm, (what, _) in practices(measured).items():
            arms.append(Arm(what, evaluate_reality(config, practised[arm], arm)))
    recovery = Recovery(sim, arms)
    best, name = best_of(policy, practised, arms)
    found = Found(policy, practised, sim, words, measured, recovery, best, name)
    with step(console, story, "Deploy", "in that reality, in real time, behind the safety layer"):
        found.runs = deploy_typed(config, best, console)
    with step(console, story, "Report", "one page with everything"):
        story.figures = figures_of(config, story, found)
        page = write_report(config, story, found)
    story.figures["seconds_total"] = time.perf_counter() - began
    write_text(config.out / "figures.json", json.dumps(story.figures, indent=1))
    console.print(closing(config, story, found, page))
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
    from palmar.policy import shipped
    from palmar.train.loop import TrainConfig

    if config.from_scratch:
        length = TrainConfig(minutes=config.scratch_minutes, lr=1e-3, batch_size=BATCH)
        return _train(config.out / "policy", data, length, None)
    length = TrainConfig(steps=config.steps, lr=RATE, batch_size=BATCH)
    return _train(config.out / "policy", data, length, shipped())


def evaluate_sim(config: DemoConfig, policy: Path) -> tuple[Any, Any]:
    from palmar.lab.suite import EvalConfig, evaluate

    sim = evaluate(EvalConfig(str(policy), config.trials, timeout=config.timeout), note="new tables")
    asked = EvalConfig(str(policy), config.wording_trials, splits=("wording", "pair"), timeout=config.timeout)
    words = evaluate(asked, note="new words, new pairs")
    return sim, words


def evaluate_reality(config: DemoConfig, policy: Path, which: str) -> Any:
    from palmar.lab.suite import EvalConfig, evaluate

    tried = EvalConfig(str(policy), config.trials, world=REALITY, timeout=config.timeout)
    return evaluate(tried, note=f"reality, {which}")


def best_of(policy: Path, practised: dict[str, Path], arms: list[Any]) -> tuple[Path, str]:
    """The policy that won most tables in reality, of equal ones that with most steps, and its step in words."""
    policies = [policy, *practised.values()]
    k = max(range(len(arms)), key=lambda i: (arms[i].results.rate().successes, i))
    return policies[k], arms[k].step


def deploy_typed(config: DemoConfig, policy: Path, console: Screen) -> list[Any]:
    from palmar.cli.live import run
    from palmar.cli.runs import RunConfig
    from palmar.errors import UserError

    runs = []
    for i, text in enumerate(_wanted(config, console)):
        try:
            runs.append(
                run(RunConfig(text, str(policy), world=REALITY, seed=i, video=config.out / f"run-{i}.mp4"), console)
            )
        except UserError as error:
            console.print(styled("[yellow]{}", error))
    return runs


def figures_of(config: DemoConfig, story: Story, found: Found) -> dict[str, Any]:
    return {
        "config": json.loads(json.dumps(asdict(config), default=str)) | {"reality": REALITY},
        "sim": found.sim.to_dict(), "words": found.words.to_dict(),
        "reality": {a.step: a.results.to_dict() for a in found.recovery.arms}, "recovery": found.recovery.to_dict(),
        "identified": json.loads(found.measured.dynamics.to_json()), "calibrated": json.loads(found.measured.camera.to_json()),
        "deployed": found.name, "runs": [r.to_dict() for r in found.runs], "seconds": story.seconds,
    }  # fmt: skip


@contextmanager
def step(console: Screen, story: Story, title: str, what: str) -> Iterator[None]:
    console.print(styled("\n[bold]{}. {}[/] [dim]{}[/]", len(story.seconds) + 1, title, what))
    began = time.perf_counter()
    yield
    story.seconds[title] = time.perf_counter() - began
    console.print(styled("[dim]   {} s[/]", f"{story.seconds[title]:.0f}"))


def _train(out: Path, data: list[Path], config: TrainConfig, init: Path | None, normalizer: Scale = "check") -> Path:
    """normalizer: "new" where joint zeros that are off make states which the one of `init` never saw."""
    from palmar.data.reader import Dataset
    from palmar.models.presets import palmar_tiny
    from palmar.sim.instructions import paraphrases
    from palmar.train.loop import TrainRequest, train

    sets = [Dataset(d) for d in data]
    request = TrainRequest(
        palmar_tiny(), sets, config, embodiment=sets[0].robot_type or "", init=init,
        normalizer=normalizer, paraphrases=paraphrases,
    )  # fmt: skip
    return train(request, out)


def _wanted(config: DemoConfig, console: Screen) -> tuple[str, ...]:
    """What the user typed; the three examples when nobody is at a keyboard."""
    if config.instructions:
        return config.instructions
    if keyboard() is None or not console.is_terminal:
        return INSTRUCTIONS[: config.examples]
    console.print(
        styled(
            "Type what the robot shall do, one instruction a line, {} at most; an empty line goes on (alone: examples).",
            MOST,
        )
    )
    typed: list[str] = []
    while len(typed) < MOST and (text := console.input("› ").strip()):
        typed.append(text)
    return tuple(typed) or INSTRUCTIONS[: config.examples]


def _clear(config: DemoConfig) -> None:
    if config.out.exists() and any(config.out.iterdir()):
        demo = (config.out / ".palmar-demo").exists()
        if not (config.force and demo):
            what, way = ("holds a demo", ", or --force to replace it") if demo else ("is not empty, and no demo's", "")
            raise BadFile(f"'{config.out}' {what}. Next: --out elsewhere{way}")
        shutil.rmtree(config.out)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / ".palmar-demo").touch()
