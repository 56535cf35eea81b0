"""Shares of tasks and sources, and data sets made alike."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.data.mapped import MappedData, interface_of
from palmar.data.mixture import Group, Mixture, check_alike
from palmar.errors import BadValue, UnknownName
from palmar.mapping import Interface
from palmar.robots.arm7 import arm7

SIZES = {"pick": 8000, "place": 800, "push": 80}


def groups(**more: int) -> list[Group]:
    edges = np.cumsum([0, *SIZES.values()])
    return [
        Group(more.get(name, 0), name, np.arange(a, b)) for name, a, b in zip(SIZES, edges[:-1], edges[1:], strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0, float("inf")])
def test_tasks_are_drawn_as_the_temperature_says(temperature: float) -> None:
    p = Mixture(temperature).probabilities(groups())
    n = np.array(list(SIZES.values()), float)
    want = n ** (1 / temperature)
    np.testing.assert_allclose(p, want / want.sum())
    if temperature == float("inf"):
        np.testing.assert_allclose(p, 1 / 3)
    drawn = np.concatenate([Mixture(temperature).draw(groups(), 100, 0, np.random.default_rng(i)) for i in range(20)])
    shares = [np.isin(drawn, g.frames).mean() for g in groups()]
    np.testing.assert_allclose(shares, p, atol=0.011)  # one frame of a batch


def test_a_draw_depends_on_its_seed_alone() -> None:
    a, b, c = (Mixture().draw(groups(), 64, 0, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_weights_of_sources_tasks_and_epochs() -> None:
    two = groups(push=1)
    assert Mixture(sources=(1.0, 0.0)).probabilities(two)[2] == 0
    p = Mixture(1.0, tasks=(("p*ck", 0.0), ("*", 1.0))).probabilities(two)
    assert p[0] == 0 and p[1] == pytest.approx(10 * p[2])
    steps = Mixture(1.0, curriculum=((0.0, ("pick",)), (2.0, ("pick", "place"))))
    assert (steps.probabilities(two, 0.5) > 0).tolist() == [True, False, False]
    assert (steps.probabilities(two, 2.0) > 0).tolist() == [True, True, False]
    assert Mixture(losses=(("push", 3.0),)).loss_weight("push") == 3.0 and Mixture().loss_weight("push") == 1.0


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=6),
    st.floats(0.1, 50),
    st.integers(1, 200),
    st.integers(0, 2**31),
)
def test_every_share_is_met_to_within_one_frame(sizes: list[int], temperature: float, count: int, seed: int) -> None:
    edges = np.cumsum([0, *sizes])
    made = [Group(0, str(i), np.arange(a, b)) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    mixture = Mixture(temperature)
    drawn = mixture.draw(made, count, 0, np.random.default_rng(seed))
    assert len(drawn) == count and drawn.min() >= 0 and drawn.max() < edges[-1]
    for g, p in zip(made, mixture.probabilities(made), strict=True):
        assert abs(np.isin(drawn, g.frames).sum() - count * p) <= 1 + 1e-9


def test_what_cannot_be_mixed_is_refused() -> None:
    for bad in ({"temperature": 0.0}, {"sources": (0.0, 0.0)}, {"web": 1.0}, {"tasks": (("pick", -1.0),)}):
        with pytest.raises(BadValue):
            Mixture(**bad)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="weighs 1 sources, there are 2 data sets"):
        Mixture(sources=(1.0,)).probabilities(groups(push=1))
    with pytest.raises(UnknownName, match=r"unknown task 'pour'.*Known: pick, place, push"):
        Mixture(losses=(("pour", 2.0),)).probabilities(groups())
    with pytest.raises(BadValue, match=r"nothing to draw at epoch 1. Tasks: pick, place, push"):
        Mixture(curriculum=((1.0, ("none",)),)).probabilities(groups(), 1.0)


class Small:
    """The least a source is."""

    def __init__(
        self, cameras: tuple[str, ...], states: tuple[str, ...], actions: tuple[str, ...], fps: int = 10
    ) -> None:
        self.cameras, self.state_names, self.action_names, self.fps = cameras, states, actions, fps
        self.privileged_names: tuple[str, ...] = ()
        self.tasks, self.episodes = ["go"], ()
        self.states = np.arange(4 * len(states), dtype=np.float32).reshape(4, -1)
        self.actions = -np.arange(4 * len(actions), dtype=np.float32).reshape(4, -1)

    def __len__(self) -> int:
        return 4

    def batch(self, indices: np.ndarray, horizon: int) -> dict:
        n = len(indices)
        size = 16 if "top" not in self.cameras else 32
        return {
            "images": {c: np.full((n, size, size, 3), 7, np.uint8) for c in self.cameras},
            "state": self.states[indices],
            "actions": np.repeat(self.actions[indices, None], horizon, 1),
            "pad": np.zeros((n, horizon), bool),
            "task": np.zeros(n, np.int64),
            "done": np.zeros(n, bool),
        }


def test_an_adapter_makes_another_robots_data_fit() -> None:
    ours = Small(("front",), ("j1", "grip"), ("dx", "dy"))
    theirs = Small(("top",), ("grip", "j1"), ("y", "dx"))
    with pytest.raises(
        BadValue, match=r"differ in cameras: \['front'\] and \['top'\].*MappedData\(sets\[1\].*'front': 'top'"
    ):
        check_alike([ours, theirs])
    fits = MappedData(theirs, like=ours, cameras={"front": "top"}, names={"dy": "y"})
    check_alike([ours, fits])
    raw = fits.batch(np.array([1, 3]), 2)
    assert raw["images"]["front"].shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(raw["state"], [[3, 2], [7, 6]])
    np.testing.assert_array_equal(raw["actions"][0, 0], [-3, -2])
    np.testing.assert_array_equal(fits.states[1], raw["state"][0])
    np.testing.assert_array_equal(fits.actions[3], raw["actions"][1, 0])


def test_a_mapping_invents_nothing() -> None:
    ours = Small(("front",), ("j1",), ("dx", "dy"))
    with pytest.raises(BadValue, match=r"camera 'front' is missing .there are: top"):
        MappedData(Small(("top",), ("j1",), ("dx", "dy")), like=ours)
    with pytest.raises(BadValue, match=r"action channel 'dy' is missing .there are: dx"):
        MappedData(Small(("front",), ("j1",), ("dx",)), like=ours)
    with pytest.raises(BadValue, match=r"differ in state_names.*MappedData.sets.1., like=sets.0., names={'j1': 'q'}"):
        check_alike([ours, Small(("front",), ("q",), ("dx", "dy"))])
    with pytest.raises(BadValue, match=r"differ in action_names.*has no dy: what was not recorded cannot be invented"):
        check_alike([ours, Small(("front",), ("j1",), ("dx",))])
    with pytest.raises(BadValue, match="differ in rate: 10 and 30 Hz"):
        check_alike([ours, Small(("front",), ("j1",), ("dx", "dy"), fps=30)])


def test_units_are_those_of_the_robot_that_a_set_names() -> None:
    robot = arm7()
    named = Small(("front",), robot.state_names, robot.action_names)
    assert interface_of(named).action_units == ()
    named.robot_type = "arm7"
    assert interface_of(named).action_units == robot.action_units
    assert interface_of(named).state_units == robot.interface().state_units
    other = Small(("front",), ("j1",), ("dx",))
    other.robot_type = "arm7"
    assert interface_of(other).state_units == interface_of(other).action_units == ()


def test_units_that_a_set_states_come_before_those_of_its_robot() -> None:
    robot = arm7()
    named = Small(("front",), robot.state_names, robot.action_names)
    named.robot_type, named.action_units = "arm7", ("mm",) * 3 + ("deg",) * 3 + ("%",)
    assert interface_of(named).action_units == ("mm",) * 3 + ("deg",) * 3 + ("%",)
    assert interface_of(named).state_units == robot.interface().state_units


def test_the_size_of_pictures_is_read_without_decoding_one() -> None:
    class Told(Small):
        def batch(self, indices: np.ndarray, horizon: int) -> dict:
            raise AssertionError("a picture was decoded")

    told = Told(("front",), ("j1", "grip"), ("dx", "dy"))
    told.image_sizes = {"front": (48, 64)}
    assert interface_of(told).cameras == {"front": (48, 64)}
    like = Interface({"front": (24, 32)}, ("j1", "grip"), ("dx", "dy"))
    mapped = MappedData(told, like=like)
    assert interface_of(mapped).cameras == {"front": (24, 32)}
    assert interface_of(Small(("front",), ("j1",), ("dx",))).cameras == {"front": (16, 16)}
