"""Grounding is judged by true boxes: an oracle hits all of them, one that looks at the neighbour none."""

from dataclasses import replace

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.lab import describe
from palmar.lab import grounding as room
from palmar.lab.grounding import GroundingConfig, Look, boxes, grounding, questions
from palmar.lab.worlds import Loaded, world_named
from palmar.mapping import Interface
from palmar.robots.arm7 import arm7
from palmar.sim import tasks
from palmar.sim.camera import project
from palmar.sim.instructions import parse
from palmar.types import ActionChunk

CONFIG = GroundingConfig("spy", tables=4)


class Spy:
    """Its heatmap peaks at the thing asked for, or at another one."""

    interface = arm7().interface(1)

    def __init__(self, right: bool, loaded: Loaded | None = None) -> None:
        self.right, self.loaded = right, loaded or Loaded()

    def reset(self) -> None: ...

    def act(self, obs, prefix=None):
        heat = np.zeros((24, 24), np.float32)
        chunk = ActionChunk(np.zeros((1, 7), np.float32), 0.1, 0.0, attention={"front.target": heat})
        if not obs.images["front"].any():  # before any table is laid
            return chunk
        world = self.loaded.world("sim")
        asked, items = parse(obs.instruction), world.scenario.items
        names = [i for i, it in enumerate(items) if (it.colour, it.shape) == (asked.colour, asked.shape)]
        who = names[0] if self.right else next(i for i in range(len(items)) if i not in names)
        camera = world.embodiment.cameras[0]
        u, v, _ = project(world.data, world.model, camera, world.item(who))
        heat[int(v * 24), int(u * 24)] = 1.0
        return chunk


@pytest.mark.parametrize("right", [True, False])
def test_an_oracle_hits_every_box_and_a_liar_none(right, monkeypatch):
    monkeypatch.setattr(room, "load_policy", lambda where: Spy(right))
    monkeypatch.setattr(Loaded, "policy", lambda mine, where: Spy(right, mine))
    monkeypatch.setattr(room, "check_policy", lambda where: None)
    found = grounding(CONFIG, processes=1, progress=False)
    assert len(found.looks) >= 8
    assert found.right().value == found.hits().value == float(right)
    assert bool(found.to_dict()["mistook"]) is not right


def test_mistakes_are_named_by_what_is_shared():
    look = Look("red cube", "red ball", False, "colour")
    assert (look.mistook, replace(look, nearest="blue cube").mistook) == ("colour", "shape")
    assert (replace(look, nearest="blue plate").mistook, replace(look, nearest="red cube").mistook) == ("neither", None)


def test_a_box_holds_the_pixels_of_its_thing():
    """Paint one thing's colour differently and see which pixels change: they lie in its box, and nearly fill it."""
    world = world_named("sim")
    scenario = tasks.sample("pick", "layout", 3)
    world.load(scenario)
    camera = world.embodiment.cameras[0]
    left, top, right, bottom = boxes(world, camera)[0]
    before = world.picture("front", 384, 384).astype(int)
    geom = world.model.geom("item0").id
    world.model.geom_rgba[geom] = [0, 0, 0, 1]
    changed = np.argwhere(np.abs(world.picture("front", 384, 384).astype(int) - before).sum(-1) > 20) / 384
    (v0, u0), (v1, u1) = changed.min(0), changed.max(0)
    assert left - 0.01 < u0 and u1 < right + 0.01 and top - 0.01 < v0 and v1 < bottom + 0.01
    assert (u1 - u0) > 0.6 * (right - left) and (v1 - v0) > 0.6 * (bottom - top)
    world.close()


def test_a_policy_without_heatmaps_is_told_apart(monkeypatch):
    class Blind(Spy):
        def act(self, obs, prefix=None):
            return ActionChunk(np.zeros((1, 7), np.float32), 0.1, 0.0)

    monkeypatch.setattr(Loaded, "policy", lambda mine, where: Blind(True))
    with pytest.raises(BadValue, match=r"no heatmap 'front.target' \(it shows: none\)"):
        questions(Loaded(), (CONFIG, 0))
    with pytest.raises(BadValue, match="tables is 0"):
        GroundingConfig(tables=0)


def test_a_camera_or_a_heatmap_that_is_not_there_is_told_before_any_table(monkeypatch):
    def never(*_):
        raise AssertionError("a table was laid")

    for name in ("spread", "laid"):
        monkeypatch.setattr(room, name, never)
        monkeypatch.setattr(describe, name, never)
    with pytest.raises(BadValue, match="camera is 'top'; expected one of those of the robot: front, wrist"):
        GroundingConfig(camera="top")

    class Blind(Spy):
        interface = Interface({"front": (96, 96)}, ("a", "b"), ("dx",))

        def act(self, obs, prefix=None):
            assert obs.images["front"].shape == (96, 96, 3) and len(obs.state) == 2
            return ActionChunk(np.zeros((1, 1), np.float32), 0.1, 0.0, attention={"front.words": np.ones((4, 4))})

    for module in (room, describe):
        monkeypatch.setattr(module, "check_policy", lambda where: None)
    monkeypatch.setattr(room, "load_policy", lambda where: Blind(True))
    for ask in (grounding, describe.described):
        with pytest.raises(BadValue, match=r"no heatmap 'front.target' \(it shows: front.words\)"):
            ask(CONFIG)
