"""The studies of randomisation across gaps, on outcomes made up: what they try, and what they say of it."""

import numpy as np
import pytest

pytest.importorskip("torch")  # of the folder of studies
import dr_sweep
import gap_analysis
import making
import visual_vs_dynamics
from study import Size, points, verdict

from palmar.eval.crossed import crossed, rate
from palmar.sim.params import NO_RANDOMIZATION, SPACE

TABLES = 60


def found(share, trainings=3):
    """Outcomes of which so many succeed; what succeeds at a smaller share succeeds at a larger one too."""
    good = (np.arange(TABLES) * 37 % TABLES) < share * TABLES
    return {f"{k}/slide/layout/{i}": bool(good[i]) for k in range(trainings) for i in range(TABLES)}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab that neither collects, trains nor tries; what it was asked for lies in its log."""
    log = []

    def demos(self, name, episodes, tasks, seed, worlds):
        log.append(("demos", name, seed, worlds))

    def trained(self, name, data, config):
        log.append(("trained", name, config.seed))
        return tmp_path / name

    class Found:
        trials = ()

    def evaluated(config, kept, note, processes):
        log.append(("tried", config.world, config.randomization, config.seed, kept.name))
        return Found

    monkeypatch.setattr(making.Lab, "demos", demos)
    monkeypatch.setattr(making.Lab, "trained", trained)
    monkeypatch.setattr(making, "evaluated", evaluated)
    return making.Lab(tmp_path / "gap_analysis", tmp_path / "data", Size(2, steps=3)), log


def test_every_training_has_demonstrations_of_its_own_and_the_tables_of_all(lab):
    lab, log = lab
    gap_analysis.measure(lab, gap_analysis.PLAIN)
    gap_analysis.measure(lab, gap_analysis.WHOLE)
    sets = [entry for entry in log if entry[0] == "demos"]
    assert [seed for _, _, seed, _ in sets] == [820_000, 840_000, 860_000] * 2
    assert len({name for _, name, *_ in sets}) == 6 and sets[0][1].startswith("plain-slide-400")
    assert [seed for kind, _, seed, *_ in log if kind == "trained"] == [0, 1, 2] * 2
    assert {entry[3] for entry in log if entry[0] == "tried"} == {gap_analysis.PLAN.tables}
    assert [entry[4] for entry in log if entry[0] == "tried"][:5] == [
        f"{name}.json" for name in ("simulation", "reality", "friction", "mass", "image-noise")
    ]


def test_the_gap_is_the_one_of_the_specification():
    drawn = gap_analysis.TESTS["reality"].sample(np.random.default_rng(0))
    assert dict(drawn.values) == {"friction": 0.8, "mass": 1.1, "image_noise": 0.03}
    assert gap_analysis.TESTS["simulation"] == NO_RANDOMIZATION == gap_analysis.ARMS[gap_analysis.PLAIN]
    for name, (low, high) in gap_analysis.RANGES.items():
        assert low <= SPACE[name].nominal <= high and low < gap_analysis.REALITY[name] < high
    assert gap_analysis.REALITY["image_noise"] > SPACE["image_noise"].high


@pytest.mark.parametrize("group", ["visual", "dynamics"])
def test_a_reality_of_one_group_is_plain_in_the_others(group):
    worlds = [visual_vs_dynamics.OneGroup(group).sample(np.random.default_rng([29, k])) for k in (4, 4, 5)]
    assert worlds[0] == worlds[1] != worlds[2]
    assert set(worlds[0].values) == {p.name for p in SPACE.values() if p.group == group}
    assert all(x != SPACE[name].nominal for name, x in worlds[0].values.items())


def test_what_is_lost_and_won_is_told_with_intervals():
    plain = {f"_{w}": found(s) for w, s in (("simulation", 0.9), ("reality", 0.4), ("friction", 0.4))}
    plain |= {"_mass": found(0.9), "_image_noise": found(0.9)}
    rows = {gap_analysis.PLAIN: plain}
    for arm, share in ((gap_analysis.WHOLE, 0.4), (gap_analysis.NARROW, 0.8), (gap_analysis.EXACT, 0.9)):
        rows[arm] = {"_simulation": found(0.8), "_reality": found(share)}
    said = gap_analysis.answer(rows)
    assert said.startswith("The gap costs the plain policy -50 points [-6") and "worse than simulation" in said
    assert "friction 0.8 -50 points" in said and "mass 1.1 +0 points [-4, +4]" in said
    assert (
        "'whole DR' cannot be told from plain (+0 points" in said
        and "'narrow DR' is better than plain (+40 points" in said
    )
    assert "'exact' is better than plain (+50 points" in said
    line = gap_analysis.lines(rows)[2]
    assert line["trained"] == "narrow DR" and line["reality"].startswith("80.0 % [")


def test_the_harder_gap_is_named():
    rows = {
        arm: {"_simulation": found(0.9), "_visual": found(visual), "_dynamics": found(dynamics)}
        for arm, visual, dynamics in (("plain", 0.3, 0.5), ("visual DR", 0.8, 0.5), ("dynamics DR", 0.3, 0.5))
    }
    said = visual_vs_dynamics.answer(rows)
    assert "The visual gap is -60 points" in said and "there visual DR is better than plain (+50 points" in said
    assert "dynamics DR cannot be told from it (+0 points" in said
    assert "success in the dynamics gap is worse than that in the visual gap (-30 points" in said


def test_strengths_are_compared_with_none_and_with_twice_the_ranges():
    rows = {
        arm: {"_simulation": found(0.9), "_near": found(near), "_far": found(far)}
        for arm, near, far in (("none", 0.4, 0.2), ("mild", 0.6, 0.2), ("strong", 0.8, 0.3), ("double", 0.8, 0.6))
    }
    said = dr_sweep.answer(rows)
    assert "In near realities mild is better than none (+20 points" in said
    assert "Twice the ranges cannot be told from the ranges in near realities (+0 points" in said
    assert "is better than them in far ones (+30 points" in said


def test_several_trainings_are_told_without_a_p_value():
    won = crossed(np.array([[1.0, 0, 1, 1] * 10, [1.0, 0, 1, 1] * 10]))
    assert (
        points(won) == f"+75 points [{100 * won.low:+.0f}, {100 * won.high:+.0f}]" and verdict(won) == "is better than"
    )
    assert verdict(crossed(-np.ones((2, 40)))) == "is worse than" and rate(found(0.5)).n == 3 * TABLES
