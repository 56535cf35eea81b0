"""The range of a number, written once beside its field: `minutes: Annotated[float, Range(0, 1e6, above=True, unit="min")]`.

`check_ranges` holds every annotated field of a dataclass to its range: a configuration calls it in `__post_init__`, the
command line before a command runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from palmar.errors import BadValue


@dataclass(frozen=True)
class Range:
    """low … high, the ends included. above: low itself is out; below: high itself is out. unit: of the number, "" for none.

    NaN is in no range, infinity only in one whose end it is.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    unit: str = ""

    def __contains__(self, value: Any) -> bool:
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return bool(over and under)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if not self.above and not self.below and math.isfinite(self.high):
            return f"{_number(self.low)} … {_number(self.high)}{unit}"
        low = f"above {_number(self.low)}" if self.above else f"{_number(self.low)} or more"
        if math.isinf(self.high):
            return f"{low}{unit}, or inf"
        return f"{low} and {'below' if self.below else 'at most'} {_number(self.high)}{unit}"


RAY = "ray"


@dataclass(frozen=True)
class Workers(Range):
    """How many processes, or the name of a Ray cluster: ray, ray:HOST:PORT, ray:local (`runtime.cluster`)."""

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, str):
            return value == RAY or (value.startswith(f"{RAY}:") and len(value) > len(RAY) + 1 and value.isprintable())
        return super().__contains__(value)

    def __str__(self) -> str:
        return f"{super().__str__()}, or a Ray cluster: ray, ray:HOST:PORT, ray:local"


SEED = Range(0, 2**63 - 1)  # what a data set can hold beside an episode: a whole number of 64 bits
COUNT = Range(1, 10**9)
PROCESSES = Workers(1, 1024)
SHARE = Range(0, 1)
DAY = Range(0, 86_400, above=True, unit="seconds")
LATENCY = Range(0, 60, unit="seconds")
STRENGTH = Range(0, 2)  # of domain randomisation
MINUTES = Range(0, 10**6, above=True)  # of training, at most two years
BATCH = Range(1, 10**6)
RATE = Range(0, 10, above=True)  # of learning
TEMPERATURE = Range(0.05, math.inf)  # below it the share of a small task is too small for a float
PATIENCE = Range(0, 10**6)
SLOWER = Range(0.1, 100)  # factor on a time

Seed = Annotated[int, SEED]
Count = Annotated[int, COUNT]
Processes = Annotated[int | str | None, PROCESSES]
"""Who shares the work: so many processes of this machine, one a core for None, or a Ray cluster by its name."""
Share = Annotated[float, SHARE]
Seconds = Annotated[float, DAY]
Period = Annotated[float | None, DAY]
Strength = Annotated[float, STRENGTH]
Port = Annotated[int, Range(0, 65_535)]  # 0: any that is free
MetricsPort = Annotated[int | None, Range(0, 65_535)]
Clients = Annotated[int, Range(1, 4096)]
Hertz = Annotated[float, Range(0, 1e5, above=True, unit="Hz")]
Bytes = Annotated[int | None, Range(1024, 2**31, unit="bytes")]
COLLECTED = 0.7
"""Strength of the worlds that demonstrations, stills and questions are collected in, unless another is asked for."""


def check_ranges(values: object, prefix: str = "", hint: str = "") -> None:
    """Hold every field of a dataclass that has a `Range` to it; None, of an optional field, is in every range.

    prefix: of the names in messages, "--" for options (then with - for _). hint: the next step, "" for none.
    Raises `BadValue` with the name, the value and the range.
    """
    for name, limits, whole in ranges(type(values)):
        value = getattr(values, name)
        said = prefix + (name.replace("_", "-") if prefix else name)
        for one in value if isinstance(value, tuple | list) else () if value is None else (value,):
            kind = (str, Integral) if isinstance(limits, Workers) else Integral if whole else Real
            if not isinstance(one, kind) or isinstance(one, bool) or one not in limits:
                word = "a whole number, " if whole and not isinstance(one, Integral) else ""
                raise BadValue(f"{said} is {one}; expected {word}{limits}{hint and f'. Next: {hint}'}")


def ranges(kind: type) -> Iterator[tuple[str, Range, bool]]:
    """(field, its range, whether it takes whole numbers alone) of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        for limits in (m for m in getattr(hints[field.name], "__metadata__", ()) if isinstance(m, Range)):
            yield field.name, limits, float not in numbers_in(hints[field.name])


def numbers_in(hint: Any) -> set[type]:
    """Which of int and float a type takes: {float} for tuple[float, ...] | None."""
    if get_origin(hint) is None:
        return {hint} & {int, float} if isinstance(hint, type) else set()
    return {n for part in get_args(hint) for n in numbers_in(part)}


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"
