"""What every task keeps: an expert that succeeds, tables of every split, words for each. A new task is found by itself."""

import numpy as np
import pytest

from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.worker import Inline
from palmar.sim import experts, tasks
from palmar.sim.experts import Expert
from palmar.sim.tasks import DESTINATIONS, SHAPES, SPLITS, TASKS
from palmar.sim.world import World


@pytest.fixture(scope="module")
def world():
    return World(images=False)


def test_every_task_is_whole():
    for table in (tasks.WORDINGS, tasks.UNSEEN_WORDINGS, tasks.SUCCESS, experts.PLANS):
        assert set(table) == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_succeeds(world, task):
    failed = []
    for seed in range(20):
        obs = world.load(tasks.sample(task, "layout", seed))
        rollout(
            world, Inline(Expert(world)), obs, chunks=ChunkBuffer(execute=1), timeout=12.0,
            until=lambda *_: world.success(),
        )  # fmt: skip
        if not world.success():
            failed.append(seed)
    assert len(failed) <= 1, f"seeds {failed}; look: python benchmarks/experts.py --only {task}:{failed[0]}"


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_remembers_nothing(world, task):
    """It may be asked about any state, in any order: DAgger depends on it."""
    obs = world.load(tasks.sample(task, "seen", 1))
    one, two = Expert(world), Expert(world)
    first = one.act(obs).actions
    world.apply(np.append(world.data.ctrl[:7] + 0.02, 1.0))
    one.act(obs)
    world.load(tasks.sample(task, "seen", 1))
    assert np.array_equal(one.act(obs).actions, first)
    assert np.array_equal(two.act(obs).actions, first)
    noisy = [Expert(world, noise=0.01, seed=s).act(obs).actions for s in (0, 0, 1)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    assert not np.array_equal(noisy[0], first)
    step = world.embodiment.frame().max_step[0]
    assert first.dtype == np.float32
    assert first.shape == (1, len(world.embodiment.action_names))
    assert np.linalg.norm(first[0, :3]) <= step
    assert 0 <= first[0, 6] <= 1


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_tables(task, split):
    reach = arm_reach()
    for seed in range(25):
        s = tasks.sample(task, split, seed)
        assert (s.task, s.split, s.seed) == (task, split, seed)
        assert s.items[s.target].shape in SHAPES
        assert (s.goal is not None) == (task == "place")
        assert (s.direction is not None) == (task == "push")
        if s.goal is not None:
            assert s.items[s.goal].shape in DESTINATIONS
        assert sum(i.name == s.items[s.target].name for i in s.items) == 1, "the instruction names one thing"
        assert s.instruction
        for i, item in enumerate(s.items):
            assert reach[0, 0] < item.x < reach[1, 0]
            assert reach[0, 1] < item.y < reach[1, 1]
            assert all(np.hypot(item.x - o.x, item.y - o.y) > 0.04 for o in s.items[:i])
        if s.goal is not None:
            assert sum(i.name == s.items[s.goal].name for i in s.items) == 1


def arm_reach():
    return World(images=False).embodiment.frame().workspace


@pytest.mark.parametrize("task", TASKS)
def test_doing_nothing_is_not_success(world, task):
    for seed in range(5):
        obs = world.load(tasks.sample(task, "seen", seed))
        hold = np.append(obs.state[:7], 1.0)
        for _ in range(25):
            world.apply(hold)
        assert not world.success(), seed
