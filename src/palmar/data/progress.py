"""How far a long work is, on stderr: a bar on a terminal, a line every tenth where there is none (a log, a pipe)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from palmar.console import Screen


@contextmanager
def counting(
    what: str, total: int, quiet: bool = False, console: Screen | None = None
) -> Iterator[Callable[[int], None]]:
    """A function to call with how many more of `total` are done. quiet: show nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Screen(stderr=True)
    if quiet or not console.is_terminal:
        yield lines(what, total, (lambda text: None) if quiet else console.print)
        return
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True, console=console) as bar:
        task = bar.add_task("", total=total)
        yield lambda more: bar.advance(task, more)


def lines(what: str, total: int, write: Callable[[str], None]) -> Callable[[int], None]:
    """Call it with how many more are done: it writes 'WHAT 300 of 3000 (10 %)' at every tenth."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        if total and done * 10 // total > before * 10 // total:
            write(f"{what} {done} of {total} ({100 * done // total} %)")

    return count
