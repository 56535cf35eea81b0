"""What `palmar train` takes beside data: other robots, questions, a filter, trackers."""

import json

import pytest

from palmar.cli.main import main
from palmar.lab.collect import CollectConfig, collect
from palmar.models import checkpoint
from palmar.models.correction import Corrected
from palmar.policy import load_policy


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("learn") / "data"
    collect(folder, CollectConfig(episodes=3, tasks=("reach",)), processes=1, progress=False)
    return str(folder)


def test_two_robots_in_one_run(data, tmp_path, capsys):
    out = tmp_path / "run"
    told = ["train", "bcz-tiny", "--data", data, "--others", f"arm7-joints={data}", "--out", str(out)]
    assert main([*told, "--steps", "4", "--batch-size", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["val_action/arm7-joints"] > 0
    joints = checkpoint.load(out, robot="arm7-joints")
    assert joints.interface.action_names == (
        "joint1",
        "joint2",
        "joint3",
        "joint4",
        "joint5",
        "joint6",
        "joint7",
        "gripper",
    )
    middle = joints.normalizers["action"].offset[:7]
    assert abs(middle - joints.normalizers["state"].offset[:7]).max() < 0.05  # [rad]: targets are where the joints go
    told = [
        "eval",
        "--policy",
        f"{out}@arm7-joints",
        "--tasks",
        "reach",
        "--episodes",
        "1",
        "--timeout",
        "1.5",
        "--processes",
        "1",
        "--json",
    ]
    assert main(told) == 0  # the world takes joint positions when the policy answers them
    assert json.loads(capsys.readouterr().out)["commands"] > 40


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ("arm7-joints", "expected ROBOT=FOLDER, such as arm7-joints=data/mine"),
        ("arm7-joint=X", "Did you mean 'arm7-joints'?"),
    ],
)
def test_wrong_others(data, tmp_path, capsys, others, said):
    out = tmp_path / "run"
    assert main(["train", "bcz-tiny", "--data", data, "--others", others, "--steps", "1", "--out", str(out)]) == 2
    assert said in capsys.readouterr().err and not out.exists()


def test_questions_are_made_and_learned_from(data, tmp_path, capsys):
    web, out = tmp_path / "web", tmp_path / "run"
    assert (
        main(["questions", "--out", str(web), "--tables", "6", "--held-out", "0.3", "--processes", "1", "--json"]) == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert made["training"] > 10 and made["held_out"] > 3 and 0.1 < made["chance"] < 0.6
    told = ["train", "rt2-tiny", "--recipe", "co-train", "--data", data, "--web", str(web), "--out", str(out)]
    assert main([*told, "--steps", "2", "--batch-size", "4", "--json"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["val_language"] <= 1
    assert main(["questions", "--out", str(web), "--tables", "6"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_inspection_says_which_demonstrations_are_worth_learning_from(data, capsys):
    assert main(["inspect", data, "--quality", "--json"]) == 0
    quality = json.loads(capsys.readouterr().out)["quality"]
    assert quality == {"kept": [0, 1, 2], "dropped": [], "openings": {"gripper": "by its name"}, "findings": []}


def test_training_can_leave_them_out(data, tmp_path, capsys, monkeypatch):
    from palmar.data import quality

    strict = quality.Limits(shortest=1000)
    monkeypatch.setattr(quality.assess, "__defaults__", (strict,))
    assert (
        main(["train", "palmar-nano", "--data", data, "--good-only", "--steps", "1", "--out", str(tmp_path / "run")])
        == 2
    )
    out, err = capsys.readouterr()
    assert "kept 0 of 3 episodes; dropped 3 truncated" in out and "no episode" in err


def test_a_tracker_hears_the_rows(data, tmp_path, monkeypatch):
    from palmar.train import track

    heard: list[dict[str, float]] = []
    monkeypatch.setattr("palmar.cli.commands.learn.need", lambda *_: None)  # tensorboard is not installed everywhere
    monkeypatch.setitem(track.TRACKERS, "tensorboard", lambda out: heard.append)
    told = ["train", "palmar-nano", "--data", data, "--track", "tensorboard", "--out", str(tmp_path / "run")]
    assert main([*told, "--steps", "2", "--batch-size", "4", "--json"]) == 0
    assert heard and heard[-1]["step"] == 2


def test_a_correction_of_a_frozen_policy(data, tmp_path, capsys):
    """Trained, loaded as a policy like any other, evaluated under delay; what does not fit is refused. Sixteen demonstrations:
    with three it fits those and errs more on the one held out."""
    config = CollectConfig(episodes=16, tasks=("reach",))
    data = str(collect(tmp_path / "sixteen", config, processes=1, progress=False).root)
    base, out = tmp_path / "base", tmp_path / "corrected"
    assert main(["train", "palmar-nano", "--data", data, "--steps", "2", "--batch-size", "8", "--out", str(base)]) == 0
    told = ["train", "--correction", str(base), "--data", data, "--out", str(out)]
    capsys.readouterr()
    assert main([*told, "--steps", "60", "--batch-size", "32", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["checkpoint"] == str(out) and figures["after"] < figures["before"]
    policy = load_policy(str(out))
    assert isinstance(policy, Corrected) and policy.interface.action_names[0] == "dx"
    test = [
        "eval",
        "--policy",
        str(out),
        "--tasks",
        "reach",
        "--episodes",
        "1",
        "--timeout",
        "2",
        "--latency",
        "0.3",
        "--realtime",
    ]
    assert main([*test, "--processes", "1", "--json"]) == 0
    assert main([*told, "--recipe", "lora"]) == 2
    assert "--recipe lora counts only without --correction" in capsys.readouterr().err
    assert main(["train", "--correction", str(tmp_path / "none"), "--data", data, "--out", str(tmp_path / "x")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err
