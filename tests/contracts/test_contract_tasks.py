"""What every task keeps on every robot it fits: an expert that succeeds, scenes of every split, words for each. Tasks and
robots are found by themselves."""

import re
from functools import cache

import numpy as np
import pytest

from palmar.choices import DRAWN
from palmar.robots import robot, robots
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.loop import rollout
from palmar.runtime.monitor import SafetyCounts
from palmar.sim import instructions, tasks
from palmar.sim.experts import Expert
from palmar.sim.reality import twin
from palmar.sim.things import KINDS
from palmar.sim.world import World

PAIRS = [(name, task) for name in robots() for task in tasks.names(name)]
SPLIT_PAIRS = [(name, task, split) for name, task in PAIRS for split in DRAWN]


@cache
def world_of(name: str) -> World:
    return World(robot(name), images=False)


def settled(world: World, scenario) -> tuple[np.ndarray, object]:
    """The command that keeps the robot where it starts."""
    obs = world.load(scenario)
    measured = world.embodiment.measured(obs.state)
    speeds = np.array([c.kind == "velocity" for c in world.embodiment.channels])
    return np.where(speeds, 0.0, np.where(world.embodiment.moves_joint, measured, world.embodiment.home)), obs


def test_every_robot_has_tasks_of_its_own_streams():
    assert {name for name, _ in PAIRS} == set(robots())
    streams = [tasks.task(n).stream for n in tasks.names()]
    assert len(set(streams)) == len(streams), "two tasks would draw the same scenes"
    for n in tasks.names():
        assert set(tasks.task(n).robots) <= set(robots()), n


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_the_expert_succeeds_within_the_limits(name, task):
    """In all of the first scenes, or in all but one of twice as many."""
    world, failed, scenes = world_of(name), [], 6 if tasks.task(task).extra else 10
    for seed in range(2 * scenes):
        if seed == scenes and not failed:
            break
        obs = world.load(tasks.sample(task, "layout", seed))
        safety, sent = SafetyCounts(), []

        class Sent(SafetyCounts):
            def on_tick(self, tick, sent=sent):
                sent.append(tick.verdict.command)

        rollout(
            world, Expert(world), obs, chunks=ChunkBuffer(execute=1), timeout=12.0, subscribers=[safety, Sent()],
            until=lambda *_: world.success(),
        ).check()  # fmt: skip
        if not world.success():
            failed.append(seed)
        low, high = world.embodiment.lower, world.embodiment.upper
        assert np.all((np.array(sent) >= low - 1e-9) & (np.array(sent) <= high + 1e-9))
    assert len(failed) <= 1, f"seeds {failed}; look: python benchmarks/experts.py --only {task}:{failed[0]}"


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_the_expert_remembers_nothing(name, task):
    """It may be asked about any state, in any order: DAgger depends on it."""
    world = world_of(name)
    scene = tasks.sample(task, "seen", 1)
    command, obs = settled(world, scene)
    one, two = Expert(world), Expert(world)
    first = one.act(obs).actions
    world.apply(command + 0.02)
    one.act(obs)
    world.load(scene)
    assert np.array_equal(one.act(obs).actions, first)
    assert np.array_equal(two.act(obs).actions, first)
    noisy = [Expert(world, noise=0.01, seed=s).act(obs).actions for s in (0, 0, 1)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    assert not np.array_equal(noisy[0], first)
    acting = one.robot
    assert first.dtype == np.float32
    assert first.shape == (1, len(acting.action_names))
    for frame in acting.frames:
        many = f"{frame.name}." if len(acting.frames) > 1 else ""
        move = [first[0, acting.action_names.index(f"{many}{d}")] for d in ("dx", "dy", "dz")]
        assert np.linalg.norm(move) <= frame.max_step[0] + 1e-6
    for i in acting.free:
        c = acting.channels[i]
        assert c.lower - 1e-6 <= first[0, acting.action_names.index(c.name)] <= c.upper + 1e-6


@pytest.mark.parametrize(("name", "task", "split"), SPLIT_PAIRS)
def test_every_split_has_scenes(name, task, split):
    value = tasks.task(task)
    scene = value.scene
    for seed in range(25):
        s = tasks.sample(task, split, seed)
        assert (s.task, s.split, s.seed) == (task, split, seed)
        target = s.items[s.target]
        assert target.shape in scene.shapes
        assert (s.goal is not None) == bool(scene.goals)
        assert (s.direction is not None) == bool(scene.directions)
        assert (s.hand is not None) == bool(scene.hands)
        assert sum(i.name == target.name for i in s.items) == 1, "the instruction names one thing"
        held = (target.colour, target.shape) in scene.held_out
        assert held == (split == "pair")
        assert s.instruction and "{" not in s.instruction
        assert target.colour in s.instruction
        assert any(n in s.instruction for n in KINDS[target.shape].nouns)
        assert not s.hand or s.hand in s.instruction
        ground, room = np.array(scene.room.size), np.array(scene.room.centre)
        for i, item in enumerate(s.items):
            assert np.all(np.abs(np.array([item.x, item.y]) - room) < ground)
            assert all(np.hypot(item.x - o.x, item.y - o.y) > max(item.kind.half[:2]) for o in s.items[:i])
        if s.goal is not None:
            assert s.items[s.goal].shape in scene.destinations
            assert sum(i.name == s.items[s.goal].name for i in s.items) == 1


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_paraphrases_ask_for_the_same(name, task):
    for seed in range(20):
        s = tasks.sample(task, "seen", seed)
        others = instructions.paraphrases(s.instruction)
        target = s.items[s.target]
        assert len(others) > 5
        for text in others:
            assert target.colour in text
            assert any(n in text for n in KINDS[target.shape].nouns)
            for words, asked in (
                (tasks.task(task).scene.directions, s.direction),
                (tasks.task(task).scene.hands, s.hand),
            ):
                assert set(words) & set(re.findall(r"\w+", text)) == ({asked} if asked else set()), text


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_doing_nothing_is_not_success(name, task):
    world = world_of(name)
    for seed in range(5):
        command, _ = settled(world, tasks.sample(task, "seen", seed))
        for _ in range(25):
            world.apply(command)
        assert not world.success(), seed


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_it_runs_in_another_reality(name, task):
    world = World(robot(name), images=False, reality=twin(3))
    command, _ = settled(world, tasks.sample(task, "seen", 2))
    world.apply(command)
    assert np.isfinite(world.observe().state).all()
    assert len(world.privileged()) == len(world.truth_names)
