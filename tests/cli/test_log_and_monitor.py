"""`palmar run --log --mcap --metrics` and `palmar monitor`: from the words on the command line to what is left and told."""

import json
from pathlib import Path

import numpy as np
import pytest
from oplog import log_of, write

from palmar.cli import attended as room
from palmar.cli import live, observing
from palmar.cli.main import main
from palmar.cli.runs import RunConfig
from palmar.errors import BadValue
from palmar.robots.arm7 import arm7
from palmar.runtime.records.runs import read_log
from palmar.serve.run_metrics import RunMetrics
from palmar.types import ActionChunk

RUN = ["run", "pick up the red cube", "--video", "None"]


def test_a_run_is_logged_with_who_says_it_succeeded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "ops" / "log.jsonl"
    code = main([*RUN, "--timeout", "0.6", "--log", str(log), "--metrics", "0", "--json"])
    out, err = capsys.readouterr()
    assert code == 1 and "metrics are served at http://127.0.0.1:" in err
    (run,) = read_log(log).runs
    assert (run.policy, run.robot, run.where, run.instruction) == ("shipped", "arm7", "sim", "pick up the red cube")
    assert (run.outcome, run.success, run.by, run.mode, run.cause) == ("timeout", False, "simulator", "RUN", "timeout")
    assert len(run.fingerprint) == 16 and run.ticks == json.loads(out)["timing"]["ticks"] > 0
    assert main(["monitor", str(log), "--share", "1"]) == 0  # however late this machine is
    said = capsys.readouterr().out
    assert f"shipped {run.fingerprint[:8]}" in said and "no alarm" in said and "timeout" in said
    assert (
        "raises the alarm is at most 5 %, and the same for the shift of its actions; the alarm of latency has no such bound"
        in (" ".join(said.split()))
    )


def test_on_a_body_the_policy_says_so_where_no_person_can(tmp_path: Path, monkeypatch, capsys) -> None:
    class Done:
        interface = arm7().interface(8)

        def act(self, obs, prefix=None) -> ActionChunk:
            return ActionChunk(np.zeros((8, 7), np.float32), 0.1, obs.time, confidence=0.5, done=1.0)

        def reset(self) -> None: ...

    monkeypatch.setattr(room, "load_policy", lambda name: Done())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    log = tmp_path / "log.jsonl"
    on_body = ["--policy", "ws://x:1", "--robot", "arm7", "--body", "mock:", "--watchdog", "None", "--timeout", "5"]
    assert main([*RUN, *on_body, "--log", str(log)]) == 0
    (run,) = read_log(log).runs
    assert (run.policy, run.where, run.outcome, run.success, run.by) == ("ws://x:1", "mock:", "done", True, "policy")
    assert run.fingerprint == "" and run.confidence == 0.5
    assert "by the policy's own word" in capsys.readouterr().out


