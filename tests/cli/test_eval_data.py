"""palmar eval --data, from a recorded set and a trained checkpoint to figures, a page and a comparison."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import ROBOT, episode

from palmar.cli.commands import Compare, Eval, Inspect
from palmar.cli.main import main
from palmar.data.reader import Dataset
from palmar.data.split import TRAINED_ON, episode_digests
from palmar.data.writer import DatasetWriter
from palmar.models.checkpoint import read_config
from palmar.models.presets import palmar_nano
from palmar.train.loop import TrainConfig, TrainRequest, train

STEPS = TrainConfig(steps=2, horizon=8, batch_size=8, threads=1, validation=0.5, augment=None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of six episodes, `set`, and a checkpoint that was trained on three of them, `policy`."""
    folder = tmp_path_factory.mktemp("offline")
    with DatasetWriter(folder / "set", ROBOT, fps=10) as writer:
        for seed in range(6):
            words = "pick up the red cube" if seed % 2 else "pick up the blue ball"
            writer.add(episode(12, seed, instruction=words))
    data = Dataset(folder / "set", cache=False)
    train(TrainRequest(palmar_nano(), data, STEPS), folder / "policy", progress=False)
    return folder


def test_a_checkpoint_says_what_it_was_trained_on(made: Path) -> None:
    data = Dataset(made / "set", cache=False)
    trained = read_config(made / "policy")[3][TRAINED_ON]
    assert len(trained) == 3 and set(trained) < set(episode_digests(data))
    train(TrainRequest(palmar_nano(), data, STEPS, init=made / "policy"), made / "more", progress=False)
    assert read_config(made / "more")[3][TRAINED_ON] == trained, "the same seed takes the same episodes"
    other = TrainConfig(**{**vars(STEPS), "seed": 3})
    train(TrainRequest(palmar_nano(), data, other, init=made / "policy"), made / "other", progress=False)
    assert set(trained) < set(read_config(made / "other")[3][TRAINED_ON]), "those of --init are seen too"


def test_a_policy_that_does_not_fit_is_told_with_the_set_and_its_robot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DatasetWriter(tmp_path / "set", ROBOT, fps=5) as writer:
        writer.add(episode(12, 0))
    assert main(["eval", "--data", str(tmp_path / "set")]) == 2
    out, err = capsys.readouterr()
    assert f"policy shipped on {tmp_path / 'set'} (robot: {ROBOT.name})" in out
    assert (
        f"policy 'shipped' on '{tmp_path / 'set'}' (robot: {ROBOT.name}): " in err
        and "Next: a set at the policy's rate" in err
    )


def test_from_the_command_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, html, console = made / "a.json", made / "a.html", Console(width=120)
    command = Eval(policy=str(made / "policy"), data=made / "set", out=out, html=html, frames=3)
    code, figures = command.run(console)
    said = capsys.readouterr().out
    assert code == 0 and "3 of 6 episodes are held out; the other 3 were trained on" in said
    assert "hold still" in said and "other words" in said and "Recommended: execute" in said
    assert figures["split"]["evaluated"] == [e["index"] for e in json.loads(out.read_text())["episodes"]]
    assert "<svg" in html.read_text()
    json.dumps(figures, allow_nan=False)
    Eval(policy=str(made / "policy"), data=made / "set", out=made / "b.json", frames=3, every=True).run(console)
    code, compared = Compare(out, made / "b.json").run(console)
    assert (
        code == 0
        and compared["offline"]["chunk"]["n"] == 3
        and compared["offline"]["chunk"]["verdict"] == "cannot tell"
    )
    from palmar.errors import BadFile, BadValue

    with pytest.raises(BadFile, match="is there already"):
        command.run(console)
    (made / "c.json").write_text('{"config": {}, "trials": []}')
    with pytest.raises(BadValue, match="is an offline evaluation and the other is none"):
        Compare(out, made / "c.json").run(console)


def test_quality_names_what_the_values_show(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, figures = Inspect(made / "set", quality=True).run(Console(width=120))
    assert code == 0 and figures["quality"]["openings"] == {"gripper": "by its name"}
    assert "left out of jerk and idle, as openings: gripper (by its name)" in capsys.readouterr().out
