"""Every mismatch of data set, checkpoint and robot is found by name."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from palmar.console import Screen
from palmar.data.normalize import Normalizer
from palmar.errors import BadValue, UnknownName
from palmar.kinematics import matrix_to_quat
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.presets import palmar_nano
from palmar.robots.arm7 import arm7
from palmar.train.preflight import preflight


class Recorded:
    """A data set of the arm, as far as preflight looks."""

    def __init__(self) -> None:
        robot = arm7()
        rng = np.random.default_rng(0)
        self.cameras, self.fps, self.robot_type = ("front", "wrist"), 10, "arm7"
        self.state_names, self.action_names = robot.state_names, robot.action_names
        self.states = np.zeros((50, len(self.state_names)))
        self.states[:, :7] = robot.home[:7] + rng.normal(0, 0.1, (50, 7))
        self.actions = rng.normal(0, 0.01, (50, 7))
        self.actions[:, -1] = rng.integers(0, 2, 50)
        self.states[:, 14] = 0.02 + 0.96 * self.actions[:, -1]
        tool = [robot.frame().chain.forward(q) for q in self.states[:, :7]]
        self.states[:, 15:] = [[*position, *matrix_to_quat(turn)] for position, turn in tool]
        self.episodes = [
            SimpleNamespace(index=0, start=0, stop=50, success=True, source="", instruction="go", task="go")
        ]
        self.tasks = ["go"]
        fine = {"mean": np.zeros(7), "std": np.ones(7)}
        self.stats = {"observation.state": fine, "action": fine}
        self.size = 96

    def __len__(self) -> int:
        return 50

    def batch(self, indices: np.ndarray, horizon: int) -> dict:
        shots = np.random.default_rng(0).integers(0, 255, (50, self.size, self.size, 3), np.uint8)
        return {"images": {c: shots[np.asarray(indices)] for c in self.cameras}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for the arm; its weights are never looked at."""
    robot = arm7()
    face = Interface({"front": (96, 96), "wrist": (96, 96)}, robot.state_names, robot.action_names, 16, 0.1, "arm7")
    normal = {
        "state": Normalizer.fit(Recorded().states),
        "action": Normalizer.fit(Recorded().actions),
    }
    return checkpoint.save(tmp_path_factory.mktemp("policy"), {}, palmar_nano(), face, normal)


def wrong(*sides: object) -> dict[str, str]:
    return {c.name: c.found for c in preflight(*sides) if not c.ok}  # type: ignore[arg-type]


def test_what_belongs_together_passes(trained: Path) -> None:
    checks = preflight(Recorded(), trained, "arm7")
    assert [c for c in checks if not c.ok] == []
    assert {c.name.split(":")[0] for c in checks} >= {"data set ↔ checkpoint", "checkpoint ↔ robot", "data set"}


def test_names_widths_cameras_rate_and_robot(trained: Path) -> None:
    data = Recorded()
    data.state_names = (*data.state_names[:-1], "other")
    data.cameras, data.fps, data.robot_type = ("front",), 30, "so100"
    found = wrong(data, trained)
    assert "only the data set has other; only the checkpoint has tcp.qz" in found["data set ↔ checkpoint: state names"]
    assert found["data set ↔ checkpoint: cameras"] == "checkpoint needs wrist; data set has front"
    assert found["data set ↔ checkpoint: rate"] == "30 Hz and 10 Hz"
    assert found["data set ↔ checkpoint: robot"] == "'so100' and 'arm7'"
    assert not any("chunk" in n for n in found)
    small = Recorded()
    small.size = 64
    assert "'front' is 96×96 px in the checkpoint, 64×64" in wrong(small, trained)["data set ↔ checkpoint: cameras"]
    turned = Recorded()
    turned.action_names = tuple(reversed(turned.action_names))
    assert "another order" in wrong(turned, trained)["data set ↔ checkpoint: action names"]
    joints = wrong(None, trained, arm7("channels"))
    assert "only the robot has joint1" in joints["checkpoint ↔ robot: action names"]


