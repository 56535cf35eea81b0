"""Frozen configurations to JSON and back: nested dataclasses, tuples and plain values, checked by their annotations.

What is read may come from a stranger: every value is compared with its annotation, numbers are finite and bounded.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from palmar.errors import BadValue

C = TypeVar("C")

LARGEST = 1 << 24  # of a whole number; the largest in use is a vocabulary of some 250 000
LONG = 10_000  # characters of a text, entries of a list
DEEP = 20  # levels of configurations in one another


def to_dict(config: Any) -> dict[str, Any]:
    """For JSON; `from_dict` gives an equal one back."""
    return asdict(config)


def from_dict(kind: type[C], value: Mapping[str, Any], where: str = "") -> C:
    """The dataclass `kind` from what `to_dict` wrote. where: how messages call it, its class by default.

    Raises `KeyError` for a field that lacks, `TypeError` for one too many, `BadValue` for a value of another kind, or out of
    bounds. A field that is None unless asked for may lack: it is newer than the file, and off.
    """
    where = where or kind.__name__
    if not isinstance(value, Mapping):
        raise BadValue(f"{where} is {value!r:.80}; expected an object with the fields of {kind.__name__}")
    if where.count(".") > DEEP:
        raise BadValue(f"{where[:80]}… goes deeper than {DEEP} levels")
    hints, defaults = get_type_hints(kind), {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    if strange := set(value) - set(defaults):
        raise TypeError(f"{where}.{min(map(str, strange))}")
    if lacking := {n for n, default in defaults.items() if default is not None} - set(value):
        raise KeyError(f"{where}.{min(lacking)}")
    given = {name: _read(hints[name], v, f"{where}.{name}") for name, v in value.items()}
    try:
        return kind(**given)
    except (ArithmeticError, LookupError, AttributeError) as error:  # what a class checks of its own, with such numbers
        raise BadValue(f"{where} is {given!r:.200}, of which no {kind.__name__} can be made ({error})") from error


def _read(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as its annotation wants it. Raises `BadValue`."""
    if is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, where)
    if origin is tuple:
        return _tuple(inner, value, where)
    if origin is Literal:
        return _checked(value in inner, value, where, f"one of {', '.join(map(repr, inner))}")
    if hint is bool:
        return _checked(isinstance(value, bool), value, where, "true or false")
    if hint is int:
        good = type(value) is int and abs(value) <= LARGEST
        return _checked(good, value, where, f"a whole number, at most {LARGEST} in size")
    if hint is float:
        good = type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
        return _checked(good, value, where, "a finite number")
    if hint is str:
        good = isinstance(value, str) and len(value) <= LONG and not any(0xD800 <= ord(c) < 0xE000 for c in value)
        return _checked(good, value, where, f"a text of at most {LONG} characters")
    if hint is types.NoneType:
        return _checked(value is None, value, where, "null")
    return _tuples(value)


def _checked(good: bool, value: Any, where: str, expected: str) -> Any:
    if not good:
        raise BadValue(f"{where} is {value!r:.80}; expected {expected}")
    return value


def _one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as one of several annotations; of several dataclasses the one with these fields."""
    if value is None and types.NoneType in hints:
        return None
    kinds: list[Any] = [h for h in hints if is_dataclass(h)]
    if kinds and isinstance(value, Mapping):
        return from_dict(max(kinds, key=lambda kind: _fit(kind, set(value))), value, where)
    plain = [h for h in hints if not is_dataclass(h) and h is not types.NoneType]
    if not plain:
        raise BadValue(f"{where} is {value!r:.80}; expected {' or '.join(k.__name__ for k in kinds)}")
    for hint in plain[:-1]:
        try:
            return _read(hint, value, where)
        except (BadValue, KeyError, TypeError):
            continue
    return _read(plain[-1], value, where)


def _tuple(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    many = len(inner) == 2 and inner[1] is Ellipsis
    good = isinstance(value, list | tuple) and len(value) <= LONG and (many or not inner or len(value) == len(inner))
    _checked(good, value, where, f"a list of {f'at most {LONG}' if many or not inner else len(inner)}")
    hints = [inner[0] if many else inner[i] for i in range(len(value))] if inner else [Any] * len(value)
    return tuple(_read(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(hints, value, strict=True)))


def _fit(kind: Any, names: set[str]) -> int:
    """2: these are its fields. 1: but for newer ones, which are off. 0: they are not."""
    known = {f.name for f in fields(kind)}
    return (known == names) + ({f.name for f in fields(kind) if f.default is not None} <= names <= known)


def _tuples(value: Any) -> Any:
    """JSON has lists only; frozen configurations hold tuples only."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
