"""Each fault is found by its name, and a set without it is not accused."""

from collections.abc import Callable

import numpy as np
import pytest
from faulty import Arm

from palmar.data.channels import correlation, is_delta, openings, partners, two_levels
from palmar.data.findings import Finding, examine
from palmar.types import STILL


def copies(d: Arm) -> None:
    d.actions = d.states.copy()


def stands(d: Arm) -> None:
    for e in d.episodes:
        middle = (e.start + e.stop) // 2
        for x in (d.states, d.actions):
            x[middle : e.stop] = x[middle]


def repeats(d: Arm) -> None:
    for e in d.episodes:
        rows = d.actions[e.start : e.stop].copy()
        d.actions[e.start : e.stop] = rows[np.arange(len(rows)) // 3 * 3]


def turns_to_degrees(d: Arm) -> None:
    d.actions[:, :2] = np.rad2deg(d.actions[:, :2])


def state_in_degrees(d: Arm) -> None:
    d.states[:, :2] = np.rad2deg(d.states[:, :2])


def inverts_gripper(d: Arm) -> None:
    d.actions[:, 2] = 1 - d.actions[:, 2]


def inverts_joint(d: Arm) -> None:
    d.actions[:, 1] *= -1


def quaternion(d: Arm, order: str) -> None:
    """Small turns about x, under the names of wxyz."""
    half = 0.2 * d.states[:, 0]
    parts = {"w": np.cos(half), "x": np.sin(half), "y": 0 * half, "z": 0 * half}
    d.states = np.concatenate([d.states, np.stack([parts[c] for c in order], -1)], 1)
    d.state_names = (*d.state_names, "tcp.qw", "tcp.qx", "tcp.qy", "tcp.qz")
    d.features["observation.state"]["shape"] = [7]
    d.stats["observation.state"]["mean"] = np.zeros(7)


def freezes(d: Arm) -> None:
    d.picture = lambda i: d.draw(0)


def blackens(d: Arm) -> None:
    d.picture = lambda i: np.full((24, 32, 3), 1, np.uint8)


def greys(d: Arm) -> None:
    d.picture = lambda i: np.full((24, 32, 3), 128, np.uint8)


def fails(d: Arm) -> None:
    for e in d.episodes:
        e.success = False


def strange_stats(d: Arm) -> None:
    d.stats["observation.qpos"] = {"mean": np.zeros(3)}


def narrow_stats(d: Arm) -> None:
    d.stats["action"] = {"mean": np.zeros(2)}


def other_rate(d: Arm) -> None:
    d.times = d.times * 2


def loses_frames(d: Arm) -> None:
    d.times = d.times + np.repeat(np.arange(len(d) // 10), 10) * 0.2


def goes_back(d: Arm) -> None:
    d.times[5] = d.times[3]


FAULTS: dict[str, tuple[Callable[[Arm], None], str, str]] = {
    "copy": (copies, "action is a copy of the state", "3 of 3 channels equal their state in all 240 frames"),
    "idle": (stands, "idle halves", "6 of 6 episodes stand still for 4"),
    "repeated": (repeats, "identical action rows", "a row comes 3 times, as commands at 6.67 Hz in 20 fps"),
    "degrees": (turns_to_degrees, "degrees and radians", "degrees in the actions, radians in the state"),
    "radians": (state_in_degrees, "degrees and radians", "degrees in the state, radians in the actions"),
    "gripper": (inverts_gripper, "inverted gripper", "correlation of action and state is -0.9"),
    "joint": (inverts_joint, "inverted channel", "correlation of action and state is -0.9"),
    "xyzw": (lambda d: quaternion(d, "xyzw"), "quaternion order", "with its largest part last"),
    "frozen": (freezes, "frozen camera", "in 5 of 5 episodes looked at (first: 0) pictures change by 0.00 levels"),
    "black": (blackens, "black camera", "mean level 1.0 of 255"),
    "grey": (greys, "camera of one colour", "levels differ by 0.0"),
    "failed": (fails, "all episodes failed", "0 of 6 episodes succeeded"),
    "stats": (strange_stats, "statistics without a feature", "observation.qpos, which no feature is called"),
    "narrow": (narrow_stats, "statistics without a feature", "statistics of action of another width"),
    "fps": (other_rate, "frame rate", "frames are 0.1 s apart, which is 10 fps"),
    "gaps": (loses_frames, "frame rate", "frames are missing"),
    "back": (goes_back, "frame rate", "do not rise"),
}


def test_a_good_set_has_no_finding() -> None:
    assert examine(Arm()) == []
    wxyz = Arm()
    quaternion(wxyz, "wxyz")
    assert examine(wxyz) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_number_and_nothing_else_is(fault: str) -> None:
    spoil, name, seen = FAULTS[fault]
    data = Arm()
    spoil(data)
    found = examine(data)
    assert [f.name for f in found] == [name], "\n".join(map(str, found))
    assert seen in found[0].found, found[0].found
    assert found[0].expected and found[0].next and "Next: " in str(found[0])


def test_where_a_fault_is() -> None:
    def only(spoil: Callable[[Arm], None]) -> Finding:
        data = Arm()
        spoil(data)
        (found,) = examine(data)
        return found

    assert only(turns_to_degrees).channels == ("joint1", "joint2")
    assert only(inverts_gripper).channels == ("gripper",)
    assert only(freezes).channels == ("front",)
    assert "most at their end" in only(stands).found


def test_what_cannot_be_judged_is_left_alone() -> None:
    data = Arm()
    for e in data.episodes:
        e.success = None  # the set does not say
    assert examine(data) == []
    del data.features
    data.stats = {"anything": {"mean": np.zeros(1)}}
    assert examine(data, pictures=False) == []
    for e in data.episodes:
        e.source = STILL
    assert examine(data) == []


def test_what_a_channel_is() -> None:
    values = np.tile([[0.0], [100.0]], (20, 4))
    values[:, 0] = np.linspace(0, 1, 40)
    values[:, 2] *= 0.02
    names = ("left_Gripper", "hand", "latch", "sometimes")
    found = openings(names, values)
    assert found == {
        "left_Gripper": "by its name",
        "hand": "by its values: two levels, 0 and 100",
        "sometimes": "by its values: two levels, 0 and 100",
    }
    assert not two_levels(np.zeros(10)) and not two_levels(np.linspace(0, 1, 50))
    assert not two_levels(np.r_[np.zeros(500), 1.0]), "once is no level"
    assert is_delta("dx") and is_delta("delta_yaw") and not is_delta("door")
    pairs = partners(("action.arm.1", "gripper", "dx", "base"), ("gripper.pos", "observation.arm.1", "dx"))
    assert pairs == {0: 1, 1: 0}
    a = np.random.default_rng(0).normal(size=(50, 2))
    assert partners(("0", "1"), ("0", "1"), a, np.stack([a[:, 0] + 0.1, -a[:, 0]], 1)) == {0: 0}
    assert partners(("0", "1"), ("0", "1")) == {}
    assert np.isnan(correlation(np.ones(4), np.arange(4)))
