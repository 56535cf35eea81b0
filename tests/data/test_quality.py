"""What is left out, and why."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from palmar.data.joints import JointTargets
from palmar.data.quality import Kept, Limits, assess, bad_number, check_numbers
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.types import STILL


class Made:
    """Episodes of smooth motion, to be spoiled. Actions dx, dy, gripper; states x, gripper.pos."""

    action_names = ("dx", "dy", "gripper")
    state_names = ("x", "gripper.pos")

    def __init__(self, lengths: list[int]) -> None:
        edges = np.cumsum([0, *lengths])
        self.episodes = [
            SimpleNamespace(index=i, start=a, stop=b, success=True, source="expert")
            for i, (a, b) in enumerate(itertools.pairwise(edges))
        ]
        t = np.concatenate([np.linspace(0, 1, n) for n in lengths])
        phase = np.concatenate([np.full(n, i) for i, n in enumerate(lengths)])
        self.actions = np.stack([np.sin(3 * t + phase) + 0.1, np.cos(3 * t + phase), t > 0.5], -1).astype(np.float32)
        self.states = np.stack([t + phase, t > 0.55], -1).astype(np.float32)

    def __len__(self) -> int:
        return len(self.actions)


def test_smooth_demonstrations_are_all_kept() -> None:
    quality = assess(Made([40] * 8))
    assert quality.kept == tuple(range(8)) and str(quality) == "kept 8 of 8 episodes; dropped nothing"


def test_every_fault_is_named_with_its_number() -> None:
    data = Made([40] * 6 + [3, 200, 40, 40, 40, 40, 40])
    rng = np.random.default_rng(0)
    data.episodes[1].success = False
    data.actions[80:120, :2] += rng.normal(0, 3, (40, 2))  # episode 2 shakes
    data.states[120:160, 1] = 1.0  # episode 3: the gripper is told to move and does not
    idle = data.episodes[8]
    data.actions[idle.start : idle.stop, :2] = 0.0
    first, twin = data.episodes[0], data.episodes[9]
    data.actions[twin.start : twin.stop], data.states[twin.start : twin.stop] = (
        data.actions[first.start : first.stop],
        data.states[first.start : first.stop],
    )
    data.episodes[10].source, data.episodes[10].success = STILL, False
    quality = assess(data)
    why = {d.episode: d.reason for d in quality.dropped}
    assert why == {
        1: "failed", 2: "jerk", 3: "stuck gripper", 6: "truncated", 7: "outlier length", 8: "idle",
        9: "duplicate of episode 0",
    }  # fmt: skip
    jerk = next(d for d in quality.dropped if d.reason == "jerk")
    assert jerk.value > jerk.limit == Limits().jerk and "episode 2: jerk" in str(jerk)
    view = Kept(data, quality.kept)
    assert [e.index for e in view.episodes] == [0, 4, 5, 10, 11, 12] and len(view) == len(data)
    assert view.action_names == data.action_names
    assert 1 in assess(data, Limits(failures=True)).kept


def test_a_number_that_is_none_is_found() -> None:
    data = Made([40] * 3)
    assert bad_number(data) is None
    data.states[85, 1] = np.inf
    assert bad_number(data) == "state 'gripper.pos' is inf in episode 2, frame 5"
    data.states[86, 0] = np.nan
    with pytest.raises(BadValue, match=r"data set 0: .*\(2 such numbers in this episode\)"):
        check_numbers([data])


def test_what_is_said_of_a_bad_number_helps() -> None:
    data = Made([40] * 8)
    whole = assess(data)
    data.actions[85, 1] = np.nan
    data.states[125, 0] = np.inf
    with pytest.raises(BadValue, match=r"episode 3, frame 5. Next: .*palmar train --good-only.*in Python"):
        check_numbers([data])
    quality = assess(data)
    assert [str(d) for d in quality.dropped] == [
        "episode 2: NaN or infinity 1, limit 0",
        "episode 3: NaN or infinity 1, limit 0",
    ]
    assert set(whole.kept) - set(quality.kept) == {2, 3}, "the others are judged as before"
    check_numbers([Kept(data, quality.kept)])
    data.episodes = data.episodes[2:3]
    assert assess(data).kept == ()


def test_data_without_joints_say_whose_and_what_next() -> None:
    data = Made([5])
    data.root = "data/mine"
    with pytest.raises(
        BadValue,
        match=r"the states of 'data/mine' have no joint1.pos \(they have x, gripper.pos\).*Next: data of arm7",
    ):
        JointTargets(data, arm7("channels"))
    data.state_names = [f"{j}.pos" for j in arm7().frame().joints]
    data.action_names = ("dx", "dy", "dz")
    with pytest.raises(
        BadValue,
        match=r"actions of 'data/mine' have no gripper \(they have dx, dy, dz\).*Next: .*palmar train --others",
    ):
        JointTargets(data, arm7("channels"))


def test_a_gripper_that_works_is_no_jerk() -> None:
    """Most episodes only move; those that also open and close the gripper are the good ones, and stay."""
    for name in ("gripper", "right_gripper", "hand"):
        data = Made([60] * 10)
        data.action_names, data.state_names = ("dx", "dy", name), ("x", f"{name}.pos")
        data.actions[:, 2], data.states[:, 1] = 1.0, 1.0
        data.actions[:, :2] *= 0.02  # a gripper's step is large beside smooth motion
        for e in data.episodes[:3]:
            for at in (10, 25, 40):
                data.actions[e.start + at : e.start + at + 8, 2] = 0.0
                data.states[e.start + at + 1 : e.start + at + 9, 1] = 0.0
        quality = assess(data)
        assert quality.kept == tuple(range(10)), str(quality)
        how = "by its name" if "gripper" in name else "by its values: two levels, 0 and 1"
        assert quality.openings == {name: how}
        assert quality.left_out == f"left out of jerk and idle, as openings: {name} ({how})"
        data.states[data.episodes[1].start : data.episodes[1].stop, 1] = 1.0
        assert [d.reason for d in assess(data).dropped] == ["stuck gripper"]
    assert assess(Made([40] * 3)).openings == {"gripper": "by its name"}
