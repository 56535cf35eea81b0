"""Work over a Ray of two workers: the same results in the same order as over processes, and every end is told."""

import os
import signal
import socket
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from palmar.cli.main import main
from palmar.errors import BadValue, MissingPackage, UnknownName, WorkerDied
from palmar.runtime import cluster
from palmar.runtime.pool import spread

RAY = pytest.mark.skipif(find_spec("ray") is None, reason="not installed: ray (palmar[ray])")


class Own:
    """What a worker works with, and how often it has."""

    def __init__(self) -> None:
        self.count = 0


def drawn(own: Own, job: int) -> tuple[int, np.ndarray]:
    return job, np.random.default_rng(job).normal(size=(40, 40, 20))  # too large for anything but the shared memory


def where(own: Own, job: int) -> tuple[int, int, tuple[str, ...]]:
    if job < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    own.count += 1
    while job == 0 and own.count == 1 and not Path(os.environ["PALMAR_SECOND"]).exists():  # until the other has begun
        time.sleep(0.01)
    if job == 1:
        Path(os.environ["PALMAR_SECOND"]).touch()
    return os.getpid(), own.count, (os.environ["LP_NUM_THREADS"], str(Path.cwd()))


def mistaken(own: Own, job: int) -> int:
    if job == 2:
        raise UnknownName("task", "fly", ["reach", "pick"])
    return job


def killed(own: Own, job: int) -> int:
    if job == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def slow(own: Own, job: int) -> int:
    time.sleep(600 if job else 0)
    return job


class Broken:
    def __init__(self) -> None:
        raise BadValue("the world is 'flat'; expected a round one. Next: another world")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """A Ray of two workers, to which this process is connected."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = tmp_path_factory.mktemp("ray")
    os.environ["PALMAR_SECOND"] = str(folder / "second")
    os.environ["RAY_AUTH_MODE"] = (
        "disabled"  # it would write a key into the home folder; it listens to this machine alone
    )
    ray.init(
        address="local", num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False,
        object_store_memory=80 * 2**20,
    )  # fmt: skip
    yield "ray"
    ray.shutdown()
    for name in ("PALMAR_SECOND", "RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED"):
        del os.environ[name]


@RAY
def test_results_are_those_of_processes_in_their_order(two_workers: str) -> None:
    here = list(spread(drawn, Own, range(9), 1))
    over = list(spread(drawn, Own, range(9), two_workers))
    assert [job for job, _ in over] == [job for job, _ in here] == list(range(9))
    for (_, a), (_, b) in zip(here, over, strict=True):
        assert np.array_equal(a, b)
        b += 1  # it can be written to, as that of a process


@RAY
def test_two_workers_share_the_jobs_until_one_dies_and_is_named(two_workers: str) -> None:
    done: list[tuple[int, int, tuple[str, ...]]] = []
    with pytest.raises(WorkerDied, match=rf"process \d+ on '{socket.gethostname()}', died: .*Next: "):
        done.extend(spread(where, Own, [*range(40), -1], two_workers))
    for pid in (pids := {pid for pid, *_ in done} - {os.getpid()}):
        mine = [n for p, n, _ in done if p == pid]
        assert mine == list(range(1, len(mine) + 1))  # an object of its own
    assert len(pids) == 2
    assert {about for *_, about in done} == {("1", str(Path.cwd()))}


@RAY
def test_what_a_worker_raises_is_raised_here(two_workers: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown task 'fly'.*reach, pick") as raised:
        list(spread(mistaken, Own, range(4), two_workers))
    assert raised.value.known == ["reach", "pick"] and "in mistaken" in str(raised.value.__cause__)


@RAY
def test_ctrl_c_ends_the_jobs_that_run(two_workers: str) -> None:
    """Nobody waits for the jobs of ten minutes, and their CPUs are free again."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist do not hear of it
    try:
        interrupted(two_workers)
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted(two_workers: str) -> None:
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(spread(slow, Own, range(1, 4), two_workers))
    for result in spread(slow, Own, range(4), two_workers):
        assert result == 0
        break


@RAY
def test_a_cluster_without_free_workers_is_not_waited_for_without_end(two_workers: str) -> None:
    import ray

    class Busy:
        """Sent by value: the workers cannot import this file."""

        def begun(self) -> bool:
            return True

    busy = ray.remote(num_cpus=2)(Busy).remote()
    try:
        assert ray.get(busy.begun.remote(), timeout=60)
        with pytest.raises(
            BadValue, match=r"no worker of the cluster at 'ray' began within 0 s; expected free CPUs of its 2"
        ):
            list(cluster.spread_over_ray(mistaken, Own, (0, 1), "ray", patience=0.2))
    finally:
        ray.kill(busy)


@RAY
@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:99999999", "nowhere"])
def test_a_cluster_that_is_not_there_is_told(address: str, capsys) -> None:
    words = ["eval", "--policy", "expert", "--tasks", "reach", "--episodes", "1", "--processes", f"ray:{address}"]
    assert main(words) == 2
    assert f"no Ray cluster answers at '{address}'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["two", "ray:", "rays", ""])
def test_other_words_are_refused(name: str) -> None:
    with pytest.raises(BadValue, match=rf"processes is '{name}'; expected 1 … 1024, or a Ray cluster: ray, "):
        next(spread(mistaken, Own, (0, 1), name))


def test_without_ray_the_install_command_is_told(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"palmar\[ray\]"):
        next(spread(mistaken, Own, (0, 1), "ray"))


def test_a_process_that_dies_is_named_and_what_it_raises_is_raised() -> None:
    with pytest.raises(WorkerDied, match=r"a worker died: process \d+ was killed by SIGKILL\. Next: "):
        list(spread(killed, Own, range(4), 2))
    with pytest.raises(UnknownName, match=r"unknown task 'fly'"):
        list(spread(mistaken, Own, range(4), 2))
    with pytest.raises(BadValue, match=r"the world is 'flat'"):
        list(spread(drawn, Broken, range(4), 2))
