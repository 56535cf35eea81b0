"""The gate from recordings to its page: verdicts, order, what was predicted, and recordings that do not belong together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from oplog import log_of

from palmar.cli.main import main
from palmar.errors import BadValue
from palmar.eval.results import Results, Trial
from palmar.eval.stats import Rate
from palmar.transfer.gate import Evidence, transfer_gate
from palmar.transfer.predict import predicted
from palmar.transfer.real import Recording, check_alike, of_results, recorded


def results(successes: int, n: int, task: str = "reach", **config: str) -> Results:
    trials = tuple(
        Trial(task, "layout", config.get("world", "sim"), i, "reach it", i % n < successes, 2.0, True, "cube", None, 0.01, 1.0,
              0.0, 100, 0)
        for i in range(n)
    )  # fmt: skip
    return Results({"policy": "p", "robot": "arm7", "world": "sim"} | config, trials)


def saved(folder: Path, name: str, *of: object, **config: str) -> str:
    path = folder / f"{name}.json"
    results(*of, **({"policy": name.split("-")[-1]} | config)).save(path)  # type: ignore[arg-type]
    return str(path)


def recording(successes: int, n: int = 20, **change: object) -> Recording:
    return replace(of_results(results(successes, n), "there"), **change)  # type: ignore[arg-type]


def evidence(name: str, sim: int, real: int, n: int = 20) -> Evidence:
    return Evidence(name, Rate(sim, n), recording(real, n))


def test_eight_policies_are_ordered_and_the_first_is_judged():
    counts = ((20, 20), (19, 19), (18, 17), (15, 16), (12, 11), (9, 10), (5, 4), (1, 0))
    gate = transfer_gate([evidence(f"p{i}", a, b) for i, (a, b) in enumerate(counts)])
    assert gate.verdict.verdict == "go" and gate.policies[-1].verdict.verdict == "no-go"
    assert gate.ranking is not None and gate.ranking.pearson.value > 0.95 and gate.ranking.mmrv.value < 0.05
    assert json.loads(json.dumps(gate.to_dict()))["ranking"]["mmrv"]["n"] == 8


def test_a_prediction_is_checked_against_what_was_observed():
    found = predicted([[True] * 8] * 10)
    held = transfer_gate([Evidence("good", found.simulated, recording(19), found)])
    missed = transfer_gate([Evidence("good", found.simulated, recording(5), found)])
    assert held.policies[0].held is True and missed.policies[0].held is False
    assert held.held == Rate(1, 1) and held.ranking is None and "no rank correlation" in held.notes[0]


def test_before_the_first_real_trial_the_outlook_is_what_simulation_predicts():
    none = Recording("nowhere", "arm7", (), "twin:0", ())
    good, bad = (predicted([[s] * 40] * 20) for s in (True, False))
    gates = [transfer_gate([Evidence("p", f.simulated, none, f)]) for f in (good, bad)]
    assert [g.verdict.verdict for g in gates] == ["not yet", "not yet"] and gates[0].policies[0].held is None
    assert gates[0].verdict.outlook.go > 0.9 and gates[1].verdict.outlook.no_go > 0.9


def test_a_log_is_read_by_the_policy_it_is_of(tmp_path):
    log_of(tmp_path / "ops.jsonl", [True] * 12 + [False] * 2, policy="mine")
    found = recorded(tmp_path / "ops.jsonl", "mine")
    assert (found.rate, found.robot, found.where, found.tasks) == (Rate(12, 14), "arm7", "mock:", ())
    with pytest.raises(
        BadValue, match=r"has no run of 'other'; it has runs of mine abcdef01. Next: palmar run --policy other"
    ):
        recorded(tmp_path / "ops.jsonl", "other")
    log_of(tmp_path / "own.jsonl", [True] * 3, by="policy")
    with pytest.raises(BadValue, match=r"3 runs were judged by the policy itself.* Next: palmar run in a terminal"):
        recorded(tmp_path / "own.jsonl", "mine")


def test_recordings_that_do_not_belong_together_are_refused():
    for change, message in (
        ({"robot": "so101"}, r"real trials are of different robot: arm7 and so101; .* Next: files"),
        ({"tasks": ("pick",)}, r"different tasks: reach and pick"),
        ({"where": "twin:1"}, r"different place: sim and twin:1"),
    ):
        with pytest.raises(BadValue, match=message):
            check_alike([recording(5), recording(5, **change)])
    check_alike([recording(5), recording(9, tasks=())])
    with pytest.raises(BadValue, match=r"'there' holds no trial; .* Next: palmar eval"):
        of_results(Results({}, ()), "there")
    for some, message in (([], r"no policy to judge"), ([evidence("p", 1, 1)] * 2, r"'p' is named twice")):
        with pytest.raises(BadValue, match=message):
            transfer_gate(some)


@pytest.mark.usefixtures("wide")
def test_the_command_judges_recordings_alone(tmp_path, capsys):
    counts = {"a": (20, 20), "b": (15, 13), "c": (4, 5)}
    real = [saved(tmp_path, f"real-{k}", r, 20, world="twin:0") for k, (_, r) in counts.items()]
    sim = [saved(tmp_path, f"sim-{k}", s, 20) for k, (s, _) in counts.items()]
    words = ["transfer", *counts, "--real", *real, "--sim", *sim, "--out", str(tmp_path / "gate.json")]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a: go after 19: 20 of 20 real trials succeeded" in said and "order over 3 policies: Pearson r 0.9" in said
    assert json.loads((tmp_path / "gate.json").read_text())["verdict"] == "go"
    assert main(["transfer", "c", "b", "a", "--real", *reversed(real), "--sim", *reversed(sim), "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["verdict"] == "no-go" and figures["ranking"]["pearson"]["n"] == 3
    assert main(["transfer", *counts, "--real", real[0], "--sim", *sim]) == 2
    assert "real-a.json' holds trials of the policy 'a'; expected those of 'b'" in capsys.readouterr().err
    few = saved(tmp_path, "few-a", 3, 3, world="twin:0")
    assert main(["transfer", "a", "--real", few, "--sim", sim[0]]) == 1
    assert "A go takes at least 16 more if every one succeeds" in capsys.readouterr().out


def test_the_page_says_the_verdict_and_the_order(tmp_path):
    pytest.importorskip("matplotlib")
    names = ["a", "<b>[bold]", "c"]
    real = [saved(tmp_path, f"r{k}", k, 20, world="twin:0", policy=p) for k, p in zip((20, 12, 3), names, strict=True)]
    sim = [saved(tmp_path, f"s{k}", k, 20, policy=p) for k, p in zip((19, 13, 2), names, strict=True)]
    page = tmp_path / "deep" / "gate.html"
    assert main(["transfer", *names, "--real", *real, "--sim", *sim, "--html", str(page)]) == 0
    html = page.read_text()
    assert "a: go after 19" in html and "&lt;b&gt;[bold]" in html and "<b>[bold]" not in html
    assert "Spearman" in html and html.count("<svg") == 1 and "a perfect simulator" in html


@pytest.mark.usefixtures("wide")
def test_the_command_tries_an_expert_in_a_reality_until_its_verdict(tmp_path, capsys):
    """A script that knows where things are, where every trial succeeds: it goes as soon as it may."""
    words = [
        "transfer",
        "expert",
        "--body",
        "sim",
        "--tasks",
        "reach",
        "--worlds",
        "3",
        "--tables",
        "1",
        "--timeout",
        "4",
    ]
    words += ["--strength", "0.3", "--need", "0.3", "--want", "0.95", "--processes", "1"]
    assert main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["verdict"] == "go" and figures["policies"][0]["real"]["n"] < 6
    assert figures["held"]["n"] == 1 and figures["policies"][0]["predicted"]["rate"] > 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "neither --body nor --real say where the real trials are from; expected one"),
        (["a", "--body", "twin:0", "--real", "x"], "both --body and --real say where"),
        (["a", "a", "--body", "twin:0"], "'a' is named twice; expected each policy once"),
        (["a", "b", "c", "--real", "x", "y"], "--real has 2 files for 3 policies; expected one of each"),
        (["a", "b", "--body", "twin:0", "--sim", "x"], "--sim has 1 files for 2 policies"),
        (
            ["a", "--body", "my_arm:MyArm"],
            "somebody has to say whether a trial succeeded. Next: palmar run TASK --policy a",
        ),
        (["a", "--body", "twins:x"], "world is 'twins:x'; expected sim, twin"),
        (
            ["a", "--body", "twin:0", "--need", "0.9", "--want", "0.8"],
            "need is 0.9 and want 0.8; expected need below want",
        ),
        (["a", "--body", "twin:0", "--widen", "2"], "--widen 2.0 counts only with --identified"),
        (["a", "--real", "x", "--seed", "7"], "--seed 7 counts only with --body"),
        (["a", "--body", "twin:0"], "no checkpoint at 'a'"),
        (["expert", "--real", "none.json"], "no results at 'none.json'. Next: palmar eval"),
    ],
)
@pytest.mark.usefixtures("wide")
def test_mistakes_end_with_code_2_before_anything_runs(words, message, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert main(["transfer", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_results_of_other_tasks_are_not_mixed(tmp_path, capsys):
    real = [saved(tmp_path, f"r-{p}", 3, 5, task) for p, task in zip("abc", ("reach", "pick", "reach"), strict=True)]
    assert main(["transfer", "a", "b", "c", "--real", *real, "--sim", *real]) == 2
    assert "real trials are of different tasks: reach and pick" in capsys.readouterr().err


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("real", "sim", "message"),
    [
        (
            {"policy": "b", "world": "twin:0"},
            {},
            "holds trials of the policy 'b'; expected those of 'a'. Next: palmar eval",
        ),
        ({"world": "twin:0"}, {"policy": "b"}, "holds trials of the policy 'b'; expected those of 'a'"),
        ({}, {}, "were made in plain simulation; expected a robot's"),
        ({"world": "twin:0"}, {"task": "pick"}, "--real is of the tasks reach and --sim of pick; expected the same"),
    ],
)
def test_only_the_policys_own_trials_in_a_reality_count(real, sim, message, tmp_path, capsys):
    files = [
        saved(tmp_path, f"{n}-a", 5, 5, more.get("task", "reach"), **{k: v for k, v in more.items() if k != "task"})
        for n, more in (("real", real), ("sim", sim))
    ]
    assert main(["transfer", "a", "--real", files[0], "--sim", files[1]]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("wide")
def test_adr_by_command_stops_and_goes_on(tmp_path, capsys):
    words = [
        "adr",
        "expert",
        "--out",
        str(tmp_path / "h.json"),
        "--parameters",
        "gain",
        "--tasks",
        "reach",
        "--timeout",
        "3",
    ]
    words += ["--episodes", "2", "--buffer", "2", "--begin", "0", "--processes", "1"]
    assert main([*words, "--iterations", "1"]) == 0
    assert main([*words, "--iterations", "2"]) == 2, "the history is there"
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--iterations", "2", "--resume", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["iteration"] == 2 and figures["ran"] == 1
    assert main([*words, "--iterations", "2", "--resume", "--threshold", "0.8"]) == 2
    assert "threshold was 0.7 and is 0.8; expected the same. Next:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limits", "friction"], "--limits has 'friction'; expected NAME=LOW:HIGH. Next:"),
        (["--limits", "friction=2:1"], "range of friction is 2 … 1, inside out"),
        (["--parameters", "dynamic"], "Did you mean 'dynamics'"),
        (["--steps", "5"], "--steps 5 counts only with --train. Next: leave it out, or give --train"),
        (["--train", "rounds"], "the expert is a script and learns nothing"),
    ],
)
@pytest.mark.usefixtures("wide")
def test_mistakes_of_adr_end_with_code_2(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["adr", "expert", "--out", "h.json", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("wide")
def test_adr_trains_the_policy_on_in_the_present_ranges(tmp_path, capsys):
    pytest.importorskip("torch")
    from palmar.data.reader import Dataset

    words = [
        "adr",
        "shipped",
        "--out",
        str(tmp_path / "h.json"),
        "--parameters",
        "gain",
        "--tasks",
        "reach",
        "--timeout",
        "4",
    ]
    words += [
        "--episodes",
        "1",
        "--train",
        str(tmp_path / "rounds"),
        "--every",
        "1",
        "--demonstrations",
        "1",
        "--steps",
        "1",
    ]
    assert main([*words, "--batch-size", "2", "--iterations", "1", "--processes", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["policy"] == str(tmp_path / "rounds/round-00001")
    assert (tmp_path / "rounds/round-00001/config.json").exists()
    assert len(Dataset(tmp_path / "rounds/data-00001", cache=False).episodes) == 1
