"""A policy is believed when it says "done" twice running, each chunk counted once."""

import numpy as np

from palmar.runtime.monitor import Finished
from palmar.types import ActionChunk, Observation

SEEN = Observation({}, np.zeros(1, np.float32), "", 0.0)


def test_two_sure_chunks_running_and_each_counts_once():
    finished = Finished(0.6)

    def say(t0, done):
        return finished(SEEN, ActionChunk(np.zeros((1, 1), np.float32), 0.1, t0, done=done))

    assert not finished(SEEN, None)
    assert not say(0.0, 0.9) and not say(0.0, 0.9)  # the same chunk, seen again
    assert not say(0.4, 0.5)  # not sure: begins anew
    assert not say(0.8, 0.7) and say(1.2, 0.7)
    assert not Finished(0.6)(SEEN, ActionChunk(np.zeros((1, 1), np.float32), 0.1, 0.0))
