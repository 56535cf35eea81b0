"""What a process does for a loop on the wall clock: priority, quick thread switches, signals that ask instead of ending it."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Ended(KeyboardInterrupt):
    """A signal other than Ctrl-C asked the process to end. number: of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal (SIGHUP) are as Ctrl-C inside: `Ended` is raised, and what is open is closed. All put back."""

    def end(number: int, _: object) -> None:
        raise Ended(number)

    names = [n for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    if threading.current_thread() is not threading.main_thread():
        names = []
    names = [n for n in names if signal.getsignal(getattr(signal, n)) is not signal.SIG_IGN]  # nohup
    before = {n: signal.signal(getattr(signal, n), end) for n in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextmanager
def undisturbed(on_interrupt: Callable[[str], None]) -> Iterator[None]:
    """First in line for a core, quick thread switches, short garbage collections, a signal to end (Ctrl-C, SIGTERM, a closed
    terminal) a request the first time; all put back.

    A thread that computes gives the interpreter up only every switch interval (5 ms by default): that would be jitter.
    Real-time priority is for this thread alone, and only where the system allows it (root, or an rtprio limit).
    """
    interval = sys.getswitchinterval()
    main = threading.current_thread() is threading.main_thread()
    presses = itertools.count()

    def interrupted(number: int, _: object) -> None:
        if next(presses):  # braking takes too long for this person, or something hangs
            raise KeyboardInterrupt
        on_interrupt(signal.Signals(number).name)

    names = [n for n in ("SIGINT", "SIGTERM", "SIGHUP") if main and hasattr(signal, n)]
    if main and "SIGHUP" in names and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        names.remove("SIGHUP")  # nohup: to go on without a terminal was asked for
    before = {n: signal.signal(getattr(signal, n), interrupted) for n in names}
    sys.setswitchinterval(0.0002)
    gc.collect()
    gc.freeze()  # what exists now is not looked through again
    policy = first_in_line(1)
    try:
        yield
    finally:
        if policy is not None:
            os.sched_setscheduler(0, *policy)
        gc.unfreeze()
        sys.setswitchinterval(interval)
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def first_in_line(priority: int) -> tuple[int, os.sched_param] | None:
    """Give the calling thread real-time priority (SCHED_FIFO, 1 … 99); its policy before, or None where that is not to be had."""
    if not hasattr(os, "SCHED_FIFO"):
        return None
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        return None
    return before
