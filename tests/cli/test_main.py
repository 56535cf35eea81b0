"""The command line: exit codes, messages, what is left behind, and one JSON object."""

import json
import socket
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from palmar.cli import live
from palmar.cli.commands import COMMANDS
from palmar.cli.demo import DemoConfig
from palmar.cli.main import guarded, main
from palmar.cli.shared import tidy
from palmar.data.collect import CollectConfig, collect
from palmar.eval import grounding, suite
from palmar.eval.suite import EvalConfig
from palmar.policy import shipped
from palmar.train.run import TrainConfig


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return out, " ".join(err.split())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cli") / "data"
    collect(folder, CollectConfig(episodes=2, tasks=("reach",)), processes=1, progress=False)
    return str(folder)


def test_alone_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, _ = said(capsys)
    assert 'palmar run "pick up the red cube"' in out and "palmar demo" in out


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("pick up the purpel cube", "unknown colour 'purpel'. Did you mean 'purple'?"),
        ("pick up the red pyramid", "unknown object 'pyramid'. Known: cube, block"),
        ("push the red cube", "does not say which way; expected one of left, right, forward"),
        ("put the red ball", "does not say where"),
        ("put the red ball on the blue plat", "Did you mean 'plate'?"),
        ("don't pick up the red cube", "says what not to do ('not')"),
        ("pick up the red cube and the blue ball", "names 2 objects (red cube, blue ball); expected one"),
        ("", "no object in ''. Say for example 'pick up the red cube'"),
        ("dance", "no object in 'dance'. Say for example 'pick up the red cube'"),
    ],
)
def test_an_instruction_it_cannot_do(instruction: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", instruction]) == 2
    assert message in said(capsys)[1]


def mistaken(arguments: list[str], message: str, where: Path, monkeypatch: Any, capsys: Any) -> None:
    """Exit code 2, the message, and nothing left where it was called."""
    monkeypatch.chdir(where)
    assert main(arguments) == 2
    assert message in said(capsys)[1]
    assert not list(where.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "eval --policy /nowhere/at/all",
            "no checkpoint at '/nowhere/at/all'. Next: train one (palmar train) or use --policy",
        ),
        ("eval --policy [/]", "no checkpoint at '[/]'"),
        (
            "eval --policy openpi://::::",
            "'openpi://::::' is no address; expected openpi://HOST:PORT, such as openpi://localhost",
        ),
        ("eval --policy opempi:x", "unknown kind of policy 'opempi'. Did you mean 'openpi'?"),
        ("eval --policy expert --world mars", "world is 'mars'; expected sim, twin or twin:SEED"),
        ("eval --policy expert --episodes 0", "episodes is 0; expected 1 or more"),
        ("eval --latency nan", "latency is nan; expected seconds, 0 or more"),
        ("eval --splits", "no split is named; expected one or more of seen, layout, pair, wording"),
        ("eval --tasks", "no task is named; expected one or more of reach, pick, place, push"),
        ("ground --policy /nowhere/at/all", "no checkpoint at '/nowhere/at/all'"),
        ("ground --world mars", "world is 'mars'"),
        ("run reach --timeout nan", "timeout is nan; expected seconds, above 0"),
        ("run reach --video x.gif", "video is 'x.gif'; expected a file name that ends in .mp4"),
        ("inspect /nowhere/at/all", "/nowhere/at/all"),
        ("repair /nowhere/at/all", "'/nowhere/at/all' is not a folder"),
        ("doctor /nowhere/at/all", "no metrics.jsonl in '/nowhere/at/all'"),
        ("sysid --twin -1", "twin is -1; expected 0 or more"),
        ("train --data /nowhere/at/all", "/nowhere/at/all"),
        ("train --data", "--data names no folder"),
        ("train --data palmar-nano", "put the preset before --data: palmar train palmar-nano --data FOLDER"),
        ("collect --out x --strength 9", "randomisation strength is 9.0; expected 0 … 2"),
        ("collect --out x --tasks", "no task is named"),
        ("collect --out x --seed 2000000", "seed is 2000000; expected 0 … 999900"),
        ("collect --out x --stills --seed -1", "seed is -1"),
        ("collect --out x --beta 7", "beta is 7.0; expected a share, 0 … 1"),
        ("collect --out x --driver /nowhere/at/all", "no checkpoint at '/nowhere/at/all'"),
        ("compare /nowhere/a.json /nowhere/b.json", "no results at '/nowhere/a.json'"),
    ],
)
def test_a_users_mistake_is_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys) -> None:
    mistaken(arguments.split(), message, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data {data} palmar-nano", "put the preset before --data: palmar train palmar-nano --data {data}"),
        ("--data {data} --steps -1", "palmar: steps is -1; expected 1 or more"),
        ("--data {data} --steps 1 --lr nan", "palmar: lr is nan; expected a finite number above 0"),
        ("--data {data} --minutes inf", "palmar: minutes is inf; expected a finite number above 0"),
        ("--data {data} --recipe unfreeze --batch-size 0", "palmar: batch_size is 0; expected 1 or more"),
        ("--data {data} --steps 1 --minutes 1", "palmar: steps is 1, minutes is 1.0; expected exactly one of them"),
        ("--data {data} --steps 3 --recipe three-stage", "gets none of 3 steps. Next: --steps 11 or more"),
        ("--data {data} --steps 1 --weights 1 2", "--weights has 2 numbers for 1 data sets"),
        ("--data {data} --steps 1 --device nosuch", "device is 'nosuch'; expected cpu, cuda or cuda:N"),
        ("palmar-nano --data {data} --steps 1 --init shipped", "asked for 'palmar-nano'. Next: leave the preset out"),
    ],
)
def test_a_training_that_cannot_begin_leaves_nothing(arguments, message, data, tmp_path, monkeypatch, capsys) -> None:
    words = ["train", *arguments.format(data=data).split(), "--out", "deep/run"]
    mistaken(words, message.format(data=data), tmp_path, monkeypatch, capsys)


