"""What reality takes and which step wins it back: paired, with a control, and it is said where it cannot be told."""

from dataclasses import replace

import pytest

from palmar.errors import BadValue
from palmar.eval.recovery import Arm, Recovery
from palmar.eval.recovery_plot import waterfall
from palmar.eval.report import Report, ReportData
from palmar.eval.results import Results, Trial

TRIAL = Trial(
    "pick", "layout", "far:14", 0, "pick up the red cube", True, 3.0, True, "red cube", None, 0.01, 1, 0, 10, 2
)


def won(successes: int, n: int = 40, first: int = 0) -> Results:
    """The first so many of n tables."""
    return Results({}, tuple(replace(TRIAL, seed=first + i, success=i < successes) for i in range(n)))


def recovery(*successes: int, sim: int = 40) -> Recovery:
    names = ("plain policy, reality", "control", "dynamics", "camera")
    return Recovery(won(sim), [Arm(n, won(s)) for n, s in zip(names, successes, strict=False)])


def test_each_step_is_against_the_arm_before_it_on_the_same_tables() -> None:
    found = recovery(4, 6, 6, 24)
    assert found.lost.difference.difference == pytest.approx(-0.9) and found.lost.told
    assert [c.difference.difference for c in found.steps] == pytest.approx([0.05, 0.0, 0.45])
    assert [c.told for c in found.steps] == [False, False, True]
    assert found.measured.difference.difference == pytest.approx(0.45), "against the control, not the plain policy"
    assert found.whole.difference.difference == pytest.approx(0.5)
    assert found.to_dict()["steps"][2]["told"] and found.to_dict()["lost"]["n"] == 40


def test_it_is_said_what_the_tables_cannot_tell() -> None:
    said = dict(recovery(4, 6, 6, 24).sentences)
    assert "40 tables cannot tell it from no change (p = 0.5)" in said["control"]
    assert said["camera"].startswith("+45 points [+") and "better (p < 0.001, 40 tables)." in said["camera"]
    assert said["won back"] == "+50 of the 90 points that were lost."
    worse = dict(recovery(30, 10, 10, 10).sentences)
    assert "−50 points [" in worse["control"] and "worse" in worse["control"]
    assert worse["won back"] == "−50 of the 25 points that were lost."
    nothing = dict(recovery(40, 40, 40, 40).sentences)
    assert nothing["won back"] == "40 tables do not tell that anything was lost."
    assert dict(recovery(30, 30, 30, sim=20).sentences)["won back"].startswith("40 tables do not tell")


def test_arms_without_the_same_tables_are_refused() -> None:
    with pytest.raises(BadValue, match=r"2 arms; expected the plain policy, a control"):
        recovery(4, 6)
    arms = [Arm(n, won(3)) for n in "ab"]
    for other in (won(3, first=1), won(3, 39), Results({}, ())):
        with pytest.raises(BadValue, match=r"'c' was tried on other tables .* Next: equal seeds"):
            Recovery(won(40), [*arms, Arm("c", other)])
    with pytest.raises(BadValue, match=r"other tables"):
        Recovery(Results({}, ()), [Arm(n, Results({}, ())) for n in "abc"])


def test_the_figure_has_a_row_a_step_and_marks_what_is_not_told() -> None:
    found = recovery(4, 6, 6, 24)
    svg = waterfall(found)
    assert svg == waterfall(found) and svg.count("<svg") == 1
    assert "+5 ? → 15 %" in svg and "+0 ? → 15 %" in svg and "+45 → 60 %" in svg and "−90 → 10 %" in svg
    for name in ("plain policy, simulation", "plain policy, reality", "control", "dynamics", "camera"):
        assert name in svg


def test_the_page_and_its_markdown_tell_it() -> None:
    data = ReportData("a page", recovery=recovery(4, 6, 6, 24))
    html = Report(data).html()
    assert (
        'id="steps"' in html
        and "+50 of the 90 points that were lost." in html
        and "cannot tell it from no change" in html
    )
    assert "- **control**: +5 points" in Report(data).to_markdown()
