import numpy as np
import pytest

from palmar.agent.perceived import GroundedPerception
from palmar.agent.plans import Plan, PlanRequest
from palmar.agent.rules.planner import RulePlanner
from palmar.agent.skills import Skill, SkillResult
from palmar.errors import BadValue
from palmar.types import ActionChunk, Observation

OBS = Observation({}, np.zeros(3, np.float32))


class Looks:
    """A policy that finds these names: {name: (confidence, column, row)} of a 10 × 10 heatmap."""

    interface = None

    def __init__(self, finds, tells=True):
        self.finds, self.tells = finds, tells

    def reset(self):
        pass

    def act(self, obs, prefix=None):
        sure, column, row = self.finds[obs.instruction.removeprefix("pick up the ")]
        heat = np.zeros((10, 10), np.float32)
        heat[row, column] = 1.0
        return ActionChunk(
            np.zeros((1, 2), np.float32), 0.1, 0.0, sure if self.tells else None, None, {"front.target": heat}
        )


def test_of_names_that_are_found_in_one_place_the_surest_is_there():
    finds = {"red cube": (0.95, 2, 2), "red ball": (0.90, 2, 2), "blue ball": (0.85, 7, 7), "green can": (0.6, 5, 5)}
    scene = GroundedPerception(Looks(finds), ("blue plate",), tuple(finds))(OBS)
    assert scene.names == ("red cube", "blue ball", "blue plate")
    assert [t.confidence for t in scene.free] == [0.95, 0.85] and [t.name for t in scene.fixed] == ["blue plate"]
    assert not scene.placements and "not perceived" in str(scene)


def test_a_policy_that_does_not_say_where_it_looks_is_refused():
    with pytest.raises(BadValue, match="tells no confidence"):
        GroundedPerception(Looks({"red cube": (0.9, 1, 1)}, tells=False), (), ("red cube",))(OBS)
    with pytest.raises(BadValue, match=r"no heatmap 'wrist\.target'"):
        GroundedPerception(Looks({"red cube": (0.9, 1, 1)}), (), ("red cube",), camera="wrist")(OBS)


def test_what_is_not_perceived_is_not_taken_for_undone():
    scene = GroundedPerception(Looks({"red cube": (0.9, 1, 1)}), ("blue plate",), ("red cube",))(OBS)
    put = SkillResult(Skill("place_on", "red cube", "blue plate"), "done", 4.0)
    decision = RulePlanner().decide(PlanRequest("put the cube on the plate", scene, (put,)))
    assert decision == Plan((), decision.why) and not decision.steps


@pytest.mark.slow
def test_the_shipped_policy_finds_most_of_what_stands_there():
    from palmar.agent.table import simulated_table

    there, found, wrong = 0, 0, 0
    for seed in range(6):
        hands = simulated_table(
            "shipped", ("red cube", "yellow ball", "blue cylinder"), ("green plate",), seed=seed, perceive=True
        )
        seen = {t.name for t in hands.describe().free}
        truth = {"red cube", "yellow ball", "blue cylinder"}
        there, found, wrong = there + 3, found + len(seen & truth), wrong + len(seen - truth)
    assert found >= 0.75 * there and wrong <= 6, (found, wrong)
