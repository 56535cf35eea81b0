"""Questions about how to train, each answered by training on the same data for as many steps, and testing on the same tables.

    stages        does the three-stage recipe beat one stage? from nothing, and from a policy that knows other tasks
    mixing        robot frames only, half questions about pictures, or a fifth: action accuracy and language retention
    temperature   T = 0.5, 1, 2, 5, infinity on 240 reaches, 60 picks and 20 pushes: success and held-out error of each task
    dagger        practice with an expert's labels against as many more labels of the expert's own driving, paired

    python studies/recipes.py all --out runs/recipes            an hour and a half on one core
    python studies/recipes.py stages --out runs/recipes --quick minutes: to see that it runs, not to believe the figures

What was trained and tested already is taken from --out; the figures of a study are in OUT/STUDY.json, drawn in OUT/STUDY.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from palmar.data.mixture import Mixture
from palmar.data.reader import Dataset
from palmar.data.webdata import WebData
from palmar.eval import plots
from palmar.eval.results import Results, shared
from palmar.eval.rows import read_rows
from palmar.eval.stats import Rate, paired
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.questions import WebConfig, make
from palmar.lab.suite import EvalConfig, evaluated
from palmar.models import checkpoint
from palmar.models.presets import preset
from palmar.sim.instructions import paraphrases
from palmar.train.dagger import Dagger, dagger, in_simulation
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig, train
from palmar.train.recipe import Recipe, Stage, one_stage, three_stage
from palmar.train.track import METRICS

Row = dict[str, Any]
NANO = "palmar-nano"  # so that minutes of one core are enough


@dataclass(frozen=True)
class Lab:
    """Where studies keep what they make. steps: of training, each arm, batches of 64. trials: test tables of each task.
    size: of the data, 1 for what the module's head says."""

    out: Path
    steps: int = 800
    trials: int = 100
    size: float = 1.0

    def demos(self, name: str, episodes: int, tasks: Sequence[str], seed: int) -> Dataset:
        config = CollectConfig(max(4, round(self.size * episodes)), tuple(tasks), seed)
        return Dataset(collect(self.out / "data" / name, config, resume=True).root)

    def web(self) -> WebData:
        folder = self.out / "data" / "web"
        return WebData(folder) if folder.exists() else make(folder, WebConfig(max(20, round(self.size * 500))))

    def trained(self, name: str, data: Sequence[Dataset], model: str = NANO, steps: int = 0, **more: Any) -> Path:
        """A checkpoint, trained unless it is there."""
        print(name)
        config = TrainConfig(steps=steps or self.steps, batch_size=64, validate=8, validation=0.08)
        where = self.out / name
        return train(
            preset(model), data, where, config, embodiment="arm7", paraphrases=paraphrases, resume=True, **more
        )

    def tested(self, policy: Path, tasks: Sequence[str], timeout: float = 10.0) -> Results:
        """Success on new tables within `timeout` [s], tested unless the results are there; the expert needs 2 to 8."""
        config = EvalConfig(str(policy), self.trials, tuple(tasks), seed=4000, timeout=timeout)
        return evaluated(config, policy / "results.json", policy.name)


def curve(policy: Path, name: str) -> list[float]:
    """A logged value over the validations of a run."""
    return [r[name] for r in read_rows(policy / METRICS) if r.get(name) is not None]


