"""kill -9 in a real second process at random moments: at most the episode in progress is lost, recording goes on."""

import multiprocessing as mp
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from synthetic import ROBOT, episode

from palmar.data import durable
from palmar.data.consolidate import consolidate
from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter

MOMENTS = 20


def keep_recording(root: str, told, first: int, delay: float) -> None:
    """Record, close (which consolidates) and go on, until killed after `delay` [s]; tell every finished episode."""
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    index = first
    while True:
        with DatasetWriter(root, ROBOT, 10, resume=True) as writer:
            for _ in range(2):
                writer.add(episode(3 + index % 3, seed=index, instruction=f"task {index % 4}"))
                index += 1
                told.send(index)


def check(root: Path, known: int) -> int:
    """Episodes in the set, after making sure that each is the one that was recorded, pictures included."""
    ds = Dataset(root, cache=False)
    for e in ds.episodes:
        made = episode(3 + e.index % 3, seed=e.index, instruction=f"task {e.index % 4}")
        assert e.length == len(made.steps) and e.instruction == made.instruction and e.seed == e.index
        np.testing.assert_array_equal(ds.actions[e.start : e.stop], [s.action for s in made.steps])
    for e in ds.episodes[known:]:  # older ones were looked at before
        images = ds.batch(np.arange(e.start, e.stop), 1)["images"]
        for cam, frames in images.items():
            wanted = np.stack([s.observation.images[cam] for s in episode(e.length, seed=e.index).steps])
            assert np.abs(frames.astype(int) - wanted).mean() < 4
    return len(ds.episodes)


@pytest.mark.slow
def test_a_killed_recorder_loses_at_most_the_episode_in_progress(tmp_path, monkeypatch):
    # the server's socket lies in the temporary folder, and the path of a socket may have 107 bytes alone
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    monkeypatch.delitem(mp.current_process()._config, "tempdir", raising=False)
    root, known, dice = tmp_path / "set", 0, random.Random(os.environ.get("PALMAR_SEED", "palmar"))
    DatasetWriter(root, ROBOT, 10).close()
    server = mp.get_context("forkserver")
    server.set_forkserver_preload(["palmar.data.writer", "palmar.data.consolidate", "pyarrow.parquet", "av"])
    for moment in range(MOMENTS):
        ours, theirs = server.Pipe(duplex=False)
        child = server.Process(target=keep_recording, args=(str(root), theirs, known, dice.uniform(0.05, 0.9)))
        child.start()
        theirs.close()
        told = known
        try:
            while True:
                told = ours.recv()
        except EOFError:
            pass
        child.join(10)
        assert child.exitcode == -signal.SIGKILL, f"the recorder failed by itself, exit code {child.exitcode}"
        found = check(root, known)
        assert told <= found <= told + 1, f"kill {moment}: {told} episodes were finished, {found} are there"
        known = found
    assert known >= 5, "too few episodes to say anything"
    with DatasetWriter(root, ROBOT, 10, resume=True):
        pass
    ds = Dataset(root)
    assert len(ds.episodes) == known and ds.stats["action"]["count"].tolist() == [len(ds)]
    left = {p.name for p in root.iterdir()}
    assert left <= {"data", "videos", "meta", ".cache", ".palmar"}, left  # half an episode is kept aside
    assert len(list(root.glob("data/*/*.parquet"))) == 1


class Cut(BaseException):
    """As good as a kill: nothing catches it to tidy up."""


def test_consolidation_cut_at_every_rename(tmp_path, monkeypatch):
    """Each rename and removal of the swap in turn is the last thing that happens; every state must read the same."""
    source = tmp_path / "source"
    writer = DatasetWriter(source, ROBOT, 10)
    for i in range(3):
        writer.add(episode(4, seed=i))
    writer.close(consolidate=False)
    expected = Dataset(source, cache=False).batch(np.arange(12), 2)
    cuts, step = 0, 0
    while True:
        root = tmp_path / f"cut{step}"
        shutil.copytree(source, root)
        left = [step]

        def counted(real, left=left):
            def call(*args, **options):
                if left[0] == 0:
                    raise Cut
                left[0] -= 1
                return real(*args, **options)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted(Path.rename))
            patch.setattr(durable.shutil, "rmtree", counted(shutil.rmtree))
            try:
                consolidate(root)
                finished = True
            except Cut:
                finished, cuts = False, cuts + 1
        ds = Dataset(root, cache=False)
        batch = ds.batch(np.arange(12), 2)
        np.testing.assert_array_equal(batch["state"], expected["state"])
        np.testing.assert_array_equal(batch["images"]["wrist"], expected["images"]["wrist"])
        with DatasetWriter(root, ROBOT, 10, resume=True) as writer:
            assert writer.add(episode(4, seed=3)) == 3
        assert len(Dataset(root, cache=False)) == 16
        if finished:
            break
        step += 1
    assert cuts >= 8


def test_a_reader_waits_for_a_living_consolidation(tmp_path):
    root = tmp_path / "set"
    with DatasetWriter(root, ROBOT, 10) as writer:
        writer.add(episode(4))
    lock = durable.WriterLock(root)
    assert lock.take() and not durable.WriterLock(root).take()
    (root / durable.NEW).mkdir()
    threading.Timer(0.2, lambda: (root / durable.NEW).rmdir()).start()
    began = time.monotonic()
    assert len(Dataset(root)) == 4 and time.monotonic() - began > 0.1
    lock.release()
