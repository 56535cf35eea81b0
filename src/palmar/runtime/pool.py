"""One process a core, or one worker a CPU of a Ray cluster, each with an object of its own to work with, such as the worlds it
has loaded.

Results come back in the order of the jobs, and are the same for any number of processes.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from palmar.errors import BadValue, WorkerDied
from palmar.ranges import PROCESSES, Processes

Job = TypeVar("Job")
Own = TypeVar("Own")
Result = TypeVar("Result")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    work: Callable[[Own, Job], Result], own: Callable[[], Own], jobs: Iterable[Job], processes: Processes = None
) -> Iterator[Result]:
    """work(owned, job) for every job, in order, over `processes` (one a core when None; 0 or 1 runs here; `ray`,
    `ray:HOST:PORT` and `ray:local` are Ray clusters: `runtime.cluster`).

    own: makes what a process works with, once in each; it lives as long as the process, or here as the iterator. A few jobs
    a process are under way at once, so that results do not pile up. Leaving the iterator early stops the rest.

    Raises `WorkerDied` when a process is killed or crashes, `BadValue` for another word than these, what `spread_over_ray`
    raises, and what `own` or `work` raises.
    """
    if isinstance(processes, str):
        if processes not in PROCESSES:
            raise BadValue(f"processes is '{processes}'; expected {PROCESSES}. Next: one of these")
        from palmar.runtime.cluster import spread_over_ray

        yield from spread_over_ray(work, own, jobs, processes)
        return
    n = cores() if processes is None else processes
    if n <= 1:
        mine = own()
        for job in jobs:
            yield work(mine, job)
        return
    single = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
    before = {k: os.environ.get(k) for k in single}
    os.environ.update(single)  # inherited by the spawned processes
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n, mp_context=spawn, initializer=_begin)
    others = set(multiprocessing.active_children())
    started: set[Any] = set()
    try:
        waiting: deque[Future[Result]] = deque()
        for job in jobs:
            waiting.append(pool.submit(_do, work, own, job))
            started |= set(multiprocessing.active_children()) - others
            if len(waiting) >= 2 * n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise _died(pool, started) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for k, v in before.items():
            if v is None:
                os.environ.pop(k, None)
            else:
                os.environ[k] = v


def _died(pool: ProcessPoolExecutor, mine: Iterable[Any]) -> WorkerDied:
    """Which worker ended, and how; the others were terminated when it did."""
    pool.shutdown(wait=True, cancel_futures=True)
    ends = {p.pid: p.exitcode for p in mine}
    found = [f"process {pid} {_end(code)}" for pid, code in ends.items() if code not in (None, 0, -signal.SIGTERM)]
    return WorkerDied(
        f"a worker died: {', '.join(found) or f'one of the processes {sorted(ends)}'}. Next: fewer --processes, if memory ran out; "
        "--processes 1 shows what it was doing"
    )


def _end(code: int) -> str:
    return f"ended by itself with {code}" if code > 0 else f"was killed by {signal.Signals(-code).name}"


_owned: list[Any] = []
"""In a worker process: what it works with. Empty in every other process; an executor hands its initializer's result on only so."""


def _begin() -> None:
    _leave_with_parent()
    _owned.clear()


def _do(work: Callable[[Any, Job], Result], own: Callable[[], Any], job: Job) -> Result:
    if not _owned:  # here and not when the process begins, so that what it raises is raised by the iterator
        _owned.append(own())
    return work(_owned[0], job)


def _leave_with_parent() -> None:
    """A worker whose parent was killed ends too, instead of waiting for jobs for ever; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
