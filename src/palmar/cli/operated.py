"""A session on a page: one run after another, each for an instruction that somebody types there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

from palmar.cli.live import run
from palmar.cli.observing import served_metrics
from palmar.cli.runs import RunConfig, RunResult
from palmar.console import Screen, styled, warn
from palmar.description.find import find_robot
from palmar.errors import PalmarError
from palmar.runtime.undisturbed import ended_by_signals
from palmar.serve.page.config import PageConfig
from palmar.serve.page.run import RunPage


def operated(
    config: RunConfig, page_config: PageConfig, console: Screen, told: Callable[[RunResult, Screen], None]
) -> list[RunResult]:
    """Run the instruction of `config`, if it has one, then those of the page, until somebody ends the session there.

    told: prints a result. Raises what the first run raises where its instruction is that of `config`; a later one that cannot
    begin, or that an error ends, is shown on the page. Raises `BadValue` where the page cannot be served.
    """
    about = {"policy": config.policy, "robot": config.robot, "world": config.body or config.world}
    if config.table is None and config.robot:
        about |= {"robot": (name := find_robot(config.robot).name), "latch": name}
    page = RunPage(page_config, about)
    who = "with the key" if page_config.key else "without a key"
    results: list[RunResult] = []
    with ended_by_signals(), closing(page), served_metrics(config) as metrics:
        console.print(styled("the page is at [bold]{}[/] ({}); Ctrl-C ends it", page.address, who))
        given = config.instruction.strip()
        for number in itertools.count():
            first = bool(given) and not number
            instruction = given if first else page.instruction()
            if instruction is None:
                break
            if first:
                page.starting(given)
            try:
                result = run(_one(config, instruction, number), console, page, metrics)
            except Exception as error:
                page.failed(str(error) if isinstance(error, PalmarError) else f"{type(error).__name__}: {error}")
                if first:
                    raise
                warn("{}", f"{type(error).__name__}: {error}" if not isinstance(error, PalmarError) else error)
                continue
            results.append(result)
            told(result, console)
            page.ended(_summary(instruction, result))
            if result.ended_by:
                break
    return results


def _one(config: RunConfig, instruction: str, number: int) -> RunConfig:
    """Of the run of this number. Files that were asked for are one for each run; the usual film is that of the last."""
    usual = {f.name: f.default for f in fields(RunConfig)}
    video = config.video if config.video == usual["video"] else _free(config.video, number)
    return replace(config, instruction=instruction, mcap=_free(config.mcap, number), video=video)


def _free(path: Path | None, number: int) -> Path | None:
    """The file itself for the first run; for a later one the next name that nothing has."""
    if path is None or not number:
        return path
    names = (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(number + 1))
    return next(p for p in names if not p.exists() and not p.with_suffix(".jpg").exists())


def _summary(instruction: str, result: RunResult) -> dict[str, object]:
    """success: by the simulator, or whoever was asked; the policy's word where nobody was."""
    return {
        "instruction": instruction, "seconds": result.seconds, "notes": result.notes, "by": result.by,
        "success": result.done if result.success is None else result.success,
        "reason": "" if result.reason == "done" else result.reason,
    }  # fmt: skip
