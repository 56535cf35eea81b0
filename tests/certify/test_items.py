"""Every item is met where its evidence is there, and refused where it is not."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from certified import NOW, case

from palmar.certify import evaluation, improvement, operations, performance, safety
from palmar.certify.checklist import GROUPS, certify
from palmar.certify.item import AGE, CertifyConfig, Check, Found, Item
from palmar.certify.page import page, rows
from palmar.cli.commands.certify import offered
from palmar.errors import BadFile, BadValue, PolicyUnreachable, UnknownName
from palmar.eval import monitoring
from palmar.eval.results import Results, Trial
from palmar.lab.bench import Latency, Row
from palmar.models.parity import Parity
from palmar.policy import shipped as shipped_folder
from palmar.robot_parts import Measurement
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.ab_log import ABLog
from palmar.runtime.adaptation.certificate import ITEMS, Fingerprints
from palmar.runtime.confidence.conformal import Band
from palmar.runtime.confidence.detector import Detector
from palmar.runtime.confidence.learn import Rollouts
from palmar.runtime.safety.filter import Safety
from palmar.runtime.supervision.controller import Controller
from palmar.runtime.supervision.estop import Latch
from palmar.serve.page.run import RunPage
from palmar.shapes import Collision
from palmar.thresholds import Thresholds

PLAIN = arm7("channels")
FEELS = replace(
    PLAIN,
    state=(
        *PLAIN.state,
        *(Measurement(f"{c.name}.effort", "", "effort", c.name) for c in PLAIN.channels[:7]),
        Measurement("force", ""),
    ),
    thresholds=Thresholds(forces={"force": 40.0}),
)


def trial(k: int, success: bool, split: str = "layout", **more) -> Trial:
    task = ("reach", "pick", "place", "push")[k % 4]
    about = {"approached": True, "done_seen": False, "commands": 100, "changed": 0} | more
    seen = about["approached"], "red cube", about["done_seen"], 0.01, 1.0, 0.0, about["commands"], about["changed"]
    return Trial(task, split, "sim", 20_000 + k // 4, "x", success, 2.0, *seen)


def with_trials(here, n: int, failures: int, **more):
    """The three test sets in the folder of evidence, `failures` of the n trials of each failed."""
    for name, split in (("layout", "layout"), ("pair", "pair"), ("light", "layout")):
        made = tuple(trial(k, k >= failures, split, **more) for k in range(n))
        config = {"seed": 20_000, "episodes": n // 4, "tasks": ["reach", "pick", "place", "push"]}
        here.kept(f"trials-{name}-20000-50.json", lambda p, c=config, m=made: Results(c, m).save(p))
    return here


# ------------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("check", [evaluation.success, evaluation.objects, evaluation.light])
def test_the_lower_end_of_the_interval_decides(tmp_path: Path, check) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    good, few = check(with_trials(case(tmp_path / "a"), 200, 6)), check(with_trials(case(tmp_path / "b"), 200, 16))
    assert good.met and good.evidence["low"] > 0.9 and good.evidence["n"] == 200 and len(good.evidence["sha256"]) == 64
    assert not few.met and few.evidence["rate"] == 0.92
    assert "the rate by itself is, which is not enough" in few.finding


def test_few_different_things_are_not_diverse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_target", lambda t: t.task)
    found = evaluation.objects(with_trials(case(tmp_path), 200, 0))
    assert not found.met and "only 4 different things" in found.finding


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({"approached": False}, "went to another object than the one asked for"),
        ({"done_seen": True}, "said that it was done, and was not"),
        ({"changed": 50}, "went to the object; the safety layer changed more than a tenth of its commands"),
        ({}, "went to the object, and did not finish in time"),
    ],
)
def test_every_failure_has_a_mode(tmp_path: Path, more: dict, mode: str) -> None:
    found = evaluation.failure_modes(with_trials(case(tmp_path), 200, 3, **more))
    assert found.met and found.evidence["failures"] == 9 and list(found.evidence["modes"]) == [mode]
    assert {f["mode"] for f in found.evidence["failed"]} == {mode}


def test_too_few_trials_show_no_failure_modes(tmp_path: Path) -> None:
    assert not evaluation.failure_modes(with_trials(case(tmp_path), 8, 1)).met


def test_a_robot_without_a_scene_is_not_evaluated(tmp_path: Path) -> None:
    here = case(tmp_path)
    here.config = replace(here.config, robot="mine.toml")
    with pytest.raises(BadValue, match=r"'mine\.toml' has no simulated scene"):
        evaluation.success(here)


def calibrated(here, monkeypatch: pytest.MonkeyPatch, shift: float, apart: float) -> Found:
    """A detector of one signal, calibrated on noise; then successes whose noise is shifted, and failures further off."""
    rng = np.random.default_rng(0)

    def played(n: int, by: float) -> np.ndarray:
        return rng.normal(1.0, 0.1, (n, 12, 1)) + by

    def made(good: int, bad: int, by: float, off: float) -> Rollouts:
        values = np.concatenate([played(good, by), played(bad, off)])
        n = good + bad
        return Rollouts(("signal",), values, np.full(n, 12), np.arange(n) >= good, np.zeros(n, int))

    monkeypatch.setattr(evaluation, "fit_detector", lambda case, path: Detector.fit(made(120, 40, 0.0, 0.5)).save(path))
    tried = made(100, 40, shift, apart)
    np.savez(played_file := here.folder / "played.npz", names=np.array(tried.names), values=tried.values, lengths=tried.lengths,
             failed=tried.failed, tasks=tried.tasks)  # fmt: skip
    monkeypatch.setattr(
        evaluation, "_play", lambda case, detector, each, path: path.write_bytes(played_file.read_bytes())
    )
    return evaluation.calibration(here)


def test_a_confidence_keeps_what_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert calibrated(case(tmp_path), monkeypatch, 0.0, 0.5).met


def test_more_false_alarms_than_promised_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = calibrated(case(tmp_path), monkeypatch, 0.4, 0.8)
    assert not found.met and "more than promised" in found.finding


def test_a_confidence_that_ranks_no_failure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = calibrated(case(tmp_path), monkeypatch, 0.0, -0.1)
    assert not found.met and found.evidence["ROC-AUC at equal time"] < 0.6


def test_a_detector_without_a_band_is_not_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Detector.load
    monkeypatch.setattr(Detector, "load", classmethod(lambda cls, path: replace(load(path), band=None)))
    assert not calibrated(case(tmp_path), monkeypatch, 0.0, 0.5).met
    assert Band.__name__ == "Band"


# ----------------------------------------------------------------------------------------------------------- safety


LIMITS = (safety.position_limits, safety.velocity_limits, safety.acceleration_limits)


def test_limits_bind(tmp_path: Path) -> None:
    here = case(tmp_path, "so101", hostile=600)
    for check in LIMITS:
        found = check(here)
        assert found.met and found.evidence["commands"] == 600, found


def test_limits_that_do_not_bind_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A safety layer that takes the limits for wider than they are."""

    def wider(robot):
        more = tuple(
            replace(c, lower=c.lower - 9, upper=c.upper + 9, velocity=1.3 * c.velocity, acceleration=1.3 * c.acceleration)
            if c.moves_joint else c
            for c in robot.channels
        )  # fmt: skip
        return Safety(replace(robot, channels=more))

    monkeypatch.setattr(safety, "Safety", wider)
    here = case(tmp_path, "so101", hostile=600)
    for check in LIMITS:
        found = check(here)
        assert not found.met and "no, " in found.finding, found


