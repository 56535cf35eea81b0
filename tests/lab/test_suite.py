"""The same config gives the same trials, however many processes and whoever watches; results survive the disk."""

from dataclasses import fields, replace

import numpy as np
import pytest

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.eval.results import Results, Trial
from palmar.lab.suite import EvalConfig, evaluate, evaluated, run, swapped
from palmar.lab.worlds import Loaded
from palmar.robots.arm7 import arm7
from palmar.sim import tasks
from palmar.sim.instructions import parse
from palmar.sim.params import Randomization
from palmar.sim.scenario import TEST_SEED
from palmar.sim.things import SHAPES
from palmar.types import ActionChunk

TINY = EvalConfig("expert", episodes=1, tasks=("reach", "push"), timeout=2.0, randomization=Randomization(1.0))


def facts(trial):
    """All but the wall clock."""
    return {f.name: getattr(trial, f.name) for f in fields(trial) if f.name != "latency"}


@pytest.fixture(scope="module")
def results():
    return evaluate(TINY, processes=1, progress=False)


def test_two_processes_make_the_same_trials(results):
    again = evaluate(TINY, processes=2, progress=False)
    assert [facts(t) for t in again.trials] == [facts(t) for t in results.trials]


def test_the_tables_are_those_of_the_seeds(results):
    assert [t.task for t in results.trials] == ["reach", "push"]
    assert results.trials[0].instruction == tasks.sample("reach", "layout", 0).instruction
    assert results.rate().n == 2
    assert results.rate(task="reach").n == 1
    assert results.trials[0].success and results.trials[0].approached


def test_results_come_back_from_disk(results, tmp_path):
    results.save(tmp_path / "deep" / "r.json")
    back = Results.load(tmp_path / "deep" / "r.json")
    assert back.trials == results.trials
    assert back.config == results.config
    assert back.config["policy"] == "expert"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": {}, "trials": [{"task": "pick"}]}'])
def test_a_damaged_file_says_so(text, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(
        BadFile, match=r"r.json' is not a results file, with .*: it (is not JSON|lacks them). Next: palmar eval"
    ):
        Results.load(tmp_path / "r.json")
    with pytest.raises(BadFile, match=r"no results at .* Next: palmar eval"):
        Results.load(tmp_path / "none.json")


@pytest.mark.parametrize("task", tasks.usual("arm7"))
def test_swapped_asks_for_another_object_on_the_same_table(task):
    scenario = tasks.sample(task, "layout", 3)
    other = swapped(scenario)
    assert other.items == scenario.items
    assert other.target != scenario.target
    assert other.items[other.target].shape in SHAPES
    assert parse(other.instruction).colour == other.items[other.target].colour
    alone = replace(scenario, items=scenario.items[:1], target=0, goal=None)
    with pytest.raises(BadValue, match="one object only"):
        swapped(alone)


def test_a_swapped_trial_counts_the_new_object():
    trial = run(Loaded(), (replace(TINY, swap=True), "reach", "layout", 0))
    assert trial.success and trial.approached
    assert trial.instruction != tasks.sample("reach", "layout", 0).instruction


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"episodes": 0}, BadValue, "episodes is 0"),
        ({"tasks": ("pik",)}, UnknownName, "Did you mean 'pick'"),
        ({"splits": ("laiout",)}, UnknownName, "Did you mean 'layout'"),
        ({"tasks": ()}, BadValue, "no task is named"),
        ({"splits": ()}, BadValue, "no split is named; expected one or more of seen, layout"),
        ({"tasks": ("pick", "pick")}, BadValue, "expected each once"),
        ({"latency": float("nan")}, BadValue, "latency is nan; expected 0 … 60 seconds"),
        ({"latency": -0.1}, BadValue, "latency is -0.1"),
        ({"timeout": 0.0}, BadValue, "timeout is 0.0"),
        ({"seed": TEST_SEED}, BadValue, "seed is 1000000; expected 0 … 999999"),
        ({"world": "mars"}, BadValue, "world is 'mars'"),
        ({"world": "twin:x"}, BadValue, "twin:SEED"),
        ({"world": "twins:0"}, BadValue, "world is 'twins:0'"),
    ],
)
def test_a_bad_config_names_the_value(change, error, says):
    with pytest.raises(error, match=says):
        replace(TINY, **change)


def test_unaided_a_trial_ends_by_the_policy_and_is_judged_by_the_world():
    """The expert never says "done": its trial goes on to the end of the time, and what it has reached counts."""
    trial = run(Loaded(), (replace(TINY, unaided=True, tasks=("reach",)), "reach", "layout", 0))
    aided = run(Loaded(), (TINY, "reach", "layout", 0))
    assert trial.success and aided.success
    assert trial.duration == pytest.approx(TINY.timeout) and aided.duration < 1.9
    assert trial.done_seen is None


