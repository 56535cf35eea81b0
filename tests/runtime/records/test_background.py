"""The thread that writes beside the loop: full disks, slow ones, and ones that never answer."""

import errno
import threading

import pytest

from palmar.runtime.records.background import Background


def test_everything_is_written_in_order() -> None:
    seen: list[int] = []
    ended: list[bool] = []
    line = Background(seen.append, "x", finish=ended.append)
    assert all(line.put(i) for i in range(500))
    assert line.close()
    assert seen == list(range(500)) and ended == [True]
    assert (line.written, line.dropped, line.failed, line.lost) == (500, 0, 0, "")


def test_what_is_too_much_is_dropped_and_counted_and_nobody_waits() -> None:
    go_on = threading.Event()
    line = Background(lambda i: go_on.wait(), "slow", most=10)  # type: ignore[arg-type, return-value]
    taken = [line.put(i, size=3) for i in range(100)]  # would never return if it waited: nothing is written yet
    assert taken == [True] * 3 + [False] * 97
    go_on.set()
    assert line.close()
    assert (line.written, line.dropped) == (3, 97)
    assert line.lost == "'slow' is not whole: 97 records were dropped, for it was written too slowly"
    assert not line.put(1)


def test_a_full_disk_is_said_once_and_the_next_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    full, seen, told = [True], [], threading.Event()

    def write(i: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        seen.append(i)

    line = Background(write, "log")
    line._say = (lambda said: lambda error: (said(error), told.set()))(line._say)  # type: ignore[method-assign]
    for i in range(3):
        line.put(i)
    assert told.wait(10)
    while line.failed < 3:
        told.wait(0.001)
    full[0] = False
    line.put(3)
    assert line.close() and seen == [3] and line.failed == 3
    assert line.lost == "'log' is not whole: 3 records could not be written (the disk is full)"
    for thread in threading.enumerate():
        if thread.name.endswith("(warn)"):
            thread.join()
    assert capsys.readouterr().err.count("'log' cannot be written: the disk is full; the robot goes on") == 1


def test_after_a_failure_a_file_that_cannot_go_on_is_not_written() -> None:
    seen: list[int] = []
    ended: list[bool] = []

    def write(i: int) -> None:
        if i == 1:
            raise OSError(errno.EIO, "broken")
        seen.append(i)

    line = Background(write, "file", again=False, finish=ended.append)
    for i in range(5):
        line.put(i)
    assert line.close() and seen == [0] and line.failed == 4 and ended == [False]


def test_a_disk_that_never_answers_is_not_waited_for() -> None:
    never = threading.Event()
    line = Background(lambda i: never.wait(), "hangs")  # type: ignore[arg-type, return-value]
    line.put(1)
    assert line.close(0.05) is False
    assert line.lost == "'hangs' is not whole: its disk does not answer"
    never.set()


def test_what_fails_at_the_end_is_counted() -> None:
    def finish(whole: bool) -> None:
        raise OSError(errno.ENOSPC, "full")

    line = Background(lambda i: None, "file", finish=finish)
    assert line.close() and line.failed == 1 and "the disk is full" in line.lost
