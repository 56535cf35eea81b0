"""A stop that is said on the robot's side, such as by a safety monitor: the watchdog brakes at once, without the loop."""

import socket
import threading
import time

import numpy as np
import pytest
from faulty_bodies import gadget

from palmar.runtime.mock import MockBody
from palmar.runtime.safety.limits import Limits
from palmar.runtime.supervision import watchdog
from palmar.runtime.supervision.estop import Latch
from palmar.runtime.supervision.watchdog import Host

ROBOT = gadget()
PATIENCE = 90.0
"""Longest time for anything to happen [s]: a busy machine is no failure."""


class Told(MockBody):
    """Writes down its commands and when they came [s], and can be told to stop."""

    def __init__(self):
        super().__init__(ROBOT)
        self.came = []

    def apply(self, command):
        super().apply(command)
        self.came.append((time.monotonic(), command))

    def when_stopped(self, tell):
        self.say = tell

    def stop(self):
        self.came.append((time.monotonic(), "stop"))


class Place:
    def __init__(self, folder, moving=True):
        self.body = Told()
        self.ours, theirs = socket.socketpair()
        self.host, self.left = Host(self.body, theirs, 5.0, Latch("gadget", folder)), threading.Event()
        self.host._leave = self.left.set  # the process is that of the tests
        self.watch = threading.Thread(target=self.host.watch, daemon=True)
        self.watch.start()
        for i in range(8 if moving else 1):  # the speed has come to stay
            self.host._apply(ROBOT.home + [0.004 * i, 0, 0, 0.01 * min(i, 4)])

    def until(self, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.001)

    def end(self):
        self.host.ended.set()
        self.watch.join()
        self.ours.close()


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.end()


def test_it_brakes_to_rest_within_the_limits_with_no_command_sooner_than_a_tick_after_the_last(place):
    limits, before = Limits.of(ROBOT), len(place.body.came)
    place.body.say("a hand in the cell")
    place.until(lambda: place.host.stopped and not place.host._moving)
    assert place.host.stopped == "E-STOP: a hand in the cell"
    times, path = [np.array(x) for x in zip(*place.body.came, strict=True)]
    assert len(path) > before and times[before] - times[before - 1] >= limits.dt
    rate = np.diff(path, axis=0) / limits.dt
    change = np.diff(rate, axis=0)[before - 2 :] / limits.dt
    assert (np.abs(change) <= limits.acceleration * (1 + 1e-6)).all()
    assert path[before][3] < path[before - 1][3] and path[-1][3] == 0.0 and not rate[-1, :3].any()


def test_what_the_loop_sends_afterwards_moves_nothing(place):
    place.body.say("a hand in the cell")
    place.until(lambda: place.host.stopped and not place.host._moving)
    sent = len(place.body.came)
    place.host._apply(ROBOT.home)
    place.body.say("")  # released: the loop has to connect anew
    place.host._apply(ROBOT.home)
    assert len(place.body.came) == sent and place.host.stopped == "E-STOP: a hand in the cell"


def test_the_emergency_stop_is_latched_here_too_when_nobody_else_does(place):
    place.body.say("a hand in the cell")
    place.until(lambda: place.host.latch.latched)
    assert place.host.latch.read().reason == "a hand in the cell"


def test_the_words_of_who_latched_it_first_stay(place):
    place.host.latch.press("pressed in the monitor")
    place.body.say("a hand in the cell")
    place.until(lambda: place.host.stopped and not place.host._moving)
    place.host._press_also()
    assert place.host.latch.read().reason == "pressed in the monitor"


def test_what_is_released_meanwhile_is_not_latched_again(place, monkeypatch):
    monkeypatch.setattr(watchdog, "LATCHES", 1e6)
    place.body.say("a hand in the cell")
    place.until(lambda: place.host.stopped)
    place.body.say("")
    monkeypatch.setattr(watchdog, "LATCHES", 0.0)
    place.host._press_also()
    assert not place.host.latch.latched


def test_a_stop_that_is_released_before_anyone_looks_still_stops(tmp_path):
    place = Place(tmp_path, moving=False)
    place.host.stop("a hand in the cell")
    place.host.stop("")
    place.until(lambda: place.host.stopped)
    assert place.host.stopped == "E-STOP: a hand in the cell"
    place.end()


def test_a_signal_may_come_while_its_own_thread_holds_the_lock_of_an_event(place):
    """The handler runs on the main thread, which may be inside `set` of any event of the host: their locks let nobody in twice."""
    with place.host._wake._cond, place.host.ended._cond, place.host._rests._cond:
        handler = threading.Thread(target=place.host.end, daemon=True)
        handler.start()
        handler.join(5.0)
        assert not handler.is_alive()
    assert place.left.wait(PATIENCE) and place.host.stopped == "watchdog: its process was told to end"


def test_told_to_end_while_the_body_moves_by_itself_in_its_reset_it_is_stopped(place, monkeypatch):
    """No command has moved it, and its reset is not waited for."""
    goes_on = threading.Event()
    place.host._moving, place.host.period = False, 0.2
    place.body.reset = lambda seed: goes_on.wait(PATIENCE)
    monkeypatch.setattr(place.host, "_close", lambda: None)
    homes = threading.Thread(target=lambda: place.host._call("reset", lambda: place.body.reset(None)))
    homes.start()
    place.until(lambda: place.host._calling == "reset")
    place.host.end()
    assert place.left.wait(PATIENCE)
    assert place.body.came[-1][1] == "stop" and place.host.stopped == "watchdog: its process was told to end"
    goes_on.set()
    homes.join()


def test_a_loop_that_heard_of_neither_stop_nor_release_is_told(place, monkeypatch):
    monkeypatch.setattr(watchdog, "LATCHES", 1e6)
    place.body.say("a hand in the cell")
    place.until(lambda: place.host.stopped and not place.host._moving)
    place.host._refuse_when_stopped()  # it stands: the loop sees it latched, and brakes for itself
    place.body.say("")
    with pytest.raises(watchdog.Stopped, match="a hand in the cell"):
        place.host._refuse_when_stopped()
