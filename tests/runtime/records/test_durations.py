import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.runtime.records.durations import Durations


def test_percentiles_and_shares_are_within_their_buckets() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(-4, 1, 20_000)
    d = Durations()
    for v in values:
        d.add(float(v))
    for p in (1, 50, 99, 99.9):
        assert d.percentile(p) == pytest.approx(np.percentile(values, p), rel=0.06)
    assert d.over(0.05) == pytest.approx((values > 0.05).sum(), rel=0.1)
    assert d.n == 20_000 and len(d.counts) < 200
    assert Durations.from_dict(d.to_dict()).counts == d.counts
    assert Durations.together([d, d]).n == 40_000


def test_extremes_and_nothing() -> None:
    d = Durations()
    assert np.isnan(d.percentile(50)) and d.over(0) == 0 and d.values() == []
    for v in (0.0, -1.0, 1e-9, 3600.0):
        d.add(v)
    assert d.percentile(100) == pytest.approx(3600, rel=0.03) and d.over(1.0) == 1


@pytest.mark.parametrize("raw", [{"a": 1}, {"1": -1}, {"1": 1.5}, {"-1": 1}, {"5000": 1}, [1], {"1": "x"}])
def test_what_is_no_counts_is_refused(raw) -> None:
    with pytest.raises(BadValue, match="no counts of durations"):
        Durations.from_dict(raw)
