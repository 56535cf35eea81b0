"""Stills: every frame another arrangement, and training learns to look from them but not to act."""

from pathlib import Path

import numpy as np

from palmar.data.collect import CollectConfig, collect
from palmar.data.reader import Dataset
from palmar.data.stills import StillsConfig, collect_stills, photograph
from palmar.sim import tasks
from palmar.train.feed import Feed
from palmar.types import STILL


def test_a_table_is_arranged_anew_for_every_frame() -> None:
    config = StillsConfig(tables=1, frames=5)
    first, again = photograph((config, 400_003)), photograph((config, 400_003))
    spots = np.array([s.observation.privileged[:2] for s in first.steps])
    assert len(np.unique(spots.round(3), axis=0)) == 5
    for a, b in zip(first.steps, again.steps, strict=True):
        np.testing.assert_array_equal(a.observation.images["front"], b.observation.images["front"])
    names = {(it.colour, it.shape) for it in tasks.sample("push", "seen", 400_003, distractors=3).items}
    assert not names & set(tasks.HELD_OUT)


def test_their_actions_are_all_padding(tmp_path: Path) -> None:
    collect_stills(tmp_path / "stills", StillsConfig(tables=3, frames=2), processes=1, progress=False)
    data = Dataset(tmp_path / "stills")
    assert {e.source for e in data.episodes} == {STILL}
    collect(tmp_path / "demos", CollectConfig(episodes=2, tasks=("reach",)), processes=1, progress=False)
    demos = Dataset(tmp_path / "demos")
    feed = Feed([demos, data], horizon=4, validation=0.0)
    batch = feed.frames(np.arange(len(demos) + len(data)))
    assert not batch["pad"][: len(demos)].all(1).any()
    assert batch["pad"][len(demos) :].all()
    assert len(feed.moving) == len(demos) and len(feed.training) == len(demos) + len(data)
