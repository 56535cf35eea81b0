"""palmar robot show and make."""
# ruff: noqa: E501 - robot descriptions in long lines

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palmar.cli.main import main
from palmar.data.writer import DatasetWriter
from palmar.description import from_urdf, read_robot
from palmar.robot_parts import Camera
from palmar.types import Episode, Observation, Step

URDF = """<robot name="mine"><link name="root"/><link name="a"/><link name="b"/>
<joint name="a_very_long_name_of_a_shoulder_joint" type="revolute"><parent link="root"/><child link="a"/><axis xyz="0 0 1"/>
<limit lower="-2.123456" upper="2.123456" velocity="3"/></joint>
<joint name="lift" type="prismatic"><parent link="a"/><child link="b"/><limit lower="-1" upper="2" velocity="{}"/></joint></robot>"""


@pytest.fixture
def urdf(tmp_path):
    path = tmp_path / "mine.urdf"
    path.write_text(URDF.format("-1"))
    return path


def test_a_robot_file_is_made_once_and_shown(urdf, tmp_path, capsys):
    out = tmp_path / "mine.toml"
    assert main(["robot", "make", str(urdf), "--out", str(out)]) == 2 and not out.exists()
    assert "velocity limit of lift" in capsys.readouterr().err
    options = ["--velocity", "lift=0.3", "--name", "arm", "--policy-rate", "25"]
    assert main(["robot", "make", str(urdf), "--out", str(out), *options]) == 0
    said = capsys.readouterr().out
    assert "4 limits are guesses" in said and "0.3 u" in said
    robot = read_robot(out)
    assert (robot.name, robot.policy_rate, robot.channels[1].velocity) == ("arm", 25.0, 0.3)
    assert main(["robot", "make", str(urdf), "--out", str(out), *options]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["robot", "show", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["guesses"] == [
        f"{c} {q}" for c in ("a_very_long_name_of_a_shoulder_joint", "lift") for q in ("acceleration", "jerk")
    ]
    assert shown["channels"][1]["sources"]["velocity"] == "user" and shown["control_rate"] == 50.0


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_show_cuts_no_name_and_no_number(urdf, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["robot", "show", str(urdf)]) == 0
    said = capsys.readouterr().out
    assert "-2.12…2.12 f" in said and "0.1 ?" in said and "velocity" in said
    first = [line.split()[0] for line in said.split("\n") if line.strip()]
    assert "a_very_long_name_of_a_shoulder_joint" in "".join(first), "over several lines where it is long"
    assert "Next: palmar robot make" in said


def test_guess_is_said_in_the_file(urdf, tmp_path):
    out = tmp_path / "mine.toml"
    assert main(["robot", "make", str(urdf), "--out", str(out), "--guess"]) == 0
    assert 'velocity = { value = 0.1, source = "guess" }' in out.read_text()


WRONG = {
    "no number": (["--velocity", "lift=fast"], "--velocity lift is 'fast'; expected a finite number"),
    "no name": (["--velocity", "0.3"], "--velocity is '0.3'; expected NAME=VALUE"),
    "unknown joint": (["--velocity", "lfit=1"], "lfit"),
    "no range": (["--velocity", "lift=1", "--position", "lift=1"], "expected LOWER:UPPER"),
    "nan": (["--velocity", "lift=nan"], "--velocity lift is 'nan'; expected a finite number"),
    "nan for all": (["--velocity", "lift=1", "rad=nan"], "--velocity rad is 'nan'"),
    "below 0": (["--velocity", "lift=1", "rad=-1"], "limit of 'rad': velocity is -1"),
    "rate": (["--velocity", "lift=1", "--control-rate", "0"], "control-rate is 0"),
    "ratio": (["--velocity", "lift=1", "--policy-rate", "7"], "whole number of control ticks"),
    "frame": (["--velocity", "lift=1", "--frames", "tcp"], "'tcp'"),
    "no data set": (["--data", "nowhere"], "nowhere"),
    "description twice": (["--description", "x.urdf"], "--description goes with"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_exit_with_2_and_leave_nothing(urdf, tmp_path, capsys, case):
    options, fact = WRONG[case]
    assert main(["robot", "make", str(urdf), "--out", str(tmp_path / "o.toml"), *options]) == 2
    assert fact in capsys.readouterr().err and not (tmp_path / "o.toml").exists()


def test_shipped_robots_and_names_that_are_none(capsys):
    assert main(["robot", "show", "arm7"]) == 0
    assert "frame tcp" in capsys.readouterr().out
    assert main(["robot", "show", "arm8"]) == 2
    assert "Did you mean 'arm7'?" in capsys.readouterr().err
    assert main(["robot", "show", "no.toml"]) == 2
    assert main(["robot", "show", "."]) == 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, Path]:
    """A description, and a data set of its robot in which both joints swing."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "mine.urdf").write_text(URDF.format("-1"))
    robot = replace(from_urdf(folder / "mine.urdf", guess=True), frames=(), state=(), cameras=(Camera("top", 32, 48),))
    with DatasetWriter(folder / "set", robot, fps=10) as writer:
        for seed in range(2):
            steps = []
            for i in range(60):
                action = np.array([np.sin(i / 5), 0.5 + 0.2 * np.sin(i / 7 + seed)], np.float32)
                state = robot.state_from(action, np.zeros(2)).astype(np.float32)
                picture = np.full((32, 48, 3), i, np.uint8)
                steps.append(Step(Observation({"top": picture}, state, "swing", i / 10), action, action))
            writer.add(Episode("swing", "swing", seed, "expert", steps, True, "done", 6.0, {"score": 1.0}))
    about = folder / "set/meta/info.json"
    info = json.loads(about.read_text())
    for feature in info["features"].values():
        feature.pop("units", None)  # as every set that palmar did not write
    about.write_text(json.dumps(info))
    return folder / "mine.urdf", folder / "set"


def test_a_robot_of_a_data_set(recorded, tmp_path, capsys):
    _, data = recorded
    out = tmp_path / "data.toml"
    assert main(["robot", "show", str(data)]) == 0
    assert "Unit guessed from the range of the data: rad" in capsys.readouterr().out
    assert main(["robot", "make", str(data), "--out", str(out), "--unit", "lift=m"]) == 0
    robot = read_robot(out)
    assert (robot.control_rate, robot.policy_rate) == (10.0, 10.0) and not robot.guesses()
    assert [(c.name, c.height, c.width) for c in robot.cameras] == [("top", 32, 48)]
    assert [c.unit for c in robot.channels] == ["rad", "m"]
    assert robot.channels[0].upper == pytest.approx(1.1, abs=0.01)


def test_a_description_and_a_data_set_together(recorded, tmp_path, capsys):
    urdf, data = recorded
    out = tmp_path / "both.toml"
    assert main(["robot", "make", str(urdf), "--data", str(data), "--unit", "lift=m", "--out", str(out)]) == 0
    robot = read_robot(out)
    shoulder, lift = robot.channels
    assert shoulder.upper == 2.123456 and shoulder.velocity == 3.0 and shoulder.sources["acceleration"] == "data"
    assert (lift.lower, lift.upper) == (-1.0, 2.0) and lift.sources["velocity"] == "data" and not robot.guesses()
    assert main(["robot", "make", str(urdf), "--data", str(data), "--out", str(tmp_path / "c.toml")]) == 2
    assert "'rad'" in capsys.readouterr().err, "lift is guessed to be an angle: its unit has to be stated"


def test_the_mapping_is_written_once_into_the_file(recorded, tmp_path, capsys):
    urdf, data = recorded
    other = tmp_path / "other.urdf"
    other.write_text(urdf.read_text().replace('name="lift"', 'name="lift_joint"'))
    assert (
        main(["robot", "make", str(other), "--data", str(data), "--unit", "lift=m", "--out", str(tmp_path / "no.toml")])
        == 2
    )
    assert 'joint = "…"' in capsys.readouterr().err
    made, out = tmp_path / "data.toml", tmp_path / "out.toml"
    assert main(["robot", "make", str(data), "--unit", "lift=m", "--out", str(made)]) == 0
    made.write_text(made.read_text().replace('name = "lift"\n', 'name = "lift"\njoint = "lift_joint"\n'))
    assert main(["robot", "make", str(made), "--description", str(other), "--frames", "b", "--out", str(out)]) == 0
    robot = read_robot(out)
    assert robot.channels[1].joint == "lift_joint" and robot.channels[1].upper == 2.0
    assert robot.frames[0].joints == robot.channel_names and robot.state_names == read_robot(made).state_names
