"""The operations log: what a run leaves, and what damage it survives."""

import errno
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palmar.certify import item
from palmar.errors import BadFile
from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.lines import finite
from palmar.runtime.chunks import ChunkBuffer
from palmar.runtime.control.path import Control
from palmar.runtime.deploy import Report
from palmar.runtime.loop import rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.records import operations
from palmar.runtime.records.operations import OperationsLog, check_log, is_row, parse_row
from palmar.runtime.records.runs import read_log
from palmar.runtime.safety.filter import Safety
from palmar.runtime.safety.guards import GUARDS
from palmar.runtime.supervision.controller import Controller, Mode
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Observation

ROBOT = arm7("channels")
ABOUT = {
    "policy": "mine",
    "fingerprint": "abcdef0123456789",
    "body": "mock:",
    "instruction": "sway",
    "seed": 3,
    "timeout": 2.0,
}


class Sway:
    """Joint targets; at some times a person drives, fails or jumps away."""

    interface = ROBOT.interface(8)

    def __init__(self, person: tuple[float, float] = (9, 9), fails: float = 9.0, far: float = 0.1) -> None:
        self.person, self.fails, self.far = person, fails, far

    def act(self, obs: Observation, prefix=None) -> ActionChunk:
        t = obs.time
        if t >= self.fails:
            raise ConnectionError("gone")
        at = ROBOT.home[:7] + self.far * (1 - np.cos(2 * (t + 0.1 * np.arange(1, 9))))[:, None]
        actions = np.concatenate([at, np.ones((8, 1))], axis=1).astype(np.float32)
        return ActionChunk(actions, 0.1, t, 0.8, intervention=self.person[0] <= t < self.person[1])

    def reset(self) -> None: ...


class Jams(MockBody):
    """Its joints stay where they were after half a second."""

    def observe(self, images: bool = True) -> Observation:
        obs = super().observe(images)
        if obs.time < 0.5:
            self.last = obs.state
        return replace(obs, state=self.last)


