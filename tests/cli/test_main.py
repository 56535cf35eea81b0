"""The command line: exit codes, messages, what is left behind, and one JSON object."""

import errno
import inspect
import json
import math
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palmar.cli.commands import COMMANDS
from palmar.cli.demo import DemoConfig
from palmar.cli.main import guarded, main
from palmar.cli.runs import RunConfig, RunResult
from palmar.cli.shared import tidy, writable, writable_folder
from palmar.data.repair import repair
from palmar.lab import grounding, suite
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.suite import EvalConfig
from palmar.policy import shipped
from palmar.train.run import TrainConfig
from palmar.types import STILL


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return out, err


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
        ("", "the instruction is empty; expected what to do"),
        ("pick up the red cube and throw it", "unknown verb 'throw'. Known: stow, hold, drop"),
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
            "'//::::' is no address of a policy server; expected //HOST:PORT after openpi:",
        ),
        ("eval --policy opempi:x", "unknown kind of policy 'opempi'. Did you mean 'openpi'?"),
        (
            "eval --policy expert --world mars",
            "world is 'mars'; expected sim, twin:SEED, near:SEED, far:SEED, other:SEED, GRADE:FIRST-LAST or twins:N",
        ),
        (
            "eval --policy expert --processes 0",
            "--processes is 0; expected 1 … 1024, or a Ray cluster: ray, ray:HOST:PORT, ray:local. Next: palmar eval --help",
        ),
        ("eval --policy expert --episodes 0", "--episodes is 0; expected 1 … 1000000000"),
        ("eval --latency nan", "--latency is nan; expected 0 … 60 seconds"),
        ("eval --splits", "no split is named; expected one or more of seen, layout, pair, wording"),
        ("eval --tasks", "no task is named; expected one or more of reach, pick, place, push"),
        ("ground --policy /nowhere/at/all", "no checkpoint at '/nowhere/at/all'"),
        ("ground --world twins:3", "world is 'twins:3'; expected sim, twin:SEED"),
        ("run reach --timeout nan", "--timeout is nan; expected above 0 and at most 86400 seconds"),
        ("run reach --video x.gif", "video is 'x.gif'; expected a file name that ends in .mp4"),
        ("run reach --video /proc/x.mp4", "'/proc/x.mp4' cannot be written (no such file or directory)"),
        ("inspect /nowhere/at/all", "/nowhere/at/all"),
        ("repair /nowhere/at/all", "'/nowhere/at/all' is not a folder"),
        ("doctor /nowhere/at/all", "no metrics.jsonl in '/nowhere/at/all'"),
        ("sysid --twin -1", "--twin is -1; expected 0 … 9223372036854775807"),
        ("train --data /nowhere/at/all", "/nowhere/at/all"),
        ("train --data", "--data names no folder"),
        ("train --data x --seed -1", "--seed is -1; expected 0 … 9223372036854775807"),
        (
            "train palmar-nano --data x --web y",
            "'palmar-nano' cannot answer questions, so it cannot learn from --web 'y'. Next:",
        ),
        ("train palmar-nano --data x --web y", "or a preset that can: rt2-tiny, rt2-paper, openvla-tiny"),
        ("train rt2-tiny --data x --web y", "no questions.parquet in 'y'"),
        ("train rt2-tiny --data x --web-share 2", "--web-share is 2.0; expected 0 or more and below 1"),
        (
            "train rt2-tiny --data x --recipe co-train",
            "learns from questions, and none are given. Next: palmar questions",
        ),
        ("train --data palmar-nano", "put the preset before --data: palmar train palmar-nano --data FOLDER"),
        ("collect --out x --strength 9", "--strength is 9.0; expected 0 … 2"),
        ("collect --out x --tasks", "no task is named"),
        ("collect --out x --seed 2000000", "seed is 2000000; expected 0 … 999900"),
        ("collect --out x --stills --seed -1", "seed is -1"),
        ("collect --out x --beta 7", "--beta is 7.0; expected 0 … 1"),
        ("collect --out x --driver /nowhere/at/all", "no checkpoint at '/nowhere/at/all'"),
        (
            "collect --out x --driver nosuch",
            "no checkpoint at 'nosuch' to drive. Next: driver 'expert' (the script), 'shipped'",
        ),
        ("collect --out /proc/x", "'/proc/x' cannot be written"),
        ("compare /usr /etc", "'/usr' is a folder; expected a file"),
        ("compare /nowhere/a.json /nowhere/b.json", "no results at '/nowhere/a.json'"),
    ],
)
def test_a_users_mistake_is_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys) -> None:
    mistaken(arguments.split(), message, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data {data} palmar-nano", "put the preset before --data: palmar train palmar-nano --data {data}"),
        ("--data {data} --steps -1", "palmar: --steps is -1; expected 1 … 1000000000"),
        ("--data {data} --steps 1 --lr nan", "palmar: --lr is nan; expected above 0 and at most 10"),
        ("--data {data} --minutes inf", "palmar: --minutes is inf; expected above 0 and at most 1000000"),
        ("--data {data} --recipe unfreeze --batch-size 0", "palmar: --batch-size is 0; expected 1 … 1000000"),
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
    root = shutil.copytree(data, tmp_path / "set")
    assert main(["repair", str(root)]) == 0
    assert f"nothing to mend: 2 episodes in '{root}'" in said(capsys)[0]
    (root / "meta/stats.json").unlink()
    assert main(["repair", str(root), "--json"]) == 0
    figures = json.loads(said(capsys)[0])
    assert {k: figures[k] for k in ("moved", "rebuilt", "dropped", "episodes", "left")} == {
        "moved": [], "rebuilt": ["meta/stats.json"], "dropped": [], "episodes": 2, "left": "",
    }  # fmt: skip
    assert main(["repair", str(root), "--undo"]) == 0 and not (root / "meta/stats.json").exists()
    assert main(["repair", str(root), "--dry-run"]) == 0 and not (root / "meta/stats.json").exists()
    assert "would be rebuilt: meta/stats.json" in said(capsys)[0]
    assert main(["repair", str(root), "--undo", "--drop"]) == 2 and "--undo takes no other option" in said(capsys)[1]
    assert main(["repair", str(root)]) == 0 and (root / "meta/stats.json").exists()
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
@pytest.mark.usefixtures("wide")
def test_help_is_about_what_was_typed(arguments: str, code: int, message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == code
    out, err = capsys.readouterr()
    assert message in out + err


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("run", RunConfig),
        ("demo", DemoConfig),
        ("collect", CollectConfig),
        ("train", TrainConfig),
        ("eval", EvalConfig),
        ("ground", grounding.GroundingConfig),
    ],
)
def test_an_option_defaults_to_what_its_configuration_does(command: str, config: Any) -> None:
    options = {f.name: f.default for f in fields(COMMANDS[command]) if f.default is not MISSING}  # type: ignore[arg-type]
    ours = {
        f.name: f.default for f in fields(config) if options.get(f.name) is not None
    }  # None: chosen by what is given
    assert ours == {n: options[n] for n in ours} and len(ours) >= 4


