import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue, UnknownName

VALUES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.floats(-1000, 1000, width=32)
)
MODES = st.sampled_from(["mean_std", "quantile"])


@settings(max_examples=200, deadline=None)
@given(values=VALUES, mode=MODES)
def test_inverse_undoes_forward(values, mode):
    norm = Normalizer.fit(values, mode)
    there = norm.forward(values)
    back = norm.inverse(there)
    still = norm.constant
    assert (there[:, still] == 0).all() and np.isfinite(there).all() and there.dtype == back.dtype == np.float32
    size = np.abs(values).max() + 1
    np.testing.assert_allclose(back[:, ~still], values[:, ~still], atol=2e-6 * size)
    np.testing.assert_allclose(back[:, still], values[:, still], atol=30 * 1e-4 + 1e-6 * size)


@settings(max_examples=100, deadline=None)
@given(values=VALUES, mode=MODES, other=st.floats(-10, 10))
def test_a_constant_comes_back_exactly_whatever_the_model_says(values, mode, other):
    values[:, 0] = values[0, 0]
    norm = Normalizer.fit(values, mode)
    assert norm.constant[0]
    assert (norm.inverse(np.full_like(values, other))[:, 0] == values[0, 0]).all()


@given(values=VALUES, mode=MODES)
def test_json_keeps_every_bit(values, mode):
    norm = Normalizer.fit(values, mode, [f"d{i}" for i in range(values.shape[1])])
    again = Normalizer.from_dict(json.loads(json.dumps(norm.to_dict())))
    np.testing.assert_array_equal(again.offset, norm.offset)
    np.testing.assert_array_equal(again.scale, norm.scale)
    assert (again.mode, again.names) == (norm.mode, norm.names)


def test_end_points():
    values = np.linspace(0, 100, 101)[:, None]
    assert Normalizer.fit(values, "quantile").forward(np.array([1.0, 50.0, 99.0])[:, None]).ravel().tolist() == [
        -1,
        0,
        1,
    ]
    unit = Normalizer.fit(values).forward(values)
    assert abs(unit.mean()) < 1e-6 and abs(unit.std() - 1) < 1e-6


def test_a_gripper_that_seldom_closes_is_not_called_constant():
    values = np.ones((1000, 1), np.float32)
    values[:5] = -1
    norm = Normalizer.fit(values, "quantile")
    assert not norm.constant[0] and norm.forward(values).min() == -1 and norm.forward(values).max() == 1


def test_constants_are_named_and_mistakes_are_told():
    values = np.stack([np.arange(10.0), np.full(10, 3.0), np.full(10, 1e-6) * np.arange(10)], 1)
    assert Normalizer.fit(values, names=("moves", "fixed", "trembles")).constant_names == ("fixed", "trembles")
    with pytest.raises(BadValue, match="expected finite numbers"):
        Normalizer.fit(np.full((3, 2), np.nan))
    with pytest.raises(BadValue, match=r"n ≥ 1"):
        Normalizer.fit(np.empty((0, 2)))
    with pytest.raises(UnknownName, match="Did you mean 'quantile'"):
        Normalizer.fit(values, "quantiles")  # type: ignore[arg-type]
