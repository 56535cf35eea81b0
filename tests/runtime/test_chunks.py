"""Chunks that overlap: their mean, their seams under delay, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.robots.arm7 import arm7
from palmar.runtime.chunks import Averaged, ChunkBuffer
from palmar.runtime.loop import Subscriber, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk


def test_a_mean_keeps_what_else_the_newest_chunk_says():
    averaged = Averaged(SimpleNamespace(interface=Interface({}, (), ("x", "y"), 3)), decay=0.0)
    averaged.mean(ActionChunk(np.zeros((3, 2), np.float32), 0.1, 0.0))
    spread = np.full((3, 2), 0.5, np.float32)
    said = {"front": np.ones((2, 2), np.float32)}
    got = averaged.mean(ActionChunk(np.ones((3, 2), np.float32), 0.1, 0.1, 0.7, 0.2, said, spread))
    np.testing.assert_allclose(got.actions[:, 0], [0.5, 0.5, 1.0])
    np.testing.assert_array_equal(got.spread, spread)
    assert (got.dt, got.t0, got.confidence, got.done, got.attention) == (0.1, 0.1, 0.7, 0.2, said)


def chunk(t0, first=0.0, steps=8, dt=0.1):
    """Step i says first + i."""
    return ActionChunk((first + np.arange(steps, dtype=np.float32))[:, None], dt, t0)


def at(buffer, now):
    sampled = buffer.sample(now)
    return None if sampled is None else float(sampled[0][0])


def test_what_is_dropped_is_what_was_consumed():
    """The chunk before runs dry at 0.8 s; the next one, of 0.5 s, comes at 1.4 s: three of its steps were consumed, not nine."""
    buffer = ChunkBuffer()
    buffer.push(chunk(0.0), 0.0)
    assert at(buffer, 0.75) == 7
    buffer.asked(0.5)
    for now in (0.8, 0.9, 1.0, 1.1, 1.2, 1.3):
        assert at(buffer, now) is None
    buffer.push(chunk(0.5, 100.0), 1.4)
    assert at(buffer, 1.4) == 103
    assert at(buffer, 1.55) == 104


def test_steps_of_a_chunk_that_comes_in_time_are_late_by_the_clock():
    buffer = ChunkBuffer()
    buffer.push(chunk(0.0), 0.0)
    buffer.push(chunk(0.2, 100.0), 0.45)
    assert at(buffer, 0.45) == 102


def test_the_rest_of_the_running_chunk_and_how_much_of_it_is_committed():
    buffer = ChunkBuffer(realtime=True)
    assert buffer.rest(0.0) is None
    buffer.push(chunk(0.0), 0.0)
    for t0 in (0.1, 0.3):
        buffer.push(chunk(t0, 10.0), t0 + 0.15)  # one step and a half: two began
    rest = buffer.rest(0.6)
    assert rest.actions[:, 0].tolist() == [13, 14, 15, 16, 17]
    assert rest.committed == 2
    assert buffer.rest(1.05).committed == 1  # no more than are left
    assert buffer.rest(1.2) is None
    assert ChunkBuffer().rest(0.0) is None


def test_a_chunk_of_before_a_reset_never_enters():
    buffer = ChunkBuffer()
    epoch = buffer.epoch
    buffer.reset()
    with pytest.raises(BadValue, match="before a reset"):
        buffer.push(chunk(0.0), 0.1, epoch)
    assert buffer.current is None and buffer.sample(0.1) is None


@pytest.mark.parametrize("t0", [0.1, 0.9])
def test_a_chunk_from_the_future_or_the_past_is_refused_and_the_running_one_goes_on(t0):
    buffer = ChunkBuffer()
    buffer.push(chunk(0.2), 0.2)
    with pytest.raises(BadValue, match=r"the chunk answers an observation of .* Next: "):
        buffer.push(chunk(t0, 100.0), 0.5)
    assert at(buffer, 0.5) == 3


def test_the_loop_takes_nothing_that_was_asked_for_in_another_episode():
    robot = arm7()

    class Counts:
        interface, calls = None, 0

        def act(self, obs, prefix=None):
            self.calls += 1
            return ActionChunk(np.full((16, 7), 0.001 * self.calls, np.float32), 0.1, obs.time)

        def reset(self):
            pass

    worker, chunks = Inline(Counts(), delay=0.3), []

    class Watch(Subscriber):
        def on_tick(self, tick):
            chunks.extend([tick.chunk] if tick.new_chunk else [])

    for _ in range(2):
        body = MockBody(robot)
        rollout(body, worker, body.reset(), subscribers=[Watch()], timeout=0.2)
        assert worker.busy  # what was asked for at the end is not there yet
    body = MockBody(robot)
    rollout(body, worker, body.reset(), subscribers=[Watch()], timeout=0.35)
    assert [round(float(c.actions[0, 0]) * 1000) for c in chunks] == [3]


def test_the_policy_is_told_what_runs_while_it_computes():
    robot, told = arm7(), []

    class Asked:
        interface = None

        def act(self, obs, prefix=None):
            told.append(prefix)
            return ActionChunk(np.tile(np.float32(0.0001 * len(told)), (16, 7)), 0.1, obs.time)

        def reset(self):
            pass

    body = MockBody(robot)
    rollout(
        body, Inline(Asked(), delay=0.2), body.reset(), chunks=ChunkBuffer(execute=4, realtime=True), timeout=2.0
    ).check()
    assert told[0] is None
    assert [len(p.actions) for p in told[2:4]] == [12, 12]
    assert told[-1].committed == 2


def test_a_chunk_may_say_how_much_of_it_to_carry_out() -> None:
    buffer = ChunkBuffer(execute=4)
    for execute, due in ((None, 0.4), (1, 0.1), (2, 0.2), (6, 0.6)):
        buffer.reset()
        buffer.asked(0.0)
        buffer.push(ActionChunk(np.zeros((8, 3), np.float32), 0.1, 0.0, execute=execute), 0.0)
        asked = [round(t, 2) for t in np.arange(0.0, 0.9, 0.1) if buffer.due(t, 0.1)]
        assert asked[0] == due
    with pytest.raises(BadValue, match="execute is 0"):
        ActionChunk(np.zeros((8, 3), np.float32), 0.1, 0.0, execute=0)