@pytest.mark.parametrize(("late", "says"), [(5, None), (30, "the machine was busy: 30 % of ticks late")])
def test_a_run_says_that_the_machine_was_busy(late: int, says: str | None) -> None:
    timing = {"late_ticks": late, "ticks": 100}
    result = RunResult("", False, False, 20.0, "RUN", "timeout", timing, {})
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
        (["doctor", "X", "--follow", "nan"], "--follow is nan; expected 0 … 86400 seconds"),
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


@pytest.mark.parametrize(
    ("told", "named"),
    [
        (["train", "--data", ""], "--data"),
        (["train", "--data", "x", ""], "--data"),
        (["train", "--data", "x", "--out="], "--out"),
        (["eval", "--policy="], "--policy"),
        (["run", "--policy", "", "pick up the red cube"], "--policy"),
        (["collect", "--out", " "], "--out"),
        (["inspect", ""], "an argument of palmar inspect"),
        (["compare", "a.json", ""], "an argument of palmar compare"),
    ],
)
def test_an_empty_word_is_not_the_current_folder(told, named, tmp_path, monkeypatch, capsys) -> None:
    mistaken(told, f"palmar: {named} is empty; expected a value", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("told", "file"),
    [
        ("eval --policy expert --episodes 1 --out mine.json", "mine.json"),
        ("sysid --out mine.json", "mine.json"),
        ("inspect DATA --html mine.html", "mine.html"),
        ("run reach_the_red_cube --video mine.mp4", "mine.mp4"),
        ("run reach_the_red_cube --video mine.mp4", "mine.jpg"),
    ],
)
def test_a_file_that_is_there_is_kept(told, file, data, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).write_text("mine")
    words = [w.replace("_", " ").replace("DATA", data) for w in told.split()]
    assert main(words) == 2
    out, err = said(capsys)
    assert f"'{file}' is there already. Next: another name, or --force to replace it" in err and not out
    assert [p.name for p in tmp_path.iterdir()] == [file] and Path(file).read_text() == "mine"
    if words[0] == "inspect":
        assert main([*words, "--force", "--json"]) == 0 and "<html" in Path(file).read_text()


