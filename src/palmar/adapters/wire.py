"""msgpack with numpy arrays, as openpi clients and servers speak it. No pickle, neither way.

An array is a map with *bytes* keys: `__ndarray__` true, `data` (C order), `dtype` as '<f4', `shape`; a numpy scalar is
`__npgeneric__` true, `data`, `dtype`. Format: openpi's `msgpack_numpy`; golden bytes are in the tests.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from palmar.errors import BadValue, need

KINDS = "biuf"  # truth, whole numbers, floats: nothing that could hold an object
DEEPEST = 8  # dimensions of an array
LONGEST = 2**16  # entries of one list or map
ELEMENTS = 200_000  # entries of all lists and maps of a message together


def pack(value: Any) -> bytes:
    """Maps, lists, numbers, text, bytes and numpy arrays → msgpack. Raises `BadValue` for anything else."""
    need("msgpack", "serve")
    import msgpack

    try:
        return bytes(msgpack.packb(value, default=_encode))
    except (TypeError, ValueError, OverflowError) as e:
        raise BadValue(f"cannot be sent: {e}. Expected maps, lists, numbers, text and numpy arrays") from e


def unpack(data: bytes) -> Any:
    """The value; arrays are read-only views of `data`. Raises `BadValue` when it is not what it says it is, or has more than
    `LONGEST` entries in one list or map, or `ELEMENTS` in all.

    Arrays are bounded by the length of `data`, and nesting by msgpack, so that a small message cannot ask for much memory.
    """
    need("msgpack", "serve")
    import msgpack

    left = [ELEMENTS]

    def counted(value: Any) -> Any:
        left[0] -= len(value)
        if left[0] < 0:
            raise BadValue(f"a message of more than {ELEMENTS} entries; expected pictures and vectors as arrays")
        return _decode(value) if isinstance(value, dict) else value

    try:
        return msgpack.unpackb(
            data,
            object_hook=counted,
            list_hook=counted,
            max_array_len=LONGEST,
            max_map_len=LONGEST,
            strict_map_key=False,
        )
    except BadValue:
        raise
    except (ValueError, TypeError, ArithmeticError, msgpack.UnpackException, RecursionError) as e:
        raise BadValue(f"{len(data)} bytes that are no msgpack message: {type(e).__name__} {e}") from e


NAMED = re.compile(r"[<>=|]?[A-Za-z?][A-Za-z0-9]{0,7}")
"""Of one type: numpy reads a name with a comma or a bracket as a record, with Python's own parser."""


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in KINDS:
        raise TypeError(f"numpy {value.dtype} (kind {value.dtype.kind})")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__}")


def _decode(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        dtype, shape, data = _dtype(value), value.get(b"shape"), value.get(b"data")
        if (
            not isinstance(shape, list)
            or len(shape) > DEEPEST
            or not all(type(n) is int and n >= 0 for n in shape)
            or not isinstance(data, bytes)
            or math.prod(shape) * dtype.itemsize != len(data)
        ):
            size = len(data) if isinstance(data, bytes) else "no"
            raise BadValue(f"an array {dtype}{shape} with {size} bytes of data; expected as many as its shape needs")
        return np.frombuffer(data, dtype).reshape(shape)
    if b"__npgeneric__" in value:
        data = value.get(b"data")
        if not isinstance(data, bool | int | float):
            raise BadValue(f"a numpy scalar that is a {type(data).__name__}; expected a number")
        with np.errstate(over="raise"):
            return _dtype(value).type(data)
    return value


def _dtype(value: dict[Any, Any]) -> np.dtype[Any]:
    name = value.get(b"dtype")
    try:
        dtype = np.dtype(name) if isinstance(name, str) and NAMED.fullmatch(name) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in KINDS:
        raise BadValue(f"dtype is {name!r}; expected truth, whole numbers or floats, such as '<f4'")
    return dtype
