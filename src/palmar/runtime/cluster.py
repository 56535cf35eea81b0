"""Work over a Ray cluster, as `runtime.pool.spread` spreads it over processes: the same results in the same order.

Needs Ray (`pip install palmar[ray]`) on every machine of the cluster, with the same versions of Python, Ray and palmar. Files
that a job names, such as a checkpoint or a data set, must lie at the same path on every machine, as on a shared disk.

Ray pickles what its own machines send each other, and runs what it is sent: whoever reaches the ports of a cluster can run
programs on it. A cluster is therefore a trusted network. Nothing here listens, and no policy server leads to it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from palmar.errors import BadValue, WorkerDied, brief, need
from palmar.ranges import RAY

if TYPE_CHECKING:
    import ray

Job = TypeVar("Job")
Own = TypeVar("Own")
Result = TypeVar("Result")

PATIENCE = 180.0
"""How long to wait for the first worker of a cluster, whose CPUs others may use [s]."""
REACH = 5.0
"""How long to wait for a cluster to take a connection [s]."""


def spread_over_ray(
    work: Callable[[Own, Job], Result], own: Callable[[], Own], jobs: Iterable[Job], where: str,
    patience: float = PATIENCE,
) -> Iterator[Result]:  # fmt: skip
    """work(owned, job) for every job, in order, by one worker for each CPU of a Ray cluster.

    where: `ray` for the cluster that this machine belongs to (`ray start`) or that the variable RAY_ADDRESS names,
    `ray:HOST:PORT` for another, `ray:local` for a Ray of this machine that lives as long as the iterator. own: makes what a
    worker works with, once in each. Leaving the iterator early, and Ctrl-C, stop the rest. A program that has called
    `ray.init` itself keeps its connection, whatever `where` says.

    Raises `MissingPackage` without Ray, `BadValue` when there is no cluster at that address or no worker begins within
    `patience` [s], `WorkerDied` with the machine and the process, and what `own` or `work` raises.
    """
    need("ray", "ray")
    address = _address(where)
    import ray

    began = not ray.is_initialized()
    workers: list[Any] = []
    try:
        if began:
            _connect(address)
        n = int(ray.cluster_resources().get("CPU", 0))
        if n < 1:
            raise BadValue(
                f"the cluster at '{where}' has no CPU; expected one or more. Next: ray status, on its first machine"
            )
        made = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        workers += [made.remote() for _ in range(n)]
        about = (str(Path.cwd()), sys.path, variables())
        yield from _in_order(work, own, jobs, [(w, w.prepare.remote(*about)) for w in workers], where, patience)
    finally:
        for worker in workers:
            with suppress(Exception):
                ray.kill(worker)
        if began:
            ray.shutdown()


def _in_order(
    work: Callable[[Own, Job], Result], own: Callable[[], Own], jobs: Iterable[Job], workers: Sequence[tuple[Any, Any]],
    where: str, patience: float,
) -> Iterator[Result]:  # fmt: skip
    """A job at a time for each worker that is ready; at most two a worker are asked and not handed over."""
    import ray

    work_there, own_there = ray.put(work), ray.put(own)
    under_way: dict[Any, tuple[Any, int | None]] = {ref: (worker, None) for worker, ref in workers}
    names: dict[Any, str] = {}
    idle: list[Any] = []
    done: dict[int, Any] = {}
    todo, asked, given, more = iter(jobs), 0, 0, True
    while True:
        while idle and more and asked - given < 2 * len(workers):
            try:
                job = next(todo)
            except StopIteration:
                more = False
                break
            worker = idle.pop(0)
            under_way[worker.do.remote(own_there, work_there, job)] = (worker, asked)
            asked += 1
        if given in done:
            yield done.pop(given)
            given += 1
            continue
        if not more and given == asked:
            return
        ready, _ = ray.wait(list(under_way), timeout=None if names else patience)
        if not ready:
            raise BadValue(
                f"no worker of the cluster at '{where}' began within {patience:.0f} s; expected free CPUs of its "
                f"{len(workers)}. Next: ray status, on its first machine"
            )
        worker, index = under_way.pop(ready[0])
        said = _got(ready[0], names.get(worker))
        if index is None:
            names[worker] = said
        else:
            done[index] = said
        idle.append(worker)


def _got(ref: ray.ObjectRef, name: str | None) -> Any:
    """What a worker answered; arrays can be written to, as those of a process. Raises what it raised, and `WorkerDied`."""
    import ray

    try:
        said = ray.get(ref)
    except ray.exceptions.RayActorError as error:
        why = " ".join(str(error).split())
        told = next((w for w in str(error).splitlines() if "Error" in w and "Actor" not in w), why)
        raise WorkerDied(
            f"a worker of the cluster, {name or 'which had not begun'}, died: {told.strip()[:300]}. Next: ray logs on its machine "
            "(often memory ran out), and the same versions of palmar on all of them"
        ) from error
    except ray.exceptions.RayError as error:  # what it was sent, or what it answers, cannot be read
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WorkerDied(
            f"a worker of the cluster, {name or 'which had not begun'}, cannot do its job: {lines[-1][:300] if lines else error}. "
            "Next: the same versions and the same files on all machines"
        ) from error
    if isinstance(said, Failed):
        raise said.error from Elsewhere(f"on {name}:\n{said.trace}")
    return deepcopy(said)  # Ray hands over views of its shared memory, which cannot be written to


def _address(where: str) -> str:
    """In Ray's words, of a cluster that takes a connection. Raises `BadValue`."""
    address = where.removeprefix(RAY).removeprefix(":") or os.environ.get("RAY_ADDRESS") or "auto"
    if address in ("auto", "local"):
        return address
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    except (OSError, ValueError, OverflowError) as error:
        raise BadValue(
            f"no Ray cluster answers at '{address}' ({brief(error)}); expected HOST:PORT of its first machine. Next: ray "
            "start --head there (it says its address), ray start --address HOST:PORT on the others"
        ) from error
    return address


