"""One process a core, each with a world of its own.

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
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Callable[[Job], Result], jobs: Iterable[Job], processes: int | None = None) -> Iterator[Result]:
    """work(job) for every job, in order, over `processes` (one a core when None; 0 or 1 runs here).

    A few jobs a process are under way at once, so that results do not pile up. Leaving the iterator early stops the rest.
    """
    n = cores() if processes is None else processes
    if n <= 1:
        yield from map(work, jobs)
        return
    single = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
    before = {k: os.environ.get(k) for k in single}
    os.environ.update(single)  # inherited by the spawned processes
    pool = ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_with_parent)
    try:
        waiting: deque[Future[Result]] = deque()
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) >= 2 * n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for k, v in before.items():
            if v is None:
                os.environ.pop(k, None)
            else:
                os.environ[k] = v


def _leave_with_parent() -> None:
    """A worker whose parent was killed ends too, instead of waiting for jobs for ever; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