def test_units() -> None:
    data = Recorded()
    data.states[:, :7] = np.rad2deg(data.states[:, :7])
    data.actions[:, :3] *= 1000
    data.actions[:, -1] *= 255
    found = wrong(data, None, "arm7")
    assert "rad" in found["data set: joint units"] and "99 % of steps" in found["data set ↔ robot: action units"]
    assert "255" in found["data set: action in opening"] and "outside at" in found["data set ↔ robot: joint limits"]


def test_statistics_and_normalisers(trained: Path, tmp_path: Path) -> None:
    data = Recorded()
    data.stats = {"observation.state": {"mean": np.array([np.nan])}}
    data.actions[3, 2] = np.nan
    found = wrong(data, trained)
    assert (
        found["data set: statistics"] == "missing for action" and "is nan in episode" in found["data set: not finite"]
    )
    config = json.loads((trained / "config.json").read_text())
    n = config["normalizers"]["action"]
    n["offset"], n["scale"] = [0.0] * len(n["scale"]), [1.0] * len(n["scale"])
    config["normalizers"]["state"]["scale"][2] = float("nan")
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = wrong(None, tmp_path, "arm7")
    assert "it does nothing" in found["checkpoint: action normaliser"]
    assert found["checkpoint: state normaliser"] == "NaN or infinity inside"


def test_one_side_is_not_enough(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from palmar.cli.commands import Preflight

    with pytest.raises(BadValue, match="nothing to compare"):
        preflight(None, trained)
    with pytest.raises(UnknownName, match=r"unknown robot 'arm8'. Did you mean 'arm7'\?"):
        preflight(None, trained, "arm8")
    code, figures = Preflight(policy=str(trained), robot="arm7").run(Screen())
    assert code == 0 and figures["passed"] and "checks passed" in capsys.readouterr().out
    slow = dataclasses.replace(arm7(), policy_rate=5.0)
    assert wrong(None, trained, slow)["checkpoint ↔ robot: rate"] == "10 Hz and 5 Hz"


def test_actions_of_ten_times_the_scale_do_not_fit_the_normaliser(trained: Path) -> None:
    data = Recorded()
    data.actions[:, :3] *= 10
    found = wrong(data, trained)
    (check,) = found
    assert check == "data set ↔ checkpoint: action normaliser"
    assert "dx, dy, dz: " in found[check] and "beyond 5 σ of the checkpoint (spread 10 σ, " in found[check]
    small = Recorded()
    small.actions[:, :6] *= 0.1
    assert "move 0.1 σ of the checkpoint" in wrong(small, trained)["data set ↔ checkpoint: action normaliser"]
    moving = Recorded()
    moving.states[:, 7:14] = np.random.default_rng(1).normal(size=(50, 7))  # velocities, which were 0 in training
    assert "joint1.vel" in wrong(moving, trained)["data set ↔ checkpoint: state normaliser"]


def test_a_chunk_is_as_long_as_it_is_carried_out(trained: Path) -> None:
    assert all(c.ok for c in preflight(None, trained, "arm7", execute=16))
    (bad,) = [c for c in preflight(None, trained, "arm7", execute=20) if not c.ok]
    assert bad.name == "checkpoint: chunk and execute" and "4 of every 20 ticks have no action" in bad.found
    assert "--execute 16" in bad.next


def test_values_and_the_order_of_a_quaternion() -> None:
    data = Recorded()
    data.states[:, 18:] = np.roll(data.states[:, 18:], -1, axis=1)
    found = wrong(data, None, "arm7")
    assert "by 1.00 as xyzw" in found["data set ↔ robot: quaternion order"]
    inverted = Recorded()
    inverted.actions[:, -1] = 1 - inverted.actions[:, -1]
    assert "gripper: correlation" in wrong(inverted, None, "arm7")["data set: inverted gripper"]
