"""Work over processes: the same results in the same order as without."""

import os

import pytest

from palmar.runtime.pool import cores, spread


class Counter:
    """What a process works with, and how often it has."""

    def __init__(self) -> None:
        self.count = 0


def size(counter: Counter, job: int) -> int:
    return abs(job)


def counted(counter: Counter, job: int) -> tuple[int, int]:
    counter.count += 1
    return os.getpid(), counter.count


def test_results_come_in_the_order_of_the_jobs(monkeypatch):
    monkeypatch.delenv("LP_NUM_THREADS", raising=False)
    jobs = range(-7, 7)
    here = list(spread(size, Counter, jobs, processes=1))
    assert here == list(spread(size, Counter, jobs, processes=2)) == [abs(j) for j in jobs]
    assert "LP_NUM_THREADS" not in os.environ
    assert cores() >= 1


@pytest.mark.parametrize("processes", [1, 2])
def test_each_process_works_with_one_object_of_its_own(processes):
    done = list(spread(counted, Counter, range(8), processes))
    for pid in {p for p, _ in done}:
        mine = [n for p, n in done if p == pid]
        assert mine == list(range(1, len(mine) + 1))
    assert {pid == os.getpid() for pid, _ in done} == {processes == 1}
    assert [n for _, n in spread(counted, Counter, range(2), 1)] == [1, 2]  # another call, another object


def test_leaving_early_stops_the_rest():
    asked = []

    def jobs():
        for i in range(1000):
            asked.append(i)
            yield i

    for result in spread(size, Counter, jobs(), processes=1):
        if result == 3:
            break
    assert asked == [0, 1, 2, 3]
