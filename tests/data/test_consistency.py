from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palmar.data.consistency import irregular, unit_changes
from palmar.data.reader import EpisodeInfo


def episodes(lengths):
    ends = np.cumsum([0, *lengths])
    return [EpisodeInfo(i, int(a), int(b), "", "", None) for i, (a, b) in enumerate(pairwise(ends))]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from([10, 30, 29.97, 50, 1000 / 33]), st.data())
def test_the_first_irregular_frame_is_named(lengths, fps, data):
    ends = np.cumsum([0, *lengths])
    start, stop = ends[:-1], ends[1:]
    times = (np.concatenate([np.arange(n) for n in lengths]) / fps).astype(np.float32)
    assert irregular(times, start, stop, fps) is None
    e = data.draw(st.integers(0, len(lengths) - 1))
    frame = data.draw(st.integers(0, lengths[e] - 1))
    times[start[e] + frame] += 0.5 / fps
    found = irregular(times, start, stop, fps)
    assert (found.episode, found.frame, found.frames) == (e, frame, 1)
    assert f"in episode {e}, frame {frame} has" in str(found) and "Next: " in str(found)


def test_another_rate_a_missing_frame_and_nan():
    start, stop = np.array([0]), np.array([300])
    assert irregular(np.arange(300) / 15, start, stop, 30).frame == 1
    gap = np.arange(300) / 30 + (np.arange(300) > 200) / 30
    assert (irregular(gap, start, stop, 30).frame, irregular(gap, start, stop, 30).frames) == (201, 99)
    assert irregular(np.full(300, np.nan), start, stop, 30).frame == 0


@given(st.integers(2, 8), st.data(), st.floats(0.05, 2.0), st.sampled_from([180 / np.pi, np.pi / 180, 100, 0.001]))
def test_units_that_change_half_way_are_named(count, data, size, factor):
    at = data.draw(st.integers(1, count - 1))
    infos = episodes([50] * count)
    rng = np.random.default_rng(0)
    values = (
        np.sin(np.linspace(0, 6 * count, 50 * count))[:, None] * size * np.array([1.0, 0.5])
        + rng.normal(size=(50 * count, 2)) * 1e-3
    )
    assert unit_changes("state", values, ("a", "b"), infos) == []
    values[50 * at :, 1] *= factor
    (found,) = unit_changes("state", values, ("a", "b"), infos)
    assert (found.channel, found.episode) == ("b", at) and "state 'b' changes its unit" in str(found)
    np.testing.assert_allclose(found.ratio, factor, rtol=0.4)