def _connect(address: str) -> None:
    """Raises `BadValue` when there is no cluster."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray that is begun here reports to nobody
    os.environ.setdefault("RAY_worker_niceness", "0")  # its own default, 15, leaves a busy machine's workers nothing
    more: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadValue(
            f"no Ray cluster at '{address}' ({brief(error)}); expected one that runs. Next: ray start --head here, or "
            "--processes ray:HOST:PORT, or ray:local"
        ) from error


def variables() -> dict[str, str]:
    """Of the environment, for every worker: palmar's own and the renderer's as here, and one thread for each."""
    mine = {k: v for k, v in os.environ.items() if k.startswith("PALMAR_") or k == "MUJOCO_GL"}
    return {**mine, "OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Failed:
    """What a job raised in a worker, and where."""

    error: Exception
    trace: str


class Elsewhere(Exception):
    """The traceback of what a worker raised, as the cause of the error that is raised here."""


class Worker:
    """One process of a cluster, with an object of its own to work with."""

    def __init__(self) -> None:
        self._own: list[Any] = []

    def prepare(self, folder: str, path: Sequence[str], environment: dict[str, str]) -> str:
        """Before anything heavy is imported: folder, module path and variables of whoever asks. The process and the machine."""
        with suppress(ValueError):  # not on the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle
        os.environ.update(environment)
        sys.path += [p for p in path if p not in sys.path]
        with suppress(
            OSError
        ):  # another machine may lack the folder: a path that is missing there is named when it is opened
            os.chdir(folder)
        return f"process {os.getpid()} on '{socket.gethostname()}'"

    def do(self, own: Callable[[], Any], work: Callable[[Any, Any], Any], job: Any) -> Any:
        try:
            if not self._own:
                self._own.append(own())
            return work(self._own[0], job)
        except Exception as error:
            return Failed(error, traceback.format_exc())