def driven(
    path: Path, policy: Sway, timeout: float = 2.0, about=ABOUT, kind: type[MockBody] = MockBody
) -> tuple[OperationsLog, Report]:
    body, controller = kind(ROBOT), Controller(watchdog=0.6)
    log = OperationsLog(path, about, controller)
    safety = Safety(ROBOT, guards=(*GUARDS, controller))
    end = rollout(
        body, Inline(policy), body.reset(), chunks=ChunkBuffer(), control=Control(ROBOT, safety), subscribers=(controller, log),
        stop=controller.over, timeout=timeout,
    )  # fmt: skip
    timing = {"ticks": end.ticks, "late_ticks": 2}
    return log, Report(end, controller.mode, controller.reason, timing, dict(safety.counts))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_what_it_was_and_how_it_went(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, report = driven(path, Sway())
    log.ended(True, "person", report)
    log.close()
    first, over, last = rows(path)
    assert log.lost == "" and first["event"] == "started" and (over["event"], last["event"]) == ("judging", "ended")
    assert first | ABOUT == first and first["robot"] == "arm7" and first["control_rate"] == 50
    assert (last["outcome"], last["success"], last["by"], last["mode"]) == ("timeout", True, "person", "RUN")
    assert last["timing"] == {"ticks": 100, "late_ticks": 2} and last["confidence"]["mean"] == pytest.approx(0.8)
    (run,) = read_log(path).runs
    assert (run.policy, run.where, run.ended, run.success, run.ticks) == ("mine", "mock:", True, True, 100)
    assert run.version == "mine abcdef01" and run.cause == "" and run.latency.n == 5 and run.took.n == 100
    assert run.actions is not None and run.actions.n == 20 and run.actions.names == ROBOT.action_names
    # the moments are those of the actions that were carried out, one a policy step
    t = 0.1 * np.arange(1, 21)
    expected = ROBOT.home[0] + 0.1 * (1 - np.cos(2 * t))
    assert run.actions.mean[0] == pytest.approx(expected.mean(), abs=1e-4)
    assert run.actions.std[0] == pytest.approx(expected.std(), abs=1e-4)
    assert run.actions.high[0] == pytest.approx(expected.max(), abs=1e-4)


def test_a_person_a_failing_policy_and_a_hold_are_events_with_reasons(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, report = driven(path, Sway(person=(0.4, 1.2), fails=1.2), timeout=3.0)
    log.ended(False, "policy", report)
    log.close()
    events = [(r["event"], r.get("what") or r.get("source") or r.get("mode")) for r in rows(path)]
    assert ("intervention", "began") in events and ("intervention", "ended") in events
    assert events.count(("fault", "policy")) == 1 and ("mode", "watchdog") in events
    words = next(r["words"] for r in rows(path) if r["event"] == "fault")
    assert words == "ConnectionError: gone"
    (run,) = read_log(path).runs
    assert run.takeovers == 1 and run.driven == pytest.approx(0.8, abs=0.5) and run.failures > 1
    assert run.mode == "HOLD" and run.cause == "HOLD: watchdog"
    # what the person did is not counted as the policy's
    assert run.actions is not None and run.actions.n < 12
    assert run.latency.n == rows(path)[-1]["confidence"]["n"] == 1  # asked at 0, and at 0.4 and 0.8 of the person


def test_a_run_that_is_being_judged_is_known_as_one(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, report = driven(path, Sway())
    deadline = time.monotonic() + 30
    while len(path.read_text().splitlines() if path.exists() else []) < 2:  # it writes on a thread of its own
        assert time.monotonic() < deadline, "nothing was written at the end of the loop"
        log._file._thread.join(0.001)
    (run,) = read_log(path).runs
    assert (run.ended, run.judging, run.cause) == (False, True, "not judged")
    log.ended(True, "person", report)
    log.close()
    (run,) = read_log(path).runs
    assert (run.ended, run.judging, run.cause) == (True, False, "")


def test_a_guard_that_stops_is_logged_as_values(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, report = driven(path, Sway(far=0.4), timeout=4.0, kind=Jams)
    log.ended(False, "policy", report)
    log.close()
    fault = next(r for r in rows(path) if r["event"] == "fault")
    reason = fault["reason"]
    assert fault["source"] == "tracking" == reason["guard"] and fault["words"].startswith("tracking joint")
    assert reason["value"] > reason["bound"] > 0 and reason["unit"] == "rad" and reason["quantity"].startswith("joint")
    mode = next(r for r in rows(path) if r["event"] == "mode")
    assert (mode["mode"], mode["source"], mode["reason"]) == (report.mode.name, "tracking", reason)
    (run,) = read_log(path).runs
    assert run.guards["tracking"] > 0 and run.cause == f"{report.mode.name}: tracking"


def test_a_run_that_an_error_ends_has_not_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, _ = driven(path, Sway())
    log.close(OSError("the cable is out"))
    log.close()
    last = rows(path)[-1]
    assert (last["outcome"], last["success"], last["by"]) == ("fault", False, "error")
    assert last["words"] == "OSError: the cable is out" and len(rows(path)) == 3
    assert read_log(path).runs[0].cause == "fault"
    nothing = OperationsLog(tmp_path / "none.jsonl", ABOUT)
    nothing.close()
    assert not (tmp_path / "none.jsonl").exists()  # nothing had begun


@pytest.mark.parametrize("lost", [1, 7, 300])
def test_what_a_crash_cuts_off_stays_a_line_of_its_own(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        log, report = driven(path, Sway())
        log.ended(True, "policy", report)
        log.close()
    path.write_bytes(path.read_bytes()[:-lost])
    damaged = 1 if lost > 1 else 0  # without its line end alone it is whole
    cut = read_log(path)
    assert cut.damaged == damaged and [r.ended for r in cut.runs] == [True, lost == 1]
    check_log(path)
    log, report = driven(path, Sway())
    log.ended(True, "policy", report)
    log.close()
    after = read_log(path)
    assert after.damaged == damaged and len(after.runs) == 3 and after.runs[2].success
    assert [r.cause for r in after.runs] == ["", "not judged" if damaged else "", ""]


def test_damage_anywhere_costs_the_lines_that_have_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(3):
        log, report = driven(path, Sway())
        log.ended(True, "policy", report)
        log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    rng = np.random.default_rng(0)
    for _ in range(60):
        raw = bytearray(b"".join(lines))
        for at in rng.integers(0, len(raw), 4):
            raw[at] = rng.integers(0, 256)
        path.write_bytes(bytes(raw))
        found = read_log(path)
        assert len(found.runs) <= 5 and found.damaged <= 12
    rows_ = [json.loads(x) for x in lines]
    for key in ("timing", "latency", "actions", "interventions", "seconds", "confidence", "guards", "at"):
        for wrong in (7, "x", [], {"a": "b"}, {"n": "x"}):
            path.write_text(
                "".join(json.dumps(r | ({key: wrong} if i == 1 else {})) + "\n" for i, r in enumerate(rows_))
            )
            found = read_log(path)
            assert len(found.runs) == 3 and [r.ended for r in found.runs[1:]] == [True, True]


def test_two_processes_share_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    code = f"""
import sys
from pathlib import Path
from palmar.runtime.adaptation.lines import append
for i in range(200):
    row = {{"palmar": 1, "run": f"{{sys.argv[1]}}{{i}}", "event": "started", "at": "2026-01-01T00:00:00Z"}}
    append(Path({str(path)!r}), row | {{"words": "x" * 3000}})
"""
    both = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [p.wait(60) for p in both] == [0, 0]
    found = read_log(path)
    assert found.damaged == 0 and len(found.runs) == 400


def test_a_full_disk_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, full = tmp_path / "log.jsonl", [True]
    real = operations.append

    def append(where: Path, row) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(where, row)

    monkeypatch.setattr(operations, "append", append)
    log, report = driven(path, Sway(person=(0.4, 0.9)))
    assert report.outcome.ticks == 100 and report.mode is Mode.RUN
    while log._file.failed < 4:
        log._file._thread.join(0.001)
    full[0] = False  # somebody made room
    log.ended(True, "policy", report)
    log.close()
    assert "4 records could not be written (the disk is full)" in log.lost
    (run,) = read_log(path).runs  # known by its end alone
    assert run.ended and run.success


def test_a_limit_of_the_file_system_in_a_process_of_its_own(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: half a line is written, then no more. The process goes on, and the file still reads."""
    path = tmp_path / "log.jsonl"
    code = f"""
import resource, signal, sys
sys.dont_write_bytecode = True  # it would be cut off at the limit, and stay
sys.path.insert(0, {str(Path(__file__).parent)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from pathlib import Path
from test_operations import Sway, driven
for _ in range(2):
    log, report = driven(Path({str(path)!r}), Sway())
    log.ended(True, "policy", report)
    log.close()
    print(report.outcome.ticks, log.lost)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and [x.split()[0] for x in lines] == ["100", "100"], done.stderr
    assert "could not be written" in lines[1]
    assert path.stat().st_size <= 2000
    assert len(read_log(path).runs) >= 1


def test_only_a_log_is_added_to(tmp_path: Path) -> None:
    (other := tmp_path / "data.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadFile, match="is no operations log; nothing was added"):
        check_log(other)
    with pytest.raises(BadFile, match="is no operations log"):
        read_log(other)
    assert other.read_text() == "a,b\n1,2\n"
    with pytest.raises(BadFile, match="is a folder"):
        check_log(tmp_path)
    with pytest.raises(BadFile, match="there is no"):
        read_log(tmp_path / "none")
    check_log(tmp_path / "deep" / "new.jsonl")
    assert not (tmp_path / "deep" / "new.jsonl").exists()
    (tmp_path / "empty").write_text("")
    assert read_log(tmp_path / "empty").runs == ()
    assert is_row('{"palmar": 1, "run": "x"') and not is_row("{}") and parse_row("[" * 100_000) is None


def test_numbers_that_json_does_not_know_are_none(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log, report = driven(path, Sway(), about=ABOUT | {"seed": float("nan")})
    log.ended(False, "policy", replace(report, timing={"ticks": 5, "period_p50": float("inf")}))
    log.close()
    text = path.read_text()
    assert finite({1: (float("nan"), 2.0)}) == {"1": [None, 2.0]} and item.finite is finite  # of a certificate too
    assert "NaN" not in text and "Infinity" not in text and rows(path)[0]["seed"] is None
