"""The runner of the studies on a fake one, and every study's value."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from study import Size, Study, as_measured, compared, points, rates, slug, verdict

from palmar.console import Screen
from palmar.errors import BadFile, BadValue
from palmar.eval.stats import Rate, paired

pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]
# Under a name of its own: another folder of tests has a `run` as well.
_spec = importlib.util.spec_from_file_location("studies_run", ROOT / "studies/run.py")
assert _spec is not None and _spec.loader is not None
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)


@pytest.fixture
def fake(tmp_path):
    """A two-arm study that writes down which arm it measured."""
    pytest.importorskip("matplotlib")
    from palmar.eval import plots

    log = []

    def measure(lab, arm):
        log.append((arm, lab.size.trials, lab.out))
        good = 9 if arm == "with" else 3
        return {
            "success": Rate(good, 10), "error": 0.12345, "kind": f"[{arm}]",
            "_outcomes": {f"reach/layout/{i}": i < good for i in range(10)},
        }  # fmt: skip

    def answer(rows):
        p = compared(rows["without"]["_outcomes"], rows["with"]["_outcomes"])
        return f"With it {verdict(p)} without ({points(p)})."

    study = Study(
        "Does it help?", ("without", "with"), "It does.", measure, answer,
        lambda rows: plots.success({"reach": rates(rows, "success")}), Size(100, steps=7), Size(2, data=0.1),
        {"seed": 3, "tasks": ("reach",)},
    )  # fmt: skip
    return study, log


def told(study, rows, out, size="full", **options):
    return run.report(study, "fake", size, rows, out, Screen(file=(out / "said.txt").open("a"), width=200), **options)


def test_both_arms_are_measured_drawn_and_answered(fake, tmp_path):
    study, log = fake
    rows = run.run(study, "fake", "full", tmp_path)
    assert [a for a, *_ in log] == ["without", "with"] and log[0][1] == 100
    assert rows["with"]["success"] == Rate(9, 10)
    body = told(study, rows, tmp_path)
    assert "| arm | success | error | kind |" in body and "_outcomes" not in body
    assert "| with | 90.0 % [59.6, 98.2] (n=10) | 0.123 | [with] |" in body
    assert "**Answer.** With it is better than without (+60 points" in body
    assert (tmp_path / "full/fake/figure.svg").read_text().startswith("<svg")
    assert (tmp_path / "full/fake/table.md").read_text().startswith("Does it help?\n\nExpected: It does.")


def test_a_stopped_run_goes_on_and_a_finished_one_measures_nothing(fake, tmp_path):
    study, log = fake
    run.run(study, "fake", "full", tmp_path, ["without"])
    first = run.run(study, "fake", "full", tmp_path)
    assert [a for a, *_ in log] == ["without", "with"]
    assert run.run(study, "fake", "full", tmp_path) == first and len(log) == 2
    assert list(first) == ["without", "with"]


def test_an_arm_that_fails_leaves_no_result(fake, tmp_path):
    study, _ = fake

    def measure(lab, arm):
        if arm == "with":
            raise KeyboardInterrupt
        return study.measure(lab, arm)

    with pytest.raises(KeyboardInterrupt):
        run.run(replace(study, measure=measure), "fake", "full", tmp_path)
    assert sorted(p.name for p in (tmp_path / "full/fake/results").iterdir()) == ["without.json"]


def test_sizes_keep_apart(fake, tmp_path):
    study, log = fake
    run.run(study, "fake", "full", tmp_path)
    run.run(study, "fake", "quick", tmp_path)
    assert len(log) == 4 and log[2][2] == tmp_path / "quick/fake"


def test_results_of_other_settings_are_refused(fake, tmp_path):
    study, _ = fake
    run.run(study, "fake", "full", tmp_path)
    with pytest.raises(BadValue, match=r"without\.json' was made with other settings: \{'settings'.*Next: --out"):
        run.run(replace(study, settings={"seed": 4, "tasks": ("reach",)}), "fake", "full", tmp_path)
    with pytest.raises(BadValue, match=r"'steps': 7"):
        run.run(replace(study, full=Size(100, steps=8)), "fake", "full", tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"settings": 1}'])
def test_a_damaged_result_is_refused(fake, tmp_path, text):
    study, _ = fake
    run.run(study, "fake", "full", tmp_path)
    (tmp_path / "full/fake/results/with.json").write_text(text)
    with pytest.raises(BadFile, match=r"with\.json' is no result of a study.*Next: remove it"):
        run.run(study, "fake", "full", tmp_path)


def test_settings_that_are_no_dict_are_refused(fake, tmp_path):
    study, _ = fake
    run.run(study, "fake", "full", tmp_path)
    (tmp_path / "full/fake/results/with.json").write_text('{"settings": 1, "row": {}}')
    with pytest.raises(BadValue, match="other settings"):
        run.run(study, "fake", "full", tmp_path)


def test_some_arms_give_a_table_without_an_answer(fake, tmp_path):
    study, _ = fake
    body = told(study, run.run(study, "fake", "full", tmp_path, ["with"]), tmp_path)
    assert "| with |" in body and "Answer" not in body and "without" not in body


def test_the_page_is_filled_between_the_marks(fake, tmp_path):
    study, _ = fake
    page = tmp_path / "docs/studies.md"
    (tmp_path / "docs/figures").mkdir(parents=True)
    page.write_text("before\n<!-- study fake -->\nold\n<!-- end fake -->\nafter\n")
    rows = run.run(study, "fake", "full", tmp_path)
    for _ in range(2):  # the same again
        told(study, rows, tmp_path, docs=tmp_path)
        text = page.read_text()
        assert text.startswith("before\n<!-- study fake -->\n| arm |") and text.endswith("<!-- end fake -->\nafter\n")
        assert "old" not in text and "![Does it help?](figures/fake.svg)" in text
    page.write_text("no marks")
    with pytest.raises(BadFile, match="lacks the place of study 'fake'"):
        told(study, rows, tmp_path, docs=tmp_path)
    assert page.read_text() == "no marks"


def test_a_row_survives_its_file():
    row = {"a": Rate(1, 2), "b": [{"c": Rate(0, 3), "d": None}], "e": {"x": True}}
    assert run.revived(json.loads(json.dumps(run.plain(row)))) == row


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stagess", "--quick", "--out", "o"], "Did you mean 'stages'"),
        (["stages", "--quick", "--out", "o", "--arms", "one"], "arm of stages"),
        (["stages", "--out", "o"], "expected NAME, --quick or --full, and --out"),
        (["stages", "--full"], "Next: python studies/run.py --list"),
        (["all", "--full", "--out", "o", "--arms", "off"], "expected one study"),
        (["stages", "--quick", "--out", "o", "--docs"], "Next: --full --docs"),
    ],
)
def test_mistakes_end_with_code_2_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run.main(arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_study_needs_a_question_and_two_arms(fake):
    study, _ = fake
    with pytest.raises(BadValue, match="does not end with"):
        replace(study, question="It helps.")
    with pytest.raises(BadValue, match="two or more"):
        replace(study, arms=("A b", "a-b"))
    with pytest.raises(BadValue, match="trials ≥ 1"):
        Size(0)
    assert slug("T = 0.5") == "t-0-5" and as_measured({"a": {"b": 1}}) == [{"arm": "a", "b": 1}]
    assert verdict(paired([True] * 9, [True] * 9)) == "cannot be told from"


@pytest.mark.parametrize("name", run.names())
def test_a_study_has_its_place_in_the_docs_and_settings_for_a_file(name):
    study = run.load(name)
    page = (ROOT / study.page).read_text()
    assert page.count(f"<!-- study {name} -->\n") == 1 and page.count(f"<!-- end {name} -->") == 1
    assert f"python studies/run.py {name} " in page
    assert study.expectation.endswith(".") and study.quick.trials < study.full.trials
    for arm in study.arms:
        assert run.settings(study, "full", arm)["arm"] == arm


def test_the_log_is_dated_newest_last():
    dates = re.findall(r"^- \*\*(\d{4}-\d\d-\d\d)\.", (ROOT / "studies/LOG.md").read_text(), re.M)
    assert len(dates) >= 5 and dates == sorted(dates)


def test_the_command_lists_the_studies():
    done = subprocess.run(
        [sys.executable, ROOT / "studies/run.py", "--list"], capture_output=True, text=True, timeout=120, check=True
    )
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == run.names()


RATE = Rate(5, 10)
SEEN = {f"{task}/layout/{i}": i % 2 == 0 for task in ("reach", "pick", "push") for i in range(10)}
SEVERAL = {f"{k}/reach/layout/{i}": i % 2 == 0 for k in range(2) for i in range(10)}  # of two trainings
RANGES = {
    n: [-0.2, 0.2 + 0.5 * (i == 0)] for i, n in enumerate(("light", "camera_pitch", "camera_yaw", "zero_1", "gain"))
}
DETECTED = dict.fromkeys(
    (
        "AUC, one task",
        "AUC at 3/4",
        "AUC, still running",
        "AUC, worst so far",
        "AUC, cut at alarm",
        "AUC, whole",
        "balanced accuracy",
        "by usual length",
        "false alarms, seen",
    ),
    0.7,
) | {
    "best form, hindsight": None,
    "failures found": RATE,
    "false alarms, unseen": RATE,
    "_auc": [0.8, 0.9],
    "_worst": [0.7, 0.8],
    "_balanced": [0.7, 0.8],
}
ROWS = {  # what an arm of each study measures
    "delay": {f"{d} steps": RATE for d in (0, 5, 10, 15, 20)} | {f"_{d}": SEEN for d in (0, 5, 10, 15, 20)},
    "inference": {
        "success": RATE, "seconds": 3.0, "CPU ms p50": 5.0, "CPU ms p99": 6.0, "times faster": 2.0, "mean difference [σ]": 0.01,
        "largest [σ]": 0.1, "_outcomes": SEEN,
    },
    "sysid_vs_dr": {f"_{task} in {where}": SEVERAL for task in ("reach", "slide") for where in ("simulation", "twin:0")}
    | {"_identified": ["friction 0.627 [0.606, 0.649]"]},
    "adr_convergence": {
        f"_in {where}": SEVERAL for where in ("plain simulation", "the hand-tuned ranges", "ranges twice as wide")
    } | {"_ranges": {str(k): [RANGES | {"action_delay": [0, 1], "image_latency": [0, 1]}] * 5 for k in range(2)}},
    "transfer_comparison": {"frames": "6000 6000", "_sim": SEVERAL, "_real": SEVERAL},
    "winning_back": {
        "in simulation": Rate(9, 10), **{way: RATE for way in ("plain", "practice", "practice and real", "chain")},
        **{f"_{way}": SEVERAL for way in ("plain", "practice", "practice and real", "chain")},
    },
    "stages": {"success": RATE, "held-out error": 0.3, "jitter": 0.2, "_outcomes": SEEN},
    "mixing": {"held-out error": 0.5, "chance": 0.27, "retention": RATE},
    "temperature": {"reach": RATE, "pick": RATE, "push": RATE, "reach held-out": 0.2, "_outcomes": SEEN},
    "practice": {"rounds": [{"success": RATE, "frames": 100 * (i + 1), "_outcomes": SEEN} for i in range(4)]},
    "leaderboard": {
        "success": RATE, "approach": RATE, "held-out": 0.3, "parameters": 1_100_000, "samples": 640, "samples/s": 80.0,
        "latency, ms": 13.6, "_outcomes": SEEN,
    },
    "online_adaptation": {
        "person [s]": 60.0, "training [s]": 40.0, "old tables": RATE, "new tables": RATE, "_old": SEEN, "_new": SEEN,
    },
    "automatic_intervention": {
        "operator [s]": 60.0, "training [s]": 40.0, "frames": 600,
        "old tables": RATE, "new tables": RATE, "_old": SEEN, "_new": SEEN,
    },
    "dr_sweep": {f"_{w}": SEVERAL for w in ("simulation", "near", "far")},
    "gap_analysis": {f"_{w}": SEVERAL for w in ("simulation", "reality", "friction", "mass", "image_noise")},
    "visual_vs_dynamics": {f"_{w}": SEVERAL for w in ("simulation", "visual", "dynamics")},
    "representations": {"success": RATE, "successes by seed": "5", "training [s]": 3.0, "_outcomes": SEEN},
    "distillation": {"success": RATE, "successes by seed": "5", "frames": "600", "_outcomes": SEEN},
    "failure_detection": DETECTED,
    "failing_twins": DETECTED | {"_success": RATE, "_successes": [3, 2]},
    "slowing": {f"{k}: both": RATE for k in ("moving", "tight")}
    | {f"_{k} reached": SEEN for k in ("moving", "tight")},
    "ranking": {
        "simulation": RATE, "twins 0 … 3": RATE, "predicted for one twin": "50 %", "_worlds": [[5, 10]] * 3, "_twins": [RATE] * 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", run.names())
def test_a_study_tells_and_draws_what_it_measured(name, tmp_path):
    pytest.importorskip("matplotlib")
    study = run.load(name)
    (tmp_path / "full" / name).mkdir(parents=True)
    rows = {arm: ROWS[name] for arm in study.arms}
    body = run.report(study, name, "full", rows, tmp_path, Screen(file=(tmp_path / "said.txt").open("w"), width=200))
    assert body.startswith("| ") and "**Answer.** " in body and body.rstrip().endswith(".")
    assert "50.0 % [23.7, 76.3] (n=10)" in body or "50.0 % [12.3, 87.7] (2 × 10)" in body
    assert (tmp_path / "full" / name / "figure.svg").read_text().startswith("<svg")