def test_a_trial_of_a_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    for place in (None, tmp_path / "empty.json", tmp_path / "deep/er/new.json", Path("/dev/null")):
        writable(place)
    (tmp_path / "full.json").write_text("mine")
    writable(tmp_path / "full.json", force=True)
    writable_folder(tmp_path / "deep/er")
    assert {p.name for p in tmp_path.rglob("*")} == {"empty.json", "full.json"}
    assert (tmp_path / "full.json").read_text() == "mine"


@pytest.mark.parametrize(
    "told",
    [
        "collect --episodes 1 --out FILE",
        "questions --tables 2 --out FILE/deeper",
        "train palmar-nano --data DATA --out FILE",
        "demo --out FILE",
        "run reach_the_red_cube --blackbox FILE",
    ],
)
def test_a_file_is_no_folder(told, data, tmp_path, capsys) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    words = [w.replace("_", " ").replace("FILE", str(file)).replace("DATA", data) for w in told.split()]
    assert main(words) == 2
    assert f"'{file}' is a file; expected a folder. Next: another path" in said(capsys)[1]
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOTDIR, "there/x' cannot be used (not a directory)"),
        (errno.EISDIR, "there/x' is a folder; expected a file"),
        (errno.ENOSPC, "does not fit: the disk is full. Next: free space"),
        (
            errno.EACCES,
            "cannot be read or written (permission denied); expected a place of your own. Next: another path",
        ),
        (errno.EROFS, "cannot be read or written (read-only file system)"),
        (errno.ENOENT, "there is no '/not/there/x'. Next: check the path"),
        (errno.ENAMETOOLONG, "cannot be used (file name too long). Next: another path"),
    ],
)
def test_what_the_system_says_of_a_path_is_a_mistake_in_words(number: int, message: str, capsys: Any) -> None:
    def work(console: Any) -> Any:
        raise OSError(number, os.strerror(number), "/not/there/x")

    assert guarded(work, as_json=True) == 2
    out, err = said(capsys)
    assert message in err and "Errno" not in err and json.loads(out)["kind"] == "BadFile"


def test_a_run_has_its_folder_to_itself(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, foreign = tmp_path / "run", tmp_path / "foreign"
    for folder, name in ((run, "metrics.jsonl"), (foreign, "thesis.tex")):
        folder.mkdir()
        (folder / name).write_text("mine")
    for folder, more, message in (
        (foreign, [], "foreign' is not empty (thesis.tex). Next: another --out"),
        (foreign, ["--resume"], "no run in"),
        (run, [], "run' holds a run. Next: another --out, or --resume to go on"),
    ):
        assert main(["train", "palmar-nano", "--data", data, "--steps", "1", "--out", str(folder), *more]) == 2
        assert message in said(capsys)[1]
    assert [p.name for p in foreign.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("command", ["inspect", "repair", "collect --resume --episodes 1 --out"])
def test_a_folder_that_is_no_data_set_is_said_to_be_none(command, data, tmp_path, capsys) -> None:
    mine, above = tmp_path / "mine", tmp_path / "above"
    mine.mkdir()
    (mine / "readme.txt").touch()
    shutil.copytree(data, above / "set")
    for folder, guess in ((mine, ""), (above, f" Did you mean '{above / 'set'}'?")):
        assert main([*command.split(), str(folder)]) == 2
        message = (
            "is no data set; a LeRobot v3 data set holds meta/info.json, data/chunk-000/file-000.parquet and so on"
        )
        err = said(capsys)[1]
        assert message in err and f"videos/.{guess} Next: give the folder" in err and "palmar repair" not in err
    assert [p.name for p in mine.iterdir()] == ["readme.txt"]


ESTIMATE = {"value": 1.0, "low": 0.9, "high": 1.1, "unit": "", "identified": True}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no JSON", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (b"[1]", "it lacks what one has, or holds something else in its place"),
        ({"estimates": {"gain": ESTIMATE | {"value": "much"}}}, "it lacks what one has"),
        ({"estimates": {"gain": ESTIMATE | {"value": 5.0}}}, "gain is 5.0, outside its interval 0.9 … 1.1"),
        ({"estimates": {"gian": ESTIMATE}}, "unknown world parameter 'gian'"),
        ({"format": "palmar torque identification 1"}, "it is of torques, from palmar sysid --data"),
    ],
)
def test_an_identification_that_is_none_is_named(content, message, tmp_path, capsys) -> None:
    file, out = tmp_path / "found.json", tmp_path / "out"
    whole = {
        "format": "palmar identification 1",
        "robot": "arm7",
        "residual_before": 1.0,
        "residual_after": 1.0,
        "notes": [],
    }
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(whole | content).encode())
    assert main(["collect", "--out", str(out), "--episodes", "1", "--identified", str(file)]) == 2
    err = said(capsys)[1]
    assert f"'{file}' is no identification: {message}" in err and "Next: palmar sysid --out" in err and not out.exists()