def test_an_estop_stops_and_stays(tmp_path: Path) -> None:
    found = safety.estop(case(tmp_path))
    assert found.met and found.evidence["mode"] == "ESTOP" and found.evidence["refused while latched"]


def test_an_estop_that_is_not_latched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Latch, "latched", property(lambda self: False))
    assert not safety.estop(case(tmp_path)).met


def test_a_deadman_and_a_watchdog_hold(tmp_path: Path) -> None:
    found = safety.deadman(case(tmp_path))
    assert found.met and found.evidence["watchdog"]["latched"] and not found.evidence["begins without being held"]


def test_a_deadman_that_holds_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Controller, "hold", lambda self, reason, source="": None)
    found = safety.deadman(case(tmp_path))
    assert not found.met and "was not held" in found.finding


def test_shapes_that_are_watched_are_active(tmp_path: Path) -> None:
    assert safety.collision(case(tmp_path, hostile=400)).met


def test_a_robot_without_shapes_is_not_guarded_against_collision(tmp_path: Path) -> None:
    here = case(tmp_path, hostile=100)
    here.robot = replace(PLAIN, collision=Collision())
    found = safety.collision(here)
    assert not found.met and "no collision shapes are given" in found.finding


def test_efforts_and_forces_stop_the_robot_that_feels_them(tmp_path: Path) -> None:
    here = case(tmp_path)
    here.robot = FEELS
    found = safety.force(here)
    assert found.met and len(found.evidence["of them an E-STOP"]) == 8


