"""An A/B comparison goes on from run to run, with the same policies or not at all."""

from pathlib import Path

import pytest

from palmar.errors import BadFile, BadValue
from palmar.runtime.adaptation.ab import ABConfig, assigned
from palmar.runtime.adaptation.ab_log import ABLog


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ab.jsonl"
    for i in range(5):
        log = ABLog(path, "shipped", "runs/mine", ABConfig(seed=3))
        assert len(log.episodes.successes) == i and log.arm == assigned(3, i)
        log.ended(i % 2 == 0)
    again = ABLog(path, "shipped", "runs/mine", ABConfig(seed=99))
    assert again.episodes.config.seed == 3 and again.episodes.successes == (True, False, True, False, True)
    assert again.decision.what == "go on" and again.decision.n == 2


def test_what_is_decided_stays_so_and_the_winner_drives(tmp_path: Path) -> None:
    log = ABLog(tmp_path / "ab.jsonl", "a", "b", ABConfig(seed=1))
    while log.decision.what == "go on":
        log.ended(log.arm == "b")
    lines = (tmp_path / "ab.jsonl").read_text().count("\n")
    assert ABLog(tmp_path / "ab.jsonl", "a", "b").arm == "b" and log.decision.what == "promote"
    log.ended(False)
    assert (tmp_path / "ab.jsonl").read_text().count("\n") == lines


@pytest.mark.parametrize("cut", [1, 12])
def test_what_a_crash_cut_off_costs_that_episode_at_most(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "ab.jsonl"
    ABLog(path, "a", "b").ended(True)
    ABLog(path, "a", "b").ended(True)
    path.write_bytes(path.read_bytes()[:-cut])
    for _ in range(2):
        ABLog(path, "a", "b").ended(False)
    assert ABLog(path, "a", "b").episodes.successes == (True, *([True] * (cut == 1)), False, False)


def test_a_fault_of_b_ends_it(tmp_path: Path) -> None:
    log = ABLog(tmp_path / "ab.jsonl", "a", "b", ABConfig(seed=1))
    while log.arm == "a":
        log.ended(True, "E-STOP")
    assert log.decision.what == "go on"
    assert log.ended(False, "E-STOP: collision").what == "roll back"
    again = ABLog(tmp_path / "ab.jsonl", "a", "b")
    assert again.arm == "a" and "collision" in str(again.decision.reason)


def test_other_files_and_policies_are_refused(tmp_path: Path) -> None:
    ABLog(tmp_path / "ab.jsonl", "a", "b")
    with pytest.raises(BadValue, match="'a' with 'b', and not 'a' with 'c'"):
        ABLog(tmp_path / "ab.jsonl", "a", "c")
    (tmp_path / "notes").write_text("hello")
    with pytest.raises(BadFile, match="no A/B comparison"):
        ABLog(tmp_path / "notes", "a", "b")