@pytest.mark.parametrize(
    "command", [["collect", "--out", "o"], ["adr", "expert", "--parameters", "gain", "--out", "o"]]
)
def test_an_identification_of_another_robot_is_refused(command, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    whole = {
        "format": "palmar identification 1",
        "robot": "so101",
        "residual_before": 1.0,
        "residual_after": 1.0,
        "notes": [],
    }
    Path("found.json").write_text(json.dumps(whole | {"estimates": {"gain": ESTIMATE}}))
    assert main([*command, "--identified", "found.json"]) == 2
    err = said(capsys)[1]
    assert "'found.json' is of the robot 'so101'; expected 'arm7'" in err and not Path("o").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vary", "friction"], "--vary friction counts only in plain simulation; world 'near:0' has parameters"),
        (["--strength", "1.5"], "--strength 1.5 counts only in plain simulation"),
        (["--identified", "a.json", "b.json"], "--identified a.json b.json counts only in plain simulation"),
    ],
)
def test_a_reality_is_not_drawn_from_ranges_as_well(words, message, tmp_path, capsys) -> None:
    assert main(["collect", "--out", str(tmp_path / "o"), "--world", "near:0", *words]) == 2
    assert message in said(capsys)[1] and not (tmp_path / "o").exists()


def test_an_option_of_several_values_is_said_as_it_was_given(capsys) -> None:
    assert main(["eval", "--policy", "expert", "--vary", "visual", "friction"]) == 2
    assert "--vary visual friction counts only with --strength" in said(capsys)[1]


def row(step: int, **more: float) -> str:
    return json.dumps({"step": float(step), "loss": 1.0, "gradient": 1.0, "val_action": 1.0, **more}) + "\n"


@pytest.mark.parametrize(
    ("lines", "cut", "code", "message"),
    [
        ([row(i) for i in range(6)] + ['{"step": 6.0, "lo'], True, 0, "healthy"),
        ([row(i) for i in range(6)] + ["\0" * 40], True, 0, "healthy"),
        ([row(0), '{"step": 1.0, "lo\n'], True, 1, "too short to judge"),
        ([row(0, loss=math.nan)], False, 1, "NaN"),
        ([], False, 1, "too short to judge: 0 steps"),
    ],
)
def test_the_doctor_reads_what_is_whole(lines, cut, code, message, tmp_path, capsys) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert main(["doctor", str(tmp_path)]) == code
    out = said(capsys)[0]
    assert message in out and ("was cut short" in out) is cut
    assert not ("NaN" in out and "too short" in out), "a symptom needs no more rows"
    assert main(["doctor", str(tmp_path), "--json"]) == code
    assert json.loads(said(capsys)[0])["cut"] is cut


def test_stills_alone_are_nothing_to_act_by(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    still = SimpleNamespace(episodes=(SimpleNamespace(source=STILL),), robot_type="arm7")
    monkeypatch.setattr("palmar.train.prepare.read", lambda *_: still)
    assert main(["train", "palmar-nano", "--data", "x", "--steps", "1", "--out", str(tmp_path / "run")]) == 2
    assert "--data holds only stills, in which nobody acts. Next: demonstrations beside them" in said(capsys)[1]


def test_mending_drops_nothing_that_it_was_not_told_to() -> None:
    assert inspect.signature(repair).parameters["drop"].default is False
    assert next(f.default for f in fields(COMMANDS["repair"]) if f.name == "drop") is False  # type: ignore[arg-type]


def test_help_may_be_cut_off_by_who_reads_it():
    """palmar --help | head"""
    for words in (["--help"], ["run", "--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "palmar.cli", *words], stdout=writer, stderr=subprocess.PIPE, text=True
        )
        os.close(writer)
        assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("module", ["tyro", "palmar.cli.commands.speed", "palmar.train.preflight"])
def test_who_stops_it_while_it_is_still_read_sees_no_traceback(module: str):
    """Ctrl-C among the imports: of the command line, of its commands, of the command."""
    stopped = f"""
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from palmar.cli import main
sys.exit(main(["preflight", "--robot", "arm7"]))
"""
    done = subprocess.run([sys.executable, "-c", stopped], capture_output=True, text=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr


def test_who_stops_it_before_the_command_runs_sees_nothing(monkeypatch, capsys):
    def stop(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["palmar.cli.main"], "_parsed", stop)
    assert main(["models"]) == 130 and not capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "agent"])
def test_an_instruction_without_quotes_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "put", "the", "cube", "--seed", "3"])
    assert ended.value.code == 2
    assert f'Next: an instruction in quotes: palmar {command} "put the cube"' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["eval", "put", "the", "cube"])
    assert "in quotes" not in capsys.readouterr().err
