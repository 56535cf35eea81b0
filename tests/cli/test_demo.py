"""The demo's arms differ in what was measured alone, and its page says what that was worth."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_views import ROBOT, Made

from palmar.cli.demo import MOST, DemoConfig, _wanted, best_of
from palmar.cli.demo_gap import BATCH, RATE, REALITY, Measured, board_cell, practices, practise, truths
from palmar.cli.demo_page import identified_rows, lost_and_won, shortly, write_report
from palmar.eval.recovery import Arm, Recovery
from palmar.eval.results import Results, Trial
from palmar.lab.suite import EvalConfig
from palmar.sim.params import SPACE, Randomization
from palmar.sim.reality import reality
from palmar.transfer.calibration import CalibrationConfig, calibrate
from palmar.transfer.identification import Estimate, Identification
from palmar.transfer.marker_board import MarkerBoard

TRIAL = Trial(
    "pick", "layout", REALITY, 0, "pick up the red cube", True, 3.0, True, "red cube", None, 0.01, 1, 0, 10, 2
)


@pytest.fixture(scope="module")
def measured() -> Measured:
    gain, unseen = Estimate(0.7, 0.65, 0.75, "×", True), Estimate(1.0, 0.9, 1.1, "×", False, "not seen")
    camera = calibrate(Made(9).views, ROBOT, CalibrationConfig("front", lens="simulated"))
    return Measured(Identification("arm7", {"gain": gain, "damping": unseen}, 40.0, 8.0), camera)


def arm(step: str, successes: int, n: int = 30) -> Arm:
    trials = (Trial(**{**TRIAL.__dict__, "seed": i, "success": i < successes}) for i in range(n))
    return Arm(step, Results({}, tuple(trials)))


def test_its_reality_lies_outside_the_ranges() -> None:
    hidden = reality(REALITY).hidden
    assert hidden is not None
    outside = {n for n, p in SPACE.items() if not p.low <= hidden[n] <= p.high}
    assert {"camera_pitch", "camera_yaw", "zero_2", "action_delay"} <= outside


def test_arms_practise_in_the_same_worlds_but_for_what_was_measured(measured: Measured) -> None:
    arms = practices(measured)
    assert list(arms) == ["control", "dynamics", "twin"] and isinstance(arms["control"][1], Randomization)
    control, dynamics, twin = (arms[k][1].sample(np.random.default_rng(3)).values for k in arms)
    differs = lambda a, b: {n for n in SPACE if a.get(n) != b.get(n)}  # noqa: E731
    assert differs(control, dynamics) == {"gain"} and 0.5 < dynamics["gain"] < 0.9
    assert {"camera_x", "camera_roll", "fov", "zero_3"} <= differs(dynamics, twin)
    assert not differs(dynamics, twin) & {"gain", "light", "friction", "image_latency"}


def test_every_arm_trains_as_long_as_the_control(measured: Measured, tmp_path: Path, monkeypatch) -> None:
    collected, trained = [], []
    monkeypatch.setattr("palmar.lab.collect.collect", lambda out, c: collected.append(c) or SimpleNamespace(root=out))

    def train(out, data, length, init):
        trained.append((out.name, [d.name for d in data], length, init.name))
        return out

    config = DemoConfig(tmp_path)
    found = practise(config, tmp_path / "policy", measured, train)
    assert list(found) == ["control", "dynamics", "twin"] and {c.seed for c in collected} == {600_000}
    assert {c.episodes for c in collected} == {config.adapt_episodes} and len(
        {str(c.randomization) for c in collected}
    ) == 3
    assert [(t[2].minutes, t[2].steps) for t in trained] == [(None, config.adapt_steps)] * 3
    assert {(t[2].lr, t[2].batch_size, t[3]) for t in trained} == {(RATE, BATCH, "policy")}
    assert [t[1] for t in trained] == [["data", f"data-{a}"] for a in found]


def test_the_board_is_met_as_a_cell() -> None:
    cell = board_cell(MarkerBoard())
    picture = cell.reset(0).images["front"]
    assert np.isfinite(MarkerBoard().find(picture)[:, 0]).sum() >= 6 and cell.embodiment.cameras[0].height == len(
        picture
    )
    assert not any(hasattr(cell, n) for n in ("world", "params", "board_in", "camera_in"))
    cell.close()


def test_the_page_shows_truth_beside_what_was_measured(measured: Measured) -> None:
    hidden = reality(REALITY).hidden
    assert hidden is not None
    told = truths(measured)
    assert told["gain"][-1] == hidden["gain"] and told["zero_3"][-1] == hidden["zero_3"]
    assert told["camera_x"][-1] is None and "zero_1" not in told
    rows = {r.name: r for r in identified_rows(SimpleNamespace(measured=measured))}  # type: ignore[arg-type]
    assert not rows["damping"].identified and rows["gain"].identified
    for r in rows.values():
        assert r.range is not None and r.range[0] <= (r.value if r.truth is None else r.truth) <= r.range[1]


def test_films_have_the_time_that_the_trials_had(tmp_path: Path, monkeypatch) -> None:
    """A trial that failed by its time must not be shown as one that succeeds later."""
    filmed: list[EvalConfig] = []

    def side_by_side(arms, trials, folder):
        filmed.extend(arms.values())
        if len(arms) > 1:
            raise RuntimeError("filmed")
        return []

    monkeypatch.setattr("palmar.lab.film.side_by_side", side_by_side)
    arms, practised = [arm("plain", 6), arm("control", 8), arm("all", 20)], {"twin": tmp_path / "twin"}
    simulated = arm("", 30).results
    found = SimpleNamespace(policy=tmp_path, practised=practised, sim=simulated, recovery=Recovery(simulated, arms))
    config = DemoConfig(tmp_path, timeout=7.0)
    with pytest.raises(RuntimeError, match="filmed"):
        write_report(config, SimpleNamespace(), found)  # type: ignore[arg-type]
    assert [c.timeout for c in filmed] == [config.timeout] * 3


def test_it_says_what_was_lost_and_what_cannot_be_told() -> None:
    simulation = arm("", 30).results
    found = SimpleNamespace(recovery=Recovery(simulation, [arm("plain", 6), arm("control", 8), arm("measured", 20)]))
    said = lost_and_won(found)  # type: ignore[arg-type]
    assert "−80 points [" in said and "+40 points [" in said and "better" in said
    found.recovery = Recovery(simulation, [arm("plain", 29), arm("control", 29), arm("measured", 30)])
    said = lost_and_won(found)  # type: ignore[arg-type]
    assert "is not told" in said and "30 tables cannot tell it from no change" in said


def test_the_page_names_every_arm_apart() -> None:
    arms = [arm(n, k) for n, k in (("plain", 6), ("control", 8), ("dynamics", 9), ("all", 20))]
    practised = {k: Path(k) for k in ("control", "dynamics", "twin")}
    named = shortly(SimpleNamespace(recovery=Recovery(arm("", 30).results, arms), practised=practised))  # type: ignore[arg-type]
    assert [r.rate().successes for r in named.values()] == [6, 8, 9, 20] and next(iter(named)) == "plain policy"


def test_the_policy_that_won_most_is_deployed() -> None:
    practised = {k: Path(k) for k in ("control", "dynamics", "twin")}
    arms = [arm("plain", 5), arm("control", 9), arm("dynamics", 9), arm("twin", 7)]
    assert best_of(Path("plain"), practised, arms) == (Path("dynamics"), "dynamics")
    assert best_of(Path("plain"), practised, [arm("plain", 12), *arms[1:]]) == (Path("plain"), "plain")


def test_no_instruction_is_typed_that_is_not_carried_out(monkeypatch) -> None:
    monkeypatch.setattr("palmar.cli.demo.keyboard", lambda: "a keyboard")
    typed = iter(f"reach {i}" for i in range(9))
    console = SimpleNamespace(is_terminal=True, print=lambda *_: None, input=lambda _: next(typed))
    assert _wanted(DemoConfig(), console) == tuple(f"reach {i}" for i in range(MOST))  # type: ignore[arg-type]
    assert next(typed) == f"reach {MOST}"


def test_quick_is_less_of_everything() -> None:
    whole, quick = DemoConfig(), DemoConfig(quick=True).sized()
    for name in (
        "episodes",
        "steps",
        "trials",
        "wording_trials",
        "adapt_episodes",
        "adapt_steps",
        "views",
        "films",
        "examples",
    ):
        assert getattr(quick, name) < getattr(whole, name)
