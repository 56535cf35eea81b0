"""Frozen configurations to JSON and back: nested dataclasses, tuples and plain values, checked by their annotations."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """For JSON; `from_dict` gives an equal one back."""
    return asdict(config)


def from_dict(kind: type[C], value: Mapping[str, Any]) -> C:
    """The dataclass `kind` from what `to_dict` wrote. Raises `KeyError` for a field that lacks, `TypeError` for one too many.

    A field that is None unless asked for may lack: it is newer than the file, and off.
    """
    hints, defaults = get_type_hints(kind), {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    if strange := set(value) - set(defaults):
        raise TypeError(f"{kind.__name__}.{min(strange)}")
    if lacking := {n for n, default in defaults.items() if default is not None} - set(value):
        raise KeyError(f"{kind.__name__}.{min(lacking)}")
    return kind(**{name: _read(hints[name], v) for name, v in value.items()})


def _read(hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds: list[Any] = [h for h in inner if is_dataclass(h)]
        if value is None or not kinds or not isinstance(value, Mapping):
            return _tuples(value)
        return from_dict(max(kinds, key=lambda kind: _fit(kind, set(value))), value)
    if origin is tuple and inner and is_dataclass(inner[0]):
        return tuple(_read(inner[0], v) for v in value)
    return _tuples(value)


def _fit(kind: Any, names: set[str]) -> int:
    """2: these are its fields. 1: but for newer ones, which are off. 0: they are not."""
    known = {f.name for f in fields(kind)}
    return (known == names) + ({f.name for f in fields(kind) if f.default is not None} <= names <= known)


def _tuples(value: Any) -> Any:
    """JSON has lists only; frozen configurations hold tuples only."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
