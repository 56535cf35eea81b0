"""Collecting, evaluating and filming go for any robot, and for its tasks only."""

from pathlib import Path

import numpy as np
import pytest

from palmar.data.reader import Dataset
from palmar.errors import BadValue, UnknownName
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.film import film
from palmar.lab.suite import EvalConfig, evaluate
from palmar.robots import robot, robots
from palmar.sim import tasks, truth


@pytest.mark.parametrize("name", robots())
def test_a_recorded_set_has_the_channels_of_the_robot(name: str, tmp_path: Path) -> None:
    done = collect(tmp_path / "set", CollectConfig(2, robot=name), processes=1, progress=False)
    assert (done.saved, done.short) == (2, 0)
    data, described = Dataset(tmp_path / "set", cache=False), robot(name)
    assert data.robot_type == name
    assert tuple(data.action_names) == described.action_names
    assert tuple(data.state_names) == described.state_names
    assert tuple(data.privileged_names) == truth.names(described)
    assert set(data.cameras) == {c.name for c in described.cameras}
    assert data.fps == described.policy_rate
    assert {e.task for e in data.episodes} <= set(tasks.names(name))


@pytest.mark.parametrize("name", robots())
def test_an_expert_is_evaluated_on_the_robot_s_own_tasks(name: str) -> None:
    config = EvalConfig("expert", 1, robot=name)
    assert config.tasks == tasks.usual(name)
    results = evaluate(config, processes=1, progress=False)
    assert [t.task for t in results.trials] == list(config.tasks)
    assert all(t.success and t.approached for t in results.trials)


def test_tasks_of_another_robot_are_refused_by_name() -> None:
    for make in (EvalConfig, CollectConfig):
        with pytest.raises(UnknownName, match=r"unknown task 'pick'. Known: touch, nudge"):
            make(tasks=("touch", "pick"), robot="so101")
        with pytest.raises(UnknownName, match=r"unknown robot 'so102'. Did you mean 'so101'"):
            make(robot="so102")


def test_a_scene_of_another_robot_s_task_is_refused() -> None:
    from palmar.sim.world import World

    with pytest.raises(BadValue, match=r"task 'pick' is for arm7, not for mobile3. Next: one of drive, face"):
        World(robot("mobile3"), images=False).load(tasks.sample("pick"))


@pytest.mark.parametrize(("name", "task"), [("arm7", "reach"), ("mobile3", "face")])
def test_a_trial_in_one_of_several_twins_is_filmed(name: str, task: str, tmp_path: Path) -> None:
    config = EvalConfig("expert", 2, tasks=(task,), world="twins:2", robot=name, timeout=3.0)
    made = film(config, task, "layout", 1, tmp_path / "twin.mp4")
    assert made.world == "twin"
    assert made.path.stat().st_size > 1000
    assert np.isfinite(made.tcp).all()
