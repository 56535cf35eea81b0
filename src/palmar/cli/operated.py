"""A session on a page: one run after another, each for an instruction that somebody types there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from palmar.cli.live import RunConfig, RunResult, run
from palmar.cli.observing import served_metrics
from palmar.console import Screen, styled, warn
from palmar.errors import PalmarError
from palmar.serve.page.config import PageConfig
from palmar.serve.page.run import RunPage


def operated(
    config: RunConfig, page_config: PageConfig, console: Screen, told: Callable[[RunResult, Screen], None]
) -> list[RunResult]:
    """Run the instruction of `config`, if it has one, then those of the page, until somebody ends the session there.

    told: prints a result. Raises what the first run raises where its instruction is that of `config`; a later one that cannot
    begin, or that the robot's fault ends, is shown on the page. Raises `BadValue` where the page cannot be served.
    """
    page = RunPage(page_config, {"policy": config.policy, "robot": config.robot, "world": config.body or config.world})
    who = "with the key" if page_config.key else "without a key"
    results: list[RunResult] = []
    with closing(page), served_metrics(config) as metrics:
        console.print(styled("the page is at [bold]{}[/] ({}); Ctrl-C ends it", page.address, who))
        instruction, first = config.instruction.strip() or page.instruction(), bool(config.instruction.strip())
        while instruction is not None:
            try:
                one = replace(config, instruction=instruction, mcap=_numbered(config.mcap, len(results)))
                result = run(one, console, page, metrics)
            except PalmarError as error:
                page.failed(str(error))
                if first:
                    raise
                warn("{}", error)
            else:
                results.append(result)
                told(result, console)
                page.ended(_summary(instruction, result))
                if result.ended_by:
                    break
            first = False
            instruction = page.instruction()
    return results


def _numbered(path: Path | None, before: int) -> Path | None:
    """A file of its own for every run after the first."""
    return path if path is None or not before else path.with_stem(f"{path.stem}-{before + 1}")


def _summary(instruction: str, result: RunResult) -> dict[str, object]:
    """success: by the simulator, or whoever was asked; the policy's word where nobody was."""
    return {
        "instruction": instruction, "seconds": result.seconds, "notes": result.notes,
        "success": result.done if result.success is None else result.success,
        "reason": "" if result.reason == "done" else result.reason,
    }  # fmt: skip
