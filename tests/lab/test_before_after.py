"""Before and after on the same tables: conditions in words, and nothing run where nothing is held out."""

import pytest

from palmar.errors import BadValue, UnknownName
from palmar.lab import before_after as room
from palmar.lab.before_after import Tables, condition, judge
from palmar.lab.suite import EvalConfig
from palmar.sim.params import NO_RANDOMIZATION


def test_a_condition_is_a_world_or_parameters() -> None:
    assert condition(["twin:3"]) == ("twin:3", NO_RANDOMIZATION)
    world, worlds = condition(["camera_yaw=20", "light=0.2"])
    assert world == "sim" and worlds.strength == 0
    assert worlds.centre["camera_yaw"] == 20 and worlds.centre["light"] == 0.2 and worlds.centre["fov"] == 60
    with pytest.raises(UnknownName, match="camera_yaw"):
        condition(["camera_yow=20"])
    for words in (["camera_yaw"], ["camera_yaw=much"], ["twin:3", "light=0.2"]):
        with pytest.raises(BadValue, match="NAME=VALUE"):
            condition(words)


def test_without_held_out_tables_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "evaluate", lambda *a, **b: pytest.fail("ran"))
    verdict = judge("shipped", "shipped", Tables(100), None)
    assert not verdict.passed and all("held-out" in str(r) for r in verdict.reasons) and len(verdict.reasons) == 2


def test_trials_are_of_all_tasks_together_and_both_policies_see_the_same() -> None:
    tables = Tables(9, tasks=("reach", "pick"), seed=77)
    a, b = tables.config("shipped"), tables.config("other")
    assert (
        isinstance(a, EvalConfig)
        and a.episodes == 5
        and (a.seed, a.tasks) == (b.seed, b.tasks) == (77, ("reach", "pick"))
    )
