"""Ranges of numbers: written beside the field, held where the value is made."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.ranges import Range, Seed, check_ranges, ranges


@dataclass(frozen=True)
class Config:
    batch_size: Annotated[int, Range(1, 10)] = 1
    minutes: Annotated[float | None, Range(0, 100, above=True, unit="minutes")] = None
    weights: Annotated[tuple[float, ...], Range(0, math.inf)] = ()
    share: Annotated[float, Range(0, 1, below=True)] = 0
    seed: Seed = 0
    name: str = ""

    def __post_init__(self) -> None:
        check_ranges(self)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected 1 … 10"),
        ({"batch_size": 1.5}, "batch_size is 1.5; expected a whole number, 1 … 10"),
        ({"batch_size": True}, "batch_size is True; expected 1 … 10"),
        ({"batch_size": "3"}, "batch_size is 3; expected a whole number, 1 … 10"),
        ({"minutes": 0}, "minutes is 0; expected above 0 and at most 100 minutes"),
        ({"minutes": math.nan}, "minutes is nan; expected above 0 and at most 100 minutes"),
        ({"minutes": 1e308}, "minutes is 1e+308; expected above 0 and at most 100 minutes"),
        ({"weights": (1.0, -1.0)}, "weights is -1.0; expected 0 or more, or inf"),
        ({"weights": (math.nan,)}, "weights is nan; expected 0 or more, or inf"),
        ({"share": 1}, "share is 1; expected 0 or more and below 1"),
        ({"seed": 2**63}, "seed is 9223372036854775808; expected 0 … 9223372036854775807"),
    ],
)
def test_what_is_outside_is_named(given: dict, message: str) -> None:
    with pytest.raises(BadValue) as error:
        Config(**given)
    assert str(error.value) == message


def test_what_is_inside_is_taken() -> None:
    Config(10, 100, (0, math.inf, 1e308), 0.999, 2**63 - 1)
    Config(np.int64(3), np.float32(0.5), [], 0, 0)


def test_an_option_is_named_as_it_is_typed() -> None:
    broken = object.__new__(Config)
    for name, value in (("batch_size", 99), ("minutes", None), ("weights", ()), ("share", 0.0), ("seed", 0)):
        object.__setattr__(broken, name, value)
    with pytest.raises(BadValue, match=r"^--batch-size is 99; expected 1 … 10\. Next: palmar x --help$"):
        check_ranges(broken, "--", "palmar x --help")


def test_the_type_says_whether_only_whole_numbers_do() -> None:
    assert {name: whole for name, _, whole in ranges(Config)} == {
        "batch_size": True, "minutes": False, "weights": False, "share": False, "seed": True,
    }  # fmt: skip
