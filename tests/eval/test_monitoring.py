"""What a log of runs is said to mean, and the page of it."""

from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from oplog import BEGAN, ended, log_of, row, started, write

from palmar.errors import BadValue, UnknownName
from palmar.eval.monitor_page import page
from palmar.eval.monitoring import MonitorConfig, Training, monitored
from palmar.runtime.records.runs import read_log


def outcomes(n: int, rate: float, seed: int = 5) -> list[bool]:
    return [bool(x) for x in np.random.default_rng(seed).random(n) < rate]


def test_a_policy_that_is_well_raises_no_alarm(tmp_path: Path) -> None:
    log_of(path := tmp_path / "log", outcomes(130, 0.95))
    found = monitored(read_log(path), MonitorConfig(baseline=0.95))
    (v,) = found.versions
    assert found.alarms == () and v.name == "mine abcdef01" and v.active
    assert v.runs == 130 == sum(r.n for *_, r in v.windows) and len(v.windows) == 7
    assert v.rate.successes == sum(outcomes(130, 0.95)) and v.said_by == {"person": 130}
    assert v.drop is not None and v.drop.at is None and 0 <= v.drop.evidence < 1
    assert [s.alarm for s in v.shifts] == [False] * 4 and v.confidence == pytest.approx(0.75)
    assert v.chunks.n == 2600 and v.chunks.over == 0 and v.chunks.p50 == pytest.approx(0.01, rel=0.05)
    assert v.causes == {"timeout": 130 - v.rate.successes} and v.guards == {"velocity": 390}
    assert v.hours == pytest.approx(130 * 5 / 3600)


def test_a_drop_is_told_by_either_baseline(tmp_path: Path) -> None:
    log_of(path := tmp_path / "log", [*outcomes(60, 0.97), *outcomes(60, 0.4)])
    for config in (MonitorConfig(baseline=0.95), MonitorConfig()):
        (name, reason), *_ = monitored(read_log(path), config).alarms
        assert name == "mine abcdef01" and reason.guard == "drop" and "alarm after" in str(reason)
    assert monitored(read_log(path), MonitorConfig(baseline=0.3)).alarms == ()


def test_actions_that_move_are_told_by_reference_and_by_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(110):
        rows += [started(i), ended(i, True, rng, moved=0.0 if i < 70 else 2.5)]
    write(path := tmp_path / "log", rows)
    found = monitored(read_log(path))
    ((_, reason),) = found.alarms
    assert reason.guard == "shift" and "mean of x, runs 71 … 90" in str(reason) and reason.value < reason.bound
    assert [s.alarm for s in found.versions[0].shifts] == [False, True, True]
    # episodes in another order of channels, with one more
    values = np.concatenate([rng.normal(0, 1, (80, 4)), rng.uniform(0.5, 1, (80, 4))], axis=1)
    training = Training(("z", "more", "y", "x"), values)
    alarms = [s.alarm for s in monitored(read_log(path), training=training).versions[0].shifts]
    assert alarms[:3] == [False] * 3 and alarms[4]  # the fourth block is half of each
    with pytest.raises(BadValue, match="the data set has no action 'x'"):
        monitored(read_log(path), training=Training(("z", "y"), values[:, :4]))


def test_time_that_is_over_the_budget_is_told(tmp_path: Path) -> None:
    rows = log_of(tmp_path / "a", [True] * 30, latency=0.08, late=20)
    write(path := tmp_path / "log", rows)
    found = monitored(read_log(path), MonitorConfig(baseline=0.9))
    assert [a.quantity for _, a in found.alarms] == ["chunks over the budget", "late ticks"]
    assert found.versions[0].ticks.over == 600 and found.versions[0].ticks.n == 7500
    calm = monitored(read_log(path), MonitorConfig(baseline=0.9, budget=0.2, share=0.1))
    assert calm.alarms == ()


def test_versions_are_apart_and_only_those_in_use_count(tmp_path: Path) -> None:
    old = log_of(tmp_path / "a", [False] * 40)
    new = log_of(tmp_path / "b", [True] * 40, first=40, fingerprint="1234567890")
    write(path := tmp_path / "log", [*old, *new])
    found = monitored(read_log(path), MonitorConfig(baseline=0.9))
    assert [(v.name, v.active, bool(v.alarms)) for v in found.versions] == [
        ("mine abcdef01", False, True), ("mine 12345678", True, False),
    ]  # fmt: skip
    assert found.alarms == ()
    assert [v.name for v in monitored(read_log(path), policy="1234").versions] == ["mine 12345678"]
    with pytest.raises(UnknownName, match="unknown policy of the log 'other'"):
        monitored(read_log(path), policy="other")


