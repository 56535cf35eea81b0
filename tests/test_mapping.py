"""Two interfaces are mapped by name and unit or refused by name; going and returning is the identity."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.choices import FIT
from palmar.cli.commands.act import Run
from palmar.cli.runs import RunConfig
from palmar.data.mapped import MappedData
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface, MappedPolicy, Mapping
from palmar.pictures import fit
from palmar.robots.arm7 import arm7
from palmar.runtime.fitting import fitted
from palmar.types import ActionChunk, Observation, Prefix
from palmar.units import UNITS, conversion

ARM = arm7().interface()
NAMES = ("elbow", "wrist", "grip", "vx")
CONVERTIBLE = {
    "elbow": ("rad", "deg", ""),
    "wrist": ("m", "mm"),
    "grip": ("opening", "%", "range_0_100"),
    "vx": ("m/s",),
}


@st.composite
def interfaces(draw):
    """Names in any order, some missing, with any units that may fit; some cameras; one of two rates."""
    order = draw(st.permutations(NAMES))
    state = tuple(order[: draw(st.integers(1, 4))])
    action = tuple(draw(st.permutations(NAMES))[: draw(st.integers(1, 4))])
    units = {
        n: draw(st.sampled_from(CONVERTIBLE[n] + ("N",) if draw(st.integers(0, 9)) == 0 else CONVERTIBLE[n]))
        for n in NAMES
    }
    cameras = {c: draw(st.sampled_from([(8, 8), (6, 12)])) for c in ("front", "wrist") if draw(st.booleans())}
    return Interface(
        cameras, state, action, draw(st.sampled_from([1, 4])), draw(st.sampled_from([0.1, 0.1, 0.1, 0.05])),
        state_units=tuple(units[n] for n in state), action_units=tuple(units[n] for n in action),
    )  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(interfaces(), interfaces(), st.integers(0, 2**31))
def test_every_pair_is_mapped_both_ways_or_refused_by_name(theirs, ours, seed):
    rng = np.random.default_rng(seed)
    try:
        mapping = Mapping.between(theirs, ours)
    except (BadValue, UnknownName) as error:
        shared = (*theirs.state_names, *theirs.action_names, *ours.state_names, *ours.action_names)
        named = any(f"'{n}'" in str(error) for n in (*shared, *ours.cameras)) or "Hz" in str(error)
        assert named or any(f"'{u}'" in str(error) for u in UNITS), str(error)
        assert "Next: " in str(error)
        return
    assert set(ours.state_names) <= set(theirs.state_names) and set(ours.action_names) == set(theirs.action_names)
    state, action = rng.normal(size=(5, len(theirs.state_names))), rng.normal(size=(5, len(theirs.action_names)))
    back = mapping.state_back(mapping.take_state(state))
    kept = np.isin(theirs.state_names, ours.state_names)
    assert np.allclose(back[:, kept], state[:, kept], rtol=1e-9, atol=1e-9) and np.isnan(back[:, ~kept]).all()
    assert np.allclose(mapping.action_back(mapping.take_action(action)), action, rtol=1e-9, atol=1e-9)
    ours_action = rng.normal(size=(3, len(ours.action_names)))
    assert np.allclose(mapping.take_action(mapping.action_back(ours_action)), ours_action, rtol=1e-9, atol=1e-9)
    for i, name in enumerate(ours.state_names):  # by name, not by place
        k = theirs.state_names.index(name)
        a, b = theirs.unit("state", k), ours.unit("state", i)
        scale, offset = conversion(a, b) if a and b else (1.0, 0.0)
        assert mapping.take_state(state)[:, i] == pytest.approx(state[:, k] * scale + offset)
    assert Mapping.from_dict(mapping.to_dict()) == mapping


def test_cameras_in_another_order_are_told_by_name():
    pictures = {"wrist": np.full((96, 96, 3), 1, np.uint8), "front": np.full((96, 96, 3), 2, np.uint8)}
    theirs = replace(ARM, cameras={"wrist": (96, 96), "front": (96, 96)})
    seen = Mapping.between(theirs, ARM).take_images(pictures)
    assert list(seen) == ["front", "wrist"] and seen["front"][0, 0, 0] == 2
    swapped = Mapping.between(theirs, ARM, cameras={"front": "wrist", "wrist": "front"}).take_images(pictures)
    assert swapped["front"][0, 0, 0] == 1


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"cameras": {"top": (96, 96)}}, {}, "camera 'front' is missing .there are: top.*--cameras front=CAMERA"),
        ({"state_names": ("a",), "state_units": ("rad",)}, {}, "state channel 'joint1.pos' is missing .there are: a"),
        ({"dt": 1 / 30}, {}, "run at 30 Hz, the policy at 10 Hz; expected one rate"),
        ({"action_names": (*ARM.action_names, "lift"), "action_units": (*ARM.action_units, "m")}, {},
         "nobody commands action 'lift'.*--hold lift=VALUE"),
        ({"action_units": ("m",) * 7}, {}, "unit 'm' .length. does not convert to 'rad' .angle."),
        ({}, {"names": {"jaw": "gripper"}}, "unknown channel of the policy in --names 'jaw'"),
        ({}, {"names": {"dx": "dy"}}, "action channel 'dy' is used for two of ours"),
        ({}, {"held": {"lift": 0.0}}, "unknown action channel in --hold 'lift'"),
        ({}, {"how": "squash"}, "unknown way to fit a picture 'squash'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(changes, options, message):
    with pytest.raises((BadValue, UnknownName), match=message):
        Mapping.between(replace(ARM, **changes), ARM, **options)


def test_a_policy_acts_in_the_names_and_units_of_its_robot():
    theirs = Interface(
        {"cam": (48, 64)}, ("arm.grip", "arm.elbow"), ("lift", "arm.elbow", "arm.grip"), 1, 0.1,
        state_units=("range_m100_100", "deg"), action_units=("m", "deg", "range_m100_100"),
    )  # fmt: skip
    ours = Interface(
        {"front": (16, 16)}, ("elbow", "grip"), ("elbow", "grip"), 2, 0.1, state_units=("rad", "opening"),
        action_units=("rad", "opening"),
    )  # fmt: skip
    seen = []

    def act(obs, prefix=None):
        seen.append((obs, prefix))
        return ActionChunk(np.array([[np.pi / 2, 1.0], [0.0, 0.25]], np.float32), 0.1, obs.time, spread=np.ones((2, 2)))

    names = {"elbow": "arm.elbow", "grip": "arm.grip"}
    mapping = Mapping.between(theirs, ours, names, {"front": "cam"}, held={"lift": 0.3})
    policy = MappedPolicy(SimpleNamespace(act=act, reset=lambda: None, interface=ours), mapping)
    obs = Observation({"cam": np.full((48, 64, 3), 200, np.uint8)}, np.array([0.0, 180.0], np.float32), "go", 1.0)
    chunk = policy.act(obs, Prefix(np.array([[0.3, 90.0, 100.0]], np.float32), 1))
    assert seen[0][0].state == pytest.approx([np.pi, 0.5])
    assert seen[0][0].images["front"].shape == (16, 16, 3)
    assert seen[0][1].committed == 1 and seen[0][1].actions == pytest.approx(np.array([[np.pi / 2, 1.0]]))
    assert chunk.actions == pytest.approx(np.array([[0.3, 90.0, 100.0], [0.3, 0.0, -50.0]]))
    assert chunk.spread == pytest.approx(np.array([[0.0, 180 / np.pi, 200.0]] * 2))
    assert policy.interface.action_names == theirs.action_names and policy.interface.horizon == 2
    with pytest.raises(BadValue, match=r"state has 3 values; expected 2: arm\.grip, arm\.elbow"):
        policy.act(replace(obs, state=np.zeros(3, np.float32)))


@pytest.mark.parametrize(
    ("a", "b", "value", "found"),
    [("deg", "rad", 180.0, np.pi), ("range_m100_100", "opening", 0.0, 0.5), ("range_m100_100", "rad", 100.0, 1.5),
     ("rad", "range_0_100", -0.5, 0.0), ("mm", "m", 20.0, 0.02)],
)  # fmt: skip
def test_units_convert_by_value(a, b, value, found):
    scale, offset = conversion(a, b, (-0.5, 1.5))
    assert scale * value + offset == pytest.approx(found)
    back = conversion(b, a, (-0.5, 1.5))
    assert back[0] * found + back[1] == pytest.approx(value)


def test_units_that_do_not_convert_say_why():
    with pytest.raises(BadValue, match="only where both ends of the range are known"):
        conversion("range_m100_100", "rad")
    with pytest.raises(BadValue, match="does not convert"):
        conversion("m", "rad")
    with pytest.raises(UnknownName, match="unknown unit 'furlong'"):
        conversion("furlong", "m")


@pytest.mark.parametrize(
    "damage", [{"state": [[9, 1, 0]]}, {"views": {"front": ["nowhere", "pad"]}}, {"ours": {}}, {"action": []}]
)
def test_a_damaged_mapping_is_no_mapping(damage):
    good = Mapping.between(ARM, ARM).to_dict()
    with pytest.raises((KeyError, TypeError, ValueError)):
        Mapping.from_dict(good | damage)


def test_pictures_of_another_size_are_stretched_in_a_mapping_as_in_training_and_acting():
    image = np.random.default_rng(0).integers(1, 256, (48, 96, 3), np.uint8)
    wide = replace(ARM, cameras={"front": (48, 96), "wrist": (96, 96)})
    taken = Mapping.between(wide, ARM).take_images({"front": image, "wrist": np.ones((96, 96, 3), np.uint8)})
    np.testing.assert_array_equal(taken["front"], fit(image, 96, 96))
    np.testing.assert_array_equal(taken["front"], fit(image, 96, 96, FIT))
    defaults = [inspect.signature(f).parameters["how"].default for f in (Mapping.between, MappedData, fitted, fit)]
    assert [*defaults, Run().fit, inspect.signature(RunConfig).parameters["fit"].default] == [FIT] * 6
