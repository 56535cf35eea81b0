"""Questions about how to train, each answered by training from the same data for the same minutes, and testing on the same tables.

    stages        does the three-stage recipe beat one stage? from nothing, and from a policy that knows other tasks
    mixing        robot frames only, half questions about pictures, or a fifth: action accuracy and language retention
    temperature   T = 0.5, 1, 2, 5, infinity on 240 reaches, 60 picks and 15 pushes: success and held-out error of each task
    dagger        practice with an expert's labels against as many more labels of the expert's own driving, paired

    python studies/recipes.py all --out runs/recipes            about two hours on one core
    python studies/recipes.py stages --out runs/recipes --quick minutes: to see that it runs, not to believe the figures

What was trained and tested already is taken from --out; the figures of a study are in OUT/STUDY.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from palmar.data.collect import CollectConfig, collect
from palmar.data.mixture import Mixture
from palmar.data.reader import Dataset
from palmar.data.webdata import WebConfig, WebData, make
from palmar.eval.stats import paired
from palmar.eval.suite import EvalConfig, Results, evaluate, shared
from palmar.models.presets import preset
from palmar.sim.instructions import paraphrases
from palmar.train.dagger import Dagger, dagger, in_simulation
from palmar.train.loop import METRICS, TrainConfig, train
from palmar.train.recipe import Recipe, Stage, one_stage, three_stage

Row = dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """Where studies keep what they make. minutes: of training, each arm. trials: test tables of each task. size: of data."""

    out: Path
    minutes: float = 4.0
    trials: int = 50
    size: float = 1.0

    def demos(self, name: str, episodes: int, tasks: Sequence[str], seed: int) -> Dataset:
        config = CollectConfig(max(4, round(self.size * episodes)), tuple(tasks), seed)
        return Dataset(collect(self.out / "data" / name, config, resume=True).root)

    def web(self) -> WebData:
        folder = self.out / "data" / "web"
        return WebData(folder) if folder.exists() else make(folder, WebConfig(max(20, round(self.size * 500))))

    def trained(
        self, name: str, model: str, data: Sequence[Dataset], minutes: float | None = None, **more: Any
    ) -> Path:
        """A checkpoint, trained unless it is there."""
        config = TrainConfig(
            minutes=minutes or self.minutes, batch_size=64, lr=more.pop("lr", 1e-3), validate=8, validation=0.08
        )
        print(name)
        return train(
            preset(model),
            data,
            self.out / name,
            config,
            embodiment="arm7",
            paraphrases=paraphrases,
            resume=True,
            **more,
        )

    def tested(self, policy: Path, tasks: Sequence[str]) -> Results:
        """Success on new tables, tested unless the results are there."""
        kept = policy / "results.json"
        if not kept.exists():
            evaluate(EvalConfig(str(policy), self.trials, tuple(tasks), seed=4000), note=policy.name).save(kept)
        return Results.load(kept)


def curve(policy: Path, name: str) -> list[float]:
    """A logged value over the validations of a run."""
    rows = [json.loads(line) for line in (policy / METRICS).read_text().splitlines()]
    return [r[name] for r in rows if r.get(name) is not None]


def rates(results: Results) -> Row:
    """Success of all and of each task, with intervals."""
    tasks = dict.fromkeys(t.task for t in results.trials)
    return {"success": str(results.rate())} | {k: str(results.rate(task=k)) for k in tasks}


# ---------------------------------------------------------------------------------------------------- the studies


def stages(lab: Lab) -> list[Row]:
    """Three-stage's rates (1e-3, 2e-5, 1e-5) are made for a pretrained model; so both begin from nothing and from a policy
    that learned two other tasks. Stability: how far the held-out error rose above its lowest by the end, in percent."""
    others = lab.demos("place-push", 200, ("place", "push"), 720_000)
    data = [lab.demos("reach-pick", 400, ("reach", "pick"), 710_000)]
    base = lab.trained("stages-base", "palmar-tiny", [others], 1.5 * lab.minutes)
    rows = []
    for name, recipe, init in (
        ("one-stage, from nothing", one_stage(), None),
        ("three-stage, from nothing", three_stage(), None),
        ("one-stage, from other tasks", one_stage(), base),
        ("three-stage, from other tasks", three_stage(), base),
    ):
        policy = lab.trained(
            "stages-" + name.replace(",", "").replace(" ", "-"), "palmar-tiny", data, recipe=recipe, init=init
        )
        error = curve(policy, "val_action")
        rows.append(
            {"arm": name}
            | rates(lab.tested(policy, ("reach", "pick")))
            | {
                "held-out error": error[-1],
                "rise": 100 * (error[-1] / min(error) - 1),
                "jitter": curve(policy, "val_jitter")[-1],
            }
        )
    return rows


def mixing(lab: Lab) -> list[Row]:
    """rt2-tiny, from a model that mostly answered questions, goes on with three mixtures. Retention: held-out questions answered;
    guessing answers `chance` of them. Success is not asked for: no arm drives well after minutes."""
    web, data = lab.web(), [lab.demos("reach-pick", 400, ("reach", "pick"), 710_000)]

    def mixed(share: float) -> Recipe:
        return Recipe(f"web {share:g}", (Stage("mix", data=Mixture(temperature=1.0, web=share)),))

    base = lab.trained("mixing-base", "rt2-tiny", data, 2 * lab.minutes, recipe=mixed(0.9), web=web)
    rows = [
        {
            "arm": "where they begin",
            "held-out error": curve(base, "val_action")[-1],
            "retention": curve(base, "val_language")[-1],
        }
    ]
    for name, share in (("robot only", 0.0), ("robot and web 80/20", 0.2), ("robot and web 50/50", 0.5)):
        policy = lab.trained(f"mixing-{share:g}", "rt2-tiny", data, recipe=mixed(share), web=web, init=base)
        rows.append(
            {
                "arm": name,
                "held-out error": curve(policy, "val_action")[-1],
                "retention": curve(policy, "val_language")[-1],
            }
        )
    return [r | {"chance": web.chance, "questions": min(128, len(web.held_out))} for r in rows]


def temperature(lab: Lab) -> list[Row]:
    """p(task) ∝ frames^(1/T)."""
    sizes = {"reach": 240, "pick": 60, "push": 15}
    data = [lab.demos(f"t-{task}", n, (task,), 730_000 + 5000 * i) for i, (task, n) in enumerate(sizes.items())]
    rows = []
    for t in (0.5, 1.0, 2.0, 5.0, float("inf")):
        plan = Recipe("temperature", (Stage("all", data=Mixture(temperature=t)),))
        policy = lab.trained(f"temperature-{t:g}", "palmar-tiny", data, recipe=plan)
        errors = {
            f"{k} held-out": curve(policy, f"val_error/{k}")[-1] for k in sizes if curve(policy, f"val_error/{k}")
        }
        rows.append({"arm": f"T = {t:g}"} | rates(lab.tested(policy, tuple(sizes))) | errors)
    return rows


def practice(lab: Lab) -> list[Row]:
    """Both begin from one policy and train three rounds of the same minutes; each round adds labels: of what the expert says while
    the learner drives (β = 0), or of more demonstrations, until there are as many frames."""
    tasks, rounds, episodes = ("reach", "pick"), 3, max(4, round(80 * lab.size))
    first = lab.demos("first", 120, tasks, 740_000)
    config = TrainConfig(minutes=lab.minutes, batch_size=64, validation=0.0)
    plan = Dagger(rounds, episodes, beta=0.0, fall="none", seed=750_000)
    more: Row = {"embodiment": "arm7", "paraphrases": paraphrases}
    gone = dagger(preset("palmar-tiny"), [first], lab.out / "dagger", config, plan, in_simulation(tasks), **more)

    def as_many(out: Path, driver: Path, beta: float, seed: int, wanted: int) -> Dataset:
        """Demonstrations of the expert, until they hold as many frames as that round of practice."""
        frames = len(Dataset(lab.out / "dagger" / out.name, cache=False))
        while True:
            data = Dataset(collect(out, CollectConfig(wanted, tasks, seed + 100_000), resume=True, progress=False).root)
            if len(data) >= frames:
                return data
            wanted += max(1, round((frames - len(data)) * len(data.episodes) / len(data)))

    cloned = dagger(preset("palmar-tiny"), [first], lab.out / "cloning", config, plan, as_many, **more)
    rows = []
    for a, b in zip(cloned, gone, strict=True):
        left, right = lab.tested(a.checkpoint, tasks), lab.tested(b.checkpoint, tasks)
        p = paired(*shared(left, right))
        rows.append({
            "arm": f"round {a.number}", "cloning": str(left.rate()), "cloning frames": a.frames,
            "DAgger": str(right.rate()), "DAgger frames": b.frames,
            "difference": f"{100 * p.difference:+.0f} points [{100 * p.low:+.0f}, {100 * p.high:+.0f}], p = {p.p:.3f}",
        })  # fmt: skip
    return rows


STUDIES: dict[str, Callable[[Lab], list[Row]]] = {
    "stages": stages, "mixing": mixing, "temperature": temperature, "dagger": practice,
}  # fmt: skip


def show(console: Console, name: str, rows: Sequence[Row]) -> None:
    table = Table(*rows[0], title=name)
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=[*STUDIES, "all"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=Lab.minutes)
    parser.add_argument("--trials", type=int, default=Lab.trials, help="per task")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    lab, console = Lab(given.out, given.minutes, given.trials), Console()
    if given.quick:
        lab = replace(lab, minutes=0.1, trials=2, size=0.05)
    lab.out.mkdir(parents=True, exist_ok=True)
    for name in STUDIES if "all" in given.studies else given.studies:
        rows = STUDIES[name](lab)
        show(console, name, rows)
        about = asdict(lab) | {"out": str(lab.out)}
        (lab.out / f"{name}.json").write_text(json.dumps({"study": about, "rows": rows}, indent=1))


if __name__ == "__main__":  # collect and evaluate start a process for each core
    main()
