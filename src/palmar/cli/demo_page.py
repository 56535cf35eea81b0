"""The demo's page, and what it says at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.text import Text

from palmar.cli.demo_gap import REALITY, truths
from palmar.console import styled

if TYPE_CHECKING:
    from palmar.cli.demo import DemoConfig, Found, Story
    from palmar.eval.plots import Identified
    from palmar.eval.results import Results


def write_report(config: DemoConfig, story: Story, found: Found) -> Path:
    """One page with everything, films included."""
    from palmar.data.inspect import summary
    from palmar.data.reader import Dataset
    from palmar.eval.report import Deployment, Machine, Number, Report, ReportData
    from palmar.lab.film import side_by_side, telling
    from palmar.lab.suite import EvalConfig

    plainly = EvalConfig(str(found.policy), timeout=config.timeout)
    films = side_by_side({"": plainly}, telling(found.sim, config.films), config.out / "films")
    arms = {
        "plain": EvalConfig(str(found.policy), world=REALITY, timeout=config.timeout),
        "measured, practised": EvalConfig(str(found.practised["twin"]), world=REALITY, timeout=config.timeout),
    }
    films += side_by_side(arms, telling(found.recovery.arms[-1].results, config.films), config.out / "films")
    runs = [
        Deployment(
            r.instruction, r.success, r.done, r.seconds, r.timing, r.safety, round(r.timing["ticks"]), r.mode, r.reason, REALITY,
            film=r.film,
        )
        for r in found.runs
    ]  # fmt: skip
    plain, last = found.recovery.arms[0].results, found.recovery.arms[-1].results
    data = ReportData(
        title="palmar demo",
        subtitle="demonstrations → training → a reality → measuring → practice → deployment",
        summary=(
            BEGINNING[config.from_scratch],
            "Then it met a reality: the same tables in a simulator in which everything differs from what it was told, and some "
            "of it lies outside of the ranges it was trained in: a camera that was moved and joint zeros that are off, commands "
            "and pictures that come late. The robot knows it through its sensors alone. Diagnostic motions identified its "
            "dynamics, a marker board in the gripper its camera and joint zeros. The plain policy then practised in simulation "
            "with that; a control did so with nothing measured, on as many demonstrations and for as many steps of training.",
            f"{lost_and_won(found)} One reality and one training an arm: the intervals are over tables, not over realities or "
            "trainings.",
            f"Last the policy that won most of the reality's tables ({found.name}) did there what was typed, in real time: the "
            "controller ticks at 50 Hz whatever the policy does, and every command passes the safety layer.",
        ),
        numbers=(
            Number("new tables, simulation", rate=found.sim.rate()),
            Number("new sentences", rate=found.words.rate(split="wording")),
            Number("new colour-object pairs", rate=found.words.rate(split="pair")),
            Number("in reality, plain", rate=plain.rate()),
            Number("in reality, measured and practised", rate=last.rate()),
        ),
        films=films,
        results={"simulation, plain policy": found.sim} | {f"reality, {w}": r for w, r in shortly(found).items()},
        recovery=found.recovery,
        training={"the plain policy": found.policy / "metrics.jsonl"}
        | {"practice with all that was measured": found.practised["twin"] / "metrics.jsonl"},
        data={"demonstrations": summary(Dataset(config.out / "data", cache=False))},
        identified=identified_rows(found),
        deployments=runs,
        seconds=story.seconds,
        settings=story.figures["config"],
        commands=(
            ("make demo", "this page again"),
            (f"palmar eval --policy {found.best} --world {REALITY} --episodes 50", "more trials in this reality"),
            (f'palmar run "pick up the red cube" --policy {found.best} --world {REALITY}', "another instruction"),
            (f"palmar collect --identified {config.out / 'arm.json'} {config.out / 'camera.json'} --out data/twin",
             "more demonstrations in the worlds that the measurements leave possible"),
        ),
        machine=Machine.here(),
    )  # fmt: skip
    return Report(data).save(config.out / "report.html")


BEGINNING = {
    False: "A scripted expert showed four tasks on randomised tables; the weights that ship with palmar were fine-tuned on that "
    "and evaluated on tables, sentences and colour-object pairs that are in no training set.",
    True: "A scripted expert showed four tasks on randomised tables; a policy was trained on that from nothing and evaluated on "
    "tables, sentences and colour-object pairs that are in no training set.",
}


def shortly(found: Found) -> dict[str, Results]:
    """{arm, in a word or two: its trials in the reality}."""
    names = ("plain policy", *(ARMS.get(a, a) for a in found.practised))
    return {n: a.results for n, a in zip(names, found.recovery.arms, strict=True)}


ARMS = {"control": "control", "dynamics": "dynamics identified", "twin": "camera and zeros too"}


def identified_rows(found: Found) -> list[Identified]:
    """What was measured, on ranges that hold the truth too."""
    from palmar.eval.plots import Identified
    from palmar.sim.params import SPACE

    rows = []
    for n, (value, low, high, identified, note, truth) in truths(found.measured).items():
        p = SPACE[n]
        known = [p.low, p.high, *((low, high) if identified else ()), *(() if truth is None else (truth,))]
        rows.append(
            Identified(n, value, low, high, p.unit, identified, truth, p.nominal, (min(known), max(known)), note)
        )
    return rows


def lost_and_won(found: Found) -> str:
    """Two sentences: what was lost, and what measuring won back beyond the control."""
    r = found.recovery
    lost = f"From simulation to this reality the plain policy changes by {r.lost.sentence}"
    if not r.lost.told:
        lost = f"Whether the plain policy loses anything here is not told: {r.lost.sentence}"
    return f"{lost} Practice with all that was measured against the control: {r.measured.sentence}"


def closing(config: DemoConfig, story: Story, found: Found, page: Path) -> Panel:
    rates = {
        "New tables in simulation": found.sim.rate(),
        "New sentences": found.words.rate(split="wording"),
        "New colour-object pairs": found.words.rate(split="pair"),
        "The same tables in reality": found.recovery.arms[0].results.rate(),
    } | {f"… {a.step}": a.results.rate() for a in found.recovery.arms[1:]}
    lines = [
        *(styled("{}[bold]{}[/]", f"{what:<42}", rate) for what, rate in rates.items()),
        f"Measuring, beyond the control: {found.recovery.measured.sentence}",
        "",
        f"Report   {page}",
        f'Policy   {found.best}    again: palmar run "pick up the red cube" --policy {found.best} --world {REALITY}',
        f"Data     {config.out / 'data'}    look: palmar inspect {config.out / 'data'}",
        f"Took {story.figures['seconds_total'] / 60:.1f} minutes.",
    ]
    return Panel(Text("\n").join(styled("{}", line) for line in lines), title="palmar demo", expand=False)
