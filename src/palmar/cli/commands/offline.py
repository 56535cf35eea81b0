"""`palmar eval --data` and `palmar compare` of its results: what is printed, around one call each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from palmar.cli.shared import Answer
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.eval.bootstrap import Estimate
from palmar.eval.offline_results import BASELINES, MOMENTS, POLICY, ChannelErrors, OfflineResults, compared
from palmar.files import write_text


def evaluate_offline(
    console: Screen,
    policy: str,
    data: Path,
    *,
    out: Path | None,
    html: Path | None,
    json: bool,
    keys: tuple[str, ...] = (),
    **settings: Any,
) -> Answer:
    """Load both, evaluate, write, print."""
    if policy == "expert":
        raise BadValue(
            "the expert drives the simulator and reads no data set. Next: palmar eval --data FOLDER --policy runs/mine"
        )
    from palmar.data.reader import Dataset
    from palmar.data.roles import parse_keys
    from palmar.eval.offline import evaluate
    from palmar.policy import load_policy

    dataset = Dataset(data, cache=False, keys=parse_keys(keys))
    robot = dataset.robot_type or "not named"
    console.print(styled("policy [bold]{}[/] on [bold]{}[/] (robot: {})", policy, data, robot))
    try:
        results = evaluate(load_policy(policy), dataset, progress=not json, name=policy, **settings)
    except BadValue as error:
        raise BadValue(f"policy '{policy}' on '{data}' (robot: {robot}): {error}") from error
    if out:
        results.save(out)
    print_results(results, console)
    if html:
        from palmar.eval.offline_page import page

        write_text(html, page(results))
        console.print(f"page: {html}")
    return 0, results.to_dict()


def print_results(r: OfflineResults, console: Screen) -> None:
    from palmar.eval.offline_page import execution_text

    when = f"at {r.config['later_seconds']:.2g} s"
    console.print(
        f"{r.split['text']}. {len(r.episodes)} episodes, {r.config['frames_seen']} frames, {r.config['act_ms_median']:.0f} ms a "
        "chunk. Brackets: 95 % over episodes.",
    )  # fmt: skip
    table = Table("error in σ, channels that move", "first action", when, "whole chunk")
    for who in (POLICY, *BASELINES):
        table.add_row(
            styled("[bold]{}", who) if who == POLICY else who, *(str_of(r.overall[who][m]) for m in MOMENTS),
            end_section=who == BASELINES[-1],
        )  # fmt: skip
    for who in BASELINES:
        table.add_row(f"policy less {who}", *(str_of(r.versus[who][m]) for m in MOMENTS))
    console.print(table)
    if r.ablations:
        table = Table("with", "error rises by", "actions move", "")
        for a in r.ablations:
            moved = "–" if a.moved is None else f"{a.moved:.2f} σ"
            verdict = styled("[red]{}", a.verdict) if a.unused else a.verdict
            table.add_row(a.name, percent_of(a.change), moved, verdict)
        console.print(table)
    table = Table(
        Column("channel", overflow="fold"),
        "σ",
        "first action",
        when,
        "whole chunk",
        f"{when} [σ]",
        f"hold still {when} [σ]",
    )
    for c in r.channels:
        mine = c.errors[POLICY]
        cells: list[str | Text] = [
            f"{c.sd:.3g}",
            *(str_of(mine[m]).replace(" ", "\n", 1) for m in MOMENTS),
            beside_hold(c),
        ]
        table.add_row(c.name, *cells, short(c.in_sd("hold still", "later")), style=None if c.moving else "dim")
    console.print(table)
    console.print(execution_text(r))
    for note in r.notes:
        console.print(styled("[yellow]{}", note))


def beside_hold(c: ChannelErrors) -> Text:
    """The policy's error at the later moment in σ: green where it is below holding still in the whole interval, red above."""
    low, high = c.less_hold.low, c.less_hold.high
    shown = short(c.in_sd(POLICY, "later"))
    if low is None or high is None or low <= 0 <= high:
        return styled("{}", shown)
    return styled("[green]{}" if high < 0 else "[red]{}", shown)


def compare_offline(console: Screen, a: Path, b: Path) -> Answer:
    """Two offline evaluations, paired by episode."""
    left, right = OfflineResults.load(a), OfflineResults.load(b)
    found = compared(left, right)
    table = Table("error in σ", "a", "b", "b less a, same episodes", "")
    figures: dict[str, Any] = {}
    for moment, difference in found.items():
        verdict = verdict_of(difference)
        sides = (str_of(r.overall[POLICY][moment]) for r in (left, right))
        table.add_row(moment, *sides, str_of(difference), styled("[bold]{}", verdict))
        figures[moment] = {
            "value": difference.value, "low": difference.low, "high": difference.high, "n": difference.n, "verdict": verdict,
        }  # fmt: skip
    console.print(table)
    return 0, {"offline": figures}


def verdict_of(difference: Estimate) -> str:
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "cannot tell"
    return "b is better" if difference.high < 0 else "a is better"


def str_of(e: Estimate) -> str:
    return str(e)


def short(e: Estimate) -> str:
    return "–" if e.value is None else f"{e.value:.2f}"


def percent_of(e: Estimate) -> str:
    if e.value is None:
        return "–"
    value, low, high = (None if x is None else round(100 * x) for x in (e.value, e.low, e.high))
    return f"{value:+d} %" + ("" if low is None else f" ({low:+d} to {high:+d})")
