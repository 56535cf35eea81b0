"""Levels behind gates: passed, trained again, missed, waiting for a person; and a state from which the same call goes on."""

import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest

from palmar.cli.main import main
from palmar.errors import BadFile, BadValue
from palmar.eval.shown import fewest, shown
from palmar.policy import checkpoint_of
from palmar.transfer.progress_run import Practice, shares
from palmar.transfer.progressive import LEVELS, STATE, Level, NoTrials, ProgressConfig, progress

CONFIG = ProgressConfig(
    (Level("simple sim", 1.0, 0.5, "sim", 0.5), Level("real fine-tune", 0.2, 0.3, "real", 0.7)),
    batch=10,
    most=30,
    alpha=0.1,
)


class Trained:
    """Trainings that are written down; rates: of success in the trials of each, in order."""

    def __init__(self, *rates: float) -> None:
        self.rates, self.fits, self.asked = list(rates), [], []

    def fit(self, level, folder, before):
        self.fits.append((folder.name, before and before.name))
        folder.mkdir()
        (folder / "rate").write_text(str(self.rates.pop(0)))
        return folder

    def attempt(self, level, policy, first, count):
        self.asked.append((policy.name, first, count))
        rate = float((policy / "rate").read_text())
        return [i < round(rate * count) for i in range(count)]


def test_each_level_goes_on_from_the_one_before_and_the_last_is_deployed(tmp_path):
    made, told = Trained(1.0, 1.0), []
    done = progress(CONFIG, tmp_path, made.fit, made.attempt, lambda *x: told.append(str(x[2])))
    assert made.fits == [("simple-sim-1", None), ("real-fine-tune-1", "simple-sim-1")]
    assert done.deployed == "real-fine-tune-1" and not done.reason
    assert checkpoint_of(str(tmp_path)) == tmp_path / "real-fine-tune-1"
    assert told[0] == "10 of 10, at least 66.4 %: passed (50.0 % asked)"
    again = progress(CONFIG, tmp_path, made.fit, made.attempt)
    assert again == done and len(made.fits) == 2


def test_a_missed_gate_is_trained_again_with_new_trials_and_then_refused(tmp_path):
    made = Trained(0.1, 1.0, 0.5, 0.5)
    done = progress(CONFIG, tmp_path, made.fit, made.attempt)
    assert made.fits[1] == ("simple-sim-2", "simple-sim-1") and made.fits[3] == ("real-fine-tune-2", "real-fine-tune-1")
    firsts = [first for _, first, _ in made.asked]
    assert len(set(firsts)) == len(firsts)
    assert done.reason.startswith("level 'real fine-tune' did not pass its gate in 2 trainings: ") and not done.deployed
    assert not (tmp_path / "current.json").exists()


def test_it_goes_on_in_the_middle_of_a_gate(tmp_path):
    made = Trained(0.7, 1.0, 1.0)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        progress(CONFIG, tmp_path, made.fit, made.attempt, stop)
    progress(CONFIG, tmp_path, made.fit, made.attempt)
    asked = [first for name, first, _ in made.asked if name == "simple-sim-1"]
    assert asked == [5000, 5010, 5020] and made.fits.count(("simple-sim-1", None)) == 1


def test_trials_that_a_person_makes_are_waited_for(tmp_path):
    made = Trained(1.0, 1.0)
    practice = Practice(real=tmp_path / "set")

    def attempt(level, policy, first, count):
        return (
            made.attempt(level, policy, first, count)
            if level.where == "sim"
            else practice.trials(level, policy, first, count)
        )

    done = progress(CONFIG, tmp_path, made.fit, attempt)
    assert "waits for 10 trials of" in done.reason and not done.deployed
    practice = Practice(real=tmp_path / "set", told=(True,) * 20)
    done = progress(CONFIG, tmp_path, made.fit, attempt)
    assert done.deployed and len(done.tried[-1].outcomes) == 20
    with pytest.raises(NoTrials):
        practice.trials(CONFIG.levels[1], tmp_path, 0, 1)


