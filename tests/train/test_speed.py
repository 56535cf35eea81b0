import os

from palmar.train.speed import all_threads, free_threads, wait_quietly


def test_busy_cores_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("palmar.train.speed.cores", lambda: 4)
    stat = tmp_path / "stat"

    def free(idle: int, busy: int) -> int:
        stat.write_text("cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1 2 3\n")
        later = f"cpu  {100 + busy} 0 100 {1000 + idle} 0 0 0 0 0 0\n"
        monkeypatch.setattr("palmar.train.speed.time.sleep", lambda s: stat.write_text(later))
        return free_threads(stat)

    assert [free(100, 0), free(75, 25), free(30, 70), free(0, 100), free(0, 0)] == [4, 3, 1, 1, 1]
    assert free_threads(tmp_path / "none") == all_threads() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert free(0, 100) == 3  # somebody has decided


def test_waiting_threads_sleep_unless_somebody_said_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    wait_quietly()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_quietly()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
