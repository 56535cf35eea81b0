import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squares import Squares
from training import train

from palmar.errors import BadValue
from palmar.models.presets import palmar_nano
from palmar.train.loop import TrainConfig
from palmar.train.validation import COST, MOST, Plan, affordable, planned

SMALL = TrainConfig(steps=12, horizon=4, batch_size=16, threads=1, log_every=1, augment=None, validation=0.2)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@given(st.integers(1, 10**6), st.integers(1, 512), st.integers(1, 5000), st.integers(0, 50), st.floats(0.01, 0.5))
@settings(max_examples=200)
def test_a_plan_stays_within_its_share_unless_one_frame_is_too_much(steps, batch, held, looks, share):
    config = TrainConfig(steps=steps, batch_size=batch, validate=looks, validate_share=share)
    plan = planned(steps * batch, config, held)
    assert 1 <= plan.frames <= min(MOST, held) and 1 <= plan.looks <= max(1, looks)
    cost = plan.looks * plan.frames * COST
    assert plan == Plan(1, 1) or cost <= share * (steps * batch + cost) * (1 + 1e-9)


def test_long_runs_take_all_the_frames_and_short_ones_fewer_looks():
    config = TrainConfig(steps=1)
    assert planned(1e6, config, 3000) == Plan(12, 512)
    assert planned(20 * 128, config, 3000) == Plan(4, 35)
    assert planned(128, config, 3000) == Plan(1, 7)
    assert planned(1e6, dataclasses.replace(config, validate=0), 100) == Plan(1, 100)


def test_the_last_look_of_a_run_by_the_clock_takes_what_is_left():
    assert affordable(512, spent=0.0, cost=0.0, elapsed=60.0, share=0.1) == 512  # not measured yet
    assert affordable(512, spent=2.0, cost=0.01, elapsed=60.0, share=0.1) == 444
    assert affordable(512, spent=9.0, cost=0.01, elapsed=60.0, share=0.1) == 1


def test_the_share_is_logged_and_the_frames_are_the_same_ones(tmp_path):
    log = [rows(train(palmar_nano(), Squares(200), tmp_path / n, SMALL, progress=False)) for n in "ab"]
    seen = [[r for r in one if "val_action" in r] for one in log]
    assert [r["validation_frames"] for r in seen[0]] == [10.0] and seen[0][-1]["step"] == 12
    assert all(0 < r["validation_share"] < 1 for r in seen[0])
    timing = ("minutes", "validation_share")
    assert [{k: v for k, v in r.items() if k not in timing} for r in seen[0]] == [
        {k: v for k, v in r.items() if k not in timing} for r in seen[1]
    ]


def test_a_run_by_the_clock_validates_and_counts_that_time(tmp_path):
    config = dataclasses.replace(SMALL, steps=None, minutes=0.05, validate=3)
    log = rows(train(palmar_nano(), Squares(200), tmp_path / "run", config, progress=False))
    seen = [r for r in log if "val_action" in r]
    assert seen and log[-1] is seen[-1] and seen[-1]["minutes"] >= 0.05


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(BadValue, match="validate_share"):
        TrainConfig(steps=1, validate_share=share)
