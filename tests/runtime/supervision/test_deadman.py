"""A deadman switch is held while signs of it come, and released by everything else."""

import os
import pty
import signal
import socket
import threading
import time

import pytest
from test_watchdog import Run, start  # noqa: F401 - the fixture

from palmar.errors import BadFile, BadValue
from palmar.runtime.supervision.deadman import (
    FIRST,
    GRACE,
    Datagrams,
    Keys,
    Signs,
    Touched,
    deadman_of,
    wait_until_held,
)


class Time:
    """A monotonic clock of the test's own."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def signs(self, **options):
        return Signs(now=self, **options)


def test_signs_have_to_go_on():
    clock = Time()
    signs = clock.signs()
    assert not signs.seen(False)
    assert signs.seen(True)
    clock.now += GRACE
    assert signs.seen(False)
    clock.now += 0.01
    assert not signs.seen(False)


def test_a_key_that_is_held_repeats_late_and_then_often():
    clock = Time()
    signs = clock.signs(first=FIRST)
    assert signs.seen(True)
    clock.now += 0.6
    assert signs.seen(False) and signs.seen(True)
    clock.now += GRACE + 0.01
    assert not signs.seen(False)  # released
    clock.now += 5.0
    assert signs.seen(True)
    clock.now += 0.6
    assert signs.seen(False)  # pressed anew: it may repeat late again


def test_keys_of_a_terminal():
    ours, theirs = pty.openpty()
    clock = Time()
    keys = Keys(theirs, clock.signs(first=FIRST))
    assert not keys()
    os.write(ours, b"kkk")
    wait_until_held(keys, 60.0)
    clock.now += FIRST + 0.1
    assert not keys()
    os.write(ours, b"k")
    wait_until_held(keys, 60.0)
    os.close(ours)  # the window is closed
    clock.now += FIRST + 0.1
    assert not keys()
    keys.close()
    keys.close()
    os.close(theirs)


def test_keys_need_a_terminal():
    read, write = os.pipe()
    with pytest.raises(BadValue, match="needs a terminal"):
        Keys(read)
    os.close(read)
    os.close(write)


def test_datagrams():
    clock = Time()
    switch = Datagrams(0, clock.signs(), host="127.0.0.1")
    device = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    device.connect(("127.0.0.1", switch.port))
    assert not switch()
    device.send(b"noise")
    device.send(b"1")
    wait_until_held(switch, 60.0)
    clock.now += 0.1
    assert switch()
    device.send(b"0")
    until = time.monotonic() + 60.0
    while switch():
        assert time.monotonic() < until
    assert not switch()  # at the very same time: a sign of before does not count any more
    clock.now += 1.0
    assert not switch()
    with pytest.raises(BadValue, match="cannot listen"):
        Datagrams(switch.port, host="127.0.0.1")
    device.close()
    switch.close()


def test_a_file_that_changes(tmp_path):
    clock, path = Time(), tmp_path / "held"
    path.write_text("")
    switch = Touched(path, clock.signs())
    assert not switch()
    path.write_text("1")
    assert switch()
    clock.now += 0.2
    os.utime(path, ns=(1, 1))  # the wall clock jumps to 1970: still a change
    assert switch()
    clock.now += GRACE + 0.1
    assert not switch()
    path.write_text("22")
    assert switch()
    path.unlink()
    assert not switch()


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ("udp:x", BadValue, "expected a port"), ("udp:0", BadValue, "expected a port"), ("udp:70000", BadValue, "expected a port"),
        ("pedal", BadFile, "expected keys, udp:PORT or a file"),
    ],
)  # fmt: skip
def test_a_mistake_is_told(words, error, said):
    with pytest.raises(error, match=said):
        deadman_of(words)


def test_nothing_moves_before_it_is_held(tmp_path):
    (tmp_path / "held").write_text("")
    with pytest.raises(BadValue, match=r"was not held within 0\.05 s; the run has not begun"):
        wait_until_held(Touched(tmp_path / "held"), 0.05)


def test_a_run_goes_on_while_a_file_is_written_to(start, tmp_path):  # noqa: F811
    held, released = tmp_path / "held", threading.Event()
    held.write_text("")

    def person():
        count = 0
        while not released.wait(0.02):
            count += 1
            held.write_text(str(count))

    thread = threading.Thread(target=person)
    thread.start()
    try:
        run: Run = start("Logged", "--deadman", "held").moving()
    finally:
        released.set()
        thread.join()
    run.until(lambda: not run.commands()[-5:, 3].any(), "braking")
    run.process.send_signal(signal.SIGTERM)
    code, said = run.end()
    assert code == 143 and "deadman released" in said
    run.at_rest()
