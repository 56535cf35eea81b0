"""The mean of overlapping chunks."""

from types import SimpleNamespace

import numpy as np

from palmar.mapping import Interface
from palmar.runtime.chunks import Averaged
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