def test_a_run_that_an_error_ends_is_in_the_log_and_the_metrics(tmp_path: Path, monkeypatch, capsys) -> None:
    class Failing:
        def __init__(self, inner) -> None:
            self.inner, self.interface, self.asked = inner, inner.interface, 0

        def act(self, obs, prefix=None):
            self.asked += 1
            if self.asked > 1:  # the first call only warms it up
                raise OSError("the weights are gone")
            return self.inner.act(obs, prefix)

        def reset(self) -> None:
            self.inner.reset()

    load = room.load_policy
    monkeypatch.setattr(room, "load_policy", lambda name: Failing(load(name)))
    log = tmp_path / "log.jsonl"
    with pytest.raises(OSError, match="the weights are gone"):
        main([*RUN, "--log", str(log)])
    (run,) = read_log(log).runs
    assert (run.ended, run.success, run.by, run.cause) == (True, False, "error", "fault")
    assert run.words == "OSError: the weights are gone"
    metrics = RunMetrics()  # of a session
    again = RunConfig("pick up the red cube", video=None, log=log)
    for before in (1, 2):
        with pytest.raises(OSError, match="the weights are gone"):
            live.run(again, metrics=metrics)
        assert metrics.episodes == {"fault": before + 1} and metrics.successes == 0
    with pytest.raises(BadValue, match="instruction is empty"):  # nothing had begun
        live.run(RunConfig("", video=None), metrics=metrics)
    assert metrics.episodes == {"fault": 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--log", "data.csv"], "is no operations log; nothing was added to it"),
        (["--log", "."], "is a folder"),
        (["--metrics", "99999"], "metrics is 99999; expected 0 … 65535"),
        (["--mcap", "."], "is a folder; expected a file"),
        (["--mcap", "data.csv"], "is there already. Next: another name, or --force"),
    ],
)
def test_what_cannot_be_kept_is_told_before_anything_moves(words, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text("a,b\n")
    monkeypatch.setattr(room, "load_policy", lambda name: pytest.fail("a policy was loaded"))
    assert main([*RUN, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert Path("data.csv").read_text() == "a,b\n"


def test_what_could_not_be_written_is_noted_and_the_run_is_what_it_was(tmp_path, monkeypatch) -> None:
    from palmar.runtime.records import operations

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(operations, "append", full)
    from palmar.cli.live import run

    result = run(RunConfig("pick up the red cube", timeout=0.5, video=None, log=tmp_path / "log.jsonl"))
    assert result.timing["ticks"] > 0
    assert any("3 records could not be written (the disk is full)" in n for n in result.notes)


def test_mcap_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("mcap")
    from palmar.runtime.records.mcap_file import read_messages

    path = tmp_path / "run.mcap"
    assert main([*RUN, "--timeout", "3", "--mcap", str(path)]) in (0, 1, 3)  # as fast as the machine is
    topics = {topic for topic, _, _ in read_messages(path)}
    assert topics >= {"/state", "/target", "/command", "/policy", "/camera/front", "/camera/wrist"}


def test_an_alarm_is_an_exit_code_a_table_json_and_a_page(tmp_path: Path, capsys) -> None:
    log_of(path := tmp_path / "log", [*[True] * 55, *[False] * 20])
    assert main(["monitor", str(path), "--html", str(page := tmp_path / "page.html")]) == 1
    said = capsys.readouterr().out
    assert "ALARM mine abcdef01: drop success below" in said and page.read_text().startswith("<!doctype html>")
    assert main(["monitor", str(path), "--html", str(page)]) == 2  # it is there
    capsys.readouterr()
    assert main(["monitor", str(path), "--baseline", "0.95", "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["runs"] == 75 and figures["alarms"][0]["what"] == "drop"
    version = figures["versions"][0]
    assert version["success"]["successes"] == 55 and 56 < version["drop"]["at"] < 65
    assert main(["monitor", str(path), "--policy", "mine", "--baseline", "0.2"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "there is no 'none'"),
        (["data.csv"], "is no operations log"),
        (["log", "--policy", "x"], "unknown policy of the log 'x'"),
        (["log", "--baseline", "1"], "baseline is 1; expected above 0 and below 1"),
        (["log", "--budget", "0"], "budget is 0 s"),
        (["log", "--data", "none"], "there is no data set at 'none'"),
    ],
)
def test_what_cannot_be_monitored_is_told(words, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text("a,b\n")
    log_of(Path("log"), [True] * 3)
    assert main(["monitor", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_empty_log_and_a_damaged_one(tmp_path: Path, capsys) -> None:
    write(path := tmp_path / "log", [])
    assert main(["monitor", str(path)]) == 0
    assert "holds no runs yet" in capsys.readouterr().out
    log_of(path, [True] * 3)
    path.write_text(path.read_text()[:-20])
    assert main(["monitor", str(path)]) == 0
    assert "1 damaged lines were left out" in capsys.readouterr().out


def test_the_episodes_of_training_are_what_actions_are_compared_with(tmp_path: Path, capsys) -> None:
    from synthetic import episode

    from palmar.data.writer import DatasetWriter

    with DatasetWriter(tmp_path / "set", arm7(), 10) as writer:
        for seed in range(30):
            writer.add(episode(12, seed=seed))
    names = list(arm7().action_names)
    rng = np.random.default_rng(0)
    rows = []
    for r in log_of(tmp_path / "log", [True] * 40):
        if r["event"] == "ended":
            far = (10 + rng.normal(0, 1, len(names))).tolist()
            r["actions"] = {"names": names, "n": 9, "mean": far, "std": far, "min": far, "max": far}
        rows.append(r)
    write(tmp_path / "log", rows)
    assert main(["monitor", str(tmp_path / "log"), "--data", str(tmp_path / "set")]) == 1
    assert "shift mean of d" in capsys.readouterr().out


def test_nothing_is_watched_unless_it_is_asked_for() -> None:
    with observing.observed(RunConfig("reach")) as seen:
        assert seen.of("x", None, None, None) == ()  # type: ignore[arg-type]


def test_the_page_does_not_replace_the_log(tmp_path, capsys):
    log = tmp_path / "ops.jsonl"
    log.write_text("{}\n")
    assert main(["monitor", str(log), "--html", str(log), "--force"]) == 2
    assert "the log itself" in capsys.readouterr().err and log.read_text() == "{}\n"
