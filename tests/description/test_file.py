"""Robot files: what is written is read back; what a person mistypes is named."""
# ruff: noqa: E501 - robot descriptions in long lines

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.description import read_robot, robot_text, write_robot
from palmar.description.file import parse_robot
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, UserError
from palmar.kinematics import Chain
from palmar.robot_parts import POSE, QUANTITIES, SOURCES, Camera, Channel, Column, Floor, Frame, Measurement, state_of
from palmar.robots import robot, robots


def plain(value):
    """A robot as nested tuples, for comparing: arrays by value."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Chain):
        return plain([value.offsets, value.quats, value.tool_offset, value.tool_quat, value.slides])
    if isinstance(value, Embodiment | Channel | Frame | Camera | Measurement | Floor | Column):
        return type(value).__name__, {f: plain(getattr(value, f)) for f in value.__dataclass_fields__}
    return value


number = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e9)
length = st.floats(1e-6, 1e6)
names = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12)


@st.composite
def channels(draw):
    unit, kind = draw(
        st.sampled_from(
            [("rad", "revolute"), ("rad", "continuous"), ("m", "prismatic"), ("opening", "opening"), ("m/s", "velocity"),
             ("range_m100_100", "revolute"), ("", "revolute"), ("deg", "opening")]
        )
    )  # fmt: skip
    lower = draw(number)
    upper = lower + draw(st.floats(1e-3, 1e6))
    if kind == "velocity":
        lower, upper = min(lower, 0.0), max(upper, 0.0)
    home = lower + (upper - lower) / 2
    large = st.floats(1e-3 * max(1.0, -lower, upper), 1e9)  # coarser than the rounding of positions
    if kind == "continuous":
        lower, upper = -math.inf, math.inf
    quantities = st.sampled_from(QUANTITIES)
    effort, tolerance = draw(positive | st.none()), draw(positive | st.none())
    sources = draw(st.dictionaries(quantities, st.sampled_from(SOURCES)))
    for what, value in (("effort", effort), ("tolerance", tolerance)):
        if value is None:  # there is no limit for a source to speak of
            sources.pop(what, None)
    return Channel(
        draw(names), kind, unit, lower, upper, draw(large), draw(large | st.just(math.inf)),
        draw(large | st.just(math.inf)), effort, home, tolerance,
        draw(st.just("") | names), draw(st.none() | st.just((0.5, -1.5))), draw(st.just("") | names),
        sources,
    )  # fmt: skip


@st.composite
def robots_(draw):
    made = tuple(draw(st.lists(channels(), min_size=1, max_size=5, unique_by=lambda c: c.name)))
    moving = [c.name for c in made if c.moves_joint and c.unit in ("rad", "m")]
    frames = []
    for name in draw(st.lists(names, max_size=2, unique=True)) if moving else []:
        joints = tuple(draw(st.lists(st.sampled_from(moving), min_size=1, max_size=3, unique=True)))
        n = len(joints)
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        quats = rng.normal(size=(n + 1, 4))
        quats /= np.linalg.norm(quats, axis=1, keepdims=True)
        slides = tuple(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        chain = Chain(rng.normal(size=(n, 3)), quats[:n], rng.normal(size=3), quats[n], slides if any(slides) else ())
        zones = (Floor(draw(number), (joints[0], "tcp")), Column(draw(length), draw(number), ("tcp",)))
        box = np.array([[-1.0, -2, -3], [1, 2, draw(length)]])
        frames.append(
            Frame(name, joints, chain, draw(st.none() | st.just(box)), zones[: draw(st.integers(0, 2))],
                  (draw(length), draw(length)), draw(st.booleans()))
        )  # fmt: skip
    cameras = tuple(Camera(n, 480, 640, 55.5) for n in draw(st.lists(names, max_size=2, unique=True)))
    state = state_of(made, frames)
    if draw(st.booleans()):
        state = (*state[::-1], Measurement(draw(names.filter(lambda n: "." not in n)) + "!", "N·m"))
    assert len(POSE) == 7
    plainly = Embodiment(draw(names), made, tuple(frames), cameras, state, 50.0, 25.0)
    return replace(
        plainly, action_space=plainly.action_spaces[0],
        notes=draw(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=40)),
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(robots_())
def test_what_is_written_is_read_back(made):
    assert plain(parse_robot(robot_text(made, "a test"))) == plain(made)


@pytest.mark.parametrize("name", robots())
def test_shipped_robots_go_through_a_file(name, tmp_path):
    write_robot(robot(name), tmp_path / "deeper" / "r.toml", "itself")
    assert plain(read_robot(tmp_path / "deeper" / "r.toml")) == plain(robot(name))


def test_it_replaces_no_file(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("mine")
    with pytest.raises(BadFile, match="a person's work"):
        write_robot(robot("arm7"), path)
    assert path.read_text() == "mine"


GOOD = robot_text(replace(robot("arm7"), cameras=(Camera("front"),)))
CHANNEL = '[[channel]]\nname = "x"\nkind = "opening"\nunit = "opening"\nposition = { lower = 0, upper = 1 }\nvelocity = { value = 1 }\n'
LIMIT = "velocity = { value = 2.175"
WRONG = {
    "unknown field": (GOOD.replace('coupling = "arm"', 'copling = "arm"', 1), "channel 'joint1' 'copling'.*'coupling'"),
    "unknown table": (GOOD.replace("[[camera]]", "[[kamera]]"), "'kamera'"),
    "unknown unit": (GOOD.replace('unit = "rad"', 'unit = "radian"', 1), "channel 'joint1': unit 'radian'.*'rad'"),
    "unknown kind": (GOOD.replace('kind = "revolute"', 'kind = "hinge"', 1), "kind 'hinge'"),
    "unknown source": (GOOD.replace('source = "data sheet"', 'source = "me"', 1), "source 'me'"),
    "two of a name": (GOOD + CHANNEL + CHANNEL, "two channels are called 'x'"),
    "nan": (GOOD.replace(LIMIT, "velocity = { value = nan"), "'joint1': velocity: value is nan; expected a number"),
    "too large": (GOOD.replace(LIMIT, "velocity = { value = 1e400"), "1e400 is too large"),
    "too large, whole": (GOOD.replace(LIMIT, f"velocity = {{ value = {'9' * 400}"), "value is 9"),
    "more digits than Python reads": (GOOD.replace(LIMIT, f"velocity = {{ value = {'9' * 5000}"), "no TOML|value is"),
    "infinite velocity": (GOOD.replace(LIMIT, "velocity = { value = inf"), "velocity is inf; expected a finite limit"),
    "negative": (GOOD.replace(LIMIT, "velocity = { value = -1.0"), "velocity is -1; expected > 0"),
    "a text": (GOOD.replace(LIMIT, 'velocity = { value = "2"'), "value is '2'; expected a number"),
    "true": (GOOD.replace(LIMIT, "velocity = { value = true"), "value is True; expected a number"),
    "a number for a table": (GOOD.replace(LIMIT + ', source = "data sheet" }', "velocity = 2.0"), "velocity is 2.0; expected a table"),
    "no velocity": (GOOD.replace(LIMIT, "effort = { value = 2.175", 1).replace("effort = { value = 87.0, source = \"data sheet\" }\n", "", 1), "velocity is missing"),
    "reversed": (GOOD.replace("lower = -2.8973", "lower = 9.0", 1), "expected lower < upper"),
    "no name": (GOOD.replace('name = "joint1"', "", 1), "channel 1: name is missing; expected a text"),
    "a name of control characters": (GOOD.replace('"joint1"', '"a\\u0007"', 1), "printable letters"),
    "an empty name": (GOOD.replace('"joint1"', '""', 1), "name is ''"),
    "a frame of nobody": (GOOD.replace('{ channel = "joint1"', '{ channel = "joint9"'), "channel 'joint9'.*Known: joint1"),
    "a quaternion of zeros": (GOOD.replace("quat = [1.0, 0.0, 0.0, 0.0]", "quat = [0.0, 0.0, 0.0, 0.0]"), "a quaternion w, x, y, z"),
    "a short vector": (GOOD.replace("lower = [0.25, -0.4, 0.012]", "lower = [0.25]"), "workspace: lower is a list of 1; expected 3 numbers"),
    "one table for a list": ("name = 'a'\n[channel]\nname = 'x'", r"channel is a table; expected a list of tables \(\[\[channel\]\]\)"),
    "no channels": ("name = 'a'", "no channels"),
    "a list of numbers": ("name = 'a'\nchannel = [1, 2]", "channel 1 is 1; expected a table"),
    "rates": (GOOD.replace("policy_rate = 10.0", "policy_rate = 7.0"), "whole number of control ticks"),
    "zero rate": (GOOD.replace("policy_rate = 10.0", "policy_rate = 0"), "policy_rate is 0"),
    "a picture": (GOOD.replace("height = 96", "height = 96.5"), "height is 96.5; expected a whole number"),
    "nested": ("name = " + "[" * 3000, "no TOML"),
    "nested tables": ("name = 'a'\nchannel = " + "{a = " * 50 + "1" + "}" * 50, "channel is a table"),
    "no TOML": ("not toml at all", "no TOML"),
    "empty": ("", "name is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_named(tmp_path, case):
    text, fact = WRONG[case]
    assert text != GOOD
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=fact) as said:
        read_robot(path)
    assert "mine.toml" in str(said.value) and len(str(said.value)) < 900


def test_files_that_are_none(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(bytes(range(256)))
    for path in (tmp_path, tmp_path / "no.toml", tmp_path / "bytes.toml", "a\0b.toml"):
        with pytest.raises(BadFile):
            read_robot(path)


def values(text):
    """Where the values of a robot file are: the lines, without the first part of each."""
    return [i for i, line in enumerate(text.split("\n")) if " = " in line]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(
        ["", "1e999", "nan", "-inf", '"x"', "true", "[]", "{}", "[[1]]", "2024-01-01", "-1", "0", '"""', "{ value = {} }",
         "[{ channel = 1 }]", "{ lower = 1 }", "99999999999999999999999999", '"\\u0000"']
    ),
)  # fmt: skip
def test_any_value_anywhere_is_a_robot_or_a_message(place, value):
    lines = GOOD.split("\n")
    at = values(GOOD)[place % len(values(GOOD))]
    lines[at] = lines[at].split(" = ")[0] + f" = {value}"
    try:
        parse_robot("\n".join(lines), "mine.toml")
    except BadFile as error:
        assert "mine.toml" in str(error)