def test_a_robot_that_feels_nothing_is_refused(tmp_path: Path) -> None:
    found = safety.force(case(tmp_path))
    assert not found.met and "measures no effort and no force" in found.finding
    assert len(found.evidence["channels whose blocking is an E-STOP (tracking)"]) == 7


# ------------------------------------------------------------------------------------------------------ performance


def measured(here, p99: float = 9.0, kept: bool = True, memory: float | None = 40.0, load: float = 0.5):
    """What `palmar bench` found."""
    at, same = Latency(300, 4.0, 6.0, p99, 3.9, 5.0), Parity(10, 0.01, 0.1, {}, 1.0)
    int8 = Row(performance.INT8[0], Latency(300, 2.0, 3.0, 4.0, 1.9, 2.5), 2.0, 30.0, same, kept)
    others = {f: Row(f, why="onnxruntime is not installed. Next: install it", kept=False) for f in performance.INT8[1:]}
    table = {"eager": Row("eager", at, None, memory), int8.form: int8, **others}
    here.shared["bench"] = {"rows": table, "load": load, "chunks": 300, "observations": 60}
    (here.folder / "forms" / int8.form).mkdir(parents=True)
    return here


def test_latency_by_its_99th_percentile(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    assert performance.latency(measured(case(tmp_path / "a"))).met
    late = performance.latency(measured(case(tmp_path / "b"), p99=51.0, load=400.0))
    assert not late.met and "under a load of 400.0" in late.finding


def test_a_quantised_form_within_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    good = performance.quantised(measured(case(tmp_path / "a")))
    assert good.met and good.evidence[performance.INT8[1]] == "onnxruntime is not installed"
    assert not performance.quantised(measured(case(tmp_path / "b"), kept=False)).met


def test_memory_and_cpu(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    assert performance.profile(measured(case(tmp_path / "a"))).evidence["eager"]["memory [MB]"] == 40.0
    assert not performance.profile(measured(case(tmp_path / "b"), memory=None)).met


def test_a_policy_that_fails_is_held(tmp_path: Path) -> None:
    found = performance.fallbacks(case(tmp_path))
    assert found.met and "server was lost" in found.evidence["server lost"]["reason"]
    assert "policy broke" in found.evidence["raises"]["reason"]


def test_a_policy_that_fails_and_is_not_held_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Controller, "hold", lambda self, reason, source="": None)
    assert not performance.fallbacks(case(tmp_path)).met


# ------------------------------------------------------------------------------------------- operations, improvement


def test_a_run_is_written_and_plays_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = operations.logging(case(tmp_path, commands=offered()))
    assert found.met and found.evidence["ticks written"] == 100
    (tmp_path / "b").mkdir()
    assert not operations.logging(case(tmp_path / "b")).met  # a command line that has no black box


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory):
    """The shipped policy, recorded once with a person who takes over."""
    here = case(tmp_path_factory.mktemp("shipped"), commands=offered())
    improvement.recorded_run(here)
    return here


def test_what_a_person_drove_is_recorded(shipped) -> None:
    found = improvement.data_collection(shipped)
    assert (
        found.met
        and found.evidence["frames read back as corrections"] == sum(found.evidence["frames a person drove"]) > 4
    )


def test_success_is_tracked_where_there_is_a_command_for_it(shipped) -> None:
    assert operations.success_tracking(shipped).met
    shipped.config, before = replace(shipped.config, commands={}), shipped.config
    try:
        found = operations.success_tracking(shipped)
        assert not found.met and "this palmar has no palmar monitor and no palmar run --log" in found.finding
        assert not improvement.feedback(shipped).met
    finally:
        shipped.config = before
    assert improvement.feedback(shipped).met


