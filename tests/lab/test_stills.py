"""Stills: every frame another arrangement, and training learns to look from them but not to act."""

from pathlib import Path

import numpy as np
import pytest

from palmar.data.reader import Dataset
from palmar.lab import stills as room
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.stills import StillsConfig, collect_stills, photograph, scatter
from palmar.lab.worlds import Loaded
from palmar.robots.arm7 import arm7
from palmar.sim import tasks, truth
from palmar.sim.scenario import HELD_OUT
from palmar.sim.things import Item, apart
from palmar.train.feed import Feed
from palmar.types import STILL


def test_a_table_is_arranged_anew_for_every_frame() -> None:
    config = StillsConfig(tables=1, frames=5)
    first, again = photograph(Loaded(), (config, 400_003)), photograph(Loaded(), (config, 400_003))
    spots = np.array([s.observation.privileged[:2] for s in first.steps])
    assert len(np.unique(spots.round(3), axis=0)) == 5
    for a, b in zip(first.steps, again.steps, strict=True):
        np.testing.assert_array_equal(a.observation.images["front"], b.observation.images["front"])
    names = {(it.colour, it.shape) for it in tasks.sample("push", "seen", 400_003, distractors=3).items}
    assert not names & set(HELD_OUT)


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


def test_resumed_stills_are_new_tables_and_leave_demonstrations_out(tmp_path: Path) -> None:
    small = {"processes": 1, "resume": True, "progress": False}
    collect(tmp_path / "set", CollectConfig(episodes=1, tasks=("reach",)), **small)
    collect_stills(tmp_path / "set", StillsConfig(tables=2, frames=1), **small)
    done = collect_stills(tmp_path / "set", StillsConfig(tables=3, frames=2), **small)
    assert (done.saved, done.frames, done.there, done.short) == (1, 2, 2, 0)
    assert [e.seed for e in Dataset(tmp_path / "set").episodes] == [0, 400_000, 400_001, 400_002]


def test_objects_never_overlap() -> None:
    crowd = tuple(
        Item(s, "red", x, y, 0.0)
        for s, x, y in (("tray", 0.45, -0.1), ("tray", 0.45, 0.1), *([("cube", 0.6, 0.0)] * 3))
    )
    given_up = 0
    for seed in range(30):
        spots = scatter(crowd, np.random.default_rng(seed))
        if spots is None:
            given_up += 1
            continue
        now = [spots.get(i, item) for i, item in enumerate(crowd)]
        assert all(apart(a, b) for i, a in enumerate(now) for b in now[:i])
    assert given_up < 30
    assert scatter(crowd[:2] + crowd[2:] * 10, np.random.default_rng(0)) is None


def test_a_frame_that_does_not_fit_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([None, 1, 1])
    true = room.scatter
    monkeypatch.setattr(room, "scatter", lambda items, rng: next(turns, None) and true(items, rng))
    assert len(photograph(Loaded(), (StillsConfig(frames=3), 400_000)).steps) == 2
    done = collect_stills(tmp_path / "set", StillsConfig(tables=1, frames=1), processes=1, progress=False)
    assert (done.saved, done.frames, done.short) == (0, 0, 1)


def test_alike_tables_differ_in_shape_only_and_hold_no_pair_that_is_held_out() -> None:
    changed = 0
    for seed in range(60):
        scenario = tasks.sample(tasks.names("arm7")[seed % 4], "seen", seed, distractors=3)
        table = room.alike(scenario)
        pairs = [(i.colour, i.shape) for i in table.items]
        assert len(set(pairs)) == len(pairs)
        assert not set(pairs) & set(HELD_OUT)
        changed += table != scenario
    assert changed > 30


def test_boxes_and_turns_are_recorded_when_asked_for(tmp_path: Path) -> None:
    collect_stills(tmp_path / "stills", StillsConfig(tables=1, frames=2, extents=True), processes=1, progress=False)
    data = Dataset(tmp_path / "stills")
    assert tuple(data.privileged_names) == truth.names(arm7(), extents=True)
    make = truth.decoder(data.privileged_names, data.cameras, data.state_names)
    raw = data.batch(np.arange(2), 1)
    labels = make(raw["privileged"], raw["state"])
    seen = labels["visible"][..., 0] > 0.5
    middle = labels["boxes"][..., 0, :2]
    assert seen.any() and labels["boxed"][..., 0][seen].all()
    assert np.abs(middle - labels["points"][..., 0, :])[seen].max() < 0.1