@torch.no_grad()
def error(policy: Path, data: Dataset) -> float:
    """Mean absolute error of the actions, in the standard deviations of what the policy was trained on."""
    mine = checkpoint.load(policy)
    feed = Feed([data], mine.interface.horizon, validation=0.0, max_tokens=mine.model.config.max_tokens)
    errors = []
    for part in np.array_split(feed.training, max(1, len(feed.training) // 128)):
        batch = feed.tensors(
            feed.plain(part), mine.normalizers["state"], mine.normalizers["action"], np.ones(len(data.action_names))
        )
        errors.append(float(mine.model.loss(batch)[1]["action"]))
    return float(np.mean(errors))


# ---------------------------------------------------------------------------------------------------- the studies


def stages(lab: Lab) -> list[Row]:
    """Three-stage's rates (1e-3, 2e-5, 1e-5) are made for a pretrained model; so both begin from nothing and from a policy
    that learned two other tasks. Stability: how far the held-out error rose above its lowest by the end, in percent."""
    others = lab.demos("pick-push", 200, ("pick", "push"), 720_000)
    data = [lab.demos("reach", 240, ("reach",), 710_000)]
    base = lab.trained("stages-base", [others])
    rows = []
    for name, recipe, init in (
        ("one-stage, from nothing", one_stage(), None),
        ("three-stage, from nothing", three_stage(), None),
        ("one-stage, from other tasks", one_stage(), base),
        ("three-stage, from other tasks", three_stage(), base),
    ):
        folder = "stages-" + name.replace(",", "").replace(" ", "-")
        policy = lab.trained(folder, data, recipe=recipe, init=init)
        held, jitter = curve(policy, "val_action"), curve(policy, "val_jitter")
        rows.append({
            "arm": name, "success": lab.tested(policy, ("reach",)).rate(), "held-out error": held[-1],
            "rise, %": 100 * (held[-1] / min(held) - 1), "jitter": jitter[-1],
        })  # fmt: skip
    return rows


def mixing(lab: Lab) -> list[Row]:
    """rt2-tiny, from a model that mostly answered questions, goes on with three mixtures. Retention: held-out questions
    answered; guessing answers `chance` of them. Success is not asked for: no arm drives well after so few steps."""
    web, data, steps = lab.web(), [lab.demos("reach", 240, ("reach",), 710_000)], max(8, lab.steps // 8)

    def mixed(share: float) -> Recipe:
        return Recipe(f"web {share:g}", (Stage("mix", data=Mixture(temperature=1.0, web=share)),))

    base = lab.trained("mixing-base", data, "rt2-tiny", 4 * steps, recipe=mixed(0.9), web=web)
    arms = {"where they begin": base}
    for name, share in (("robot only", 0.0), ("robot and web 80/20", 0.2), ("robot and web 50/50", 0.5)):
        arms[name] = lab.trained(f"mixing-{share:g}", data, "rt2-tiny", steps, recipe=mixed(share), web=web, init=base)
    asked = min(128, len(web.held_out))
    return [
        {
            "arm": name, "held-out error": curve(p, "val_action")[-1], "chance": web.chance,
            "retention": Rate(round(asked * curve(p, "val_language")[-1]), asked),
        }
        for name, p in arms.items()
    ]  # fmt: skip


def temperature(lab: Lab) -> list[Row]:
    """p(task) ∝ frames^(1/T). Held-out errors are of 20 episodes of each task that no arm trains on."""
    sizes = {"reach": 240, "pick": 60, "push": 20}
    data = [lab.demos(f"t-{task}", n, (task,), 730_000 + 5000 * i) for i, (task, n) in enumerate(sizes.items())]
    held = {task: lab.demos(f"held-{task}", 20, (task,), 760_000 + 5000 * i) for i, task in enumerate(sizes)}
    rows = []
    for t in (0.5, 1.0, 2.0, 5.0, float("inf")):
        plan = Recipe("temperature", (Stage("all", data=Mixture(temperature=t)),))
        policy = lab.trained(f"temperature-{t:g}", data, recipe=plan)
        results = lab.tested(policy, tuple(sizes))
        succeeded = {task: results.rate(task=task) for task in sizes}
        rows.append({"arm": f"T = {t:g}"} | succeeded | {f"{k} held-out": error(policy, d) for k, d in held.items()})
    return rows


def practice(lab: Lab) -> list[Row]:
    """Both begin from one policy and train three rounds of as many steps; each round adds labels: of what the expert says while
    the learner drives (β = 0), or of more demonstrations, until there are as many frames."""
    tasks, rounds, episodes = ("reach",), 3, max(4, round(60 * lab.size))
    first = lab.demos("first", 60, tasks, 740_000)
    config = TrainConfig(steps=lab.steps // 2, batch_size=64, validation=0.0)
    plan = Dagger(rounds, episodes, beta=0.0, fall="none", seed=750_000)
    more: Row = {"embodiment": "arm7", "paraphrases": paraphrases}
    gone = dagger(preset(NANO), [first], lab.out / "dagger", config, plan, in_simulation(tasks), **more)

    def as_many(out: Path, driver: Path, beta: float, seed: int, wanted: int) -> Dataset:
        """Demonstrations of the expert, until they hold as many frames as that round of practice."""
        frames = len(Dataset(lab.out / "dagger" / out.name, cache=False))
        while True:
            data = Dataset(collect(out, CollectConfig(wanted, tasks, seed + 100_000), resume=True, progress=False).root)
            if len(data) >= frames:
                return data
            wanted += max(1, round((frames - len(data)) * len(data.episodes) / len(data)))

    cloned = dagger(preset(NANO), [first], lab.out / "cloning", config, plan, as_many, **more)
    rows = []
    for a, b in zip(cloned, gone, strict=True):
        left, right = (lab.tested(r.checkpoint, tasks, timeout=20.0) for r in (a, b))
        p = paired(*shared(left, right))
        rows.append({
            "arm": f"round {a.number}", "cloning": left.rate(), "cloning frames": a.frames,
            "DAgger": right.rate(), "DAgger frames": b.frames,
            "difference": f"{100 * p.difference:+.0f} points [{100 * p.low:+.0f}, {100 * p.high:+.0f}], p = {p.p:.3f}",
        })  # fmt: skip
    return rows


STUDIES: dict[str, Callable[[Lab], list[Row]]] = {
    "stages": stages, "mixing": mixing, "temperature": temperature, "dagger": practice,
}  # fmt: skip


def rates(rows: Sequence[Row], name: str) -> dict[str, Rate]:
    return {row["arm"]: row[name] for row in rows}


def over_temperature(rows: Sequence[Row]) -> str:
    tasks = [k for k, v in rows[0].items() if isinstance(v, Rate)]
    series = {task: [(float(i), row[task]) for i, row in enumerate(rows)] for task in tasks}
    ticks = {float(i): row["arm"].removeprefix("T = ").replace("inf", "∞") for i, row in enumerate(rows)}
    return plots.trend(series, "Success by sampling temperature", "temperature T of p ∝ n^(1/T)", ticks)


def over_labels(rows: Sequence[Row]) -> str:
    series = {arm: [(row[f"{arm} frames"], row[arm]) for row in rows] for arm in ("DAgger", "cloning")}
    return plots.trend(series, "Success by labels", "labelled frames")


FIGURES: dict[str, Callable[[Sequence[Row]], str]] = {
    "stages": lambda rows: plots.success({"reach": rates(rows, "success")}, "Success by recipe"),
    "mixing": lambda rows: plots.success({"answered": rates(rows, "retention")}, "Held-out questions answered"),
    "temperature": over_temperature,
    "dagger": over_labels,
}


def show(console: Console, name: str, rows: Sequence[Row]) -> None:
    table = Table(*rows[0], title=name)
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=[*STUDIES, "all"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=Lab.steps)
    parser.add_argument("--trials", type=int, default=Lab.trials, help="per task")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    lab, console = Lab(given.out, given.steps, given.trials), Console()
    if given.quick:
        lab = replace(lab, steps=24, trials=2, size=0.05)
    lab.out.mkdir(parents=True, exist_ok=True)
    for name in STUDIES if "all" in given.studies else given.studies:
        rows = STUDIES[name](lab)
        show(console, name, rows)
        about = asdict(lab) | {"out": str(lab.out)}
        (lab.out / f"{name}.json").write_text(
            json.dumps({"study": about, "rows": rows}, indent=1, default=Rate.to_dict)
        )
        (lab.out / f"{name}.svg").write_text(FIGURES[name](rows))


if __name__ == "__main__":  # collect and evaluate start a process for each core
    main()