def test_success_over_time_is_that_of_the_runs_that_were_logged(shipped) -> None:
    found = operations.success_tracking(shipped).evidence
    assert found["runs logged"] == 24 and found["success of 6 runs each"] == [6, 6, 0, 0]
    assert found["alarms after 12 runs that succeeded"] == [] and "success below 95.0 %" in str(
        found["alarms after 12 more that did not"]
    )


def test_a_monitor_that_raises_no_alarm_is_refused(shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "drop_of", lambda *args: None)
    found = operations.success_tracking(shipped)
    assert not found.met and "after it: no alarm" in found.finding


def test_a_page_shows_a_run_and_stops_it(tmp_path: Path) -> None:
    found = operations.dashboard(case(tmp_path, commands=offered()))
    assert found.met and found.evidence["GET /healthz"] == 200 and found.evidence["mode"] == "ESTOP"
    assert found.evidence["braked to rest within the limits"]
    assert not operations.dashboard(case(tmp_path)).met  # a command line that has no page


def test_a_page_that_stops_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunPage, "_stop", lambda self, head, who: None)
    monkeypatch.setattr(operations, "STOPPED", 0.2, raising=False)
    found = operations.dashboard(case(tmp_path, commands=offered()))
    assert not found.met and found.evidence["mode"] != "ESTOP" and "was not stopped by it" in found.finding


def test_a_candidate_acts_only_behind_its_gate(shipped) -> None:
    found = improvement.retraining(shipped)
    assert found.met and found.evidence["refused without a gate"] and found.evidence["rolled back"]


@pytest.mark.parametrize(
    ("maps", "met"),
    [
        ({"front.target": 1.0, "wrist.goal": 1.0}, True),
        ({"front.target": 1.0}, False),
        ({}, False),
        ({"front.target": 0.5, "wrist.target": 1.0}, False),
    ],
)
def test_attention_of_every_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maps: dict, met: bool) -> None:
    class Looks:
        interface = PLAIN.interface(4)

        def act(self, obs, prefix=None):
            return type("Chunk", (), {"attention": {n: np.full((2, 2), s / 4) for n, s in maps.items()}})

    here = case(tmp_path)
    here.__dict__["policy"] = Looks()
    monkeypatch.setattr(operations, "simulated", lambda policy, count: [None])
    monkeypatch.setattr(type(here), "neural", property(lambda self: self.policy))
    assert operations.attention(here).met is met


def test_comparisons_are_decided(tmp_path: Path) -> None:
    found = improvement.ab(case(tmp_path))
    assert found.met and found.evidence["better"]["decision"] == "promote"


def test_a_comparison_that_promotes_what_is_worse_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = ABLog.ended
    monkeypatch.setattr(
        ABLog, "ended", lambda self, success, fault="": ended(self, success)
    )  # an E-STOP is not heard of
    assert not improvement.ab(case(tmp_path)).met


# -------------------------------------------------------------------------------------------- evidence, the checklist


def test_evidence_is_taken_only_of_the_same_things_and_in_time(tmp_path: Path) -> None:
    made = []
    here = case(tmp_path)

    def make(path: Path) -> None:
        made.append(path.name)
        path.write_text(f"{len(made)}")

    file = here.kept("x.json", make)
    assert here.kept("x.json", make) == file and len(made) == 1
    here.now = lambda: NOW + timedelta(days=31)
    here.kept("x.json", make)
    assert len(made) == 2  # too old
    here.config = replace(here.config, robot="so101")
    here.prints = Fingerprints.of("shipped", "so101")
    here.kept("x.json", make)
    assert len(made) == 3
    file.write_text("by hand")
    here.kept("x.json", make)
    assert len(made) == 4 and file.read_text() == "4"
    (tmp_path / "evidence" / "x.json.stamp").unlink()
    here.kept("x.json", make)
    assert len(made) == 5


def copied(folder: Path) -> Path:
    """The shipped checkpoint, to change."""
    return Path(shutil.copytree(shipped_folder(), folder))