class Answers:
    """Zeros, for a robot of the interface given."""

    def __init__(self, interface, fails=False):
        self.interface, self.fails = interface, fails

    def act(self, obs, prefix=None):
        if self.fails:
            raise ZeroDivisionError("inside the policy")
        i = self.interface
        return ActionChunk(np.zeros((i.horizon, len(i.action_names)), np.float32), i.dt, obs.time)

    def reset(self):
        pass


ARM = arm7().interface(8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"horizon": 1}, r"execute is 4, the policy answers 1 actions at once.*Next: --execute 1"),
        ({"dt": 1 / 30}, "at 10 Hz, the policy at 30 Hz"),
        ({"cameras": {"left": (96, 96)}}, "camera 'left' is missing .there are: front, wrist"),
        ({"state_names": ("elbow",), "state_units": ()}, "state channel 'elbow' is missing"),
        ({"action_names": ("dx", "lift"), "action_units": ()}, "action channel 'lift' is missing"),
    ],
)
def test_a_policy_that_does_not_fit_the_robot_is_refused_by_name(changes, says, monkeypatch):
    monkeypatch.setattr(Loaded, "policy", lambda mine, where: Answers(replace(ARM, **changes)))
    with pytest.raises(BadValue, match=says):
        run(Loaded(), (replace(TINY, policy="x"), "reach", "layout", 0))


def test_a_policy_that_fails_is_no_trial_without_success(monkeypatch):
    monkeypatch.setattr(Loaded, "policy", lambda mine, where: Answers(ARM, fails=True))
    with pytest.raises(ZeroDivisionError, match="inside the policy"):
        run(Loaded(), (replace(TINY, policy="x"), "reach", "layout", 0))


def test_channels_in_another_order_are_put_in_order(monkeypatch):
    """A policy whose cameras, states and actions are those of the robot in another order makes the same trial."""
    seen = []

    class Moves(Answers):
        def act(self, obs, prefix=None):
            seen.append((list(obs.images), obs.state[self.interface.state_names.index("joint2.pos")]))
            actions = np.zeros((8, 7), np.float32)
            actions[:, self.interface.action_names.index("dx")] = 0.02
            return ActionChunk(actions, 0.1, obs.time)

    turned = replace(
        ARM, cameras=dict(reversed(ARM.cameras.items())), state_names=ARM.state_names[::-1],
        state_units=ARM.state_units[::-1], action_names=ARM.action_names[::-1], action_units=ARM.action_units[::-1],
    )  # fmt: skip
    trials, looks = [], []
    for interface in (ARM, turned):
        seen.clear()
        monkeypatch.setattr(Loaded, "policy", lambda mine, where, interface=interface: Moves(interface))
        trials.append(facts(run(Loaded(), (replace(TINY, policy="x", timeout=1.0), "reach", "layout", 0))))
        looks.append(list(seen))
    assert trials[0] == trials[1]
    assert [s for _, s in looks[0]] == [s for _, s in looks[1]]
    assert looks[0][0][0] == ["front", "wrist"] and looks[1][0][0] == ["wrist", "front"]


def test_several_twins_take_turns():
    config = replace(TINY, world="twins:2", randomization=Randomization(0.0), tasks=("reach",), episodes=3, seed=4)
    trials = evaluate(config, processes=1, progress=False).trials
    assert [(t.seed, t.world) for t in trials] == [(4, "twin:0"), (5, "twin:1"), (6, "twin:0")]
    assert facts(trials[1]) == facts(run(Loaded(), (replace(config, world="twin:1"), "reach", "layout", 5)))


def test_rates_add_up():
    trial = Trial("pick", "layout", "sim", 0, "", True, 1.0, True, "", True, 0.0, 0.0, 0.0, 1, 0)
    r = Results({}, (trial, replace(trial, success=False, approached=False, task="place")))
    d = r.to_dict()
    assert d["success"]["layout"]["all"]["rate"] == 0.5
    assert d["success"]["layout"]["pick"]["rate"] == 1.0
    assert d["approached"]["layout"]["n"] == 2
    assert r.said_done().to_dict()["n"] == 1 and r.said_done().value == 1.0  # of the successes


def test_results_are_taken_from_disk_only_when_they_answer_the_same_question(tmp_path):
    config, kept = EvalConfig("expert", 1, ("reach",)), tmp_path / "r.json"
    first = evaluated(config, kept)
    written = kept.stat().st_mtime_ns
    assert evaluated(config, kept) == first and kept.stat().st_mtime_ns == written
    assert len(evaluated(replace(config, episodes=2), kept).trials) == 2
