"""The failure detection study on synthetic rollouts: its parts do what the page says."""

import numpy as np
import pytest

pytest.importorskip("torch")  # of the folder of studies
import failure_detection as study

from palmar.errors import BadFile
from palmar.runtime.confidence.learn import Rollouts


def made(seed=0):
    """Six tasks; failures are slow and waver, and both kinds last equally long on average in no task."""
    rng = np.random.default_rng(seed)
    n, steps = 240, 50
    failed, tasks = rng.random(n) < 0.35, np.arange(n) % 6
    lengths = np.where(failed, steps, rng.integers(20, 30, n))
    values = rng.normal(0, 0.4, (n, steps, 2)) + rng.normal(0, 0.4, (n, 1, 2))
    values[..., 0] += 0.7 * failed[:, None]
    values[..., 1] -= 0.7 * failed[:, None]
    values = np.where((np.arange(steps) < lengths[:, None])[..., None], np.exp(values), np.nan)
    return Rollouts(("waver", "speed"), values, lengths, failed, tasks)


def test_tasks_left_out_and_halves_never_mix():
    data = made()
    ways = study.splits(data.tasks, 120)
    assert len(ways) == 20 and len(study.splits(data.tasks, 4)) == 4
    seen = ~np.isin(data.tasks, ways[0])
    parts = study.halves(data, seen, 0)
    together = np.concatenate(parts)
    assert len(set(together)) == len(together) and seen[together].all() and not data.failed[together].any()


def test_two_signals_are_ahead_of_each_and_time_says_nothing():
    data = made()
    both = study.judged(data, study.BOTH, 20)
    ones = [
        study.judged(
            Rollouts((data.names[k],), data.values[..., [k]], data.lengths, data.failed, data.tasks), "one", 20
        )
        for k in (0, 1)
    ]
    for one in ones:
        low, _ = study.interval([a - b for a, b in zip(both["_auc"], one["_auc"], strict=True)])
        assert low > 0 and one["best form, hindsight"] > 0.5
    time = study.judged(data, study.TIME, 20)
    assert (
        set(time["_auc"]) == {0.5}
        and time["AUC, whole"] > 0.95
        and time["by usual length"] == pytest.approx(0.5, abs=0.05)
    )
    assert abs(both["false alarms, seen"] - 0.1) < 0.05 and both["failures found"].n == int(data.failed.sum())


def test_without_the_data_it_says_where_to_put_it(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(BadFile, match="Next: set PALMAR_SHARED"):
        study.read(tmp_path, study.CHUNK)