def test_what_fails_leaves_no_empty_folder_and_no_file_is_lost(tmp_path: Path) -> None:
    for writes in (False, True):
        with pytest.raises(KeyError), tidy(tmp_path / "deep/run"):
            (tmp_path / "deep/run").mkdir(parents=True)
            if writes:
                (tmp_path / "deep/run/metrics.jsonl").touch()
            raise KeyError
        assert (tmp_path / "deep").exists() is writes


def test_a_bad_policy_is_told_before_any_worker_starts(tmp_path, monkeypatch, capsys) -> None:
    def never(*_: object) -> None:
        raise AssertionError("workers were started")

    for room in (suite, grounding):
        monkeypatch.setattr(room, "spread", never)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in shipped().iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[:100_000])
    for command in ("eval", "ground"):
        assert main([command, "--policy", str(broken)]) == 2
        out, err = said(capsys)
        assert "model.safetensors' is truncated" in err and not out
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody opens
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert main(["eval", "--policy", f"openpi://{address}"]) == 3
    assert f"no policy server at {address}" in said(capsys)[1]


def test_a_comparison_needs_two_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("# no JSON")
    a, b = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    for arguments, message in (
        ((a, a), "are the same file; expected the results of two evaluations. Next: palmar eval"),
        (
            (a, b),
            "a.json' is not a results file, with the settings and every trial of one evaluation: it lacks them. Next:",
        ),
        ((b, a), "it is not JSON. Next: palmar eval --policy POLICY --out FILE.json, which writes one"),
    ):
        assert main(["compare", *arguments]) == 2
        assert message in said(capsys)[1]


