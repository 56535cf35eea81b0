"""A body of one's own is found, held to its robot, and moved by no policy before it has passed."""

import faulty_bodies as bodies
import numpy as np
import pytest

from palmar.checks import Check
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, RobotFault, UnknownName
from palmar.robot_parts import Channel
from palmar.robots.arm7 import arm7
from palmar.runtime.bodies import approval
from palmar.runtime.bodies.find import find_body
from palmar.runtime.loop import Body
from palmar.runtime.mock import MockBody


def test_a_class_is_found_and_given_its_robot():
    robot = bodies.gadget()
    body = find_body("faulty_bodies:Good").connect(robot)
    assert isinstance(body, Body) and body.embodiment is robot and isinstance(body.inner, bodies.Good)
    assert len(body.observe(images=False).state) == len(robot.state)
    assert find_body("faulty_bodies:Alone").connect().embodiment.name == "gadget"
    assert find_body("faulty_bodies:Alone").connect(robot).embodiment is robot


def test_the_mock_is_one_of_any_robot():
    body = find_body("mock:").connect(arm7())
    assert isinstance(body.inner, MockBody) and body.digest == ""
    with pytest.raises(BadValue, match="of no robot"):
        find_body("mock:").connect()


def test_a_module_of_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "07_arm.py").write_text("class Arm:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BadValue, match="it has no observe"):
        find_body("07_arm:Arm").connect()


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ("nothing", BadValue, "expected mock:, gym:ENV"),
        ("my arm:Arm", BadValue, "expected mock:, gym:ENV"),
        ("../arm:Arm", BadValue, "expected mock:, gym:ENV"),
        ("my_arm", BadValue, "Next: --body my_arm:Class"),
        ("my_arm.py:MyArm", BadValue, "Next: a module, not a path: --body my_arm:MyArm"),
        ("my_arm.py", BadValue, "Next: a module, not a path: --body my_arm:Class"),
        ("arms/my_arm.py:MyArm", BadValue, "not a path: --body arms.my_arm:MyArm"),
        ("/home/me/my_arm.py:MyArm", BadValue, "go to the folder '/home/me' and give --body my_arm:MyArm"),
        ("../arms/my_arm.py:MyArm", BadValue, r"go to the folder '\.\./arms' and give --body my_arm:MyArm"),
        ("arms/my_arm:MyArm", BadValue, "a module, not a path: go to the folder"),
        ("no_such_module_here:Arm", BadValue, "there is no module 'no_such_module_here'"),
        ("faulty_bodies.sub:Arm", BadValue, "faulty_bodies"),
        ("faulty_bodies:Goood", UnknownName, "Did you mean 'Good'"),
        ("faulty_bodies:np", BadValue, "expected a class"),
    ],
)
def test_what_is_no_body_is_told(where, error, said):
    with pytest.raises(error, match=said):
        find_body(where)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("NoApply", BadValue, r"it has no apply\(command\)"),
        ("OtherNames", BadValue, "channels hip, elbow, jaw, wheel; the robot 'gadget' has shoulder, elbow"),
        ("CannotConnect", RobotFault, "ConnectionError: no robot at 192.168.0.7 \\(faulty_bodies.py, line"),
        ("TakesTwo", BadValue, "takes robot, port; expected at most one"),
    ],
)
def test_a_class_that_does_not_fit_is_told(name, error, said):
    with pytest.raises(error, match=said):
        find_body(f"faulty_bodies:{name}").connect(bodies.gadget())


def test_a_module_that_breaks_is_told_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "broken_arm.py").write_text("x = 1\nimport no_such_driver\n")
    (tmp_path / "syntax_arm.py").write_text("class Arm(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BadValue, match=r"No module named 'no_such_driver' \(broken_arm.py, line 2\)"):
        find_body("broken_arm:Arm")
    with pytest.raises(BadValue, match="SyntaxError"):
        find_body("syntax_arm:Arm")


def test_what_a_body_raises_while_it_runs_is_a_fault_of_the_robot():
    body = find_body("faulty_bodies:Raises").connect(bodies.gadget())
    body.inner.ticks = 40
    with pytest.raises(RobotFault, match=r"raised in apply: OSError: the bus does not answer \(faulty_bodies.py, line"):
        body.apply(np.zeros(4))
    with pytest.raises(RobotFault, match="7 numbers; gadget has 6"):
        find_body("faulty_bodies:Wide").connect(bodies.gadget()).observe()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "palmar" / "bodies"


OK, BAD = Check("clock", True, "goes on"), Check("shoulder", False, "ratio -1", "negate it")


def test_only_a_body_that_has_passed_is_moved(kept):
    robot, found = bodies.gadget(), find_body("faulty_bodies:Good")
    with pytest.raises(
        BadValue, match=r"has not passed .* Next: palmar check-body --robot my.toml --body faulty_bodies:Good"
    ):
        approval.require_checked(robot, found, "my.toml")
    body = found.connect(robot)
    assert approval.write_result(body, [OK, BAD]).parent == kept
    with pytest.raises(BadValue, match="failed shoulder"):
        approval.require_checked(robot, found)
    approval.write_result(body, [OK])
    approval.require_checked(robot, found)
    approval.require_checked(robot.with_action_space("channels"), body)


def test_another_limit_or_source_is_another_body(kept, tmp_path, monkeypatch):
    robot, found = bodies.gadget(), find_body("faulty_bodies:Good")
    approval.write_result(found.connect(robot), [OK])
    slower = Embodiment(
        "gadget", (Channel("shoulder", "revolute", "rad", -1.5, 1.5, 1.0), *robot.channels[1:]), cameras=robot.cameras
    )  # fmt: skip
    with pytest.raises(BadValue, match="since its source file or the robot changed"):
        approval.require_checked(slower, found)
    with pytest.raises(BadValue, match="since its source file or the robot changed"):
        approval.require_checked(robot, type(found)(found.where, found.made, "0" * 64))


def test_a_damaged_result_is_none(kept):
    robot, found = bodies.gadget(), find_body("faulty_bodies:Good")
    path = approval.write_result(found.connect(robot), [OK])
    for text in ("", "[]", '{"checks": 3}', '{"robot": "gadget"}'):
        path.write_text(text)
        with pytest.raises(BadValue, match="has not passed"):
            approval.require_checked(robot, found)


def test_what_comes_with_palmar_counts_as_checked(kept):
    approval.require_checked(arm7(), find_body("mock:"))


def test_a_place_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadFile, match="is a file; expected a folder"):
        approval.write_result(find_body("faulty_bodies:Good").connect(bodies.gadget()), [OK])


def test_the_state_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", given)
        assert approval.state_folder() == tmp_path / ".local" / "state" / "palmar" / "bodies"
