"""Columns of statistics in meta/episodes, and places of files that no path can be made of."""

from pathlib import Path

import numpy as np
import pytest

from palmar.data import format as fmt
from palmar.data.consolidate import _place
from palmar.data.stats import of_rows, stat_of
from palmar.errors import BadFile


@pytest.mark.parametrize(
    ("column", "about"),
    [
        ("stats/action/mean", ("action", "mean")),
        ("stats/observation.images.front/q99", ("observation.images.front", "q99")),
        ("stats/a/b/std", ("a/b", "std")),
        ("stats/actio", None),
        ("stats/action/", None),
        ("stats//mean", None),
        ("stats/", None),
        ("length", None),
    ],
)
def test_a_column_says_of_what_it_is(column, about):
    assert stat_of(column) == about


def test_a_damaged_name_of_a_column_is_no_statistic():
    row = {"episode_index": 0, "length": 2, "stats/actio": [1.0], "stats/action/mean": [1.0, 2.0]}
    table = fmt.episodes_table([row], {"action": {"dtype": "float32", "shape": [2]}})
    assert table.column_names == list(row)
    assert of_rows({c: [np.asarray(v)] for c, v in row.items() if c == "stats/actio"}) == {}


@pytest.mark.parametrize("place", [(0, 10**9), (-1, 0), (0, 2**40)])
def test_a_place_that_no_file_has_is_told(tmp_path: Path, place):
    with pytest.raises(BadFile, match=r"expected a whole number.*Next:"):
        _place(tmp_path, fmt.DATA_PATH, place)