def test_a_mended_data_set(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    root = shutil.copytree(data, tmp_path / "set")
    assert main(["repair", str(root)]) == 0
    assert f"nothing to mend: 2 episodes in '{root}'" in " ".join(said(capsys)[0].split()).replace("' ", "'")
    (root / "meta/stats.json").unlink()
    assert main(["repair", str(root), "--json"]) == 0
    assert json.loads(said(capsys)[0]) == {"removed": [], "rebuilt": ["meta/stats.json"], "dropped": [], "episodes": 2}
    next(root.glob("videos/*front/*/*.mp4")).write_bytes(b"")
    before = sorted(p for p in root.rglob("*"))
    for drop in ([], ["--drop"]):
        assert main(["repair", str(root), *drop]) == 2
        assert "nothing would be left, so nothing was touched. Next: copy that file again" in said(capsys)[1]
    assert sorted(p for p in root.rglob("*")) == before


def test_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--policy", "/nowhere/at/all", "--json"]) == 2
    assert json.loads(said(capsys)[0])["kind"] == "BadFile"


def test_a_full_folder_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["collect", "--out", str(tmp_path), "--episodes", "1"]) == 2
    assert "--resume" in said(capsys)[1]
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert main(["demo", "--out", str(tmp_path), "--force"]) == 2, "only a demo may be replaced"
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("evaluate", 2, "eval"),
        ("eval --episodes nan", 2, "palmar eval --help"),
        ("eval --help", 0, "Tables for each task and split"),
        ("--help", 0, "Exit codes: 0 it went well"),
    ],
)
def test_help_is_about_what_was_typed(arguments: str, code: int, message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == code
    out, err = capsys.readouterr()
    assert message in out + err


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("run", live.RunConfig),
        ("demo", DemoConfig),
        ("collect", CollectConfig),
        ("train", TrainConfig),
        ("eval", EvalConfig),
        ("ground", grounding.GroundingConfig),
    ],
)
def test_an_option_defaults_to_what_its_configuration_does(command: str, config: Any) -> None:
    options = {f.name: f.default for f in fields(COMMANDS[command]) if f.default is not MISSING}  # type: ignore[arg-type]
    ours = {f.name: f.default for f in fields(config) if f.name in options}
    assert ours == {n: options[n] for n in ours} and len(ours) >= 4


@pytest.mark.parametrize(("late", "says"), [(5, None), (30, "the machine was busy: 30 % of ticks late")])
def test_a_run_says_that_the_machine_was_busy(late: int, says: str | None) -> None:
    timing = {"late_ticks": late, "ticks": 100}
    result = live.RunResult("", False, False, 20.0, "RUN", "timeout", timing, {})
    assert (result.busy or "").startswith(says or "") and (result.busy is None) is (says is None)
    assert result.to_dict()["busy"] == result.busy


@pytest.mark.parametrize(
    "told",
    [
        ["eval", "--policy", "expert", "--episodes", "1", "--out"],
        ["sysid", "--out"],
        ["inspect", "DATA", "--html"],
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(told, data, tmp_path, capsys):
    folder = tmp_path / "there"
    folder.mkdir()
    assert main([data if t == "DATA" else t for t in told] + [str(folder)]) == 2
    out, err = said(capsys)
    assert "is a folder; expected a file to write" in err and out == ""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["doctor", "X", "--follow", "nan"], "--follow is nan; expected seconds"),
        (["questions", "--out", "X", "--seed", "-1"], "seed is -1"),
        (["train", "--data", "DATA", "--out", "X", "--resume"], "no run in"),
        (["run", "push the red cube left and right"], "asks for more than one thing"),
        (["run", "pick up the red cube then push the red cube left"], "asks for more than one thing"),
    ],
)
def test_more_mistakes_are_told_by_their_value(told, expected, data, tmp_path, capsys):
    where = {"DATA": data, "X": str(tmp_path / "x")}
    assert main([where.get(t, t) for t in told]) == 2
    assert expected in said(capsys)[1] and not (tmp_path / "x").exists()


def test_progress_of_rooms_is_not_on_stdout_with_json(capsys):
    from rich.progress import track

    def work(console: Any) -> Any:
        return 0, {"sum": sum(track(range(3)))}

    assert guarded(work, as_json=True) == 0
    assert capsys.readouterr().out == '{"sum": 3}\n'
    assert guarded(work) == 0
    assert "100%" in capsys.readouterr().out
