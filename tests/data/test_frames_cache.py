"""The cache of decoded frames, below the data set."""

import threading
from contextlib import contextmanager

import numpy as np

from palmar.data import cache
from palmar.data.cache import Clip, Footage, frames


def test_frames_of_clips_that_are_half_decoded_are_counted_once(tmp_path, monkeypatch):
    """A short clip ends while a long one is half done: the cache is foreseen as large as it becomes, and is made."""
    source = tmp_path / "video.mp4"
    source.write_bytes(bytes(1000))
    half, counted = threading.Event(), threading.Event()
    clips = [Clip(source, 0.0, 0, 2), Clip(source, 0.2, 2, 42)]
    noise = np.random.default_rng(0).integers(0, 256, (42, 16, 16, 3)).astype(np.uint8)  # nothing to compress

    def decode(camera, clip):
        if clip.start == 0:
            assert half.wait(10)
        for i in range(clip.stop - clip.start):
            if clip.start and i == 20:
                half.set()
                assert counted.wait(10)
            yield i, noise[clip.start + i]

    @contextmanager
    def counting(what, total, quiet):
        yield lambda n: counted.set()

    monkeypatch.setattr(cache, "counting", counting)
    monkeypatch.setattr(cache, "SMALL", int(1.2 * noise.nbytes))
    monkeypatch.setattr(cache.os, "cpu_count", lambda: 2)
    made = frames(tmp_path, {"front": Footage(clips, (16, 16), (16, 16))}, decode)["front"]
    assert len(made) == 42
    np.testing.assert_array_equal(made[np.arange(42)], noise)