def test_a_run_without_an_end_has_crashed_once_its_time_is_over(tmp_path: Path) -> None:
    rows = [*log_of(tmp_path / "a", [True] * 3), started(3)]
    write(path := tmp_path / "log", rows)
    begun = BEGAN + timedelta(minutes=3)
    soon = monitored(read_log(path), now=begun + timedelta(seconds=30)).versions[0]
    late = monitored(read_log(path), now=begun + timedelta(seconds=100)).versions[0]
    assert (soon.runs, soon.unfinished, soon.rate.value) == (3, 1, 1.0)
    assert (late.runs, late.unfinished, late.rate.value, dict(late.causes)) == (4, 0, 0.75, {"crashed": 1})


def test_a_run_that_a_person_is_asked_about_has_not_crashed(tmp_path: Path) -> None:
    rows = [*log_of(tmp_path / "a", [True] * 3), started(3), row(3, "judging")]
    write(path := tmp_path / "log", rows)
    late = monitored(read_log(path), now=BEGAN + timedelta(hours=3)).versions[0]
    assert (late.runs, late.unfinished, late.rate.value, dict(late.causes)) == (3, 1, 1.0, {})
    never = monitored(read_log(path), now=BEGAN + timedelta(hours=25)).versions[
        0
    ]  # leaving it out would favour who breaks off
    assert (never.runs, never.unfinished, dict(never.causes)) == (4, 0, {"not judged": 1})


@pytest.mark.parametrize(
    ("settings", "blocks", "said"),
    [
        ({"alpha": 1e-5}, 1, "can no longer be told: the level of block 2 is 8.3e-07, and no p is below 5e-06. Next: a new --log"),
        ({"reference": 3, "block": 2}, 34, "no p is below 0.2: 3 runs are the reference, and 2 are compared at a time. Next: "),
        ({"reference": 75, "block": 1}, 0, "a shift cannot be told: the level of block 1 is 0.025, and no p is below 0.026"),
    ],
)  # fmt: skip
def test_a_shift_that_can_never_be_told_is_noted(settings, blocks: int, said: str, tmp_path: Path) -> None:
    log_of(path := tmp_path / "log", [True] * 71)
    (v,) = monitored(read_log(path), MonitorConfig(baseline=0.9, **settings)).versions
    assert len(v.shifts) == blocks
    assert any(said in note for note in v.notes)
    (calm,) = monitored(read_log(path), MonitorConfig(baseline=0.9)).versions
    assert calm.notes == () and len(calm.shifts) == 1


def test_people_and_causes_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        started(0), ended(0, True, rng, interventions={"n": 2, "seconds": 1.5}),
        started(1), ended(1, False, rng, mode="ESTOP", source="tracking", outcome="stopped"),
        started(2), ended(2, False, rng, outcome="done"), started(3), ended(3, False, rng, outcome="fault", by="error"),
        row(4, "ended", nonsense=1),
    ]  # fmt: skip
    write(path := tmp_path / "log", rows)
    found = monitored(read_log(path))
    (v,) = found.versions
    assert found.log.damaged == 1 and (v.taken.successes, v.taken.n, v.takeovers, v.driven) == (1, 4, 2, 1.5)
    assert v.causes == {"ESTOP: tracking": 1, "not fulfilled": 1, "fault": 1}
    assert v.said_by == {"person": 3, "error": 1}
    assert "4 runs, and 50 make the reference" in v.notes[-1]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        assert tag != "script" and not any(k in ("src", "href") and v and v.startswith("http") for k, v in attrs)
        if tag not in ("meta", "br", "path", "use", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        """Closed already."""

    def handle_endtag(self, tag) -> None:
        if tag in self.open:
            self.open.remove(tag)

    def handle_data(self, data) -> None:
        self.text += data


def test_the_page_holds_alarms_figures_and_names_as_they_are(tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    log_of(path := tmp_path / "<b>.jsonl", [*[True] * 60, *[False] * 30], policy=odd, latency=0.09)
    text = page(monitored(read_log(path), MonitorConfig(baseline=0.95)))
    reader = Reader()
    reader.feed(text)
    assert not [t for t in reader.open if t not in ("html", "head", "body")]
    for words in (
        odd,
        "<b>.jsonl",
        "drop success below 95.0 %",
        "chunks over the budget",
        "Why runs did not succeed",
        "timeout",
    ):
        assert words in reader.text
    assert text.count("<svg") >= 3
    write(path, [])
    assert "No alarm." in page(monitored(read_log(path)))


@pytest.mark.parametrize(
    "values",
    [
        {"baseline": 1.0},
        {"baseline": 0.0},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"budget": 0.0},
        {"share": 1.1},
        {"block": 0},
    ],
)
def test_settings_without_sense(values) -> None:
    with pytest.raises(BadValue, match=f"{next(iter(values))} is"):
        MonitorConfig(**values)
