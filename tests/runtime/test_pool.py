"""Work over processes: the same results in the same order as without."""

import os

from palmar.runtime.pool import cores, spread


def test_results_come_in_the_order_of_the_jobs(monkeypatch):
    monkeypatch.delenv("LP_NUM_THREADS", raising=False)
    jobs = range(-7, 7)
    here = list(spread(abs, jobs, processes=1))
    assert here == list(spread(abs, jobs, processes=2)) == [abs(j) for j in jobs]
    assert "LP_NUM_THREADS" not in os.environ
    assert cores() >= 1


def test_leaving_early_stops_the_rest():
    asked = []

    def jobs():
        for i in range(1000):
            asked.append(i)
            yield i

    for result in spread(abs, jobs(), processes=1):
        if result == 3:
            break
    assert asked == [0, 1, 2, 3]