def test_a_checkpoint_that_is_written_meanwhile_gives_no_evidence(tmp_path: Path) -> None:
    policy = copied(tmp_path / "policy")
    here = case(tmp_path, policy=str(policy))

    def make(path: Path) -> None:
        path.write_text("found with the new weights")
        (policy / "model.safetensors").write_bytes(b"new weights")

    with pytest.raises(BadFile, match=r"changed while it was certified: checkpoint: model\.safetensors has changed"):
        here.kept("x.json", make)
    assert not (tmp_path / "evidence" / "x.json.stamp").exists()


def test_a_checkpoint_that_is_written_meanwhile_gets_no_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = copied(tmp_path / "policy")

    def run(here) -> Found:
        (policy / "model.safetensors").write_bytes(b"new weights")
        return Found(True, "as it was")

    checks(monkeypatch, run)
    with pytest.raises(BadFile, match=r"model\.safetensors has changed.* Next: palmar certify again"):
        certify(CertifyConfig(str(policy)), ["force"], progress=False)


@pytest.mark.parametrize("less", [{"hostile": 19_999}, {"days": AGE + 1}, {"episodes": 49}])
def test_less_evidence_than_by_default_certifies_nothing(less: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    for group, own in list(GROUPS.items()):
        met = tuple(replace(c, run=lambda here: Found(True, "met")) for c in own)
        monkeypatch.setitem(GROUPS, group, met)
    assert certify(CertifyConfig(), progress=False).certified
    weak = certify(CertifyConfig(**less), progress=False)
    assert not weak.missing and not weak.certified
    assert any("less than the defaults" in p for p in weak.problems(weak.fingerprints))


def test_every_item_of_the_list_has_a_check() -> None:
    checks = [c for group in GROUPS.values() for c in group]
    assert tuple(c.name for c in checks) == ITEMS
    assert all(c.how and c.requirement for c in checks)


def checks(monkeypatch: pytest.MonkeyPatch, run) -> None:
    monkeypatch.setitem(GROUPS, "safety", (Check("force", "a requirement", "the way to it", run),))


def test_a_check_that_breaks_is_an_item_without_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(case):
        raise ZeroDivisionError("by zero")

    checks(monkeypatch, breaks)
    made = certify(CertifyConfig(), ["force"], progress=False)
    assert [i["met"] for i in made.items] == [False] and "ZeroDivisionError" in made.items[0]["finding"]
    assert made.items[0]["how"] == "the way to it" and not made.certified and "success" in made.missing
    checks(monkeypatch, lambda case: (_ for _ in ()).throw(BadValue("no.\nNext: this")))
    assert "could not be run: no. Next: this" in certify(CertifyConfig(), ["force"], progress=False).items[0]["finding"]
    checks(monkeypatch, lambda case: (_ for _ in ()).throw(PolicyUnreachable("gone")))
    with pytest.raises(PolicyUnreachable):
        certify(CertifyConfig(), ["force"], progress=False)


def test_a_figure_that_is_no_number_is_written_as_none() -> None:
    made = Item("a", "safety", "b", False, "c", {"x": [float("nan"), 1.0], "y": {"z": float("inf")}})
    assert made.to_dict()["evidence"] == {"x": [None, 1.0], "y": {"z": None}}


def test_a_name_that_is_no_item_is_told() -> None:
    with pytest.raises(UnknownName, match=r"unknown item 'sucess'\. Did you mean 'success'"):
        certify(CertifyConfig(), ["sucess"], progress=False)


def test_the_page_holds_every_item_and_no_markup_of_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    checks(
        monkeypatch,
        lambda case: Found(False, "<script>found</script>", {"a": {"b": [1, 2]}, "c": [{"d": 1}, {"d": 2}], "e": None}),
    )
    text = page(certify(CertifyConfig(), ["force"], progress=False))
    assert "Not certified" in text and "<script>" not in text and "&lt;script&gt;" in text
    assert "a · b" in text and "the way to it" in text and "http" not in text.replace("http-equiv", "")
    assert rows({"a": {}, "t": True, "x": 0.123456}) == [("a", "none"), ("t", "yes"), ("x", "0.1235")]