def test_trials_of_one_policy_do_not_count_for_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("palmar.train.loop.train", lambda request, folder, **_: folder)
    monkeypatch.setattr(Practice, "simulated", lambda *_: [0])
    practice = Practice(real=tmp_path / "set", told=(True,) * 20)
    assert practice.trials(LEVELS[2], tmp_path, 0, 10) == [True] * 10
    practice.fit(LEVELS[0], tmp_path / "next", None)
    with pytest.raises(NoTrials, match="waits for 10 trials of"):
        practice.trials(LEVELS[3], tmp_path / "next", 0, 10)


def test_another_config_a_damaged_state_and_too_few_trials_are_refused(tmp_path):
    made = Trained(1.0, 1.0)
    progress(CONFIG, tmp_path, made.fit, made.attempt)
    with pytest.raises(BadValue, match=r"was begun with other batch, most; expected the same"):
        progress(replace(CONFIG, batch=20, most=40), tmp_path, made.fit, made.attempt)
    state = json.loads((tmp_path / STATE).read_text())
    state["tried"][0]["checkpoint"] = "../elsewhere"
    (tmp_path / STATE).write_text(json.dumps(state))
    with pytest.raises(BadFile, match="names a checkpoint outside its folder"):
        progress(CONFIG, tmp_path, made.fit, made.attempt)
    (tmp_path / STATE).write_text("[]")
    with pytest.raises(BadFile, match=r"is no state of a transfer.*Next: another --out"):
        progress(CONFIG, tmp_path, made.fit, made.attempt)
    with pytest.raises(BadValue, match=r"trials without a failure are needed, and it gets 10\. Next: --most"):
        replace(CONFIG, most=10, levels=LEVELS)
    with pytest.raises(BadValue, match=r"expected a multiple\. Next: --most 60"):
        replace(CONFIG, most=35)
    with pytest.raises(BadValue, match=r"no reality is named.*Next: --real FOLDER, or --world twin:0"):
        Practice()


def test_the_levels_are_those_of_the_plan():
    assert [(x.sim, x.strength) for x in LEVELS] == [(1.0, 0.5), (1.0, 1.0), (0.7, 0.8), (0.2, 0.3)]
    assert [x.where for x in LEVELS] == ["sim", "sim", "real", "real"] and ProgressConfig().looks == 6


def test_the_shares_hold_whatever_the_sizes():
    from palmar.data.mixture import Group

    groups = [Group(0, "a", np.arange(900)), Group(0, "b", np.arange(100)), Group(1, "a", np.arange(50))]
    p = shares(0.7, [1000, 50]).probabilities(groups)
    assert p[:2].sum() == pytest.approx(0.7) and p[2] == pytest.approx(0.3)


def test_a_policy_below_the_bound_passes_no_oftener_than_alpha():
    """By enumeration: the chance of each count of successes at each of six looks, of those not decided before."""
    for bad, rate in ((True, 0.7 - 1e-9), (False, 0.7)):
        batch = [comb(10, k) * rate**k * (1 - rate) ** (10 - k) for k in range(11)]
        open_at, wrong = {0: 1.0}, 0.0
        for n in range(10, 61, 10):
            after: dict[int, float] = {}
            for good, p in open_at.items():
                for k, q in enumerate(batch):
                    after[good + k] = after.get(good + k, 0.0) + p * q
            verdicts = {good: shown([True] * good + [False] * (n - good), 0.7, 6, 0.1).passed for good in after}
            wrong += sum(p for good, p in after.items() if verdicts[good] is bad)
            open_at = {good: p for good, p in after.items() if verdicts[good] is None}
        assert 0 < wrong <= 0.1
    assert fewest(0.8, 6) == 22 and shown([True] * 22, 0.8, 6).passed and not shown([True] * 21, 0.8, 6).passed
    with pytest.raises(BadValue, match="expected rates between 0 and 1"):
        shown([True], 1.0, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--world", "nope:0"], "world is 'nope:0'; expected sim, twin"),
        (["--real", "none"], "there is no data set at 'none'"),
        (["--world", "twin:0", "--init", "none"], "no checkpoint at 'none'"),
        (["--world", "twin:0", "--preset", "nope"], "unknown preset 'nope'"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_simulated(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["progress", "--out", "o", *words]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())
